// A real Chromium, the built page from file://, and everything that either of them asked of a network.
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const here = dirname(fileURLToPath(import.meta.url));
export const OUTPUT = join(here, "../test-output");
export const PAGE = process.env.PAGE ?? join(here, "../../../dist/secure-log-verify.html");

function chromium() {
  const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].filter(Boolean);
  const found = candidates.find(existsSync);
  if (!found) throw new Error("no Chromium: install the package chromium, or set CHROMIUM to its program");
  return found;
}

export async function browse() {
  if (!existsSync(PAGE)) throw new Error(`${PAGE} is not there: run “npm run build” first`);
  await mkdir(OUTPUT, { recursive: true });
  return puppeteer.launch({
    executablePath: chromium(),
    headless: true,
    protocolTimeout: 300_000,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run", "--lang=en-US"],
  });
}

/** The page in a tab of its own. `asked` holds every address, `errors` what went to the console as an error. */
export async function open(browser, { width = 1280, height = 900, dark = false } = {}) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const asked = [];
  const errors = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("workercreated", async (worker) => {
    asked.push(worker.url());
    await worker.client.send("Network.enable").catch(() => {});
    worker.client.on("Network.requestWillBeSent", ({ request }) => asked.push(request.url));
  });
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]);
  await page.goto(pathToFileURL(PAGE).href);
  return { page, asked, errors, close: () => context.close() };
}

export const outside = (asked) => asked.filter((url) => !/^(file|data|blob):/.test(url));

/** Gives a file to a chooser of the page. */
export async function give(page, id, ...paths) {
  const input = await page.$(`#${id}`);
  await input.uploadFile(...paths);
}

export async function write(page, id, text) {
  await page.$eval(`#${id}`, (field, value) => {
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }, text);
}

/** Waits for the end of an examination and reads what is on the screen. */
export async function verdict(page, timeout = 60_000) {
  await page.waitForFunction(() => !document.getElementById("result").hidden && document.getElementById("progress").hidden, { timeout });
  return page.evaluate(() => {
    const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.innerText.trim());
    return {
      title: document.querySelector("#result h2").innerText,
      banner: document.querySelector(".verdict").innerText,
      findings: texts(".findings li"),
      notChecked: texts(".unchecked li"),
      counts: Object.fromEntries([...document.querySelectorAll(".counts tbody tr")].map((row) => [row.cells[0].innerText, row.cells[1].innerText])),
      signatures: texts(".signature"),
      streams: texts(".stream h3"),
      facts: Object.fromEntries([...document.querySelectorAll(".file .facts > div")].map((row) => [row.querySelector("dt").innerText, [...row.querySelectorAll("dd")].map((dd) => dd.innerText).join("\n")])),
    };
  });
}

/** Examines one file with some trust in a fresh tab. */
export async function examine(browser, path, { keys = [], devices = [], files = {}, ...view } = {}) {
  const tab = await open(browser, view);
  if (keys.length) await write(tab.page, "keys", keys.join("\n"));
  if (devices.length) await write(tab.page, "devices", devices.join("\n"));
  for (const [id, paths] of Object.entries(files)) await give(tab.page, id, ...[paths].flat());
  await give(tab.page, "file", path);
  return { ...tab, seen: await verdict(tab.page) };
}
