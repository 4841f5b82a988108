//! The store: reads through the index, writes batches.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use secure_log::error::{Error, Result};
use secure_log::limits::{MAX_HEADER, MAX_PAGE_BYTES, MAX_PAGE_ROWS, MAX_PAYLOAD, MAX_STREAM_ID};
use secure_log::model::{Hash, QueryFilter, StreamHead, ZERO_HASH};
use secure_log::store::{
    FoundPage, FoundRow, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log_lease::{Lease, LeaseOptions, StoreConfig};

use crate::index::{Damage, Index, ObjectPos, Pos, Stream};
use crate::io::{Lines, parent, read_at, sync_dir, write_at};
use crate::line::{self, EntryLine, Line, MAX_LINE, PayloadRef, SUM_BEFORE, Sum};
use crate::load::{Kind, Loaded, Tail, kind_of, load};
use crate::payload::{Payloads, Place};
use crate::tiles::Tiles;

/// Stored payload bytes may carry a salt in front.
const MAX_STORED_PAYLOAD: u64 = MAX_PAYLOAD as u64 + 32;
/// Lines of one stream that lie close together are read together, up to this much.
const READ_TOGETHER: u64 = 256 << 10;
/// How far apart such lines may be.
const READ_GAP: u64 = 4 << 10;
/// Payloads that lie one after the other are read together, up to this much.
const READ_PAYLOADS: u64 = 1 << 20;
/// Bytes written between two looks at the lease.
const WRITE_BLOCK: usize = 1 << 20;
/// What a row counts in a page beside its bytes.
const ROW_OVERHEAD: usize = 64;

/// A store in one append-only file of JSON lines.
pub struct FileSecureLogStore {
    config: StoreConfig,
    lease: Lease,
    log: Log,
    payloads: Payloads,
    tiles: Tiles,
    /// Where the next payload goes.
    place: Place,
    /// A failed batch has left bytes behind the last commit.
    leftovers: bool,
    /// What is in memory may not be what is in the file.
    stale: bool,
}

/// The log file and what is known of it.
struct Log {
    path: PathBuf,
    file: File,
    index: Index,
    /// Where the next batch goes.
    end: u64,
}

impl OpenStore for FileSecureLogStore {
    fn open(config: &str) -> Result<Self> {
        let config = StoreConfig::parse(config)?;
        look(&config.path)?;
        let lease = Lease::acquire(&config.path, &config.lease)?;
        let (log, payloads, place) = open_log(&config.path, &lease)?;
        let tiles = Tiles::new(beside(&config.path, ".tiles"));
        Ok(Self { config, lease, log, payloads, tiles, place, leftovers: false, stale: false })
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn failed(what: &str, path: &Path, e: &io::Error) -> Error {
    let text = format!("cannot {what} {}: {e}", path.display());
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::Storage(format!("disk full: {text}"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::Denied(text),
        _ => Error::Storage(text),
    }
}

/// Refuses what is not a store, before anything is written.
fn look(path: &Path) -> Result<()> {
    if path == Path::new(":memory:") {
        return Err(Error::invalid("config", "\":memory:\" is no file: this store needs a path"));
    }
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let dir = parent(path);
            return match std::fs::metadata(dir) {
                Ok(meta) if meta.is_dir() => Ok(()),
                Ok(_) => Err(Error::invalid("config", format!("{} is not a directory", dir.display()))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::Storage(format!(
                    "the directory {} does not exist: create it, then open the store again",
                    dir.display()
                ))),
                Err(e) => Err(failed("look at", dir, &e)),
            };
        }
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::invalid("config", format!("{} is not a directory", parent(path).display())));
        }
        Err(e) => return Err(failed("look at", path, &e)),
    };
    if !meta.is_file() {
        return Err(Error::invalid("config", format!("{} is not a file", path.display())));
    }
    let file = File::open(path).map_err(|e| failed("open", path, &e))?;
    let kind = kind_of(&file).map_err(|e| failed("read", path, &e))?;
    refuse_foreign(path, &kind)
}

