//! What is counted and measured, in the Prometheus text format.
//!
//! Every counter of a known label exists from the start with the value 0, so that an alert sees its first increase.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use edgesentry_audit::IngestError;
use edgesentry_audit::gate::{Outcome, Part, Verdict};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use secure_log::model::Checkpoint;

use crate::gate::GateError;

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// [`IngestError::reason`] of every refusal.
pub const REASONS: [&str; 13] = [
    "malformed",
    "payload hash mismatch",
    "auth/device mismatch",
    "unknown device",
    "device revoked",
    "version not allowed",
    "unknown key",
    "key revoked",
    "key outside window",
    "invalid signature",
    "duplicate",
    "invalid sequence",
    "invalid previous hash",
];

/// Parts of a gate by their names, and `gate`: it was busy or closed.
const COMPONENTS: [&str; 5] = ["registry", "raw_data_store", "audit_ledger", "operation_log", "gate"];
const STATUSES: [u16; 16] = [200, 202, 400, 403, 404, 405, 408, 413, 415, 422, 429, 500, 503, 414, 431, 417];
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

type Number = Gauge<i64>;

/// Why a connection ended before it was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The network policy does not allow its source.
    NotAllowed,
    /// There were as many as there may be.
    TooMany,
    /// No TLS came about.
    Handshake,
    /// It sent too slowly, or nothing.
    Slow,
    /// What it sent is not HTTP.
    NotHttp,
}

const DROPPED: [&str; 5] = ["not_allowed", "too_many", "handshake", "slow", "not_http"];

/// Counters with one label whose values are known.
#[derive(Debug)]
struct Known<const N: usize> {
    names: [&'static str; N],
    counters: [Counter; N],
}

impl<const N: usize> Known<N> {
    fn new(
        registry: &mut Registry,
        name: &str,
        help: &str,
        label: &'static str,
        names: [&'static str; N],
    ) -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        registry.register(name, help, family.clone());
        let counters = names.map(|value| family.get_or_create_owned(&[(label, value)]));
        Self { names, counters }
    }

    fn of(&self, name: &str) -> Option<&Counter> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.counters.get(at)
    }

    fn count(&self, name: &str) {
        if let Some(counter) = self.of(name) {
            counter.inc();
        }
    }
}

