//! WIT types ⇄ engine types.

use secure_log::envelope::EnvelopeError;
use secure_log::error::{
    Conflict, Corruption, InvalidArgument, KeyProblem, Missing, Rollback, SealedPayload,
};
use secure_log::header::Header;
use secure_log::model as m;
use secure_log::proof_file::Proven;
use secure_log::signer::{Algorithm, KeyError};
use secure_log::store::{Object, ObjectKind, ObjectWrite, Row, StreamAppend, Tile};
use secure_log::witness::Refusal;
use secure_log::{Error, Result};

use crate::core_world::exports::secure_log::log::{time as wt, witness as ww};
use crate::core_world::keys::keystore::envelope as core_envelope;
use crate::core_world::keys::keystore::signer as core_signer;
use crate::core_world::secure_log::log::store as imported_store;
use crate::core_world::secure_log::log::types as w;
use crate::keystore_world::exports::keys::keystore::envelope as exported_envelope;
use crate::keystore_world::exports::keys::keystore::signer as exported_signer;
use crate::store_world::exports::secure_log::log::store as exported_store;

/// A hash that stored data must have.
pub(crate) fn hash(stream_id: &str, seqno: u64, bytes: &[u8]) -> Result<m::Hash> {
    bytes.try_into().map_err(|_| {
        Error::corrupt(stream_id, seqno, format!("a stored hash has {} bytes, not 32", bytes.len()))
    })
}

/// A hash that a caller passed as `field`.
pub(crate) fn hash_arg(field: &str, bytes: &[u8]) -> Result<m::Hash> {
    bytes.try_into().map_err(|_| Error::invalid(field, format!("has {} bytes; a hash has 32", bytes.len())))
}

pub(crate) fn path_arg(field: &str, path: &[Vec<u8>]) -> Result<Vec<m::Hash>> {
    path.iter().map(|h| hash_arg(field, h)).collect()
}

pub(crate) fn from_head(head: w::StreamHead) -> Result<m::StreamHead> {
    let entry_hash = hash(&head.stream_id, head.seqno, &head.entry_hash)?;
    Ok(m::StreamHead { stream_id: head.stream_id, seqno: head.seqno, entry_hash })
}

pub(crate) fn head_arg(field: &str, head: w::StreamHead) -> Result<m::StreamHead> {
    let entry_hash = hash_arg(field, &head.entry_hash)?;
    Ok(m::StreamHead { stream_id: head.stream_id, seqno: head.seqno, entry_hash })
}

fn paths(path: Vec<m::Hash>) -> Vec<Vec<u8>> {
    path.into_iter().map(|h| h.to_vec()).collect()
}

impl From<&m::StreamHead> for w::StreamHead {
    fn from(head: &m::StreamHead) -> Self {
        Self { stream_id: head.stream_id.clone(), seqno: head.seqno, entry_hash: head.entry_hash.to_vec() }
    }
}

impl From<m::StreamHead> for w::StreamHead {
    fn from(head: m::StreamHead) -> Self {
        Self { stream_id: head.stream_id, seqno: head.seqno, entry_hash: head.entry_hash.to_vec() }
    }
}

impl From<Error> for w::LogError {
    fn from(error: Error) -> Self {
        match error {
            Error::Conflict(c) => Self::Conflict(w::Conflict {
                stream_id: c.stream_id,
                actual: c.actual.map(Into::into),
                reason: c.reason,
            }),
            Error::NotFound(e) => {
                Self::NotFound(w::Missing { what: e.what, name: e.name, number: e.number, reason: e.reason })
            }
            Error::Corrupt(c) => {
                Self::Corrupt(w::Corruption { stream_id: c.stream_id, seqno: c.seqno, reason: c.reason })
            }
            Error::RolledBack(r) => Self::RolledBack(w::Rollback {
                claimed_size: r.claimed_size,
                claimed_root: r.claimed_root.to_vec(),
                size: r.size,
                root: r.root.to_vec(),
                reason: r.reason,
            }),
            Error::Busy(s) => Self::Busy(s),
            Error::Denied(s) => Self::Denied(s),
            Error::Invalid(i) => Self::Invalid(w::InvalidArgument { field: i.field, reason: i.reason }),
            Error::Sealed(s) => Self::Sealed(w::SealedPayload {
                stream_id: s.stream_id,
                seqno: s.seqno,
                key: s.key,
                problem: match s.problem {
                    KeyProblem::Lost => w::KeyProblem::Lost,
                    KeyProblem::Wrong => w::KeyProblem::Wrong,
                    KeyProblem::Rotated => w::KeyProblem::Rotated,
                    KeyProblem::Destroyed => w::KeyProblem::Destroyed,
                },
                reason: s.reason,
            }),
            Error::Unavailable(s) => Self::Unavailable(s),
            Error::Storage(s) => Self::Storage(s),
        }
    }
}

