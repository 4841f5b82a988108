//! What `_log` says of protection, keys and erasure. Whoever reads `_log` from its beginning applies these rules, be it
//! in a store or in an export.

use std::collections::BTreeMap;

use crate::header::{HeaderOf, payload_hash};
use crate::model::Tier;
use crate::record::Record;

/// A stretch of a stream whose payloads are erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erased {
    /// Entry of `_log` that records it.
    pub(crate) number: u64,
    /// Its time.
    pub(crate) time_ms: u64,
    /// First entry.
    pub(crate) from: u64,
    /// Last entry.
    pub(crate) to: u64,
    /// Why.
    pub(crate) reason: String,
}

/// What holds for the entries of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamRules {
    pub(crate) tier: Tier,
    pub(crate) domain: String,
    pub(crate) retention_ms: Option<u64>,
    /// By entries of `_log` about the stream or its domain.
    pub(crate) erased: Vec<Erased>,
}

/// What is there of a payload that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Here, with the length and the hash of the header.
    Checked,
    /// Kept outside of this log.
    Elsewhere,
    /// Gone, as `_log` records.
    Erased,
}

impl StreamRules {
    /// Rules of `_log`: nothing of it is sealed or erased.
    pub(crate) fn of_log() -> Self {
        Self { tier: Tier::Public, domain: String::new(), retention_ms: None, erased: Vec::new() }
    }

    /// The erasure of an entry that was allowed when it was recorded.
    pub(crate) fn erasure(&self, seqno: u64, time_ms: u64) -> Option<&Erased> {
        let from = time_ms.saturating_add(self.retention_ms.unwrap_or(0));
        self.erased
            .iter()
            .find(|e| (e.from..=e.to).contains(&seqno) && (self.retention_ms.is_none() || e.time_ms >= from))
    }

    /// Whether an entry is sealed as its stream demands.
    pub(crate) fn check_header<T, B>(&self, header: &HeaderOf<T, B>) -> Result<(), &'static str> {
        match (self.tier, header.nonce.is_some(), header.keyed_tags.is_some()) {
            (Tier::Public, false, false)
            | (Tier::Protected, true, false)
            | (Tier::HighlyRestricted, true, true) => Ok(()),
            (Tier::Public, _, _) => Err("it is sealed, and its stream is public"),
            _ => Err("it is not sealed as its stream demands"),
        }
    }

    /// Judges what is stored of a payload.
    pub(crate) fn check_payload<T: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        header: &HeaderOf<T, B>,
        payload: Option<&[u8]>,
    ) -> Result<Found, &'static str> {
        match (payload, &header.object_ref) {
            (None, Some(_)) => Ok(Found::Elsewhere),
            (Some(_), Some(_)) => Err("a payload is stored that should be kept elsewhere"),
            (Some(stored), None) if stored.len() as u64 != header.stored_len() => {
                Err("its payload has another length than the header says")
            }
            (Some(stored), None) if payload_hash(&[], stored) != header.payload_hash => {
                Err("its payload does not have the hash in the header")
            }
            (Some(_), None) => Ok(Found::Checked),
            (None, None) if self.erasure(header.seqno, header.time_ms).is_some() => Ok(Found::Erased),
            (None, None) if self.erased.iter().any(|e| (e.from..=e.to).contains(&header.seqno)) => {
                Err("its payload is missing, and `_log` records its erasure at a time within its retention")
            }
            (None, None) => Err("its payload is missing, and `_log` records no erasure"),
        }
    }
}

/// An erasure domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Domain {
    /// Name of its key-encryption key; `None` while nothing in it is sealed.
    pub(crate) kek: Option<String>,
    /// Entry of `_log` that the object `domain` points to; `None` where there is none.
    pub(crate) pointer: Option<u64>,
    /// Streams in it, and how many of them still take entries.
    streams: u64,
    open: u64,
    erased: Option<(u64, u64, String)>,
}

#[derive(Debug)]
struct Stream {
    rules: StreamRules,
    open: bool,
}

