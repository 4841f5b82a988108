//! Embedding of a composed component: one engine configuration, one typed handle.
//!
//! A [`Hosted`] is one instance in one wasmtime store. Dropping it runs no guest code, which is
//! what a crash looks like to the component; [`Hosted::close`] ends it properly. After a trap an
//! instance is of no use any more: drop it and start another.

use std::path::{Path, PathBuf};

use secure_log_rpc::{Transport, TransportError};
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, ResourceLimiter, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::compiled;
use crate::failure::{Failure, Result};

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "composed-sqlite" });
}

mod transport_bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package secure-log:transport-import; world transport-import { import secure-log:log/transport@0.1.0; }",
        world: "secure-log:transport-import/transport-import",
    });
}

pub use bindings::secure_log::log::types;
use transport_bindings::secure_log::log::transport;
use types::{
    AppendResult, Checkpoint, CheckpointReport, ConsistencyProof, Entry, EntryHeader, EntryProof, Event,
    ExportPage, InclusionProof, Page, QueryFilter, QueryPage, Segment, SegmentsReport, Severity, StreamHead,
    StreamInfo, Tier, VerifyReport,
};

/// The engine settings of everything that runs or precompiles a component: artifacts compiled
/// under other settings are refused. Wide arithmetic costs a component without it nothing.
pub fn engine_config() -> Config {
    let mut config = Config::new();
    config.wasm_wide_arithmetic(true);
    config
}

/// What one instance may see and use.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    /// Host directories, each with its name in the guest, read-write.
    pub preopens: Vec<(PathBuf, String)>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Bytes that all linear memories together may take; none = as much as wasm allows.
    pub memory_limit: Option<usize>,
    /// Drop what the guest writes to stdout and stderr (else both go to stderr).
    pub silent: bool,
}

impl Guest {
    /// Adds a directory, unless a directory of that guest name is there.
    pub fn preopen(&mut self, host: impl Into<PathBuf>, guest: impl Into<String>) {
        let (host, guest) = (host.into(), guest.into());
        if !self.preopens.iter().any(|(_, name)| *name == guest) {
            self.preopens.push((host, guest));
        }
    }
}

/// Where a stack keeps its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In files that it opens itself.
    Here,
    /// Behind an endpoint that it calls over HTTP.
    Http,
    /// Behind a transport of the host.
    Host,
}

/// A compiled component, ready to be instantiated any number of times.
#[derive(Clone)]
pub struct Artifact {
    engine: Engine,
    component: Component,
    path: PathBuf,
}

impl Artifact {
    /// Compiles the component at `path`, or takes it from the cache of compiled artifacts.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let engine = Engine::new(&engine_config()).map_err(anyhow::Error::msg)?;
        let component = compiled::load(&engine, path)?;
        Ok(Self { engine, component, path: path.to_owned() })
    }

    /// Where it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the interfaces that the component exports, sorted.
    pub fn exports(&self) -> Vec<String> {
        let ty = self.component.component_type();
        let mut names: Vec<_> = ty.exports(&self.engine).map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    /// Where it keeps its log, by what it imports.
    pub fn reach(&self) -> Reach {
        let ty = self.component.component_type();
        let mut reach = Reach::Here;
        for (name, _) in ty.imports(&self.engine) {
            if name.starts_with("secure-log:log/transport@") {
                reach = Reach::Host;
            } else if name.starts_with("wasi:http/outgoing-handler@") {
                reach = Reach::Http;
            }
        }
        reach
    }

    /// Starts an instance. Nothing of the guest has run yet but its initialisation.
    pub fn start(&self, guest: &Guest) -> anyhow::Result<Hosted> {
        self.start_over(guest, None)
    }

    /// The same, with `transport` as the one of the host.
    pub fn start_over(
        &self,
        guest: &Guest,
        transport: Option<Box<dyn Transport + Send>>,
    ) -> anyhow::Result<Hosted> {
        let mut linker = Linker::<State>::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(anyhow::Error::msg)?;
        types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).map_err(anyhow::Error::msg)?;
        match self.reach() {
            Reach::Here => {}
            Reach::Http => wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker)
                .map_err(anyhow::Error::msg)?,
            Reach::Host => {
                transport::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
                    .map_err(anyhow::Error::msg)?;
            }
        }
        let mut store = Store::new(&self.engine, State::new(guest, transport)?);
        store.limiter(|state| &mut state.memory);
        let world =
            bindings::ComposedSqlite::instantiate(&mut store, &self.component, &linker).map_err(|e| {
                anyhow::anyhow!(
                    "{} cannot be instantiated: {e:#}. If it is older than wit/, build it again \
                 (scripts/build-components.sh)",
                    self.path.display()
                )
            })?;
        Ok(Hosted { store, world })
    }
}

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    transport: Option<Box<dyn Transport + Send>>,
    table: ResourceTable,
    memory: MemoryMeter,
}

