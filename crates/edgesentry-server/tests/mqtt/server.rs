//! The server under test, and its store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use edgesentry_audit::gate::Registration;
use edgesentry_server::mqtt::{MqttConfig, MqttError, MqttTls, serve_mqtt};
use edgesentry_server::{Intake, Metrics};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing_subscriber::fmt::MakeWriter;

use crate::broker::Broker;
use crate::device::{Device, payload};
use crate::native::{self, Faults, NativeGate};

/// A store in a file.
pub struct Store {
    path: PathBuf,
    faults: Arc<Faults>,
    _dir: Option<TempDir>,
}

impl Store {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().join("audit.db"), faults: Arc::default(), _dir: Some(dir) }
    }

    pub fn at(path: PathBuf) -> Self {
        Self { path, faults: Arc::default(), _dir: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Registers devices with their keys.
    pub fn register(&self, devices: &[&Device]) {
        let mut gate = native::open(&self.path);
        for device in devices {
            gate.register(&device.id, &Registration::new(device.key.verifying_key())).unwrap();
        }
    }

    /// All submissions fail from now on, or no more.
    pub fn fail(&self, all: bool) {
        self.faults.all.store(all, Ordering::SeqCst);
    }

    /// Every `n`th fails; 0: none.
    pub fn fail_every(&self, n: u64) {
        self.faults.every.store(n, Ordering::SeqCst);
    }

    /// What is stored of this device does not hold from now on.
    pub fn corrupt(&self, device: &str) {
        *self.faults.corrupt.lock().unwrap() = Some(device.to_owned());
    }

    /// Records 1 to `count` of a device are there, each once, with its payload and verified; nothing else is.
    pub fn assert_stored(&self, device: &str, count: u64) {
        let mut gate = native::open(&self.path);
        assert_eq!(gate.get(device).unwrap().unwrap().next_sequence, count + 1, "{device}");
        let report = gate.audit_device(device).unwrap();
        assert_eq!((report.epochs.len(), report.records), (1, count), "{device}");
        for n in (1..=count).step_by(1 + count as usize / 100).chain((count > 0).then_some(count)) {
            let stored = gate.read_record(device, 1, n).unwrap();
            assert_eq!((stored.receipt.seqno, stored.record.sequence), (n, n));
            assert_eq!(stored.payload, payload(device, n), "payload {n} of {device}");
        }
    }
}

/// Log events of all servers in this process, a line of JSON each.
#[derive(Clone, Copy)]
struct Lines;

static LINES: Mutex<String> = Mutex::new(String::new());

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        *self
    }
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .json()
            .with_env_filter("warn,edgesentry_audit::transport=info,edgesentry_audit::ingest=error")
            .with_writer(Lines)
            .init();
    });
}

/// For a broker, as a client `eds-test`; with TLS where the broker has it.
pub fn config(broker: &Broker, topic: &str) -> MqttConfig {
    let mut config = MqttConfig::new("127.0.0.1", topic, "eds-test");
    config.port = broker.port;
    config.backoff = (Duration::from_millis(20), Duration::from_millis(500));
    let ca = broker.file("ca.crt");
    config.tls = ca.exists().then_some(MqttTls { ca_cert: Some(ca), client_cert: None });
    config
}

/// `serve_mqtt` over a store.
pub struct Server {
    port: u16,
    metrics: Arc<Metrics>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), MqttError>>,
}

impl Server {
    /// Returns when it is subscribed.
    pub async fn start(config: MqttConfig, store: &Store) -> Self {
        let server = Self::start_unconnected(config, store).await;
        server.until("edgesentry_mqtt_connected", 1).await;
        server.subscribed().await;
        server
    }

    pub async fn start_unconnected(config: MqttConfig, store: &Store) -> Self {
        Self::try_start(config, store).await.unwrap()
    }

    /// Fails if serving does not begin.
    pub async fn try_start(config: MqttConfig, store: &Store) -> Result<Self, MqttError> {
        listen();
        let port = config.port;
        let metrics = Arc::new(Metrics::new());
        let gate = Arc::new(NativeGate::new(store.path(), Arc::clone(&store.faults)));
        let intake = Arc::new(Intake::new(gate, Arc::clone(&metrics), None));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve_mqtt(config, intake, async move { drop(stopped.await) }));
        sleep(Duration::from_millis(30)).await;
        if task.is_finished() {
            return Err(task.await.unwrap().unwrap_err());
        }
        Ok(Self { port, metrics, stop, task })
    }

    /// Stops it as a signal would, and waits until it is over and the store closed.
    pub async fn stop(self) {
        drop(self.stop);
        timeout(Duration::from_secs(30), self.task).await.expect("it does not stop").unwrap().unwrap();
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// The value of a metric, by its line in the text format.
    pub fn metric(&self, name: &str) -> u64 {
        metric_of(&self.metrics.encode(), name)
    }

    /// Waits until a metric has at least this value.
    pub async fn until(&self, name: &str, value: u64) {
        let began = Instant::now();
        while self.metric(name) < value {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{name} is {}, not {value}",
                self.metric(name)
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the broker has heard so many acknowledgements.
    pub async fn until_acknowledged(&self, broker: &Broker, count: usize) {
        let began = Instant::now();
        while broker.acknowledged("eds-test") < count {
            let heard = broker.acknowledged("eds-test");
            assert!(began.elapsed() < Duration::from_secs(20), "{heard} acknowledgements, not {count}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has said that it is subscribed.
    pub async fn subscribed(&self) {
        let began = Instant::now();
        while self.logged("MQTT subscribed").is_empty() {
            assert!(began.elapsed() < Duration::from_secs(20), "not subscribed: {}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Log events with this message about this server's broker.
    pub fn logged(&self, message: &str) -> String {
        let (message, port) = (format!("\"message\":\"{message}\""), format!("\"port\":{},", self.port));
        let of = |line: &&str| line.contains(&message) && format!("{line},").contains(&port);
        LINES.lock().unwrap().lines().filter(of).collect::<Vec<_>>().join("\n")
    }

    /// All log events of this process.
    pub fn log(&self) -> String {
        LINES.lock().unwrap().clone()
    }
}

pub fn metric_of(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}
