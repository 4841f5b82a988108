//! Protection of streams: which keys they have, sealing and opening under them, giving them others.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;
use crate::cbor::{MapReader, MapWriter};
use crate::domains::{Erased, Found, StreamRules};
use crate::envelope::EnvelopeError;
use crate::error::{KeyProblem, SealedPayload};
use crate::limits::MAX_PAYLOAD;
use crate::record::{encode_pointer, parse_segment_key, segment_prefix};
use crate::sealing::{
    KEY_LEN, KeyUse, Place, Sealer, SecretKey, TAG_KEY_ID_LEN, TAG_LEN, Tagged, WrappedKey, decode_event,
    hex, keys, tag, wrap_context,
};
use crate::store::{Object, ObjectKind, ObjectWrite};

/// Appends to a stream under a data key before it is looked whether somebody else closed the segment meanwhile. An
/// append that asked each time would cost a call to the store more.
const RECHECK: u32 = 256;
/// Objects that a rotation replaces in one transaction.
const ROTATED_AT_ONCE: usize = 256;
/// Keys that are remembered at most.
const MAX_CACHED_KEYS: usize = 4_096;

/// How a stream is kept, as `_log` recorded when it was created. That never changes.
#[derive(Debug)]
pub(super) struct Protection {
    pub(super) created: u64,
    pub(super) tier: Tier,
    pub(super) description: Option<String>,
    pub(super) domain: String,
    pub(super) retention_ms: Option<u64>,
}

impl Protection {
    pub(super) fn is_sealed(&self) -> bool {
        self.tier != Tier::Public
    }
}

/// A data key, ready for use.
pub(super) struct DataKey {
    pub(super) id: String,
    pub(super) sealer: Sealer,
}

/// A tag key, ready for use.
pub(super) struct TagKey {
    pub(super) id: [u8; TAG_KEY_ID_LEN],
    pub(super) key: SecretKey,
}

/// What is known of streams and their keys. Keys are overwritten in memory when they are dropped.
#[derive(Default)]
pub(super) struct Keyring {
    protections: HashMap<String, Arc<Protection>>,
    /// By stream: what is sealed with, and for how many appends more without looking.
    current: HashMap<String, (Arc<DataKey>, u32)>,
    /// By stream and id.
    data: HashMap<(String, String), Arc<DataKey>>,
    tags: HashMap<String, Arc<TagKey>>,
}

impl Keyring {
    /// The stream has a new segment: its next entries get a new data key.
    pub(super) fn segment_closed(&mut self, stream_id: &str) {
        self.current.remove(stream_id);
    }

    /// Forgets all keys.
    pub(super) fn forget_keys(&mut self) {
        self.current.clear();
        self.data.clear();
        self.tags.clear();
    }

    /// Takes a data key that is stored now.
    pub(super) fn stored(&mut self, stream_id: &str, key: &Arc<DataKey>) {
        make_room(&mut self.current);
        self.current.insert(stream_id.to_owned(), (key.clone(), RECHECK));
        make_room(&mut self.data);
        self.data.insert((stream_id.to_owned(), key.id.clone()), key.clone());
    }
}

fn make_room<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= MAX_CACHED_KEYS {
        map.clear();
    }
}

/// Where an erasure domain is.
pub(super) enum DomainState {
    /// There is no object: nothing in it is sealed, and it is not erased.
    Absent,
    /// Name of its key-encryption key; value of the object.
    Current { kek: String, value: Vec<u8> },
    /// Erased.
    Erased(Erased),
}

/// What a batch seals a stream's entries with.
pub(super) struct Sealing {
    pub(super) key: Arc<DataKey>,
    /// Made for this append, and what is to be stored with it.
    pub(super) fresh: Vec<ObjectWrite>,
}

fn write(key: String, value: Vec<u8>, expected: Option<Vec<u8>>) -> ObjectWrite {
    ObjectWrite { kind: ObjectKind::State, key, value, expected }
}

/// Value of the object `kek`: whose key it is, and something wrapped under it, which tells it from another key of its name.
fn owner(domain: &str, check: Option<&[u8]>) -> Vec<u8> {
    let mut w = MapWriter::with_capacity(128 + domain.len());
    w.text(1, domain).opt_bytes(2, check);
    w.finish()
}

