//! A network that loses calls and answers: what was asked for is stored once, or the caller is told.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "../../secure-log/tests/common/mod.rs"]
mod common;
mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use common::{Fixed, TestSigner, event, fixed};
use secure_log::model::{Event, StreamHead, Tier};
use secure_log::store::OpenStore;
use secure_log::{Error, NativeSecureLog, SecureLog};
use secure_log_rpc::{CheckedStore, RemoteStore, Transport, TransportError};
use secure_log_sqlite::SqliteSecureLogStore;
use support::{Contents, Shared, contents};

type Far = Shared<CheckedStore<SqliteSecureLogStore>>;
type TheLog = NativeSecureLog<RemoteStore<Network>, Fixed>;

/// What the network loses of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The call: it is not carried out.
    Call,
    /// The answer: it is carried out, and the caller does not know.
    Answer,
}

/// What the network does.
#[derive(Default)]
struct Weather {
    /// What it loses, and of which appends, counted from 1.
    appends: Option<(Loss, BTreeSet<u32>)>,
    /// Loses everything, reads too, from this append on, the append by this.
    all_from: Option<(Loss, u32)>,
    /// Appends so far.
    seen: u32,
}

/// A network between a client and a far end that is always there.
#[derive(Clone)]
struct Network {
    far: Far,
    weather: Rc<RefCell<Weather>>,
}

impl Network {
    fn new() -> Self {
        let far = Shared::checked(SqliteSecureLogStore::open(":memory:").unwrap());
        Self { far, weather: Rc::default() }
    }

    fn log(&self) -> TheLog {
        let store = RemoteStore::connect(self.clone(), "x").unwrap();
        let mut log = NativeSecureLog::new(store, fixed(), "test 1").unwrap();
        log.set_origin("example.com/audit").unwrap();
        log
    }

    /// From now on.
    fn set(&self, weather: Weather) {
        *self.weather.borrow_mut() = weather;
    }

    fn seen(&self) -> u32 {
        self.weather.borrow().seen
    }

    /// What is really stored.
    fn contents(&self) -> Contents {
        contents(&mut self.far.client())
    }
}

impl Transport for Network {
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
        let append = method == "append";
        let loss = {
            let mut weather = self.weather.borrow_mut();
            weather.seen += u32::from(append);
            let seen = weather.seen;
            match (&weather.appends, weather.all_from) {
                (_, Some((loss, from))) if seen >= from => Some(if append { loss } else { Loss::Call }),
                (Some((loss, which)), _) if append && which.contains(&seen) => Some(*loss),
                _ => None,
            }
        };
        let lost = || Err(TransportError::Unavailable(format!("`{method}` was lost")));
        match loss {
            Some(Loss::Call) => lost(),
            Some(Loss::Answer) => {
                // What came of it, nobody hears.
                let _ = self.far.call(method, params);
                lost()
            }
            None => self.far.call(method, params),
        }
    }
}

fn with_id(stream: &str, n: u64) -> Event {
    Event { id: Some(format!("id-{n}")), ..event(stream, n) }
}

type Act = fn(&mut TheLog) -> secure_log::Result<()>;

