//! A store that lies: what each lie looks like to whoever asks, and that nothing hangs, panics or signs over it.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use common::*;
use secure_log::model::{QueryFilter, ZERO_HASH};
use secure_log::store::OpenStore as _;
use secure_log::{Error, NativeSecureLog, SecureLog};
use secure_log_conformance::liar::{Liar, Lie, VICTIM};
use secure_log_sqlite::SqliteSecureLogStore;

struct Party {
    log: Log<Liar<SqliteSecureLogStore>>,
    lie: Rc<Cell<Lie>>,
    trusted: Vec<String>,
}

fn party() -> Party {
    let lie = Rc::new(Cell::new(Lie::None));
    let inner = SqliteSecureLogStore::open(":memory:").unwrap();
    let mut log = NativeSecureLog::new(Liar::new(inner, lie.clone()), fixed(), "test 1").unwrap();
    let trusted = sample(&mut log);
    verify_all(&mut log, &trusted).unwrap();
    Party { log, lie, trusted }
}

/// Nothing that a store says may make the log go on for ever.
fn within_a_minute(test: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    match wait.recv_timeout(Duration::from_secs(60)) {
        Ok(()) => thread.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the log goes on for ever"),
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Corrupt(_) => "corrupt",
        Error::Conflict(_) => "conflict",
        Error::NotFound(_) => "not-found",
        Error::RolledBack(_) => "rolled-back",
        Error::Busy(_) => "busy",
        Error::Denied(_) => "denied",
        // A store that breaks its contract.
        Error::Storage(_) => "storage",
        _ => "other",
    }
}

#[test]
fn every_lie_about_what_is_stored_is_found_by_verifying() {
    for lie in [
        Lie::Payload,
        Lie::Header,
        Lie::Hash,
        Lie::Column,
        Lie::Withholds,
        Lie::WithholdsTail,
        Lie::Drops,
        Lie::Reorders,
        Lie::Repeats,
        Lie::OtherStream,
        Lie::HeadAhead,
        Lie::HeadForged,
        Lie::Checkpoints,
        Lie::NoCheckpoints,
        Lie::Endless,
    ] {
        within_a_minute(move || {
            let Party { mut log, lie: cell, trusted } = party();
            cell.set(lie);
            let found = verify_all(&mut log, &trusted).expect_err(&format!("{lie:?}"));
            assert!(
                matches!(kind(&found), "corrupt" | "not-found" | "denied" | "storage"),
                "{lie:?}: {found}"
            );
            // What is not there is named; nothing was changed by looking.
            cell.set(Lie::None);
            verify_all(&mut log, &trusted).unwrap();
        });
    }
}

#[test]
fn rows_that_nobody_asked_for_are_not_taken() {
    within_a_minute(|| {
        let Party { mut log, lie, .. } = party();
        lie.set(Lie::TooMany);
        assert_eq!(log.verify_chain(VICTIM, 2, 5).unwrap().entries_checked, 4);
        assert_eq!(log.read(VICTIM, 2).unwrap().header.seqno, 2);
    });
}

#[test]
fn lies_about_single_entries_are_found_by_reading_them() {
    for lie in [Lie::Header, Lie::Hash, Lie::Column, Lie::Reorders, Lie::OtherStream, Lie::Drops] {
        within_a_minute(move || {
            let Party { mut log, lie: cell, .. } = party();
            cell.set(lie);
            if lie != Lie::Reorders {
                let read = log.read(VICTIM, 2).expect_err(&format!("{lie:?}"));
                assert!(matches!(kind(&read), "corrupt" | "not-found"), "{lie:?}: {read}");
            }
            let filter = QueryFilter { stream_id: Some(VICTIM.into()), ..QueryFilter::default() };
            if matches!(lie, Lie::Header | Lie::Hash | Lie::Column | Lie::OtherStream) {
                let query = log.query(&filter, None, 10).expect_err(&format!("{lie:?}"));
                assert_eq!(kind(&query), "corrupt", "{lie:?}: {query}");
            }
        });
    }
    let Party { mut log, lie, .. } = party();
    lie.set(Lie::Payload);
    assert_eq!(kind(&log.read_payload(VICTIM, 2).unwrap_err()), "corrupt");
}

#[test]
fn nothing_is_signed_or_proven_over_a_lie() {
    for lie in [
        Lie::Header,
        Lie::Hash,
        Lie::Withholds,
        Lie::Reorders,
        Lie::Repeats,
        Lie::OtherStream,
        Lie::Tiles,
        Lie::HeadForged,
        Lie::HeadAhead,
    ] {
        within_a_minute(move || {
            let Party { mut log, lie: cell, trusted } = party();
            fill(&mut log, VICTIM, 300);
            cell.set(lie);
            let closed = log.close_segments();
            cell.set(Lie::None);
            match closed {
                Err(error) => assert!(matches!(kind(&error), "corrupt" | "not-found"), "{lie:?}: {error}"),
                // What it closed over is what the entries give.
                Ok(segments) => {
                    let last = segments.last().unwrap().segment_id;
                    log.sign_segment(&mut TestSigner, "key", last).unwrap();
                }
            }
            verify_all(&mut log, &trusted).unwrap_or_else(|e| panic!("{lie:?}: {e}"));
        });
    }
    for lie in [Lie::Header, Lie::OtherStream, Lie::Drops, Lie::Tiles, Lie::Segments] {
        within_a_minute(move || {
            let Party { mut log, lie: cell, trusted } = party();
            cell.set(lie);
            // Either refused, or a proof that holds: never one that does not.
            if let Ok(proof) = log.build_entry_proof(VICTIM, 2) {
                secure_log::proof::verify_entry_proof(&proof, &trusted)
                    .unwrap_or_else(|e| panic!("{lie:?}: {e}"));
            }
        });
    }
}

