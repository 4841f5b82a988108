//! Records of the reserved stream `_log`, and the objects that point to them.
//!
//! `_log` tells what happens to streams: created, deprecated, segment closed, erased; and to keys. Its
//! entries are the authority; the objects `stream`, `frozen` and `segment`, and those of kind `state`
//! that begin with `domain`, `kek` and `erased`, are an index of them, and verification compares the two.

use crate::cbor::{DecodeError, MapReader, MapWriter};
use crate::error::{Error, Result};
use crate::model::{Hash, Tier};
use crate::tree::TREE_ALG;

/// The reserved stream.
pub const LOG_STREAM: &str = "_log";
/// Producer of its entries.
pub const LOG_PRODUCER: &str = "secure-log";
/// Media type of its payloads.
pub const LOG_ENCODING: &str = "application/cbor";

/// One record of `_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Entry 1: the log exists and has a name.
    LogCreated {
        /// Name of the log.
        origin: String,
    },
    /// A stream exists.
    StreamCreated {
        /// Its id.
        stream_id: String,
        /// Its tier.
        tier: Tier,
        /// What it is for.
        description: Option<String>,
        /// Whose data it is, where that is not its own id.
        erasure_domain: Option<String>,
        /// Milliseconds after an entry's time within which its payload is not erased; not 0.
        retention_ms: Option<u64>,
    },
    /// A stream takes no further entries.
    StreamDeprecated {
        /// Its id.
        stream_id: String,
        /// Number of its last entry; 0 if it had none.
        size: u64,
        /// Hash of that entry.
        head_hash: Hash,
    },
    /// A segment of a stream was closed.
    SegmentClosed {
        /// The stream.
        stream_id: String,
        /// Size of its tree.
        size: u64,
        /// Root of its tree.
        root: Hash,
        /// First entry that no earlier segment covers.
        first_seqno: u64,
        /// Entry hash of entry `size`.
        head_hash: Hash,
    },
    /// An erasure domain has another key-encryption key.
    KeyRotated {
        /// The domain.
        domain: String,
        /// Name of its key until now.
        from: String,
        /// Name of its key from now on.
        to: String,
    },
    /// Payloads of a stretch of a stream are erased.
    PayloadsErased {
        /// The stream.
        stream_id: String,
        /// First entry.
        from: u64,
        /// Last entry.
        to: u64,
        /// Why.
        reason: String,
    },
    /// All payloads of a domain are erased, and its key-encryption keys are destroyed.
    DomainErased {
        /// The domain.
        domain: String,
        /// Why.
        reason: String,
    },
}

mod key {
    pub const NAME: u64 = 1;
    pub const SIZE: u64 = 2;
    pub const ROOT: u64 = 3;
    pub const FIRST_SEQNO: u64 = 4;
    pub const HEAD_HASH: u64 = 5;
    pub const TREE_ALG: u64 = 6;
    pub const TIER: u64 = 7;
    pub const DESCRIPTION: u64 = 8;
    pub const DOMAIN: u64 = 9;
    pub const RETENTION_MS: u64 = 10;
    pub const FROM_KEY: u64 = 11;
    pub const TO_KEY: u64 = 12;
    pub const FROM_SEQNO: u64 = 13;
    pub const TO_SEQNO: u64 = 14;
    pub const REASON: u64 = 15;
}

