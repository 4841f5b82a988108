import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { SecureLogError, openLog } from 'secure-log';
import schema from '../dist/schema.js';
import { STORES, open, options, place, text } from './support.js';

const event = (more) => ({ streamId: 's', eventType: 'e', payload: 'x', ...more });

/** @param {string} field */
const invalid = (field) => (error) => error instanceof SecureLogError && error.is('invalid') && error.detail.field === field;

for (const store of STORES) {
  test(`${store}: what JavaScript would turn into another value is refused, and nothing is logged`, async (t) => {
    const log = await open(place(t), store);
    log.append(event());
    const transferred = new Uint8Array(8);
    structuredClone(transferred.buffer, { transfer: [transferred.buffer] });
    const refused = [
      ['events[0].payload', () => log.append(event({ payload: [1, 2, 300] }))],
      ['events[0].payload', () => log.append(event({ payload: new Uint16Array([1, 2]) }))],
      ['events[0].payload', () => log.append(event({ payload: new ArrayBuffer(4) }))],
      ['events[0].payload', () => log.append(event({ payload: new DataView(new ArrayBuffer(4)) }))],
      ['events[0].payload', () => log.append(event({ payload: { length: 5 } }))],
      ['events[0].payload', () => log.append(event({ payload: transferred }))],
      ['events[0].payload', () => log.append(event({ payload: undefined }))],
      ['payload', () => log.append(event({ payload: 'half \ud800' }))],
      ['events[0].eventType', () => log.append(event({ eventType: 'half \udc00' }))],
      ['events[0].streamId', () => log.append(event({ streamId: 7 }))],
      ['events[0].severity', () => log.append(event({ severity: 'loud' }))],
      ['events[0].severity', () => log.append(event({ severity: null }))],
      ['events[0].evntId', () => log.append(event({ evntId: 'a typing error' }))],
      ['events[0]', () => log.append(null)],
      ['events', () => log.appendBatch({})],
      ['events[1]', () => log.appendBatch([event(), 7])],
      ['expect[0].seqno', () => log.appendBatch([event()], [{ streamId: 's', seqno: 1, entryHash: new Uint8Array(32) }])],
      ['seqno', () => log.read('s', 1)],
      ['seqno', () => log.read('s', -1n)],
      ['seqno', () => log.read('s', 2n ** 64n + 1n)],
      ['page.limit', () => log.log.query({}, { limit: 2 ** 32 + 1 })],
      ['page.limit', () => log.log.query({}, { limit: 1.5 })],
      ['filter.stream', () => log.log.query({ stream: 's' }, { limit: 1 })],
      ['filter', () => log.log.query(null, { limit: 1 })],
      ['status', () => log.witness.accept(1n, new Uint8Array(), [], 65_536 + 200, new Uint8Array())],
      ['subject.tag', () => log.time.tokens({ tag: 'nothing', val: 1n })],
      ['subject.val', () => log.time.tokens({ tag: 'checkpoint', val: 1 })],
      ['arguments', () => log.log.head('s', 's')],
      ['note', () => log.checkAgainst({})],
    ];
    for (const [field, call] of refused) assert.throws(call, invalid(field), `${field}: ${call}`);
    assert.throws(() => log.append({ get streamId() { throw new Error('of the caller'); } }), /of the caller/);
    await assert.rejects(log.query({ streamId: 7 }).next(), invalid('filter.streamId'));
    assert.equal(log.head('s').seqno, 1n);
    const bytes = Buffer.from('a buffer in a pool');
    assert.equal(log.append(event({ payload: bytes, severity: undefined, id: undefined })).seqno, 2n);
    assert.equal(text(log.readPayload('s', 2n)), 'a buffer in a pool');
  });

  test(`${store}: random calls are answered or refused, and never end the instance`, { timeout: 120_000 }, async (t) => {
    const log = await open(place(t), store);
    log.appendBatch([event(), event({ streamId: 'kept' })]);
    log.sign('audit');
    const next = generator(20_260_101);
    const names = ['log', 'checkpoint', 'witness', 'time', 'encoder'];
    const kinds = new Set();
    for (let n = 0; n < 600; n++) {
      const name = names[next(names.length)];
      const calls = Object.keys(schema.functions[name]).filter((call) => !['open', 'close', 'backup'].includes(call));
      const call = calls[next(calls.length)];
      const args = schema.functions[name][call].map(([, type]) => (next(8) === 0 ? strange(next) : fitting(type, next)));
      try {
        log[name][call](...args);
        kinds.add('answered');
      } catch (error) {
        assert.ok(error instanceof SecureLogError, `${name}.${call}: ${error.stack}`);
        kinds.add(error.kind);
      }
    }
    for (const kind of ['answered', 'invalid', 'not-found', 'denied']) assert.ok(kinds.has(kind), `${kind} among ${[...kinds]}`);
    const { seqno } = log.head('s');
    assert.equal(log.verifyChain('s').entriesChecked, seqno);
    assert.equal(log.append(event({ streamId: 'kept' })).seqno, 2n);
    assert.equal(log.verifyChain('kept').payloadsChecked, 2n);
  });
}

