//! `stamp` and `times`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secure_log_host::time::{EntryPlace, Stamp, Subject, Trust};
use secure_log_time::{Certificate, Gap, REQUEST_TYPE, RESPONSE_TYPE, RevocationList, Time};
use serde_json::{Value, json};

use super::{show, with_log};
use crate::http::post;
use crate::open::{Open, StoreArgs};
use crate::output::Output;
use crate::{files, time};

/// Largest file of certificates.
const MAX_CERTIFICATES: usize = 1 << 20;

// What is stamped, and whom to believe.
#[derive(Args, Debug)]
pub(crate) struct SubjectArgs {
    /// Number of a checkpoint; without it and --entry, the newest
    #[arg(long, value_name = "NUMBER")]
    checkpoint: Option<u64>,
    /// An entry instead of a checkpoint
    #[arg(long, value_name = "STREAM/SEQNO", value_parser = parse_entry, conflicts_with = "checkpoint")]
    entry: Option<Place>,
    /// Certificates of the authorities that are trusted (PEM)
    #[arg(long, value_name = "FILE", required = true)]
    tsa_trust: Vec<PathBuf>,
    /// Certificates between those and the authority's, if its tokens leave them out (PEM)
    #[arg(long, value_name = "FILE")]
    tsa_intermediate: Vec<PathBuf>,
    /// Revocation lists (DER); without any, revocation is not checked
    #[arg(long, value_name = "FILE")]
    tsa_crl: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Clone)]
pub(crate) struct Place {
    stream: String,
    seqno: u64,
}

fn parse_entry(text: &str) -> Result<Place, String> {
    text.rsplit_once('/')
        .and_then(|(stream, seqno)| Some(Place { stream: stream.to_owned(), seqno: seqno.parse().ok()? }))
        .filter(|place| !place.stream.is_empty())
        .ok_or_else(|| "use STREAM/SEQNO, for example doors/17".to_owned())
}

impl SubjectArgs {
    fn trust(&self) -> Result<Trust> {
        read_trust(&self.tsa_trust, &self.tsa_intermediate, &self.tsa_crl)
    }

    fn subject(&self, log: &mut Open) -> Result<Subject> {
        if let Some(place) = &self.entry {
            return Ok(Subject::Entry(EntryPlace { stream_id: place.stream.clone(), seqno: place.seqno }));
        }
        let number = match self.checkpoint {
            Some(number) => number,
            None => {
                let newest = log.latest_checkpoint()?;
                newest.context("nothing was signed yet: `eds log sign` makes a checkpoint")?.number
            }
        };
        Ok(Subject::Checkpoint(number))
    }
}

/// Reads certificates (PEM) and revocation lists (DER).
pub(crate) fn read_trust(anchors: &[PathBuf], intermediates: &[PathBuf], crls: &[PathBuf]) -> Result<Trust> {
    let certificates = |paths: &[PathBuf]| {
        let mut all = Vec::new();
        for path in paths {
            let bytes = files::read(path, MAX_CERTIFICATES, "certificates")?;
            let parsed = Certificate::from_pem(&bytes)
                .with_context(|| format!("{} holds no certificates in PEM", path.display()))?;
            anyhow::ensure!(!parsed.is_empty(), "{} holds no certificates in PEM", path.display());
            all.extend(parsed.iter().map(|one| one.der().to_vec()));
        }
        Ok::<_, anyhow::Error>(all)
    };
    let mut revocation_lists = Vec::new();
    for path in crls {
        let bytes = files::read(path, MAX_CERTIFICATES, "a revocation list")?;
        RevocationList::from_der(&bytes).with_context(|| {
            format!("{} is no revocation list in DER (`openssl crl -outform DER` makes one)", path.display())
        })?;
        revocation_lists.push(bytes);
    }
    Ok(Trust {
        anchors: certificates(anchors)?,
        intermediates: certificates(intermediates)?,
        revocation_lists,
    })
}

/// What is stamped, as people call it.
fn name(subject: &Subject) -> String {
    match subject {
        Subject::Checkpoint(number) => format!("checkpoint {number}"),
        Subject::Entry(place) => format!("entry {} of {}", place.seqno, show::printable(&place.stream_id)),
    }
}

fn document(subject: &Subject, stamp: &Stamp) -> Value {
    json!({
        "subject": name(subject),
        "time_ms": stamp.time_ms,
        "accuracy_ms": stamp.accuracy_ms,
        "log_time_ms": stamp.log_time_ms,
        "serial": hex::encode(&stamp.serial),
        "policy": stamp.policy,
        "authority": stamp.authority,
        "imprint": stamp.imprint,
        "unchecked": stamp.unchecked,
    })
}