/// Metrics of a server and of the gate behind it. Counting takes no lock; the two histograms take one of their own
/// for a few additions.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    accepted: Counter,
    rejected: Known<13>,
    errors: Known<5>,
    chain_break: Counter,
    signature_fail: Counter,
    append: Histogram,
    batch: Histogram,
    waiting: Number,
    connections: Number,
    connections_total: Counter,
    dropped: Known<5>,
    statuses: [(u16, Counter); STATUSES.len()],
    limited: Known<2>,
    certificate_expiry: Number,
    tls_reloads: Known<2>,
    mqtt: Known<4>,
    mqtt_connected: Number,
    mqtt_reconnects: Counter,
    checkpoint_number: Number,
    checkpoint_size: Number,
    checkpoint_time: Number,
    published_number: Number,
    unpublished: Number,
    witness_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Number {
    let gauge = Number::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("edgesentry");
        let r = &mut registry;
        let accepted = counter(r, "ingest_accepted", "Records that were accepted and are durable");
        let rejected =
            Known::new(r, "ingest_rejected", "Records that were refused, by reason", "reason", REASONS);
        let errors = Known::new(
            r,
            "ingest_error",
            "Records that no verdict was given on, by the part that failed",
            "component",
            COMPONENTS,
        );
        let chain_break =
            counter(r, "chain_break", "Records whose previous hash is not that of the record before");
        let signature_fail = counter(r, "signature_fail", "Records whose signature does not verify");
        let append = Histogram::new(BUCKETS);
        r.register(
            "append_duration_seconds",
            "From handing a record to the gate until it is durable",
            append.clone(),
        );
        let batch = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]);
        r.register("batch_records", "Records that were stored in one transaction", batch.clone());
        let waiting = gauge(r, "waiting_records", "Records that wait for the gate");
        let connections = gauge(r, "connections", "Connections that are open");
        let connections_total = counter(r, "connections_opened", "Connections that were taken");
        let dropped = Known::new(
            r,
            "connections_dropped",
            "Connections that were ended before they were served, by reason",
            "reason",
            DROPPED,
        );
        let responses = Family::<[(&'static str, String); 1], Counter>::default();
        r.register("http_responses", "Answers, by status", responses.clone());
        let statuses =
            STATUSES.map(|code| (code, responses.get_or_create_owned(&[("code", code.to_string())])));
        let limited = Known::new(
            r,
            "rate_limited",
            "Records that were sent faster than their source or device may",
            "scope",
            ["source", "device"],
        );
        let certificate_expiry = gauge(
            r,
            "tls_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends, seconds since the Unix epoch",
        );
        let tls_reloads =
            Known::new(r, "tls_reloads", "Readings of changed certificate files", "result", ["ok", "error"]);
        let mqtt = Known::new(
            r,
            "mqtt_messages",
            "Messages from the broker, by what became of them",
            "result",
            ["accepted", "rejected", "malformed", "error"],
        );
        let mqtt_connected = gauge(r, "mqtt_connected", "1 while the broker is connected");
        let mqtt_reconnects = counter(r, "mqtt_reconnects", "Connections to the broker that were lost");
        let checkpoint_number = gauge(r, "checkpoint_number", "Number of the newest signed checkpoint");
        let checkpoint_size = gauge(r, "checkpoint_size", "Entries of _log that it covers");
        let checkpoint_time =
            gauge(r, "checkpoint_timestamp_seconds", "When it was signed, seconds since the Unix epoch");
        let published_number = gauge(
            r,
            "published_checkpoint_number",
            "Number of the newest checkpoint that the policy counts as published",
        );
        let unpublished = gauge(r, "unpublished", "1 while the newest checkpoint lacks cosignatures");
        let witness_failures = counter(r, "witness_failures", "Cosignatures that a witness did not give");
        Self {
            registry,
            accepted,
            rejected,
            errors,
            chain_break,
            signature_fail,
            append,
            batch,
            waiting,
            connections,
            connections_total,
            dropped,
            statuses,
            limited,
            certificate_expiry,
            tls_reloads,
            mqtt,
            mqtt_connected,
            mqtt_reconnects,
            checkpoint_number,
            checkpoint_size,
            checkpoint_time,
            published_number,
            unpublished,
            witness_failures,
        }
    }

    /// The Prometheus text of all of them.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(8 << 10);
        // Writing to a string has no way to fail.
        let _ = prometheus_text::encode(&mut text, &self.registry);
        text
    }

    /// What a gate gave, and how long it took.
    pub fn observe(&self, outcome: &Result<Verdict, GateError>, took: Duration) {
        match outcome {
            Ok(verdict) => match &verdict.outcome {
                Outcome::Accepted(_) => {
                    self.accepted.inc();
                    self.append.observe(took.as_secs_f64());
                }
                Outcome::Rejected(error) => self.refused(error),
            },
            Err(GateError::Failed(failure)) => self.failed(failure.part),
            Err(GateError::Busy | GateError::Stopped) => self.errors.count("gate"),
        }
    }

    fn refused(&self, error: &IngestError) {
        self.rejected.count(error.reason());
        match error {
            IngestError::InvalidPrevHash(_) => drop(self.chain_break.inc()),
            IngestError::InvalidSignature(_) => drop(self.signature_fail.inc()),
            _ => {}
        }
    }

    /// A part of the gate failed outside of a submission.
    pub fn failed(&self, part: Part) {
        self.errors.count(part.name());
    }

    /// For the gate's owner: so many records were stored in one transaction.
    pub fn batch(&self, records: usize) {
        self.batch.observe(records as f64);
    }

    /// For the gate's owner: so many records wait.
    pub fn waiting(&self, records: usize) {
        self.waiting.set(signed(records as u64));
    }

    /// For the gate's owner: a checkpoint was signed at this time, or found when the store was opened.
    pub fn checkpoint(&self, checkpoint: &Checkpoint, signed_at: SystemTime) {
        self.checkpoint_number.set(signed(checkpoint.number));
        self.checkpoint_size.set(signed(checkpoint.size));
        let seconds = signed_at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
        self.checkpoint_time.set(signed(seconds));
    }

    /// For who asks witnesses: the newest checkpoint that the policy counts as published, whether the newest of all is
    /// it, and how many witnesses did not cosign.
    pub fn published(&self, number: Option<u64>, newest: bool, failures: u64) {
        self.published_number.set(signed(number.unwrap_or_default()));
        self.unpublished.set(i64::from(!newest));
        self.witness_failures.inc_by(failures);
    }

    /// A connection was taken (`true`), or ended.
    pub fn connection(&self, opened: bool) {
        if opened {
            self.connections_total.inc();
            self.connections.inc();
        } else {
            self.connections.dec();
        }
    }

    /// A connection was ended before it was served.
    pub fn dropped(&self, why: Dropped) {
        self.dropped.count(DROPPED[why as usize]);
    }

    /// An answer was given.
    pub fn response(&self, status: u16) {
        if let Some((_, counter)) = self.statuses.iter().find(|(code, _)| *code == status) {
            counter.inc();
        }
    }

    /// A `source` or a `device` sends faster than it may.
    pub fn limited(&self, scope: &str) {
        self.limited.count(scope);
    }

    /// Certificate files were read; `expires`: seconds since the Unix epoch.
    pub fn tls_loaded(&self, expires: i64) {
        self.certificate_expiry.set(expires);
        self.tls_reloads.count("ok");
    }

    /// Changed certificate files could not be used.
    pub fn tls_failed(&self) {
        self.tls_reloads.count("error");
    }

    /// What became of a message: `accepted`, `rejected`, `malformed`, `error`.
    pub fn mqtt_message(&self, result: &str) {
        self.mqtt.count(result);
    }

    /// The broker is connected, or the connection was lost.
    pub fn mqtt_connected(&self, connected: bool) {
        if !connected {
            self.mqtt_reconnects.inc();
        }
        self.mqtt_connected.set(i64::from(connected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of one refusal each, to compare [`REASONS`] with.
    fn refusals() -> Vec<IngestError> {
        let (device_id, key_id) = (String::from("d"), String::from("k"));
        vec![
            IngestError::Malformed { field: "f".into(), reason: "r".into() },
            IngestError::PayloadHashMismatch { device_id: device_id.clone(), sequence: 1 },
            IngestError::CertDeviceMismatch { cert_identity: "c".into(), device_id: device_id.clone() },
            IngestError::UnknownDevice(device_id.clone()),
            IngestError::DeviceRevoked(device_id.clone()),
            IngestError::VersionNotAllowed { device_id: device_id.clone(), version: 1 },
            IngestError::UnknownKey { device_id: device_id.clone(), key_id: key_id.clone() },
            IngestError::KeyRevoked { device_id: device_id.clone(), key_id: key_id.clone() },
            IngestError::KeyOutsideWindow {
                device_id: device_id.clone(),
                key_id,
                timestamp_ms: 1,
                not_before_ms: None,
                not_after_ms: None,
            },
            IngestError::InvalidSignature(device_id.clone()),
            IngestError::Duplicate { device_id: device_id.clone(), sequence: 1 },
            IngestError::InvalidSequence { device_id: device_id.clone(), expected: 1, actual: 2 },
            IngestError::InvalidPrevHash(device_id),
        ]
    }

    #[test]
    fn every_refusal_is_counted_under_its_reason() {
        let metrics = Metrics::new();
        for reason in REASONS {
            assert!(
                metrics
                    .encode()
                    .contains(&format!("edgesentry_ingest_rejected_total{{reason=\"{reason}\"}} 0\n"))
            );
        }
        let refusals = refusals();
        assert_eq!(refusals.len(), REASONS.len());
        for error in refusals {
            let reason = error.reason();
            let verdict = Verdict {
                device_id: "d".into(),
                sequence: 1,
                outcome: Outcome::Rejected(error),
                already: None,
            };
            metrics.observe(&Ok(verdict), Duration::ZERO);
            let line = format!("edgesentry_ingest_rejected_total{{reason=\"{reason}\"}} 1\n");
            assert!(metrics.encode().contains(&line), "{line}");
        }
        let text = metrics.encode();
        assert!(text.contains("edgesentry_chain_break_total 1\n"), "{text}");
        assert!(text.contains("edgesentry_signature_fail_total 1\n"), "{text}");
        assert!(text.contains("edgesentry_append_duration_seconds_count 0\n"), "{text}");
    }

    #[test]
    fn every_part_has_a_counter() {
        let metrics = Metrics::new();
        for part in [Part::Registry, Part::RawDataStore, Part::AuditLedger, Part::OperationLog] {
            metrics.failed(part);
            let line = format!("edgesentry_ingest_error_total{{component=\"{}\"}} 1\n", part.name());
            assert!(metrics.encode().contains(&line), "{line}");
        }
        metrics.observe(&Err(GateError::Busy), Duration::ZERO);
        assert!(metrics.encode().contains("edgesentry_ingest_error_total{component=\"gate\"} 1\n"));
    }
}
