import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { OUTPUT, browse, examine, outside } from "./browser.mjs";
import { changeBytes, eds, entriesOf, format, makeLog, parse, rewrite, signNote, workshop } from "./eds.mjs";

let shop;
let browser;
let log;
let other;

before(async () => {
  shop = workshop();
  log = makeLog(shop.dir);
  other = makeLog(shop.dir, { store: "other.db", keys: "other-keys", payload: (n) => `door ${n} stayed shut` });
  browser = await browse();
});
after(async () => {
  await browser?.close();
  shop?.end();
});

test("a good export holds, and says what the tool says", { timeout: 60_000 }, async () => {
  const { page, seen, asked, errors } = await examine(browser, log.path, { keys: [log.key] });
  assert.equal(seen.title, "Holds");
  assert.deepEqual(seen.findings, []);
  assert.deepEqual(seen.streams, ["_log", "cameras", "doors"]);
  assert.equal(seen.facts["SHA-256"], createHash("sha256").update(readFileSync(log.path)).digest("hex"));
  const lines = parse(log.path);
  assert.equal(seen.counts["entries in the file"], String(lines.filter((line) => line.entry).length));
  assert.equal(seen.counts["signatures of checkpoints by trusted keys"], "2");
  for (const at of [1, 2]) assert.ok(seen.signatures.some((text) => text.startsWith(`holds\ncheckpoint ${at}\n`)), seen.signatures.join("; "));
  assert.ok(seen.notChecked.some((text) => /1 entries? that no signed segment covers/.test(text)), seen.notChecked.join("; "));
  await page.screenshot({ path: join(OUTPUT, "export.png"), fullPage: true });
  assert.deepEqual(outside(asked), []);
  assert.deepEqual(errors, []);
});

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();

test("the way of each entry to its checkpoint can be walked by hand", { timeout: 60_000 }, async () => {
  const { page } = await examine(browser, log.path, { keys: [log.key] });
  const lines = parse(log.path);
  const notes = lines.filter((line) => line.checkpoint).map((line) => line.checkpoint);
  const entries = lines.filter((line) => line.entry);
  await page.focus("[role=listbox]");
  await page.keyboard.press("Home");
  let walked = 0;
  for (const [index, { entry }] of entries.entries()) {
    await page.keyboard.press("Enter");
    await page.waitForFunction((at) => document.activeElement.tagName === "H3" && document.querySelector(".detail dd").innerText.startsWith(`${at},`), {}, index);
    const shown = await page.$eval(".detail", (node) => ({
      leaf: [...node.querySelectorAll("p")].find((p) => p.innerText.startsWith("Leaf of the entry"))?.querySelector("code").innerText,
      trees: [...node.querySelectorAll(".steps")].map((list) => [...list.children].map((step) => [step.innerText.startsWith("left"), ...[...step.querySelectorAll("code")].map((code) => code.innerText)])),
      segmentLeaf: [...node.querySelectorAll("p")].find((p) => p.innerText.startsWith("Leaf of the segment"))?.querySelector("code").innerText,
      roots: [...node.querySelectorAll("p")].filter((p) => p.innerText.startsWith("Root that")).map((p) => p.querySelector("code").innerText),
      note: node.querySelector(".note")?.textContent,
    }));
    if (shown.leaf) {
      walked += 1;
      assert.equal(shown.leaf, sha256(Buffer.from([0]), Buffer.from(entry.header, "base64")).toString("hex"));
      const climb = (leaf, steps) => steps.reduce((below, [left, hash, parent]) => {
        const pair = left ? [Buffer.from(hash, "hex"), Buffer.from(below, "hex")] : [Buffer.from(below, "hex"), Buffer.from(hash, "hex")];
        const above = sha256(Buffer.from([1]), ...pair).toString("hex");
        assert.equal(parent, above);
        return above;
      }, leaf);
      const signed = notes.find((note) => note === shown.note);
      assert.ok(signed, `the note shown is none of the file: ${shown.note}`);
      const root = Buffer.from(signed.split("\n")[2], "base64").toString("hex");
      assert.equal(shown.roots.at(-1), root);
      const trees = [...shown.trees];
      if (shown.segmentLeaf) {
        const own = trees.length === 2 || climbs(shown.leaf, trees[0], shown.roots[0]) ? trees.shift() ?? [] : [];
        assert.equal(climb(shown.leaf, own), shown.roots[0]);
        assert.equal(climb(shown.segmentLeaf, trees.shift() ?? []), root);
      } else assert.equal(climb(shown.leaf, trees.flat()), root);
    }
    await page.keyboard.press("Escape");
    await page.keyboard.press("ArrowDown");
  }
  assert.ok(walked >= 13, `only ${walked} ways were shown`);
});

