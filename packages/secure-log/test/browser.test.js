// The package in a page, without a bundler: SECURE_LOG_BROWSER names a Chromium; without it `chromium` is looked for.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { openLog } from 'secure-log';
import { place } from './support.js';

const chromium = process.env.SECURE_LOG_BROWSER ?? 'chromium';
const there = spawnSync(chromium, ['--version']).status === 0;
const SHIM = '/node_modules/@bytecodealliance/preview2-shim/dist';
const PAGE = `<!doctype html><meta charset="utf-8">
<script type="importmap">{"imports": {
  "secure-log": "/src/browser.js",
  "@bytecodealliance/preview2-shim": "${SHIM}/browser/index.js",
  "@bytecodealliance/preview2-shim/instantiation": "${SHIM}/common/instantiation.js",
  "@bytecodealliance/preview2-shim/": "${SHIM}/browser/"
}}</script>
<script type="module" src="/test/page.js"></script>`;
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };

/** Serves the package and gives what the page sends back. */
function serve() {
  const server = createServer();
  const answer = new Promise((resolve) => {
    server.on('request', async (request, response) => {
      if (request.method === 'POST') {
        let body = '';
        for await (const part of request) body += part;
        response.end();
        resolve(JSON.parse(body));
        return;
      }
      const { pathname } = new URL(request.url, 'http://localhost');
      const file = pathname === '/' ? PAGE : await readFile(fileURLToPath(new URL(`..${pathname}`, import.meta.url))).catch(() => undefined);
      response.writeHead(file ? 200 : 404, { 'content-type': pathname === '/' ? 'text/html' : (TYPES[extname(pathname)] ?? 'text/plain') });
      response.end(file);
    });
  });
  return { server, answer };
}

test('a page keeps a log in memory, and its proofs hold elsewhere', { skip: !there && 'there is no Chromium', timeout: 120_000 }, async (t) => {
  const { server, answer } = serve();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const profile = place(t).root;
  const address = `http://127.0.0.1:${server.address().port}/`;
  const browser = spawn(chromium, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${profile}`, address], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(browser, 'exit');
  let said = '';
  browser.stderr.on('data', (data) => (said += data));
  let page;
  try {
    page = await Promise.race([answer, ended.then(() => Promise.reject(new Error(`the browser ended: ${said}`)))]);
  } finally {
    browser.kill('SIGKILL');
    await ended;
    server.close();
    server.closeAllConnections();
  }
  assert.equal(page.error, undefined);
  assert.deepEqual(page.seqnos, ['1', '2', '3']);
  assert.equal(page.payload, 'from a page');
  assert.equal(page.checked, '3');
  assert.equal(page.queried, 3);
  assert.deepEqual(page.kinds, ['not-found', 'invalid', 'denied']);
  assert.equal(page.others, 'none');
  for (const refused of page.refused) assert.match(refused, /TypeError.*(memory|keys)/);
  assert.equal(page.refused.length, 3);

  const elsewhere = await openLog({ store: 'memory' });
  const proven = elsewhere.verifyProofFile(page.proof, [page.key]);
  assert.equal(proven.header.eventType, 'opened');
  assert.ok(Math.abs(Number(proven.header.timeMs) - Date.now()) < 120_000, 'by the clock of the browser');
  assert.equal(page.lines[0].startsWith('{"secure-log-export"'), true);
  elsewhere.close();
});
