//! Types of `edgesentry:audit` ⇄ types of the crate `edgesentry-audit`.

use std::borrow::Cow;

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::gate as g;
use edgesentry_audit::record::{HASH_ALG, SIG_ALG};
use edgesentry_audit::{AuditRecord, IngestError, Provenance, SoftwareUpdate, UpdateVerifyError, keys};
use secure_log::Error;

use super::gate_world::edgesentry::audit::types as w;

/// A field of the wrong length.
fn malformed(field: &str, bytes: usize, right: usize) -> IngestError {
    IngestError::Malformed { field: field.to_owned(), reason: format!("has {bytes} bytes, not {right}") }
}

fn fixed<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], IngestError> {
    bytes.try_into().map_err(|_| malformed(field, bytes.len(), N))
}

/// The same where it is an argument of a call.
pub(super) fn fixed_arg<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::invalid(field, format!("has {} bytes, not {N}", bytes.len())))
}

pub(super) fn key_arg(field: &str, bytes: &[u8]) -> Result<VerifyingKey, Error> {
    let bytes = fixed_arg(field, bytes)?;
    keys::verifying_key_from_bytes(&bytes).map_err(|error| Error::invalid(field, error.to_string()))
}

fn algorithm(name: String) -> Cow<'static, str> {
    match name.as_str() {
        HASH_ALG => Cow::Borrowed(HASH_ALG),
        SIG_ALG => Cow::Borrowed(SIG_ALG),
        _ => Cow::Owned(name),
    }
}

impl TryFrom<w::AuditRecord> for AuditRecord {
    type Error = IngestError;

    fn try_from(r: w::AuditRecord) -> Result<Self, IngestError> {
        Ok(Self {
            payload_hash: fixed("payload_hash", &r.payload_hash)?,
            signature: fixed("signature", &r.signature)?,
            prev_record_hash: fixed("prev_record_hash", &r.prev_record_hash)?,
            device_id: r.device_id,
            sequence: r.sequence,
            timestamp_ms: r.timestamp_ms,
            object_ref: r.object_ref,
            provenance: r.provenance.map(|p| Provenance {
                hash_alg: algorithm(p.hash_alg),
                sig_alg: algorithm(p.sig_alg),
                key_id: p.key_id,
                software_version: p.software_version,
            }),
        })
    }
}

impl From<AuditRecord> for w::AuditRecord {
    fn from(r: AuditRecord) -> Self {
        Self {
            device_id: r.device_id,
            sequence: r.sequence,
            timestamp_ms: r.timestamp_ms,
            payload_hash: r.payload_hash.to_vec(),
            signature: r.signature.to_vec(),
            prev_record_hash: r.prev_record_hash.to_vec(),
            object_ref: r.object_ref,
            provenance: r.provenance.map(|p| w::Provenance {
                hash_alg: p.hash_alg.into_owned(),
                sig_alg: p.sig_alg.into_owned(),
                key_id: p.key_id,
                software_version: p.software_version,
            }),
        }
    }
}

impl TryFrom<w::Submission> for g::Submission {
    type Error = IngestError;

    fn try_from(s: w::Submission) -> Result<Self, IngestError> {
        Ok(Self {
            record: s.record.try_into()?,
            payload: s.payload,
            route_identity: s.route_identity,
            source: s.source,
        })
    }
}

impl From<g::Submission> for w::Submission {
    fn from(s: g::Submission) -> Self {
        Self {
            record: s.record.into(),
            payload: s.payload,
            route_identity: s.route_identity,
            source: s.source,
        }
    }
}

impl From<g::Receipt> for w::Receipt {
    fn from(r: g::Receipt) -> Self {
        Self {
            stream_id: r.stream_id,
            seqno: r.seqno,
            entry_hash: r.entry_hash.to_vec(),
            epoch: r.epoch,
            record_hash: r.record_hash.to_vec(),
            registry_seqno: r.registry_seqno,
        }
    }
}

impl TryFrom<w::Receipt> for g::Receipt {
    type Error = Error;

