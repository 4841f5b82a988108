//! Copies: made while the log is open, and as good as the log.

use std::path::Path;

use anyhow::{Context, ensure};

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
        let to = copy.guest_config(false);
        let plain = to.split('?').next().unwrap_or(&to).to_owned();
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
