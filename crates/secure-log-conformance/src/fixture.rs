//! Rows to store, and a look at everything that a store holds.

use std::collections::BTreeMap;

use secure_log::error::{Conflict, Error, Result};
use secure_log::model::{QueryFilter, StreamHead};
use secure_log::store::{FoundRow, Object, ObjectKind, ObjectWrite, Row, StreamAppend};

use crate::{AnyStore, Stores};

/// Opens the store under test.
pub fn open(stores: &mut dyn Stores) -> Box<dyn AnyStore> {
    stores.open().unwrap_or_else(|e| panic!("the store under test does not open: {e}"))
}

/// 32 bytes that differ for each stream and number.
pub fn hash(stream: &str, seqno: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&seqno.to_be_bytes());
    for (i, byte) in stream.bytes().enumerate() {
        let at = 8 + i % 24;
        hash[at] = hash[at].wrapping_mul(31).wrapping_add(byte);
    }
    hash
}

/// A row with something of its own in every field.
pub fn row(stream: &str, seqno: u64) -> Row {
    Row {
        seqno,
        entry_hash: hash(stream, seqno),
        header: format!("\0\n\"header\" {seqno} of {stream}\u{FF}").into_bytes(),
        payload: Some(format!("payload {seqno} of {stream}").into_bytes()),
        time_ms: 1_700_000_000_000 + seqno,
        severity: (seqno % 8) as u8,
        event_type: format!("type.{}", seqno % 3),
        producer: format!("producer-{}", seqno % 5),
        id: None,
    }
}

/// Head of a stream whose last row is `row(stream, seqno)`.
pub fn head(stream: &str, seqno: u64) -> StreamHead {
    match seqno {
        0 => StreamHead::empty(stream),
        _ => StreamHead { stream_id: stream.into(), seqno, entry_hash: hash(stream, seqno) },
    }
}

/// Appends these rows after the one before the first.
pub fn following(stream: &str, rows: Vec<Row>) -> StreamAppend {
    StreamAppend { prior: head(stream, rows.first().map_or(0, |row| row.seqno - 1)), rows }
}

/// Appends rows `from` to `to`.
pub fn rows(stream: &str, from: u64, to: u64) -> StreamAppend {
    following(stream, (from..=to).map(|seqno| row(stream, seqno)).collect())
}

/// Appends this.
pub fn put(store: &mut dyn AnyStore, appends: &[StreamAppend]) {
    store.append(appends, &[], &[]).unwrap_or_else(|e| panic!("a good append was refused: {e}"));
}

/// Writes this object.
pub fn object(kind: ObjectKind, key: &str, value: &[u8], expected: Option<&[u8]>) -> ObjectWrite {
    ObjectWrite { kind, key: key.into(), value: value.into(), expected: expected.map(Into::into) }
}

/// Everything that a store holds, tiles apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    heads: Vec<StreamHead>,
    rows: BTreeMap<String, Vec<Row>>,
    objects: Vec<Object>,
    found: Vec<(String, u64)>,
}

/// All rows of a stream, page by page.
pub fn all_rows(store: &mut dyn AnyStore, stream: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let from = rows.last().map_or(1, |row| row.seqno + 1);
        let page = store.read_rows(stream, from, 1_000, true).unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// All rows that match, page by page.
pub fn all_found(store: &mut dyn AnyStore, filter: &QueryFilter, limit: u32) -> Vec<FoundRow> {
    let (mut rows, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = store.query(filter, cursor.as_deref(), limit).unwrap();
        assert!(page.rows.len() <= limit as usize, "a page of {} rows for limit {limit}", page.rows.len());
        assert!(page.next.is_none() || !page.rows.is_empty(), "an empty page that goes on");
        rows.extend(page.rows);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return rows,
        }
    }
}

/// Reads everything.
pub fn contents(store: &mut dyn AnyStore) -> Contents {
    let mut heads: Vec<StreamHead> = Vec::new();
    loop {
        let after = heads.last().map(|head| head.stream_id.clone());
        let page = store.list_heads(after.as_deref(), 1_000).unwrap();
        if page.is_empty() {
            break;
        }
        heads.extend(page);
    }
    let rows = heads.iter().map(|h| (h.stream_id.clone(), all_rows(store, &h.stream_id))).collect();
    let mut objects: Vec<Object> = Vec::new();
    for kind in ObjectKind::ALL {
        let mut after: Option<String> = None;
        loop {
            let page = store.list_objects(kind, "", after.as_deref(), 1_000).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            objects.extend(page);
        }
    }
    let found = all_found(store, &QueryFilter::default(), 1_000)
        .into_iter()
        .map(|found| (found.stream_id, found.row.seqno))
        .collect();
    Contents { heads, rows, objects, found }
}

/// The call is refused, and nothing was written; gives the error.
pub fn refused<T: std::fmt::Debug>(
    store: &mut dyn AnyStore,
    call: impl FnOnce(&mut dyn AnyStore) -> Result<T>,
) -> Error {
    let before = contents(store);
    let error = match call(store) {
        Err(e) => e,
        Ok(value) => panic!("taken, but it should be refused: {value:?}"),
    };
    assert_eq!(contents(store), before, "refused with \"{error}\", but something was written");
    error
}

/// As `refused`, with `Conflict`.
pub fn conflict<T: std::fmt::Debug>(
    store: &mut dyn AnyStore,
    call: impl FnOnce(&mut dyn AnyStore) -> Result<T>,
) -> Conflict {
    match refused(store, call) {
        Error::Conflict(conflict) => conflict,
        other => panic!("refused with \"{other}\", not as a conflict"),
    }
}

/// Pseudo-random numbers, the same each time (an LCG; Knuth, MMIX).
pub struct Random(pub u64);

impl Random {
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
