//! Killed, stopped, crowded and out of space: what was acknowledged is there, once.
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use secure_log::Error;
use secure_log::model::StreamHead;
use secure_log::store::{OpenStore, SecureLogStore, StreamAppend};
use secure_log_file::FileSecureLogStore;

/// Set in a child: which part it plays, on which store.
const ROLE: &str = "SECURE_LOG_FILE_TEST_ROLE";
const STORE: &str = "SECURE_LOG_FILE_TEST_STORE";
const NAME: &str = "SECURE_LOG_FILE_TEST_NAME";

fn rounds(of: u32) -> u32 {
    std::env::var("SECURE_LOG_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(of)
}

/// This test program once more, as a child that runs only [`child`].
fn spawn(role: &str, config: &str, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .envs([(ROLE, role), (STORE, config), (NAME, name)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// All that a child says until it ends, whole lines only.
fn read_output(child: &mut Child) -> std::thread::JoinHandle<String> {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut text = String::new();
        let mut line = String::new();
        while out.read_line(&mut line).unwrap_or(0) > 0 && line.ends_with('\n') {
            text.push_str(&line);
            line.clear();
        }
        text
    })
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

/// Not a test of its own: what a child process does.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let config = std::env::var(STORE).unwrap();
    let name = std::env::var(NAME).unwrap();
    match role.as_str() {
        "append" => append_until_killed(&config, &name),
        "share" => share(&config, &name),
        "once" => append_and_say(&config, &name),
        "erase" => erase_and_say(&config),
        other => panic!("{other}"),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// A batch of one to three rows over two streams, the ids in `ids`.
fn batch(
    store: &mut FileSecureLogStore,
    name: &str,
    n: u64,
) -> Result<(Vec<StreamAppend>, Vec<String>), Error> {
    let mut ids = Vec::new();
    let appends = ["one", "two"].into_iter().take(1 + (n % 2) as usize).map(|stream| {
        let prior = store.head(stream)?.unwrap_or_else(|| StreamHead::empty(stream));
        let mut append = rows_after(prior, 1 + n % 3 / 2, name);
        for (i, row) in append.rows.iter_mut().enumerate() {
            let id = format!("{name}-{n}-{stream}-{i}");
            row.payload = Some(id.repeat(1 + (n % 50) as usize).into_bytes());
            row.id = Some(id.clone());
            ids.push(format!("{stream} {id}"));
        }
        Ok(append)
    });
    let appends = appends.collect::<Result<_, Error>>()?;
    Ok((appends, ids))
}

/// Appends a batch; the ids that were acknowledged.
fn append(store: &mut FileSecureLogStore, name: &str, n: u64) -> Result<Vec<String>, Error> {
    let (appends, ids) = batch(store, name, n)?;
    store.append(&appends, &[], &[])?;
    Ok(ids)
}

fn append_until_killed(config: &str, name: &str) {
    let mut store = FileSecureLogStore::open(config).unwrap();
    for n in 0.. {
        match append(&mut store, name, n) {
            Ok(ids) => ids.iter().for_each(|id| say(&format!("ok {id}"))),
            Err(Error::Busy(_)) => say("busy"),
            Err(Error::Unavailable(_)) => say("unknown"),
            Err(e) => panic!("{e:?}"),
        }
    }
}

/// Appends 40 batches, giving the store away after each few.
fn share(config: &str, name: &str) {
    let mut n = 0;
    while n < 40 {
        let mut store = match FileSecureLogStore::open(config) {
            Ok(store) => store,
            Err(Error::Busy(_)) => continue,
            Err(e) => panic!("{e:?}"),
        };
        for _ in 0..1 + n % 5 {
            match append(&mut store, name, n) {
                Ok(ids) => ids.iter().for_each(|id| say(&format!("ok {id}"))),
                Err(Error::Busy(_)) => break,
                Err(Error::Unavailable(_)) => say("unknown"),
                Err(e) => panic!("{e:?}"),
            }
            n += 1;
        }
        match store.close() {
            Ok(()) | Err(Error::Busy(_)) => {}
            Err(e) => panic!("{e:?}"),
        }
    }
}

/// Opens, says so, appends whenever a line comes in.
fn append_and_say(config: &str, name: &str) {
    let mut store = FileSecureLogStore::open(config).unwrap();
    say("open");
    for (n, line) in (0..).zip(std::io::stdin().lock().lines()) {
        drop(line.unwrap());
        match append(&mut store, name, n) {
            Ok(_) => say("ok"),
            Err(Error::Busy(_)) => say("busy"),
            Err(e) => say(&format!("{e:?}")),
        }
    }
}

/// Every row of both streams; each is numbered, chained to nothing missing, and has its payload.
fn all_ids(store: &mut FileSecureLogStore) -> Vec<String> {
    let mut ids = Vec::new();
    for stream in ["one", "two"] {
        let mut next = 1;
        loop {
            let rows = store.read_rows(stream, next, 1000, true).unwrap();
            if rows.is_empty() {
                break;
            }
            for row in rows {
                assert_eq!(row.seqno, next);
                let id = row.id.unwrap();
                let payload = String::from_utf8(row.payload.unwrap()).unwrap();
                assert!(!payload.is_empty() && payload.replace(&id, "").is_empty(), "{id}: {payload}");
                ids.push(format!("{stream} {id}"));
                next += 1;
            }
        }
        assert_eq!(store.head(stream).unwrap().map_or(0, |h| h.seqno), next - 1);
    }
    ids
}

/// All acknowledged ids are there, none twice.
fn check(path: &Path, acknowledged: &[String]) {
    let mut store = open(path).unwrap();
    let stored = all_ids(&mut store);
    let unique: HashSet<&String> = stored.iter().collect();
    assert_eq!(unique.len(), stored.len(), "an entry is there twice");
    for id in acknowledged {
        assert!(unique.contains(id), "{id} was acknowledged and is gone");
    }
    let prior = head_of(&mut store, "check");
    store.append(&[rows_after(prior, 1, "check")], &[], &[]).unwrap();
    store.close().unwrap();
}

fn acknowledged(out: &str) -> Vec<String> {
    out.lines().filter_map(|l| l.split("ok ").nth(1)).map(str::to_owned).collect()
}

#[test]
fn killed_at_random_moments_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let mut all = Vec::new();
    for round in 0..rounds(6) {
        let config = format!("{}?lock=host", path.display());
        let mut child = spawn("append", &config, &format!("r{round}"));
        let reader = read_output(&mut child);
        std::thread::sleep(Duration::from_micros(150_000 + u64::from(round) * 37_813 % 200_000));
        signal(&child, libc::SIGKILL);
        child.wait().unwrap();
        all.extend(acknowledged(&reader.join().unwrap()));
        check(&path, &all);
    }
    assert!(!all.is_empty());
    println!("{} acknowledged entries", all.len());
}

#[test]
fn stopped_past_the_lease_the_old_holder_is_told_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let config = format!("{}?lease-ms=300", path.display());
    let mut all = Vec::new();
    for round in 0..rounds(3) {
        // Without waiting, so that it says so when it is refused.
        let mut child = spawn("append", &format!("{config}&wait-ms=0"), &format!("r{round}"));
        let reader = read_output(&mut child);
        std::thread::sleep(Duration::from_micros(700_000 + u64::from(round) * 7_331 % 20_000));
        signal(&child, libc::SIGSTOP);
        // Waits until the lease has run out.
        let mut store = FileSecureLogStore::open(&config).unwrap();
        let prior = head_of(&mut store, "mine");
        store.append(&[rows_after(prior, 1, "mine")], &[], &[]).unwrap();
        signal(&child, libc::SIGCONT);
        std::thread::sleep(Duration::from_millis(100));
        let prior = head_of(&mut store, "mine");
        store.append(&[rows_after(prior, 1, "mine")], &[], &[]).unwrap();
        store.close().unwrap();
        // Then the old holder gets it back, and goes on.
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, libc::SIGKILL);
        child.wait().unwrap();
        let text = reader.join().unwrap();
        assert!(text.lines().any(|l| l.contains("busy") || l.contains("unknown")), "it was never told");
        all.extend(acknowledged(&text));
        check(&path, &all);
        let mut store = open(&path).unwrap();
        assert_eq!(head_of(&mut store, "mine").seqno, 2 * u64::from(round) + 2);
        store.close().unwrap();
    }
}

#[test]
fn an_idle_holder_that_was_stopped_gets_busy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let config = format!("{}?lease-ms=300&wait-ms=2000", path.display());
    let mut child = spawn("once", &config, "a");
    let mut input = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = move |of: &[&str]| loop {
        let line = out.next().unwrap().unwrap();
        if let Some(found) = of.iter().find(|o| line.ends_with(**o)) {
            return (*found).to_owned();
        }
    };
    answer(&["open"]);
    input.write_all(b"go\n").unwrap();
    assert_eq!(answer(&["ok", "busy"]), "ok");
    signal(&child, libc::SIGSTOP);
    let mut store = FileSecureLogStore::open(&config).unwrap();
    store.append(&[rows_after(new_stream("mine"), 1, "mine")], &[], &[]).unwrap();
    let before = fs::read(&path).unwrap();
    signal(&child, libc::SIGCONT);
    input.write_all(b"go\n").unwrap();
    assert_eq!(answer(&["ok", "busy"]), "busy");
    assert_eq!(fs::read(&path).unwrap(), before, "the old holder wrote");
    store.close().unwrap();
    input.write_all(b"go\n").unwrap();
    assert_eq!(answer(&["ok", "busy"]), "ok");
    drop(input);
    child.wait().unwrap();
    check(&path, &[]);
}

