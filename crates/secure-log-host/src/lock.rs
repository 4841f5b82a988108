//! The native file lock of a host.
//!
//! The store's own lease works everywhere, but after a crash it has to run out first. A kernel
//! lock ends with its process; a host that holds one says so (`lock=host`) and is served at once.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Held until dropped.
#[derive(Debug)]
pub struct HostLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl HostLock {
    /// Where the lock of the store at `store` is.
    pub fn path_for(store: &Path) -> PathBuf {
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        name.into()
    }

    /// Takes the lock of the store at `store`, waiting at most `patience` for another process.
    pub fn acquire(store: &Path, patience: Duration) -> Result<Self> {
        let path = Self::path_for(store);
        let failed = |source| Error::Lock { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    let (store, lock) = (store.to_owned(), path.clone());
                    return Err(Error::Busy { store, lock, waited: patience });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_told_who_is_in_the_way_and_the_lock_ends_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("audit.db");
        let first = HostLock::acquire(&store, Duration::ZERO).unwrap();
        let refused = HostLock::acquire(&store, Duration::from_millis(30)).unwrap_err().to_string();
        assert!(refused.starts_with("busy:") && refused.contains("audit.db.lock"), "{refused}");
        drop(first);
        HostLock::acquire(&store, Duration::ZERO).unwrap();
    }
}
