//! Killing, stopping and starving the holder of a store.
//!
//! The test binary starts itself again as the other processes (`STORE_TEST_ROLE` is set there).
//! `SECURE_LOG_KILL_ROUNDS` sets how often a process is killed or stopped.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{after, hash, integrity, open, whole_stream};
use secure_log::error::Error;
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log_sqlite::SqliteSecureLogStore;

fn rounds(default: u64) -> u64 {
    std::env::var("SECURE_LOG_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Something different each time.
fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % below
}

struct Worker {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Worker {
    fn start(role: &str, config: &str, number: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process", "--nocapture", "--test-threads=1"])
            .envs([("STORE_TEST_ROLE", role), ("STORE_TEST_CONFIG", config)])
            .env("STORE_TEST_NUMBER", number.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Its next message, words of a line that begins with `>`; `None` when it has ended.
    fn message(&mut self) -> Option<Vec<String>> {
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // A killed writer's last line may be torn, then it is no message.
            if let (Some(at), true) = (line.find('>'), line.ends_with('\n')) {
                return Some(line[at + 1..].split_whitespace().map(str::to_owned).collect());
            }
        }
    }

    /// Waits for `count` acknowledged appends; keeps the number and writer of each.
    fn acknowledged(&mut self, count: u64, into: &mut Vec<(u64, u64)>) {
        let mut seen = 0;
        while seen < count {
            let message = self.message().expect("the worker ended");
            if let [word, seqno, writer] = &message[..]
                && word == "ack"
            {
                into.push((seqno.parse().unwrap(), writer.parse().unwrap()));
                seen += 1;
            }
        }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: plain system call; the child has not been waited for, so the id is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Reads what is left and waits.
    fn end(mut self, into: &mut Vec<(u64, u64)>) -> bool {
        while let Some(message) = self.message() {
            if let [word, seqno, writer] = &message[..]
                && word == "ack"
            {
                into.push((seqno.parse().unwrap(), writer.parse().unwrap()));
            }
        }
        self.child.wait().unwrap().success()
    }
}

fn say(message: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, ">{message}").unwrap();
    out.flush().unwrap();
}

/// Appends until it is killed, and says so after each append.
fn append_for_ever(config: &str, number: u64) {
    let mut store = open(config);
    loop {
        let append = match store.head("a") {
            Ok(head) => after("a", head, 1 + random(20), number),
            Err(Error::Busy(why)) => {
                say(format_args!("busy {}", why.starts_with("superseded")));
                continue;
            }
            Err(e) => panic!("{e}"),
        };
        let last = append.rows.last().unwrap().seqno;
        match store.append(&[append], &[], &[]) {
            Ok(()) => say(format_args!("ack {last} {number}")),
            Err(Error::Busy(why)) => say(format_args!("busy {}", why.starts_with("superseded"))),
            Err(e) => panic!("{e}"),
        }
    }
}

/// Appends 60 rows with ids, handing the store over after every few.
fn take_turns(config: &str, number: u64) {
    let mut next = 1;
    while next <= 60 {
        let mut store = open(config);
        for _ in 0..=random(6) {
            let mut append = after("a", store.head("a").unwrap(), 1, number);
            append.rows[0].id = Some(format!("{number}-{next}"));
            store.append(&[append], &[], &[]).unwrap();
            next += 1;
            if next > 60 {
                break;
            }
        }
        store.close().unwrap();
    }
}

/// The other processes' entry; does nothing when the test is run by itself.
#[test]
fn other_process() {
    let (Ok(role), Ok(config)) = (std::env::var("STORE_TEST_ROLE"), std::env::var("STORE_TEST_CONFIG"))
    else {
        return;
    };
    let number = std::env::var("STORE_TEST_NUMBER").unwrap().parse().unwrap();
    match role.as_str() {
        "append" => append_for_ever(&config, number),
        "turns" => take_turns(&config, number),
        "erase" => erase_and_say(&config),
        other => panic!("no role {other}"),
    }
}

fn all_acknowledged(store: &mut SqliteSecureLogStore, acknowledged: &[(u64, u64)]) {
    let rows = whole_stream(store, "a");
    for (seqno, writer) in acknowledged {
        let row = rows
            .get(*seqno as usize - 1)
            .unwrap_or_else(|| panic!("entry {seqno} was acknowledged and is gone"));
        assert_eq!(row.entry_hash, hash(*seqno, *writer), "entry {seqno} is somebody else's");
    }
}

fn store_in(dir: &Path, options: &str) -> (PathBuf, String) {
    let path = dir.join("a.db");
    (path.clone(), format!("{}?{options}", path.display()))
}

#[test]
fn a_killed_holder_loses_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = store_in(dir.path(), "lease-ms=200");
    let mut acknowledged = Vec::new();
    for round in 0..rounds(12) {
        let mut worker = Worker::start("append", &config, round + 1);
        worker.acknowledged(1 + random(60), &mut acknowledged);
        // Not only right after an answer.
        let until = Instant::now() + Duration::from_micros(random(2_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        worker.signal(libc::SIGKILL);
        worker.end(&mut acknowledged);
        let mut store = open(&if round % 2 == 0 { config.clone() } else { format!("{config}&lock=host") });
        all_acknowledged(&mut store, &acknowledged);
        store.close().unwrap();
    }
    integrity(&path);
}

#[test]
fn a_holder_that_is_stopped_past_its_lease_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = store_in(dir.path(), "lease-ms=200&wait-ms=60000");
    let mut acknowledged = Vec::new();
    let mut worker = Worker::start("append", &config, 1);
    for _ in 0..rounds(8) {
        worker.acknowledged(1 + random(80), &mut acknowledged);
        worker.signal(libc::SIGSTOP);
        // Waits until the worker's lease has run out, then goes on where it was.
        let mut store = open(&config);
        for _ in 0..30 {
            let append = after("a", store.head("a").unwrap(), 5, 99);
            acknowledged.extend(append.rows.iter().map(|row| (row.seqno, 99)));
            store.append(&[append], &[], &[]).unwrap();
        }
        worker.signal(libc::SIGCONT);
        loop {
            // What it had said before it was stopped may still come.
            let message = worker.message().expect("the worker ended");
            match &message[..] {
                [word, superseded] if word == "busy" => {
                    assert_eq!(superseded, "true");
                    break;
                }
                [_, seqno, writer] => acknowledged.push((seqno.parse().unwrap(), writer.parse().unwrap())),
                other => panic!("{other:?}"),
            }
        }
        // Still ours, in spite of what the other one may have tried.
        let append = after("a", store.head("a").unwrap(), 5, 99);
        acknowledged.extend(append.rows.iter().map(|row| (row.seqno, 99)));
        store.append(&[append], &[], &[]).unwrap();
        store.close().unwrap();
    }
    worker.acknowledged(3, &mut acknowledged);
    worker.signal(libc::SIGKILL);
    worker.end(&mut acknowledged);
    let mut store = open(&config);
    all_acknowledged(&mut store, &acknowledged);
    store.close().unwrap();
    integrity(&path);
}

#[test]
fn processes_that_take_turns_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = store_in(dir.path(), "lease-ms=2000&wait-ms=120000");
    let workers: Vec<_> = (1..=4).map(|number| Worker::start("turns", &config, number)).collect();
    for worker in workers {
        assert!(worker.end(&mut Vec::new()));
    }
    let mut store = open(&config);
    let rows = whole_stream(&mut store, "a");
    let ids: HashSet<_> = rows.iter().map(|row| row.id.clone().unwrap()).collect();
    let expected: HashSet<_> = (1..=4).flat_map(|w| (1..=60).map(move |n| format!("{w}-{n}"))).collect();
    assert_eq!((rows.len(), ids), (240, expected));
    store.close().unwrap();
    integrity(&path);
}

#[test]
fn a_second_opener_is_told_that_it_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = store_in(dir.path(), "lease-ms=60000");
    let mut first = open(&config);
    match SqliteSecureLogStore::open(&format!("{config}&wait-ms=30")) {
        Err(Error::Busy(text)) => assert!(text.contains("a.db"), "{text}"),
        other => panic!("{:?}", other.err()),
    }
    first.append(&[after("a", None, 3, 1)], &[], &[]).unwrap();
    first.close().unwrap();
    assert!(!path.with_extension("db-wal").exists() && !path.with_extension("db-journal").exists());
    open(&config).close().unwrap();
}

#[test]
fn a_superseded_store_is_busy_once_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config) = store_in(dir.path(), "lease-ms=200");
    let mut first = open(&config);
    first.append(&[after("a", None, 3, 1)], &[], &[]).unwrap();
    let mut second = open(&config);
    let head = second.head("a").unwrap();
    second.append(&[after("a", head, 4, 2)], &[], &[]).unwrap();
    assert!(matches!(first.head("a"), Err(Error::Busy(_))));
    second.close().unwrap();
    assert_eq!(first.head("a").unwrap().unwrap().seqno, 7);
    let stale = after(
        "a",
        Some(common::after("a", None, 3, 1).rows[2].clone()).map(|row| secure_log::model::StreamHead {
            stream_id: "a".into(),
            seqno: 3,
            entry_hash: row.entry_hash,
        }),
        1,
        1,
    );
    assert!(matches!(first.append(&[stale], &[], &[]), Err(Error::Conflict(_))));
    assert_eq!(whole_stream(&mut first, "a").len(), 7);
    first.close().unwrap();
    integrity(&path);
}