/** Whether these steps are those of the stream's tree: with one leaf there are none. */
const climbs = (leaf, steps, root) => leaf !== root && steps?.at(-1)?.[2] === root;

/** Makes the last line count what is there, as whoever changes the file would. */
function recount(lines) {
  lines.at(-1).end = { entries: lines.filter((one) => one.entry).length, checkpoints: lines.filter((one) => one.checkpoint).length };
}

// What somebody does to the file, and what the screen must name.
const line = (at) => new RegExp(`line ${at + 1}\\b`);
const TAMPERED = {
  "a header changed"(lines, doors) {
    lines[doors[3]].entry.header = changeBytes(lines[doors[3]].entry.header, (bytes) => bytes.write("door.closed", bytes.indexOf("door.opened")));
    return [/"doors"|doors/, /entry [45]/];
  },
  "an entry removed"(lines, doors) {
    lines.splice(doors[4], 1);
    recount(lines);
    return [/entry 5 of stream "doors".*missing/];
  },
  "two entries swapped"(lines, doors) {
    [lines[doors[1]], lines[doors[2]]] = [lines[doors[2]], lines[doors[1]]];
    return [/entry 2 of stream "doors"/];
  },
  "a payload changed"(lines, doors) {
    lines[doors[2]].entry.payload = changeBytes(lines[doors[2]].entry.payload, (bytes) => (bytes[40] ^= 1));
    return [/entry 3 of stream "doors".*payload/];
  },
  "a payload taken out"(lines, doors) {
    delete lines[doors[2]].entry.payload;
    return [/entry 3 of stream "doors".*payload/];
  },
  "a signature changed"(lines) {
    const at = lines.findIndex((entry) => entry.checkpoint);
    const [body, signature] = lines[at].checkpoint.split("\n\n");
    const [dash, name, bytes] = signature.trim().split(" ");
    lines[at].checkpoint = `${body}\n\n${dash} ${name} ${changeBytes(bytes, (all) => (all[20] ^= 1))}\n`;
    return [line(at), /signature/];
  },
  "a root forged and signed with the log's own key"(lines) {
    const at = lines.findLastIndex((entry) => entry.checkpoint);
    const [origin, size] = lines[at].checkpoint.split("\n");
    lines[at].checkpoint = signNote(`${origin}\n${size}\n${Buffer.alloc(32, 7).toString("base64")}\n`, readFileSync(join(log.keys, "audit.pem")), log.key);
    return [/root|checkpoint/];
  },
  "the last entry rewritten, hashes and all"(lines, doors) {
    rewrite(lines[doors.at(-1)], "door 99 opened");
    return [/doors/, /segment/];
  },
  "the checkpoints removed"(lines) {
    for (let at = lines.length - 1; at >= 0; at -= 1) if (lines[at].checkpoint) lines.splice(at, 1);
    recount(lines);
    return [/checkpoint/];
  },
  "a stream twice"(lines, doors) {
    const end = lines.pop();
    lines.push(...doors.map((at) => lines[at]), end);
    recount(lines);
    return [/doors/];
  },
  "a stream taken out"(lines, doors) {
    lines.splice(doors[0], doors.length);
    recount(lines);
    return [/doors/];
  },
  "the last line left out"(lines) {
    lines.pop();
    return [/end|cut|incomplete|last line/i];
  },
  "more counted than there is"(lines) {
    lines.at(-1).end.entries += 1;
    return [/entries|count/];
  },
};