#[test]
fn four_processes_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let config = format!("{}?lease-ms=1000&wait-ms=60000", path.display());
    let children: Vec<Child> = (0..4).map(|i| spawn("share", &config, &format!("p{i}"))).collect();
    let mut all = Vec::new();
    let mut unknown = false;
    for child in children {
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{text}");
        unknown |= text.contains("unknown");
        all.extend(acknowledged(&text));
    }
    check(&path, &all);
    let mut store = open(&path).unwrap();
    let stored = all_ids(&mut store).len();
    assert!(
        stored == all.len() || unknown && stored > all.len(),
        "{stored} stored, {} acknowledged",
        all.len()
    );
    store.close().unwrap();
}

/// A small file system, unmounted when done.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).status();
        mounted.is_ok_and(|s| s.success()).then_some(Self(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_storage_error_and_the_log_goes_on_after() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(dir.path().join("disk"), "512k") else {
        eprintln!(
            "SKIPPED: a_full_disk_is_a_storage_error_and_the_log_goes_on_after: mounting a tmpfs is not permitted here"
        );
        return;
    };
    let path = disk.0.join("audit.jsonl");
    let ballast = disk.0.join("ballast");
    let mut store = open(&path).unwrap();
    store.append(&[rows_after(new_stream("s"), 1, "x")], &[], &[]).unwrap();
    // At one time the payloads do not fit, at another the lines.
    for (payload, header, free) in [(4096, 100, 96), (10, 6000, 64), (1500, 1500, 80)] {
        let used = |p: &Path| fs::metadata(p).map_or(0, |m| m.len());
        fs::write(&ballast, vec![1; (512 << 10) - ((free << 10) + used(&path) as usize * 2)])
            .unwrap_or_default();
        let started = Instant::now();
        let full = loop {
            let head = head_of(&mut store, "s");
            let mut append = rows_after(head.clone(), 3, "x");
            for row in &mut append.rows {
                row.payload = Some(vec![7; payload]);
                row.header = vec![8; header];
            }
            match store.append(&[append], &[], &[]) {
                Ok(()) => assert!(started.elapsed() < Duration::from_secs(60)),
                Err(e) => {
                    assert_eq!(store.head("s").unwrap().unwrap(), head);
                    break e;
                }
            }
        };
        assert!(matches!(&full, Error::Storage(s) if s.contains("disk full")), "{full:?}");
        let head = head_of(&mut store, "s");
        assert!(store.read_rows("s", head.seqno, 1, true).unwrap()[0].payload.is_some());
        // Opened again while the disk is full.
        store.close().unwrap_or_default();
        let mut again = open(&path).unwrap();
        assert_eq!(again.head("s").unwrap().unwrap(), head);
        again.close().unwrap_or_default();
        fs::remove_file(&ballast).unwrap_or_default();
        store = open(&path).unwrap();
        store.append(&[rows_after(head, 1, "x")], &[], &[]).unwrap();
    }
    store.close().unwrap();
    let mut store = open(&path).unwrap();
    let head = head_of(&mut store, "s");
    let mut next = 1;
    while let Some(last) = store.read_rows("s", next, 1000, true).unwrap().last() {
        next = last.seqno + 1;
    }
    assert_eq!(next, head.seqno + 1);
    store.close().unwrap();
}

#[test]
fn a_disk_that_was_full_is_written_to_by_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(dir.path().join("disk"), "256k") else {
        eprintln!(
            "SKIPPED: a_disk_that_was_full_is_written_to_by_the_same_store: mounting a tmpfs is not permitted here"
        );
        return;
    };
    let path = disk.0.join("audit.jsonl");
    let ballast = disk.0.join("ballast");
    let mut store = open(&path).unwrap();
    store.append(&[rows_after(new_stream("s"), 1, "x")], &[], &[]).unwrap();
    let size = (1..256).rev().find(|kib| fs::write(&ballast, vec![1; kib << 10]).is_ok());
    assert!(size.is_some());
    let before = fs::read(&path).unwrap();
    let mut failures = 0;
    let mut head = head_of(&mut store, "s");
    for _ in 0..50 {
        let mut append = rows_after(head.clone(), 1, "x");
        append.rows[0].header = vec![9; 9000];
        match store.append(&[append], &[], &[]) {
            Ok(()) => head = head_of(&mut store, "s"),
            Err(e) => {
                assert!(matches!(e, Error::Storage(_)), "{e:?}");
                failures += 1;
            }
        }
    }
    assert!(failures > 0);
    assert!(fs::read(&path).unwrap().starts_with(&before));
    fs::remove_file(&ballast).unwrap();
    store.append(&[rows_after(head.clone(), 1, "x")], &[], &[]).unwrap();
    assert_eq!(head_of(&mut store, "s").seqno, head.seqno + 1);
    store.close().unwrap();
    let mut store = open(&path).unwrap();
    assert_eq!(head_of(&mut store, "s").seqno, head.seqno + 1);
    store.close().unwrap();
}

