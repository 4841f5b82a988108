//! What the host library adds to wasmtime.

use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::Bench;
use super::append::{EVENT_TYPE, PRODUCER, one};
use super::measure::{in_turns, median, time};
use super::table::{Row, Table};
use crate::host::HostedLog;
use crate::host::types::{self, Severity};
use crate::store_path::StorePath;

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "package secure-log:bare; world bare { export secure-log:log/log@0.1.0; }",
    world: "secure-log:bare/bare",
    with: { "secure-log:log/types@0.1.0": crate::host::types },
});

struct Host(WasiCtx, ResourceTable);

impl types::Host for Host {}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.0, table: &mut self.1 }
    }
}

/// What wasmtime says, as an error of this crate.
fn ran<T>(outcome: wasmtime::Result<T>) -> anyhow::Result<T> {
    outcome.map_err(|e| anyhow::anyhow!("{e:#}"))
}

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let rounds = bench.sizes.rounds;
    table.doing("calls through the host library");
    let artifact = &bench.launcher.artifact;
    let mut linker = Linker::<Host>::new(artifact.engine());
    ran(wasmtime_wasi::p2::add_to_linker_sync(&mut linker))?;
    ran(types::add_to_linker::<_, HasSelf<_>>(&mut linker, |host| host))?;
    let mut store = Store::new(artifact.engine(), Host(WasiCtxBuilder::new().build(), ResourceTable::new()));
    let world = ran(Bare::instantiate(&mut store, artifact.component(), &linker))?;
    let log = world.secure_log_log_log();
    ran(log.call_open(&mut store, ":memory:"))??;
    let mut hosted = bench.launcher.open(&StorePath::parse(":memory:")?)?;
    let appends = in_turns(
        rounds,
        2_000,
        || (0..2_000).try_for_each(|_| one(&mut hosted)),
        || {
            (0..2_000).try_for_each(|_| {
                let severity = Severity::Informational;
                ran(log.call_append(&mut store, "bench", EVENT_TYPE, severity, PRODUCER, &[7; 256]))??;
                Ok(())
            })
        },
    )?;
    table.add(Row::ratio("append to `:memory:`, host library vs bare bindings", appends, 1.1));
    let heads = in_turns(
        rounds,
        5_000,
        || {
            (0..5_000).try_for_each(|_| {
                hosted.head("bench")?;
                Ok(())
            })
        },
        || {
            (0..5_000).try_for_each(|_| {
                ran(log.call_head(&mut store, "bench"))??;
                Ok(())
            })
        },
    )?;
    table.add(Row::ratio("`head`, the same", heads, 1.1));
    hosted.finish()?;

    table.doing("opening");
    let artifact = bench.dist.join("secure-log-sqlite.wasm");
    let config = bench.store("cold.db")?.host_config();
    let open = || HostedLog::builder().silent().open(&artifact, &config);
    let mut log = open()?;
    log.append("bench", EVENT_TYPE, Severity::Informational, PRODUCER, b"one")?;
    log.close()?;
    let mut opens = Vec::new();
    for _ in 0..rounds * 2 {
        opens.push(time(&mut || Ok(open()?.close()?))?);
    }
    table.add(Row::at_most(
        "opening a log in a SQLite file, component from the cache (median)",
        median(&mut opens).as_secs_f64() * 1e3,
        50.0,
        " ms",
    ));
    Ok(())
}
