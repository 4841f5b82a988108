//! Software updates: publishers and their keys, kept apart from devices; every check is logged.

use ed25519_dalek::VerifyingKey;
use secure_log::error::Error;
use secure_log::model::{Event, Severity, StreamHead, ZERO_HASH};
use serde::{Deserialize, Serialize};

use crate::gate::devices::{check_id, check_key, key_taken};
use crate::gate::log::GateLog;
use crate::gate::log_gate::{LogGate, in_registry, operation_log};
use crate::gate::registry::{ENCODING, KeyEntry, hex_32, index, json, read_key};
use crate::gate::streams;
use crate::gate::text::bounded;
use crate::gate::types::Failure;
use crate::identity::key_id;
use crate::record::Hash32;
use crate::update::{SoftwareUpdate, UpdateRefusal, UpdateVerifyDecision, UpdateVerifyError, check_update};

/// How often something starts over because the publisher was changed meanwhile.
const MAX_ROUNDS: u32 = 16;
/// Longest texts of a package that are logged, bytes.
const MAX_TEXT: usize = 255;

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// One of the publisher's keys signed this package; this is its id.
    Accepted(String),
    /// It must not be installed.
    Rejected(UpdateVerifyError),
}

const KEY_ADDED: &str = "publisher-key-added";
const KEY_REVOKED: &str = "publisher-key-revoked";

/// Payload of `publisher-key-added`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyAdded {
    publisher_id: String,
    key_id: String,
    #[serde(with = "hex_32")]
    public_key: Hash32,
}

/// Payload of `publisher-key-revoked`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRevoked {
    publisher_id: String,
    key_id: String,
}

/// Payload of an entry of `updates/<gate-id>`.
#[derive(Serialize)]
struct Check<'a> {
    decision: UpdateVerifyDecision,
    package_id: &'a str,
    version: &'a str,
    publisher_id: &'a str,
    message: &'a str,
    #[serde(with = "hex_32")]
    payload_hash: Hash32,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
}

struct PublisherKey {
    key_id: String,
    public_key: VerifyingKey,
    revoked: bool,
}

struct Publisher {
    keys: Vec<PublisherKey>,
    head: StreamHead,
}

fn event(stream: String, event_type: &str, severity: Severity, gate_id: &str, payload: Vec<u8>) -> Event {
    let mut event = Event::new(stream, event_type, severity, gate_id, payload);
    event.payload_encoding = Some(ENCODING.into());
    event
}

impl<L: GateLog> LogGate<L> {
    /// Adds a key of a publisher; the first one registers it. The same key again changes nothing. `Conflict` if it
    /// was revoked, or serves another publisher or a device.
    pub fn register_publisher(
        &mut self,
        publisher_id: &str,
        public_key: &VerifyingKey,
    ) -> Result<(), Failure> {
        check_key("public-key", public_key).map_err(in_registry)?;
        let id = key_id(public_key);
        self.change_publisher(publisher_id, |gate_id, publisher| {
            match publisher.keys.iter().find(|key| key.key_id == id) {
                Some(key) if key.revoked => {
                    return Err(Error::conflict(
                        streams::publisher(publisher_id),
                        None,
                        format!("key {id} of publisher {publisher_id:?} is revoked, and stays so"),
                    ));
                }
                Some(_) => return Ok(None),
                None => {}
            }
            let added = KeyAdded {
                publisher_id: publisher_id.to_owned(),
                key_id: id.clone(),
                public_key: public_key.to_bytes(),
            };
            let key =
                KeyEntry { key_id: id.clone(), device_id: None, publisher_id: Some(publisher_id.to_owned()) };
            let stream = streams::publisher(publisher_id);
            Ok(Some(vec![
                event(stream, KEY_ADDED, Severity::Notice, gate_id, json(&added)?),
                key.event(index::PUBLISHER_KEY)?,
            ]))
        })
    }