/// A file system of 4 MiB.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(&at)
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_the_store_until_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(dir.path().join("disk")) else {
        eprintln!("SKIPPED: the test of a full disk needs a mount, and mounting is not permitted here");
        return;
    };
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).unwrap();
    let (path, config) = store_in(&disk.0, "lease-ms=200");
    let mut store = open(&config);
    let mut stored = 0;
    let error = loop {
        let head = store.head("a").unwrap();
        match store.append(&[after("a", head, 50, 1)], &[], &[]) {
            Ok(()) => stored += 50,
            Err(e) => break e,
        }
    };
    assert!(stored > 100, "{stored} rows before {error}");
    // Again and again, also when the lease has to be renewed meanwhile.
    let until = Instant::now() + Duration::from_millis(500);
    let mut refusals = vec![error];
    while Instant::now() < until {
        let head = match store.head("a") {
            Ok(head) => head,
            Err(e) => {
                refusals.push(e);
                continue;
            }
        };
        assert_eq!(head.as_ref().unwrap().seqno, stored);
        refusals.push(store.append(&[after("a", head, 50, 1)], &[], &[]).unwrap_err());
    }
    for refusal in &refusals {
        assert!(matches!(refusal, Error::Storage(text) if text.contains("disk full")), "{refusal:?}");
    }
    // A copy does not fit either, and leaves nothing behind.
    assert!(store.backup(&disk.0.join("copy.db").display().to_string()).is_err());
    assert!(!disk.0.join("copy.db").exists() && !disk.0.join("copy.db.partial").exists());

    std::fs::remove_file(&filler).unwrap();
    assert_eq!(whole_stream(&mut store, "a").len() as u64, stored);
    let head = store.head("a").unwrap();
    store.append(&[after("a", head, 50, 2)], &[], &[]).unwrap();
    store.close().unwrap();
    let mut store = open(&config);
    assert_eq!(whole_stream(&mut store, "a").len() as u64, stored + 50);
    store.close().unwrap();
    integrity(&path);
}