/// `_log`, as far as it is about protection, keys and erasure.
#[derive(Debug, Default)]
pub(crate) struct Domains {
    streams: BTreeMap<String, Stream>,
    domains: BTreeMap<String, Domain>,
    keks: BTreeMap<String, String>,
}

impl Domains {
    /// Takes the record in entry `number`; an error says which rule it breaks.
    pub(crate) fn apply(&mut self, number: u64, time_ms: u64, record: &Record) -> Result<(), &'static str> {
        match record {
            Record::LogCreated { .. } | Record::SegmentClosed { .. } => {}
            Record::StreamCreated { stream_id, tier, erasure_domain, retention_ms, .. } => {
                let name = erasure_domain.as_ref().unwrap_or(stream_id);
                let domain = self.domains.entry(name.clone()).or_default();
                if domain.erased.is_some() {
                    return Err("a stream is created in an erasure domain that was erased");
                }
                domain.streams += 1;
                domain.open += 1;
                let sealed = *tier != Tier::Public;
                if sealed || erasure_domain.is_some() {
                    domain.pointer.get_or_insert(number);
                }
                if sealed && domain.kek.is_none() {
                    domain.kek = Some(name.clone());
                    take_key(&mut self.keks, name, name)?;
                }
                let rules = StreamRules {
                    tier: *tier,
                    domain: name.clone(),
                    retention_ms: *retention_ms,
                    erased: Vec::new(),
                };
                if self.streams.insert(stream_id.clone(), Stream { rules, open: true }).is_some() {
                    return Err("the stream is created twice");
                }
            }
            Record::StreamDeprecated { stream_id, .. } => {
                let stream = self.streams.get_mut(stream_id).filter(|s| s.open);
                let stream = stream.ok_or("a stream is deprecated that does not exist or already is")?;
                stream.open = false;
                if let Some(domain) = self.domains.get_mut(&stream.rules.domain) {
                    domain.open -= 1;
                }
            }
            Record::KeyRotated { domain: name, from, to } => {
                let domain = self.domains.get_mut(name).filter(|d| d.erased.is_none());
                let domain = domain.filter(|d| d.kek.as_ref() == Some(from) && from != to);
                let domain = domain.ok_or("a key is rotated that its erasure domain does not have")?;
                domain.kek = Some(to.clone());
                domain.pointer = Some(number);
                take_key(&mut self.keks, to, name)?;
            }
            Record::PayloadsErased { stream_id, from, to, reason } => {
                if *from == 0 || to < from {
                    return Err("an erasure is recorded of no entry");
                }
                let stream = self.streams.get_mut(stream_id);
                let stream = stream.ok_or("an erasure is recorded of a stream that does not exist")?;
                stream.rules.erased.push(Erased {
                    number,
                    time_ms,
                    from: *from,
                    to: *to,
                    reason: reason.clone(),
                });
            }
            Record::DomainErased { domain: name, reason } => {
                let domain = self.domains.get_mut(name).filter(|d| d.erased.is_none() && d.streams > 0);
                let domain = domain.ok_or("a domain is erased that does not exist or already is")?;
                if domain.open > 0 {
                    return Err("a domain is erased while a stream of it still takes entries");
                }
                domain.erased = Some((number, time_ms, reason.clone()));
                domain.pointer = Some(number);
            }
        }
        Ok(())
    }

    /// What holds for the entries of a stream.
    pub(crate) fn rules(&self, stream_id: &str) -> Option<StreamRules> {
        let mut rules = self.streams.get(stream_id)?.rules.clone();
        if let Some((number, time_ms, reason)) =
            self.domains.get(&rules.domain).and_then(|d| d.erased.as_ref())
        {
            rules.erased.push(Erased {
                number: *number,
                time_ms: *time_ms,
                from: 1,
                to: u64::MAX,
                reason: reason.clone(),
            });
        }
        Some(rules)
    }

    /// All domains that an object points from.
    pub(crate) fn pointers(&self) -> impl Iterator<Item = (&String, u64)> {
        self.domains.iter().filter_map(|(name, domain)| Some((name, domain.pointer?)))
    }

    /// Which domain each key-encryption key belongs to.
    pub(crate) fn keks(&self) -> &BTreeMap<String, String> {
        &self.keks
    }

    /// First entry and number of the record, of each erasure of a stretch.
    pub(crate) fn erasures(&self) -> impl Iterator<Item = (&String, &Erased)> {
        self.streams.iter().flat_map(|(id, stream)| stream.rules.erased.iter().map(move |e| (id, e)))
    }
}

