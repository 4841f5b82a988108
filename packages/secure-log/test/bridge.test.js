import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Blocks } from './fixed.js';
import { open, place } from './support.js';

const bridge = fileURLToPath(new URL('./bridge.js', import.meta.url));
const KEYS = ['--env', 'SECURE_LOG_KEYSTORE_DIR=/keys', '--env', 'SECURE_LOG_KEYSTORE_GENERATE=1'];

/** What the bridge answers to calls, in a folder of its own. */
function run(at, store, seed, calls) {
  const input = calls.map((call) => (typeof call === 'string' ? call : JSON.stringify(call))).join('\n');
  const ran = spawnSync(process.execPath, [bridge, store, seed, `/data=${at.data}`, `/keys=${at.keys}`, ...KEYS], { input, encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stderr);
  return ran.stdout.split('\n').slice(0, -1).map((line) => JSON.parse(line));
}

const call = (name, ...args) => ({ id: name, interface: 'log', call: name, args });
const u64 = (n) => ({ u64: `${n}` });
const NAMES = { file: 'audit.log', sqlite: 'audit.db' };

for (const store of ['file', 'sqlite']) {
  const calls = [
    call('open', `/data/${NAMES[store]}`),
    call('append', 'doors', 'opened', 'notice', 'gate', { hex: '00ff' }),
    call('create-stream-with', 'sealed', { tier: 'protected', retentionMs: u64(5) }),
    call('append-batch', [{ streamId: 'sealed', eventType: 'e', severity: 'alert', producer: 'p', payload: { hex: '' }, id: 'x' }], []),
    call('close-segments'),
    { interface: 'checkpoint', call: 'sign-segment', args: ['audit', u64(5)] },
    call('read', 'doors', u64(7)),
    call('read', 'doors', u64(2n ** 64n)),
    call('read', 'doors', { hex: '0g' }),
    call('nothing'),
    'garbage',
    call('head', 'nobody'),
    call('close'),
  ];

  test(`bridge, ${store}: the same calls with the same seed give the same answers, down to the last byte`, async (t) => {
    const [a, b, c] = [place(t), place(t), place(t)];
    const answers = run(a, store, 'seed', calls);
    assert.deepEqual(run(b, store, 'seed', calls), answers);
    assert.equal(answers.length, calls.length);
    const [, appended, , , segments, signed, missing, tooLarge, noHex, unknown, garbage, head, closed] = answers;
    assert.deepEqual(appended.ok.seqno, u64(1));
    assert.deepEqual(segments.ok.map((s) => s.segmentId), [u64(4), u64(5)]);
    assert.match(signed.ok.note, /^secure-log\.invalid/);
    assert.equal(signed.id, undefined);
    assert.equal(missing.err.tag, 'not-found');
    assert.deepEqual(missing.err.val.number, u64(7));
    for (const { failed } of [tooLarge, noHex, unknown, garbage]) assert.equal(typeof failed, 'string');
    assert.deepEqual([head, closed], [{ id: 'head', ok: null }, { id: 'close', ok: null }]);
    assert.notDeepEqual(run(c, store, 'another seed', calls)[1], appended);
    assert.deepEqual(readFileSync(join(a.keys, 'audit.pem')), readFileSync(join(b.keys, 'audit.pem')));
    if (store === 'file') assert.deepEqual(readFileSync(join(a.data, 'audit.log')), readFileSync(join(b.data, 'audit.log')));

    const log = await open(a, store, { origin: undefined });
    const { header, entryHash } = log.read('doors', 1n);
    assert.equal(Buffer.from(entryHash).toString('hex'), appended.ok.entryHash.hex);
    assert.ok(header.timeMs >= 1_800_000_000_000n && header.timeMs < 1_800_000_000_100n, `${header.timeMs}`);
    assert.equal(log.verifyCheckpointChain([log.verifierKey('audit')]).checkpoints, 1n);
    assert.ok(readdirSync(a.data).length > 0);
  });
}

test('the random bytes of the bridge are blocks of SHA-256', () => {
  const blocks = new Blocks(Buffer.from('seed'));
  const taken = [1, 0, 62, 8, 32].map((length) => blocks.take(length));
  const expected = [0, 1, 2, 3].map((n) => createHash('sha256').update('seed').update(Uint8Array.of(n, 0, 0, 0, 0, 0, 0, 0)).digest());
  assert.deepEqual(Buffer.concat(taken), Buffer.concat(expected).subarray(0, 103));
});
