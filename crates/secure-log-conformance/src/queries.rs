//! Finding rows.

use secure_log::error::Error;
use secure_log::model::{QueryFilter, Severity};
use secure_log::store::{FoundRow, Row, StreamAppend};

use crate::fixture::{Random, all_found, following, open, put, row, rows};
use crate::{AnyStore, Stores};

/// Rows in the order of storing, over several streams and batches.
fn fill(store: &mut dyn AnyStore, count: u64, time: impl Fn(u64, &mut Random) -> u64) -> Vec<FoundRow> {
    let mut random = Random(7);
    let streams = ["door", "gate", "pump"];
    let (mut next, mut s) = ([1; 3], 0);
    let mut stored = Vec::new();
    let mut appends: Vec<StreamAppend> = Vec::new();
    for n in 0..count {
        if random.below(12) == 0 {
            s = random.below(3) as usize;
        }
        let mut row = row(streams[s], next[s]);
        next[s] += 1;
        row.time_ms = time(n, &mut random);
        // Mostly unimportant, as in life.
        row.severity = (if random.below(50) == 0 { 0 } else { 4 } + random.below(4)) as u8;
        let event_type = if random.below(100) == 0 { 3 } else { random.below(3) };
        row.event_type = ["opened", "closed", "checked", "rare"][event_type as usize].into();
        row.producer = format!("device-{}", random.below(20));
        stored.push(FoundRow { stream_id: streams[s].into(), row: Row { payload: None, ..row.clone() } });
        match appends.iter().position(|append| append.prior.stream_id == streams[s]) {
            Some(last) if last + 1 == appends.len() => appends[last].rows.push(row),
            // Another run of a stream is for the next transaction.
            Some(_) => {
                put(store, &appends);
                appends = vec![following(streams[s], vec![row])];
            }
            None => appends.push(following(streams[s], vec![row])),
        }
    }
    put(store, &appends);
    stored
}

/// What the filter says, row by row.
fn matches(filter: &QueryFilter, found: &FoundRow) -> bool {
    filter.stream_id.as_ref().is_none_or(|stream| *stream == found.stream_id)
        && filter.from_ms.is_none_or(|from| found.row.time_ms >= from)
        && filter.to_ms.is_none_or(|to| found.row.time_ms < to)
        && filter.event_type.as_ref().is_none_or(|t| *t == found.row.event_type)
        && filter.min_severity.is_none_or(|severity| found.row.severity <= severity as u8)
        && filter.producer.as_ref().is_none_or(|producer| *producer == found.row.producer)
}

fn check(store: &mut dyn AnyStore, stored: &[FoundRow], filter: &QueryFilter, limit: u32) {
    let expected: Vec<_> = stored.iter().filter(|found| matches(filter, found)).cloned().collect();
    let found = all_found(store, filter, limit);
    let names =
        |rows: &[FoundRow]| -> Vec<_> { rows.iter().map(|f| (f.stream_id.clone(), f.row.seqno)).collect() };
    assert_eq!(names(&found), names(&expected), "{filter:?}, limit {limit}");
    assert!(found == expected, "the rows of {filter:?} have other contents");
}

pub fn rows_are_found_in_the_order_of_storing(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("b", 1, 2), rows("a", 1, 1)]);
    put(&mut *store, &[rows("a", 2, 2)]);
    put(&mut *store, &[rows("c", 1, 1), rows("b", 3, 3)]);
    let found: Vec<_> = all_found(&mut *store, &QueryFilter::default(), 2)
        .into_iter()
        .map(|found| (found.stream_id, found.row.seqno))
        .collect();
    let expected = [("b", 1), ("b", 2), ("a", 1), ("a", 2), ("c", 1), ("b", 3)];
    assert_eq!(found, expected.map(|(stream, seqno)| (stream.to_owned(), seqno)));
}

pub fn every_filter_finds_what_it_says(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let stored = fill(&mut *store, 2_000, |n, _| 1_000 + n * 10);
    let all = QueryFilter::default();
    for limit in [37, 1_000] {
        check(&mut *store, &stored, &all, limit);
        for stream in ["door", "pump", "none", ""] {
            check(
                &mut *store,
                &stored,
                &QueryFilter { stream_id: Some(stream.into()), ..all.clone() },
                limit,
            );
        }
        for event_type in ["opened", "rare", "Rare", "none"] {
            check(
                &mut *store,
                &stored,
                &QueryFilter { event_type: Some(event_type.into()), ..all.clone() },
                limit,
            );
        }
        for producer in ["device-3", "device-", "%"] {
            check(
                &mut *store,
                &stored,
                &QueryFilter { producer: Some(producer.into()), ..all.clone() },
                limit,
            );
        }
        for severity in Severity::ALL {
            check(&mut *store, &stored, &QueryFilter { min_severity: Some(severity), ..all.clone() }, limit);
        }
    }
    let mut random = Random(11);
    for _ in 0..60 {
        let mut some = |n: u64| random.below(n) == 0;
        let (stream, times, event, severity, producer) = (some(2), some(2), some(3), some(3), some(4));
        let filter = QueryFilter {
            stream_id: stream.then(|| "gate".into()),
            from_ms: times.then(|| 1_000 + random.below(20_000)),
            to_ms: (times && random.below(2) == 0).then(|| 5_000 + random.below(20_000)),
            event_type: event.then(|| "checked".into()),
            min_severity: severity.then(|| Severity::ALL[random.below(8) as usize]),
            producer: producer.then(|| format!("device-{}", random.below(20))),
        };
        check(&mut *store, &stored, &filter, 1 + random.below(300) as u32);
    }
}

