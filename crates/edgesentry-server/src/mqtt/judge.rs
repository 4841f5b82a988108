//! From messages to verdicts: parses, asks the gate, writes the replies. In the order of arrival.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgesentry_audit::gate::{Failure, Outcome, Submission, Verdict, streams};
use edgesentry_audit::http::{Answer, MAX_BODY, parse_request};
use futures_util::stream::{FuturesOrdered, StreamExt};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{error, warn};

use super::backoff::Backoff;
use super::link::told;
use super::{MqttConfig, TARGET, topic};
use crate::{GateError, Intake, IntakeError};

/// Most messages that are given to the gate together; it stores them in few transactions.
const WINDOW: usize = 256;
/// How long a device that sends faster than it may waits; it is not refused, for a backlog that the broker kept comes
/// all at once.
const THROTTLE: Duration = Duration::from_millis(250);

/// Which message of which connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    pub(super) connection: u64,
    pub(super) pkid: u16,
    /// QoS 1: it is to be acknowledged.
    pub(super) acknowledge: bool,
    pub(super) bytes: usize,
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    pub(super) ticket: Ticket,
}

/// A message that needs no more than its acknowledgement, and the reply where there is one.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) ticket: Ticket,
    /// Topic and body.
    pub(super) reply: Option<(String, String)>,
}

pub(super) struct Judge {
    intake: Arc<Intake>,
    identity_level: Option<usize>,
    backoff: Backoff,
    settled: mpsc::UnboundedSender<Settled>,
    stop: watch::Receiver<bool>,
}

/// A message on its way through a window.
struct Judged {
    ticket: Ticket,
    topic: String,
    /// None: there was nothing to judge.
    submission: Option<Submission>,
    answer: Option<Answered>,
}

enum Answered {
    Verdict(Box<Verdict>),
    /// What is stored of its device does not hold: it is not stored however often it comes.
    Unusable,
}

/// The reply where there is no verdict.
#[derive(Serialize)]
struct Unstored<'a> {
    status: &'a str,
    device_id: &'a str,
    sequence: u64,
    reason: &'a str,
    error: &'a str,
}

impl Judge {
    pub(super) fn new(
        config: &MqttConfig,
        intake: Arc<Intake>,
        settled: mpsc::UnboundedSender<Settled>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let backoff = Backoff::new(config.backoff);
        Self { intake, identity_level: config.identity_level, backoff, settled, stop }
    }

