import { number } from "./text.js";
import { el, hash, standing, strange, when } from "./dom.js";

/** One item: all of its fields, its payload, and its way up to a checkpoint. */
export class Detail {
  constructor(engine) {
    this.engine = engine;
    this.node = el("section", { class: "detail", "aria-label": "Item" }, el("p", { class: "hint" }, "Choose an item to see all of it."));
    this.turn = 0;
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.onClose?.();
    });
  }

  async show(index, focus) {
    const mine = (this.turn += 1);
    const [[item], payload, path] = await Promise.all([
      this.engine.call("items", { first: index, limit: 1 }),
      this.engine.call("payload", { item: index }),
      this.engine.call("path", { item: index }),
    ]);
    if (mine !== this.turn || !item) return;
    const heading = el("h3", { tabindex: "-1" }, strange(item.streamId, { limit: 255 }), ` ${number(item.seqno)}`);
    this.node.replaceChildren(
      heading,
      el("p", {}, standing(item.standing)),
      fields(item),
      el("h4", {}, "Payload"),
      el("p", {}, strange(item.payload, { lines: true })),
      payload === undefined ? el("p", { class: "hint" }, "It is not in the file.") : el("pre", { class: "payload", tabindex: "0", "aria-label": "Payload" }, strange(payload, { lines: true, limit: 65_536, tag: "span" })),
      el("h4", {}, "Way to a checkpoint"),
      ...(path ? way(path) : [el("p", { class: "hint" }, "No segment under a checkpoint covers it.")]),
      el("p", {}, el("button", { type: "button", class: "small", onclick: () => this.onClose?.() }, "Back to the list")));
    this.node.scrollTop = 0;
    if (focus) heading.focus();
  }
}

function fields(item) {
  const rows = [
    ["Item", `${number(item.index)}, line ${number(item.line)} of the file`],
    ["Time", when(item.timeMs)],
    ["Type", strange(item.eventType)],
    item.severity !== undefined && ["Severity", item.severity],
    ["Producer", strange(item.producer)],
    ["Software", strange(item.softwareVersion)],
    item.claimedMs !== undefined && ["Claimed by the device", when(item.claimedMs)],
    item.trustedMs !== undefined && ["Existed by, as an authority says", when(item.trustedMs)],
    ["Hash", hash(item.hash)],
    ["Hash of the one before, as it says", hash(item.prevHash)],
    ["Segment", item.segmentId === undefined ? "none" : number(item.segmentId)],
  ].filter(Boolean);
  return el("dl", { class: "facts" }, rows.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

function way(path) {
  const out = [
    el("p", {}, "Leaf of the entry (RFC 6962): ", hash(path.leaf)),
    steps(path.steps, "in the tree of the stream"),
    el("p", {}, `Root that segment ${number(path.segmentId)} records: `, hash(path.root)),
  ];
  if (path.logLeaf) {
    out.push(
      el("p", {}, "Leaf of the segment in _log: ", hash(path.logLeaf)),
      steps(path.logSteps, "in the tree of _log"));
  } else if (path.logSteps.length > 0) out.push(steps(path.logSteps, "in the tree of _log"));
  out.push(
    el("p", {}, `Root that checkpoint ${number(path.checkpoint)} signs: `, hash(path.logRoot)),
    el("pre", { class: "note", tabindex: "0", "aria-label": `Note of checkpoint ${path.checkpoint}` }, strange(path.note, { lines: true, limit: 65_536, tag: "span" })));
  return out;
}

function steps(list, where) {
  if (list.length === 0) return el("p", { class: "hint" }, `No step ${where}: it is the only leaf.`);
  return el("ol", { class: "steps", "aria-label": `Steps ${where}` }, list.map((step) =>
    el("li", {},
      el("span", { class: "side" }, step.left ? "left sibling" : "right sibling"), hash(step.hash),
      el("span", { class: "side" }, "gives"), hash(step.parent))));
}
