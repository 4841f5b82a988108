//! The head file: the last checkpoint, kept apart from the store, so that a store that was put back or replaced is found
//! out when it is opened.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use secure_log::note::{CheckpointBody, MAX_NOTE, Note};

use crate::bindings::core::secure_log::log::types::LogError;
use crate::failure::Failure;
use crate::hosted::Hosted;

/// A file that holds the note of the last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFile {
    path: PathBuf,
}

/// Why a log is not opened with its head file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The file cannot be read.
    #[error("cannot read the head file {path}", path = .path.display())]
    Read {
        /// The head file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no checkpoint.
    #[error("the head file {path} is no checkpoint: {reason}", path = .path.display())]
    NoCheckpoint {
        /// The head file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The store is behind or beside it.
    #[error(
        "rolled-back: the head file {path} has checkpoint size {claimed}, the log has {size} entries in `_log`: {reason}. Put \
         the right store back; if what is missing is really lost, `eds log accept-head` records that and goes on",
        path = .path.display()
    )]
    RolledBack {
        /// The head file.
        path: PathBuf,
        /// Size that it claims.
        claimed: u64,
        /// Size of `_log` here.
        size: u64,
        /// What differs.
        reason: String,
    },
    /// There is a head file and no store.
    #[error(
        "there is no store at {store}, and the head file {path} says that there was one: put it back, or move the head \
         file away to begin a new log",
        store = .store.display(), path = .path.display()
    )]
    NoStore {
        /// The head file.
        path: PathBuf,
        /// Where the store should be.
        store: PathBuf,
    },
    /// There is no head file, and the log has checkpoints.
    #[error(
        "there is no head file at {path}, and the log has signed {checkpoints} checkpoints: bring it back, or, if this log \
         never had one, begin it with `eds log accept-head`",
        path = .path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// How many checkpoints the log has.
        checkpoints: u64,
    },
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] Failure),
}

impl HeadFile {
    /// The head file at `path`, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The note in it; none if there is no such file.
    pub fn read(&self) -> Result<Option<(String, CheckpointBody)>, HeadError> {
        let failed = |source| HeadError::Read { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let mut note = Vec::new();
        file.take(MAX_NOTE as u64 + 1).read_to_end(&mut note).map_err(failed)?;
        let no_checkpoint = |reason: String| HeadError::NoCheckpoint { path: self.path.clone(), reason };
        let note = String::from_utf8(note).map_err(|_| no_checkpoint("it is not UTF-8".into()))?;
        let body = Note::parse(&note).and_then(|note| CheckpointBody::parse(&note.text));
        let body = body.map_err(|e| no_checkpoint(e.to_string()))?;
        Ok(Some((note, body)))
    }

    /// Replaces the note, durably: the old one or the new one is there whatever happens.
    pub fn keep(&self, note: &str) -> io::Result<()> {
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut file = File::create(&new)?;
        file.write_all(note.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        File::open(dir)?.sync_all()
    }

    /// Refuses to make a store where one was.
    pub(crate) fn check_store(&self, store: &Path) -> Result<(), HeadError> {
        if !store.exists() && self.read()?.is_some() {
            return Err(HeadError::NoStore { path: self.path.clone(), store: store.to_owned() });
        }
        Ok(())
    }

    /// Compares an open log with it.
    pub(crate) fn check(&self, log: &mut Hosted) -> Result<(), HeadError> {
        let path = || self.path.clone();
        let Some((note, _)) = self.read()? else {
            return match log.latest_checkpoint()? {
                None => Ok(()),
                Some(latest) => Err(HeadError::Missing { path: path(), checkpoints: latest.number }),
            };
        };
        match log.check_against(&note) {
            Err(Failure::Log(LogError::RolledBack(r))) => Err(HeadError::RolledBack {
                path: path(),
                claimed: r.claimed_size,
                size: r.size,
                reason: r.reason,
            }),
            outcome => Ok(outcome?),
        }
    }
}
