import { guarded } from './calls.js';
import { bytesOf } from './check.js';

/**
 * @import * as Types from '../dist/interfaces/secure-log-log-types.js'
 * @import { Publication, Answer } from '../dist/interfaces/secure-log-log-witness.js'
 * @import { Subject, Trust, Stamp } from '../dist/interfaces/secure-log-log-time.js'
 */

/** Rows of a page of a query or an export. */
const PAGE = 1000;

/**
 * @typedef {object} NewEvent One event to append. What is left out: severity `informational`, producer the log's own.
 * @property {string} streamId Stream to append to; it comes into being with its first entry.
 * @property {string} eventType What happened, in the application's words. Not empty.
 * @property {Uint8Array | string} payload The event itself, up to 8 MiB; a string is taken as UTF-8.
 * @property {Types.Severity} [severity] How severe it is.
 * @property {string} [producer] Who says so: a program, a device, a person.
 * @property {string} [payloadEncoding] Media type of the payload.
 * @property {string} [objectRef] Where the payload is kept instead of in this log.
 * @property {string} [id] Unique per stream: an event that comes again is answered with the existing entry.
 */

/** An open log. Calls are synchronous inside; what is answered is durable (docs of each store say how far). */
export class SecureLog {
  #state = {};
  #closed = false;
  #producer;
  #dispose;
  #copyPath;
  /** Newest closed segment that `sign` has not signed. */
  #unsigned = 0n;