    fn try_from(r: w::Receipt) -> Result<Self, Error> {
        Ok(Self {
            entry_hash: fixed_arg("receipt.entry-hash", &r.entry_hash)?,
            record_hash: fixed_arg("receipt.record-hash", &r.record_hash)?,
            stream_id: r.stream_id,
            seqno: r.seqno,
            epoch: r.epoch,
            registry_seqno: r.registry_seqno,
        })
    }
}

impl From<IngestError> for w::Refusal {
    fn from(error: IngestError) -> Self {
        use IngestError as E;
        match error {
            E::Malformed { field, reason } => Self::Malformed(w::Malformed { field, reason }),
            E::PayloadHashMismatch { .. } => Self::PayloadHashMismatch,
            E::CertDeviceMismatch { cert_identity, .. } => Self::RouteIdentityMismatch(cert_identity),
            E::UnknownDevice(_) => Self::UnknownDevice,
            E::DeviceRevoked(_) => Self::DeviceRevoked,
            E::VersionNotAllowed { version, .. } => Self::VersionNotAllowed(version),
            E::UnknownKey { key_id, .. } => Self::UnknownKey(key_id),
            E::KeyRevoked { key_id, .. } => Self::KeyRevoked(key_id),
            E::KeyOutsideWindow { key_id, not_before_ms, not_after_ms, .. } => {
                Self::KeyOutsideWindow(w::OutsideWindow { key_id, not_before_ms, not_after_ms })
            }
            E::InvalidSignature(_) => Self::InvalidSignature,
            E::Duplicate { .. } => Self::Duplicate,
            E::InvalidSequence { expected, actual, .. } => {
                Self::InvalidSequence(w::SequenceMismatch { expected, actual })
            }
            E::InvalidPrevHash(_) => Self::InvalidPreviousHash,
        }
    }
}

/// A refusal with what it leaves out because the record has it.
fn ingest_error(refusal: w::Refusal, device_id: &str, sequence: u64, timestamp_ms: u64) -> IngestError {
    use IngestError as E;
    use w::Refusal as R;
    let device_id = device_id.to_owned();
    match refusal {
        R::Malformed(w::Malformed { field, reason }) => E::Malformed { field, reason },
        R::PayloadHashMismatch => E::PayloadHashMismatch { device_id, sequence },
        R::RouteIdentityMismatch(cert_identity) => E::CertDeviceMismatch { cert_identity, device_id },
        R::UnknownDevice => E::UnknownDevice(device_id),
        R::DeviceRevoked => E::DeviceRevoked(device_id),
        R::VersionNotAllowed(version) => E::VersionNotAllowed { device_id, version },
        R::UnknownKey(key_id) => E::UnknownKey { device_id, key_id },
        R::KeyRevoked(key_id) => E::KeyRevoked { device_id, key_id },
        R::KeyOutsideWindow(w::OutsideWindow { key_id, not_before_ms, not_after_ms }) => {
            E::KeyOutsideWindow { device_id, key_id, timestamp_ms, not_before_ms, not_after_ms }
        }
        R::InvalidSignature => E::InvalidSignature(device_id),
        R::Duplicate => E::Duplicate { device_id, sequence },
        R::InvalidSequence(w::SequenceMismatch { expected, actual }) => {
            E::InvalidSequence { device_id, expected, actual }
        }
        R::InvalidPreviousHash => E::InvalidPrevHash(device_id),
    }
}

impl From<g::Verdict> for w::Verdict {
    fn from(v: g::Verdict) -> Self {
        Self {
            device_id: v.device_id,
            sequence: v.sequence,
            outcome: match v.outcome {
                g::Outcome::Accepted(receipt) => w::Outcome::Accepted(receipt.into()),
                g::Outcome::Rejected(error) => w::Outcome::Rejected(error.into()),
            },
            already: v.already.map(Into::into),
        }
    }
}

/// The verdict on a record with this time.
pub(super) fn verdict(v: w::Verdict, timestamp_ms: u64) -> Result<g::Verdict, Error> {
    let outcome = match v.outcome {
        w::Outcome::Accepted(receipt) => g::Outcome::Accepted(receipt.try_into()?),
        w::Outcome::Rejected(refusal) => {
            g::Outcome::Rejected(ingest_error(refusal, &v.device_id, v.sequence, timestamp_ms))
        }
    };
    let already = v.already.map(TryInto::try_into).transpose()?;
    Ok(g::Verdict { device_id: v.device_id, sequence: v.sequence, outcome, already })
}