fn line(subject: &Subject, stamp: &Stamp) -> String {
    let accuracy = stamp.accuracy_ms.map(|ms| format!(" ± {}", time::show_duration(ms))).unwrap_or_default();
    let gap = match Gap::between(Time::from_millis(stamp.log_time_ms), Time::from_millis(stamp.time_ms)) {
        Gap::Later(gap) => format!("{} after the log's clock", time::show_duration(ms(gap))),
        Gap::Earlier(gap) => format!("{} BEFORE the log's clock", time::show_duration(ms(gap))),
    };
    let unchecked = match stamp.unchecked.is_empty() {
        true => String::new(),
        false => format!("; not checked: {}", stamp.unchecked.join(", ")),
    };
    format!(
        "{} existed by {}{accuracy}, {gap}, says {} (policy {}, serial {}){unchecked}",
        name(subject),
        time::show(stamp.time_ms),
        show::printable(&stamp.authority),
        stamp.policy,
        hex::encode(&stamp.serial),
    )
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Have a checkpoint or an entry time-stamped
///
/// Asks an authority (RFC 3161) for a token over the note of a checkpoint, or the header of an entry, checks it in full,
/// and keeps it in the log. The authority learns a hash and nothing else.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log stamp --tsa https://tsa.example.com/ --tsa-trust tsa-root.pem
  eds log stamp --tsa https://tsa.example.com/ --tsa-trust tsa-root.pem --entry doors/17")]
pub(crate) struct StampNow {
    /// URL of the authority
    #[arg(long, value_name = "URL")]
    tsa: String,
    /// Policy of the authority to ask for, an object identifier
    #[arg(long, value_name = "OID")]
    tsa_policy: Option<String>,
    /// How long the answer may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    subject: SubjectArgs,
}

impl StampNow {
    pub fn run(self, out: Output) -> Result<()> {
        let trust = self.subject.trust()?;
        let (subject, stamp) = with_log(&self.subject.store, |log| {
            let subject = self.subject.subject(log)?;
            let request = log.time_request(&subject, self.tsa_policy.as_deref())?;
            let reply = post(&self.tsa, REQUEST_TYPE, &request, self.timeout)?;
            if reply.status != 200 {
                bail!("{} answered HTTP {}", self.tsa, reply.status);
            }
            if reply.content_type.as_deref().is_some_and(|found| !found.starts_with(RESPONSE_TYPE)) {
                let found = reply.content_type.unwrap_or_default();
                bail!(
                    "{} answered {}, not {RESPONSE_TYPE}: is it a time-stamping authority?",
                    self.tsa,
                    show::printable(&found)
                );
            }
            let stamp = log.accept_time(&subject, &request, &reply.body, &trust)?;
            Ok((subject, stamp))
        })?;
        out.either(&document(&subject, &stamp), || line(&subject, &stamp))
    }
}

/// Verify the time stamps of a checkpoint or an entry
///
/// Checks every token that the log keeps of it offline: signature, chain, purpose, validity, and that it stamps this and
/// nothing else. Fails if there is none, or one does not hold.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  eds log times --tsa-trust tsa-root.pem --entry doors/17")]
pub(crate) struct Times {
    #[command(flatten)]
    subject: SubjectArgs,
}

impl Times {
    pub fn run(self, out: Output) -> Result<()> {
        let trust = self.subject.trust()?;
        let (subject, outcomes) = with_log(&self.subject.store, |log| {
            let subject = self.subject.subject(log)?;
            let tokens = log.time_tokens(&subject)?;
            let outcomes: Vec<_> =
                tokens.iter().map(|token| log.verify_time(&subject, token, &trust)).collect();
            Ok((subject, outcomes))
        })?;
        let mut failed = 0;
        for outcome in &outcomes {
            match outcome {
                Ok(stamp) => out.either(&document(&subject, stamp), || line(&subject, stamp))?,
                Err(error) => {
                    failed += 1;
                    let why = error.to_string();
                    out.either(&json!({"subject": name(&subject), "refused": why}), || {
                        format!("{}: a token is refused: {}", name(&subject), show::printable(&why))
                    })?;
                }
            }
        }
        match (outcomes.len(), failed) {
            (0, _) => bail!("{} has no time stamp: `eds log stamp` gets one", name(&subject)),
            (_, 0) => Ok(()),
            (all, failed) => bail!("{failed} of {all} time stamps of {} are refused", name(&subject)),
        }
    }
}
