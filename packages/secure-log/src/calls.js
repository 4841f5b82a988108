import { checked } from './check.js';
import { SecureLogError } from './error.js';

/**
 * The functions of an interface, with checked arguments and with errors as [SecureLogError]. Whatever else comes out of a
 * call ended it half way (a trap, a failure of the host): the instance is not used again, and every later call fails with
 * the same words.
 *
 * @template {Record<string, any>} T
 * @param {string} name interface
 * @param {T} functions
 * @param {{ failed?: Error }} state
 * @returns {T}
 */
export function guarded(name, functions, state) {
  const wrapped = Object.entries(functions).map(([call, of]) => [
    call,
    (/** @type {any[]} */ ...given) => {
      if (state.failed) throw state.failed;
      const args = checked(name, call, given);
      try {
        return of(...args);
      } catch (error) {
        const said = /** @type {any} */ (error)?.payload ?? error;
        if (typeof said?.tag === 'string') throw new SecureLogError(said);
        const words = said?.message ?? String(said);
        state.failed = new Error(`${call}: the component failed (${words}); what it answered before is durable: open the log again`, { cause: error });
        throw state.failed;
      }
    },
  ]);
  return Object.fromEntries(wrapped);
}
