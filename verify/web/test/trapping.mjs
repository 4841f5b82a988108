// A component as it was built, but for one function whose body is `unreachable`: a real trap on the real way.

function leb(bytes, at) {
  let value = 0;
  let shift = 0;
  for (;;) {
    const byte = bytes[at++];
    value |= (byte & 0x7f) << shift;
    shift += 7;
    if (byte < 0x80) return [value >>> 0, at];
  }
}

function* sections(bytes, at, end) {
  while (at < end) {
    const id = bytes[at];
    const [size, start] = leb(bytes, at + 1);
    yield { id, start, end: start + size };
    at = start + size;
  }
}

/** Makes the export that ends in `#name` trap. */
export function trapping(component, name) {
  const bytes = Buffer.from(component);
  if (!within(bytes, 0, bytes.length, `#${name}`)) throw new Error(`the component has no core function that is exported as …#${name}`);
  return bytes;
}

/** Core modules of a component, and of the components in it. */
function within(bytes, from, end, suffix) {
  for (const section of sections(bytes, from + 8, end)) {
    if (section.id === 1 && spoil(bytes, section.start, section.end, suffix)) return true;
    if (section.id === 4 && within(bytes, section.start, section.end, suffix)) return true;
  }
  return false;
}

function spoil(bytes, start, end, suffix) {
  let imported = 0;
  let index;
  for (const section of sections(bytes, start + 8, end)) {
    if (section.id === 2) imported = importedFunctions(bytes, section.start);
    if (section.id === 7) index = exported(bytes, section.start, suffix);
    if (section.id === 10 && index !== undefined) {
      let [, at] = leb(bytes, section.start);
      for (let i = imported; ; i += 1) {
        const [size, body] = leb(bytes, at);
        if (i === index) {
          // No locals, unreachable, nop as long as there is room, end.
          bytes.fill(0x01, body, body + size).set([0x00, 0x00], body);
          bytes[body + size - 1] = 0x0b;
          return true;
        }
        at = body + size;
      }
    }
  }
  return false;
}

function importedFunctions(bytes, start) {
  let functions = 0;
  let [count, at] = leb(bytes, start);
  for (; count > 0; count -= 1) {
    for (let i = 0; i < 2; i += 1) {
      const [length, text] = leb(bytes, at);
      at = text + length;
    }
    const kind = bytes[at++];
    if (kind === 0) {
      functions += 1;
      [, at] = leb(bytes, at);
    } else if (kind === 1 || kind === 2) {
      if (kind === 1) at += 1;
      const flags = bytes[at++];
      [, at] = leb(bytes, at);
      if (flags & 1) [, at] = leb(bytes, at);
    } else if (kind === 3) at += 2;
    else throw new Error(`import of kind ${kind}`);
  }
  return functions;
}

function exported(bytes, start, suffix) {
  let [count, at] = leb(bytes, start);
  for (; count > 0; count -= 1) {
    const [length, text] = leb(bytes, at);
    const name = bytes.toString("utf8", text, text + length);
    const kind = bytes[text + length];
    const [index, next] = leb(bytes, text + length + 1);
    if (kind === 0 && name.endsWith(suffix)) return index;
    at = next;
  }
  return undefined;
}
