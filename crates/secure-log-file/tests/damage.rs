//! Whatever happens to the files: nothing that was acknowledged disappears unsaid.
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::*;
use secure_log::Error;
use secure_log::model::QueryFilter;
use secure_log::store::{OpenStore, Row, SecureLogStore};
use secure_log_file::FileSecureLogStore;

/// What reading everything showed.
#[derive(Debug, Default)]
struct Findings {
    /// Entries that the store calls corrupt.
    entries: Vec<(String, u64)>,
    /// Whether objects are called corrupt.
    objects: bool,
    /// Rows or objects that came back changed: the core compares them with hashes.
    changed: bool,
    /// What is gone without a word.
    lost: Vec<String>,
    /// Whether writes are refused as corrupt.
    refuses: bool,
}

impl Findings {
    fn none(&self) -> bool {
        self.entries.is_empty() && !self.objects && !self.changed && self.lost.is_empty() && !self.refuses
    }
}

fn corrupt(e: Error) -> (String, u64) {
    match e {
        Error::Corrupt(c) => {
            assert!(!c.reason.is_empty() && !c.stream_id.is_empty());
            (c.stream_id, c.seqno)
        }
        other => panic!("not corrupt but {other:?}"),
    }
}

/// Reads all that was stored, in every way, and compares.
fn read_everything(store: &mut FileSecureLogStore, stored: &Stored) -> Findings {
    let mut f = Findings::default();
    let mut by_stream: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for (stream, row) in &stored.rows {
        by_stream.entry(stream).or_default().push(row);
    }
    for (stream, rows) in &by_stream {
        match store.head(stream) {
            Ok(head) => {
                let last = rows[rows.len() - 1];
                match head {
                    Some(h) if h.seqno == last.seqno => f.changed |= h.entry_hash != last.entry_hash,
                    _ => f.lost.push(format!("head of {stream}")),
                }
            }
            Err(e) => f.entries.push(corrupt(e)),
        }
        for row in rows {
            match store.read_rows(stream, row.seqno, 1, true) {
                Ok(found) => match found.first() {
                    Some(r) => f.changed |= r != *row,
                    None => f.lost.push(format!("{stream} {}", row.seqno)),
                },
                Err(e) => {
                    let (s, n) = corrupt(e);
                    // Behind the last entry that is known, the first unknown one is named.
                    assert!(s == *stream && n > 0 && n <= row.seqno, "{stream} {}: named {s} {n}", row.seqno);
                    f.entries.push((s, n));
                }
            }
            if let Some(id) = &row.id {
                match store.find_id(stream, id) {
                    Ok(Some(n)) => f.changed |= n != row.seqno,
                    Ok(None) => f.lost.push(format!("id {id}")),
                    Err(e) => f.entries.push(corrupt(e)),
                }
            }
        }
        // The pages of a stream end in damage or hold all of it.
        let mut next = 1;
        loop {
            match store.read_rows(stream, next, 3, true) {
                Ok(page) if page.is_empty() => {
                    if next <= rows.len() as u64 {
                        f.lost.push(format!("{stream} from {next}"));
                    }
                    break;
                }
                Ok(page) => next += page.len() as u64,
                Err(e) => {
                    f.entries.push(corrupt(e));
                    break;
                }
            }
        }
    }
    for filter_stream in std::iter::once(None).chain(by_stream.keys().map(|s| Some((*s).to_owned()))) {
        let wanted =
            stored.rows.iter().filter(|(s, _)| filter_stream.as_ref().is_none_or(|f| f == s)).count();
        let filter = QueryFilter { stream_id: filter_stream.clone(), ..QueryFilter::default() };
        let mut cursor = None;
        let mut count = 0;
        loop {
            match store.query(&filter, cursor.as_deref(), 2) {
                Ok(page) => {
                    count += page.rows.len();
                    cursor = page.next;
                    if cursor.is_none() {
                        if count < wanted {
                            f.lost.push(format!("{} rows of query {filter_stream:?}", wanted - count));
                        }
                        break;
                    }
                }
                Err(e) => {
                    f.entries.push(corrupt(e));
                    break;
                }
            }
        }
    }
    let mut after = None;
    let mut streams = 0;
    loop {
        match store.list_heads(after.as_deref(), 1) {
            Ok(page) => match page.last() {
                Some(last) => {
                    streams += 1;
                    after = Some(last.stream_id.clone());
                }
                None => {
                    if streams < by_stream.len() {
                        f.lost.push("a stream".into());
                    }
                    break;
                }
            },
            Err(e) => {
                f.entries.push(corrupt(e));
                break;
            }
        }
    }
    for (kind, key, value) in &stored.objects {
        match store.read_object(*kind, key) {
            Ok(Some(v)) => f.changed |= v != *value,
            Ok(None) => f.lost.push(format!("object {key}")),
            Err(e) => {
                corrupt(e);
                f.objects = true;
                corrupt(store.list_objects(*kind, "", None, 10).unwrap_err());
                corrupt(store.last_object(*kind, "").unwrap_err());
            }
        }
    }
    let head = store.head("zz").ok().flatten();
    match store.append(&[rows_after(head.unwrap_or_else(|| new_stream("zz")), 1, "zz")], &[], &[]) {
        Ok(()) => {}
        Err(e) => {
            corrupt(e);
            f.refuses = true;
        }
    }
    f
}

