//! Limits, and numbers and names at the edge.

use secure_log::error::Error;
use secure_log::limits::{MAX_HEADER, MAX_PAYLOAD};
use secure_log::model::{QueryFilter, StreamHead};
use secure_log::store::{ObjectKind, Tile};

use crate::Stores;
use crate::fixture::{
    all_found, all_rows, conflict, contents, following, head, object, open, put, row, rows,
};

pub fn a_batch_of_ten_thousand_rows_is_taken(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 9_000), rows("b", 1, 1_000)]);
    assert_eq!(all_rows(&mut *store, "a"), rows("a", 1, 9_000).rows);
    assert_eq!(store.head("b").unwrap(), Some(head("b", 1_000)));
}

pub fn a_page_has_at_most_a_thousand_rows(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 1_500)]);
    assert_eq!(store.read_rows("a", 1, u32::MAX, false).unwrap().len(), 1_000);
    let page = store.query(&QueryFilter::default(), None, u32::MAX).unwrap();
    assert_eq!(page.rows.len(), 1_000);
    assert!(page.next.is_some());
}

pub fn a_page_has_at_most_four_mebibytes(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let large = |n: u64| {
        let mut row = row("a", n);
        row.payload = Some(vec![n as u8; 1 << 20]);
        row.header = vec![n as u8; 60_000];
        row
    };
    let appended: Vec<_> = (1..=6).map(large).collect();
    put(&mut *store, &[following("a", appended.clone())]);
    let page = store.read_rows("a", 1, 1_000, true).unwrap();
    assert!((1..=4).contains(&page.len()), "{} rows of 1 MiB in a page", page.len());
    assert_eq!(all_rows(&mut *store, "a"), appended);
    assert_eq!(store.read_rows("a", 1, 1_000, false).unwrap().len(), 6);
    // The same for rows that are found: 100 headers of 60,000 bytes are more than a page.
    let wide: Vec<_> = (1..=100)
        .map(|n| {
            let mut row = row("b", n);
            row.header = vec![n as u8; 60_000];
            row
        })
        .collect();
    put(&mut *store, &[following("b", wide)]);
    let filter = QueryFilter { stream_id: Some("b".into()), ..QueryFilter::default() };
    let page = store.query(&filter, None, 1_000).unwrap();
    assert!((1..=70).contains(&page.rows.len()) && page.next.is_some(), "{} rows", page.rows.len());
    assert_eq!(all_found(&mut *store, &filter, 1_000).len(), 100);
}

pub fn the_largest_row_is_taken(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let mut largest = row("a", 1);
    largest.header = vec![0xA5; MAX_HEADER];
    largest.payload = Some((0..MAX_PAYLOAD + 32).map(|i| (i % 251) as u8).collect());
    put(&mut *store, &[following("a", vec![largest.clone(), row("a", 2)])]);
    // Alone it is more than a page, and is still given.
    let page = store.read_rows("a", 1, 10, true).unwrap();
    assert!(page.len() == 1 && page[0] == largest);
    assert_eq!(store.read_rows("a", 2, 10, true).unwrap(), [row("a", 2)]);
}

pub fn numbers_never_wrap(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 1)]);
    for time_ms in [i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let stream = format!("time {time_ms}");
        let mut row = row(&stream, 1);
        row.time_ms = time_ms;
        let before = contents(&mut *store);
        match store.append(&[following(&stream, vec![row.clone()])], &[], &[]) {
            Ok(()) => assert_eq!(store.read_rows(&stream, 1, 1, true).unwrap(), [row]),
            Err(Error::Invalid(_)) => assert_eq!(contents(&mut *store), before),
            Err(other) => panic!("{other}"),
        }
    }
    for seqno in [i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let ahead = StreamHead { stream_id: "a".into(), seqno, entry_hash: [1; 32] };
        let refusal = conflict(&mut *store, |s| s.append(&[], std::slice::from_ref(&ahead), &[]));
        assert_eq!(refusal.actual, Some(head("a", 1)));
        assert_eq!(store.read_rows("a", seqno, 10, false).unwrap(), []);
        assert_eq!(store.read_tile("a", 1, seqno).unwrap(), None);
        let tile = Tile { level: 1, index: seqno, hashes: vec![3; 32] };
        match store.write_tiles("a", &[tile]) {
            Ok(()) => assert_eq!(store.read_tile("a", 1, seqno).unwrap(), Some(vec![3; 32])),
            Err(Error::Invalid(_)) => assert_eq!(store.read_tile("a", 1, seqno).unwrap(), None),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(store.read_tile("a", 1, 0).unwrap(), None);
    }
    let filter = |from, to| QueryFilter {
        stream_id: Some("a".into()),
        from_ms: Some(from),
        to_ms: Some(to),
        ..QueryFilter::default()
    };
    assert_eq!(store.query(&filter(0, u64::MAX), None, 10).unwrap().rows.len(), 1);
    assert_eq!(store.query(&filter(u64::MAX, u64::MAX), None, 10).unwrap().rows.len(), 0);
    assert_eq!(store.query(&filter(u64::MAX, 0), None, 10).unwrap().rows.len(), 0);
}

pub fn odd_names_are_only_names(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let emoji = "😀".repeat(63);
    let names = [
        ".",
        "..",
        "/",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "C:",
        "con",
        " ",
        "a ",
        "a\tb",
        "a\nb",
        "\u{1}",
        "\u{7F}",
        "\u{202E}abc",
        "'",
        "\"",
        "a'b",
        "%",
        "%2F",
        "%00",
        "*",
        "?",
        "#",
        "\u{FEFF}",
        "e\u{301}",
        "é",
        "{}",
        "null",
        &emoji,
    ];
    put(&mut *store, &names.map(|name| rows(name, 1, 2)));
    put(&mut *store, &names.map(|name| rows(name, 3, 3)));
    for name in names {
        assert_eq!(store.head(name).unwrap(), Some(head(name, 3)), "{name:?}");
        assert_eq!(all_rows(&mut *store, name), rows(name, 1, 3).rows, "{name:?}");
        store.append(&[], &[], &[object(ObjectKind::Stream, name, name.as_bytes(), None)]).unwrap();
        assert_eq!(store.read_object(ObjectKind::Stream, name).unwrap().as_deref(), Some(name.as_bytes()));
    }
    assert_eq!(store.list_heads(None, 1_000).unwrap().len(), names.len());
}
