//! `streams`, `head`, `read`, `query`, `tail`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use secure_log_host::Failure;
use secure_log_host::types::{Entry, LogError, Page, QueryFilter, Severity};
use serde_json::json;

use super::{show, with_log};
use crate::open::{Open, StoreArgs};
use crate::output::{Output, note, warn};
use crate::time;

/// Most entries that one call into the component returns.
const PAGE: u32 = 1_000;
/// How often `tail -f` looks.
const POLL: Duration = Duration::from_millis(500);

/// The streams of a log
///
/// One line a stream: its name, its last entry, how it is protected, and what it is for.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  eds log streams --store audit.db")]
pub(crate) struct Streams {
    #[command(flatten)]
    store: StoreArgs,
}

impl Streams {
    pub fn run(self, out: Output) -> Result<()> {
        let streams = with_log(&self.store, |log| Ok(log.list_streams()?))?;
        if out.json {
            return out.document(&streams.iter().map(show::stream).collect::<Vec<_>>());
        }
        for stream in streams {
            let last = stream.head.as_ref().map_or(0, |head| head.seqno);
            let ended = match (stream.erased, stream.deprecated) {
                (Some(number), _) => format!(", erased by entry {number} of _log"),
                (None, Some(_)) => ", deprecated".to_owned(),
                (None, None) => String::new(),
            };
            let domain = match stream.erasure_domain == stream.stream_id {
                true => String::new(),
                false => format!(", domain {}", show::printable(&stream.erasure_domain)),
            };
            let kept = stream.retention_ms.map(|ms| format!(", kept for {}", time::show_duration(ms)));
            let kept = kept.unwrap_or_default();
            let what = stream.description.as_deref().map(show::printable).unwrap_or_default();
            let name = show::printable(&stream.stream_id);
            out.line(format_args!(
                "{name}\t{last}\t{}{domain}{kept}{ended}\t{what}",
                show::tier_name(stream.tier)
            ))?;
        }
        Ok(())
    }
}

