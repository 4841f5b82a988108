import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { openLog, SecureLogError } from 'secure-log';
import { STORES, all, open, options, place, text } from './support.js';

for (const store of STORES) {
  test(`${store}: what is appended is chained, sealed, signed, proven and read back`, async (t) => {
    const log = await open(place(t), store);
    const first = log.append({ streamId: 'doors', eventType: 'opened', payload: 'front door', producer: 'gate 1' });
    assert.equal(first.seqno, 1n);
    assert.equal(first.entryHash.length, 32);
    const more = log.appendBatch([
      { streamId: 'doors', eventType: 'closed', payload: new Uint8Array([1, 2, 3]), severity: 'notice', id: 'x' },
      { streamId: 'lifts', eventType: 'called', payload: '' },
    ]);
    assert.deepEqual(more.map((r) => r.seqno), [2n, 1n]);
    const entry = log.read('doors', 2n);
    assert.deepEqual(entry.header.prevHash, first.entryHash);
    assert.deepEqual([entry.header.eventId, entry.header.severity], ['x', 'notice']);
    assert.equal(text(log.readPayload('doors', 1n)), 'front door');
    assert.equal(log.head('doors').seqno, 2n);
    assert.equal(log.head('nobody'), undefined);
    assert.equal(log.verifyChain('doors').entriesChecked, 2n);

    const checkpoint = log.sign('audit');
    assert.equal(checkpoint.origin, 'example.com/log');
    assert.equal(log.sign('audit'), undefined, 'nothing is new');
    const key = log.verifierKey('audit');
    assert.equal(log.verifyCheckpointChain([key]).signaturesVerified, 1n);
    const file = log.proofFile('doors', 1n);
    assert.equal(log.verifyProofFile(file, [key]).header.seqno, 1n);
    const leaf = createHash('sha256').update(Buffer.concat([Buffer.from([0]), log.read('doors', 1n).headerBytes])).digest();
    assert.deepEqual(Buffer.from(log.log.buildInclusionProof('doors', 1n).leafHash), leaf, 'RFC 6962');
    log.checkAgainst(checkpoint.note);
    assert.deepEqual(log.listStreams().map((s) => s.streamId), ['_log', 'doors', 'lifts']);

    const lines = (await all(log.exportLines([key]))).join('');
    assert.ok(lines.startsWith('{"secure-log-export"') && lines.endsWith('\n'));
  });

  test(`${store}: queries and exports are read page by page`, async (t) => {
    const log = await open(place(t), store);
    const event = (n) => ({ streamId: n % 2 ? 'odd' : 'even', eventType: 'e', payload: `${n}` });
    for (let n = 0; n < 2500; n += 500) log.appendBatch(Array.from({ length: 500 }, (_, i) => event(n + i)));
    assert.equal((await all(log.query())).length, 2500 + 3, 'with those of _log');
    const odd = await all(log.query({ streamId: 'odd' }));
    assert.deepEqual(odd.map((e) => e.header.seqno), Array.from({ length: 1250 }, (_, i) => BigInt(i + 1)));
    for await (const entry of log.query({ streamId: 'even' })) {
      assert.equal(entry.header.seqno, 1n);
      break;
    }
  });

  test(`${store}: errors say by their kind what to do`, async (t) => {
    const log = await open(place(t), store);
    log.append({ streamId: 'doors', eventType: 'opened', payload: 'x', id: 'one' });
    const kinds = [
      ['not-found', () => log.read('doors', 7n), (d) => d.what === 'entry' && d.number === 7n],
      ['not-found', () => log.signSegment('nobody', 1n), (d) => d.what !== undefined],
      ['invalid', () => log.append({ streamId: '', eventType: 'e', payload: '' }), (d) => d.field.includes('stream')],
      ['invalid', () => log.append({ streamId: 's', eventType: '', payload: '' }), (d) => d.reason.length > 0],
      ['conflict', () => log.append({ streamId: 'doors', eventType: 'other', payload: 'x', id: 'one' }), (d) => d.streamId === 'doors'],
      ['conflict', () => log.appendBatch([{ streamId: 's', eventType: 'e', payload: '' }], [{ streamId: 'doors', seqno: 9n, entryHash: new Uint8Array(32).fill(1) }]), (d) => d.actual.seqno === 1n],
      ['denied', () => log.append({ streamId: '_log', eventType: 'e', payload: '' }), undefined],
      ['invalid', () => log.verifyCheckpointChain(['garbage']), (d) => d.field === 'verifier key'],
    ];
    for (const [kind, call, holds] of kinds) {
      assert.throws(call, (error) => {
        assert.ok(error instanceof SecureLogError, String(error));
        assert.ok(error.is(kind), `${error.kind} instead of ${kind}: ${error.message}`);
        if (holds) assert.ok(holds(error.detail), error.message);
        return error.message.startsWith(kind);
      });
    }
    assert.equal(log.append({ streamId: 'doors', eventType: 'opened', payload: 'x', id: 'one' }).seqno, 1n, 'the same event');
    assert.equal(log.verifyChain('doors').entriesChecked, 1n, 'nothing was half-written');
  });

  test(`${store}: a text that begins with a byte order mark is another one than without`, async (t) => {
    const log = await open(place(t), store);
    for (const streamId of ['s', '\ufeffs']) log.append({ streamId, eventType: '\ufeffe', payload: streamId });
    assert.deepEqual(log.listStreams().map((s) => s.streamId), ['_log', 's', '\ufeffs']);
    assert.equal(log.read('\ufeffs', 1n).header.eventType, '\ufeffe');
  });

  test(`${store}: arguments of the wrong type are refused and the log goes on`, async (t) => {
    const log = await open(place(t), store);
    for (const call of [
      () => log.append({ streamId: 7, eventType: 'e', payload: '' }),
      () => log.append({ streamId: 's', eventType: 'e', payload: 12 }),
      () => log.append({ streamId: 's', eventType: 'e', payload: '', severity: 'loud' }),
      () => log.read('s', 'one'),
      () => log.read('s', -1n),
      () => log.appendBatch([null]),
      () => log.checkAgainst({}),
      () => log.log.query({}, { limit: 5_000_000_000 }),
    ]) {
      assert.throws(call);
    }
    assert.equal(log.append({ streamId: 's', eventType: 'e', payload: 'ok' }).seqno, 1n);
  });
}

