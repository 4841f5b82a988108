//! Rows to append, and what must hold of a store that has them.

#![allow(dead_code, clippy::unwrap_used, reason = "helpers of several test programs")]

use std::path::Path;

use rusqlite::Connection;
use secure_log::model::StreamHead;
use secure_log::store::{OpenStore, Row, SecureLogStore, StreamAppend};
use secure_log_sqlite::SqliteSecureLogStore;

/// Hash of entry `seqno`; it tells who wrote it.
pub fn hash(seqno: u64, writer: u64) -> [u8; 32] {
    let mut hash = [0x5A; 32];
    hash[..8].copy_from_slice(&seqno.to_be_bytes());
    hash[8..16].copy_from_slice(&writer.to_be_bytes());
    hash
}

/// A row of 250 bytes; the payload follows from number and writer.
pub fn row(seqno: u64, writer: u64) -> Row {
    Row {
        seqno,
        entry_hash: hash(seqno, writer),
        header: format!("header {seqno} {writer} {}", "h".repeat(150)).into_bytes(),
        payload: Some(payload(seqno, writer)),
        time_ms: 1_700_000_000_000 + seqno,
        severity: (seqno % 8) as u8,
        event_type: "door.opened".into(),
        producer: format!("device-{}", seqno % 7),
        id: None,
    }
}

fn payload(seqno: u64, writer: u64) -> Vec<u8> {
    format!("payload {seqno} of {writer} ").into_bytes().repeat(1 + seqno as usize % 9)
}

/// `count` rows after `head`.
pub fn after(stream: &str, head: Option<StreamHead>, count: u64, writer: u64) -> StreamAppend {
    let prior = head.unwrap_or_else(|| StreamHead::empty(stream));
    let rows = (prior.seqno + 1..=prior.seqno + count).map(|seqno| row(seqno, writer)).collect();
    StreamAppend { prior, rows }
}

/// Opens, or panics saying why not.
pub fn open(config: &str) -> SqliteSecureLogStore {
    SqliteSecureLogStore::open(config).unwrap_or_else(|e| panic!("{config}: {e}"))
}

/// All rows of a stream; each is checked to be complete, and the numbers to have no gap.
pub fn whole_stream(store: &mut SqliteSecureLogStore, stream: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let page = store.read_rows(stream, rows.len() as u64 + 1, 1_000, true).unwrap();
        if page.is_empty() {
            break;
        }
        for row in page {
            assert_eq!(row.seqno, rows.len() as u64 + 1, "a gap or a double");
            let writer = u64::from_be_bytes(row.entry_hash[8..16].try_into().unwrap());
            let expected = Row { id: row.id.clone(), ..self::row(row.seqno, writer) };
            assert!(row == expected, "entry {} is not what was appended", row.seqno);
            rows.push(row);
        }
    }
    let head = store.head(stream).unwrap();
    assert_eq!(head.map_or(0, |head| head.seqno), rows.len() as u64);
    rows
}

/// SQLite's own opinion of a closed file.
pub fn integrity(path: &Path) {
    let conn = Connection::open(path).unwrap();
    let answer: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(answer, "ok");
}
