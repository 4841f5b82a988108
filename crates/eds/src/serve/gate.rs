//! The owner of a log as the gate of a server.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::Hash32;
use edgesentry_audit::gate::{
    Device, DeviceKey, Failure, Part, Registered, Registration, Submission, Verdict,
};
use edgesentry_server::{BoxFuture, Closed, Gate, GateError, Stats};
use secure_log::Error;
use secure_log::model;
use secure_log_host::{Answer, Hosted, LogOwner, OwnerError, Sealed, failure, types};

/// Ids that are counted at a time.
const PAGE: u32 = 1_000;

/// A gate over a log that a thread of its own has open.
pub(crate) struct OwnerGate {
    owner: LogOwner,
    /// The key that signs checkpoints.
    identity: Option<String>,
    /// The directories that the component can write copies to.
    copies: Vec<PathBuf>,
    /// Devices that were counted: none ever goes away.
    devices: AtomicU64,
}

impl OwnerGate {
    pub fn new(owner: LogOwner, identity: Option<String>, copies: Vec<PathBuf>) -> Self {
        Self { owner, identity, copies, devices: AtomicU64::new(0) }
    }

    fn call<T: Send + 'static>(
        &self,
        part: Part,
        work: impl FnOnce(&mut Hosted) -> failure::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, GateError>> {
        answer(part, self.owner.call(work))
    }

    /// The same for what only reads: it leaves nothing to seal.
    fn read<T: Send + 'static>(
        &self,
        part: Part,
        work: impl FnOnce(&mut Hosted) -> failure::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, GateError>> {
        answer(part, self.owner.read(work))
    }
}

fn answer<'a, T: Send + 'static>(part: Part, answer: Answer<T>) -> BoxFuture<'a, Result<T, GateError>> {
    Box::pin(async move { answer.await.map_err(|error| gate_error(part, error)) })
}

/// What an owner says, as a server understands it. `part` is what the call was about.
pub(crate) fn gate_error(part: Part, error: OwnerError) -> GateError {
    let failed = |error| GateError::Failed(Failure { part, error });
    match error {
        OwnerError::Busy => GateError::Busy,
        OwnerError::Closed => GateError::Stopped,
        OwnerError::Unavailable(text) => failed(Error::Unavailable(text)),
        OwnerError::Gate(failure) => GateError::Failed(failure),
        OwnerError::Log(error) => failed(error),
        OwnerError::NotExported(what) => failed(Error::Denied(format!("this component has no {what}"))),
    }
}

/// 32 bytes of the component; of another length they would be wrong in any case.
fn hash(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap_or_default()
}

fn segment(segment: types::Segment) -> model::Segment {
    model::Segment {
        segment_id: segment.segment_id,
        stream_id: segment.stream_id,
        first_seqno: segment.first_seqno,
        size: segment.size,
        root: hash(&segment.root),
        head_hash: hash(&segment.head_hash),
        closed_at_ms: segment.closed_at_ms,
    }
}

/// The same checkpoint as the engine has it.
pub(crate) fn checkpoint(checkpoint: types::Checkpoint) -> model::Checkpoint {
    model::Checkpoint {
        number: checkpoint.number,
        origin: checkpoint.origin,
        size: checkpoint.size,
        root: hash(&checkpoint.root),
        note: checkpoint.note,
    }
}

impl Gate for OwnerGate {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Verdict, GateError>> {
        answer(Part::AuditLedger, self.owner.submit(submission))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(Part::OperationLog, Hosted::flush)
    }

    fn health(&self) -> BoxFuture<'_, Result<(), GateError>> {
        if let Some(reason) = self.owner.down() {
            let error =
                GateError::Failed(Failure { part: Part::AuditLedger, error: Error::Unavailable(reason) });
            return Box::pin(async { Err(error) });
        }
        self.read(Part::AuditLedger, |log| log.head("_log").map(drop))
    }

    fn register(
        &self,
        device_id: String,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, GateError>> {
        self.call(Part::Registry, move |log| log.register_device(&device_id, &registration))
    }

    fn add_key(
        &self,
        device_id: String,
        public_key: VerifyingKey,
        not_before_ms: Option<u64>,
        not_after_ms: Option<u64>,
    ) -> BoxFuture<'_, Result<DeviceKey, GateError>> {
        self.call(Part::Registry, move |log| {
            log.add_device_key(&device_id, &public_key, not_before_ms, not_after_ms)
        })
    }

    fn revoke_key(&self, device_id: String, key_id: String) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(Part::Registry, move |log| log.revoke_device_key(&device_id, &key_id))
    }

    fn revoke_device(&self, device_id: String) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(Part::Registry, move |log| log.revoke_device(&device_id))
    }

    fn allow_versions(&self, device_id: String, versions: Vec<u8>) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(Part::Registry, move |log| log.allow_versions(&device_id, &versions))
    }

    fn open_epoch(
        &self,
        device_id: String,
        first: u64,
        anchor: Hash32,
    ) -> BoxFuture<'_, Result<Device, GateError>> {
        self.call(Part::Registry, move |log| log.open_epoch(&device_id, first, &anchor))
    }

    fn get(&self, device_id: String) -> BoxFuture<'_, Result<Option<Device>, GateError>> {
        self.read(Part::Registry, move |log| log.device(&device_id))
    }

    fn list_ids(&self, skip: u64, limit: u32) -> BoxFuture<'_, Result<Vec<String>, GateError>> {
        self.read(Part::Registry, move |log| log.device_ids(skip, limit))
    }

    fn close_segments(&self) -> BoxFuture<'_, Result<Closed, GateError>> {
        let identity = self.identity.clone();
        let sealed = self.call(Part::AuditLedger, move |log| log.seal(identity.as_deref()));
        Box::pin(async move {
            let Sealed { segments, checkpoint: signed } = sealed.await?;
            Ok(Closed {
                segments: segments.into_iter().map(segment).collect(),
                checkpoint: signed.map(checkpoint),
            })
        })
    }

    fn backup(&self, config: String) -> BoxFuture<'_, Result<(), GateError>> {
        let reachable = self.copies.iter().any(|dir| Path::new(&config).starts_with(dir));
        if !reachable {
            let dirs: Vec<_> = self.copies.iter().map(|dir| dir.display().to_string()).collect();
            let reason = match dirs.as_slice() {
                [] => "this server's store has no copies".to_owned(),
                dirs => format!("this server writes copies below {} only (--backup-dir)", dirs.join(" and ")),
            };
            let error = GateError::Failed(Failure { part: Part::AuditLedger, error: Error::Denied(reason) });
            return Box::pin(async { Err(error) });
        }
        self.call(Part::AuditLedger, move |log| log.backup(&config))
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, GateError>> {
        let known = self.devices.load(Ordering::Relaxed);
        let asked = self.read(Part::Registry, move |log| {
            let mut devices = known;
            loop {
                let more = log.device_ids(devices, PAGE)?.len() as u64;
                devices += more;
                if more == 0 {
                    break;
                }
            }
            Ok((log.origin()?, devices, log.latest_checkpoint()?))
        });
        Box::pin(async move {
            let (origin, devices, latest) = asked.await?;
            self.devices.fetch_max(devices, Ordering::Relaxed);
            let waiting = self.owner.statistics().waiting;
            Ok(Stats { origin, devices, waiting, checkpoint: latest.map(checkpoint) })
        })
    }
}
