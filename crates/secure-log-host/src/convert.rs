//! WIT types ⇄ the types of `secure-log` and `edgesentry-audit`, for the gate's calls.

use std::borrow::Cow;

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::gate as m;
use edgesentry_audit::record::{HASH_ALG, SIG_ALG};
use edgesentry_audit::{AuditRecord, IngestError, Provenance, SoftwareUpdate, UpdateVerifyError};
use secure_log::Error;
use secure_log::error::{
    Conflict, Corruption, InvalidArgument, KeyProblem, Missing, Rollback, SealedPayload,
};
use secure_log::model::StreamHead;

use crate::bindings::core::secure_log::log::types::{self, LogError};
use crate::bindings::gate::edgesentry::audit::types as w;
use crate::bindings::gate::exports::edgesentry::audit::update::UpdateOutcome;

type Result<T, E = Error> = std::result::Result<T, E>;

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Conflict(c) => {
                // A head that is malformed tells nothing; the caller re-reads it anyway.
                let actual = c.actual.and_then(|h| {
                    let entry_hash = h.entry_hash.try_into().ok()?;
                    Some(StreamHead { stream_id: h.stream_id, seqno: h.seqno, entry_hash })
                });
                Self::Conflict(Conflict { stream_id: c.stream_id, actual, reason: c.reason })
            }
            LogError::NotFound(e) => {
                Self::NotFound(Missing { what: e.what, name: e.name, number: e.number, reason: e.reason })
            }
            LogError::Corrupt(c) => {
                Self::Corrupt(Corruption { stream_id: c.stream_id, seqno: c.seqno, reason: c.reason })
            }
            LogError::RolledBack(r) => Self::RolledBack(Box::new(Rollback {
                claimed_size: r.claimed_size,
                claimed_root: r.claimed_root.try_into().unwrap_or_default(),
                size: r.size,
                root: r.root.try_into().unwrap_or_default(),
                reason: r.reason,
            })),
            LogError::Busy(s) => Self::Busy(s),
            LogError::Denied(s) => Self::Denied(s),
            LogError::Invalid(i) => Self::Invalid(InvalidArgument { field: i.field, reason: i.reason }),
            LogError::Sealed(s) => Self::Sealed(Box::new(SealedPayload {
                stream_id: s.stream_id,
                seqno: s.seqno,
                key: s.key,
                problem: match s.problem {
                    types::KeyProblem::Lost => KeyProblem::Lost,
                    types::KeyProblem::Wrong => KeyProblem::Wrong,
                    types::KeyProblem::Rotated => KeyProblem::Rotated,
                    types::KeyProblem::Destroyed => KeyProblem::Destroyed,
                },
                reason: s.reason,
            })),
            LogError::Unavailable(s) => Self::Unavailable(s),
            LogError::Storage(s) => Self::Storage(s),
        }
    }
}

impl From<w::Part> for m::Part {
    fn from(part: w::Part) -> Self {
        match part {
            w::Part::Registry => Self::Registry,
            w::Part::RawDataStore => Self::RawDataStore,
            w::Part::AuditLedger => Self::AuditLedger,
            w::Part::OperationLog => Self::OperationLog,
        }
    }
}

impl From<w::Failure> for m::Failure {
    fn from(failure: w::Failure) -> Self {
        Self { part: failure.part.into(), error: failure.error.into() }
    }
}

/// Bytes that an answer must have: `what` is of the wrong length otherwise.
fn bytes<const N: usize>(what: &str, bytes: Vec<u8>) -> Result<[u8; N]> {
    let length = bytes.len();
    bytes.try_into().map_err(|_| {
        Error::corrupt("", 0, format!("the component answered with a {what} of {length} bytes, not {N}"))
    })
}

fn key(what: &str, key: Vec<u8>) -> Result<VerifyingKey> {
    VerifyingKey::from_bytes(&bytes(what, key)?)
        .map_err(|_| Error::corrupt("", 0, format!("the component answered with a {what} that is no key")))
}

