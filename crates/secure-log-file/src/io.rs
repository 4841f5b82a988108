//! Positioned reads and writes, the same natively and in wasm, and the lines of a file one by one.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::line::MAX_LINE;

/// What a sequential reader takes at a time.
const WINDOW: usize = 1 << 20;
/// What is kept of a line that is too long to be one.
const HEAD: usize = 64 << 10;

#[cfg(not(target_os = "wasi"))]
mod positioned {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    pub(super) fn read(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buf, offset)
    }

    pub(super) fn write(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(buf, offset)
    }
}

// std's own positioned calls are unstable on this target.
#[cfg(target_os = "wasi")]
mod positioned {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    fn result(n: libc::ssize_t) -> io::Result<usize> {
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    fn offset(at: u64) -> io::Result<libc::off_t> {
        libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    pub(super) fn read(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
        // SAFETY: the pointer and the length are those of `buf`, the descriptor is open.
        result(unsafe { libc::pread(file.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), offset(at)?) })
    }

    pub(super) fn write(file: &File, buf: &[u8], at: u64) -> io::Result<usize> {
        // SAFETY: the pointer and the length are those of `buf`, the descriptor is open.
        result(unsafe { libc::pwrite(file.as_raw_fd(), buf.as_ptr().cast(), buf.len(), offset(at)?) })
    }
}

/// Reads until `buf` is full or the file ends; says how much.
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match positioned::read(file, &mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes all of `buf`.
pub(crate) fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match positioned::write(file, &buf[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The directory that `path` is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// Makes names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A line as it lies in the file.
pub(crate) struct RawLine<'b> {
    /// Where it begins.
    pub offset: u64,
    /// Its length without the newline.
    pub len: u64,
    /// Its bytes; only the first of them if it is longer than any line may be.
    pub bytes: &'b [u8],
    /// Whether a newline ends it.
    pub ended: bool,
    /// Its length without NULs at its end, if no newline ends it.
    pub solid: u64,
}

impl RawLine<'_> {
    /// Whether `bytes` is all of it.
    pub(crate) fn whole(&self) -> bool {
        self.bytes.len() as u64 == self.len
    }

    /// Where the next line begins.
    pub(crate) fn next_offset(&self) -> u64 {
        self.offset + self.len + u64::from(self.ended)
    }
}

/// Reads a stretch of a file line by line, however long the lines are.
pub(crate) struct Lines<'f> {
    file: &'f File,
    /// Where `buf` begins in the file.
    at: u64,
    buf: Vec<u8>,
    /// What of `buf` has not been handed out.
    open: Range<usize>,
    end: u64,
}

impl<'f> Lines<'f> {
    /// Lines from `offset` on, up to `end` or the end of the file.
    pub(crate) fn new(file: &'f File, offset: u64, end: u64) -> Self {
        Self { file, at: offset, buf: Vec::new(), open: 0..0, end }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        let mut searched = 0;
        loop {
            if let Some(n) = memchr::memchr(b'\n', &self.buf[self.open.start + searched..self.open.end]) {
                let start = self.open.start;
                let len = searched + n;
                self.open.start += len + 1;
                return Ok(Some(RawLine {
                    offset: self.at + start as u64,
                    len: len as u64,
                    bytes: &self.buf[start..start + len],
                    ended: true,
                    solid: len as u64,
                }));
            }
            searched = self.open.len();
            if searched > MAX_LINE {
                return self.skip_overlong().map(Some);
            }
            if !self.fill()? {
                let start = self.open.start;
                self.open.start = self.open.end;
                if searched == 0 {
                    return Ok(None);
                }
                let bytes = &self.buf[start..start + searched];
                return Ok(Some(RawLine {
                    offset: self.at + start as u64,
                    len: searched as u64,
                    solid: solid(bytes),
                    bytes,
                    ended: false,
                }));
            }
        }
    }

    /// Reads more behind what is open; whether there was any.
    fn fill(&mut self) -> io::Result<bool> {
        if self.open.start > 0 {
            self.buf.copy_within(self.open.clone(), 0);
            self.at += self.open.start as u64;
            self.open = 0..self.open.len();
        }
        let from = self.at + self.open.end as u64;
        let want = usize::try_from(self.end.saturating_sub(from)).map_or(WINDOW, |left| left.min(WINDOW));
        if want == 0 {
            return Ok(false);
        }
        if self.buf.len() < self.open.end + want {
            self.buf.resize(self.open.end + want, 0);
        }
        let n = read_at(self.file, &mut self.buf[self.open.end..self.open.end + want], from)?;
        self.open.end += n;
        Ok(n > 0)
    }

    fn skip_overlong(&mut self) -> io::Result<RawLine<'_>> {
        let offset = self.at + self.open.start as u64;
        let head = self.buf[self.open.start..self.open.start + HEAD].to_vec();
        let mut solid_len = solid(&self.buf[self.open.clone()]);
        let mut len = self.open.len() as u64;
        self.open.start = self.open.end;
        let mut ended = false;
        while self.fill()? {
            let chunk = &self.buf[self.open.clone()];
            let n = memchr::memchr(b'\n', chunk);
            let part = &chunk[..n.unwrap_or(chunk.len())];
            match solid(part) {
                0 => {}
                s => solid_len = len + s,
            }
            len += part.len() as u64;
            self.open.start += part.len();
            if n.is_some() {
                self.open.start += 1;
                ended = true;
                break;
            }
        }
        // The head goes in front of what is open, so that one buffer serves.
        let keep = self.open.clone();
        self.at += keep.start as u64;
        self.buf.copy_within(keep.clone(), 0);
        self.buf.resize(keep.len().max(HEAD), 0);
        self.open = 0..keep.len();
        let start = self.buf.len();
        self.buf.extend_from_slice(&head);
        Ok(RawLine {
            offset,
            len,
            bytes: &self.buf[start..start + HEAD],
            ended,
            solid: if ended { len } else { solid_len },
        })
    }
}

fn solid(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|&b| b != 0).map_or(0, |i| i as u64 + 1)
}