#[test]
fn copies_made_under_load_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (_, config) = store_in(dir.path(), "lease-ms=1000");
    let store = Mutex::new(open(&config));
    let copies: Vec<_> =
        (0..6).map(|i| dir.path().join(format!("copy{i}.db")).display().to_string()).collect();
    std::thread::scope(|scope| {
        let copier = scope.spawn(|| {
            let mut least = 0;
            for copy in &copies {
                // Wait for new rows, so that each copy is of another state.
                loop {
                    let mut store = store.lock().unwrap();
                    let head = store.head("a").unwrap().map_or(0, |head| head.seqno);
                    if head >= least + 20 {
                        store.backup(copy).unwrap();
                        least = head;
                        break;
                    }
                    drop(store);
                    std::thread::yield_now();
                }
            }
        });
        while !copier.is_finished() {
            let mut store = store.lock().unwrap();
            let head = store.head("a").unwrap();
            store.append(&[after("a", head, 3, 1)], &[], &[]).unwrap();
            drop(store);
            std::thread::yield_now();
        }
    });
    let mut sizes = Vec::new();
    for copy in &copies {
        integrity(Path::new(copy));
        let mut copied = open(copy);
        sizes.push(whole_stream(&mut copied, "a").len());
        copied.close().unwrap();
    }
    assert!(sizes.is_sorted() && sizes[0] >= 20, "{sizes:?}");
    assert!(whole_stream(&mut store.into_inner().unwrap(), "a").len() >= sizes[5]);
}

