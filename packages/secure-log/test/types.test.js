import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));
const source = fileURLToPath(new URL('./types.ts', import.meta.url));

for (const [module, resolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
  test(`types hold, errors narrow by their kind (${resolution})`, () => {
    const flags = ['--noEmit', '--strict', '--target', 'es2023', '--lib', 'es2023,dom,esnext.disposable', '--typeRoots', 'none'];
    const ran = spawnSync(process.execPath, [tsc, ...flags, '--module', module, '--moduleResolution', resolution, source], { encoding: 'utf8' });
    assert.equal(ran.status, 0, ran.stdout);
  });
}
