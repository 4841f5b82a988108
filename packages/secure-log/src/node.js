import { realpathSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve, sep } from 'node:path';

import { instantiate } from './instance.js';
import { SecureLog } from './log.js';
import { DATA, KEYS, read } from './options.js';

export { SecureLogError } from './error.js';
export { SecureLog } from './log.js';

/** @import { LogOptions } from './options.js' */

/** Compiled once a process. @type {Map<string, Promise<WebAssembly.Module>>} */
const modules = new Map();

/** @param {string} component */
function compiledOf(component) {
  return (/** @type {string} */ path) => {
    const key = `${component}/${path}`;
    let compiled = modules.get(key);
    if (!compiled) {
      const bytes = readFile(new URL(`../dist/${key}`, import.meta.url));
      compiled = bytes.then((bytes) => WebAssembly.compile(bytes));
      modules.set(key, compiled);
    }
    return compiled;
  };
}

/** @param {string} what @param {string} path */
function directory(what, path) {
  const full = resolve(path);
  if (!statSync(full, { throwIfNoEntry: false })?.isDirectory()) {
    throw new TypeError(`openLog: ${what} is ${full}, and there is no such directory: make it first`);
  }
  // A link that is turned later changes nothing.
  return realpathSync(full);
}

/** @param {string} inner @param {string} outer */
const within = (inner, outer) => inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);

/** Private keys are for their owner alone. @param {string} keys @param {string | undefined} data */
function apart(keys, data) {
  if (data !== undefined && (within(keys, data) || within(data, keys))) {
    throw new TypeError('openLog: keys and directory lie in one another: keep private keys in a directory of their own');
  }
  if (sep === '/' && (statSync(keys).mode & 0o077) !== 0) {
    throw new TypeError(`openLog: other users can reach the private keys in ${keys}: run chmod 700 on it`);
  }
}

/**
 * Opens a log in this process. The component sees the directories and variables that are named here, and nothing else:
 * no other files, no environment, no network.
 *
 * @param {LogOptions} options
 * @param {{ wasi?: Record<string, object> }} [internal] imports in the place of WASI's, for tests
 * @returns {Promise<SecureLog>}
 */
export async function openLog(options, { wasi } = {}) {
  const { component, config, env, origin, producer, ...given } = read(options);
  /** @type {Record<string, string>} */
  const preopens = {};
  if (given.directory !== undefined) preopens[DATA] = directory('directory', given.directory);
  if (given.keys !== undefined) {
    preopens[KEYS] = directory('keys', given.keys);
    apart(preopens[KEYS], preopens[DATA]);
  }
  const { instantiate: make } = await import(`../dist/${component}/${component}.js`);
  const exports = await instantiate(make, compiledOf(component), { preopens, env }, wasi);
  const log = new SecureLog(exports, { producer, copyPath: given.copyPath });
  log.log.open(config);
  try {
    if (origin !== undefined && log.log.origin() !== origin) log.log.setOrigin(origin);
  } catch (error) {
    log.close();
    throw error;
  }
  return log;
}
