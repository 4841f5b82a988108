//! `export` and `verify-store`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use edgesentry_audit::gate::{Device, LogGate, Settings, streams};
use edgesentry_audit::integrity::{ChainAnchor, verify_chain_from};
use secure_log::export::Line;
use secure_log::header::HeaderRef;
use secure_log_host::types::LogError;
use secure_log_host::{Failure, Hosted};
use serde_json::json;

use super::anchor::AnchorFile;
use super::gate_log::ReadLog;
use super::stored::with_stored;
use crate::files;
use crate::log::proof::ProofFile;
use crate::log::show::printable;
use crate::open::StoreArgs;
use crate::output::{Output, note, progress};

/// Write accepted records of a device to a file
///
/// A JSON array that `verify-chain` takes. Records that do not begin at number 1 follow something: what, and the proof of
/// it, goes into a file beside it, `<FILE>.anchor`, for `verify-chain --anchor`. That file holds the entry before as it
/// is stored, payload and all, since the log's hash of it covers all of that.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds audit export --device-id lift-01 --out lift-01.json
  eds audit export --device-id lift-01 --from 100 --to 199 --out part.json")]
pub(crate) struct Export {
    /// The device
    #[arg(long, value_name = "ID")]
    device_id: String,
    /// Which stretch of its chain [default: the last]
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// First record [default: the first of the epoch]
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Last record [default: the last that was accepted]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Where the records go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write the payloads too: a JSON array of hex strings, in the order of the records
    #[arg(long, value_name = "FILE")]
    payloads_file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

impl Export {
    pub fn run(self, out: Output) -> Result<()> {
        with_stored(&self.store, |log| self.export(out, log))
    }