fn caught(f: &Findings) -> bool {
    f.lost.is_empty()
        && (f.changed || ((f.objects || f.entries.iter().any(|(_, seqno)| *seqno > 0)) && f.refuses))
}

/// Puts these bytes where the log is, and back what a test may have written to the payloads.
fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    let payloads = payload_dir(path);
    fs::write(payloads.join("000001.bin"), PAYLOADS).unwrap();
    let _ = fs::remove_file(payloads.join("000002.bin"));
}

/// All payloads of the small store.
const PAYLOADS: &[u8] = b"createdonetwothreeclosedlast";

/// Reads everything with these bytes where the log is.
fn with_log(path: &Path, bytes: &[u8], stored: &Stored) -> Findings {
    put(path, bytes);
    let mut store = open(path).unwrap();
    let before = store_bytes(path);
    let findings = read_everything(&mut store, stored);
    if findings.refuses {
        assert_eq!(before, store_bytes(path), "a damaged store was written to");
        assert_eq!(bytes, before, "opening a damaged store wrote to it");
    }
    store.close().unwrap();
    findings
}

fn store_bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn an_undamaged_store_reads_back_whole() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let mut store = open(&path).unwrap();
    let f = read_everything(&mut store, &stored);
    assert!(f.none(), "{f:?}");
}

#[test]
fn every_changed_byte_of_the_log_shows() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let good = store_bytes(&path);
    let mut objects_only = 0;
    for at in 0..good.len() {
        let mut others: Vec<u8> = vec![good[at] ^ 1, good[at] ^ 0x20, good[at] ^ 0x80, b'\n', 0, b'"'];
        others.retain(|b| *b != good[at]);
        others.dedup();
        for other in others {
            let mut bad = good.clone();
            bad[at] = other;
            let f = with_log(&path, &bad, &stored);
            assert!(caught(&f), "byte {at}: {:?} to {:?}: {f:?}", good[at] as char, other as char);
            assert!(!f.changed, "byte {at}: the checksum let a changed line pass");
            objects_only += u32::from(f.entries.iter().all(|(_, n)| *n == 0));
        }
    }
    // Damage that shows in no entry is in lines of objects.
    assert!(objects_only > 0);
}

