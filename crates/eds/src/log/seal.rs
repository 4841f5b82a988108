//! `segments` and `sign`.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use secure_log_host::types::{Checkpoint, Page, QueryFilter};

use super::{show, with_log, with_place};
use crate::open::{Open, Part, StoreArgs};
use crate::output::Output;
use crate::signing::TokenArgs;
use crate::time;

#[derive(Subcommand, Debug)]
pub(crate) enum Segments {
    /// The closed segments of a stream, oldest first
    #[command(after_help = "Example:\n  eds log segments list doors")]
    List {
        /// The stream
        stream: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Close a segment over what came since the last one
    #[command(after_help = "Examples:\n  eds log segments close\n  eds log segments close doors")]
    Close {
        /// The stream; without one, every stream that has new entries
        stream: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
}

impl Segments {
    pub fn run(self, out: Output) -> Result<()> {
        let segments = match &self {
            Self::List { stream, store } => with_log(store, |log| Ok(log.list_segments(stream)?))?,
            Self::Close { stream: Some(stream), store } => {
                with_log(store, |log| Ok(vec![log.close_segment(stream)?]))?
            }
            Self::Close { stream: None, store } => with_log(store, |log| Ok(log.close_segments()?))?,
        };
        if out.json {
            return out.document(&segments.iter().map(show::segment).collect::<Vec<_>>());
        }
        for segment in segments {
            out.line(format_args!(
                "{}\t{}\tentries {} to {}\t{}\t{}",
                segment.segment_id,
                show::printable(&segment.stream_id),
                segment.first_seqno,
                segment.size,
                time::show(segment.closed_at_ms),
                hex::encode(segment.root),
            ))?;
        }
        Ok(())
    }
}

/// Close segments and sign a checkpoint over them
///
/// Closes a segment in every stream that has new entries and signs one checkpoint that covers all segments. Prints the
/// signed note (C2SP tlog-checkpoint): keep it elsewhere, it shows later that nothing before it was changed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log sign --identity audit --keys /etc/edgesentry/keys
  eds log sign --identity 'pkcs11:token=prod;object=audit' --pkcs11-module /usr/lib/softhsm/libsofthsm2.so")]
pub(crate) struct Sign {
    /// Name of the key: in --keys, or on a token (`pkcs11:token=…;object=…`). Several sign together while keys are
    /// rotated, so that whoever trusts one of them can verify
    #[arg(long, value_name = "NAME", required = true)]
    identity: Vec<String>,
    /// Sign a checkpoint that covers this segment, and close none
    #[arg(long, value_name = "ID")]
    segment: Option<u64>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    token: TokenArgs,
}

impl Sign {
    pub fn run(self, out: Output) -> Result<()> {
        // All are looked for; what finds the first one finds the others.
        let mut signing = None;
        for identity in &self.identity {
            let found = self.store.signing(identity, &self.token)?;
            signing.get_or_insert(found);
        }
        let signing = signing.context("--identity names no key")?;
        let place = self.store.place_to_sign(Part::Log, signing)?;
        let checkpoint = with_place(place, |log| match self.segment {
            Some(segment) => Ok(log.sign_segment_with(&self.identity, segment)?),
            None => seal(log, &self.identity),
        })?;
        if out.json {
            return out.document(&show::checkpoint(&checkpoint));
        }
        out.bytes(checkpoint.note.as_bytes())
    }
}

/// Closes what is open and signs; what was closed before and not signed is signed too.
fn seal(log: &mut Open, identities: &[String]) -> Result<Checkpoint> {
    let closed = log.close_segments()?.iter().map(|segment| segment.segment_id).max();
    let last = match closed {
        Some(last) => last,
        None => last_segment(log)?.context("there is no segment to sign: the log has no entries")?,
    };
    Ok(log.sign_segment_with(identities, last)?)
}

/// The last segment of the log.
fn last_segment(log: &mut Open) -> Result<Option<u64>> {
    let filter = QueryFilter {
        stream_id: Some("_log".into()),
        from_ms: None,
        to_ms: None,
        event_type: Some("segment-closed".into()),
        min_severity: None,
        producer: None,
    };
    let (mut cursor, mut last) = (None, None);
    loop {
        let page = log.query(&filter, &Page { cursor, limit: 1_000 })?;
        last = page.entries.last().map(|entry| entry.header.seqno).or(last);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(last);
        }
    }
}
