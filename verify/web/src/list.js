import { number, plain } from "./text.js";
import { el, hash, mark, standing, strange, when } from "./dom.js";

const PAGE = 200;
const PAGES = 60;
const TALLEST = 15_000_000;

/** All items as a listbox that holds only the rows in sight. Each row shows how it hangs on the one above. */
export class ItemList {
  constructor({ items, summary, engine, open }) {
    Object.assign(this, { items, summary, engine, open });
    this.pages = new Map();
    this.asked = new Set();
    this.rows = new Map();
    this.selected = 0;
    this.broken = brokenItems(summary);
    this.firsts = new Map(summary.streams.map(({ streamId, firstItem }) => [streamId, firstItem]));
    this.build();
    this.ready = new ResizeObserver(() => requestAnimationFrame(() => this.measure()));
    this.ready.observe(this.view);
  }

  build() {
    this.space = el("div", { class: "space", role: "presentation" });
    this.layer = el("div", { class: "layer", role: "presentation" });
    this.view = el("div", { class: "view", role: "listbox", tabindex: "0", "aria-label": `${number(this.items)} items in the order of the file`, "aria-describedby": "list-hint" }, this.space, this.layer);
    this.view.addEventListener("scroll", () => this.draw(), { passive: true });
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.view.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (!row) return;
      this.select(Number(row.dataset.index), false);
      this.open(this.selected, true);
    });
    this.node = el("div", { class: "list" }, this.tools(), this.view,
      el("p", { id: "list-hint", class: "hint" }, "Arrow keys, Page up, Page down, Home and End move; Enter shows the item."));
  }

  tools() {
    const streams = this.summary.streams;
    const stream = el("select", { id: "go-stream" }, streams.slice(0, 500).map(({ streamId }, at) => el("option", { value: at }, plain(streamId, 60))));
    const seqno = el("input", { id: "go-number", type: "text", inputmode: "numeric", size: "8", autocomplete: "off" });
    const told = el("span", { class: "hint", role: "status" });
    const form = el("form", { class: "go" },
      el("label", { for: "go-stream" }, this.summary.kind === "records" ? "Device" : "Stream"), stream,
      el("label", { for: "go-number" }, "number"), seqno,
      el("button", { class: "small" }, "Go"));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const target = streams[Number(stream.value)];
      if (!/^\d{1,20}$/.test(seqno.value.trim())) return (told.textContent = "A number, please.");
      const { streamId, firstItem, items } = target;
      const found = await this.engine.call("find", { stream: { streamId, firstItem, items }, seqno: BigInt(seqno.value.trim()) });
      told.textContent = found === undefined ? `There is no ${seqno.value.trim()}.` : "";
      if (found !== undefined) {
        this.select(found);
        this.view.focus();
      }
    });
    const next = el("button", { type: "button", class: "small", onclick: () => {
      const found = this.broken.find((index) => index > this.selected) ?? this.broken[0];
      this.select(found);
      this.view.focus();
    } }, "Next that does not hold");
    next.hidden = this.broken.length === 0;
    return el("div", { class: "tools" }, form, next, told);
  }

  get(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  async load(page) {
    if (this.pages.has(page) || this.asked.has(page)) return;
    this.asked.add(page);
    try {
      this.pages.set(page, await this.engine.call("items", { first: page * PAGE, limit: PAGE }));
    } finally {
      this.asked.delete(page);
    }
    for (const old of this.pages.keys()) {
      if (this.pages.size <= PAGES) break;
      if (old !== page) this.pages.delete(old);
    }
    this.rows.clear();
    this.draw();
  }

  measure() {
    this.height = this.view.clientHeight;
    this.row = parseFloat(getComputedStyle(this.view).getPropertyValue("--row")) || 72;
    this.total = Math.min(TALLEST, this.items * this.row);
    this.space.style.height = `${this.total}px`;
    this.rows.clear();
    this.reveal();
    this.draw();
  }

  /** First row in sight, with a fraction. Beyond the tallest box that browsers lay out, scrolling is by share. */
  top() {
    const room = this.total - this.height;
    if (this.items * this.row <= TALLEST) return this.view.scrollTop / this.row;
    return (this.view.scrollTop / room) * (this.items - this.height / this.row);
  }

  scrollTo(top) {
    const room = this.total - this.height;
    const whole = this.items - this.height / this.row;
    this.view.scrollTop = this.items * this.row <= TALLEST ? top * this.row : whole > 0 ? (top / whole) * room : 0;
  }

  draw() {
    if (!this.row || !this.view.isConnected) return;
    const top = Math.max(0, this.top());
    const first = Math.max(0, Math.floor(top) - 2);
    const last = Math.min(this.items - 1, Math.ceil(top + this.height / this.row) + 2);
    for (let page = Math.floor(Math.max(0, first - 1) / PAGE); page <= Math.floor(last / PAGE); page += 1) this.load(page);
    const wanted = [];
    for (let index = first; index <= last; index += 1) {
      const row = this.rows.get(index) ?? this.render(index);
      row.style.transform = `translateY(${this.view.scrollTop + (index - top) * this.row}px)`;
      row.setAttribute("aria-selected", String(index === this.selected));
      wanted.push(row);
    }
    this.rows = new Map(wanted.map((row) => [Number(row.dataset.index), row]));
    this.layer.replaceChildren(...wanted);
    const active = this.rows.has(this.selected) ? `row-${this.selected}` : "";
    this.view.setAttribute("aria-activedescendant", active);
  }

  render(index) {
    const item = this.get(index);
    const attributes = { role: "option", id: `row-${index}`, class: `row ${item?.standing ?? ""}`, "aria-posinset": index + 1, "aria-setsize": this.items };
    const row = el("div", attributes, item ? this.content(item, index > 0 ? this.get(index - 1) : undefined) : el("span", { class: "hint" }, "…"));
    row.dataset.index = index;
    return row;
  }

  content(item, before) {
    const link = linkOf(item, before, this.firsts.get(item.streamId) === item.index);
    return [
      el("div", { class: `link ${link.standing}` }, mark(link.standing), el("span", {}, link.text)),
      el("div", { class: "line" }, standing(item.standing), el("strong", {}, strange(item.streamId, { limit: 60 }), ` ${number(item.seqno)}`)),
      el("div", { class: "line" }, strange(item.eventType, { limit: 80 }), when(item.timeMs), hash(item.hash, 12)),
    ];
  }

  select(index, scroll = true) {
    if (index === undefined) return;
    this.selected = Math.min(this.items - 1, Math.max(0, index));
    if (scroll) this.reveal();
    this.draw();
  }

  reveal() {
    if (!this.row) return;
    const top = this.top();
    const fit = this.height / this.row;
    if (this.selected < top) this.scrollTo(this.selected);
    else if (this.selected + 1 > top + fit) this.scrollTo(this.selected + 1 - fit);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.height / this.row) - 1);
    const to = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.items, End: this.items }[event.key];
    if (to !== undefined) this.select(this.selected + to);
    else if (event.key === "Enter" || event.key === " ") this.open(this.selected, true);
    else return;
    event.preventDefault();
  }
}

function brokenItems(summary) {
  const found = new Set(summary.findings.filter(({ item }) => item !== undefined).map(({ item }) => Number(item)));
  return [...found].sort((a, b) => a - b);
}

/** How an item hangs on the one above it in the file: by the hash that it names, and by its number. */
export function linkOf(item, before, first) {
  if (first) {
    return item.seqno === 1n && item.prevHash.every((byte) => byte === 0)
      ? { standing: "holds", text: "begins its stream" }
      : { standing: "not-checked", text: `begins here at ${number(item.seqno)}; what came before is not in the file` };
  }
  if (!before) return { standing: "not-checked", text: "…" };
  if (before.streamId !== item.streamId) return { standing: item.standing, text: "goes on from further up: the one above is of another" };
  const joined = item.prevHash.length === before.hash.length && item.prevHash.every((byte, i) => byte === before.hash[i]);
  const next = item.seqno === before.seqno + 1n;
  if (joined && next) return { standing: "holds", text: "names the hash of the one above" };
  if (joined) return { standing: "broken", text: `names the hash of the one above, but is number ${number(item.seqno)}` };
  return { standing: "broken", text: next ? "link broken: names another hash than that of the one above" : `link broken: follows number ${number(before.seqno)}` };
}
