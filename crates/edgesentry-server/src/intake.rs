//! The way of every record into the gate, whichever transport it came by: limits, measurements, log events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_audit::gate::{Submission, Verdict, events};
use tracing::Instrument;

use crate::gate::{Gate, GateError};
use crate::metrics::Metrics;
use crate::rate::{Rate, Rates};

/// Why there is no verdict on a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// Its device sends faster than it may.
    #[error("too many records from this device")]
    TooMany,
    /// The gate gave none.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The gate took too long. Whether the record was stored is unknown: sent again, it is stored once.
    #[error("the gate did not answer within {0:?}")]
    Slow(Duration),
}

/// Gives records to a gate.
pub struct Intake {
    gate: Arc<dyn Gate>,
    metrics: Arc<Metrics>,
    devices: Option<Rates>,
    patience: Duration,
}

impl Intake {
    /// Over a gate. `device_rate`: how fast each device of each source may send.
    pub fn new(gate: Arc<dyn Gate>, metrics: Arc<Metrics>, device_rate: Option<Rate>) -> Self {
        Self { gate, metrics, devices: device_rate.map(Rates::new), patience: Duration::from_secs(30) }
    }

    /// Waits so long for the gate (30 s by default).
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The gate behind it.
    pub fn gate(&self) -> &Arc<dyn Gate> {
        &self.gate
    }

    /// What it counts in.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Gives one record to the gate. `request_id` names it in log events.
    pub async fn submit(&self, submission: Submission, request_id: &str) -> Result<Verdict, IntakeError> {
        // Per source too: whoever forges records of a device uses up no quota but its own.
        if let Some(devices) = &self.devices
            && !devices.allow((&submission.source, &submission.record.device_id))
        {
            self.metrics.limited("device");
            return Err(IntakeError::TooMany);
        }
        let span =
            tracing::info_span!(target: events::STORAGE, "ingest", request_id, source = submission.source);
        // What the events say of it: the payload is the gate's alone.
        let record = (!self.gate.emits_events()).then(|| submission.record.clone());
        if let Some(record) = &record {
            span.in_scope(|| events::started(record, submission.payload.len()));
        }
        let begun = Instant::now();
        let asked = self.gate.submit(submission).instrument(span.clone());
        let Ok(outcome) = tokio::time::timeout(self.patience, asked).await else {
            self.metrics.observe(&Err(GateError::Busy), self.patience);
            let error = IntakeError::Slow(self.patience);
            span.in_scope(|| tracing::error!(target: events::STORAGE, %error, "no verdict on the record"));
            return Err(error);
        };
        self.metrics.observe(&outcome, begun.elapsed());
        span.in_scope(|| match (&outcome, &record) {
            (Ok(verdict), Some(record)) => events::verdict(record, verdict),
            (Err(GateError::Failed(failure)), Some(record)) => events::failure(record, failure),
            (Err(error @ (GateError::Busy | GateError::Stopped)), _) => {
                tracing::warn!(target: events::STORAGE, %error, "no verdict on the record");
            }
            _ => {}
        });
        Ok(outcome?)
    }

    /// Forgets the rates of those that are at rest; called every second by a server, and by whoever has none.
    pub fn prune(&self) {
        if let Some(devices) = &self.devices {
            devices.prune();
        }
    }
}
