//! The thread of an owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edgesentry_audit::gate::{Outcome, Submission, Verdict};

use super::queue::{Access, Call, Job, Next, Queue, Reply};
use super::{OwnerError, OwnerEvents, Settings};
use crate::artifact::Artifact;
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::hosted::Hosted;
use crate::site::Site;

/// First and longest pause between attempts to start an instance.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

pub(super) struct Owner {
    artifact: Artifact,
    site: Site,
    settings: Settings,
    events: Box<dyn OwnerEvents>,
    queue: Arc<Queue>,
    instance: Instance,
    /// Deaths and failed starts since a call went well.
    failures: u32,
    /// So many records are committed one by one, after a batch that the instance died of: if one of them is the
    /// reason, it takes no others with it again.
    careful: usize,
    /// Records accepted since the last seal.
    unsealed: u64,
    /// Whether anything may be new since the last seal.
    dirty: bool,
    sealed_at: Instant,
    /// Whether anything was refused since the last flush.
    refused: bool,
    flushed_at: Instant,
}

/// The instance, or what became of it.
enum Instance {
    Up(Box<Hosted>),
    /// Gone; the next attempt is due at this time.
    Down(Instant),
    /// Gone for good, with the log that was in its memory.
    Lost,
}

impl Owner {
    pub(super) fn open(
        artifact: Artifact,
        site: Site,
        settings: Settings,
        events: Box<dyn OwnerEvents>,
        queue: Arc<Queue>,
    ) -> Result<Self> {
        let hosted = start(&artifact, &site, &settings)?;
        let now = Instant::now();
        Ok(Self {
            artifact,
            site,
            settings,
            events,
            queue,
            instance: Instance::Up(Box::new(hosted)),
            failures: 0,
            careful: 0,
            unsealed: 0,
            dirty: false,
            sealed_at: now,
            refused: false,
            flushed_at: now,
        })
    }

    pub(super) fn run(mut self) -> Result<(), OwnerError> {
        loop {
            let most = if self.careful > 0 { 1 } else { self.settings.batch };
            match self.queue.next(most, self.settings.batch_bytes, self.due()) {
                Next::Batch(submissions, replies) => self.commit(submissions, replies),
                Next::Call(call, access) => self.call(call, access),
                Next::Time => {}
                Next::End => return self.finish(),
            }
            self.revive();
            self.periodic();
        }
    }

    fn commit(&mut self, submissions: Vec<Submission>, replies: Vec<Reply>) {
        let Instance::Up(hosted) = &mut self.instance else {
            return answer_all(replies, &self.gone());
        };
        let records = submissions.len();
        let began = Instant::now();
        match hosted.submit_batch(&submissions) {
            Ok(verdicts) => {
                let took = began.elapsed();
                self.committed(&verdicts, took);
                for (reply, verdict) in replies.into_iter().zip(verdicts) {
                    // Whoever asked may have gone away.
                    let _ = reply.send(Ok(verdict));
                }
            }
            Err(failure) if failure.is_fatal() => {
                let error = OwnerError::from(failure);
                answer_all(replies, &error);
                self.died(&error, records);
            }
            // A gate that cannot take one record of several takes none of them: each has its own chance then.
            Err(Failure::Gate(failure))
                if records > 1 && matches!(failure.error, secure_log::Error::Invalid(_)) =>
            {
                for (submission, reply) in submissions.into_iter().zip(replies) {
                    self.commit(vec![submission], vec![reply]);
                }
            }
            Err(failure) => answer_all(replies, &failure.into()),
        }
    }

    fn committed(&mut self, verdicts: &[Verdict], took: Duration) {
        let accepted = verdicts.iter().filter(|v| matches!(v.outcome, Outcome::Accepted(_))).count() as u64;
        let rejected = verdicts.len() as u64 - accepted;
        self.went_well(verdicts.len());
        self.unsealed += accepted;
        self.dirty |= accepted > 0;
        self.refused |= rejected > 0;
        let memory = self.memory();
        self.queue.count(|statistics| {
            statistics.commits += 1;
            statistics.accepted += accepted;
            statistics.rejected += rejected;
            statistics.memory_bytes = memory;
        });
        self.events.on_commit(verdicts.len(), took);
    }

    fn call(&mut self, call: Call, access: Access) {
        let died = match &mut self.instance {
            Instance::Up(hosted) => call(Ok(hosted)),
            _ => call(Err(self.gone())),
        };
        // Closing segments finds out whether it appended.
        self.dirty |= access == Access::MayWrite;
        match died {
            Some(error) => self.died(&error, 0),
            None => {
                let memory = self.memory();
                self.queue.count(|statistics| statistics.memory_bytes = memory);
            }
        }
    }

    fn memory(&self) -> u64 {
        match &self.instance {
            Instance::Up(hosted) => hosted.memory_bytes() as u64,
            _ => 0,
        }
    }

    fn went_well(&mut self, records: usize) {
        self.failures = 0;
        self.careful = self.careful.saturating_sub(records);
    }

    /// The instance died of this, in a batch of so many records.
    fn died(&mut self, error: &OwnerError, records: usize) {
        tracing::error!(target: "secure_log_host::owner", %error, "the instance died");
        self.careful = self.careful.max(if records > 1 { records } else { 0 });
        self.queue.count(|statistics| {
            statistics.deaths += 1;
            statistics.memory_bytes = 0;
        });
        if self.site.in_memory() {
            self.instance = Instance::Lost;
            let jobs = self.queue.set_down(Some(self.gone_text()));
            self.refuse(jobs);
        } else {
            self.instance = Instance::Down(Instant::now() + self.pause());
            self.failures = self.failures.saturating_add(1);
        }
        self.events.on_death(error);
    }