    /// Works until nobody sends any more, or until it is time to stop and the gate does not work.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(WINDOW);
        while inbox.recv_many(&mut messages, WINDOW).await > 0 {
            let mut window: Vec<Judged> = messages.drain(..).map(|message| self.parse(message)).collect();
            if !self.judge(&mut window).await {
                return;
            }
            for judged in window {
                let reply = self.report(&judged);
                if self.settled.send(Settled { ticket: judged.ticket, reply }).is_err() {
                    return;
                }
            }
        }
    }

    fn parse(&self, message: Message) -> Judged {
        let Message { topic, payload, ticket } = message;
        // A name that is no UTF-8 does not get through the codec.
        let topic = String::from_utf8_lossy(&topic).into_owned();
        let submission = if topic::is_response(&topic) {
            None
        } else if payload.len() > MAX_BODY {
            self.intake.metrics().mqtt_message("malformed");
            warn!(target: TARGET, topic, bytes = payload.len(), "MQTT message too large, dropped");
            None
        } else {
            match parse_request(&payload) {
                Ok(mut submission) => {
                    submission.route_identity =
                        self.identity_level.map(|n| topic::level(&topic, n).unwrap_or_default().to_owned());
                    submission.source = Some(topic.clone());
                    Some(submission)
                }
                Err(bad) => {
                    self.intake.metrics().mqtt_message("malformed");
                    warn!(target: TARGET, topic, field = bad.field, error = bad.reason, "MQTT message malformed, dropped");
                    None
                }
            }
        };
        Judged { ticket, topic, submission, answer: None }
    }

    /// Asks the gate until it has answered for the whole window. False: it is time to stop, and it has not.
    async fn judge(&mut self, window: &mut [Judged]) -> bool {
        let mut open: Vec<usize> = (0..window.len()).filter(|i| window[*i].submission.is_some()).collect();
        let mut waiting = open.len();
        while let Some(unanswered) = self.ask(window, &mut open).await {
            if open.len() < waiting {
                self.backoff.reset();
            }
            waiting = open.len();
            let delay = match unanswered {
                IntakeError::TooMany => THROTTLE,
                error => {
                    let delay = self.backoff.next();
                    self.intake.metrics().mqtt_message("error");
                    error!(
                        target: TARGET,
                        error = %error,
                        waiting,
                        retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                        "the gate failed; what waits is not acknowledged, and is tried again"
                    );
                    delay
                }
            };
            tokio::select! {
                () = told(&mut self.stop) => return false,
                () = sleep(delay) => {}
            }
        }
        self.backoff.reset();
        true
    }

    /// Submits what is open, in order and all at once. What is open afterwards has to be asked for again: what got no
    /// verdict, and what was refused behind that of the same device, since the refusal may only say that a record is
    /// missing. Gives one of the reasons.
    async fn ask(&self, window: &mut [Judged], open: &mut Vec<usize>) -> Option<IntakeError> {
        let mut answers = FuturesOrdered::new();
        for i in open.drain(..) {
            let Judged { ticket, submission: Some(submission), .. } = &window[i] else { continue };
            let (submission, name) =
                (submission.clone(), format!("mqtt-{}-{}", ticket.connection, ticket.pkid));
            answers.push_back(async move { (i, self.intake.submit(submission, &name).await) });
        }
        let mut failed = None;
        let mut behind = HashSet::new();
        while let Some((i, answer)) = answers.next().await {
            match answer {
                Ok(verdict) => {
                    let refused = matches!(verdict.outcome, Outcome::Rejected(_));
                    if refused && behind.contains(&verdict.device_id) {
                        open.push(i);
                    } else {
                        window[i].answer = Some(Answered::Verdict(Box::new(verdict)));
                    }
                }
                Err(error) => {
                    let Some(submission) = &window[i].submission else { continue };
                    if concerns(&error, &submission.record.device_id) {
                        window[i].answer = Some(Answered::Unusable);
                        continue;
                    }
                    behind.insert(submission.record.device_id.clone());
                    open.push(i);
                    if failed.as_ref().is_none_or(|known| *known == IntakeError::TooMany) {
                        failed = Some(error);
                    }
                }
            }
        }
        failed
    }

    fn report(&self, judged: &Judged) -> Option<(String, String)> {
        let topic = &judged.topic;
        let body = match judged.answer.as_ref()? {
            Answered::Verdict(verdict) => {
                match &verdict.outcome {
                    Outcome::Accepted(_) => self.intake.metrics().mqtt_message("accepted"),
                    Outcome::Rejected(error) => {
                        self.intake.metrics().mqtt_message("rejected");
                        warn!(
                            target: TARGET,
                            device_id = verdict.device_id,
                            sequence = verdict.sequence,
                            topic,
                            reason = error.reason(),
                            "MQTT record rejected"
                        );
                    }
                }
                Answer::of(&Ok(Verdict::clone(verdict))).body
            }
            Answered::Unusable => {
                self.intake.metrics().mqtt_message("error");
                let record = &judged.submission.as_ref()?.record;
                let (device_id, sequence) = (record.device_id.as_str(), record.sequence);
                error!(
                    target: TARGET,
                    device_id,
                    sequence,
                    topic,
                    "what is stored of the device does not hold; the record is answered and not stored"
                );
                let error = "the record was not stored: what is stored of the device does not hold";
                let reply =
                    Unstored { status: "rejected", device_id, sequence, reason: "unavailable", error };
                // Strings and a number have no way to fail.
                serde_json::to_string(&reply).unwrap_or_default()
            }
        };
        topic::response(topic).map(|to| (to, body))
    }
}

/// Whether a failure is about what is stored of this device alone. Such a record would hold up everybody's for ever.
fn concerns(error: &IntakeError, device_id: &str) -> bool {
    let IntakeError::Gate(GateError::Failed(Failure {
        error: secure_log::Error::Corrupt(corruption), ..
    })) = error
    else {
        return false;
    };
    let stream = &corruption.stream_id;
    let records = streams::device(device_id, 1);
    *stream == streams::registry(device_id)
        || records.strip_suffix('1').is_some_and(|any_epoch| stream.starts_with(any_epoch))
}

#[cfg(test)]
mod tests {
    use edgesentry_audit::gate::Part;

    use super::*;

    #[test]
    fn a_failure_is_a_devices_only_if_it_names_its_streams() {
        let failed = |error| IntakeError::Gate(GateError::Failed(Failure { part: Part::Registry, error }));
        let corrupt = |stream: &str| failed(secure_log::Error::corrupt(stream, 1, "bent"));
        for stream in ["registry/lift-01", "device/lift-01/1", "device/lift-01/23"] {
            assert!(concerns(&corrupt(stream), "lift-01"), "{stream}");
        }
        for stream in
            ["registry/lift-012", "device/lift-012/1", "device/lift-0/1", "_log", "operations/main", ""]
        {
            assert!(!concerns(&corrupt(stream), "lift-01"), "{stream}");
        }
        assert!(!concerns(&failed(secure_log::Error::Storage("registry/lift-01".into())), "lift-01"));
        assert!(!concerns(&IntakeError::TooMany, "lift-01"));
    }
}
