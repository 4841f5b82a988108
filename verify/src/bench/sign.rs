//! Signatures: the wide-arithmetic build beside native code.

use std::path::Path;

use anyhow::Context;
use secure_log::SecureLog;
use secure_log::signer::{Algorithm, CheckpointSigner};
use secure_log_keystore::{Config, SoftwareKeystore};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::Bench;
use super::measure::in_turns;
use super::native;
use super::table::{Row, Table};
use crate::host::{Artifact, engine_config, types};
use crate::launch::Launcher;
use crate::store_path::StorePath;

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "keystore-provider" });
}

const MESSAGE: &[u8] = b"example.com/audit\n1234\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
/// Name of the key that signs.
pub const KEY: &str = "bench";

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let wide = bench.dist.join("wide");
    let (graph, keystore) =
        (wide.join("secure-log-sqlite.wasm"), wide.join("components/keystore-software.wasm"));
    for needed in [&graph, &keystore] {
        if !needed.is_file() {
            table.note(format!(
                "signatures were NOT measured: {} is missing (scripts/build-components.sh --wide)",
                needed.display()
            ));
            return Ok(());
        }
    }
    let launcher = Launcher { artifact: Artifact::load(&graph)?, ..bench.launcher.clone() };
    for algorithm in Algorithm::ALL {
        table.doing(&format!("{} signatures", algorithm.name()));
        sign(bench, table, &keystore, algorithm)?;
        verify(bench, table, &launcher, algorithm)?;
    }
    Ok(())
}

/// A software keystore with keys of this algorithm, in memory.
pub fn native_keystore(algorithm: Algorithm) -> SoftwareKeystore {
    let mut config = Config::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()));
    config.algorithm = algorithm;
    config.notice = Box::new(|_| {});
    SoftwareKeystore::new(config)
}

fn count(bench: &Bench, algorithm: Algorithm) -> u32 {
    let full = if algorithm == Algorithm::RsaPssSha256 { 30 } else { 300 };
    if bench.sizes.rounds > 10 { full } else { full / 3 }
}

fn sign(bench: &Bench, table: &mut Table, keystore: &Path, algorithm: Algorithm) -> anyhow::Result<()> {
    let mut guest = Keystore::start(keystore, algorithm)?;
    let mut native = native_keystore(algorithm);
    let count = count(bench, algorithm);
    let pair = in_turns(
        bench.sizes.rounds,
        count,
        || (0..count).try_for_each(|_| guest.sign()),
        || {
            (0..count).try_for_each(|_| {
                native.sign(KEY, MESSAGE)?;
                Ok(())
            })
        },
    )?;
    table.add(Row::ratio(format!("{} sign, wide component vs native", algorithm.name()), pair, 1.8));
    Ok(())
}

/// Checkpoints of the chain that is verified.
const CHECKPOINTS: u32 = 100;

/// A chain of checkpoints is mostly signatures; the rest is `_log`, a few entries for each.
fn verify(bench: &Bench, table: &mut Table, launcher: &Launcher, algorithm: Algorithm) -> anyhow::Result<()> {
    let mut launcher = launcher.clone();
    launcher.guest.env.push(("SECURE_LOG_KEYSTORE_ALG".into(), algorithm.name().into()));
    let mut graph = launcher.open(&StorePath::parse(":memory:")?)?;
    let mut engine = native::open(":memory:")?;
    let mut keystore = native_keystore(algorithm);
    let severity = secure_log::model::Severity::Informational;
    for _ in 0..CHECKPOINTS {
        graph.append("bench", "bench.event", types::Severity::Informational, "bench", b"signed")?;
        let segment = graph.close_segment("bench")?;
        graph.sign_segment(KEY, segment.segment_id)?;
        engine.append(secure_log::model::Event::new(
            "bench",
            "bench.event",
            severity,
            "bench",
            *b"signed",
        ))?;
        let segment = engine.close_segment("bench")?;
        engine.sign_segment(&mut keystore, KEY, segment.segment_id)?;
    }
    let trusted = [graph.verifier_key(KEY)?];
    let native_trusted = [engine.verifier_key(&mut keystore, KEY)?];
    let pair = in_turns(
        bench.sizes.rounds,
        CHECKPOINTS,
        || {
            graph.verify_checkpoint_chain(&trusted)?;
            Ok(())
        },
        || {
            engine.verify_checkpoint_chain(&native_trusted)?;
            Ok(())
        },
    )?;
    let what =
        format!("{} verify (a chain of {CHECKPOINTS} checkpoints), wide graph vs native", algorithm.name());
    table.add(Row::ratio(what, pair, 1.8));
    Ok(())
}

/// The keystore component by itself: in a graph the core calls it the same way.
struct Keystore {
    store: Store<State>,
    world: bindings::KeystoreProvider,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Keystore {
    fn start(path: &Path, algorithm: Algorithm) -> anyhow::Result<Self> {
        let engine = Engine::new(&engine_config()).map_err(anyhow::Error::msg)?;
        let component = Component::from_file(&engine, path).map_err(anyhow::Error::msg)?;
        let mut linker = Linker::<State>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(anyhow::Error::msg)?;
        let wasi = WasiCtxBuilder::new().env("SECURE_LOG_KEYSTORE_ALG", algorithm.name()).build();
        let mut store = Store::new(&engine, State { wasi, table: ResourceTable::new() });
        let world = bindings::KeystoreProvider::instantiate(&mut store, &component, &linker)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{} cannot be instantiated", path.display()))?;
        Ok(Self { store, world })
    }

    fn sign(&mut self) -> anyhow::Result<()> {
        let signer = self.world.keys_keystore_signer();
        signer.call_sign(&mut self.store, KEY, MESSAGE).map_err(anyhow::Error::msg)??;
        Ok(())
    }
}
