//! The directory that an export writes.
//!
//! A file comes into being in a folder of its own, `.eds`, is synced there, and gets its name when the tree that it
//! belongs to has given its root. One that is there already is compared, never written. Whatever interrupts an export, so
//! every file with a name is whole and right, and the checkpoint is over files that are there.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};
use secure_log::Error;
use secure_log::tiles::{Kind, TilePath};

use super::files::{Files, read};

/// The folder for what is not finished.
const WORK: &str = ".eds";
/// Threads that write: most of their time they wait for the disk.
const WRITERS: usize = 4;
/// Files that wait for them, so that memory stays small.
const WAITING: usize = 32;

/// The directory, held by one export at a time.
pub(super) struct TileDir {
    root: PathBuf,
    files: Files,
    _lock: File,
    next: AtomicU64,
}

/// Files that have no name yet, and how many were there.
#[derive(Default)]
pub(super) struct Staged {
    files: Vec<(PathBuf, String)>,
    /// Files that were there already, with the same bytes.
    pub there: u64,
}

impl Staged {
    /// Files to be named.
    pub fn new_files(&self) -> u64 {
        self.files.len() as u64
    }
}

/// Takes the files of a tree.
pub(super) struct Stage<'a> {
    send: SyncSender<(String, Vec<u8>)>,
    prefix: &'a str,
    failed: &'a AtomicBool,
}

impl Stage<'_> {
    /// Takes a file. An error says that another one failed; its own comes out of [`TileDir::stage`].
    pub fn put(&self, path: TilePath, bytes: Vec<u8>) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            bail!("a file could not be written");
        }
        let gone = |_| anyhow!("nobody writes any more");
        self.send.send((format!("{}{path}", self.prefix), bytes)).map_err(gone)
    }
}

