import { runs, number, time, hex } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element; children are nodes or strings, and strings become text, never markup. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Text of a stranger: isolated from the direction of what stands around it, hidden characters as marked escapes. */
export function strange(text, { lines = false, limit = 4096, tag = "bdi" } = {}) {
  const shown = runs(text, { lines, limit });
  const node = el(tag, { class: "strange", dir: "ltr" });
  for (const run of shown.runs) node.append(run.escape ? el("span", { class: "escape" }, run.escape) : run.text);
  if (shown.more) node.append(el("span", { class: "escape" }, `… ${number(shown.more)} more characters`));
  if (String(text) === "") node.append(el("span", { class: "hint" }, "(empty)"));
  return node;
}

export function when(ms) {
  if (ms === undefined || ms === null) return el("span", { class: "hint" }, "not said");
  const { utc, local, iso } = time(ms);
  return iso ? el("time", { datetime: iso, title: `Local time: ${local}` }, utc) : el("span", { title: local }, utc);
}

export function hash(bytes, digits = 64) {
  const text = hex(bytes);
  return el("code", { class: "hash", title: text }, digits < text.length ? `${text.slice(0, digits)}…` : text);
}

const WORDS = { holds: "holds", broken: "does not hold", "not-checked": "not checked" };

/** How something stands, in words; the shape says it again to the eye. */
export function standing(value) {
  return el("span", { class: `standing ${value}` }, mark(value), el("span", {}, WORDS[value] ?? value));
}

/** Circle with a tick, octagon with a cross, triangle with a question mark. */
export function mark(value) {
  const shape = {
    holds: ["circle", { cx: 12, cy: 12, r: 10 }, "M7 12.5l3.4 3.4L17 8.6"],
    broken: ["path", { d: "M7.9 2h8.2L22 7.9v8.2L16.1 22H7.9L2 16.1V7.9z" }, "M8 8l8 8M16 8l-8 8"],
    "not-checked": ["path", { d: "M12 2.2L22.6 21H1.4z" }, "M10 11.2a2 2 0 1 1 3 1.8q-1 .6-1 1.7M12 17.2v.9"],
  }[value] ?? ["circle", { cx: 12, cy: 12, r: 10 }, ""];
  return svg("svg", { viewBox: "0 0 24 24", class: `mark ${value}`, "aria-hidden": "true", focusable: "false" },
    svg(shape[0], { ...shape[1], class: "mark-shape" }),
    svg("path", { d: shape[2], class: "mark-sign" }));
}

/** A list that grows by a button, so that a hostile file cannot fill the page with a hundred thousand nodes. */
export function growing(items, render, { tag = "ul", step = 100, label = "findings", name } = {}) {
  const list = el(tag, { class: "growing", "aria-label": name });
  const more = el("button", { type: "button", class: "more screen" });
  const rest = el("p", { class: "paper" });
  let shown = 0;
  const grow = (by) => {
    const from = shown;
    shown = Math.min(items.length, shown + by);
    for (let i = from; i < shown; i += 1) list.append(render(items[i], i));
    more.hidden = shown === items.length;
    more.textContent = `Show ${number(Math.min(step, items.length - shown))} more of ${number(items.length)} ${label}`;
    rest.textContent = shown < items.length ? `${number(items.length - shown)} more ${label} are not printed.` : "";
    return list.children[from];
  };
  more.addEventListener("click", () => {
    const first = grow(step);
    if (first) {
      first.tabIndex = -1;
      first.focus();
    }
  });
  const node = el("div", {}, list, more, rest);
  node.growForPaper = () => grow(Math.max(0, 1000 - shown));
  node.classList.add("grows");
  grow(step);
  return node;
}

let serial = 0;

/** A section that is named by its heading. */
export function section(title, className, ...children) {
  const id = `h-${(serial += 1)}`;
  return el("section", { class: className, "aria-labelledby": id }, el("h2", { id }, title), ...children);
}
