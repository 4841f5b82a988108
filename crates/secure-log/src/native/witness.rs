//! Cosignatures of witnesses: asked for, kept, judged by a policy, and handed out with proofs.

use super::*;
use crate::cosignature::{Cosignature, CosignerKey};
use crate::note::Note;
use crate::policy::{MAX_ITEMS, Policy};
use crate::proof_file;
use crate::record::checkpoint_key;
use crate::store::{ObjectKind, ObjectWrite};
use crate::tree;
use crate::wire::hex4;
use crate::witness::{AddCheckpoint, Answer};

/// How many of the newest checkpoints are looked through for one that is published, or cosigned.
const MAX_WALK: u64 = 1_000;

/// Beginning of the keys of a checkpoint's cosignatures.
fn cosignature_prefix(checkpoint: u64) -> String {
    format!("cosignature\t{}\t", checkpoint_key(checkpoint))
}

fn cosignature_key(checkpoint: u64, name: &str, id: &[u8; 4]) -> String {
    format!("{}{name}\t{}", cosignature_prefix(checkpoint), hex4(id))
}

fn parse_keys(keys: &[String]) -> Result<Vec<CosignerKey>> {
    if keys.is_empty() {
        return Err(Error::invalid("keys", "is empty: no cosignature could be told from a forged one"));
    }
    keys.iter().map(|key| CosignerKey::parse(key)).collect()
}

