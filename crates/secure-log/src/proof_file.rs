//! `.tlog-proof` files: an entry proven up to a signed checkpoint, in one file.
//!
//! Rules: c2sp.org/tlog-proof. The file proves an entry of `_log`, the one that closed a segment, in
//! the tree of the checkpoint; its leaf is that entry's canonical header. What leads from there to
//! an entry of a stream is in the `extra` line: deterministic CBOR
//!
//! ```cddl
//! extra = {
//!   1 => "secure-log/entry-proof@v1",
//!   2 => bstr,  ; canonical header of the entry
//!   3 => bstr,  ; its inclusion path in the stream's tree, 32 bytes a hash, from the leaf upwards
//!   4 => bstr,  ; canonical header of the entry of `_log`
//!   5 => bstr,  ; its payload, the record `segment-closed`
//! }
//! ```
//!
//! Nothing in `extra` is trusted: each part is bound to the checkpoint by
//! [`verify_entry_under`].

use crate::cbor::{DecodeError, MapReader, MapWriter};
use crate::error::{Error, Result};
use crate::header::{Header, HeaderRef};
use crate::model::{EntryProof, Hash, InclusionProof};
use crate::note::{CheckpointBody, MAX_NOTE, Note, Verified, VerifierKey};
use crate::policy::{Policy, Status, keys_that_count};
use crate::proof::verify_entry_under;
use crate::record::Record;
use crate::tree;
use crate::wire::{base64, decimal, hash, unbase64};

/// First line of a file.
pub const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// How such files are named.
pub const EXTENSION: &str = "tlog-proof";
/// Most bytes of a file.
pub const MAX_PROOF_FILE: usize = MAX_NOTE + (1 << 20);
/// Most hashes of an inclusion path.
pub const MAX_PATH: usize = 64;

const FORMAT: &str = "secure-log/entry-proof@v1";

mod key {
    pub const FORMAT: u64 = 1;
    pub const HEADER: u64 = 2;
    pub const PATH: u64 = 3;
    pub const SEGMENT_HEADER: u64 = 4;
    pub const SEGMENT_PAYLOAD: u64 = 5;
}

fn bad(reason: impl Into<String>) -> Error {
    Error::invalid("proof file", reason)
}

/// A parsed file, of this log or any other. Nothing in it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// What the application added; not empty.
    pub extra: Option<Vec<u8>>,
    /// Index of the leaf, from 0.
    pub index: u64,
    /// Sibling hashes from the leaf upwards.
    pub path: Vec<Hash>,
    /// The checkpoint note.
    pub checkpoint: Note,
}

/// What a file proves, once it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The entry.
    pub header: Header,
    /// The checkpoint above it.
    pub checkpoint: CheckpointBody,
    /// Signatures of the checkpoint, cosignatures among the unknown ones.
    pub signatures: Verified,
    /// What the witnesses of the policy say; `None`: no policy was given, no cosignature checked.
    pub witnesses: Option<Status>,
}

