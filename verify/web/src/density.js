export const BUCKETS = 96;
const STREAMS = 1000;

/** How the items of each stream lie in time, from the earliest to the latest of the whole file. */
export class Density {
  constructor(streams) {
    this.streams = streams.slice(0, STREAMS).map((stream) => ({
      from: stream.firstItem,
      until: stream.firstItem + stream.items,
      covered: new Uint32Array(BUCKETS),
      open: new Uint32Array(BUCKETS),
      broken: new Uint32Array(BUCKETS),
      ends: new Map(),
    }));
    const filled = streams.filter((stream) => stream.items > 0n);
    this.first = filled.reduce((least, stream) => (stream.firstMs < least ? stream.firstMs : least), filled[0]?.firstMs ?? 0n);
    this.last = filled.reduce((most, stream) => (stream.lastMs > most ? stream.lastMs : most), this.first);
    this.at = 0;
  }

  bucket(ms) {
    if (ms <= this.first) return 0;
    if (ms >= this.last) return this.last === this.first ? 0 : BUCKETS - 1;
    return Number(((ms - this.first) * BigInt(BUCKETS)) / (this.last - this.first));
  }

  /** Takes items in the order of the file. */
  add(item) {
    while (this.at < this.streams.length && item.index >= this.streams[this.at].until) this.at += 1;
    const stream = this.streams[this.at];
    if (!stream || item.index < stream.from) return;
    const bucket = this.bucket(item.timeMs);
    (item.segmentId === undefined ? stream.open : stream.covered)[bucket] += 1;
    if (item.standing === "broken") stream.broken[bucket] += 1;
    if (item.segmentId !== undefined) stream.ends.set(item.segmentId, bucket);
  }

  result() {
    return {
      first: this.first,
      last: this.last,
      streams: this.streams.map(({ covered, open, broken, ends }) => ({ covered, open, broken, ends: [...new Set(ends.values())] })),
    };
  }
}
