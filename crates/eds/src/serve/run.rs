//! Running a server: the log's owner, the devices, the transport, signals, the end.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use edgesentry_audit::NetworkPolicy;
use edgesentry_audit::gate::{self, Registered, Registration};
use edgesentry_audit::identity::key_id;
use edgesentry_server::admin::socket_path;
use edgesentry_server::http::{Handle, Limits, Server, ServerBuilder, TlsSettings, raise_open_files};
use edgesentry_server::logging::{self, Form};
use edgesentry_server::mqtt::{MqttConfig, serve_mqtt};
use edgesentry_server::{Gate, Intake, Metrics, Rate};
use sd_notify::NotifyState;
use secure_log_host::{LogOwner, OwnerError, OwnerEvents, Sealed, Sealing, Settings};
use tokio::signal::unix::{SignalKind, signal};

use super::args::{GateArgs, HttpArgs, LogFormat};
use super::gate::{OwnerGate, checkpoint};
use super::publish::Publisher;
use crate::audit::devices::parse_device;
use crate::log::witness::read_policy;
use crate::open::{Part, Place, canonical};
use crate::output::{note, warn};
use crate::signing::{Signing, find_key};

/// Target of what is logged about the store.
const TARGET: &str = "edgesentry_audit::store";

/// Serves records over HTTP, or HTTPS.
pub(super) fn http(address: SocketAddr, args: HttpArgs, tls: Option<TlsSettings>) -> Result<()> {
    let policy = policy("--allowed-sources", &args.allowed_sources)?;
    let proxies = self::policy("--trusted-proxies", &args.trusted_proxies)?;
    let limits = Limits {
        connections: args.max_connections as usize,
        drain_time: args.drain_time,
        source_rate: args.rate_limit_source.map(Rate::per_second),
        device_rate: args.gate.rate_limit_device.map(Rate::per_second),
        ..Limits::default()
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    run(&args.gate, async |started| {
        let mut builder =
            started.builder().listen(address).policy(policy).trusted_proxies(proxies).limits(limits);
        if let Some(tls) = tls {
            builder = builder.tls(tls);
        }
        let server = builder.bind().await?;
        // Before anybody is told that it is there, and may tell it to stop.
        let stop = until_told_to_stop(server.handle())?;
        note(format_args!("listening on {scheme}://{}", server.local_addr()?));
        started.ready(&server)?;
        server.serve(stop).await;
        Ok(())
    })
}

/// Serves records from a broker. A server for HTTP runs beside it, for the operator's calls, health and metrics; it takes
/// no records.
pub(super) fn mqtt(config: MqttConfig, allowed_sources: &[String], args: GateArgs) -> Result<()> {
    let policy = policy("--allowed-sources", allowed_sources)?;
    let device_rate = args.rate_limit_device.map(Rate::per_second);
    run(&args, async |started| {
        let no_records = Limits { body: 0, ..Limits::default() };
        let server = started.builder().policy(policy).limits(no_records).bind().await?;
        let intake = Arc::new(Intake::new(started.gate.clone(), started.metrics.clone(), device_rate));
        let stop = tokio_stop(until_told_to_stop(server.handle())?);
        let (mut stopped, mut also_stopped) = (stop.clone(), stop);
        note(format_args!("taking records from {}:{}, topic {}", config.broker, config.port, config.topic));
        started.ready(&server)?;
        let beside = tokio::spawn(async move {
            server.serve(async move { _ = also_stopped.wait_for(|told| *told).await }).await
        });
        let outcome =
            serve_mqtt(config, intake, async move { _ = stopped.wait_for(|told| *told).await }).await;
        if outcome.is_ok() {
            let _ = beside.await;
        }
        Ok(outcome?)
    })
}

/// Tells several at once.
fn tokio_stop(stop: impl Future<Output = ()> + Send + 'static) -> tokio::sync::watch::Receiver<bool> {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        stop.await;
        let _ = sender.send(true);
    });
    receiver
}