    /// None the first time, then longer and longer.
    fn pause(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            n => PAUSE.0.saturating_mul(1 << (n - 1).min(16)).min(PAUSE.1),
        }
    }

    fn gone_text(&self) -> String {
        match self.instance {
            Instance::Lost => "the instance died, and the log that it had in memory is gone".into(),
            _ => "the instance died and is not up again".into(),
        }
    }

    fn gone(&self) -> OwnerError {
        OwnerError::Unavailable(self.gone_text())
    }

    /// Starts another instance when it is time to.
    fn revive(&mut self) {
        let Instance::Down(at) = self.instance else { return };
        if Instant::now() < at {
            // Nobody waits for what may take long.
            if self.queue.down().is_none() {
                let jobs = self.queue.set_down(Some(self.gone_text()));
                self.refuse(jobs);
            }
            return;
        }
        match start(&self.artifact, &self.site, &self.settings) {
            Ok(hosted) => {
                self.instance = Instance::Up(Box::new(hosted));
                self.queue.set_down(None);
                tracing::info!(target: "secure_log_host::owner", "another instance has the log open");
                self.events.on_restart();
            }
            Err(error) => {
                let text = with_sources(&error);
                tracing::error!(target: "secure_log_host::owner", error = %text, "no instance could be started");
                self.failures = self.failures.saturating_add(1);
                self.instance = Instance::Down(Instant::now() + self.pause());
                let jobs = self.queue.set_down(Some(text.clone()));
                self.refuse(jobs);
                self.events.on_death(&OwnerError::Unavailable(text));
            }
        }
    }

    fn refuse(&mut self, jobs: Vec<Job>) {
        let error = self.gone();
        for job in jobs {
            match job {
                Job::Submit(_, reply) => drop(reply.send(Err(error.clone()))),
                Job::Call(call, _) => drop(call(Err(error.clone()))),
            }
        }
    }

    /// When there is something to do even if nobody calls.
    fn due(&self) -> Option<Instant> {
        match &self.instance {
            Instance::Lost => None,
            Instance::Down(at) => Some(*at),
            Instance::Up(_) => {
                let flush = self.refused.then(|| self.flushed_at + self.settings.flush_every);
                let seal = self.settings.sealing.as_ref().filter(|_| self.dirty);
                let seal = seal.map(|sealing| self.sealed_at + sealing.every);
                flush.into_iter().chain(seal).min()
            }
        }
    }

    fn periodic(&mut self) {
        let now = Instant::now();
        if self.refused && now >= self.flushed_at + self.settings.flush_every {
            self.flush();
        }
        let due = self.settings.sealing.as_ref().is_some_and(|sealing| {
            self.dirty && (self.unsealed >= sealing.records || now >= self.sealed_at + sealing.every)
        });
        if due {
            self.seal();
        }
    }

    fn flush(&mut self) {
        let Instance::Up(hosted) = &mut self.instance else { return };
        let outcome = hosted.flush();
        self.flushed_at = Instant::now();
        self.refused = false;
        self.dirty = true;
        if let Err(failure) = outcome {
            self.failed("flush", failure);
        }
    }

    fn seal(&mut self) {
        let Some(sealing) = self.settings.sealing.clone() else { return };
        let Instance::Up(hosted) = &mut self.instance else { return };
        // This can take longer than a call for records.
        let deadline = hosted.replace_deadline(None);
        let outcome = hosted.seal(sealing.identity.as_deref());
        hosted.replace_deadline(deadline);
        // Also after a failure: it is tried again when the time has come once more.
        self.sealed_at = Instant::now();
        self.unsealed = 0;
        match outcome {
            Ok(sealed) => {
                self.dirty = false;
                let signed = u64::from(sealed.checkpoint.is_some());
                self.queue.count(|statistics| statistics.checkpoints += signed);
                self.events.on_seal(&sealed);
            }
            Err(failure) => self.failed("seal", failure),
        }
    }

    /// Work that nobody waits for failed.
    fn failed(&mut self, what: &'static str, failure: Failure) {
        let fatal = failure.is_fatal();
        let error = OwnerError::from(failure);
        tracing::error!(target: "secure_log_host::owner", what, %error, "failed; it is tried again later");
        self.events.on_error(what, &error);
        if fatal {
            self.died(&error, 0);
            self.revive();
        }
    }

    fn finish(mut self) -> Result<(), OwnerError> {
        if let Instance::Down(at) = &mut self.instance {
            // One last attempt, so that what is stored is closed in order.
            *at = Instant::now();
            self.revive();
        }
        if self.refused {
            self.flush();
        }
        if self.settings.sealing.is_some() && self.dirty {
            self.seal();
        }
        let gone = self.gone();
        let Instance::Up(hosted) = &mut self.instance else { return Err(gone) };
        hosted.close().map_err(|failure| {
            let error = OwnerError::from(failure);
            self.events.on_error("close", &error);
            error
        })
    }
}

fn answer_all(replies: Vec<Reply>, error: &OwnerError) {
    for reply in replies {
        let _ = reply.send(Err(error.clone()));
    }
}

/// An instance with the log open and the gate set up.
fn start(artifact: &Artifact, site: &Site, settings: &Settings) -> Result<Hosted> {
    let mut hosted = site.open(artifact)?;
    let failed = |source| Error::open(site.config(), source);
    if let Some(origin) = &settings.origin
        && hosted.origin().map_err(failed)?.is_none()
    {
        hosted.set_origin(origin).map_err(failed)?;
    }
    if hosted.has_gate() {
        hosted.configure(&settings.gate).map_err(failed)?;
    }
    Ok(hosted)
}

fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
