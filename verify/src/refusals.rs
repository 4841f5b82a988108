//! Bad input, call by call, each with the error that has to come back.

use crate::failure::{Failure, Result};
use crate::host::Hosted;
use crate::host::types::{Event, LogError, Page, QueryFilter, Severity, StreamHead, Tier};

/// Largest payload.
pub const MAX_PAYLOAD: usize = 8 << 20;
/// Most events of a batch.
pub const MAX_BATCH_EVENTS: usize = 10_000;
/// Most payload bytes of a batch.
pub const MAX_BATCH_BYTES: usize = 32 << 20;
/// Longest stream id, bytes.
pub const MAX_STREAM_ID: usize = 255;
/// Largest canonical header, bytes.
pub const MAX_HEADER: usize = 65_535;

type Call = Box<dyn Fn(&mut Hosted, &str) -> Result<()>>;

/// A call that has to be refused.
pub struct Refusal {
    /// What is wrong with it.
    pub what: &'static str,
    /// Error cases that are right.
    pub expect: &'static [&'static str],
    call: Call,
}

impl Refusal {
    /// Makes the call. `stream` is a stream with at least one entry; `Ok` is the error that came
    /// back, `Err` says what came back instead.
    pub fn check(&self, log: &mut Hosted, stream: &str) -> anyhow::Result<String> {
        expect(self.what, (self.call)(log, stream), self.expect)
    }
}

/// Requires an error of one of these kinds, with something said in it, and gives its text.
pub fn expect<T>(what: &str, outcome: Result<T>, kinds: &[&str]) -> anyhow::Result<String> {
    match outcome {
        Ok(_) => anyhow::bail!("{what}: accepted, {} expected", kinds.join(" or ")),
        Err(dead) if dead.is_fatal() => Err(anyhow::Error::new(dead).context(what.to_owned())),
        Err(error) if !kinds.contains(&error.kind()) => {
            anyhow::bail!("{what}: {} expected, and not: {error}", kinds.join(" or "))
        }
        Err(error) => {
            anyhow::ensure!(says_why(&error), "{what}: the error gives no reason: {error:?}");
            Ok(error.to_string())
        }
    }
}

fn says_why(error: &Failure) -> bool {
    let Failure::Log(error) = error else { return false };
    let text = match error {
        LogError::Conflict(c) => &c.reason,
        LogError::NotFound(m) => &m.reason,
        LogError::Corrupt(c) => &c.reason,
        LogError::RolledBack(r) => &r.reason,
        LogError::Invalid(i) if i.field.is_empty() => return false,
        LogError::Invalid(i) => &i.reason,
        LogError::Sealed(s) => &s.reason,
        LogError::Busy(s) | LogError::Denied(s) | LogError::Unavailable(s) | LogError::Storage(s) => s,
    };
    !text.trim().is_empty()
}

/// An event with nothing special about it.
pub fn event(stream: &str, payload: impl Into<Vec<u8>>) -> Event {
    Event {
        stream_id: stream.into(),
        event_type: "test".into(),
        severity: Severity::Informational,
        producer: "verify".into(),
        payload: payload.into(),
        payload_encoding: None,
        object_ref: None,
        id: None,
    }
}

fn append(log: &mut Hosted, stream: &str, event_type: &str, producer: &str, payload: &[u8]) -> Result<()> {
    log.append(stream, event_type, Severity::Notice, producer, payload).map(drop)
}

fn batch(log: &mut Hosted, events: &[Event]) -> Result<()> {
    log.append_batch(events, &[]).map(drop)
}

fn query(log: &mut Hosted, limit: u32, cursor: Option<&str>) -> Result<()> {
    let filter = QueryFilter {
        stream_id: None,
        from_ms: None,
        to_ms: None,
        event_type: None,
        min_severity: None,
        producer: None,
    };
    log.query(&filter, &Page { cursor: cursor.map(str::to_owned), limit }).map(drop)
}

