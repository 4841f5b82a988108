//! The object map.

use secure_log::error::Error;
use secure_log::store::{Object, ObjectKind};

use crate::Stores;
use crate::fixture::{conflict, head, object, open, put, refused, rows};

pub fn most_objects_are_created_once(stores: &mut dyn Stores) {
    let mut store = open(stores);
    for kind in ObjectKind::ALL.into_iter().filter(|kind| kind.create_only()) {
        store.append(&[], &[], &[object(kind, "k", b"one", None)]).unwrap();
        conflict(&mut *store, |s| s.append(&[], &[], &[object(kind, "k", b"two", None)]));
        conflict(&mut *store, |s| s.append(&[], &[], &[object(kind, "k", b"one", None)]));
        // Not even by somebody who knows what is there.
        for expected in [&b"one"[..], b"other"] {
            match refused(&mut *store, |s| s.append(&[], &[], &[object(kind, "k", b"two", Some(expected))])) {
                Error::Conflict(_) | Error::Invalid(_) | Error::Denied(_) => {}
                other => panic!("{kind:?}: {other}"),
            }
        }
        assert_eq!(store.read_object(kind, "k").unwrap().as_deref(), Some(&b"one"[..]));
    }
}

pub fn state_is_replaced_under_compare_and_set(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let kind = ObjectKind::State;
    conflict(&mut *store, |s| s.append(&[], &[], &[object(kind, "k", b"1", Some(b"0"))]));
    store.append(&[], &[], &[object(kind, "k", b"1", None)]).unwrap();
    conflict(&mut *store, |s| s.append(&[], &[], &[object(kind, "k", b"2", None)]));
    conflict(&mut *store, |s| s.append(&[], &[], &[object(kind, "k", b"2", Some(b"0"))]));
    conflict(&mut *store, |s| s.append(&[], &[], &[object(kind, "k", b"2", Some(b""))]));
    store.append(&[], &[], &[object(kind, "k", b"2", Some(b"1"))]).unwrap();
    assert_eq!(store.read_object(kind, "k").unwrap().as_deref(), Some(&b"2"[..]));
    // Empty is a value like any other.
    store.append(&[], &[], &[object(kind, "k", b"", Some(b"2"))]).unwrap();
    assert_eq!(store.read_object(kind, "k").unwrap().as_deref(), Some(&b""[..]));
    conflict(&mut *store, |s| s.append(&[], &[], &[object(kind, "k", b"3", None)]));
    store.append(&[], &[], &[object(kind, "k", &(0..=255).collect::<Vec<_>>(), Some(b""))]).unwrap();
}

pub fn a_refused_object_takes_the_rows_with_it(stores: &mut dyn Stores) {
    let mut store = open(stores);
    store.append(&[], &[], &[object(ObjectKind::Segment, "k", b"1", None)]).unwrap();
    let good = object(ObjectKind::State, "cursor", b"1", None);
    let bad = object(ObjectKind::Segment, "k", b"2", None);
    conflict(&mut *store, |s| s.append(&[rows("a", 1, 3)], &[], &[good.clone(), bad]));
    assert_eq!(store.head("a").unwrap(), None);
    store.append(&[rows("a", 1, 3)], &[], &[good]).unwrap();
    assert_eq!(store.head("a").unwrap(), Some(head("a", 3)));
}

pub fn refused_rows_take_the_objects_with_them(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 3)]);
    let write = object(ObjectKind::State, "k", b"1", None);
    conflict(&mut *store, |s| s.append(&[rows("a", 3, 3)], &[], &[write]));
    assert_eq!(store.read_object(ObjectKind::State, "k").unwrap(), None);
}

pub fn objects_of_different_kinds_do_not_meet(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let writes: Vec<_> =
        ObjectKind::ALL.into_iter().map(|kind| object(kind, "k", kind.name().as_bytes(), None)).collect();
    store.append(&[], &[], &writes).unwrap();
    for kind in ObjectKind::ALL {
        assert_eq!(store.read_object(kind, "k").unwrap().as_deref(), Some(kind.name().as_bytes()));
        let all = store.list_objects(kind, "", None, 10).unwrap();
        assert_eq!(all, [Object { kind, key: "k".into(), value: kind.name().into() }]);
    }
}

