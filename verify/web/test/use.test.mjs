import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { OUTPUT, browse, examine, open, outside, verdict, write } from "./browser.mjs";
import { workshop } from "./eds.mjs";
import { deviceKey, makeRecord } from "./records.mjs";
import { SAMPLE, SAMPLE_KEY } from "./sample.mjs";

let shop;
let browser;
let sample;
let broken;

before(async () => {
  shop = workshop();
  browser = await browse();
  sample = shop.write("export.jsonl", SAMPLE);
  const lines = SAMPLE.trimEnd().split("\n");
  [lines[10], lines[11]] = [lines[11], lines[10]];
  broken = shop.write("swapped.jsonl", lines.join("\n") + "\n");
});
after(async () => {
  await browser?.close();
  shop?.end();
});

test("the verdict without keys, with them, and with those of somebody else", { timeout: 60_000 }, async () => {
  const bare = await examine(browser, sample);
  assert.equal(bare.seen.title, "Not proven: no keys given");
  assert.equal(await bare.page.$eval("#stale", (node) => node.hidden), true);
  await write(bare.page, "keys", SAMPLE_KEY);
  assert.equal(await bare.page.$eval("#stale", (node) => node.checkVisibility()), true);
  await bare.page.click("#examine");
  assert.equal((await verdict(bare.page)).title, "Holds");
  await bare.close();
  const good = await examine(browser, sample, { keys: [SAMPLE_KEY] });
  assert.equal(good.seen.title, "Holds");
  assert.equal(good.seen.facts["SHA-256"], createHash("sha256").update(SAMPLE).digest("hex"));
  assert.equal(good.seen.facts.Size, `${Buffer.byteLength(SAMPLE).toLocaleString("en-US")} bytes`);
  assert.match(good.seen.facts["Trusted keys of the log"], /c7339a90/);
  assert.match(good.seen.signatures.join("\n"), /^holds\ncheckpoint 1\nby example\.com\/audit\+c7339a90/);
  assert.deepEqual(good.seen.streams, ["_log", "cameras", "doors"]);
  assert.ok(good.seen.notChecked.some((text) => text.includes("kept elsewhere")));
  await good.close();
});

test("by keyboard alone: choose, trust, examine, read a finding, its item, and come back", { timeout: 60_000 }, async () => {
  const { page, asked, errors } = await open(browser);
  const focus = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim().slice(0, 40));
  const tabTo = async (wanted, most = 40) => {
    for (let i = 0; i < most; i += 1) {
      if ((await focus()) === wanted) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`Tab never reaches ${wanted}`);
  };
  await page.keyboard.press("Tab");
  assert.equal(await focus(), "Skip to the content");
  await tabTo("keys");
  await page.keyboard.type(SAMPLE_KEY);
  await page.keyboard.down("Shift");
  await tabTo("file");
  await page.keyboard.up("Shift");
  const opened = page.waitForFileChooser({ timeout: 10_000 });
  await page.evaluate(() => new Promise(requestAnimationFrame));
  await page.keyboard.press("Space");
  const chooser = await opened;
  await chooser.accept([broken]);
  const seen = await verdict(page);
  assert.equal(seen.title, "Does not hold");
  assert.equal(await focus(), "verdict-h");
  await tabTo("Show the item");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement.tagName === "H3");
  const finding = await focus();
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("role")), "listbox");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  const active = await page.evaluate(() => document.getElementById(document.activeElement.getAttribute("aria-activedescendant")).innerText);
  assert.match(active, /_log 2/);
  await page.keyboard.press("Enter");
  await page.waitForFunction((before) => document.activeElement.tagName === "H3" && document.activeElement.textContent.trim() !== before, {}, finding);
  assert.match(await focus(), /^_log 2/);
  assert.deepEqual(outside(asked), []);
  assert.deepEqual(errors, []);
});

test("key files and the file are told apart when they are dropped together", { timeout: 60_000 }, async () => {
  const device = deviceKey();
  const record = makeRecord(device, { id: "lift-01", sequence: 1, timestamp: 1_700_000_000_000, payload: "x", prev: Buffer.alloc(32), objectRef: "s3://b/1" });
  const { page } = await open(browser);
  const files = {
    "audit.vkey": SAMPLE_KEY + "\n",
    "device-lift-01.key.json": JSON.stringify({ private_key_hex: "11".repeat(32), public_key_hex: device.hex }),
    "policy.txt": `log ${SAMPLE_KEY}\nquorum none\n`,
    "lift-01.json": JSON.stringify(record.json),
  };
  await page.evaluate((dropped) => {
    const data = new DataTransfer();
    for (const [name, text] of Object.entries(dropped)) data.items.add(new File([text], name));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
  }, files);
  const seen = await verdict(page);
  assert.equal(seen.facts.Name, "lift-01.json");
  assert.equal(seen.title, "Holds");
  assert.equal(seen.facts["Trusted keys of devices"], device.hex);
  assert.match(seen.facts.Policy, /^policy\.txt, SHA-256 [0-9a-f]{64}$/);
  assert.match(await page.$eval("#devices-error", (node) => node.textContent), /private key/);
  assert.doesNotMatch(await page.evaluate(() => document.documentElement.outerHTML), /1111111111/);
});