fn policy(option: &str, sources: &[String]) -> Result<NetworkPolicy> {
    let mut policy = NetworkPolicy::new();
    for source in sources.iter().map(|source| source.trim()).filter(|source| !source.is_empty()) {
        let what = || {
            format!("{option} {source:?}: use addresses and networks (10.0.0.0/8), with commas between them")
        };
        match source.parse() {
            Ok(address) => policy.allow_ip(address),
            Err(_) => policy.allow_cidr(source).with_context(what)?,
        }
    }
    Ok(policy)
}

/// A store that is open, with its gate.
struct Started {
    gate: Arc<dyn Gate>,
    metrics: Arc<Metrics>,
    socket: Option<PathBuf>,
    metrics_addr: Option<SocketAddr>,
}

impl Started {
    fn builder(&self) -> ServerBuilder {
        let mut builder = Server::builder(self.gate.clone()).metrics(self.metrics.clone());
        if let Some(address) = self.metrics_addr {
            builder = builder.health(address);
        }
        if let Some(socket) = &self.socket {
            builder = builder.admin(socket);
        }
        builder
    }

    /// Says that the server takes records now.
    fn ready(&self, server: &Server) -> Result<()> {
        if let Some(address) = server.health_addr() {
            note(format_args!("health and metrics on http://{}", address?));
        }
        sd_notify::notify(false, &[NotifyState::Ready]).context("cannot tell the service manager")
    }
}

fn run(args: &GateArgs, serve: impl AsyncFnOnce(&Started) -> Result<()>) -> Result<()> {
    let form = match args.log_format {
        LogFormat::Json => Form::Json,
        LogFormat::Text => Form::Text,
    };
    let _logging = logging::init(form, std::io::stdout())?;
    raise_open_files();
    let signing = match &args.sign_with {
        Some(identity) => {
            args.store.signing(identity, &args.token).with_context(|| format!("--sign-with {identity:?}"))?
        }
        None => Signing::Files,
    };
    let devices = args.devices.iter().map(|text| parse_device(text)).collect::<Result<Vec<_>>>()?;
    let policy = args.policy.as_deref().map(read_policy).transpose()?;
    let mut place = args.store.place_to_sign(Part::Gate, signing)?;
    let mut copies = Vec::new();
    if let Some(path) = place.path() {
        let dir = canonical(crate::files::directory_of(path), "the directory of the store")?.0;
        // Under its whole name too: that is how copies are asked for.
        place.also(&dir)?;
        copies.push(dir);
    }
    if let Some(dir) = &args.backup_dir {
        place.also(dir)?;
        copies.push(canonical(dir, "the directory of copies")?.0);
    }
    let metrics = Arc::new(Metrics::new());
    let (checkpoints, signed) = mpsc::channel();
    let owner = start(&place, args, Events { metrics: metrics.clone(), checkpoints })?;
    let gate = Arc::new(OwnerGate::new(owner.clone(), args.sign_with.clone(), copies));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    let started = Started {
        gate: gate.clone(),
        metrics: metrics.clone(),
        socket: place.path().map(socket_path),
        metrics_addr: args.metrics_addr,
    };
    let served = runtime.block_on(async {
        if let Some(identity) = &args.sign_with {
            find_key(&owner, identity.clone()).await?;
        }
        register(gate.as_ref(), devices, &args.allow_v1).await?;
        if let Some(latest) = gate.stats().await?.checkpoint {
            metrics.checkpoint(&latest, SystemTime::now());
        }
        if let Some((policy_file, policy)) = policy {
            let (owner, metrics) = (owner.clone(), metrics.clone());
            let (timeout, retry) = (args.witness_timeout, args.witness_retry);
            Publisher { owner, policy, policy_file, timeout, retry, metrics }.start(signed)?;
        }
        let measured = tokio::spawn(measure(owner.clone(), metrics));
        let served = serve(&started).await;
        measured.abort();
        served
    });
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
    // Nothing more comes in; what waits is stored and signed before the store is given back.
    let closed = owner.shutdown().context("the log could not be closed in order");
    served.and(closed)
}

