//! Batches: checked, laid out, written, and taken back where that fails.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;

use secure_log::error::{Error, Result};
use secure_log::limits::{MAX_HEADER, MAX_PAYLOAD, MAX_STREAM_ID};
use secure_log::model::{Hash, StreamHead, ZERO_HASH};
use secure_log::store::{ObjectKind, ObjectWrite, Row, StreamAppend};
use secure_log_lease::{Lease, LeaseOptions};

use crate::erase::{ERASED, Erased};
use crate::index::{ObjectPos, Pos};
use crate::io::{Lines, read_at, write_at};
use crate::line::{self, MAX_LINE, PayloadRef, Sum};
use crate::log::{Log, failed, no_chunk};
use crate::payload::Place;
use crate::store::{FileSecureLogStore, MAX_STORED_PAYLOAD};

/// Bytes written between two looks at the lease.
const WRITE_BLOCK: usize = 1 << 20;

/// A batch as it will lie in the file.
pub(crate) struct Batch<'a> {
    bytes: Vec<u8>,
    /// Checksum of the commit line.
    sum: Sum,
    rows: Vec<PlacedRow<'a>>,
    objects: Vec<(&'a ObjectWrite, ObjectPos)>,
    /// Where the next batch's payloads go.
    place: Place,
}

struct PlacedRow<'a> {
    stream: &'a str,
    row: &'a Row,
    pos: Pos,
    payload: Option<PayloadRef>,
}

impl Batch<'_> {
    /// A batch of one line: payloads are erased.
    fn erased(store: &FileSecureLogStore, stream: &str, erased: Erased) -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            sum: store.log.index.sum,
            rows: Vec::new(),
            objects: Vec::new(),
            place: store.place,
        };
        batch.sum = line::write_line(&mut batch.bytes, &batch.sum, |out| {
            line::object_content(out, ERASED, stream, &erased.to_value());
        });
        batch.sum = line::write_line(&mut batch.bytes, &batch.sum, |out| {
            line::commit_content(out, store.log.index.next_commit, 0, 1, std::iter::empty());
        });
        batch
    }
}

/// How far a batch came before writing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Payloads,
    Lines,
    /// All bytes are with the system.
    Written,
    /// All bytes are durable.
    Synced,
}

pub(crate) enum Cause {
    Lease(Error),
    Io(io::Error),
}