  /**
   * Use `openLog`.
   *
   * @param {Record<string, any>} component exports of the component, instantiated
   * @param {{ producer: string, dispose?: () => void, copyPath?: (name: string) => string }} options
   */
  constructor(component, { producer, dispose, copyPath }) {
    this.#producer = producer;
    this.#dispose = dispose;
    this.#copyPath = copyPath;
    const of = (/** @type {string} */ name) => guarded(name, component[`secure-log:log/${name}@0.1.0`], this.#state);
    /** Interface `log`, as the WIT has it. @type {typeof import('../dist/interfaces/secure-log-log-log.js')} */
    this.log = of('log');
    /** Interface `checkpoint`. @type {typeof import('../dist/interfaces/secure-log-log-checkpoint.js')} */
    this.checkpoint = of('checkpoint');
    /** Interface `witness`. @type {typeof import('../dist/interfaces/secure-log-log-witness.js')} */
    this.witness = of('witness');
    /** Interface `time`. @type {typeof import('../dist/interfaces/secure-log-log-time.js')} */
    this.time = of('time');
    /** Interface `encoder`. @type {typeof import('../dist/interfaces/secure-log-log-encoder.js')} */
    this.encoder = of('encoder');
  }

  /** @param {NewEvent} event @returns {Types.Event} */
  #event(event) {
    if (event === null || typeof event !== 'object') return event;
    const { severity = 'informational', producer = this.#producer } = event;
    return { ...event, severity, producer, payload: bytesOf(event.payload, 'payload') };
  }

  /** Appends one event; durable when it returns. @param {NewEvent} event @returns {Types.AppendResult} */
  append(event) {
    return this.appendBatch([event])[0];
  }

  /**
   * Appends events to any number of streams, all or none.
   *
   * @param {NewEvent[]} events at most 10,000, or 32 MiB
   * @param {Types.StreamHead[]} [expect] heads that must still hold, or the whole is a `conflict`
   * @returns {Types.AppendResult[]}
   */
  appendBatch(events, expect = []) {
    return this.log.appendBatch(Array.isArray(events) ? events.map((event) => this.#event(event)) : events, expect);
  }

  /** Creates a stream before its first entry. @param {string} streamId @param {Partial<Types.StreamOptions>} [options] */
  createStream(streamId, options = {}) {
    this.log.createStreamWith(streamId, { tier: 'public', ...options });
  }

  /** All streams by name, `_log` included. @returns {Types.StreamInfo[]} */
  listStreams() {
    return this.log.listStreams();
  }

  /** Ends a stream: later appends to it are `denied`. @param {string} streamId */
  deprecateStream(streamId) {
    this.log.deprecateStream(streamId);
  }

  /** One entry, without its payload. @param {string} streamId @param {bigint} seqno @returns {Types.Entry} */
  read(streamId, seqno) {
    return this.log.read(streamId, seqno);
  }

  /** The payload of an entry, checked against its header. @param {string} streamId @param {bigint} seqno */
  readPayload(streamId, seqno) {
    return this.log.readPayload(streamId, seqno);
  }

  /** The same with event type and producer, which `highly-restricted` streams seal. @param {string} streamId @param {bigint} seqno */
  openEntry(streamId, seqno) {
    return this.log.openEntry(streamId, seqno);
  }

  /** Last entry of a stream; none if it has no entry. @param {string} streamId @returns {Types.StreamHead | undefined} */
  head(streamId) {
    return this.log.head(streamId);
  }

  /**
   * Entries that match, in the order in which they were stored. Pages are read as they are needed.
   *
   * @param {Types.QueryFilter} [filter]
   * @returns {AsyncGenerator<Types.Entry, void, void>}
   */
  async *query(filter = {}) {
    let cursor;
    do {
      const page = this.log.query(filter, { cursor, limit: PAGE });
      yield* page.entries;
      cursor = page.next;
    } while (cursor !== undefined);
  }

  /**
   * Checks hashes, links, index and payloads of entries; all of them if no numbers are given. A stream without entries has
   * nothing to check: `not-found`.
   *
   * @param {string} streamId @param {bigint} [from] @param {bigint} [to] @returns {Types.VerifyReport}
   */
  verifyChain(streamId, from = 1n, to = this.#last(streamId)) {
    return this.log.verifyChain(streamId, from, to);
  }

  /** The same without payloads. @param {string} streamId @param {bigint} [from] @param {bigint} [to] @returns {Types.VerifyReport} */
  verifyHeaders(streamId, from = 1n, to = this.#last(streamId)) {
    return this.log.verifyHeaders(streamId, from, to);
  }

  /** @param {string} streamId */
  #last(streamId) {
    return this.log.head(streamId)?.seqno ?? 1n;
  }

  /** Closes a segment over all entries so far. @param {string} streamId @returns {Types.Segment} */
  closeSegment(streamId) {
    return this.log.closeSegment(streamId);
  }

  /** Closes a segment in every stream that has new entries, in one transaction. @returns {Types.Segment[]} */
  closeSegments() {
    return this.log.closeSegments();
  }

  /** Segments of a stream, oldest first. @param {string} streamId @returns {Types.Segment[]} */
  listSegments(streamId) {
    return this.log.listSegments(streamId);
  }

  /** Recomputes the stream's tree and compares segments with it. @param {string} streamId @returns {Types.SegmentsReport} */
  verifySegments(streamId) {
    return this.log.verifySegments(streamId);
  }

  /**
   * Closes what is new in every stream and signs one checkpoint over all of it. None if nothing is new. What was closed and
   * could not be signed is signed the next time.
   *
   * @param {string} identity name of a key in the keystore
   * @returns {Types.Checkpoint | undefined}
   */
  sign(identity) {
    for (const { segmentId } of this.log.closeSegments()) {
      if (segmentId > this.#unsigned) this.#unsigned = segmentId;
    }
    if (this.#unsigned === 0n) return undefined;
    const checkpoint = this.checkpoint.signSegment(identity, this.#unsigned);
    this.#unsigned = 0n;
    return checkpoint;
  }

  /** Signs a checkpoint that covers a segment. @param {string} identity @param {bigint} segmentId @returns {Types.Checkpoint} */
  signSegment(identity, segmentId) {
    return this.checkpoint.signSegment(identity, segmentId);
  }

  /** The newest checkpoint. @returns {Types.Checkpoint | undefined} */
  latestCheckpoint() {
    return this.checkpoint.latest();
  }

  /** A key as a verifier key under this log's name: what to hand to whoever shall trust this log. @param {string} identity */
  verifierKey(identity) {
    return this.checkpoint.getVerifierKey(identity);
  }

  /** Checks every checkpoint and the whole of `_log`. @param {Types.VerifierKey[]} trusted @returns {Types.CheckpointReport} */
  verifyCheckpointChain(trusted) {
    return this.checkpoint.verifyCheckpointChain(trusted);
  }

  /** The proof of an entry as a file (C2SP tlog-proof). @param {string} streamId @param {bigint} seqno @param {Uint8Array} [policy] */
  proofFile(streamId, seqno, policy) {
    return this.checkpoint.buildProofFile(streamId, seqno, policy);
  }

  /**
   * Checks such a file; it needs no log of its own.
   *
   * @param {Uint8Array | string} file @param {Types.VerifierKey[]} trusted @param {Uint8Array} [policy] @returns {Types.Proven}
   */
  verifyProofFile(file, trusted, policy) {
    return this.checkpoint.verifyProofFile(bytesOf(file, 'file'), trusted, policy);
  }

  /** Compares the log with a checkpoint note kept elsewhere: `rolled-back` if it is behind or beside it. @param {string} note */
  checkAgainst(note) {
    this.checkpoint.checkAgainst(note);
  }

  /**
   * The whole log as lines of text, some at a time (docs/format.md, "Export").
   *
   * @param {Types.VerifierKey[]} [keys] verifier keys to name in it
   * @returns {AsyncGenerator<string, void, void>}
   */
  async *exportLines(keys = []) {
    let cursor;
    do {
      const page = this.log.exportLog(keys, cursor);
      yield page.lines;
      cursor = page.next;
    } while (cursor !== undefined);
  }

  /**
   * Makes a consistent copy in the directory of the log while it stays open. `conflict` if there is something already.
   *
   * @param {string} name name of the copy, as `name` of `openLog`
   */
  backup(name) {
    if (!this.#copyPath) throw new TypeError('backup: a log in memory has no directory for a copy; use exportLines');
    this.log.backup(this.#copyPath(name));
  }

  /** Closes the log and gives its store to whoever waits. A second call does nothing. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.log.close();
    } finally {
      this.#dispose?.();
    }
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    this.close();
  }
}
