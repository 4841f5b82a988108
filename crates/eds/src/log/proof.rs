//! `prove` and `verify-proof`, and the JSON of a proof.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use secure_log::header::Header;
use secure_log::model::{EntryProof, InclusionProof};
use secure_log::proof_file::{EXTENSION, FIRST_LINE, MAX_PROOF_FILE};
use secure_log_host::types;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::witness::read_policy;
use super::{show, with_log};
use crate::open::StoreArgs;
use crate::output::Output;
use crate::{files, time};

/// Version of the file.
const VERSION: u32 = 1;

/// An entry proof as JSON: hashes in hex, bytes in base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProofFile {
    secure_log_proof: u32,
    stream_id: String,
    seqno: u64,
    leaf_hash: String,
    tree_size: u64,
    root: String,
    path: Vec<String>,
    segment_id: u64,
    header: String,
    segment_header: String,
    segment_payload: String,
    log_path: Vec<String>,
    checkpoint: String,
}

impl ProofFile {
    pub fn new(proof: &types::EntryProof) -> Self {
        let inclusion = &proof.inclusion;
        let hashes = |hashes: &[Vec<u8>]| hashes.iter().map(hex::encode).collect();
        Self {
            secure_log_proof: VERSION,
            stream_id: inclusion.stream_id.clone(),
            seqno: inclusion.seqno,
            leaf_hash: hex::encode(&inclusion.leaf_hash),
            tree_size: inclusion.tree_size,
            root: hex::encode(&inclusion.root),
            path: hashes(&inclusion.path),
            segment_id: inclusion.segment_id,
            header: BASE64.encode(&proof.header_bytes),
            segment_header: BASE64.encode(&proof.segment_header),
            segment_payload: BASE64.encode(&proof.segment_payload),
            log_path: hashes(&proof.log_path),
            checkpoint: proof.checkpoint.clone(),
        }
    }

    fn proof(&self) -> Result<EntryProof> {
        anyhow::ensure!(
            self.secure_log_proof == VERSION,
            "version {} of proofs is not known here; {VERSION} is",
            self.secure_log_proof
        );
        let hash = |what: &str, text: &str| {
            let mut hash = [0; 32];
            hex::decode_to_slice(text, &mut hash)
                .map(|()| hash)
                .ok()
                .with_context(|| format!("{what} is not a hash"))
        };
        let hashes =
            |what: &str, texts: &[String]| texts.iter().map(|text| hash(what, text)).collect::<Result<_>>();
        let bytes = |what: &str, text: &str| {
            BASE64.decode(text).ok().with_context(|| format!("{what} is not base64"))
        };
        Ok(EntryProof {
            header_bytes: bytes("header", &self.header)?,
            inclusion: InclusionProof {
                stream_id: self.stream_id.clone(),
                seqno: self.seqno,
                leaf_hash: hash("leaf_hash", &self.leaf_hash)?,
                tree_size: self.tree_size,
                root: hash("root", &self.root)?,
                path: hashes("path", &self.path)?,
                segment_id: self.segment_id,
            },
            segment_header: bytes("segment_header", &self.segment_header)?,
            segment_payload: bytes("segment_payload", &self.segment_payload)?,
            log_path: hashes("log_path", &self.log_path)?,
            checkpoint: self.checkpoint.clone(),
        })
    }

    /// Checks it, and gives the header that it proves.
    pub fn verify(&self, trusted: &[String]) -> Result<Header> {
        Ok(secure_log::proof::verify_entry_proof(&self.proof()?, trusted)?)
    }
}

/// Prove an entry up to the newest checkpoint
///
/// The proof is a file that `verify-proof` checks without the log: JSON, or C2SP tlog-proof with the cosignatures of
/// witnesses where the name ends so. A segment over the entry must be closed and signed before (`eds log sign`).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log prove doors 17 -o proof.json
  eds log prove doors 17 -o door.tlog-proof --policy policy.txt")]