impl From<w::LogError> for Error {
    fn from(error: w::LogError) -> Self {
        use w::LogError as L;
        match error {
            L::Conflict(c) => {
                // A head that is malformed tells nothing; the caller re-reads it anyway.
                let actual = c.actual.and_then(|h| from_head(h).ok());
                Self::Conflict(Conflict { stream_id: c.stream_id, actual, reason: c.reason })
            }
            L::NotFound(e) => {
                Self::NotFound(Missing { what: e.what, name: e.name, number: e.number, reason: e.reason })
            }
            L::Corrupt(c) => {
                Self::Corrupt(Corruption { stream_id: c.stream_id, seqno: c.seqno, reason: c.reason })
            }
            L::RolledBack(r) => Self::RolledBack(Box::new(Rollback {
                claimed_size: r.claimed_size,
                claimed_root: r.claimed_root.try_into().unwrap_or_default(),
                size: r.size,
                root: r.root.try_into().unwrap_or_default(),
                reason: r.reason,
            })),
            L::Busy(s) => Self::Busy(s),
            L::Denied(s) => Self::Denied(s),
            L::Invalid(i) => Self::Invalid(InvalidArgument { field: i.field, reason: i.reason }),
            L::Sealed(s) => Self::Sealed(Box::new(SealedPayload {
                stream_id: s.stream_id,
                seqno: s.seqno,
                key: s.key,
                problem: match s.problem {
                    w::KeyProblem::Lost => KeyProblem::Lost,
                    w::KeyProblem::Wrong => KeyProblem::Wrong,
                    w::KeyProblem::Rotated => KeyProblem::Rotated,
                    w::KeyProblem::Destroyed => KeyProblem::Destroyed,
                },
                reason: s.reason,
            })),
            L::Unavailable(s) => Self::Unavailable(s),
            L::Storage(s) => Self::Storage(s),
        }
    }
}

impl From<w::Severity> for m::Severity {
    fn from(severity: w::Severity) -> Self {
        match severity {
            w::Severity::Emergency => Self::Emergency,
            w::Severity::Alert => Self::Alert,
            w::Severity::Critical => Self::Critical,
            w::Severity::Error => Self::Error,
            w::Severity::Warning => Self::Warning,
            w::Severity::Notice => Self::Notice,
            w::Severity::Informational => Self::Informational,
            w::Severity::Debug => Self::Debug,
        }
    }
}

impl From<m::Severity> for w::Severity {
    fn from(severity: m::Severity) -> Self {
        match severity {
            m::Severity::Emergency => Self::Emergency,
            m::Severity::Alert => Self::Alert,
            m::Severity::Critical => Self::Critical,
            m::Severity::Error => Self::Error,
            m::Severity::Warning => Self::Warning,
            m::Severity::Notice => Self::Notice,
            m::Severity::Informational => Self::Informational,
            m::Severity::Debug => Self::Debug,
        }
    }
}

impl From<w::Tier> for m::Tier {
    fn from(tier: w::Tier) -> Self {
        match tier {
            w::Tier::Public => Self::Public,
            w::Tier::Protected => Self::Protected,
            w::Tier::HighlyRestricted => Self::HighlyRestricted,
        }
    }
}

impl From<m::Tier> for w::Tier {
    fn from(tier: m::Tier) -> Self {
        match tier {
            m::Tier::Public => Self::Public,
            m::Tier::Protected => Self::Protected,
            m::Tier::HighlyRestricted => Self::HighlyRestricted,
        }
    }
}

