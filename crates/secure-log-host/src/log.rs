//! An open log, from a component and a config.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secure_log_rpc::Transport;

use crate::artifact::{Artifact, Reach};
use crate::async_log::AsyncLog;
use crate::engine::Checks;
use crate::error::{Error, Result};
use crate::failure;
use crate::guest::Guest;
use crate::head::HeadFile;
use crate::hosted::Hosted;
use crate::owner::{LogOwner, Settings};
use crate::site::Site;
use crate::store_path::{StorePath, utf8};
use crate::token::Module;

/// Bytes that an instance may take unless the builder says otherwise: many times what it needs.
const MEMORY: usize = 1 << 30;
const RPC_URL: &str = "SECURE_LOG_RPC_URL";
const RPC_TOKEN: &str = "SECURE_LOG_RPC_TOKEN";
const KEYSTORE_DIR: &str = "SECURE_LOG_KEYSTORE_DIR";
const KEYSTORE_ALGORITHM: &str = "SECURE_LOG_KEYSTORE_ALG";
const KEYSTORE_GENERATE: &str = "SECURE_LOG_KEYSTORE_GENERATE";

/// An open log. Its calls are the methods of [`Hosted`], which it derefs to.
///
/// Dropping it runs no code of the component: what was answered is durable all the same, and a log in a file is served
/// again at once. [`close`](Self::close) ends it in order.
#[derive(Debug)]
pub struct HostedLog {
    // The instance goes first, the lock last.
    log: Hosted,
    _site: Site,
}

impl HostedLog {
    /// Opens the log at `config` with the component at `component`: a path (options follow a `?`) or `:memory:`, for a
    /// remote stack the endpoint's URL. The component sees the directory of the store and nothing else; keys are made
    /// in its memory and end with it. [`builder`](Self::builder) has everything else.
    pub fn open(component: impl AsRef<Path>, config: &str) -> Result<Self> {
        Self::builder().open(component, config)
    }

    /// Limits, directories, variables and keys of an instance.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The log of a site that was prepared by hand.
    pub fn at(site: Site, artifact: &Artifact) -> Result<Self> {
        Ok(Self { log: site.open(artifact)?, _site: site })
    }

    /// Gives the store back, then the lock.
    pub fn close(mut self) -> failure::Result<()> {
        self.log.close()
    }
}

impl Deref for HostedLog {
    type Target = Hosted;

    fn deref(&self) -> &Hosted {
        &self.log
    }
}

impl DerefMut for HostedLog {
    fn deref_mut(&mut self) -> &mut Hosted {
        &mut self.log
    }
}

/// How a log is opened: what its component may use and see. It sees nothing that is not named here but the directory
/// of the store.
#[derive(Clone, Debug)]
pub struct Builder {
    guest: Guest,
    keys: Option<PathBuf>,
    head: Option<HeadFile>,
    wait: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        let guest = Guest { memory_limit: Some(MEMORY), ..Guest::default() };
        Self { guest, keys: None, head: None, wait: Duration::from_secs(5) }
    }
}

impl Builder {
    /// Bytes that the memories of the component may take together (1 GiB without this). A call that needs more ends in
    /// [`Failure::Memory`](crate::Failure::Memory).
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.guest.memory_limit = Some(bytes);
        self
    }

    /// How long a call may compute; then it ends in [`Failure::Deadline`](crate::Failure::Deadline). Code that can be
    /// interrupted is slower in every loop.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.guest.deadline = Some(time);
        self
    }

    /// Fuel of a call, about one unit an instruction: a limit that does not depend on the machine. A call that needs
    /// more ends in [`Failure::Fuel`](crate::Failure::Fuel). Code that counts is slower in every loop.
    pub fn fuel(mut self, units: u64) -> Self {
        self.guest.fuel = Some(units);
        self
    }

    /// A directory that the component may read and write, and its name there.
    pub fn directory(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.guest.preopen(host, guest);
        self
    }

    /// A variable that the component sees.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.guest.set_env(name, value);
        self
    }

    /// Signs with the PKCS #8 keys `<identity>.pem` of this directory, which has to be there.
    pub fn keys(mut self, directory: impl Into<PathBuf>) -> Self {
        self.keys = Some(directory.into());
        self
    }

    /// Makes keys that are missing, of this algorithm: `ed25519`, `ecdsa-p256` or `rsa-pss-sha256`.
    pub fn make_missing_keys(self, algorithm: &str) -> Self {
        self.env(KEYSTORE_ALGORITHM, algorithm).env(KEYSTORE_GENERATE, "1")
    }

    /// Signs with keys of this token, for components that import one ([`Artifact::imports_token`]).
    pub fn token(mut self, token: Module) -> Self {
        self.guest.token = Some(token);
        self
    }

    /// What a remote stack shows its endpoint.
    pub fn rpc_token(self, token: &str) -> Self {
        self.env(RPC_TOKEN, token)
    }

    /// Keeps the last checkpoint in this file, best on another disk, and refuses a store that is behind or beside it.
    pub fn head_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.head = Some(HeadFile::new(file.into()));
        self
    }

    /// How long to wait for another process that has the log open (5 s without this).
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// Drops what the component writes to stdout and stderr; else both go to stderr.
    pub fn silent(mut self) -> Self {
        self.guest.silent = true;
        self
    }

    /// Opens the log at `config` with the component at `component`, or its wide build beside it
    /// ([`Artifact::load_fastest`]).
    pub fn open(self, component: impl AsRef<Path>, config: &str) -> Result<HostedLog> {
        let (artifact, site) = self.prepare(component.as_ref(), config)?;
        HostedLog::at(site, &artifact)
    }

    /// The same for a component that calls its store through `transport` (`dist/secure-log-transport.wasm`).
    pub fn open_over(
        self,
        component: impl AsRef<Path>,
        transport: Box<dyn Transport + Send>,
    ) -> Result<HostedLog> {
        let (artifact, site) = self.prepare(component.as_ref(), "")?;
        Ok(HostedLog { log: site.open_over(&artifact, transport)?, _site: site })
    }

    /// The same for async code: the log gets a thread of its own.
    pub async fn open_async(self, component: impl AsRef<Path>, config: &str) -> Result<AsyncLog> {
        let (component, config) = (component.as_ref().to_owned(), config.to_owned());
        let start = move || {
            let (artifact, site) = self.prepare(&component, &config)?;
            LogOwner::start(&artifact, site, Settings::default(), ())
        };
        AsyncLog::on_a_thread(start).await
    }

    /// The parts of [`open`](Self::open), for a [`LogOwner`].
    pub fn prepare(mut self, component: &Path, config: &str) -> Result<(Artifact, Site)> {
        let checks = Checks { deadline: self.guest.deadline.is_some(), fuel: self.guest.fuel.is_some() };
        let artifact = Artifact::fastest(component, checks)?;
        if let Some(dir) = self.keys {
            let real = dir.canonicalize().map_err(|e| Error::Path {
                what: format!("the directory of keys, {},", dir.display()),
                reason: format!("is not there: {e}"),
            })?;
            let name = utf8(&real)?.to_owned();
            self.guest.preopen(&real, &name);
            self.guest.set_env(KEYSTORE_DIR, name);
        }
        let site = if artifact.reach() == Reach::Here {
            Site::local(&StorePath::parse(config)?, &self.guest, self.wait)?
        } else {
            if !config.is_empty() {
                self.guest.set_env(RPC_URL, config);
            }
            Site::remote(&self.guest)
        };
        Ok((
            artifact,
            match self.head {
                Some(head) => site.with_head(head),
                None => site,
            },
        ))
    }
}
