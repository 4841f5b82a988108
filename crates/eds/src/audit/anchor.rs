//! What a part of a chain follows, and the proof of it.
//!
//! An export that does not begin at record 1 says what its first record follows, and shows the entry of the log that
//! says so: the record before, or the registry's entry that opened the epoch. The entry's header is proven up to a
//! checkpoint, and commits to the entry's payload with a salted hash; so the payload comes along as it is stored.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgesentry_audit::AuditRecord;
use edgesentry_audit::integrity::ChainAnchor;
use secure_log::cbor::{DecodeError, MapReader};
use secure_log::header::{HeaderRef, payload_hash};
use serde::{Deserialize, Serialize};

use super::device_key::fixed_hex;
use crate::files;
use crate::log::proof::ProofFile;
use crate::output::note;

/// The file beside a part of a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnchorFile {
    pub device_id: String,
    pub epoch: u64,
    /// What the first record follows.
    pub anchor: ChainAnchor,
    /// Canonical header of the entry that says so, base64.
    pub header: String,
    /// Its payload as it is stored, salt first, base64.
    pub stored: String,
    /// Proof of the entry; absent where no checkpoint covered it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofFile>,
}

/// An anchor as it was given.
pub(crate) enum Anchor {
    /// A hash that the caller vouches for.
    Claimed(ChainAnchor),
    /// A file of an export.
    Shown(Box<AnchorFile>, String),
}

impl Anchor {
    /// Reads `--anchor`; `first` is the record that follows it.
    pub fn read(text: &str, first: &AuditRecord) -> Result<Self> {
        if text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit()) {
            let sequence = first.sequence.checked_sub(1).context("records are numbered from 1")?;
            return Ok(Self::Claimed(ChainAnchor { sequence, record_hash: fixed_hex(text, "--anchor")? }));
        }
        let file = files::read_json(
            Path::new(text),
            "an anchor: 64 hex digits, or a file that `eds audit export` wrote",
        );
        Ok(Self::Shown(Box::new(file?), text.to_owned()))
    }

    /// The anchor, checked as far as there is something to check it by.
    pub fn check(self, trusted: &[String], first: &AuditRecord) -> Result<ChainAnchor> {
        match self {
            Self::Claimed(anchor) => {
                ensure!(
                    trusted.is_empty(),
                    "--trust checks the proof in an anchor's file; a bare hash has none"
                );
                Ok(anchor)
            }
            Self::Shown(file, name) => {
                file.check(trusted, first).with_context(|| format!("the anchor in {name} does not hold"))
            }
        }
    }
}

impl AnchorFile {
    fn check(&self, trusted: &[String], first: &AuditRecord) -> Result<ChainAnchor> {
        ensure!(
            self.device_id == first.device_id,
            "it is of device {:?}, the records of {:?}",
            self.device_id,
            first.device_id
        );
        let base64 = |what: &str, text: &str| {
            BASE64.decode(text).ok().with_context(|| format!("{what} is not base64"))
        };
        let (header_bytes, stored) = (base64("header", &self.header)?, base64("stored", &self.stored)?);
        let header = HeaderRef::decode(&header_bytes).map_err(|e| anyhow::anyhow!("its header: {e}"))?;
        ensure!(
            payload_hash(&[], &stored) == header.payload_hash,
            "what is stored does not have the hash that the entry's header names"
        );
        let payload = stored.get(header.salt_len as usize..).context("what is stored is too short")?;
        let says = match header.stream_id.split('/').next() {
            Some("device") => record_anchor(payload)?,
            Some("registry") => registry_anchor(payload)?,
            _ => bail!("the entry is of stream {:?}, which says nothing of devices", header.stream_id),
        };
        ensure!(
            says == (self.device_id.clone(), self.anchor),
            "the entry says something else than the anchor"
        );
        match (&self.proof, trusted) {
            (None, []) => note(
                "no checkpoint covered the anchor when it was exported: it is a claim of whoever made it",
            ),
            (None, _) => bail!(
                "it has no proof: no checkpoint covered it when it was exported. Sign (eds log sign) and export again"
            ),
            (Some(_), []) => note("the anchor's proof was not checked: give --trust"),
            (Some(proof), trusted) => {
                let proven = proof.verify(trusted)?;
                ensure!(proven == header.to_owned(), "the proof is of another entry");
            }
        }
        Ok(self.anchor)
    }
}

/// What follows a stored record (docs/format.md): its device, its number and its hash.
fn record_anchor(payload: &[u8]) -> Result<(String, ChainAnchor)> {
    let fields = || -> Result<_, DecodeError> {
        let mut map = MapReader::new(payload)?;
        let (mut version, mut bytes) = (None, None);
        while let Some((key, value)) = map.next()? {
            match key {
                2 => version = Some(value.uint()?),
                3 => bytes = Some(value.bytes()?),
                _ => {}
            }
        }
        Ok((version, bytes))
    };
    let (version, bytes) = fields().map_err(|e| anyhow::anyhow!("the entry holds no record: {e}"))?;
    let (Some(version), Some(bytes)) = (version, bytes) else { bail!("the entry holds no record") };
    let record = AuditRecord::from_bytes(u8::try_from(version)?, bytes)?;
    let anchor = ChainAnchor::after(&record);
    Ok((record.device_id, anchor))
}

/// The beginning of an epoch, as the registry has it.
fn registry_anchor(payload: &[u8]) -> Result<(String, ChainAnchor)> {
    #[derive(Deserialize)]
    struct Opened {
        device_id: String,
        first: u64,
        anchor: String,
    }
    let opened: Opened = serde_json::from_slice(payload).context("the registry's entry opens no epoch")?;
    let sequence = opened.first.checked_sub(1).context("records are numbered from 1")?;
    Ok((opened.device_id, ChainAnchor { sequence, record_hash: fixed_hex(&opened.anchor, "its anchor")? }))
}
