/**
 * @typedef {object} LogOptions What to open.
 * @property {'file' | 'sqlite' | 'memory'} store Where entries are kept: an append-only file, a SQLite database, or nowhere.
 * @property {string} [directory] The one directory that the log may use (`file`, `sqlite`). It must exist.
 * @property {string} [name] Name of the file in it, without ending: letters, digits, `-`, `_`, `.`. Default: `audit`.
 * @property {string} [keys] Directory with private keys: one `<identity>.pem` each, as `openssl genpkey` writes them. It lies
 *   apart from `directory`, and nobody else has access to it.
 *   Without it keys are made in memory and lost at the end: for tests.
 * @property {boolean} [generateKeys] Make a key that is missing when it is used first. Default: false.
 * @property {string} [origin] Name of the log (C2SP checkpoint origin), for a log that has no entry yet.
 * @property {string} [producer] Who says so, for events that do not say it. Default: `secure-log`.
 * @property {number} [waitMs] How long to wait for a store that another process holds, before `busy`.
 * @property {Record<string, string>} [env] Environment variables for the component. It sees no others.
 */

const OPTIONS = ['store', 'directory', 'name', 'keys', 'generateKeys', 'origin', 'producer', 'waitMs', 'env'];
const STORES = ['file', 'sqlite', 'memory'];
const ENDING = { file: 'log', sqlite: 'db' };

/** Where the guest sees what it was given. */
export const DATA = '/data';
export const KEYS = '/keys';

/** @param {string} reason */
function refuse(reason) {
  return new TypeError(`openLog: ${reason}`);
}

/** A file in the directory of the log. @param {string} name */
function plain(name) {
  if (typeof name !== 'string' || !/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/.test(name)) {
    throw new TypeError(`name is ${JSON.stringify(name)}; it takes letters, digits, "-", "_" and ".", and no folders`);
  }
  return name;
}

/**
 * Checks options; what the component gets from them.
 *
 * @param {LogOptions} options
 */
export function read(options) {
  if (typeof options !== 'object' || options === null) throw refuse('give it an object, for example { store: "memory" }');
  const strange = Object.keys(options).find((key) => !OPTIONS.includes(key));
  if (strange !== undefined) throw refuse(`there is no option ${strange}; there are ${OPTIONS.join(', ')}`);
  const { store, directory, keys, origin, waitMs, name = 'audit', producer = 'secure-log', env = {} } = options;
  if (!STORES.includes(store)) throw refuse(`store is ${JSON.stringify(store)}; there are ${STORES.join(', ')}`);
  plain(name);
  for (const [variable, value] of Object.entries(env)) {
    if (typeof value !== 'string') throw refuse(`env.${variable} has to be a string`);
  }
  if ((store === 'memory') !== (directory === undefined)) {
    throw refuse(store === 'memory' ? 'a log in memory has no directory' : `a log in a ${store} store needs a directory`);
  }
  if (waitMs !== undefined && !(Number.isSafeInteger(waitMs) && waitMs >= 0)) {
    throw refuse('waitMs is a whole number of milliseconds');
  }
  if (options.generateKeys && keys === undefined) throw refuse('generateKeys needs keys: the directory to make them in');
  const wait = waitMs === undefined ? '' : `?wait-ms=${waitMs}`;
  const config = store === 'memory' ? ':memory:' : `${DATA}/${name}.${ENDING[store]}${wait}`;
  const variables = {
    ...(keys === undefined ? {} : { SECURE_LOG_KEYSTORE_DIR: KEYS }),
    ...(options.generateKeys ? { SECURE_LOG_KEYSTORE_GENERATE: '1' } : {}),
    ...env,
  };
  const copyPath = store === 'memory' ? undefined : (/** @type {string} */ copy) => `${DATA}/${plain(copy)}.${ENDING[store]}`;
  return { copyPath, component: /** @type {'file' | 'sqlite'} */ (store === 'file' ? 'file' : 'sqlite'), config, directory, keys, origin, producer, env: variables };
}