    /// Takes a key of a publisher away; a key that is revoked already stays so. `NotFound` if there is no such key.
    pub fn revoke_publisher_key(&mut self, publisher_id: &str, key_id: &str) -> Result<(), Failure> {
        self.change_publisher(publisher_id, |gate_id, publisher| {
            let key = publisher.keys.iter().find(|key| key.key_id == key_id).ok_or_else(|| {
                Error::not_found("key", key_id, None, format!("publisher {publisher_id:?} does not have it"))
            })?;
            if key.revoked {
                return Ok(None);
            }
            let revoked = KeyRevoked { publisher_id: publisher_id.to_owned(), key_id: key_id.to_owned() };
            let stream = streams::publisher(publisher_id);
            Ok(Some(vec![event(stream, KEY_REVOKED, Severity::Notice, gate_id, json(&revoked)?)]))
        })
    }

    /// Checks a package before it is installed: the publisher, the hash, the signature. The outcome is in
    /// `updates/<gate-id>` when this returns; a revocation cannot race it.
    pub fn verify_update(
        &mut self,
        update: &SoftwareUpdate,
        payload: &[u8],
        publisher_id: &str,
    ) -> Result<UpdateOutcome, Failure> {
        for _ in 0..MAX_ROUNDS {
            let publisher = match check_id("publisher-id", publisher_id) {
                Ok(()) => Some(self.publisher(publisher_id).map_err(in_registry)?),
                Err(_) => None,
            };
            let outcome = judge(update, payload, publisher_id, publisher.as_ref());
            let (decision, message, key_id) = match &outcome {
                UpdateOutcome::Accepted(id) => {
                    (UpdateVerifyDecision::Accepted, format!("signed by key {id}"), Some(id.as_str()))
                }
                UpdateOutcome::Rejected(error) => (UpdateVerifyDecision::Rejected, error.to_string(), None),
            };
            let check = Check {
                decision,
                package_id: &bounded(&update.package_id, MAX_TEXT),
                version: &bounded(&update.version, MAX_TEXT),
                publisher_id: &bounded(publisher_id, MAX_TEXT),
                message: &bounded(&message, 2 * MAX_TEXT),
                payload_hash: update.payload_hash,
                key_id,
            };
            let (event_type, severity) = match decision {
                UpdateVerifyDecision::Accepted => ("update-accepted", Severity::Notice),
                UpdateVerifyDecision::Rejected => ("update-rejected", Severity::Warning),
            };
            let gate_id = &self.settings.gate_id;
            let payload = json(&check).map_err(operation_log)?;
            let logged = event(streams::updates(gate_id), event_type, severity, gate_id, payload);
            let expect: Vec<StreamHead> = publisher.into_iter().map(|publisher| publisher.head).collect();
            match self.log.append_batch(vec![logged], &expect) {
                Ok(_) => return Ok(outcome),
                Err(Error::Conflict(conflict))
                    if expect.iter().any(|head| head.stream_id == conflict.stream_id) => {}
                Err(error) => return Err(operation_log(error)),
            }
        }
        Err(operation_log(changed(publisher_id)))
    }

    fn change_publisher(
        &mut self,
        publisher_id: &str,
        decide: impl Fn(&str, &Publisher) -> Result<Option<Vec<Event>>, Error>,
    ) -> Result<(), Failure> {
        check_id("publisher-id", publisher_id).map_err(in_registry)?;
        for _ in 0..MAX_ROUNDS {
            let publisher = self.publisher(publisher_id).map_err(in_registry)?;
            let Some(events) = decide(&self.settings.gate_id, &publisher).map_err(in_registry)? else {
                return Ok(());
            };
            match self.log.append_batch(events, std::slice::from_ref(&publisher.head)) {
                Ok(_) => return Ok(()),
                Err(Error::Conflict(conflict)) if conflict.stream_id == streams::KEY_INDEX => {
                    return Err(in_registry(key_taken(conflict.reason)));
                }
                Err(Error::Conflict(conflict)) if conflict.stream_id == publisher.head.stream_id => {}
                Err(error) => return Err(in_registry(error)),
            }
        }
        Err(in_registry(changed(publisher_id)))
    }

