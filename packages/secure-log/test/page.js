// What browser.test.js runs in a page; sends what it saw back as JSON.
import { SecureLogError, openLog } from 'secure-log';

async function run() {
  const log = await openLog({ store: 'memory', origin: 'example.com/page' });
  const other = await openLog({ store: 'memory' });
  const event = { streamId: 's', eventType: 'opened', payload: 'from a page' };
  const seqnos = [log.append(event), ...log.appendBatch([event, { ...event, payload: new Uint8Array(70_000) }])].map(({ seqno }) => `${seqno}`);
  log.sign('audit');
  const kinds = [
    () => log.read('s', 9n),
    () => log.read('s', 9),
    () => log.append({ ...event, streamId: '_log' }),
  ].map((call) => {
    try {
      return call();
    } catch (error) {
      return error instanceof SecureLogError ? error.kind : String(error);
    }
  });
  let queried = 0;
  for await (const entry of log.query({ streamId: 's' })) queried += Number(entry.header.payloadLen > 0n);
  const lines = [];
  for await (const text of log.exportLines()) lines.push(...text.split('\n'));
  const refused = [];
  for (const options of [{ store: 'sqlite', directory: 'd' }, { store: 'file', directory: 'd' }, { store: 'memory', keys: 'k' }]) {
    await openLog(options).catch((error) => refused.push(`${error}`));
  }
  const seen = {
    seqnos, kinds, queried, refused,
    payload: new TextDecoder().decode(log.readPayload('s', 1n)),
    checked: `${log.verifyChain('s').payloadsChecked}`,
    others: other.head('s') === undefined ? 'none' : 'some',
    proof: log.proofFile('s', 1n),
    key: log.verifierKey('audit'),
    lines: lines.slice(0, 2),
  };
  log.close();
  other.close();
  return seen;
}

const seen = await run().catch((error) => ({ error: `${error?.stack ?? error}` }));
await fetch('/', { method: 'POST', body: JSON.stringify(seen) });