/// An algorithm's name, without an allocation for those that exist.
fn name(text: String) -> Cow<'static, str> {
    match text.as_str() {
        HASH_ALG => Cow::Borrowed(HASH_ALG),
        SIG_ALG => Cow::Borrowed(SIG_ALG),
        _ => Cow::Owned(text),
    }
}

fn borrowed(record: &AuditRecord) -> w::AuditRecordParam<'_> {
    w::AuditRecordParam {
        device_id: &record.device_id,
        sequence: record.sequence,
        timestamp_ms: record.timestamp_ms,
        payload_hash: &record.payload_hash,
        signature: &record.signature,
        prev_record_hash: &record.prev_record_hash,
        object_ref: &record.object_ref,
        provenance: record.provenance.as_ref().map(|p| w::ProvenanceParam {
            hash_alg: &p.hash_alg,
            sig_alg: &p.sig_alg,
            key_id: &p.key_id,
            software_version: &p.software_version,
        }),
    }
}

fn record(record: w::AuditRecordResult) -> Result<AuditRecord> {
    Ok(AuditRecord {
        device_id: record.device_id,
        sequence: record.sequence,
        timestamp_ms: record.timestamp_ms,
        payload_hash: bytes("payload hash", record.payload_hash)?,
        signature: bytes("signature", record.signature)?,
        prev_record_hash: bytes("record hash", record.prev_record_hash)?,
        object_ref: record.object_ref,
        provenance: record.provenance.map(|p| Provenance {
            hash_alg: name(p.hash_alg),
            sig_alg: name(p.sig_alg),
            key_id: p.key_id,
            software_version: p.software_version,
        }),
    })
}

pub(crate) fn submission(submission: &m::Submission) -> w::Submission<'_> {
    w::Submission {
        record: borrowed(&submission.record),
        payload: &submission.payload,
        route_identity: submission.route_identity.as_deref(),
        source: submission.source.as_deref(),
    }
}

fn receipt(receipt: w::Receipt) -> Result<m::Receipt> {
    Ok(m::Receipt {
        stream_id: receipt.stream_id,
        seqno: receipt.seqno,
        entry_hash: bytes("entry hash", receipt.entry_hash)?,
        epoch: receipt.epoch,
        record_hash: bytes("record hash", receipt.record_hash)?,
        registry_seqno: receipt.registry_seqno,
    })
}

/// The component's answer about a record with this time.
pub(crate) fn verdict(verdict: w::Verdict, timestamp_ms: u64) -> Result<m::Verdict> {
    let outcome = match verdict.outcome {
        w::Outcome::Accepted(r) => m::Outcome::Accepted(receipt(r)?),
        w::Outcome::Rejected(refusal) => {
            m::Outcome::Rejected(refused(refusal, &verdict.device_id, verdict.sequence, timestamp_ms))
        }
    };
    let already = verdict.already.map(receipt).transpose()?;
    Ok(m::Verdict { device_id: verdict.device_id, sequence: verdict.sequence, outcome, already })
}

/// A refusal with the names of what it is about.
fn refused(refusal: w::Refusal, device: &str, sequence: u64, timestamp_ms: u64) -> IngestError {
    use w::Refusal as R;
    let device_id = device.to_owned();
    match refusal {
        R::Malformed(m) => IngestError::Malformed { field: m.field, reason: m.reason },
        R::PayloadHashMismatch => IngestError::PayloadHashMismatch { device_id, sequence },
        R::RouteIdentityMismatch(sender) => {
            IngestError::CertDeviceMismatch { cert_identity: sender, device_id }
        }
        R::UnknownDevice => IngestError::UnknownDevice(device_id),
        R::DeviceRevoked => IngestError::DeviceRevoked(device_id),
        R::VersionNotAllowed(version) => IngestError::VersionNotAllowed { device_id, version },
        R::UnknownKey(key_id) => IngestError::UnknownKey { device_id, key_id },
        R::KeyRevoked(key_id) => IngestError::KeyRevoked { device_id, key_id },
        R::KeyOutsideWindow(window) => IngestError::KeyOutsideWindow {
            device_id,
            key_id: window.key_id,
            timestamp_ms,
            not_before_ms: window.not_before_ms,
            not_after_ms: window.not_after_ms,
        },
        R::InvalidSignature => IngestError::InvalidSignature(device_id),
        R::Duplicate => IngestError::Duplicate { device_id, sequence },
        R::InvalidSequence(s) => {
            IngestError::InvalidSequence { device_id, expected: s.expected, actual: s.actual }
        }
        R::InvalidPreviousHash => IngestError::InvalidPrevHash(device_id),
    }
}

