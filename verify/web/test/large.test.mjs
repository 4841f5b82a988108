import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { after, before, test } from "node:test";
import { browse, give, open, outside, verdict, write } from "./browser.mjs";
import { makeLog, workshop } from "./eds.mjs";
import { deviceKey, writeRecords } from "./records.mjs";

const NUMBER = 100_000;
const BROKEN = 77_777;

let shop;
let browser;
const device = deviceKey();

before(async () => {
  shop = workshop();
  browser = await browse();
});
after(async () => {
  await browser?.close();
  shop?.end();
});

/** Counts the longest time in which the page's main thread answered nothing, from now on. */
const watch = (page) =>
  page.evaluate(() => {
    const seen = { last: performance.now(), gap: 0, progress: new Set() };
    window.seen = seen;
    seen.timer = setInterval(() => {
      const now = performance.now();
      seen.gap = Math.max(seen.gap, now - seen.last);
      seen.last = now;
      seen.progress.add(document.getElementById("bar").value);
    }, 10);
  });

const watched = (page) =>
  page.evaluate(() => {
    clearInterval(window.seen.timer);
    return { gap: window.seen.gap, progress: window.seen.progress.size };
  });

test("100,000 records: progress moves, the page answers, every row can be reached", { timeout: 400_000 }, async (t) => {
  const path = await writeRecords(shop.file("records.jsonl"), device, NUMBER);
  const { page, asked, errors } = await open(browser);
  await write(page, "devices", device.hex);
  await watch(page);
  const started = performance.now();
  await give(page, "file", path);
  const seen = await verdict(page, 300_000);
  const seconds = (performance.now() - started) / 1000;
  assert.equal(seen.title, "Holds");
  assert.deepEqual(seen.findings, []);
  assert.equal(seen.counts["signatures by the keys that were given"], "100,000");
  await page.waitForSelector(".timeline svg[aria-label*='100,000']", { timeout: 60_000 });
  const examined = await watched(page);
  assert.ok(examined.progress > 10, `progress stood at ${examined.progress} values only`);
  assert.ok(examined.gap < 500, `the page was deaf for ${examined.gap} ms while it examined`);

  await watch(page);
  await page.focus("[role=listbox]");
  await page.keyboard.press("End");
  await page.waitForFunction(() => document.querySelector("[aria-selected=true]")?.innerText.includes("100,000"));
  await page.$eval("[role=listbox]", (view) => (view.scrollTop = view.scrollHeight / 2));
  await page.waitForFunction(() => /lift-01 (49|50),\d{3}/.test(document.querySelector(".layer").innerText));
  const rows = await page.$$eval("[role=option]", (all) => all.length);
  assert.ok(rows < 30, `${rows} rows are in the page`);
  await page.type("#go-number", "31415");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("[aria-selected=true]")?.innerText.includes("31,415"));
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement.tagName === "H3" && document.activeElement.innerText.includes("31,415"));
  const used = await watched(page);
  assert.ok(used.gap < 300, `the page was deaf for ${used.gap} ms while it was used`);
  assert.deepEqual(outside(asked), []);
  assert.deepEqual(errors, []);
  t.diagnostic(`${statSync(path).size} bytes, ${seconds.toFixed(1)} s; longest gap ${examined.gap.toFixed(0)} ms while examining, ${used.gap.toFixed(0)} ms in use`);
});

test("one changed record among 100,000 is named and found in the list", { timeout: 400_000 }, async () => {
  const path = await writeRecords(shop.file("changed.jsonl"), device, NUMBER, {
    change: (json) => {
      if (json.sequence === BROKEN) json.object_ref = "s3://elsewhere/1.bin";
    },
  });
  const { page } = await open(browser);
  await write(page, "devices", device.hex);
  await give(page, "file", path);
  const seen = await verdict(page, 300_000);
  assert.equal(seen.title, "Does not hold");
  assert.match(seen.findings[0], /line 77777: record 77777 of "lift-01"/);
  await page.click(".findings li button");
  await page.waitForFunction(() => document.activeElement.tagName === "H3" && document.activeElement.innerText.includes("77,777"));
  assert.match(await page.$eval("[aria-selected=true]", (row) => row.innerText), /does not hold/);
});

test("cancel ends it at once, and the next examination is whole", { timeout: 400_000 }, async () => {
  const { page } = await open(browser);
  await write(page, "devices", device.hex);
  await give(page, "file", shop.file("records.jsonl"));
  await page.waitForFunction(() => document.getElementById("bar").value > 50);
  await page.click("#cancel");
  await page.waitForFunction(() => document.getElementById("live").textContent === "Cancelled.");
  assert.equal(await page.$eval("#progress", (node) => node.hidden), true);
  const workers = () => page.workers().length;
  for (let i = 0; i < 50 && workers() > 0; i += 1) await new Promise((next) => setTimeout(next, 20));
  assert.equal(workers(), 0, "the worker is still there after a second");
  const small = await writeRecords(shop.file("small.jsonl"), device, 5);
  await give(page, "file", small);
  const seen = await verdict(page);
  assert.equal(seen.title, "Holds");
  assert.equal(seen.counts["records in the file"], "5");
});

test("an export of 250,000 entries, more rows than a page can be tall: each can be reached", { timeout: 400_000 }, async (t) => {
  const number = 250_000;
  const log = makeLog(shop.dir, { doors: number });
  const { page, errors } = await open(browser);
  await write(page, "keys", log.key);
  await watch(page);
  const started = performance.now();
  await give(page, "file", log.path);
  const seen = await verdict(page, 300_000);
  const seconds = (performance.now() - started) / 1000;
  assert.equal(seen.title, "Holds");
  await page.waitForSelector(".timeline svg");
  const { gap } = await watched(page);
  assert.ok(gap < 500, `the page was deaf for ${gap} ms`);
  const rows = () => page.evaluate(() => {
    const view = document.querySelector("[role=listbox]").getBoundingClientRect();
    return [...document.querySelectorAll("[role=option]")].map((row) => ({ index: Number(row.dataset.index), top: row.getBoundingClientRect().top - view.top, selected: row.ariaSelected === "true", text: row.innerText, height: view.height }));
  });
  const inSight = (row) => row && row.top >= -2 && row.top < row.height - 20;
  await page.focus("[role=listbox]");
  await page.keyboard.press("End");
  await page.waitForFunction(() => document.querySelector("[aria-selected=true]")?.innerText.includes("doors 250,000"));
  assert.ok(inSight((await rows()).find((row) => row.selected)), "the last row is out of sight");
  for (const wanted of [1, 77_777, 200_000, 249_999]) {
    await page.$eval("#go-stream", (select) => (select.value = [...select.options].find((option) => option.text === "doors").value));
    await page.$eval("#go-number", (field, value) => (field.value = value), String(wanted));
    await page.focus("#go-number");
    await page.keyboard.press("Enter");
    const text = `doors ${wanted.toLocaleString("en-US")}`;
    await page.waitForFunction((name) => document.querySelector("[aria-selected=true]")?.innerText.split("\n").some((line) => line.endsWith(name)), {}, text);
    assert.ok(inSight((await rows()).find((row) => row.selected)), `${text} is out of sight`);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowUp");
    const all = await rows();
    assert.ok(inSight(all.find((row) => row.selected)), `${text} is out of sight after arrows`);
    all.slice(1).forEach((row, at) => assert.ok(row.top > all[at].top, "rows lie upon each other"));
  }
  assert.deepEqual(errors, []);
  t.diagnostic(`${statSync(log.path).size} bytes, ${seconds.toFixed(1)} s; longest gap ${gap.toFixed(0)} ms`);
});
