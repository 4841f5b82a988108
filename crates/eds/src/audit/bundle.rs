//! `bundle` and `verify-bundle`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use edgesentry_audit::evidence::{self, About, Line, MAX_BUNDLE, Report, Subject, Trust, VERSION};
use edgesentry_audit::gate::streams;
use secure_log_host::time::{EntryPlace, Subject as Stamped};
use secure_log_host::types::{Page, QueryFilter};
use secure_log_host::{Failure, Hosted};

use super::device_key::PublicKeys;
use super::export::stored_entries;
use super::stored::with_stored;
use crate::log::show::printable;
use crate::log::stamp::read_trust;
use crate::log::with_log;
use crate::log::witness::read_policy;
use crate::open::StoreArgs;
use crate::output::{Output, progress};
use crate::{files, time};

/// Write evidence: entries with everything that proves them, in one file
///
/// Of a device its registry, its keys and all of its records, or a range of a stream; with payloads, proofs (C2SP
/// tlog-proof), the checkpoint above them with its cosignatures, and time stamps. Whoever gets the file checks it
/// without the log, with `eds audit verify-bundle` or standard tools (docs/evidence.md). It is checked before it is
/// written. Close and sign before (`eds log sign`), and have it witnessed and stamped.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds audit bundle --device-id lift-01 --trust \"$(cat audit.vkey)\" --out lift-01.evidence.jsonl
  eds audit bundle --stream doors --from 100 --to 199 --policy policy.txt --out doors.evidence.jsonl")]
pub(crate) struct Bundle {
    /// A device, with all of its records
    #[arg(long, value_name = "ID", conflicts_with = "stream", required_unless_present = "stream")]
    device_id: Option<String>,
    /// A stream
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// First entry of the stream [default: 1]
    #[arg(long, value_name = "N", requires = "stream")]
    from: Option<u64>,
    /// Last entry of the stream [default: the last]
    #[arg(long, value_name = "N", requires = "stream")]
    to: Option<u64>,
    /// Verifier key that signed (C2SP: name+hash+key), put into the bundle as a claim; may be given several times
    #[arg(long, value_name = "KEY", required_unless_present = "policy")]
    trust: Vec<String>,
    /// Under the newest checkpoint that this tlog-policy file counts as published, and put it into the bundle
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where the evidence goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

impl Bundle {
    pub fn run(self, out: Output) -> Result<()> {
        let policy = self.policy.as_deref().map(read_policy).transpose()?;
        let bytes = policy.as_ref().map(|(bytes, _)| bytes.as_slice());
        let text = if self.device_id.is_some() {
            with_stored(&self.store, |log| self.write(log, bytes))?
        } else {
            with_log(&self.store, |log| self.write(log, bytes))?
        };
        let policy = policy.map(|(_, policy)| policy);
        let trust = Trust { keys: self.trust.clone(), policy, ..Trust::default() };
        let report = evidence::verify(&text, &trust).context("what the log gave is no evidence")?;
        files::write(&self.out, text.as_bytes())?;
        let answer = serde_json::json!({
            "out": self.out, "entries": report.entries, "checkpoint": report.checkpoint,
            "bytes": text.len(),
        });
        out.either(&answer, || {
            format!(
                "{} entries under checkpoint {}, to {}",
                report.entries,
                report.checkpoint,
                self.out.display()
            )
        })
    }

    fn write(&self, log: &mut Hosted, policy: Option<&[u8]>) -> Result<String> {
        let number = match policy {
            None => {
                log.latest_checkpoint()?
                    .context("nothing was signed yet: `eds log sign` makes a checkpoint")?
                    .number
            }
            Some(policy) => {
                let publication = log.publication(policy)?;
                let lacks = publication.lacks.unwrap_or_default();
                publication.published.with_context(|| {
                    format!("no checkpoint is published: the newest lacks {lacks}; `eds log witness` asks for cosignatures")
                })?
            }
        };
        let note = log.read_checkpoint(number)?.note;
        let cosigned = log.cosigned_note(number)?;
        let mut writer = Writer { log, policy, text: String::new(), entries: 0 };
        let subject = writer.subject(self)?;
        writer.line(&Line::EvidenceBundle(About {
            version: VERSION,
            origin: note.lines().next().unwrap_or_default().to_owned(),
            subject: subject.clone(),
            made_by: concat!("eds ", env!("CARGO_PKG_VERSION")).into(),
        }))?;
        for key in &self.trust {
            writer.line(&Line::Key(key.clone()))?;
        }
        if let Some(policy) = policy {
            writer.line(&Line::Policy(
                String::from_utf8(policy.to_vec()).context("the policy is not UTF-8")?,
            ))?;
        }
        let time_tokens = writer.tokens(&Stamped::Checkpoint(number))?;
        let cosigned = (cosigned != note).then_some(cosigned);
        writer.line(&Line::Checkpoint { number, note, cosigned, time_tokens })?;
        match &subject {
            Subject::Range { stream, from, to } => writer.entries(stream, *from, *to)?,
            Subject::Device { id } => writer.device(id)?,
        }
        let end = Line::End { entries: writer.entries };
        writer.line(&end)?;
        ensure!(
            writer.text.len() <= MAX_BUNDLE,
            "the bundle would have {} bytes; at most {MAX_BUNDLE}: take a smaller range",
            writer.text.len()
        );
        Ok(writer.text)
    }
}

/// Writes the lines.
struct Writer<'a> {
    log: &'a mut Hosted,
    policy: Option<&'a [u8]>,
    text: String,
    entries: u64,
}

