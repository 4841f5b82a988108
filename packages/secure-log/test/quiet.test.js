import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const writer = fileURLToPath(new URL('./writer.js', import.meta.url));

test('no variable makes the package print what is logged', () => {
  const env = { ...process.env, JCO_DEBUG: '1', DEBUG: '*' };
  const ran = spawnSync(process.execPath, [writer, JSON.stringify({ store: 'memory' }), '3'], { env, encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stderr);
  assert.equal(ran.stdout, '1\n2\n3\n');
  assert.equal(ran.stderr, '');
});

test('a page is told about every module of the component', () => {
  const made = readdirSync(new URL('../dist/sqlite', import.meta.url)).filter((name) => name.endsWith('.wasm'));
  const source = readFileSync(new URL('../src/browser.js', import.meta.url), 'utf8');
  for (const name of made) assert.ok(source.includes(`../dist/sqlite/${name}`), `src/browser.js leaves out ${name}`);
});
