//! Rows and stores for the tests.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::path::{Path, PathBuf};

use secure_log::Result;
use secure_log::header;
use secure_log::model::{StreamHead, ZERO_HASH};
use secure_log::store::{ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend};
use secure_log_file::FileSecureLogStore;

pub fn row(seqno: u64, text: &str, payload: Option<&[u8]>, id: Option<&str>) -> Row {
    let header = format!("header {seqno} of {text}").into_bytes();
    Row {
        seqno,
        entry_hash: header::entry_hash(&header),
        header,
        payload: payload.map(<[u8]>::to_vec),
        time_ms: 1_700_000_000_000 + seqno,
        severity: (seqno % 8) as u8,
        event_type: format!("type {}", seqno % 3),
        producer: text.to_owned(),
        id: id.map(str::to_owned),
    }
}

pub fn head_of(store: &mut FileSecureLogStore, stream: &str) -> StreamHead {
    store.head(stream).unwrap().unwrap_or_else(|| StreamHead::empty(stream))
}

/// `count` rows after `prior`.
pub fn rows_after(prior: StreamHead, count: u64, text: &str) -> StreamAppend {
    let rows = (1..=count).map(|i| {
        let seqno = prior.seqno + i;
        row(seqno, text, Some(format!("payload {seqno} of {text}").as_bytes()), None)
    });
    StreamAppend { rows: rows.collect(), prior }
}

pub fn object(kind: ObjectKind, key: &str, value: &[u8], expected: Option<&[u8]>) -> ObjectWrite {
    ObjectWrite { kind, key: key.into(), value: value.into(), expected: expected.map(<[u8]>::to_vec) }
}

/// What was stored: rows per stream, and objects.
#[derive(Default, Clone)]
pub struct Stored {
    pub rows: Vec<(String, Row)>,
    pub objects: Vec<(ObjectKind, String, Vec<u8>)>,
    /// Bytes of the log, rows and objects after each batch.
    pub batches: Vec<(u64, usize, usize)>,
}

/// A small store with all that there is: several streams, batches of entries only, of objects
/// only and of both, ids, missing and empty payloads, odd names.
pub fn small_store(path: &Path) -> Stored {
    let mut store = open(path).unwrap();
    let mut stored = Stored::default();
    let first = std::fs::metadata(path).unwrap().len();
    stored.batches.push((first, 0, 0));
    type Batch<'a> =
        (Vec<(&'a str, Vec<(Option<&'a [u8]>, Option<&'a str>)>)>, Vec<(ObjectKind, &'a str, &'a [u8])>);
    let batches: Vec<Batch<'_>> = vec![
        (
            vec![("_log", vec![(Some(b"created"), None)]), ("app", vec![(Some(b"one"), Some("id-1"))])],
            vec![(ObjectKind::Stream, "app", b"facts")],
        ),
        (vec![("app", vec![(Some(b"two"), None), (None, None), (Some(b""), Some("id \"x\""))])], vec![]),
        (vec![], vec![(ObjectKind::Checkpoint, "000001", b"note")]),
        (vec![("gr\u{fc}\u{df}e\n\"", vec![(Some(b"three"), None)])], vec![]),
        (vec![("_log", vec![(Some(b"closed"), None)])], vec![(ObjectKind::Segment, "app/2", b"segment")]),
        (vec![("app", vec![(Some(b"last"), Some("id-2"))])], vec![]),
    ];
    for (appends, objects) in batches {
        let appends: Vec<StreamAppend> = appends
            .into_iter()
            .map(|(stream, rows)| {
                let prior = head_of(&mut store, stream);
                let rows =
                    (prior.seqno + 1..).zip(rows).map(|(n, (payload, id))| row(n, stream, payload, id));
                StreamAppend { rows: rows.collect(), prior }
            })
            .collect();
        let writes: Vec<ObjectWrite> =
            objects.iter().map(|(kind, key, value)| object(*kind, key, value, None)).collect();
        store.append(&appends, &[], &writes).unwrap();
        for a in appends {
            stored.rows.extend(a.rows.into_iter().map(|r| (a.prior.stream_id.clone(), r)));
        }
        stored.objects.extend(writes.into_iter().map(|w| (w.kind, w.key, w.value)));
        let len = std::fs::metadata(path).unwrap().len();
        stored.batches.push((len, stored.rows.len(), stored.objects.len()));
    }
    store.close().unwrap();
    stored
}

/// Opens as a host does that holds a lock of its own.
pub fn open(path: &Path) -> Result<FileSecureLogStore> {
    FileSecureLogStore::open(&format!("{}?lock=host", path.display()))
}

pub fn payload_dir(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.payloads", path.display()))
}

/// A directory in memory where there is one: these tests rewrite files many thousand times.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn new_stream(stream: &str) -> StreamHead {
    StreamHead { stream_id: stream.into(), seqno: 0, entry_hash: ZERO_HASH }
}

/// Resident bytes of this process; 0 where the system does not say.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 4096
}
