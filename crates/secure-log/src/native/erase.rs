//! Erasure: the record first, then the keys, then the payloads. Every step can be run again, so whoever was interrupted
//! calls again and the rest is done.
//!
//! Retention counts from the time in an entry's header to the time of the record that erases it, both by the clock of the
//! log. A clock that was set back makes erasure later; one that was set forward shows in the record's time, which a
//! trusted time stamp over a later checkpoint contradicts.

use std::collections::BTreeMap;

use super::seal::{DomainState, Protection, check_key_or_domain, erased_text, parse_owner};
use super::*;
use crate::domains::Erased;
use crate::envelope::EnvelopeError;
use crate::record::encode_pointer;
use crate::sealing::keys;
use crate::store::{ObjectKind, ObjectWrite};

fn check_reason(reason: &str) -> Result<()> {
    check_name("reason", reason)?;
    if reason.len() > 4096 {
        return Err(Error::invalid("reason", format!("{} bytes; at most 4,096", reason.len())));
    }
    Ok(())
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_erase_payloads(
        &mut self,
        stream_id: &str,
        from: u64,
        to: u64,
        reason: &str,
    ) -> Result<Erasure> {
        check_own_stream(stream_id)?;
        check_reason(reason)?;
        let head = self.existing_head(stream_id)?;
        if from == 0 {
            return Err(Error::invalid("from-seqno", "entries are numbered from 1"));
        }
        if to < from {
            return Err(Error::invalid("to-seqno", format!("{to} is before from-seqno {from}")));
        }
        if to > head.seqno {
            let reason = format!("the last entry is {}", head.seqno);
            return Err(Error::not_found("entry", stream_id, Some(to), reason));
        }
        let now = self.env.now_ms();
        let rules = self.rules(stream_id)?;
        let recorded = rules.erased.iter().find(|erased| erased.from <= from && to <= erased.to);
        let (log_entry, entries) = match recorded {
            Some(erased) => (erased.number, self.erasable(stream_id, None, from, to, now)?),
            None => {
                let entries = self.erasable(stream_id, rules.retention_ms, from, to, now)?;
                let record = Record::PayloadsErased {
                    stream_id: stream_id.to_owned(),
                    from,
                    to,
                    reason: reason.to_owned(),
                };
                (self.commit_records(&[record], &[], Some(now), |_| Vec::new())?.first, entries)
            }
        };
        self.store.erase_payloads(stream_id, from, to)?;
        Ok(Erasure { log_entry, streams: 1, entries, keys_destroyed: Vec::new() })
    }

    /// How many of these entries have their payload here. `Denied` if one of them is within the retention.
    fn erasable(
        &mut self,
        stream_id: &str,
        retention_ms: Option<u64>,
        from: u64,
        to: u64,
        now: u64,
    ) -> Result<u64> {
        let mut entries = 0;
        self.walk(stream_id, from, to, false, true, |row, header| {
            entries += u64::from(header.object_ref.is_none());
            let until = header.time_ms.saturating_add(retention_ms.unwrap_or(0));
            if retention_ms.is_none() || until <= now {
                return Ok(());
            }
            Err(Error::Denied(format!(
                "stream {stream_id:?}: entry {} is kept until {}, {} days after it was logged; \
                 by the log's clock it is {}. Nothing was erased",
                row.seqno,
                secure_log_time::Time::from_millis(until),
                days(until - header.time_ms),
                secure_log_time::Time::from_millis(now),
            )))
        })?;
        Ok(entries)
    }

    pub(super) fn do_erase_domain(&mut self, domain: &str, reason: &str) -> Result<Erasure> {
        check_key_or_domain("erasure-domain", domain)?;
        check_reason(reason)?;
        for _ in 0..MAX_STEADY {
            let streams = self.streams_of(domain)?;
            if streams.is_empty() {
                return Err(Error::not_found("erasure-domain", domain, None, "no stream is in it"));
            }
            if self.envelope.is_none() && streams.values().any(|protection| protection.is_sealed()) {
                return Err(Error::Denied(format!(
                    "erasure domain {domain:?}: this log has no keystore that could destroy its key; open it with one \
                     that exports `keys:keystore/envelope`"
                )));
            }
            let log_entry = match self.domain_state(domain)? {
                DomainState::Erased(erased) => erased.number,
                state => match self.record_domain_erased(domain, reason, &streams, &state) {
                    Ok(number) => number,
                    // A stream grew, or one was created, or the key was rotated: look again.
                    Err(Error::Conflict(_)) => continue,
                    Err(error) => return Err(error),
                },
            };
            self.keyring.forget_keys();
            let keys_destroyed = self.destroy_keys(domain)?;
            let mut entries = 0;
            for stream_id in streams.keys() {
                let Some(head) = self.store.head(stream_id)? else { continue };
                entries += self.erasable(stream_id, None, 1, head.seqno, 0)?;
                self.store.erase_payloads(stream_id, 1, head.seqno)?;
            }
            return Ok(Erasure { log_entry, streams: streams.len() as u64, entries, keys_destroyed });
        }
        Err(Error::Busy(format!(
            "others append to streams of erasure domain {domain:?} all the time; stop them and try again. \
             Nothing was erased"
        )))
    }

    /// All streams of a domain.
    fn streams_of(&mut self, domain: &str) -> Result<BTreeMap<String, std::sync::Arc<Protection>>> {
        let mut streams = BTreeMap::new();
        self.objects(ObjectKind::Stream, "", |log, object| {
            let protection = log.existing_protection(&object.key)?;
            if protection.domain == domain {
                streams.insert(object.key, protection);
            }
            Ok(())
        })?;
        Ok(streams)
    }

    /// Ends the streams of a domain and records its erasure, in one transaction. `Conflict` if anything of it changed.
    fn record_domain_erased(
        &mut self,
        domain: &str,
        reason: &str,
        streams: &BTreeMap<String, std::sync::Arc<Protection>>,
        state: &DomainState,
    ) -> Result<u64> {
        let now = self.env.now_ms();
        let (mut records, mut heads) = (Vec::new(), Vec::new());
        for (stream_id, protection) in streams {
            let head = self.store.head(stream_id)?.unwrap_or_else(|| StreamHead::empty(stream_id));
            if head.seqno > 0 && protection.retention_ms.is_some() {
                self.erasable(stream_id, protection.retention_ms, 1, head.seqno, now)?;
            }
            if self.store.read_object(ObjectKind::Frozen, stream_id)?.is_none() {
                records.push(Record::StreamDeprecated {
                    stream_id: stream_id.clone(),
                    size: head.seqno,
                    head_hash: head.entry_hash,
                });
                heads.push(head);
            }
        }
        records.push(Record::DomainErased { domain: domain.to_owned(), reason: reason.to_owned() });
        let last = records.len() as u64 - 1;
        let expected = match state {
            DomainState::Current { value, .. } => Some(value.clone()),
            _ => None,
        };
        let committed = self.commit_records(&records, &heads, Some(now), |first| {
            vec![ObjectWrite {
                kind: ObjectKind::State,
                key: keys::domain(domain),
                value: encode_pointer(first + last),
                expected: expected.clone(),
            }]
        })?;
        Ok(committed.first + last)
    }

    /// Destroys all key-encryption keys that the domain ever had. Those that are gone already count as destroyed.
    fn destroy_keys(&mut self, domain: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.objects(ObjectKind::State, keys::KEK, |_, object| {
            if parse_owner(&object.value).is_some_and(|(owner, _)| owner == domain) {
                names.push(object.key[keys::KEK.len()..].to_owned());
            }
            Ok(())
        })?;
        for name in &names {
            let Some(envelope) = self.envelope.as_mut() else { break };
            match envelope.destroy(name) {
                Ok(()) | Err(EnvelopeError::KeyNotFound(_)) => {}
                Err(error) => {
                    let text = format!(
                        "erasure domain {domain:?}: its erasure is recorded, and key {name:?} could not be destroyed: \
                         {error}; run it again"
                    );
                    return Err(match error {
                        EnvelopeError::Denied(_) | EnvelopeError::Invalid(_) => Error::Denied(text),
                        EnvelopeError::Unavailable(_) => Error::Unavailable(text),
                        _ => Error::Storage(text),
                    });
                }
            }
        }
        Ok(names)
    }
}

fn days(ms: u64) -> String {
    format!("{:.1}", ms as f64 / 86_400_000.0)
}

/// What to say of a payload that `_log` says is erased.
pub(super) fn erased(stream_id: &str, seqno: u64, erased: &Erased) -> Error {
    Error::not_found("payload", stream_id, Some(seqno), erased_text(erased))
}
