//! From messages to verdicts: parses, asks the gate, writes the replies. In the order of arrival.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgesentry_audit::gate::{Outcome, Submission, Verdict};
use edgesentry_audit::http::{Answer, MAX_BODY, parse_request};
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{error, warn};

use super::backoff::Backoff;
use super::link::told;
use super::{MqttConfig, TARGET, topic};
use crate::{Intake, IntakeError};

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
    verdict: Option<Verdict>,
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
                let reply = judged.verdict.and_then(|verdict| self.report(&judged.topic, verdict));
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
        Judged { ticket, topic, submission, verdict: None }
    }

    /// Asks the gate until it has answered for the whole window. False: it is time to stop, and it has not.
    async fn judge(&mut self, window: &mut [Judged]) -> bool {
        let mut open: Vec<usize> = (0..window.len()).filter(|i| window[*i].submission.is_some()).collect();
        while let Some(unanswered) = self.ask(window, &mut open).await {
            let delay = match unanswered {
                IntakeError::TooMany => THROTTLE,
                error => {
                    let delay = self.backoff.next();
                    self.intake.metrics().mqtt_message("error");
                    error!(
                        target: TARGET,
                        error = %error,
                        waiting = open.len(),
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
                        window[i].verdict = Some(verdict);
                    }
                }
                Err(error) => {
                    if let Some(submission) = &window[i].submission {
                        behind.insert(submission.record.device_id.clone());
                    }
                    open.push(i);
                    if failed.as_ref().is_none_or(|known| *known == IntakeError::TooMany) {
                        failed = Some(error);
                    }
                }
            }
        }
        failed
    }

    fn report(&self, topic: &str, verdict: Verdict) -> Option<(String, String)> {
        match &verdict.outcome {
            Outcome::Accepted(_) => {
                self.intake.metrics().mqtt_message("accepted");
            }
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
        let body = Answer::of(&Ok(verdict)).body;
        topic::response(topic).map(|to| (to, body))
    }
}
