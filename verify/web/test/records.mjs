// Records of version 2, made from docs/records.md alone: an independent writer of the format.
import { generateKeyPairSync, createPrivateKey, sign } from "node:crypto";
import { createWriteStream } from "node:fs";
import { once } from "node:events";
import { blake3 } from "@noble/hashes/blake3.js";

const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

export function deviceKey(seed) {
  const key = seed
    ? createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" })
    : generateKeyPairSync("ed25519").privateKey;
  const publicKey = Buffer.from(key.export({ format: "jwk" }).x, "base64url");
  return { key, publicKey, hex: publicKey.toString("hex"), id: Buffer.from(blake3(publicKey)).subarray(0, 16).toString("hex") };
}

function head(major, value) {
  const n = BigInt(value);
  if (n < 24n) return Buffer.from([(major << 5) | Number(n)]);
  const [extra, size] = n < 256n ? [24, 1] : n < 65536n ? [25, 2] : n < 4294967296n ? [26, 4] : [27, 8];
  const out = Buffer.alloc(1 + size);
  out[0] = (major << 5) | extra;
  for (let i = size, rest = n; i > 0; i -= 1, rest >>= 8n) out[i] = Number(rest & 255n);
  return out;
}

const text = (value) => Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
const bytes = (value) => Buffer.concat([head(2, value.length), value]);
const MESSAGE = Buffer.from("edgesentry-audit record v2\n");

/** One signed record as its JSON object, with the hash that the next one names. */
export function makeRecord(device, { id, sequence, timestamp, payload, prev, objectRef, software = "v0.1.0" }) {
  const payloadHash = Buffer.from(blake3(Buffer.from(payload)));
  const members = [
    head(0, 2), text(id), head(0, sequence), head(0, timestamp), bytes(payloadHash), bytes(prev),
    text(objectRef), text("blake3"), text("ed25519"), text(device.id), text(software),
  ].flatMap((value, at) => [head(0, at + 1), value]);
  const unsigned = Buffer.concat([head(5, 11), ...members]);
  const signature = sign(null, Buffer.concat([MESSAGE, blake3(unsigned)]), device.key);
  const whole = Buffer.concat([head(5, 12), ...members, head(0, 12), bytes(signature)]);
  const json = {
    version: 2, device_id: id, sequence, timestamp_ms: timestamp, payload_hash: [...payloadHash], signature: [...signature],
    prev_record_hash: [...prev], object_ref: objectRef, hash_alg: "blake3", sig_alg: "ed25519", key_id: device.id, software_version: software,
  };
  return { json, hash: Buffer.from(blake3(whole)), whole };
}

/** Writes a chain of records, one a line. */
export async function writeRecords(path, device, number, { id = "lift-01", change = () => {} } = {}) {
  const out = createWriteStream(path);
  let prev = Buffer.alloc(32);
  for (let sequence = 1; sequence <= number; sequence += 1) {
    const { json, hash } = makeRecord(device, {
      id, sequence, prev, timestamp: 1_700_000_000_000 + sequence * 60_000, payload: `door ${sequence}`, objectRef: `s3://bucket/${id}/${sequence}.bin`,
    });
    prev = hash;
    change(json);
    if (!out.write(JSON.stringify(json) + "\n")) await once(out, "drain");
  }
  out.end();
  await once(out, "finish");
  return path;
}
