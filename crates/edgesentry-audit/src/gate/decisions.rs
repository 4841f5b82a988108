//! Payloads of `operations/<gate-id>`: JSON, close to the documented operation log (decision, device_id, sequence,
//! message).

use secure_log::Error;
use secure_log::model::{Event, Severity};
use serde::Serialize;

use crate::gate::registry::{ENCODING, json};

/// Records of one device that a batch accepted: numbers without gaps, entries without gaps.
#[derive(Debug, Serialize)]
pub(super) struct Run<'a> {
    pub device_id: &'a str,
    pub epoch: u64,
    pub first: u64,
    pub last: u64,
    pub first_entry: u64,
    pub last_entry: u64,
}

#[derive(Serialize)]
struct One<'a> {
    decision: &'static str,
    device_id: &'a str,
    sequence: u64,
    message: &'static str,
    epoch: u64,
    entry: u64,
}

#[derive(Serialize)]
struct Many<'a> {
    decision: &'static str,
    message: String,
    count: u64,
    runs: &'a [Run<'a>],
}

pub(super) const ACCEPTED: &str = "accepted";
pub(super) const REJECTED: &str = "rejected";

/// The entry about all that a batch accepted.
pub(super) fn accepted(stream: &str, gate_id: &str, runs: &[Run<'_>]) -> Result<Event, Error> {
    let payload = match runs {
        [run] if run.first == run.last => json(&One {
            decision: ACCEPTED,
            device_id: run.device_id,
            sequence: run.first,
            message: "record accepted",
            epoch: run.epoch,
            entry: run.first_entry,
        }),
        _ => {
            let count = runs.iter().map(|run| run.last - run.first + 1).sum();
            json(&Many { decision: ACCEPTED, message: format!("{count} records accepted"), count, runs })
        }
    }?;
    Ok(event(stream, "accepted", Severity::Notice, gate_id, payload))
}

/// The entry about one or more refusals.
pub(super) fn rejected(stream: &str, gate_id: &str, payload: Vec<u8>) -> Event {
    event(stream, "rejected", Severity::Warning, gate_id, payload)
}

fn event(stream: &str, event_type: &str, severity: Severity, gate_id: &str, payload: Vec<u8>) -> Event {
    let mut event = Event::new(stream, event_type, severity, gate_id, payload);
    event.payload_encoding = Some(ENCODING.into());
    event
}