impl From<&m::QueryFilter> for w::QueryFilter {
    fn from(f: &m::QueryFilter) -> Self {
        Self {
            stream_id: f.stream_id.clone(),
            from_ms: f.from_ms,
            to_ms: f.to_ms,
            event_type: f.event_type.clone(),
            min_severity: f.min_severity.map(Into::into),
            producer: f.producer.clone(),
        }
    }
}

impl From<w::QueryFilter> for m::QueryFilter {
    fn from(f: w::QueryFilter) -> Self {
        Self {
            stream_id: f.stream_id,
            from_ms: f.from_ms,
            to_ms: f.to_ms,
            event_type: f.event_type,
            min_severity: f.min_severity.map(Into::into),
            producer: f.producer,
        }
    }
}

impl From<w::Event> for m::Event {
    fn from(e: w::Event) -> Self {
        Self {
            stream_id: e.stream_id,
            event_type: e.event_type,
            severity: e.severity.into(),
            producer: e.producer,
            payload: e.payload,
            payload_encoding: e.payload_encoding,
            object_ref: e.object_ref,
            id: e.id,
        }
    }
}

impl From<m::Event> for w::Event {
    fn from(e: m::Event) -> Self {
        Self {
            stream_id: e.stream_id,
            event_type: e.event_type,
            severity: e.severity.into(),
            producer: e.producer,
            payload: e.payload,
            payload_encoding: e.payload_encoding,
            object_ref: e.object_ref,
            id: e.id,
        }
    }
}

impl From<m::AppendResult> for w::AppendResult {
    fn from(r: m::AppendResult) -> Self {
        Self { seqno: r.seqno, entry_hash: r.entry_hash.to_vec() }
    }
}

impl From<m::StreamInfo> for w::StreamInfo {
    fn from(s: m::StreamInfo) -> Self {
        Self {
            stream_id: s.stream_id,
            tier: s.tier.into(),
            description: s.description,
            created: s.created,
            deprecated: s.deprecated,
            erasure_domain: s.erasure_domain,
            retention_ms: s.retention_ms,
            erased: s.erased,
            head: s.head.map(Into::into),
        }
    }
}

impl From<w::StreamOptions> for m::StreamOptions {
    fn from(o: w::StreamOptions) -> Self {
        Self {
            tier: o.tier.into(),
            description: o.description,
            erasure_domain: o.erasure_domain,
            retention_ms: o.retention_ms,
        }
    }
}

impl From<m::Erasure> for w::Erasure {
    fn from(e: m::Erasure) -> Self {
        Self {
            log_entry: e.log_entry,
            streams: e.streams,
            entries: e.entries,
            keys_destroyed: e.keys_destroyed,
        }
    }
}

impl From<m::Opened> for w::Opened {
    fn from(o: m::Opened) -> Self {
        Self { event_type: o.event_type, producer: o.producer, payload: o.payload }
    }
}

impl From<m::Witnessed> for w::Witnessed {
    fn from(w: m::Witnessed) -> Self {
        Self { name: w.name, time: w.time }
    }
}

impl From<Proven> for w::Proven {
    fn from(p: Proven) -> Self {
        let witnesses = p.witnesses.map(|status| status.cosigned).unwrap_or_default();
        Self {
            header: p.header.into(),
            origin: p.checkpoint.origin,
            size: p.checkpoint.size,
            signatures: p.signatures.trusted,
            signatures_unknown: p.signatures.unknown,
            witnesses: witnesses
                .into_iter()
                .map(|w| w::Witnessed { name: w.name.to_string(), time: w.time })
                .collect(),
        }
    }
}

