//! The log file: opening it, and reading its lines one by one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use secure_log::error::{Error, Result};
use secure_log::store::ObjectKind;
use secure_log_lease::Lease;

use crate::index::{Damage, Index, ObjectPos, Pos};
use crate::io::{Lines, parent, read_at, sync_dir, write_at};
use crate::line::{self, Line, SUM_BEFORE, Sum};
use crate::load::{Kind, Loaded, Tail, kind_of, load};
use crate::payload::{Payloads, Place, chunk_name};

/// The log file and what is known of it.
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) index: Index,
    /// Where the next batch goes.
    pub(crate) end: u64,
}

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

pub(crate) fn failed(what: &str, path: &Path, e: &io::Error) -> Error {
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
pub(crate) fn look(path: &Path) -> Result<()> {
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
pub(crate) fn open_log(path: &Path, lease: &Lease) -> Result<(Log, Payloads, Place)> {
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
    // A payload file that is there is not begun anew: it may belong to a log that was lost. And
    // whoever held an expired lease may still be about to finish a write.
    if lease.took_over() || place == Place::START {
        while payloads.path(place.chunk).exists() {
            place = place.next_chunk().ok_or_else(no_chunk)?;
        }
    }
    Ok((Log { path: path.to_owned(), file, index, end }, payloads, place))
}

pub(crate) fn no_chunk() -> Error {
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

pub(crate) fn short_chunk(chunk: u32, len: u64) -> String {
    format!("payload file {} ends after {len} bytes, before this payload does", chunk_name(chunk))
}

impl Log {
    pub(crate) fn read_failed(&self, e: &io::Error) -> Error {
        failed("read", &self.path, e)
    }

    /// What a line chains from, given the bytes before it.
    pub(crate) fn sum_before(&self, offset: u64, bytes: &[u8]) -> Option<Sum> {
        self.index.chained_from.get(&offset).copied().or_else(|| line::sum_before(bytes))
    }

    /// The content of a line that was fetched together with the [`SUM_BEFORE`] bytes before it.
    pub(crate) fn content<'b>(&self, offset: u64, bytes: &'b [u8]) -> Option<&'b str> {
        let (before, line) = bytes.split_at_checked(SUM_BEFORE)?;
        let (content, sum) = line::split_sum(line)?;
        let from = self.sum_before(offset, before)?;
        (line::sum_of(&from, content) == sum).then_some(())?;
        std::str::from_utf8(content).ok()
    }

    /// A line and the [`SUM_BEFORE`] bytes before it.
    pub(crate) fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
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

    pub(crate) fn find_id(&self, stream: &str, id: &str) -> Result<Option<u64>> {
        for pos in self.index.lines_with_id(self.index.id_hash(stream, id)) {
            let (theirs, seqno, their_id) = self.identity(pos)?;
            if theirs == stream && their_id.as_deref() == Some(id) {
                return Ok(Some(seqno));
            }
        }
        Ok(None)
    }

    pub(crate) fn object(&self, kind: ObjectKind, key: &str, pos: ObjectPos) -> Result<Vec<u8>> {
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
    pub(crate) fn changed(&self, offset: u64, bytes: &[u8]) -> Error {
        if let Some(damage) = self.index.damage.iter().find(|d| d.offset == offset) {
            return damage.error();
        }
        let (stream, seqno) = line::claimed(bytes).unwrap_or_else(|| ("_log".into(), 0));
        Error::corrupt(stream, seqno, format!("the line at byte {offset} does not hold"))
    }

    pub(crate) fn objects_hold(&self) -> Result<()> {
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
