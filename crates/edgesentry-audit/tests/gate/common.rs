//! What the tests share: a store that several logs use, a gate over it, devices that sign.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use edgesentry_audit::gate::{
    Failure, GateLog, LogGate, Outcome, Receipt, Registration, Settings, Submission, Verdict, streams,
};
use edgesentry_audit::{AuditRecord, build_signed_record, build_signed_record_v1};
use secure_log::model::*;
use secure_log::store::{
    FoundPage, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log::{Environment, NativeSecureLog, Result, SecureLog};
use secure_log_sqlite::SqliteSecureLogStore;

/// The machine's clock and randomness.
pub struct Machine;

impl Environment for Machine {
    fn now_ms(&mut self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }

    fn pause(&mut self, time: std::time::Duration) {
        std::thread::sleep(time);
    }
}

/// One store under several logs, as servers side by side have it; and it can be tampered with.
#[derive(Clone)]
pub struct Shared {
    store: Arc<Mutex<SqliteSecureLogStore>>,
    tampered: Arc<Mutex<Option<(String, u64)>>>,
    /// Appends that were tried.
    pub appends: Arc<AtomicU64>,
}

impl Shared {
    pub fn new() -> Self {
        Self::open(":memory:")
    }

    pub fn open(config: &str) -> Self {
        let store = SqliteSecureLogStore::open(config).unwrap();
        Self { store: Arc::new(Mutex::new(store)), tampered: Arc::default(), appends: Arc::default() }
    }

    fn store(&self) -> MutexGuard<'_, SqliteSecureLogStore> {
        self.store.lock().unwrap()
    }

    /// From now on the last byte of this entry's payload reads as another one.
    pub fn tamper(&self, stream_id: &str, seqno: u64) {
        *self.tampered.lock().unwrap() = Some((stream_id.to_owned(), seqno));
    }

    pub fn log(&self) -> Log {
        NativeSecureLog::new(self.clone(), Machine, "test 1").unwrap()
    }

    /// Gives the file back, so that it can be opened again.
    pub fn close(self) {
        let store = Arc::into_inner(self.store).expect("another log still has the store");
        SecureLogStore::close(store.into_inner().unwrap()).unwrap();
    }
}

pub type Log = NativeSecureLog<Shared, Machine>;

