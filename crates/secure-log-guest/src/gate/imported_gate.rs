//! The imported gate, for components in front of one.

use edgesentry_audit::gate::{Failure, Part, Registered, Registration, Settings, Submission, Verdict};
use secure_log::Result;

use super::convert::verdict;
use super::endpoint_world::edgesentry::audit::{devices, ingest};
use super::endpoint_world::secure_log::log::log;

/// The gate that is plugged into the component, and the log under it.
pub struct ImportedGate;

impl ImportedGate {
    /// Opens the log.
    pub fn open(config: &str) -> Result<()> {
        Ok(log::open(config)?)
    }

    /// Closes the log.
    pub fn close() -> Result<()> {
        Ok(log::close()?)
    }

    /// Whether the log can be read.
    pub fn check() -> Result<()> {
        log::head("_log").map(drop).map_err(Into::into)
    }

    /// How the gate works from now on.
    pub fn configure(settings: &Settings) -> Result<(), Failure> {
        let settings = ingest::Settings {
            gate_id: settings.gate_id.clone(),
            refusal_interval_ms: settings.refusal_interval_ms,
        };
        Ok(ingest::configure(&settings)?)
    }

    /// Registers a device; see the gate's [`register`](edgesentry_audit::gate::LogGate::register).
    pub fn register(device_id: &str, registration: &Registration) -> Result<Registered, Failure> {
        Ok(devices::register(device_id, &registration.into())?.into())
    }

    /// Judges one record; what is accepted is durable when this returns.
    pub fn submit(submission: Submission) -> Result<Verdict, Failure> {
        let timestamp_ms = submission.record.timestamp_ms;
        let judged = ingest::submit(&submission.into())?;
        verdict(judged, timestamp_ms).map_err(|error| Failure { part: Part::AuditLedger, error })
    }
}
