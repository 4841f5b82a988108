// Arguments are checked and copied before the component sees them: what JavaScript would turn into another value on the way
// (a number that wraps, half a surrogate pair, a field with a typing error) is refused instead of logged.
import schema from '../dist/schema.js';
import { SecureLogError } from './error.js';

const LIMITS = { u8: 0xff, u16: 0xffff, u32: 0xffff_ffff };

/** @typedef {any} Type a type of dist/schema.js */

/** @param {string} field @param {string} wanted @param {unknown} value @returns {never} */
function refuse(field, wanted, value) {
  throw new SecureLogError({ tag: 'invalid', val: { field, reason: `is ${shown(value)}; it has to be ${wanted}` } });
}

/** @param {unknown} value */
function shown(value) {
  if (value === null || value === undefined || typeof value === 'boolean') return String(value);
  if (typeof value === 'number' || typeof value === 'bigint') return `the ${typeof value} ${value}`;
  if (typeof value === 'object') return Array.isArray(value) ? 'an array' : `an object (${value.constructor?.name ?? 'no class'})`;
  return `a ${typeof value}`;
}

/** @type {Record<string, (value: any, field: string) => unknown>} */
const PLAIN = {
  string(value, field) {
    if (typeof value !== 'string') return refuse(field, 'a string', value);
    if (!value.isWellFormed()) return refuse(field, 'Unicode: it has half of a surrogate pair', value);
    return value;
  },
  bool: (value, field) => (typeof value === 'boolean' ? value : refuse(field, 'a boolean', value)),
  bytes(value, field) {
    if (!(value instanceof Uint8Array)) return refuse(field, 'a Uint8Array', value);
    if (value.byteLength === 0 && isDetached(value.buffer)) return refuse(field, 'bytes that were not transferred away', value);
    return value;
  },
  u64(value, field) {
    const fits = typeof value === 'bigint' && value >= 0n && value < 2n ** 64n;
    return fits ? value : refuse(field, 'a bigint from 0n to 2n ** 64n - 1n', value);
  },
};
for (const [type, limit] of Object.entries(LIMITS)) {
  PLAIN[type] = (value, field) =>
    Number.isInteger(value) && value >= 0 && value <= limit ? value : refuse(field, `a whole number from 0 to ${limit}`, value);
}

/** @param {ArrayBufferLike} buffer */
function isDetached(buffer) {
  try {
    return new Uint8Array(buffer).length < 0;
  } catch {
    return true;
  }
}

/** @param {Type} type @param {any} value @param {string} field @returns {any} */
function check(type, value, field) {
  if (typeof type === 'string') return PLAIN[type](value, field);
  if (type.named) return check(schema.types[type.named], value, field);
  if (type.option) return value === undefined || value === null ? undefined : check(type.option, value, field);
  if (type.enum) return type.enum.includes(value) ? value : refuse(field, `one of ${type.enum.join(', ')}`, value);
  if (type.list) {
    if (!Array.isArray(value)) return refuse(field, 'an array', value);
    return Array.from(value, (item, n) => check(type.list, item, `${field}[${n}]`));
  }
  if (value === null || typeof value !== 'object') return refuse(field, 'an object', value);
  if (type.variant) {
    const found = type.variant.find((/** @type {Type[]} */ [tag]) => tag === value.tag);
    if (!found) return refuse(`${field}.tag`, `one of ${type.variant.map((/** @type {Type[]} */ [tag]) => tag).join(', ')}`, value.tag);
    return found.length === 1 ? { tag: found[0] } : { tag: found[0], val: check(found[1], value.val, `${field}.val`) };
  }
  /** @type {[string, Type][]} */
  const fields = type.record;
  for (const name of Object.keys(value)) {
    if (!fields.some(([known]) => known === name)) {
      refuse(`${field}.${name}`, `left out: there is no such field, only ${fields.map(([known]) => known).join(', ')}`, value[name]);
    }
  }
  return Object.fromEntries(fields.map(([name, inner]) => [name, check(inner, value[name], `${field}.${name}`)]));
}

/**
 * Arguments of a function as the component gets them.
 *
 * @param {string} name interface
 * @param {string} call function
 * @param {unknown[]} given
 */
export function checked(name, call, given) {
  /** @type {[string, Type][]} */
  const params = schema.functions[name][call];
  if (given.length > params.length) refuse('arguments', `${params.length}: ${params.map(([param]) => param).join(', ')}`, given.length);
  return params.map(([param, type], n) => check(type, given[n], param));
}

/**
 * Text as UTF-8; bytes stay what they are.
 *
 * @param {any} given
 * @param {string} field
 * @returns {Uint8Array}
 */
export function bytesOf(given, field) {
  if (typeof given !== 'string') return given;
  return new TextEncoder().encode(/** @type {string} */ (PLAIN.string(given, field)));
}