#[test]
fn a_store_that_forgets_what_it_acknowledged_is_betrayed_by_the_receipt_and_by_the_head_kept_elsewhere() {
    let Party { mut log, lie, .. } = party();
    lie.set(Lie::Forgets);
    let receipt = log.append(event(VICTIM, 500)).unwrap();
    lie.set(Lie::None);
    // The receipt names an entry and its hash: it is not there, or another one is.
    let other = log.append(event(VICTIM, 501));
    match (log.read(VICTIM, receipt.seqno), other) {
        (Ok(entry), _) => assert_ne!(entry.entry_hash, receipt.entry_hash),
        (Err(error), _) => assert!(matches!(kind(&error), "not-found" | "corrupt"), "{error}"),
    }
    // A signature is over what was read back from the store, and a head kept elsewhere says when that is gone.
    let segments = log.close_segments().unwrap();
    let last = segments.last().unwrap().segment_id;
    let note = log.sign_segment(&mut TestSigner, "key", last).unwrap().note;
    let Party { log: mut older, .. } = party();
    assert_eq!(kind(&older.check_against(&note).unwrap_err()), "rolled-back");
    log.check_against(&note).unwrap();
}

#[test]
fn a_fork_is_betrayed_by_a_head_kept_elsewhere() {
    let [mut left, mut right] = [party(), party()];
    fill(&mut left.log, "left", 3);
    fill(&mut right.log, "right", 9);
    let mut notes = Vec::new();
    for party in [&mut left, &mut right] {
        let last = party.log.close_segments().unwrap().last().unwrap().segment_id;
        notes.push(party.log.sign_segment(&mut TestSigner, "key", last).unwrap().note);
        verify_all(&mut party.log, &party.trusted).unwrap();
    }
    assert_eq!(kind(&left.log.check_against(&notes[1]).unwrap_err()), "rolled-back");
    assert_eq!(kind(&right.log.check_against(&notes[0]).unwrap_err()), "rolled-back");
}

#[test]
fn endless_conflicts_and_endless_pages_come_to_an_end() {
    within_a_minute(|| {
        let Party { mut log, lie, trusted } = party();
        lie.set(Lie::Conflicts);
        let refused = log.append(event(VICTIM, 500)).unwrap_err();
        assert!(matches!(kind(&refused), "conflict" | "busy" | "corrupt"), "{refused}");
        lie.set(Lie::None);
        fill(&mut log, VICTIM, 3);
        lie.set(Lie::Conflicts);
        let closed = [log.close_segment(VICTIM).map(drop), log.close_segments().map(drop)];
        let ended = log.deprecate_stream(VICTIM);
        for (what, outcome) in closed.into_iter().chain([ended]).enumerate() {
            let refused = outcome.expect_err(&what.to_string());
            assert!(matches!(kind(&refused), "conflict" | "busy" | "corrupt" | "not-found"), "{refused}");
        }
        lie.set(Lie::None);
        verify_all(&mut log, &trusted).unwrap();
        lie.set(Lie::Endless);
        let listed = log.list_streams().unwrap_err();
        assert!(matches!(kind(&listed), "corrupt" | "storage"), "{listed}");
        let exported = log.export(&trusted, |_| Ok(())).unwrap_err();
        assert!(matches!(kind(&exported), "corrupt" | "storage"), "{exported}");
        let verified = log.verify_checkpoint_chain(&trusted).unwrap_err();
        assert!(matches!(kind(&verified), "corrupt" | "storage"), "{verified}");
    });
}

#[test]
fn an_id_that_stands_elsewhere_is_no_receipt() {
    let Party { mut log, lie, .. } = party();
    lie.set(Lie::Ids);
    let mut again = event(VICTIM, 700);
    again.id = Some("new".into());
    let refused = log.append(again).unwrap_err();
    assert!(matches!(kind(&refused), "corrupt" | "conflict"), "{refused}");
}

/// Sunlight kept 128 bits of a hash: a second entry with the same ones got the receipt of the first.
#[test]
fn event_ids_count_to_their_last_byte() {
    let Party { mut log, .. } = party();
    let with_id = |last: char| {
        let mut event = event(VICTIM, 1);
        event.id = Some(format!("{}{last}", "a".repeat(254)));
        event
    };
    let first = log.append(with_id('x')).unwrap();
    let second = log.append(with_id('y')).unwrap();
    assert_eq!(second.seqno, first.seqno + 1);
    assert_ne!(first.entry_hash, second.entry_hash);
    assert_ne!(first.entry_hash, ZERO_HASH);
}

/// The table in docs/trust.md names tests that are there.
#[test]
fn every_failure_has_a_test_that_exists() {
    fn sources(dir: &std::path::Path, into: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                sources(&path, into);
            } else if name.ends_with(".rs") {
                into.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut code = String::new();
    for dir in ["crates", "components", "verify/src", "verify/tests"] {
        sources(&repository.join(dir), &mut code);
    }
    let page = std::fs::read_to_string(repository.join("docs/trust.md")).unwrap();
    let table = page.split("## Failures that others had").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 30, "{} rows", rows.len());
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = tests.split('`').filter(|name| !name.trim().is_empty()).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            assert!(code.contains(&format!("fn {name}()")), "there is no test {name}: {row}");
        }
    }
}
