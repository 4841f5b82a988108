//! The HTTP server: records on one address, health and metrics on the same or another.

mod accept;
mod body;
mod connection;
mod forwarded;
mod limits;
mod service;
mod throttle;
#[cfg(feature = "transport-tls")]
mod tls;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use edgesentry_audit::NetworkPolicy;
use edgesentry_audit::http::Answer;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::Door;
use self::body::Kept;
pub use self::limits::{Limits, raise_open_files};
use self::service::{App, Ids, TARGET};
pub use self::service::{METRICS_PATH, READY_PATH};
use self::throttle::Throttle;
#[cfg(feature = "transport-tls")]
pub use self::tls::{ClientCerts, DEVICE_URN, Tls, TlsError, TlsSettings, client_identity};
use crate::admin::{AdminSocket, Control};
use crate::gate::Gate;
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::rate::Rates;

/// Connections that wait to be taken.
const BACKLOG: u32 = 4096;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The admin socket cannot be made.
    #[error("cannot make the admin socket {}: {error}", path.display())]
    Admin {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The certificates cannot be used.
    #[cfg(feature = "transport-tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What a server is to be.
pub struct ServerBuilder {
    gate: Arc<dyn Gate>,
    address: SocketAddr,
    health_address: Option<SocketAddr>,
    policy: NetworkPolicy,
    proxies: NetworkPolicy,
    limits: Limits,
    metrics: Option<Arc<Metrics>>,
    admin: Option<PathBuf>,
    drain_notice: Duration,
    #[cfg(feature = "transport-tls")]
    tls: Option<TlsSettings>,
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    health: Option<TcpListener>,
    admin: Option<AdminSocket>,
    door: Arc<Door>,
    handle: Handle,
    drain_notice: Duration,
}

/// What can be done with a server while it runs.
#[derive(Clone)]
pub struct Handle {
    metrics: Arc<Metrics>,
    intake: Arc<Intake>,
    #[cfg(feature = "transport-tls")]
    tls: Option<Arc<Tls>>,
}

impl Handle {
    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The way into its gate, for other transports beside it.
    pub fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Reads the certificates again; without TLS nothing happens. To be called on SIGHUP.
    #[cfg(feature = "transport-tls")]
    pub fn reload(&self) -> Result<(), TlsError> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.reload())
    }
}

impl ServerBuilder {
    /// Where records are taken; port 0: a free one ([`Server::local_addr`] says which).
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Health and metrics on an address of their own, without TLS; the other one then has only `/healthz`.
    pub fn health(mut self, address: SocketAddr) -> Self {
        self.health_address = Some(address);
        self
    }

