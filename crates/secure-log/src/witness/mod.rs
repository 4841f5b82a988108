//! The C2SP witness protocol, both sides, without I/O.
//!
//! Rules: c2sp.org/tlog-witness, `add-checkpoint`. A log sends a checkpoint and a consistency proof
//! from the size that the witness cosigned last; the witness checks and cosigns.
//!
//! - the log's side: [`AddCheckpoint::prepare`] gives the request body, [`AddCheckpoint::accept`]
//!   judges the answer;
//! - the witness's side: [`AddCheckpoint::parse`], then [`Witness::decide`] on what is stored for
//!   the [origin](AddCheckpoint::origin).
//!
//! Whoever sends and stores is the caller: see [`Decision`] for what must be atomic.

mod client;
mod server;
mod service;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::model::Hash;
use crate::note::{CheckpointBody, MAX_NOTE, Note};
use crate::wire::{base64, decimal, hash};

pub use client::{Answer, Refusal};
pub use server::{Decision, MAX_LOG_KEYS, Response, Stored, WatchedLog, Witness};
pub use service::{Service, unavailable};

/// Path of the call under the submission prefix.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";
/// Content type of a 409 answer, whose body is the size that the witness cosigned last.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";
/// Most hashes of a consistency proof.
pub const MAX_PROOF: usize = 63;
/// Most bytes of a request body: room for 16 post-quantum signatures many times over, and little
/// enough that a cosigned checkpoint is never longer than a note may be.
pub const MAX_REQUEST: usize = MAX_NOTE / 2;

/// An `add-checkpoint` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the witness cosigned last; 0: none, or not known.
    old_size: u64,
    /// From that size to the checkpoint's.
    proof: Vec<Hash>,
    note: Note,
    body: CheckpointBody,
}

fn bad(reason: impl Into<String>) -> Error {
    Error::invalid("witness request", reason)
}

/// The body of a checkpoint. [`CheckpointBody::parse`] refuses an empty tree with another root than
/// the empty one; a witness must tell that (422) from a malformed request (400), and later.
fn parse_body(text: &str) -> Result<CheckpointBody> {
    let mut lines = text.splitn(3, '\n');
    if let (Some(origin), Some("0"), Some(rest)) = (lines.next(), lines.next(), lines.next()) {
        let body = CheckpointBody::parse(&format!("{origin}\n1\n{rest}"))?;
        return Ok(CheckpointBody { size: 0, ..body });
    }
    CheckpointBody::parse(text)
}

/// A note whose signatures are base64 with loose bits in the last character, with these bits
/// cleared. [`Note::parse`] refuses them, Go's decoder and so other witnesses do not: here they are
/// signatures like others, which verify (200) or do not (403).
fn clear_loose_bits(note: &str) -> Option<String> {
    const LOOSE: GeneralPurpose =
        GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let split = note.rfind("\n\n")? + 2;
    let (text, lines) = note.split_at(split);
    let clear = |line: &str| {
        let (name, data) = line.rsplit_once(' ')?;
        Some(format!("{name} {}\n", base64(&LOOSE.decode(data).ok()?)))
    };
    let lines = lines.strip_suffix('\n')?.split('\n').map(clear).collect::<Option<String>>()?;
    Some(format!("{text}{lines}"))
}

impl AddCheckpoint {
    fn new(old_size: u64, proof: Vec<Hash>, note: &str) -> Result<Self> {
        if proof.len() > MAX_PROOF {
            return Err(bad(format!("{} proof hashes; at most {MAX_PROOF}", proof.len())));
        }
        if note.len() > MAX_REQUEST - MAX_PROOF * 45 - 32 {
            return Err(bad(format!("a checkpoint of {} bytes", note.len())));
        }
        let note = Note::parse(note)?;
        let body = parse_body(&note.text)?;
        Ok(Self { old_size, proof, note, body })
    }

    /// Parses a request body. What is `Invalid` here, a witness answers with
    /// [`Response::malformed`].
    pub fn parse(body: &[u8]) -> Result<Self> {
        if body.len() > MAX_REQUEST {
            return Err(bad(format!("{} bytes; at most {MAX_REQUEST}", body.len())));
        }
        let body = std::str::from_utf8(body).map_err(|_| bad("is not UTF-8"))?;
        // Proof lines are not empty: the first blank line ends them.
        let (head, note) =
            body.split_once("\n\n").ok_or_else(|| bad("has no blank line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(decimal)
            .ok_or_else(|| bad("does not begin with a line `old <size>`"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF {
                return Err(bad(format!("more than {MAX_PROOF} proof lines")));
            }
            proof.push(
                hash(line).ok_or_else(|| bad(format!("the proof line {line:?} is not base64 of a hash")))?,
            );
        }
        Self::new(old_size, proof.clone(), note).or_else(|error| match clear_loose_bits(note) {
            Some(note) => Self::new(old_size, proof, &note),
            None => Err(error),
        })
    }

    /// The request body.
    pub fn to_body(&self) -> String {
        let proof: String = self.proof.iter().map(|h| format!("{}\n", base64(h))).collect();
        format!("old {}\n{proof}\n{}", self.old_size, self.note.to_text())
    }

    /// Size from which the proof leads.
    pub fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The proof.
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint note; not verified.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Name of the log, as the checkpoint says it; not verified.
    pub fn origin(&self) -> &str {
        &self.body.origin
    }

    /// Size of the checkpoint; not verified.
    pub fn size(&self) -> u64 {
        self.body.size
    }
}

/// SHA-256 of an origin in lowercase hex: where a witness serves its latest checkpoint of that log,
/// `<monitoring prefix>/<this>/checkpoint`.
pub fn origin_hash(origin: &str) -> String {
    Sha256::digest(origin).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loose_bits_of_signatures_are_cleared() {
        let note = "x\n\n— a AAAAAAE=\n— b AAAAAAF=\n";
        assert_eq!(clear_loose_bits(note).unwrap(), "x\n\n— a AAAAAAE=\n— b AAAAAAE=\n");
        for other in ["x\n", "x\n\n— a AAAAAAE\n", "x\n\n— a AAAA\nAAE=", "x\n\n— a AA=AAAE=\n", "x\n\na\n"]
        {
            assert_eq!(clear_loose_bits(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_empty_tree_may_have_any_root_until_it_is_judged() {
        let root = base64(&[1; 32]);
        let body = parse_body(&format!("x\n0\n{root}\nextension\n")).unwrap();
        assert_eq!((body.size, body.root), (0, [1; 32]));
        assert_eq!(parse_body(&format!("x\n1\n{root}\n")).unwrap().size, 1);
        for bad in
            [format!("x\n00\n{root}\n"), "x\n0\n".into(), format!("x\n0\n{root}"), format!("\n0\n{root}\n")]
        {
            assert!(parse_body(&bad).is_err(), "{bad:?}");
        }
    }
}