fn refuse_foreign(path: &Path, kind: &Kind) -> Result<()> {
    match kind {
        Kind::New | Kind::Ours => Ok(()),
        Kind::Newer(version) => Err(Error::invalid(
            "config",
            format!(
                "{} is of format version {version}; this program reads version {}",
                path.display(),
                line::VERSION
            ),
        )),
        Kind::Foreign => Err(Error::invalid(
            "config",
            format!("{} is not a secure-log file: its first line is not ours", path.display()),
        )),
    }
}

/// Opens the log under the lease; makes it if it is not there, and drops an interrupted batch.
fn open_log(path: &Path, lease: &Lease) -> Result<(Log, Payloads, Place)> {
    let io = |what: &'static str| move |e: io::Error| failed(what, path, &e);
    lease.check()?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(io("open"))?;
    let kind = kind_of(&file).map_err(io("read"))?;
    refuse_foreign(path, &kind)?;
    if kind == Kind::New {
        let (first, _) = line::first_line(line::VERSION);
        lease.check()?;
        file.set_len(0).and_then(|()| write_at(&file, &first, 0)).map_err(io("write to"))?;
        lease.check()?;
        file.sync_data().and_then(|()| sync_dir(parent(path))).map_err(io("sync"))?;
        lease.check()?;
    }
    let Loaded { mut index, mut end, tail } = load(&file).map_err(io("read"))?;
    match tail {
        Tail::Clean => {}
        Tail::Cut => {
            lease.check()?;
            file.set_len(end).and_then(|()| file.sync_data()).map_err(io("shorten"))?;
        }
        Tail::NoNewline => {
            lease.check()?;
            write_at(&file, b"\n", end).and_then(|()| file.sync_data()).map_err(io("write to"))?;
            end += 1;
        }
    }
    let payloads = Payloads::new(beside(path, ".payloads"));
    check_chunks(&file, end, &payloads, &mut index)?;
    let mut place = match index.chunks.last_key_value() {
        Some((&chunk, &end)) => Place { chunk, end },
        None => Place::START,
    };
    if lease.took_over() {
        // Whoever held the lease may still be about to finish a write there.
        while payloads.path(place.chunk).exists() {
            place = place.next_chunk().ok_or_else(no_chunk)?;
        }
    }
    Ok((Log { path: path.to_owned(), file, index, end }, payloads, place))
}

fn no_chunk() -> Error {
    Error::Storage("there are no numbers left for payload files".into())
}

/// Looks whether each payload file is as long as the log says.
fn check_chunks(file: &File, end: u64, payloads: &Payloads, index: &mut Index) -> Result<()> {
    let mut short = BTreeMap::new();
    for (&chunk, &wanted) in &index.chunks {
        let path = payloads.path(chunk);
        let len = payloads.len(chunk).map_err(|e| failed("look at", &path, &e))?;
        if len < wanted {
            short.insert(chunk, len);
        }
    }
    if short.is_empty() {
        return Ok(());
    }
    let mut lines = Lines::new(file, 0, end);
    while let Some(raw) = lines.next().map_err(|e| failed("read", payloads.dir(), &e))? {
        if short.is_empty() {
            break;
        }
        let text = line::content_by_length(raw.bytes).and_then(|c| std::str::from_utf8(c).ok());
        let Some(Ok(Line::Entry(e))) = text.map(line::scan) else { continue };
        let Some(p) = e.payload else { continue };
        if short.get(&p.chunk).is_some_and(|len| p.offset.saturating_add(p.len) > *len) {
            let len = short.remove(&p.chunk).unwrap_or_default();
            index.damage.push(Damage {
                offset: raw.offset,
                stream: e.stream.into_owned(),
                seqno: e.seqno,
                why: short_chunk(p.chunk, len).into(),
            });
        }
    }
    Ok(())
}

fn short_chunk(chunk: u32, len: u64) -> String {
    format!(
        "payload file {} ends after {len} bytes, before this payload does",
        crate::payload::chunk_name(chunk)
    )
}

impl Log {
    fn read_failed(&self, e: &io::Error) -> Error {
        failed("read", &self.path, e)
    }

    /// What a line chains from, given the bytes before it.
    fn sum_before(&self, offset: u64, bytes: &[u8]) -> Option<Sum> {
        self.index.chained_from.get(&offset).copied().or_else(|| line::sum_before(bytes))
    }

