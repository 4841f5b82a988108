/** @import { LogError } from '../dist/interfaces/secure-log-log-types.js' */

/**
 * A call to a log was refused or failed. `kind` says what to do, by the cases of `log-error` in the WIT; `detail` has what
 * that case says, and its type follows from `kind`:
 *
 * ```js
 * if (error instanceof SecureLogError && error.is('conflict')) console.log(error.detail.actual);
 * ```
 */
export class SecureLogError extends Error {
  /** @param {LogError} error the case, with what it says */
  constructor(error) {
    super(describe(error));
    this.name = 'SecureLogError';
    /** Which case it is. @type {LogError['tag']} */
    this.kind = error.tag;
    /** What the case says. @type {LogError['val']} */
    this.detail = error.val;
  }

  /**
   * Whether it is this case; `detail` has its type then.
   *
   * @template {LogError['tag']} K
   * @param {K} kind
   * @returns {this is SecureLogError & { kind: K, detail: Extract<LogError, { tag: K }>['val'] }}
   */
  is(kind) {
    return this.kind === kind;
  }
}

/** @param {LogError} error */
function describe({ tag, val }) {
  if (typeof val === 'string') return `${tag}: ${val}`;
  const said = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (val));
  const where = ['streamId', 'what', 'name', 'field', 'seqno', 'number', 'key']
    .filter((key) => said[key] !== undefined && said[key] !== 0n)
    .map((key) => String(said[key]));
  return `${[tag, ...where].join(' ')}: ${said.reason}`;
}

/**
 * The functions of an interface, with errors as [SecureLogError]. A trap poisons the instance: `onTrap` is told, and every
 * later call fails with the same words.
 *
 * @template {Record<string, any>} T
 * @param {T} functions
 * @param {{ failed?: Error }} state
 * @returns {T}
 */
export function guarded(functions, state) {
  const wrapped = Object.entries(functions).map(([name, call]) => [
    name,
    (/** @type {any[]} */ ...args) => {
      if (state.failed) throw state.failed;
      try {
        return call(...args);
      } catch (error) {
        const said = /** @type {any} */ (error)?.payload ?? error;
        if (typeof said?.tag === 'string') throw new SecureLogError(said);
        if (error instanceof WebAssembly.RuntimeError) {
          state.failed = new Error(`${name}: the component failed (${error.message}); open the log again`, { cause: error });
          throw state.failed;
        }
        throw error;
      }
    },
  ]);
  return Object.fromEntries(wrapped);
}
