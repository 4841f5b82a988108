// The same calls to the same component here and under wasmtime, with one clock and one source of randomness: every answer
// is the same, byte for byte. SECURE_LOG_BRIDGE names verify's example `bridge`, built.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { instantiate } from '../src/instance.js';
import { SecureLog, SecureLogError } from '../src/node.js';
import { fixed } from './fixed.js';
import { place } from './support.js';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const bridge = process.env.SECURE_LOG_BRIDGE ?? join(repository, 'verify/target/release/examples/bridge');
const component = (name) => join(repository, `dist/components/single-${name}.wasm`);
const SEED = 'the same on both sides';

/** JSON that both sides write alike. */
function plain(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === 'bigint') return { u64: `${value}` };
  if (value instanceof Uint8Array) return value.length === 0 ? [] : { hex: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object') return value;
  const fields = Object.entries(value).filter(([, v]) => v !== undefined);
  return Object.fromEntries(fields.map(([k, v]) => [k, plain(v)]));
}

/** Arguments may be empty bytes, where the type says what they are. */
const argument = (value) => (value instanceof Uint8Array ? { hex: Buffer.from(value).toString('hex') } : Array.isArray(value) ? value.map(argument)
  : value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined).map(([k, v]) => [k, argument(v)])) : plain(value));

