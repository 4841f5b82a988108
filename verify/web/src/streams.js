import { count, number, plain, time } from "./text.js";
import { el, growing, hash, section, standing, strange, svg, when } from "./dom.js";
import { BUCKETS } from "./density.js";

const HEIGHT = 44;
const LOG = "_log";

/** Streams or devices: how each stands, how its items lie in time, what is missing, its segments. */
export function streamsSection(summary, jump) {
  const devices = summary.kind === "records";
  const lines = new Map();
  let density;
  const list = growing(summary.streams, (stream, at) => {
    const timeline = el("div", { class: "timeline" });
    lines.set(at, timeline);
    draw(timeline, stream, density, at, devices);
    return el("li", { class: "stream" },
      el("h3", {}, strange(stream.streamId, { limit: 255 })),
      el("p", {}, standing(stream.standing), ` ${count(stream.items, "item")}`,
        stream.items > 0n ? el("span", {}, ", from ", when(stream.firstMs), " to ", when(stream.lastMs)) : null),
      timeline,
      gaps(stream),
      segments(stream, summary.kind),
      stream.items > 0n
        ? el("button", { type: "button", class: "small screen", "aria-label": `Show the first item of ${plain(stream.streamId, 80)}`, onclick: () => jump(stream.firstItem) }, "Show its first item")
        : null);
  }, { step: 20, label: devices ? "devices" : "streams", name: devices ? "Devices" : "Streams" });
  const shapes = devices
    ? [["plain", "records"]]
    : [["covered", "under a segment"], ["open", "not under one"], ["end", "end of a segment"], ["plain", "entries of _log, which has no segments"]];
  const key = el("p", { class: "hint key" }, [...shapes, ["wrong", "does not hold"]].map(([shape, text]) =>
    el("span", {}, el("span", { class: `swatch ${shape}` }), text)));
  return {
    node: section(devices ? "Devices" : "Streams", "streams", key, list),
    showDensity(value) {
      density = value;
      for (const [at, node] of lines) draw(node, summary.streams[at], density, at, devices);
    },
  };
}

function gaps({ gaps: missing }) {
  if (missing.length === 0) return el("p", {}, "No number is missing.");
  return el("div", { class: "gaps" }, el("p", {}, `${count(missing.length, "gap")} in the numbers:`),
    growing(missing, ([first, last]) => el("li", {}, first === last ? `${number(first)} is missing` : `${number(first)} to ${number(last)} are missing`), { step: 20, label: "gaps", name: "Gaps" }));
}

function segments({ segments: marks, streamId }, kind) {
  if (marks.length === 0) {
    if (kind === "records") return null;
    return el("p", {}, streamId === LOG ? "Checkpoints sign its tree." : "No segment covers it.");
  }
  const covered = marks.filter(({ checkpoint }) => checkpoint !== undefined).length;
  return el("details", { class: "segments" },
    el("summary", {}, `${count(marks.length, "segment")}, ${number(covered)} under a checkpoint`),
    growing(marks, (segment) =>
      el("li", {}, `Segment ${number(segment.segmentId)}: ${number(segment.firstSeqno)} to ${number(segment.lastSeqno)}, `,
        segment.checkpoint === undefined ? "under no checkpoint" : `under checkpoint ${number(segment.checkpoint)}`,
        ", root ", hash(segment.root, 16)),
    { step: 20, label: "segments", name: `Segments of ${plain(streamId, 80)}` }));
}

function draw(node, stream, density, at, devices) {
  const whole = devices || stream.streamId === LOG;
  const lane = density?.streams[at];
  if (!lane) {
    node.replaceChildren(el("p", { class: "hint" }, density ? "No timeline: the file has too many streams." : "Timeline is being made."));
    return;
  }
  const { first, last } = density;
  const most = Math.max(1, ...lane.covered.map((value, i) => value + lane.open[i]));
  const picture = svg("svg", { viewBox: `0 0 ${BUCKETS} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": describe(stream, lane, density, whole) });
  picture.append(svg("line", { x1: 0, x2: BUCKETS, y1: HEIGHT - 8, y2: HEIGHT - 8, class: "axis" }));
  const room = HEIGHT - 12;
  for (let i = 0; i < BUCKETS; i += 1) {
    const total = lane.covered[i] + lane.open[i];
    if (total === 0) continue;
    const tall = Math.max(2, (total / most) * room);
    const low = (lane.covered[i] / total) * tall;
    const base = HEIGHT - 8;
    if (lane.covered[i]) picture.append(svg("rect", { x: i + 0.1, width: 0.8, y: base - low, height: low, class: "covered" }));
    if (lane.open[i]) picture.append(svg("rect", { x: i + 0.15, width: 0.7, y: base - tall, height: tall - low, class: whole ? "plain" : "open" }));
    if (lane.broken[i]) picture.append(svg("path", { d: `M${i - 0.2} ${HEIGHT - 7}l1.4 6.5m0-6.5l-1.4 6.5`, class: "wrong" }));
  }
  for (const bucket of lane.ends) picture.append(svg("line", { x1: bucket + 1, x2: bucket + 1, y1: 0, y2: HEIGHT - 8, class: "end" }));
  node.replaceChildren(picture, el("p", { class: "ends hint", "aria-hidden": "true" }, [first, last].map((ms) => el("span", {}, last - first < 10_000n ? time(ms).utc : short(ms)))));
}

function short(ms) {
  return time(ms).utc.replace(/\.\d{3}Z$/, "Z");
}

function describe(stream, lane, { first, last }, uncovered) {
  const total = (array) => array.reduce((sum, value) => sum + value, 0);
  const sums = lane.covered.map((value, i) => value + lane.open[i]);
  const peak = sums.indexOf(Math.max(...sums));
  const step = (last - first) / BigInt(BUCKETS);
  const from = first + step * BigInt(peak);
  const broken = total(lane.broken);
  return [
    `Items of ${plain(stream.streamId, 80)} between ${short(first)} and ${short(last)}:`,
    uncovered ? `${number(total(lane.open))},` : `${number(total(lane.covered))} under a segment, ${number(total(lane.open))} not under one,`,
    `${number(broken)} that ${broken === 1 ? "does" : "do"} not hold${uncovered ? "" : `, ${count(stream.segments.length, "segment")}`}.`,
    `Densest from ${short(from)} to ${short(from + step)}: ${count(Math.max(...sums), "item")}.`,
  ].join(" ");
}

