//! `backup`, `export`, `verify-export`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secure_log::export::{ExportReport, ExportVerifier};
use secure_log_host::Reach;
use serde_json::json;

use crate::files;
use crate::open::{Part, StoreArgs};
use crate::output::{Output, progress};

/// Copy a log while it is consistent
///
/// The copy is a log of the same kind. A copy that is there is not overwritten. A server that has the log open makes the
/// copy itself: into the store's directory, or its --backup-dir.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  eds log backup /backup/audit-2026-01-31.db --store audit.db")]
pub(crate) struct Backup {
    /// Where the copy goes; with a remote stack, a name that the endpoint puts it under
    dest: String,
    #[command(flatten)]
    store: StoreArgs,
}

impl Backup {
    pub fn run(self, out: Output) -> Result<()> {
        let mut place = self.store.place(Part::Log)?.must_exist()?;
        let mut config = self.dest.clone();
        let cannot = || format!("cannot copy the log to {}", self.dest);
        let answer = || out.either(&json!({"backup": self.dest}), || &self.dest);
        if place.artifact().reach() == Reach::Here {
            let dest = Path::new(&self.dest);
            let name = dest.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{:?} does not end in a file name", self.dest))?;
            let dir = files::directory_of(dest);
            config =
                crate::open::canonical(dir, "the directory of the copy")?.0.join(name).display().to_string();
            if let Some(mut server) = place.server()? {
                server.backup(&config).with_context(cannot)?;
                return answer();
            }
            place.also(dir)?;
        }
        let mut log = place.open()?;
        let outcome = log.backup(&config).with_context(cannot);
        let closed = log.close();
        outcome?;
        closed?;
        answer()
    }
}

/// Write the whole log as text that anybody can verify
///
/// One line an entry, with checkpoints and the keys that are named (docs/format.md, "Export"). `verify-export` checks
/// it, and `import` makes a log of it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  eds log export -o audit.jsonl --key \"$(cat audit.vkey)\"")]
pub(crate) struct Export {
    /// Write it to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Verifier key to name in it. That is a claim; whoever verifies has to know the key from elsewhere
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl Export {
    pub fn run(self, out: Output) -> Result<()> {
        super::with_log(&self.store, |log| {
            let mut file = match &self.out {
                None => None,
                Some(path) => {
                    let what = || format!("cannot write {}", path.display());
                    let part =
                        tempfile::Builder::new().prefix(".eds-").tempfile_in(files::directory_of(path));
                    Some((path, BufWriter::new(part.with_context(what)?)))
                }
            };
            let bar = if file.is_some() {
                progress("exporting", None, true)
            } else {
                indicatif::ProgressBar::hidden()
            };
            let mut cursor: Option<String> = None;
            let mut bytes = 0;
            loop {
                let page = log.export_log(&self.key, cursor.as_deref())?;
                bytes += page.lines.len() as u64;
                bar.set_position(bytes);
                match &mut file {
                    None => out.bytes(page.lines.as_bytes())?,
                    Some((path, file)) => file
                        .write_all(page.lines.as_bytes())
                        .with_context(|| format!("cannot write {}", path.display()))?,
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            bar.finish_and_clear();
            if let Some((path, file)) = file {
                let what = || format!("cannot write {}", path.display());
                let part = file.into_inner().map_err(|e| e.into_error()).with_context(what)?;
                part.as_file().sync_all().with_context(what)?;
                part.persist(path).map_err(|e| e.error).with_context(what)?;
                out.either(&json!({"export": path, "bytes": bytes}), || format!("{bytes} bytes"))?;
            }
            Ok(())
        })
    }
}

/// Check an export, without the log
///
/// Everything in it: hashes, links, trees, payloads, checkpoints. Says how much it could not check.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  eds log verify-export audit.jsonl --trust \"$(cat audit.vkey)\"")]
pub(crate) struct VerifyExport {
    /// The file
    file: PathBuf,
    /// Verifier key that may have signed (C2SP: name+hash+key); may be given several times
    #[arg(long, value_name = "KEY", required = true)]
    trust: Vec<String>,
}

impl VerifyExport {
    pub fn run(self, out: Output) -> Result<()> {
        let report = verify_export(&self.file, &self.trust)?;
        if out.json {
            return out.document(&report);
        }
        out.line(described(&report))
    }
}

pub(super) fn described(report: &ExportReport) -> String {
    format!(
        "{}: {} entries, {} payloads, {} streams, {} segments, {} checkpoints hold; not checked: {} payloads kept elsewhere, {} erased, {} entries and {} of _log that no checkpoint covers, {} signatures by other keys",
        report.origin,
        report.entries,
        report.payloads_checked,
        report.streams,
        report.segments,
        report.checkpoints,
        report.payloads_elsewhere,
        report.payloads_erased,
        report.entries_uncovered,
        report.log_entries_unsigned,
        report.signatures_unknown,
    )
}

/// Checks an export line by line.
pub(super) fn verify_export(path: &Path, trust: &[String]) -> Result<ExportReport> {
    let mut verifier = ExportVerifier::new(trust)?;
    let in_file = || path.display().to_string();
    each_line(path, "verifying", |line| verifier.line(line).with_context(in_file))?;
    verifier.finish().with_context(in_file)
}

/// Reads a file line by line. None is longer than what an entry of the largest size takes.
pub(super) fn each_line(
    path: &Path,
    what: &'static str,
    mut take: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    const MAX_LINE: u64 = 16 << 20;
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|m| m.len());
    let bar = progress(what, length, true);
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = String::new();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut reader, MAX_LINE).read_line(&mut line).with_context(cannot)?;
        if read == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
        if read as u64 == MAX_LINE {
            bail!("{} has a line of more than {MAX_LINE} bytes: it is no export of a log", path.display());
        }
        bar.inc(read as u64);
        take(line.strip_suffix('\n').unwrap_or(&line))?;
    }
}
