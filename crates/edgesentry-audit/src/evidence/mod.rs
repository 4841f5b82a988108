//! Evidence bundles: some entries of a log with everything that proves them, in one text file.
//!
//! JSON lines (`docs/evidence.md`): what it is, keys and policy (claims, not trust), one checkpoint with its
//! cosignatures and time stamps, the entries, each with its C2SP tlog-proof, and a line that says how many there were.
//! [`verify()`] needs nothing but the file and what its caller trusts.

mod log;
mod report;
mod verify;

use secure_log::model::TimeTrust;
use secure_log::policy::Policy;
use serde::{Deserialize, Serialize};

use crate::gate::Failure;

pub use report::{Device, EntryTimes, Report, TimeReport};
pub(crate) use verify::Verifier;
pub use verify::verify;

/// Version of the format.
pub const VERSION: u32 = 1;
/// Most bytes of a bundle that is verified.
pub const MAX_BUNDLE: usize = 1 << 30;

/// One line of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Line {
    /// First line.
    EvidenceBundle(About),
    /// A verifier key that may have signed the checkpoint. A claim of whoever made the bundle.
    Key(String),
    /// The C2SP tlog-policy by which the checkpoint was chosen. A claim as well.
    Policy(String),
    /// The checkpoint that everything else is under.
    Checkpoint {
        /// Its number in the log.
        number: u64,
        /// The note as the log signed it: what its time stamps are of.
        note: String,
        /// The same with the cosignatures of witnesses after it, as it stands in the proofs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cosigned: Option<String>,
        /// Time-stamp tokens of `note`, DER in base64.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        time_tokens: Vec<String>,
    },
    /// An entry; those of a stream in their order.
    Entry {
        /// C2SP tlog-proof of the entry; its header is in there.
        proof: String,
        /// Stored payload (salt and all), base64; absent if it was erased, is kept elsewhere, or is withheld.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<String>,
        /// Time-stamp tokens of the entry's header, DER in base64.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        time_tokens: Vec<String>,
    },
    /// Last line.
    End {
        /// Entry lines.
        entries: u64,
    },
}

/// What a bundle is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct About {
    /// [`VERSION`].
    pub version: u32,
    /// Name of the log.
    pub origin: String,
    /// What it is evidence of.
    pub subject: Subject,
    /// Program that made it, with its version. A claim; the software that wrote an entry is in the entry's header.
    pub made_by: String,
}

/// What a bundle is evidence of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Subject {
    /// Consecutive entries of a stream.
    Range {
        /// The stream.
        stream: String,
        /// First entry.
        from: u64,
        /// Last entry.
        to: u64,
    },
    /// A device: its registry, its keys and all of its records.
    Device {
        /// Its id.
        id: String,
    },
}

impl Line {
    /// The line, with its newline.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }
}

/// What the verifier of a bundle trusts. Nothing in the bundle adds to it.
#[derive(Debug, Default)]
pub struct Trust {
    /// Verifier keys of the log; without any, those of the policy's logs.
    pub keys: Vec<String>,
    /// Whose cosignatures the checkpoint must have.
    pub policy: Option<Policy>,
    /// Time-stamping authorities.
    pub time: Option<TimeTrust>,
    /// Public keys that the device may have had (Ed25519, 32 bytes); empty: those that the log's registry names.
    pub device_keys: Vec<[u8; 32]>,
}

/// Why a bundle is not evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// A line that is not as it should be, or where it should be.
    #[error("line {line}: {reason}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// It says which log, key or stream and why.
    #[error("line {line}: {source}")]
    Log {
        /// The line.
        line: u64,
        /// What does not hold.
        source: Box<secure_log::Error>,
    },
    /// The records of a device do not hold together.
    #[error("device {device:?}: {source}")]
    Device {
        /// The device.
        device: String,
        /// What does not hold.
        source: Box<Failure>,
    },
    /// A key of the device is none of those that are trusted.
    #[error("device {device:?}: the registry names key {key}, which is none of the trusted ones")]
    DeviceKey {
        /// The device.
        device: String,
        /// The key, in hex.
        key: String,
    },
}
