//! Counting refusals: an attacker must not be able to fill the log.
//!
//! The first refusal of a source is written at once and begins an interval. Those that follow within it are counted,
//! and written as one entry with the first call after it, or by `flush`. A crash loses what was counted and not yet
//! written, never an entry.

use std::collections::{BTreeMap, HashMap};

use secure_log::Error;
use serde::Serialize;

use crate::error::IngestError;
use crate::gate::decisions::REJECTED;
use crate::gate::registry::json;
use crate::gate::stored::MAX_SOURCE;
use crate::gate::text::bounded;
use crate::record::{AuditRecord, MAX_DEVICE_ID};

/// Sources that are told apart at most; others are counted together.
const MAX_SOURCES: usize = 4096;
/// Under this name.
const OTHERS: &str = "(other sources)";
/// Counts that one call writes at most.
const MAX_DUE: usize = 1024;
/// Devices that a count names at most.
const MAX_DEVICES: usize = 8;
/// Longest message, bytes.
const MAX_MESSAGE: usize = 512;

/// One refusal, its texts bounded.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    device_id: String,
    sequence: u64,
    reason: &'static str,
    message: String,
    record_hash: String,
}

impl Refusal {
    pub fn new(record: &AuditRecord, error: &IngestError) -> Self {
        Self {
            device_id: bounded(&record.device_id, MAX_DEVICE_ID).into_owned(),
            sequence: record.sequence,
            reason: error.reason(),
            message: bounded(&error.to_string(), MAX_MESSAGE).into_owned(),
            record_hash: hex::encode(record.hash()),
        }
    }
}

/// Payload of a `rejected` entry. Device, number, reason, message and hash are those of the last refusal counted.
#[derive(Serialize)]
struct Rejected<'a> {
    decision: &'static str,
    device_id: &'a str,
    sequence: u64,
    reason: &'a str,
    message: &'a str,
    record_hash: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
    count: u64,
    first_ms: u64,
    last_ms: u64,
    reasons: &'a BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    devices: &'a [Named],
    #[serde(skip_serializing_if = "is_zero")]
    others: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// How often one device was refused.
#[derive(Debug, Clone, Serialize)]
struct Named {
    device_id: String,
    count: u64,
    last_sequence: u64,
}

/// What was counted of one source.
#[derive(Debug, Clone, Default)]
struct Tally {
    /// When its interval began.
    since_ms: u64,
    count: u64,
    first_ms: u64,
    last_ms: u64,
    reasons: BTreeMap<&'static str, u64>,
    devices: Vec<Named>,
    others: u64,
    last: Option<Refusal>,
}

impl Tally {
    fn new(since_ms: u64) -> Self {
        Self { since_ms, ..Self::default() }
    }

    fn add(&mut self, refusal: Refusal, now_ms: u64) {
        if self.count == 0 {
            self.first_ms = now_ms;
        }
        self.count += 1;
        self.last_ms = now_ms;
        *self.reasons.entry(refusal.reason).or_default() += 1;
        let named = self.devices.iter().position(|named| named.device_id == refusal.device_id);
        match named {
            Some(at) => {
                self.devices[at].count += 1;
                self.devices[at].last_sequence = refusal.sequence;
            }
            None if self.devices.len() < MAX_DEVICES => self.devices.push(Named {
                device_id: refusal.device_id.clone(),
                count: 1,
                last_sequence: refusal.sequence,
            }),
            None => self.others += 1,
        }
        self.last = Some(refusal);
    }

    fn payload(&self, source: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(last) = &self.last else { return Ok(None) };
        json(&Rejected {
            decision: REJECTED,
            device_id: &last.device_id,
            sequence: last.sequence,
            reason: last.reason,
            message: &last.message,
            record_hash: &last.record_hash,
            source,
            count: self.count,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            reasons: &self.reasons,
            devices: if self.count > 1 { &self.devices } else { &[] },
            others: self.others,
        })
        .map(Some)
    }
}

/// What a call writes, and how the counts are once it is written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Payloads of the entries.
    pub entries: Vec<Vec<u8>>,
    changed: HashMap<String, Option<Tally>>,
    /// Whether all counts were looked at.
    swept: bool,
}

/// The counts of a gate.
#[derive(Debug)]
pub(super) struct Refusals {
    interval_ms: u64,
    sources: HashMap<String, Tally>,
    /// No interval ends before this.
    next_end_ms: u64,
}

impl Refusals {
    pub fn new(interval_ms: u64) -> Self {
        Self { interval_ms, sources: HashMap::new(), next_end_ms: u64::MAX }
    }

