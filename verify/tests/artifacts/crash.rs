//! Killed, stopped and competing writers: nothing acknowledged is lost, nothing is doubled.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::{STACKS, Stack, number};
use rustix::process::{Pid, Signal, kill_process};
use secure_log_verify::host::types::Severity;
use secure_log_verify::kill;
use secure_log_verify::writer::{Ack, hex};

/// Lease of the tests that have to wait for it to run out.
const LEASE: &str = "lease-ms=400";

fn send(id: u32, signal: Signal) {
    kill_process(Pid::from_raw(id as i32).unwrap(), signal).unwrap();
}

/// Every acknowledged entry is there, as acknowledged.
fn all_there(stack: &Stack, acks: &[Ack]) {
    let mut log = stack.open();
    for ack in acks {
        let entry = log.read(&ack.stream, ack.seqno).unwrap_or_else(|e| panic!("{ack:?} is gone: {e}"));
        assert_eq!(hex(&entry.entry_hash), ack.hash, "{ack:?}");
    }
    crate::common::verify_all(&mut log);
    log.finish().unwrap();
}

#[test]
fn killed_writers_lose_nothing_and_the_next_one_opens_at_once() {
    for names in STACKS {
        let stack = Stack::new(names, true, &[]);
        for round in 0..number("SECURE_LOG_KILL_ROUNDS", 6) {
            let found = kill::round(&stack.writers(), &stack.launcher, "load", kill::delay(round)).unwrap();
            assert!(found.acknowledged > 0);
            assert!(found.reopened < Duration::from_secs(2), "{:?} to reopen", found.reopened);
        }
    }
}

#[test]
fn killed_writers_without_a_host_lock_are_followed_when_their_lease_has_run_out() {
    for names in STACKS {
        let stack = Stack::new(names, false, &[LEASE, "wait-ms=20000"]);
        for round in 0..number("SECURE_LOG_KILL_ROUNDS", 6).div_ceil(2) {
            kill::round(&stack.writers(), &stack.launcher, "load", kill::delay(round)).unwrap();
        }
    }
}

#[test]
fn stopped_holder_is_superseded_and_told_so_when_it_goes_on() {
    for names in STACKS {
        // Longer than a slow disk keeps the new holder silent, or the old one takes the store back.
        let stack = Stack::new(names, false, &["lease-ms=1500", "wait-ms=4000"]);
        let mut holder = stack.writers().start("old", None).unwrap();
        holder.wait_for_acks(20).unwrap();
        send(holder.id(), Signal::STOP);
        let mut next = stack.open();
        let mut append =
            || next.append("new", "t", Severity::Notice, "p", b"after the takeover").unwrap().seqno;
        while append() < 20 {}
        send(holder.id(), Signal::CONT);
        // The old one finds out at its next append, and gives up when its wait is over.
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut last = 0;
        while holder.runs().unwrap() {
            assert!(Instant::now() < deadline, "{}: the superseded holder goes on", names.0);
            last = append();
        }
        assert!(!holder.join().unwrap(), "{}: the superseded holder ended well", names.0);
        let error = holder.error.clone().unwrap_or_default();
        assert!(error.starts_with("busy "), "{}: {error:?}", names.0);
        assert!(append() > last);
        let last = append();
        assert_eq!(next.head("new").unwrap().unwrap().seqno, last);
        next.finish().unwrap();
        all_there(&stack, &holder.acks);
    }
}

#[test]
fn second_writer_is_told_that_the_store_is_busy() {
    for names in STACKS {
        let stack = Stack::new(names, false, &[LEASE, "wait-ms=0"]);
        let mut first = stack.open();
        first.append("s", "t", Severity::Notice, "p", b"x").unwrap();
        let mut second = stack.launcher.start(&stack.store, &[]).unwrap();
        let error = second.open_log().unwrap_err();
        assert_eq!(error.kind(), "busy", "{error}");
        first.append("s", "t", Severity::Notice, "p", b"y").unwrap();
        first.finish().unwrap();
        second.open_log().unwrap();
        assert_eq!(second.head("s").unwrap().unwrap().seqno, 2);
    }
}

/// Writers that take turns: each opens, appends and closes, again and again.
fn crowd(stack: &Stack, processes: usize, time: Duration) -> Vec<Ack> {
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..processes)
            .map(|_| {
                scope.spawn(|| {
                    let mut acks = Vec::new();
                    while Instant::now() < until {
                        let mut writer = stack.writers().start("crowd", Some(30)).unwrap();
                        assert!(writer.join().unwrap(), "a writer failed: {}", writer.last_words());
                        acks.append(&mut writer.acks);
                    }
                    acks
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn nothing_lost_or_doubled(stack: &Stack, acks: &[Ack]) {
    let mut by_stream = BTreeMap::<&str, Vec<u64>>::new();
    for ack in acks {
        by_stream.entry(&ack.stream).or_default().push(ack.seqno);
    }
    let mut log = stack.open();
    for (stream, mut seqnos) in by_stream {
        seqnos.sort_unstable();
        // No writer was killed, so there is exactly one answer for each entry.
        let head = log.head(stream).unwrap().unwrap().seqno;
        assert!(seqnos.iter().copied().eq(1..=head), "{stream}: {} answers, head {head}", seqnos.len());
    }
    log.finish().unwrap();
    all_there(stack, acks);
}

#[test]
fn four_processes_lose_and_double_nothing() {
    let time = Duration::from_secs(number("SECURE_LOG_CROWD_SECONDS", 6).into());
    for names in STACKS {
        for (host_lock, options) in [(true, &[][..]), (false, &["wait-ms=60000"][..])] {
            let stack = Stack::new(names, host_lock, options);
            let acks = crowd(&stack, 4, time / 2);
            assert!(!acks.is_empty());
            nothing_lost_or_doubled(&stack, &acks);
        }
    }
}

#[test]
fn copies_made_while_others_write_verify() {
    for names in STACKS {
        let stack = Stack::new(names, true, &[]);
        let acks = std::thread::scope(|scope| {
            let load = scope.spawn(|| crowd(&stack, 3, Duration::from_secs(3)));
            for n in 0..5 {
                std::thread::sleep(Duration::from_millis(300));
                let copy = stack.store.at(&stack.dir.path().join(format!("copy-{n}"))).unwrap();
                let mut log = stack.open();
                log.append("main", "t", Severity::Notice, "p", b"before the copy").unwrap();
                log.backup(copy.host_path().unwrap().to_str().unwrap()).unwrap();
                log.append("main", "t", Severity::Notice, "p", b"after the copy").unwrap();
                log.finish().unwrap();
                let mut other = stack.launcher.open(&copy).unwrap();
                crate::common::verify_all(&mut other);
                assert_eq!(other.head("main").unwrap().unwrap().seqno, 2 * n + 1);
            }
            load.join().unwrap()
        });
        nothing_lost_or_doubled(&stack, &acks);
    }
}
