//! What sealing adds to an append.

use secure_log::envelope::Envelope;
use secure_log::model::{Event, Severity, Tier};
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::{NativeSecureLog, SecureLog};
use secure_log_file::FileSecureLogStore;
use secure_log_keystore::{Config, SoftwareKeystore};
use secure_log_sqlite::SqliteSecureLogStore;

use super::Bench;
use super::append::{EVENT_TYPE, PRODUCER};
use super::measure::{Pair, in_turns};
use super::table::{Row, Table};
use crate::crowd::Machine;
use crate::host::types;
use crate::launch::Session;
use crate::store_path::StorePath;

const PAYLOAD: [u8; 1024] = [7; 1024];
const MOST: f64 = 1.3;

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    table.doing("sealing");
    let (rounds, many) = (bench.sizes.rounds, if bench.sizes.rounds > 10 { 2_000 } else { 500 });
    let path = |name: &str| bench.path(name).display().to_string();
    let mut row = |what: &str, pair: Pair| {
        table.add(Row::ratio(format!("append of 1 KiB sealed vs public, {what}"), pair, MOST));
    };
    row("native, `:memory:`", native::<SqliteSecureLogStore>(":memory:", rounds, many)?);
    row("native, durable, sqlite", native::<SqliteSecureLogStore>(&path("sealed.db"), rounds, 50)?);
    row("native, durable, file", native::<FileSecureLogStore>(&path("sealed.jsonl"), rounds, 50)?);
    row("graph, `:memory:`", graph(bench.launcher.open(&StorePath::parse(":memory:")?)?, rounds, many)?);
    row("graph, durable, sqlite", graph(bench.open("sealed-graph.db")?, rounds, 50)?);
    let file = bench.file_launcher()?;
    row("graph, durable, file", graph(file.open(&bench.store("sealed-graph.jsonl")?)?, rounds, 50)?);
    Ok(())
}

fn keystore() -> impl Envelope + Send + 'static {
    let mut config = Config::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()));
    config.notice = Box::new(|_| {});
    SoftwareKeystore::new(config)
}

fn native<S: OpenStore + SecureLogStore>(config: &str, rounds: usize, count: u32) -> anyhow::Result<Pair> {
    let log = NativeSecureLog::new(S::open(config)?, Machine, "bench")?.with_envelope(keystore());
    let log = std::cell::RefCell::new(log);
    log.borrow_mut().create_stream("sealed", Tier::Protected, None)?;
    let append = |stream: &str| {
        (0..count).try_for_each(|_| {
            let event = Event::new(stream, EVENT_TYPE, Severity::Informational, PRODUCER, PAYLOAD);
            log.borrow_mut().append(event).map(drop)
        })
    };
    append("public")?;
    append("sealed")?;
    in_turns(rounds, count, || Ok(append("sealed")?), || Ok(append("public")?))
}

fn graph(log: Session, rounds: usize, count: u32) -> anyhow::Result<Pair> {
    let log = std::cell::RefCell::new(log);
    log.borrow_mut().create_stream("sealed", types::Tier::Protected, None)?;
    let append = |stream: &str| {
        (0..count).try_for_each(|_| {
            let severity = types::Severity::Informational;
            log.borrow_mut().append(stream, EVENT_TYPE, severity, PRODUCER, &PAYLOAD).map(drop)
        })
    };
    append("public")?;
    append("sealed")?;
    let pair = in_turns(rounds, count, || Ok(append("sealed")?), || Ok(append("public")?))?;
    log.into_inner().finish()?;
    Ok(pair)
}
