//! Starts instances: which directories and variables they see, and under which lock.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::failure;
use crate::host::{Artifact, Guest, Hosted};
use crate::lock::HostLock;
use crate::store_path::StorePath;

/// Everything that instances of one run have in common.
#[derive(Clone)]
pub struct Launcher {
    /// The component.
    pub artifact: Artifact,
    /// What each instance sees, apart from the directory of its store.
    pub guest: Guest,
    /// Hold a native lock and tell the store so.
    pub host_lock: bool,
    /// How long to wait for another holder of the native lock.
    pub patience: Duration,
}

/// An instance and the lock under which it runs. The instance goes first.
pub struct Session {
    log: Hosted,
    config: String,
    _lock: Option<HostLock>,
}

impl Launcher {
    /// An instance that may open `store` and has not yet; `also` are further directories,
    /// known to the guest by their host paths.
    pub fn start(&self, store: &StorePath, also: &[&Path]) -> anyhow::Result<Session> {
        let mut guest = self.guest.clone();
        if let Some((host, name)) = store.preopen() {
            guest.preopen(host, name);
        }
        for dir in also {
            guest.preopen(*dir, dir.to_str().context("a directory's name is not UTF-8")?);
        }
        let lock = match store.host_path().filter(|_| self.host_lock) {
            Some(path) => Some(HostLock::acquire(path, self.patience)?),
            None => None,
        };
        let config = store.guest_config(lock.is_some());
        Ok(Session { log: self.artifact.start(&guest)?, config, _lock: lock })
    }

    /// An instance with `store` open.
    pub fn open(&self, store: &StorePath) -> anyhow::Result<Session> {
        let mut session = self.start(store, &[])?;
        session.open_log().with_context(|| format!("open({:?})", session.config))?;
        Ok(session)
    }
}

impl Session {
    /// Opens the store that the session was started for.
    pub fn open_log(&mut self) -> failure::Result<()> {
        self.log.open(&self.config)
    }

    /// The config that the component gets.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// Ends it in order: the store is given back before the lock.
    pub fn finish(mut self) -> failure::Result<()> {
        self.log.close()
    }
}

impl Deref for Session {
    type Target = Hosted;

    fn deref(&self) -> &Hosted {
        &self.log
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Hosted {
        &mut self.log
    }
}

/// Where signing keys are: a directory of `<label>.pem` files, or nowhere (ephemeral keys).
#[derive(Clone, Debug)]
pub struct Keys {
    /// The key to sign with.
    pub identity: String,
    /// Directory of the keys.
    pub dir: Option<PathBuf>,
    /// Whether the harness made that directory for this log.
    pub ours: bool,
}

impl Keys {
    /// Labels of all keys in the directory, sorted; a name with an escape in it is left out.
    pub fn labels(&self) -> Vec<String> {
        let files = self.dir.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
        let mut labels: Vec<String> = files
            .filter_map(|file| file.file_name().to_str()?.strip_suffix(".pem").map(str::to_owned))
            .filter(|label| !label.contains('%'))
            .collect();
        labels.sort();
        labels
    }
}
