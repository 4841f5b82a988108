//! A gate in this process: a thread that owns a log over a SQLite file, and stores what waits in one transaction.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::Hash32;
use edgesentry_audit::gate::{
    Device, DeviceKey, Failure, LogGate, Part, Registered, Registration, Settings, Submission, Verdict,
};
use edgesentry_server::{BoxFuture, Closed, Gate, GateError, Stats};
use secure_log::store::OpenStore;
use secure_log::{Environment, NativeSecureLog, SecureLog};
use secure_log_keystore::{Config, SoftwareKeystore};
use secure_log_sqlite::SqliteSecureLogStore;
use tokio::sync::{Notify, oneshot};

type Log = NativeSecureLog<SqliteSecureLogStore, System>;

struct System;

impl Environment for System {
    fn now_ms(&mut self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }
}

struct Owner {
    gate: LogGate<Log>,
    keys: SoftwareKeystore,
}

type Call = Box<dyn FnOnce(&mut Owner) + Send>;

enum Job {
    Submit(Box<Submission>, oneshot::Sender<Result<Verdict, GateError>>),
    Call(Call),
}

/// What goes wrong with the next submissions.
#[derive(Clone)]
pub enum Fault {
    None,
    Busy,
    Stopped,
    Failed(Failure),
    /// They wait until they are told to go on.
    Held(Arc<Notify>),
}

impl Fault {
    pub fn disk_full(part: Part) -> Self {
        let error = secure_log::Error::Storage("/somewhere/audit.db: disk full".into());
        Self::Failed(Failure { part, error })
    }
}

pub struct NativeGate {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    fault: Mutex<Fault>,
    pub waiting: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl NativeGate {
    pub fn open(store: &Path) -> Self {
        let (jobs, inbox) = mpsc::channel();
        let config = store.to_str().unwrap().to_owned();
        let waiting = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::spawn({
            let waiting = waiting.clone();
            move || {
                let store = SqliteSecureLogStore::open(&config).unwrap();
                let log = NativeSecureLog::new(store, System, "test 1").unwrap();
                let gate = LogGate::new(log, Settings::default()).unwrap();
                let keys = SoftwareKeystore::new(Config::new(|bytes| {
                    getrandom::fill(bytes).map_err(|e| e.to_string())
                }));
                own(Owner { gate, keys }, &inbox, &waiting);
            }
        });
        Self {
            jobs: Mutex::new(Some(jobs)),
            fault: Mutex::new(Fault::None),
            waiting,
            thread: Mutex::new(Some(thread)),
        }
    }

    pub fn set_fault(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Owner) -> Result<T, Failure> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, GateError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let job = Job::Call(Box::new(move |owner| drop(answer.send(call(owner)))));
            self.send(job)?;
            answered.await.map_err(|_| GateError::Stopped)?.map_err(GateError::Failed)
        })
    }

    fn send(&self, job: Job) -> Result<(), GateError> {
        let jobs = self.jobs.lock().unwrap();
        jobs.as_ref().ok_or(GateError::Stopped)?.send(job).map_err(|_| GateError::Stopped)
    }
}

impl Drop for NativeGate {
    fn drop(&mut self) {
        drop(self.jobs.lock().unwrap().take());
        if let Some(thread) = self.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
    }
}