impl From<m::WitnessAnswer> for ww::Answer {
    fn from(answer: m::WitnessAnswer) -> Self {
        match answer {
            m::WitnessAnswer::Cosigned(new) => Self::Cosigned(new),
            m::WitnessAnswer::Conflict(size) => Self::Conflict(size),
            m::WitnessAnswer::Refused(status, refusal) => Self::Refused(ww::Refusal {
                kind: match refusal {
                    Refusal::Malformed(_) => ww::RefusalKind::Malformed,
                    Refusal::UnknownLog(_) => ww::RefusalKind::UnknownLog,
                    Refusal::Untrusted(_) => ww::RefusalKind::Untrusted,
                    Refusal::Inconsistent(_) => ww::RefusalKind::Inconsistent,
                    Refusal::Behind { .. } => ww::RefusalKind::Behind,
                    Refusal::Pushback(_) => ww::RefusalKind::Pushback,
                    Refusal::NotCosigned(_) => ww::RefusalKind::NotCosigned,
                    Refusal::Status(..) => ww::RefusalKind::Other,
                },
                status,
                temporary: refusal.is_temporary(),
                reason: refusal.to_string(),
            }),
        }
    }
}

impl From<m::Publication> for ww::Publication {
    fn from(p: m::Publication) -> Self {
        Self {
            newest: p.newest,
            cosigned: p.cosigned.into_iter().map(Into::into).collect(),
            absent: p.absent,
            lacks: p.lacks,
            published: p.published,
        }
    }
}

impl From<wt::Subject> for m::TimeSubject {
    fn from(subject: wt::Subject) -> Self {
        match subject {
            wt::Subject::Checkpoint(number) => Self::Checkpoint(number),
            wt::Subject::Entry(at) => Self::Entry { stream_id: at.stream_id, seqno: at.seqno },
        }
    }
}

impl From<wt::Trust> for m::TimeTrust {
    fn from(t: wt::Trust) -> Self {
        Self { anchors: t.anchors, intermediates: t.intermediates, revocation_lists: t.revocation_lists }
    }
}

impl From<m::TimeStamp> for wt::Stamp {
    fn from(s: m::TimeStamp) -> Self {
        Self {
            time_ms: s.time_ms,
            accuracy_ms: s.accuracy_ms,
            log_time_ms: s.log_time_ms,
            serial: s.serial,
            policy: s.policy,
            authority: s.authority,
            imprint: s.imprint,
            unchecked: s.unchecked,
        }
    }
}

impl From<Header> for w::EntryHeader {
    fn from(h: Header) -> Self {
        Self {
            stream_id: h.stream_id,
            seqno: h.seqno,
            prev_hash: h.prev_hash.to_vec(),
            time_ms: h.time_ms,
            event_type: h.event_type,
            severity: h.severity.into(),
            producer: h.producer,
            payload_hash: h.payload_hash.to_vec(),
            payload_len: h.payload_len,
            payload_encoding: h.payload_encoding,
            object_ref: h.object_ref,
            nonce: h.nonce.map(|n| n.to_vec()),
            data_key_id: h.data_key_id,
            keyed_tags: h.keyed_tags,
            salt_len: h.salt_len,
            hash_alg: secure_log::header::HASH_ALG.to_owned(),
            software_version: h.software_version,
            session_id: h.session_id.to_vec(),
            boot_id: h.boot_id,
            event_id: h.event_id,
        }
    }
}

impl TryFrom<w::EntryHeader> for Header {
    type Error = Error;

    fn try_from(h: w::EntryHeader) -> Result<Self> {
        if h.hash_alg != secure_log::header::HASH_ALG {
            return Err(Error::invalid("hash-alg", format!("{:?} is not known; it is `blake3`", h.hash_alg)));
        }
        let session_id = h.session_id.try_into().map_err(|_| Error::invalid("session-id", "has 16 bytes"))?;
        let nonce = match h.nonce {
            None => None,
            Some(n) => Some(n.try_into().map_err(|_| Error::invalid("nonce", "has 24 bytes"))?),
        };
        Ok(Self {
            stream_id: h.stream_id,
            seqno: h.seqno,
            prev_hash: hash_arg("prev-hash", &h.prev_hash)?,
            time_ms: h.time_ms,
            event_type: h.event_type,
            severity: h.severity.into(),
            producer: h.producer,
            payload_hash: hash_arg("payload-hash", &h.payload_hash)?,
            payload_len: h.payload_len,
            payload_encoding: h.payload_encoding,
            object_ref: h.object_ref,
            software_version: h.software_version,
            session_id,
            boot_id: h.boot_id,
            nonce,
            data_key_id: h.data_key_id,
            keyed_tags: h.keyed_tags,
            salt_len: h.salt_len,
            event_id: h.event_id,
        })
    }
}

