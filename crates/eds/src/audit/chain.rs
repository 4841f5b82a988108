//! `verify-chain`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use edgesentry_audit::AuditRecord;
use edgesentry_audit::integrity::{ChainAnchor, ChainError, verify_chain_from, verify_chain_from_with_keys};
use serde_json::json;

use super::anchor::Anchor;
use super::device_key::PublicKeys;
use crate::files;
use crate::output::{Output, note};

/// What an error about a chain begins with.
pub(crate) const FAILED: &str = "chain verification failed";

/// Check a chain of records
///
/// Numbers without gaps, each record with the hash of the one before, all of one device; with keys, each signature too.
/// Prints CHAIN_VALID. Without keys it says on stderr that signatures were not checked: hashes alone show that the
/// records belong together, not who made them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds audit verify-chain --records-file records.json
  eds audit verify-chain --records-file records.json \\
    --public-key-hex 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
  eds audit verify-chain --records-file part.json --anchor part.json.anchor --keys-file keys.json

A file of keys is a JSON list of public keys (hex), or an object from device ids to one key or a list of keys.")]
pub(crate) struct VerifyChain {
    /// File with the records: a JSON array, in order
    #[arg(long, value_name = "FILE")]
    records_file: PathBuf,

    /// Public key that may have signed, 64 hex digits; may be given several times
    #[arg(long, value_name = "HEX")]
    public_key_hex: Vec<String>,

    /// File with public keys
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,

    /// Where a part of a chain begins: the hash of the record before the first (64 hex digits), or the file that
    /// `eds audit export` wrote beside the part
    #[arg(long, value_name = "HEX|FILE")]
    anchor: Option<String>,

    /// Verifier key of the log that the part was exported from (C2SP: name+hash+key); may be given several times. With
    /// it, the proof in the anchor's file is checked
    #[arg(long, value_name = "KEY", requires = "anchor")]
    trust: Vec<String>,
}

impl VerifyChain {
    pub fn run(self, out: Output) -> Result<()> {
        let keys = PublicKeys::read(&self.public_key_hex, self.keys_file.as_deref())?;
        let records: Vec<AuditRecord> = files::read_json(&self.records_file, "a JSON array of records")?;
        let file = self.records_file.display();
        let Some(first) = records.first() else { bail!("{file} holds no records") };
        let anchor = match &self.anchor {
            None => ChainAnchor::START,
            Some(text) => Anchor::read(text, first)?.check(&self.trust, first)?,
        };
        let outcome = if keys.is_empty() {
            verify_chain_from(&anchor, &records)
        } else {
            let keys = keys.of(&first.device_id);
            ensure!(
                !keys.is_empty(),
                "none of the keys is for {:?}, the device of these records",
                first.device_id
            );
            verify_chain_from_with_keys(&anchor, &records, &keys)
        };
        outcome.map_err(|error| match error {
            ChainError::InvalidSequence { index: 0, actual, .. } if self.anchor.is_none() => anyhow::anyhow!(
                "{error}; if these are the records from {actual} on, say with --anchor what they follow"
            ),
            error => error.into(),
        })
        .context(FAILED)?;
        if keys.is_empty() {
            note(
                "signatures were not checked (nor the last record's fields, which no hash covers): give --public-key-hex or --keys-file",
            );
        }
        let answer = json!({
            "chain_valid": true,
            "device_id": first.device_id,
            "records": records.len(),
            "signatures_checked": if keys.is_empty() { 0 } else { records.len() },
        });
        out.either(&answer, || "CHAIN_VALID")
    }
}
