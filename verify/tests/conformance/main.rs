//! The conformance suites on components: every store and every keystore, through the exports that
//! the core uses.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod keystore;
mod node;
mod remote;
mod store;
#[path = "../common/token.rs"]
mod token;

use std::path::{Path, PathBuf};

use secure_log::store::OpenStore;
use secure_log_conformance::{Configs, check_all};
use wasmtime::Store;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Every rule, each on stores in a directory of its own.
fn follows_every_rule<S: OpenStore + 'static>() {
    let broken = check_all(
        || {
            let dir = tempfile::tempdir().expect("a temporary directory");
            Configs::<S>::in_directory(dir.path()).keep(dir)
        },
        |_| {},
    );
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What one instance of a provider sees.
pub struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: Default::default() }
    }
}

/// A compiled provider component.
pub struct Provider {
    engine: wasmtime::Engine,
    component: Component,
}

impl Provider {
    pub fn load(name: &str) -> Self {
        Self::at(&PathBuf::from("../dist/components").join(name))
    }

    /// The component at this path.
    pub fn at(path: &Path) -> Self {
        assert!(path.exists(), "{} is missing: run scripts/build-components.sh", path.display());
        let engine = wasmtime::Engine::new(&secure_log_verify::host::engine_config()).expect("an engine");
        let component = Component::from_file(&engine, path).expect("a component");
        Self { engine, component }
    }

    /// A linker with WASI, and a store whose guest sees `directory` under its own name.
    pub fn host(&self, directory: Option<&Path>, env: &[(&str, &str)]) -> (Linker<Host>, Store<Host>) {
        let mut linker = Linker::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("WASI links");
        wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker).expect("HTTP links");
        let mut wasi = WasiCtxBuilder::new();
        wasi.allow_blocking_current_thread(true).envs(env).inherit_stderr();
        if let Some(directory) = directory {
            let name = directory.to_str().expect("a path in UTF-8");
            wasi.preopened_dir(directory, name, FsPerms::ReadWrite).expect("the directory opens");
        }
        let host = Host { wasi: wasi.build(), http: WasiHttpCtx::new(), table: ResourceTable::new() };
        let store = Store::new(&self.engine, host);
        (linker, store)
    }

    pub fn component(&self) -> &Component {
        &self.component
    }
}
