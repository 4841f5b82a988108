//! Checkpoints: one signed head for the whole log.

use std::collections::BTreeMap;

use super::seal::{domain_objects, parse_data_key, parse_owner, parse_tag_key};
use super::*;
use crate::domains::Domains;
use crate::note::{CheckpointBody, Note, VerifierKey};
use crate::record::{checkpoint_key, encode_pointer, parse_checkpoint_key, parse_segment_key, segment_key};
use crate::sealing::{WrappedKey, keys};
use crate::signer::KeyError;
use crate::store::{Object, ObjectKind, ObjectWrite};
use crate::tree;

/// Most keys that sign one checkpoint.
const MAX_SIGNERS: usize = 16;

/// What `_log` says of a stream.
struct StreamFacts {
    created: u64,
    deprecated: Option<u64>,
    /// Size and head hash that must still be there: of the last segment, or at deprecation.
    pinned: Vec<(u64, Hash, u64)>,
    frozen_size: Option<u64>,
    segments: u64,
    covered: u64,
    signed: u64,
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::KeyNotFound(s) => {
                Self::not_found("key", s, None, "the keystore has no key of this name")
            }
            KeyError::Denied(s) => Self::Denied(format!("keystore: {s}")),
            KeyError::Invalid(s) => Self::invalid("identity", format!("keystore: {s}")),
            KeyError::Unavailable(s) => Self::Unavailable(format!("keystore: {s}")),
            KeyError::Failed(s) => Self::Storage(format!("keystore: {s}")),
        }
    }
}

