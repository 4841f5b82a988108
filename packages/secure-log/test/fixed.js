// Time and randomness that are known beforehand, in the place of WASI's: two hosts of a component can be compared by them.
import { createHash } from 'node:crypto';
import { clocks } from '@bytecodealliance/preview2-shim';

const START_MS = 1_800_000_000_000n;
const INSECURE_SEED = 7n;

/** SHA-256(seed ‖ counter) for 0, 1, 2 …, one block after the other; the counter is 8 bytes, little-endian. */
export class Blocks {
  #seed;
  #counter = 0n;
  #left = Buffer.alloc(0);

  constructor(seed) {
    this.#seed = seed;
  }

  take(length) {
    const parts = [this.#left];
    for (let have = this.#left.length; have < length; have += 32) {
      const counter = Buffer.alloc(8);
      counter.writeBigUInt64LE(this.#counter++);
      parts.push(createHash('sha256').update(this.#seed).update(counter).digest());
    }
    const all = Buffer.concat(parts);
    this.#left = all.subarray(length);
    return all.subarray(0, length);
  }
}

/**
 * Imports of one instance. The wall clock begins at 1,800,000,000,000 ms and moves 1 ms with each reading. The monotonic
 * clock is real: it decides how long something waits, and is written nowhere.
 */
export function fixed(seed) {
  const blocks = new Blocks(seed);
  let ms = START_MS;
  return {
    'wasi:clocks/wall-clock': {
      resolution: () => ({ seconds: 0n, nanoseconds: 1_000_000 }),
      now() {
        const now = ms++;
        return { seconds: now / 1000n, nanoseconds: Number(now % 1000n) * 1_000_000 };
      },
    },
    'wasi:clocks/monotonic-clock': clocks.monotonicClock,
    'wasi:random/random': {
      getRandomBytes: (length) => new Uint8Array(blocks.take(Number(length))),
      getRandomU64: () => blocks.take(8).readBigUInt64LE(),
    },
    'wasi:random/insecure-seed': { insecureSeed: () => [INSECURE_SEED, 0n] },
  };
}
