//! Checking proofs without the log.

use crate::error::{Error, Result};
use crate::header::{Header, HeaderRef, payload_hash};
use crate::model::{ConsistencyProof, EntryProof, Hash, InclusionProof};
use crate::note::{CheckpointBody, Note};
use crate::record::{LOG_STREAM, Record};
use crate::tree;

/// Checks an inclusion proof against a root that the caller trusts.
pub fn verify_inclusion_proof(proof: &InclusionProof, expected_root: &Hash) -> Result<()> {
    let corrupt = |reason: &str| Err(Error::corrupt(&proof.stream_id, proof.seqno, reason));
    if proof.root != *expected_root {
        return corrupt("the proof is about another root than the expected one");
    }
    let Some(index) = proof.seqno.checked_sub(1) else {
        return Err(Error::invalid("proof.seqno", "entries are numbered from 1"));
    };
    if !tree::verify_inclusion(&proof.leaf_hash, index, proof.tree_size, &proof.path, expected_root) {
        return corrupt("the proof does not lead from the leaf to the root");
    }
    Ok(())
}

/// Checks a consistency proof against two roots that the caller trusts.
pub fn verify_consistency_proof(proof: &ConsistencyProof, from_root: &Hash, to_root: &Hash) -> Result<()> {
    if proof.from_size > proof.to_size {
        return Err(Error::invalid("proof.from-size", "is larger than to-size"));
    }
    if !tree::verify_consistency(proof.from_size, proof.to_size, &proof.path, from_root, to_root) {
        return Err(Error::corrupt(
            &proof.stream_id,
            proof.to_size,
            format!(
                "the tree at {} is not shown to be a prefix of the tree at {}",
                proof.from_size, proof.to_size
            ),
        ));
    }
    Ok(())
}

/// Checks the way from an entry to a checkpoint signed by a trusted key; returns the proven header.
pub fn verify_entry_proof(proof: &EntryProof, trusted: &[String]) -> Result<Header> {
    let trusted = crate::native::parse_trusted(trusted)?;
    let note = Note::parse(&proof.checkpoint)?;
    let body = CheckpointBody::parse(&note.text)?;
    note.verify_origin(&body.origin, &trusted)?;
    verify_entry_under(proof, &body)
}

/// Checks the way from an entry to a checkpoint that the caller has verified; the note in the proof is not looked at.
pub fn verify_entry_under(proof: &EntryProof, checkpoint: &CheckpointBody) -> Result<Header> {
    let inclusion = &proof.inclusion;
    let corrupt = |reason: &str| Error::corrupt(&inclusion.stream_id, inclusion.seqno, reason);
    let decode =
        |bytes| HeaderRef::decode(bytes).map_err(|e| corrupt(&format!("a header is not canonical: {e}")));

    let entry = decode(&proof.header_bytes)?;
    let segment = decode(&proof.segment_header)?;
    if segment.stream_id != LOG_STREAM || segment.seqno != inclusion.segment_id {
        return Err(corrupt("the segment's header is not the entry of `_log` that the proof names"));
    }
    if segment.salt_len != 0 || payload_hash(&[], &proof.segment_payload) != segment.payload_hash {
        return Err(corrupt("the segment's record does not have the hash in its header"));
    }
    let record = Record::decode(segment.event_type, &proof.segment_payload)
        .map_err(|e| corrupt(&format!("the segment's record is malformed: {e}")))?;
    let Record::SegmentClosed { stream_id, size, root, .. } = record else {
        return Err(corrupt("the entry of `_log` does not close a segment"));
    };
    let leaf = tree::leaf_hash(&proof.segment_header);
    if !tree::verify_inclusion(&leaf, segment.seqno - 1, checkpoint.size, &proof.log_path, &checkpoint.root) {
        return Err(corrupt("the segment is not shown to be under the checkpoint"));
    }
    if stream_id != inclusion.stream_id || size != inclusion.tree_size {
        return Err(corrupt("the segment is of another stream or size than the proof says"));
    }
    if entry.stream_id != stream_id || entry.seqno != inclusion.seqno {
        return Err(corrupt("the header is of another entry than the proof says"));
    }
    if tree::leaf_hash(&proof.header_bytes) != inclusion.leaf_hash {
        return Err(corrupt("the leaf hash does not belong to the header"));
    }
    verify_inclusion_proof(inclusion, &root)?;
    Ok(entry.to_owned())
}