    /// Who may connect. By default nobody.
    pub fn policy(mut self, policy: NetworkPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Proxies whose `X-Forwarded-For` says who the client is; the policy then decides about the client.
    pub fn trusted_proxies(mut self, proxies: NetworkPolicy) -> Self {
        self.proxies = proxies;
        self
    }

    /// Over TLS.
    #[cfg(feature = "transport-tls")]
    pub fn tls(mut self, settings: TlsSettings) -> Self {
        self.tls = Some(settings);
        self
    }

    /// How much it takes on.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Counts in these; by default in metrics of its own.
    pub fn metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Takes administrative calls on a socket at this path.
    pub fn admin(mut self, path: impl Into<PathBuf>) -> Self {
        self.admin = Some(path.into());
        self
    }

    /// When it is to stop, says so at `/readyz` for this long before it takes no more connections.
    pub fn drain_notice(mut self, time: Duration) -> Self {
        self.drain_notice = time;
        self
    }

    /// Reads the certificates and listens; nothing is answered before [`Server::serve`].
    pub async fn bind(self) -> Result<Server, StartError> {
        let metrics = self.metrics.unwrap_or_default();
        #[cfg(feature = "transport-tls")]
        let tls = match self.tls {
            Some(settings) => Some(Arc::new(Tls::new(settings, metrics.clone())?)),
            None => None,
        };
        let listener = listen(self.address)?;
        let health = self.health_address.map(listen).transpose()?;
        let intake = Intake::new(self.gate, metrics.clone(), self.limits.device_rate)
            .with_patience(self.limits.gate_time);
        let handle = Handle {
            metrics: metrics.clone(),
            intake: Arc::new(intake),
            #[cfg(feature = "transport-tls")]
            tls: tls.clone(),
        };
        let admin = match self.admin {
            None => None,
            Some(path) => {
                let reload: Control = {
                    let handle = handle.clone();
                    Arc::new(move || reload(&handle))
                };
                let socket = AdminSocket::bind(&path, handle.intake.gate().clone(), Some(reload));
                Some(socket.map_err(|error| StartError::Admin { path, error })?)
            }
        };
        let app = Arc::new(App {
            intake: handle.intake.clone(),
            metrics,
            policy: self.policy,
            proxies: self.proxies,
            sources: self.limits.source_rate.map(Rates::new),
            draining: AtomicBool::new(false),
            own_health_address: health.is_some(),
            timeout_answer: service::raw(&service::timeout()),
            forbidden_answer: service::raw(&Answer::forbidden()),
            open: AtomicUsize::new(0),
            kept: Kept::default(),
            refusals: Throttle::default(),
            ids: Ids::new(),
            limits: self.limits,
        });
        let door = Arc::new(Door {
            #[cfg(feature = "transport-tls")]
            tls,
            #[cfg(feature = "transport-tls")]
            handshakes: tokio::sync::Semaphore::new(app.limits.handshakes),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            answering: Door::answering(),
            app,
        });
        Ok(Server { listener, health, admin, door, handle, drain_notice: self.drain_notice })
    }
}

#[cfg(feature = "transport-tls")]
fn reload(handle: &Handle) -> Result<(), String> {
    match &handle.tls {
        None => Err("this server has no TLS".into()),
        Some(tls) => tls.reload().map_err(|error| error.to_string()),
    }
}

#[cfg(not(feature = "transport-tls"))]
fn reload(_: &Handle) -> Result<(), String> {
    Err("this server has no TLS".into())
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|error| StartError::Listen { address, error })
}

impl Server {
    /// A server over a gate: by default on a free port of 127.0.0.1, for nobody.
    pub fn builder(gate: Arc<dyn Gate>) -> ServerBuilder {
        ServerBuilder {
            gate,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            health_address: None,
            policy: NetworkPolicy::new(),
            proxies: NetworkPolicy::new(),
            limits: Limits::default(),
            metrics: None,
            admin: None,
            drain_notice: Duration::ZERO,
            #[cfg(feature = "transport-tls")]
            tls: None,
        }
    }

    /// Where it takes records.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where it tells of health and metrics, if that is another address.
    pub fn health_addr(&self) -> Option<io::Result<SocketAddr>> {
        self.health.as_ref().map(TcpListener::local_addr)
    }

    /// What can be done with it while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown` is there. Then it takes no more connections, answers the requests that it has, as long
    /// as that takes no longer than [`Limits::drain_time`], and returns: nothing more comes to the gate, which its
    /// owner can close. Gives the number of connections that had to be cut off.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> usize {
        let Self { listener, health, admin, door, handle, drain_notice } = self;
        let mut helpers = tokio::task::JoinSet::new();
        #[cfg(feature = "transport-tls")]
        if let Some(tls) = &door.tls {
            helpers.spawn(tls.clone().watch());
        }
        if let Some(admin) = admin {
            helpers.spawn(admin.serve());
        }
        let (app, intake) = (door.app.clone(), handle.intake.clone());
        helpers.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                intake.prune();
                if let Some(sources) = &app.sources {
                    sources.prune();
                }
            }
        });
        let mut listeners = tokio::task::JoinSet::new();
        listeners.spawn(accept::accept(listener, door.clone(), false));
        if let Some(health) = health {
            listeners.spawn(accept::accept(health, door.clone(), true));
        }
        shutdown.await;
        door.app.draining.store(true, Ordering::Relaxed);
        tracing::info!(target: TARGET, connections = door.app.open.load(Ordering::Relaxed), "stopping");
        tokio::time::sleep(drain_notice).await;
        door.stop.cancel();
        while listeners.join_next().await.is_some() {}
        door.tasks.close();
        let drained = tokio::time::timeout(door.app.limits.drain_time, door.tasks.wait()).await;
        let left = door.app.open.load(Ordering::Relaxed);
        helpers.shutdown().await;
        if drained.is_err() {
            door.cut.cancel();
            door.tasks.wait().await;
            tracing::warn!(target: TARGET, connections = left, "requests in flight were cut off");
            return left;
        }
        tracing::info!(target: TARGET, "stopped");
        0
    }
}