/// Erases stream `gone`, says so, and waits to be killed.
fn erase_and_say(config: &str) {
    let mut store = open(config);
    say(format_args!("begun"));
    store.erase_payloads("gone", 1, u64::MAX).unwrap();
    say(format_args!("done"));
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn marker(stream: &str, seqno: u64) -> Vec<u8> {
    format!("<{stream} {seqno} marked>").into_bytes()
}

/// No file of the store has a marked payload of `gone`; those of `kept` are there.
fn nothing_is_left(path: &Path, count: u64) {
    let mut bytes = Vec::new();
    for suffix in ["", "-wal", "-journal", "-shm"] {
        bytes.extend(std::fs::read(format!("{}{suffix}", path.display())).unwrap_or_default());
    }
    let holds = |what: Vec<u8>| bytes.windows(what.len()).any(|window| window == what);
    for seqno in 1..=count {
        assert!(!holds(marker("gone", seqno)), "payload {seqno} is still in a file");
        assert!(holds(marker("kept", seqno)), "payload {seqno} of the other stream is gone");
    }
}

#[test]
fn nothing_of_erased_payloads_is_left_in_any_file() {
    const COUNT: u64 = 24;
    for round in 0..rounds(8) {
        let dir = tempfile::tempdir().unwrap();
        let (path, config) = store_in(dir.path(), "lease-ms=200");
        let mut store = open(&config);
        for seqno in 1..=COUNT {
            let appends = ["gone", "kept"].map(|stream| {
                let mut append = after(stream, store.head(stream).unwrap(), 1, 1);
                let mut payload = marker(stream, seqno);
                // Some lie in pages of their own.
                payload.resize(40 + 9_000 * (seqno as usize % 3), b'.');
                append.rows[0].payload = Some(payload);
                append
            });
            store.append(&appends, &[], &[]).unwrap();
        }
        if round % 2 == 0 {
            store.close().unwrap();
        } else {
            drop(store);
        }
        let mut worker = Worker::start("erase", &config, 0);
        while worker.message().is_some_and(|message| message != ["begun"]) {}
        std::thread::sleep(Duration::from_micros(round * 700));
        worker.signal(libc::SIGKILL);
        let mut done = false;
        while let Some(message) = worker.message() {
            done |= message == ["done"];
        }
        worker.child.wait().unwrap();
        if done {
            nothing_is_left(&path, COUNT);
        }
        let mut store = open(&config);
        let left = store.erase_payloads("gone", 1, COUNT).unwrap();
        assert!(!done || left == 0, "an erasure that was acknowledged is not there");
        nothing_is_left(&path, COUNT);
        assert!(store.read_rows("gone", 1, 100, true).unwrap().iter().all(|row| row.payload.is_none()));
        store.close().unwrap();
        nothing_is_left(&path, COUNT);
        integrity(&path);
    }
}
