//! Appending: in memory, durably, in batches.

use std::time::Duration;

use secure_log::SecureLog;
use secure_log::model as native_model;

use super::Bench;
use super::measure::in_turns;
use super::native::{self, PlainSqlite};
use super::table::{Row, Table};
use crate::host::types::{Event, Severity};
use crate::launch::Session;
use crate::store_path::StorePath;

/// Event type of all entries.
pub const EVENT_TYPE: &str = "bench.event";
/// Producer of all entries.
pub const PRODUCER: &str = "bench";
const PAYLOAD: usize = 256;
/// Entries of a batch.
const BATCH: usize = 1_000;

/// One append in a graph.
pub fn one(log: &mut Session) -> anyhow::Result<()> {
    log.append("bench", EVENT_TYPE, Severity::Informational, PRODUCER, &[7; PAYLOAD])?;
    Ok(())
}

/// Events of a batch.
pub fn batch(count: usize, payload: usize) -> Vec<Event> {
    let event = Event {
        stream_id: "bench".into(),
        event_type: EVENT_TYPE.into(),
        severity: Severity::Informational,
        producer: PRODUCER.into(),
        payload: vec![7; payload],
        payload_encoding: None,
        object_ref: None,
        id: None,
    };
    vec![event; count]
}

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let rounds = bench.sizes.rounds;
    table.doing("append to :memory:");
    let count = if rounds > 10 { 5_000 } else { 1_000 };
    let mut graph = bench.launcher.open(&StorePath::parse(":memory:")?)?;
    let mut engine = native::open(":memory:")?;
    let memory = in_turns(
        rounds,
        count,
        || (0..count).try_for_each(|_| one(&mut graph)),
        || {
            (0..count).try_for_each(|_| {
                engine.append(native_model::Event::new(
                    "bench",
                    EVENT_TYPE,
                    native_model::Severity::Informational,
                    PRODUCER,
                    [7; PAYLOAD],
                ))?;
                Ok(())
            })
        },
    )?;
    table.add(Row::ratio("append, 256 B payload, `:memory:`, graph vs native engine", memory, 2.0));
    graph.finish()?;

    table.doing("durable appends");
    let mut graph = bench.open("durable.db")?;
    let mut plain = PlainSqlite::create(&bench.path("plain.db"))?;
    // The first entry is another transaction: it makes the stream and the log's own stream.
    one(&mut graph)?;
    let header = graph.read("bench", 1)?.header_bytes;
    let durable = in_turns(
        rounds * 2,
        50,
        || (0..50).try_for_each(|_| one(&mut graph)),
        || (0..50).try_for_each(|_| plain.append(&header, &[7; PAYLOAD + 32])),
    )?;
    table.add(Row::ratio(
        "durable append to a SQLite file, graph vs the same statements natively",
        durable,
        1.3,
    ));

    table.doing("durable batches");
    let events = batch(BATCH, PAYLOAD);
    let graph = std::cell::RefCell::new(graph);
    let compared = in_turns(
        rounds * 2,
        1,
        || (0..50).try_for_each(|_| one(&mut graph.borrow_mut())),
        || {
            graph.borrow_mut().append_batch(&events, &[])?;
            Ok(())
        },
    )?;
    let single = compared.first / 50;
    let each = compared.second / u32::try_from(BATCH)?;
    let per_second = rate(each);
    table.add(Row::at_least("append-batch(1,000), durable: entries/s", per_second, 50_000.0, "/s"));
    table.add(Row::at_least("the same over single durable appends", per_second / rate(single), 12.0, "×"));
    graph.into_inner().finish()?;
    Ok(())
}

fn rate(each: Duration) -> f64 {
    1.0 / each.as_secs_f64()
}