fn parse_policy(policy: &[u8]) -> Result<Policy> {
    Policy::parse(policy).map_err(|e| Error::invalid("policy", e.to_string()))
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_witness_request(&mut self, checkpoint: u64, old_size: u64) -> Result<Vec<u8>> {
        let c = self.do_read_checkpoint(checkpoint)?;
        if old_size > c.size {
            return Err(Error::invalid(
                "old-size",
                format!("{old_size} is larger than checkpoint {checkpoint}, which covers {}", c.size),
            ));
        }
        let path = if old_size == 0 || old_size == c.size {
            Vec::new()
        } else {
            self.with_tree(
                LOG_STREAM,
                c.size,
                |reader| {
                    let old_root = tree::root(reader, old_size)?;
                    Ok((old_root, tree::consistency_path(reader, old_size, c.size)?))
                },
                |(old_root, path)| tree::verify_consistency(old_size, c.size, path, old_root, &c.root),
            )?
            .map(|(_, path)| path)
            .ok_or_else(|| {
                Error::corrupt(
                    LOG_STREAM,
                    c.size,
                    format!(
                        "no proof leads from size {old_size} to the root that checkpoint {checkpoint} signed"
                    ),
                )
            })?
        };
        Ok(AddCheckpoint::prepare(old_size, &path, &c.note)?.to_body().into_bytes())
    }

    pub(super) fn do_accept_witness(
        &mut self,
        checkpoint: u64,
        request: &[u8],
        keys: &[String],
        status: u16,
        body: &[u8],
    ) -> Result<WitnessAnswer> {
        let keys = parse_keys(keys)?;
        let c = self.do_read_checkpoint(checkpoint)?;
        let request = AddCheckpoint::parse(request)?;
        if request.note().to_text() != c.note {
            return Err(Error::invalid("request", format!("it is not about checkpoint {checkpoint}")));
        }
        match request.accept(&keys, status, body) {
            Answer::Cosigned(cosignatures) => {
                let mut new = 0;
                for cosignature in &cosignatures {
                    new += u64::from(self.keep_cosignature(checkpoint, cosignature)?);
                }
                Ok(WitnessAnswer::Cosigned(new))
            }
            Answer::Conflict { size } => Ok(WitnessAnswer::Conflict(size)),
            Answer::Refused(refusal) => Ok(WitnessAnswer::Refused(status, refusal)),
        }
    }

    /// Stores a cosignature that verified; `false` if there is one by this key already.
    fn keep_cosignature(&mut self, checkpoint: u64, cosignature: &Cosignature) -> Result<bool> {
        let key = cosignature_key(checkpoint, &cosignature.name, &cosignature.id);
        let kept = self.kept_cosignatures(checkpoint)?;
        if kept.len() >= MAX_ITEMS
            && !kept.iter().any(|c| (&c.name, c.id) == (&cosignature.name, cosignature.id))
        {
            return Err(Error::Denied(format!(
                "checkpoint {checkpoint} has {MAX_ITEMS} cosignatures: a note holds no more"
            )));
        }
        self.keep_receipt(key, cosignature.to_line().into_bytes())
    }

    /// Stores what a third party returned; `false` if something is kept under this key already.
    pub(super) fn keep_receipt(&mut self, key: String, value: Vec<u8>) -> Result<bool> {
        if self.store.read_object(ObjectKind::Receipt, &key)?.is_some() {
            return Ok(false);
        }
        let write = ObjectWrite { kind: ObjectKind::Receipt, key, value, expected: None };
        match self.store.append(&[], &[], std::slice::from_ref(&write)) {
            Ok(()) => Ok(true),
            Err(error @ (Error::Conflict(_) | Error::Unavailable(_))) => {
                // Somebody else was first, or the answer was lost.
                match self.store.read_object(ObjectKind::Receipt, &write.key)? {
                    Some(value) => Ok(value == write.value),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The cosignatures that are kept for a checkpoint.
    fn kept_cosignatures(&mut self, checkpoint: u64) -> Result<Vec<Cosignature>> {
        let mut found = Vec::new();
        self.objects(ObjectKind::Receipt, &cosignature_prefix(checkpoint), |_, object| {
            let line = String::from_utf8(object.value).ok();
            let note = line.and_then(|line| Note::parse(&format!("-\n\n{line}")).ok());
            let cosignature = match note.as_ref().map(|note| note.signatures.as_slice()) {
                Some([one]) => Cosignature::from_note_signature(one),
                _ => None,
            };
            match cosignature.filter(|c| cosignature_key(checkpoint, &c.name, &c.id) == object.key) {
                Some(cosignature) => found.push(cosignature),
                None => {
                    return Err(Error::corrupt(
                        LOG_STREAM,
                        0,
                        format!("the receipt {:?} is not the cosignature that its key names", object.key),
                    ));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Every receipt is what its key names, and of a checkpoint that there is.
    pub(super) fn verify_receipts(&mut self, checkpoints: u64) -> Result<()> {
        let mut last = 0;
        self.objects(ObjectKind::Receipt, "cosignature\t", |log, object| {
            let mut parts = object.key.split('\t').skip(1);
            let number = parts.next().and_then(|n| n.parse().ok()).filter(|n| (1..=checkpoints).contains(n));
            let number: u64 = number.ok_or_else(|| {
                Error::corrupt(
                    LOG_STREAM,
                    0,
                    format!("the receipt {:?} is of a checkpoint that is not there", object.key),
                )
            })?;
            if number != last {
                last = number;
                log.kept_cosignatures(number)?;
            }
            Ok(())
        })
    }

    /// A checkpoint's note with its cosignatures.
    fn with_cosignatures(&mut self, checkpoint: &Checkpoint) -> Result<Note> {
        let cosignatures = self.kept_cosignatures(checkpoint.number)?;
        Ok(Note::parse(&checkpoint.note)?.with_cosignatures(&cosignatures))
    }

    pub(super) fn do_cosigned_note(&mut self, checkpoint: u64) -> Result<String> {
        let checkpoint = self.do_read_checkpoint(checkpoint)?;
        Ok(self.with_cosignatures(&checkpoint)?.to_text())
    }

    /// Numbers of the newest checkpoints, newest first.
    fn newest_checkpoints(&mut self) -> Result<impl Iterator<Item = u64> + use<S, E>> {
        let newest = self.do_latest_checkpoint()?.map_or(0, |c| c.number);
        Ok((newest.saturating_sub(MAX_WALK) + 1..=newest).rev())
    }

    pub(super) fn do_cosigned_size(&mut self, keys: &[String]) -> Result<u64> {
        let keys = parse_keys(keys)?;
        for number in self.newest_checkpoints()? {
            for key in &keys {
                let key = cosignature_key(number, key.name(), &key.id());
                if self.store.read_object(ObjectKind::Receipt, &key)?.is_some() {
                    return Ok(self.do_read_checkpoint(number)?.size);
                }
            }
        }
        Ok(0)
    }

    /// The newest checkpoint that a policy counts as published.
    fn published(&mut self, policy: &Policy) -> Result<Option<(Checkpoint, Note)>> {
        for number in self.newest_checkpoints()? {
            let checkpoint = self.do_read_checkpoint(number)?;
            let note = self.with_cosignatures(&checkpoint)?;
            match policy.evaluate(&note) {
                Ok(status) if status.is_satisfied() => return Ok(Some((checkpoint, note))),
                // An older one may still be signed by a key that the policy names.
                Ok(_) | Err(Error::Denied(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    pub(super) fn do_publication(&mut self, policy: &[u8]) -> Result<Publication> {
        let policy = parse_policy(policy)?;
        let mut publication = Publication {
            newest: 0,
            cosigned: Vec::new(),
            absent: policy.witnesses().map(|w| w.name.to_string()).collect(),
            lacks: Some("nothing was signed yet: close a segment and sign it".into()),
            published: None,
        };
        let Some(newest) = self.do_latest_checkpoint()? else { return Ok(publication) };
        publication.newest = newest.number;
        match policy.evaluate(&self.with_cosignatures(&newest)?) {
            Ok(status) => {
                publication.lacks = status.missing.as_ref().map(ToString::to_string);
                publication.absent = status.absent.iter().map(ToString::to_string).collect();
                let cosigned = status.cosigned.into_iter();
                publication.cosigned =
                    cosigned.map(|w| Witnessed { name: w.name.to_string(), time: w.time }).collect();
            }
            Err(Error::Denied(reason)) => publication.lacks = Some(reason),
            Err(error) => return Err(error),
        }
        publication.published = self.published(&policy)?.map(|(checkpoint, _)| checkpoint.number);
        Ok(publication)
    }

    pub(super) fn do_build_proof_file(
        &mut self,
        stream_id: &str,
        seqno: u64,
        policy: Option<&[u8]>,
    ) -> Result<String> {
        let (checkpoint, note) = match policy {
            Some(policy) => match self.published(&parse_policy(policy)?)? {
                Some((checkpoint, note)) => (Some(checkpoint), Some(note)),
                None => {
                    return Err(Error::not_found(
                        "checkpoint",
                        stream_id,
                        Some(seqno),
                        "no checkpoint counts as published by the policy: submit it to the witnesses",
                    ));
                }
            },
            None => {
                let latest = self.do_latest_checkpoint()?;
                let note = latest.as_ref().map(|c| self.with_cosignatures(c)).transpose()?;
                (latest, note)
            }
        };
        let mut proof = self.entry_proof_under(stream_id, seqno, checkpoint)?;
        if let Some(note) = note {
            proof.checkpoint = note.to_text();
        }
        proof_file::write(&proof)
    }
}
