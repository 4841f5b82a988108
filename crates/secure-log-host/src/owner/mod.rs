//! One thread owns one log.
//!
//! Any number of threads and tasks give it work: records to judge and store, and other calls. The thread takes what is
//! waiting: as many records as have come while the last commit ran go into the next one, so nobody waits for a batch
//! to fill. A full queue refuses at once. When the instance dies, those whose calls it took with it get
//! [`OwnerError::Unavailable`], and the next instance opens the log again.
//!
//! What was `Unavailable` may have been stored: send the record again, and a verdict of `Duplicate` says where it is.

mod answer;
mod queue;
mod thread;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use edgesentry_audit::gate::{self, Submission, Verdict};
use secure_log::limits::MAX_PAYLOAD;
use tokio::sync::oneshot;

use crate::artifact::Artifact;
use crate::bindings::core::secure_log::log::types::LogError;
use crate::error::{Error, Result};
use crate::failure::{self, Failure};
use crate::hosted::{Hosted, Sealed};
use crate::site::Site;
pub use answer::Answer;
use queue::{Access, Job, Queue};

/// How an owner works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The gate, if the artifact has one.
    pub gate: gate::Settings,
    /// Origin of a log that has none yet: the first line of its checkpoints.
    pub origin: Option<String>,
    /// Records and calls that may wait; more are refused with [`OwnerError::Busy`].
    pub queue: usize,
    /// Bytes of payloads that may wait.
    pub queue_bytes: usize,
    /// Most records of one commit (the gate takes 10,000).
    pub batch: usize,
    /// Most payload bytes of one commit; a single larger payload is taken alone (the gate takes 24 MiB).
    pub batch_bytes: usize,
    /// Closing and signing of segments, by itself.
    pub sealing: Option<Sealing>,
    /// How often the gate writes down the refusals that it counted.
    pub flush_every: Duration,
}

/// When segments are closed and signed. What there is to sign at the end is signed in [`LogOwner::shutdown`].
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The key to sign with; none: segments are closed and not signed.
    pub identity: Option<String>,
    /// After so many accepted records.
    pub records: u64,
    /// After so much time, if there is anything new.
    pub every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gate: gate::Settings::default(),
            origin: None,
            queue: 4_096,
            queue_bytes: 64 << 20,
            batch: 256,
            batch_bytes: 8 << 20,
            sealing: None,
            flush_every: Duration::from_secs(60),
        }
    }
}

/// Why a call to an owner gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// Its queue is full; nothing was done. Try again later.
    #[error("busy: too many calls are waiting for the log")]
    Busy,
    /// It was shut down; nothing was done.
    #[error("the log is closed")]
    Closed,
    /// The instance died, or another one cannot be started. Whether the call took effect is unknown.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The gate could not do its work; nothing was accepted.
    #[error(transparent)]
    Gate(#[from] gate::Failure),
    /// The log answered with an error.
    #[error(transparent)]
    Log(#[from] secure_log::Error),
    /// The component has no such interface.
    #[error("this component has no {0}")]
    NotExported(&'static str),
}

impl From<Failure> for OwnerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Log(error) => Self::Log(error.into()),
            Failure::Gate(failure) => Self::Gate(failure),
            Failure::NotExported(what) => Self::NotExported(what),
            fatal @ (Failure::Trap(_) | Failure::Deadline(_) | Failure::Fuel(_) | Failure::Memory(_)) => {
                Self::Unavailable(fatal.to_string())
            }
        }
    }
}

impl From<LogError> for OwnerError {
    fn from(error: LogError) -> Self {
        Self::Log(error.into())
    }
}

/// Is told what an owner does, on its thread: return soon.
pub trait OwnerEvents: Send + 'static {
    /// A batch of so many records was judged, and what was accepted is durable; it took this long.
    fn on_commit(&mut self, records: usize, took: Duration) {
        let _ = (records, took);
    }

    /// Segments were closed, and signed if there is a key.
    fn on_seal(&mut self, sealed: &Sealed) {
        let _ = sealed;
    }

    /// The instance died of this, or another one could not be started. The owner goes on.
    fn on_death(&mut self, error: &OwnerError) {
        let _ = error;
    }

    /// Another instance has the log open.
    fn on_restart(&mut self) {}

    /// Work that nobody waits for failed: `what` is `seal`, `flush` or `close`. The owner goes on.
    fn on_error(&mut self, what: &'static str, error: &OwnerError) {
        let _ = (what, error);
    }
}

/// Nobody is told.
impl OwnerEvents for () {}

