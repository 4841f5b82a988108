//! Opening the log and putting events into it.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;

use super::{Run, Sample, count};
use crate::events::Source;
use crate::host::types::{AppendResult, Event, StreamHead};
use crate::launch::Session;
use crate::refusals::expect;
use crate::report::progress;

/// Events that are appended one by one, each durable before the next, before batches begin.
const SINGLES: usize = 100;
/// Events of a batch.
const BATCH: usize = 1_000;

/// Starts the instance and opens the log; `also` may be used for copies.
pub fn open(run: &mut Run, also: &Path) -> Option<Session> {
    let (launcher, store) = (&run.launcher, &run.store);
    let mut log = run.report.step("start", "Start the component", |note| {
        let log = launcher.start(store, &[also])?;
        note.say(format!("exports {}", launcher.artifact.exports().join(", ")));
        Ok(log)
    })?;
    run.report.step(
        "refuse-unopened",
        "Calls before open, and an open without a config, are refused",
        |note| {
            let severity = crate::host::types::Severity::Notice;
            note.say(expect("append before open", log.append("s", "t", severity, "p", b"x"), &["invalid"])?);
            expect("list-streams before open", log.list_streams(), &["invalid"])?;
            expect("verify-chain before open", log.verify_chain("s", 1, 1), &["invalid"])?;
            expect("latest before open", log.latest_checkpoint(), &["invalid"])?;
            note.say(expect("open with an empty config", log.open(""), &["invalid"])?);
            Ok(())
        },
    );
    run.report.step("open", "Open the log", |note| {
        log.open_log()?;
        let heads = Run::heads(&mut log)?;
        let entries = heads.iter().map(|head| head.seqno).sum();
        note.say(match log.origin()? {
            Some(origin) if entries > 0 => format!(
                "continues {origin}: {} in {}",
                count(entries, "entry", "entries"),
                count(heads.len() as u64, "stream", "streams")
            ),
            _ => "a new log".into(),
        });
        Ok(())
    })?;
    run.report.step("refuse-second-open", "A second open is refused", |note| {
        let config = log.config().to_owned();
        note.say(expect("second open", log.open(&config), &["invalid"])?);
        Ok(())
    });
    Some(log)
}

/// Appends all events of the source: some one by one, the rest in batches.
pub fn feed(run: &mut Run, log: &mut Session, source: &mut Source) -> Option<()> {
    let appended = &mut run.appended;
    let durable = match run.store.host_path() {
        Some(_) => "Append events one by one, each durable before its answer",
        None => "Append events one by one",
    };
    run.report.step("append", durable, |note| {
        let events = source.take(SINGLES)?;
        ensure!(!events.is_empty(), "there are no events to append");
        let began = Instant::now();
        for (n, event) in events.iter().enumerate() {
            let ack = if event.payload_encoding.is_some() {
                log.append_batch(std::slice::from_ref(event), &[])?.remove(0)
            } else {
                log.append(
                    &event.stream_id,
                    &event.event_type,
                    event.severity,
                    &event.producer,
                    &event.payload,
                )?
            };
            record(appended, event, &ack, n == 0 || n % 10 == 9)?;
        }
        note.say(rate(events.len() as u64, began));
        Ok(())
    })?;
    run.report.step("append-batch", "Append the rest in batches, all or nothing", |note| {
        let (began, mut events, mut batches) = (Instant::now(), 0, 0);
        let bar = progress("appending", None);
        loop {
            let batch = source.take(BATCH)?;
            if batch.is_empty() {
                break;
            }
            let acks = log.append_batch(&batch, &[])?;
            ensure!(acks.len() == batch.len(), "{} answers for {} events", acks.len(), batch.len());
            for (n, (event, ack)) in batch.iter().zip(&acks).enumerate() {
                record(appended, event, ack, (n == 0 && batches % 16 == 0) || n + 1 == batch.len())?;
            }
            events += batch.len() as u64;
            batches += 1;
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
        note.say(match batches {
            0 => "none left".into(),
            _ => format!("{} in {}", rate(events, began), count(batches, "batch", "batches")),
        });
        Ok(())
    })
}

/// Keeps some of what was appended, so that long inputs do not fill the memory.
fn record(to: &mut super::Appended, event: &Event, ack: &AppendResult, keep: bool) -> anyhow::Result<()> {
    ensure!(ack.seqno > 0 && ack.entry_hash.len() == 32, "an odd answer: {ack:?}");
    to.events += 1;
    to.bytes += event.payload.len() as u64;
    if keep && to.samples.len() < 500 {
        let head = StreamHead {
            stream_id: event.stream_id.clone(),
            seqno: ack.seqno,
            entry_hash: ack.entry_hash.clone(),
        };
        to.samples.push(Sample { head, event: event.clone() });
    }
    Ok(())
}

fn rate(events: u64, began: Instant) -> String {
    let seconds = began.elapsed().as_secs_f64();
    let each = seconds * 1e3 / events.max(1) as f64;
    format!("{}, {:.0}/s, {each:.3} ms each", count(events, "event", "events"), events as f64 / seconds)
}
