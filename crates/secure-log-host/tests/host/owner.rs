//! An owner over a stack without a gate: its queue, its instance, its end.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::common::{artifact, guest, site};
use secure_log_host::owner::OwnerEvents;
use secure_log_host::types::{Event, Severity};
use secure_log_host::{
    Answer, Failure, Guest, LogOwner, OwnerError, Sealed, Sealing, Settings, Site, StorePath,
};

const STACK: &str = "secure-log-sqlite.wasm";

/// What an owner told.
#[derive(Debug)]
enum Told {
    Sealed(Sealed),
    Died(OwnerError),
    Restarted,
    Failed(&'static str),
}

struct Teller(Sender<Told>);

impl Teller {
    fn new() -> (Self, Receiver<Told>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }
}

impl OwnerEvents for Teller {
    fn on_seal(&mut self, sealed: &Sealed) {
        let _ = self.0.send(Told::Sealed(sealed.clone()));
    }
    fn on_death(&mut self, error: &OwnerError) {
        let _ = self.0.send(Told::Died(error.clone()));
    }
    fn on_restart(&mut self) {
        let _ = self.0.send(Told::Restarted);
    }
    fn on_error(&mut self, what: &'static str, _: &OwnerError) {
        let _ = self.0.send(Told::Failed(what));
    }
}

/// Appends, and gives the entry's number.
fn append(owner: &LogOwner) -> Answer<u64> {
    owner.call(|log| Ok(log.append("s", "t", Severity::Informational, "p", b"payload")?.seqno))
}

/// Entries that [`kill`] appends.
const MANY: u64 = 50_000;

/// A call that kills the instance: it computes for longer than it may. A deadline is precise to a few hundredths of a second,
/// so there must be that much to do on a fast machine, too.
fn kill(owner: &LogOwner) -> Answer<()> {
    owner.call(|log| {
        for _ in 0..MANY / 10_000 {
            log.append_batch(&vec![event(); 10_000], &[])?;
        }
        let head = log.head("s")?.unwrap();
        let before = log.deadline();
        log.set_deadline(Some(Duration::from_millis(1))).unwrap();
        let mut outcome = Ok(());
        for _ in 0..100 {
            outcome = log.verify_chain("s", 1, head.seqno).map(drop);
            if outcome.is_err() {
                break;
            }
        }
        log.set_deadline(before).unwrap();
        outcome
    })
}

fn event() -> Event {
    Event {
        stream_id: "s".into(),
        event_type: "t".into(),
        severity: Severity::Informational,
        producer: "p".into(),
        payload: b"payload".to_vec(),
        payload_encoding: None,
        object_ref: None,
        id: None,
    }
}

#[test]
fn many_threads_share_one_log_and_it_is_closed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let owner =
        LogOwner::start(&artifact(STACK), site(dir.path(), &guest()), Settings::default(), ()).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let owner = owner.clone();
            std::thread::spawn(move || (0..20).map(|_| append(&owner).wait().unwrap()).collect::<Vec<_>>())
        })
        .collect();
    let mut seqnos: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    seqnos.sort();
    assert_eq!(seqnos, (1..=160).collect::<Vec<_>>());
    owner.shutdown().unwrap();
    assert_eq!(append(&owner).wait(), Err(OwnerError::Closed));
    assert_eq!(owner.shutdown(), Err(OwnerError::Closed));

    let site = site(dir.path(), &guest());
    let mut log = site.open(&artifact(STACK)).unwrap();
    assert_eq!(log.verify_chain("s", 1, 160).unwrap().entries_checked, 160);
}

#[test]
fn what_waits_is_finished_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let owner =
        LogOwner::start(&artifact(STACK), site(dir.path(), &guest()), Settings::default(), ()).unwrap();
    let answers: Vec<_> = (0..50).map(|_| append(&owner)).collect();
    owner.shutdown().unwrap();
    let seqnos: Vec<u64> = answers.into_iter().map(|answer| answer.wait().unwrap()).collect();
    assert_eq!(seqnos, (1..=50).collect::<Vec<_>>());
}

#[test]
fn full_queue_refuses_at_once_and_takes_more_later() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { queue: 3, ..Settings::default() };
    let owner = LogOwner::start(&artifact(STACK), site(dir.path(), &guest()), settings, ()).unwrap();
    let (gate, held) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (g, h) = (gate.clone(), held.clone());
    let blocked = owner.call(move |_| {
        h.wait();
        g.wait();
        Ok(())
    });
    held.wait();
    let waiting: Vec<_> = (0..3).map(|_| append(&owner)).collect();
    assert_eq!(owner.statistics().waiting, 3);
    let began = Instant::now();
    assert_eq!(append(&owner).wait(), Err(OwnerError::Busy));
    assert!(began.elapsed() < Duration::from_millis(100));
    gate.wait();
    blocked.wait().unwrap();
    for answer in waiting {
        answer.wait().unwrap();
    }
    assert_eq!(append(&owner).wait().unwrap(), 4);
    owner.shutdown().unwrap();
}

