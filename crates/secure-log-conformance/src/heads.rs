//! Heads: the compare-and-set of streams.

use secure_log::model::StreamHead;
use secure_log::store::StreamAppend;

use crate::Stores;
use crate::fixture::{all_rows, conflict, hash, head, open, put, refused, row, rows};

pub fn a_wrong_prior_head_is_a_conflict(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5)]);
    // Behind, ahead, beside, and as if the stream were new.
    let beside = StreamHead { entry_hash: hash("b", 5), ..head("a", 5) };
    for prior in [head("a", 4), head("a", 6), beside, head("a", 0)] {
        let append = StreamAppend { rows: vec![row("a", prior.seqno + 1)], prior: prior.clone() };
        let refusal = conflict(&mut *store, |s| s.append(&[append], &[], &[]));
        assert_eq!(refusal.stream_id, "a", "{prior:?}");
        assert_eq!(refusal.actual, Some(head("a", 5)), "{prior:?}");
    }
    let refusal = conflict(&mut *store, |s| s.append(&[rows("new", 4, 4)], &[], &[]));
    assert_eq!(refusal.stream_id, "new");
    assert_eq!(refusal.actual, None);
    put(&mut *store, &[rows("a", 6, 6)]);
}

pub fn a_conflict_says_nothing_of_payloads(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 2)]);
    let mut append = rows("a", 2, 2);
    append.rows[0].payload = Some(b"hunter2-secret".to_vec());
    let error = refused(&mut *store, |s| s.append(&[append], &[], &[]));
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

pub fn an_expected_head_must_hold(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5), rows("b", 1, 2)]);
    store.append(&[rows("b", 3, 3)], &[head("a", 5)], &[]).unwrap();
    let beside = StreamHead { entry_hash: hash("b", 5), ..head("a", 5) };
    for wrong in [head("a", 4), head("a", 6), beside, head("a", 0)] {
        let refusal = conflict(&mut *store, |s| s.append(&[rows("b", 4, 4)], &[wrong], &[]));
        assert_eq!(refusal.stream_id, "a");
        assert_eq!(refusal.actual, Some(head("a", 5)));
    }
}

pub fn an_expected_absence_must_hold(stores: &mut dyn Stores) {
    let mut store = open(stores);
    store.append(&[rows("a", 1, 1)], &[head("none", 0)], &[]).unwrap();
    let refusal = conflict(&mut *store, |s| s.append(&[rows("b", 1, 1)], &[head("a", 0)], &[]));
    assert_eq!(refusal.actual, Some(head("a", 1)));
    let refusal = conflict(&mut *store, |s| s.append(&[rows("b", 1, 1)], &[head("none", 3)], &[]));
    assert_eq!((refusal.stream_id.as_str(), refusal.actual), ("none", None));
}

pub fn expectations_are_about_the_time_before(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5)]);
    store.append(&[rows("a", 6, 6)], &[head("a", 5)], &[]).unwrap();
    conflict(&mut *store, |s| s.append(&[rows("a", 7, 7)], &[head("a", 7)], &[]));
}

pub fn many_streams_are_one_transaction(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 3), rows("b", 1, 3), rows("c", 1, 3)]);
    put(&mut *store, &[rows("c", 4, 5), rows("a", 4, 4), rows("d", 1, 2)]);
    for (stream, seqno) in [("a", 4), ("b", 3), ("c", 5), ("d", 2)] {
        assert_eq!(store.head(stream).unwrap(), Some(head(stream, seqno)));
    }
    // The last one is refused: none of them is written.
    conflict(&mut *store, |s| s.append(&[rows("a", 5, 6), rows("new", 1, 2), rows("b", 3, 3)], &[], &[]));
    assert_eq!(store.head("new").unwrap(), None);
    put(&mut *store, &[rows("a", 5, 6), rows("new", 1, 2), rows("b", 4, 4)]);
    assert_eq!(all_rows(&mut *store, "a"), rows("a", 1, 6).rows);
}

pub fn an_append_of_nothing_checks_what_is_expected(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 1)]);
    store.append(&[], &[], &[]).unwrap();
    store.append(&[], &[head("a", 1)], &[]).unwrap();
    conflict(&mut *store, |s| s.append(&[], &[head("a", 2)], &[]));
}

pub fn heads_are_listed_bytewise(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let mut names =
        ["b", "a", "A", "_log", "ab", "ä", "a%", "a_", "日本", "\u{E000}", "\u{10FFFF}", "a b", "9"];
    let appends: Vec<_> = names.iter().enumerate().map(|(i, name)| rows(name, 1, 1 + i as u64)).collect();
    put(&mut *store, &appends);
    let mut expected: Vec<_> = names.iter().enumerate().map(|(i, name)| head(name, 1 + i as u64)).collect();
    expected.sort_by(|x, y| x.stream_id.as_bytes().cmp(y.stream_id.as_bytes()));
    assert_eq!(store.list_heads(None, 1_000).unwrap(), expected);
    names.sort();
    assert_eq!(names.to_vec(), expected.iter().map(|head| head.stream_id.as_str()).collect::<Vec<_>>());
}

pub fn heads_are_listed_in_pages(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let names: Vec<_> = (0..25).map(|i| format!("s{i:02}")).collect();
    put(&mut *store, &names.iter().map(|name| rows(name, 1, 1)).collect::<Vec<_>>());
    let mut listed: Vec<String> = Vec::new();
    loop {
        let page = store.list_heads(listed.last().map(String::as_str), 7).unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|head| head.stream_id));
    }
    assert_eq!(listed, names);
    // `after` need not be a stream.
    assert_eq!(store.list_heads(Some("s03x"), 1).unwrap()[0].stream_id, "s04");
    assert_eq!(store.list_heads(Some("zzz"), 1).unwrap(), []);
}
