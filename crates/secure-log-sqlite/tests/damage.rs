//! Files that are not stores, and stores that somebody has edited: typed errors, no panic, and
//! what is not ours stays as it was.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{after, open, whole_stream};
use rusqlite::Connection;
use secure_log::error::Error;
use secure_log::limits::MAX_STREAM_ID;
use secure_log::model::{QueryFilter, StreamHead};
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log_sqlite::{SCHEMA_VERSION, SqliteSecureLogStore};

fn refused(config: &str) -> Error {
    match SqliteSecureLogStore::open(config) {
        Ok(_) => panic!("{config} opened"),
        Err(e) => e,
    }
}

/// Refused as an invalid configuration; the file is unchanged and nothing lies beside it.
fn left_alone(path: &Path, part_of_reason: &str) {
    let before = std::fs::read(path).ok();
    match refused(path.to_str().unwrap()) {
        Error::Invalid(i) => {
            assert_eq!(i.field, "config");
            assert!(i.reason.contains(part_of_reason), "{}", i.reason);
        }
        other => panic!("{other}"),
    }
    assert_eq!(std::fs::read(path).ok(), before);
    let name = path.file_name().unwrap().to_str().unwrap();
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let other = entry.unwrap().file_name().into_string().unwrap();
        assert!(other == name || !other.starts_with(name), "left behind: {other}");
    }
}

#[test]
fn what_is_not_a_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("text"), "2024-01-01 status installed libc6\n".repeat(100)).unwrap();
    left_alone(&path("text"), "not a SQLite database");
    std::fs::write(path("short"), "SQLite format 3\0").unwrap();
    left_alone(&path("short"), "not a SQLite database");
    std::fs::write(path("zeros"), [0; 8192]).unwrap();
    left_alone(&path("zeros"), "not a SQLite database");
    Connection::open(path("other"))
        .unwrap()
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        .unwrap();
    left_alone(&path("other"), "something else");
    std::fs::create_dir(path("dir")).unwrap();
    left_alone(&path("dir"), "directory");
    left_alone(&path("dir/"), "directory");

    let newer = path("newer");
    open(newer.to_str().unwrap()).close().unwrap();
    std::fs::remove_dir_all(path("newer.lease")).unwrap();
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    left_alone(&newer, &format!("versions up to {SCHEMA_VERSION}"));
}

#[test]
fn an_empty_file_becomes_a_store() {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("empty");
    std::fs::write(&path, []).unwrap();
    open(path.to_str().unwrap()).close().unwrap();
    open(path.to_str().unwrap()).close().unwrap();
}

#[test]
fn places_that_do_not_exist_are_named() {
    match refused("/no/such/place/a.db") {
        Error::Storage(text) => assert!(text.contains("/no/such/place"), "{text}"),
        other => panic!("{other}"),
    }
    assert!(matches!(refused("a.db?lease=1"), Error::Invalid(_)));
    assert!(matches!(refused("/dev/null"), Error::Invalid(_)));
}

#[test]
fn a_name_that_looks_like_a_uri_is_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("file:x%41.db");
    open(name.to_str().unwrap()).close().unwrap();
    assert!(name.is_file());
}

#[test]
fn names_and_numbers_over_the_limit_are_refused() {
    let mut store = open(":memory:");
    for stream in [String::new(), "s".repeat(MAX_STREAM_ID + 1)] {
        match store.append(&[after(&stream, None, 1, 1)], &[], &[]) {
            Err(Error::Invalid(i)) => assert_eq!(i.field, "stream-id"),
            other => panic!("{other:?}"),
        }
    }
    let mut late = after("a", None, 1, 1);
    late.rows[0].time_ms = i64::MAX as u64 + 1;
    match store.append(&[late], &[], &[]) {
        Err(Error::Invalid(i)) => assert_eq!(i.field, "time-ms"),
        other => panic!("{other:?}"),
    }
    let mut wide = after("a", None, 1, 1);
    wide.rows[0].header = vec![0; 65_536];
    assert!(matches!(store.append(&[wide], &[], &[]), Err(Error::Invalid(i)) if i.field == "header"));
    let mut large = after("a", None, 1, 1);
    large.rows[0].payload = Some(vec![0; (8 << 20) + 33]);
    assert!(matches!(store.append(&[large], &[], &[]), Err(Error::Invalid(i)) if i.field == "payload"));
    assert_eq!(store.list_heads(None, 10).unwrap(), []);
}

/// A closed store of 50 entries in streams `a` and `b`, edited.
fn edited(sql: &str) -> (tempfile::TempDir, SqliteSecureLogStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut store = open(path.to_str().unwrap());
    store.append(&[after("a", None, 50, 1), after("b", None, 5, 1)], &[], &[]).unwrap();
    store.close().unwrap();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    conn.close().unwrap();
    let store = open(path.to_str().unwrap());
    (dir, store)
}

