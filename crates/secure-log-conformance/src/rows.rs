//! Rows: what is stored comes back, and only what may be stored is.

use secure_log::error::Error;
use secure_log::model::QueryFilter;
use secure_log::store::{ObjectKind, Row, StreamAppend};

use crate::Stores;
use crate::fixture::{all_rows, conflict, following, head, object, open, put, refused, row, rows};

pub fn a_new_store_is_empty(stores: &mut dyn Stores) {
    let mut store = open(stores);
    assert_eq!(store.head("a").unwrap(), None);
    assert_eq!(store.read_rows("a", 1, 10, true).unwrap(), []);
    assert_eq!(store.find_id("a", "x").unwrap(), None);
    assert_eq!(store.list_heads(None, 10).unwrap(), []);
    let page = store.query(&QueryFilter::default(), None, 10).unwrap();
    assert!(page.rows.is_empty() && page.next.is_none());
    for kind in ObjectKind::ALL {
        assert_eq!(store.read_object(kind, "a").unwrap(), None);
        assert_eq!(store.list_objects(kind, "", None, 10).unwrap(), []);
        assert_eq!(store.last_object(kind, "").unwrap(), None);
    }
    assert_eq!(store.read_tile("a", 1, 0).unwrap(), None);
}

pub fn rows_come_back_as_they_were(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let mut appended: Vec<_> = (1..=20).map(|n| row("a", n)).collect();
    appended[2].header = (0..=255).collect();
    appended[2].payload = Some((0..=255).rev().collect());
    appended[3].event_type = "quote \" backslash \\ newline \n tab \t nul \0 日本 \u{10FFFF}".into();
    appended[3].producer = "'; DROP TABLE entries; --".into();
    appended[4].id = Some("id % _ \u{202E} \u{7F}".into());
    appended[5].time_ms = 0;
    put(&mut *store, &[following("a", appended.clone())]);
    assert_eq!(all_rows(&mut *store, "a"), appended);
    assert_eq!(store.head("a").unwrap(), Some(head("a", 20)));
}

pub fn an_empty_payload_is_not_a_missing_one(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let mut appended: Vec<_> = (1..=3).map(|n| row("a", n)).collect();
    appended[0].payload = Some(Vec::new());
    appended[1].payload = None;
    put(&mut *store, &[following("a", appended)]);
    let read: Vec<_> = all_rows(&mut *store, "a").into_iter().map(|row| row.payload).collect();
    assert_eq!(read, [Some(Vec::new()), None, row("a", 3).payload]);
}

pub fn payloads_are_left_out_when_not_asked_for(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 3)]);
    for (read, mut expected) in
        store.read_rows("a", 1, 10, false).unwrap().into_iter().zip(rows("a", 1, 3).rows)
    {
        expected.payload = None;
        assert_eq!(read, expected);
    }
}

pub fn rows_are_read_from_a_number_on(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 10), rows("b", 1, 3)]);
    let mut numbers = |stream: &str, from, limit| -> Vec<u64> {
        store.read_rows(stream, from, limit, false).unwrap().iter().map(|row| row.seqno).collect()
    };
    assert_eq!(numbers("a", 4, 3), [4, 5, 6]);
    assert_eq!(numbers("a", 0, 2), [1, 2]);
    assert_eq!(numbers("a", 10, 5), [10]);
    assert!(numbers("a", 11, 5).is_empty());
    assert!(numbers("a", u64::MAX, 5).is_empty());
    assert_eq!(numbers("b", 1, 100), [1, 2, 3]);
    assert!(numbers("c", 1, 100).is_empty());
}

pub fn rows_must_be_numbered_without_gaps(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5)]);
    for numbers in [&[7][..], &[5], &[6, 8], &[6, 6], &[6, 7, 6], &[0], &[u64::MAX]] {
        let row = |number: &u64| Row { seqno: *number, ..row("a", 6) };
        let append = StreamAppend { prior: head("a", 5), rows: numbers.iter().map(row).collect() };
        match refused(&mut *store, |s| s.append(&[append], &[], &[])) {
            Error::Invalid(_) | Error::Conflict(_) => {}
            other => panic!("rows {numbers:?} after 5: {other}"),
        }
    }
    put(&mut *store, &[rows("a", 6, 7)]);
}

pub fn ids_are_unique_in_a_stream(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let with_id = |stream: &str, seqno, id: &str| {
        let mut row = row(stream, seqno);
        row.id = Some(id.into());
        following(stream, vec![row])
    };
    put(&mut *store, &[with_id("a", 1, "x")]);
    put(&mut *store, &[with_id("b", 1, "x"), with_id("a", 2, "y")]);
    let refusal = conflict(&mut *store, |s| s.append(&[with_id("a", 3, "x")], &[], &[]));
    assert_eq!(refusal.stream_id, "a");
    assert_eq!(refusal.actual, Some(head("a", 2)));
    // The head is the one that there is, also where rows before the refused one were good.
    let mut late = rows("a", 3, 5);
    late.rows[2].id = Some("y".into());
    let refusal = conflict(&mut *store, |s| s.append(&[late], &[], &[]));
    assert_eq!(refusal.actual, Some(head("a", 2)));
    // Ids are compared bytewise.
    put(&mut *store, &[with_id("a", 3, "X")]);
    put(&mut *store, &[with_id("a", 4, "")]);
    conflict(&mut *store, |s| s.append(&[with_id("a", 5, "")], &[], &[]));
    put(&mut *store, &[rows("a", 5, 8)]);
}

pub fn ids_are_unique_in_a_batch(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let mut twice = rows("a", 1, 2);
    for row in &mut twice.rows {
        row.id = Some("x".into());
    }
    conflict(&mut *store, |s| s.append(&[rows("b", 1, 1), twice.clone()], &[], &[]));
    twice.rows[1].id = Some("y".into());
    put(&mut *store, &[twice]);
}

pub fn ids_are_found(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let mut append = rows("a", 1, 50);
    for row in &mut append.rows {
        row.id = (row.seqno % 2 == 0).then(|| format!("id-{}", row.seqno));
    }
    put(&mut *store, &[append, rows("b", 1, 1)]);
    assert_eq!(store.find_id("a", "id-42").unwrap(), Some(42));
    assert_eq!(store.find_id("a", "id-41").unwrap(), None);
    assert_eq!(store.find_id("b", "id-42").unwrap(), None);
    assert_eq!(store.find_id("none", "id-42").unwrap(), None);
}

pub fn a_frozen_stream_takes_no_rows(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 3)]);
    store.append(&[], &[], &[object(ObjectKind::Frozen, "a", b"why", None)]).unwrap();
    match refused(&mut *store, |s| s.append(&[rows("b", 1, 1), rows("a", 4, 4)], &[], &[])) {
        Error::Denied(text) => assert!(text.contains('a'), "{text}"),
        other => panic!("{other}"),
    }
    // A name that only begins like it is another stream.
    put(&mut *store, &[rows("ab", 1, 1)]);
    assert_eq!(all_rows(&mut *store, "a").len(), 3);
    // A stream may be frozen before its first row.
    store.append(&[], &[], &[object(ObjectKind::Frozen, "new", b"", None)]).unwrap();
    assert!(matches!(refused(&mut *store, |s| s.append(&[rows("new", 1, 1)], &[], &[])), Error::Denied(_)));
}