impl State {
    fn new(guest: &Guest, transport: Option<Box<dyn Transport + Send>>) -> anyhow::Result<Self> {
        let mut wasi = WasiCtxBuilder::new();
        // Each instance has a thread to itself, so a blocking file call may block it.
        wasi.allow_blocking_current_thread(true).envs(&guest.env);
        if !guest.silent {
            wasi.stdout(wasmtime_wasi::cli::stderr()).inherit_stderr();
        }
        for (host, name) in &guest.preopens {
            wasi.preopened_dir(host, name, FsPerms::ReadWrite)
                .map_err(|e| anyhow::anyhow!("cannot open the directory {}: {e:#}", host.display()))?;
        }
        let memory = MemoryMeter { limit: guest.memory_limit.unwrap_or(usize::MAX), ..Default::default() };
        let http = WasiHttpCtx::new();
        Ok(Self { wasi: wasi.build(), http, transport, table: ResourceTable::new(), memory })
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
struct MemoryMeter {
    used: usize,
    limit: usize,
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, now: usize, then: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.used + (then - now);
        let granted = total <= self.limit && max.is_none_or(|max| then <= max);
        if granted {
            self.used = total;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, then: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(max.is_none_or(|max| then <= max))
    }
}

/// One running instance, with a typed method for each exported function.
pub struct Hosted {
    store: Store<State>,
    world: bindings::ComposedSqlite,
}

impl Hosted {
    /// Bytes of linear memory that the instance has taken so far, all memories together.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory.used
    }
}

fn settle<T>(outcome: wasmtime::Result<std::result::Result<T, types::LogError>>) -> Result<T> {
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::Log(error)),
        Err(trap) => Err(Failure::Trap(trap)),
    }
}

/// Writes the methods: `name(arguments) -> result = interface.call_function;`
macro_rules! exports {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $iface:ident.$call:ident;)*) => {
        impl Hosted {
            $($(#[$doc])* pub fn $name(&mut self $(, $arg: $ty)*) -> Result<$ret> {
                settle(self.world.$iface().$call(&mut self.store $(, $arg)*))
            })*
        }
    };
}