    /// A publisher as its stream says; without entries there is none, and it has no keys.
    fn publisher(&mut self, publisher_id: &str) -> Result<Publisher, Error> {
        let stream = streams::publisher(publisher_id);
        let Some(head) = self.log.head(&stream)? else {
            return Ok(Publisher { keys: Vec::new(), head: StreamHead::empty(stream) });
        };
        let mut publisher = Publisher { keys: Vec::new(), head };
        let mut hash = ZERO_HASH;
        for seqno in 1..=publisher.head.seqno {
            let entry = self.log.read(&stream, seqno)?;
            let corrupt = |reason: String| Error::corrupt(stream.as_str(), seqno, reason);
            if entry.header.prev_hash != hash {
                return Err(corrupt("it does not follow the entry before it".into()));
            }
            hash = entry.entry_hash;
            let payload = self.log.read_payload(&stream, seqno)?;
            apply(&mut publisher.keys, publisher_id, &entry.header.event_type, &payload).map_err(corrupt)?;
        }
        if hash != publisher.head.entry_hash {
            return Err(Error::corrupt(
                stream,
                publisher.head.seqno,
                "it is not the entry that the head names",
            ));
        }
        Ok(publisher)
    }
}

fn apply(
    keys: &mut Vec<PublisherKey>,
    publisher_id: &str,
    event_type: &str,
    payload: &[u8],
) -> Result<(), String> {
    let malformed = |e: serde_json::Error| format!("its payload is malformed: {e}");
    let ours = |id: &str| match id == publisher_id {
        true => Ok(()),
        false => Err("it is about another publisher".to_owned()),
    };
    match event_type {
        KEY_ADDED => {
            let added: KeyAdded = serde_json::from_slice(payload).map_err(malformed)?;
            ours(&added.publisher_id)?;
            let public_key = read_key(&added.key_id, &added.public_key)?;
            if keys.iter().any(|key| key.key_id == added.key_id) {
                return Err("the publisher has this key already".into());
            }
            keys.push(PublisherKey { key_id: added.key_id, public_key, revoked: false });
        }
        KEY_REVOKED => {
            let revoked: KeyRevoked = serde_json::from_slice(payload).map_err(malformed)?;
            ours(&revoked.publisher_id)?;
            let key = keys.iter_mut().find(|key| key.key_id == revoked.key_id && !key.revoked);
            key.ok_or("it revokes a key that the publisher does not have")?.revoked = true;
        }
        other => return Err(format!("event type {other:?} is not one of a publisher")),
    }
    Ok(())
}

fn judge(
    update: &SoftwareUpdate,
    payload: &[u8],
    publisher_id: &str,
    publisher: Option<&Publisher>,
) -> UpdateOutcome {
    let keys = publisher.map_or(&[][..], |publisher| &publisher.keys);
    let publisher_id = publisher_id.to_owned();
    if keys.is_empty() {
        return UpdateOutcome::Rejected(UpdateVerifyError::UnknownPublisher { publisher_id });
    }
    let valid: Vec<&PublisherKey> = keys.iter().filter(|key| !key.revoked).collect();
    let public: Vec<VerifyingKey> = valid.iter().map(|key| key.public_key).collect();
    let (package_id, version) = (update.package_id.clone(), update.version.clone());
    UpdateOutcome::Rejected(match check_update(update, payload, &public).map(|at| valid.get(at)) {
        Ok(Some(key)) => return UpdateOutcome::Accepted(key.key_id.clone()),
        Err(UpdateRefusal::PayloadHashMismatch) => {
            UpdateVerifyError::PayloadHashMismatch { package_id, version }
        }
        Ok(None) | Err(UpdateRefusal::InvalidSignature) => {
            UpdateVerifyError::InvalidSignature { package_id, version, publisher_id }
        }
    })
}

fn changed(publisher_id: &str) -> Error {
    Error::Busy(format!(
        "publisher {publisher_id:?} was changed {MAX_ROUNDS} times in a row by others; try again"
    ))
}