    pub fn set_interval(&mut self, interval_ms: u64) {
        self.interval_ms = interval_ms;
        // Whatever ended under the old interval is found with the next call.
        self.next_end_ms = 0;
    }

    /// Whether something is counted and not written.
    pub fn is_pending(&self) -> bool {
        self.sources.values().any(|tally| tally.count > 0)
    }

    /// A clock that was set back ends an interval as well.
    fn is_over(&self, tally: &Tally, now_ms: u64) -> bool {
        now_ms < tally.since_ms || now_ms - tally.since_ms >= self.interval_ms
    }

    /// Plans the entries for these refusals, and for the counts whose interval is over; with `all`, for every count.
    pub fn plan(
        &self,
        refusals: impl Iterator<Item = (Option<String>, Refusal)>,
        now_ms: u64,
        all: bool,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let mut added = 0;
        for (source, refusal) in refusals {
            let mut source = bounded(source.as_deref().unwrap_or_default(), MAX_SOURCE).into_owned();
            if self.interval_ms == 0 {
                plan.entries.extend(one(&source, refusal, now_ms)?);
                continue;
            }
            let known = |source: &str, plan: &Plan| {
                plan.changed.contains_key(source) || self.sources.contains_key(source)
            };
            if !known(&source, &plan) {
                if self.sources.len() + added >= MAX_SOURCES {
                    source = OTHERS.to_owned();
                }
                if !known(&source, &plan) {
                    added += 1;
                }
            }
            let tally = match plan.changed.remove(&source) {
                Some(tally) => tally,
                None => self.sources.get(&source).cloned(),
            };
            let tally = match tally {
                Some(mut tally) if tally.count > 0 || !self.is_over(&tally, now_ms) => {
                    tally.add(refusal, now_ms);
                    tally
                }
                _ => {
                    plan.entries.extend(one(&source, refusal, now_ms)?);
                    Tally::new(now_ms)
                }
            };
            plan.changed.insert(source, Some(tally));
        }
        self.plan_ended(&mut plan, now_ms, all)?;
        Ok(plan)
    }

    /// Adds the entries of counts whose interval is over. Sources that were quiet for an interval are forgotten.
    fn plan_ended(&self, plan: &mut Plan, now_ms: u64, all: bool) -> Result<(), Error> {
        let mut due = 0;
        for (source, tally) in &mut plan.changed {
            if let Some(tally) = tally
                && tally.count > 0
                && (all || self.is_over(tally, now_ms))
                && due < MAX_DUE
            {
                plan.entries.extend(tally.payload(source)?);
                *tally = Tally::new(now_ms);
                due += 1;
            }
        }
        if !all && now_ms < self.next_end_ms && self.interval_ms != 0 {
            return Ok(());
        }
        plan.swept = true;
        for (source, tally) in &self.sources {
            if plan.changed.contains_key(source) || !(all || self.is_over(tally, now_ms)) {
                continue;
            }
            if tally.count == 0 {
                plan.changed.insert(source.clone(), None);
            } else if due < MAX_DUE {
                plan.entries.extend(tally.payload(source)?);
                plan.changed.insert(source.clone(), Some(Tally::new(now_ms)));
                due += 1;
            }
        }
        Ok(())
    }

    /// Takes over a plan whose entries are written.
    pub fn apply(&mut self, plan: Plan) {
        let end = |tally: &Tally, interval: u64| tally.since_ms.saturating_add(interval);
        for (source, tally) in plan.changed {
            match tally {
                Some(tally) => {
                    self.next_end_ms = self.next_end_ms.min(end(&tally, self.interval_ms));
                    self.sources.insert(source, tally);
                }
                None => {
                    self.sources.remove(&source);
                }
            }
        }
        if plan.swept {
            let ends = self.sources.values().map(|tally| end(tally, self.interval_ms));
            self.next_end_ms = ends.min().unwrap_or(u64::MAX);
        }
    }
}

