// A component under Node for programs in other languages: calls as JSON lines on standard input, an answer to each.
//
// bridge.js file|sqlite SEED [--dist DIR] [GUEST=DIRECTORY]... [--env NAME=VALUE]...
//
// A call: {"interface":"log","call":"append","args":[…]}; an answer: {"ok":…}, {"err":…} for an error of the component,
// {"failed":"…"} for anything else. An `id` in a call is in its answer. Bytes are {"hex":"…"}, 64-bit numbers {"u64":"…"},
// names are in camelCase, a variant is {"tag","val"}, an option that is none is left out of a record, and null elsewhere.
// Time and randomness: fixed.js. Calls go to the component as they are: `log.open` comes first.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

import { instantiate } from '../src/instance.js';
import { fixed } from './fixed.js';

const USAGE = 'usage: bridge.js file|sqlite SEED [--dist DIR] [GUEST=DIRECTORY]... [--env NAME=VALUE]...';

function readArguments([component, seed, ...rest]) {
  if (!['file', 'sqlite'].includes(component) || seed === undefined) throw new Error(USAGE);
  const sandbox = { preopens: {}, env: {} };
  let dist = new URL('../dist/', import.meta.url);
  if (rest[0] === '--dist') dist = pathToFileURL(`${resolve(rest.splice(0, 2)[1])}/`);
  while (rest.length > 0) {
    const first = rest.shift();
    const [pair, into] = first === '--env' ? [rest.shift(), sandbox.env] : [first, sandbox.preopens];
    const at = pair?.indexOf('=') ?? -1;
    if (at < 1) throw new Error(USAGE);
    into[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return { component, seed, sandbox, dist };
}

function fromJson(value) {
  if (value === null) return undefined;
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== 'object') return value;
  if (value.u64 !== undefined) return unsigned(value.u64);
  if (value.hex !== undefined) return bytes(value.hex);
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, fromJson(one)]));
}

function unsigned(digits) {
  if (!/^[0-9]{1,20}$/.test(digits) || BigInt(digits) >= 2n ** 64n) throw new Error(`${digits} is no 64-bit number`);
  return BigInt(digits);
}

function bytes(hex) {
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/.test(hex)) throw new Error(`${hex} is not bytes: two lower-case digits each`);
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

function toJson(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === 'bigint') return { u64: value.toString() };
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== 'object') return value;
  const fields = Object.entries(value).filter(([, one]) => one !== undefined);
  return Object.fromEntries(fields.map(([name, one]) => [name, toJson(one)]));
}

const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());

function answer(exports, line) {
  let id;
  try {
    const said = JSON.parse(line);
    ({ id } = said);
    const call = exports[`secure-log:log/${said.interface}@0.1.0`]?.[camel(said.call)];
    if (!call) throw new Error(`there is no ${said.interface}.${said.call}`);
    return { id, ok: toJson(call(...said.args.map(fromJson))) };
  } catch (error) {
    const said = error?.payload ?? error;
    if (typeof said?.tag !== 'string') return { id, failed: String(error?.message ?? error) };
    return { id, err: toJson(said) };
  }
}

const { component, seed, sandbox, dist } = readArguments(process.argv.slice(2));
const { instantiate: make } = await import(new URL(`${component}/${component}.js`, dist));
const compiled = async (path) => WebAssembly.compile(await readFile(new URL(`${component}/${path}`, dist)));
const exports = await instantiate(make, compiled, sandbox, fixed(Buffer.from(seed)));
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(exports, line))}\n`);
}