impl From<g::Part> for w::Part {
    fn from(part: g::Part) -> Self {
        match part {
            g::Part::Registry => Self::Registry,
            g::Part::RawDataStore => Self::RawDataStore,
            g::Part::AuditLedger => Self::AuditLedger,
            g::Part::OperationLog => Self::OperationLog,
        }
    }
}

impl From<w::Part> for g::Part {
    fn from(part: w::Part) -> Self {
        match part {
            w::Part::Registry => Self::Registry,
            w::Part::RawDataStore => Self::RawDataStore,
            w::Part::AuditLedger => Self::AuditLedger,
            w::Part::OperationLog => Self::OperationLog,
        }
    }
}

impl From<g::Failure> for w::Failure {
    fn from(failure: g::Failure) -> Self {
        Self { part: failure.part.into(), error: failure.error.into() }
    }
}

impl From<w::Failure> for g::Failure {
    fn from(failure: w::Failure) -> Self {
        Self { part: failure.part.into(), error: failure.error.into() }
    }
}

impl From<g::DeviceKey> for w::DeviceKey {
    fn from(key: g::DeviceKey) -> Self {
        Self {
            key_id: key.key_id,
            public_key: key.public_key.as_bytes().to_vec(),
            not_before_ms: key.not_before_ms,
            not_after_ms: key.not_after_ms,
            revoked: key.revoked,
        }
    }
}

impl From<g::Epoch> for w::Epoch {
    fn from(epoch: g::Epoch) -> Self {
        Self { number: epoch.number, first: epoch.first, anchor: epoch.anchor.to_vec(), opened: epoch.opened }
    }
}

impl From<g::Device> for w::Device {
    fn from(device: g::Device) -> Self {
        Self {
            device_id: device.device_id,
            keys: device.keys.into_iter().map(Into::into).collect(),
            versions: device.versions,
            epochs: device.epochs.into_iter().map(Into::into).collect(),
            revoked: device.revoked,
            registered_at_ms: device.registered_at_ms,
            registry_seqno: device.registry_seqno,
            next_sequence: device.next_sequence,
            next_prev_record_hash: device.next_prev_record_hash.to_vec(),
        }
    }
}

impl TryFrom<w::Registration> for g::Registration {
    type Error = Error;

    fn try_from(r: w::Registration) -> Result<Self, Error> {
        Ok(Self {
            public_key: key_arg("public-key", &r.public_key)?,
            not_before_ms: r.not_before_ms,
            not_after_ms: r.not_after_ms,
            versions: r.versions,
            first: r.first,
            anchor: fixed_arg("anchor", &r.anchor)?,
        })
    }
}

impl From<&g::Registration> for w::Registration {
    fn from(r: &g::Registration) -> Self {
        Self {
            public_key: r.public_key.as_bytes().to_vec(),
            not_before_ms: r.not_before_ms,
            not_after_ms: r.not_after_ms,
            versions: r.versions.clone(),
            first: r.first,
            anchor: r.anchor.to_vec(),
        }
    }
}

impl From<g::Registered> for w::Registered {
    fn from(registered: g::Registered) -> Self {
        match registered {
            g::Registered::Added => Self::Added,
            g::Registered::Already => Self::Already,
            g::Registered::Revoked => Self::Revoked,
        }
    }
}

impl From<w::Registered> for g::Registered {
    fn from(registered: w::Registered) -> Self {
        match registered {
            w::Registered::Added => Self::Added,
            w::Registered::Already => Self::Already,
            w::Registered::Revoked => Self::Revoked,
        }
    }
}

impl From<g::StoredRecord> for w::StoredRecord {
    fn from(stored: g::StoredRecord) -> Self {
        Self {
            receipt: stored.receipt.into(),
            record: stored.record.into(),
            payload: stored.payload,
            received_at_ms: stored.received_at_ms,
        }
    }
}

