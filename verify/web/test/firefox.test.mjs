import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, test } from "node:test";
import puppeteer from "puppeteer-core";
import { OUTPUT, PAGE, give, write } from "./browser.mjs";
import { workshop } from "./eds.mjs";
import { SAMPLE, SAMPLE_KEY } from "./sample.mjs";

const FIREFOX = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
const skip = existsSync(FIREFOX) ? false : "no Firefox: install the package firefox-esr, or set FIREFOX";

let shop;
let browser;

before(async () => {
  if (skip) return;
  shop = workshop();
  browser = await puppeteer.launch({ browser: "firefox", executablePath: FIREFOX, headless: true, defaultViewport: null });
});
after(async () => {
  await browser?.close();
  shop?.end();
});

/** Asks again until the page says so: the waiting of the driver needs `eval`, which the page forbids. */
async function until(page, read, wanted, what) {
  for (let i = 0; i < 150; i += 1) {
    const seen = await page.evaluate(read);
    if (wanted(seen)) return seen;
    await new Promise((next) => setTimeout(next, 100));
  }
  assert.fail(`${what}: not within 15 s`);
}

const swapped = () => {
  const lines = SAMPLE.trimEnd().split("\n");
  [lines[10], lines[11]] = [lines[11], lines[10]];
  return lines.join("\n") + "\n";
};

for (const [name, text, title] of [["a good export", SAMPLE, "Holds"], ["two entries swapped", swapped(), "Does not hold"]]) {
  test(`Firefox: ${name}`, { skip, timeout: 60_000 }, async () => {
    const page = await browser.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(pathToFileURL(PAGE).href);
    await write(page, "keys", SAMPLE_KEY);
    await give(page, "file", shop.write("export.jsonl", text));
    const shown = await until(page, () => document.querySelector("#result:not([hidden]) h2")?.textContent, Boolean, "a verdict");
    assert.equal(shown, title);
    await until(page, () => document.querySelectorAll(".timeline svg").length, (number) => number === 3, "timelines");
    await page.evaluate(() => document.querySelector("[role=listbox]").focus());
    await page.keyboard.press("End");
    await page.keyboard.press("Enter");
    const heading = await until(page, () => document.activeElement.tagName === "H3" && document.activeElement.textContent, Boolean, "an item");
    assert.match(heading, /^doors 4/);
    await page.screenshot({ path: join(OUTPUT, `firefox-${title.replace(/ /g, "-")}.png`) });
    assert.deepEqual(errors, []);
    await page.close();
  });
}