pub(crate) fn stored_record(stored: w::StoredRecord) -> Result<m::StoredRecord> {
    Ok(m::StoredRecord {
        receipt: receipt(stored.receipt)?,
        record: record(stored.record)?,
        payload: stored.payload,
        received_at_ms: stored.received_at_ms,
    })
}

pub(crate) fn device_key(k: w::DeviceKey) -> Result<m::DeviceKey> {
    Ok(m::DeviceKey {
        key_id: k.key_id,
        public_key: key("public key", k.public_key)?,
        not_before_ms: k.not_before_ms,
        not_after_ms: k.not_after_ms,
        revoked: k.revoked,
    })
}

pub(crate) fn device(device: w::Device) -> Result<m::Device> {
    let epoch = |e: w::Epoch| {
        Ok(m::Epoch {
            number: e.number,
            first: e.first,
            anchor: bytes("anchor", e.anchor)?,
            opened: e.opened,
        })
    };
    Ok(m::Device {
        device_id: device.device_id,
        keys: device.keys.into_iter().map(device_key).collect::<Result<_>>()?,
        versions: device.versions,
        epochs: device.epochs.into_iter().map(epoch).collect::<Result<_>>()?,
        revoked: device.revoked,
        registered_at_ms: device.registered_at_ms,
        registry_seqno: device.registry_seqno,
        next_sequence: device.next_sequence,
        next_prev_record_hash: bytes("record hash", device.next_prev_record_hash)?,
    })
}

pub(crate) fn registration(registration: &m::Registration) -> w::Registration<'_> {
    w::Registration {
        public_key: registration.public_key.as_bytes(),
        not_before_ms: registration.not_before_ms,
        not_after_ms: registration.not_after_ms,
        versions: &registration.versions,
        first: registration.first,
        anchor: &registration.anchor,
    }
}

impl From<w::Registered> for m::Registered {
    fn from(registered: w::Registered) -> Self {
        match registered {
            w::Registered::Added => Self::Added,
            w::Registered::Already => Self::Already,
            w::Registered::Revoked => Self::Revoked,
        }
    }
}

pub(crate) fn software_update(update: &SoftwareUpdate) -> w::SoftwareUpdate<'_> {
    w::SoftwareUpdate {
        package_id: &update.package_id,
        version: &update.version,
        payload_hash: &update.payload_hash,
        signature: &update.signature,
    }
}

/// The component's answer about this package.
pub(crate) fn update_outcome(
    outcome: UpdateOutcome,
    update: &SoftwareUpdate,
    publisher_id: &str,
) -> Result<m::UpdateOutcome> {
    let (package_id, version) = (update.package_id.clone(), update.version.clone());
    let publisher_id = publisher_id.to_owned();
    let error = match outcome {
        UpdateOutcome::Accepted(key_id) => return Ok(m::UpdateOutcome::Accepted(key_id)),
        UpdateOutcome::Rejected(w::UpdateRefusal::Malformed(m)) => {
            return Err(Error::invalid(m.field, m.reason));
        }
        UpdateOutcome::Rejected(w::UpdateRefusal::UnknownPublisher) => {
            UpdateVerifyError::UnknownPublisher { publisher_id }
        }
        UpdateOutcome::Rejected(w::UpdateRefusal::PayloadHashMismatch) => {
            UpdateVerifyError::PayloadHashMismatch { package_id, version }
        }
        UpdateOutcome::Rejected(w::UpdateRefusal::InvalidSignature) => {
            UpdateVerifyError::InvalidSignature { package_id, version, publisher_id }
        }
    };
    Ok(m::UpdateOutcome::Rejected(error))
}
