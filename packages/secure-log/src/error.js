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
    /** Both as a discriminated union: `switch (error.variant.tag)` narrows `error.variant.val`. @type {LogError} */
    this.variant = error;
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
