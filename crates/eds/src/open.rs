//! Opening a log: which stack, which store, which keys.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use edgesentry_server::admin::{AdminClient, AdminError, socket_path};
use secure_log_host::{Artifact, Guest, HeadFile, HostedLog, Reach, Site, StorePath};
use secure_log_keystore::DIR_VARIABLE;

use crate::signing::Signing;
use crate::{stack, time};

/// What a component may take at most: many times what it needs, and less than what hurts its machine.
const MEMORY: usize = 1 << 30;

/// Where the last checkpoint is kept.
const HEAD_VARIABLE: &str = "SECURE_LOG_HEAD_FILE";

/// Where a remote store is.
const RPC_URL: &str = "SECURE_LOG_RPC_URL";

// Which log a command works on.
#[derive(Args, Debug, Clone)]
pub(crate) struct StoreArgs {
    /// What keeps the log: sqlite, file, remote, or a composed component (PATH.wasm)
    #[arg(long, value_name = "STACK", default_value = "sqlite", help_heading = "Log")]
    pub stack: String,

    /// Where the log is kept: a path (options follow a `?`, such as lease-ms=N); for a remote stack the endpoint's URL
    /// [default: audit.db (audit.jsonl for file) in $STATE_DIRECTORY or the working directory; SECURE_LOG_RPC_URL]
    #[arg(long, value_name = "PATH", help_heading = "Log")]
    pub store: Option<String>,

    /// Directory of the keys that sign checkpoints [default: SECURE_LOG_KEYSTORE_DIR]
    #[arg(long, value_name = "DIR", help_heading = "Log")]
    pub keys: Option<PathBuf>,

    /// File that keeps the last checkpoint, best on another disk: a store that is behind or beside it is not opened
    /// [default: SECURE_LOG_HEAD_FILE; none without it]
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    pub head_file: Option<PathBuf>,

    /// How long to wait for another process that has the log open
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time::parse_duration, help_heading = "Log")]
    pub wait: Duration,
}

/// Which of a stack's two compositions is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The log alone.
    Log,
    /// The log with the gate for records of devices.
    Gate,
}

/// A log that can be opened.
#[derive(Debug)]
pub(crate) struct Place {
    artifact: Artifact,
    guest: Guest,
    store: Option<StorePath>,
    wait: Duration,
    url: Option<String>,
    head: Option<HeadFile>,
}

/// A log that is open.
pub(crate) type Open = HostedLog;

impl StoreArgs {
    /// Finds the component and the store. The store need not be there yet.
    pub fn place(&self, part: Part) -> Result<Place> {
        self.place_to_sign(part, Signing::Files)
    }

    /// The same for an instance that signs.
    pub fn place_to_sign(&self, part: Part, signing: Signing) -> Result<Place> {
        let artifact = self.artifact(part, &signing)?;
        let mut guest = Guest { env: environment(), memory_limit: Some(MEMORY), ..Guest::default() };
        let keys = self.keys_dir().filter(|_| matches!(signing, Signing::Files));
        signing.prepare(&mut guest);
        if let Some(dir) = keys {
            let dir = canonical(&dir, "the directory of keys")?;
            guest.preopen(&dir.0, &dir.1);
            guest.set_env(DIR_VARIABLE, dir.1);
        }
        let (mut store, mut url) = (None, None);
        if artifact.reach() == Reach::Here {
            store = Some(match &self.store {
                Some(store) => StorePath::parse(store)?,
                None => StorePath::file(&self.default_store())?,
            });
        } else {
            if let Some(given) = &self.store {
                guest.set_env(RPC_URL, given);
            }
            url = guest.env.iter().find(|(name, _)| name == RPC_URL).map(|(_, url)| url.clone());
            if url.as_ref().is_none_or(String::is_empty) {
                bail!("no endpoint is given: use --store URL, or {RPC_URL}");
            }
        }
        Ok(Place { artifact, guest, store, wait: self.wait, url, head: self.head() })
    }

    /// Whether the stack is a component of the user's.
    pub fn is_a_file(&self) -> bool {
        Path::new(&self.stack).extension().is_some_and(|e| e == "wasm")
    }

    fn artifact(&self, part: Part, signing: &Signing) -> Result<Artifact> {
        if self.is_a_file() {
            let artifact = Artifact::load_fastest(Path::new(&self.stack))?;
            return match (signing, artifact.imports_token()) {
                (Signing::Module(_), false) => bail!(
                    "{} does not import pkcs11:token/tokens: it signs with keys of its own (--keys DIR, or --token-dir DIR for \
                     one with a token in it)",
                    self.stack
                ),
                (Signing::Files | Signing::Graph { .. }, true) => bail!(
                    "{} signs with a token of this machine: give one with --pkcs11-module to a command that signs. Others work \
                     on the same store with --stack sqlite",
                    self.stack
                ),
                _ => Ok(artifact),
            };
        }
        let short = self.stack.strip_prefix("secure-log-").unwrap_or(&self.stack);
        let short = short.strip_prefix("edgesentry-").unwrap_or(short);
        let short = short.strip_prefix("ingest-").unwrap_or(short);
        let name = match part {
            _ if matches!(signing, Signing::Module(_)) => format!("ingest-{short}-pkcs11-host"),
            Part::Log => short.to_owned(),
            Part::Gate => format!("ingest-{short}"),
        };
        let carried = stack::find(&name).with_context(|| {
            let what = if part == Part::Gate { " with a gate" } else { "" };
            format!(
                "there is no stack {:?}{what}: use sqlite, remote{}, or the path of a composed component (.wasm)",
                self.stack,
                if part == Part::Gate { "" } else { ", file" }
            )
        })?;
        Ok(Artifact::from_bytes(carried.name, carried.portable, carried.wide)?)
    }