#[test]
fn every_changed_byte_of_a_payload_shows() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let log = store_bytes(&path);
    let file = payload_dir(&path).join("000001.bin");
    let good = fs::read(&file).unwrap();
    assert_eq!(good, PAYLOADS);
    for at in 0..good.len() {
        for mask in [1, 0x20, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= mask;
            fs::write(&file, &bad).unwrap();
            fs::write(&path, &log).unwrap();
            let mut store = open(&path).unwrap();
            let f = read_everything(&mut store, &stored);
            assert!(f.changed && f.lost.is_empty(), "byte {at}: {f:?}");
            store.close().unwrap();
        }
    }
    for len in 0..good.len() {
        fs::write(&file, &good[..len]).unwrap();
        fs::write(&path, &log).unwrap();
        let mut store = open(&path).unwrap();
        let f = read_everything(&mut store, &stored);
        assert!(
            f.refuses && f.entries.iter().any(|(_, n)| *n > 0) && f.lost.is_empty(),
            "length {len}: {f:?}"
        );
        store.close().unwrap();
    }
    fs::remove_dir_all(payload_dir(&path)).unwrap();
    let mut store = open(&path).unwrap();
    let f = read_everything(&mut store, &stored);
    assert!(f.refuses && f.lost.is_empty(), "{f:?}");
}

#[test]
fn every_truncation_leaves_whole_batches_and_goes_on() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let good = store_bytes(&path);
    for nuls in [0, 1, 700] {
        for len in 0..good.len() {
            let mut cut = good[..len].to_vec();
            cut.resize(len + nuls, 0);
            // A commit without its newline is whole; with NULs in its place it is damage, and
            // before the first line is whole NULs make it somebody else's file.
            let no_newline = stored.batches.iter().any(|(end, ..)| *end == len as u64 + 1);
            if nuls > 0
                && (no_newline
                    || len + nuls > stored.batches[0].0 as usize && len < stored.batches[0].0 as usize)
            {
                continue;
            }
            let kept =
                stored.batches.iter().rev().find(|(end, ..)| *end <= len as u64 + u64::from(no_newline));
            let &(_, rows, objects) = kept.unwrap_or(&(0, 0, 0));
            let whole = Stored {
                rows: stored.rows[..rows].to_vec(),
                objects: stored.objects[..objects].to_vec(),
                batches: vec![],
            };
            put(&path, &cut);
            let mut store = open(&path).unwrap();
            let f = read_everything(&mut store, &whole);
            assert!(f.none(), "cut at {len}, {nuls} NULs: {f:?}");
            for (kind, key, _) in &stored.objects[objects..] {
                assert_eq!(store.read_object(*kind, key), Ok(None));
            }
            store.close().unwrap();
            // With the row that was just written, after opening again.
            let mut store = open(&path).unwrap();
            assert_eq!(store.head("zz").unwrap().unwrap().seqno, 1);
            assert_eq!(
                store.read_rows("zz", 1, 1, true).unwrap()[0].payload.as_deref(),
                Some(&b"payload 1 of zz"[..])
            );
            store.close().unwrap();
        }
    }
}

#[test]
fn junk_after_a_commit_is_no_interrupted_write() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let good = store_bytes(&path);
    let whole_commit = &good[..good.len() - 1];
    for (bytes, what) in [
        ([whole_commit, b"\0"].concat(), "a NUL for the last newline"),
        ([whole_commit, b"\0\0\0\0"].concat(), "NULs for the last newline"),
        ([whole_commit, b"x"].concat(), "junk for the last newline"),
        ([&good[..], b"x"].concat(), "junk"),
        ([&good[..], b"x\n"].concat(), "a line of junk"),
        ([&good[..], b"\n"].concat(), "an empty line"),
        ([&good[..], b"{\"stream\":\"app\"x"].concat(), "no beginning of a line"),
        ([&good[..], b"{\"stream\":\"a\0\0x"].concat(), "junk after NULs"),
    ] {
        let f = with_log(&path, &bytes, &stored);
        assert!(f.lost.is_empty() && f.refuses, "{what}: {f:?}");
        assert!(caught(&f), "{what}: {f:?}");
    }
}

