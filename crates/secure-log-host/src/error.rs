//! Why nothing could be started.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;
use crate::head::HeadError;

/// A result of starting something.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a component, an instance or an owner could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file of a component.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// wasmtime cannot be set up on this machine.
    #[error("wasmtime cannot be set up: {0}")]
    Engine(String),
    /// A limit that the artifact was not compiled for.
    #[error(
        "a {limit} needs an artifact that was compiled for it: Artifact::load_checked, or HostedLog::builder"
    )]
    NotChecked {
        /// `deadline` or `fuel`.
        limit: &'static str,
    },
    /// Not a component, or one that needs what this host does not have.
    #[error("{name} is not a WebAssembly component that this host can run: {reason}")]
    Component {
        /// The artifact.
        name: String,
        /// What wasmtime said.
        reason: String,
    },
    /// Its imports or exports are not the ones of `wit/`.
    #[error(
        "{name} cannot be instantiated: {reason}. If it is older than wit/, build it again \
         (scripts/build-components.sh)"
    )]
    Instantiate {
        /// The artifact.
        name: String,
        /// What wasmtime said.
        reason: String,
    },
    /// It signs with keys on a token of this host, and there is none.
    #[error(
        "{name} signs with a token of its host, and this host was given none: load its PKCS #11 library \
         (token::Module::load) and put it in Guest::token, or take an artifact that has a token in it"
    )]
    NoToken {
        /// The artifact.
        name: String,
    },
    /// A directory that the guest was to see.
    #[error("cannot open the directory {path}: {reason}", path = .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A config, a path.
    #[error("{what} {reason}")]
    Path {
        /// The path, as it was given.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process holds the native lock of the store.
    #[error(
        "busy: another process has {store} open (it holds {lock}); waited {waited} s. End it, or wait longer",
        store = .store.display(), lock = .lock.display(), waited = .waited.as_secs_f32()
    )]
    Busy {
        /// The store.
        store: PathBuf,
        /// Its lock file.
        lock: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The lock file.
    #[error("cannot lock {path}", path = .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The component refused to open the store.
    #[error(transparent)]
    Open(Box<OpenError>),
    /// The log is not where its head file says it was.
    #[error(transparent)]
    Head(#[from] Box<HeadError>),
    /// No thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// The component refused to open the store.
#[derive(Debug, thiserror::Error)]
#[error("open({config:?})")]
pub struct OpenError {
    /// The config that the component got.
    pub config: String,
    /// What it said.
    pub source: Failure,
}

impl Error {
    pub(crate) fn open(config: &str, source: Failure) -> Self {
        Self::Open(Box::new(OpenError { config: config.to_owned(), source }))
    }
}
