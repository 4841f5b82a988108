//! One entry.

use secure_log::header::HeaderRef;
use secure_log::note::{CheckpointBody, Note};
use secure_log::policy::keys_that_count;
use secure_log::proof::verify_entry_under;
use secure_log::proof_file;
use secure_log::record::Record;
use secure_log::{Error, Result};

use super::export::{name_and_hash, signatures};
use super::found::Found;
use super::model::{DocumentKind, Standing, Summary};
use super::path::{Checkpoint, Proof};
use crate::evidence::Trust;

pub(super) fn examine(bytes: &[u8], trust: &Trust, found: &mut Found) -> Summary {
    let mut signed = 0;
    let mut origin = String::new();
    match show(bytes, found) {
        Ok((item, note)) => {
            let keys = keys_that_count(&trust.keys, trust.policy.as_ref());
            match verify(bytes, &keys, trust) {
                Ok((verified, unknown)) => {
                    signed = verified;
                    found.stands(item, Standing::Holds);
                    found.say_not_checked(unknown, "signatures by keys that were not given");
                }
                Err(error) => found.broken(Some(item), None, error.to_string()),
            }
            let witnesses = trust.policy.iter().flat_map(|policy| policy.witness_keys());
            let mut known: Vec<String> = keys.iter().map(|key| name_and_hash(key)).collect();
            known.extend(witnesses.map(|key| name_and_hash(&key.to_string())));
            let known = if signed > 0 { known } else { Vec::new() };
            signatures("the checkpoint", &note, &known, found);
            if let Ok(body) = CheckpointBody::parse(&note.text) {
                origin = body.origin;
            }
        }
        Err(error) => found.broken(None, None, error.to_string()),
    }
    found.count(found.items.len() as u64, "entries in the file");
    found.count(signed, "signatures of the checkpoint by trusted keys");
    found.not_checked.push("the payload, which is not in such a file".into());
    if trust.policy.is_none() {
        found.not_checked.push("witnesses: no policy was given".into());
    }
    found.summary(DocumentKind::ProofFile, origin, signed > 0)
}

/// What there is to show, and the note.
fn show(bytes: &[u8], found: &mut Found) -> Result<(usize, Note)> {
    let proof = proof_file::read(bytes)?;
    let note = Note::parse(&proof.checkpoint)?;
    let body = CheckpointBody::parse(&note.text)?;
    let bad = |e: secure_log::cbor::DecodeError| Error::invalid("proof file", e.to_string());
    let header = HeaderRef::decode(&proof.header_bytes).map_err(bad)?;
    let item = found.entry(1, &header, &proof.header_bytes, None);
    found.items[item].payload = found.text("not in this file");
    found.items[item].proof = Some(Proof::new(&proof, None));
    found.paths.checkpoints.push(Checkpoint {
        number: 0,
        size: body.size,
        root: body.root,
        note: proof.checkpoint.clone(),
    });
    let segment = HeaderRef::decode(&proof.segment_header).map_err(bad)?;
    found
        .paths
        .record(segment.seqno, Record::decode(segment.event_type, &proof.segment_payload).map_err(bad)?);
    Ok((item, note))
}

/// Signatures by trusted keys, and by others. Without any key, all but the signature is checked.
fn verify(bytes: &[u8], keys: &[String], trust: &Trust) -> Result<(u64, u64)> {
    if keys.is_empty() {
        let proof = proof_file::read(bytes)?;
        let note = Note::parse(&proof.checkpoint)?;
        verify_entry_under(&proof, &CheckpointBody::parse(&note.text)?)?;
        if let Some(policy) = &trust.policy {
            policy.require(&note)?;
        }
        return Ok((0, note.signatures.len() as u64));
    }
    let proven = proof_file::verify(bytes, keys, trust.policy.as_ref())?;
    Ok((proven.signatures.trusted, proven.signatures.unknown))
}