/// The log's lines, newlines included.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn removed_doubled_and_swapped_lines_show() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let good = lines(&store_bytes(&path));
    let n = good.len();
    for i in 1..n {
        let mut removed = good.clone();
        removed.remove(i);
        let f = with_log(&path, &removed.concat(), &stored);
        if i == n - 1 {
            // Cut before the last commit: only a signed checkpoint shows it.
            assert!(!f.lost.is_empty() && !f.refuses);
        } else {
            assert!(caught(&f), "line {} removed: {f:?}", i + 1);
        }
        for j in 1..=n {
            let mut doubled = good.clone();
            doubled.insert(j, good[i].clone());
            let f = with_log(&path, &doubled.concat(), &stored);
            assert!(caught(&f), "line {} put in again before {}: {f:?}", i + 1, j + 1);
        }
        for j in i + 1..n {
            let mut swapped = good.clone();
            swapped.swap(i, j);
            let f = with_log(&path, &swapped.concat(), &stored);
            assert!(caught(&f), "lines {} and {} swapped: {f:?}", i + 1, j + 1);
        }
    }
}

#[test]
fn whole_batches_removed_or_doubled_show() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let good = store_bytes(&path);
    let ends: Vec<usize> = stored.batches.iter().map(|b| b.0 as usize).collect();
    for w in ends.windows(2) {
        let (from, to) = (w[0], w[1]);
        let f = with_log(&path, &[&good[..to], &good[from..]].concat(), &stored);
        assert!(caught(&f), "batch at {from} doubled: {f:?}");
        if to < good.len() {
            let f = with_log(&path, &[&good[..from], &good[to..]].concat(), &stored);
            assert!(caught(&f), "batch at {from} removed: {f:?}");
        }
    }
}

#[test]
fn the_error_names_line_stream_and_number() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    small_store(&path);
    let mut bytes = store_bytes(&path);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let line = text.lines().position(|l| l.starts_with("{\"stream\":\"app\",\"seqno\":3,")).unwrap();
    let at = text.lines().take(line).map(|l| l.len() + 1).sum::<usize>() + 120;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut store = open(&path).unwrap();
    for e in [
        store.read_rows("app", 3, 10, false).unwrap_err(),
        store.append(&[rows_after(new_stream("new"), 1, "x")], &[], &[]).unwrap_err(),
    ] {
        let Error::Corrupt(c) = e else { panic!("{e:?}") };
        assert_eq!((c.stream_id.as_str(), c.seqno), ("app", 3));
        assert!(c.reason.contains(&format!("line {}", line + 1)), "{}", c.reason);
    }
    // What lies around it can still be read, objects too.
    assert_eq!(store.read_rows("app", 1, 10, true).unwrap().len(), 2);
    assert_eq!(store.read_rows("app", 4, 10, true).unwrap().len(), 2);
    assert_eq!(store.head("app").unwrap().unwrap().seqno, 5);
    assert!(store.read_object(secure_log::store::ObjectKind::Stream, "app").unwrap().is_some());
}

#[test]
fn a_line_changed_while_the_store_is_open_shows() {
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let good = store_bytes(&path);
    let mut store = open(&path).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        // In place: the store has this file open.
        fs::write(&path, &bad).unwrap();
        for (stream, row) in &stored.rows {
            match store.read_rows(stream, row.seqno, 1, true) {
                Ok(rows) => assert_eq!(&rows[0], row),
                Err(e) => assert_eq!(corrupt(e), (stream.clone(), row.seqno)),
            }
        }
        for (kind, key, value) in &stored.objects {
            match store.read_object(*kind, key) {
                Ok(v) => assert_eq!(v.as_ref(), Some(value)),
                Err(e) => drop(corrupt(e)),
            }
        }
    }
    fs::write(&path, &good).unwrap();
    store.close().unwrap();
}