for (const [name, change] of Object.entries(TAMPERED)) {
  test(`tampered: ${name}`, { timeout: 60_000 }, async (t) => {
    const lines = parse(log.path);
    const wanted = change(lines, entriesOf(lines, "doors"));
    const tab = await examine(browser, shop.write("tampered.jsonl", format(lines)), { keys: [log.key] });
    assert.equal(tab.seen.title, "Does not hold");
    const said = tab.seen.findings.join("\n");
    t.diagnostic(said.replace(/\n/g, " | "));
    for (const text of wanted) assert.match(said, text);
    assert.deepEqual(outside(tab.asked), []);
    assert.deepEqual(tab.errors, []);
    await tab.close();
  });
}

test("tampered: cut off in the middle of a line", { timeout: 60_000 }, async (t) => {
  const bytes = readFileSync(log.path);
  const { seen } = await examine(browser, shop.write("cut.jsonl", bytes.subarray(0, bytes.length - 700)), { keys: [log.key] });
  assert.equal(seen.title, "Does not hold");
  t.diagnostic(seen.findings.join(" | "));
  assert.match(seen.findings.join("\n"), /line \d+/);
});

test("the key of another log proves nothing, and one of the same name neither", { timeout: 60_000 }, async () => {
  const foreign = await examine(browser, log.path, { keys: [other.key] });
  assert.notEqual(foreign.seen.title, "Holds");
  assert.ok(foreign.seen.signatures.every((text) => !text.startsWith("holds")), foreign.seen.signatures.join("; "));
  const whole = await examine(browser, other.path, { keys: [log.key] });
  assert.notEqual(whole.seen.title, "Holds");
});

const EVIL = `<img src=x onerror="document.title='run'">`;

test("a log whose names are HTML and bidi controls is shown as it is", { timeout: 60_000 }, async () => {
  const evil = makeLog(shop.dir, { store: "evil.db", keys: "evil-keys", origin: "<b>log</b>", stream: `<script>\u202Edoors`, type: EVIL, payload: (n) => `${EVIL}\u202E${n}`, doors: 3 });
  const { page, seen, errors } = await examine(browser, evil.path, { keys: [evil.key] });
  assert.equal(seen.title, "Holds");
  assert.ok(seen.streams.includes("<script>\\u{202E}doors"), seen.streams.join());
  assert.equal(seen.facts.Log, "<b>log</b>");
  await page.$$eval(".stream > button", (all) => all.at(0).click());
  await page.waitForFunction(() => document.activeElement.tagName === "H3");
  await page.type("#go-number", "2");
  await page.select("#go-stream", String(seen.streams.indexOf("<script>\\u{202E}doors")));
  await page.focus("#go-number");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("[aria-selected=true]")?.innerText.includes("doors 2"));
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement.innerText?.includes("doors 2"));
  assert.equal(await page.$eval(".payload", (node) => node.textContent), `${EVIL}\\u{202E}2`);
  assert.equal(await page.$$eval("img, main script, iframe", (all) => all.length), 0);
  assert.equal(await page.title(), "secure-log: verify a file");
  assert.deepEqual(errors, []);
  writeFileSync(join(OUTPUT, "evil.png"), await page.screenshot({ fullPage: true }));
});

test("what the tool holds for good, the page does, and the other way round", { timeout: 60_000 }, async () => {
  assert.doesNotThrow(() => eds(shop.dir, "log", "verify-export", log.path, "--trust", log.key));
  const lines = parse(log.path);
  lines.splice(entriesOf(lines, "doors")[4], 1);
  const path = shop.write("both.jsonl", format(lines));
  assert.throws(() => eds(shop.dir, "log", "verify-export", path, "--trust", log.key));
  assert.equal((await examine(browser, path, { keys: [log.key] })).seen.title, "Does not hold");
});
