//! The log's side: the request, and what an answer means.

use std::fmt;

use super::{AddCheckpoint, bad};
use crate::cosignature::{Cosignature, CosignerKey};
use crate::error::Result;
use crate::model::Hash;
use crate::note::Note;
use crate::tree;
use crate::wire::decimal;

/// Most characters of a witness's own words that are passed on.
const MAX_WORDS: usize = 200;

/// What a witness's answer to [`AddCheckpoint`] comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Cosigned: at least one cosignature by a trusted key, all of them verified.
    Cosigned(Vec<Cosignature>),
    /// The witness cosigned another size last: prove from that size and send again.
    Conflict {
        /// The size, at most that of the checkpoint.
        size: u64,
    },
    /// Not cosigned, and sending the same again does not help (but see [`Refusal::is_temporary`]).
    Refused(Refusal),
}

/// Why a witness did not cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400: it could not read the request.
    Malformed(String),
    /// 404: it does not know the log.
    UnknownLog(String),
    /// 403: it trusts no key that signed the checkpoint, or a signature does not verify (some older
    /// witnesses also answer so for a log that they do not know).
    Untrusted(String),
    /// 422 (409 without another size by older witnesses): the checkpoint is not consistent with the
    /// one it cosigned. This is evidence of a fork, or the proof is wrong.
    Inconsistent(String),
    /// 409 with a size above the checkpoint's: the witness has seen a larger tree of this log. Either
    /// somebody submitted a newer checkpoint meanwhile, or this log was rolled back.
    Behind {
        /// The size that the witness cosigned.
        size: u64,
    },
    /// 429: too many requests.
    Pushback(String),
    /// 200 without what 200 promises: why.
    NotCosigned(String),
    /// Another status.
    Status(u16, String),
}

impl Refusal {
    /// Whether the same request may be answered otherwise later: 429 and 5xx.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Pushback(_) | Self::Status(500..=599, _))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, says) = match self {
            Self::Malformed(says) => ("the witness cannot read the request", says),
            Self::UnknownLog(says) => ("the witness does not know this log", says),
            Self::Untrusted(says) => ("the witness trusts no signature of the checkpoint", says),
            Self::Inconsistent(says) => {
                ("the checkpoint does not extend the one that the witness cosigned", says)
            }
            Self::Behind { size } => {
                return write!(
                    f,
                    "the witness cosigned a larger tree of this log, of size {size}: \
                     the log was rolled back, or a newer checkpoint was submitted meanwhile"
                );
            }
            Self::Pushback(says) => ("the witness is busy", says),
            Self::NotCosigned(reason) => ("the witness's answer cannot be used", reason),
            Self::Status(status, says) => {
                write!(f, "the witness answered with status {status}")?;
                return if says.is_empty() { Ok(()) } else { write!(f, ": {says}") };
            }
        };
        f.write_str(what)?;
        if says.is_empty() { Ok(()) } else { write!(f, ": {says}") }
    }
}

/// The first line of an answer, cut and without control characters: it comes from outside and goes
/// into logs.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * MAX_WORDS)]);
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_WORDS)
        .collect::<String>()
        .trim()
        .into()
}

impl AddCheckpoint {
    /// The request for a checkpoint `note` by a proof from `old_size`, the size that the witness
    /// cosigned last (0: none, or not known: it then answers with a conflict). Refused is what every
    /// witness would refuse, except that signatures are not checked.
    pub fn prepare(old_size: u64, proof: &[Hash], note: &str) -> Result<Self> {
        let request = Self::new(old_size, proof.to_vec(), note)?;
        if old_size > request.body.size {
            return Err(bad(format!(
                "the old size {old_size} is larger than the checkpoint's, {}",
                request.body.size
            )));
        }
        if request.body.size == 0 && request.body.root != tree::empty_root() {
            return Err(bad("size 0 has another root than the empty tree"));
        }
        if (old_size == 0 || old_size == request.body.size) && !proof.is_empty() {
            return Err(bad(format!("from {old_size} to {} the proof is empty", request.body.size)));
        }
        Ok(request)
    }

    /// Judges an answer to this request by the trusted keys of the witness. Lines by other keys are
    /// passed over; a known key that fails, none that verifies, a cosignature without a time, or
    /// anything but signature lines makes the whole answer useless.
    pub fn accept(&self, keys: &[CosignerKey], status: u16, body: &[u8]) -> Answer {
        let says = words(body);
        Answer::Refused(match status {
            200 => match self.verify_answer(keys, body) {
                Ok(cosignatures) => return Answer::Cosigned(cosignatures),
                Err(reason) => Refusal::NotCosigned(reason),
            },
            409 => {
                let text = std::str::from_utf8(body).ok();
                match text.and_then(|t| t.strip_suffix('\n')).and_then(decimal) {
                    Some(size) if size > self.body.size => Refusal::Behind { size },
                    Some(size) if size != self.old_size => return Answer::Conflict { size },
                    _ => Refusal::Inconsistent(says),
                }
            }
            400 => Refusal::Malformed(says),
            403 => Refusal::Untrusted(says),
            404 => Refusal::UnknownLog(says),
            422 => Refusal::Inconsistent(says),
            429 => Refusal::Pushback(says),
            _ => Refusal::Status(status, says),
        })
    }

    fn verify_answer(&self, keys: &[CosignerKey], body: &[u8]) -> Result<Vec<Cosignature>, String> {
        let lines = std::str::from_utf8(body).map_err(|_| "it is not UTF-8")?;
        let text = &self.note.text;
        // A blank line in the answer would move the border between text and signatures.
        let answer = Note::parse(&format!("{text}\n{lines}")).map_err(|e| e.to_string())?;
        if answer.text != *text {
            return Err("it holds more than signature lines".into());
        }
        let found = answer.cosignatures(keys).map_err(|e| e.to_string())?.cosignatures;
        if found.is_empty() {
            return Err("no cosignature by a key that is trusted for it".into());
        }
        match found.iter().find(|c| c.time == 0) {
            Some(c) => Err(format!("the cosignature by {} has no time", c.name)),
            None => Ok(found),
        }
    }
}