    /// The head file, if there is to be one.
    pub(crate) fn head(&self) -> Option<HeadFile> {
        let from_env = || std::env::var_os(HEAD_VARIABLE).map(PathBuf::from);
        let path = self.head_file.clone().or_else(from_env).filter(|path| !path.as_os_str().is_empty());
        path.map(HeadFile::new)
    }

    pub(crate) fn keys_dir(&self) -> Option<PathBuf> {
        let from_env = || std::env::var_os(DIR_VARIABLE).map(PathBuf::from);
        self.keys.clone().or_else(from_env).filter(|dir| !dir.as_os_str().is_empty())
    }

    /// `audit.db` in the state directory of a service, or in the working directory.
    fn default_store(&self) -> PathBuf {
        let name = if self.stack.contains("file") { "audit.jsonl" } else { "audit.db" };
        match std::env::var_os("STATE_DIRECTORY").filter(|dir| !dir.is_empty()) {
            Some(dirs) => first_of(dirs).join(name),
            None => PathBuf::from(name),
        }
    }
}

/// systemd puts several directories into one variable, with colons between them.
fn first_of(dirs: OsString) -> PathBuf {
    std::env::split_paths(&dirs).next().unwrap_or_default()
}

/// What of the environment components get to see: no PIN, which is for the token alone.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("SECURE_LOG_") && !name.starts_with("SECURE_LOG_TOKEN_"))
        .collect()
}

/// A directory's real path, and that as text.
pub(crate) fn canonical(dir: &Path, what: &str) -> Result<(PathBuf, String)> {
    let path = dir.canonicalize().with_context(|| format!("{what}, {}, is not there", dir.display()))?;
    if !path.is_dir() {
        bail!("{what}, {}, is not a directory", dir.display());
    }
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned();
    Ok((path, text))
}

impl Place {
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// The store's file, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        self.store.as_ref().and_then(StorePath::host_path)
    }

    /// Where the log is, in words.
    pub fn shown(&self) -> String {
        match (&self.store, &self.url) {
            (Some(store), _) => store.host_config(),
            (None, Some(url)) => url.clone(),
            (None, None) => "the log".to_owned(),
        }
    }

    /// Lets the component see a further directory.
    pub fn also(&mut self, dir: &Path) -> Result<()> {
        let (path, name) = canonical(dir, "the directory")?;
        self.guest.preopen(path, name);
        Ok(())
    }

    /// Whether there is something at the store's place. What is remote or in memory counts as there.
    pub fn exists(&self) -> bool {
        self.path().is_none_or(Path::exists)
    }

    /// Refuses to make a log where one was to be looked at.
    pub fn must_exist(self) -> Result<Self> {
        if self.exists() {
            return Ok(self);
        }
        bail!("there is no log at {}: give its path with --store", self.shown())
    }

    /// The same place without its head file, for whoever is about to replace that.
    pub fn without_head(mut self) -> Self {
        self.head = None;
        self
    }

    /// The place under its lock.
    pub fn site(&self) -> Result<Site> {
        let site = match &self.store {
            Some(store) => Site::local(store, &self.guest, self.wait)?,
            None => Site::remote(&self.guest),
        };
        Ok(match &self.head {
            Some(head) => site.with_head(head.clone()),
            None => site,
        })
    }

    /// An instance with the log open.
    pub fn open(&self) -> Result<Open> {
        let site = self.site().map_err(|error| match self.server() {
            Ok(Some(_)) => error.context(
                "a server has the log open: `eds audit devices`, `export`, `verify-store` and `eds log backup` go through \
                 it, and what `eds log backup` copied can be looked at with any command",
            ),
            _ => error,
        })?;
        HostedLog::at(site, &self.artifact).with_context(|| format!("cannot open {}", self.shown()))
    }

    /// The server that has the store open and takes the operator's calls, if there is one.
    pub fn server(&self) -> Result<Option<AdminClient>> {
        let Some(path) = self.path() else { return Ok(None) };
        match AdminClient::connect(&socket_path(path)) {
            Ok(client) => Ok(Some(client)),
            Err(AdminError::NobodyThere(_)) => Ok(None),
            Err(error) => Err(error).context("a server seems to have the store, and cannot be asked"),
        }
    }
}