/// Nothing that a file can hold makes the store panic, and it never gives out what was not stored.
#[test]
fn random_mutations_never_panic() {
    let rounds: u64 =
        std::env::var("SECURE_LOG_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000);
    let dir = scratch();
    let path = dir.path().join("audit.jsonl");
    let stored = small_store(&path);
    let good = store_bytes(&path);
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |n: usize| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x % n.max(1) as u64) as usize
    };
    for round in 0..rounds {
        let mut bytes = good.clone();
        for _ in 0..=random(4) {
            let (a, b) = (random(bytes.len()), random(bytes.len()));
            let (a, b) = (a.min(b), a.max(b));
            match random(9) {
                0 => bytes.truncate(b),
                1 => drop(bytes.drain(a..b.min(a + 40))),
                2 => {
                    let copy = bytes[a..b.min(a + 300)].to_vec();
                    bytes.splice(b..b, copy);
                }
                3 => bytes.insert(a, b'\n'),
                4 => bytes[a] = random(256) as u8,
                5 => bytes[a..b.min(a + 600)].fill(0),
                6 => bytes.splice(a..a, b"99999999999999999999".iter().copied()).for_each(drop),
                7 => {
                    let mut l = lines(&bytes);
                    let (i, j) = (random(l.len()), random(l.len()));
                    l.swap(i, j);
                    bytes = l.concat();
                }
                _ => bytes[a] ^= 1 << random(8),
            }
            if bytes.is_empty() {
                break;
            }
        }
        put(&path, &bytes);
        match open(&path) {
            Ok(mut store) => {
                let opened = store_bytes(&path);
                let f = read_everything(&mut store, &stored);
                assert!(!f.changed, "round {round}: {f:?}");
                // What passes for undamaged is whole batches from the beginning.
                assert!(f.refuses || good.starts_with(&opened), "round {round}: {f:?}");
                store.close().unwrap();
            }
            Err(Error::Invalid(i)) => assert_eq!(i.field, "config"),
            Err(e) => panic!("round {round}: {e:?}"),
        }
    }
}

/// Lines of the right form and checksum, with contents that no writer would give.
#[test]
fn well_formed_nonsense_is_damage() {
    let sum_line = |prev: &mut [u8; 8], content: &str| {
        let mut h = blake3::Hasher::new();
        h.update(prev);
        h.update(content.as_bytes());
        prev.copy_from_slice(&h.finalize().as_bytes()[..8]);
        let hex: String = prev.iter().map(|b| format!("{b:02x}")).collect();
        format!("{content},\"sum\":\"{hex}\"}}\n")
    };
    let zero = "0".repeat(64);
    let entry = |stream: &str, seqno: u64, id: &str, payload: &str| {
        format!(
            "{{\"stream\":\"{stream}\",\"seqno\":{seqno},\"hash\":\"{zero}\",\"header\":\"aGk=\",\"time\":1,\"severity\":9,\"type\":\"t\",\"producer\":\"p\",\"id\":{id},\"payload\":{payload}"
        )
    };
    let commit = |n: u64, entries: u64, objects: u64, heads: &str| {
        format!("{{\"commit\":{n},\"entries\":{entries},\"objects\":{objects},\"heads\":[{heads}]")
    };
    let head = |stream: &str, seqno: u64| format!("[\"{stream}\",{seqno},\"{zero}\"]");
    let object = "{\"object\":\"segment\",\"key\":\"k\",\"value\":\"\"".to_owned();
    let max = u64::MAX;
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("a number far too high", vec![entry("a", max, "null", "null"), commit(1, 1, 0, &head("a", max))]),
        ("a head without entries", vec![commit(1, 0, 0, &head("a", max))]),
        (
            "a batch number far too high",
            vec![entry("a", 1, "null", "null"), commit(max, 1, 0, &head("a", 1))],
        ),
        ("a wrong count", vec![entry("a", 1, "null", "null"), commit(1, max, max, &head("a", 1))]),
        ("no head", vec![entry("a", 1, "null", "null"), commit(1, 1, 0, "")]),
        (
            "a head too few",
            vec![
                entry("a", 1, "null", "null"),
                entry("b", 1, "null", "null"),
                commit(1, 2, 0, &head("a", 1)),
            ],
        ),
        (
            "the same entry twice",
            vec![
                entry("a", 1, "null", "null"),
                entry("a", 1, "null", "null"),
                commit(1, 2, 0, &head("a", 1)),
            ],
        ),
        (
            "an id twice",
            vec![
                entry("a", 1, "\"x\"", "null"),
                entry("a", 2, "\"x\"", "null"),
                commit(1, 2, 0, &head("a", 2)),
            ],
        ),
        (
            "a payload far away",
            vec![entry("a", 1, "null", &format!("[1,{},7]", max - 7)), commit(1, 1, 0, &head("a", 1))],
        ),
        (
            "a payload far too long",
            vec![entry("a", 1, "null", &format!("[1,0,{max}]")), commit(1, 1, 0, &head("a", 1))],
        ),
        (
            "a payload in the last chunk",
            vec![entry("a", 1, "null", "[4294967295,0,7]"), commit(1, 1, 0, &head("a", 1))],
        ),
        ("an object twice", vec![object.clone(), object.clone(), commit(1, 0, 2, "")]),
        ("an object too few", vec![commit(1, 0, 1, "")]),
    ];
    let dir = scratch();
    for (i, (what, contents)) in cases.into_iter().enumerate() {
        let path = dir.path().join(format!("{i}.jsonl"));
        let mut prev = [0; 8];
        let mut text = sum_line(&mut prev, "{\"format\":\"secure-log-file\",\"version\":1");
        for content in &contents {
            text += &sum_line(&mut prev, content);
        }
        fs::write(&path, &text).unwrap();
        let mut store = open(&path).unwrap();
        let e = store.append(&[rows_after(new_stream("new"), 1, "x")], &[], &[]).unwrap_err();
        corrupt(e);
        // Reading it is an error somewhere, and never a panic or an allocation of what it claims.
        let rows = store.read_rows("a", 1, 10, true);
        let objects = store.read_object(secure_log::store::ObjectKind::Segment, "k");
        let heads = store.list_heads(None, 10);
        assert!([rows.err(), objects.err(), heads.err()].into_iter().flatten().count() > 0, "{what}");
        let _ = store.query(&QueryFilter::default(), None, 10);
        store.close().unwrap();
    }
}

