import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('..', import.meta.url));

test('the types of the package hold for whoever uses it', () => {
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--lib', 'es2023,esnext.disposable,dom'];
  const ran = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', ...options, 'test/types.ts'], { cwd: HERE, encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stdout);
});