impl From<m::Entry> for w::Entry {
    fn from(e: m::Entry) -> Self {
        Self { header: e.header.into(), header_bytes: e.header_bytes, entry_hash: e.entry_hash.to_vec() }
    }
}

impl TryFrom<w::Entry> for m::Entry {
    type Error = Error;

    fn try_from(e: w::Entry) -> Result<Self> {
        let entry_hash = hash(&e.header.stream_id, e.header.seqno, &e.entry_hash)?;
        Ok(Self { header: e.header.try_into()?, header_bytes: e.header_bytes, entry_hash })
    }
}

impl From<m::QueryPage> for w::QueryPage {
    fn from(p: m::QueryPage) -> Self {
        Self { entries: p.entries.into_iter().map(Into::into).collect(), next: p.next }
    }
}

impl From<m::VerifyReport> for w::VerifyReport {
    fn from(r: m::VerifyReport) -> Self {
        Self {
            stream_id: r.stream_id,
            from_seqno: r.from_seqno,
            to_seqno: r.to_seqno,
            entries_checked: r.entries_checked,
            payloads_checked: r.payloads_checked,
            payloads_erased: r.payloads_erased,
            payloads_elsewhere: r.payloads_elsewhere,
            payloads_not_checked: r.payloads_not_checked,
            segments_matched: r.segments_matched,
            head: r.head.into(),
        }
    }
}

impl From<m::Segment> for w::Segment {
    fn from(s: m::Segment) -> Self {
        Self {
            segment_id: s.segment_id,
            stream_id: s.stream_id,
            first_seqno: s.first_seqno,
            size: s.size,
            root: s.root.to_vec(),
            head_hash: s.head_hash.to_vec(),
            closed_at_ms: s.closed_at_ms,
        }
    }
}

impl From<m::SegmentsReport> for w::SegmentsReport {
    fn from(r: m::SegmentsReport) -> Self {
        Self {
            stream_id: r.stream_id,
            segments_checked: r.segments_checked,
            entries_checked: r.entries_checked,
            entries_uncovered: r.entries_uncovered,
            tiles_checked: r.tiles_checked,
        }
    }
}

impl From<m::InclusionProof> for w::InclusionProof {
    fn from(p: m::InclusionProof) -> Self {
        Self {
            stream_id: p.stream_id,
            seqno: p.seqno,
            leaf_hash: p.leaf_hash.to_vec(),
            tree_size: p.tree_size,
            root: p.root.to_vec(),
            path: paths(p.path),
            segment_id: p.segment_id,
        }
    }
}

impl TryFrom<w::InclusionProof> for m::InclusionProof {
    type Error = Error;

    fn try_from(p: w::InclusionProof) -> Result<Self> {
        Ok(Self {
            leaf_hash: hash_arg("proof.leaf-hash", &p.leaf_hash)?,
            root: hash_arg("proof.root", &p.root)?,
            path: path_arg("proof.path", &p.path)?,
            stream_id: p.stream_id,
            seqno: p.seqno,
            tree_size: p.tree_size,
            segment_id: p.segment_id,
        })
    }
}

impl From<m::ConsistencyProof> for w::ConsistencyProof {
    fn from(p: m::ConsistencyProof) -> Self {
        Self { stream_id: p.stream_id, from_size: p.from_size, to_size: p.to_size, path: paths(p.path) }
    }
}

impl TryFrom<w::ConsistencyProof> for m::ConsistencyProof {
    type Error = Error;

    fn try_from(p: w::ConsistencyProof) -> Result<Self> {
        let path = path_arg("proof.path", &p.path)?;
        Ok(Self { stream_id: p.stream_id, from_size: p.from_size, to_size: p.to_size, path })
    }
}

impl From<m::Checkpoint> for w::Checkpoint {
    fn from(c: m::Checkpoint) -> Self {
        Self { number: c.number, origin: c.origin, size: c.size, root: c.root.to_vec(), note: c.note }
    }
}

