//! A server over a real gate over a real store, and clients over real sockets.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

pub mod certs;
pub mod client;
mod gate;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use edgesentry_audit::{AuditRecord, NetworkPolicy, build_signed_record};
use edgesentry_server::http::{Handle, Server, ServerBuilder};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use client::{Answer, Http};
pub use gate::{Fault, NativeGate};

/// Longest that anything here is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. It stops when this is dropped.
pub struct TestServer {
    pub addr: SocketAddr,
    pub health: Option<SocketAddr>,
    pub handle: Handle,
    pub gate: Arc<NativeGate>,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<usize>>,
    dir: TempDir,
}

/// Allows loopback.
pub fn loopback() -> NetworkPolicy {
    allowing(&["127.0.0.0/8", "::1"])
}

pub fn allowing(sources: &[&str]) -> NetworkPolicy {
    let mut policy = NetworkPolicy::new();
    for source in sources {
        policy.allow(source).unwrap();
    }
    policy
}

impl TestServer {
    /// One that lets loopback in.
    pub fn start() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::in_dir(TempDir::new().unwrap(), change)
    }

    pub fn in_dir(dir: TempDir, change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let gate = Arc::new(NativeGate::open(&dir.path().join("audit.db")));
        let builder = change(Server::builder(gate.clone()).policy(loopback()));
        let server = runtime.block_on(builder.bind()).unwrap();
        let (addr, handle) = (server.local_addr().unwrap(), server.handle());
        let health = server.health_addr().map(Result::unwrap);
        let (stop, stopped) = oneshot::channel();
        let served = runtime.spawn(server.serve(async move { drop(stopped.await) }));
        Self {
            addr,
            health,
            handle,
            gate,
            runtime: Some(runtime),
            stop: Some(stop),
            served: Some(served),
            dir,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("audit.db")
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    /// Registers a device and gives what signs for it.
    pub fn device(&self, id: &str) -> TestDevice {
        let device = TestDevice::new(id);
        self.block_on(device.register(&self.gate));
        device
    }

    pub fn http(&self) -> Http {
        Http::connect(self.addr)
    }

    /// Tells it to stop, without waiting.
    pub fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped; gives the number of connections that were cut off.
    pub fn stopped(&mut self) -> usize {
        let served = self.served.take().unwrap();
        self.runtime
            .as_ref()
            .unwrap()
            .block_on(async { tokio::time::timeout(PATIENCE, served).await })
            .expect("the server stops")
            .unwrap()
    }

    /// The value of a metric, by the beginning of its line.
    pub fn metric(&self, name: &str) -> f64 {
        value(&self.handle.metrics().encode(), name)
    }

    /// Waits until a metric has a value.
    pub fn await_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        eventually(name, || Some(self.metric(name)).filter(|found| wanted(*found)))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            drop(self.stop.take());
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

pub fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no metric {name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Asks again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A device: its key and the end of its chain.
pub struct TestDevice {
    pub id: String,
    pub key: SigningKey,
    pub sequence: u64,
    pub prev: [u8; 32],
}

impl TestDevice {
    pub fn new(id: &str) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let key = SigningKey::from_bytes(&seed);
        Self { id: id.into(), key, sequence: 0, prev: AuditRecord::zero_hash() }
    }

    pub async fn register(&self, gate: &NativeGate) {
        use edgesentry_audit::gate::Registration;
        use edgesentry_server::Gate as _;
        gate.register(self.id.clone(), Registration::new(self.key.verifying_key())).await.unwrap();
    }

    /// The next record about a payload.
    pub fn record(&mut self, payload: &[u8]) -> AuditRecord {
        self.sequence += 1;
        let reference = format!("{}/{}", self.id, self.sequence);
        let record = build_signed_record(
            &*self.id,
            self.sequence,
            1_700_000_000_000 + self.sequence,
            payload,
            self.prev,
            reference,
            &self.key,
        );
        self.prev = record.hash();
        record
    }

    /// The body of a request with the next record.
    pub fn body(&mut self, payload: &[u8]) -> Vec<u8> {
        body(&self.record(payload), payload)
    }
}

pub fn body(record: &AuditRecord, payload: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({ "record": record, "raw_payload_hex": hex::encode(payload) }))
        .unwrap()
}

/// Resident memory of this process, KiB.
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
