import { sha256 } from "@noble/hashes/sha2.js";
import { instantiate } from "examiner";
import { refuseEverything } from "./wasi.js";
import { Density } from "./density.js";
import { hex } from "./text.js";

const SLICE = 1 << 20;
const PAGE = 1000;

const modules = new Map();
let examiner;
let wasi;
let turn = 0;

const compile = (name) => modules.get(name) ?? Promise.reject(new Error(`the page lacks the module ${name}`));

async function start(trust) {
  wasi = refuseEverything();
  const instance = await instantiate(compile, wasi.interfaces);
  examiner = instance.examiner;
  guarded(() => examiner.begin(trust));
}

/** Runs a call of the engine and tells a refusal, which has a text, from a failure of the engine itself. */
function guarded(call) {
  try {
    return call();
  } catch (error) {
    if (error && typeof error.payload === "string") throw new Refusal(error.payload);
    const said = wasi?.said();
    throw new Failure([error?.message ?? String(error), said].filter(Boolean).join("\n"));
  }
}

class Refusal extends Error {}
class Failure extends Error {}

async function examine({ file, trust }) {
  const mine = (turn += 1);
  await start(trust);
  const whole = sha256.create();
  let done = 0;
  let items = 0n;
  do {
    let bytes;
    try {
      bytes = new Uint8Array(await file.slice(done, done + SLICE).arrayBuffer());
    } catch (error) {
      throw new Refusal(`The file could not be read: ${error.message} Choose it again.`);
    }
    if (bytes.length === 0) break;
    whole.update(bytes);
    items = guarded(() => examiner.feed(bytes));
    done += bytes.length;
    postMessage({ progress: { done, size: file.size, items } });
  } while (done < file.size);
  const digest = hex(whole.digest());
  postMessage({ read: { digest, bytes: done } });
  const summary = guarded(() => examiner.finish());
  const anchors = trust.timeAnchors.map((der) => hex(sha256(der)));
  const policy = trust.policy && hex(sha256(trust.policy));
  setTimeout(() => survey(mine, items, summary));
  return { summary, items: Number(items), digest, bytes: done, anchors, policy };
}

/** Reads all items once for the timelines, in pieces, so that requests come in between. */
async function survey(mine, items, summary) {
  const density = new Density(summary.streams);
  try {
    for (let at = 0n; at < items && mine === turn; ) {
      const page = guarded(() => examiner.items(at, PAGE));
      if (page.length === 0) break;
      for (const item of page) density.add(item);
      at += BigInt(page.length);
      await new Promise((next) => setTimeout(next));
    }
    if (mine === turn) postMessage({ density: density.result() });
  } catch (error) {
    postMessage({ failed: error.message });
  }
}

/** Index of the item with a number in a stream: by halves where the stream lies in one piece, else by looking at all. */
async function find({ stream: { streamId, firstItem, items: number }, seqno }) {
  const item = (index) => guarded(() => examiner.items(index, 1))[0];
  let low = firstItem;
  let high = firstItem + number - 1n;
  while (low <= high) {
    const middle = (low + high) >> 1n;
    const seen = item(middle);
    if (seen?.streamId !== streamId) break;
    if (seen.seqno === seqno) return Number(middle);
    if (seen.seqno < seqno) low = middle + 1n;
    else high = middle - 1n;
  }
  for (let at = firstItem; ; ) {
    const page = guarded(() => examiner.items(at, PAGE));
    if (page.length === 0) return undefined;
    const found = page.find((seen) => seen.streamId === streamId && seen.seqno === seqno);
    if (found) return Number(found.index);
    at += BigInt(page.length);
    await new Promise((next) => setTimeout(next));
  }
}

const METHODS = {
  load: async (parts) => {
    for (const [name, bytes] of Object.entries(parts)) modules.set(name, WebAssembly.compile(bytes));
    await Promise.all(modules.values());
  },
  examine,
  find,
  items: ({ first, limit }) => guarded(() => examiner.items(BigInt(first), limit)),
  payload: ({ item }) => guarded(() => examiner.payload(BigInt(item))),
  path: ({ item }) => guarded(() => examiner.path(BigInt(item))),
};

onmessage = async ({ data: { id, method, args } }) => {
  try {
    postMessage({ id, value: await METHODS[method](args) });
  } catch (error) {
    const refused = error instanceof Refusal;
    postMessage({ id, error: { refused, text: error?.message ?? String(error) } });
  }
};