/// Everything that a log writes. What came before is the same for each.
const ACTS: [(&str, Act); 13] = [
    ("an event to a new stream", |log| log.append(event("fresh", 1)).map(drop)),
    ("an event to a stream that is there", |log| log.append(event("doors", 1)).map(drop)),
    ("an event with an id", |log| log.append(with_id("doors", 1)).map(drop)),
    ("some events, one after another", |log| {
        (1..=5).try_for_each(|n| {
            let result = log.append(event("doors", n))?;
            assert_eq!(result.seqno, 3 + n);
            Ok(())
        })
    }),
    ("a batch to one stream", |log| {
        let results = log.append_batch((1..=20).map(|n| event("doors", n)).collect(), &[])?;
        assert_eq!(results.iter().map(|r| r.seqno).collect::<Vec<_>>(), (4..=23).collect::<Vec<_>>());
        Ok(())
    }),
    ("a batch over several streams, some new", |log| {
        let streams = ["alarms", "doors", "fresh", "doors", "more"];
        let results = log.append_batch(streams.iter().zip(1..).map(|(s, n)| event(s, n)).collect(), &[])?;
        assert_eq!(results.iter().map(|r| r.seqno).collect::<Vec<_>>(), [2, 4, 1, 5, 1]);
        Ok(())
    }),
    ("a batch over several streams with ids", |log| {
        let streams = ["fresh", "doors", "alarms", "doors", "more"];
        let results = log.append_batch(streams.iter().zip(1..).map(|(s, n)| with_id(s, n)).collect(), &[])?;
        assert_eq!(results.iter().map(|r| r.seqno).collect::<Vec<_>>(), [1, 4, 2, 5, 1]);
        Ok(())
    }),
    ("a batch of which one event is there already", |log| {
        let results =
            log.append_batch(vec![event("doors", 1), with_id("doors", 99), with_id("doors", 2)], &[])?;
        assert_eq!(results.iter().map(|r| r.seqno).collect::<Vec<_>>(), [4, 3, 5]);
        Ok(())
    }),
    ("a batch with expectations about its own stream and others", |log| {
        let heads = [log.head("doors")?.unwrap(), log.head("alarms")?.unwrap(), StreamHead::empty("fresh")];
        log.append_batch(vec![event("doors", 1), event("fresh", 2)], &heads).map(drop)
    }),
    ("a stream", |log| log.create_stream("fresh", Tier::Public, Some("what it is for"))),
    ("the end of a stream", |log| log.deprecate_stream("doors")),
    ("a segment", |log| log.close_segment("doors").map(drop)),
    ("segments and a checkpoint", |log| {
        let segments = log.close_segments()?;
        let checkpoint = log.sign_segment(&mut TestSigner, "key", segments[0].segment_id)?;
        assert_eq!(checkpoint.number, 1);
        Ok(())
    }),
];

/// A log with two streams, over a network in fair weather.
fn begun() -> (Network, TheLog) {
    let network = Network::new();
    let mut log = network.log();
    log.append_batch(
        vec![event("doors", 101), event("doors", 102), with_id("doors", 99), event("alarms", 103)],
        &[],
    )
    .unwrap();
    network.set(Weather::default());
    (network, log)
}

/// What an act stores in fair weather, and with how many appends.
fn in_fair_weather(act: Act) -> (Contents, u32) {
    let (network, mut log) = begun();
    act(&mut log).unwrap();
    (network.contents(), network.seen())
}

/// The whole log verifies, and the log goes on.
fn holds(network: &Network, what: &str) {
    let mut log = network.log();
    for stream in log.list_streams().unwrap() {
        if let Some(head) = stream.head {
            log.verify_chain(&stream.stream_id, 1, head.seqno).unwrap_or_else(|e| panic!("{what}: {e}"));
        }
    }
    log.append(event("alarms", 7)).unwrap();
}

/// Losing one call or one answer changes nothing for anybody: the same bytes are stored, once.
#[test]
fn what_is_lost_once_is_stored_once() {
    for (what, act) in ACTS {
        let (expected, appends) = in_fair_weather(act);
        assert!(appends > 0, "{what}");
        for loss in [Loss::Call, Loss::Answer] {
            for n in 1..=appends {
                let (network, mut log) = begun();
                network.set(Weather { appends: Some((loss, BTreeSet::from([n]))), ..Weather::default() });
                let outcome = act(&mut log);
                let what = format!("{what}: {loss:?} of append {n} of {appends}");
                // A checkpoint whose call was lost is not signed again by itself: nothing was written.
                if what.contains("checkpoint") && loss == Loss::Call && n == appends {
                    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{what}: {outcome:?}");
                    let segment = log_segment(&expected);
                    assert_eq!(log.sign_segment(&mut TestSigner, "key", segment).unwrap().number, 1);
                } else {
                    outcome.unwrap_or_else(|e| panic!("{what}: {e}"));
                }
                assert_eq!(network.contents(), expected, "{what}");
                holds(&network, &what);
                // Somebody else has written meanwhile.
                log.append(event("alarms", 8)).unwrap();
            }
        }
    }
}