/// A key-encryption key belongs to one domain for ever: whoever destroys it erases nothing else.
fn take_key(keks: &mut BTreeMap<String, String>, kek: &str, domain: &str) -> Result<(), &'static str> {
    let owner = keks.entry(kek.to_owned()).or_insert_with(|| domain.to_owned());
    match owner == domain {
        true => Ok(()),
        false => Err("two erasure domains have the same key-encryption key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(stream: &str, tier: Tier, domain: Option<&str>) -> Record {
        Record::StreamCreated {
            stream_id: stream.into(),
            tier,
            description: None,
            erasure_domain: domain.map(Into::into),
            retention_ms: Some(100),
        }
    }

    fn rotated(domain: &str, from: &str, to: &str) -> Record {
        Record::KeyRotated { domain: domain.into(), from: from.into(), to: to.into() }
    }

    fn deprecated(stream: &str) -> Record {
        Record::StreamDeprecated { stream_id: stream.into(), size: 0, head_hash: [0; 32] }
    }

    fn erased(domain: &str) -> Record {
        Record::DomainErased { domain: domain.into(), reason: "r".into() }
    }

    fn apply(records: &[Record]) -> Result<Domains, &'static str> {
        let mut domains = Domains::default();
        for (number, record) in (2..).zip(records) {
            domains.apply(number, 1_000, record)?;
        }
        Ok(domains)
    }

    #[test]
    fn each_rule_refuses_what_breaks_it() {
        use Tier::{Protected, Public};
        let good = [
            created("a", Protected, None),
            created("b", Public, Some("a")),
            rotated("a", "a", "a-2"),
            rotated("a", "a-2", "a"),
            deprecated("a"),
            deprecated("b"),
            erased("a"),
        ];
        let domains = apply(&good).unwrap();
        assert_eq!(domains.pointers().collect::<Vec<_>>(), [(&"a".to_owned(), 8)]);
        assert_eq!(domains.keks().len(), 2);
        assert_eq!(domains.rules("b").unwrap().erased[0].number, 8);

        let bad: [&[Record]; 9] = [
            &[created("a", Protected, None), created("a", Protected, None)],
            &[created("a", Public, None), rotated("a", "a", "b")],
            &[created("a", Protected, None), rotated("a", "b", "c")],
            &[created("a", Protected, None), created("b", Protected, None), rotated("a", "a", "b")],
            &[created("a", Protected, None), rotated("a", "a", "b"), created("b", Protected, None)],
            &[created("a", Protected, None), erased("a")],
            &[created("a", Protected, None), deprecated("a"), erased("a"), erased("a")],
            &[created("a", Protected, None), deprecated("a"), erased("a"), created("b", Public, Some("a"))],
            &[Record::PayloadsErased { stream_id: "a".into(), from: 1, to: 2, reason: "r".into() }],
        ];
        for records in bad {
            assert!(apply(records).is_err(), "{records:?}");
        }
    }

    #[test]
    fn an_erasure_within_the_retention_is_none() {
        let stretch = Record::PayloadsErased { stream_id: "a".into(), from: 2, to: 3, reason: "r".into() };
        let domains = apply(&[created("a", Tier::Public, None), stretch]).unwrap();
        let rules = domains.rules("a").unwrap();
        assert!(rules.erasure(2, 900).is_some());
        assert!(rules.erasure(2, 901).is_none(), "recorded 99 ms after it, and retention is 100 ms");
        assert!(rules.erasure(1, 900).is_none() && rules.erasure(4, 900).is_none());
    }
}
