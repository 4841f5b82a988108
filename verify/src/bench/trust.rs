//! Closing, signing, proving, witnessing and erasing.

use std::time::Duration;

use anyhow::{Context, ensure};
use secure_log::model::{Event, Severity};
use secure_log::signer::Algorithm;
use secure_log::{NativeSecureLog, SecureLog};
use secure_log_sqlite::SqliteSecureLogStore;

use super::Bench;
use super::append::{EVENT_TYPE, PRODUCER, batch};
use super::measure::{Pair, median, median_f64, time};
use super::sign::{KEY, native_keystore};
use super::table::{Row, Table, short};
use super::{native, remote};
use crate::crowd::Machine;
use crate::endpoint::{Form, HttpClient, Serve, Settings, wasmtime};
use crate::launch::{Launcher, Session};
use crate::report::progress;

/// Entries that are closed and signed at a time.
const NEW: usize = 1_000;
/// Streams that are closed and signed at once.
const STREAMS: usize = 10_000;
/// Payloads that are erased.
const ERASED: usize = 10_000;
/// Proofs of each kind.
const PROOFS: u64 = 101;
/// Logs that update a witness at once.
const LOGS: usize = 8;
const WITNESS: &str = "secure-log-witness.wasm";

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let stacks = [("sqlite", "db", bench.launcher.clone()), ("file", "jsonl", bench.file_launcher()?)];
    for (store, ending, launcher) in &stacks {
        table.doing(&format!("a large log, {store}"));
        let mut large = filled(bench, launcher, &format!("trust-large.{ending}"))?;
        closing(bench, table, launcher, (store, ending), &mut large)?;
        proofs(bench, table, store, &mut large)?;
        large.finish()?;
        table.doing(&format!("many streams, {store}"));
        many_streams(bench, table, launcher, (store, ending))?;
        table.doing(&format!("erasure, {store}"));
        erasure(bench, table, launcher, (store, ending))?;
    }
    witness(bench, table)
}

/// A log whose entries are all closed and signed.
fn filled(bench: &Bench, launcher: &Launcher, name: &str) -> anyhow::Result<Session> {
    let size = bench.sizes.large;
    let mut log = launcher.open(&bench.store(name)?)?;
    let events = batch(5_000, 100);
    let bar = progress(&format!("writing {size} entries"), Some(size));
    for _ in 0..size / 5_000 {
        log.append_batch(&events, &[])?;
        bar.inc(5_000);
    }
    bar.finish_and_clear();
    close_and_sign(&mut log)?;
    Ok(log)
}

fn close_and_sign(log: &mut Session) -> anyhow::Result<()> {
    let segment = log.close_segment("bench")?;
    log.sign_segment(KEY, segment.segment_id)?;
    Ok(())
}

