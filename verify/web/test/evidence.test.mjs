import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { OUTPUT, browse, examine, outside } from "./browser.mjs";
import { EDS, changeBytes, eds, format, makeLog, parse, workshop } from "./eds.mjs";
import { deviceKey } from "./records.mjs";
import { authority } from "./tsa.mjs";

const ORIGIN = "example.com/lifts";

let shop;
let browser;
let tsa;
let key;
let device;
let bundle;
let log;

before(async () => {
  shop = workshop();
  const { dir } = shop;
  tsa = await authority(shop.file("tsa"));
  const store = ["--store", "lifts.db", "--keys", "lift-keys"];
  eds(dir, "keys", "create", "audit", "--keys", "lift-keys");
  eds(dir, "log", "create", "notes", "--origin", ORIGIN, ...store);
  eds(dir, "audit", "demo-lift-inspection", "--device-id", "lift-01", "--out-file", "records.json", "--payloads-file", "payloads.json");
  eds(dir, "audit", "demo-ingest", "--records-file", "records.json", "--payloads-file", "payloads.json", "--device-id", "lift-01", "--store", "lifts.db");
  eds(dir, "log", "sign", "--identity", "audit", ...store);
  // Not the blocking call: this very process answers it.
  await promisify(execFile)(EDS, ["log", "stamp", "--tsa", tsa.url, "--tsa-trust", tsa.pem, ...store], { cwd: dir });
  key = eds(dir, "keys", "show", "audit", "--keys", "lift-keys", "--origin", ORIGIN).match(/\S+\+[0-9a-f]{8}\+\S+/)[0];
  device = deviceKey(Buffer.alloc(32, 1)).hex;
  bundle = shop.file("lift-01.evidence.jsonl");
  eds(dir, "audit", "bundle", "--device-id", "lift-01", "--trust", key, "--out", bundle, ...store);
  log = makeLog(dir);
  browser = await browse();
});
after(async () => {
  await browser?.close();
  tsa?.end();
  shop?.end();
});

test("evidence of a device holds: registry, records, payloads, the log's key, the device's, the time", { timeout: 60_000 }, async (t) => {
  const { page, seen, asked, errors } = await examine(browser, bundle, { keys: [key], devices: [device], files: { "anchors-file": tsa.der } });
  t.diagnostic(JSON.stringify(seen));
  assert.equal(seen.title, "Holds");
  assert.deepEqual(seen.findings, []);
  assert.equal(seen.facts.Kind, "Evidence bundle");
  assert.deepEqual(seen.streams, ["registry/lift-01", "registry-keys", "device/lift-01/1"]);
  assert.ok(seen.signatures.some((text) => text.startsWith("holds\ncheckpoint")), seen.signatures.join("; "));
  assert.ok(seen.signatures.some((text) => /^holds\n.*time/i.test(text) && /\d{4}-\d\d-\d\dT/.test(text)), seen.signatures.join("; "));
  const root = createHash("sha256").update(readFileSync(tsa.der)).digest("hex");
  assert.equal(seen.facts["Trusted time-stamping roots"], `root.der, SHA-256 ${root}`);
  await page.$$eval(".stream > button", (all) => all.at(-1).click());
  await page.waitForFunction(() => document.activeElement.tagName === "H3");
  const detail = await page.$eval(".detail", (node) => node.innerText);
  assert.match(detail, /Claimed by the device\s+2023-11-14T22:13:20\.000Z/);
  assert.match(detail, /Existed by, as an authority says\s+\d{4}-/);
  await page.screenshot({ path: join(OUTPUT, "evidence.png"), fullPage: true });
  assert.deepEqual(outside(asked), []);
  assert.deepEqual(errors, []);
});

test("without roots and device keys the same evidence says what is not checked", { timeout: 60_000 }, async () => {
  const shown = eds(shop.dir, "keys", "show", "audit", "--keys", "lift-keys", "--origin", ORIGIN);
  const { seen } = await examine(browser, bundle, { keys: [shown] });
  assert.equal(seen.title, "Holds");
  assert.ok(seen.notChecked.some((text) => /time/i.test(text)), seen.notChecked.join("; "));
  assert.ok(seen.signatures.every((text) => !/time stamp/.test(text) || text.startsWith("not checked")), seen.signatures.join("; "));
  assert.ok(seen.signatures.some((text) => text.startsWith("not checked\nrecords of lift-01")), seen.signatures.join("; "));
});

const BUNDLES = {
  "a payload changed": (lines) => {
    const entry = lines.findLast((line) => line.entry?.payload).entry;
    entry.payload = changeBytes(entry.payload, (bytes) => (bytes[bytes.length - 1] ^= 1));
    return [/payload/];
  },
  "a proof changed": (lines) => {
    const entry = lines.findLast((line) => line.entry).entry;
    const proof = entry.proof.split("\n");
    const at = proof.findIndex((line, i) => i > 2 && /^[A-Za-z0-9+/]{43}=$/.test(line));
    proof[at] = Buffer.alloc(32, 5).toString("base64");
    entry.proof = proof.join("\n");
    return [/line \d+/];
  },
  "an entry left out": (lines) => {
    lines.splice(lines.findLastIndex((line) => line.entry) - 1, 1);
    lines.at(-1).end.entries -= 1;
    return [/line \d+/];
  },
  "another note": (lines) => {
    const { checkpoint } = lines.find((line) => line.checkpoint);
    checkpoint.note = checkpoint.note.replace(/\n(\d+)\n/, (_, size) => `\n${Number(size) + 1}\n`);
    return [/checkpoint|sign/];
  },
};

