//! Many writers at one endpoint, each a log of its own over a native client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use secure_log::limits::MAX_PAGE_ROWS;
use secure_log::model::{Event, Severity};
use secure_log::store::SecureLogStore;
use secure_log::{Environment, Error, NativeSecureLog, SecureLog};
use secure_log_rpc::RemoteStore;

use crate::endpoint::HttpClient;

/// Who writes what.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// The endpoint.
    pub url: String,
    /// Its token.
    pub token: Option<String>,
    /// How many writers there are.
    pub writers: usize,
    /// How many entries each of them appends, one by one.
    pub appends: usize,
    /// One stream for all, or one for each.
    pub shared: bool,
    /// Part of the streams' and ids' names.
    pub name: String,
    /// How long a writer goes on while the endpoint cannot be reached.
    pub patience: Duration,
    /// Ends the writers before that, each after the entry that it is at.
    pub stop: Arc<AtomicBool>,
}

/// An acknowledged entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acknowledged {
    /// Stream.
    pub stream: String,
    /// Number.
    pub seqno: u64,
    /// Hash.
    pub hash: [u8; 32],
    /// Id of the event.
    pub id: String,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Everything that was acknowledged.
    pub acknowledged: Vec<Acknowledged>,
    /// Calls that had to be made again because the endpoint was away.
    pub retries: usize,
    /// From the first writer's start to the last one's end.
    pub took: Duration,
}

/// The clock and the randomness of this machine.
pub struct Machine;

impl Environment for Machine {
    fn now_ms(&mut self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            std::process::abort();
        }
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A log over an endpoint.
pub type RemoteLog = NativeSecureLog<RemoteStore<HttpClient>, Machine>;

/// Opens one.
pub fn connect(url: &str, token: Option<&str>) -> secure_log::Result<RemoteLog> {
    NativeSecureLog::new(RemoteStore::connect(HttpClient::new(url, token), "crowd")?, Machine, "crowd 1")
}

impl Crowd {
    fn stream(&self, writer: usize) -> String {
        if self.shared { self.name.clone() } else { format!("{}/{writer}", self.name) }
    }

    fn event(&self, writer: usize, n: usize) -> Event {
        let mut event = Event::new(
            self.stream(writer),
            "crowd.entry",
            Severity::Informational,
            format!("writer-{writer}"),
            format!("entry {n} of writer {writer}: {}", "·".repeat(n * 7 % 100)),
        );
        event.id = Some(format!("{}-{writer}-{n}", self.name));
        event
    }

    /// Lets them all write. Fails with the first error that is not the endpoint being away.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let writers: Vec<_> = (0..self.writers)
            .map(|writer| {
                let crowd = self.clone();
                std::thread::spawn(move || crowd.write(writer))
            })
            .collect();
        let mut outcome = Outcome::default();
        let mut failed = None;
        for writer in writers {
            match writer.join().map_err(|_| anyhow::anyhow!("a writer panicked")).and_then(|done| done) {
                Ok(done) => {
                    outcome.acknowledged.extend(done.acknowledged);
                    outcome.retries += done.retries;
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        outcome.took = began.elapsed();
        failed.map_or(Ok(outcome), Err)
    }

    fn write(&self, writer: usize) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut log = None;
        for n in 0..self.appends {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let event = self.event(writer, n);
            let deadline = Instant::now() + self.patience;
            let result = loop {
                let attempt = match &mut log {
                    Some(log) => log,
                    none => match connect(&self.url, self.token.as_deref()) {
                        Ok(opened) => none.insert(opened),
                        Err(error) => {
                            again(error, deadline)?;
                            outcome.retries += 1;
                            continue;
                        }
                    },
                }
                .append_batch(vec![event.clone()], &[]);
                match attempt {
                    Ok(results) => break results.first().cloned().context("no result for an event")?,
                    Err(error) => {
                        again(error, deadline).with_context(|| format!("writer {writer}, entry {n}"))?;
                        outcome.retries += 1;
                    }
                }
            };
            outcome.acknowledged.push(Acknowledged {
                stream: event.stream_id,
                seqno: result.seqno,
                hash: result.entry_hash,
                id: event.id.unwrap_or_default(),
            });
        }
        Ok(outcome)
    }

    /// Checks that everything acknowledged is in the log, once, and nothing else; that nothing is missing if the
    /// writers were not stopped; and that the chains hold.
    pub fn check(&self, log: &mut RemoteLog, acknowledged: &[Acknowledged]) -> anyhow::Result<()> {
        let streams = if self.shared { 1 } else { self.writers };
        for writer in 0..streams {
            let stream = self.stream(writer);
            let head = log.head(&stream)?.with_context(|| format!("{stream:?} has no entries"))?;
            let report = log.verify_chain(&stream, 1, head.seqno)?;
            ensure!(report.entries_checked == head.seqno, "{stream:?}: not everything was checked");
            let mut mine: Vec<_> = acknowledged.iter().filter(|ack| ack.stream == stream).collect();
            mine.sort();
            let expected = if self.shared { self.writers * self.appends } else { self.appends };
            ensure!(
                mine.len() == expected || self.stop.load(Ordering::SeqCst),
                "{stream:?}: {} acknowledged of {expected}",
                mine.len()
            );
            ensure!(
                head.seqno == mine.len() as u64,
                "{stream:?} has {} entries, {} were acknowledged",
                head.seqno,
                mine.len()
            );
            let mut rows = Vec::new();
            while (rows.len() as u64) < head.seqno {
                rows.extend(log.store_mut().read_rows(
                    &stream,
                    rows.len() as u64 + 1,
                    MAX_PAGE_ROWS,
                    false,
                )?);
            }
            for ((number, ack), row) in (1..).zip(mine).zip(rows) {
                ensure!(
                    ack.seqno == number,
                    "{stream:?}: {} was acknowledged where {number} follows",
                    ack.seqno
                );
                ensure!(
                    row.entry_hash == ack.hash && row.id.as_deref() == Some(&*ack.id),
                    "{stream:?} {number} is not what was acknowledged"
                );
            }
        }
        Ok(())
    }
}

/// Whether to try again: the endpoint may come back until `deadline`.
fn again(error: Error, deadline: Instant) -> anyhow::Result<()> {
    match error {
        // The event has an id, so it is stored once however often it is sent.
        Error::Unavailable(_) | Error::Conflict(_) if Instant::now() < deadline => {
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        }
        error => Err(error.into()),
    }
}
