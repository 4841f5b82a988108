import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { deviceKey, makeRecord } from "./records.mjs";

const document = readFileSync(join(dirname(fileURLToPath(import.meta.url)), "../../../docs/records.md"), "utf8");
const block = (name) => document.split(`<!-- example: ${name} -->`)[1].split("```")[1];

test("the writer of these tests makes the record that the document shows, byte by byte", () => {
  const device = deviceKey(Buffer.alloc(32, 1));
  assert.equal(device.hex, "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c");
  const { whole, hash } = makeRecord(device, {
    id: "lift-01", sequence: 1, timestamp: 1_700_000_000_000, payload: "door-open", prev: Buffer.alloc(32), objectRef: "s3://bucket/lift-01/1.bin",
  });
  const shown = block("v2").split("\n").slice(1).map((line) => line.trim().split(/\s{2,}/)[0]).join("");
  assert.equal(whole.toString("hex"), shown);
  assert.equal(hash.toString("hex"), block("v2-hashes").trim().split("\n").at(-1).trim());
});
