//! The place of a log, prepared for instances that work on it one after the other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secure_log_rpc::Transport;

use crate::artifact::Artifact;
use crate::error::{Error, Result};
use crate::guest::Guest;
use crate::head::HeadFile;
use crate::hosted::Hosted;
use crate::lock::HostLock;
use crate::store_path::{StorePath, utf8};

/// What a remote store is opened with: its endpoint knows where it is.
pub const HANDSHAKE: &str = "remote";

/// Where a log is, what an instance sees of it, and the lock under which that holds. Keep it as long as the instance.
#[derive(Debug)]
pub struct Site {
    guest: Guest,
    config: String,
    /// File of the store, if it is in one.
    path: Option<PathBuf>,
    local: bool,
    head: Option<HeadFile>,
    _lock: Option<HostLock>,
}

impl Site {
    /// A log in files of this machine (or in memory). Takes the native lock of the store, waiting at most `patience`
    /// for another process, and tells the store so: after a crash it is served at once.
    pub fn local(store: &StorePath, guest: &Guest, patience: Duration) -> Result<Self> {
        let lock = store.host_path().map(|path| HostLock::acquire(path, patience)).transpose()?;
        Ok(Self::under(store, guest, lock))
    }

    /// The same without a native lock: the store's lease alone keeps others away.
    pub fn unlocked(store: &StorePath, guest: &Guest) -> Self {
        Self::under(store, guest, None)
    }

    /// A log behind an endpoint or a transport. `guest` says where: `SECURE_LOG_RPC_URL`, `SECURE_LOG_RPC_TOKEN`.
    pub fn remote(guest: &Guest) -> Self {
        Self {
            guest: guest.clone(),
            config: HANDSHAKE.into(),
            path: None,
            local: false,
            head: None,
            _lock: None,
        }
    }

    fn under(store: &StorePath, guest: &Guest, lock: Option<HostLock>) -> Self {
        let mut guest = guest.clone();
        if let Some((host, name)) = store.preopen() {
            guest.preopen(host, name);
        }
        let config = store.guest_config(lock.is_some());
        let path = store.host_path().map(Path::to_owned);
        Self { guest, config, path, local: true, head: None, _lock: lock }
    }

    /// Lets the guest see a further directory under its host path, for copies.
    pub fn also(mut self, dir: &Path) -> Result<Self> {
        self.guest.preopen(dir, utf8(dir)?);
        Ok(self)
    }

    /// Compares the log with a head file whenever it is opened, and keeps that file.
    pub fn with_head(mut self, head: HeadFile) -> Self {
        self.head = Some(head);
        self
    }

    /// The config that the component gets.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// What an instance sees.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Whether the log is in memory and ends with its instance.
    pub fn in_memory(&self) -> bool {
        self.local && self.path.is_none()
    }

    /// An instance that may open the log and has not yet.
    pub fn start(&self, artifact: &Artifact) -> Result<Hosted> {
        artifact.start(&self.guest)
    }

    /// The same, with `transport` as the one of the host.
    pub fn start_over(
        &self,
        artifact: &Artifact,
        transport: Option<Box<dyn Transport + Send>>,
    ) -> Result<Hosted> {
        artifact.start_over(&self.guest, transport)
    }

    /// An instance with the log open.
    pub fn open(&self, artifact: &Artifact) -> Result<Hosted> {
        self.open_started(self.start(artifact))
    }

    /// The same, with `transport` as the one of the host.
    pub fn open_over(&self, artifact: &Artifact, transport: Box<dyn Transport + Send>) -> Result<Hosted> {
        self.open_started(self.start_over(artifact, Some(transport)))
    }

    fn open_started(&self, started: Result<Hosted>) -> Result<Hosted> {
        if let (Some(head), Some(path)) = (&self.head, &self.path) {
            head.check_store(path).map_err(Box::new)?;
        }
        let mut hosted = started?;
        hosted.open(&self.config).map_err(|source| Error::open(&self.config, source))?;
        if let Some(head) = &self.head {
            hosted.keep_head(head.clone()).map_err(Box::new)?;
        }
        Ok(hosted)
    }
}
