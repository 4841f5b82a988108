//! The store at its seam: what it refuses, and how it behaves when it is large.
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod common;

use common::*;
use secure_log::Error;
use secure_log::model::{QueryFilter, Severity, StreamHead};
use secure_log::store::{ObjectKind, SecureLogStore, Tile};

fn bytes_of(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_written() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let mut store = open(&path).unwrap();
    let before = bytes_of(&path);
    let app = head_of(&mut store, "app");
    let stale = StreamHead { seqno: app.seqno - 1, ..app.clone() };
    let other = StreamHead { entry_hash: [7; 32], ..app.clone() };

    for prior in [&stale, &other, &new_stream("app")] {
        let e = store.append(&[rows_after(prior.clone(), 1, "x")], &[], &[]).unwrap_err();
        assert!(matches!(&e, Error::Conflict(c) if c.actual.as_ref() == Some(&app)), "{e:?}");
        let e = store
            .append(&[rows_after(new_stream("n"), 1, "x")], std::slice::from_ref(prior), &[])
            .unwrap_err();
        assert!(matches!(&e, Error::Conflict(c) if c.actual.as_ref() == Some(&app)), "{e:?}");
    }
    let mut taken = rows_after(app.clone(), 1, "x");
    taken.rows[0].id = Some("id-1".into());
    assert!(matches!(store.append(&[taken], &[], &[]), Err(Error::Conflict(c)) if c.stream_id == "app"));
    let mut twice = rows_after(app.clone(), 2, "x");
    twice.rows.iter_mut().for_each(|r| r.id = Some("new".into()));
    assert!(matches!(store.append(&[twice], &[], &[]), Err(Error::Conflict(_))));
    let mut gap = rows_after(app.clone(), 2, "x");
    gap.rows.remove(0);
    assert!(matches!(store.append(&[gap], &[], &[]), Err(Error::Invalid(i)) if i.field == "seqno"));

    let writes = [
        object(ObjectKind::Checkpoint, "000001", b"other", None),
        object(ObjectKind::Checkpoint, "000001", b"other", Some(b"note")),
        object(ObjectKind::State, "s", b"v", Some(b"u")),
    ];
    for write in writes {
        let e = store.append(&[rows_after(app.clone(), 1, "x")], &[], &[write]).unwrap_err();
        assert!(matches!(e, Error::Conflict(_)), "{e:?}");
    }
    let mut long = rows_after(app.clone(), 1, "x");
    long.rows[0].payload = Some(vec![0; (8 << 20) + 33]);
    assert!(matches!(store.append(&[long], &[], &[]), Err(Error::Invalid(i)) if i.field == "payload"));
    let mut long = rows_after(app.clone(), 1, "x");
    long.rows[0].header = vec![0; 65_536];
    assert!(matches!(store.append(&[long], &[], &[]), Err(Error::Invalid(i)) if i.field == "header"));
    for name in ["", &"x".repeat(256)] {
        let e = store.append(&[rows_after(new_stream(name), 1, "x")], &[], &[]).unwrap_err();
        assert!(matches!(e, Error::Invalid(i) if i.field == "stream-id"));
    }
    for cursor in ["", "x", "0", "-1", "066", "67", "99999999999999999999", "999999999"] {
        let e = store.query(&QueryFilter::default(), Some(cursor), 10).unwrap_err();
        assert!(matches!(&e, Error::Invalid(i) if i.field == "cursor"), "{cursor:?}: {e:?}");
    }
    assert_eq!(bytes_of(&path), before);

    store.append(&[], &[], &[object(ObjectKind::Frozen, "app", b"", None)]).unwrap();
    let before = bytes_of(&path);
    assert!(matches!(store.append(&[rows_after(app.clone(), 1, "x")], &[], &[]), Err(Error::Denied(_))));
    assert_eq!(bytes_of(&path), before);
    assert_eq!(store.head("app").unwrap().as_ref(), Some(&app));
    assert_eq!(stored.rows.len(), 8);
    store.close().unwrap();
}

