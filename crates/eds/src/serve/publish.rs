//! Having checkpoints cosigned while a server runs, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use edgesentry_server::Metrics;
use secure_log::policy::Policy;
use secure_log_host::{LogOwner, OwnerError};

use crate::log::witness::{Outcome, Reach as _, ask};

/// Target of what is logged.
const TARGET: &str = "edgesentry_audit::witness";

/// Asks the witnesses of a policy.
pub(super) struct Publisher {
    pub owner: LogOwner,
    pub policy: Policy,
    pub policy_file: Vec<u8>,
    pub timeout: Duration,
    pub retry: Duration,
    pub metrics: Arc<Metrics>,
}

impl Publisher {
    /// Begins with what is there; then works whenever `signed` says that there is another checkpoint, and again after a
    /// while where witnesses are missing. Ends with whoever says so.
    pub fn start(self, signed: Receiver<()>) -> Result<()> {
        let run = move || self.run(&signed);
        std::thread::Builder::new().name("secure-log-publish".into()).spawn(run).context("no threads")?;
        Ok(())
    }

    fn run(mut self, signed: &Receiver<()>) {
        let mut complete = true;
        loop {
            complete = match self.publish(complete) {
                Ok(complete) => complete,
                // The server has stopped. What was signed last is published when it starts again.
                Err(error) if matches!(error.downcast_ref(), Some(OwnerError::Closed)) => return,
                Err(error) => {
                    tracing::warn!(target: TARGET, error = %format!("{error:#}"), "the witnesses could not be asked; tried again later");
                    false
                }
            };
            let woken = if complete {
                signed.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                signed.recv_timeout(self.retry)
            };
            if woken == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            // Several were signed meanwhile: the newest counts.
            while signed.try_recv().is_ok() {}
        }
    }

    /// Whether the newest checkpoint is published now; `before`: whether the one before was.
    fn publish(&mut self, before: bool) -> Result<bool> {
        let Some(newest) = self.owner.reach(|log| log.latest_checkpoint())? else { return Ok(true) };
        let witnesses = ask(&mut self.owner, &self.policy, newest.number, self.timeout)?;
        let mut failures = 0;
        for witness in &witnesses {
            let why: &str = match &witness.outcome {
                Outcome::Cosigned => continue,
                Outcome::Open => "it is busy",
                Outcome::Failed(why) => why,
                Outcome::Evidence(why) => {
                    tracing::error!(
                        target: TARGET, witness = witness.name, why,
                        "a witness saw another history of this log: stop, and find out which one is real"
                    );
                    failures += 1;
                    continue;
                }
            };
            tracing::warn!(target: TARGET, witness = witness.name, why, "a witness did not cosign");
            failures += 1;
        }
        let file = self.policy_file.clone();
        let publication = self.owner.reach(move |log| log.publication(&file))?;
        let complete = publication.lacks.is_none();
        self.metrics.published(publication.published, complete, failures);
        match &publication.lacks {
            None => tracing::info!(target: TARGET, number = publication.newest, "checkpoint published"),
            Some(lacks) if before => tracing::warn!(
                target: TARGET, number = publication.newest, lacks, published = publication.published,
                "degraded: the newest checkpoint is not published"
            ),
            Some(_) => {}
        }
        Ok(complete)
    }
}
