//! Verifying: the graph beside the native engine, the engine beside a bare loop.

use anyhow::{Context, ensure};
use secure_log::SecureLog;

use super::Bench;
use super::append::batch;
use super::measure::in_turns;
use super::native::{self, PlainSqlite};
use super::table::{Row, Table};

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let size = bench.sizes.verify;
    table.doing("verification");
    let mut log = bench.open("verify.db")?;
    let events = batch(1_000, 256);
    for _ in 0..size / 1_000 {
        log.append_batch(&events, &[])?;
    }
    log.finish()?;
    for copy in ["verify-native.db", "verify-plain.db"] {
        std::fs::copy(bench.path("verify.db"), bench.path(copy))?;
    }
    let rounds = bench.sizes.rounds.div_ceil(2);
    let count = u32::try_from(size)?;
    let config = |name: &str| bench.path(name).to_str().map(str::to_owned).context("a path is not UTF-8");
    let mut graph = bench.open("verify.db")?;
    let mut engine = native::open(&config("verify-native.db")?)?;
    let chain = in_turns(
        rounds,
        count,
        || {
            graph.verify_chain("bench", 1, size)?;
            Ok(())
        },
        || {
            engine.verify_chain("bench", 1, size)?;
            Ok(())
        },
    )?;
    table.add(Row::ratio(format!("verify-chain of {size} entries, graph vs native"), chain, 2.5));
    graph.finish()?;
    let plain = PlainSqlite::open(&bench.path("verify-plain.db"))?;
    let headers = in_turns(
        rounds,
        count,
        || {
            engine.verify_headers("bench", 1, size)?;
            Ok(())
        },
        || {
            let read = plain.read_and_hash("bench")?;
            ensure!(read == size, "{read} rows instead of {size}");
            Ok(())
        },
    )?;
    table.add(Row::ratio(
        "verify-headers, native, vs a loop that reads the rows and hashes the headers",
        headers,
        2.0,
    ));
    secure_log::store::SecureLogStore::close(engine.into_store())?;
    Ok(())
}