fn one(source: &str, refusal: Refusal, now_ms: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut tally = Tally::new(now_ms);
    tally.add(refusal, now_ms);
    tally.payload(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(device: &str, sequence: u64, reason: &'static str) -> Refusal {
        Refusal {
            device_id: device.into(),
            sequence,
            reason,
            message: format!("{reason} of {device}"),
            record_hash: String::new(),
        }
    }

    const NONE: [u64; 0] = [];

    /// Refuses and gives the counts of the entries that this wrote.
    fn refuse(refusals: &mut Refusals, sources: &[&str], now_ms: u64) -> Vec<u64> {
        let refused =
            sources.iter().map(|source| (Some((*source).to_owned()), refusal("lift", 1, "duplicate")));
        let plan = refusals.plan(refused, now_ms, false).unwrap();
        let counts = plan.entries.iter().map(|payload| {
            let value: serde_json::Value = serde_json::from_slice(payload).unwrap();
            value["count"].as_u64().unwrap()
        });
        let counts = counts.collect();
        refusals.apply(plan);
        counts
    }

    #[test]
    fn counts_within_the_interval() {
        let mut refusals = Refusals::new(1000);
        assert_eq!(refuse(&mut refusals, &["a", "a", "a"], 5000), [1]);
        assert_eq!(refuse(&mut refusals, &["a", "b"], 5999), [1]);
        assert!(refusals.is_pending());
        assert_eq!(refuse(&mut refusals, &[], 5999), NONE);
        assert_eq!(refuse(&mut refusals, &[], 6000), [3]);
        assert!(!refusals.is_pending());
        assert_eq!(refuse(&mut refusals, &["a"], 6500), NONE, "one entry per interval");
        assert_eq!(refuse(&mut refusals, &["a"], 7000), [2]);
        assert_eq!(refuse(&mut refusals, &[], 9000), NONE);
        assert!(refusals.sources.is_empty(), "quiet sources are forgotten");
        assert_eq!(refuse(&mut refusals, &["a"], 9001), [1], "and begin anew");
    }

    #[test]
    fn an_interval_of_zero_counts_nothing() {
        let mut refusals = Refusals::new(0);
        assert_eq!(refuse(&mut refusals, &["a", "a"], 5000), [1, 1]);
        assert!(refusals.sources.is_empty());
    }

    #[test]
    fn a_clock_set_back_loses_nothing() {
        let mut refusals = Refusals::new(1000);
        assert_eq!(refuse(&mut refusals, &["a", "a"], 5000), [1]);
        assert_eq!(refuse(&mut refusals, &["a"], 100), [2]);
    }

    #[test]
    fn a_count_says_what_was_refused() {
        let refusals = Refusals::new(1000);
        let many = (0..20u64)
            .map(|n| (None, refusal(&format!("d{n}"), n, ["duplicate", "malformed"][n as usize % 2])));
        let plan = refusals.plan(many, 7, true).unwrap();
        assert_eq!(plan.entries.len(), 2);
        let value: serde_json::Value = serde_json::from_slice(&plan.entries[1]).unwrap();
        assert_eq!(value["count"], 19);
        assert_eq!(value["reasons"]["duplicate"], 9);
        assert_eq!(value["reasons"]["malformed"], 10);
        assert_eq!(value["devices"].as_array().unwrap().len(), MAX_DEVICES);
        assert_eq!(value["others"], 11);
        assert_eq!((&value["first_ms"], &value["last_ms"]), (&7.into(), &7.into()));
        assert!(value.get("source").is_none());
    }

    #[test]
    fn memory_and_writing_are_bounded() {
        let mut refusals = Refusals::new(1000);
        let names: Vec<String> = (0..10_000).map(|n| format!("source {n}")).collect();
        for names in names.chunks(1000) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            refuse(&mut refusals, &names, 5000);
            refuse(&mut refusals, &names, 5001);
        }
        assert_eq!(refusals.sources.len(), MAX_SOURCES + 1);
        let total = |counts: Vec<u64>| (counts.len(), counts.iter().sum::<u64>());
        let mut written = MAX_SOURCES as u64 + 1;
        for _ in 0..5 {
            let (entries, counted) = total(refuse(&mut refusals, &[], 6001));
            assert!(entries <= MAX_DUE);
            written += counted;
        }
        assert_eq!(written, 20_000, "every refusal is written, alone or counted");
        refuse(&mut refusals, &[], 9000);
        assert!(refusals.sources.is_empty());
    }

    #[test]
    fn texts_of_others_are_bounded() {
        let record = AuditRecord {
            device_id: "\n".repeat(100_000),
            sequence: 1,
            timestamp_ms: 0,
            payload_hash: [0; 32],
            signature: [0; 64],
            prev_record_hash: [0; 32],
            object_ref: String::new(),
            provenance: None,
        };
        let error = IngestError::UnknownDevice(record.device_id.clone());
        let refused = [(Some("x".repeat(100_000)), Refusal::new(&record, &error))];
        let plan = Refusals::new(10).plan(refused.into_iter(), 5, false).unwrap();
        assert!(plan.entries[0].len() < 2000, "{}", plan.entries[0].len());
    }
}