test("records of two devices that lie between each other are found by number", { timeout: 60_000 }, async () => {
  const chains = ["lift-01", "lift-02"].map((id) => ({ id, device: deviceKey(), prev: Buffer.alloc(32) }));
  const lines = [];
  for (let sequence = 1; sequence <= 40; sequence += 1) {
    for (const chain of chains) {
      const { json, hash } = makeRecord(chain.device, { id: chain.id, sequence, timestamp: 1_700_000_000_000 + sequence, payload: "x", prev: chain.prev, objectRef: `s3://b/${sequence}` });
      chain.prev = hash;
      lines.push(JSON.stringify(json));
    }
  }
  const { page, seen, errors } = await examine(browser, shop.write("two.jsonl", lines.join("\n")), { devices: chains.map(({ device }) => device.hex) });
  assert.equal(seen.title, "Holds", seen.findings.join("; "));
  assert.deepEqual(seen.streams, ["lift-01", "lift-02"]);
  await page.select("#go-stream", "1");
  await page.type("#go-number", "33");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => /lift-02 33\b/.test(document.querySelector("[aria-selected=true]")?.innerText));
  const row = await page.$eval("[aria-selected=true]", (node) => node.innerText);
  assert.match(row, /goes on from further up/);
  assert.doesNotMatch(row, /broken/);
  await page.$eval("#go-number", (field) => (field.value = "41"));
  await page.focus("#go-number");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector(".tools [role=status]").textContent === "There is no 41.");
  assert.match(await page.$eval(".stream:nth-child(2) svg[role=img]", (picture) => picture.getAttribute("aria-label")), /40, 0 that do not hold/);
  assert.deepEqual(errors, []);
});

test("a file that changed since it was chosen is not examined, and the page says what to do", { timeout: 60_000 }, async () => {
  const path = shop.write("moving.jsonl", SAMPLE);
  const { page, seen } = await examine(browser, path, { keys: [SAMPLE_KEY] });
  assert.equal(seen.title, "Holds");
  writeFileSync(path, SAMPLE + SAMPLE);
  utimesSync(path, new Date(), new Date(Date.now() + 5000));
  await page.click("#examine");
  const again = await verdict(page);
  assert.equal(again.title, "Not examined");
  assert.match(again.banner, /could not be read.*Choose it again/s);
});

test("what is printed says what was examined, by what, and with what result", { timeout: 60_000 }, async () => {
  const { page, close } = await examine(browser, broken, { keys: [SAMPLE_KEY] });
  writeFileSync(join(OUTPUT, "report.pdf"), await page.pdf({ format: "A4", margin: { top: "15mm", bottom: "15mm", left: "15mm", right: "15mm" } }));
  await page.emulateMediaType("print");
  const printed = await page.evaluate(() => document.body.innerText);
  for (const wanted of ["swapped.jsonl", createHash("sha256").update(readFileSync(broken)).digest("hex"), "Does not hold", SAMPLE_KEY, "Findings", "Not checked", "Who signed", "Examined"]) {
    assert.ok(printed.includes(wanted), `${wanted} is not printed`);
  }
  assert.match(printed, /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/);
  for (const unwanted of ["Whom you trust", "Print this report", "Show the item", "Arrow keys"]) assert.ok(!printed.includes(unwanted), `${unwanted} is printed`);
  await page.setViewport({ width: 794, height: 1123 });
  await page.screenshot({ path: join(OUTPUT, "print.png"), fullPage: true });
  await close();
});

/** Contrast of each text on the page with what lies behind it (WCAG 2.2, 1.4.3), worst first. */
function contrasts() {
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color[3] === undefined || color[3] === 1) return color;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility() || node.closest("script,style,noscript,button:disabled")) continue;
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))].sort((x, y) => y - x);
    found.push({ ratio: (a + 0.05) / (b + 0.05), text: text.data.trim().slice(0, 40) });
  }
  return found.sort((x, y) => x.ratio - y.ratio);
}

for (const [width, height] of [[360, 800], [1280, 900]]) {
  for (const dark of [false, true]) {
    const look = `${width}x${height}-${dark ? "dark" : "light"}`;
    test(`layout, names and contrast at ${look}`, { timeout: 60_000 }, async () => {
      for (const [name, path, keys] of [["broken", broken, [SAMPLE_KEY]], ["holds", sample, [SAMPLE_KEY]], ["unproven", sample, []]]) {
        const { page, close } = await examine(browser, path, { width, height, dark, keys });
        await page.waitForSelector(".timeline svg");
        await page.$eval(".stream:nth-child(3) > button", (button) => button.click());
        await page.waitForFunction(() => document.activeElement.tagName === "H3");
        const state = await page.evaluate(() => {
          const name = (node) => node.getAttribute("aria-label") || node.labels?.[0]?.innerText || node.textContent;
          return {
            wide: document.documentElement.scrollWidth - innerWidth,
            nameless: [...document.querySelectorAll("button, input, textarea, select, [role=listbox], [role=img], progress")].filter((node) => node.checkVisibility() && !name(node)?.trim()).map((node) => node.outerHTML.slice(0, 80)),
            headings: [...document.querySelectorAll("h1,h2,h3,h4")].filter((node) => node.checkVisibility()).map((node) => Number(node.tagName[1])),
            landmarks: ["header", "main", "footer"].map((tag) => document.querySelectorAll(`body > ${tag}`).length),
            doubles: [...document.querySelectorAll("[id]")].map((node) => node.id).filter((id, at, all) => all.indexOf(id) !== at),
          };
        });
        assert.ok(state.wide <= 0, `${name}: ${state.wide} px too wide`);
        assert.deepEqual(state.nameless, []);
        assert.deepEqual(state.landmarks, [1, 1, 1]);
        assert.deepEqual(state.doubles, []);
        state.headings.reduce((before, level) => (assert.ok(level <= before + 1, `h${level} follows h${before}`), level));
        const [worst] = await page.evaluate(contrasts);
        assert.ok(worst.ratio >= 4.5, `${name}: “${worst.text}” has a contrast of ${worst.ratio.toFixed(2)}`);
        await page.screenshot({ path: join(OUTPUT, `${name}-${look}.png`), fullPage: true });
        await close();
      }
    });
  }
}