fn own(mut owner: Owner, inbox: &mpsc::Receiver<Job>, waiting: &AtomicUsize) {
    let mut next = inbox.recv().ok();
    while let Some(job) = next.take() {
        match job {
            Job::Call(call) => call(&mut owner),
            Job::Submit(submission, answer) => {
                let (mut batch, mut answers) = (vec![*submission], vec![answer]);
                while batch.len() < 256 {
                    match inbox.try_recv() {
                        Ok(Job::Submit(submission, answer)) => {
                            batch.push(*submission);
                            answers.push(answer);
                        }
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                waiting.fetch_sub(batch.len(), Ordering::Relaxed);
                match owner.gate.submit_batch(&batch) {
                    Ok(verdicts) => {
                        for (verdict, answer) in verdicts.into_iter().zip(answers) {
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
        if next.is_none() {
            next = inbox.recv().ok();
        }
    }
    owner.gate.flush().unwrap();
}

fn ledger(error: secure_log::Error) -> Failure {
    Failure { part: Part::AuditLedger, error }
}

impl Gate for NativeGate {
    fn emits_events(&self) -> bool {
        true
    }

    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Verdict, GateError>> {
        Box::pin(async move {
            let fault = self.fault.lock().unwrap().clone();
            match fault {
                Fault::None => {}
                Fault::Busy => return Err(GateError::Busy),
                Fault::Stopped => return Err(GateError::Stopped),
                Fault::Failed(failure) => return Err(GateError::Failed(failure)),
                Fault::Held(go) => {
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                    go.notified().await;
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
            }
            let (answer, answered) = oneshot::channel();
            self.waiting.fetch_add(1, Ordering::Relaxed);
            self.send(Job::Submit(Box::new(submission), answer))?;
            answered.await.map_err(|_| GateError::Stopped)?
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(|owner| owner.gate.flush())
    }

    fn health(&self) -> BoxFuture<'_, Result<(), GateError>> {
        if let Fault::Failed(failure) = self.fault.lock().unwrap().clone() {
            return Box::pin(async { Err(GateError::Failed(failure)) });
        }
        self.call(|owner| SecureLog::head(owner.gate.log_mut(), "_log").map(drop).map_err(ledger))
    }

    fn register(
        &self,
        device_id: String,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, GateError>> {
        self.call(move |owner| owner.gate.register(&device_id, &registration))
    }

    fn add_key(
        &self,
        device_id: String,
        public_key: VerifyingKey,
        not_before_ms: Option<u64>,
        not_after_ms: Option<u64>,
    ) -> BoxFuture<'_, Result<DeviceKey, GateError>> {
        self.call(move |owner| owner.gate.add_key(&device_id, &public_key, not_before_ms, not_after_ms))
    }

    fn revoke_key(&self, device_id: String, key_id: String) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(move |owner| owner.gate.revoke_key(&device_id, &key_id))
    }

    fn revoke_device(&self, device_id: String) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(move |owner| owner.gate.revoke_device(&device_id))
    }

    fn allow_versions(&self, device_id: String, versions: Vec<u8>) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(move |owner| owner.gate.allow_versions(&device_id, &versions))
    }

    fn open_epoch(
        &self,
        device_id: String,
        first: u64,
        anchor: Hash32,
    ) -> BoxFuture<'_, Result<Device, GateError>> {
        self.call(move |owner| owner.gate.open_epoch(&device_id, first, &anchor))
    }

    fn get(&self, device_id: String) -> BoxFuture<'_, Result<Option<Device>, GateError>> {
        self.call(move |owner| owner.gate.get(&device_id))
    }

    fn list_ids(&self, skip: u64, limit: u32) -> BoxFuture<'_, Result<Vec<String>, GateError>> {
        self.call(move |owner| owner.gate.list_ids(skip, limit))
    }

    fn close_segments(&self) -> BoxFuture<'_, Result<Closed, GateError>> {
        self.call(|owner| {
            let log = owner.gate.log_mut();
            let segments = log.close_segments().map_err(ledger)?;
            let checkpoint = match segments.last() {
                None => None,
                Some(last) => {
                    Some(log.sign_segment(&mut owner.keys, "main", last.segment_id).map_err(ledger)?)
                }
            };
            Ok(Closed { segments, checkpoint })
        })
    }

    fn backup(&self, config: String) -> BoxFuture<'_, Result<(), GateError>> {
        self.call(move |owner| SecureLog::backup(owner.gate.log_mut(), &config).map_err(ledger))
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, GateError>> {
        let waiting = self.waiting.load(Ordering::Relaxed) as u64;
        self.call(move |owner| {
            let devices = owner.gate.list_ids(0, 1000)?.len() as u64;
            let log = owner.gate.log_mut();
            let origin = log.origin().map_err(ledger)?;
            let checkpoint = log.latest_checkpoint().map_err(ledger)?;
            Ok(Stats { origin, devices, waiting, checkpoint })
        })
    }
}