/// Number of the first segment's record in `_log`.
fn log_segment(contents: &Contents) -> u64 {
    let log = contents.rows.iter().find(|rows| rows[0].event_type == "log-created").unwrap();
    log.iter().find(|row| row.event_type == "segment-closed").unwrap().seqno
}

/// As often as the log tries again by itself.
#[test]
fn what_is_lost_twice_is_stored_once() {
    for (what, act) in &ACTS[..12] {
        let (expected, appends) = in_fair_weather(*act);
        for loss in [Loss::Call, Loss::Answer] {
            for n in 1..=appends {
                let (network, mut log) = begun();
                network
                    .set(Weather { appends: Some((loss, BTreeSet::from([n, n + 1]))), ..Weather::default() });
                act(&mut log).unwrap_or_else(|e| panic!("{what}: {loss:?} of append {n}: {e}"));
                assert_eq!(network.contents(), expected, "{what}: {loss:?} of append {n}");
            }
        }
    }
}

type Events = fn() -> Vec<Event>;

/// What a caller can send again: events with ids.
const AGAIN: [(&str, Events); 3] = [
    ("an event", || vec![with_id("doors", 1)]),
    ("an event to a new stream", || vec![with_id("fresh", 1)]),
    ("a batch", || {
        ["fresh", "doors", "alarms", "doors", "more"].iter().zip(1..).map(|(s, n)| with_id(s, n)).collect()
    }),
];

/// How many stored entries have each id.
fn times_stored(network: &Network, events: &[Event]) -> Vec<usize> {
    let contents = network.contents();
    let of = |event: &Event| {
        let stream = contents.heads.iter().position(|head| head.stream_id == event.stream_id);
        stream.map_or(0, |at| contents.rows[at].iter().filter(|row| row.id == event.id).count())
    };
    events.iter().map(of).collect()
}

#[test]
fn when_every_try_is_lost_the_caller_is_told_and_may_send_it_again() {
    for (what, events) in AGAIN {
        let everything = |loss| Weather { all_from: Some((loss, 1)), ..Weather::default() };
        let calls = || Weather { appends: Some((Loss::Call, (1..100).collect())), ..Weather::default() };
        // The appends alone, or the reads after them as well.
        let storms: [(Weather, usize); 3] =
            [(calls(), 0), (everything(Loss::Call), 0), (everything(Loss::Answer), 1)];
        for (weather, stored) in storms {
            for same_process in [true, false] {
                let (network, mut log) = begun();
                network.set(Weather { appends: weather.appends.clone(), ..weather });
                let outcome = log.append_batch(events(), &[]);
                assert!(matches!(&outcome, Err(Error::Unavailable(_))), "{what}: {outcome:?}");
                assert_eq!(network.seen(), 3, "{what}: it was tried three times");
                network.set(Weather::default());
                assert!(times_stored(&network, &events()).iter().all(|n| *n == stored), "{what}");

                if !same_process {
                    log = network.log();
                }
                let results = log.append_batch(events(), &[]).unwrap();
                assert!(times_stored(&network, &events()).iter().all(|n| *n == 1), "{what}");
                assert_eq!(log.append_batch(events(), &[]).unwrap(), results, "{what}: and again");
                let more: Vec<Event> = events().into_iter().chain([with_id("doors", 50)]).collect();
                assert_eq!(log.append_batch(more.clone(), &[]).unwrap()[..results.len()], results);
                assert!(times_stored(&network, &more).iter().all(|n| *n == 1), "{what}");
                for (event, result) in events().iter().zip(&results) {
                    let entry = log.read(&event.stream_id, result.seqno).unwrap();
                    assert_eq!(
                        (entry.entry_hash, entry.header.event_id),
                        (result.entry_hash, event.id.clone())
                    );
                }
                holds(&network, what);
            }
        }
    }
}

