//! `accept-head`.

use anyhow::{Context as _, Result};
use clap::Args;
use secure_log_host::types::Severity;
use serde_json::json;

use super::{show, with_place};
use crate::open::{Part, StoreArgs};
use crate::output::Output;

/// Stream that tells what operators did to go on.
const RECOVERY: &str = "operator/recovery";

/// Go on with the log as it is, where the head file says otherwise
///
/// For a store that was lost and put back from a copy, and to begin a head file for a log that has none. First an entry
/// in the stream `operator/recovery` says what was accepted and why, where every auditor finds it; then the head file is
/// replaced by the newest checkpoint of the log.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  eds log accept-head --head-file /mnt/other/audit.head --reason 'disk lost, restored from the copy of Monday'"
)]
pub(crate) struct AcceptHead {
    /// Why, for the auditors
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who accepts it
    #[arg(long, value_name = "NAME", default_value = "operator")]
    by: String,
    #[command(flatten)]
    store: StoreArgs,
}

impl AcceptHead {
    pub fn run(self, out: Output) -> Result<()> {
        let head = self.store.head().context("there is no head file to replace: name it with --head-file")?;
        // A file that is damaged is replaced too.
        let before = head.read();
        let claimed = match &before {
            Ok(Some((note, body))) => {
                json!({"size": body.size, "root": hex::encode(body.root), "note": note})
            }
            Ok(None) => json!(null),
            Err(error) => json!({"unreadable": error.to_string()}),
        };
        let place = self.store.place(Part::Log)?.without_head();
        let checkpoint = with_place(place, |log| {
            let latest = log.latest_checkpoint()?;
            let latest =
                latest.context("the log has no checkpoint to keep: sign one first (`eds log sign`)")?;
            let payload = json!({
                "reason": self.reason,
                "head_file": claimed,
                "accepted": {"checkpoint": latest.number, "size": latest.size, "root": hex::encode(&latest.root)},
            });
            log.append(
                RECOVERY,
                "head-accepted",
                Severity::Critical,
                &self.by,
                payload.to_string().as_bytes(),
            )?;
            Ok(latest)
        })?;
        head.keep(&checkpoint.note).with_context(|| format!("cannot write {}", head.path().display()))?;
        if out.json {
            return out.document(&show::checkpoint(&checkpoint));
        }
        out.line(format_args!("the head file has checkpoint {} now; {RECOVERY} says why", checkpoint.number))
    }
}