pub(super) fn to_checkpoint(object: Object) -> Result<Checkpoint> {
    let number = parse_checkpoint_key(&object.key)?;
    let corrupt = |reason: String| Error::corrupt(LOG_STREAM, 0, format!("checkpoint {number}: {reason}"));
    let note = String::from_utf8(object.value).map_err(|_| corrupt("the note is not text".into()))?;
    let parsed = Note::parse(&note).map_err(|e| corrupt(e.to_string()))?;
    let body = CheckpointBody::parse(&parsed.text).map_err(|e| corrupt(e.to_string()))?;
    Ok(Checkpoint { number, origin: body.origin, size: body.size, root: body.root, note })
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_latest_checkpoint(&mut self) -> Result<Option<Checkpoint>> {
        self.store.last_object(ObjectKind::Checkpoint, "")?.map(to_checkpoint).transpose()
    }

    pub(super) fn do_read_checkpoint(&mut self, number: u64) -> Result<Checkpoint> {
        let key = checkpoint_key(number);
        match self.store.read_object(ObjectKind::Checkpoint, &key)? {
            Some(value) => to_checkpoint(Object { kind: ObjectKind::Checkpoint, key, value }),
            None => {
                let last = self.do_latest_checkpoint()?.map_or(0, |c| c.number);
                Err(Error::not_found(
                    "checkpoint",
                    LOG_STREAM,
                    Some(number),
                    format!("checkpoints are numbered from 1; the last is {last}"),
                ))
            }
        }
    }

    pub(super) fn own_key(
        &mut self,
        signer: &mut dyn CheckpointSigner,
        identity: &str,
    ) -> Result<VerifierKey> {
        let origin = self.origin()?.ok_or_else(|| {
            Error::not_found(
                "origin",
                LOG_STREAM,
                None,
                "the log has no name yet: set an origin or append the first entry",
            )
        })?;
        let key = signer.public_key(identity).map_err(|e| name_key(identity, e))?;
        VerifierKey::new(&origin, key)
    }

    /// The keys of a signature: several while they are rotated, each once.
    fn own_keys(
        &mut self,
        signer: &mut dyn CheckpointSigner,
        identities: &[String],
    ) -> Result<Vec<VerifierKey>> {
        if !(1..=MAX_SIGNERS).contains(&identities.len()) {
            return Err(Error::invalid(
                "identities",
                format!("{} keys; a checkpoint is signed by 1 to {MAX_SIGNERS}", identities.len()),
            ));
        }
        let mut keys: Vec<VerifierKey> = Vec::with_capacity(identities.len());
        for identity in identities {
            check_name("identity", identity)?;
            let key = self.own_key(signer, identity)?;
            if keys.iter().any(|other| other.to_string() == key.to_string()) {
                return Err(Error::invalid(
                    "identities",
                    format!("{identity:?} is a key that is named twice"),
                ));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    pub(super) fn do_sign_segment(
        &mut self,
        signer: &mut dyn CheckpointSigner,
        identities: &[String],
        segment_id: u64,
    ) -> Result<Checkpoint> {
        let keys = self.own_keys(signer, identities)?;
        self.segment(segment_id)?;
        for _ in 0..MAX_STEADY {
            let head = self.log_head()?;
            let latest = self.do_latest_checkpoint()?;
            if let Some(latest) = &latest
                && latest.size > head.seqno
            {
                return Err(Error::corrupt(
                    LOG_STREAM,
                    head.seqno + 1,
                    format!(
                        "checkpoint {} covers {} entries, but only {} are there",
                        latest.number, latest.size, head.seqno
                    ),
                ));
            }
            // Never sign what does not extend the last checkpoint (C2SP tlog-checkpoint).
            let from = latest.as_ref().map_or(0, |c| c.size);
            let who = latest.as_ref().map(|c| format!("checkpoint {}", c.number));
            let expected = latest.as_ref().zip(who.as_deref()).map(|(c, who)| (c.root, who));
            let (mut builder, _) = self.grow_tree(LOG_STREAM, from, head.seqno, expected)?;
            let body =
                CheckpointBody { origin: keys[0].name().to_owned(), size: head.seqno, root: builder.root() };
            if let Some(latest) = &latest {
                if latest.origin != body.origin {
                    return Err(Error::corrupt(
                        LOG_STREAM,
                        1,
                        format!(
                            "checkpoint {} is of the log {:?}, this one is {:?}",
                            latest.number, latest.origin, body.origin
                        ),
                    ));
                }
                if latest.size == body.size {
                    let note = Note::parse(&latest.note)?;
                    if keys.iter().all(|key| note.verify(std::slice::from_ref(key)).is_ok()) {
                        return Ok(latest.clone());
                    }
                }
            }
            builder.flush(&mut self.store, LOG_STREAM, true)?;
            let text = body.to_text();
            let mut note = format!("{text}\n");
            for (identity, key) in identities.iter().zip(&keys) {
                let signature = signer.sign(identity, text.as_bytes()).map_err(|e| name_key(identity, e))?;
                let line = key.signature_line(&signature)?;
                let alone = Note::parse(&format!("{text}\n{line}"))?;
                alone.verify(std::slice::from_ref(key)).map_err(|_| {
                    Error::Storage(format!(
                        "keystore: the signature by {identity:?} does not verify under its own public key"
                    ))
                })?;
                note.push_str(&line);
            }
            let number = latest.map_or(0, |c| c.number) + 1;
            let write = ObjectWrite {
                kind: ObjectKind::Checkpoint,
                key: checkpoint_key(number),
                value: note.clone().into_bytes(),
                expected: None,
            };
            let outcome = self.store.append(&[], &[], std::slice::from_ref(&write));
            match outcome {
                Ok(()) => {}
                // Somebody else signed meanwhile, or this one landed and its answer was lost.
                Err(Error::Conflict(_) | Error::Unavailable(_))
                    if self.store.read_object(ObjectKind::Checkpoint, &write.key)?.as_ref()
                        == Some(&write.value) => {}
                Err(Error::Conflict(_)) => continue,
                Err(error) => return Err(error),
            }
            return Ok(Checkpoint { number, origin: body.origin, size: body.size, root: body.root, note });
        }
        Err(Error::Busy("others sign checkpoints all the time; try again".into()))
    }

    pub(super) fn do_verify_checkpoint_chain(&mut self, trusted: &[String]) -> Result<CheckpointReport> {
        let trusted = parse_trusted(trusted)?;
        let Some(origin) = self.stored_origin()? else {
            return Err(self.without_log()?);
        };
        let (checkpoints, verified) = self.verify_signatures(&trusted, &origin)?;
        self.verify_receipts(checkpoints.len() as u64)?;
        let Some(latest) = checkpoints.last().cloned() else {
            return Err(Error::not_found(
                "checkpoint",
                LOG_STREAM,
                None,
                "nothing was signed yet: close a segment and sign it",
            ));
        };
        let head = self.log_head()?;
        if latest.size > head.seqno {
            return Err(Error::corrupt(
                LOG_STREAM,
                head.seqno + 1,
                format!(
                    "checkpoint {} covers {} entries, but only {} are there: the rest was removed",
                    latest.number, latest.size, head.seqno
                ),
            ));
        }
        let (mut streams, domains) = self.verify_log(&checkpoints, &head, latest.size)?;
        let segments = self.verify_index(&mut streams)?;
        self.verify_state(&domains)?;
        let (covered, total) = self.verify_streams(&streams, &domains)?;
        Ok(CheckpointReport {
            checkpoints: checkpoints.len() as u64,
            signatures_verified: verified.trusted,
            signatures_unknown: verified.unknown,
            log_entries: head.seqno,
            log_entries_unsigned: head.seqno - latest.size,
            latest,
            streams: streams.len() as u64,
            segments,
            entries_covered: covered,
            entries_uncovered: total.saturating_sub(covered),
        })
    }

    /// What to say of a store without `_log`: empty, or robbed of it.
    fn without_log(&mut self) -> Result<Error> {
        let mut left = None;
        for kind in ObjectKind::ALL {
            left = left
                .or(self.store.last_object(kind, "")?.map(|o| format!("the {} {:?}", kind.name(), o.key)));
        }
        left =
            left.or(self.store.list_heads(None, 1)?.pop().map(|h| format!("the stream {:?}", h.stream_id)));
        Ok(match left {
            Some(left) => Error::corrupt(LOG_STREAM, 1, format!("`_log` is missing, while {left} is there")),
            None => Error::not_found("checkpoint", LOG_STREAM, None, "the log is empty"),
        })
    }

    /// Every checkpoint, numbered without gaps, signed by a trusted key, of this log, growing.
    fn verify_signatures(
        &mut self,
        trusted: &[VerifierKey],
        origin: &str,
    ) -> Result<(Vec<Checkpoint>, crate::note::Verified)> {
        let mut all: Vec<Checkpoint> = Vec::new();
        let mut sum = crate::note::Verified::default();
        self.objects(ObjectKind::Checkpoint, "", |_, object| {
            let c = to_checkpoint(object)?;
            let corrupt = |reason: String| {
                Error::corrupt(LOG_STREAM, c.size, format!("checkpoint {}: {reason}", c.number))
            };
            let verified = Note::parse(&c.note)?.verify_origin(&c.origin, trusted).map_err(|e| match e {
                Error::Denied(reason) => Error::Denied(format!("checkpoint {}: {reason}", c.number)),
                Error::Corrupt(cause) => corrupt(cause.reason),
                other => other,
            })?;
            sum.trusted += verified.trusted;
            sum.unknown += verified.unknown;
            if c.number != all.len() as u64 + 1 {
                return Err(corrupt(format!("checkpoint {} is missing", all.len() + 1)));
            }
            if c.origin != origin {
                return Err(corrupt(format!("it is of the log {:?}, this one is {origin:?}", c.origin)));
            }
            if all.last().is_some_and(|before| before.size > c.size) {
                return Err(corrupt("it is smaller than the one before".into()));
            }
            all.push(c);
            Ok(())
        })?;
        Ok((all, sum))
    }

    /// All of `_log`: chain, payloads, records, and the root at each checkpoint.
    fn verify_log(
        &mut self,
        checkpoints: &[Checkpoint],
        head: &StreamHead,
        signed_size: u64,
    ) -> Result<(BTreeMap<String, StreamFacts>, Domains)> {
        let mut streams: BTreeMap<String, StreamFacts> = BTreeMap::new();
        let mut domains = Domains::default();
        let mut frontier = tree::Frontier::default();
        let mut pending = checkpoints.iter().peekable();
        self.walk(LOG_STREAM, 1, head.seqno, true, true, |row, header| {
            let number = row.seqno;
            let corrupt = |reason: &str| Err(Error::corrupt(LOG_STREAM, number, reason));
            frontier.push(tree::leaf_hash(&row.header));
            while let Some(c) = pending.next_if(|c| c.size == number) {
                if c.root != frontier.root() {
                    return Err(Error::corrupt(
                        LOG_STREAM,
                        number,
                        format!("entries 1 to {number} do not give the root that checkpoint {} signed: one of them was changed", c.number),
                    ));
                }
            }
            let record = verify::decode_checked_record(row, header)?;
            if let Err(reason) = domains.apply(number, header.time_ms, &record) {
                return corrupt(reason);
            }
            match (number, record) {
                (1, Record::LogCreated { .. }) => {}
                (1, _) | (_, Record::LogCreated { .. }) => return corrupt("the log is created by entry 1, and only there"),
                (_, Record::StreamCreated { stream_id, .. }) => {
                    let facts = StreamFacts {
                        created: number,
                        deprecated: None,
                        pinned: Vec::new(),
                        frozen_size: None,
                        segments: 0,
                        covered: 0,
                        signed: 0,
                    };
                    if streams.insert(stream_id, facts).is_some() {
                        return corrupt("the stream is created twice");
                    }
                }
                (_, Record::StreamDeprecated { stream_id, size, head_hash }) => {
                    let Some(facts) = streams.get_mut(&stream_id).filter(|f| f.deprecated.is_none()) else {
                        return corrupt("a stream is deprecated that does not exist or already is");
                    };
                    facts.deprecated = Some(number);
                    facts.frozen_size = Some(size);
                    if size > 0 {
                        facts.pinned.push((size, head_hash, number));
                    }
                }
                (_, Record::SegmentClosed { stream_id, size, first_seqno, head_hash, .. }) => {
                    let Some(facts) = streams.get_mut(&stream_id) else {
                        return corrupt("a segment is closed of a stream that does not exist");
                    };
                    if first_seqno != facts.covered + 1 || size < first_seqno {
                        return corrupt("a segment does not begin where the one before ends");
                    }
                    facts.covered = size;
                    facts.segments += 1;
                    if number <= signed_size {
                        facts.signed = size;
                    }
                    // Later segments prove earlier ones through the chain: one pin is enough.
                    facts.pinned.retain(|(_, _, at)| facts.deprecated == Some(*at));
                    facts.pinned.push((size, head_hash, number));
                }
                (
                    _,
                    Record::KeyRotated { .. } | Record::PayloadsErased { .. } | Record::DomainErased { .. },
                ) => {}
            }
            Ok(())
        })?;
        match pending.next() {
            Some(c) => {
                Err(Error::corrupt(LOG_STREAM, c.size, format!("checkpoint {} covers nothing", c.number)))
            }
            None => Ok((streams, domains)),
        }
    }

    /// The objects about domains, keys and erasures say what `_log` says.
    fn verify_state(&mut self, domains: &Domains) -> Result<()> {
        let mut expected: BTreeMap<String, Vec<u8>> =
            domain_objects(domains).into_iter().map(|object| (object.key, object.value)).collect();
        for (stream_id, erased) in domains.erasures() {
            let key = keys::erased(stream_id, erased.from, erased.number);
            expected.insert(key, encode_pointer(erased.number));
        }
        for prefix in [keys::DOMAIN, keys::KEK, keys::ERASED] {
            self.objects(ObjectKind::State, prefix, |_, object| match expected.remove(&object.key) {
                Some(value) if value == object.value => Ok(()),
                // What is wrapped in it is the keystore's to judge.
                Some(value)
                    if prefix == keys::KEK
                        && parse_owner(&object.value).map(|o| o.0) == parse_owner(&value).map(|o| o.0) =>
                {
                    Ok(())
                }
                _ => Err(Error::corrupt(
                    LOG_STREAM,
                    0,
                    format!("the object {:?} says something that `_log` does not", object.key),
                )),
            })?;
        }
        if let Some(key) = expected.keys().next() {
            return Err(Error::corrupt(LOG_STREAM, 0, format!("the object {key:?} is missing")));
        }
        let check = |stream_id: &str, key: &WrappedKey, tags: bool| {
            let fits = domains.rules(stream_id).is_some_and(|rules| {
                let tier = match tags {
                    true => rules.tier == Tier::HighlyRestricted,
                    false => rules.tier != Tier::Public,
                };
                tier && rules.domain == key.domain && domains.keks().get(&key.kek) == Some(&key.domain)
            });
            match fits {
                true => Ok(()),
                false => Err(Error::corrupt(
                    stream_id,
                    0,
                    "a key is wrapped for it that does not belong to its erasure domain or tier",
                )),
            }
        };
        self.objects(ObjectKind::State, keys::DATA_KEY, |_, object| {
            let (stream_id, _, _, key) = parse_data_key(&object)?;
            check(&stream_id, &key, false)
        })?;
        self.objects(ObjectKind::State, keys::TAG_KEY, |_, object| {
            let stream_id = &object.key[keys::TAG_KEY.len()..];
            let (key, _) = parse_tag_key(stream_id, &object.value)?;
            check(stream_id, &key, true)
        })
    }

    /// The index objects say what `_log` says, no more and no less. Returns how many segments.
    fn verify_index(&mut self, streams: &mut BTreeMap<String, StreamFacts>) -> Result<u64> {
        let mut found = 0;
        self.objects(ObjectKind::Stream, "", |_, object| {
            let number = lists::pointer_of(&object.key, &object.value)?;
            found += 1;
            match streams.get(&object.key) {
                Some(facts) if facts.created == number => Ok(()),
                _ => Err(Error::corrupt(object.key, 0, format!("`_log` entry {number} does not create it"))),
            }
        })?;
        if found != streams.len() {
            return Err(Error::corrupt(LOG_STREAM, 0, "the index of streams lacks one that `_log` created"));
        }
        let mut frozen = 0;
        self.objects(ObjectKind::Frozen, "", |_, object| {
            let number = lists::pointer_of(&object.key, &object.value)?;
            frozen += 1;
            match streams.get(&object.key) {
                Some(facts) if facts.deprecated == Some(number) => Ok(()),
                _ => {
                    Err(Error::corrupt(object.key, 0, format!("`_log` entry {number} does not deprecate it")))
                }
            }
        })?;
        if let Some((id, _)) = streams.iter().find(|(_, f)| f.deprecated.is_some())
            && frozen != streams.values().filter(|f| f.deprecated.is_some()).count()
        {
            return Err(Error::corrupt(id, 0, "a deprecated stream is no longer closed to appends"));
        }
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut segments = 0;
        self.objects(ObjectKind::Segment, "", |log, object| {
            let segment = log.indexed_segment(&object)?;
            if parse_segment_key(&object.key).is_none()
                || object.key != segment_key(&segment.stream_id, segment.size)
            {
                return Err(Error::corrupt(
                    segment.stream_id,
                    segment.size,
                    "a segment is indexed under another name",
                ));
            }
            *counts.entry(segment.stream_id).or_default() += 1;
            segments += 1;
            Ok(())
        })?;
        for (stream_id, facts) in streams.iter() {
            if counts.get(stream_id).copied().unwrap_or(0) != facts.segments {
                return Err(Error::corrupt(
                    stream_id,
                    0,
                    "the index of segments lacks one that `_log` recorded",
                ));
            }
        }
        Ok(segments)
    }

    /// Every stream that `_log` knows is there with what was recorded of it, and there is no other.
    /// Returns entries under signed segments, and all entries.
    fn verify_streams(
        &mut self,
        streams: &BTreeMap<String, StreamFacts>,
        domains: &Domains,
    ) -> Result<(u64, u64)> {
        let mut heads: BTreeMap<String, u64> = BTreeMap::new();
        self.all_heads(|_, head| {
            if head.stream_id != LOG_STREAM && !streams.contains_key(&head.stream_id) {
                return Err(Error::corrupt(head.stream_id, 0, "`_log` does not know the stream"));
            }
            heads.insert(head.stream_id, head.seqno);
            Ok(())
        })?;
        for (stream_id, erased) in domains.erasures() {
            if heads.get(stream_id).is_none_or(|head| *head < erased.to) {
                return Err(Error::corrupt(
                    stream_id,
                    erased.to,
                    format!("`_log` entry {} records its erasure, and it is not there", erased.number),
                ));
            }
        }
        let (mut covered, mut total) = (0, 0);
        for (stream_id, facts) in streams {
            let head = heads.get(stream_id).copied().unwrap_or(0);
            for (size, hash, number) in &facts.pinned {
                if *size > head {
                    return Err(Error::corrupt(
                        stream_id,
                        head + 1,
                        format!("`_log` entry {number} recorded {size} entries, but only {head} are there"),
                    ));
                }
                if self.row(stream_id, *size, false)?.entry_hash != *hash {
                    return Err(Error::corrupt(
                        stream_id,
                        *size,
                        format!("`_log` entry {number} recorded another entry here: the chain was rewritten"),
                    ));
                }
            }
            if facts.frozen_size.is_some_and(|size| size < head) {
                return Err(Error::corrupt(
                    stream_id,
                    head,
                    "it was appended after the stream was deprecated",
                ));
            }
            covered += facts.signed;
            total += head;
        }
        Ok((covered, total))
    }

    pub(super) fn do_build_entry_proof(&mut self, stream_id: &str, seqno: u64) -> Result<EntryProof> {
        let checkpoint = self.do_latest_checkpoint()?;
        self.entry_proof_under(stream_id, seqno, checkpoint)
    }

    /// The proof of an entry under this checkpoint.
    pub(super) fn entry_proof_under(
        &mut self,
        stream_id: &str,
        seqno: u64,
        checkpoint: Option<Checkpoint>,
    ) -> Result<EntryProof> {
        check_own_stream(stream_id)?;
        self.named_row(stream_id, seqno, false)?;
        let segment = match &checkpoint {
            Some(c) => self.covering_segment(stream_id, seqno)?.filter(|s| s.segment_id <= c.size),
            None => None,
        };
        let (Some(checkpoint), Some(segment)) = (checkpoint, segment) else {
            return Err(Error::not_found(
                "checkpoint",
                stream_id,
                Some(seqno),
                "no signed checkpoint covers the entry yet: close a segment and sign it",
            ));
        };
        let (inclusion, entry) = self.proof_in(&segment, seqno)?;
        let row = self.row(LOG_STREAM, segment.segment_id, true)?;
        verify::decode_record(&row)?;
        let (index, size) = (segment.segment_id - 1, checkpoint.size);
        let leaf = tree::leaf_hash(&row.header);
        let log_path = self
            .with_tree(
                LOG_STREAM,
                size,
                |reader| tree::inclusion_path(reader, index, size),
                |path| tree::verify_inclusion(&leaf, index, size, path, &checkpoint.root),
            )?
            .ok_or_else(|| {
                Error::corrupt(
                    LOG_STREAM,
                    segment.segment_id,
                    format!("no proof leads to the root that checkpoint {} signed", checkpoint.number),
                )
            })?;
        Ok(EntryProof {
            header_bytes: entry.header,
            inclusion,
            segment_header: row.header,
            segment_payload: row.payload.unwrap_or_default(),
            log_path,
            checkpoint: checkpoint.note,
        })
    }

    pub(super) fn do_check_against(&mut self, note: &str) -> Result<()> {
        let body = CheckpointBody::parse(&Note::parse(note)?.text)?;
        let head = self.log_head()?;
        let size = body.size.min(head.seqno);
        let root = self
            .with_tree(LOG_STREAM, size, |r| tree::root(r, size), |root| *root == body.root)?
            .map_or_else(
                || self.with_tree(LOG_STREAM, size, |r| tree::root(r, size), |_| true),
                |r| Ok(Some(r)),
            )?
            .unwrap_or_else(tree::empty_root);
        let origin = self.stored_origin()?;
        let reason = if origin.as_ref().is_some_and(|o| *o != body.origin) {
            format!("the note is of the log {:?}, this one is {:?}", body.origin, origin.unwrap_or_default())
        } else if head.seqno < body.size {
            "the log is behind the note: entries that were signed are gone".into()
        } else if root != body.root {
            "the log has another history than the note signed".into()
        } else {
            return Ok(());
        };
        Err(Error::RolledBack(Box::new(crate::error::Rollback {
            claimed_size: body.size,
            claimed_root: body.root,
            size: head.seqno,
            root,
            reason,
        })))
    }
}

/// Names the key in errors that come from the keystore.
fn name_key(identity: &str, error: KeyError) -> Error {
    match error {
        KeyError::KeyNotFound(reason) => Error::not_found("key", identity, None, reason),
        other => other.into(),
    }
}

/// Parses the keys that a caller trusts.
pub(crate) fn parse_trusted(trusted: &[String]) -> Result<Vec<VerifierKey>> {
    if trusted.is_empty() {
        return Err(Error::invalid(
            "trusted",
            "is empty: without a key that you trust nothing can be verified",
        ));
    }
    trusted.iter().map(|k| VerifierKey::parse(k)).collect()
}
