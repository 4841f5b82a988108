//! What a checking server takes from whoever may write: rows that follow and say what their headers say.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "../../secure-log/tests/common/mod.rs"]
mod common;
mod support;

use common::{Log, TestSigner, event, fixed};
use secure_log::header::{Header, HeaderRef, entry_hash, payload_hash};
use secure_log::model::{Severity, StreamHead, ZERO_HASH};
use secure_log::store::{ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile};
use secure_log::tree::{Frontier, leaf_hash};
use secure_log::{Error, NativeSecureLog, SecureLog};
use secure_log_file::FileSecureLogStore;
use secure_log_rpc::{CheckedStore, RemoteStore, Server, Transport, TransportError};
use secure_log_sqlite::SqliteSecureLogStore;
use support::{Shared, contents, rows};
use tempfile::TempDir;

type Remote<S> = RemoteStore<Server<CheckedStore<S>>>;

/// Rows as the engine makes them: `doors` with an id at 3, a payload that is elsewhere at 4, and `alarms`.
fn honest() -> (Vec<Row>, Vec<Row>) {
    let mut log: Log<SqliteSecureLogStore> = common::open(":memory:");
    for n in 1..=8 {
        let mut e = event("doors", n);
        e.id = (n == 3).then(|| "event-3".into());
        e.object_ref = (n == 4).then(|| "s3://bucket/4".into());
        log.append(e).unwrap();
        log.append(event("alarms", n)).unwrap();
    }
    let store = log.store_mut();
    (rows(store, "doors"), rows(store, "alarms"))
}

fn head_of(stream: &str, row: &Row) -> StreamHead {
    StreamHead { stream_id: stream.into(), seqno: row.seqno, entry_hash: row.entry_hash }
}

/// The rows from number `from` to `to` after the one before.
fn following(stream: &str, all: &[Row], from: usize, to: usize) -> StreamAppend {
    let prior = match from {
        1 => StreamHead::empty(stream),
        _ => head_of(stream, &all[from - 2]),
    };
    StreamAppend { prior, rows: all[from - 1..to].to_vec() }
}

/// The header of a row with something changed, and the hash and the columns of the new one.
fn reheaded(row: &Row, change: impl FnOnce(&mut Header)) -> Row {
    let mut header = HeaderRef::decode(&row.header).unwrap().to_owned();
    change(&mut header);
    let bytes = header.encode().unwrap();
    Row {
        seqno: header.seqno,
        entry_hash: entry_hash(&bytes),
        header: bytes,
        payload: row.payload.clone(),
        time_ms: header.time_ms,
        severity: header.severity as u8,
        event_type: header.event_type,
        producer: header.producer,
        id: header.event_id,
    }
}

