//! `verify`.

use anyhow::{Result, bail};
use clap::Args;
use secure_log_host::types::{CheckpointReport, SegmentsReport, VerifyReport};
use serde_json::{Value, json};

use super::with_log;
use crate::open::{Open, StoreArgs};
use crate::output::{Output, progress};

/// Entries that one call checks, so that progress shows.
const STEP: u64 = 10_000;

/// Check the whole log, or one stream
///
/// Of each stream: encoding, hashes, links and payloads of all entries, and the trees of its segments. With --trust also
/// every checkpoint, the whole of `_log`, and each stream against its last signed segment. Says how much it did not
/// check. The first thing that does not hold is an error.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log verify --trust \"$(cat audit.vkey)\"
  eds log verify --stream doors --headers-only

The verifier key (C2SP: name+hash+key) comes from `eds keys show NAME --origin ORIGIN`, on the machine of whoever signs:
a key that is read from the log itself proves nothing.")]
pub(crate) struct Verify {
    /// Only this stream, without checkpoints
    #[arg(long, value_name = "NAME", conflicts_with = "trust")]
    stream: Option<String>,
    /// Verifier key that may have signed checkpoints; may be given several times
    #[arg(long, value_name = "KEY")]
    trust: Vec<String>,
    /// Read no payloads
    #[arg(long)]
    headers_only: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// What was checked of one stream, in sum.
#[derive(Default)]
struct Sum {
    entries: u64,
    payloads: u64,
    erased: u64,
    elsewhere: u64,
    not_read: u64,
    segments: u64,
    uncovered: u64,
}

impl Verify {
    pub fn run(self, out: Output) -> Result<()> {
        with_log(&self.store, |log| self.verify(out, log))
    }

    fn verify(&self, out: Output, log: &mut Open) -> Result<()> {
        let mut streams: Vec<(String, u64)> = log
            .list_streams()?
            .into_iter()
            .filter_map(|stream| stream.head.map(|head| (stream.stream_id, head.seqno)))
            .collect();
        if let Some(only) = &self.stream {
            streams.retain(|(name, _)| name == only);
            if streams.is_empty() {
                bail!("stream {only:?} has no entries; `eds log streams` names those there are");
            }
        }
        if streams.is_empty() {
            bail!("the log is empty: there is nothing to verify");
        }
        let bar = progress("verifying", Some(streams.iter().map(|(_, last)| last).sum()), false);
        let mut sums = Vec::new();
        for (name, last) in &streams {
            let mut sum = Sum::default();
            let mut from = 1;
            while from <= *last {
                let to = (from + STEP - 1).min(*last);
                let report = if self.headers_only {
                    log.verify_headers(name, from, to)?
                } else {
                    log.verify_chain(name, from, to)?
                };
                sum.add(&report);
                bar.inc(report.entries_checked);
                from = to + 1;
            }
            if name != "_log" {
                sum.add_segments(&log.verify_segments(name)?);
            }
            sums.push((name, sum));
        }
        let checkpoints =
            if self.trust.is_empty() { None } else { Some(log.verify_checkpoint_chain(&self.trust)?) };
        bar.finish_and_clear();
        self.answer(out, &sums, checkpoints.as_ref())
    }

    fn answer(
        &self,
        out: Output,
        sums: &[(&String, Sum)],
        checkpoints: Option<&CheckpointReport>,
    ) -> Result<()> {
        if out.json {
            let streams: Vec<Value> = sums.iter().map(|(name, sum)| sum.json(name)).collect();
            return out.document(&json!({
                "holds": true,
                "streams": streams,
                "checkpoints": checkpoints.map(checkpoints_json),
            }));
        }
        for (name, sum) in sums {
            out.line(sum.line(name))?;
        }
        match checkpoints {
            Some(report) => out.line(format_args!(
                "checkpoints: {} verified, {} signatures; not checked: {} signatures by other keys, {} entries of _log and {} of streams that no checkpoint covers",
                report.checkpoints,
                report.signatures_verified,
                report.signatures_unknown,
                report.log_entries_unsigned,
                report.entries_uncovered,
            )),
            None => out.line("checkpoints: not checked (give --trust KEY), so nothing shows that the log as a whole was not made anew"),
        }
    }
}

fn checkpoints_json(report: &CheckpointReport) -> Value {
    json!({
        "verified": report.checkpoints,
        "signatures_verified": report.signatures_verified,
        "signatures_unknown": report.signatures_unknown,
        "log_entries": report.log_entries,
        "log_entries_unsigned": report.log_entries_unsigned,
        "streams": report.streams,
        "segments": report.segments,
        "entries_covered": report.entries_covered,
        "entries_uncovered": report.entries_uncovered,
    })
}

impl Sum {
    fn add(&mut self, report: &VerifyReport) {
        self.entries += report.entries_checked;
        self.payloads += report.payloads_checked;
        self.erased += report.payloads_erased;
        self.elsewhere += report.payloads_elsewhere;
        self.not_read += report.payloads_not_checked;
    }

    fn add_segments(&mut self, report: &SegmentsReport) {
        self.segments = report.segments_checked;
        self.uncovered = report.entries_uncovered;
    }

    fn json(&self, name: &str) -> Value {
        json!({
            "stream_id": name,
            "entries_checked": self.entries,
            "payloads_checked": self.payloads,
            "payloads_erased": self.erased,
            "payloads_elsewhere": self.elsewhere,
            "payloads_not_checked": self.not_read,
            "segments_checked": self.segments,
            "entries_in_no_segment": self.uncovered,
        })
    }

    fn line(&self, name: &str) -> String {
        let mut line = format!(
            "{}: {} entries, {} payloads, {} segments hold",
            super::show::printable(name),
            self.entries,
            self.payloads,
            self.segments
        );
        for (count, what) in [
            (self.not_read, "payloads not read"),
            (self.elsewhere, "payloads kept elsewhere"),
            (self.erased, "payloads erased"),
            (self.uncovered, "entries in no segment yet"),
        ] {
            if count > 0 {
                line += &format!("; {count} {what}");
            }
        }
        line
    }
}
