//! `demo-lift-inspection`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use edgesentry_audit::AuditRecord;
use edgesentry_audit::demo::build_lift_inspection_demo_records_with_payloads;
use edgesentry_audit::integrity::verify_chain_with_keys;
use edgesentry_audit::keys::signing_key_from_hex;
use serde_json::json;
use zeroize::Zeroizing;

use super::chain;
use super::device_key::PrivateKeyArgs;
use crate::files;
use crate::output::Output;

/// The key of the demo. Everybody has it.
const DEMO_KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

/// Make the records of one lift inspection, to try things out with
///
/// Three records, signed and chained: the door opens and closes, vibration is in bounds, the emergency brake answers.
/// Prints `DEMO_CREATED:<file>`, checks the chain and prints `CHAIN_VALID`. Without a key it signs with the one that
/// is `01` 32 times, which everybody has.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eds audit demo-lift-inspection --device-id lift-01 --out-file lift_inspection_records.json \\
    --payloads-file lift_inspection_payloads.json")]
pub(crate) struct DemoLiftInspection {
    /// The device
    #[arg(long, value_name = "ID")]
    device_id: String,

    /// Where the records go: a JSON array
    #[arg(long, value_name = "FILE")]
    out_file: PathBuf,

    /// Where the payloads go, if anywhere: a JSON array of hex strings, in the order of the records
    #[arg(long, value_name = "FILE")]
    payloads_file: Option<PathBuf>,

    #[command(flatten)]
    key: PrivateKeyArgs,

    /// Time of the first record, ms since 1970; the others follow a minute apart
    #[arg(long, value_name = "TIME", default_value_t = 1_700_000_000_000)]
    start_timestamp_ms: u64,

    /// What the object references begin with [default: s3://bucket/<device id>]
    #[arg(long, value_name = "PREFIX")]
    object_prefix: Option<String>,
}

impl DemoLiftInspection {
    pub fn run(self, out: Output) -> Result<()> {
        let private = match self.key.find()? {
            Some(key) => Zeroizing::new(hex::encode(key.as_bytes())),
            None => Zeroizing::new(DEMO_KEY.to_owned()),
        };
        let prefix = self.object_prefix.unwrap_or_else(|| format!("s3://bucket/{}", self.device_id));
        let (records, payloads) = build_lift_inspection_demo_records_with_payloads(
            &self.device_id,
            &private,
            self.start_timestamp_ms,
            prefix.trim_end_matches('/'),
        )?;
        files::write_json(&self.out_file, &records)?;
        if let Some(path) = &self.payloads_file {
            files::write_json(path, &payloads.iter().map(hex::encode).collect::<Vec<_>>())?;
        }
        let read: Vec<AuditRecord> = files::read_json(&self.out_file, "a JSON array of records")?;
        ensure!(read == records, "{} does not hold what was written to it", self.out_file.display());
        let key = signing_key_from_hex(&private)?.verifying_key();
        verify_chain_with_keys(&read, &[key]).context(chain::FAILED)?;
        let file = self.out_file.display();
        let answer = json!({"created": self.out_file, "records": records.len(), "chain_valid": true});
        out.either(&answer, || format!("DEMO_CREATED:{file}\nCHAIN_VALID"))
    }
}