for (const store of ['sqlite', 'file']) {
  test(`${store}: a log is continued by the next process, and two at once do not mix`, async (t) => {
    const at = place(t);
    const log = await open(at, store);
    log.append({ streamId: 's', eventType: 'e', payload: '1' });
    await assert.rejects(openLog(options(at, store, { waitMs: 0 })), (error) => error instanceof SecureLogError && error.is('busy'));
    const other = await open(at, store, { name: 'other' });
    assert.equal(other.head('s'), undefined);
    log.close();
    log.close();
    assert.throws(() => log.head('s'), (error) => error.is('invalid'));
    const again = await open(at, store);
    assert.equal(again.append({ streamId: 's', eventType: 'e', payload: '2' }).seqno, 2n);
    assert.equal(again.verifyChain('s').payloadsChecked, 2n);
  });

  test(`${store}: a changed byte is found`, async (t) => {
    const at = place(t);
    const log = await open(at, store);
    log.append({ streamId: 's', eventType: 'e', payload: 'a text that is easy to find' });
    log.close();
    const path = store === 'sqlite' ? join(at.data, 'audit.db') : findPayload(at.data);
    const bytes = readFileSync(path);
    const found = bytes.indexOf('easy to find');
    assert.ok(found > 0);
    bytes[found] ^= 1;
    writeFileSync(path, bytes);
    const again = await open(at, store);
    assert.throws(() => again.verifyChain('s'), (error) => error.is('corrupt') && error.detail.seqno === 1n);
  });
}

function findPayload(data) {
  const { stdout } = spawnSync('grep', ['-rl', 'easy to find', data]);
  return stdout.toString().split('\n')[0];
}

test('options that make no sense are refused in words', async (t) => {
  const at = place(t);
  for (const [given, says] of [
    [undefined, 'give it an object'],
    [{}, 'there are file, sqlite, memory'],
    [{ store: 'postgres' }, '"postgres"'],
    [{ store: 'file' }, 'needs a directory'],
    [{ store: 'memory', directory: at.data }, 'no directory'],
    [{ store: 'sqlite', directory: join(at.root, 'nothing') }, 'no such directory'],
    [{ store: 'sqlite', directory: at.data, name: '../escape' }, 'no folders'],
    [{ store: 'sqlite', directory: at.data, name: '.' }, 'no folders'],
    [{ store: 'memory', generateKeys: true }, 'needs keys'],
    [{ store: 'memory', waitMs: 0.5 }, 'milliseconds'],
  ]) {
    await assert.rejects(openLog(given), (error) => error instanceof TypeError && error.message.includes(says));
  }
});

test('a log closes itself where `await using` ends', async (t) => {
  const at = place(t);
  const log = await openLog(options(at, 'file'));
  await log[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
  const again = await openLog(options(at, 'file', { waitMs: 0 }));
  again.close();
});

test('the example of the README runs as it is written', (t) => {
  const at = place(t);
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const example = readme.match(/```js\n(import[\s\S]*?)```/)[1];
  const script = fileURLToPath(new URL(`./example-${process.pid}.js`, import.meta.url));
  writeFileSync(script, example);
  t.after(() => spawnSync('rm', [script]));
  const ran = spawnSync(process.execPath, [script], { cwd: at.root, encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stderr);
  assert.match(ran.stdout, /entry 1 holds/);
});
