//! A compiled component, ready to be instantiated any number of times.

use std::path::{Path, PathBuf};

use secure_log_rpc::Transport;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store};

use crate::bindings::core::secure_log::log::types;
use crate::bindings::gate::edgesentry::audit::types as gate_types;
use crate::bindings::transport_import::secure_log::log::transport;
use crate::bindings::{core, gate};
use crate::cache;
use crate::engine::{Checks, Clocked, epochs};
use crate::error::{Error, Result};
use crate::guest::{Guest, State};
use crate::hosted::Hosted;
use crate::token;
use crate::token::bindings::types as token_types;

/// With this variable set to `1`, [`Artifact::from_bytes`] takes the portable build.
pub const PORTABLE: &str = "SECURE_LOG_PORTABLE";

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
    clocked: Clocked,
    component: Component,
    path: PathBuf,
    wide: bool,
}

impl Artifact {
    /// Compiles the component at `path`, or takes it from the cache of compiled artifacts.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_checked(path, Checks::default())
    }

    /// The same, compiled so that calls can have a deadline ([`Guest::deadline`]) or fuel ([`Guest::fuel`]).
    pub fn load_checked(path: &Path, checks: Checks) -> Result<Self> {
        Self::compile(path.to_owned(), &read(path)?, false, checks)
    }

    /// The wide-arithmetic build of the component at `path`, `wide/<name>` beside it, if it is there and
    /// `SECURE_LOG_PORTABLE` is not `1`; else the component itself.
    pub fn load_fastest(path: &Path) -> Result<Self> {
        Self::fastest(path, Checks::default())
    }

    pub(crate) fn fastest(path: &Path, checks: Checks) -> Result<Self> {
        let name = path.file_name().unwrap_or_default();
        let wide = path.parent().unwrap_or(Path::new("")).join("wide").join(name);
        if wide_wanted() && wide.is_file() {
            return Self::compile(path.to_owned(), &read(&wide)?, true, checks);
        }
        Self::load_checked(path, checks)
    }

    /// The same for builds that a program carries. `name` is what errors call it.
    pub fn from_bytes(name: &str, portable: &[u8], wide: Option<&[u8]>) -> Result<Self> {
        match wide.filter(|_| wide_wanted()) {
            Some(wide) => Self::compile(name.into(), wide, true, Checks::default()),
            None => Self::compile(name.into(), portable, false, Checks::default()),
        }
    }

    fn compile(path: PathBuf, wasm: &[u8], wide: bool, checks: Checks) -> Result<Self> {
        let clocked = Clocked::shared(checks)?;
        let component = cache::load(&clocked.engine, &path.to_string_lossy(), wasm)?;
        Ok(Self { clocked, component, path, wide })
    }

    /// Where it came from, or the name that it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the build with wide arithmetic.
    pub fn is_wide(&self) -> bool {
        self.wide
    }

    /// The engine that it is compiled for. With [`Checks::deadline`] its epochs pass, with [`Checks::fuel`] a store
    /// begins without any: one of your own then needs `set_epoch_deadline`, `set_fuel`.
    pub fn engine(&self) -> &Engine {
        &self.clocked.engine
    }

    /// The component, for a linker of your own.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// Names of the interfaces that the component exports, sorted.
    pub fn exports(&self) -> Vec<String> {
        let ty = self.component.component_type();
        let mut names: Vec<_> = ty.exports(self.engine()).map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    /// Names of the interfaces that the component imports, sorted.
    pub fn imports(&self) -> Vec<String> {
        let ty = self.component.component_type();
        let mut names: Vec<_> = ty.imports(self.engine()).map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    /// Whether it exports an ingest gate: `edgesentry:audit/{devices, ingest, update}`.
    pub fn has_gate(&self) -> bool {
        let ty = self.component.component_type();
        let gate = ["devices", "ingest", "update"];
        gate.iter().all(|name| {
            let prefix = format!("edgesentry:audit/{name}@");
            ty.exports(self.engine()).any(|(export, _)| export.starts_with(&prefix))
        })
    }

    /// Where it keeps its log, by what it imports.
    pub fn reach(&self) -> Reach {
        let imports = self.imports();
        let imports = |prefix: &str| imports.iter().any(|name| name.starts_with(prefix));
        if imports("secure-log:log/transport@") {
            Reach::Host
        } else if imports("wasi:http/outgoing-handler@") {
            Reach::Http
        } else {
            Reach::Here
        }
    }

    /// Whether it signs with keys on a token of this host: [`Guest::token`] then has to be there.
    pub fn imports_token(&self) -> bool {
        self.imports().iter().any(|name| name.starts_with("pkcs11:token/tokens@"))
    }

    /// Starts an instance. Nothing of the guest has run yet but its initialisation.
    pub fn start(&self, guest: &Guest) -> Result<Hosted> {
        self.start_over(guest, None)
    }

    /// The same, with `transport` as the one of the host.
    pub fn start_over(&self, guest: &Guest, transport: Option<Box<dyn Transport + Send>>) -> Result<Hosted> {
        if guest.deadline.is_some() {
            self.clocked.tick()?;
        }
        if guest.token.is_none() && self.imports_token() {
            return Err(Error::NoToken { name: self.path.to_string_lossy().into_owned() });
        }
        let mut store = Store::new(self.engine(), State::new(guest, transport)?);
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(epochs(guest.deadline));
        if self.clocked.counts_fuel() {
            store.set_fuel(guest.fuel.unwrap_or(u64::MAX)).map_err(|e| Error::Engine(format!("{e:#}")))?;
        } else if guest.fuel.is_some() {
            return Err(Error::NotChecked { limit: "fuel" });
        }
        let started = || -> wasmtime::Result<Hosted> {
            let instance = self.linker()?.instantiate(&mut store, &self.component)?;
            let world = core::ComposedSqlite::new(&mut store, &instance)?;
            let gate =
                if self.has_gate() { Some(gate::GateExports::new(&mut store, &instance)?) } else { None };
            Ok(Hosted::new(store, world, gate, guest, self.clocked.clone()))
        };
        started().map_err(|e| Error::Instantiate {
            name: self.path.to_string_lossy().into_owned(),
            reason: format!("{e:#}"),
        })
    }

    fn linker(&self) -> wasmtime::Result<Linker<State>> {
        let mut linker = Linker::<State>::new(self.engine());
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        gate_types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        token_types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        if self.imports_token() {
            token::import::add_to_linker(&mut linker)?;
        }
        let imports = self.imports();
        // An endpoint's types come from there too, even when nobody calls it over HTTP.
        if imports.iter().any(|name| name.starts_with("wasi:http/")) {
            wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker)?;
        }
        if self.reach() == Reach::Host {
            transport::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        }
        Ok(linker)
    }
}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifact").field("path", &self.path).field("wide", &self.wide).finish_non_exhaustive()
    }
}

fn wide_wanted() -> bool {
    std::env::var_os(PORTABLE).is_none_or(|value| value != "1")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
