//! The composed artifacts, and stores for them.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod http;
pub mod remote;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secure_log_verify::host::{Artifact, Guest};
use secure_log_verify::kill::Writers;
use secure_log_verify::launch::{Launcher, Session};
use secure_log_verify::store_path::StorePath;
use tempfile::TempDir;

/// Both stacks: artifact and a name for its store.
pub const STACKS: [(&str, &str); 2] =
    [("secure-log-sqlite.wasm", "audit.db"), ("secure-log-file.wasm", "audit.jsonl")];

/// Path of an artifact. A test without it fails: it would have tested nothing.
pub fn dist(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist").join(name);
    assert!(path.is_file(), "dist/{name} is not there: run scripts/build-components.sh first");
    path
}

/// One stack with an empty directory for its store.
pub struct Stack {
    pub launcher: Launcher,
    pub store: StorePath,
    pub dir: TempDir,
}

impl Stack {
    /// `options` go into the config: `lease-ms=300&wait-ms=0`.
    pub fn new((artifact, store): (&str, &str), host_lock: bool, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut path = StorePath::file(&dir.path().join(store)).unwrap();
        for option in options {
            path = path.with(option);
        }
        Self { launcher: launcher(artifact, host_lock), store: path, dir }
    }

    pub fn open(&self) -> Session {
        self.launcher.open(&self.store).unwrap()
    }

    pub fn writers(&self) -> Writers {
        Writers {
            program: env!("CARGO_BIN_EXE_secure-log-verify").into(),
            artifact: self.launcher.artifact.path().to_owned(),
            store: self.store.clone(),
            host_lock: self.launcher.host_lock,
            env: Vec::new(),
        }
    }
}

/// Instances of an artifact, without the noise of their stderr.
pub fn launcher(artifact: &str, host_lock: bool) -> Launcher {
    let artifact = Artifact::load(&dist(artifact)).unwrap();
    let guest = Guest { silent: true, ..Guest::default() };
    Launcher { artifact, guest, host_lock, patience: Duration::from_secs(60) }
}

/// A number from the environment, so that the same test can run longer.
pub fn number(name: &str, default: u32) -> u32 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")))
}

/// Verifies every stream from end to end.
pub fn verify_all(log: &mut Session) -> u64 {
    let heads: Vec<_> = log.list_streams().unwrap().into_iter().filter_map(|s| s.head).collect();
    heads.iter().map(|head| log.verify_chain(&head.stream_id, 1, head.seqno).unwrap().entries_checked).sum()
}
