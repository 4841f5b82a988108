//! The exports of an ingest gate, with the types of [`edgesentry_audit::gate`].

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::SoftwareUpdate;
use edgesentry_audit::gate::{
    Device, DeviceKey, Part, Registered, Registration, Settings, StoredRecord, Submission, UpdateOutcome,
    Verdict,
};

use crate::bindings::gate::GateExports;
use crate::bindings::gate::edgesentry::audit::types as w;
use crate::bindings::gate::exports::edgesentry::audit::ingest as wi;
use crate::convert;
use crate::failure::{Failure, Result};
use crate::guest::State;
use crate::hosted::Hosted;

type Answer<T> = wasmtime::Result<std::result::Result<T, w::Failure>>;

impl Hosted {
    /// Whether it has a gate: without one, each method below gives [`Failure::NotExported`].
    pub fn has_gate(&self) -> bool {
        self.gate.is_some()
    }

    /// Calls the gate and reads its answer; an answer that cannot be what it should be fails `part`.
    fn gate<T, U>(
        &mut self,
        part: Part,
        call: impl FnOnce(&GateExports, &mut wasmtime::Store<State>) -> Answer<T>,
        read: impl FnOnce(T) -> secure_log::Result<U>,
    ) -> Result<U> {
        self.begin();
        let gate = self.gate.as_ref().ok_or(Failure::NotExported("ingest gate (edgesentry:audit)"))?;
        match call(gate, &mut self.store) {
            Ok(Ok(answer)) => {
                read(answer).map_err(|error| Failure::Gate(edgesentry_audit::gate::Failure { part, error }))
            }
            Ok(Err(failure)) => Err(Failure::Gate(failure.into())),
            Err(trap) => Err(self.died(trap)),
        }
    }

    /// `ingest.configure`.
    pub fn configure(&mut self, settings: &Settings) -> Result<()> {
        let settings =
            wi::Settings { gate_id: &settings.gate_id, refusal_interval_ms: settings.refusal_interval_ms };
        self.gate(
            Part::OperationLog,
            |gate, store| gate.edgesentry_audit_ingest().call_configure(store, settings),
            Ok,
        )
    }

    /// `ingest.submit`.
    pub fn submit(&mut self, submission: &Submission) -> Result<Verdict> {
        self.gate(
            Part::AuditLedger,
            |gate, store| gate.edgesentry_audit_ingest().call_submit(store, convert::submission(submission)),
            |verdict| convert::verdict(verdict, submission.record.timestamp_ms),
        )
    }

    /// `ingest.submit-batch`. One verdict for each submission, in their order.
    pub fn submit_batch(&mut self, submissions: &[Submission]) -> Result<Vec<Verdict>> {
        let lowered: Vec<w::Submission<'_>> = submissions.iter().map(convert::submission).collect();
        self.gate(
            Part::AuditLedger,
            |gate, store| gate.edgesentry_audit_ingest().call_submit_batch(store, &lowered),
            |verdicts| {
                let (given, asked) = (verdicts.len(), submissions.len());
                if given != asked {
                    let reason = format!("the component gave {given} verdicts on {asked} records");
                    return Err(secure_log::Error::corrupt("", 0, reason));
                }
                let times = submissions.iter().map(|s| s.record.timestamp_ms);
                verdicts.into_iter().zip(times).map(|(v, time)| convert::verdict(v, time)).collect()
            },
        )
    }

    /// `ingest.flush`.
    pub fn flush(&mut self) -> Result<()> {
        self.gate(Part::OperationLog, |gate, store| gate.edgesentry_audit_ingest().call_flush(store), Ok)
    }

    /// `ingest.read-record`.
    pub fn read_record(&mut self, device_id: &str, epoch: u64, sequence: u64) -> Result<StoredRecord> {
        self.gate(
            Part::AuditLedger,
            |gate, store| gate.edgesentry_audit_ingest().call_read_record(store, device_id, epoch, sequence),
            convert::stored_record,
        )
    }

