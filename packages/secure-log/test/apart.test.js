import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import * as shim from '@bytecodealliance/preview2-shim/filesystem';
import { openLog } from 'secure-log';
import { open, options, place } from './support.js';

const POSIX = process.platform !== 'win32';

/** For `assert.rejects`: a TypeError with these words. */
const refused = (says) => (error) => error instanceof TypeError && says.test(error.message);

test('private keys lie apart from the log, and others cannot reach them', async (t) => {
  const at = place(t);
  const inner = join(at.data, 'keys');
  mkdirSync(inner, { mode: 0o700 });
  const link = join(at.root, 'link');
  symlinkSync(at.data, link, 'junction');
  for (const [directory, keys] of [[at.data, at.data], [at.data, inner], [inner, at.data], [at.data, link], [at.root, at.keys]]) {
    await assert.rejects(openLog({ store: 'sqlite', directory, keys }), refused(/one another/), `${directory} ${keys}`);
  }
  assert.deepEqual(readdirSync(at.data), ['keys']);
  for (const mode of POSIX ? [0o710, 0o704, 0o755] : []) {
    chmodSync(at.keys, mode);
    await assert.rejects(openLog(options(at, 'sqlite')), refused(/chmod 700/));
  }
  chmodSync(at.keys, 0o700);
  await open(at, 'sqlite');
});

test('options that are not known are refused', async () => {
  await assert.rejects(openLog({ store: 'memory', generatekeys: true }), refused(/no option generatekeys; there are store/));
  await assert.rejects(openLog({ store: 'memory', env: { A: 1 } }), refused(/env\.A/));
});

test('what could not be signed is signed the next time', async (t) => {
  const at = place(t);
  const log = await open(at, 'sqlite', { generateKeys: false });
  log.append({ streamId: 's', eventType: 'e', payload: 'x' });
  assert.throws(() => log.sign('audit'), (error) => error.kind === 'not-found');
  const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(join(at.keys, 'audit.pem'), pem, { mode: 0o600 });
  const { size } = log.sign('audit');
  assert.ok(size >= log.listSegments('s').at(-1).segmentId);
  assert.equal(log.verifyCheckpointChain([log.verifierKey('audit')]).entriesUncovered, 0n);
  assert.equal(log.sign('audit'), undefined);
});

for (const store of ['sqlite', 'file']) {
  test(`${store}: a copy lies beside the log and opens as one`, async (t) => {
    const at = place(t);
    const log = await open(at, store);
    log.append({ streamId: 's', eventType: 'e', payload: 'x' });
    log.backup('copy');
    assert.throws(() => log.backup('copy'), (error) => error.kind === 'conflict');
    for (const name of ['../copy', '/copy', 'a/b', '', '.', undefined]) assert.throws(() => log.backup(name), TypeError);
    assert.equal((await open(at, store, { name: 'copy' })).verifyChain('s').payloadsChecked, 1n);
  });
}

test('a log in memory has no copy', async (t) => {
  const log = await open(place(t), 'memory');
  assert.throws(() => log.backup('copy'), /exportLines/);
});

test('a link that is turned while the log is open changes nothing', { skip: !POSIX }, async (t) => {
  const at = place(t);
  const [link, other] = [join(at.root, 'link'), join(at.root, 'other')];
  mkdirSync(other);
  symlinkSync(at.data, link);
  const log = await openLog({ store: 'file', directory: link });
  log.append({ streamId: 's', eventType: 'e', payload: '1' });
  symlinkSync(other, `${link}.new`);
  renameSync(`${link}.new`, link);
  log.append({ streamId: 's', eventType: 'e', payload: '2' });
  log.backup('copy');
  assert.equal(log.verifyChain('s').payloadsChecked, 2n);
  log.close();
  assert.deepEqual(readdirSync(other), []);
});

test('the shim is as it was for everybody else', async (t) => {
  const before = Object.getOwnPropertyDescriptors(shim.types.Descriptor.prototype);
  const log = await open(place(t), 'file');
  log.append({ streamId: 's', eventType: 'e', payload: 'x' });
  assert.deepEqual(Object.getOwnPropertyDescriptors(shim.types.Descriptor.prototype), before);
  assert.deepEqual(shim.preopens.getDirectories(), []);
});