/// New entries on top of many, and the same on an empty log, in turns.
fn closing(
    bench: &Bench,
    table: &mut Table,
    launcher: &Launcher,
    (store, ending): (&str, &str),
    large: &mut Session,
) -> anyhow::Result<()> {
    let events = batch(NEW, 100);
    let mut on_large = || {
        large.append_batch(&events, &[])?;
        time(&mut || close_and_sign(large))
    };
    let on_empty = |round: usize| {
        let mut log = launcher.open(&bench.store(&format!("trust-empty-{round}.{ending}"))?)?;
        log.append_batch(&events, &[])?;
        // The key is made before.
        log.verifier_key(KEY)?;
        let took = time(&mut || close_and_sign(&mut log))?;
        log.finish()?;
        anyhow::Ok(took)
    };
    let (mut firsts, mut seconds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=bench.sizes.rounds {
        let (first, second) = if round % 2 == 0 {
            let first = on_large()?;
            (first, on_empty(round)?)
        } else {
            let second = on_empty(round)?;
            (on_large()?, second)
        };
        if round > 0 {
            firsts.push(first);
            seconds.push(second);
            ratios.push(first.as_secs_f64() / second.as_secs_f64());
        }
    }
    let pair =
        Pair { first: median(&mut firsts), second: median(&mut seconds), ratio: median_f64(&mut ratios) };
    let what =
        format!("close and sign {NEW} new entries on {} vs on an empty log, {store}", bench.sizes.large);
    table.add(Row::ratio(what, pair, 1.2));
    Ok(())
}

fn proofs(bench: &Bench, table: &mut Table, store: &str, log: &mut Session) -> anyhow::Result<()> {
    let size = log.head("bench")?.context("the stream is gone")?.seqno;
    let step = size / PROOFS;
    let mut consistency = Vec::new();
    let mut inclusion = Vec::new();
    for n in 0..PROOFS {
        let at = 1 + n * step;
        consistency.push(time(&mut || {
            log.build_consistency_proof("bench", at, size)?;
            Ok(())
        })?);
        inclusion.push(time(&mut || {
            log.build_entry_proof("bench", at)?;
            Ok(())
        })?);
    }
    let slowest = |times: &[Duration]| short(times.iter().max().copied().unwrap_or_default());
    table.add(Row::at_most(
        format!(
            "consistency proof at {} entries, {store} (median of {PROOFS}; slowest {})",
            bench.sizes.large,
            slowest(&consistency)
        ),
        median(&mut consistency).as_secs_f64() * 1e3,
        5.0,
        " ms",
    ));
    let slowest = slowest(&inclusion);
    table.note(format!(
        "the proof of an entry at {} entries, {store}: {} (median of {PROOFS}; slowest {slowest})",
        bench.sizes.large,
        short(median(&mut inclusion)),
    ));
    Ok(())
}

/// One entry in each of many streams: all of them closed in one transaction, under one signature.
fn many_streams(
    bench: &Bench,
    table: &mut Table,
    launcher: &Launcher,
    (store, ending): (&str, &str),
) -> anyhow::Result<()> {
    let mut log = launcher.open(&bench.store(&format!("trust-streams.{ending}"))?)?;
    let mut events = batch(STREAMS, 100);
    for (n, event) in events.iter_mut().enumerate() {
        event.stream_id = format!("stream-{n}");
    }
    let mut times = Vec::new();
    for round in 0..3 {
        for some in events.chunks(2_500) {
            log.append_batch(some, &[])?;
        }
        log.verifier_key(KEY)?;
        let mut closed = 0;
        times.push(time(&mut || {
            let segments = log.close_segments()?;
            closed = segments.len();
            log.sign_segment(KEY, segments.last().context("nothing was closed")?.segment_id)?;
            Ok(())
        })?);
        ensure!(closed == STREAMS, "{closed} streams were closed");
        let signed = log.latest_checkpoint()?.map(|checkpoint| checkpoint.number);
        ensure!(signed == Some(round + 1), "checkpoint {signed:?} after {} signatures", round + 1);
    }
    log.finish()?;
    let what = format!("close {STREAMS} streams and sign once, {store} (median of 3)");
    table.add(Row::at_most(what, median(&mut times).as_secs_f64(), 5.0, " s"));
    Ok(())
}

fn erasure(
    bench: &Bench,
    table: &mut Table,
    launcher: &Launcher,
    (store, ending): (&str, &str),
) -> anyhow::Result<()> {
    let mut log = launcher.open(&bench.store(&format!("trust-erase.{ending}"))?)?;
    let events = batch(ERASED / 4, 1_024);
    let mut times = Vec::new();
    for round in 0..3 {
        for _ in 0..4 {
            log.append_batch(&events, &[])?;
        }
        let from = round * ERASED as u64 + 1;
        times.push(time(&mut || {
            let erased = log.erase_payloads("bench", from, from + ERASED as u64 - 1, "retention")?;
            ensure!(erased.entries == ERASED as u64, "{} payloads were erased", erased.entries);
            Ok(())
        })?);
    }
    log.finish()?;
    table.note(format!(
        "erasing {ERASED} payloads of 1 KiB took {} ({store}, median of 3)",
        short(median(&mut times))
    ));
    Ok(())
}

/// Checkpoints of one log, and what it submits to a witness for each.
fn submissions(name: &str, count: usize) -> anyhow::Result<(String, Vec<Vec<u8>>)> {
    let mut keystore = native_keystore(Algorithm::Ed25519);
    let mut log: NativeSecureLog<SqliteSecureLogStore, Machine> = native::open(":memory:")?;
    log.set_origin(name)?;
    let (mut bodies, mut old_size) = (Vec::with_capacity(count), 0);
    for _ in 0..count {
        log.append(Event::new("bench", EVENT_TYPE, Severity::Informational, PRODUCER, *b"witnessed"))?;
        let segment = log.close_segment("bench")?;
        let checkpoint = log.sign_segment(&mut keystore, KEY, segment.segment_id)?;
        bodies.push(log.witness_request(checkpoint.number, old_size)?);
        old_size = checkpoint.size;
    }
    Ok((log.verifier_key(&mut keystore, KEY)?, bodies))
}

fn witness(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let artifact = bench.dist.join(WITNESS);
    if let Err(missing) = wasmtime() {
        table.note(format!("the witness was NOT measured: {missing}"));
        return Ok(());
    }
    table.doing("a witness");
    let updates = if bench.sizes.rounds > 10 { 200 } else { 50 };
    let logs = (0..LOGS + 1)
        .map(|n| submissions(&format!("example.com/log-{n}"), updates))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut settings = Settings::new(artifact, bench.dir.path(), "witness.db")?;
    std::fs::create_dir_all(bench.path("witness-keys"))?;
    settings.token = None;
    let keys: Vec<_> = logs.iter().map(|(key, _)| key.as_str()).collect();
    settings.env = [
        ("SECURE_LOG_WITNESS_NAME", "witness.example/bench"),
        ("SECURE_LOG_WITNESS_KEY", KEY),
        ("SECURE_LOG_WITNESS_LOGS", &keys.join(";")),
        ("SECURE_LOG_KEYSTORE_DIR", "/data/witness-keys"),
        ("SECURE_LOG_KEYSTORE_GENERATE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let serve = Serve::start(&settings, Form::Stock)?;
    let url = format!("{}/add-checkpoint", serve.url());
    let submit = |bodies: &[Vec<u8>]| {
        let mut client = HttpClient::new(&url, None);
        bodies.iter().try_for_each(|body| {
            let (status, answer) = client.post(body)?;
            ensure!(status == 200, "the witness answered {status}: {}", String::from_utf8_lossy(&answer));
            Ok(())
        })
    };
    let (alone, others) = logs.split_first().context("there are no logs")?;
    let one = time(&mut || submit(&alone.1))?;
    let all = time(&mut || remote::at_once(others.iter().map(|(_, bodies)| || submit(bodies))))?;
    let rate = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
    table.note(format!(
        "the witness under stock `wasmtime serve` cosigns {:.0} updates/s of one log, {:.0}/s of {LOGS} logs at once",
        rate(updates, one),
        rate(updates * LOGS, all)
    ));
    Ok(())
}