impl Record {
    /// Event type of its entry.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::LogCreated { .. } => "log-created",
            Self::StreamCreated { .. } => "stream-created",
            Self::StreamDeprecated { .. } => "stream-deprecated",
            Self::SegmentClosed { .. } => "segment-closed",
            Self::KeyRotated { .. } => "key-rotated",
            Self::PayloadsErased { .. } => "payloads-erased",
            Self::DomainErased { .. } => "domain-erased",
        }
    }

    /// Payload of its entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = MapWriter::with_capacity(192);
        match self {
            Self::LogCreated { origin } => {
                w.text(key::NAME, origin).text(key::TREE_ALG, TREE_ALG);
            }
            Self::StreamCreated { stream_id, tier, description, erasure_domain, retention_ms } => {
                w.text(key::NAME, stream_id)
                    .text(key::TIER, tier.name())
                    .opt_text(key::DESCRIPTION, description.as_deref())
                    .opt_text(key::DOMAIN, erasure_domain.as_deref());
                if let Some(ms) = retention_ms {
                    w.uint(key::RETENTION_MS, *ms);
                }
            }
            Self::StreamDeprecated { stream_id, size, head_hash } => {
                w.text(key::NAME, stream_id).uint(key::SIZE, *size).bytes(key::HEAD_HASH, head_hash);
            }
            Self::SegmentClosed { stream_id, size, root, first_seqno, head_hash } => {
                w.text(key::NAME, stream_id)
                    .uint(key::SIZE, *size)
                    .bytes(key::ROOT, root)
                    .uint(key::FIRST_SEQNO, *first_seqno)
                    .bytes(key::HEAD_HASH, head_hash)
                    .text(key::TREE_ALG, TREE_ALG);
            }
            Self::KeyRotated { domain, from, to } => {
                w.text(key::NAME, domain).text(key::FROM_KEY, from).text(key::TO_KEY, to);
            }
            Self::PayloadsErased { stream_id, from, to, reason } => {
                w.text(key::NAME, stream_id)
                    .uint(key::FROM_SEQNO, *from)
                    .uint(key::TO_SEQNO, *to)
                    .text(key::REASON, reason);
            }
            Self::DomainErased { domain, reason } => {
                w.text(key::NAME, domain).text(key::REASON, reason);
            }
        }
        w.finish()
    }

    /// Decodes the payload of an entry with this event type.
    pub fn decode(event_type: &str, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::new(payload)?;
        let mut name = None;
        let (mut size, mut first_seqno) = (None, None);
        let (mut root, mut head_hash) = (None, None);
        let (mut tree_alg, mut tier, mut description) = (None, None, None);
        let (mut domain, mut retention_ms, mut reason) = (None, None, None);
        let (mut from_key, mut to_key, mut from, mut to) = (None, None, None, None);
        while let Some((k, v)) = map.next()? {
            match k {
                key::NAME => name = Some(v.text()?.to_owned()),
                key::SIZE => size = Some(v.uint()?),
                key::ROOT => root = Some(v.array()?),
                key::FIRST_SEQNO => first_seqno = Some(v.uint()?),
                key::HEAD_HASH => head_hash = Some(v.array()?),
                key::TREE_ALG => tree_alg = Some(v.text()?),
                key::TIER => tier = Some(v.text()?),
                key::DESCRIPTION => description = Some(v.text()?.to_owned()),
                key::DOMAIN => domain = Some(v.text()?.to_owned()),
                key::RETENTION_MS => retention_ms = Some(v.uint()?),
                key::FROM_KEY => from_key = Some(v.text()?.to_owned()),
                key::TO_KEY => to_key = Some(v.text()?.to_owned()),
                key::FROM_SEQNO => from = Some(v.uint()?),
                key::TO_SEQNO => to = Some(v.uint()?),
                key::REASON => reason = Some(v.text()?.to_owned()),
                _ => return Err(DecodeError("a record field is unknown")),
            }
        }
        const MISSING: DecodeError = DecodeError("a record field is missing");
        let name = name.ok_or(MISSING)?;
        if tree_alg.is_some_and(|alg| alg != TREE_ALG) {
            return Err(DecodeError("tree algorithm is not rfc6962-sha256"));
        }
        let record = match event_type {
            "log-created" => Self::LogCreated { origin: name },
            "stream-created" => {
                if domain.as_ref() == Some(&name) || retention_ms == Some(0) {
                    return Err(DecodeError("a record says what goes without saying"));
                }
                Self::StreamCreated {
                    stream_id: name,
                    tier: Tier::from_name(tier.ok_or(MISSING)?).ok_or(DecodeError("tier is not known"))?,
                    description,
                    erasure_domain: domain,
                    retention_ms,
                }
            }
            "stream-deprecated" => Self::StreamDeprecated {
                stream_id: name,
                size: size.ok_or(MISSING)?,
                head_hash: head_hash.ok_or(MISSING)?,
            },
            "segment-closed" => Self::SegmentClosed {
                stream_id: name,
                size: size.ok_or(MISSING)?,
                root: root.ok_or(MISSING)?,
                first_seqno: first_seqno.ok_or(MISSING)?,
                head_hash: head_hash.ok_or(MISSING)?,
            },
            "key-rotated" => {
                Self::KeyRotated { domain: name, from: from_key.ok_or(MISSING)?, to: to_key.ok_or(MISSING)? }
            }
            "payloads-erased" => Self::PayloadsErased {
                stream_id: name,
                from: from.ok_or(MISSING)?,
                to: to.ok_or(MISSING)?,
                reason: reason.ok_or(MISSING)?,
            },
            "domain-erased" => Self::DomainErased { domain: name, reason: reason.ok_or(MISSING)? },
            _ => return Err(DecodeError("an event type that `_log` does not have")),
        };
        // Fields that the record does not have, or that stand where they do not belong.
        if record.encode() != payload {
            return Err(DecodeError("a record holds a field that it does not have"));
        }
        Ok(record)
    }
}

