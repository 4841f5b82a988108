//! `demo-ingest`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use edgesentry_audit::AuditRecord;
use edgesentry_audit::gate::{Outcome, Registration, Submission, Verdict};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::device_key::verifying_key;
use super::registry::open_gate;
use crate::log::show::printable;
use crate::open::{Open, Part, Place, StoreArgs};
use crate::output::Output;
use crate::{files, time};

/// The public key of the demo's records.
const DEMO_PUBLIC_KEY: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

/// Give records to a gate over a local store, to try things out with
///
/// Registers the device, gives the records with their payloads to the gate, and says of each whether it was accepted.
/// With --tampered-records-file the gate then gets those too, and is to refuse at least one of them.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eds audit demo-lift-inspection --device-id lift-01 --out-file lift_inspection_records.json \\
    --payloads-file lift_inspection_payloads.json
  eds audit demo-ingest --records-file lift_inspection_records.json \\
    --payloads-file lift_inspection_payloads.json --device-id lift-01 --reset")]
pub(crate) struct DemoIngest {
    /// File with the records: a JSON array
    #[arg(long, value_name = "FILE")]
    records_file: PathBuf,
    /// File with their payloads: a JSON array of hex strings, in the order of the records
    #[arg(long, value_name = "FILE")]
    payloads_file: PathBuf,
    /// The device
    #[arg(long, value_name = "ID")]
    device_id: String,
    /// Its public key, 64 hex digits [default: that of the demo]
    #[arg(long, value_name = "HEX", default_value = DEMO_PUBLIC_KEY, hide_default_value = true)]
    public_key_hex: String,
    /// File with changed records, to see them refused
    #[arg(long, value_name = "FILE")]
    tampered_records_file: Option<PathBuf>,
    /// Where the log is kept
    #[arg(long, value_name = "PATH", default_value = "demo-audit.db")]
    store: PathBuf,
    /// Begin with an empty store: removes the one at --store, if no other device is registered in it
    #[arg(long)]
    reset: bool,
}

impl DemoIngest {
    pub fn run(self, out: Output) -> Result<()> {
        let key = verifying_key(&self.public_key_hex, "--public-key-hex")?;
        let records = read_records(&self.records_file)?;
        let tampered = self.tampered_records_file.as_deref().map(read_records).transpose()?;
        let payloads = read_payloads(&self.payloads_file)?;
        for (file, count) in [
            (Some(&self.records_file), records.len()),
            (self.tampered_records_file.as_ref(), tampered.as_ref().map_or(payloads.len(), Vec::len)),
        ] {
            ensure!(
                count == payloads.len(),
                "{} has {count} records, and {} has {} payloads",
                file.unwrap_or(&self.records_file).display(),
                self.payloads_file.display(),
                payloads.len()
            );
        }
        let store = StoreArgs {
            stack: "sqlite".into(),
            store: Some(self.store.to_str().context("--store is not UTF-8")?.to_owned()),
            head_file: None,
            keys: None,
            wait: time::parse_duration("5s").map_err(anyhow::Error::msg)?,
        };
        let place = store.place(Part::Gate)?;
        if place.server()?.is_some() {
            bail!("a server has {} open: use another --store for a demo", self.store.display());
        }
        if self.reset && place.exists() {
            self.remove(&place)?;
        }
        let mut log = open_gate(&place, "demo")?;
        let outcome = self.ingest(out, &mut log, Registration::new(key), records, tampered, &payloads);
        let closed = log.close();
        outcome?;
        Ok(closed?)
    }

    fn ingest(
        &self,
        out: Output,
        log: &mut Open,
        mut registration: Registration,
        records: Vec<AuditRecord>,
        tampered: Option<Vec<AuditRecord>>,
        payloads: &[Zeroizing<Vec<u8>>],
    ) -> Result<()> {
        if records.iter().any(|record| record.version() == 1) {
            registration.versions = vec![1, 2];
        }
        log.register_device(&self.device_id, &registration)
            .with_context(|| format!("cannot register {:?}", self.device_id))?;
        let verdicts = submit(log, records, payloads)?;
        let refused = verdicts.iter().filter(|v| !is_accepted(v)).count();
        let mut shown: Vec<Value> = verdicts.iter().map(|v| json_of(v, false)).collect();
        if !out.json {
            verdicts.iter().try_for_each(|verdict| out.line(line(verdict, "")))?;
        }
        let mut seen = None;
        if let Some(tampered) = tampered {
            let verdicts = submit(log, tampered, payloads)?;
            seen = Some(verdicts.iter().any(|verdict| !is_accepted(verdict)));
            shown.extend(verdicts.iter().map(|verdict| json_of(verdict, true)));
            if !out.json {
                verdicts.iter().try_for_each(|verdict| out.line(line(verdict, "tampered: ")))?;
            }
        }
        if out.json {
            out.document(&json!({"store": self.store, "verdicts": shown, "tampering_refused": seen}))?;
        }
        ensure!(refused == 0, "{refused} of the records were refused");
        ensure!(seen != Some(false), "the gate accepted every changed record: was the file changed at all?");
        Ok(())
    }