impl TlogProof {
    /// Parses a file.
    pub fn parse(file: &[u8]) -> Result<Self> {
        if file.len() > MAX_PROOF_FILE {
            return Err(bad(format!("{} bytes; at most {MAX_PROOF_FILE}", file.len())));
        }
        let file = std::str::from_utf8(file).map_err(|_| bad("is not UTF-8"))?;
        let (head, note) =
            file.split_once("\n\n").ok_or_else(|| bad("has no blank line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(bad(format!("does not begin with the line `{FIRST_LINE}`")));
        }
        let mut line = lines.next();
        let extra = match line.and_then(|l| l.strip_prefix("extra ")) {
            Some(text) => {
                line = lines.next();
                let extra = unbase64(text).filter(|e| !e.is_empty());
                Some(extra.ok_or_else(|| bad("the extra data is not base64 of at least one byte"))?)
            }
            None => None,
        };
        let index = line
            .and_then(|l| l.strip_prefix("index "))
            .and_then(decimal)
            .ok_or_else(|| bad("has no line `index <decimal>` where it belongs"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == MAX_PATH {
                return Err(bad(format!("has more than {MAX_PATH} hashes")));
            }
            path.push(hash(line).ok_or_else(|| bad(format!("the line {line:?} is not base64 of a hash")))?);
        }
        let checkpoint = Note::parse(note)?;
        let body = CheckpointBody::parse(&checkpoint.text)?;
        if index >= body.size {
            return Err(bad(format!("index {index} is not in a tree of {} leaves", body.size)));
        }
        Ok(Self { extra, index, path, checkpoint })
    }

    /// The file; the reverse of [`parse`](Self::parse).
    pub fn to_text(&self) -> String {
        let extra = self.extra.as_ref().map(|e| format!("extra {}\n", base64(e))).unwrap_or_default();
        let path: String = self.path.iter().map(|h| format!("{}\n", base64(h))).collect();
        let note = self.checkpoint.to_text();
        format!("{FIRST_LINE}\n{extra}index {}\n{path}\n{note}", self.index)
    }

    /// Verifies that `leaf` (a leaf hash) is at the index under the checkpoint, that one of
    /// the log's own keys among `trusted` signed it and, where a policy is given, that it is met.
    /// What the leaf means, and `extra`, is the caller's.
    pub fn verify_leaf(
        &self,
        leaf: &Hash,
        trusted: &[VerifierKey],
        policy: Option<&Policy>,
    ) -> Result<(CheckpointBody, Verified, Option<Status>)> {
        let body = CheckpointBody::parse(&self.checkpoint.text)?;
        let signatures = self.checkpoint.verify_origin(&body.origin, trusted)?;
        let status = policy.map(|p| p.require(&self.checkpoint)).transpose()?;
        if !tree::verify_inclusion(leaf, self.index, body.size, &self.path, &body.root) {
            return Err(Error::corrupt(
                crate::record::LOG_STREAM,
                self.index.saturating_add(1),
                "the leaf is not shown to be under the checkpoint",
            ));
        }
        Ok((body, signatures, status))
    }
}

fn decode_extra(extra: &[u8]) -> Result<[&[u8]; 4], DecodeError> {
    let mut map = MapReader::new(extra)?;
    let mut fields: [Option<&[u8]>; 4] = [None; 4];
    match map.next()? {
        Some((key::FORMAT, format)) if format.text() == Ok(FORMAT) => {}
        _ => return Err(DecodeError("the extra data is not of an entry of a secure-log")),
    }
    while let Some((k, v)) = map.next()? {
        match k {
            key::HEADER..=key::SEGMENT_PAYLOAD => fields[(k - key::HEADER) as usize] = Some(v.bytes()?),
            _ => return Err(DecodeError("the extra data has a field that is unknown")),
        }
    }
    match fields {
        [Some(a), Some(b), Some(c), Some(d)] => Ok([a, b, c, d]),
        _ => Err(DecodeError("a field of the extra data is missing")),
    }
}

/// The file of an entry's proof. The checkpoint's cosignatures go with it.
pub fn write(proof: &EntryProof) -> Result<String> {
    let index = proof
        .inclusion
        .segment_id
        .checked_sub(1)
        .ok_or_else(|| Error::invalid("proof.segment-id", "entries of `_log` are numbered from 1"))?;
    let mut w = MapWriter::with_capacity(1024);
    w.text(key::FORMAT, FORMAT)
        .bytes(key::HEADER, &proof.header_bytes)
        .bytes(key::PATH, &proof.inclusion.path.concat())
        .bytes(key::SEGMENT_HEADER, &proof.segment_header)
        .bytes(key::SEGMENT_PAYLOAD, &proof.segment_payload);
    let checkpoint = Note::parse(&proof.checkpoint)?;
    let file = TlogProof { extra: Some(w.finish()), index, path: proof.log_path.clone(), checkpoint };
    let text = file.to_text();
    // What could not be read back is not written.
    match read(text.as_bytes())? {
        back if back == *proof => Ok(text),
        _ => Err(Error::invalid("proof", "its parts do not belong together")),
    }
}

/// Reads the proof of an entry from a file. Nothing is verified yet.
pub fn read(file: &[u8]) -> Result<EntryProof> {
    let file = TlogProof::parse(file)?;
    let extra = file.extra.as_deref().ok_or_else(|| bad("has no extra data: it is not of an entry"))?;
    let fields = decode_extra(extra).map_err(|e| bad(e.to_string()))?;
    let [header_bytes, path, segment_header, segment_payload] = fields;
    let header = HeaderRef::decode(header_bytes).map_err(|e| bad(format!("the entry's header: {e}")))?;
    let segment = HeaderRef::decode(segment_header).map_err(|e| bad(format!("the segment's header: {e}")))?;
    let record = Record::decode(segment.event_type, segment_payload)
        .map_err(|e| bad(format!("the segment's record: {e}")))?;
    let Record::SegmentClosed { size, root, .. } = record else {
        return Err(bad("the entry of `_log` does not close a segment"));
    };
    let (hashes, rest) = path.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() > MAX_PATH {
        return Err(bad(format!("the entry's path is not of at most {MAX_PATH} hashes")));
    }
    let inclusion = InclusionProof {
        stream_id: header.stream_id.to_owned(),
        seqno: header.seqno,
        leaf_hash: tree::leaf_hash(header_bytes),
        tree_size: size,
        root,
        path: hashes.to_vec(),
        segment_id: file.index + 1,
    };
    Ok(EntryProof {
        header_bytes: header_bytes.to_vec(),
        inclusion,
        segment_header: segment_header.to_vec(),
        segment_payload: segment_payload.to_vec(),
        log_path: file.path,
        checkpoint: file.checkpoint.to_text(),
    })
}

/// Verifies the file of an entry offline: by `trusted` verifier keys, or those of the policy's logs
/// if there are none; by the policy's quorum, if there is a policy (`Denied` while it is not met).
pub fn verify(file: &[u8], trusted: &[String], policy: Option<&Policy>) -> Result<Proven> {
    let proof = read(file)?;
    let keys = crate::native::parse_trusted(&keys_that_count(trusted, policy))?;
    let note = Note::parse(&proof.checkpoint)?;
    let checkpoint = CheckpointBody::parse(&note.text)?;
    let signatures = note.verify_origin(&checkpoint.origin, &keys)?;
    let header = verify_entry_under(&proof, &checkpoint)?;
    let witnesses = policy.map(|p| p.require(&note)).transpose()?;
    Ok(Proven { header, checkpoint, signatures, witnesses })
}
