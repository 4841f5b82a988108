//! Copies: made while the log is open, and as good as the log.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use secure_log::export::{ExportReport, ExportVerifier};

use super::{Run, read};
use crate::host::types::Checkpoint;
use crate::launch::Session;
use crate::refusals::expect;
use crate::store_path::StorePath;

/// Copies the open log into `dir`, opens the copy in an instance of its own and verifies it.
pub fn backup(run: &mut Run, log: &mut Session, dir: &Path) -> Option<StorePath> {
    let (launcher, store, trusted) = (&run.launcher, &run.store, &run.trusted);
    run.report.step("backup", "Copy the open log; the copy verifies", |note| {
        let name = store.host_path().and_then(Path::file_name).unwrap_or("copy.db".as_ref());
        let copy = store.at(&dir.join(name))?;
        let plain = log.copy_config(copy.host_path().context("a copy is a file")?)?;
        log.backup(&plain)?;
        note.say(expect("a second copy to the same place", log.backup(&plain), &["conflict"])?);
        let mut other = launcher.open(&copy).context("the copy does not open")?;
        let (mine, theirs) = (Run::heads(log)?, Run::heads(&mut other)?);
        ensure!(
            mine.len() == theirs.len()
                && mine.iter().zip(&theirs).all(|(a, b)| {
                    (&a.stream_id, a.seqno, &a.entry_hash) == (&b.stream_id, b.seqno, &b.entry_hash)
                }),
            "the copy has other heads than the log"
        );
        note.say(read::whole_chain(&mut other)?);
        if !trusted.is_empty() {
            other.verify_checkpoint_chain(trusted)?;
        }
        other.finish()?;
        Ok(copy)
    })
}

/// Writes the whole log as one file and verifies that, without the log; with one byte changed it is
/// refused.
pub fn export(run: &mut Run, log: &mut Session, file: &Path) -> Option<()> {
    let trusted = &run.trusted;
    run.report.step("export", "Export the log as one file; it verifies on its own", |note| {
        let create = || File::create(file).with_context(|| format!("cannot write {}", file.display()));
        let mut out = BufWriter::new(create()?);
        let mut cursor: Option<String> = None;
        loop {
            let page = log.export_log(trusted, cursor.as_deref())?;
            out.write_all(page.lines.as_bytes())?;
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        out.into_inner()?.sync_all()?;
        let lines = || -> anyhow::Result<_> { Ok(BufReader::new(File::open(file)?).lines()) };
        let report = verify_export(lines()?, trusted)?;
        note.say(format!(
            "{} entries and {} payloads in {} streams under {} checkpoints, {} bytes",
            report.entries,
            report.payloads_checked,
            report.streams,
            report.checkpoints,
            std::fs::metadata(file)?.len()
        ));
        let changed = lines()?.map(|line| {
            let line = line?;
            Ok(match line.strip_prefix("{\"entry\":{\"header\":\"r") {
                Some(rest) => format!("{{\"entry\":{{\"header\":\"s{rest}"),
                None => line,
            })
        });
        match verify_export(changed, trusted) {
            Err(error) => note.say(format!("with a byte changed: {error:#}")),
            Ok(_) => bail!("the export verifies with a byte changed"),
        }
        Ok(())
    })
}

fn verify_export(
    lines: impl Iterator<Item = std::io::Result<String>>,
    trusted: &[String],
) -> anyhow::Result<ExportReport> {
    let mut verifier = ExportVerifier::new(trusted)?;
    for line in lines {
        verifier.line(&line?)?;
    }
    Ok(verifier.finish()?)
}

/// Compares the log with notes: its own hold, those of another log do not.
pub fn notes(run: &mut Run, log: &mut Session, signed: &Checkpoint, dir: &Path) -> Option<()> {
    let (launcher, store, identity) = (&run.launcher, &run.store, &run.keys.identity);
    run.report.step(
        "check-against",
        "Compare with a note kept elsewhere; another log's note is refused",
        |note| {
            log.check_against(&signed.note)?;
            let elsewhere = match store.host_path() {
                Some(_) => store.at(&dir.join("another-log"))?,
                None => store.clone(),
            };
            let mut other = launcher.open(&elsewhere)?;
            other.append("s", "test", crate::host::types::Severity::Notice, "verify", b"another log")?;
            let segment = other.close_segment("s")?;
            let foreign = other.sign_segment(identity, segment.segment_id)?;
            other.finish()?;
            note.say(expect(
                "a note of another log",
                log.check_against(&foreign.note),
                &["rolled-back", "invalid"],
            )?);
            Ok(())
        },
    )
}
