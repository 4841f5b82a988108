// Characters that could hide or rearrange what stands around them: controls, formats, unassigned and private ones,
// what Unicode ignores by default, and every space that is not U+0020.
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\p{DI}]|(?! )\p{Zs}/gu;
const HIDDEN_IN_TEXT = /(?![\n\t])[\p{C}\p{Zl}\p{Zp}\p{DI}]|(?! )\p{Zs}/gu;

export function escapeOf(char) {
  return `\\u{${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}}`;
}

/** Plain text with hidden characters as escapes, for attributes and live regions. */
export function plain(text, limit = 200) {
  const { head, more } = cut(String(text), limit);
  return head.replace(HIDDEN, escapeOf) + (more ? "…" : "");
}

/** Splits a text into runs: `{text}` as it is, `{escape}` for a hidden character. */
export function runs(text, { lines = false, limit = 4096 } = {}) {
  const { head, more } = cut(String(text), limit);
  const out = [];
  let at = 0;
  for (const match of head.matchAll(lines ? HIDDEN_IN_TEXT : HIDDEN)) {
    if (match.index > at) out.push({ text: head.slice(at, match.index) });
    out.push({ escape: escapeOf(match[0]) });
    at = match.index + match[0].length;
  }
  if (at < head.length) out.push({ text: head.slice(at) });
  return { runs: out, more };
}

function cut(text, limit) {
  if (text.length <= limit) return { head: text, more: 0 };
  let end = limit;
  if (/[\uD800-\uDBFF]/.test(text[end - 1])) end -= 1;
  return { head: text.slice(0, end), more: text.length - end };
}

export function hex(bytes) {
  let out = "";
  for (const byte of bytes) out += byte.toString(16).padStart(2, "0");
  return out;
}

export function number(value) {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const units = ["KiB", "MiB", "GiB"];
  let value = bytes;
  let unit = -1;
  do {
    value /= 1024;
    unit += 1;
  } while (value >= 1024 && unit < units.length - 1);
  return `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

const LAST_DATE = 8_640_000_000_000_000n;

/** A time as UTC and as local text; what is no date is shown as the number that it is. */
export function time(ms) {
  const value = BigInt(ms);
  if (value > LAST_DATE) return { utc: `${value} ms since 1970`, local: "later than any date" };
  const date = new Date(Number(value));
  return { utc: date.toISOString(), local: `${date.toString()}`, iso: date.toISOString() };
}

export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${BigInt(value) === 1n ? one : many}`;
}