impl From<io::Error> for Cause {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

pub(crate) struct Failure {
    stage: Stage,
    cause: Cause,
}

pub(crate) fn check_stream(field: &str, id: &str) -> Result<()> {
    if id.is_empty() || id.len() > MAX_STREAM_ID {
        return Err(Error::invalid(
            field,
            format!("a stream id has 1 to {MAX_STREAM_ID} bytes, not {}", id.len()),
        ));
    }
    Ok(())
}

fn check_row(stream: &str, row: &Row) -> Result<()> {
    let too_long = |field: &str, len: usize, max: usize| {
        Err(Error::invalid(
            field,
            format!("entry {} of stream {stream:?}: {len} bytes, {max} at most", row.seqno),
        ))
    };
    let id = row.id.as_deref().unwrap_or_default();
    for (field, len) in [
        ("header", row.header.len()),
        ("event-type", row.event_type.len()),
        ("producer", row.producer.len()),
        ("id", id.len()),
    ] {
        if len > MAX_HEADER {
            return too_long(field, len, MAX_HEADER);
        }
    }
    match &row.payload {
        Some(p) if p.len() as u64 > MAX_STORED_PAYLOAD => {
            too_long("payload", p.len(), MAX_STORED_PAYLOAD as usize)
        }
        _ => Ok(()),
    }
}

impl FileSecureLogStore {
    /// Checks everything that a batch must meet. Writes nothing.
    pub(crate) fn check_batch(
        &self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        let index = &self.log.index;
        let stored = |stream: &str| match index.stream(stream) {
            Some(s) => (s.head, s.hash),
            None => (0, ZERO_HASH),
        };
        let moved = |stream: &str, (seqno, entry_hash): (u64, Hash), wanted: &StreamHead| {
            let actual = (seqno > 0).then(|| StreamHead { stream_id: stream.to_owned(), seqno, entry_hash });
            let how = if seqno == wanted.seqno { "with another hash" } else { "as the head" };
            Error::conflict(stream, actual, format!("expected entry {} {how}", wanted.seqno))
        };

        let mut heads: BTreeMap<&str, (u64, Hash)> = BTreeMap::new();
        let mut ids: HashSet<(&str, &str)> = HashSet::new();
        for append in appends {
            let stream = append.prior.stream_id.as_str();
            check_stream("stream-id", stream)?;
            let head = heads.entry(stream).or_insert_with(|| stored(stream));
            if *head != (append.prior.seqno, append.prior.entry_hash) {
                return Err(moved(stream, *head, &append.prior));
            }
            for row in &append.rows {
                if head.0.checked_add(1) != Some(row.seqno) {
                    return Err(Error::invalid(
                        "seqno",
                        format!("stream {stream:?}: entry {} does not follow entry {}", row.seqno, head.0),
                    ));
                }
                check_row(stream, row)?;
                *head = (row.seqno, row.entry_hash);
            }
            if !append.rows.is_empty() && index.object(ObjectKind::Frozen, stream).is_some() {
                return Err(Error::Denied(format!(
                    "stream {stream:?} is frozen: it takes no further entries"
                )));
            }
        }
        for wanted in expect {
            let head = stored(&wanted.stream_id);
            if head.0 != wanted.seqno || (head.0 > 0 && head.1 != wanted.entry_hash) {
                return Err(moved(&wanted.stream_id, head, wanted));
            }
        }
        for append in appends {
            let stream = append.prior.stream_id.as_str();
            for row in &append.rows {
                let Some(id) = &row.id else { continue };
                let taken = self.log.find_id(stream, id)?;
                if taken.is_some() || !ids.insert((stream, id)) {
                    let (seqno, entry_hash) = stored(stream);
                    let actual =
                        (seqno > 0).then(|| StreamHead { stream_id: stream.to_owned(), seqno, entry_hash });
                    let by =
                        taken.map_or_else(|| "another row of the batch".into(), |n| format!("entry {n}"));
                    return Err(Error::conflict(stream, actual, format!("the id {id:?} is taken by {by}")));
                }
            }
        }
        self.check_objects(objects)
    }

    fn check_objects(&self, objects: &[ObjectWrite]) -> Result<()> {
        let mut written: HashMap<(ObjectKind, &str), &[u8]> = HashMap::new();
        for object in objects {
            let (kind, key) = (object.kind, object.key.as_str());
            if key.len() > MAX_HEADER || object.value.len() > MAX_PAYLOAD {
                return Err(Error::invalid(
                    "object",
                    format!("a key has at most {MAX_HEADER} bytes, a value {MAX_PAYLOAD}"),
                ));
            }
            let stored = match (written.get(&(kind, key)), self.log.index.object(kind, key)) {
                (Some(value), _) => Some(value.to_vec()),
                (None, Some(pos)) => Some(self.log.object(kind, key, pos)?),
                (None, None) => None,
            };
            let wrong = match (&stored, &object.expected) {
                (Some(_), None) => Some("exists already"),
                (Some(_), Some(_)) if kind.create_only() => Some("exists already and is never replaced"),
                (None, Some(_)) => Some("does not exist"),
                (Some(stored), Some(expected)) if stored != expected => {
                    Some("has another value than expected")
                }
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Err(Error::conflict(key, None, format!("the {} object {wrong}", kind.name())));
            }
            written.insert((kind, key), &object.value);
        }
        Ok(())
    }