    /// The content of a line that was fetched together with the [`SUM_BEFORE`] bytes before it.
    fn content<'b>(&self, offset: u64, bytes: &'b [u8]) -> Option<&'b str> {
        let (before, line) = bytes.split_at_checked(SUM_BEFORE)?;
        let (content, sum) = line::split_sum(line)?;
        let from = self.sum_before(offset, before)?;
        (line::sum_of(&from, content) == sum).then_some(())?;
        std::str::from_utf8(content).ok()
    }

    /// A line and the [`SUM_BEFORE`] bytes before it.
    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut buf = vec![0; SUM_BEFORE + len];
        let from = offset.saturating_sub(SUM_BEFORE as u64);
        let n = read_at(&self.file, &mut buf, from).map_err(|e| self.read_failed(&e))?;
        buf.truncate(n);
        Ok(buf)
    }

    /// Stream, number and id in an entry's line.
    fn identity(&self, pos: Pos) -> Result<(String, u64, Option<String>)> {
        let bytes = self.fetch(pos.offset(), pos.len())?;
        match self.content(pos.offset(), &bytes).map(line::scan) {
            Some(Ok(Line::Entry(e))) => {
                Ok((e.stream.into_owned(), e.seqno, e.id.map(std::borrow::Cow::into_owned)))
            }
            _ => Err(self.changed(pos.offset(), bytes.get(SUM_BEFORE..).unwrap_or_default())),
        }
    }

    fn find_id(&self, stream: &str, id: &str) -> Result<Option<u64>> {
        for pos in self.index.lines_with_id(self.index.id_hash(stream, id)) {
            let (theirs, seqno, their_id) = self.identity(pos)?;
            if theirs == stream && their_id.as_deref() == Some(id) {
                return Ok(Some(seqno));
            }
        }
        Ok(None)
    }

    fn object(&self, kind: ObjectKind, key: &str, pos: ObjectPos) -> Result<Vec<u8>> {
        let bytes = self.fetch(pos.offset, pos.len)?;
        let value = match self.content(pos.offset, &bytes).map(line::scan) {
            Some(Ok(Line::Object(o))) if o.kind == kind.name() && o.key == key => line::unbase64(o.value),
            _ => None,
        };
        value.ok_or_else(|| {
            let about = if matches!(kind, ObjectKind::Stream | ObjectKind::Frozen) { key } else { "_log" };
            Error::corrupt(
                about,
                0,
                format!("the line of {} object {key:?} at byte {} does not hold", kind.name(), pos.offset),
            )
        })
    }

    /// The error for a line that does not hold.
    fn changed(&self, offset: u64, bytes: &[u8]) -> Error {
        if let Some(damage) = self.index.damage.iter().find(|d| d.offset == offset) {
            return damage.error();
        }
        let (stream, seqno) = line::claimed(bytes).unwrap_or_else(|| ("_log".into(), 0));
        Error::corrupt(stream, seqno, format!("the line at byte {offset} does not hold"))
    }

    fn objects_hold(&self) -> Result<()> {
        match &self.index.objects_damaged {
            Some(damage) => Err(Error::corrupt(
                &*damage.stream,
                damage.seqno,
                format!("{}; stored objects may be missing", damage.why),
            )),
            None => Ok(()),
        }
    }
}

/// A row without its payload, and where that is.
fn row_of(e: &EntryLine<'_>) -> Option<(Row, Option<PayloadRef>)> {
    let row = Row {
        seqno: e.seqno,
        entry_hash: e.hash,
        header: line::unbase64(e.header)?,
        payload: None,
        time_ms: e.time_ms,
        severity: e.severity,
        event_type: e.event_type.to_string(),
        producer: e.producer.to_string(),
        id: e.id.as_ref().map(ToString::to_string),
    };
    Some((row, e.payload))
}

fn size_of(row: &Row) -> usize {
    row.header.len()
        + row.event_type.len()
        + row.producer.len()
        + row.id.as_ref().map_or(0, String::len)
        + ROW_OVERHEAD
}