fn start(place: &Place, args: &GateArgs, events: Events) -> Result<LogOwner> {
    if !place.artifact().has_gate() {
        bail!(
            "{} has no gate (edgesentry:audit): use a stack such as edgesentry-ingest-sqlite",
            place.artifact().path().display()
        );
    }
    let settings = Settings {
        gate: gate::Settings { gate_id: args.gate_id.clone(), ..gate::Settings::default() },
        origin: args.origin.clone(),
        sealing: Some(Sealing {
            identity: args.sign_with.clone(),
            records: args.segment_records,
            every: args.segment_seconds,
        }),
        ..Settings::default()
    };
    LogOwner::start(place.artifact(), place.site()?, settings, events)
        .with_context(|| format!("cannot open {}", place.shown()))
}

async fn register(
    gate: &OwnerGate,
    devices: Vec<(String, ed25519_dalek::VerifyingKey)>,
    allow_v1: &[String],
) -> Result<()> {
    for (device_id, public_key) in devices {
        let mut registration = Registration::new(public_key);
        if allow_v1.contains(&device_id) {
            registration.versions = vec![1, 2];
        }
        let registered = gate
            .register(device_id.clone(), registration)
            .await
            .with_context(|| format!("cannot register --device {device_id:?}"))?;
        match registered {
            Registered::Added => tracing::info!(target: TARGET, device_id, "device registered"),
            Registered::Already => {}
            Registered::Revoked => warn(format_args!(
                "key {} of {device_id:?} was revoked, and stays so: --device does not revive it",
                key_id(&public_key)
            )),
        }
    }
    for device_id in allow_v1 {
        let device = gate.get(device_id.clone()).await?;
        let device =
            device.with_context(|| format!("--allow-v1 {device_id:?}: no such device is registered"))?;
        if !device.versions.contains(&1) {
            gate.allow_versions(device_id.clone(), vec![1, 2])
                .await
                .with_context(|| format!("--allow-v1 {device_id:?}"))?;
        }
    }
    Ok(())
}

/// Tells the metrics what waits.
async fn measure(owner: LogOwner, metrics: Arc<Metrics>) {
    loop {
        metrics.waiting(usize::try_from(owner.statistics().waiting).unwrap_or(usize::MAX));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Ends with SIGTERM or SIGINT. SIGHUP reads the certificates again.
fn until_told_to_stop(handle: Handle) -> Result<impl Future<Output = ()> + Send> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => {
                    let handle = handle.clone();
                    // It says by itself what came of it.
                    let _ = tokio::task::spawn_blocking(move || handle.reload()).await;
                }
            }
        }
    })
}

/// What the owner of the log tells, for metrics and log events.
struct Events {
    metrics: Arc<Metrics>,
    /// Whoever publishes checkpoints is told that there is one.
    checkpoints: mpsc::Sender<()>,
}

impl OwnerEvents for Events {
    fn on_commit(&mut self, records: usize, _: Duration) {
        self.metrics.batch(records);
    }

    fn on_seal(&mut self, sealed: &Sealed) {
        let segments = sealed.segments.len();
        match &sealed.checkpoint {
            Some(signed) => {
                tracing::info!(target: TARGET, segments, number = signed.number, size = signed.size, "checkpoint signed");
                self.metrics.checkpoint(&checkpoint(signed.clone()), SystemTime::now());
                // Nobody publishes without a policy.
                let _ = self.checkpoints.send(());
            }
            None if segments > 0 => tracing::info!(target: TARGET, segments, "segments closed"),
            None => {}
        }
    }

    fn on_death(&mut self, error: &OwnerError) {
        tracing::error!(target: TARGET, %error, "the log is not open; it is opened again");
    }

    fn on_error(&mut self, what: &'static str, error: &OwnerError) {
        tracing::error!(target: TARGET, what, %error, "work of the log failed; it is tried again");
    }
}
