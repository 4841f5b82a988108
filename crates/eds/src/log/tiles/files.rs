//! Where the files of an export are read: a directory, or a web server.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secure_log::tiles::{TilePath, TileSource};
use secure_log::{Error, Result};

use crate::http::{Fetcher, too_long};

/// A place that has the files of an export.
pub(super) enum Files {
    /// A directory.
    Dir(PathBuf),
    /// A URL with a slash at its end, and who fetches.
    Web(String, Fetcher),
}

impl Files {
    /// A URL begins with `http://` or `https://`; everything else is a directory.
    pub fn at(place: &str, timeout: Duration) -> Self {
        match place.starts_with("http://") || place.starts_with("https://") {
            true => Self::Web(format!("{}/", place.trim_end_matches('/')), Fetcher::new(timeout)),
            false => Self::Dir(place.into()),
        }
    }

    /// A file by its path below the place; `None` where there is none.
    pub fn read(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Dir(dir) => read(&dir.join(path), max),
            Self::Web(url, fetcher) => fetcher.get(&format!("{url}{path}"), max),
        }
    }

    /// The files below a folder, which ends with a slash or is empty.
    pub fn below(&self, prefix: &str) -> Below<'_> {
        Below { files: self, prefix: prefix.to_owned(), read: 0 }
    }
}

/// A file; `None` where there is none. Errors name it.
pub(super) fn read(path: &Path, max: usize) -> Result<Option<Vec<u8>>> {
    let cannot = |e: std::io::Error| Error::Storage(format!("cannot read {}: {e}", path.display()));
    let file = match File::open(path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        outcome => outcome.map_err(cannot)?,
    };
    let mut bytes = Vec::with_capacity(8 << 10);
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > max {
        return Err(too_long(&path.display().to_string(), max));
    }
    Ok(Some(bytes))
}

/// The files of one tree.
pub(super) struct Below<'a> {
    files: &'a Files,
    prefix: String,
    /// Files that were there.
    pub read: u64,
}

impl TileSource for Below<'_> {
    fn read(&mut self, path: &str, max: usize) -> Result<Option<Vec<u8>>> {
        let bytes = self.files.read(&format!("{}{path}", self.prefix), max)?;
        self.read += u64::from(bytes.is_some());
        Ok(bytes)
    }

    fn name(&self, path: TilePath) -> String {
        format!("{}{path}", self.prefix)
    }
}
