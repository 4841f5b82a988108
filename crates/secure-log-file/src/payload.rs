//! Payload bytes, apart from the log so that they can be erased without touching it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::io::{parent, read_at, sync_dir, write_at};
use crate::line::PayloadRef;

/// A new chunk is begun where the next payload would make this one longer.
pub(crate) const MAX_CHUNK: u64 = 64 << 20;
/// Open chunks that are kept for reading.
const MAX_OPEN: usize = 16;
/// Small payloads are written together, up to this much at a time.
const BLOCK: usize = 1 << 20;

/// Where the next payload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub chunk: u32,
    pub end: u64,
}

impl Place {
    pub(crate) const START: Self = Self { chunk: 1, end: 0 };

    /// Takes the place for `len` bytes; `None` when there is no chunk left.
    pub(crate) fn take(&mut self, len: u64) -> Option<PayloadRef> {
        if self.end > 0 && self.end + len > MAX_CHUNK {
            *self = self.next_chunk()?;
        }
        let place = PayloadRef { chunk: self.chunk, offset: self.end, len };
        self.end += len;
        Some(place)
    }

    pub(crate) fn next_chunk(self) -> Option<Self> {
        Some(Self { chunk: self.chunk.checked_add(1)?, end: 0 })
    }
}

/// The directory of chunks.
pub(crate) struct Payloads {
    dir: PathBuf,
    open: BTreeMap<u32, File>,
    /// The chunk that is written to; what it holds ends where the next payload goes.
    last: Option<(u32, File)>,
}

impl Payloads {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, open: BTreeMap::new(), last: None }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, chunk: u32) -> PathBuf {
        self.dir.join(chunk_name(chunk))
    }

    /// Length of a chunk's file; 0 if there is none.
    pub(crate) fn len(&self, chunk: u32) -> io::Result<u64> {
        match std::fs::metadata(self.path(chunk)) {
            Ok(meta) => Ok(meta.len()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(e) => Err(e),
        }
    }

    /// Fills `buf` from a chunk; `false` if the chunk ends before.
    pub(crate) fn read(&mut self, chunk: u32, offset: u64, buf: &mut [u8]) -> io::Result<bool> {
        if buf.is_empty() {
            return Ok(true);
        }
        if !self.open.contains_key(&chunk) {
            match File::open(self.path(chunk)) {
                Ok(file) => self.keep(chunk, file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(read_at(&self.open[&chunk], buf, offset)? == buf.len())
    }

    fn keep(&mut self, chunk: u32, file: File) {
        if self.open.len() >= MAX_OPEN {
            self.open.pop_first();
        }
        self.open.insert(chunk, file);
    }

    /// Writes payloads to the places taken for them, in that order, and makes them durable.
    /// `before` is called before each write, and its error ends it.
    pub(crate) fn write<'p, E: From<io::Error>>(
        &mut self,
        payloads: impl Iterator<Item = (PayloadRef, &'p [u8])>,
        mut before: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut block: Vec<u8> = Vec::new();
        let mut at = Place { chunk: 0, end: 0 };
        for (place, bytes) in payloads {
            let follows = place.chunk == at.chunk && place.offset == at.end + block.len() as u64;
            if !follows || block.len() + bytes.len() > BLOCK {
                self.write_block(at, &block, &mut before)?;
                block.clear();
                at = Place { chunk: place.chunk, end: place.offset };
            }
            if bytes.len() > BLOCK {
                self.write_block(at, bytes, &mut before)?;
                at.end += bytes.len() as u64;
            } else {
                block.extend_from_slice(bytes);
            }
        }
        self.write_block(at, &block, &mut before)?;
        match &self.last {
            Some((_, file)) if at.chunk != 0 => {
                before()?;
                Ok(file.sync_data()?)
            }
            _ => Ok(()),
        }
    }

    fn write_block<E: From<io::Error>>(
        &mut self,
        at: Place,
        block: &[u8],
        before: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        if block.is_empty() {
            return Ok(());
        }
        before()?;
        if self.last.as_ref().is_none_or(|(chunk, _)| *chunk != at.chunk) {
            if let Some((_, full)) = self.last.take() {
                full.sync_data()?;
            }
            self.last = Some((at.chunk, self.for_writing(at.chunk, at.end)?));
        }
        match &self.last {
            Some((_, file)) => Ok(write_at(file, block, at.end)?),
            None => Ok(()),
        }
    }

    /// A chunk's file, made if need be, with nothing behind `end`.
    fn for_writing(&mut self, chunk: u32, end: u64) -> io::Result<File> {
        let path = self.path(chunk);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => {
                if file.metadata()?.len() > end {
                    file.set_len(end)?;
                }
                return Ok(file);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        match std::fs::create_dir(&self.dir) {
            Ok(()) => sync_dir(parent(&self.dir))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        sync_dir(&self.dir)?;
        Ok(file)
    }

    /// Takes back what a failed batch wrote behind `place`, as far as it can.
    pub(crate) fn take_back(&mut self, place: Place, last: u32) {
        self.last = None;
        if let Ok(file) = OpenOptions::new().write(true).open(self.path(place.chunk)) {
            let _ = file.set_len(place.end);
        }
        for chunk in place.chunk.saturating_add(1)..=last {
            self.open.remove(&chunk);
            let _ = std::fs::remove_file(self.path(chunk));
        }
    }
}

/// Name of a chunk's file in the payload directory.
pub(crate) fn chunk_name(chunk: u32) -> String {
    format!("{chunk:06}.bin")
}
