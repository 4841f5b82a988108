//! The composed artifacts, and logs for them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use secure_log_host::{Artifact, Checks, Guest, Site, StorePath};

/// Path of an artifact. A test without it fails: it would have tested nothing.
pub fn dist(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist").join(name);
    assert!(path.is_file(), "dist/{name} is not there: run scripts/build-components.sh first");
    path
}

/// Calls of its instances can have deadlines.
pub fn artifact(name: &str) -> Artifact {
    let checks = Checks { deadline: true, ..Checks::default() };
    Artifact::load_checked(&dist(name), checks).unwrap()
}

/// An instance without the noise of its stderr.
pub fn guest() -> Guest {
    Guest { silent: true, ..Guest::default() }
}

/// The log in `dir`.
pub fn site(dir: &Path, guest: &Guest) -> Site {
    let store = StorePath::file(&dir.join("audit.db")).unwrap();
    Site::local(&store, guest, Duration::from_secs(10)).unwrap()
}