    fn export(&self, out: Output, log: &mut Hosted) -> Result<()> {
        let id = &self.device_id;
        let device = log.device(id)?.with_context(|| {
            format!("no device {id:?} is registered: `eds audit devices list` names those there are")
        })?;
        let number = self.epoch.unwrap_or(device.epochs.len() as u64);
        let epoch = device.epochs.iter().find(|epoch| epoch.number == number);
        let epoch = epoch
            .with_context(|| format!("{id:?} has no epoch {number}: it has 1 to {}", device.epochs.len()))?;
        let stream = streams::device(id, number);
        let count = log.head(&stream)?.map_or(0, |head| head.seqno);
        ensure!(count > 0, "no record of {id:?} was accepted in epoch {number}");
        let last = epoch.first + count - 1;
        let (from, to) = (self.from.unwrap_or(epoch.first), self.to.unwrap_or(last));
        ensure!(from <= to, "--from {from} is after --to {to}");
        ensure!(
            epoch.first <= from && to <= last,
            "epoch {number} of {id:?} has records {} to {last}, not {from} to {to}",
            epoch.first
        );
        let bar = progress("exporting", Some(to - from + 1), false);
        let (mut records, mut payloads) = (Vec::new(), Vec::new());
        for sequence in from..=to {
            let stored = log.read_record(id, number, sequence).with_context(|| {
                format!("cannot export record {sequence} of {id:?}; --from and --to choose others")
            })?;
            records.push(stored.record);
            if self.payloads_file.is_some() {
                payloads.push(hex::encode(stored.payload));
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let mut anchor_file = None;
        let anchor = if from == 1 {
            ChainAnchor::START
        } else {
            let file = self.anchor(log, &device, number, from)?;
            let anchor = file.anchor;
            anchor_file = Some(file);
            anchor
        };
        verify_chain_from(&anchor, &records).context(super::chain::FAILED)?;
        files::write_json(&self.out, &records)?;
        let beside = files::beside(&self.out, ".anchor");
        if let Some(file) = &anchor_file {
            files::write_json(&beside, file)?;
        }
        if let Some(path) = &self.payloads_file {
            files::write_json(path, &payloads)?;
        }
        let anchor_path = anchor_file.as_ref().map(|_| &beside);
        let answer = json!({
            "device_id": id, "epoch": number, "from": from, "to": to,
            "out": self.out, "anchor": anchor_path,
            "anchor_proven": anchor_file.as_ref().map(|file| file.proof.is_some()),
        });
        out.either(&answer, || {
            let anchor =
                anchor_path.map_or(String::new(), |path| format!(", what they follow to {}", path.display()));
            format!(
                "records {from} to {to} of {}, epoch {number}, to {}{anchor}",
                printable(id),
                self.out.display()
            )
        })
    }

    /// What record `from` follows, with the entry that says so and its proof.
    fn anchor(&self, log: &mut Hosted, device: &Device, number: u64, from: u64) -> Result<AnchorFile> {
        let id = &self.device_id;
        let epoch = device.epochs.iter().find(|epoch| epoch.number == number).context("the epoch is gone")?;
        let (stream, seqno, anchor) = if from == epoch.first {
            let anchor = ChainAnchor { sequence: from - 1, record_hash: epoch.anchor };
            (streams::registry(id), epoch.opened, anchor)
        } else {
            let before = log.read_record(id, number, from - 1)?;
            (before.receipt.stream_id, before.receipt.seqno, ChainAnchor::after(&before.record))
        };
        let (header, stored) = stored_entry(log, &stream, seqno)?;
        let proof = match log.build_entry_proof(&stream, seqno) {
            Ok(proof) => Some(ProofFile::new(&proof)),
            Err(Failure::Log(LogError::NotFound(missing))) => {
                note(format_args!(
                    "the anchor is not proven: {} ({}). Close a segment and sign it (eds log sign), and export again",
                    missing.what, missing.reason
                ));
                None
            }
            Err(error) => return Err(error).context("cannot prove the anchor"),
        };
        Ok(AnchorFile { device_id: id.clone(), epoch: number, anchor, header, stored, proof })
    }
}

/// Header and stored payload of an entry, in base64.
fn stored_entry(log: &mut Hosted, stream: &str, seqno: u64) -> Result<(String, String)> {
    let mut entries = Vec::new();
    stored_entries(log, stream, seqno, seqno, &mut entries)?;
    let (_, payload) = entries.pop().context("the export has no such entry")?;
    let header = BASE64.encode(log.read(stream, seqno)?.header_bytes);
    Ok((header, payload.context("the payload of the entry is not stored")?))
}

/// Numbers and stored payloads (base64) of entries `from` to `to`, as many as one page of an export holds; gives the
/// number of the entry after them. The calls that read payloads leave out the salt. The cursor is a place in the export
/// (entries of `_log`, checkpoints and entries written so far, next entry, stream), as `export-log` gives it.
pub(super) fn stored_entries(
    log: &mut Hosted,
    stream: &str,
    from: u64,
    to: u64,
    entries: &mut Vec<(u64, Option<String>)>,
) -> Result<u64> {
    let size = log.head("_log")?.map_or(0, |head| head.seqno);
    let page = log.export_log(&[], Some(&format!("{size}:0:0:{from}:{stream}")))?;
    let mut next = from;
    for line in page.lines.lines().take(usize::try_from(to - from)?.saturating_add(1)) {
        let Line::Entry { header, payload } = serde_json::from_str(line)? else { break };
        let header = BASE64.decode(header).context("the export gave a header that is not base64")?;
        let header = HeaderRef::decode(&header)
            .map_err(|e| anyhow::anyhow!("the export gave a header that is none: {e}"))?;
        ensure!(
            header.stream_id == stream && header.seqno == next,
            "the export gave entry {} of {:?}, not {next} of {stream:?}",
            header.seqno,
            header.stream_id
        );
        entries.push((next, payload));
        next += 1;
    }
    ensure!(next > from, "the export has no entry {from} of {stream:?}");
    Ok(next)
}

/// Verify what is stored of devices
///
/// The registry, and each record against it: its place and its chain, the payload, the key that signed it and whether
/// that was allowed when it was accepted. That the log itself is whole and unchanged since it was signed is for
/// `eds log verify` to say.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  eds audit verify-store\n  eds audit verify-store --device-id lift-01 --json"
)]
pub(crate) struct VerifyStore {
    /// Only this device
    #[arg(long, value_name = "ID")]
    device_id: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl VerifyStore {
    pub fn run(self, out: Output) -> Result<()> {
        with_stored(&self.store, |log| {
            let ids = match &self.device_id {
                Some(id) => vec![id.clone()],
                None => all_ids(log)?,
            };
            let bar = progress("verifying", Some(ids.len() as u64), false);
            let (mut devices, mut records, mut erased, mut bytes) = (Vec::new(), 0, 0, 0);
            for id in &ids {
                let mut gate = LogGate::new(ReadLog(log), Settings::default())?;
                let report = gate
                    .audit_device(id)
                    .with_context(|| format!("what is stored of {id:?} does not hold"))?;
                records += report.records;
                erased += report.records_erased;
                bytes += report.payload_bytes;
                devices.push(json!({
                    "device_id": id,
                    "registry_entries": report.registry_entries,
                    "epochs": report.epochs.len(),
                    "records": report.records,
                    "records_erased": report.records_erased,
                    "payload_bytes": report.payload_bytes,
                }));
                bar.inc(1);
            }
            bar.finish_and_clear();
            let answer = json!({"holds": true, "devices": devices, "records": records, "records_erased": erased, "payload_bytes": bytes});
            out.either(&answer, || {
                let gone = match erased {
                    0 => String::new(),
                    n => format!("; {n} records were erased: that they were accepted holds"),
                };
                format!("{} devices, {records} records, {bytes} bytes of payload hold{gone}", ids.len())
            })
        })
    }
}

fn all_ids(log: &mut Hosted) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    loop {
        let page = log.device_ids(ids.len() as u64, 1_000)?;
        if page.is_empty() {
            return Ok(ids);
        }
        ids.extend(page);
    }
}