/// Makes the columns take values of any type, as an editor of bytes could.
const ANY_TYPE: &str = "PRAGMA writable_schema = ON; \
    UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE type = 'table'; \
    UPDATE sqlite_schema SET sql = replace(replace(sql, ' NOT NULL', ''), ', WITHOUT', 'WITHOUT') WHERE type = 'table'; \
    PRAGMA writable_schema = RESET;";

#[test]
fn columns_of_the_wrong_shape_are_corrupt_and_named() {
    for (column, value) in [
        ("entry_hash", "x'00'"),
        ("entry_hash", "'text'"),
        ("entry_hash", "NULL"),
        ("header", "'text'"),
        ("header", "7"),
        ("time_ms", "-1"),
        ("time_ms", "'x'"),
        ("time_ms", "1.5"),
        ("severity", "256"),
        ("severity", "-1"),
        ("severity", "NULL"),
        ("event_type", "x'FF'"),
        ("event_type", "CAST(x'FF' AS TEXT)"),
        ("producer", "NULL"),
        ("id", "x'00'"),
    ] {
        let (_dir, mut store) =
            edited(&format!("{ANY_TYPE} UPDATE entries SET {column} = {value} WHERE seqno = 7 AND sid = 1;"));
        let what = format!("{column} = {value}");
        let check = |error: Option<Error>| match error {
            Some(Error::Corrupt(c)) => {
                assert_eq!((c.stream_id.as_str(), c.seqno), ("a", 7), "{what}");
                assert!(c.reason.contains(column), "{what}: {}", c.reason);
            }
            other => panic!("{what}: {other:?}"),
        };
        check(store.read_rows("a", 1, 100, false).err());
        let (from, to) = (store.read_rows("a", 1, 6, true), store.read_rows("a", 8, 100, true));
        assert_eq!((from.unwrap().len(), to.unwrap().len()), (6, 43), "{what}");
        check(store.query(&QueryFilter::default(), None, 100).err());
        assert_eq!(store.read_rows("b", 1, 100, true).unwrap().len(), 5, "{what}");
    }
}

#[test]
fn a_head_of_the_wrong_shape_is_not_built_upon() {
    let (_dir, mut store) =
        edited(&format!("{ANY_TYPE} UPDATE entries SET entry_hash = x'00' WHERE seqno = 50;"));
    assert!(matches!(store.head("a"), Err(Error::Corrupt(c)) if c.seqno == 50));
    let append = after("a", Some(StreamHead { stream_id: "a".into(), seqno: 50, entry_hash: [0; 32] }), 1, 1);
    assert!(matches!(store.append(&[append], &[], &[]), Err(Error::Corrupt(_))));
}

#[test]
fn values_that_fit_are_passed_on_for_the_engine_to_compare() {
    let (_dir, mut store) = edited(
        "UPDATE entries SET severity = 9, time_ms = 5, event_type = 'x', producer = 'y', id = 'z', \
         header = x'01', entry_hash = zeroblob(32) WHERE seqno = 7 AND sid = 1;",
    );
    let row = store.read_rows("a", 7, 1, false).unwrap().remove(0);
    assert_eq!((row.severity, row.time_ms, row.event_type.as_str()), (9, 5, "x"));
    assert_eq!((row.producer.as_str(), row.id.as_deref()), ("y", Some("z")));
    assert_eq!((row.header.as_slice(), row.entry_hash), (&[1][..], [0; 32]));
}

#[test]
fn an_erased_payload_is_missing_and_a_deleted_row_leaves_a_gap() {
    let (_dir, mut store) = edited(
        "DELETE FROM payloads WHERE pos IN (SELECT pos FROM entries WHERE seqno = 7); \
         DELETE FROM entries WHERE seqno = 9 AND sid = 1; UPDATE streams SET stream_id = 'c' WHERE stream_id = 'b'",
    );
    assert_eq!(store.read_rows("a", 7, 1, true).unwrap()[0].payload, None);
    let numbers: Vec<_> = store.read_rows("a", 8, 2, true).unwrap().iter().map(|row| row.seqno).collect();
    assert_eq!(numbers, [8, 10]);
    assert_eq!((store.head("b").unwrap(), store.head("c").unwrap().unwrap().seqno), (None, 5));
}

#[test]
fn a_dropped_table_or_stream_is_corrupt() {
    for table in ["entries", "streams", "payloads"] {
        let (_dir, mut store) = edited(&format!("DROP TABLE {table}"));
        let error = store.read_rows("a", 1, 10, true).expect_err("rows of nothing");
        assert!(matches!(error, Error::Corrupt(_)), "{table}: {error:?}");
    }
    let (_dir, mut store) = edited("DELETE FROM streams WHERE stream_id = 'b'");
    assert!(matches!(store.query(&QueryFilter::default(), None, 100), Err(Error::Corrupt(_))));
}

