import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { openLog } from 'secure-log';
import { open, options, place } from './support.js';

/** Everything that is reachable from a directory, as the component could write it. */
const outside = ['/data/../outside.db', '/outside.db', '../outside.db', '/keys/../outside.db', '/data/up/outside.db', '/data/abs/outside.db'];

for (const store of ['sqlite', 'file']) {
  test(`${store}: no directory but the given one is reachable`, async (t) => {
    const at = place(t);
    mkdirSync(join(at.root, 'elsewhere'));
    symlinkSync('..', join(at.data, 'up'));
    symlinkSync(join(at.root, 'elsewhere'), join(at.data, 'abs'));
    symlinkSync(join(at.root, 'target.db'), join(at.data, 'link.db'));
    const before = readdirSync(at.root);
    const log = await open(at, store);
    log.append({ streamId: 's', eventType: 'e', payload: 'x' });
    for (const path of [...outside, '/data/link.db', join(at.root, 'outside.db'), '/tmp/outside.db']) {
      // `backup` takes a path of the caller's and writes there.
      assert.throws(() => log.log.backup(path), undefined, path);
    }
    log.log.backup('/data/copy.db');
    log.close();
    assert.deepEqual(readdirSync(at.root), before);
    assert.deepEqual(readdirSync(join(at.root, 'elsewhere')), []);
    assert.ok(!existsSync('/tmp/outside.db') && !existsSync('/outside.db'));
  });
}

test('the environment and the working directory of the process are not there', async (t) => {
  const at = place(t);
  writeFileSync(join(at.root, 'audit.pem'), 'not a key');
  process.env.SECURE_LOG_KEYSTORE_DIR = at.root;
  process.env.SECURE_LOG_KEYSTORE_GENERATE = '1';
  t.after(() => {
    delete process.env.SECURE_LOG_KEYSTORE_DIR;
    delete process.env.SECURE_LOG_KEYSTORE_GENERATE;
  });
  const log = await openLog({ store: 'memory' });
  log.append({ streamId: 's', eventType: 'e', payload: 'x' });
  // With that directory it would have failed on what is no key; without one, keys live as long as the log.
  assert.equal(log.sign('audit').origin, log.log.origin());
  log.close();
  assert.deepEqual(readdirSync(at.root).sort(), ['audit.pem', 'data', 'keys']);
});

test('instances see their own directories, not those of others', async (t) => {
  const [a, b] = [place(t), place(t)];
  const [one, two] = [await open(a, 'file'), await open(b, 'file')];
  one.append({ streamId: 's', eventType: 'e', payload: 'in a' });
  two.append({ streamId: 's', eventType: 'e', payload: 'in b' });
  two.append({ streamId: 's', eventType: 'e', payload: 'in b' });
  assert.equal(one.head('s').seqno, 1n);
  assert.equal(two.head('s').seqno, 2n);
  assert.ok(existsSync(join(a.data, 'audit.log')) && existsSync(join(b.data, 'audit.log')));
});

test('keys lie in a directory of their own', async (t) => {
  const at = place(t);
  const log = await openLog(options(at, 'sqlite'));
  log.append({ streamId: 's', eventType: 'e', payload: 'x' });
  log.sign('audit');
  log.close();
  assert.deepEqual(readdirSync(at.keys), ['audit.pem']);
  assert.ok(readdirSync(at.data).every((name) => !name.endsWith('.pem')));
});
