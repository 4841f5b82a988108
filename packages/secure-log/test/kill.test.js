import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
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

const strace = await hasStrace();
for (const store of ['sqlite', 'file']) {
  test(`${store}: nothing is acknowledged before all of it is on the disk`, { timeout: 60_000, skip: !strace }, async (t) => {
    const at = place(t);
    const trace = join(at.root, 'trace');
    const calls = 'trace=fsync,fdatasync,write,writev,pwrite64,pwritev';
    const child = spawn('strace', ['-f', '-y', '-qq', '-e', calls, '-o', trace, process.execPath, writer, JSON.stringify(options(at, store)), '30'], { stdio: 'ignore' });
    assert.deepEqual(await once(child, 'exit'), [0, null]);
    const unsynced = new Set();
    const syncing = new Map();
    let acknowledged = 0;
    let writes = 0;
    for (const line of readFileSync(trace, 'utf8').split('\n')) {
      const [, thread, call, number, path] = line.match(/^(\d+) +(\w+)\((\d+)<([^>]*)>/) ?? line.match(/^(\d+) +<\.\.\. (\w+) resumed/) ?? [];
      if (call === undefined) continue;
      if (number === '1' && call === 'write') {
        acknowledged += 1;
        assert.deepEqual([...unsynced], [], `written, not synced, and ${acknowledged} is acknowledged`);
      } else if (call.includes('sync')) {
        if (path !== undefined) syncing.set(thread, path);
        if (line.endsWith('= 0')) unsynced.delete(syncing.get(thread));
      } else if (path?.startsWith(at.data) && !path.includes('.lease')) {
        writes += 1;
        unsynced.add(path);
      }
    }
    assert.equal(acknowledged, 30);
    assert.ok(writes >= 30, `${writes} writes`);
  });
}

async function hasStrace() {
  const child = spawn('strace', ['-V'], { stdio: 'ignore' });
  return new Promise((resolve) => {
    child.on('error', () => resolve(false));
    child.on('exit', (code) => resolve(code === 0));
  });
}