#[test]
fn overwritten_pages_never_panic_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let config = format!("{}?lock=host&lease-ms=200", path.display());
    let mut store = open(&config);
    store.append(&[after("a", None, 400, 1), after("b", None, 30, 1)], &[], &[]).unwrap();
    store.close().unwrap();
    let good = std::fs::read(&path).unwrap();
    let (mut state, mut corrupt, mut named) = (1_u64, 0, 0);
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..300 {
        let mut bad = good.clone();
        // Single bytes, and whole stretches; the first page's header is another test's matter.
        let at = 100 + random(bad.len() - 100);
        let length = if round % 2 == 0 { 1 } else { (bad.len() - at).min(1 + random(5_000)) };
        for byte in &mut bad[at..at + length] {
            *byte ^= 1 + random(255) as u8;
        }
        std::fs::write(&path, &bad).unwrap();
        let mut errors = Vec::new();
        match SqliteSecureLogStore::open(&config) {
            Err(e) => errors.push(e),
            Ok(mut store) => {
                errors.extend(store.head("a").err());
                errors.extend(store.find_id("a", "x").err());
                errors.extend(store.list_heads(None, 10).err());
                errors.extend(store.read_tile("a", 1, 0).err());
                let mut from = 1;
                while from <= 400 {
                    if let Err(e) = store.read_rows("a", from, 50, true) {
                        let here = matches!(&e, Error::Corrupt(c) if c.stream_id == "a" && c.seqno >= from);
                        named += usize::from(here);
                        errors.push(e);
                    }
                    from += 50;
                }
                errors.extend(store.query(&QueryFilter::default(), None, 1_000).err());
                let head = StreamHead { stream_id: "a".into(), seqno: 400, entry_hash: common::hash(400, 1) };
                errors.extend(store.append(&[after("a", Some(head), 5, 1)], &[], &[]).err());
                drop(store);
            }
        }
        for error in errors {
            match error {
                Error::Corrupt(_) => corrupt += 1,
                // Its own row may have been changed to another number.
                Error::Conflict(_) => {}
                other => panic!("round {round}: {other:?}"),
            }
        }
        for suffix in ["-wal", "-journal"] {
            let _ = std::fs::remove_file(dir.path().join(format!("a.db{suffix}")));
        }
    }
    assert!(corrupt > 20 && named > 10, "{corrupt} corrupt, {named} named");
}

#[test]
fn a_torn_log_of_writes_ends_where_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let config = format!("{}?lock=host", path.display());
    let mut store = open(&config);
    store.append(&[after("a", None, 20, 1)], &[], &[]).unwrap();
    let whole = std::fs::metadata(dir.path().join("a.db-wal")).unwrap().len();
    let head = store.head("a").unwrap();
    store.append(&[after("a", head, 20, 1)], &[], &[]).unwrap();
    // As a crash would leave it: a copy, without closing.
    let crashed = dir.path().join("b.db");
    std::fs::copy(&path, &crashed).unwrap();
    let wal = std::fs::read(dir.path().join("a.db-wal")).unwrap();
    for cut in [wal.len() as u64, wal.len() as u64 - 1, whole + 100, whole] {
        std::fs::write(dir.path().join("b.db-wal"), &wal[..cut as usize]).unwrap();
        std::fs::copy(&path, &crashed).unwrap();
        let mut reopened = open(&format!("{}?lock=host", crashed.display()));
        let expected = if cut == wal.len() as u64 { 40 } else { 20 };
        assert_eq!(whole_stream(&mut reopened, "a").len(), expected, "cut at {cut}");
        reopened.close().unwrap();
    }
}

#[test]
fn a_quick_close_leaves_a_short_log_of_writes_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let wal = dir.path().join("a.db-wal");
    let quick = format!("{}?close=quick", path.display());
    let mut head = None;
    for round in 0..300 {
        let append = |before: Option<StreamHead>| {
            let mut store = open(&quick);
            assert_eq!(store.head("a").unwrap(), before, "round {round}");
            store.append(&[after("a", before, 1, 1)], &[], &[]).unwrap();
            let now = store.head("a").unwrap();
            store.close().unwrap();
            now
        };
        // Sometimes by this thread, which finds its connection again unless somebody else was there; sometimes by
        // a new one, as by a new instance.
        head = if round % 10 < 5 {
            append(head)
        } else {
            std::thread::scope(|scope| scope.spawn(|| append(head)).join().unwrap())
        };
        assert!(std::fs::metadata(&wal).unwrap().len() < 1 << 20, "round {round}");
    }
    // Another file of that name is not taken for the old one.
    let store = open(&quick);
    store.close().unwrap();
    let aside = dir.path().join("aside.db");
    for name in [&path, &wal] {
        let moved = name.to_str().unwrap().replace("a.db", "aside.db");
        std::fs::rename(name, moved).unwrap();
    }
    let mut store = open(&quick);
    assert_eq!(store.head("a").unwrap(), None);
    store.close().unwrap();
    // An ordinary close takes everything in.
    let mut store = open(aside.to_str().unwrap());
    assert_eq!(store.head("a").unwrap(), head);
    store.close().unwrap();
    assert!(!dir.path().join("aside.db-wal").exists());
}
