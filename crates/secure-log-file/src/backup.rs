//! A consistent copy while the store is open.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use secure_log::error::{Error, Result};

use crate::io::{parent, read_at, sync_dir, write_at};
use crate::line;
use crate::log::{beside, failed};
use crate::payload::Payloads;
use crate::store::FileSecureLogStore;

impl FileSecureLogStore {
    /// Copies payloads, then the log, whose first line is written last: what an interrupted
    /// backup leaves behind is not taken for a store.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<()> {
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
