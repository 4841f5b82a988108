import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { after, before, test } from "node:test";
import { browse, examine, give, open, outside, verdict, write } from "./browser.mjs";
import { workshop } from "./eds.mjs";
import { deviceKey, makeRecord } from "./records.mjs";
import { SAMPLE, SAMPLE_KEY } from "./sample.mjs";
import { trapping } from "./trapping.mjs";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
let shop;
let browser;

before(async () => {
  shop = workshop();
  browser = await browse();
});
after(async () => {
  await browser?.close();
  shop?.end();
});

const device = deviceKey();
const record = (changes = {}) => makeRecord(device, { id: "lift-01", sequence: 1, timestamp: 1_700_000_000_000, payload: "x", prev: Buffer.alloc(32), objectRef: "s3://b/1", ...changes }).json;
const half = SAMPLE.slice(0, SAMPLE.length / 2);
const NESTED = 200_000;

// What comes in, what the verdict must be, and what the page must say.
const FILES = {
  "empty": ["", "Not examined", /none of the files that can be examined/],
  "one line end": ["\n", "Not examined", /none of the files/],
  "random bytes": [Buffer.concat([Buffer.from([0, 255]), randomBytes(100_000)]), "Not examined", /none of the files/],
  "zeros": [Buffer.alloc(3_000_000), "Not examined", /none of the files/],
  "a picture": [Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"), "Not examined", /none of the files/],
  "HTML": ["<!doctype html><script>document.title='run'</script>".repeat(10), "Not examined", /none of the files/],
  "an export cut off in the middle": [half, "Does not hold", /line \d+/],
  "an export, not UTF-8": [Buffer.concat([Buffer.from(SAMPLE.split("\n").slice(0, 3).join("\n") + "\n{\"entry\":{\"header\":\""), Buffer.from([0xff, 0xfe, 0xc0]), Buffer.from("\"}}\n")]), "Does not hold", /line 4/],
  "an export of another version": [SAMPLE.replace('"version":1', '"version":18446744073709551616'), "Does not hold", /line 1/],
  "an export with lines of nothing": [SAMPLE.replace("\n", "\n{}\n"), "Does not hold", /line 2/],
  "deeply nested arrays": ["[".repeat(NESTED) + "]".repeat(NESTED), "Does not hold", /line 1/],
  "deeply nested objects": ['{"a":'.repeat(NESTED), "Does not hold", /line 1/],
  "an export with a deeply nested line": [SAMPLE.replace("\n", "\n" + '{"entry":'.repeat(NESTED) + "\n"), "Does not hold", /line 2/],
  "huge numbers": [JSON.stringify(record()).replace('"sequence":1', '"sequence":1' + "0".repeat(5000)), "Does not hold", /line 1/],
  "a record of the last moment": [JSON.stringify(record()).replace('"timestamp_ms":1700000000000', '"timestamp_ms":18446744073709551615'), "Does not hold", /record 1/],
  "a record number that is the last": [JSON.stringify(record()).replace('"sequence":1', '"sequence":18446744073709551615'), "Does not hold", /18446744073709551615/],
  "a million empty objects": ["{}\n".repeat(1_000_000), "Does not hold", /line 1/],
  "one line of 20 MB": [`{"version":2,"device_id":"${"a".repeat(20_000_000)}"}`, "Does not hold", /line 1/],
  "records cut off": [JSON.stringify([record()]).slice(0, -300), "Does not hold", /line 1/],
};

for (const [name, [content, title, said]] of Object.entries(FILES)) {
  test(`hostile file: ${name}`, { timeout: 120_000 }, async () => {
    const tab = await examine(browser, shop.write("hostile", content), { keys: [SAMPLE_KEY], devices: [device.hex] });
    assert.equal(tab.seen.title, title, tab.seen.banner + tab.seen.findings.join("\n"));
    assert.match([tab.seen.banner, ...tab.seen.findings].join("\n"), said);
    assert.deepEqual(outside(tab.asked), []);
    assert.deepEqual(tab.errors, []);
    const width = await tab.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(width <= 0, `the page is ${width} px too wide`);
    await tab.close();
  });
}

const EVIL = `<img src=x onerror="document.title='run'"><script>document.title='run'</script>`;
const BIDI = "exe.\u202Egpj\u2066\u200B\u00AD\uFEFF";

test("strings of strangers are shown as they are, and hidden characters as escapes", { timeout: 60_000 }, async () => {
  const id = `lift ${EVIL}${BIDI}`.slice(0, 200);
  const one = makeRecord(device, { id, sequence: 1, timestamp: 1, payload: "x", prev: Buffer.alloc(32), objectRef: EVIL + BIDI + "w".repeat(300), software: "\u0000\u0007\u001b[31m" + EVIL });
  const tab = await examine(browser, shop.write(`${BIDI}<b>.json`, JSON.stringify(one.json)), { devices: [device.hex] });
  const { page, seen } = tab;
  assert.ok(seen.streams[0].includes("<script>"), seen.streams[0]);
  assert.ok(seen.streams[0].includes("\\u{202E}"), seen.streams[0]);
  await page.click(".stream > button");
  await page.waitForFunction(() => document.activeElement.tagName === "H3");
  const detail = await page.$eval(".detail", (node) => node.innerText);
  for (const escape of ["\\u{0000}", "\\u{001B}", "\\u{202E}", "\\u{2066}", "\\u{200B}", "\\u{00AD}", "\\u{FEFF}"]) assert.ok(detail.includes(escape), `${escape} is not in ${detail}`);
  const whole = await page.evaluate(() => document.body.textContent + [...document.querySelectorAll("*")].flatMap((node) => [...node.attributes].map((a) => a.value)).join(""));
  assert.doesNotMatch(whole, /[\u0000\u001b\u202e\u2066\u200b\u00ad\ufeff]/);
  assert.equal(await page.$$eval("img, script:not(head script):not(body > script), iframe", (all) => all.length), 0);
  assert.equal(await page.title(), "secure-log: verify a file");
  assert.deepEqual(tab.errors, []);
  await tab.close();
});

test("nothing leaves the page, even if its own scripts tried", { timeout: 60_000 }, async () => {
  const { page, asked } = await open(browser);
  await give(page, "file", shop.write("sample.jsonl", SAMPLE));
  await verdict(page);
  const tries = await page.evaluate(async () => {
    const blocked = [];
    document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
    const out = {};
    out.fetch = await fetch("https://example.com/").then(() => "went", () => "blocked");
    out.beacon = navigator.sendBeacon("https://example.com/", "x");
    try {
      new WebSocket("wss://example.com/");
    } catch {}
    const image = new Image();
    image.src = "https://example.com/x.png";
    const frame = document.createElement("iframe");
    frame.src = "https://example.com/";
    document.body.append(frame);
    const script = document.createElement("script");
    try {
      script.text = "document.title = 'run'";
    } catch {
      out.scriptText = "refused";
    }
    const style = document.createElement("style");
    style.textContent = "body { background: url(https://example.com/) }";
    document.body.append(style);
    try {
      document.body.innerHTML = "<b>x</b>";
    } catch {
      out.innerHTML = "refused";
    }
    // Not in the debugger's own call, for which eval is always allowed.
    setTimeout(() => {
      try {
        eval("1");
      } catch {
        out.eval = "refused";
      }
    });
    await new Promise((next) => setTimeout(next, 500));
    frame.remove();
    return { ...out, blocked };
  });
  assert.equal(tries.fetch, "blocked");
  for (const directive of ["connect-src", "img-src", "frame-src", "style-src-elem"]) assert.ok(tries.blocked.includes(directive), `${directive}: ${tries.blocked}`);
  assert.equal(tries.scriptText, "refused");
  assert.equal(tries.innerHTML, "refused");
  assert.equal(tries.eval, "refused");
  const [worker] = page.workers();
  assert.equal(await worker.evaluate(() => fetch("https://example.com/").then(() => "went", () => "blocked")), "blocked");
  assert.equal(await worker.evaluate(() => {
    try {
      importScripts("https://example.com/x.js");
      return "went";
    } catch {
      return "blocked";
    }
  }), "blocked");
  assert.ok(asked.length > 0);
});

test("a trap of the engine is said, with its text, and the page goes on", { timeout: 120_000 }, async () => {
  const component = process.env.EXAMINER ?? join(web, "../../dist/edgesentry-examiner.wasm");
  const broken = shop.write("trapping.wasm", trapping(readFileSync(component), "feed"));
  const out = shop.file("trapping.html");
  execFileSync(process.execPath, [join(web, "build.mjs")], { env: { ...process.env, EXAMINER: broken, OUT: out } });
  const { page } = await open(browser);
  await page.goto(pathToFileURL(out).href);
  await write(page, "keys", SAMPLE_KEY);
  await give(page, "file", shop.write("sample.jsonl", SAMPLE));
  const seen = await verdict(page);
  assert.equal(seen.title, "The examiner failed");
  assert.match(seen.banner, /unreachable/);
  assert.match(seen.banner, /says nothing about the file/);
  assert.equal(await page.$eval("#examine", (button) => button.disabled), false);
});

test("keys that are none are refused and named, and nothing is examined", { timeout: 60_000 }, async () => {
  const { page } = await open(browser);
  await write(page, "keys", "not a key");
  await give(page, "file", shop.write("sample.jsonl", SAMPLE));
  await page.waitForFunction(() => document.getElementById("keys-error").textContent.includes("is no verifier key"));
  assert.equal(await page.evaluate(() => document.activeElement.id), "keys");
  await write(page, "keys", SAMPLE_KEY.replace("c7339a90", "c7339a91"));
  await page.click("#examine");
  const seen = await verdict(page);
  assert.equal(seen.title, "Not examined");
  assert.match(seen.banner, /example\.com\/audit/);
});