/// Value of the objects that point to an entry of `_log`: its number.
pub(crate) fn encode_pointer(number: u64) -> Vec<u8> {
    let mut w = MapWriter::with_capacity(11);
    w.uint(1, number);
    w.finish()
}

pub(crate) fn decode_pointer(value: &[u8]) -> Result<u64, DecodeError> {
    let mut map = MapReader::new(value)?;
    match (map.next()?, map.next()?) {
        (Some((1, v)), None) => v.uint(),
        _ => Err(DecodeError("not a pointer into `_log`")),
    }
}

/// Key of a segment object: stream ids hold no control characters, sizes sort as text.
pub(crate) fn segment_key(stream_id: &str, size: u64) -> String {
    format!("{stream_id}\t{size:020}")
}

/// Key prefix of a stream's segments.
pub(crate) fn segment_prefix(stream_id: &str) -> String {
    format!("{stream_id}\t")
}

pub(crate) fn parse_segment_key(key: &str) -> Option<(&str, u64)> {
    let (stream_id, size) = key.split_once('\t')?;
    let n = size.parse().ok()?;
    (segment_key(stream_id, n) == key).then_some((stream_id, n))
}

/// Key of a checkpoint object.
pub(crate) fn checkpoint_key(number: u64) -> String {
    format!("{number:020}")
}

pub(crate) fn parse_checkpoint_key(key: &str) -> Result<u64> {
    key.parse()
        .ok()
        .filter(|n| checkpoint_key(*n) == key)
        .ok_or_else(|| Error::corrupt(LOG_STREAM, 0, format!("a checkpoint is stored under the key {key:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_nothing_else_decodes() {
        let records = [
            Record::LogCreated { origin: "example.com/log".into() },
            Record::StreamCreated {
                stream_id: "a".into(),
                tier: Tier::Public,
                description: None,
                erasure_domain: None,
                retention_ms: None,
            },
            Record::StreamCreated {
                stream_id: "a".into(),
                tier: Tier::Protected,
                description: Some("what it is for".into()),
                erasure_domain: Some("customer-7".into()),
                retention_ms: Some(86_400_000),
            },
            Record::KeyRotated { domain: "a".into(), from: "a".into(), to: "a-2".into() },
            Record::PayloadsErased { stream_id: "a".into(), from: 3, to: 300, reason: "asked to".into() },
            Record::DomainErased { domain: "a".into(), reason: "asked to".into() },
            Record::StreamDeprecated { stream_id: "a".into(), size: 7, head_hash: [1; 32] },
            Record::SegmentClosed {
                stream_id: "a".into(),
                size: 300,
                root: [2; 32],
                first_seqno: 12,
                head_hash: [3; 32],
            },
        ];
        for r in &records {
            let bytes = r.encode();
            assert_eq!(Record::decode(r.event_type(), &bytes).as_ref(), Ok(r));
            for other in &records {
                if other.event_type() != r.event_type() {
                    assert!(Record::decode(other.event_type(), &bytes).is_err(), "{r:?} as {other:?}");
                }
            }
            for n in 0..bytes.len() {
                assert!(Record::decode(r.event_type(), &bytes[..n]).is_err());
            }
        }
    }

    #[test]
    fn what_goes_without_saying_is_not_said() {
        let created = |erasure_domain: Option<&str>, retention_ms| Record::StreamCreated {
            stream_id: "a".into(),
            tier: Tier::Protected,
            description: None,
            erasure_domain: erasure_domain.map(str::to_owned),
            retention_ms,
        };
        for redundant in [created(Some("a"), None), created(None, Some(0))] {
            assert!(Record::decode("stream-created", &redundant.encode()).is_err(), "{redundant:?}");
        }
    }

    #[test]
    fn keys_sort_and_parse() {
        assert!(segment_key("a", 9) < segment_key("a", 10));
        assert_eq!(parse_segment_key(&segment_key("a/b", 10)), Some(("a/b", 10)));
        assert_eq!(parse_segment_key("a\t10"), None);
        assert_eq!(decode_pointer(&encode_pointer(70_000)), Ok(70_000));
        assert!(decode_pointer(&[0xa0]).is_err());
    }
}
