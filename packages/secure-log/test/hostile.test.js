import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { SecureLogError, openLog } from 'secure-log';
import { all, open, options, place } from './support.js';

/** Numbers below a limit, the same in every run (xorshift32). */
function generator(state) {
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

const DAMAGES = {
  'a changed byte': (content, next) => {
    content[next(content.length)] ^= 1 + next(255);
    return content;
  },
  'a stretch of zeros': (content, next) => content.fill(0, next(content.length)),
  'a missing end': (content, next) => content.subarray(0, next(content.length)),
  'random bytes': (content, next) => content.map(() => next(256)),
  'a file that is empty': () => new Uint8Array(),
  'a second copy behind it': (content) => Buffer.concat([content, content]),
};

/** Opens a log and reads all of it; what was said about it. */
async function outcome(at, store) {
  let log;
  try {
    log = await openLog(options(at, store, { waitMs: 0, origin: undefined }));
    log.verifyChain('s');
    log.verifySegments('s');
    log.verifyCheckpointChain([log.verifierKey('audit')]);
    await all(log.query());
    await all(log.exportLines());
    log.append({ streamId: 's', eventType: 'e', payload: 'after' });
    return 'holds';
  } catch (error) {
    assert.ok(error instanceof SecureLogError, error.stack);
    return error.kind;
  } finally {
    try {
      log?.close();
    } catch (error) {
      assert.ok(error instanceof SecureLogError, error.stack);
    }
  }
}

for (const store of ['sqlite', 'file']) {
  test(`${store}: files with damage are refused in words, and end neither the instance nor the process`, { timeout: 120_000 }, async (t) => {
    const at = place(t);
    const log = await open(at, store);
    for (let n = 0; n < 12; n++) log.append({ streamId: 's', eventType: 'e', payload: `payload ${n}`.repeat(20) });
    log.sign('audit');
    log.close();
    const whole = join(at.root, 'whole');
    cpSync(at.data, whole, { recursive: true });
    const files = readdirSync(whole, { recursive: true }).filter((name) => !name.includes('.lease') && statSync(join(whole, name)).isFile());
    const next = generator(77);
    const outcomes = new Set();
    for (const [name, damage] of Object.entries(DAMAGES)) {
      for (let n = 0; n < 2; n++) {
        rmSync(at.data, { recursive: true });
        mkdirSync(at.data);
        cpSync(whole, at.data, { recursive: true });
        const file = files[next(files.length)];
        writeFileSync(join(at.data, file), damage(readFileSync(join(whole, file)), next));
        const said = await outcome(at, store);
        outcomes.add(said);
        if (name === 'random bytes') assert.notEqual(said, 'holds', file);
      }
    }
    assert.ok(outcomes.has('corrupt'), [...outcomes].join(', '));
    rmSync(at.data, { recursive: true });
    cpSync(whole, at.data, { recursive: true });
    assert.equal(await outcome(at, store), 'holds', 'the log without damage');
  });
}
