// Durable and in-memory appends, batches and verification in Node; prints one line of JSON.
//
//   node bench.js [--directory DIR] [--dist DIR] [--rounds N] [--entries N] [--beside PROGRAM]
//
// --beside runs each round once more under wasmtime, on the same component (verify's example `beside`, built), and prints how
// many times as long Node takes.
// --directory is where logs in files lie (a temporary directory may be in memory, where a sync costs nothing). --dist takes
// another build of the components: `node scripts/build.js composed DIR` makes one of the composed form. Each number is the
// median of N rounds; one round runs every store, so that a machine that slows down slows all of them.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { instantiate } from './src/instance.js';
import { SecureLog } from './src/log.js';

const { values } = parseArgs({
  options: {
    directory: { type: 'string', default: tmpdir() },
    dist: { type: 'string', default: new URL('./dist', import.meta.url).pathname },
    rounds: { type: 'string', default: '5' },
    entries: { type: 'string', default: '2000' },
    beside: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const entries = Number(values.entries);
if (!(rounds >= 1 && entries >= 100)) throw new Error('bench.js: --rounds is at least 1, --entries at least 100');

const STORES = { memory: ['sqlite', ':memory:'], sqlite: ['sqlite', '/data/audit.db'], file: ['file', '/data/audit.log'] };
const SIZES = [256, 1024];
const dist = pathToFileURL(`${resolve(values.dist)}/`);
const compiled = new Map();

async function open(store, directory) {
  const [component, config] = STORES[store];
  const { instantiate: make } = await import(new URL(`${component}/${component}.js`, dist));
  const load = async (path) => {
    const url = new URL(`${component}/${path}`, dist);
    if (!compiled.has(url.href)) compiled.set(url.href, await WebAssembly.compile(readFileSync(url)));
    return compiled.get(url.href);
  };
  const preopens = store === 'memory' ? {} : { '/data': directory };
  const log = new SecureLog(await instantiate(make, load, { preopens, env: {} }), { producer: 'bench' });
  log.log.open(config);
  return log;
}

/** Microseconds that one of `count` calls takes. */
function each(count, call) {
  const start = process.hrtime.bigint();
  for (let n = 0; n < count; n++) call(n);
  return Number(process.hrtime.bigint() - start) / 1000 / count;
}

async function round(store, size) {
  const directory = mkdtempSync(join(values.directory, 'secure-log-bench-'));
  const log = await open(store, directory);
  try {
    const payload = new Uint8Array(size).fill(0x61);
    const event = { streamId: 's', eventType: 'opened', severity: 'notice', payload };
    // An instance becomes faster during its first calls.
    each(store === 'memory' ? 3000 : 200, () => log.append(event));
    const single = each(store === 'memory' ? entries : 200, () => log.append(event));
    const batch = Array.from({ length: 100 }, () => event);
    const batched = each(Math.ceil(entries / 100), () => log.appendBatch(batch)) / 100;
    const { seqno } = log.head('s');
    const chain = each(1, () => log.verifyChain('s')) / Number(seqno);
    const headers = each(1, () => log.verifyHeaders('s')) / Number(seqno);
    return { append: single, appendInBatchesOf100: batched, verifyChain: chain, verifyHeaders: headers };
  } finally {
    log.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The same round under wasmtime. */
function beside(store, size) {
  const directory = mkdtempSync(join(values.directory, 'secure-log-bench-'));
  try {
    const component = new URL(`../../dist/components/single-${STORES[store][0]}.wasm`, import.meta.url).pathname;
    const config = store === 'memory' ? ':memory:' : join(directory, STORES[store][1].slice('/data/'.length));
    return JSON.parse(execFileSync(values.beside, [component, config, String(size), String(entries)], { encoding: 'utf8' }));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const runs = {};
const theirs = {};
for (let n = 0; n < rounds; n++) {
  for (const store of Object.keys(STORES)) {
    for (const size of SIZES) {
      (runs[`${store}, ${size} B`] ??= []).push(await round(store, size));
      if (values.beside) (theirs[`${store}, ${size} B`] ??= []).push(beside(store, size));
    }
  }
}
function medians(all) {
  const rows = Object.entries(all).map(([name, found]) => {
    const columns = Object.keys(found[0]).map((column) => [column, Number(median(found.map((one) => one[column])).toFixed(2))]);
    return [name, Object.fromEntries(columns)];
  });
  return Object.fromEntries(rows);
}
const microsecondsPerEntry = medians(runs);
const besides = {};
if (values.beside) {
  besides.underWasmtime = medians(theirs);
  const ratios = Object.entries(runs).map(([name, found]) => {
    const rows = found.map((mine, n) => Object.fromEntries(Object.keys(mine).map((column) => [column, mine[column] / theirs[name][n][column]])));
    return [name, rows];
  });
  besides.timesAsLongAsWasmtime = medians(Object.fromEntries(ratios));
}
const machine = `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores, Node ${process.versions.node}`;
console.log(JSON.stringify({ machine, rounds, entries, microsecondsPerEntry, ...besides }));