/** Under wasmtime. */
function wasmtime(name, place, keys) {
  const child = spawn(bridge, [component(name), SEED, `/data=${place.data}`, `/keys=${keys}`, '--env', 'SECURE_LOG_KEYSTORE_DIR=/keys'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async call(iface, name, args) {
      const kebab = name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
      child.stdin.write(`${JSON.stringify({ interface: iface, call: kebab, args: args.map(argument) })}\n`);
      const { value, done } = await lines.next();
      assert.ok(!done, 'the bridge ended');
      return JSON.parse(value);
    },
    async end() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

/** Here: clock and randomness as the bridge has them. */
async function node(name, place, keys) {
  const { instantiate: make } = await import(`../dist/${name}/${name}.js`);
  const compiled = (path) => WebAssembly.compile(readFileSync(new URL(`../dist/${name}/${path}`, import.meta.url)));
  const sandbox = { preopens: { '/data': place.data, '/keys': keys }, env: { SECURE_LOG_KEYSTORE_DIR: '/keys' } };
  const log = new SecureLog(await instantiate(make, compiled, sandbox, fixed(Buffer.from(SEED))), { producer: 'here' });
  return {
    async call(iface, name, args) {
      try {
        return { ok: plain(log[iface][name](...args)) };
      } catch (error) {
        if (!(error instanceof SecureLogError)) throw error;
        return { err: plain({ tag: error.kind, val: error.detail }) };
      }
    },
    async end() {},
  };
}

/** A key that signs the same way everywhere: Ed25519 is deterministic. */
function keyIn(directory) {
  const seed = createHash('sha256').update('a key for tests').digest();
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  for (const name of ['audit', 'personal', 'newer']) {
    const text = name === 'audit' ? key.export({ format: 'pem', type: 'pkcs8' }) : undefined;
    if (text) writeFileSync(join(directory, `${name}.pem`), text, { mode: 0o600 });
  }
}

const bytes = (text) => new TextEncoder().encode(text);
const event = (streamId, n, more = {}) => ({ streamId, eventType: `type-${n % 3}`, severity: ['debug', 'notice', 'alert'][n % 3], producer: `p${n % 2}`, payload: bytes(`payload ${n} of ${streamId}`), ...more });

/** Everything that a log does, errors among it. `say` runs a call on both sides. */
async function scenario(say) {
  await say('log', 'head', 'nothing-is-open-yet');
  await say('log', 'open', ':memory:');
  await say('log', 'setOrigin', 'example.com/same');
  await say('log', 'setBootId', 'boot-1');
  await say('log', 'createStream', 'doors', 'public', 'what doors do');
  await say('log', 'createStream', 'doors', 'public', undefined);
  await say('log', 'createStreamWith', 'people', { tier: 'public', erasureDomain: 'customer-7', retentionMs: undefined });
  await say('log', 'append', 'doors', 'opened', 'notice', 'gate', bytes('front'));
  for (let n = 0; n < 700; n += 100) {
    const batch = Array.from({ length: 100 }, (_, i) => event(i % 4 ? 'doors' : 'lifts', n + i, i % 10 ? {} : { id: `id-${n + i}`, payloadEncoding: 'text/plain' }));
    await say('log', 'appendBatch', batch, []);
  }
  await say('log', 'appendBatch', [event('doors', 1, { id: 'id-10' })], []);
  await say('log', 'appendBatch', [event('people', 1), event('people', 2, { objectRef: 's3://elsewhere/2' })], []);
  await say('log', 'append', '_log', 'x', 'notice', 'p', bytes(''));
  await say('log', 'append', 'doors', '', 'notice', 'p', bytes(''));
  await say('log', 'read', 'doors', 3n);
  await say('log', 'read', 'doors', 99999n);
  await say('log', 'readPayload', 'doors', 3n);
  await say('log', 'openEntry', 'lifts', 2n);
  await say('log', 'readHeaders', 'doors', 1n, 300n);
  const filter = { streamId: 'doors', minSeverity: 'notice', producer: 'p1' };
  const page = await say('log', 'query', filter, { cursor: undefined, limit: 50 });
  await say('log', 'query', filter, { cursor: page.ok.next, limit: 1000 });
  await say('log', 'query', {}, { cursor: 'nonsense', limit: 10 });
  await say('log', 'listStreams');
  await say('log', 'verifyChain', 'doors', 1n, 400n);
  const closed = await say('log', 'closeSegment', 'doors');
  await say('log', 'closeSegments');
  await say('checkpoint', 'getVerifierKey', 'audit');
  await say('checkpoint', 'getVerifierKey', 'nobody');
  await say('checkpoint', 'signSegment', 'audit', BigInt(closed.ok.segmentId.u64));
  await say('log', 'appendBatch', Array.from({ length: 30 }, (_, n) => event('doors', n)), []);
  const more = await say('log', 'closeSegments');
  const signed = await say('checkpoint', 'signSegment', 'audit', BigInt(more.ok.at(-1).segmentId.u64));
  const key = (await say('checkpoint', 'getVerifierKey', 'audit')).ok;
  await say('checkpoint', 'verifyCheckpointChain', [key]);
  await say('checkpoint', 'verifyCheckpointChain', []);
  for (const n of [1n, 2n, 255n, 256n, 257n, 500n, 556n]) {
    const proof = await say('log', 'buildInclusionProof', 'doors', n);
    assert.ok(proof.ok, JSON.stringify(proof));
    await say('checkpoint', 'buildEntryProof', 'doors', n);
  }
  await say('log', 'buildConsistencyProof', 'doors', 100n, 500n);
  await say('log', 'buildConsistencyProof', 'doors', 9n, 3n);
  const file = await say('checkpoint', 'buildProofFile', 'doors', 300n, undefined);
  await say('checkpoint', 'verifyProofFile', bytes(file.ok), [key], undefined);
  await say('checkpoint', 'verifyProofFile', bytes(file.ok.replace('index', 'indes')), [key], undefined);
  await say('checkpoint', 'checkAgainst', signed.ok.note);
  await say('witness', 'prepare', 2n, 3n);
  await say('witness', 'prepare', 7n, 0n);
  await say('time', 'prepare', { tag: 'checkpoint', val: 1n }, undefined);
  await say('time', 'tokens', { tag: 'entry', val: { streamId: 'doors', seqno: 1n } });
  await say('encoder', 'leafHash', bytes('leaf'));
  await say('encoder', 'decodeHeader', bytes('not a header'));
  await say('log', 'erasePayloads', 'people', 1n, 1n, 'asked for');
  await say('log', 'readPayload', 'people', 1n);
  await say('log', 'verifyChain', 'people', 1n, 2n);
  await say('log', 'deprecateStream', 'lifts');
  await say('log', 'append', 'lifts', 'x', 'notice', 'p', bytes('late'));
  await say('log', 'verifySegments', 'doors');
  for (let cursor, n = 0; n < 20; n++) {
    const { ok } = await say('log', 'exportLog', [key], cursor);
    cursor = ok.next;
    if (cursor === undefined) break;
  }
  await say('log', 'close');
}

const there = existsSync(bridge);

for (const name of ['file', 'sqlite']) {
  test(`${name}: every answer is that of wasmtime, byte for byte`, { skip: !there && 'the bridge is not built' }, async (t) => {
    const at = place(t);
    keyIn(at.keys);
    const sides = [await node(name, at, at.keys), wasmtime(name, at, at.keys)];
    let calls = 0;
    const kinds = { ok: 0, err: 0 };
    await scenario(async (iface, call, ...args) => {
      // The file store has no memory: each side has a file of its own.
      const with_ = (side) => (name === 'file' && call === 'open' ? [`/data/${side}.log`] : args);
      const [here, beside] = [await sides[0].call(iface, call, with_('node')), await sides[1].call(iface, call, with_('wasmtime'))];
      calls += 1;
      kinds['ok' in here ? 'ok' : 'err'] += 1;
      assert.deepEqual(here, beside, `${iface}.${call}(${JSON.stringify(argument(args)).slice(0, 200)})`);
      return here;
    });
    await sides[1].end();
    assert.ok(kinds.ok > 50 && kinds.err > 10, JSON.stringify(kinds));
    t.diagnostic(`${calls} calls, ${kinds.err} of them errors`);
  });

  test(`${name}: a log goes from one to the other and back`, { skip: !there && 'the bridge is not built' }, async (t) => {
    const at = place(t);
    keyIn(at.keys);
    const config = `/data/audit.${name === 'file' ? 'log' : 'db'}`;
    let expected = 0n;
    let key;
    for (const make of [node, wasmtime, node, wasmtime]) {
      const side = await make(name, at, at.keys);
      const ok = async (...call) => {
        const answer = await side.call(call[0], call[1], call.slice(2));
        assert.ok('ok' in answer, `${call[1]}: ${JSON.stringify(answer)}`);
        return answer.ok;
      };
      await ok('log', 'open', config);
      if (expected === 0n) await ok('log', 'setOrigin', 'example.com/moved');
      for (let n = 0; n < 5; n++) {
        expected += 1n;
        const { seqno } = await ok('log', 'append', 's', 'e', 'notice', 'p', bytes(`entry ${expected}`));
        assert.equal(seqno.u64, `${expected}`);
      }
      const report = await ok('log', 'verifyChain', 's', 1n, expected);
      assert.equal(report.payloadsChecked.u64, `${expected}`);
      const segment = await ok('log', 'closeSegment', 's');
      await ok('checkpoint', 'signSegment', 'audit', BigInt(segment.segmentId.u64));
      key ??= await ok('checkpoint', 'getVerifierKey', 'audit');
      await ok('checkpoint', 'verifyCheckpointChain', [key]);
      await ok('log', 'close');
      await side.end();
    }
  });
}
