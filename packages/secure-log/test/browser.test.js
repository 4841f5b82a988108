// The package in a real browser: its entry for browsers, from a plain server, without a bundler.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { place } from './support.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const browser = ['chromium', 'chromium-browser', 'google-chrome'].find((name) => spawnSync(name, ['--version']).status === 0);
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };

const page = `<!doctype html><meta charset="utf-8"><script type="importmap">{"imports": {
  "@bytecodealliance/preview2-shim": "/node_modules/@bytecodealliance/preview2-shim/dist/browser/index.js",
  "@bytecodealliance/preview2-shim/instantiation": "/node_modules/@bytecodealliance/preview2-shim/dist/common/instantiation.js"
}}</script><script type="module">
try {
  const { openLog } = await import('/src/browser.js');
  const log = await openLog({ store: 'memory', origin: 'example.com/page' });
  for (let n = 0; n < 100; n++) log.append({ streamId: 's', eventType: 'e', payload: 'entry ' + n });
  const checkpoint = log.sign('audit');
  const key = log.verifierKey('audit');
  const proven = log.verifyProofFile(log.proofFile('s', 7n), [key]);
  let lines = 0;
  for await (const text of log.exportLines([key])) lines += text.split('\\n').length - 1;
  const refused = await openLog({ store: 'sqlite', directory: '/' }).catch((error) => error.message);
  const wrong = (() => { try { log.read('s', 1000n); } catch (error) { return error.kind; } })();
  await fetch('/done', { method: 'POST', body: JSON.stringify({ checked: Number(log.verifyChain('s').payloadsChecked), origin: checkpoint.origin, seqno: Number(proven.header.seqno), lines, refused, wrong }) });
} catch (error) {
  await fetch('/done', { method: 'POST', body: JSON.stringify({ failed: String(error?.stack ?? error) }) });
}
</script>`;

test('in a browser a log lives in memory and is exported', { skip: !browser && 'there is no Chromium', timeout: 120_000 }, async (t) => {
  let done;
  const said = new Promise((resolve) => (done = resolve));
  const server = createServer(async (request, response) => {
    if (request.url === '/done') {
      let body = '';
      for await (const piece of request) body += piece;
      response.end();
      done(JSON.parse(body));
      return;
    }
    const path = request.url === '/' ? undefined : normalize(join(root, request.url));
    try {
      const body = path === undefined ? page : await readFile(path);
      response.setHeader('content-type', path === undefined ? 'text/html' : (TYPES[extname(path)] ?? 'text/plain'));
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const profile = place(t);
  const child = spawn(browser, ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', `--user-data-dir=${profile.root}`, `http://127.0.0.1:${server.address().port}/`], { stdio: 'ignore' });
  t.after(() => {
    child.kill('SIGKILL');
    server.closeAllConnections();
    server.close();
  });
  const { lines, ...answer } = await said;
  assert.deepEqual(answer, {
    checked: 100,
    origin: 'example.com/page',
    seqno: 7,
    refused: 'openLog: a browser cannot keep a sqlite store durably; use store "memory", and export it',
    wrong: 'not-found',
  });
  assert.equal(lines, 1 + 1 + 1 + 100 + 3 + 1, 'first line, key, checkpoint, entries, those of _log, last line');
});
