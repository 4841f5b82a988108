//! Answers that get lost between an endpoint and the remote stack: what was appended is there once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::http::{Manners, Message, exchange};
use crate::common::remote::{Far, event, said};
use secure_log_verify::failure::Failure;
use secure_log_verify::host::Hosted;
use secure_log_verify::host::types::{AppendResult, Event, Page, QueryFilter};

/// What happens to calls. The endpoint has always carried them out when an answer is lost.
struct Weather {
    /// Appends so far, from 1.
    appends: AtomicUsize,
    /// Answers that were lost.
    lost: AtomicUsize,
    /// Which answers get lost: told the call, how many appends there were, and how many answers were lost.
    loses: fn(&Message, usize, usize) -> bool,
}

/// Passes everything on, and loses answers.
fn weather(url: &str, loses: fn(&Message, usize, usize) -> bool) -> (Manners, Arc<Weather>) {
    let weather = Arc::new(Weather { appends: AtomicUsize::new(0), lost: AtomicUsize::new(0), loses });
    let (url, state) = (url.to_owned(), weather.clone());
    let manners: Manners = Arc::new(move |caller| {
        let request = caller.request()?;
        let appends = state.appends.fetch_add(usize::from(request.calls("append")), Ordering::SeqCst)
            + usize::from(request.calls("append"));
        let told = exchange(&url, &request.to_bytes())?;
        if (state.loses)(&request, appends, state.lost.load(Ordering::SeqCst)) {
            state.lost.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        caller.send(&told.to_bytes())
    });
    (manners, weather)
}

/// Ways to append: to one stream, to three, and to three with ids.
fn ways() -> [(&'static str, Vec<Event>); 3] {
    let over = |id: bool| {
        let ids = ["one", "two", "three", "four", "five"];
        let streams = ["doors", "windows", "doors", "cellar", "windows"];
        let events = streams.iter().zip(ids);
        events.map(|(stream, name)| event(stream, name, id.then_some(name))).collect()
    };
    [
        ("one event", vec![event("doors", "one", None)]),
        ("a batch", over(false)),
        ("a batch with ids", over(true)),
    ]
}

/// Appends one event as `append` does where it is one, and the batch otherwise.
fn append(log: &mut Hosted, events: &[Event]) -> Result<Vec<AppendResult>, Failure> {
    match events {
        [e] if e.id.is_none() => {
            let result = log.append(&e.stream_id, &e.event_type, e.severity, &e.producer, &e.payload)?;
            Ok(vec![result])
        }
        _ => log.append_batch(events, &[]),
    }
}

/// Reads everything with a client of its own: how often each payload is stored. Every chain holds.
fn stored(far: &Far) -> BTreeMap<String, usize> {
    let mut log = far.direct();
    let mut counts = BTreeMap::new();
    for head in log.list_streams().unwrap().into_iter().filter_map(|stream| stream.head) {
        assert_eq!(log.verify_chain(&head.stream_id, 1, head.seqno).unwrap().entries_checked, head.seqno);
        for seqno in (1..=head.seqno).filter(|_| head.stream_id != "_log") {
            let payload = log.read_payload(&head.stream_id, seqno).unwrap();
            *counts.entry(String::from_utf8(payload).unwrap()).or_default() += 1;
        }
    }
    let filter = QueryFilter {
        stream_id: None,
        from_ms: None,
        to_ms: None,
        event_type: Some("test".into()),
        min_severity: None,
        producer: None,
    };
    let found = log.query(&filter, &Page { limit: 1000, cursor: None }).unwrap();
    assert_eq!(found.entries.len(), counts.values().sum::<usize>(), "queries find the same");
    counts
}

/// Each of these events is where its result says, and nothing is stored twice.
fn once(what: &str, far: &Far, events: &[Event], results: &[AppendResult], more: usize) {
    let mut log = far.direct();
    assert_eq!(events.len(), results.len(), "{what}");
    for (event, result) in events.iter().zip(results) {
        let entry = log.read(&event.stream_id, result.seqno).unwrap();
        assert_eq!(entry.entry_hash, result.entry_hash, "{what}");
        assert_eq!(log.read_payload(&event.stream_id, result.seqno).unwrap(), event.payload, "{what}");
    }
    let stored = stored(far);
    assert_eq!(stored.len(), events.len() + more, "{what}: {stored:?}");
    assert!(stored.values().all(|times| *times == 1), "{what}: {stored:?}");
}

/// Appends before, in bad weather, and after it with the same instance.
fn in_weather(retries: u32, lost: usize, appends: usize, loses: fn(&Message, usize, usize) -> bool) {
    for (what, events) in ways() {
        let far = Far::start();
        let mut log = far.open(30_000, retries);
        append(&mut log, &[event("doors", "before", None)]).unwrap();
        let (manners, weather) = weather(far.endpoint.url(), loses);
        far.fake.set(manners);
        let results = append(&mut log, &events).unwrap();
        assert_eq!(weather.lost.load(Ordering::SeqCst), lost, "{what}: answers lost");
        assert_eq!(weather.appends.load(Ordering::SeqCst), appends, "{what}: appends sent");
        far.recover();
        once(what, &far, &events, &results, 1);
        append(&mut log, &[event("doors", "after", None)]).unwrap();
        once(what, &far, &events, &results, 2);
    }
}

#[test]
fn an_append_whose_answer_is_lost_is_found_again() {
    in_weather(0, 1, 1, |call, append, _| call.calls("append") && append == 1);
}

#[test]
fn every_answer_to_an_append_may_be_lost() {
    in_weather(5, 1, 1, |call, _, _| call.calls("append"));
}

#[test]
fn an_append_that_is_sent_again_although_it_took_effect_is_stored_once() {
    // The answer, and that of the look whether it is there: so it is sent again, which is a conflict.
    in_weather(0, 2, 2, |_, appends, lost| appends > 0 && lost < 2);
}

#[test]
fn two_appends_in_a_row_whose_answers_are_lost_are_stored_once() {
    // The append, a look, the append again: only the second look comes through.
    in_weather(0, 3, 2, |_, appends, lost| appends > 0 && lost < 3);
}

#[test]
fn looks_that_are_lost_are_taken_again_by_the_transport() {
    in_weather(2, 3, 1, |_, appends, lost| appends > 0 && lost < 3);
}

#[test]
fn the_answer_to_each_of_many_appends_may_be_lost() {
    for lose in 1..=6 {
        let far = Far::start();
        let mut log = far.open(30_000, 0);
        let (manners, weather) = weather(
            far.endpoint.url(),
            match lose {
                1 => |call, append, _| call.calls("append") && append == 1,
                2 => |call, append, _| call.calls("append") && append == 2,
                3 => |call, append, _| call.calls("append") && append == 3,
                4 => |call, append, _| call.calls("append") && append == 4,
                5 => |call, append, _| call.calls("append") && append == 5,
                _ => |call, append, _| call.calls("append") && append % 2 == 0,
            },
        );
        far.fake.set(manners);
        let events: Vec<_> = (1..=5).map(|n| event("doors", &format!("event {n}"), None)).collect();
        let mut results = Vec::new();
        for (n, event) in (1..).zip(&events) {
            results.extend(append(&mut log, std::slice::from_ref(event)).unwrap());
            assert_eq!(results.last().map(|result| result.seqno), Some(n));
        }
        assert_eq!(weather.lost.load(Ordering::SeqCst), if lose == 6 { 2 } else { 1 });
        once(&format!("answer {lose}"), &far, &events, &results, 0);
    }
}

#[test]
fn who_loses_every_answer_is_told_and_sends_it_again_after_a_crash() {
    let events: Vec<_> = ways()[2].1.clone();
    for (what, events) in [("one event with an id", &events[..1]), ("a batch with ids", &events[..])] {
        let far = Far::start();
        let mut log = far.open(30_000, 0);
        append(&mut log, &[event("doors", "before", None)]).unwrap();
        let (manners, weather) = weather(far.endpoint.url(), |_, appends, _| appends > 0);
        far.fake.set(manners);
        let failure = append(&mut log, events).unwrap_err();
        assert_eq!(failure.kind(), "unavailable", "{what}: {}", said(&failure));
        assert!(said(&failure).contains(&far.fake.authority()), "{what}: {failure}");
        assert_eq!(weather.appends.load(Ordering::SeqCst), 3, "{what}: the log tries three times");
        // It took effect with the first one.
        assert_eq!(stored(&far).len(), events.len() + 1, "{what}");

        // The process crashes, and another one knows only what was to be sent.
        drop(log);
        far.recover();
        let mut fresh = far.open(30_000, 0);
        let results = append(&mut fresh, events).unwrap();
        once(what, &far, events, &results, 1);
        let again = append(&mut fresh, events).unwrap();
        let seqnos = |results: &[AppendResult]| results.iter().map(|r| r.seqno).collect::<Vec<_>>();
        assert_eq!(seqnos(&again), seqnos(&results), "{what}");
        assert_eq!(results[0].seqno, 2, "{what}");
        once(what, &far, events, &again, 1);
    }
}

#[test]
fn the_same_instance_may_send_it_again_too() {
    let events: Vec<_> = ways()[2].1.clone();
    let far = Far::start();
    let mut log = far.open(30_000, 0);
    let (manners, _) = weather(far.endpoint.url(), |_, appends, _| appends > 0);
    far.fake.set(manners);
    let failure = append(&mut log, &events).unwrap_err();
    assert_eq!(failure.kind(), "unavailable", "{}", said(&failure));
    far.recover();
    let results = append(&mut log, &events).unwrap();
    once("again", &far, &events, &results, 0);
}
