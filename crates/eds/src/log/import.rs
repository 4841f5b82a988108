//! `import`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use secure_log::export::ExportReport;
use secure_log::import::Importer;
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::{Environment, NativeSecureLog, SecureLog};
use secure_log_file::FileSecureLogStore;
use secure_log_sqlite::SqliteSecureLogStore;
use serde_json::json;

use super::copies::{described, each_line, verify_export};
use crate::output::Output;
use crate::{files, time};

/// Make a log from an export, with the same entries, hashes and checkpoints
///
/// The export is verified first, then written into a new store (sqlite or file) with its headers and payloads as they
/// are, and the store is verified against the same keys before it gets its name: all or nothing. What the export does
/// not have is not there after it either: the order of storing between streams (queries over several streams answer
/// stream by stream), tiles (made anew when they are needed), and payloads that were kept elsewhere. Importing into a log
/// that is there already is not possible: entries of two logs cannot share one chain.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eds log import audit.export.jsonl --trust \"$(cat audit.vkey)\" --stack file --store copy.jsonl")]
pub(crate) struct Import {
    /// The export
    file: PathBuf,
    /// Verifier key that may have signed (C2SP: name+hash+key); may be given several times
    #[arg(long, value_name = "KEY", required = true)]
    trust: Vec<String>,
    /// What is to keep the log
    #[arg(long, value_name = "STACK", default_value = "sqlite", value_parser = ["sqlite", "file"])]
    stack: String,
    /// Where it is to be; nothing may be there yet
    #[arg(long, value_name = "PATH")]
    store: PathBuf,
}

impl Import {
    pub fn run(self, out: Output) -> Result<()> {
        let name = self.store.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} does not end in a file name", self.store.display()))?;
        ensure!(
            !name.contains('?') && name != ":memory:",
            "{name:?} cannot be the name of an imported store"
        );
        let dir = files::directory_of(&self.store);
        if let Some(there) = of_store(dir, name).first() {
            bail!(
                "{} is there already: an import makes a new log, so name another place",
                dir.join(there).display()
            );
        }
        let report = verify_export(&self.file, &self.trust)?;
        // Made aside and moved when all of it holds: a store that is there is whole.
        let aside = tempfile::Builder::new()
            .prefix(".eds-import-")
            .tempdir_in(dir)
            .with_context(|| format!("cannot write to {}", dir.display()))?;
        let made = aside.path().join(name);
        let config = made.to_str().context("the path of the store is not UTF-8")?;
        match self.stack.as_str() {
            "file" => self.import::<FileSecureLogStore>(config, &report)?,
            _ => self.import::<SqliteSecureLogStore>(config, &report)?,
        }
        settle(aside.path(), dir, name)?;
        out.either(&json!({"store": self.store, "report": report}), || {
            format!("{}\n{} is the same log", described(&report), self.store.display())
        })
    }

    fn import<S: OpenStore>(&self, config: &str, report: &ExportReport) -> Result<()> {
        let mut importer = Importer::new(S::open(config)?, &self.trust)?;
        each_line(&self.file, "importing", |line| Ok(importer.line(line)?))?;
        let (store, imported) = importer.finish()?;
        ensure!(imported == *report, "{} changed while it was imported", self.file.display());
        self.verify(store, report)
    }

    /// Verifies what was stored, by reading all of it back.
    fn verify<S: SecureLogStore>(&self, store: S, report: &ExportReport) -> Result<()> {
        let mut log = NativeSecureLog::new(store, System, concat!("eds ", env!("CARGO_PKG_VERSION")))?;
        let checked = log.verify_checkpoint_chain(&self.trust)?;
        ensure!(
            (checked.checkpoints, checked.streams) == (report.checkpoints, report.streams),
            "the imported log has {} checkpoints and {} streams, the export {} and {}",
            checked.checkpoints,
            checked.streams,
            report.checkpoints,
            report.streams
        );
        let mut entries = 0;
        for stream in log.list_streams()? {
            let Some(head) = stream.head else { continue };
            let chain = log.verify_chain(&stream.stream_id, 1, head.seqno)?;
            entries += chain.entries_checked;
            if stream.stream_id != "_log" {
                log.verify_segments(&stream.stream_id)?;
            }
        }
        ensure!(
            entries == report.entries,
            "the imported log has {entries} entries, the export {}",
            report.entries
        );
        log.into_store().close()?;
        Ok(())
    }
}

/// What the names of a store's files and directories have behind its own.
const OF_STORE: [&str; 6] = ["-wal", "-shm", ".payloads", ".tiles", ".lease", ""];

/// Names in `dir` that belong to a store called `name`, the store's own last.
fn of_store(dir: &Path, name: &str) -> Vec<String> {
    let names = OF_STORE.map(|suffix| format!("{name}{suffix}"));
    names.into_iter().filter(|name| dir.join(name).symlink_metadata().is_ok()).collect()
}

/// Moves a finished store to its place, its main file last.
fn settle(from: &Path, to: &Path, name: &str) -> Result<()> {
    for part in of_store(from, name) {
        // The lease is made anew by whoever opens the store.
        if part.strip_prefix(name) == Some(".lease") {
            continue;
        }
        fs::rename(from.join(&part), to.join(&part))
            .with_context(|| format!("cannot move {part} to {}", to.display()))?;
    }
    fs::File::open(to).and_then(|dir| dir.sync_all()).with_context(|| format!("cannot sync {}", to.display()))
}

/// This machine's clock and randomness.
struct System;

impl Environment for System {
    fn now_ms(&mut self) -> u64 {
        time::now_ms()
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        // Nothing is appended by what verifies; the id of its session goes nowhere.
        if getrandom::fill(out).is_err() {
            out.fill(0);
        }
    }
}