/// What a refusal is, besides that nothing was written.
#[derive(Debug, Clone, Copy)]
enum Is {
    /// `Corrupt`, naming this entry of `doors`, with this word in the reason.
    Corrupt(u64, &'static str),
    /// `Corrupt` in a stream of this name.
    CorruptIn(&'static str, u64, &'static str),
    /// `Conflict` on `doors`, naming its head.
    Conflict,
}
use Is::{Conflict, Corrupt, CorruptIn};

/// What somebody makes of entries 3 to 5 of `doors` (and of the two before, and those after, which are whole).
struct Forgery {
    name: &'static str,
    forge: fn(&mut StreamAppend, &[Row]),
    is: Is,
}

const fn forgery(name: &'static str, is: Is, forge: fn(&mut StreamAppend, &[Row])) -> Forgery {
    Forgery { name, forge, is }
}

const FORGERIES: &[Forgery] = &[
    forgery("first byte of a header flipped", Corrupt(3, "hash"), |a, _| a.rows[0].header[0] ^= 1),
    forgery("last byte of a header flipped", Corrupt(3, "hash"), |a, _| {
        *a.rows[0].header.last_mut().unwrap() ^= 1
    }),
    forgery("a byte in the middle of a header flipped", Corrupt(4, "hash"), |a, _| {
        a.rows[1].header[100] ^= 0x10
    }),
    forgery("header empty", Corrupt(3, "hash"), |a, _| a.rows[0].header.clear()),
    forgery("header of another entry", Corrupt(3, "hash"), |a, all| a.rows[0].header = all[5].header.clone()),
    forgery("wrong entry hash", Corrupt(3, "hash"), |a, _| a.rows[0].entry_hash[31] ^= 1),
    forgery("entry hash of zeros", Corrupt(5, "hash"), |a, _| a.rows[2].entry_hash = ZERO_HASH),
    forgery("entry hash of another entry", Corrupt(5, "hash"), |a, all| {
        a.rows[2].entry_hash = all[5].entry_hash
    }),
    forgery("entries of another stream", CorruptIn("windows", 1, "belongs to stream"), |a, all| {
        *a = following("windows", all, 1, 3);
    }),
    forgery("header of another stream", Corrupt(3, "belongs to stream"), |a, _| {
        a.rows[0] = reheaded(&a.rows[0], |h| h.stream_id = "windows".into());
    }),
    forgery("number of the row changed", Corrupt(3, "missing"), |a, _| a.rows[0].seqno = 4),
    forgery("number in the header changed", Corrupt(3, "belongs to entry 4"), |a, _| {
        a.rows[0] = reheaded(&a.rows[0], |h| h.seqno = 4);
        a.rows[0].seqno = 3;
    }),
    forgery("number in both changed", Corrupt(3, "missing"), |a, _| {
        a.rows[0] = reheaded(&a.rows[0], |h| h.seqno = 4)
    }),
    forgery("number 0", Corrupt(3, "missing"), |a, _| a.rows[0].seqno = 0),
    forgery("number u64::MAX", Corrupt(3, "missing"), |a, _| a.rows[0].seqno = u64::MAX),
    forgery("wrong previous hash", Corrupt(3, "link"), |a, _| {
        a.rows[0] = reheaded(&a.rows[0], |h| h.prev_hash[0] ^= 1)
    }),
    forgery("previous hash of zeros", Corrupt(3, "link"), |a, _| {
        a.rows[0] = reheaded(&a.rows[0], |h| h.prev_hash = ZERO_HASH);
    }),
    forgery("time later", Corrupt(3, "time"), |a, _| a.rows[0].time_ms += 1),
    forgery("time u64::MAX", Corrupt(3, "time"), |a, _| a.rows[0].time_ms = u64::MAX),
    forgery("severity changed", Corrupt(3, "severity"), |a, _| a.rows[0].severity = Severity::Debug as u8),
    forgery("severity that is none", Corrupt(3, "severity"), |a, _| a.rows[0].severity = 255),
    forgery("event type changed", Corrupt(5, "event type"), |a, _| {
        a.rows[2].event_type = "door-closed".into()
    }),
    forgery("event type empty", Corrupt(3, "event type"), |a, _| a.rows[0].event_type.clear()),
    forgery("producer changed", Corrupt(4, "producer"), |a, _| a.rows[1].producer = "controller-8".into()),
    forgery("id changed", Corrupt(3, "event id"), |a, _| a.rows[0].id = Some("event-4".into())),
    forgery("id removed", Corrupt(3, "event id"), |a, _| a.rows[0].id = None),
    forgery("id added", Corrupt(4, "event id"), |a, _| a.rows[1].id = Some("event-4".into())),
    forgery("id empty", Corrupt(4, "event id"), |a, _| a.rows[1].id = Some(String::new())),
    forgery("payload changed", Corrupt(3, "hash in the header"), |a, _| {
        *a.rows[0].payload.as_mut().unwrap().last_mut().unwrap() ^= 1;
    }),
    forgery("salt changed", Corrupt(3, "hash in the header"), |a, _| {
        a.rows[0].payload.as_mut().unwrap()[0] ^= 1
    }),
    forgery("payload shorter", Corrupt(5, "length"), |a, _| {
        a.rows[2].payload.as_mut().unwrap().pop();
    }),
    forgery("payload longer", Corrupt(5, "length"), |a, _| a.rows[2].payload.as_mut().unwrap().push(0)),
    forgery("payload empty", Corrupt(5, "length"), |a, _| a.rows[2].payload = Some(Vec::new())),
    forgery("payload missing", Corrupt(3, "missing"), |a, _| a.rows[0].payload = None),
    forgery("payload added where it is elsewhere", Corrupt(4, "elsewhere"), |a, _| {
        a.rows[1].payload = Some(b"payload number 4 of doors".to_vec());
    }),
    forgery("payloads of two entries swapped", Corrupt(3, "hash in the header"), |a, _| {
        let other = a.rows[2].payload.take();
        a.rows[2].payload = std::mem::replace(&mut a.rows[0].payload, other);
    }),
    forgery("length of the payload changed in the header", Corrupt(3, "length"), |a, _| {
        a.rows[0] = reheaded(&a.rows[0], |h| h.payload_len = u64::MAX);
    }),
    forgery("header with a byte after it", Corrupt(3, "canonical"), |a, _| {
        a.rows[0].header.push(0);
        a.rows[0].entry_hash = entry_hash(&a.rows[0].header);
    }),
    forgery("header with a number in a longer form", Corrupt(3, "canonical"), |a, _| {
        let header = &mut a.rows[0].header;
        assert_eq!(header[1..3], [1, 1], "version 1");
        header.splice(2..3, [0x18, 1]);
        a.rows[0].entry_hash = entry_hash(header);
    }),
    forgery("header that is empty, with its hash", Corrupt(3, "canonical"), |a, _| {
        a.rows[0].header.clear();
        a.rows[0].entry_hash = entry_hash(&[]);
    }),
    forgery("header that is no CBOR", Corrupt(3, "canonical"), |a, _| {
        a.rows[0].header = b"{\"seqno\":3}".to_vec();
        a.rows[0].entry_hash = entry_hash(&a.rows[0].header);
    }),
    forgery("gap", Corrupt(4, "missing"), |a, _| drop(a.rows.remove(1))),
    forgery("first row missing", Corrupt(3, "missing"), |a, _| drop(a.rows.remove(0))),
    forgery("the same row twice", Corrupt(4, "missing"), |a, _| {
        let first = a.rows[0].clone();
        a.rows.insert(1, first);
    }),
    forgery("rows in another order", Corrupt(3, "missing"), |a, _| a.rows.swap(0, 1)),
    forgery("second row that does not follow the first", Corrupt(4, "link"), |a, _| {
        a.rows[1] = reheaded(&a.rows[1], |h| h.prev_hash[31] ^= 0x80);
    }),
    forgery("first row exchanged for another good one", Corrupt(4, "link"), |a, _| {
        a.rows[0] = reheaded(&a.rows[0], |h| h.time_ms += 1);
    }),
    forgery("rows after an earlier entry than the last", Conflict, |a, all| {
        *a = following("doors", all, 2, 5)
    }),
    forgery("rows after nothing", Conflict, |a, all| *a = following("doors", all, 1, 5)),
    forgery("rows after an entry that is not there yet", Conflict, |a, all| {
        *a = following("doors", all, 5, 8)
    }),
    forgery("the row that is there already", Conflict, |a, all| *a = following("doors", all, 2, 2)),
    forgery("another history of the same length", Conflict, |a, all| {
        let second = reheaded(&all[1], |h| h.time_ms += 1);
        let third = reheaded(&all[2], |h| h.prev_hash = second.entry_hash);
        *a = StreamAppend { prior: head_of("doors", &second), rows: vec![third] };
    }),
    forgery("no rows after an entry that is not the last", Conflict, |a, all| {
        *a = StreamAppend { prior: head_of("doors", &all[0]), rows: Vec::new() };
    }),
    forgery("number 0 with a hash", Corrupt(0, "seqno 0"), |a, all| {
        *a = following("doors", all, 1, 1);
        a.prior.entry_hash[0] = 1;
    }),
    forgery("hash of zeros with a number", Corrupt(2, "seqno 0"), |a, _| a.prior.entry_hash = ZERO_HASH),
    forgery("after u64::MAX", Corrupt(u64::MAX, "last number"), |a, _| a.prior.seqno = u64::MAX),
    forgery("after u64::MAX, without rows", Corrupt(u64::MAX, "last number"), |a, _| {
        a.prior.seqno = u64::MAX;
        a.rows.clear();
    }),
    forgery("up to u64::MAX", Corrupt(u64::MAX - 1, "last number"), |a, all| {
        a.prior.seqno = u64::MAX - 1;
        a.rows.clear();
        let prev = a.prior.entry_hash;
        a.rows.push(reheaded(&all[2], |h| (h.seqno, h.prev_hash) = (u64::MAX, prev)));
    }),
    forgery("beyond u64::MAX", Corrupt(u64::MAX - 1, "last number"), |a, all| {
        a.prior.seqno = u64::MAX - 1;
        let prev = a.prior.entry_hash;
        a.rows[0] = reheaded(&all[2], |h| (h.seqno, h.prev_hash) = (u64::MAX, prev));
        a.rows[1].seqno = 0;
    }),
];

fn state(key: &str, value: &[u8], expected: Option<&[u8]>) -> ObjectWrite {
    ObjectWrite {
        kind: ObjectKind::State,
        key: key.into(),
        value: value.into(),
        expected: expected.map(Into::into),
    }
}

fn forgeries_are_refused<S: SecureLogStore>(store: S) {
    let (doors, alarms) = honest();
    let mut remote: Remote<S> = RemoteStore::connect(Server::new(store), "x").unwrap();
    let objects = [
        state("here", b"before", None),
        ObjectWrite { kind: ObjectKind::Segment, key: "doors/1".into(), value: vec![1], expected: None },
    ];
    let good = [following("doors", &doors, 1, 2), following("alarms", &alarms, 1, 1)];
    remote.append(&good, &[], &objects).unwrap();
    let before = contents(&mut remote);
    let own_head = head_of("doors", &doors[1]);

    for Forgery { name, forge, is } in FORGERIES {
        let mut forged = following("doors", &doors, 3, 5);
        forge(&mut forged, &doors);
        // On its own, and after something good in the same call.
        let other = following("alarms", &alarms, 2, 4);
        let objects = [state("here", b"after", Some(b"before")), state("new", b"after", None)];
        let calls: [(Vec<StreamAppend>, &[ObjectWrite]); 3] = [
            (vec![forged.clone()], &[]),
            (vec![other.clone(), forged.clone()], &objects),
            (vec![forged.clone(), other], &objects),
        ];
        for (appends, objects) in calls {
            let error = remote.append(&appends, &[], objects).unwrap_err();
            match (*is, &error) {
                (Corrupt(n, word), Error::Corrupt(c)) => {
                    assert_eq!((c.stream_id.as_str(), c.seqno), ("doors", n), "{name}: {error}");
                    assert!(c.reason.contains(word), "{name}: {error}");
                }
                (CorruptIn(stream, n, word), Error::Corrupt(c)) => {
                    assert_eq!((c.stream_id.as_str(), c.seqno), (stream, n), "{name}: {error}");
                    assert!(c.reason.contains(word), "{name}: {error}");
                }
                (Conflict, Error::Conflict(c)) => {
                    assert_eq!(
                        (c.stream_id.as_str(), c.actual.as_ref()),
                        ("doors", Some(&own_head)),
                        "{name}: {error}"
                    );
                }
                _ => panic!("{name}: {error:?} is not {is:?}"),
            }
            assert_eq!(contents(&mut remote), before, "{name}: something was written");
        }
    }
    // What was forged from is taken.
    let objects = [state("here", b"after", Some(b"before")), state("new", b"after", None)];
    remote
        .append(&[following("alarms", &alarms, 2, 4), following("doors", &doors, 3, 5)], &[], &objects)
        .unwrap();
    assert_eq!(rows(&mut remote, "doors"), doors[..5]);
    assert_eq!(rows(&mut remote, "alarms"), alarms[..4]);
}

#[test]
fn forgeries_are_refused_over_sqlite() {
    forgeries_are_refused(SqliteSecureLogStore::open(":memory:").unwrap());
}

#[test]
fn forgeries_are_refused_over_files() {
    let directory: TempDir = tempfile::tempdir().unwrap();
    forgeries_are_refused(
        FileSecureLogStore::open(directory.path().join("audit").to_str().unwrap()).unwrap(),
    );
}

fn remote() -> Remote<SqliteSecureLogStore> {
    RemoteStore::connect(Server::new(SqliteSecureLogStore::open(":memory:").unwrap()), "x").unwrap()
}

/// Every single byte of an entry counts.
#[test]
fn a_flip_of_any_byte_is_refused() {
    let (doors, _) = honest();
    let mut remote = remote();
    remote.append(&[following("doors", &doors, 1, 2)], &[], &[]).unwrap();
    let before = contents(&mut remote);
    let good = following("doors", &doors, 3, 3);
    for at in 0..good.rows[0].header.len() {
        let mut forged = good.clone();
        forged.rows[0].header[at] ^= 1;
        assert!(
            matches!(remote.append(&[forged], &[], &[]), Err(Error::Corrupt(c)) if c.seqno == 3),
            "header {at}"
        );
    }
    for at in 0..good.rows[0].payload.as_ref().unwrap().len() {
        let mut forged = good.clone();
        forged.rows[0].payload.as_mut().unwrap()[at] ^= 1;
        assert!(
            matches!(remote.append(&[forged], &[], &[]), Err(Error::Corrupt(c)) if c.seqno == 3),
            "payload {at}"
        );
    }
    assert_eq!(contents(&mut remote), before);
}

/// The checks are of the rows, not of what the client in this crate makes of them.
#[test]
fn columns_may_be_left_out_or_sent_and_are_checked_either_way() {
    let (doors, _) = honest();
    let base64 = secure_log_rpc::base64::encode;
    let row = &doors[0];
    let send = |more: serde_json::Value| {
        let mut remote = remote();
        let mut sent = serde_json::json!({
            "header": base64(&row.header),
            "payload": base64(row.payload.as_ref().unwrap()),
        });
        sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let append = serde_json::json!({
            "stream-id": "doors", "prior-seqno": 0, "prior-hash": base64(&ZERO_HASH), "rows": [sent],
        });
        let params = serde_json::json!([[append], [], []]).to_string();
        let outcome = Transport::call(remote.transport_mut(), "append", &params).map_err(Error::from);
        outcome.map(|_| rows(&mut remote, "doors"))
    };
    let all = serde_json::json!({
        "seqno": 1, "entry-hash": base64(&row.entry_hash), "time-ms": row.time_ms, "severity": row.severity,
        "event-type": row.event_type, "producer": row.producer, "id": null,
    });
    assert_eq!(send(serde_json::json!({})).unwrap(), doors[..1]);
    assert_eq!(send(all.clone()).unwrap(), doors[..1]);
    for (name, value) in all.as_object().unwrap() {
        assert_eq!(send(serde_json::json!({ name.as_str(): value })).unwrap(), doors[..1], "{name}");
        let other = match name.as_str() {
            "entry-hash" => serde_json::json!(base64(&[7; 32])),
            "event-type" | "producer" | "id" => serde_json::json!("other"),
            "severity" => serde_json::json!(7),
            _ => serde_json::json!(2),
        };
        let outcome = send(serde_json::json!({ name.as_str(): other }));
        assert!(
            matches!(&outcome, Err(Error::Corrupt(c)) if c.stream_id == "doors" && c.seqno > 0),
            "{name}: {outcome:?}"
        );
    }
}

/// Whoever may write can add entries that follow: that is what writing is.
#[test]
fn entries_that_follow_are_taken() {
    let (doors, _) = honest();
    let mut remote = remote();
    remote.append(&[following("doors", &doors, 1, 2)], &[], &[]).unwrap();
    let mut own = reheaded(&doors[2], |h| {
        h.producer = "somebody else".into();
        h.payload_hash = payload_hash(&[], b"made up");
        (h.payload_len, h.salt_len) = (7, 0);
    });
    own.payload = Some(b"made up".to_vec());
    remote
        .append(&[StreamAppend { prior: head_of("doors", &doors[1]), rows: vec![own.clone()] }], &[], &[])
        .unwrap();
    assert_eq!(rows(&mut remote, "doors"), [doors[0].clone(), doors[1].clone(), own]);
}

#[test]
fn a_create_only_object_is_not_rewritten() {
    let mut remote = remote();
    for kind in ObjectKind::ALL {
        let write = |value: &[u8], expected: Option<&[u8]>| ObjectWrite {
            kind,
            key: "k".into(),
            value: value.into(),
            expected: expected.map(Into::into),
        };
        remote.append(&[], &[], &[write(b"first", None)]).unwrap();
        let before = contents(&mut remote);
        for expected in [None, Some(&b"other"[..])] {
            let outcome = remote.append(&[], &[], &[state("fresh", b"", None), write(b"second", expected)]);
            assert!(matches!(outcome, Err(Error::Conflict(_))), "{kind:?} {expected:?}: {outcome:?}");
            assert_eq!(contents(&mut remote), before);
        }
        let outcome = remote.append(&[], &[], &[write(b"second", Some(b"first"))]);
        match kind {
            ObjectKind::State => outcome.unwrap(),
            _ => {
                assert!(matches!(outcome, Err(Error::Conflict(_))), "{kind:?}: {outcome:?}");
                assert_eq!(contents(&mut remote), before);
            }
        }
    }
}

#[test]
fn a_frozen_stream_takes_no_rows() {
    let (doors, _) = honest();
    let mut remote = remote();
    remote.append(&[following("doors", &doors, 1, 2)], &[], &[]).unwrap();
    let freeze =
        ObjectWrite { kind: ObjectKind::Frozen, key: "doors".into(), value: vec![1], expected: None };
    remote.append(&[], &[], &[freeze]).unwrap();
    let before = contents(&mut remote);
    let outcome = remote.append(&[following("doors", &doors, 3, 3)], &[], &[]);
    assert!(matches!(outcome, Err(Error::Denied(_))), "{outcome:?}");
    assert_eq!(contents(&mut remote), before);
}

// Tiles.

#[test]
fn tiles_are_denied_on_the_wire() {
    let mut remote = remote();
    let hashes = secure_log_rpc::base64::encode(&[9; 32]);
    for params in [
        "[]".to_owned(),
        r#"["doors",[]]"#.to_owned(),
        format!(r#"["doors",[{{"level":1,"index":0,"hashes":"{hashes}"}}]]"#),
        "nonsense".to_owned(),
    ] {
        let error = Error::from(Transport::call(remote.transport_mut(), "write-tiles", &params).unwrap_err());
        assert!(matches!(&error, Error::Denied(why) if why.contains("tiles")), "{error:?}");
    }
    assert_eq!(remote.read_tile("doors", 1, 0).unwrap(), None);
    // Behind the wire as well.
    let mut store = CheckedStore::new(SqliteSecureLogStore::open(":memory:").unwrap());
    let tile = Tile { level: 1, index: 0, hashes: vec![9; 32] };
    assert!(matches!(store.write_tiles("doors", &[tile]), Err(Error::Denied(_))));
}

/// What one client remembers, no other client sees.
#[test]
fn wrong_tiles_of_one_client_reach_no_other() {
    let shared = Shared::checked(SqliteSecureLogStore::open(":memory:").unwrap());
    let mut log = NativeSecureLog::new(shared.client(), fixed(), "test 1").unwrap();
    common::fill(&mut log, "doors", 600);
    let own = log.store_mut().read_tile("doors", 1, 0).unwrap().unwrap();
    let wrong = Tile { level: 1, index: 0, hashes: vec![9; 64] };
    log.store_mut().write_tiles("doors", std::slice::from_ref(&wrong)).unwrap();
    assert_eq!(log.store_mut().read_tile("doors", 1, 0).unwrap(), Some(wrong.hashes));
    let mut fresh = shared.client();
    assert_eq!(fresh.read_tile("doors", 1, 0).unwrap(), Some(own));
    for (hashes, what) in [(vec![], "none"), (vec![9; 31], "half of one"), (vec![9; 257 * 32], "too many")] {
        let outcome = fresh.write_tiles("doors", &[Tile { level: 1, index: 0, hashes }]);
        assert!(matches!(outcome, Err(Error::Invalid(i)) if i.field == "tiles"), "{what}");
    }
}

type Fresh = Log<RemoteStore<Shared<CheckedStore<SqliteSecureLogStore>>>>;

/// Level 1 of the tree of these leaves, and the root.
fn level_1(leaves: &[[u8; 32]]) -> (Vec<[u8; 32]>, [u8; 32]) {
    let mut whole = Frontier::default();
    leaves.iter().for_each(|leaf| whole.push(*leaf));
    let blocks = leaves.chunks_exact(256).map(|block| {
        let mut frontier = Frontier::default();
        block.iter().for_each(|leaf| frontier.push(*leaf));
        frontier.root()
    });
    (blocks.collect(), whole.root())
}

fn leaves(store: &mut impl SecureLogStore, stream: &str, size: u64) -> Vec<[u8; 32]> {
    let mut leaves = Vec::new();
    while (leaves.len() as u64) < size {
        let page = store.read_rows(stream, leaves.len() as u64 + 1, 1000, false).unwrap();
        leaves.extend(page.iter().map(|row| leaf_hash(&row.header)));
    }
    leaves
}

/// Entries of a tree with two tiles of level 1, made by a client that never had a tile to write.
#[test]
fn a_client_without_tiles_closes_verifies_and_proves_a_large_stream() {
    const SIZE: u64 = 70_000;
    let shared = Shared::checked(SqliteSecureLogStore::open(":memory:").unwrap());
    let fresh = || -> Fresh { NativeSecureLog::new(shared.client(), fixed(), "test 1").unwrap() };
    let mut writer = fresh();
    let append = |log: &mut Fresh, from: u64, to: u64| {
        let small = |n: u64| {
            let mut e = event("doors", n);
            e.payload = n.to_be_bytes().to_vec();
            e
        };
        log.append_batch((from..to).map(small).collect(), &[]).unwrap();
    };
    for from in (0..SIZE).step_by(10_000) {
        append(&mut writer, from, from + 10_000);
    }
    drop(writer);

    let mut client = shared.client();
    let all = leaves(&mut client, "doors", SIZE);
    let (nodes, root) = level_1(&all);
    assert_eq!(nodes.len(), 273);

    let mut closer = fresh();
    let segment = closer.close_segment("doors").unwrap();
    assert_eq!((segment.size, segment.root), (SIZE, root));
    let report = closer.verify_segments("doors").unwrap();
    assert_eq!((report.segments_checked, report.entries_checked, report.entries_uncovered), (1, SIZE, 0));

    let tile = |client: &mut RemoteStore<_>, index: u64| client.read_tile("doors", 1, index).unwrap();
    assert_eq!(tile(&mut client, 0), Some(nodes[..256].concat()));
    assert_eq!(tile(&mut client, 1), Some(nodes[256..].concat()));
    for index in
        [2, 3, 1 << 32, u64::MAX / 256 - 1, u64::MAX / 256, u64::MAX / 256 + 1, u64::MAX - 1, u64::MAX]
    {
        assert_eq!(tile(&mut client, index), None, "{index}");
    }
    for level in [0, 2, 3, 8, 9, 255] {
        for index in [0, 1, u64::MAX] {
            assert_eq!(client.read_tile("doors", level, index).unwrap(), None, "level {level}, {index}");
        }
    }
    assert_eq!(client.read_tile("windows", 1, 0).unwrap(), None);
    assert_eq!(client.read_tile("", 1, 0).unwrap(), None);

    // Other fresh clients come to the same, with what was derived for the others.
    let mut other = fresh();
    other.verify_segments("doors").unwrap();
    for n in [1, 256, 257, 65_536, 65_537, SIZE] {
        let proof = other.build_inclusion_proof("doors", n).unwrap();
        secure_log::proof::verify_inclusion_proof(&proof, &root).unwrap();
    }

    // A tile that was derived in part grows with its stream.
    append(&mut other, SIZE, SIZE + 143);
    assert_eq!(tile(&mut client, 1), Some(nodes[256..].concat()), "70,143 entries complete no block");
    append(&mut other, SIZE + 143, SIZE + 700);
    let all = leaves(&mut client, "doors", SIZE + 700);
    let (nodes, root) = level_1(&all);
    assert_eq!(nodes.len(), 276);
    assert_eq!(tile(&mut client, 1), Some(nodes[256..].concat()));
    let mut last = fresh();
    let report = last.verify_segments("doors").unwrap();
    assert_eq!((report.entries_checked, report.entries_uncovered), (SIZE, 700));
    let second = last.close_segment("doors").unwrap();
    assert_eq!((second.size, second.root), (SIZE + 700, root));
    let proof = fresh().build_consistency_proof("doors", SIZE, SIZE + 700).unwrap();
    secure_log::proof::verify_consistency_proof(&proof, &segment.root, &root).unwrap();
}

/// Everything that a log does and checks, through a server that checks.
#[test]
fn a_log_over_a_checking_file_store_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileSecureLogStore::open(directory.path().join("audit").to_str().unwrap()).unwrap();
    let shared = Shared::checked(store);
    let mut log = NativeSecureLog::new(shared.client(), fixed(), "test 1").unwrap();
    let mut trusted = common::sample(&mut log);
    common::fill(&mut log, "doors", 1200);
    let segments = log.close_segments().unwrap();
    log.sign_segment(&mut TestSigner, "other", segments[0].segment_id).unwrap();
    trusted.push(log.verifier_key(&mut TestSigner, "other").unwrap());
    common::verify_all(&mut log, &trusted).unwrap();
    common::verify_all(&mut NativeSecureLog::new(shared.client(), fixed(), "test 1").unwrap(), &trusted)
        .unwrap();
}

/// A far end that does not keep to the contract ends in an error, not in a wrong entry.
#[test]
fn a_server_that_changes_rows_is_found_out() {
    struct Liar(Shared<CheckedStore<SqliteSecureLogStore>>, fn(&str) -> String);
    impl Transport for Liar {
        fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
            let answer = self.0.call(method, params)?;
            Ok(if method == "read-rows" { (self.1)(&answer) } else { answer })
        }
    }
    const ROW: &str = "{\"header\":";
    fn with(answer: &str, member: &str) -> String {
        answer.replacen(ROW, &format!("{{{member},\"header\":"), 1)
    }
    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let lies: [fn(&str) -> String; 13] = [
        |a| with(a, "\"seqno\":2"),
        |a| with(a, "\"time-ms\":0"),
        |a| with(a, "\"severity\":0"),
        |a| with(a, "\"event-type\":\"x\""),
        |a| with(a, "\"producer\":\"x\""),
        |a| with(a, "\"id\":\"x\""),
        |a| with(a, &format!("\"entry-hash\":\"{ZEROS}\"")),
        |a| a.replacen("A", "B", 1),
        |a| a.replacen("\"payload\":\"", "\"payload\":\"AAAA", 1),
        |a| a.replacen("\"payload\"", "\"pay\"", 1),
        |a| a.replacen("[{", "{", 1),
        |a| format!("[{a}]"),
        |_| "[]".into(),
    ];
    let shared = Shared::checked(SqliteSecureLogStore::open(":memory:").unwrap());
    let mut log = NativeSecureLog::new(shared.client(), fixed(), "test 1").unwrap();
    common::fill(&mut log, "doors", 3);
    for (n, lie) in lies.into_iter().enumerate() {
        let liar = RemoteStore::connect(Liar(shared.clone(), lie), "x").unwrap();
        let mut log = NativeSecureLog::new(liar, fixed(), "test 1").unwrap();
        let outcome = log.verify_chain("doors", 1, 3);
        assert!(matches!(outcome, Err(Error::Corrupt(_))), "lie {n}: {outcome:?}");
    }
}