fn page_limit(limit: u32) -> usize {
    limit.clamp(1, MAX_PAGE_ROWS) as usize
}

/// A page that fills up.
struct Page {
    limit: usize,
    rows: usize,
    bytes: usize,
}

impl Page {
    fn new(limit: u32) -> Self {
        Self { limit: page_limit(limit), rows: 0, bytes: 0 }
    }

    fn full(&self) -> bool {
        self.rows >= self.limit
    }

    /// Takes `bytes` more, if they fit or are the first.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = !self.full() && (self.rows == 0 || self.bytes.saturating_add(bytes) <= MAX_PAGE_BYTES);
        if fits {
            self.rows += 1;
            self.bytes = self.bytes.saturating_add(bytes);
        }
        fits
    }
}

impl FileSecureLogStore {
    /// Makes sure that the lease is ours and that memory holds what the file holds.
    fn hold(&mut self) -> Result<()> {
        if self.lease.is_lost() {
            self.lease = Lease::acquire(&self.config.path, &self.config.lease)?;
            self.stale = true;
        }
        if self.stale {
            let (log, payloads, place) = open_log(&self.config.path, &self.lease)?;
            (self.log, self.payloads, self.place) = (log, payloads, place);
            (self.stale, self.leftovers) = (false, false);
        }
        Ok(())
    }

