// Inputs that the real tool makes: a log with its exports, bundles and proofs, and what an attacker makes of them.
import { execFileSync } from "node:child_process";
import { createPrivateKey, sign } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { blake3 } from "@noble/hashes/blake3.js";

const here = dirname(fileURLToPath(import.meta.url));
export const EDS = process.env.EDS ?? join(here, "../../target/release/eds");

export function eds(cwd, ...args) {
  if (!existsSync(EDS)) throw new Error(`${EDS} is not there: build eds, or set EDS to its program`);
  return execFileSync(EDS, args, { cwd, encoding: "utf8", timeout: 120_000, maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "pipe"] });
}

export function workshop() {
  const dir = mkdtempSync(join(tmpdir(), "verify-page-"));
  return {
    dir,
    file: (name) => join(dir, name),
    write(name, content) {
      writeFileSync(join(dir, name), content);
      return join(dir, name);
    },
    end: () => rmSync(dir, { recursive: true, force: true }),
  };
}

export const ORIGIN = "example.com/audit";

/** A log with two streams, two checkpoints and a tail that no segment covers; `key` is its verifier key. */
export function makeLog(dir, { store = "audit.db", keys = "keys", origin = ORIGIN, doors = 12, stream = "doors", type = "door.opened", payload = (n) => `door ${n} opened` } = {}) {
  const log = ["--store", store, "--keys", keys];
  eds(dir, "keys", "create", "audit", "--keys", keys);
  const lines = join(dir, "lines.txt");
  const some = (from, to) => writeFileSync(lines, Array.from({ length: to - from + 1 }, (_, i) => payload(from + i)).join("\n") + "\n");
  const half = Math.ceil(doors / 2);
  some(1, half);
  eds(dir, "log", "append", stream, "--lines", lines, "--type", type, "--producer", "controller-7", "--origin", origin, ...log);
  eds(dir, "log", "append", "cameras", "a frame", "--type", "frame", "--object-ref", "https://archive.example/frames/1", ...log);
  eds(dir, "log", "sign", "--identity", "audit", ...log);
  some(half + 1, doors);
  eds(dir, "log", "append", stream, "--lines", lines, "--type", type, "--producer", "controller-7", ...log);
  eds(dir, "log", "sign", "--identity", "audit", ...log);
  eds(dir, "log", "append", "cameras", "not signed yet", "--type", "frame", ...log);
  const key = eds(dir, "keys", "show", "audit", "--keys", keys, "--origin", origin).match(/\S+\+[0-9a-f]{8}\+\S+/)[0];
  eds(dir, "log", "export", "-o", `${store}.export.jsonl`, "--key", key, ...log);
  return { key, log, keys: join(dir, keys), path: join(dir, `${store}.export.jsonl`) };
}

/** An export as objects, one a line, and back. */
export const parse = (path) => readFileSync(path, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
export const format = (lines) => lines.map((line) => JSON.stringify(line)).join("\n") + "\n";

const decode = (text) => Buffer.from(text, "base64");

/** Index of an entry's line by its place among the entries of a stream: the stream's name stands in the header as text. */
export function entriesOf(lines, stream) {
  const name = Buffer.concat([Buffer.from([2, 0x60 + stream.length]), Buffer.from(stream)]);
  return lines.flatMap((line, at) => (line.entry && decode(line.entry.header).includes(name) ? [at] : []));
}

export function changeBytes(text, change) {
  const bytes = decode(text);
  change(bytes);
  return bytes.toString("base64");
}

/** Puts another payload into the entry and its hash into the header, as whoever can write to the store does. */
export function rewrite(line, payload) {
  const salt = decode(line.entry.payload).subarray(0, 32);
  const stored = Buffer.concat([salt, Buffer.from(payload)]);
  const old = blake3(decode(line.entry.payload));
  line.entry.header = changeBytes(line.entry.header, (bytes) => Buffer.from(blake3(stored)).copy(bytes, bytes.indexOf(Buffer.from(old))));
  line.entry.payload = stored.toString("base64");
}

/** Signs a note's body anew with a private key in PEM, under a name and id. */
export function signNote(body, pem, verifierKey) {
  const [name, id] = verifierKey.split("+");
  const signature = sign(null, Buffer.from(body), createPrivateKey(pem));
  return `${body}\n— ${name} ${Buffer.concat([Buffer.from(id, "hex"), signature]).toString("base64")}\n`;
}