impl From<m::CheckpointReport> for w::CheckpointReport {
    fn from(r: m::CheckpointReport) -> Self {
        Self {
            checkpoints: r.checkpoints,
            signatures_verified: r.signatures_verified,
            signatures_unknown: r.signatures_unknown,
            latest: r.latest.into(),
            log_entries: r.log_entries,
            log_entries_unsigned: r.log_entries_unsigned,
            streams: r.streams,
            segments: r.segments,
            entries_covered: r.entries_covered,
            entries_uncovered: r.entries_uncovered,
        }
    }
}

impl From<m::EntryProof> for w::EntryProof {
    fn from(p: m::EntryProof) -> Self {
        Self {
            header_bytes: p.header_bytes,
            inclusion: p.inclusion.into(),
            segment_header: p.segment_header,
            segment_payload: p.segment_payload,
            log_path: paths(p.log_path),
            checkpoint: p.checkpoint,
        }
    }
}

impl TryFrom<w::EntryProof> for m::EntryProof {
    type Error = Error;

    fn try_from(p: w::EntryProof) -> Result<Self> {
        Ok(Self {
            header_bytes: p.header_bytes,
            inclusion: p.inclusion.try_into()?,
            segment_header: p.segment_header,
            segment_payload: p.segment_payload,
            log_path: path_arg("proof.log-path", &p.log_path)?,
            checkpoint: p.checkpoint,
        })
    }
}

/// The types of `store` exist twice, once as an import (core) and once as an export (stores).
macro_rules! store_types {
    ($w:ident) => {
        impl From<ObjectKind> for $w::ObjectKind {
            fn from(kind: ObjectKind) -> Self {
                match kind {
                    ObjectKind::Stream => Self::Stream,
                    ObjectKind::Frozen => Self::Frozen,
                    ObjectKind::Segment => Self::Segment,
                    ObjectKind::Checkpoint => Self::Checkpoint,
                    ObjectKind::Receipt => Self::Receipt,
                    ObjectKind::State => Self::State,
                }
            }
        }

        impl From<$w::ObjectKind> for ObjectKind {
            fn from(kind: $w::ObjectKind) -> Self {
                match kind {
                    $w::ObjectKind::Stream => Self::Stream,
                    $w::ObjectKind::Frozen => Self::Frozen,
                    $w::ObjectKind::Segment => Self::Segment,
                    $w::ObjectKind::Checkpoint => Self::Checkpoint,
                    $w::ObjectKind::Receipt => Self::Receipt,
                    $w::ObjectKind::State => Self::State,
                }
            }
        }

        impl From<Object> for $w::Object {
            fn from(o: Object) -> Self {
                Self { kind: o.kind.into(), key: o.key, value: o.value }
            }
        }

        impl From<$w::Object> for Object {
            fn from(o: $w::Object) -> Self {
                Self { kind: o.kind.into(), key: o.key, value: o.value }
            }
        }
    };
}

store_types!(imported_store);
store_types!(exported_store);

impl From<&ObjectWrite> for imported_store::ObjectWrite {
    fn from(o: &ObjectWrite) -> Self {
        Self { kind: o.kind.into(), key: o.key.clone(), value: o.value.clone(), expected: o.expected.clone() }
    }
}

impl From<exported_store::ObjectWrite> for ObjectWrite {
    fn from(o: exported_store::ObjectWrite) -> Self {
        Self { kind: o.kind.into(), key: o.key, value: o.value, expected: o.expected }
    }
}

impl From<&Tile> for imported_store::Tile {
    fn from(t: &Tile) -> Self {
        Self { level: t.level, index: t.index, hashes: t.hashes.clone() }
    }
}

impl From<exported_store::Tile> for Tile {
    fn from(t: exported_store::Tile) -> Self {
        Self { level: t.level, index: t.index, hashes: t.hashes }
    }
}

impl From<&Row> for imported_store::Row {
    fn from(r: &Row) -> Self {
        Self {
            seqno: r.seqno,
            entry_hash: r.entry_hash.to_vec(),
            header: r.header.clone(),
            payload: r.payload.clone(),
            time_ms: r.time_ms,
            severity: r.severity,
            event_type: r.event_type.clone(),
            producer: r.producer.clone(),
            id: r.id.clone(),
        }
    }
}