for (const [name, change] of Object.entries(BUNDLES)) {
  test(`evidence: ${name}`, { timeout: 60_000 }, async (t) => {
    const lines = parse(bundle);
    const wanted = change(lines);
    const { seen, errors } = await examine(browser, shop.write("changed.evidence.jsonl", format(lines)), { keys: [key], devices: [device] });
    t.diagnostic(seen.findings.join(" | "));
    assert.equal(seen.title, "Does not hold");
    for (const text of wanted) assert.match(seen.findings.join("\n"), text);
    assert.deepEqual(errors, []);
  });
}

test("evidence: a device's key that the registry does not name", { timeout: 60_000 }, async (t) => {
  const { seen } = await examine(browser, bundle, { keys: [key], devices: [deviceKey().hex] });
  t.diagnostic(seen.findings.join(" | "));
  assert.equal(seen.title, "Does not hold");
});

test("evidence: the key of another log", { timeout: 60_000 }, async () => {
  const { seen } = await examine(browser, bundle, { keys: [log.key] });
  assert.notEqual(seen.title, "Holds");
});

test("a policy that is not met refuses what the key alone would let pass", { timeout: 60_000 }, async (t) => {
  // Cosigner's key: type 4, id over name, line end and key (C2SP signed-note, tlog-cosignature).
  const name = "witness.example/w1";
  const typed = Buffer.concat([Buffer.from([4]), deviceKey().publicKey]);
  const id = createHash("sha256").update(Buffer.concat([Buffer.from(`${name}\n`), typed])).digest().subarray(0, 4);
  const witness = `${name}+${id.toString("hex")}+${typed.toString("base64")}`;
  const policy = shop.write("policy.txt", `log ${key}\nwitness w1 ${witness}\nquorum w1\n`);
  const { seen } = await examine(browser, bundle, { keys: [key], files: { "policy-file": policy } });
  t.diagnostic([seen.banner, ...seen.findings].join(" | "));
  assert.equal(seen.title, "Does not hold");
  assert.match(seen.findings.join("\n"), /quorum|cosign|witness/);
});

test("a proof of one entry, and the same with another leaf", { timeout: 60_000 }, async () => {
  const path = shop.file("door.tlog-proof");
  eds(shop.dir, "log", "prove", "doors", "3", "-o", path, "--tlog-proof", ...log.log);
  const good = await examine(browser, path, { keys: [log.key] });
  assert.equal(good.seen.title, "Holds");
  assert.equal(good.seen.facts.Kind, "Proof of one entry");
  assert.deepEqual(good.seen.streams, ["doors"]);
  const changed = readFileSync(path, "utf8").replace(/^[A-Za-z0-9+/]{43}=$/m, Buffer.alloc(32, 9).toString("base64"));
  const bad = await examine(browser, shop.write("bad.tlog-proof", changed), { keys: [log.key] });
  assert.equal(bad.seen.title, "Does not hold");
});

test("records that the tool signed: good, of a foreign key, changed, with a gap", { timeout: 60_000 }, async (t) => {
  const { dir } = shop;
  eds(dir, "audit", "keygen", "--out", "lift-02.key.json");
  const { public_key_hex: own } = JSON.parse(readFileSync(shop.file("lift-02.key.json"), "utf8"));
  const records = [1, 2, 3].map((n) => {
    const before = n > 1 ? ["--prev-record", `r${n - 1}.json`] : [];
    eds(dir, "audit", "sign-record", "--device-id", "lift-02", "--sequence", String(n), "--payload", `ride ${n}`, "--object-ref", `s3://b/${n}`, "--key-file", "lift-02.key.json", "--out", `r${n}.json`, ...before);
    return JSON.parse(readFileSync(shop.file(`r${n}.json`), "utf8"));
  });
  const give = (name, list, devices = [own]) => examine(browser, shop.write(name, JSON.stringify(list, null, 1)), { devices });
  const good = await give("records.json", records);
  assert.equal(good.seen.title, "Holds");
  assert.equal((await give("bare.json", records, [])).seen.title, "Not proven: no keys given");
  const foreign = await give("foreign.json", records, [deviceKey().hex]);
  assert.notEqual(foreign.seen.title, "Holds");
  t.diagnostic([foreign.seen.title, ...foreign.seen.findings].join(" | "));
  const changed = await give("changed.json", records.map((record, at) => (at === 1 ? { ...record, timestamp_ms: 5 } : record)));
  assert.equal(changed.seen.title, "Does not hold");
  assert.match(changed.seen.findings.join("\n"), /record 2 of "lift-02"/);
  const gap = await give("gap.json", [records[0], records[2]]);
  assert.equal(gap.seen.title, "Does not hold");
  assert.match(await gap.page.$eval(".gaps", (node) => node.innerText), /2 is missing/);
  writeFileSync(join(OUTPUT, "gap.png"), await gap.page.screenshot({ fullPage: true }));
});