    /// `devices.register`.
    pub fn register_device(&mut self, device_id: &str, registration: &Registration) -> Result<Registered> {
        self.gate(
            Part::Registry,
            |gate, store| {
                let registration = convert::registration(registration);
                gate.edgesentry_audit_devices().call_register(store, device_id, registration)
            },
            |registered| Ok(registered.into()),
        )
    }

    /// `devices.add-key`. Times are record times, ms: from inclusive, to exclusive.
    pub fn add_device_key(
        &mut self,
        device_id: &str,
        public_key: &VerifyingKey,
        not_before_ms: Option<u64>,
        not_after_ms: Option<u64>,
    ) -> Result<DeviceKey> {
        self.gate(
            Part::Registry,
            |gate, store| {
                let devices = gate.edgesentry_audit_devices();
                devices.call_add_key(store, device_id, public_key.as_bytes(), not_before_ms, not_after_ms)
            },
            convert::device_key,
        )
    }

    /// `devices.revoke-key`.
    pub fn revoke_device_key(&mut self, device_id: &str, key_id: &str) -> Result<()> {
        self.gate(
            Part::Registry,
            |gate, store| gate.edgesentry_audit_devices().call_revoke_key(store, device_id, key_id),
            Ok,
        )
    }

    /// `devices.revoke-device`.
    pub fn revoke_device(&mut self, device_id: &str) -> Result<()> {
        self.gate(
            Part::Registry,
            |gate, store| gate.edgesentry_audit_devices().call_revoke_device(store, device_id),
            Ok,
        )
    }

    /// `devices.allow-versions`.
    pub fn allow_versions(&mut self, device_id: &str, versions: &[u8]) -> Result<()> {
        self.gate(
            Part::Registry,
            |gate, store| gate.edgesentry_audit_devices().call_allow_versions(store, device_id, versions),
            Ok,
        )
    }

    /// `devices.open-epoch`.
    pub fn open_epoch(&mut self, device_id: &str, first: u64, anchor: &[u8; 32]) -> Result<Device> {
        self.gate(
            Part::Registry,
            |gate, store| gate.edgesentry_audit_devices().call_open_epoch(store, device_id, first, anchor),
            convert::device,
        )
    }

    /// `devices.get`.
    pub fn device(&mut self, device_id: &str) -> Result<Option<Device>> {
        self.gate(
            Part::Registry,
            |gate, store| gate.edgesentry_audit_devices().call_get(store, device_id),
            |device| device.map(convert::device).transpose(),
        )
    }

    /// `devices.list-ids`: registered devices in the order of their registration, after the first `skip`.
    pub fn device_ids(&mut self, skip: u64, limit: u32) -> Result<Vec<String>> {
        self.gate(
            Part::Registry,
            |gate, store| gate.edgesentry_audit_devices().call_list_ids(store, skip, limit),
            Ok,
        )
    }

    /// `update.register-publisher`.
    pub fn register_publisher(&mut self, publisher_id: &str, public_key: &VerifyingKey) -> Result<()> {
        self.gate(
            Part::Registry,
            |gate, store| {
                let update = gate.edgesentry_audit_update();
                update.call_register_publisher(store, publisher_id, public_key.as_bytes())
            },
            Ok,
        )
    }

    /// `update.revoke-publisher-key`.
    pub fn revoke_publisher_key(&mut self, publisher_id: &str, key_id: &str) -> Result<()> {
        self.gate(
            Part::Registry,
            |gate, store| {
                gate.edgesentry_audit_update().call_revoke_publisher_key(store, publisher_id, key_id)
            },
            Ok,
        )
    }

    /// `update.verify`: checks a package, its bytes in `payload`, before it is installed.
    pub fn verify_update(
        &mut self,
        update: &SoftwareUpdate,
        payload: &[u8],
        publisher_id: &str,
    ) -> Result<UpdateOutcome> {
        self.gate(
            Part::Registry,
            |gate, store| {
                let update = convert::software_update(update);
                gate.edgesentry_audit_update().call_verify(store, update, payload, publisher_id)
            },
            |outcome| convert::update_outcome(outcome, update, publisher_id),
        )
    }
}