exports! {
    /// `encoder.encode-header`.
    encode_header(header: &EntryHeader) -> Vec<u8> = secure_log_log_encoder.call_encode_header;
    /// `encoder.decode-header`.
    decode_header(bytes: &[u8]) -> EntryHeader = secure_log_log_encoder.call_decode_header;

    /// `log.open`.
    open(config: &str) -> () = secure_log_log_log.call_open;
    /// `log.close`.
    close() -> () = secure_log_log_log.call_close;
    /// `log.set-origin`.
    set_origin(origin: &str) -> () = secure_log_log_log.call_set_origin;
    /// `log.origin`.
    origin() -> Option<String> = secure_log_log_log.call_origin;
    /// `log.set-boot-id`.
    set_boot_id(boot_id: &str) -> () = secure_log_log_log.call_set_boot_id;
    /// `log.create-stream`.
    create_stream(stream: &str, tier: Tier, description: Option<&str>) -> () = secure_log_log_log.call_create_stream;
    /// `log.list-streams`.
    list_streams() -> Vec<StreamInfo> = secure_log_log_log.call_list_streams;
    /// `log.deprecate-stream`.
    deprecate_stream(stream: &str) -> () = secure_log_log_log.call_deprecate_stream;
    /// `log.append`.
    append(stream: &str, event_type: &str, severity: Severity, producer: &str, payload: &[u8]) -> AppendResult = secure_log_log_log.call_append;
    /// `log.append-batch`.
    append_batch(events: &[Event], expect: &[StreamHead]) -> Vec<AppendResult> = secure_log_log_log.call_append_batch;
    /// `log.read`.
    read(stream: &str, seqno: u64) -> Entry = secure_log_log_log.call_read;
    /// `log.read-payload`.
    read_payload(stream: &str, seqno: u64) -> Vec<u8> = secure_log_log_log.call_read_payload;
    /// `log.head`.
    head(stream: &str) -> Option<StreamHead> = secure_log_log_log.call_head;
    /// `log.query`.
    query(filter: &QueryFilter, page: &Page) -> QueryPage = secure_log_log_log.call_query;
    /// `log.verify-chain`.
    verify_chain(stream: &str, from: u64, to: u64) -> VerifyReport = secure_log_log_log.call_verify_chain;
    /// `log.verify-headers`.
    verify_headers(stream: &str, from: u64, to: u64) -> VerifyReport = secure_log_log_log.call_verify_headers;
    /// `log.close-segment`.
    close_segment(stream: &str) -> Segment = secure_log_log_log.call_close_segment;
    /// `log.close-segments`.
    close_segments() -> Vec<Segment> = secure_log_log_log.call_close_segments;
    /// `log.list-segments`.
    list_segments(stream: &str) -> Vec<Segment> = secure_log_log_log.call_list_segments;
    /// `log.read-segment`.
    read_segment(segment_id: u64) -> Segment = secure_log_log_log.call_read_segment;
    /// `log.verify-segments`.
    verify_segments(stream: &str) -> SegmentsReport = secure_log_log_log.call_verify_segments;
    /// `log.build-inclusion-proof`.
    build_inclusion_proof(stream: &str, seqno: u64) -> InclusionProof = secure_log_log_log.call_build_inclusion_proof;
    /// `log.verify-inclusion-proof`.
    verify_inclusion_proof(proof: &InclusionProof, root: &[u8]) -> () = secure_log_log_log.call_verify_inclusion_proof;
    /// `log.build-consistency-proof`.
    build_consistency_proof(stream: &str, from: u64, to: u64) -> ConsistencyProof = secure_log_log_log.call_build_consistency_proof;
    /// `log.verify-consistency-proof`.
    verify_consistency_proof(proof: &ConsistencyProof, from_root: &[u8], to_root: &[u8]) -> () = secure_log_log_log.call_verify_consistency_proof;
    /// `log.export-log`.
    export_log(keys: &[String], cursor: Option<&str>) -> ExportPage = secure_log_log_log.call_export_log;
    /// `log.backup`.
    backup(config: &str) -> () = secure_log_log_log.call_backup;

    /// `checkpoint.sign-segment`.
    sign_segment(identity: &str, segment_id: u64) -> Checkpoint = secure_log_log_checkpoint.call_sign_segment;
    /// `checkpoint.latest`.
    latest_checkpoint() -> Option<Checkpoint> = secure_log_log_checkpoint.call_latest;
    /// `checkpoint.read`.
    read_checkpoint(number: u64) -> Checkpoint = secure_log_log_checkpoint.call_read;
    /// `checkpoint.get-verifier-key`.
    verifier_key(identity: &str) -> String = secure_log_log_checkpoint.call_get_verifier_key;
    /// `checkpoint.verify-checkpoint-chain`.
    verify_checkpoint_chain(trusted: &[String]) -> CheckpointReport = secure_log_log_checkpoint.call_verify_checkpoint_chain;
    /// `checkpoint.build-entry-proof`.
    build_entry_proof(stream: &str, seqno: u64) -> EntryProof = secure_log_log_checkpoint.call_build_entry_proof;
    /// `checkpoint.verify-entry-proof`.
    verify_entry_proof(proof: &EntryProof, trusted: &[String]) -> EntryHeader = secure_log_log_checkpoint.call_verify_entry_proof;
    /// `checkpoint.check-against`.
    check_against(note: &str) -> () = secure_log_log_checkpoint.call_check_against;
}

impl Hosted {
    /// `encoder.entry-hash`.
    pub fn entry_hash(&mut self, header: &[u8]) -> Result<Vec<u8>> {
        self.world.secure_log_log_encoder().call_entry_hash(&mut self.store, header).map_err(Failure::Trap)
    }

    /// `encoder.payload-hash`.
    pub fn payload_hash(&mut self, salt: &[u8], payload: &[u8]) -> Result<Vec<u8>> {
        let encoder = self.world.secure_log_log_encoder();
        encoder.call_payload_hash(&mut self.store, salt, payload).map_err(Failure::Trap)
    }

    /// `encoder.leaf-hash`.
    pub fn leaf_hash(&mut self, header: &[u8]) -> Result<Vec<u8>> {
        self.world.secure_log_log_encoder().call_leaf_hash(&mut self.store, header).map_err(Failure::Trap)
    }
}
