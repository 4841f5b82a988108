//! Starts instances: which directories and variables they see, and under which lock.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::failure;
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log_rpc::{Server, Transport};
use secure_log_sqlite::SqliteSecureLogStore;

use crate::endpoint::{Endpoint, Settings};
use crate::host::{Artifact, Guest, Hosted, Reach, Site};
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

/// An instance, the endpoint that it calls if it is a remote one, and the lock under which all of that runs. Dropped
/// in this order.
pub struct Session {
    log: Hosted,
    endpoint: Option<Endpoint>,
    remote: bool,
    site: Site,
    _endpoints: Option<HostLock>,
}

impl Launcher {
    /// An instance that may open `store` and has not yet; `also` are further directories,
    /// known to the guest by their host paths. A remote stack sees none of them: its endpoint does, and puts copies
    /// into the first.
    pub fn start(&self, store: &StorePath, also: &[&Path]) -> anyhow::Result<Session> {
        let reach = self.artifact.reach();
        if reach == Reach::Here {
            let mut site = if self.host_lock {
                Site::local(store, &self.guest, self.patience)?
            } else {
                Site::unlocked(store, &self.guest)
            };
            for dir in also {
                site = site.also(dir)?;
            }
            let log = site.start(&self.artifact)?;
            return Ok(Session { log, endpoint: None, remote: false, site, _endpoints: None });
        }
        // The other end is in this process, and the store is its.
        let lock = match store.host_path().filter(|_| self.host_lock) {
            Some(path) => Some(HostLock::acquire(path, self.patience)?),
            None => None,
        };
        let (mut endpoint, mut transport) = (None, None);
        let mut guest = self.guest.clone();
        if reach == Reach::Http {
            let settings = self.endpoint_settings(store, also, lock.is_some())?;
            let started = Endpoint::start(&settings)?;
            for (name, value) in settings.client_env(started.url()) {
                guest.set_env(name, value);
            }
            endpoint = Some(started);
        } else {
            let native = SqliteSecureLogStore::open(&store.native_config(lock.is_some()))
                .with_context(|| format!("open {}", store.host_config()))?;
            let copies = also.first().copied().unwrap_or(Path::new("."));
            let server = Server::new(native).with_backups(copies.to_string_lossy());
            transport = Some(Box::new(server) as Box<dyn Transport + Send>);
        }
        let site = Site::remote(&guest);
        let log = site.start_over(&self.artifact, transport)?;
        Ok(Session { log, endpoint, remote: true, site, _endpoints: lock })
    }

    /// Moves everything into the store's file: an endpoint leaves the newest entries in a log of writes beside it, which
    /// SQLite cuts off at the first damage instead of naming that.
    pub fn settle(&self, store: &StorePath) -> anyhow::Result<()> {
        if self.artifact.reach() == Reach::Http {
            SqliteSecureLogStore::open(&store.native_config(false))?.close()?;
        }
        Ok(())
    }

    /// An endpoint over `store`, for a stack that calls it.
    fn endpoint_settings(&self, store: &StorePath, also: &[&Path], locked: bool) -> anyhow::Result<Settings> {
        let path = store.host_path().context("an endpoint has its store in a file")?;
        let name = path.file_name().and_then(|name| name.to_str()).context("a store's name is UTF-8")?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut settings = Settings::beside(self.artifact.path(), dir, name)?;
        if let Some((_, options)) = store.guest_config(locked).split_once('?') {
            settings.config = format!("{}?{options}", settings.config);
        }
        settings.copies = also.first().map(|dir| dir.to_path_buf());
        Ok(settings)
    }

    /// An instance with `store` open.
    pub fn open(&self, store: &StorePath) -> anyhow::Result<Session> {
        let mut session = self.start(store, &[])?;
        session.open_log().with_context(|| format!("open({:?})", session.config()))?;
        Ok(session)
    }
}

impl Session {
    /// Opens the store that the session was started for.
    pub fn open_log(&mut self) -> failure::Result<()> {
        self.log.open(self.site.config())
    }

    /// The config that the component gets.
    pub fn config(&self) -> &str {
        self.site.config()
    }

    /// The config for a copy at `path`: an endpoint takes its name, and has a directory for it.
    pub fn copy_config(&self, path: &Path) -> anyhow::Result<String> {
        let text = if self.remote { path.file_name().and_then(|name| name.to_str()) } else { path.to_str() };
        Ok(text.with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned())
    }

    /// Where its endpoint is, if it has one.
    pub fn endpoint_url(&self) -> Option<&str> {
        self.endpoint.as_ref().map(Endpoint::url)
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

/// The signing keys of a run.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The key to sign with.
    pub identity: String,
    /// Where they are.
    pub place: Place,
}

/// Where signing keys are.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the memory of the instance, made there and gone with it.
    Memory,
    /// In a directory of `<label>.pem` files.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Whether the harness made it for this log.
        ours: bool,
    },
    /// On a token, with these names.
    Token(Vec<String>),
}

impl Keys {
    /// Labels of all keys; in a directory sorted, and a name with an escape in it is left out.
    pub fn labels(&self) -> Vec<String> {
        let dir = match &self.place {
            Place::Memory => return Vec::new(),
            Place::Token(names) => return names.clone(),
            Place::Directory { path, .. } => path,
        };
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut labels: Vec<String> = files
            .filter_map(|file| file.file_name().to_str()?.strip_suffix(".pem").map(str::to_owned))
            .filter(|label| !label.contains('%'))
            .collect();
        labels.sort();
        labels
    }
}