/// Every refusal that needs an open log. None of them may write anything.
pub fn all() -> Vec<Refusal> {
    const INVALID: &[&str] = &["invalid"];
    const MISSING: &[&str] = &["not-found"];
    const GONE: &str = "secure-log-verify/no-such-stream";
    let mut all: Vec<Refusal> = Vec::new();
    let mut add = |what, expect, call: Call| {
        all.push(Refusal { what, expect, call });
    };

    add("open while open", INVALID, Box::new(|log, _| log.open(":memory:")));
    add("stream without a name", INVALID, Box::new(|log, _| append(log, "", "t", "p", b"x")));
    add(
        "stream id of 256 bytes",
        INVALID,
        Box::new(|log, _| append(log, &"s".repeat(MAX_STREAM_ID + 1), "t", "p", b"x")),
    );
    add(
        "stream id of 256 bytes of emoji",
        INVALID,
        Box::new(|log, _| append(log, &"🪵".repeat(64), "t", "p", b"x")),
    );
    add("stream id with a NUL", INVALID, Box::new(|log, _| append(log, "a\0b", "t", "p", b"x")));
    add("stream id with a line break", INVALID, Box::new(|log, _| append(log, "a\nb", "t", "p", b"x")));
    add(
        "stream id with an escape sequence",
        INVALID,
        Box::new(|log, _| append(log, "\x1b[2J", "t", "p", b"x")),
    );
    add(
        "append to the log's own stream",
        &["denied", "invalid"],
        Box::new(|log, _| append(log, "_log", "t", "p", b"x")),
    );
    add(
        "append to a reserved name",
        &["denied", "invalid"],
        Box::new(|log, _| append(log, "_mine", "t", "p", b"x")),
    );
    add("empty event type", INVALID, Box::new(|log, s| append(log, s, "", "p", b"x")));
    add(
        "event type with a control character",
        INVALID,
        Box::new(|log, s| append(log, s, "t\u{7}", "p", b"x")),
    );
    add("empty producer", INVALID, Box::new(|log, s| append(log, s, "t", "", b"x")));
    add("producer with a line break", INVALID, Box::new(|log, s| append(log, s, "t", "p\r\nq", b"x")));
    add(
        "payload of 8 MiB + 1",
        INVALID,
        Box::new(|log, s| append(log, s, "t", "p", &vec![7; MAX_PAYLOAD + 1])),
    );
    add(
        "header over 65,535 bytes (event type)",
        INVALID,
        Box::new(|log, s| append(log, s, &"t".repeat(MAX_HEADER), "p", b"x")),
    );
    add(
        "header over 65,535 bytes (producer)",
        INVALID,
        Box::new(|log, s| append(log, s, "t", &"p".repeat(MAX_HEADER), b"x")),
    );
    add(
        "header over 65,535 bytes (media type)",
        INVALID,
        Box::new(|log, s| {
            batch(log, &[Event { payload_encoding: Some("m".repeat(MAX_HEADER)), ..event(s, "x") }])
        }),
    );
    add(
        "header over 65,535 bytes (object-ref)",
        INVALID,
        Box::new(|log, s| batch(log, &[Event { object_ref: Some("o".repeat(MAX_HEADER)), ..event(s, "x") }])),
    );
    add(
        "header over 65,535 bytes (event id)",
        INVALID,
        Box::new(|log, s| batch(log, &[Event { id: Some("i".repeat(MAX_HEADER)), ..event(s, "x") }])),
    );
    add(
        "empty event id",
        INVALID,
        Box::new(|log, s| batch(log, &[Event { id: Some(String::new()), ..event(s, "x") }])),
    );
    add(
        "empty object-ref",
        INVALID,
        Box::new(|log, s| batch(log, &[Event { object_ref: Some(String::new()), ..event(s, "x") }])),
    );
    add(
        "the same event id twice in a batch",
        &["invalid", "conflict"],
        Box::new(|log, s| {
            let with_id = |payload: &str| Event { id: Some("twice".into()), ..event(s, payload) };
            batch(log, &[with_id("one"), with_id("two")])
        }),
    );
    add("empty batch", INVALID, Box::new(|log, _| batch(log, &[])));
    add(
        "batch of 10,001 events",
        INVALID,
        Box::new(|log, s| batch(log, &vec![event(s, "x"); MAX_BATCH_EVENTS + 1])),
    );
    add(
        "batch of 32 MiB + 1",
        INVALID,
        Box::new(|log, s| {
            let mut events = vec![event(s, vec![7; MAX_PAYLOAD]); MAX_BATCH_BYTES / MAX_PAYLOAD];
            events.push(event(s, "x"));
            batch(log, &events)
        }),
    );
    add(
        "batch with one bad event at its end",
        INVALID,
        Box::new(|log, s| batch(log, &[event(s, "good"), event("", "bad")])),
    );
    add(
        "expectation with a hash of 31 bytes",
        INVALID,
        Box::new(|log, s| {
            let head = StreamHead { stream_id: s.into(), seqno: 1, entry_hash: vec![0; 31] };
            log.append_batch(&[event(s, "x")], &[head]).map(drop)
        }),
    );
    add(
        "expectation that does not hold",
        &["conflict"],
        Box::new(|log, s| {
            let head = StreamHead { stream_id: s.into(), seqno: 1, entry_hash: vec![9; 32] };
            log.append_batch(&[event(s, "x")], &[head]).map(drop)
        }),
    );
    add(
        "create a stream that exists",
        &["conflict"],
        Box::new(|log, s| log.create_stream(s, Tier::Public, None)),
    );
    add(
        "erase payloads of an unknown stream",
        MISSING,
        Box::new(|log, _| log.erase_payloads(GONE, 1, 1, "no reason").map(drop)),
    );
    add(
        "rotate the key of an unknown domain",
        MISSING,
        Box::new(|log, _| log.rotate_key(GONE, "another").map(drop)),
    );
    add(
        "name the log after its first entry",
        &["denied", "invalid", "conflict"],
        Box::new(|log, _| log.set_origin("example.com/late")),
    );
    add("boot id of 256 bytes", INVALID, Box::new(|log, _| log.set_boot_id(&"b".repeat(256))));
    add("deprecate an unknown stream", MISSING, Box::new(|log, _| log.deprecate_stream(GONE)));
    add("read from an unknown stream", MISSING, Box::new(|log, _| log.read(GONE, 1).map(drop)));
    add("read entry 0", &["invalid", "not-found"], Box::new(|log, s| log.read(s, 0).map(drop)));
    add("read entry 2^64 − 1", MISSING, Box::new(|log, s| log.read(s, u64::MAX).map(drop)));
    add("read payload 0", &["invalid", "not-found"], Box::new(|log, s| log.read_payload(s, 0).map(drop)));
    add("read payload 2^64 − 1", MISSING, Box::new(|log, s| log.read_payload(s, u64::MAX).map(drop)));
    add("page of 0 entries", INVALID, Box::new(|log, _| query(log, 0, None)));
    add("page of 1,001 entries", INVALID, Box::new(|log, _| query(log, 1_001, None)));
    add("cursor that no page gave", INVALID, Box::new(|log, _| query(log, 1, Some("no such cursor"))));
    add("verify an unknown stream", MISSING, Box::new(|log, _| log.verify_chain(GONE, 1, 1).map(drop)));
    add("verify from entry 0", INVALID, Box::new(|log, s| log.verify_chain(s, 0, 1).map(drop)));
    add("verify backwards", INVALID, Box::new(|log, s| log.verify_headers(s, 2, 1).map(drop)));
    add(
        "verify past the end",
        &["not-found", "invalid"],
        Box::new(|log, s| log.verify_chain(s, 1, u64::MAX).map(drop)),
    );
    add(
        "close a segment of an unknown stream",
        MISSING,
        Box::new(|log, _| log.close_segment(GONE).map(drop)),
    );
    add("read segment 0", &["invalid", "not-found"], Box::new(|log, _| log.read_segment(0).map(drop)));
    add("read segment 2^64 − 1", MISSING, Box::new(|log, _| log.read_segment(u64::MAX).map(drop)));
    add(
        "prove entry 0",
        &["invalid", "not-found"],
        Box::new(|log, s| log.build_inclusion_proof(s, 0).map(drop)),
    );
    add("prove entry 2^64 − 1", MISSING, Box::new(|log, s| log.build_inclusion_proof(s, u64::MAX).map(drop)));
    add(
        "prove a tree larger than the stream",
        &["invalid", "not-found"],
        Box::new(|log, s| log.build_consistency_proof(s, 1, u64::MAX).map(drop)),
    );
    add(
        "prove consistency backwards",
        INVALID,
        Box::new(|log, s| log.build_consistency_proof(s, 2, 1).map(drop)),
    );
    add("sign an unknown segment", MISSING, Box::new(|log, _| log.sign_segment("audit", u64::MAX).map(drop)));
    add(
        "key name of 10,000 bytes",
        INVALID,
        Box::new(|log, _| log.verifier_key(&"k".repeat(10_000)).map(drop)),
    );
    add("key without a name", &["invalid", "not-found"], Box::new(|log, _| log.verifier_key("").map(drop)));
    add("read checkpoint 2^64 − 1", MISSING, Box::new(|log, _| log.read_checkpoint(u64::MAX).map(drop)));
    add(
        "trust a key that is none",
        INVALID,
        Box::new(|log, _| log.verify_checkpoint_chain(&["not a key".into()]).map(drop)),
    );
    add("compare with a note that is none", INVALID, Box::new(|log, _| log.check_against("not a note")));
    add("decode a header that is none", INVALID, Box::new(|log, _| log.decode_header(&[0xff; 40]).map(drop)));
    add(
        "export cursor that no page gave",
        INVALID,
        Box::new(|log, _| log.export_log(&[], Some("no such cursor")).map(drop)),
    );
    add("copy to nowhere", INVALID, Box::new(|log, _| log.backup("")));
    all
}

/// Names that look dangerous and are fine: they are data, never a path.
pub fn odd_but_good_names(prefix: &str) -> Vec<String> {
    let mut emoji = format!("{prefix}/");
    while emoji.len() + '🪵'.len_utf8() <= MAX_STREAM_ID {
        emoji.push('🪵');
    }
    emoji.extend(std::iter::repeat_n('x', MAX_STREAM_ID - emoji.len()));
    ["/", "..", "../../etc/passwd", "a b", "CON", "%2e%2e", "'; DROP TABLE entries; --"]
        .iter()
        .map(|name| format!("{prefix}/{name}"))
        .chain([emoji])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_name_has_exactly_255_bytes() {
        assert_eq!(odd_but_good_names("verify-0a1b2c3d").last().unwrap().len(), MAX_STREAM_ID);
    }
}