    /// Gives every line and every payload its place.
    pub(crate) fn lay_out<'a>(
        &self,
        appends: &'a [StreamAppend],
        objects: &'a [ObjectWrite],
    ) -> Result<Batch<'a>> {
        let full = || Error::Storage(format!("{} is at its limit of 1 TiB", self.log.path.display()));
        let mut batch = Batch {
            bytes: Vec::new(),
            sum: self.log.index.sum,
            rows: Vec::with_capacity(appends.iter().map(|a| a.rows.len()).sum()),
            objects: Vec::with_capacity(objects.len()),
            place: self.place,
        };
        let mut heads: BTreeMap<&str, (u64, &Hash)> = BTreeMap::new();
        for append in appends {
            let stream = append.prior.stream_id.as_str();
            for row in &append.rows {
                let payload = match &row.payload {
                    Some(p) => Some(batch.place.take(p.len() as u64).ok_or_else(no_chunk)?),
                    None => None,
                };
                let start = batch.bytes.len();
                batch.sum = line::write_line(&mut batch.bytes, &batch.sum, |out| {
                    line::entry_content(
                        out,
                        stream,
                        row.seqno,
                        &row.entry_hash,
                        &row.header,
                        row.time_ms,
                        row.severity,
                        &row.event_type,
                        &row.producer,
                        row.id.as_deref(),
                        payload,
                    );
                });
                let len = batch.bytes.len() - start - 1;
                let pos = Pos::new(self.log.end + start as u64, len as u64).ok_or_else(full)?;
                batch.rows.push(PlacedRow { stream, row, pos, payload });
                heads.insert(stream, (row.seqno, &row.entry_hash));
            }
        }
        for object in objects {
            let start = batch.bytes.len();
            batch.sum = line::write_line(&mut batch.bytes, &batch.sum, |out| {
                line::object_content(out, object.kind.name(), &object.key, &object.value);
            });
            let len = batch.bytes.len() - start - 1;
            batch.objects.push((object, ObjectPos { offset: self.log.end + start as u64, len }));
        }
        let start = batch.bytes.len();
        batch.sum = line::write_line(&mut batch.bytes, &batch.sum, |out| {
            line::commit_content(
                out,
                self.log.index.next_commit,
                batch.rows.len() as u64,
                batch.objects.len() as u64,
                heads.iter().map(|(stream, (seqno, hash))| (*stream, *seqno, *hash)),
            );
        });
        if batch.bytes.len() - start > MAX_LINE {
            return Err(Error::invalid("appends", "a batch touches too many streams"));
        }
        Ok(batch)
    }

    pub(crate) fn write(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let Self { lease, log, payloads, .. } = self;
        let check = || lease.check().map_err(Cause::Lease);
        let at = |stage| move |cause| Failure { stage, cause };
        let with_place = batch.rows.iter().filter_map(|r| Some((r.payload?, r.row.payload.as_deref()?)));
        payloads.write(with_place, check).map_err(at(Stage::Payloads))?;
        let mut offset = log.end;
        let mut stage = Stage::Payloads;
        for block in batch.bytes.chunks(WRITE_BLOCK) {
            check().map_err(at(stage))?;
            stage = Stage::Lines;
            write_at(&log.file, block, offset).map_err(Cause::Io).map_err(at(stage))?;
            offset += block.len() as u64;
        }
        check().map_err(at(Stage::Written))?;
        log.file.sync_data().map_err(Cause::Io).map_err(at(Stage::Written))?;
        check().map_err(at(Stage::Synced))
    }

    /// Takes a written batch into memory.
    pub(crate) fn remember(&mut self, batch: Batch<'_>) {
        let index = &mut self.log.index;
        let mut last: Option<(&str, u32)> = None;
        for placed in &batch.rows {
            let i = match last {
                Some((stream, i)) if stream == placed.stream => i,
                _ => index.intern(placed.stream),
            };
            last = Some((placed.stream, i));
            index.streams[i as usize].push(placed.row.seqno, placed.row.entry_hash, placed.pos);
            if let Some(id) = &placed.row.id {
                index.put_id(index.id_hash(placed.stream, id), placed.pos);
            }
            if let Some(payload) = placed.payload {
                index.refer(payload);
            }
        }
        for (object, pos) in &batch.objects {
            index.put_object(object.kind, &object.key, *pos);
        }
        index.next_commit += 1;
        index.sum = batch.sum;
        self.log.end += batch.bytes.len() as u64;
        self.place = batch.place;
    }

    /// Writes a line that says which payloads are erased, durably.
    pub(crate) fn write_erased(&mut self, stream: &str, erased: Erased) -> Result<()> {
        let batch = Batch::erased(self, stream, erased);
        match self.write(&batch) {
            Ok(()) => self.remember(batch),
            Err(failure) => self.settle(failure, &batch)?,
        }
        self.log.index.put_erased(stream, erased);
        Ok(())
    }

    /// Undoes a batch that could not be written, or finds out what became of it.
    pub(crate) fn settle(&mut self, failure: Failure, batch: &Batch<'_>) -> Result<()> {
        match failure.cause {
            Cause::Lease(e) if self.lease.is_lost() => {
                if failure.stage < Stage::Written {
                    return Err(e);
                }
                self.stale = true;
                self.settle_lost(e, batch)
            }
            Cause::Lease(e) if failure.stage == Stage::Synced => {
                self.stale = true;
                Err(Error::Unavailable(format!("whether the batch took effect must be read back: {e}")))
            }
            Cause::Lease(e) => Err(self.take_back(failure.stage, batch, e)),
            Cause::Io(e) => {
                let path = match failure.stage {
                    Stage::Payloads => self.payloads.dir(),
                    _ => &self.log.path,
                };
                // A denied write is a failure of the backend here, not of the caller's rights.
                let e = match failed("write to", path, &e) {
                    Error::Denied(text) => Error::Storage(text),
                    e => e,
                };
                Err(self.take_back(failure.stage, batch, e))
            }
        }
    }

    /// Removes what a failed batch has written; gives back the error to return.
    fn take_back(&mut self, stage: Stage, batch: &Batch<'_>, e: Error) -> Error {
        self.leftovers = true;
        if self.drop_leftovers().is_ok() && self.lease.check().is_ok() {
            self.payloads.take_back(self.place, batch.place.chunk);
        }
        if self.leftovers && stage >= Stage::Written {
            return Error::Unavailable(format!("the batch could not be taken back, read the head: {e}"));
        }
        e
    }

    /// Shortens the log to its last commit after a batch failed. Until that works, nothing is written.
    pub(crate) fn drop_leftovers(&mut self) -> Result<()> {
        if !self.leftovers {
            return Ok(());
        }
        self.lease.check()?;
        let Log { file, path, end, .. } = &self.log;
        file.set_len(*end).and_then(|()| file.sync_data()).map_err(|e| failed("shorten", path, &e))?;
        self.leftovers = false;
        Ok(())
    }

    /// The lease was lost after the whole batch had been written: whoever has it now took the batch
    /// over, or dropped it.
    fn settle_lost(&mut self, lost: Error, batch: &Batch<'_>) -> Result<()> {
        let log = &self.log;
        let end = log.end + batch.bytes.len() as u64;
        let stands = |file: &File| -> io::Result<bool> {
            let mut there = vec![0; batch.bytes.len()];
            Ok(read_at(file, &mut there, log.end)? == there.len() && there == batch.bytes)
        };
        let read = |e: io::Error| failed("read", &log.path, &e);
        if !stands(&log.file).map_err(read)? {
            return Err(lost);
        }
        let mut lines = Lines::new(&log.file, end, u64::MAX);
        let followed = match lines.next().map_err(read)? {
            Some(raw) if raw.ended && raw.whole() => line::split_sum(raw.bytes)
                .is_some_and(|(content, sum)| line::sum_of(&batch.sum, content) == sum),
            _ => false,
        };
        if followed {
            log.file.sync_data().map_err(read)?;
            return Ok(());
        }
        // Nobody wrote after it yet. If the lease can be had, nobody will drop it any more.
        let options = LeaseOptions { wait: std::time::Duration::ZERO, ..self.config.lease.clone() };
        match Lease::acquire(&self.config.path, &options) {
            Ok(lease) => {
                let stands = stands(&log.file).map_err(read)?;
                log.file.sync_data().map_err(read)?;
                self.lease = lease;
                if stands { Ok(()) } else { Err(lost) }
            }
            Err(_) => {
                Err(Error::Unavailable(format!("whether the batch took effect must be read back: {lost}")))
            }
        }
    }
}