#[test]
fn dead_instance_is_replaced_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let limited = Guest { deadline: Some(Duration::from_secs(30)), ..guest() };
    let (teller, told) = Teller::new();
    let owner =
        LogOwner::start(&artifact(STACK), site(dir.path(), &limited), Settings::default(), teller).unwrap();
    append(&owner).wait().unwrap();
    let error = kill(&owner).wait().unwrap_err();
    assert!(matches!(&error, OwnerError::Unavailable(text) if text.contains("did not answer")), "{error}");
    assert!(matches!(told.recv().unwrap(), Told::Died(e) if e == error));
    assert!(matches!(told.recv().unwrap(), Told::Restarted));
    // The lock was held all the time, and everything acknowledged is there.
    assert_eq!(append(&owner).wait().unwrap(), MANY + 2);
    assert_eq!(owner.statistics().deaths, 1);
    assert_eq!(owner.down(), None);
    let checked = owner.call(|log| log.verify_chain("s", 1, MANY + 2)).wait().unwrap().entries_checked;
    assert_eq!(checked, MANY + 2);
    owner.shutdown().unwrap();
}

#[test]
fn instance_that_cannot_come_back_makes_calls_unavailable_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("log");
    std::fs::create_dir(&store).unwrap();
    let (teller, told) = Teller::new();
    let owner =
        LogOwner::start(&artifact(STACK), site(&store, &guest()), Settings::default(), teller).unwrap();
    append(&owner).wait().unwrap();
    let (away, back) = (dir.path().join("away"), store.clone());
    std::fs::rename(&store, &away).unwrap();
    kill(&owner).wait().unwrap_err();
    assert!(matches!(told.recv().unwrap(), Told::Died(_)));
    assert!(matches!(told.recv().unwrap(), Told::Died(_)));
    let error = append(&owner).wait().unwrap_err();
    assert!(matches!(&error, OwnerError::Unavailable(text) if text.contains("log")), "{error}");
    assert!(owner.down().is_some());
    std::fs::rename(&away, &back).unwrap();
    while !matches!(told.recv_timeout(Duration::from_secs(20)).unwrap(), Told::Restarted) {}
    assert_eq!(append(&owner).wait().unwrap(), MANY + 2);
    owner.shutdown().unwrap();
}

#[test]
fn log_in_memory_ends_with_its_instance_and_never_starts_anew_as_if_nothing_was() {
    let site = Site::unlocked(&StorePath::parse(":memory:").unwrap(), &guest());
    let owner = LogOwner::start(&artifact(STACK), site, Settings::default(), ()).unwrap();
    append(&owner).wait().unwrap();
    kill(&owner).wait().unwrap_err();
    let error = append(&owner).wait().unwrap_err();
    assert!(matches!(&error, OwnerError::Unavailable(text) if text.contains("memory")), "{error}");
    assert!(owner.shutdown().is_err());
}

#[test]
fn segments_are_closed_and_signed_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let sealing =
        Sealing { identity: Some("audit".into()), records: 1_000_000, every: Duration::from_millis(50) };
    let settings = Settings { sealing: Some(sealing), ..Settings::default() };
    let (teller, told) = Teller::new();
    let owner = LogOwner::start(&artifact(STACK), site(dir.path(), &guest()), settings, teller).unwrap();
    append(&owner).wait().unwrap();
    let sealed = loop {
        match told.recv_timeout(Duration::from_secs(10)).unwrap() {
            Told::Sealed(sealed) if sealed.checkpoint.is_some() => break sealed,
            Told::Sealed(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((sealed.segments.len(), sealed.segments[0].size), (1, 1));
    // With nothing new there is nothing to sign.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(owner.statistics().checkpoints, 1);
    append(&owner).wait().unwrap();
    owner.shutdown().unwrap();
    let last = told.try_iter().filter_map(|told| match told {
        Told::Sealed(sealed) => sealed.checkpoint,
        _ => None,
    });
    assert_eq!(last.last().unwrap().number, 2, "the end signs what is new");
}

#[test]
fn key_that_is_missing_is_told_and_records_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let mut guest = guest();
    guest.preopen(&keys, "/keys");
    guest.set_env("SECURE_LOG_KEYSTORE_DIR", "/keys");
    let sealing = Sealing { identity: Some("audit".into()), records: 1, every: Duration::from_millis(20) };
    let settings = Settings { sealing: Some(sealing), ..Settings::default() };
    let (teller, told) = Teller::new();
    let owner = LogOwner::start(&artifact(STACK), site(dir.path(), &guest), settings, teller).unwrap();
    append(&owner).wait().unwrap();
    assert!(matches!(told.recv_timeout(Duration::from_secs(10)).unwrap(), Told::Failed("seal")));
    assert_eq!(append(&owner).wait().unwrap(), 2);
    assert_eq!(owner.statistics().deaths, 0);
    owner.shutdown().unwrap();
}

#[test]
fn store_that_another_host_holds_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let _held = site(dir.path(), &guest());
    let store = StorePath::file(&dir.path().join("audit.db")).unwrap();
    let error = Site::local(&store, &guest(), Duration::from_millis(30)).unwrap_err();
    assert!(matches!(error, secure_log_host::Error::Busy { .. }), "{error}");
    assert!(error.to_string().contains("audit.db.lock"), "{error}");
}

#[test]
fn store_that_cannot_be_opened_is_told_to_who_starts_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("audit.db"), b"not a database, but long enough to be looked at as one")
        .unwrap();
    let error =
        LogOwner::start(&artifact(STACK), site(dir.path(), &guest()), Settings::default(), ()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    let failure = source.downcast_ref::<Failure>().unwrap();
    assert!(!failure.is_fatal(), "{failure}");
}