/// What an owner has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Batches of records.
    pub commits: u64,
    /// Records in them that were accepted.
    pub accepted: u64,
    /// Records in them that were refused.
    pub rejected: u64,
    /// Instances that died.
    pub deaths: u64,
    /// Checkpoints signed by itself.
    pub checkpoints: u64,
    /// Records and calls that are waiting now.
    pub waiting: u64,
    /// Bytes of linear memory of the instance.
    pub memory_bytes: u64,
}

/// A handle to the thread that owns a log. Clone it freely; the thread ends when it is shut down, or when the last
/// handle is dropped.
#[derive(Clone)]
pub struct LogOwner {
    handle: Arc<Handle>,
}

struct Handle {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<Result<(), OwnerError>>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl LogOwner {
    /// Starts the thread and opens the log. Gives an error if that fails the first time.
    pub fn start(
        artifact: &Artifact,
        site: Site,
        settings: Settings,
        events: impl OwnerEvents,
    ) -> Result<Self> {
        let queue = Arc::new(Queue::new(settings.queue, settings.queue_bytes));
        let (started, starting) = std::sync::mpsc::sync_channel(1);
        let (artifact, shared) = (artifact.clone(), queue.clone());
        let run = move || {
            let owner = thread::Owner::open(artifact, site, settings, Box::new(events), shared);
            match owner {
                Ok(owner) => {
                    let _ = started.send(Ok(()));
                    owner.run()
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                    Ok(())
                }
            }
        };
        let thread =
            std::thread::Builder::new().name("secure-log-owner".into()).spawn(run).map_err(Error::Thread)?;
        match starting.recv() {
            Ok(outcome) => outcome?,
            Err(_) => return Err(Error::Thread(std::io::Error::other("it ended before the log was open"))),
        }
        Ok(Self { handle: Arc::new(Handle { queue, thread: Mutex::new(Some(thread)) }) })
    }

    /// Gives a record to the gate. The answer comes when it is judged and, if accepted, durable.
    pub fn submit(&self, submission: Submission) -> Answer<Verdict> {
        let bytes = submission.payload.len();
        if bytes > MAX_PAYLOAD {
            let reason = format!("{bytes} bytes; it has at most {MAX_PAYLOAD}");
            return Answer::ready(Err(secure_log::Error::invalid("payload", reason).into()));
        }
        let (sender, answer) = oneshot::channel();
        match self.handle.queue.push(Job::Submit(submission, sender)) {
            Ok(()) => Answer::waiting(answer),
            Err(error) => Answer::ready(Err(error)),
        }
    }

    /// Lets `work` use the instance, after what was submitted before. It should do one thing: records wait meanwhile.
    pub fn call<T, F>(&self, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Hosted) -> failure::Result<T> + Send + 'static,
    {
        self.push_call(work, Access::MayWrite)
    }

    /// The same for `work` that only reads: afterwards there is nothing to seal.
    pub fn read<T, F>(&self, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Hosted) -> failure::Result<T> + Send + 'static,
    {
        self.push_call(work, Access::Reads)
    }

    fn push_call<T, F>(&self, work: F, access: Access) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Hosted) -> failure::Result<T> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let call = move |hosted: Result<&mut Hosted, OwnerError>| match hosted.map(work) {
            Ok(Ok(value)) => {
                // Whoever asked may have gone away.
                let _ = sender.send(Ok(value));
                None
            }
            Ok(Err(failure)) => {
                let fatal = failure.is_fatal();
                let error = OwnerError::from(failure);
                let _ = sender.send(Err(error.clone()));
                fatal.then_some(error)
            }
            Err(error) => {
                let _ = sender.send(Err(error));
                None
            }
        };
        match self.handle.queue.push(Job::Call(Box::new(call), access)) {
            Ok(()) => Answer::waiting(answer),
            Err(error) => Answer::ready(Err(error)),
        }
    }

    /// Why calls are refused at the moment: the instance died and another one could not be started yet.
    pub fn down(&self) -> Option<String> {
        self.handle.queue.down()
    }

    /// What it has done so far.
    pub fn statistics(&self) -> Statistics {
        self.handle.queue.statistics()
    }

    /// Takes nothing more, finishes what waits, writes down counted refusals, closes and signs segments if it is set
    /// to, and closes the log. Blocks until that is done; the second call, of any handle, gives `Closed`.
    pub fn shutdown(&self) -> Result<(), OwnerError> {
        self.handle.queue.close();
        let thread = self.handle.thread.lock().map_or(None, |mut thread| thread.take());
        let ended = thread.ok_or(OwnerError::Closed)?.join();
        ended.unwrap_or_else(|_| Err(OwnerError::Unavailable("its thread panicked".into())))
    }
}

impl std::fmt::Debug for LogOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogOwner").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}
