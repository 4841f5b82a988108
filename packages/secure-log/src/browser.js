import { instantiate } from './instance.js';
import { SecureLog } from './log.js';
import { read } from './options.js';

export { SecureLogError } from './error.js';
export { SecureLog } from './log.js';

/** @import { LogOptions } from './options.js' */

/** Written out, so that bundlers find them. @type {Record<string, URL>} */
const FILES = {
  'sqlite.core.wasm': new URL('../dist/sqlite/sqlite.core.wasm', import.meta.url),
  'sqlite.core2.wasm': new URL('../dist/sqlite/sqlite.core2.wasm', import.meta.url),
  'sqlite.core3.wasm': new URL('../dist/sqlite/sqlite.core3.wasm', import.meta.url),
};

/** Compiled once a page. @type {Map<string, Promise<WebAssembly.Module>>} */
const modules = new Map();

/** @param {string} path */
function compiled(path) {
  let module = modules.get(path);
  if (!module) {
    module = compile(FILES[path]);
    modules.set(path, module);
    // The next log tries again.
    module.catch(() => modules.delete(path));
  }
  return module;
}

/** @param {URL} url */
async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`openLog: ${url} answers ${response.status}: serve dist/ of the package beside src/`);
  return WebAssembly.compile(await response.arrayBuffer());
}

/**
 * Opens a log in this page or worker, in memory: browsers have no storage on which "durable" would be true, so the stores
 * in files are refused. Keep what it exports (`exportLines`).
 *
 * @param {LogOptions} options
 * @returns {Promise<SecureLog>}
 */
export async function openLog(options) {
  const { config, env, origin, producer, ...given } = read(options);
  if (options.store !== 'memory') {
    throw new TypeError(`openLog: a browser cannot keep a ${options.store} store durably; use store "memory", and export it`);
  }
  if (given.keys !== undefined) throw new TypeError('openLog: a browser has no directory of keys');
  const { instantiate: make } = await import('../dist/sqlite/sqlite.js');
  const exports = await instantiate(make, compiled, { preopens: {}, env });
  const log = new SecureLog(exports, { producer });
  log.log.open(config);
  if (origin !== undefined) log.log.setOrigin(origin);
  return log;
}