/// The domain that an object `kek` names, and what is wrapped in it.
pub(super) fn parse_owner(value: &[u8]) -> Option<(&str, Option<&[u8]>)> {
    let mut map = MapReader::new(value).ok()?;
    let Some((1, domain)) = map.next().ok()? else { return None };
    let check = match map.next().ok()? {
        Some((2, check)) => Some(check.bytes().ok()?),
        Some(_) => return None,
        None => None,
    };
    map.next().ok()?.is_none().then_some((domain.text().ok()?, check))
}

/// The objects `domain` and `kek` of a log whose `_log` says this.
pub(crate) fn domain_objects(domains: &crate::domains::Domains) -> Vec<ObjectWrite> {
    let pointers =
        domains.pointers().map(|(name, number)| write(keys::domain(name), encode_pointer(number), None));
    let owners = domains.keks().iter().map(|(kek, name)| write(keys::kek(kek), owner(name, None), None));
    pointers.chain(owners).collect()
}

/// When and by which record something was erased.
pub(super) fn erased_text(erased: &Erased) -> String {
    let time = secure_log_time::Time::from_millis(erased.time_ms);
    format!("erased at {time} by `_log` entry {}: {}", erased.number, erased.reason)
}

pub(super) fn check_key_or_domain(field: &str, name: &str) -> Result<()> {
    check_name(field, name)?;
    if name.len() > 255 {
        return Err(Error::invalid(field, format!("{} bytes; at most 255", name.len())));
    }
    Ok(())
}

