//! Kills writers under load, and checks that nothing that was acknowledged is gone.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::launch::Launcher;
use crate::store_path::StorePath;
use crate::writer::{Ack, BATCH, hex};

/// How long a writer may take until its first acknowledged append.
const START: Duration = Duration::from_secs(60);

/// How writers are started.
#[derive(Clone)]
pub struct Writers {
    /// This program.
    pub program: PathBuf,
    /// The component.
    pub artifact: PathBuf,
    /// The store that they write to.
    pub store: StorePath,
    /// Whether they hold a native lock.
    pub host_lock: bool,
    /// Variables for them, besides those of this process.
    pub env: Vec<(String, String)>,
}

/// A writer process. It is killed when this is dropped.
pub struct Writer {
    child: Child,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    /// Entries acknowledged so far.
    pub acks: Vec<Ack>,
    /// The error on which it gave up, if it did: `<kind> <text>`.
    pub error: Option<String>,
}

impl Writers {
    /// Starts a writer on `stream`; with `appends`, it ends by itself.
    pub fn start(&self, stream: &str, appends: Option<u64>) -> anyhow::Result<Writer> {
        let mut command = Command::new(&self.program);
        command.arg(&self.artifact).arg(self.store.host_config()).args([
            "--child-writer",
            stream,
            "--wait",
            "60",
        ]);
        if let Some(appends) = appends {
            command.args(["--child-appends", &appends.to_string()]);
        }
        if !self.host_lock {
            command.arg("--no-host-lock");
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let stdout = child.stdout.take().context("the writer has no stdout")?;
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Writer { child, lines, reader: Some(reader), acks: Vec::new(), error: None })
    }
}

impl Writer {
    /// Waits until at least `count` entries are acknowledged.
    pub fn wait_for_acks(&mut self, count: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while self.acks.len() < count {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("a writer did not get going within {} s", START.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("a writer ended by itself: {}", self.last_words())
                }
            }
        }
        Ok(())
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (SIGKILL: it cannot clean up) and collects what it had told before.
    pub fn kill(mut self) -> anyhow::Result<Vec<Ack>> {
        if let Some(status) = self.child.try_wait()? {
            bail!("a writer ended by itself ({status}): {}", self.last_words());
        }
        self.child.kill()?;
        self.child.wait()?;
        self.drain();
        Ok(std::mem::take(&mut self.acks))
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for it to end by itself. True if it ended well.
    pub fn join(&mut self) -> anyhow::Result<bool> {
        self.drain();
        Ok(self.child.wait()?.success())
    }

    fn drain(&mut self) {
        while let Ok(line) = self.lines.recv() {
            self.take(&line);
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    fn take(&mut self, line: &str) {
        if let Some(error) = line.strip_prefix("error ") {
            self.error = Some(error.to_owned());
        }
        self.acks.extend(Ack::parse(line));
    }

    /// Why it ended: its error, or what it wrote to stderr.
    pub fn last_words(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = std::io::Read::read_to_string(stderr, &mut text);
        }
        let _ = self.child.wait();
        self.error.take().unwrap_or(text).trim().to_owned()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one round found. Everything acknowledged was there, or it would be an error.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Entries acknowledged before the kill.
    pub acknowledged: usize,
    /// Entries written whose answer the kill cut off.
    pub unanswered: u64,
    /// From the kill to the store being open again.
    pub reopened: Duration,
}

/// Starts a writer, kills it `delay` after its first acknowledged append, reopens the store
/// and checks it.
pub fn round(writers: &Writers, launcher: &Launcher, stream: &str, delay: Duration) -> anyhow::Result<Round> {
    let mut writer = writers.start(stream, None)?;
    writer.wait_for_acks(1)?;
    std::thread::sleep(delay);
    let acks = writer.kill()?;
    let killed = Instant::now();
    let mut log = launcher.open(&writers.store).context("the store does not open after the kill")?;
    let reopened = killed.elapsed();
    let mut last = BTreeMap::<&str, u64>::new();
    for ack in &acks {
        let there = log.read(&ack.stream, ack.seqno).with_context(|| {
            format!("acknowledged, and gone: stream {:?} seqno {}", ack.stream, ack.seqno)
        })?;
        ensure!(
            hex(&there.entry_hash) == ack.hash,
            "stream {:?} seqno {} is not the entry that was acknowledged",
            ack.stream,
            ack.seqno
        );
        last.insert(&ack.stream, ack.seqno);
    }
    let mut heads = Vec::new();
    for (suffix, per_batch) in [("", 1)].into_iter().chain(BATCH) {
        let name = format!("{stream}{suffix}");
        let head = log.head(&name)?.map_or(0, |head| head.seqno);
        if head > 0 {
            log.verify_chain(&name, 1, head)?;
        }
        heads.push((name, head, per_batch as u64));
    }
    let batches: Vec<u64> = heads[1..].iter().map(|(_, head, per_batch)| head / per_batch).collect();
    ensure!(
        heads.iter().all(|(_, head, per_batch)| head % per_batch == 0) && batches[0] == batches[1],
        "half a batch was written: heads {heads:?}"
    );
    let mut unanswered = 0;
    for (name, head, per_batch) in &heads {
        // Before its first acknowledged append of this round a stream ends where it ended before.
        let Some(acked) = last.get(name.as_str()) else { continue };
        ensure!(
            *head <= acked + per_batch,
            "stream {name:?} has {} entries more than one call could leave unanswered",
            head - acked
        );
        unanswered += head - acked;
    }
    log.finish()?;
    Ok(Round { acknowledged: acks.len(), unanswered, reopened })
}

/// Delays that are spread over the life of a writer: from its first appends to a third of a second.
pub fn delay(round: u32) -> Duration {
    let spread = blake3::hash(&[&round.to_le_bytes()[..], &std::process::id().to_le_bytes()].concat());
    Duration::from_micros(u64::from(u16::from_le_bytes([spread.as_bytes()[0], spread.as_bytes()[1]])) * 5)
}

/// This program, for starting it again as a writer.
pub fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program to start it again")
}
