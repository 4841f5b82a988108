export const BUCKETS = 96;
const STREAMS = 1000;

/** How the items of each stream lie in time, from the earliest to the latest of the whole file. */
export class Density {
  constructor(streams) {
    this.streams = streams.slice(0, STREAMS).map(() => ({
      covered: new Uint32Array(BUCKETS),
      open: new Uint32Array(BUCKETS),
      broken: new Uint32Array(BUCKETS),
      ends: new Map(),
    }));
    this.names = new Map(this.streams.map((lane, at) => [streams[at].streamId, lane]));
    const filled = streams.filter((stream) => stream.items > 0n);
    this.first = filled.reduce((least, stream) => (stream.firstMs < least ? stream.firstMs : least), filled[0]?.firstMs ?? 0n);
    this.last = filled.reduce((most, stream) => (stream.lastMs > most ? stream.lastMs : most), this.first);
  }

  bucket(ms) {
    if (ms <= this.first) return 0;
    if (ms >= this.last) return this.last === this.first ? 0 : BUCKETS - 1;
    return Number(((ms - this.first) * BigInt(BUCKETS)) / (this.last - this.first));
  }

  add(item) {
    const lane = this.names.get(item.streamId);
    if (!lane) return;
    const bucket = this.bucket(item.timeMs);
    (item.segmentId === undefined ? lane.open : lane.covered)[bucket] += 1;
    if (item.standing === "broken") lane.broken[bucket] += 1;
    if (item.segmentId !== undefined) lane.ends.set(item.segmentId, bucket);
  }

  result() {
    return {
      first: this.first,
      last: this.last,
      streams: this.streams.map(({ covered, open, broken, ends }) => ({ covered, open, broken, ends: [...new Set(ends.values())] })),
    };
  }
}
