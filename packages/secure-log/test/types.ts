// Compiled by types.test.js and not run: what TypeScript makes of the package.
import { openLog, SecureLogError, type SecureLog } from 'secure-log';

export async function use(): Promise<bigint> {
  const log: SecureLog = await openLog({ store: 'sqlite', directory: 'logs', keys: 'keys' });
  const { seqno } = log.append({ streamId: 'doors', eventType: 'opened', payload: 'front', severity: 'notice' });
  for await (const entry of log.query({ streamId: 'doors', minSeverity: 'warning' })) {
    const time: bigint = entry.header.timeMs;
    // @ts-expect-error an entry has no such field
    entry.header.nothing;
    seqno + time;
  }
  // @ts-expect-error numbers of 64 bits are bigint
  log.read('doors', 1);
  // @ts-expect-error there is no such severity
  log.append({ streamId: 'doors', eventType: 'opened', payload: 'x', severity: 'loud' });
  // @ts-expect-error there is no such store
  await openLog({ store: 'tape' });
  // @ts-expect-error what the component says is no any
  const wrong: number = log.log.closeSegment('doors');
  return seqno + BigInt(wrong);
}

export function judge(error: unknown): string {
  if (!(error instanceof SecureLogError)) throw error;
  if (error.is('conflict')) {
    const head: bigint | undefined = error.detail.actual?.seqno;
    return `${error.detail.streamId} ${head}`;
  }
  if (error.is('invalid')) return error.detail.field;
  // @ts-expect-error there is no such kind
  error.is('strange');
  return error.message;
}
