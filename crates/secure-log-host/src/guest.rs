//! What one instance may see and use.

use std::path::PathBuf;
use std::time::Duration;

use secure_log_rpc::{Transport, TransportError};
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{FsPerms, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::core::secure_log::log::types;
use crate::bindings::gate::edgesentry::audit::types as gate_types;
use crate::bindings::transport_import::secure_log::log::transport;
use crate::error::{Error, Result};
use crate::token::{Module, SharedPins};

/// What one instance may see and use.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    /// Host directories, each with its name in the guest, read-write.
    pub preopens: Vec<(PathBuf, String)>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Bytes that all linear memories together may take; none = as much as wasm allows.
    pub memory_limit: Option<usize>,
    /// How long a call may compute; none = as long as it likes. A call that waits for the system (a sync, an answer
    /// of an endpoint) is interrupted when that returns. Needs
    /// [`Artifact::load_checked`](crate::Artifact::load_checked).
    pub deadline: Option<Duration>,
    /// Fuel of a call, about one unit an instruction; none = as much as it likes. The same call on the same log needs
    /// the same fuel on every machine. Needs [`Artifact::load_checked`](crate::Artifact::load_checked).
    pub fuel: Option<u64>,
    /// Drop what the guest writes to stdout and stderr (else both go to stderr).
    pub silent: bool,
    /// The same clock and randomness in each run: for comparisons only.
    pub fixed: Option<Fixed>,
    /// Tokens of this host, for artifacts that import `pkcs11:token/tokens`. Each instance logs in for itself.
    pub token: Option<Module>,
}

/// Clock and randomness that are the same in each run. Keys and session ids made under it are no secrets.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// What the wall clock shows, since the Unix epoch.
    pub time: Duration,
    /// Bytes that the randomness repeats; not empty.
    pub random: Vec<u8>,
}

impl Guest {
    /// Adds a directory, unless a directory of that guest name is there.
    pub fn preopen(&mut self, host: impl Into<PathBuf>, guest: impl Into<String>) {
        let (host, guest) = (host.into(), guest.into());
        if !self.preopens.iter().any(|(_, name)| *name == guest) {
            self.preopens.push((host, guest));
        }
    }

    /// Sets a variable, in place of one of that name.
    pub fn set_env(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        self.env.retain(|(n, _)| *n != name);
        self.env.push((name, value));
    }
}

/// The host's side of an instance.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    transport: Option<Box<dyn Transport + Send>>,
    /// Tokens that the instance imports.
    pub(crate) token: Option<Module>,
    /// PINs of a token component.
    pub(crate) pins: Option<SharedPins>,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryMeter,
}

impl State {
    pub(crate) fn new(guest: &Guest, transport: Option<Box<dyn Transport + Send>>) -> Result<Self> {
        let mut wasi = WasiCtxBuilder::new();
        // Each instance has a thread to itself, so a blocking file call may block it.
        wasi.allow_blocking_current_thread(true).envs(&guest.env);
        if !guest.silent {
            wasi.stdout(wasmtime_wasi::cli::stderr()).inherit_stderr();
        }
        if let Some(fixed) = guest.fixed.as_ref().filter(|fixed| !fixed.random.is_empty()) {
            wasi.wall_clock(Stopped(fixed.time));
            wasi.secure_random(Deterministic::new(fixed.random.clone()));
            wasi.insecure_random(Deterministic::new(fixed.random.clone())).insecure_random_seed(0);
        }
        for (host, name) in &guest.preopens {
            wasi.preopened_dir(host, name, FsPerms::ReadWrite)
                .map_err(|e| Error::Directory { path: host.clone(), reason: format!("{e:#}") })?;
        }
        let memory = MemoryMeter { limit: guest.memory_limit.unwrap_or(usize::MAX), ..Default::default() };
        let http = WasiHttpCtx::new();
        let token = guest.token.as_ref().map(Module::application);
        let table = ResourceTable::new();
        Ok(Self { wasi: wasi.build(), http, transport, token, pins: None, table, memory })
    }
}

struct Stopped(Duration);

impl HostWallClock for Stopped {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: Default::default() }
    }
}

impl types::Host for State {}

impl gate_types::Host for State {}

impl transport::Host for State {
    fn rpc(
        &mut self,
        method: String,
        params: String,
    ) -> std::result::Result<String, transport::TransportError> {
        use transport::TransportError as E;
        let Some(transport) = &mut self.transport else {
            return Err(E::Invalid("this host has no transport for the component".into()));
        };
        transport.call(&method, &params).map_err(|error| match error {
            TransportError::Unavailable(text) => E::Unavailable(text),
            TransportError::Denied(text) => E::Denied(text),
            TransportError::Invalid(text) => E::Invalid(text),
            TransportError::Failed { status, body } => E::Failed(transport::RpcFailure { status, body }),
        })
    }
}

/// Counts linear memory over all modules of the graph (each composed component has its own),
/// and refuses growth past a limit. wasm memory never shrinks, so the sum is also the peak.
#[derive(Default)]
pub(crate) struct MemoryMeter {
    pub(crate) used: usize,
    pub(crate) limit: usize,
    /// Whether growth was refused because of the limit.
    pub(crate) refused: bool,
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, now: usize, then: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.used + (then - now);
        let within = total <= self.limit;
        let granted = within && max.is_none_or(|max| then <= max);
        if granted {
            self.used = total;
        }
        self.refused |= !within;
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, then: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(max.is_none_or(|max| then <= max))
    }
}
