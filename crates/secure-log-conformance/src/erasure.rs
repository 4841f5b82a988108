//! Payloads are erased, and nothing else.

use secure_log::model::QueryFilter;
use secure_log::store::ObjectKind;

use crate::fixture::{all_found, all_rows, following, object, open, put, row, rows};
use crate::{AnyStore, Stores};

/// Rows of `stream` come back as they were written, without the payloads of `erased`.
fn holds(store: &mut dyn AnyStore, stream: &str, head: u64, erased: impl Fn(u64) -> bool) {
    let expected: Vec<_> = (1..=head)
        .map(|seqno| {
            let mut row = row(stream, seqno);
            row.payload = row.payload.filter(|_| !erased(seqno));
            row
        })
        .collect();
    assert_eq!(all_rows(store, stream), expected);
}

pub fn erased_payloads_are_gone_and_nothing_else_is(stores: &mut dyn Stores) {
    let mut store = open(stores);
    for batch in 0..4 {
        put(&mut *store, &[rows("a", batch * 5 + 1, batch * 5 + 5), rows("b", batch * 2 + 1, batch * 2 + 2)]);
    }
    let mut named = row("a", 21);
    named.id = Some("named".into());
    put(&mut *store, &[following("a", vec![named.clone()])]);
    assert_eq!(store.erase_payloads("a", 4, 12).unwrap(), 9);
    holds(&mut *store, "b", 8, |_| false);
    let mut found = all_rows(&mut *store, "a");
    assert_eq!(found.pop(), Some(named));
    assert!(found.iter().all(|row| row.payload.is_none() == (4..=12).contains(&row.seqno)));
    assert_eq!(store.erase_payloads("a", 21, 21).unwrap(), 1);
    assert_eq!(store.find_id("a", "named").unwrap(), Some(21));
    let filter = QueryFilter { stream_id: Some("a".into()), ..QueryFilter::default() };
    assert_eq!(all_found(&mut *store, &filter, 7).len(), 21);
    assert!(store.read_rows("a", 4, 3, false).unwrap().iter().all(|row| row.payload.is_none()));
}

pub fn an_erasure_can_be_run_again(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 9)]);
    assert_eq!(store.erase_payloads("a", 2, 4).unwrap(), 3);
    assert_eq!(store.erase_payloads("a", 2, 4).unwrap(), 0);
    assert_eq!(store.erase_payloads("a", 1, 6).unwrap(), 3, "those that were still there");
    assert_eq!(store.erase_payloads("a", 8, 8).unwrap(), 1);
    holds(&mut *store, "a", 9, |seqno| seqno <= 6 || seqno == 8);
}

pub fn an_erasure_ends_at_the_head(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 3)]);
    assert_eq!(store.erase_payloads("nobody", 1, 3).unwrap(), 0);
    assert_eq!(store.erase_payloads("a", 4, u64::MAX).unwrap(), 0);
    assert_eq!(store.erase_payloads("a", 3, 2).unwrap(), 0);
    assert_eq!(store.erase_payloads("a", 0, u64::MAX).unwrap(), 3);
    put(&mut *store, &[rows("a", 4, 4)]);
    holds(&mut *store, "a", 4, |seqno| seqno <= 3);
}

pub fn a_frozen_stream_can_be_erased(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 3)]);
    store.append(&[], &[], &[object(ObjectKind::Frozen, "a", b"x", None)]).unwrap();
    assert_eq!(store.erase_payloads("a", 1, 3).unwrap(), 3);
    holds(&mut *store, "a", 3, |_| true);
}

pub fn entries_follow_an_erasure(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5)]);
    store.erase_payloads("a", 1, 5).unwrap();
    put(&mut *store, &[rows("a", 6, 8), rows("b", 1, 2)]);
    holds(&mut *store, "a", 8, |seqno| seqno <= 5);
    holds(&mut *store, "b", 2, |_| false);
}

pub fn an_erasure_is_there_after_reopening(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5)]);
    store.erase_payloads("a", 2, 3).unwrap();
    store.erase_payloads("a", 5, 5).unwrap();
    put(&mut *store, &[rows("a", 6, 6)]);
    store.close_boxed().unwrap();
    if stores.persistent() {
        let mut store = open(stores);
        holds(&mut *store, "a", 6, |seqno| [2, 3, 5].contains(&seqno));
        assert_eq!(store.erase_payloads("a", 1, 6).unwrap(), 3);
    }
}

pub fn a_copy_has_no_erased_payloads(stores: &mut dyn Stores) {
    let Some(config) = stores.copy_config(1) else { return };
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5)]);
    store.erase_payloads("a", 2, 3).unwrap();
    store.backup(&config).unwrap();
    let mut copy = stores.open_config(&config).unwrap();
    holds(&mut *copy, "a", 5, |seqno| (2..=3).contains(&seqno));
    copy.close_boxed().unwrap();
    holds(&mut *store, "a", 5, |seqno| (2..=3).contains(&seqno));
}
