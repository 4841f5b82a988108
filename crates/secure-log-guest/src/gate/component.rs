//! The gate over the imported log.

use std::cell::RefCell;

use edgesentry_audit::gate::{self as g, Failure, LogGate, Part, Settings};
use edgesentry_audit::{IngestError, SoftwareUpdate};
use secure_log::Error;

use super::ImportedLog;
use super::convert::{fixed_arg, key_arg};
use super::gate_world::edgesentry::audit::types as w;
use super::gate_world::exports::edgesentry::audit::{devices, ingest, update};

/// The exports of the gate component.
pub struct GateComponent;

type Gate = LogGate<ImportedLog>;

thread_local! {
    // Its state is what is stored. What it remembers of a log that was closed and opened again, or of another one that
    // was opened instead, it compares with the store before it refuses, and expects of the store when it accepts.
    static GATE: RefCell<Option<Gate>> = const { RefCell::new(None) };
}

/// Runs `f` on the gate; an error of its arguments is one of `part`.
fn run<R>(part: Part, f: impl FnOnce(&mut Gate) -> Result<R, Stopped>) -> Result<R, w::Failure> {
    let fail = |error| Failure { part, error };
    let done = GATE.with(|slot| {
        let mut slot = slot
            .try_borrow_mut()
            .map_err(|_| fail(Error::Busy("the gate is in the middle of another call".into())))?;
        let gate = match &mut *slot {
            Some(gate) => gate,
            None => slot.insert(Gate::new(ImportedLog, Settings::default()).map_err(fail)?),
        };
        f(gate).map_err(|stopped| match stopped {
            Stopped::Argument(error) => fail(error),
            Stopped::Gate(failure) => failure,
        })
    });
    done.map_err(Into::into)
}

/// Why a call ended.
enum Stopped {
    Argument(Error),
    Gate(Failure),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Argument(error)
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Gate(failure)
    }
}

impl devices::Guest for GateComponent {
    fn register(device_id: String, registration: w::Registration) -> Result<w::Registered, w::Failure> {
        run(Part::Registry, |gate| {
            let registration = g::Registration::try_from(registration)?;
            Ok(gate.register(&device_id, &registration)?.into())
        })
    }

    fn add_key(
        device_id: String,
        public_key: Vec<u8>,
        not_before_ms: Option<u64>,
        not_after_ms: Option<u64>,
    ) -> Result<w::DeviceKey, w::Failure> {
        run(Part::Registry, |gate| {
            let key = key_arg("public-key", &public_key)?;
            Ok(gate.add_key(&device_id, &key, not_before_ms, not_after_ms)?.into())
        })
    }

    fn revoke_key(device_id: String, key_id: String) -> Result<(), w::Failure> {
        run(Part::Registry, |gate| Ok(gate.revoke_key(&device_id, &key_id)?))
    }

    fn revoke_device(device_id: String) -> Result<(), w::Failure> {
        run(Part::Registry, |gate| Ok(gate.revoke_device(&device_id)?))
    }

    fn allow_versions(device_id: String, versions: Vec<u8>) -> Result<(), w::Failure> {
        run(Part::Registry, |gate| Ok(gate.allow_versions(&device_id, &versions)?))
    }

    fn open_epoch(device_id: String, first: u64, anchor: Vec<u8>) -> Result<w::Device, w::Failure> {
        run(Part::Registry, |gate| {
            let anchor = fixed_arg("anchor", &anchor)?;
            Ok(gate.open_epoch(&device_id, first, &anchor)?.into())
        })
    }

    fn get(device_id: String) -> Result<Option<w::Device>, w::Failure> {
        run(Part::Registry, |gate| Ok(gate.get(&device_id)?.map(Into::into)))
    }

    fn list_ids(skip: u64, limit: u32) -> Result<Vec<String>, w::Failure> {
        run(Part::Registry, |gate| Ok(gate.list_ids(skip, limit)?))
    }
}

/// A submission, or the verdict on one whose fields have lengths that no record has: nothing of it can be judged, so
/// nothing of it is logged either.
fn readable(submission: w::Submission) -> Result<g::Submission, Box<w::Verdict>> {
    let (device_id, sequence) = (submission.record.device_id.clone(), submission.record.sequence);
    submission.try_into().map_err(|error: IngestError| {
        let outcome = w::Outcome::Rejected(error.into());
        Box::new(w::Verdict { device_id, sequence, outcome, already: None })
    })
}

impl ingest::Guest for GateComponent {
    fn configure(settings: ingest::Settings) -> Result<(), w::Failure> {
        let ingest::Settings { gate_id, refusal_interval_ms } = settings;
        run(Part::OperationLog, |gate| Ok(gate.configure(Settings { gate_id, refusal_interval_ms })?))
    }

    fn submit(submission: w::Submission) -> Result<w::Verdict, w::Failure> {
        let submission = match readable(submission) {
            Ok(submission) => submission,
            Err(verdict) => return Ok(*verdict),
        };
        run(Part::AuditLedger, |gate| Ok(gate.submit(&submission)?.into()))
    }

    fn submit_batch(submissions: Vec<w::Submission>) -> Result<Vec<w::Verdict>, w::Failure> {
        let mut unreadable = Vec::new();
        let mut readable_ones = Vec::with_capacity(submissions.len());
        for (at, submission) in submissions.into_iter().enumerate() {
            match readable(submission) {
                Ok(submission) => readable_ones.push(submission),
                Err(verdict) => unreadable.push((at, verdict)),
            }
        }
        let judged = run(Part::AuditLedger, |gate| Ok(gate.submit_batch(&readable_ones)?))?;
        let mut verdicts: Vec<w::Verdict> = judged.into_iter().map(Into::into).collect();
        for (at, verdict) in unreadable {
            verdicts.insert(at, *verdict);
        }
        Ok(verdicts)
    }

    fn flush() -> Result<(), w::Failure> {
        run(Part::OperationLog, |gate| Ok(gate.flush()?))
    }

    fn read_record(device_id: String, epoch: u64, sequence: u64) -> Result<w::StoredRecord, w::Failure> {
        run(Part::AuditLedger, |gate| Ok(gate.read_record(&device_id, epoch, sequence)?.into()))
    }
}

impl update::Guest for GateComponent {
    fn register_publisher(publisher_id: String, public_key: Vec<u8>) -> Result<(), w::Failure> {
        run(Part::Registry, |gate| {
            let key = key_arg("public-key", &public_key)?;
            Ok(gate.register_publisher(&publisher_id, &key)?)
        })
    }

    fn revoke_publisher_key(publisher_id: String, key_id: String) -> Result<(), w::Failure> {
        run(Part::Registry, |gate| Ok(gate.revoke_publisher_key(&publisher_id, &key_id)?))
    }

    fn verify(
        update: w::SoftwareUpdate,
        payload: Vec<u8>,
        publisher_id: String,
    ) -> Result<update::UpdateOutcome, w::Failure> {
        use update::UpdateOutcome as U;
        let update = match SoftwareUpdate::try_from(update) {
            Ok(update) => update,
            // Not a package that could be judged, so none that is logged.
            Err(malformed) => return Ok(U::Rejected(w::UpdateRefusal::Malformed(malformed))),
        };
        run(Part::OperationLog, |gate| {
            Ok(match gate.verify_update(&update, &payload, &publisher_id)? {
                g::UpdateOutcome::Accepted(key_id) => U::Accepted(key_id),
                g::UpdateOutcome::Rejected(error) => U::Rejected(error.into()),
            })
        })
    }
}
