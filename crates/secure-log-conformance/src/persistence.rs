//! What stays: reopening, tiles, copies.

use secure_log::error::Error;
use secure_log::store::{ObjectKind, Tile};

use crate::fixture::{conflict, contents, following, head, object, open, put, refused, row, rows};
use crate::{AnyStore, Stores};

/// Something of everything.
fn fill(store: &mut dyn AnyStore) {
    let mut special = row("b", 1);
    special.id = Some("id-1".into());
    special.payload = None;
    let writes = ObjectKind::ALL.map(|kind| object(kind, "key/1", kind.name().as_bytes(), None));
    store.append(&[rows("a", 1, 300), following("b", vec![special])], &[], &writes).unwrap();
    put(store, &[rows("a", 301, 310), rows("日本", 1, 2)]);
    store.append(&[], &[], &[object(ObjectKind::State, "key/1", b"new", Some(b"state"))]).unwrap();
    store.append(&[], &[], &[object(ObjectKind::Frozen, "b", b"", None)]).unwrap();
}

pub fn an_empty_configuration_is_invalid(stores: &mut dyn Stores) {
    match stores.open_config("") {
        Err(Error::Invalid(invalid)) => assert_eq!(invalid.field, "config"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    }
}

pub fn everything_is_there_after_reopening(stores: &mut dyn Stores) {
    let mut store = open(stores);
    fill(&mut *store);
    let before = contents(&mut *store);
    store.close_boxed().unwrap();
    if !stores.persistent() {
        return;
    }
    for round in 0..3 {
        let mut store = open(stores);
        if round == 0 {
            assert_eq!(contents(&mut *store), before);
        }
        assert_eq!(store.find_id("b", "id-1").unwrap(), Some(1));
        assert!(matches!(refused(&mut *store, |s| s.append(&[rows("b", 2, 2)], &[], &[])), Error::Denied(_)));
        conflict(&mut *store, |s| s.append(&[rows("a", 310, 310)], &[], &[]));
        put(&mut *store, &[rows("a", 311 + round, 311 + round)]);
        store.close_boxed().unwrap();
    }
    assert_eq!(open(stores).head("a").unwrap(), Some(head("a", 313)));
}

pub fn tiles_are_kept_and_replaced(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 1), rows("b", 1, 1)]);
    let tile = |level, index, hashes: usize, fill| Tile { level, index, hashes: vec![fill; hashes * 32] };
    store
        .write_tiles("a", &[tile(1, 0, 256, 1), tile(1, 1, 3, 2), tile(2, 0, 1, 3), tile(1, 1 << 40, 7, 4)])
        .unwrap();
    store.write_tiles("b", &[tile(1, 0, 5, 5)]).unwrap();
    store.write_tiles("a", &[tile(1, 1, 4, 6)]).unwrap();
    store.write_tiles("a", &[]).unwrap();
    assert_eq!(store.read_tile("a", 1, 0).unwrap(), Some(vec![1; 256 * 32]));
    assert_eq!(store.read_tile("a", 1, 1).unwrap(), Some(vec![6; 4 * 32]));
    assert_eq!(store.read_tile("a", 2, 0).unwrap(), Some(vec![3; 32]));
    assert_eq!(store.read_tile("a", 1, 1 << 40).unwrap(), Some(vec![4; 7 * 32]));
    assert_eq!(store.read_tile("b", 1, 0).unwrap(), Some(vec![5; 5 * 32]));
    assert_eq!(store.read_tile("b", 1, 1).unwrap(), None);
    assert_eq!(store.read_tile("a", 3, 0).unwrap(), None);
    // They are no rows.
    assert_eq!(store.list_heads(None, 10).unwrap(), [head("a", 1), head("b", 1)]);
    put(&mut *store, &[rows("a", 2, 2)]);
}

pub fn a_copy_is_a_store(stores: &mut dyn Stores) {
    let Some(target) = stores.copy_config(1) else { return };
    let mut store = open(stores);
    fill(&mut *store);
    store.backup(&target).unwrap();
    let before = contents(&mut *store);
    // Both are open at once: nobody holds the copy.
    let mut copy = stores.open_config(&target).unwrap();
    assert_eq!(contents(&mut *copy), before);
    assert_eq!(copy.find_id("b", "id-1").unwrap(), Some(1));
    assert_eq!(contents(&mut *store), before);
}

pub fn a_copy_goes_its_own_way(stores: &mut dyn Stores) {
    let Some(target) = stores.copy_config(1) else { return };
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5)]);
    store.backup(&target).unwrap();
    put(&mut *store, &[rows("a", 6, 9)]);
    let mut copy = stores.open_config(&target).unwrap();
    assert_eq!(copy.head("a").unwrap(), Some(head("a", 5)));
    put(&mut *copy, &[rows("a", 6, 6), rows("b", 1, 1)]);
    assert_eq!(store.head("a").unwrap(), Some(head("a", 9)));
    assert_eq!(store.head("b").unwrap(), None);
    copy.close_boxed().unwrap();
}

pub fn a_copy_replaces_nothing(stores: &mut dyn Stores) {
    let (Some(target), Some(second)) = (stores.copy_config(1), stores.copy_config(2)) else { return };
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 5)]);
    store.backup(&target).unwrap();
    put(&mut *store, &[rows("a", 6, 6)]);
    match refused(&mut *store, |s| s.backup(&target)) {
        Error::Conflict(_) => {}
        other => panic!("{other}"),
    }
    let mut copy = stores.open_config(&target).unwrap();
    assert_eq!(copy.head("a").unwrap(), Some(head("a", 5)));
    copy.close_boxed().unwrap();
    assert!(matches!(refused(&mut *store, |s| s.backup("")), Error::Invalid(_)));
    store.backup(&second).unwrap();
}
