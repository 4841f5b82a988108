import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { open, options, place } from './support.js';

const writer = fileURLToPath(new URL('./writer.js', import.meta.url));

for (const store of ['sqlite', 'file']) {
  test(`${store}: what was acknowledged is there after kill -9`, { timeout: 120_000 }, async (t) => {
    const at = place(t);
    let acknowledged = 0n;
    for (const limit of [1, 40, 25]) {
      const child = spawn(process.execPath, [writer, JSON.stringify(options(at, store, { waitMs: 20_000 }))]);
      let said = '';
      let errors = '';
      child.stderr.on('data', (data) => (errors += data));
      await new Promise((resolve, reject) => {
        child.stdout.on('data', (data) => {
          said += data;
          if (said.split('\n').length > limit) child.kill('SIGKILL');
        });
        child.on('error', reject);
        child.on('exit', resolve);
      });
      const numbers = said.split('\n').slice(0, -1).map(BigInt);
      assert.ok(numbers.length >= limit, errors);
      acknowledged = numbers.at(-1);
      const log = await open(at, store, { waitMs: 20_000 });
      const head = log.head('s').seqno;
      assert.ok(head >= acknowledged, `${acknowledged} was acknowledged, ${head} is there`);
      assert.equal(log.verifyChain('s').payloadsChecked, head);
      log.close();
    }
    assert.ok(acknowledged >= 66n);
  });
}

test('each append reaches the disk before it returns', { timeout: 60_000, skip: !(await hasStrace()) }, async (t) => {
  const at = place(t);
  const trace = spawn('strace', ['-f', '-qq', '-e', 'trace=fsync,fdatasync', process.execPath, writer, JSON.stringify(options(at, 'file')), '30']);
  let calls = '';
  trace.stderr.on('data', (data) => (calls += data));
  await once(trace, 'exit');
  const syncs = calls.match(/f(data)?sync\(/g) ?? [];
  assert.ok(syncs.length >= 30, `${syncs.length} syncs for 30 appends`);
});

async function hasStrace() {
  const child = spawn('strace', ['-V'], { stdio: 'ignore' });
  return new Promise((resolve) => {
    child.on('error', () => resolve(false));
    child.on('exit', (code) => resolve(code === 0));
  });
}
