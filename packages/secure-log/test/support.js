import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openLog } from 'secure-log';

export const STORES = ['memory', 'sqlite', 'file'];

/** A folder of its own for a test, with one for data and one for keys. */
export function place(t) {
  const root = mkdtempSync(join(tmpdir(), 'secure-log-'));
  const made = { root, data: join(root, 'data'), keys: join(root, 'keys'), logs: [] };
  t.after(() => {
    for (const log of made.logs) log.close();
    rmSync(root, { recursive: true, force: true });
  });
  mkdirSync(made.data);
  mkdirSync(made.keys, { mode: 0o700 });
  return made;
}

/** Options for a store in that folder. */
export function options(place, store, more = {}) {
  const where = store === 'memory' ? {} : { directory: place.data };
  return { store, ...where, keys: place.keys, generateKeys: true, origin: 'example.com/log', ...more };
}

export async function open(place, store, more) {
  const log = await openLog(options(place, store, more));
  place.logs.push(log);
  return log;
}

export const text = (bytes) => new TextDecoder().decode(bytes);

export async function all(iterator) {
  const list = [];
  for await (const item of iterator) list.push(item);
  return list;
}