    /// Reads lines of entries `from..` of a stream, for as long as `take` wants more.
    fn each_row(
        &self,
        stream: &Stream,
        from: u64,
        at_most: usize,
        mut take: impl FnMut(Pos, &EntryLine<'_>) -> Result<bool>,
    ) -> Result<()> {
        let log = &self.log;
        let mut next = from;
        let mut left = at_most;
        let mut given = false;
        let mut buf = Vec::new();
        while left > 0 {
            // Lines that lie close together.
            let mut group: Vec<Pos> = Vec::new();
            let mut broken = None;
            while group.len() < left {
                match stream.pos(next) {
                    Ok(Some(pos)) => {
                        if let (Some(first), Some(last)) = (group.first(), group.last()) {
                            let gap = pos.offset().saturating_sub(last.offset() + last.len() as u64);
                            let span = pos.offset() + pos.len() as u64 - first.offset();
                            if gap > READ_GAP || span > READ_TOGETHER {
                                break;
                            }
                        }
                        group.push(pos);
                        next += 1;
                    }
                    Ok(None) => break,
                    Err(e) => {
                        broken = Some(e);
                        break;
                    }
                }
            }
            let (Some(first), Some(last)) = (group.first().copied(), group.last().copied()) else {
                return match broken {
                    // What was found before it comes first.
                    Some(e) if !given => Err(e),
                    _ => Ok(()),
                };
            };
            left -= group.len();
            let start = first.offset().saturating_sub(SUM_BEFORE as u64);
            buf.resize((last.offset() + last.len() as u64 - start) as usize, 0);
            let n = read_at(&log.file, &mut buf, start).map_err(|e| log.read_failed(&e))?;
            for (seqno, pos) in (next - group.len() as u64..).zip(group) {
                let at = (pos.offset() - start) as usize - SUM_BEFORE;
                let line = buf[..n].get(at..at + SUM_BEFORE + pos.len());
                let entry = match line.and_then(|l| log.content(pos.offset(), l)).map(line::scan) {
                    Some(Ok(Line::Entry(e))) if e.stream == *stream.name && e.seqno == seqno => e,
                    _ if given => return Ok(()),
                    _ => {
                        return Err(Error::corrupt(
                            &*stream.name,
                            seqno,
                            format!("its line at byte {} does not hold", pos.offset()),
                        ));
                    }
                };
                if !take(pos, &entry)? {
                    return Ok(());
                }
                given = true;
            }
            if broken.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fetches payloads; an error for the first row, fewer rows for a later one.
    fn fill_payloads(
        &mut self,
        stream: &str,
        rows: &mut Vec<Row>,
        places: &[Option<PayloadRef>],
    ) -> Result<()> {
        let mut i = 0;
        while i < rows.len() {
            let Some(first) = places[i] else {
                i += 1;
                continue;
            };
            let mut count = 1;
            let mut end = first.offset.saturating_add(first.len);
            while let Some(Some(p)) = places.get(i + count) {
                let together =
                    p.chunk == first.chunk && p.offset == end && end - first.offset + p.len <= READ_PAYLOADS;
                if !together || i + count >= rows.len() {
                    break;
                }
                end += p.len;
                count += 1;
            }
            let mut bytes = vec![0; (end - first.offset) as usize];
            let read = self.payloads.read(first.chunk, first.offset, &mut bytes);
            let complete = read.map_err(|e| failed("read", &self.payloads.path(first.chunk), &e))?;
            if !complete && count > 1 {
                // One after the other, to find the one that is short.
                for k in i..i + count {
                    let Some(p) = places[k] else { continue };
                    let mut bytes = vec![0; p.len as usize];
                    let read = self.payloads.read(p.chunk, p.offset, &mut bytes);
                    if !read.map_err(|e| failed("read", &self.payloads.path(p.chunk), &e))? {
                        return self.short_payload(stream, rows, k, p);
                    }
                    rows[k].payload = Some(bytes);
                }
            } else if !complete {
                return self.short_payload(stream, rows, i, first);
            } else {
                let mut rest = &bytes[..];
                for k in i..i + count {
                    let len = places[k].map_or(0, |p| p.len as usize);
                    let (mine, others) = rest.split_at(len);
                    rows[k].payload = Some(mine.to_vec());
                    rest = others;
                }
            }
            i += count;
        }
        Ok(())
    }

    fn short_payload(&self, stream: &str, rows: &mut Vec<Row>, k: usize, p: PayloadRef) -> Result<()> {
        if k > 0 {
            rows.truncate(k);
            return Ok(());
        }
        let len = self.payloads.len(p.chunk).unwrap_or_default();
        Err(Error::corrupt(stream, rows[0].seqno, short_chunk(p.chunk, len)))
    }

    fn parse_cursor(&self, cursor: &str) -> Result<u64> {
        let refused = || Error::invalid("cursor", "this is no cursor that this store gave out");
        let offset: u64 = cursor.parse().map_err(|_| refused())?;
        if offset.to_string() != cursor || offset < SUM_BEFORE as u64 || offset > self.log.end {
            return Err(refused());
        }
        let mut before = [0];
        let n = read_at(&self.log.file, &mut before, offset - 1).map_err(|e| self.log.read_failed(&e))?;
        if n == 1 && before == *b"\n" { Ok(offset) } else { Err(refused()) }
    }

    fn query_stream(
        &self,
        stream: &Stream,
        filter: &QueryFilter,
        from: u64,
        limit: u32,
    ) -> Result<FoundPage> {
        let mut found = FoundPage::default();
        let mut page = Page::new(limit);
        let first = stream.number_at(from);
        let mut next = first;
        // In pieces, so that what was found before damage is handed out first.
        loop {
            let mut seen = 0;
            let mut at = None;
            let read = self.each_row(stream, next, page_limit(u32::MAX), |pos, entry| {
                if matches(filter, entry) {
                    let (row, _) = row_of(entry).ok_or_else(|| self.log.changed(pos.offset(), &[]))?;
                    if !page.take(size_of(&row)) {
                        at = Some(pos.offset());
                        return Ok(false);
                    }
                    found.rows.push(FoundRow { stream_id: stream.name.to_string(), row });
                }
                seen += 1;
                Ok(true)
            });
            match read {
                Err(e) if found.rows.is_empty() => return Err(e),
                Err(_) => {
                    // The next page begins where this one had to stop.
                    let last = next + seen - 1;
                    let end = stream.pos(last)?.map_or(self.log.end, |p| p.offset() + p.len() as u64 + 1);
                    found.next = Some(end.to_string());
                    return Ok(found);
                }
                Ok(()) => {}
            }
            if at.is_some() {
                found.next = at.map(|o| o.to_string());
                return Ok(found);
            }
            if seen == 0 {
                stream.check_head()?;
                return Ok(found);
            }
            next += seen;
        }
    }

    fn query_all(&self, filter: &QueryFilter, from: u64, limit: u32) -> Result<FoundPage> {
        let log = &self.log;
        let mut found = FoundPage::default();
        let mut page = Page::new(limit);
        let mut before = [0; SUM_BEFORE];
        let n = read_at(&log.file, &mut before, from - SUM_BEFORE as u64).map_err(|e| log.read_failed(&e))?;
        let mut prev = line::sum_before(&before[..n]);
        let mut lines = Lines::new(&log.file, from, log.end);
        while let Some(raw) = lines.next().map_err(|e| log.read_failed(&e))? {
            let chained = log.index.chained_from.get(&raw.offset).copied().or(prev);
            let split = if raw.ended && raw.whole() { line::split_sum(raw.bytes) } else { None };
            prev = split.map(|(_, sum)| sum);
            let content = split
                .filter(|(content, sum)| chained.is_some_and(|c| line::sum_of(&c, content) == *sum))
                .and_then(|(content, _)| std::str::from_utf8(content).ok());
            let outcome = match content.map(line::scan) {
                Some(Ok(Line::Entry(e))) if !matches(filter, &e) => continue,
                Some(Ok(Line::Entry(e))) => match log.index.stream(&e.stream).map(|s| s.pos(e.seqno)) {
                    Some(Ok(Some(pos))) if pos.offset() == raw.offset => row_of(&e)
                        .map(|(row, _)| FoundRow { stream_id: e.stream.into_owned(), row })
                        .ok_or_else(|| log.changed(raw.offset, raw.bytes)),
                    Some(Err(e)) => Err(e),
                    _ => Err(log.changed(raw.offset, raw.bytes)),
                },
                Some(Ok(_)) => continue,
                _ => Err(log.changed(raw.offset, raw.bytes)),
            };
            match outcome {
                Ok(row) if page.take(size_of(&row.row)) => found.rows.push(row),
                Err(e) if found.rows.is_empty() => return Err(e),
                _ => {
                    found.next = Some(raw.offset.to_string());
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

fn matches(filter: &QueryFilter, e: &EntryLine<'_>) -> bool {
    filter.stream_id.as_ref().is_none_or(|s| *s == e.stream)
        && filter.from_ms.is_none_or(|t| e.time_ms >= t)
        && filter.to_ms.is_none_or(|t| e.time_ms < t)
        && filter.min_severity.is_none_or(|s| e.severity <= s as u8)
        && filter.event_type.as_ref().is_none_or(|t| *t == e.event_type)
        && filter.producer.as_ref().is_none_or(|p| *p == e.producer)
}

impl SecureLogStore for FileSecureLogStore {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        self.hold()?;
        if let Some(damage) = self.log.index.damage.first() {
            return Err(Error::corrupt(
                &*damage.stream,
                damage.seqno,
                format!("{}; the store takes no more writes", damage.why),
            ));
        }
        self.check_batch(appends, expect, objects)?;
        if objects.is_empty() && appends.iter().all(|a| a.rows.is_empty()) {
            return Ok(());
        }
        self.drop_leftovers()?;
        let batch = self.lay_out(appends, objects)?;
        match self.write(&batch) {
            Ok(()) => {
                self.remember(batch);
                Ok(())
            }
            Err(failure) => self.settle(failure, &batch),
        }
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        self.hold()?;
        let Some(stream) = self.log.index.stream(stream_id) else { return Ok(None) };
        stream.check_head()?;
        Ok((stream.head > 0).then(|| stream.head()))
    }

    fn read_rows(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        limit: u32,
        payloads: bool,
    ) -> Result<Vec<Row>> {
        self.hold()?;
        let Some(stream) = self.log.index.stream(stream_id) else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        let mut places = Vec::new();
        let mut page = Page::new(limit);
        self.each_row(stream, from_seqno.max(1), page.limit, |pos, entry| {
            let (row, place) = row_of(entry).ok_or_else(|| self.log.changed(pos.offset(), &[]))?;
            let mut bytes = size_of(&row);
            if let (true, Some(p)) = (payloads, place) {
                if p.len > MAX_STORED_PAYLOAD {
                    if rows.is_empty() {
                        return Err(Error::corrupt(
                            stream_id,
                            row.seqno,
                            "its payload is longer than any may be",
                        ));
                    }
                    return Ok(false);
                }
                bytes += p.len as usize;
            }
            if !page.take(bytes) {
                return Ok(false);
            }
            rows.push(row);
            places.push(place);
            Ok(true)
        })?;
        if payloads {
            self.fill_payloads(stream_id, &mut rows, &places)?;
        }
        Ok(rows)
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        self.hold()?;
        if let Some(seqno) = self.log.find_id(stream_id, id)? {
            return Ok(Some(seqno));
        }
        // A row that cannot be read may have it.
        match self.log.index.stream(stream_id).and_then(Stream::first_bad) {
            Some(e) => Err(e),
            None => Ok(None),
        }
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        self.hold()?;
        let index = &self.log.index;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut heads = Vec::new();
        let mut page = Page::new(limit);
        for &i in index.names.range::<str, _>((from, Bound::Unbounded)).map(|(_, i)| i) {
            let stream = &index.streams[i as usize];
            match stream.check_head() {
                Err(e) if heads.is_empty() => return Err(e),
                Err(_) => break,
                Ok(()) if stream.head == 0 => continue,
                Ok(()) => {}
            }
            if !page.take(stream.name.len() + ROW_OVERHEAD) {
                break;
            }
            heads.push(stream.head());
        }
        Ok(heads)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        self.hold()?;
        let from = match cursor {
            Some(cursor) => self.parse_cursor(cursor)?,
            None => line::first_line(line::VERSION).0.len() as u64,
        };
        match &filter.stream_id {
            Some(stream) => match self.log.index.stream(stream) {
                Some(stream) => self.query_stream(stream, filter, from, limit),
                None => Ok(FoundPage::default()),
            },
            None => self.query_all(filter, from, limit),
        }
    }

    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        self.hold()?;
        self.log.objects_hold()?;
        self.log.index.object(kind, key).map(|pos| self.log.object(kind, key, pos)).transpose()
    }

    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        self.hold()?;
        self.log.objects_hold()?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut objects = Vec::new();
        let mut page = Page::new(limit);
        for (key, &pos) in self.log.index.objects(kind).range::<str, _>((from, Bound::Unbounded)) {
            // A line is longer than what is in it.
            if !key.starts_with(prefix) || !page.take(pos.len) {
                break;
            }
            objects.push(Object { kind, key: key.to_string(), value: self.log.object(kind, key, pos)? });
        }
        Ok(objects)
    }

    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        self.hold()?;
        self.log.objects_hold()?;
        let after_all = after_prefix(prefix);
        let until = after_all.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let last = self.log.index.objects(kind).range::<str, _>((Bound::Included(prefix), until)).next_back();
        last.map(|(key, &pos)| {
            Ok(Object { kind, key: key.to_string(), value: self.log.object(kind, key, pos)? })
        })
        .transpose()
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        self.hold()?;
        check_stream("stream-id", stream_id)?;
        for tile in tiles {
            if tile.hashes.is_empty() || tile.hashes.len() % 32 != 0 || tile.hashes.len() > 256 * 32 {
                return Err(Error::invalid("hashes", "a tile has 1 to 256 hashes of 32 bytes"));
            }
        }
        for tile in tiles {
            self.lease.check()?;
            self.tiles
                .write(stream_id, tile)
                .map_err(|e| failed("write a tile beside", &self.log.path, &e))?;
        }
        Ok(())
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.tiles.read(stream_id, level, index))
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        self.hold()?;
        let to = StoreConfig::parse(config)?.path;
        self.copy_to(&to)
    }

    fn close(self) -> Result<()> {
        let Self { lease, log, payloads, .. } = self;
        drop((log, payloads));
        if lease.is_lost() { Ok(()) } else { lease.release() }
    }
}

/// The least string that is greater than all that begin with `prefix`.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            c => char::from_u32(u32::from(c) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

// Writing.

/// A batch as it will lie in the file.
struct Batch<'a> {
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

/// How far a batch came before writing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Payloads,
    Lines,
    /// All bytes are with the system.
    Written,
    /// All bytes are durable.
    Synced,
}

enum Cause {
    Lease(Error),
    Io(io::Error),
}

impl From<io::Error> for Cause {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

struct Failure {
    stage: Stage,
    cause: Cause,
}

fn check_stream(field: &str, id: &str) -> Result<()> {
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
    fn check_batch(
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
    fn lay_out<'a>(&self, appends: &'a [StreamAppend], objects: &'a [ObjectWrite]) -> Result<Batch<'a>> {
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

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
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
    fn remember(&mut self, batch: Batch<'_>) {
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

    /// Undoes a batch that could not be written, or finds out what became of it.
    fn settle(&mut self, failure: Failure, batch: &Batch<'_>) -> Result<()> {
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
    fn drop_leftovers(&mut self) -> Result<()> {
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

    /// Copies payloads, then the log, whose first line is written last: what an interrupted
    /// backup leaves behind is not taken for a store.
    fn copy_to(&self, to: &Path) -> Result<()> {
        let dir = parent(to);
        if !dir.is_dir() {
            return Err(Error::Storage(format!(
                "the directory {} does not exist: create it first",
                dir.display()
            )));
        }
        let to_payloads = Payloads::new(beside(to, ".payloads"));
        for taken in [to, to_payloads.dir()] {
            if std::fs::symlink_metadata(taken).is_ok() {
                return Err(exists(taken));
            }
        }
        let out = OpenOptions::new().read(true).write(true).create_new(true).open(to).map_err(|e| {
            if e.kind() == io::ErrorKind::AlreadyExists { exists(to) } else { failed("create", to, &e) }
        })?;
        self.fill_copy(&out, to, &to_payloads).inspect_err(|_| {
            // Only what this call made.
            let _ = std::fs::remove_dir_all(to_payloads.dir());
            let _ = std::fs::remove_file(to);
        })
    }

    fn fill_copy(&self, out: &File, to: &Path, to_payloads: &Payloads) -> Result<()> {
        let writing = |e: io::Error| failed("write to", to, &e);
        if !self.log.index.chunks.is_empty() {
            std::fs::create_dir(to_payloads.dir()).map_err(|e| failed("create", to_payloads.dir(), &e))?;
        }
        for (&chunk, &len) in &self.log.index.chunks {
            let from = self.payloads.path(chunk);
            let input = match File::open(&from) {
                Ok(input) => input,
                // A damaged store gives a copy with the same damage.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed("open", &from, &e)),
            };
            let path = to_payloads.path(chunk);
            let output = OpenOptions::new().write(true).create_new(true).open(&path);
            let output = output.map_err(|e| failed("create", &path, &e))?;
            self.copy(&input, &output, 0, len, &from, &path)?;
            output.sync_all().map_err(|e| failed("sync", &path, &e))?;
        }
        if !self.log.index.chunks.is_empty() {
            sync_dir(to_payloads.dir()).map_err(|e| failed("sync", to_payloads.dir(), &e))?;
        }
        let first = line::first_line(line::VERSION).0.len() as u64;
        let first = first.min(self.log.end);
        self.copy(&self.log.file, out, first, self.log.end, &self.log.path, to)?;
        out.sync_data().map_err(writing)?;
        self.copy(&self.log.file, out, 0, first, &self.log.path, to)?;
        out.sync_all().and_then(|()| sync_dir(parent(to))).map_err(writing)
    }

    /// Copies bytes `at..end`, or up to the end of the file.
    fn copy(
        &self,
        from: &File,
        to: &File,
        mut at: u64,
        end: u64,
        from_path: &Path,
        to_path: &Path,
    ) -> Result<()> {
        let mut buf = vec![0; 1 << 20];
        while at < end {
            // Long copies must not let the lease run out.
            self.lease.check()?;
            let want = usize::try_from(end - at).map_or(buf.len(), |left| left.min(buf.len()));
            let n = read_at(from, &mut buf[..want], at).map_err(|e| failed("read", from_path, &e))?;
            if n == 0 {
                break;
            }
            write_at(to, &buf[..n], at).map_err(|e| failed("write to", to_path, &e))?;
            at += n as u64;
        }
        Ok(())
    }
}

fn exists(path: &Path) -> Error {
    Error::conflict(path.display().to_string(), None, "there is something already: a backup needs a new path")
}