impl From<Row> for exported_store::Row {
    fn from(r: Row) -> Self {
        Self {
            seqno: r.seqno,
            entry_hash: r.entry_hash.to_vec(),
            header: r.header,
            payload: r.payload,
            time_ms: r.time_ms,
            severity: r.severity,
            event_type: r.event_type,
            producer: r.producer,
            id: r.id,
        }
    }
}

impl From<&StreamAppend> for imported_store::StreamAppend {
    fn from(a: &StreamAppend) -> Self {
        Self {
            stream_id: a.prior.stream_id.clone(),
            prior_seqno: a.prior.seqno,
            prior_hash: a.prior.entry_hash.to_vec(),
            rows: a.rows.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<exported_store::StreamAppend> for StreamAppend {
    type Error = Error;

    fn try_from(a: exported_store::StreamAppend) -> Result<Self> {
        let rows = a.rows.into_iter().map(|r| {
            Ok(Row {
                seqno: r.seqno,
                entry_hash: hash_arg("entry-hash", &r.entry_hash)?,
                header: r.header,
                payload: r.payload,
                time_ms: r.time_ms,
                severity: r.severity,
                event_type: r.event_type,
                producer: r.producer,
                id: r.id,
            })
        });
        Ok(Self {
            rows: rows.collect::<Result<_>>()?,
            prior: m::StreamHead {
                seqno: a.prior_seqno,
                entry_hash: hash_arg("prior-hash", &a.prior_hash)?,
                stream_id: a.stream_id,
            },
        })
    }
}

impl From<core_signer::Algorithm> for Algorithm {
    fn from(algorithm: core_signer::Algorithm) -> Self {
        match algorithm {
            core_signer::Algorithm::Ed25519 => Self::Ed25519,
            core_signer::Algorithm::EcdsaP256 => Self::EcdsaP256,
            core_signer::Algorithm::RsaPssSha256 => Self::RsaPssSha256,
        }
    }
}

impl From<Algorithm> for exported_signer::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Ed25519 => Self::Ed25519,
            Algorithm::EcdsaP256 => Self::EcdsaP256,
            Algorithm::RsaPssSha256 => Self::RsaPssSha256,
        }
    }
}

impl From<core_signer::KeyError> for KeyError {
    fn from(error: core_signer::KeyError) -> Self {
        use core_signer::KeyError as K;
        match error {
            K::KeyNotFound(s) => Self::KeyNotFound(s),
            K::Denied(s) => Self::Denied(s),
            K::Invalid(s) => Self::Invalid(s),
            K::Unavailable(s) => Self::Unavailable(s),
            K::Failed(s) => Self::Failed(s),
        }
    }
}

impl From<KeyError> for exported_signer::KeyError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::KeyNotFound(s) => Self::KeyNotFound(s),
            KeyError::Denied(s) => Self::Denied(s),
            KeyError::Invalid(s) => Self::Invalid(s),
            KeyError::Unavailable(s) => Self::Unavailable(s),
            KeyError::Failed(s) => Self::Failed(s),
        }
    }
}

impl From<core_envelope::EnvelopeError> for EnvelopeError {
    fn from(error: core_envelope::EnvelopeError) -> Self {
        use core_envelope::EnvelopeError as E;
        match error {
            E::KeyNotFound(s) => Self::KeyNotFound(s),
            E::WrongKey(s) => Self::WrongKey(s),
            E::Denied(s) => Self::Denied(s),
            E::Invalid(s) => Self::Invalid(s),
            E::Unavailable(s) => Self::Unavailable(s),
            E::Failed(s) => Self::Failed(s),
        }
    }
}

impl From<EnvelopeError> for exported_envelope::EnvelopeError {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::KeyNotFound(s) => Self::KeyNotFound(s),
            EnvelopeError::WrongKey(s) => Self::WrongKey(s),
            EnvelopeError::Denied(s) => Self::Denied(s),
            EnvelopeError::Invalid(s) => Self::Invalid(s),
            EnvelopeError::Unavailable(s) => Self::Unavailable(s),
            EnvelopeError::Failed(s) => Self::Failed(s),
        }
    }
}