/// The last entry of a stream, or name, head and newest checkpoint of the log
///
/// Keep what it prints somewhere else: a log that is later behind it, or beside it, was rolled back or replaced.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  eds log head\n  eds log head doors --store audit.db")]
pub(crate) struct Head {
    /// The stream; without one, the log as a whole
    stream: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl Head {
    pub fn run(self, out: Output) -> Result<()> {
        let Some(stream) = &self.stream else {
            let (origin, head, latest) = with_log(&self.store, |log| {
                Ok((log.origin()?, log.head("_log")?, log.latest_checkpoint()?))
            })?;
            if out.json {
                return out.document(&json!({
                    "origin": origin,
                    "head": head.as_ref().map(show::head),
                    "checkpoint": latest.as_ref().map(show::checkpoint),
                }));
            }
            out.line(format_args!("origin\t{}", origin.as_deref().unwrap_or("(no entry yet)")))?;
            if let Some(head) = head {
                out.line(format_args!("_log\t{}\t{}", head.seqno, hex::encode(head.entry_hash)))?;
            }
            return match latest {
                Some(latest) => out.line(format_args!(
                    "checkpoint\t{}\tcovers {} entries of _log\n{}",
                    latest.number,
                    latest.size,
                    latest.note.trim_end()
                )),
                None => out.line("checkpoint\t(none yet: eds log sign)"),
            };
        };
        match with_log(&self.store, |log| Ok(log.head(stream)?))? {
            Some(head) => out
                .either(&show::head(&head), || format!("{}\t{}", head.seqno, hex::encode(&head.entry_hash))),
            None => bail!("stream {stream:?} has no entries; `eds log streams` names those there are"),
        }
    }
}

/// Show an entry
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log read doors 17
  eds log read cameras 3 --payload > frame.jpg")]
pub(crate) struct Read {
    /// The stream
    stream: String,
    /// Number of the entry
    seqno: u64,
    /// Write the payload to stdout, as it is, and nothing else
    #[arg(long)]
    payload: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl Read {
    pub fn run(self, out: Output) -> Result<()> {
        if self.payload {
            let payload = with_log(&self.store, |log| Ok(log.read_payload(&self.stream, self.seqno)?))?;
            return out.bytes(&payload);
        }
        let (entry, payload) = with_log(&self.store, |log| {
            let mut entry = log.read(&self.stream, self.seqno)?;
            let payload = payload_of(log, &mut entry)?;
            Ok((entry, payload))
        })?;
        let value = show::entry(&entry, payload.as_deref());
        if out.json {
            return out.document(&value);
        }
        let serde_json::Value::Object(fields) = value else { return Ok(()) };
        for (name, value) in fields {
            let text = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => show::printable(&text),
                other => other.to_string(),
            };
            match name.as_str() {
                "time_ms" => {
                    out.line(format_args!("{name}\t{text} ({})", time::show(entry.header.time_ms)))?
                }
                _ => out.line(format_args!("{name}\t{text}"))?,
            }
        }
        Ok(())
    }
}

/// The payload, if it is in the log and can be read. What is sealed is opened, event type and producer with it.
fn payload_of(log: &mut Open, entry: &mut Entry) -> Result<Option<Vec<u8>>> {
    if entry.header.object_ref.is_some() {
        return Ok(None);
    }
    match log.open_entry(&entry.header.stream_id, entry.header.seqno) {
        Ok(opened) => {
            entry.header.event_type = opened.event_type;
            entry.header.producer = opened.producer;
            Ok(Some(opened.payload))
        }
        // Erased, or sealed under a key that is not here: the rest of the entry is there, and other entries are.
        Err(error @ Failure::Log(LogError::NotFound(_) | LogError::Sealed(_))) => {
            warn(error);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

// Which entries.
#[derive(Args, Debug)]
struct FilterArgs {
    /// Only this stream
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Not before this time: ms since 1970, or RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    from: Option<u64>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    to: Option<u64>,
    /// Exactly this event type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// At least as severe as this (emergency … debug)
    #[arg(long, value_name = "SEVERITY", value_parser = show::parse_severity)]
    min_severity: Option<Severity>,
    /// Exactly this producer
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// Show payloads too
    #[arg(long)]
    payloads: bool,
}

impl FilterArgs {
    fn filter(&self) -> QueryFilter {
        QueryFilter {
            stream_id: self.stream.clone(),
            from_ms: self.from,
            to_ms: self.to,
            event_type: self.event_type.clone(),
            min_severity: self.min_severity,
            producer: self.producer.clone(),
        }
    }

    fn show(&self, out: Output, log: &mut Open, mut entry: Entry) -> Result<()> {
        let payload = if self.payloads { payload_of(log, &mut entry)? } else { None };
        out.either(&show::entry(&entry, payload.as_deref()), || show::entry_line(&entry, payload.as_deref()))
    }
}

/// Find entries
///
/// In the order in which they were stored, one line an entry: stream, number, time, severity, event type, producer.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log query --stream doors --from 2026-01-31T08:00:00Z --to 2026-01-31T09:00:00Z
  eds log query --min-severity warning --limit 50 --json")]
pub(crate) struct Query {
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    store: StoreArgs,
}

impl Query {
    pub fn run(self, out: Output) -> Result<()> {
        with_log(&self.store, |log| {
            let filter = self.filter.filter();
            let mut left = self.limit.unwrap_or(u64::MAX);
            let mut cursor = None;
            while left > 0 {
                let limit = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
                let page = log.query(&filter, &Page { cursor, limit })?;
                left -= (page.entries.len() as u64).min(left);
                for entry in page.entries {
                    self.filter.show(out, log, entry)?;
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// Show the last entries, and follow what comes
///
/// With -f the log is opened anew each time it is looked at, so that others can write to it in between. A server that
/// has it open all the time is in the way: follow its own log of events then.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  eds log tail doors\n  eds log tail doors -n 100 -f")]
pub(crate) struct Tail {
    /// The stream
    stream: String,
    /// So many entries
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: u64,
    /// Go on with what comes, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Show payloads too
    #[arg(long)]
    payloads: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl Tail {
    pub fn run(self, out: Output) -> Result<()> {
        let mut next = None;
        let mut said = false;
        loop {
            let outcome = with_log(&self.store, |log| {
                let last = log.head(&self.stream)?.map_or(0, |head| head.seqno);
                let first = next.unwrap_or_else(|| last.saturating_sub(self.lines) + 1);
                for seqno in first..=last {
                    let mut entry = log.read(&self.stream, seqno)?;
                    let payload = if self.payloads { payload_of(log, &mut entry)? } else { None };
                    out.either(&show::entry(&entry, payload.as_deref()), || {
                        show::entry_line(&entry, payload.as_deref())
                    })?;
                }
                Ok(last + 1)
            });
            match outcome {
                Ok(seqno) => {
                    if next.is_none() && seqno == 1 && !self.follow {
                        bail!(
                            "stream {:?} has no entries; `eds log streams` names those there are",
                            self.stream
                        );
                    }
                    next = Some(seqno);
                    said = false;
                }
                Err(error) if self.follow && next.is_some() && is_busy(&error) => {
                    if !said {
                        note(format_args!("waiting: {error:#}"));
                        said = true;
                    }
                }
                Err(error) => return Err(error),
            }
            if !self.follow {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Whether somebody else has the log open.
fn is_busy(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(secure_log_host::Error::Busy { .. }))
            || matches!(cause.downcast_ref(), Some(Failure::Log(LogError::Busy(_))))
    })
}
