//! A gate over a SQLite file, owned by a thread that stores what waits in one transaction.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::Hash32;
use edgesentry_audit::gate::{
    Device, DeviceKey, Failure, LogGate, Part, Registered, Registration, Settings, Submission, Verdict,
};
use edgesentry_server::{BoxFuture, Closed, Gate, GateError, Stats};
use secure_log::store::OpenStore;
use secure_log::{Environment, NativeSecureLog};
use secure_log_sqlite::SqliteSecureLogStore;
use tokio::sync::oneshot;

pub type Local = LogGate<NativeSecureLog<SqliteSecureLogStore, System>>;

pub struct System;

impl Environment for System {
    fn now_ms(&mut self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    }
    fn fill_random(&mut self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }
    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Opens the store; whoever held it before is gone.
pub fn open(path: &Path) -> Local {
    let store = SqliteSecureLogStore::open(&format!("{}?lock=host", path.display())).unwrap();
    let log = NativeSecureLog::new(store, System, "test 1").unwrap();
    LogGate::new(log, Settings { refusal_interval_ms: 0, ..Settings::default() }).unwrap()
}

type Job = (Submission, oneshot::Sender<Result<Verdict, GateError>>);

/// What goes wrong with a store.
#[derive(Default)]
pub struct Faults {
    /// Every submission fails.
    pub all: AtomicBool,
    /// Every so many submissions one fails; 0: none.
    pub every: AtomicU64,
    count: AtomicU64,
    /// What is stored of this device does not hold.
    pub corrupt: Mutex<Option<String>>,
}

impl Faults {
    fn strikes(&self) -> bool {
        let every = self.every.load(Ordering::SeqCst);
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        self.all.load(Ordering::SeqCst) || every > 0 && count % every == every - 1
    }
}

/// Such a gate for a server. Dropping it closes the store.
pub struct NativeGate {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    faults: Arc<Faults>,
}

impl Drop for NativeGate {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl NativeGate {
    pub fn new(path: &Path, faults: Arc<Faults>) -> Self {
        let mut gate = open(path);
        let (jobs, waiting) = channel();
        let thread = {
            let faults = Arc::clone(&faults);
            std::thread::spawn(move || work(&mut gate, &waiting, &faults))
        };
        Self { jobs: Some(jobs), thread: Some(thread), faults }
    }
}

fn work(gate: &mut Local, waiting: &Receiver<Job>, faults: &Faults) {
    while let Ok(first) = waiting.recv() {
        let jobs: Vec<Job> = std::iter::once(first).chain(waiting.try_iter().take(999)).collect();
        let (submissions, answers): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        let corrupt = faults.corrupt.lock().unwrap().clone();
        let hit = corrupt.filter(|id| submissions.iter().any(|s: &Submission| s.record.device_id == *id));
        let verdicts = match hit {
            // A batch fails as a whole.
            Some(id) => {
                let error = secure_log::Error::corrupt(format!("registry/{id}"), 1, "bent");
                Err(Failure { part: Part::Registry, error })
            }
            None => gate.submit_batch(&submissions),
        };
        match verdicts {
            Ok(verdicts) => {
                for (answer, verdict) in answers.into_iter().zip(verdicts) {
                    let _ = answer.send(Ok(verdict));
                }
            }
            Err(failure) => {
                for answer in answers {
                    let _ = answer.send(Err(GateError::Failed(failure.clone())));
                }
            }
        }
    }
}

/// What no message asks for.
fn not_here<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, GateError>> {
    Box::pin(async { Err(GateError::Stopped) })
}

impl Gate for NativeGate {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Verdict, GateError>> {
        if self.faults.strikes() {
            let error = secure_log::Error::Storage("the disk is full".into());
            return Box::pin(async { Err(GateError::Failed(Failure { part: Part::AuditLedger, error })) });
        }
        let (answer, verdict) = oneshot::channel();
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send((submission, answer)).is_ok());
        Box::pin(async move {
            let gone = Err(GateError::Stopped);
            if sent { verdict.await.unwrap_or(gone) } else { gone }
        })
    }
    fn flush(&self) -> BoxFuture<'_, Result<(), GateError>> {
        not_here()
    }
    fn health(&self) -> BoxFuture<'_, Result<(), GateError>> {
        not_here()
    }
    fn register(&self, _: String, _: Registration) -> BoxFuture<'_, Result<Registered, GateError>> {
        not_here()
    }
    fn add_key(
        &self,
        _: String,
        _: VerifyingKey,
        _: Option<u64>,
        _: Option<u64>,
    ) -> BoxFuture<'_, Result<DeviceKey, GateError>> {
        not_here()
    }
    fn revoke_key(&self, _: String, _: String) -> BoxFuture<'_, Result<(), GateError>> {
        not_here()
    }
    fn revoke_device(&self, _: String) -> BoxFuture<'_, Result<(), GateError>> {
        not_here()
    }
    fn allow_versions(&self, _: String, _: Vec<u8>) -> BoxFuture<'_, Result<(), GateError>> {
        not_here()
    }
    fn open_epoch(&self, _: String, _: u64, _: Hash32) -> BoxFuture<'_, Result<Device, GateError>> {
        not_here()
    }
    fn get(&self, _: String) -> BoxFuture<'_, Result<Option<Device>, GateError>> {
        not_here()
    }
    fn list_ids(&self, _: u64, _: u32) -> BoxFuture<'_, Result<Vec<String>, GateError>> {
        not_here()
    }
    fn close_segments(&self) -> BoxFuture<'_, Result<Closed, GateError>> {
        not_here()
    }
    fn backup(&self, _: String) -> BoxFuture<'_, Result<(), GateError>> {
        not_here()
    }
    fn stats(&self) -> BoxFuture<'_, Result<Stats, GateError>> {
        not_here()
    }
}
