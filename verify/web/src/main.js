import { parts, worker } from "inside";
import { Detail } from "./detail.js";
import { byId } from "./dom.js";
import { Cancelled, Engine, Refused, unpack } from "./engine.js";
import { Inputs } from "./inputs.js";
import { showReport } from "./report.js";
import { failure, refusal } from "./verdict.js";
import { count, number, plain, size } from "./text.js";

let unpacked;
let engine;
let file;
let report;
let run = 0;
let examined = false;

const inputs = new Inputs({
  onFile(chosen) {
    file = chosen;
    inputs.showFile(file);
    byId("examine").disabled = false;
    examine();
  },
  onChange() {
    byId("stale").hidden = !examined;
  },
});

byId("examine").addEventListener("click", examine);
byId("cancel").addEventListener("click", cancel);
addEventListener("beforeprint", () => report?.growForPaper());
addEventListener("error", (event) => {
  // Browsers say this where they put off a measurement to the next frame.
  if (!event.message.startsWith("ResizeObserver loop")) fail(event.error ?? event.message, "This page failed");
});
addEventListener("unhandledrejection", (event) => fail(event.reason, "This page failed"));

async function examine() {
  if (!file) return;
  const mine = (run += 1);
  let trust;
  try {
    trust = inputs.trust();
  } catch {
    return;
  }
  const trusted = { ...trust, ...inputs.names(), policyBytes: trust.policy };
  const started = performance.now();
  stop();
  busy(true);
  try {
    unpacked ??= await unpackAll();
    if (mine !== run) return;
    engine = new Engine(worker, unpacked, (event) => mine === run && listen(event, started));
    await engine.ready;
    const found = await engine.call("examine", { file, trust });
    if (mine !== run) return;
    show(found, trusted, performance.now() - started);
  } catch (error) {
    if (mine === run && !(error instanceof Cancelled)) fail(error);
  } finally {
    if (mine === run) busy(false);
  }
}

async function unpackAll() {
  if (!globalThis.DecompressionStream || !globalThis.WebAssembly) {
    throw new Error("This browser is too old: the page needs WebAssembly and DecompressionStream. Use a browser of 2023 or later.");
  }
  const entries = await Promise.all(Object.entries(parts).map(async ([name, text]) => [name, await unpack(text)]));
  return Object.fromEntries(entries);
}

let spoken = 0;

function listen(event, started) {
  if (event.progress) {
    const { done, size: whole, items } = event.progress;
    const share = whole ? done / whole : 1;
    byId("bar").value = Math.floor(share * 1000);
    const seconds = (performance.now() - started) / 1000;
    byId("progress-text").textContent = `${size(done)} of ${size(whole)} read, ${count(items, "item")}, ${seconds.toFixed(0)} s`;
    const quarter = Math.floor(share * 4);
    if (quarter > spoken && quarter < 4) {
      spoken = quarter;
      say(`${quarter * 25} percent examined`);
    }
  } else if (event.read) {
    byId("progress-text").textContent = "All read. Judging what was read.";
  } else if (event.density) {
    report?.showDensity(event.density);
  } else if (event.failed) {
    fail(new Error(event.failed));
  }
}

function show(found, trusted, ms) {
  examined = true;
  const detail = new Detail(engine);
  report = showReport({ file, found, trusted, ms, engine, detail });
  byId("trust").open = found.summary.standing === "not-checked";
  reveal(report.node, `${report.verdict} ${number(found.summary.findings.length)} findings.`);
}

function reveal(node, text) {
  byId("result").replaceChildren(node);
  byId("result").hidden = false;
  byId("stale").hidden = true;
  say(text);
  const heading = node.querySelector("h2");
  heading.tabIndex = -1;
  heading.focus();
}

function fail(error, title = "The examiner failed") {
  if (error instanceof Cancelled) return;
  stop();
  busy(false);
  const text = error?.message ?? String(error);
  report = undefined;
  const node = error instanceof Refused ? refusal(file, text) : failure(title, file, text);
  reveal(node, node.querySelector("h2").textContent);
}

function cancel() {
  run += 1;
  stop();
  busy(false);
  say("Cancelled.");
  byId("examine").focus();
}

function stop() {
  engine?.end();
  engine = undefined;
}

function busy(on) {
  byId("progress").hidden = !on;
  byId("cancel").hidden = !on;
  byId("examine").disabled = on || !file;
  if (!on) return;
  spoken = 0;
  report = undefined;
  byId("result").hidden = true;
  byId("bar").value = 0;
  byId("progress-text").textContent = "Starting";
  say(`Examining ${plain(file.name, 80)}`);
  byId("cancel").focus();
}

function say(text) {
  byId("live").textContent = text;
}
