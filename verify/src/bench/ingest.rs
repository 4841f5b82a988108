//! The ingest gate in the graph, beside a native loop that only verifies.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ed25519_dalek::{SigningKey, VerifyingKey};
use edgesentry_audit::gate::{Outcome, Registration, Submission, Verdict};
use edgesentry_audit::identity::verify_record_signature;
use edgesentry_audit::{AuditRecord, build_signed_record};

use super::Bench;
use super::measure::in_turns;
use super::table::{Row, Table};
use crate::host::{Artifact, LogOwner, Settings, Site};
use crate::launch::{Launcher, Session};

const ARTIFACT: &str = "edgesentry-ingest-sqlite.wasm";
const PAYLOAD: usize = 256;
const BATCH: usize = 256;
/// Devices whose records are in one batch.
const DEVICES: usize = 64;
/// Callers of the owner, each with one record at a time.
const CALLERS: usize = 64;

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    for (build, path, least) in
        [("portable", bench.dist.join(ARTIFACT), 0.3), ("wide", bench.dist.join("wide").join(ARTIFACT), 0.45)]
    {
        if !path.is_file() {
            table.note(format!(
                "ingest ({build}) was NOT measured: {} is missing (scripts/build-components.sh{})",
                path.display(),
                if build == "wide" { " --wide" } else { "" }
            ));
            continue;
        }
        table.doing(&format!("ingest, {build}"));
        let launcher = Launcher { artifact: Artifact::load(&path)?, ..bench.launcher.clone() };
        ratio(bench, table, &launcher, build, least)?;
        owner(bench, table, &path, build)?;
    }
    Ok(())
}

fn ratio(
    bench: &Bench,
    table: &mut Table,
    launcher: &Launcher,
    build: &str,
    least: f64,
) -> anyhow::Result<()> {
    let mut fleet = Fleet::new(DEVICES);
    let mut log = launcher.open(&bench.store(&format!("ingest-{build}.db"))?)?;
    fleet.register(&mut log)?;
    let batches: Vec<Vec<Submission>> =
        (0..=bench.sizes.rounds).map(|_| (0..BATCH).map(|n| fleet.next(n % DEVICES)).collect()).collect();
    let keys = &fleet.keys;
    let (mut first, mut second) = (batches.iter(), batches.iter());
    let pair = in_turns(
        bench.sizes.rounds,
        u32::try_from(BATCH)?,
        || {
            let batch = first.next().context("a batch a round")?;
            accepted(&log.submit_batch(batch)?)
        },
        || {
            for (n, submission) in second.next().context("a batch a round")?.iter().enumerate() {
                ensure!(
                    verify_record_signature(&keys[n % DEVICES], &submission.record),
                    "it does not verify"
                );
            }
            Ok(())
        },
    )?;
    log.finish()?;
    let rate = |each: Duration| 1.0 / each.as_secs_f64();
    table.add(Row::rates(
        format!("ingest, durable, batches of {BATCH}, {PAYLOAD} B, {build} graph vs verifying natively"),
        (rate(pair.first), rate(pair.second)),
        1.0 / pair.ratio,
        least,
    ));
    Ok(())
}

/// What callers with a record each get of an owner that commits in groups.
fn owner(bench: &Bench, table: &mut Table, path: &Path, build: &str) -> anyhow::Result<()> {
    let each = if bench.sizes.rounds > 10 { 200 } else { 50 };
    let mut fleet = Fleet::new(CALLERS);
    let store = bench.store(&format!("owner-{build}.db"))?;
    let site = Site::local(&store, &bench.launcher.guest, bench.launcher.patience)?;
    let owner = LogOwner::start(&Artifact::load(path)?, site, Settings::default(), ())?;
    for n in 0..CALLERS {
        let (id, registration) = fleet.registration(n);
        owner.call(move |log| log.register_device(&id, &registration)).wait()?;
    }
    let records: Vec<Vec<Submission>> =
        (0..CALLERS).map(|n| (0..each).map(|_| fleet.next(n)).collect()).collect();
    let refused = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let callers: Vec<_> = records
        .into_iter()
        .map(|records| {
            let (owner, refused) = (owner.clone(), refused.clone());
            std::thread::spawn(move || -> Vec<Duration> {
                let submit = |record| {
                    let began = Instant::now();
                    let stored = owner.submit(record).wait().is_ok_and(|v| is_accepted(&v));
                    refused.fetch_add(usize::from(!stored), Ordering::Relaxed);
                    began.elapsed()
                };
                records.into_iter().map(submit).collect()
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?);
    }
    let took = began.elapsed();
    ensure!(refused.load(Ordering::Relaxed) == 0, "records were refused");
    let commits = owner.statistics().commits;
    owner.shutdown()?;
    times.sort();
    let at = |part: usize| times.get((times.len() - 1) * part / 100).copied().unwrap_or_default();
    table.note(format!(
        "{build}: {CALLERS} threads with one record each at a time get {:.0} records/s of a `LogOwner` \
         ({:.0} records a commit), p50 {:.1} ms, p99 {:.1} ms",
        times.len() as f64 / took.as_secs_f64(),
        times.len() as f64 / commits as f64,
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3,
    ));
    Ok(())
}

fn accepted(verdicts: &[Verdict]) -> anyhow::Result<()> {
    match verdicts.iter().find(|verdict| !is_accepted(verdict)) {
        None => Ok(()),
        Some(refused) => anyhow::bail!("{refused:?}"),
    }
}

fn is_accepted(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Accepted(_))
}

/// Devices that sign one record after the other.
struct Fleet {
    signing: Vec<SigningKey>,
    keys: Vec<VerifyingKey>,
    last: Vec<(u64, [u8; 32])>,
}

impl Fleet {
    fn new(devices: usize) -> Self {
        let key = |n: usize| SigningKey::from_bytes(blake3::hash(&n.to_le_bytes()).as_bytes());
        let signing: Vec<SigningKey> = (0..devices).map(key).collect();
        let keys = signing.iter().map(SigningKey::verifying_key).collect();
        Self { signing, keys, last: vec![(0, AuditRecord::zero_hash()); devices] }
    }

    fn id(n: usize) -> String {
        format!("lift-{n:05}")
    }

    fn registration(&self, n: usize) -> (String, Registration) {
        (Self::id(n), Registration::new(self.keys[n]))
    }

    fn register(&self, log: &mut Session) -> anyhow::Result<()> {
        for n in 0..self.keys.len() {
            let (id, registration) = self.registration(n);
            log.register_device(&id, &registration)?;
        }
        Ok(())
    }

    fn next(&mut self, n: usize) -> Submission {
        let (sequence, previous) = (self.last[n].0 + 1, self.last[n].1);
        let payload: Vec<u8> = (0..PAYLOAD).map(|i| (i as u64 ^ sequence) as u8).collect();
        let object_ref = format!("s3://lifts/{n}/{sequence}.json");
        let time = 1_790_000_000_000 + sequence;
        let record = build_signed_record(
            Self::id(n),
            sequence,
            time,
            &payload,
            previous,
            object_ref,
            &self.signing[n],
        );
        self.last[n] = (sequence, record.hash());
        Submission { record, payload, route_identity: None, source: None }
    }
}