pub fn times_are_from_inclusive_to_exclusive(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let mut append = rows("a", 1, 5);
    for row in &mut append.rows {
        row.time_ms = row.seqno * 100;
    }
    put(&mut *store, &[append]);
    for (from, to, expected) in [
        (Some(200), Some(400), &[2, 3][..]),
        (Some(201), Some(401), &[3, 4]),
        (Some(300), None, &[3, 4, 5]),
        (None, Some(300), &[1, 2]),
        (Some(300), Some(300), &[]),
        (Some(400), Some(200), &[]),
        (Some(501), None, &[]),
        (None, Some(100), &[]),
    ] {
        let filter = QueryFilter { from_ms: from, to_ms: to, ..QueryFilter::default() };
        let found: Vec<_> =
            all_found(&mut *store, &filter, 2).into_iter().map(|found| found.row.seqno).collect();
        assert_eq!(found, expected, "{from:?} to {to:?}");
    }
}

pub fn a_clock_that_steps_back_hides_nothing(stores: &mut dyn Stores) {
    let mut store = open(stores);
    // Enough rows that a store which narrows its search by time has something to narrow.
    let stored = fill(&mut *store, 12_000, |n, random| {
        let steady = 100_000 + n * 10;
        if n > 6_000 { steady - 40_000 + random.below(500) } else { steady }
    });
    for (from, to) in
        [(0, 110_000), (119_000, 121_000), (150_000, 160_500), (121_000, 159_000), (179_000, 999_999)]
    {
        for stream_id in [None, Some("gate".to_owned())] {
            for event_type in [None, Some("rare".to_owned())] {
                let filter = QueryFilter {
                    stream_id: stream_id.clone(),
                    event_type,
                    from_ms: Some(from),
                    to_ms: Some(to),
                    ..QueryFilter::default()
                };
                check(&mut *store, &stored, &filter, 300);
            }
        }
    }
}

pub fn pages_of_a_query_join_without_seams(stores: &mut dyn Stores) {
    let mut store = open(stores);
    let stored = fill(&mut *store, 300, |n, _| n);
    for limit in [1, 2, 3, 99, 100, 101, 299, 300, 301] {
        check(&mut *store, &stored, &QueryFilter::default(), limit);
        let filter = QueryFilter { min_severity: Some(Severity::Warning), ..QueryFilter::default() };
        check(&mut *store, &stored, &filter, limit);
    }
}

pub fn a_query_goes_on_with_later_rows(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 10)]);
    let first = store.query(&QueryFilter::default(), None, 6).unwrap();
    put(&mut *store, &[rows("b", 1, 1)]);
    put(&mut *store, &[rows("a", 11, 12)]);
    let mut seen: Vec<_> = first.rows;
    let mut cursor = first.next;
    while let Some(next) = cursor {
        let page = store.query(&QueryFilter::default(), Some(&next), 6).unwrap();
        seen.extend(page.rows);
        cursor = page.next;
    }
    let seen: Vec<_> = seen.into_iter().map(|found| (found.stream_id, found.row.seqno)).collect();
    let mut expected: Vec<_> = (1..=10).map(|n| ("a".to_owned(), n)).collect();
    expected.extend([("b".to_owned(), 1), ("a".to_owned(), 11), ("a".to_owned(), 12)]);
    assert_eq!(seen, expected);
}

pub fn found_rows_have_no_payload(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 3)]);
    let found = all_found(&mut *store, &QueryFilter::default(), 10);
    let expected: Vec<_> = rows("a", 1, 3)
        .rows
        .into_iter()
        .map(|row| FoundRow { stream_id: "a".into(), row: Row { payload: None, ..row } })
        .collect();
    assert_eq!(found, expected);
}

pub fn a_bad_cursor_is_invalid(stores: &mut dyn Stores) {
    let mut store = open(stores);
    put(&mut *store, &[rows("a", 1, 3)]);
    let long = "9".repeat(10_000);
    for cursor in ["", "x", "-1", "1 ", "💥", "99999999999999999999999", "0x10", "\0", "1;2", &long] {
        match store.query(&QueryFilter::default(), Some(cursor), 10) {
            Err(Error::Invalid(invalid)) => assert_eq!(invalid.field, "cursor", "{cursor:?}"),
            other => panic!("cursor {cursor:?}: {other:?}"),
        }
    }
}