fn no_envelope(what: &str) -> Error {
    Error::Denied(format!(
        "{what}: this log has no keystore that seals; open it with one that exports `keys:keystore/envelope`"
    ))
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    /// How a stream is kept; `None` if it does not exist.
    pub(super) fn protection(&mut self, stream_id: &str) -> Result<Option<Arc<Protection>>> {
        if let Some(known) = self.keyring.protections.get(stream_id) {
            return Ok(Some(known.clone()));
        }
        let Some(value) = self.store.read_object(ObjectKind::Stream, stream_id)? else { return Ok(None) };
        let created = lists::pointer_of(stream_id, &value)?;
        let protection = match self.record(created)?.1 {
            Record::StreamCreated { stream_id: id, tier, description, erasure_domain, retention_ms }
                if id == stream_id =>
            {
                let domain = erasure_domain.unwrap_or(id);
                Arc::new(Protection { created, tier, description, domain, retention_ms })
            }
            _ => {
                return Err(Error::corrupt(
                    stream_id,
                    0,
                    format!("`_log` entry {created} does not create it"),
                ));
            }
        };
        make_room(&mut self.keyring.protections);
        self.keyring.protections.insert(stream_id.to_owned(), protection.clone());
        Ok(Some(protection))
    }

    /// How a stream is kept that must exist.
    pub(super) fn existing_protection(&mut self, stream_id: &str) -> Result<Arc<Protection>> {
        self.protection(stream_id)?.ok_or_else(|| {
            Error::not_found("stream", stream_id, None, "`list-streams` names those there are")
        })
    }

    /// Where an erasure domain is, fresh from the store.
    pub(super) fn domain_state(&mut self, domain: &str) -> Result<DomainState> {
        let Some(value) = self.store.read_object(ObjectKind::State, &keys::domain(domain))? else {
            return Ok(DomainState::Absent);
        };
        let number = lists::pointer_of(domain, &value)?;
        let (row, record) = self.record(number)?;
        Ok(match record {
            Record::StreamCreated { stream_id, erasure_domain, .. }
                if erasure_domain.as_ref().unwrap_or(&stream_id) == domain =>
            {
                DomainState::Current { kek: domain.to_owned(), value }
            }
            Record::KeyRotated { domain: name, to, .. } if name == domain => {
                DomainState::Current { kek: to, value }
            }
            Record::DomainErased { domain: name, reason } if name == domain => {
                DomainState::Erased(Erased { number, time_ms: row.time_ms, from: 1, to: u64::MAX, reason })
            }
            _ => {
                return Err(Error::corrupt(
                    LOG_STREAM,
                    number,
                    format!("it is not about the erasure domain {domain:?}, whose state it is said to be"),
                ));
            }
        })
    }

    /// What holds for the entries of a stream now.
    pub(super) fn rules(&mut self, stream_id: &str) -> Result<StreamRules> {
        if stream_id == LOG_STREAM {
            return Ok(StreamRules::of_log());
        }
        let protection = self
            .protection(stream_id)?
            .ok_or_else(|| Error::corrupt(stream_id, 0, "`_log` does not know the stream"))?;
        let mut rules = StreamRules {
            tier: protection.tier,
            domain: protection.domain.clone(),
            retention_ms: protection.retention_ms,
            erased: Vec::new(),
        };
        self.objects(ObjectKind::State, &keys::erased_of(stream_id), |log, object| {
            let number = lists::pointer_of(stream_id, &object.value)?;
            let (row, record) = log.record(number)?;
            match record {
                Record::PayloadsErased { stream_id: id, from, to, reason } if id == stream_id => {
                    rules.erased.push(Erased { number, time_ms: row.time_ms, from, to, reason });
                    Ok(())
                }
                _ => Err(Error::corrupt(
                    stream_id,
                    0,
                    format!("`_log` entry {number}, which is said to erase of it, does not"),
                )),
            }
        })?;
        if let DomainState::Erased(erased) = self.domain_state(&protection.domain)? {
            rules.erased.push(erased);
        }
        Ok(rules)
    }

    pub(super) fn do_create_stream_with(&mut self, stream_id: &str, options: &StreamOptions) -> Result<()> {
        check_own_stream(stream_id)?;
        if let Some(text) = &options.description
            && text.len() > 4096
        {
            return Err(Error::invalid("description", format!("{} bytes; at most 4,096", text.len())));
        }
        let domain = options.erasure_domain.as_deref().unwrap_or(stream_id);
        check_key_or_domain("erasure-domain", domain)?;
        let erasure_domain = (domain != stream_id).then(|| domain.to_owned());
        let record = Record::StreamCreated {
            stream_id: stream_id.to_owned(),
            tier: options.tier,
            description: options.description.clone(),
            erasure_domain,
            retention_ms: options.retention_ms.filter(|ms| *ms > 0),
        };
        for _ in 0..MAX_STEADY {
            if let Some(number) = self.protection(stream_id)?.map(|p| p.created) {
                return Err(lists::already_there(stream_id, number));
            }
            let objects = self.creation_objects(stream_id, domain, options.tier)?;
            let outcome = self.commit_records(std::slice::from_ref(&record), &[], None, |number| {
                let mut objects = objects.clone();
                // A domain that begins here points here.
                for object in objects.iter_mut().filter(|object| object.value.is_empty()) {
                    object.value = encode_pointer(number);
                }
                objects
            });
            match outcome {
                Ok(_) => return Ok(()),
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy(format!("others change erasure domain {domain:?} all the time; try again")))
    }

    /// What is stored together with the record that creates a stream.
    fn creation_objects(&mut self, stream_id: &str, domain: &str, tier: Tier) -> Result<Vec<ObjectWrite>> {
        let mut objects = Vec::new();
        let kek = match self.domain_state(domain)? {
            DomainState::Erased(erased) => {
                return Err(Error::Denied(format!(
                    "stream {stream_id:?}: erasure domain {domain:?} was {}; take another one",
                    erased_text(&erased)
                )));
            }
            // The same value again: nobody erases the domain or rotates its key between this look and the append.
            DomainState::Current { kek, value } => {
                objects.push(write(keys::domain(domain), value.clone(), Some(value)));
                kek
            }
            DomainState::Absent => {
                if tier != Tier::Public || domain != stream_id {
                    objects.push(write(keys::domain(domain), Vec::new(), None));
                }
                domain.to_owned()
            }
        };
        if tier == Tier::Public {
            return Ok(objects);
        }
        if self.envelope.is_none() {
            return Err(no_envelope(&format!(
                "stream {stream_id:?}: tier {} needs a key-encryption key, and nothing is stored in clear instead",
                tier.name()
            )));
        }
        // Whether the keystore has the key shows now, before anything is recorded.
        objects.extend(self.claim_key(stream_id, domain, &kek)?);
        if tier == Tier::HighlyRestricted {
            let id: [u8; TAG_KEY_ID_LEN] = self.random.take(&mut self.env);
            let key: SecretKey = Zeroizing::new(self.random.take(&mut self.env));
            let context = wrap_context(KeyUse::Tags, domain, stream_id, &hex(&id));
            let wrapped = self.wrap(stream_id, domain, &kek, &key, &context)?;
            let key = WrappedKey { domain: domain.to_owned(), kek, wrapped, tag_key_id: Some(id) };
            objects.push(write(keys::tag_key(stream_id), key.encode(), None));
        }
        Ok(objects)
    }

    /// What goes with a stream that its first entry creates: its domain may be older than the stream.
    pub(super) fn implicit_domain(&mut self, stream_id: &str) -> Result<Option<ObjectWrite>> {
        match self.domain_state(stream_id)? {
            DomainState::Absent => Ok(None),
            DomainState::Current { value, .. } => {
                Ok(Some(write(keys::domain(stream_id), value.clone(), Some(value))))
            }
            DomainState::Erased(erased) => Err(Error::Denied(format!(
                "stream {stream_id:?}: the erasure domain of that name was {}",
                erased_text(&erased)
            ))),
        }
    }

    /// Makes sure that a key-encryption key belongs to this domain and to no other, and that the keystore has it.
    fn claim_key(&mut self, stream_id: &str, domain: &str, kek: &str) -> Result<Option<ObjectWrite>> {
        let key = keys::kek(kek);
        let value = self.store.read_object(ObjectKind::State, &key)?;
        match value.as_deref().map(parse_owner) {
            Some(Some((name, Some(_)))) if name == domain => {
                self.check_key(stream_id, domain, kek)?;
                Ok(None)
            }
            // One that was imported says nothing of the key itself yet.
            Some(Some((name, None))) if name != domain => Err(not_of(kek)),
            Some(Some((_, Some(_)))) => Err(not_of(kek)),
            Some(None) => Err(Error::corrupt(LOG_STREAM, 0, format!("the object {key:?} names no domain"))),
            Some(Some((_, None))) | None => {
                let secret: SecretKey = Zeroizing::new(self.random.take(&mut self.env));
                let context = wrap_context(KeyUse::Check, domain, "", kek);
                let check = self.wrap(stream_id, domain, kek, &secret, &context)?;
                Ok(Some(write(key, owner(domain, Some(&check)), value)))
            }
        }
    }

    /// Refuses to seal under another key than the domain's: a keystore that makes keys that it does not find would have a
    /// new one under the old name, and what is sealed with that could not be read by whoever has the true one.
    fn check_key(&mut self, stream_id: &str, domain: &str, kek: &str) -> Result<()> {
        let Some(value) = self.store.read_object(ObjectKind::State, &keys::kek(kek))? else { return Ok(()) };
        let Some((_, Some(check))) = parse_owner(&value) else { return Ok(()) };
        let key = WrappedKey {
            domain: domain.to_owned(),
            kek: kek.to_owned(),
            wrapped: check.to_vec(),
            tag_key_id: None,
        };
        let context = wrap_context(KeyUse::Check, domain, "", kek);
        self.unwrap_with(stream_id, 0, &key, &context).map(drop)
    }

    fn wrap(
        &mut self,
        stream_id: &str,
        domain: &str,
        kek: &str,
        key: &SecretKey,
        context: &[u8],
    ) -> Result<Vec<u8>> {
        let envelope = self.envelope.as_mut().ok_or_else(|| no_envelope(&format!("stream {stream_id:?}")))?;
        match envelope.wrap(kek, &key[..], context) {
            Ok(wrapped) => Ok(wrapped),
            Err(error) => Err(self.key_error(stream_id, 0, domain, kek, error)),
        }
    }

    fn unwrap_key(
        &mut self,
        stream_id: &str,
        seqno: u64,
        key: &WrappedKey,
        usage: KeyUse,
        id: &str,
    ) -> Result<SecretKey> {
        let context = wrap_context(usage, &key.domain, stream_id, id);
        self.unwrap_with(stream_id, seqno, key, &context)
    }

    fn unwrap_with(
        &mut self,
        stream_id: &str,
        seqno: u64,
        key: &WrappedKey,
        context: &[u8],
    ) -> Result<SecretKey> {
        let envelope = self.envelope.as_mut().ok_or_else(|| no_envelope(&format!("stream {stream_id:?}")))?;
        let bytes = match envelope.unwrap(&key.kek, &key.wrapped, context) {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.key_error(stream_id, seqno, &key.domain, &key.kek, error)),
        };
        let bytes: [u8; KEY_LEN] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| Error::corrupt(stream_id, seqno, "a key that was wrapped for it is not 32 bytes"))?;
        Ok(Zeroizing::new(bytes))
    }

    /// What it means for a payload that the keystore does not do it.
    fn key_error(
        &mut self,
        stream_id: &str,
        seqno: u64,
        domain: &str,
        kek: &str,
        error: EnvelopeError,
    ) -> Error {
        let (absent, text) = match error {
            EnvelopeError::KeyNotFound(text) => (true, text),
            EnvelopeError::WrongKey(text) => (false, text),
            EnvelopeError::Denied(text) => return Error::Denied(format!("keystore: key {kek:?}: {text}")),
            EnvelopeError::Invalid(text) => {
                return Error::invalid("key", format!("keystore: key {kek:?}: {text}"));
            }
            EnvelopeError::Unavailable(text) => return Error::Unavailable(format!("keystore: {text}")),
            EnvelopeError::Failed(text) => return Error::Storage(format!("keystore: {text}")),
        };
        let (problem, reason) = match self.domain_state(domain) {
            Err(error) => return error,
            Ok(DomainState::Erased(erased)) => (
                KeyProblem::Destroyed,
                format!("its erasure domain {domain:?} was {}; nothing brings it back", erased_text(&erased)),
            ),
            Ok(DomainState::Current { kek: now, .. }) if now != kek => (
                KeyProblem::Rotated,
                format!(
                    "the key of erasure domain {domain:?} is {now:?} now, and this is still wrapped under {kek:?}, \
                     which the keystore cannot use ({text}); bring {kek:?} back, then rotate to {now:?} again"
                ),
            ),
            Ok(_) if absent => (
                KeyProblem::Lost,
                format!(
                    "the keystore does not have the key-encryption key ({text}); make it if nothing was sealed \
                     with it, else bring it back from its backup"
                ),
            ),
            Ok(_) => (
                KeyProblem::Wrong,
                format!(
                    "the keystore has another key of this name ({text}); bring back the one that was used"
                ),
            ),
        };
        sealed(stream_id, seqno, kek, problem, reason)
    }

    /// The data key for new entries of a stream: that of its last segment, if it has one already.
    pub(super) fn sealing(&mut self, stream_id: &str, protection: &Protection) -> Result<Sealing> {
        if let Some((key, left)) = self.keyring.current.get_mut(stream_id)
            && *left > 0
        {
            *left -= 1;
            return Ok(Sealing { key: key.clone(), fresh: Vec::new() });
        }
        let base = match self.store.last_object(ObjectKind::Segment, &segment_prefix(stream_id))? {
            Some(object) => parse_segment_key(&object.key)
                .map(|(_, size)| size)
                .ok_or_else(|| Error::corrupt(stream_id, 0, "a segment of it is stored under a wrong key"))?,
            None => 0,
        };
        if let Some(object) = self.store.last_object(ObjectKind::State, &keys::data_keys_of(stream_id))? {
            let (_, begins, id, wrapped) = parse_data_key(&object)?;
            if begins == base {
                let key = self.data_key(stream_id, 0, &id, wrapped)?;
                self.keyring.stored(stream_id, &key);
                return Ok(Sealing { key, fresh: Vec::new() });
            }
        }
        let domain = protection.domain.as_str();
        let (kek, state) = match self.domain_state(domain)? {
            DomainState::Current { kek, value } => (kek, value),
            DomainState::Erased(erased) => {
                let reason = format!("its erasure domain {domain:?} was {}", erased_text(&erased));
                return Err(sealed(stream_id, 0, domain, KeyProblem::Destroyed, reason));
            }
            DomainState::Absent => {
                return Err(Error::corrupt(
                    stream_id,
                    0,
                    format!("its erasure domain {domain:?} has no state"),
                ));
            }
        };
        self.check_key(stream_id, domain, &kek)?;
        let id = hex(&self.random.take::<16>(&mut self.env));
        let key: SecretKey = Zeroizing::new(self.random.take(&mut self.env));
        let context = wrap_context(KeyUse::Data, domain, stream_id, &id);
        let wrapped = self.wrap(stream_id, domain, &kek, &key, &context)?;
        let stored = WrappedKey { domain: domain.to_owned(), kek, wrapped, tag_key_id: None };
        let fresh = vec![
            write(keys::data_key(stream_id, base, &id), stored.encode(), None),
            // The same value again: no rotation or erasure comes in between and misses this key.
            write(keys::domain(domain), state.clone(), Some(state)),
        ];
        Ok(Sealing { key: Arc::new(DataKey { id, sealer: Sealer::new(&key) }), fresh })
    }

    /// A data key, unwrapped or remembered.
    fn data_key(
        &mut self,
        stream_id: &str,
        seqno: u64,
        id: &str,
        wrapped: WrappedKey,
    ) -> Result<Arc<DataKey>> {
        let place = (stream_id.to_owned(), id.to_owned());
        if let Some(key) = self.keyring.data.get(&place) {
            return Ok(key.clone());
        }
        let key = self.unwrap_key(stream_id, seqno, &wrapped, KeyUse::Data, id)?;
        let key = Arc::new(DataKey { id: id.to_owned(), sealer: Sealer::new(&key) });
        make_room(&mut self.keyring.data);
        self.keyring.data.insert(place, key.clone());
        Ok(key)
    }

    /// The data key that sealed an entry.
    fn data_key_of(&mut self, stream_id: &str, seqno: u64, id: &str) -> Result<Arc<DataKey>> {
        if let Some(key) = self.keyring.data.get(&(stream_id.to_owned(), id.to_owned())) {
            return Ok(key.clone());
        }
        // Data keys sort by segment: those after the entry's are not it. Mostly the last one before it is.
        let mut found = None;
        self.objects(ObjectKind::State, &keys::data_keys_of(stream_id), |_, object| {
            let (_, _, key_id, wrapped) = parse_data_key(&object)?;
            if key_id == id {
                found = Some(wrapped);
            }
            Ok(())
        })?;
        match found {
            Some(wrapped) => self.data_key(stream_id, seqno, id, wrapped),
            None => {
                let protection = self.existing_protection(stream_id)?;
                let domain = &protection.domain;
                Err(match self.domain_state(domain)? {
                    DomainState::Erased(erased) => {
                        let reason = format!("its erasure domain was {}", erased_text(&erased));
                        sealed(stream_id, seqno, domain, KeyProblem::Destroyed, reason)
                    }
                    _ => {
                        let reason = format!(
                            "this store does not have the wrapped data key {id}: exports carry none, so read the \
                             entry in the log that was exported, or in a backup of it"
                        );
                        sealed(stream_id, seqno, domain, KeyProblem::Lost, reason)
                    }
                })
            }
        }
    }

    /// The tag key of a `highly-restricted` stream.
    pub(super) fn tag_key(&mut self, stream_id: &str) -> Result<Arc<TagKey>> {
        if let Some(key) = self.keyring.tags.get(stream_id) {
            return Ok(key.clone());
        }
        let Some(value) = self.store.read_object(ObjectKind::State, &keys::tag_key(stream_id))? else {
            let domain = self.existing_protection(stream_id)?.domain.clone();
            let reason = "this store does not have the wrapped tag key: exports carry none; go on in the log that was \
                          exported, or create another stream";
            return Err(sealed(stream_id, 0, &domain, KeyProblem::Lost, reason.into()));
        };
        let (wrapped, id) = parse_tag_key(stream_id, &value)?;
        let key = self.unwrap_key(stream_id, 0, &wrapped, KeyUse::Tags, &hex(&id))?;
        let key = Arc::new(TagKey { id, key });
        make_room(&mut self.keyring.tags);
        self.keyring.tags.insert(stream_id.to_owned(), key.clone());
        Ok(key)
    }

    /// What was sealed in a row that was checked on its own and whose payload has the header's hash.
    pub(super) fn open_payload(
        &mut self,
        header: &HeaderRef<'_>,
        stored: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let (stream_id, seqno) = (header.stream_id, header.seqno);
        let (Some(nonce), Some(id)) = (header.nonce, header.data_key_id) else {
            return Err(Error::corrupt(stream_id, seqno, "it is not sealed as its stream demands"));
        };
        let key = self.data_key_of(stream_id, seqno, id)?;
        let place = Place { stream_id, data_key_id: id, seqno };
        key.sealer.open(&nonce, place, stored).ok_or_else(|| {
            Error::corrupt(
                stream_id,
                seqno,
                format!("its payload was not sealed here: it does not open under its data key {id}"),
            )
        })
    }

    pub(super) fn do_open_entry(&mut self, stream_id: &str, seqno: u64) -> Result<Opened> {
        let mut row = self.named_row(stream_id, seqno, true)?;
        let payload = row.payload.take();
        let header = verify::check_row(stream_id, &row)?;
        if let Some(reference) = header.object_ref
            && payload.is_none()
        {
            return Err(Error::not_found(
                "payload",
                stream_id,
                Some(seqno),
                format!("it is kept outside of this log, at {reference:?}"),
            ));
        }
        if payload.is_none() {
            let rules = self.rules(stream_id)?;
            if let (Ok(Found::Erased), Some(erased)) =
                (rules.check_payload(&header, None), rules.erasure(seqno, header.time_ms))
            {
                return Err(erase::erased(stream_id, seqno, erased));
            }
        }
        verify::check_payload(stream_id, &header, payload.as_deref())?;
        let mut payload = payload.unwrap_or_default();
        if header.nonce.is_none() {
            payload.drain(..header.salt_len as usize);
            let (event_type, producer) = (header.event_type.to_owned(), header.producer.to_owned());
            return Ok(Opened { event_type, producer, payload });
        }
        let mut plain = self.open_payload(&header, payload)?;
        if header.keyed_tags.is_some() {
            return decode_event(&plain).map_err(|e| Error::corrupt(stream_id, seqno, e.to_string()));
        }
        let (event_type, producer) = (header.event_type.to_owned(), header.producer.to_owned());
        Ok(Opened { event_type, producer, payload: std::mem::take(&mut *plain) })
    }

    /// A filter in the words of the store: keyed tags stand for what a `highly-restricted` stream seals.
    pub(super) fn keyed_filter(&mut self, filter: &QueryFilter) -> Result<Option<QueryFilter>> {
        let Some(stream_id) = filter.stream_id.as_deref() else { return Ok(None) };
        if stream_id == LOG_STREAM || (filter.event_type.is_none() && filter.producer.is_none()) {
            return Ok(None);
        }
        match self.protection(stream_id)? {
            Some(protection) if protection.tier == Tier::HighlyRestricted => {}
            _ => return Ok(None),
        }
        let tags = self.tag_key(stream_id)?;
        Ok(Some(QueryFilter {
            event_type: filter.event_type.as_ref().map(|value| tag(&tags.key, Tagged::EventType, value)),
            producer: filter.producer.as_ref().map(|value| tag(&tags.key, Tagged::Producer, value)),
            ..filter.clone()
        }))
    }

    pub(super) fn do_rotate_key(&mut self, domain: &str, new_key: &str) -> Result<u64> {
        check_key_or_domain("erasure-domain", domain)?;
        check_key_or_domain("new-key", new_key)?;
        if self.envelope.is_none() {
            return Err(no_envelope(&format!("erasure domain {domain:?}")));
        }
        for _ in 0..MAX_STEADY {
            let none_sealed =
                || Error::not_found("erasure-domain", domain, None, "no stream in it is sealed");
            let (kek, value) = match self.domain_state(domain)? {
                DomainState::Absent => return Err(none_sealed()),
                DomainState::Erased(erased) => {
                    return Err(Error::Denied(format!(
                        "erasure domain {domain:?} was {}: its key is gone",
                        erased_text(&erased)
                    )));
                }
                DomainState::Current { kek, value } => (kek, value),
            };
            if self.store.read_object(ObjectKind::State, &keys::kek(&kek))?.is_none() {
                return Err(none_sealed());
            }
            if kek == new_key {
                return self.wrap_anew(domain, new_key, false);
            }
            // Before anything is recorded: the new key wraps, and the old one opens all that is wrapped.
            let claim = self.claim_key(domain, domain, new_key)?;
            self.wrap_anew(domain, new_key, true)?;
            let record = Record::KeyRotated { domain: domain.to_owned(), from: kek, to: new_key.to_owned() };
            let outcome = self.commit_records(std::slice::from_ref(&record), &[], None, |number| {
                let pointer = write(keys::domain(domain), encode_pointer(number), Some(value.clone()));
                claim.iter().cloned().chain([pointer]).collect()
            });
            match outcome {
                Ok(_) | Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy(format!("others change erasure domain {domain:?} all the time; try again")))
    }

    /// Wraps the keys of a domain under `new_key`, those that are not yet. `rehearse`: only sees whether it can be done.
    fn wrap_anew(&mut self, domain: &str, new_key: &str, rehearse: bool) -> Result<u64> {
        let (mut count, mut writes) = (0, Vec::new());
        for (prefix, usage) in [(keys::DATA_KEY, KeyUse::Data), (keys::TAG_KEY, KeyUse::Tags)] {
            self.objects(ObjectKind::State, prefix, |log, object| {
                let (stream_id, id, mut key) = match usage {
                    KeyUse::Data => {
                        let (stream_id, _, id, key) = parse_data_key(&object)?;
                        (stream_id, id, key)
                    }
                    _ => {
                        let stream_id = object.key[prefix.len()..].to_owned();
                        let (key, id) = parse_tag_key(&stream_id, &object.value)?;
                        (stream_id, hex(&id), key)
                    }
                };
                if key.domain != domain || key.kek == new_key {
                    return Ok(());
                }
                let secret = log.unwrap_key(&stream_id, 0, &key, usage, &id)?;
                count += 1;
                if rehearse {
                    return Ok(());
                }
                let context = wrap_context(usage, domain, &stream_id, &id);
                key.wrapped = log.wrap(&stream_id, domain, new_key, &secret, &context)?;
                key.kek = new_key.to_owned();
                writes.push(write(object.key, key.encode(), Some(object.value)));
                if writes.len() == ROTATED_AT_ONCE {
                    log.replace(domain, &mut writes)?;
                }
                Ok(())
            })?;
        }
        self.replace(domain, &mut writes)?;
        Ok(count)
    }

    fn replace(&mut self, domain: &str, writes: &mut Vec<ObjectWrite>) -> Result<()> {
        let writes = std::mem::take(writes);
        if writes.is_empty() {
            return Ok(());
        }
        self.store.append(&[], &[], &writes).map_err(|error| match error {
            Error::Conflict(_) => Error::Busy(format!(
                "somebody else wraps the keys of erasure domain {domain:?} anew as well; run it again"
            )),
            other => other,
        })
    }
}

