//! The speed table: what a composed component costs, beside native code, in one run.
//!
//! Both sides of a ratio are measured in turns, so that a machine that slows down slows both.

mod append;
mod host;
mod ingest;
mod keys;
mod machine;
mod measure;
mod native;
mod remote;
mod scale;
mod sealing;
mod serve;
mod sign;
mod table;
mod tiles;
mod trust;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::host::{Artifact, Guest};
use crate::launch::{Launcher, Session};
use crate::store_path::StorePath;
use table::Table;

/// How large the logs are that are measured.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Entries of the log that is verified.
    pub verify: u64,
    /// Entries of the large log.
    pub large: u64,
    /// Rounds of each comparison.
    pub rounds: usize,
}

impl Sizes {
    /// Full sizes, as the targets name them.
    pub const FULL: Self = Self { verify: 100_000, large: 1_000_000, rounds: 15 };
    /// A tenth of them.
    pub const QUICK: Self = Self { verify: 10_000, large: 100_000, rounds: 7 };
}

/// A part of the table: what it measures, and how.
type Part = (&'static str, fn(&Bench, &mut Table) -> anyhow::Result<()>);

/// All parts, in the order of the table.
pub const PARTS: [Part; 13] = [
    ("append", append::rows),
    ("host", host::rows),
    ("sealing", sealing::rows),
    ("verify", verify::rows),
    ("scale", scale::rows),
    ("tiles", tiles::rows),
    ("trust", trust::rows),
    ("sign", sign::rows),
    ("keys", keys::rows),
    ("remote", remote::rows),
    ("ingest", ingest::rows),
    ("serve", serve::rows),
    (LONG, serve::devices),
];

/// A part that is measured only when asked for: it takes several minutes.
const LONG: &str = "scale-devices";

/// What the measurements share.
pub struct Bench {
    launcher: Launcher,
    dist: PathBuf,
    dir: TempDir,
    sizes: Sizes,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn store(&self, name: &str) -> anyhow::Result<StorePath> {
        Ok(StorePath::file(&self.path(name))?)
    }

    /// The same stack over files.
    fn file_launcher(&self) -> anyhow::Result<Launcher> {
        let artifact = Artifact::load(&self.dist.join("secure-log-file.wasm"))?;
        Ok(Launcher { artifact, ..self.launcher.clone() })
    }

    fn open(&self, name: &str) -> anyhow::Result<Session> {
        self.launcher.open(&self.store(name)?)
    }
}

/// Measures everything, or one part, and prints the table. `dir` is where logs are kept while it runs.
pub fn run(artifact: &Path, dir: Option<&Path>, sizes: Sizes, part: Option<&str>) -> anyhow::Result<bool> {
    let dist = artifact.parent().context("the artifact has no folder")?.to_owned();
    let guest = Guest { silent: true, ..Guest::default() };
    let launcher = Launcher {
        artifact: Artifact::load(artifact)?,
        guest,
        host_lock: true,
        patience: std::time::Duration::from_secs(5),
    };
    let dir = match dir.map(Path::to_owned).or_else(beside_this_program) {
        Some(dir) => tempfile::Builder::new().prefix("bench-").tempdir_in(&dir),
        None => TempDir::new(),
    }
    .context("cannot make a directory for the logs to measure")?;
    let bench = Bench { launcher, dist, dir, sizes };
    println!("{}\n", machine::line(bench.dir.path()));
    let mut table = Table::new();
    for (_, rows) in PARTS.iter().filter(|(name, _)| part.map_or(*name != LONG, |part| part == *name)) {
        rows(&bench, &mut table)?;
    }
    table.sizes(&bench.dist);
    Ok(table.finish())
}

/// The build folder, which is on a disk where the temporary directory may be in memory.
fn beside_this_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().find(|dir| dir.file_name().is_some_and(|name| name == "target")).map(Path::to_owned)
}