/** Numbers below a limit, the same in every run (xorshift32). */
function generator(state) {
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

const TEXTS = ['s', '_log', 'audit', '', 'e', 'example.com/log', '\u0000', '../..', '🂡'.repeat(300), '1', 'a+00000000+AAAA'];
const STRANGE = [undefined, null, NaN, -1, 2n ** 70n, {}, [], () => 1, Symbol('s'), new Date(0), 'x\ud800', new Float64Array(2)];
const strange = (next) => STRANGE[next(STRANGE.length)];

/** A value of a type. */
function fitting(type, next) {
  const of = type.named ? schema.types[type.named] : type;
  if (of.named) return fitting(of, next);
  if (of === 'string') return TEXTS[next(TEXTS.length)];
  if (of === 'bytes') return Uint8Array.from({ length: [0, 16, 32, 33, 700][next(5)] }, () => next(256));
  if (of === 'u64') return [0n, 1n, 2n, 3n, 2n ** 64n - 1n][next(5)];
  if (of === 'bool') return next(2) === 1;
  if (typeof of === 'string') return [0, 1, 200, 255][next(4)];
  if (of.option) return next(2) ? undefined : fitting(of.option, next);
  if (of.list) return Array.from({ length: next(3) }, () => fitting(of.list, next));
  if (of.enum) return of.enum[next(of.enum.length)];
  if (of.record) return Object.fromEntries(of.record.map(([name, inner]) => [name, fitting(inner, next)]));
  const [tag, held] = of.variant[next(of.variant.length)];
  return held ? { tag, val: fitting(held, next) } : { tag };
}

for (const store of ['sqlite', 'file']) {
  test(`${store}: a disk that takes no more is an error of the call; the log goes on when there is room`, { skip: process.platform === 'win32' }, async (t) => {
    const at = place(t);
    const filler = fileURLToPath(new URL('./filler.js', import.meta.url));
    // No file may grow beyond 400 blocks in that process.
    const limited = `ulimit -f 400; exec "$0" "$@"`;
    const ran = spawnSync('sh', ['-c', limited, process.execPath, filler, JSON.stringify(options(at, store))], { encoding: 'utf8', timeout: 60_000 });
    assert.equal(ran.status, 0, ran.stderr);
    const { kind, message, acknowledged, verified } = JSON.parse(ran.stdout);
    assert.equal(kind, 'storage');
    assert.match(message, /too large/i);
    assert.ok(acknowledged > 0);
    assert.equal(verified, acknowledged);
    const log = await openLog(options(at, store));
    assert.equal(log.verifyChain('s').payloadsChecked, BigInt(acknowledged));
    assert.equal(log.append(event()).seqno, BigInt(acknowledged) + 1n);
    log.close();
  });
}