impl Writer<'_> {
    fn subject(&mut self, wanted: &Bundle) -> Result<Subject> {
        if let Some(id) = &wanted.device_id {
            self.log.device(id)?.with_context(|| {
                format!("no device {id:?} is registered: `eds audit devices list` names those there are")
            })?;
            return Ok(Subject::Device { id: id.clone() });
        }
        let stream = wanted.stream.clone().unwrap_or_default();
        let last = self.last(&stream)?;
        ensure!(last > 0, "stream {stream:?} has no entries; `eds log streams` names those there are");
        let (from, to) = (wanted.from.unwrap_or(1), wanted.to.unwrap_or(last));
        ensure!(
            0 < from && from <= to && to <= last,
            "{stream:?} has entries 1 to {last}, not {from} to {to}"
        );
        Ok(Subject::Range { stream, from, to })
    }

    fn last(&mut self, stream: &str) -> Result<u64> {
        Ok(self.log.head(stream)?.map_or(0, |head| head.seqno))
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        self.text.push_str(&line.to_text()?);
        Ok(())
    }

    fn tokens(&mut self, subject: &Stamped) -> Result<Vec<String>> {
        Ok(self.log.time_tokens(subject)?.iter().map(|token| BASE64.encode(token)).collect())
    }

    /// Registry, keys and records.
    fn device(&mut self, id: &str) -> Result<()> {
        let registry = streams::registry(id);
        let last = self.last(&registry)?;
        self.entries(&registry, 1, last)?;
        let filter = QueryFilter {
            stream_id: Some(streams::KEY_INDEX.into()),
            from_ms: None,
            to_ms: None,
            event_type: None,
            min_severity: None,
            producer: Some(id.to_owned()),
        };
        let mut page = Page { cursor: None, limit: 1_000 };
        loop {
            let found = self.log.query(&filter, &page)?;
            for entry in &found.entries {
                self.entries(streams::KEY_INDEX, entry.header.seqno, entry.header.seqno)?;
            }
            page.cursor = found.next;
            if page.cursor.is_none() {
                break;
            }
        }
        let device = self.log.device(id)?.context("the device is gone")?;
        for epoch in device.epochs {
            let stream = streams::device(id, epoch.number);
            let last = self.last(&stream)?;
            self.entries(&stream, 1, last)?;
        }
        Ok(())
    }

    fn entries(&mut self, stream: &str, from: u64, to: u64) -> Result<()> {
        if to < from {
            return Ok(());
        }
        let bar = progress("proving", Some(to - from + 1), false);
        let mut stored = Vec::new();
        let mut next = from;
        while next <= to {
            stored.clear();
            next = stored_entries(self.log, stream, next, to, &mut stored)?;
            for (seqno, payload) in stored.drain(..) {
                let proof = self.log.build_proof_file(stream, seqno, self.policy).map_err(|error| match error {
                    Failure::Log(secure_log_host::types::LogError::NotFound(missing)) => anyhow::anyhow!(
                        "entry {seqno} of {stream:?} is not proven: {} ({}). Close and sign (eds log sign), have it witnessed \
                         if there is a policy, and try again",
                        missing.what,
                        missing.reason
                    ),
                    error => anyhow::Error::from(error).context(format!("cannot prove entry {seqno} of {stream:?}")),
                })?;
                let place = EntryPlace { stream_id: stream.to_owned(), seqno };
                let time_tokens = self.tokens(&Stamped::Entry(place))?;
                self.line(&Line::Entry { proof, payload, time_tokens })?;
                self.entries += 1;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Check evidence, without the log
///
/// Every entry up to the checkpoint, the checkpoint by the keys and the policy given here, links, payloads, time stamps,
/// and of a device its registry, signatures and chain. What the file says of keys and policy counts for nothing. Says
/// what it shows and what it did not check; the first thing that does not hold is an error.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds audit verify-bundle lift-01.evidence.jsonl --trust \"$(cat audit.vkey)\"
  eds audit verify-bundle lift-01.evidence.jsonl --policy policy.txt --tsa-trust tsa-root.pem --keys-file lift-keys.json

The keys have to come from somewhere else than the bundle: the log's from whoever signs, the device's from its maker.")]
pub(crate) struct VerifyBundle {
    /// The bundle
    file: PathBuf,
    /// Verifier key of the log (C2SP: name+hash+key); may be given several times
    #[arg(long, value_name = "KEY", required_unless_present = "policy")]
    trust: Vec<String>,
    /// Whose cosignatures the checkpoint must have: a tlog-policy file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Certificates of the time-stamping authorities that are trusted (PEM)
    #[arg(long, value_name = "FILE")]
    tsa_trust: Vec<PathBuf>,
    /// Certificates between those and the authority's, if its tokens leave them out (PEM)
    #[arg(long, value_name = "FILE", requires = "tsa_trust")]
    tsa_intermediate: Vec<PathBuf>,
    /// Revocation lists (DER); without any, revocation is not checked
    #[arg(long, value_name = "FILE", requires = "tsa_trust")]
    tsa_crl: Vec<PathBuf>,
    /// Public key that the device may have had, 64 hex digits; may be given several times
    #[arg(long, value_name = "HEX")]
    public_key_hex: Vec<String>,
    /// File with public keys of devices
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,
}

impl VerifyBundle {
    pub fn run(self, out: Output) -> Result<()> {
        let shown = self.file.display();
        let report = self.verified().with_context(|| format!("{shown} is NOT evidence of what it claims"))?;
        if out.json {
            return out.document(&serde_json::json!({"holds": true, "report": report}));
        }
        out.line(format_args!("HOLDS: {shown}"))?;
        for line in lines(&report) {
            out.line(line)?;
        }
        Ok(())
    }

    fn verified(&self) -> Result<Report> {
        let keys = PublicKeys::read(&self.public_key_hex, self.keys_file.as_deref())?;
        let policy = self.policy.as_deref().map(read_policy).transpose()?;
        let time = if self.tsa_trust.is_empty() {
            None
        } else {
            Some(read_trust(&self.tsa_trust, &self.tsa_intermediate, &self.tsa_crl)?)
        };
        let time = time.map(|time| secure_log::model::TimeTrust {
            anchors: time.anchors,
            intermediates: time.intermediates,
            revocation_lists: time.revocation_lists,
        });
        let text = read_bundle(&self.file)?;
        let device_keys = match subject_of(&text) {
            Some(Subject::Device { id }) if !keys.is_empty() => {
                let of = keys.of(&id);
                ensure!(!of.is_empty(), "none of the keys is for {id:?}, the device of this bundle");
                of.iter().map(ed25519_dalek::VerifyingKey::to_bytes).collect()
            }
            _ => Vec::new(),
        };
        let policy = policy.map(|(_, policy)| policy);
        let trust = Trust { keys: self.trust.clone(), policy, time, device_keys };
        Ok(evidence::verify(&text, &trust)?)
    }
}

fn read_bundle(path: &Path) -> Result<String> {
    let bytes = files::read(path, MAX_BUNDLE, "a bundle")?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => bail!("is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()),
    }
}

/// What the first line says, to choose keys by.
fn subject_of(text: &str) -> Option<Subject> {
    match serde_json::from_str(text.lines().next()?) {
        Ok(Line::EvidenceBundle(about)) => Some(about.subject),
        _ => None,
    }
}

/// The report for people.
fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![
        format!("log          {}", printable(&report.origin)),
        format!(
            "checkpoint   {}, of {} records of _log; {} signatures by trusted keys",
            report.checkpoint, report.size, report.signatures_verified
        ),
        format!("entries      {}, each proven up to the checkpoint", report.entries),
        format!("payloads     {} have the hash that was logged", report.payloads_checked),
    ];
    if let Some(witnesses) = &report.witnesses {
        lines.push(format!("witnesses    {}", printable(witnesses)));
    }
    if let Some(device) = &report.device {
        lines.push(format!(
            "device       {}: {} records signed and chained{}, {} registry entries, {} epochs{}",
            printable(&device.device_id),
            device.records,
            match device.records_absent {
                0 => String::new(),
                n => format!(" ({n} more are erased or withheld)"),
            },
            device.registry_entries,
            device.epochs,
            if device.revoked { "; taken out of service" } else { "" }
        ));
        for (key, revoked) in &device.keys {
            let trusted = if device.keys_trusted { "trusted" } else { "named by the log's registry" };
            lines.push(format!(
                "  key        {key}, {trusted}{}",
                if *revoked { ", revoked in the end" } else { "" }
            ));
        }
    }
    let time = &report.time;
    if let (Some(first), Some(last)) = (report.times.first(), report.times.last()) {
        lines.push(format!(
            "received     {} to {}, by the log's clock",
            time::show(first.received_ms),
            time::show(last.received_ms)
        ));
    }
    if report.times.iter().any(|times| times.claimed_ms.is_some()) {
        lines.push(format!(
            "claimed      at most {} before that, by the device's clock{}",
            time::show_duration(time.longest_delivery_ms),
            match time.claimed_after_received {
                0 => String::new(),
                n => format!("; {n} records claim a time AFTER they were received"),
            }
        ));
    }
    if time.verified > 0 {
        lines.push(format!(
            "trusted      {} time stamps of {}: at most {} after the log's clock{}",
            time.verified,
            time.authorities.iter().map(|a| printable(a).to_string()).collect::<Vec<_>>().join(", "),
            time::show_duration(time.longest_stamping_ms),
            match time.received_after_trusted {
                0 => String::new(),
                n => format!("; {n} entries have a time AFTER their stamp"),
            }
        ));
    }
    lines.extend(report.not_checked.iter().map(|what| format!("not checked  {}", printable(what))));
    lines
}