/// The most that a `highly-restricted` stream seals: what a store takes, without the tag.
pub(super) fn check_sealed_len(field: &str, len: usize) -> Result<()> {
    let most = MAX_PAYLOAD + crate::header::SALT_LEN as usize - TAG_LEN;
    if len > most {
        return Err(Error::invalid(
            field,
            format!("{len} bytes with event type and producer, which are sealed with it; at most {most}"),
        ));
    }
    Ok(())
}

fn not_of(kek: &str) -> Error {
    Error::Denied(format!(
        "key-encryption key {kek:?} belongs to another erasure domain, and destroying it would erase both; take another \
         name"
    ))
}

fn sealed(stream_id: &str, seqno: u64, key: &str, problem: KeyProblem, reason: String) -> Error {
    Error::Sealed(Box::new(SealedPayload {
        stream_id: stream_id.to_owned(),
        seqno,
        key: key.to_owned(),
        problem,
        reason,
    }))
}

/// Stream, base, id and value of an object `data-key`.
pub(super) fn parse_data_key(object: &Object) -> Result<(String, u64, String, WrappedKey)> {
    let corrupt =
        |reason: &str| Error::corrupt(LOG_STREAM, 0, format!("the object {:?} {reason}", object.key));
    let (stream_id, base, id) =
        keys::parse_data_key(&object.key).ok_or_else(|| corrupt("has no place among the data keys"))?;
    match WrappedKey::decode(&object.value) {
        Ok(key) if key.tag_key_id.is_none() => Ok((stream_id.to_owned(), base, id.to_owned(), key)),
        _ => Err(corrupt("holds no wrapped data key")),
    }
}

/// Value of an object `tag-key`.
pub(super) fn parse_tag_key(stream_id: &str, value: &[u8]) -> Result<(WrappedKey, [u8; TAG_KEY_ID_LEN])> {
    match WrappedKey::decode(value) {
        Ok(key) => match key.tag_key_id {
            Some(id) => Ok((key, id)),
            None => Err(Error::corrupt(stream_id, 0, "its tag key has no id")),
        },
        Err(e) => Err(Error::corrupt(stream_id, 0, format!("its tag key: {e}"))),
    }
}
