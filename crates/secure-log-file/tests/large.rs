//! Time and memory of large files.
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod common;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use common::*;
use secure_log::Error;
use secure_log::model::{QueryFilter, Severity};
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log_file::FileSecureLogStore;

/// These tests measure the memory of the process, so they take turns.
static ALONE: Mutex<()> = Mutex::new(());

/// A file of junk must not take more memory than it has bytes, nor more time than to read it.
#[test]
fn a_file_full_of_junk_is_read_in_little_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    small_store(&path);
    let good = std::fs::read(&path).unwrap();
    for junk in ["\n", "x\n", "{\"commit\":,\"heads\":[\n", "{\"stream\":\"app\",\"seqno\":4,\n"] {
        let lines = 8_000_000 / junk.len();
        std::fs::write(&path, [&good[..], junk.repeat(lines).as_bytes()].concat()).unwrap();
        let before = resident();
        let started = std::time::Instant::now();
        let mut store = open(&path).unwrap();
        let grown = resident().saturating_sub(before);
        assert!(grown < 40_000_000, "{junk:?}: {grown} bytes more");
        for refused in [
            store.append(&[rows_after(new_stream("zz"), 1, "zz")], &[], &[]).err(),
            store.query(&QueryFilter::default(), Some(&good.len().to_string()), 10).err(),
        ] {
            assert!(matches!(refused, Some(Error::Corrupt(_))), "{junk:?}: {refused:?}");
        }
        assert!(store.read_rows("app", 1, 10, true).unwrap().len() >= 3);
        assert!(started.elapsed().as_secs() < 60);
        store.close().unwrap();
    }
}

/// `SECURE_LOG_FILE_ENTRIES` sets how many; the figures are printed with `--nocapture`.
#[test]
fn a_large_store_opens_again() {
    let entries: u64 =
        std::env::var("SECURE_LOG_FILE_ENTRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let mut store = open(&path).unwrap();
    let started = Instant::now();
    let mut heads = [new_stream("a"), new_stream("b")];
    let mut written = 0;
    while written < entries {
        let batch: Vec<_> = heads
            .iter()
            .map(|h| {
                let mut a = rows_after(h.clone(), 500, "web");
                for row in &mut a.rows {
                    row.header = vec![row.seqno as u8; 250];
                    row.payload = Some(vec![row.seqno as u8; 256]);
                }
                a
            })
            .collect();
        store.append(&batch, &[], &[]).unwrap();
        for (head, a) in heads.iter_mut().zip(&batch) {
            let last = &a.rows[a.rows.len() - 1];
            (head.seqno, head.entry_hash) = (last.seqno, last.entry_hash);
        }
        written += 1000;
    }
    let wrote = started.elapsed();
    store.close().unwrap();

    let before = resident();
    let started = Instant::now();
    let mut store = open(&path).unwrap();
    let opened = started.elapsed();
    let grown = resident().saturating_sub(before);
    assert_eq!(store.list_heads(None, 10).unwrap(), heads);

    let started = Instant::now();
    let mut read = 0;
    for head in &heads {
        let mut next = 1;
        loop {
            let rows = store.read_rows(&head.stream_id, next, 1000, true).unwrap();
            let Some(last) = rows.last() else { break };
            for row in &rows {
                assert!(
                    row.header == [row.seqno as u8; 250]
                        && row.payload.as_deref() == Some(&[row.seqno as u8; 256])
                );
            }
            next = last.seqno + 1;
            read += rows.len() as u64;
        }
    }
    assert_eq!(read, entries);
    let read = started.elapsed();
    let started = Instant::now();
    let mut cursor = None;
    let mut found = 0;
    loop {
        let filter = QueryFilter { min_severity: Some(Severity::Emergency), ..QueryFilter::default() };
        let page = store.query(&filter, cursor.as_deref(), 1000).unwrap();
        found += page.rows.len() as u64;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, entries / 8);
    println!(
        "{entries} entries, {} MB: written in {wrote:?}, opened in {opened:?} ({} lines/s, {} MB more resident), \
         read with payloads in {read:?}, scanned in {:?}",
        std::fs::metadata(&path).unwrap().len() / 1_000_000,
        (entries as f64 / opened.as_secs_f64()) as u64,
        grown / 1_000_000,
        started.elapsed(),
    );
    assert!(grown < 100_000_000, "{grown} bytes for {entries} entries");
    store.close().unwrap();
    assert!(FileSecureLogStore::open(path.to_str().unwrap()).is_ok());
}
