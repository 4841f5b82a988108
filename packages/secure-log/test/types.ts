// What TypeScript knows of the package; types.test.js compiles it.
import { openLog, SecureLogError, type SecureLog } from 'secure-log';

export async function use(): Promise<bigint[]> {
  const log: SecureLog = await openLog({ store: 'memory' });
  const { seqno, entryHash } = log.append({ streamId: 's', eventType: 'e', payload: 'x' });
  const numbers: bigint[] = [seqno, BigInt((entryHash satisfies Uint8Array).length)];
  for await (const entry of log.query({ streamId: 's' })) numbers.push(entry.header.timeMs);
  for await (const lines of log.exportLines()) numbers.push(BigInt((lines satisfies string).length));
  try {
    log.read('s', 2n);
  } catch (error) {
    if (!(error instanceof SecureLogError)) throw error;
    if (error.is('conflict')) numbers.push(error.detail.actual?.seqno ?? 0n);
    if (error.is('not-found')) numbers.push(error.detail.number ?? BigInt(error.detail.what.length));
    if (error.is('busy')) numbers.push(BigInt(error.detail.length));
    switch (error.variant.tag) {
      case 'conflict':
        numbers.push(error.variant.val.actual?.seqno ?? 0n);
        break;
      case 'rolled-back':
        numbers.push(error.variant.val.claimedSize);
        break;
      // @ts-expect-error there is no such case
      case 'lost':
        break;
    }
    // @ts-expect-error only a rollback says it
    if (error.is('corrupt')) numbers.push(error.detail.claimedSize);
    // @ts-expect-error there is no such kind
    error.is('lost');
  }
  numbers.push(log.verifyChain('s').entriesChecked, ...log.log.listSegments('s').map(({ size }) => size));
  // @ts-expect-error a number is no bigint
  log.read('s', 2);
  // @ts-expect-error there is no such store
  await openLog({ store: 'postgres' });
  // @ts-expect-error there is no such severity
  log.append({ streamId: 's', eventType: 'e', payload: 'x', severity: 'loud' });
  // @ts-expect-error there is no such field
  log.append({ streamId: 's', eventType: 'e', payload: 'x', evntId: 'x' });
  // @ts-expect-error interfaces of the WIT have types as well
  log.log.head(5);
  return numbers;
}