impl TryFrom<w::SoftwareUpdate> for SoftwareUpdate {
    type Error = w::Malformed;

    fn try_from(update: w::SoftwareUpdate) -> Result<Self, w::Malformed> {
        let wrong = |field: &str, bytes: usize, right: usize| w::Malformed {
            field: field.to_owned(),
            reason: format!("has {bytes} bytes, not {right}"),
        };
        let (hash, signature) = (update.payload_hash, update.signature);
        Ok(Self {
            package_id: update.package_id,
            version: update.version,
            payload_hash: hash.as_slice().try_into().map_err(|_| wrong("payload_hash", hash.len(), 32))?,
            signature: signature
                .as_slice()
                .try_into()
                .map_err(|_| wrong("signature", signature.len(), 64))?,
        })
    }
}

impl From<UpdateVerifyError> for w::UpdateRefusal {
    fn from(error: UpdateVerifyError) -> Self {
        match error {
            UpdateVerifyError::UnknownPublisher { .. } => Self::UnknownPublisher,
            UpdateVerifyError::PayloadHashMismatch { .. } => Self::PayloadHashMismatch,
            UpdateVerifyError::InvalidSignature { .. } => Self::InvalidSignature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AuditRecord {
        AuditRecord {
            device_id: "lift-01".into(),
            sequence: 3,
            timestamp_ms: 7,
            payload_hash: [1; 32],
            signature: [2; 64],
            prev_record_hash: [3; 32],
            object_ref: "lift/3".into(),
            provenance: Some(Provenance {
                hash_alg: HASH_ALG.into(),
                sig_alg: "another".into(),
                key_id: "k".into(),
                software_version: "s".into(),
            }),
        }
    }

    #[test]
    fn records_come_back_as_they_were() {
        for record in [record(), AuditRecord { provenance: None, ..record() }] {
            assert_eq!(AuditRecord::try_from(w::AuditRecord::from(record.clone())), Ok(record));
        }
    }

    #[test]
    fn a_field_of_the_wrong_length_is_named() {
        let mut wrong = w::AuditRecord::from(record());
        wrong.signature.pop();
        assert_eq!(AuditRecord::try_from(wrong), Err(malformed("signature", 63, 64)));
    }

    #[test]
    fn every_refusal_comes_back_as_it_was() {
        let (device_id, key_id) = ("lift-01".to_owned(), "k".to_owned());
        let id = || device_id.clone();
        let key = || key_id.clone();
        let refusals = [
            IngestError::Malformed { field: "f".into(), reason: "r".into() },
            IngestError::PayloadHashMismatch { device_id: id(), sequence: 3 },
            IngestError::CertDeviceMismatch { cert_identity: "other".into(), device_id: id() },
            IngestError::UnknownDevice(id()),
            IngestError::DeviceRevoked(id()),
            IngestError::VersionNotAllowed { device_id: id(), version: 1 },
            IngestError::UnknownKey { device_id: id(), key_id: key() },
            IngestError::KeyRevoked { device_id: id(), key_id: key() },
            IngestError::KeyOutsideWindow {
                device_id: id(),
                key_id: key(),
                timestamp_ms: 7,
                not_before_ms: Some(8),
                not_after_ms: None,
            },
            IngestError::InvalidSignature(id()),
            IngestError::Duplicate { device_id: id(), sequence: 3 },
            IngestError::InvalidSequence { device_id: id(), expected: 4, actual: 3 },
            IngestError::InvalidPrevHash(id()),
        ];
        let receipt = g::Receipt {
            stream_id: "device/lift-01/1".into(),
            seqno: 3,
            entry_hash: [4; 32],
            epoch: 1,
            record_hash: [5; 32],
            registry_seqno: 2,
        };
        let outcomes = refusals.map(g::Outcome::Rejected).into_iter();
        for outcome in outcomes.chain([g::Outcome::Accepted(receipt.clone())]) {
            let given = g::Verdict { device_id: id(), sequence: 3, outcome, already: Some(receipt.clone()) };
            assert_eq!(verdict(given.clone().into(), 7), Ok(given));
        }
    }
}