#[test]
fn other_peoples_files_are_refused_and_left_alone() {
    let dir = scratch();
    let path = dir.path().join("file");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let e = open(&path).map(|_| ()).unwrap_err();
        let Error::Invalid(i) = e else { panic!("{what}: {e:?}") };
        assert_eq!(i.field, "config", "{what}");
        assert_eq!(store_bytes(&path), bytes, "{what}");
        assert!(!dir.path().join("file.lease").exists(), "{what}: a lease was left behind");
        i.reason
    };
    refused(b"hello\n", "text");
    refused(b"\n", "an empty line");
    refused(b"{\"a\":1}\n{\"a\":2}\n", "other JSON lines");
    refused(&[0; 5000], "zeros");
    refused(&[0xff; 5000], "binary");
    refused(b"SQLite format 3\0", "a database");
    let newer = refused(&newer_first_line(), "a newer version");
    assert!(newer.contains("version 2") && newer.contains("version 1"), "{newer}");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(open(&path).map(|_| ()), Err(Error::Invalid(i)) if i.field == "config"));
    assert!(!dir.path().join("file.lease").exists());
    let missing = dir.path().join("no/such/file");
    let e = open(&missing).map(|_| ()).unwrap_err();
    assert!(
        matches!(&e, Error::Storage(s) if s.contains("no/such") && s.contains("does not exist")),
        "{e:?}"
    );
    for config in ["", ":memory:", "?lease-ms=1000"] {
        assert!(
            matches!(FileSecureLogStore::open(config).map(|_| ()), Err(Error::Invalid(i)) if i.field == "config")
        );
    }
}

fn newer_first_line() -> Vec<u8> {
    let content = b"{\"format\":\"secure-log-file\",\"version\":2";
    let mut h = blake3::Hasher::new();
    h.update(&[0; 8]);
    h.update(content);
    let hex: String = h.finalize().as_bytes()[..8].iter().map(|b| format!("{b:02x}")).collect();
    [&content[..], b",\"sum\":\"", hex.as_bytes(), b"\"}\nanything\n"].concat()
}
