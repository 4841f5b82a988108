//! What waits for an owner: bounded in number and bytes, in the order of arrival.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use edgesentry_audit::gate::{Submission, Verdict};
use tokio::sync::oneshot;

use super::{OwnerError, Statistics};
use crate::hosted::Hosted;

/// One piece of work.
#[expect(clippy::large_enum_variant, reason = "nearly all are submissions")]
pub(super) enum Job {
    Submit(Submission, Reply),
    Call(Call, Access),
}

/// What a call does to the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Reads,
    MayWrite,
}

/// Where a verdict goes.
pub(super) type Reply = oneshot::Sender<Result<Verdict, OwnerError>>;
/// Uses the instance; gives what the instance died of, if it did.
pub(super) type Call = Box<dyn FnOnce(Result<&mut Hosted, OwnerError>) -> Option<OwnerError> + Send>;

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Submit(submission, _) => submission.payload.len(),
            Self::Call(..) => 0,
        }
    }
}

/// What to do next.
pub(super) enum Next {
    Batch(Vec<Submission>, Vec<Reply>),
    Call(Call, Access),
    /// The time has come, and nothing else.
    Time,
    /// Closed and empty.
    End,
}

pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    most: usize,
    most_bytes: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
    down: Option<String>,
    statistics: Statistics,
}

impl Queue {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), most, most_bytes }
    }

    /// A panic elsewhere leaves nothing half-changed here.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, job: Job) -> Result<(), OwnerError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(OwnerError::Closed);
        }
        if let Some(reason) = &waiting.down {
            return Err(OwnerError::Unavailable(reason.clone()));
        }
        let bytes = job.bytes();
        // A payload alone may be larger than the limit.
        let room = waiting.bytes == 0 || waiting.bytes + bytes <= self.most_bytes;
        if waiting.jobs.len() >= self.most || !room {
            return Err(OwnerError::Busy);
        }
        waiting.bytes += bytes;
        waiting.jobs.push_back(job);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for work until `until`: the records in front, up to the next call, at most `most` of them with at most
    /// `most_bytes` of payload (the first is always taken), or the call in front.
    pub(super) fn next(&self, most: usize, most_bytes: usize, until: Option<Instant>) -> Next {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() {
            if waiting.closed {
                return Next::End;
            }
            waiting = match until {
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Next::Time;
                    }
                    let woken = self.changed.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let (mut submissions, mut replies, mut bytes) = (Vec::new(), Vec::new(), 0);
        while submissions.len() < most.max(1) {
            match waiting.jobs.pop_front() {
                Some(Job::Submit(submission, reply)) => {
                    let more = submission.payload.len();
                    if !submissions.is_empty() && bytes + more > most_bytes {
                        waiting.jobs.push_front(Job::Submit(submission, reply));
                        break;
                    }
                    bytes += more;
                    submissions.push(submission);
                    replies.push(reply);
                }
                Some(Job::Call(call, access)) if submissions.is_empty() => return Next::Call(call, access),
                Some(call) => {
                    waiting.jobs.push_front(call);
                    break;
                }
                None => break,
            }
        }
        waiting.bytes -= bytes;
        Next::Batch(submissions, replies)
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Refuses new work for this reason until it is taken back; what waits is given out.
    pub(super) fn set_down(&self, reason: Option<String>) -> Vec<Job> {
        let mut waiting = self.lock();
        let down = reason.is_some();
        waiting.down = reason;
        if !down {
            return Vec::new();
        }
        waiting.bytes = 0;
        waiting.jobs.drain(..).collect()
    }

    pub(super) fn down(&self) -> Option<String> {
        self.lock().down.clone()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Statistics)) {
        change(&mut self.lock().statistics);
    }

    pub(super) fn statistics(&self) -> Statistics {
        let waiting = self.lock();
        Statistics { waiting: waiting.jobs.len() as u64, ..waiting.statistics }
    }
}
