//! Making a store of an export: the same rows, objects and checkpoints, verified on the way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{Error, Result};
use crate::export::{ExportReport, ExportVerifier, Line};
use crate::header::{HeaderRef, entry_hash};
use crate::limits::MAX_PAGE_BYTES;
use crate::model::StreamHead;
use crate::native::pointer;
use crate::record::{LOG_STREAM, Record, checkpoint_key};
use crate::store::{ObjectKind, ObjectWrite, Row, SecureLogStore, StreamAppend};

/// Rows that are written in one transaction.
const BATCH_ROWS: usize = 1_000;

/// Writes an export into an empty store, line by line, and verifies each before it is written. After an error the store
/// holds a part of the log: throw it away.
pub struct Importer<S> {
    store: S,
    verifier: ExportVerifier,
    checkpoints: u64,
    head: StreamHead,
    rows: Vec<Row>,
    objects: Vec<ObjectWrite>,
    bytes: usize,
}

impl<S: SecureLogStore> Importer<S> {
    /// An importer that trusts these keys. `Conflict` if the store is not empty.
    pub fn new(mut store: S, trusted: &[String]) -> Result<Self> {
        if let Some(head) = store.list_heads(None, 1)?.pop() {
            let stream_id = head.stream_id.clone();
            return Err(Error::conflict(stream_id, Some(head), "an export is imported into an empty store"));
        }
        Ok(Self {
            store,
            verifier: ExportVerifier::new(trusted)?,
            checkpoints: 0,
            head: StreamHead::empty(LOG_STREAM),
            rows: Vec::new(),
            objects: Vec::new(),
            bytes: 0,
        })
    }

    /// Takes the next line, without its newline.
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.verifier.line(text)?;
        let line: Line = serde_json::from_str(text).map_err(|e| Error::invalid("export", e.to_string()))?;
        match line {
            Line::Checkpoint(note) => {
                self.checkpoints += 1;
                self.objects.push(ObjectWrite {
                    kind: ObjectKind::Checkpoint,
                    key: checkpoint_key(self.checkpoints),
                    value: note.into_bytes(),
                    expected: None,
                });
                Ok(())
            }
            Line::Entry { header, payload } => {
                let decode = |text: &str| {
                    BASE64.decode(text).map_err(|_| Error::invalid("export", "an entry is not base64"))
                };
                self.entry(decode(&header)?, payload.as_deref().map(decode).transpose()?)
            }
            Line::SecureLogExport { .. } | Line::Key(_) | Line::End { .. } => Ok(()),
        }
    }

    fn entry(&mut self, bytes: Vec<u8>, payload: Option<Vec<u8>>) -> Result<()> {
        let header = HeaderRef::decode(&bytes)
            .map_err(|e| Error::invalid("export", format!("a header is not canonical: {e}")))?;
        let next = self.head.seqno + self.rows.len() as u64 + 1;
        if header.stream_id != self.head.stream_id {
            let stream_id = header.stream_id.to_owned();
            self.flush()?;
            self.head = StreamHead::empty(stream_id);
        } else if header.seqno != next {
            return Err(Error::corrupt(header.stream_id, header.seqno, "the entry is out of order"));
        }
        if header.stream_id == LOG_STREAM {
            let record =
                Record::decode(header.event_type, payload.as_deref().unwrap_or_default()).map_err(|e| {
                    Error::corrupt(LOG_STREAM, header.seqno, format!("the record is malformed: {e}"))
                })?;
            self.objects.extend(pointer(&record, header.seqno));
        }
        let row = Row {
            seqno: header.seqno,
            entry_hash: entry_hash(&bytes),
            payload,
            time_ms: header.time_ms,
            severity: header.severity as u8,
            event_type: header.event_type.to_owned(),
            producer: header.producer.to_owned(),
            id: header.event_id.map(str::to_owned),
            header: Vec::new(),
        };
        self.bytes += bytes.len() + row.payload.as_ref().map_or(0, Vec::len);
        self.rows.push(Row { header: bytes, ..row });
        if self.rows.len() >= BATCH_ROWS || self.bytes >= MAX_PAGE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what has gathered. A stream is frozen after its last row.
    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let last = rows.last().map(|row| (row.seqno, row.entry_hash));
        let appends =
            if rows.is_empty() { Vec::new() } else { vec![StreamAppend { prior: self.head.clone(), rows }] };
        let (frozen, now): (Vec<_>, Vec<_>) = std::mem::take(&mut self.objects)
            .into_iter()
            .partition(|object| object.kind == ObjectKind::Frozen);
        if !appends.is_empty() || !now.is_empty() {
            self.store.append(&appends, &[], &now)?;
        }
        self.objects = frozen;
        self.bytes = 0;
        if let Some((seqno, entry_hash)) = last {
            (self.head.seqno, self.head.entry_hash) = (seqno, entry_hash);
        }
        Ok(())
    }

    /// The store and what it holds now, after the last line.
    pub fn finish(mut self) -> Result<(S, ExportReport)> {
        self.flush()?;
        self.objects.extend(self.verifier.domain_objects());
        if !self.objects.is_empty() {
            self.store.append(&[], &[], &self.objects)?;
        }
        let report = self.verifier.finish()?;
        Ok((self.store, report))
    }
}
