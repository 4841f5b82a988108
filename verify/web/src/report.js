import { count, number, plain } from "./text.js";
import { el, growing, hash, section, standing, strange, when } from "./dom.js";
import { ItemList } from "./list.js";
import { streamsSection } from "./streams.js";
import { banner, verdictOf } from "./verdict.js";

const KINDS = {
  "log-export": "Export of a whole log",
  "evidence-bundle": "Evidence bundle",
  "proof-file": "Proof of one entry",
  records: "Signed records of devices",
};

const ABOUT = { "log-export": "Log", "proof-file": "Log", records: "Device" };

/** Everything that an examination found, as one node. */
export function showReport({ file, found, trusted, ms, engine, detail }) {
  const { summary } = found;
  const verdict = verdictOf(summary, trusted);
  const list = found.items > 0 ? new ItemList({ items: found.items, summary, engine, open: (index, focus) => detail.show(index, focus) }) : undefined;
  const jump = (index) => {
    list.select(Number(index));
    detail.show(Number(index), true);
  };
  detail.onClose = () => list.node.querySelector("[role=listbox]").focus();
  const streams = streamsSection(summary, jump);
  const node = el("div", {},
    banner(verdict),
    findingsSection(summary, jump),
    notCheckedSection(summary),
    fileSection(file, found, trusted, ms),
    countsSection(summary),
    signaturesSection(summary),
    streams.node,
    list ? section("The chain", "chain screen", el("div", { class: "pair" }, list.node, detail.node)) : null);
  return {
    node,
    verdict: `${verdict.title}.`,
    showDensity: (density) => streams.showDensity(density),
    growForPaper: () => [...node.querySelectorAll(".grows")].filter((grows) => !grows.closest("details:not([open])")).forEach((grows) => grows.growForPaper()),
  };
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, ...values]) =>
    el("div", {}, el("dt", {}, term), values.map((value) => el("dd", {}, value)))));
}

function fileSection(file, found, trusted, ms) {
  const { summary } = found;
  const none = (text) => el("span", { class: "hint" }, text);
  const keys = trusted.keys.map((key) => strange(key, { tag: "code" }));
  const devices = trusted.deviceKeys.map((key) => hash(key));
  const anchors = trusted.anchors.map((name, at) =>
    el("span", {}, strange(name), ", SHA-256 ", el("code", { class: "hash" }, found.anchors[at])));
  return section("The file", "file",
    facts([
      ["Name", strange(file.name)],
      ["Size", `${count(found.bytes, "byte")}`],
      ["SHA-256", el("code", { class: "hash" }, found.digest)],
      ["Kind", KINDS[summary.kind] ?? summary.kind],
      [ABOUT[summary.kind] ?? "About", summary.origin ? strange(summary.origin) : none("not said, or more than one")],
      ["Examined", el("span", {}, when(Date.now()), ` by the clock of this computer, in ${(ms / 1000).toFixed(1)} s`)],
      ["Trusted keys of the log", ...(keys.length ? keys : [none("none")])],
      devices.length > 0 && ["Trusted keys of devices", ...devices],
      trusted.policyBytes && ["Policy", el("span", {}, strange(trusted.policy), ", SHA-256 ", el("code", { class: "hash" }, found.policy))],
      anchors.length > 0 && ["Trusted time-stamping roots", ...anchors],
    ]),
    el("p", { class: "screen" }, el("button", { type: "button", onclick: () => print() }, "Print this report")));
}

function findingsSection(summary, jump) {
  const { findings } = summary;
  if (findings.length === 0) return section("Findings", "findings", el("p", {}, "Nothing that was checked is broken."));
  return section(`Findings (${number(findings.length)})`, "findings broken",
    growing(findings, (finding) =>
      el("li", {},
        strange(finding.text, { lines: true }),
        finding.item !== undefined
          ? el("button", { type: "button", class: "small screen", "aria-label": `Show item ${finding.item}: ${plain(finding.text, 80)}`, onclick: () => jump(finding.item) }, "Show the item")
          : null),
    { tag: "ol", name: "Findings" }));
}

function notCheckedSection(summary) {
  if (summary.notChecked.length === 0) return section("Not checked", "unchecked", el("p", {}, "Nothing was left out."));
  return section("Not checked", "unchecked",
    growing(summary.notChecked, (text) => el("li", {}, strange(text, { lines: true })), { label: "lines", name: "Not checked" }));
}

function countsSection(summary) {
  if (summary.counts.length === 0) return null;
  return section("What was checked", "counts",
    el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "What"), el("th", { scope: "col", class: "number" }, "How many"))),
      el("tbody", {}, summary.counts.map(({ what, number: value }) =>
        el("tr", {}, el("th", { scope: "row" }, strange(what)), el("td", { class: "number" }, number(value)))))));
}

function signaturesSection(summary) {
  if (summary.signatures.length === 0) return section("Who signed, and when", "signatures", el("p", {}, "There is no signature in this file."));
  return section("Who signed, and when", "signatures",
    growing(summary.signatures, (signature) =>
      el("li", { class: "signature" },
        standing(signature.standing),
        el("span", { class: "what" }, strange(signature.of)),
        el("span", {}, "by ", strange(signature.by)),
        el("span", {}, signature.timeMs === undefined ? "time not said" : when(signature.timeMs))),
    { label: "signatures", name: "Signatures" }));
}

