import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const HERE = dirname(dirname(fileURLToPath(import.meta.url)));

test('what is packed is what a log needs, and what is referred to is packed', () => {
  const ran = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: HERE, encoding: 'utf8', shell: process.platform === 'win32' });
  assert.equal(ran.status, 0, ran.stderr);
  const packed = JSON.parse(ran.stdout)[0].files.map(({ path }) => path);
  const known = /^(LICENSE-(MIT|APACHE)|README\.md|package\.json|src\/[a-z]+\.js|dist\/(schema\.(js|d\.ts)|types\/[a-z]+\.d\.ts|interfaces\/secure-log-log-[a-z]+\.d\.ts|(file|sqlite)\/(file|sqlite)\.(js|d\.ts|core[23]?\.wasm)))$/;
  assert.deepEqual(packed.filter((path) => !known.test(path)), []);
  for (const path of ['LICENSE-MIT', 'LICENSE-APACHE', 'README.md', 'dist/file/file.core.wasm', 'dist/sqlite/sqlite.core.wasm']) {
    assert.ok(packed.includes(path), path);
  }
  const { exports } = JSON.parse(readFileSync(join(HERE, 'package.json'), 'utf8'));
  for (const target of Object.values(exports['.'])) assert.ok(packed.includes(target.replace('./', '')), target);
  let followed = 0;
  for (const path of packed.filter((path) => /^(src|dist\/types)\/.*\.(js|d\.ts)$/.test(path))) {
    for (const [, from] of readFileSync(join(HERE, path), 'utf8').matchAll(/(?:from|import\()\s*['"](\.[^'"$]+)['"]/g)) {
      const target = join(dirname(path), from).replaceAll('\\', '/');
      const types = target.replace(/\.js$/, '.d.ts');
      assert.ok(packed.includes(target) || packed.includes(types), `${path} refers to ${from}`);
      assert.ok(existsSync(join(HERE, target)) || existsSync(join(HERE, types)));
      followed += 1;
    }
  }
  assert.ok(followed > 10, String(followed));
});