#[test]
fn the_largest_things_fit_and_come_back() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let mut store = open(&path).unwrap();
    let name = "\u{1}".repeat(255);
    let mut append = rows_after(new_stream(&name), 9, "x");
    for (i, row) in append.rows.iter_mut().enumerate() {
        row.payload = Some(vec![i as u8; (8 << 20) + 32 - i]);
        row.header = vec![i as u8; 65_535];
        row.id = Some(format!("{i}").repeat(1000));
    }
    store.append(std::slice::from_ref(&append), &[], &[]).unwrap();
    // 72 MiB do not fit into one chunk.
    assert_eq!(std::fs::read_dir(payload_dir(&path)).unwrap().count(), 2);
    store.close().unwrap();
    let mut store = open(&path).unwrap();
    for row in &append.rows {
        let rows = store.read_rows(&name, row.seqno, 10, true).unwrap();
        assert_eq!(rows.len(), 1, "a page holds 4 MiB or one row");
        assert!(rows[0] == *row);
    }
    assert_eq!(store.read_rows(&name, 1, 10, false).unwrap().len(), 9);
    store.close().unwrap();
}

#[test]
fn a_backup_is_the_same_store_elsewhere() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let mut store = open(&path).unwrap();
    let copy = dir.path().join("copy.jsonl");
    store.backup(copy.to_str().unwrap()).unwrap();
    assert!(matches!(store.backup(copy.to_str().unwrap()), Err(Error::Conflict(_))));
    assert!(matches!(store.backup(path.to_str().unwrap()), Err(Error::Conflict(_))));
    let nowhere = dir.path().join("no/copy");
    assert!(
        matches!(store.backup(nowhere.to_str().unwrap()), Err(Error::Storage(s)) if s.contains("does not exist"))
    );
    assert_eq!(bytes_of(&path), bytes_of(&copy));
    let app = head_of(&mut store, "app");
    store.append(&[rows_after(app, 1, "x")], &[], &[]).unwrap();

    let mut copy = open(&copy).unwrap();
    for (stream, row) in &stored.rows {
        assert_eq!(&copy.read_rows(stream, row.seqno, 1, true).unwrap()[0], row);
    }
    let app = head_of(&mut copy, "app");
    copy.append(&[rows_after(app, 1, "y")], &[], &[]).unwrap();
    copy.close().unwrap();
    store.close().unwrap();
}

#[test]
fn damaged_tiles_are_absent() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let mut store = open(&path).unwrap();
    let tile = Tile { level: 1, index: 3, hashes: vec![5; 64] };
    store.write_tiles("a/b", std::slice::from_ref(&tile)).unwrap();
    assert_eq!(store.read_tile("a/b", 1, 3).unwrap(), Some(tile.hashes.clone()));
    assert_eq!(store.read_tile("a/b", 2, 3).unwrap(), None);
    assert_eq!(store.read_tile("a", 1, 3).unwrap(), None);
    let tiles = format!("{}.tiles", path.display());
    let file = std::fs::read_dir(tiles).unwrap().next().unwrap().unwrap().path();
    let good = bytes_of(&file);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&file, &bad).unwrap();
        assert_eq!(store.read_tile("a/b", 1, 3).unwrap(), None);
        std::fs::write(&file, &good[..at]).unwrap();
        assert_eq!(store.read_tile("a/b", 1, 3).unwrap(), None);
    }
    let bad = Tile { hashes: vec![0; 33], ..tile };
    assert!(matches!(store.write_tiles("a/b", &[bad]), Err(Error::Invalid(_))));
    store.close().unwrap();
}

/// The format, byte for byte, as the README gives it.
#[test]
fn the_worked_example_of_the_readme_is_what_is_written() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let mut store = open(&path).unwrap();
    let mut append = rows_after(new_stream("app"), 1, "web");
    append.rows[0] = secure_log::store::Row {
        seqno: 1,
        entry_hash: secure_log::header::entry_hash(b"header bytes"),
        header: b"header bytes".to_vec(),
        payload: Some(b"hello".to_vec()),
        time_ms: 1_700_000_000_000,
        severity: Severity::Notice as u8,
        event_type: "login".into(),
        producer: "web \"1\"".into(),
        id: None,
    };
    store.append(&[append], &[], &[object(ObjectKind::Stream, "app", b"facts", None)]).unwrap();
    store.close().unwrap();
    let written = String::from_utf8(bytes_of(&path)).unwrap();
    let readme = include_str!("../README.md");
    let example = readme.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(example, written, "README.md should give:\n{written}");
}