pub fn objects_are_listed_bytewise_by_prefix(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let kind = ObjectKind::State;
    let keys = [
        "",
        "a",
        "A",
        "aa",
        "ab",
        "a%",
        "a%b",
        "a_",
        "a_b",
        "axb",
        "a/1",
        "a/10",
        "a/2",
        "b",
        "ä",
        "äö",
        "日本",
        "日本語",
        "\u{D7FF}",
        "\u{D7FF}x",
        "\u{E000}",
        "\u{10FFFF}",
        "\u{10FFFF}z",
        "a\"b",
        "a\\b",
        "a\nb",
        "a*",
    ];
    let writes: Vec<_> = keys.iter().map(|key| object(kind, key, key.as_bytes(), None)).collect();
    store.append(&[], &[], &writes).unwrap();
    let mut sorted = keys.to_vec();
    sorted.sort_by(|x, y| x.as_bytes().cmp(y.as_bytes()));
    let prefixes = keys.iter().copied().chain(["a/", "%", "_", "nothing", "a%%", "\u{10FFFF}\u{10FFFF}"]);
    for prefix in prefixes {
        for after in [None, Some(""), Some("a"), Some("a%"), Some("a/10"), Some("ä"), Some("\u{10FFFF}")] {
            let expected: Vec<_> = sorted
                .iter()
                .filter(|key| {
                    key.starts_with(prefix) && after.is_none_or(|after| key.as_bytes() > after.as_bytes())
                })
                .map(|key| Object { kind, key: (*key).into(), value: (*key).into() })
                .collect();
            let listed = store.list_objects(kind, prefix, after, 1_000).unwrap();
            assert_eq!(listed, expected, "prefix {prefix:?}, after {after:?}");
        }
    }
}

pub fn objects_are_listed_in_pages(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let kind = ObjectKind::Receipt;
    let keys: Vec<_> = (0..2_500).map(|i| format!("k{i:05}")).collect();
    store
        .append(&[], &[], &keys.iter().map(|key| object(kind, key, b"v", None)).collect::<Vec<_>>())
        .unwrap();
    for limit in [7, 1_000, u32::MAX] {
        let mut listed: Vec<String> = Vec::new();
        loop {
            let page = store.list_objects(kind, "k0", listed.last().map(String::as_str), limit).unwrap();
            assert!(page.len() <= limit.min(1_000) as usize);
            if page.is_empty() {
                break;
            }
            listed.extend(page.into_iter().map(|object| object.key));
        }
        assert_eq!(listed, keys);
    }
    // 6 MiB of values are more than one page.
    let large = vec![7; 1 << 20];
    let writes: Vec<_> = (0..6).map(|i| object(kind, &format!("large{i}"), &large, None)).collect();
    store.append(&[], &[], &writes).unwrap();
    let page = store.list_objects(kind, "large", None, 1_000).unwrap();
    assert!((1..=4).contains(&page.len()), "{} objects of 1 MiB in a page", page.len());
}

pub fn the_last_object_of_a_prefix_is_found(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let kind = ObjectKind::Checkpoint;
    let keys = ["a/1", "a/2", "a/3", "a0", "b/9", "ä/1", "\u{10FFFF}1"];
    store.append(&[], &[], &keys.map(|key| object(kind, key, key.as_bytes(), None))).unwrap();
    let mut last = |prefix: &str| store.last_object(kind, prefix).unwrap().map(|object| object.key);
    assert_eq!(last("a/").as_deref(), Some("a/3"));
    assert_eq!(last("a").as_deref(), Some("a0"));
    assert_eq!(last("").as_deref(), Some("\u{10FFFF}1"));
    assert_eq!(last("\u{10FFFF}").as_deref(), Some("\u{10FFFF}1"));
    assert_eq!(last("a%"), None);
    assert_eq!(last("c"), None);
    assert_eq!(store.last_object(ObjectKind::State, "a/").unwrap(), None);
}