pub(crate) struct Prove {
    /// The stream
    stream: String,
    /// Number of the entry
    seqno: u64,
    /// Write the proof to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a C2SP tlog-proof, whatever the name of the file
    #[arg(long)]
    tlog_proof: bool,
    /// Prove under the newest checkpoint that this tlog-policy file counts as published; implies --tlog-proof
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

impl Prove {
    pub fn run(self, out: Output) -> Result<()> {
        let named = self.out.as_ref().and_then(|path| path.extension()).is_some_and(|e| e == EXTENSION);
        if named || self.tlog_proof || self.policy.is_some() {
            let policy = self.policy.as_deref().map(read_policy).transpose()?.map(|(bytes, _)| bytes);
            let file = with_log(&self.store, |log| {
                Ok(log.build_proof_file(&self.stream, self.seqno, policy.as_deref())?)
            })?;
            return match self.out {
                Some(path) => files::write(&path, file.as_bytes()),
                None => out.bytes(file.as_bytes()),
            };
        }
        let proof = with_log(&self.store, |log| Ok(log.build_entry_proof(&self.stream, self.seqno)?))?;
        let file = ProofFile::new(&proof);
        match self.out {
            Some(path) => files::write_json(&path, &file),
            None => out.document(&file),
        }
    }
}

/// Check such a proof, without the log
///
/// Prints what the proven entry is. The payload is not in the proof: its hash is, in the header.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  eds log verify-proof proof.json --trust \"$(cat audit.vkey)\"")]
pub(crate) struct VerifyProof {
    /// The file
    file: PathBuf,
    /// Verifier key that may have signed (C2SP: name+hash+key); may be given several times
    #[arg(long, value_name = "KEY", required_unless_present = "policy")]
    trust: Vec<String>,
    /// Whose cosignatures a C2SP tlog-proof must have: a tlog-policy file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl VerifyProof {
    pub fn run(self, out: Output) -> Result<()> {
        let (header, witnesses) =
            self.verified().with_context(|| format!("{} does not prove its entry", self.file.display()))?;
        let answer = json!({
            "holds": true,
            "witnesses": witnesses,
            "stream_id": header.stream_id,
            "seqno": header.seqno,
            "time_ms": header.time_ms,
            "event_type": header.event_type,
            "producer": header.producer,
            "payload_hash": hex::encode(header.payload_hash),
            "payload_len": header.payload_len,
            "object_ref": header.object_ref,
            "event_id": header.event_id,
        });
        out.either(&answer, || {
            let witnessed = match &witnesses {
                Some(status) => format!("; {}", show::printable(status)),
                None => String::new(),
            };
            format!(
                "entry {} of {} holds: {} by {} at {}{witnessed}",
                header.seqno,
                show::printable(&header.stream_id),
                show::printable(&header.event_type),
                show::printable(&header.producer),
                time::show(header.time_ms)
            )
        })
    }
}

impl VerifyProof {
    /// The header that is proven, and what the witnesses of the policy say of the checkpoint.
    fn verified(&self) -> Result<(Header, Option<String>)> {
        let bytes = files::read(&self.file, MAX_PROOF_FILE, "a proof of an entry")?;
        if !bytes.starts_with(FIRST_LINE.as_bytes()) {
            anyhow::ensure!(
                self.policy.is_none(),
                "cosignatures are in C2SP tlog-proofs only: `eds log prove --policy` makes one"
            );
            let file: ProofFile = files::read_json(&self.file, "a proof of an entry")?;
            return Ok((file.verify(&self.trust)?, None));
        }
        let policy = self.policy.as_deref().map(read_policy).transpose()?.map(|(_, policy)| policy);
        let proven = secure_log::proof_file::verify(&bytes, &self.trust, policy.as_ref())?;
        Ok((proven.header, proven.witnesses.map(|status| status.to_string())))
    }
}