impl SecureLogStore for Shared {
    fn append(&mut self, a: &[StreamAppend], e: &[StreamHead], o: &[ObjectWrite]) -> Result<()> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.store().append(a, e, o)
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        self.store().head(stream_id)
    }

    fn read_rows(&mut self, stream_id: &str, from: u64, limit: u32, payloads: bool) -> Result<Vec<Row>> {
        let mut rows = self.store().read_rows(stream_id, from, limit, payloads)?;
        if let Some((stream, seqno)) = &*self.tampered.lock().unwrap()
            && stream == stream_id
        {
            for row in rows.iter_mut().filter(|row| row.seqno == *seqno) {
                if let Some(last) = row.payload.as_mut().and_then(|payload| payload.last_mut()) {
                    *last ^= 1;
                }
            }
        }
        Ok(rows)
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        self.store().find_id(stream_id, id)
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        self.store().list_heads(after, limit)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        self.store().query(filter, cursor, limit)
    }

    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        self.store().read_object(kind, key)
    }

    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        self.store().list_objects(kind, prefix, after, limit)
    }

    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        self.store().last_object(kind, prefix)
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        self.store().write_tiles(stream_id, tiles)
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        self.store().read_tile(stream_id, level, index)
    }

    fn erase_payloads(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<u64> {
        self.store().erase_payloads(stream_id, from_seqno, to_seqno)
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        self.store().backup(config)
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

/// A log around which things happen: before an append, or to its answer.
pub struct Around {
    pub log: Log,
    /// Runs before the next append.
    pub before: Option<Box<dyn FnOnce() + Send>>,
    /// Runs before each append.
    pub always: Option<Box<dyn FnMut() + Send>>,
    /// How many appends are done but answered `Unavailable`.
    pub lose: u32,
    /// How many appends are not done, with this error.
    pub fail: Vec<secure_log::Error>,
    /// Calls to the log.
    pub calls: u64,
}

impl Around {
    pub fn new(log: Log) -> Self {
        Self { log, before: None, always: None, lose: 0, fail: Vec::new(), calls: 0 }
    }
}

impl GateLog for Around {
    fn append_batch(&mut self, events: Vec<Event>, expect: &[StreamHead]) -> Result<Vec<AppendResult>> {
        self.calls += 1;
        if let Some(before) = self.before.take() {
            before();
        }
        if let Some(always) = &mut self.always {
            always();
        }
        if let Some(error) = self.fail.pop() {
            return Err(error);
        }
        let results = SecureLog::append_batch(&mut self.log, events, expect)?;
        if self.lose > 0 {
            self.lose -= 1;
            return Err(secure_log::Error::Unavailable("the answer was lost".into()));
        }
        Ok(results)
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        self.calls += 1;
        SecureLog::head(&mut self.log, stream_id)
    }

    fn read(&mut self, stream_id: &str, seqno: u64) -> Result<Entry> {
        self.calls += 1;
        SecureLog::read(&mut self.log, stream_id, seqno)
    }

    fn read_payload(&mut self, stream_id: &str, seqno: u64) -> Result<Vec<u8>> {
        self.calls += 1;
        SecureLog::read_payload(&mut self.log, stream_id, seqno)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<QueryPage> {
        self.calls += 1;
        SecureLog::query(&mut self.log, filter, cursor, limit)
    }
}

/// A gate that writes an entry for each refusal.
pub fn gate(store: &Shared, gate_id: &str) -> LogGate<Log> {
    gate_on(store.log(), gate_id, 0)
}

pub fn gate_on<L: GateLog>(log: L, gate_id: &str, refusal_interval_ms: u64) -> LogGate<L> {
    LogGate::new(log, Settings { gate_id: gate_id.into(), refusal_interval_ms }).unwrap()
}

/// A clock that the test moves.
pub fn clock() -> (Arc<AtomicU64>, impl FnMut() -> u64 + Send + 'static) {
    let now = Arc::new(AtomicU64::new(1_800_000_000_000));
    let read = now.clone();
    (now, move || read.load(Ordering::SeqCst))
}

pub fn key(n: u64) -> SigningKey {
    SigningKey::from_bytes(blake3::hash(&n.to_be_bytes()).as_bytes())
}

/// A device that signs record after record.
#[derive(Clone)]
pub struct Signer {
    pub id: String,
    pub key: SigningKey,
    pub version: u8,
    pub next: u64,
    pub prev: [u8; 32],
    pub time_ms: u64,
}

impl Signer {
    pub fn new(id: &str, key: SigningKey) -> Self {
        Self { id: id.into(), key, version: 2, next: 1, prev: [0; 32], time_ms: 1_700_000_000_000 }
    }

    pub fn registration(&self) -> Registration {
        Registration::new(self.key.verifying_key())
    }

    pub fn register<L: GateLog>(&self, gate: &mut LogGate<L>) {
        let versions = if self.version == 1 { vec![1, 2] } else { vec![2] };
        gate.register(&self.id, &Registration { versions, ..self.registration() }).unwrap();
    }

    /// The record that comes next, and goes on behind it.
    pub fn sign(&mut self, payload: &[u8]) -> Submission {
        let submission = self.peek(payload);
        self.next += 1;
        self.prev = submission.record.hash();
        submission
    }

    /// The record that comes next.
    pub fn peek(&self, payload: &[u8]) -> Submission {
        let build = if self.version == 1 { build_signed_record_v1 } else { build_signed_record };
        let object_ref = format!("{}/{}", self.id, self.next);
        submission(
            build(self.id.as_str(), self.next, self.time_ms, payload, self.prev, object_ref, &self.key),
            payload,
        )
    }
}

pub fn submission(record: AuditRecord, payload: &[u8]) -> Submission {
    Submission { record, payload: payload.to_vec(), route_identity: None, source: Some("192.0.2.7".into()) }
}

pub fn accepted(verdict: &Verdict) -> &Receipt {
    match &verdict.outcome {
        Outcome::Accepted(receipt) => receipt,
        Outcome::Rejected(error) => panic!("{error}"),
    }
}

pub fn reason(verdict: &Verdict) -> &'static str {
    match &verdict.outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::Rejected(error) => error.reason(),
    }
}

pub fn accept<L: GateLog>(gate: &mut LogGate<L>, submission: &Submission) -> Receipt {
    accepted(&gate.submit(submission).unwrap()).clone()
}

/// The entries of a stream as JSON, with their event types.
pub fn json_entries(log: &mut Log, stream: &str) -> Vec<(String, serde_json::Value)> {
    let last = SecureLog::head(log, stream).unwrap().map_or(0, |head| head.seqno);
    let entry = |seqno| {
        let entry = SecureLog::read(log, stream, seqno).unwrap();
        let payload = SecureLog::read_payload(log, stream, seqno).unwrap();
        (entry.header.event_type, serde_json::from_slice(&payload).unwrap())
    };
    (1..=last).map(entry).collect()
}

pub fn operations(log: &mut Log, gate_id: &str) -> Vec<(String, serde_json::Value)> {
    json_entries(log, &streams::operations(gate_id))
}

/// Heads of everything but decisions and `_log`.
pub fn stored(log: &mut Log) -> BTreeMap<String, u64> {
    let streams = log.list_streams().unwrap().into_iter().filter_map(|stream| stream.head);
    streams
        .filter(|head| head.stream_id != "_log" && !head.stream_id.starts_with("operations/"))
        .map(|head| (head.stream_id, head.seqno))
        .collect()
}

/// Everything in the log holds.
pub fn verify(log: &mut Log) {
    for stream in log.list_streams().unwrap() {
        if let Some(head) = stream.head {
            log.verify_chain(&stream.stream_id, 1, head.seqno).unwrap();
        }
    }
}

/// Submits what must be refused: it is, with this reason; the decision is logged; nothing is stored.
pub fn refused(gate: &mut LogGate<Log>, submission: &Submission, expected: &str) -> Verdict {
    let gate_id = gate.settings().gate_id.clone();
    let before = stored(gate.log_mut());
    let logged = operations(gate.log_mut(), &gate_id).len();
    let verdict = gate.submit(submission).unwrap();
    assert_eq!(reason(&verdict), expected);
    assert_eq!(stored(gate.log_mut()), before, "nothing is stored");
    let operations = operations(gate.log_mut(), &gate_id);
    assert_eq!(operations.len(), logged + 1, "the decision is logged");
    let (event_type, entry) = operations.last().unwrap();
    assert_eq!(event_type, "rejected");
    assert_eq!(entry["decision"], "rejected");
    assert_eq!(entry["reason"], expected);
    assert_eq!(entry["sequence"], submission.record.sequence);
    assert_eq!(entry["source"], "192.0.2.7");
    assert_eq!(entry["count"], 1);
    assert_eq!(entry["record_hash"], hex::encode(submission.record.hash()));
    verdict
}

pub fn error<T: std::fmt::Debug>(result: std::result::Result<T, Failure>) -> secure_log::Error {
    result.unwrap_err().error
}