impl TileDir {
    /// Takes the directory, and makes it if need be. What an interrupted export left is removed.
    pub fn open(root: &Path) -> Result<Self> {
        let cannot = || format!("cannot work in {}", root.display());
        let work = root.join(WORK);
        fs::create_dir_all(&work).with_context(cannot)?;
        let lock = File::create(work.join("lock")).with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Busy(format!("another export writes to {}", root.display())).into());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        let stage = work.join("new");
        match fs::remove_dir_all(&stage) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).with_context(cannot),
            _ => fs::create_dir(&stage).with_context(cannot)?,
        }
        let root = root.canonicalize().with_context(cannot)?;
        Ok(Self { files: Files::Dir(root.clone()), root, _lock: lock, next: AtomicU64::new(0) })
    }

    /// What is in it.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Runs `work`, which gives the files of a tree, and writes them aside.
    pub fn stage<T>(&self, prefix: &str, work: impl FnOnce(&Stage<'_>) -> Result<T>) -> Result<(T, Staged)> {
        let (send, receive) = sync_channel(WAITING);
        let (receive, failed) = (Mutex::new(receive), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..WRITERS).map(|_| scope.spawn(|| self.write_staged(&receive, &failed))).collect();
            let stage = Stage { send, prefix, failed: &failed };
            let outcome = work(&stage);
            // The writers end when nothing more can come.
            drop(stage);
            let mut staged = Staged::default();
            for writer in writers {
                let part = writer.join().map_err(|_| anyhow!("a writing thread died"))??;
                staged.there += part.there;
                staged.files.extend(part.files);
            }
            Ok((outcome?, staged))
        })
    }

    fn write_staged(
        &self,
        receive: &Mutex<Receiver<(String, Vec<u8>)>>,
        failed: &AtomicBool,
    ) -> Result<Staged> {
        let mut outcome = Ok(Staged::default());
        loop {
            let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((path, bytes)) = next else { return outcome };
            // After an error the rest is taken all the same: whoever sends must not wait for ever.
            let Ok(staged) = &mut outcome else { continue };
            if let Err(error) = self.write_aside(staged, path, &bytes) {
                failed.store(true, Ordering::Relaxed);
                outcome = Err(error);
            }
        }
    }

    fn write_aside(&self, staged: &mut Staged, path: String, bytes: &[u8]) -> Result<()> {
        let named = self.root.join(&path);
        match read(&named, bytes.len()) {
            Ok(None) => {}
            Ok(Some(there)) if there == bytes => {
                staged.there += 1;
                return Ok(());
            }
            Ok(Some(_)) | Err(Error::Invalid(_)) => {
                let reason = "it is there already and holds something else than the log gives; files of an export never change";
                return Err(Error::conflict(named.display().to_string(), None, reason).into());
            }
            Err(error) => return Err(error.into()),
        }
        staged.files.push((self.aside(bytes)?, path));
        Ok(())
    }

    /// A synced file without a name.
    fn aside(&self, bytes: &[u8]) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let aside = self.root.join(WORK).join("new").join(number.to_string());
        let written = File::create_new(&aside).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.with_context(|| format!("cannot write {}", aside.display()))?;
        Ok(aside)
    }

    /// Gives the files their names. They are durable when it returns.
    pub fn name(&self, staged: Staged) -> Result<()> {
        let mut dirs = BTreeSet::new();
        for (aside, path) in staged.files {
            let named = self.root.join(path);
            let cannot = || format!("cannot write {}", named.display());
            let dir = named.parent().unwrap_or(&self.root);
            if !dirs.contains(dir) {
                fs::create_dir_all(dir).with_context(cannot)?;
                dirs.extend(dir.ancestors().take_while(|d| d.starts_with(&self.root)).map(Path::to_owned));
            }
            fs::rename(&aside, &named).with_context(cannot)?;
        }
        dirs.iter().try_for_each(|dir| sync_dir(dir))
    }

    /// Replaces a file that may change: a head. Reads it back.
    pub fn replace(&self, path: &str, text: &str) -> Result<()> {
        let named = self.root.join(path);
        let dir = named.parent().unwrap_or(&self.root);
        let cannot = || format!("cannot write {}", named.display());
        fs::create_dir_all(dir).with_context(cannot)?;
        fs::rename(self.aside(text.as_bytes())?, &named).with_context(cannot)?;
        sync_dir(dir)?;
        if read(&named, text.len())?.as_deref() != Some(text.as_bytes()) {
            return Err(Error::Storage(format!("{} is not what was written", named.display())).into());
        }
        Ok(())
    }

    /// Removes partial files of a tree where the full one is there and goes on from them. Gives how many.
    pub fn prune(&self, prefix: &str) -> Result<u64> {
        let top = self.root.join(prefix);
        let (mut pruned, mut dirs) = (0, vec![top.join("tile")]);
        while let Some(dir) = dirs.pop() {
            let entries = match fs::read_dir(&dir) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                outcome => outcome.with_context(|| format!("cannot read {}", dir.display()))?,
            };
            let mut removed = false;
            for entry in entries {
                let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let name = path.strip_prefix(&top).ok().and_then(Path::to_str).and_then(TilePath::parse);
                if let Some(partial) = name.filter(|name| *name != name.full())
                    && self.supersedes(&top, partial)?
                {
                    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                    (pruned, removed) = (pruned + 1, true);
                }
            }
            if removed {
                // What is still wanted keeps its folder.
                let _ = fs::remove_dir(&dir);
            }
        }
        Ok(pruned)
    }

    /// Whether the full file is there. It must go on from the partial one.
    fn supersedes(&self, top: &Path, partial: TilePath) -> Result<bool> {
        let max = match partial.kind {
            Kind::Tile(_) => secure_log::tiles::MAX_TILE,
            Kind::Entries => secure_log::tiles::MAX_BUNDLE,
        };
        let (full, part) = (partial.full().to_string(), partial.to_string());
        let (Some(full), Some(bytes)) = (read(&top.join(full), max)?, read(&top.join(part), max)?) else {
            return Ok(false);
        };
        match full.starts_with(&bytes) {
            true => Ok(true),
            false => Err(Error::conflict(
                top.join(partial.to_string()).display().to_string(),
                None,
                format!("{} does not go on from it", partial.full()),
            )
            .into()),
        }
    }
}

/// Makes names in a directory durable.
fn sync_dir(dir: &Path) -> Result<()> {
    // Windows has no such thing.
    if cfg!(unix) {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.with_context(|| format!("cannot sync {}", dir.display()))?;
    }
    Ok(())
}
