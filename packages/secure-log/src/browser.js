import { instantiate } from './instance.js';
import { SecureLog } from './log.js';
import { read } from './options.js';

export { SecureLogError } from './error.js';
export { SecureLog } from './log.js';

/** @import { LogOptions } from './options.js' */

/** @type {Map<string, Promise<WebAssembly.Module>>} */
const modules = new Map();

/**
 * Opens a log in this page or worker, in memory: browsers have no storage on which "durable" would be true, so the stores
 * in files are refused. Keep what it exports (`exportLines`).
 *
 * @param {LogOptions} options
 * @returns {Promise<SecureLog>}
 */
export async function openLog(options) {
  const { component, config, env, origin, producer, ...given } = read(options);
  if (options.store !== 'memory') {
    throw new TypeError(`openLog: a browser cannot keep a ${options.store} store durably; use store "memory", and export it`);
  }
  if (given.keys !== undefined) throw new TypeError('openLog: a browser has no directory of keys');
  const compiled = (/** @type {string} */ path) => {
    let module = modules.get(path);
    if (!module) {
      module = WebAssembly.compileStreaming(fetch(new URL(`../dist/${component}/${path}`, import.meta.url)));
      modules.set(path, module);
    }
    return module;
  };
  const { instantiate: make } = await import('../dist/sqlite/sqlite.js');
  const exports = await instantiate(make, compiled, { preopens: {}, env });
  const log = new SecureLog(exports, { producer });
  log.log.open(config);
  if (origin !== undefined) log.log.setOrigin(origin);
  return log;
}