/// That is what ids are for.
#[test]
fn without_an_id_an_event_that_is_sent_again_is_another_one() {
    let (network, mut log) = begun();
    network.set(Weather { all_from: Some((Loss::Answer, 1)), ..Weather::default() });
    assert!(matches!(log.append(event("doors", 1)), Err(Error::Unavailable(_))));
    network.set(Weather::default());
    assert_eq!(log.append(event("doors", 1)).unwrap().seqno, 5);
    assert_eq!(log.read_payload("doors", 4).unwrap(), log.read_payload("doors", 5).unwrap());
}

#[test]
fn nothing_is_sent_when_nothing_can_be_read() {
    for (what, act) in ACTS {
        let (network, _) = begun();
        let before = network.contents();
        // A log that has not seen the heads yet.
        let store = RemoteStore::connect(network.clone(), "x").unwrap();
        let mut log = NativeSecureLog::new(store, fixed(), "test 1").unwrap();
        network.set(Weather { all_from: Some((Loss::Answer, 0)), ..Weather::default() });
        let outcome = act(&mut log);
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{what}: {outcome:?}");
        assert_eq!(network.contents(), before, "{what}");
    }
}

#[test]
fn a_far_end_that_cannot_be_reached_does_not_open() {
    let network = Network::new();
    network.set(Weather { all_from: Some((Loss::Call, 0)), ..Weather::default() });
    assert!(matches!(RemoteStore::connect(network, "x").map(drop), Err(Error::Unavailable(_))));
}

/// A network on which somebody else writes to `doors` whenever an append is lost.
#[derive(Clone)]
struct Rivalry {
    far: Far,
    loss: Loss,
    left: Rc<RefCell<u32>>,
}

impl Transport for Rivalry {
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
        if method != "append" || *self.left.borrow() == 0 {
            return self.far.call(method, params);
        }
        *self.left.borrow_mut() -= 1;
        if self.loss == Loss::Answer {
            let _ = self.far.call(method, params);
        }
        let mut rival = NativeSecureLog::new(self.far.client(), fixed(), "rival").unwrap();
        rival.append(event("doors", 1000)).unwrap();
        Err(TransportError::Unavailable("lost".into()))
    }
}

#[test]
fn what_is_lost_while_others_write_is_stored_once() {
    for loss in [Loss::Call, Loss::Answer] {
        for losses in [1, 2] {
            for (what, events) in AGAIN {
                for ids in [true, false] {
                    let (network, log) = begun();
                    drop(log);
                    let rivalry =
                        Rivalry { far: network.far.clone(), loss, left: Rc::new(RefCell::new(losses)) };
                    let store = RemoteStore::connect(rivalry, "x").unwrap();
                    let mut log = NativeSecureLog::new(store, fixed(), "test 1").unwrap();
                    let mut events = events();
                    if !ids {
                        events.iter_mut().for_each(|event| event.id = None);
                    }
                    let results = log.append_batch(events.clone(), &[]);
                    let results = results.unwrap_or_else(|e| panic!("{what}, {loss:?} {losses} times: {e}"));
                    let contents = network.contents();
                    for (event, result) in events.iter().zip(results) {
                        let at =
                            contents.heads.iter().position(|head| head.stream_id == event.stream_id).unwrap();
                        let rows = &contents.rows[at];
                        let its = |row: &&secure_log::store::Row| {
                            row.payload.as_ref().is_some_and(|payload| payload[32..] == event.payload)
                        };
                        let own = rows.iter().filter(|row| row.entry_hash == result.entry_hash).count();
                        let equal = rows.iter().filter(its).count();
                        assert_eq!((own, equal), (1, 1), "{what}, {loss:?} {losses} times");
                    }
                    holds(&network, what);
                }
            }
        }
    }
}