    /// Removes a store that holds nothing but this demo.
    fn remove(&self, place: &Place) -> Result<()> {
        let mut log = open_gate(place, "demo").with_context(|| {
            format!("{} is not a store of a demo, so it is not removed", self.store.display())
        })?;
        let ids = log.device_ids(0, 2);
        let closed = log.close();
        let ids = ids?;
        closed?;
        if let Some(other) = ids.iter().find(|id| **id != self.device_id) {
            bail!("device {other:?} is registered in {} too, so it is not removed", self.store.display());
        }
        let cannot = || format!("cannot remove {}", self.store.display());
        for suffix in ["-wal", "-shm", ""] {
            match std::fs::remove_file(files::beside(&self.store, suffix)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(cannot),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_records(path: &Path) -> Result<Vec<AuditRecord>> {
    files::read_json(path, "a JSON array of records")
}

/// Payloads in hex. No error shows any of them.
fn read_payloads(path: &Path) -> Result<Vec<Zeroizing<Vec<u8>>>> {
    let what = || format!("{} is not a JSON array of hex strings", path.display());
    let bytes = Zeroizing::new(files::read(path, 1 << 30, "payloads")?);
    // What serde says could show what it found there.
    let texts: Vec<Cow<'_, str>> = serde_json::from_slice(&bytes).ok().with_context(what)?;
    let decode = |(number, text): (usize, &Cow<'_, str>)| {
        let bytes = hex::decode(text.as_bytes()).ok();
        bytes
            .map(Zeroizing::new)
            .with_context(|| format!("payload {} in {} is not hex", number + 1, path.display()))
    };
    texts.iter().enumerate().map(decode).collect()
}

fn submit(
    log: &mut Open,
    records: Vec<AuditRecord>,
    payloads: &[Zeroizing<Vec<u8>>],
) -> Result<Vec<Verdict>> {
    let submission = |(record, payload): (AuditRecord, &Zeroizing<Vec<u8>>)| Submission {
        record,
        payload: payload.to_vec(),
        route_identity: None,
        source: Some("demo".into()),
    };
    let submissions: Vec<_> = records.into_iter().zip(payloads).map(submission).collect();
    Ok(log.submit_batch(&submissions)?)
}

fn is_accepted(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Accepted(_)) || verdict.already.is_some()
}

fn line(verdict: &Verdict, before: &str) -> String {
    let (device, sequence) = (printable(&verdict.device_id), verdict.sequence);
    match (&verdict.outcome, &verdict.already) {
        (Outcome::Accepted(receipt), _) => format!(
            "{before}accepted\t{device}\t{sequence}\tentry {} of {}",
            receipt.seqno,
            printable(&receipt.stream_id)
        ),
        (Outcome::Rejected(_), Some(_)) => format!("{before}already there\t{device}\t{sequence}"),
        (Outcome::Rejected(error), None) => {
            format!("{before}rejected\t{device}\t{sequence}\t{}", printable(&error.to_string()))
        }
    }
}

fn json_of(verdict: &Verdict, tampered: bool) -> Value {
    let (status, error) = match (&verdict.outcome, &verdict.already) {
        (Outcome::Accepted(_), _) => ("accepted", None),
        (Outcome::Rejected(_), Some(_)) => ("already there", None),
        (Outcome::Rejected(error), None) => ("rejected", Some(error.to_string())),
    };
    json!({
        "device_id": verdict.device_id,
        "sequence": verdict.sequence,
        "status": status,
        "error": error,
        "tampered": tampered,
    })
}
