//! A log in your own wasmtime host. Run it from `verify/`: `cargo run --release --example bare`.

use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

wasmtime::component::bindgen!({ path: "../wit", world: "composed-sqlite" });
use self::secure_log::log::types::{self, Severity};

struct Host(WasiCtx, ResourceTable);
impl types::Host for Host {}
impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.0, table: &mut self.1 }
    }
}

pub fn main() -> wasmtime::Result<()> {
    // The component sees this one directory, and no variable but those given here.
    let directory = std::env::temp_dir().join("secure-log-bare");
    std::fs::create_dir_all(&directory)?;
    let mut wasi = WasiCtxBuilder::new();
    wasi.preopened_dir(&directory, "/data", FsPerms::ReadWrite)?.inherit_stderr();
    wasi.env("SECURE_LOG_KEYSTORE_DIR", "/data").env("SECURE_LOG_KEYSTORE_GENERATE", "1");

    let engine = Engine::default();
    let component = Component::from_file(&engine, "../dist/secure-log-sqlite.wasm")?;
    let mut linker = Linker::<Host>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    types::add_to_linker::<_, HasSelf<_>>(&mut linker, |host| host)?;
    let mut store = Store::new(&engine, Host(wasi.build(), ResourceTable::new()));
    let graph = ComposedSqlite::instantiate(&mut store, &component, &linker)?;
    let (log, checkpoint) = (graph.secure_log_log_log(), graph.secure_log_log_checkpoint());

    log.call_open(&mut store, "/data/audit.db")??;
    let entry =
        log.call_append(&mut store, "doors", "opened", Severity::Notice, "controller-7", b"front door")??;
    let segment = log.call_close_segment(&mut store, "doors")??;
    let signed = checkpoint.call_sign_segment(&mut store, "audit", segment.segment_id)??;
    let key = checkpoint.call_get_verifier_key(&mut store, "audit")??;
    checkpoint.call_verify_checkpoint_chain(&mut store, &[key])??;
    println!("entry {} is durable, chained, sealed and signed:\n{}", entry.seqno, signed.note);
    log.call_close(&mut store)??;
    Ok(())
}
