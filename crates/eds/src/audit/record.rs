//! `sign-record` and `verify-record`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use edgesentry_audit::gate::check_form;
use edgesentry_audit::keys::verify_record;
use edgesentry_audit::{AuditRecord, build_signed_record, build_signed_record_v1};
use secure_log::limits::MAX_PAYLOAD;
use serde_json::json;

use super::device_key::{PrivateKeyArgs, fixed_hex, verifying_key};
use crate::output::{Output, warn};
use crate::{files, time};

/// Sign a record about a payload
///
/// The record holds the payload's hash, not the payload.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds audit sign-record --device-id lift-01 --sequence 1 --payload door-open \\
    --object-ref s3://bucket/lift-01/1.bin --key-file device-lift-01.key.json --out record1.json
  eds audit sign-record --device-id lift-01 --sequence 2 --payload-file photo.jpg --prev-record record1.json \\
    --object-ref s3://bucket/lift-01/2.jpg --key-file device-lift-01.key.json --out record2.json")]
pub(crate) struct SignRecord {
    /// The device, 1 to 255 bytes
    #[arg(long, value_name = "ID")]
    device_id: String,

    /// Number of the record: 1, 2, 3 …
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: u64,

    /// When it happened: ms since 1970, or RFC 3339 in UTC [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    timestamp_ms: Option<u64>,

    /// The payload, as text
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present = "payload_file",
        conflicts_with = "payload_file"
    )]
    payload: Option<String>,

    /// File with the payload, at most 8 MiB
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,

    /// Where the payload belongs, at most 511 bytes
    #[arg(long, value_name = "REF")]
    object_ref: String,

    #[command(flatten)]
    key: PrivateKeyArgs,

    /// Hash of the record before this one, 64 hex digits [default: zeros, as the first record has]
    #[arg(long, value_name = "HEX", conflicts_with = "prev_record")]
    prev_hash_hex: Option<String>,

    /// File with the record before this one, instead of its hash
    #[arg(long, value_name = "FILE")]
    prev_record: Option<PathBuf>,

    /// Version of the record. 1 signs the payload hash alone: whoever saw one record can make up its successors
    #[arg(long, value_name = "V", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    record_version: u8,

    /// Write the record to this file instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl SignRecord {
    pub fn run(self, out: Output) -> Result<()> {
        let key = self.key.take()?;
        let payload = match (&self.payload, &self.payload_file) {
            (_, Some(path)) => files::read(path, MAX_PAYLOAD, "a payload")?,
            (Some(text), None) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
        };
        let prev = match (&self.prev_hash_hex, &self.prev_record) {
            (Some(text), _) => fixed_hex(text, "--prev-hash-hex")?,
            (None, Some(path)) => {
                let record: AuditRecord = files::read_json(path, "a record")?;
                ensure!(
                    record.device_id == self.device_id,
                    "{} is a record of {:?}, not of {:?}",
                    path.display(),
                    record.device_id,
                    self.device_id
                );
                ensure!(
                    record.sequence.checked_add(1) == Some(self.sequence),
                    "{} is record {}, so the next one is {} and not {}",
                    path.display(),
                    record.sequence,
                    record.sequence.saturating_add(1),
                    self.sequence
                );
                record.hash()
            }
            (None, None) => {
                if self.sequence > 1 {
                    warn(format_args!(
                        "record {} has no previous hash, so it continues no chain: give --prev-record or --prev-hash-hex",
                        self.sequence
                    ));
                }
                AuditRecord::zero_hash()
            }
        };
        let build = if self.record_version == 1 { build_signed_record_v1 } else { build_signed_record };
        let at = self.timestamp_ms.unwrap_or_else(time::now_ms);
        let record = build(self.device_id, self.sequence, at, &payload, prev, self.object_ref, &key);
        check_form(&record)?;
        match self.out {
            Some(path) => files::write_json(&path, &record),
            None => out.document(&record),
        }
    }
}

/// Check the signature of one record
///
/// Prints VALID, or INVALID with exit code 2. A record of version 1 is signed over its payload hash alone, so nothing
/// else in it is proven.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eds audit verify-record --record-file record1.json \\
    --public-key-hex 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")]
pub(crate) struct VerifyRecord {
    /// File with the record
    #[arg(long, value_name = "FILE")]
    record_file: PathBuf,

    /// Public key of the device, 64 hex digits
    #[arg(long, value_name = "HEX")]
    public_key_hex: String,
}

impl VerifyRecord {
    pub fn run(self, out: Output) -> Result<ExitCode> {
        // Said of the option: the error of the key alone would not name it.
        verifying_key(&self.public_key_hex, "--public-key-hex")?;
        let record: AuditRecord = files::read_json(&self.record_file, "a record")?;
        let valid = check_form(&record).is_ok() && verify_record(&record, self.public_key_hex.trim())?;
        if valid && record.version() == 1 {
            warn("version 1: the signature covers the payload hash alone, not device, number, time or chain");
        }
        out.either(&json!({"valid": valid}), || if valid { "VALID" } else { "INVALID" })?;
        Ok(if valid { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}
