// Reads what wit/log.wit is written in: records, enums, variants, aliases and functions.

const PLAIN = ['string', 'bool', 'u8', 'u16', 'u32', 'u64'];

export const camel = (name) => name.replace(/^%/, '').replace(/-(.)/g, (_, letter) => letter.toUpperCase());

/** Parameters of the functions of `interfaces`, and the types that they are of; names of fields as in JavaScript. */
export function schemaOf(wit, interfaces) {
  const tokens = wit.replace(/\/\/.*/g, '').match(/->|%?[A-Za-z_][\w-]*|[0-9]+(\.[0-9]+)*|\S/g);
  const types = {};
  const functions = {};
  let at = 0;
  const next = () => {
    if (at === tokens.length) throw new Error('WIT: the text ends too early');
    return tokens[at++];
  };
  const expect = (...wanted) => {
    const from = at;
    for (const token of wanted) if (next() !== token) throw new Error(`WIT: expected ${wanted.join(' ')}, found ${tokens.slice(from, at).join(' ')}`);
  };
  const until = (end, item) => {
    const items = [];
    while (tokens[at] !== end) {
      items.push(item());
      if (tokens[at] !== end) expect(',');
    }
    expect(end);
    return items;
  };
  const type = () => {
    const name = next();
    if (name === 'list' || name === 'option') {
      expect('<');
      const inner = type();
      expect('>');
      return name === 'list' && inner === 'u8' ? 'bytes' : { [name]: inner };
    }
    return PLAIN.includes(name) ? name : { named: name };
  };
  const field = () => {
    const name = camel(next());
    expect(':');
    return [name, type()];
  };
  const variantCase = () => {
    const tag = next().replace(/^%/, '');
    if (tokens[at] !== '(') return [tag];
    expect('(');
    const held = type();
    expect(')');
    return [tag, held];
  };
  const definitions = {
    record: () => ({ record: until('}', field) }),
    enum: () => ({ enum: until('}', () => next().replace(/^%/, '')) }),
    variant: () => ({ variant: until('}', variantCase) }),
  };
  const member = (name) => {
    const word = next();
    if (word === 'use') {
      while (next() !== ';');
    } else if (word === 'type' || definitions[word]) {
      const defined = next();
      if (types[defined]) throw new Error(`WIT: ${defined} is defined twice`);
      if (word === 'type') {
        expect('=');
        types[defined] = type();
        expect(';');
      } else {
        expect('{');
        types[defined] = definitions[word]();
      }
    } else {
      expect(':', 'func', '(');
      functions[name][camel(word)] = until(')', field);
      while (next() !== ';');
    }
  };
  while (at < tokens.length) {
    if (next() !== 'interface') continue;
    const name = next();
    expect('{');
    if (name !== 'types' && !interfaces.includes(name)) {
      // Functions and definitions: braces are balanced in them.
      for (let depth = 1; depth > 0; ) depth += { '{': 1, '}': -1 }[next()] ?? 0;
      continue;
    }
    functions[name] = {};
    while (tokens[at] !== '}') member(name);
    expect('}');
  }
  delete functions.types;
  for (const name of interfaces) if (!functions[name]) throw new Error(`WIT: there is no interface ${name}`);
  return { functions, types };
}
