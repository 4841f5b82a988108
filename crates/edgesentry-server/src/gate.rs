//! What a server needs of a gate: the seam to whoever owns the store.

use std::future::Future;
use std::pin::Pin;

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::Hash32;
use edgesentry_audit::gate::{Device, DeviceKey, Failure, Registered, Registration, Submission, Verdict};
use secure_log::model::{Checkpoint, Segment};

/// A future that can be kept in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a gate gave no answer. Nothing was accepted, except where `Failed` says that the outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// A part of it failed.
    #[error(transparent)]
    Failed(Failure),
    /// Too much waits to be stored: try again in a moment.
    #[error("the gate is busy: too many records wait to be stored")]
    Busy,
    /// It was closed: try another server, or later.
    #[error("the gate is closed")]
    Stopped,
}

/// What closing segments gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closed {
    /// A segment for each stream that had new entries.
    pub segments: Vec<Segment>,
    /// The checkpoint over them, where the gate has a key to sign with.
    pub checkpoint: Option<Checkpoint>,
}

/// What a gate says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Name of the log.
    pub origin: Option<String>,
    /// Registered devices.
    pub devices: u64,
    /// Submissions that wait to be stored.
    pub waiting: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
}

/// A gate, and who owns the store behind it. Calls may come from many tasks at once; each future does its work even
/// if it is not polled to its end, or does nothing.
pub trait Gate: Send + Sync + 'static {
    /// Whether it emits the log events of [`edgesentry_audit::gate::events`] itself, as a
    /// [`LogGate`](edgesentry_audit::gate::LogGate) does in this process and cannot in a component.
    fn emits_events(&self) -> bool {
        false
    }

    /// Judges one record; what is accepted is durable when this returns.
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Verdict, GateError>>;
    /// Writes the entries of refusals that were counted and not yet written.
    fn flush(&self) -> BoxFuture<'_, Result<(), GateError>>;
    /// Whether the store can be reached.
    fn health(&self) -> BoxFuture<'_, Result<(), GateError>>;

    /// Registers a device with its first key.
    fn register(
        &self,
        device_id: String,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, GateError>>;
    /// Adds a key; valid from and until these record times, ms.
    fn add_key(
        &self,
        device_id: String,
        public_key: VerifyingKey,
        not_before_ms: Option<u64>,
        not_after_ms: Option<u64>,
    ) -> BoxFuture<'_, Result<DeviceKey, GateError>>;
    /// From this moment on nothing that the key signed is accepted.
    fn revoke_key(&self, device_id: String, key_id: String) -> BoxFuture<'_, Result<(), GateError>>;
    /// Takes a device out of service.
    fn revoke_device(&self, device_id: String) -> BoxFuture<'_, Result<(), GateError>>;
    /// Sets which record versions the device may send.
    fn allow_versions(&self, device_id: String, versions: Vec<u8>) -> BoxFuture<'_, Result<(), GateError>>;
    /// Opens an epoch: the device's next record has the number `first` and `anchor` as its previous hash.
    fn open_epoch(
        &self,
        device_id: String,
        first: u64,
        anchor: Hash32,
    ) -> BoxFuture<'_, Result<Device, GateError>>;
    /// One device.
    fn get(&self, device_id: String) -> BoxFuture<'_, Result<Option<Device>, GateError>>;
    /// Ids of registered devices, in the order of their registration, after the first `skip`.
    fn list_ids(&self, skip: u64, limit: u32) -> BoxFuture<'_, Result<Vec<String>, GateError>>;

    /// Closes a segment in every stream that has new entries, and signs a checkpoint over them.
    fn close_segments(&self) -> BoxFuture<'_, Result<Closed, GateError>>;
    /// Makes a consistent copy of the store at `config`.
    fn backup(&self, config: String) -> BoxFuture<'_, Result<(), GateError>>;
    /// What it says about itself.
    fn stats(&self) -> BoxFuture<'_, Result<Stats, GateError>>;
}
