import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';

/**
 * Makes an instance of a component that sees what `sandbox` names, and nothing else.
 *
 * @param {Function} make `instantiate` of the transpiled component
 * @param {(path: string) => Promise<WebAssembly.Module>} compiled
 * @param {{ preopens: Record<string, string>, env: Record<string, string> }} sandbox
 * @param {Record<string, object>} [wasi] imports in the place of the shim's
 * @param {object} [shim] further settings of the shim
 */
export async function instantiate(make, compiled, sandbox, wasi = {}, shim = {}) {
  const settings = { ...shim, sandbox: { ...sandbox, args: ['secure-log'], enableNetwork: false } };
  const all = /** @type {Record<string, any>} */ (new WASIShim(settings).getImportObject());
  const imports = Object.fromEntries(GIVEN.map((name) => [name, all[name]]));
  const preopens = imports['wasi:filesystem/preopens'].getDirectories();
  for (const [descriptor] of preopens) cured(descriptor);
  // Fixed, so that the descriptors that were changed are the ones that are used.
  imports['wasi:filesystem/preopens'] = { getDirectories: () => preopens };
  const variables = Object.entries(sandbox.env);
  imports['wasi:cli/environment'] = { getEnvironment: () => variables, getArguments: () => [], initialCwd: () => undefined };
  imports['wasi:cli/exit'] = { exit: refuse('exit'), exitWithCode: refuse('exit') };
  imports['wasi:cli/stdin'] = { getStdin: refuse('standard input') };
  return make(compiled, withVersions({ ...imports, ...wasi }));
}

/** What the shim serves of the interfaces that a log imports; nothing else is there, whatever a component asks for. */
const GIVEN = [
  'wasi:cli/stderr', 'wasi:cli/stdout', 'wasi:cli/terminal-input', 'wasi:cli/terminal-output', 'wasi:cli/terminal-stderr',
  'wasi:cli/terminal-stdin', 'wasi:cli/terminal-stdout', 'wasi:clocks/monotonic-clock', 'wasi:clocks/wall-clock',
  'wasi:filesystem/preopens', 'wasi:filesystem/types', 'wasi:io/error', 'wasi:io/poll', 'wasi:io/streams',
  'wasi:random/insecure-seed', 'wasi:random/random',
];

/** The process is not the component's to end, and its input not to read. @param {string} what */
function refuse(what) {
  return () => {
    throw new Error(`it asked for ${what}, which it is not given`);
  };
}

/** The component names WASI's interfaces with a version; whichever it is, it gets ours. @param {Record<string, any>} imports */
function withVersions(imports) {
  return new Proxy(imports, { get: (all, name) => all[String(name).replace(/@.*$/, '')] ?? {} });
}

/** Errors of Node that the shim passes on as they are where the component expects a code. @type {Record<string, string>} */
const CODES = {
  EAGAIN: 'would-block', EBADF: 'bad-descriptor', EDQUOT: 'quota', EFBIG: 'file-too-large', EINTR: 'interrupted',
  EINVAL: 'invalid', EISDIR: 'is-directory', ENOSPC: 'insufficient-space', ENOTDIR: 'not-directory', EPERM: 'not-permitted',
  EROFS: 'read-only',
};

/**
 * Cures two defects of the shim for Node, on these descriptors and those opened through them; other users of the shim
 * keep theirs. wasi-libc asks for `mutate-directory` whenever it opens a file for writing, which means something for
 * directories alone, and the shim refuses it everywhere. And what fails in `read` and `write` (a full disk) would end the
 * instance instead of being an error of the call.
 *
 * @param {any} descriptor
 */
function cured(descriptor) {
  const { openAt } = descriptor;
  descriptor.openAt = function (/** @type {any} */ at, /** @type {string} */ path, /** @type {any} */ open, /** @type {any} */ flags) {
    return cured(openAt.call(this, at, path, open, { ...flags, mutateDirectory: false }));
  };
  for (const name of ['read', 'write', 'getType']) {
    const method = descriptor[name];
    descriptor[name] = function (/** @type {any[]} */ ...args) {
      try {
        return method.apply(this, args);
      } catch (error) {
        throw error instanceof Error && 'code' in error ? (CODES[String(error.code)] ?? 'io') : error;
      }
    };
  }
  return descriptor;
}