/// Bytes of everything that belongs to a store.
fn all_bytes(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { all_bytes(&path) } else { fs::read(&path).unwrap() });
    }
    bytes
}

fn marker(stream: &str, seqno: u64) -> String {
    format!("<{stream} {seqno} marked>")
}

fn erase_and_say(config: &str) {
    let mut store = FileSecureLogStore::open(config).unwrap();
    say("begun");
    store.erase_payloads("gone", 1, u64::MAX).unwrap();
    say("done");
    // Killed, not closed.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Two streams in turns, large enough that an erasure takes a while.
fn fill(store: &mut FileSecureLogStore, count: u64) {
    for seqno in 1..=count {
        let appends = ["gone", "kept"].map(|stream| {
            let mut payload = marker(stream, seqno).into_bytes();
            payload.resize(payload.len() + 20_000, b'.');
            let prior = head_of(store, stream);
            StreamAppend { prior, rows: vec![row(seqno, stream, Some(&payload), None)] }
        });
        store.append(&appends, &[], &[]).unwrap();
    }
}

fn is_erased(dir: &Path, count: u64) {
    let bytes = all_bytes(dir);
    for seqno in 1..=count {
        let holds = |stream| memchr::memmem::find(&bytes, marker(stream, seqno).as_bytes()).is_some();
        assert!(!holds("gone"), "payload {seqno} is still in a file");
        assert!(holds("kept"), "payload {seqno} of the other stream is gone");
    }
}

#[test]
fn an_erasure_that_was_killed_is_finished_at_the_next_opening() {
    for round in 0..rounds(8) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let config = format!("{}?lease-ms=200", path.display());
        let mut store = FileSecureLogStore::open(&config).unwrap();
        fill(&mut store, 60);
        store.close().unwrap();
        let mut child = spawn("erase", &config, "x");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.ends_with("begun\n") && out.read_line(&mut said).unwrap() > 0 {}
        std::thread::sleep(Duration::from_micros(u64::from(round) * 150));
        signal(&child, libc::SIGKILL);
        child.wait().unwrap();
        out.read_line(&mut said).unwrap();
        let mut store = FileSecureLogStore::open(&config).unwrap();
        let begun = store.read_rows("gone", 1, 1, true).unwrap()[0].payload.is_none();
        assert!(begun || !said.contains("done"), "an erasure that was acknowledged is not there");
        if begun {
            is_erased(dir.path(), 60);
        }
        store.erase_payloads("gone", 1, 60).unwrap();
        is_erased(dir.path(), 60);
        assert!(store.read_rows("gone", 1, 60, true).unwrap().iter().all(|row| row.payload.is_none()));
        assert!(store.read_rows("kept", 1, 60, true).unwrap().iter().all(|row| row.payload.is_some()));
        store.close().unwrap();
        is_erased(dir.path(), 60);
    }
}
