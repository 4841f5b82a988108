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
  const imports = /** @type {Record<string, any>} */ (new WASIShim(settings).getImportObject());
  const preopens = imports['wasi:filesystem/preopens'].getDirectories();
  for (const [descriptor] of preopens) allowWriting(descriptor);
  // Fixed, so that the descriptors that were changed are the ones that are used.
  imports['wasi:filesystem/preopens'] = { getDirectories: () => preopens };
  return make(compiled, withVersions({ ...imports, ...wasi }));
}

/** The component names WASI's interfaces with a version; whichever it is, it gets ours. @param {Record<string, any>} imports */
function withVersions(imports) {
  return new Proxy(imports, { get: (all, name) => all[String(name).replace(/@.*$/, '')] ?? {} });
}

/**
 * wasi-libc asks for `mutate-directory` whenever it opens a file for writing. It means something for directories alone,
 * and the shim for Node refuses it everywhere; so it is left out, on these descriptors and those opened through them.
 *
 * @param {any} descriptor
 */
function allowWriting(descriptor) {
  const { openAt } = descriptor;
  descriptor.openAt = function (/** @type {any} */ at, /** @type {string} */ path, /** @type {any} */ open, /** @type {any} */ flags) {
    return allowWriting(openAt.call(this, at, path, open, { ...flags, mutateDirectory: false }));
  };
  return descriptor;
}
