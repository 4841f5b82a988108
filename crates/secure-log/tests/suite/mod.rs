//! The log over a real store: what it records, proves and refuses. Run over every store.

use super::common::*;
use super::{Store, fresh as memory};
use secure_log::model::*;
use secure_log::store::{SecureLogStore, Tile};
use secure_log::{Error, SecureLog, limits, proof, tree};

type TheLog = Log<Store>;

fn counts(log: &mut TheLog) -> Vec<(String, u64)> {
    log.list_streams().unwrap().into_iter().map(|s| (s.stream_id, s.head.map_or(0, |h| h.seqno))).collect()
}

#[test]
fn entries_are_numbered_linked_and_readable() {
    let mut log = memory();
    let a = log.append(event("doors", 1)).unwrap();
    let b = log.append(event("doors", 2)).unwrap();
    assert_eq!((a.seqno, b.seqno), (1, 2));
    let first = log.read("doors", 1).unwrap();
    let second = log.read("doors", 2).unwrap();
    assert_eq!(first.header.prev_hash, ZERO_HASH);
    assert_eq!(second.header.prev_hash, a.entry_hash);
    assert_eq!(second.entry_hash, b.entry_hash);
    assert_eq!(secure_log::header::entry_hash(&second.header_bytes), b.entry_hash);
    assert_eq!(log.read_payload("doors", 2).unwrap(), b"payload number 2 of doors");
    assert_eq!(second.header.payload_len, 25);
    assert_eq!(second.header.software_version, "test 1");
    assert_ne!(first.header.payload_hash, *blake3::hash(b"payload number 1 of doors").as_bytes(), "salted");
    assert_eq!(
        log.head("doors").unwrap(),
        Some(StreamHead { stream_id: "doors".into(), seqno: 2, entry_hash: b.entry_hash })
    );
    assert_eq!(log.head("nothing").unwrap(), None);
    // The log and the stream were recorded first.
    assert_eq!(counts(&mut log), [("_log".into(), 2), ("doors".into(), 2)]);
    assert!(log.origin().unwrap().unwrap().starts_with("secure-log.invalid/"));
}

#[test]
fn the_payload_elsewhere_is_hashed_and_not_stored() {
    let mut log = memory();
    let mut e = event("doors", 1);
    e.object_ref = Some("s3://bucket/1".into());
    log.append_batch(vec![e], &[]).unwrap();
    let entry = log.read("doors", 1).unwrap();
    assert_eq!(entry.header.payload_hash, *blake3::hash(b"payload number 1 of doors").as_bytes());
    let error = log.read_payload("doors", 1).unwrap_err();
    assert!(matches!(&error, Error::NotFound(m) if m.reason.contains("s3://bucket/1")), "{error}");
    let report = log.verify_chain("doors", 1, 1).unwrap();
    assert_eq!((report.payloads_checked, report.payloads_elsewhere), (0, 1));
}

#[test]
fn a_batch_is_all_or_nothing_across_streams() {
    let mut log = memory();
    let results = log.append_batch(vec![event("a", 1), event("b", 1), event("a", 2)], &[]).unwrap();
    assert_eq!(results.iter().map(|r| r.seqno).collect::<Vec<_>>(), [1, 1, 2]);
    let before = counts(&mut log);
    let mut bad = event("b", 2);
    bad.producer = String::new();
    let error = log.append_batch(vec![event("a", 3), bad], &[]).unwrap_err();
    assert!(matches!(&error, Error::Invalid(i) if i.field == "events[1].producer"), "{error}");
    assert_eq!(counts(&mut log), before);

    // An expectation that does not hold refuses the whole batch, and names the head.
    let stale = StreamHead { stream_id: "a".into(), seqno: 1, entry_hash: results[0].entry_hash };
    let error = log.append_batch(vec![event("b", 2)], &[stale]).unwrap_err();
    assert!(matches!(&error, Error::Conflict(c) if c.actual.as_ref().unwrap().seqno == 2), "{error}");
    assert_eq!(counts(&mut log), before);
    let head = log.head("a").unwrap().unwrap();
    log.append_batch(vec![event("b", 2)], &[head, StreamHead::empty("c")]).unwrap();
}

#[test]
fn an_event_id_makes_a_retry_safe() {
    let mut log = memory();
    let mut e = event("a", 1);
    e.id = Some("x".into());
    let first = log.append(e.clone()).unwrap();
    assert_eq!(log.append(e.clone()).unwrap(), first);
    let mut batch = vec![event("a", 2), e.clone()];
    batch[0].id = Some("y".into());
    let results = log.append_batch(batch.clone(), &[]).unwrap();
    assert_eq!(results[1], first);
    assert_eq!(log.append_batch(batch, &[]).unwrap(), results);
    assert_eq!(log.head("a").unwrap().unwrap().seqno, 2);
    let mut other = e.clone();
    other.payload = b"something else".to_vec();
    assert!(matches!(log.append(other), Err(Error::Conflict(_))));
    let mut twice = vec![event("a", 5), event("a", 6)];
    twice.iter_mut().for_each(|e| e.id = Some("z".into()));
    assert!(matches!(log.append_batch(twice, &[]), Err(Error::Invalid(i)) if i.field == "id"));
    // The same id in another stream is another event.
    e.stream_id = "b".into();
    assert_eq!(log.append(e).unwrap().seqno, 1);
}

#[test]
fn limits_are_enforced_and_nothing_is_written() {
    let mut log = memory();
    log.append(event("a", 1)).unwrap();
    let before = counts(&mut log);
    let refuse = |log: &mut TheLog, change: &dyn Fn(&mut Event), field: &str| {
        let mut e = event("a", 2);
        change(&mut e);
        let error = log.append(e).unwrap_err();
        assert!(matches!(&error, Error::Invalid(i) if i.field == field), "{field}: {error}");
    };
    refuse(&mut log, &|e| e.payload = vec![0; limits::MAX_PAYLOAD + 1], "payload");
    refuse(&mut log, &|e| e.stream_id = "a".repeat(256), "stream-id");
    refuse(&mut log, &|e| e.stream_id = String::new(), "stream-id");
    refuse(&mut log, &|e| e.stream_id = "a\nb".into(), "stream-id");
    refuse(&mut log, &|e| e.event_type = String::new(), "event-type");
    refuse(&mut log, &|e| e.event_type = "\u{7}".into(), "event-type");
    refuse(&mut log, &|e| e.producer = "p".repeat(limits::MAX_HEADER), "header");
    refuse(&mut log, &|e| e.id = Some(String::new()), "id");
    let mut reserved = event("_log", 1);
    assert!(matches!(log.append(reserved.clone()), Err(Error::Denied(_))));
    reserved.stream_id = "_mine".into();
    assert!(matches!(log.append(reserved), Err(Error::Denied(_))));
    let many = vec![event("a", 2); limits::MAX_BATCH_EVENTS + 1];
    assert!(matches!(log.append_batch(many, &[]), Err(Error::Invalid(i)) if i.field == "events"));
    let mut big = event("a", 2);
    big.payload = vec![0; 7 << 20];
    assert!(matches!(log.append_batch(vec![big; 5], &[]), Err(Error::Invalid(i)) if i.field == "events"));
    assert!(matches!(log.append_batch(vec![], &[]), Err(Error::Invalid(_))));
    assert_eq!(counts(&mut log), before);

    let mut largest = event("a", 2);
    largest.payload = vec![7; limits::MAX_PAYLOAD];
    log.append(largest).unwrap();
    assert_eq!(log.read_payload("a", 2).unwrap().len(), limits::MAX_PAYLOAD);
    for name in ["../../etc/passwd", "a/b", "..", ".", "\u{1f510}".repeat(63).as_str(), "%", "a b", "ü"] {
        log.append(event(name, 1)).unwrap();
        assert_eq!(log.verify_chain(name, 1, 1).unwrap().entries_checked, 1);
    }
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let mut log = memory();
    fill(&mut log, "a", 3);
    assert!(matches!(log.read("a", 0), Err(Error::Invalid(i)) if i.field == "seqno"));
    for n in [4, u64::MAX] {
        assert!(matches!(log.read("a", n), Err(Error::NotFound(m)) if m.number == Some(n)));
        assert!(matches!(log.read_payload("a", n), Err(Error::NotFound(_))));
        assert!(matches!(log.verify_chain("a", 1, n), Err(Error::NotFound(m)) if m.number == Some(n)));
        assert!(matches!(log.build_inclusion_proof("a", n), Err(Error::NotFound(_))));
        assert!(matches!(log.build_entry_proof("a", n), Err(Error::NotFound(_))));
        assert!(matches!(log.build_consistency_proof("a", 1, n), Err(Error::NotFound(_))));
        assert!(matches!(log.read_segment(n), Err(Error::NotFound(_))));
        assert!(matches!(log.read_checkpoint(n), Err(Error::NotFound(_))));
    }
    assert!(matches!(log.verify_chain("a", 0, 3), Err(Error::Invalid(i)) if i.field == "from-seqno"));
    assert!(matches!(log.verify_chain("a", 3, 2), Err(Error::Invalid(i)) if i.field == "to-seqno"));
    assert!(matches!(log.build_consistency_proof("a", 3, 2), Err(Error::Invalid(_))));
    assert!(matches!(log.read_segment(0), Err(Error::NotFound(_))));
    assert!(matches!(log.read_segment(1), Err(Error::NotFound(m)) if m.reason.contains("log-created")));
    for error in [
        log.read("b", 1).map(drop),
        log.verify_headers("b", 1, 1).map(drop),
        log.read_headers("b", 1, 1).map(drop),
        log.close_segment("b").map(drop),
        log.verify_segments("b").map(drop),
        log.deprecate_stream("b"),
    ] {
        assert!(
            matches!(&error, Err(Error::NotFound(m)) if m.what == "stream" && m.name == "b"),
            "{error:?}"
        );
    }
    assert!(matches!(log.query(&QueryFilter::default(), None, 0), Err(Error::Invalid(_))));
    assert!(matches!(log.query(&QueryFilter::default(), None, 1001), Err(Error::Invalid(_))));
    assert!(matches!(log.query(&QueryFilter::default(), Some("nonsense"), 1), Err(Error::Invalid(_))));
}

#[test]
fn streams_are_created_once_and_end() {
    let mut log = memory();
    log.create_stream("a", Tier::Public, Some("what it is for")).unwrap();
    assert!(matches!(log.create_stream("a", Tier::Public, None), Err(Error::Conflict(_))));
    for tier in [Tier::Protected, Tier::HighlyRestricted] {
        assert!(matches!(log.create_stream("secret", tier, None), Err(Error::Denied(_))));
    }
    assert!(matches!(log.create_stream("_x", Tier::Public, None), Err(Error::Denied(_))));
    fill(&mut log, "a", 2);
    assert!(matches!(log.create_stream("a", Tier::Public, None), Err(Error::Conflict(_))));
    log.deprecate_stream("a").unwrap();
    log.deprecate_stream("a").unwrap();
    assert!(matches!(log.append(event("a", 3)), Err(Error::Denied(_))));
    assert!(matches!(log.append_batch(vec![event("b", 1), event("a", 3)], &[]), Err(Error::Denied(_))));
    let streams = log.list_streams().unwrap();
    assert_eq!(streams.iter().map(|s| s.stream_id.as_str()).collect::<Vec<_>>(), ["_log", "a"]);
    let a = &streams[1];
    assert_eq!((a.description.as_deref(), a.created, a.deprecated), (Some("what it is for"), 2, Some(3)));
    assert_eq!(a.head.as_ref().unwrap().seqno, 2);
    assert_eq!(log.read_payload("a", 2).unwrap(), b"payload number 1 of a");
    assert_eq!(log.close_segment("a").unwrap().size, 2);
}

#[test]
fn the_origin_is_given_before_the_first_entry() {
    let mut log = memory();
    assert_eq!(log.origin().unwrap(), None);
    for bad in ["", "a b", "a+b", "a\nb"] {
        assert!(matches!(log.set_origin(bad), Err(Error::Invalid(_))), "{bad:?}");
    }
    log.set_origin("example.com/audit").unwrap();
    log.append(event("a", 1)).unwrap();
    assert_eq!(log.origin().unwrap().as_deref(), Some("example.com/audit"));
    log.set_origin("example.com/audit").unwrap();
    assert!(matches!(log.set_origin("example.com/other"), Err(Error::Conflict(_))));
    log.set_boot_id("boot-1").unwrap();
    log.append(event("a", 2)).unwrap();
    assert_eq!(log.read("a", 2).unwrap().header.boot_id.as_deref(), Some("boot-1"));
}

#[test]
fn queries_match_and_page() {
    let mut log = memory();
    for i in 0..30u64 {
        let mut e = event(if i % 2 == 0 { "a" } else { "b" }, i);
        e.severity = Severity::from_number((i % 8) as u8).unwrap();
        e.event_type = format!("type-{}", i % 3);
        e.producer = format!("p{}", i % 5);
        log.append(e).unwrap();
    }
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = log.query(&QueryFilter::default(), cursor.as_deref(), 7).unwrap();
        assert!(page.entries.len() <= 7);
        all.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(all.len(), 33, "30 and three of `_log`");
    let times: Vec<u64> = all.iter().map(|e| e.header.time_ms).collect();
    assert!(times.is_sorted());
    let check = |log: &mut TheLog, filter: QueryFilter, keep: &dyn Fn(&Entry) -> bool| {
        let found = log.query(&filter, None, 1000).unwrap();
        assert_eq!(found.next, None);
        let expected: Vec<&Entry> = all.iter().filter(|e| keep(e)).collect();
        assert!(!expected.is_empty());
        assert_eq!(found.entries.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    };
    let f = QueryFilter::default;
    check(&mut log, QueryFilter { stream_id: Some("a".into()), ..f() }, &|e| e.header.stream_id == "a");
    check(&mut log, QueryFilter { event_type: Some("type-1".into()), ..f() }, &|e| {
        e.header.event_type == "type-1"
    });
    check(&mut log, QueryFilter { producer: Some("p3".into()), ..f() }, &|e| e.header.producer == "p3");
    check(&mut log, QueryFilter { min_severity: Some(Severity::Critical), ..f() }, &|e| {
        e.header.severity <= Severity::Critical
    });
    let (from, to) = (times[10], times[20]);
    check(&mut log, QueryFilter { from_ms: Some(from), to_ms: Some(to), ..f() }, &|e| {
        (from..to).contains(&e.header.time_ms)
    });
    let both = QueryFilter {
        stream_id: Some("b".into()),
        event_type: Some("type-2".into()),
        from_ms: Some(from),
        ..f()
    };
    check(&mut log, both, &|e| {
        e.header.stream_id == "b" && e.header.event_type == "type-2" && e.header.time_ms >= from
    });
}

#[test]
fn segments_close_prove_and_verify() {
    let mut log = memory();
    fill(&mut log, "a", 700);
    let first = log.close_segment("a").unwrap();
    assert_eq!((first.first_seqno, first.size), (1, 700));
    assert_eq!(log.close_segment("a").unwrap(), first, "nothing new: the same segment");
    fill(&mut log, "a", 1);
    fill(&mut log, "b", 5);
    let both = log.close_segments().unwrap();
    assert_eq!(
        both.iter().map(|s| (s.stream_id.as_str(), s.first_seqno, s.size)).collect::<Vec<_>>(),
        [("a", 701, 701), ("b", 1, 5)]
    );
    assert!(log.close_segments().unwrap().is_empty());
    assert_eq!(log.list_segments("a").unwrap(), [first.clone(), both[0].clone()]);
    assert_eq!(log.read_segment(first.segment_id).unwrap(), first);

    // The root is the tree over the headers, by the book.
    let mut frontier = tree::Frontier::default();
    for n in 1..=701 {
        if n == 701 {
            assert_eq!(frontier.root(), first.root);
        }
        frontier.push(tree::leaf_hash(&log.read("a", n).unwrap().header_bytes));
    }
    assert_eq!(frontier.root(), both[0].root);

    for n in [1, 2, 255, 256, 257, 512, 513, 700, 701] {
        let p = log.build_inclusion_proof("a", n).unwrap();
        assert_eq!(p.segment_id, both[0].segment_id);
        proof::verify_inclusion_proof(&p, &both[0].root).unwrap();
        assert!(matches!(proof::verify_inclusion_proof(&p, &first.root), Err(Error::Corrupt(_))));
        let mut forged = p.clone();
        forged.leaf_hash[0] ^= 1;
        assert!(matches!(proof::verify_inclusion_proof(&forged, &both[0].root), Err(Error::Corrupt(_))));
    }
    for from in [1, 255, 256, 600, 700] {
        let p = log.build_consistency_proof("a", from, 701).unwrap();
        let mut leaves = Vec::new();
        for n in 1..=from {
            leaves.push(tree::leaf_hash(&log.read("a", n).unwrap().header_bytes));
        }
        let old = tree::root(&mut &leaves[..], from).unwrap();
        proof::verify_consistency_proof(&p, &old, &both[0].root).unwrap();
        assert!(proof::verify_consistency_proof(&p, &first.head_hash, &both[0].root).is_err());
    }
    let report = log.verify_segments("a").unwrap();
    assert_eq!((report.segments_checked, report.entries_checked, report.entries_uncovered), (2, 701, 0));
    assert_eq!(report.tiles_checked, 2, "the level above the leaves, and the block that the segments end in");
    assert_eq!(log.verify_chain("a", 1, 701).unwrap().segments_matched, 2);
    assert_eq!(log.verify_headers("a", 500, 701).unwrap().payloads_not_checked, 202);
    let page = log.read_headers("a", 500, 701).unwrap();
    let headers: Vec<_> = (500..=701).map(|n| log.read("a", n).unwrap().header_bytes).collect();
    assert_eq!(secure_log::tiles::entries(&page).unwrap(), headers);
    assert!(matches!(log.read_headers("a", 1, 702), Err(Error::NotFound(m)) if m.number == Some(702)));
    assert!(matches!(log.read_headers("a", 0, 1), Err(Error::Invalid(i)) if i.field == "from-seqno"));
}

/// Closing in any steps gives the tree of closing once.
#[test]
fn steps_do_not_matter() {
    let mut once = memory();
    once.set_origin("x").unwrap();
    let mut steps = memory();
    steps.set_origin("x").unwrap();
    let mut n = 0;
    for step in [1, 254, 1, 1, 300, 211, 256, 1024, 3] {
        fill(&mut steps, "a", step);
        n += step;
        let s = steps.close_segment("a").unwrap();
        assert_eq!(s.size, n);
        let mut frontier = tree::Frontier::default();
        for row in (1..=n).map(|i| steps.read("a", i).unwrap()) {
            frontier.push(tree::leaf_hash(&row.header_bytes));
        }
        assert_eq!(frontier.root(), s.root, "at {n}");
    }
    steps.verify_segments("a").unwrap();
}

#[test]
fn checkpoints_sign_the_whole_log() {
    let mut log = memory();
    let trusted = sample(&mut log);
    let latest = log.latest_checkpoint().unwrap().unwrap();
    assert_eq!((latest.number, latest.origin.as_str(), latest.size), (1, "example.com/audit", 5));
    assert_eq!(log.read_checkpoint(1).unwrap(), latest);
    let report = log.verify_checkpoint_chain(&trusted).unwrap();
    assert_eq!(
        (
            report.checkpoints,
            report.streams,
            report.segments,
            report.entries_covered,
            report.entries_uncovered
        ),
        (1, 2, 2, 12, 4)
    );
    assert_eq!(report.log_entries_unsigned, 0);
    // Signing again with nothing new gives the same; another key gives another checkpoint.
    assert_eq!(log.sign_segment(&mut TestSigner, "key", 5).unwrap(), latest);
    let other = log.sign_segment(&mut TestSigner, "other", 5).unwrap();
    assert_eq!((other.number, other.size, other.root), (2, latest.size, latest.root));
    let second = log.verifier_key(&mut TestSigner, "other").unwrap();
    assert!(
        matches!(log.verify_checkpoint_chain(&trusted), Err(Error::Denied(r)) if r.contains("checkpoint 2"))
    );
    let both = vec![trusted[0].clone(), second];
    assert_eq!(log.verify_checkpoint_chain(&both).unwrap().signatures_verified, 2);
    assert!(matches!(log.verify_checkpoint_chain(&[]), Err(Error::Invalid(_))));
    assert!(matches!(log.verify_checkpoint_chain(&["nonsense".into()]), Err(Error::Invalid(_))));
    assert!(
        matches!(log.sign_segment(&mut TestSigner, "missing", 5), Err(Error::NotFound(m)) if m.what == "key")
    );
    assert!(
        matches!(log.sign_segment(&mut TestSigner, "key", 2), Err(Error::NotFound(m)) if m.what == "segment")
    );

    // Grow, close, sign: the chain of checkpoints extends.
    log.close_segments().unwrap();
    let third = log.sign_segment(&mut TestSigner, "key", 6).unwrap();
    assert_eq!((third.number, third.size), (3, 6));
    let report = log.verify_checkpoint_chain(&both).unwrap();
    assert_eq!((report.entries_covered, report.entries_uncovered), (16, 0));

    log.check_against(&latest.note).unwrap();
    log.check_against(&third.note).unwrap();
    let mut foreign = memory();
    sample(&mut foreign);
    let error = foreign.check_against(&third.note).unwrap_err();
    assert!(matches!(&error, Error::RolledBack(r) if r.claimed_size == 6 && r.size == 5), "{error}");
    fill(&mut foreign, "more", 1);
    foreign.close_segments().unwrap();
    let error = foreign.check_against(&third.note).unwrap_err();
    assert!(matches!(&error, Error::RolledBack(r) if r.reason.contains("another history")), "{error}");
    assert!(matches!(log.check_against("nonsense"), Err(Error::Invalid(_))));
}

#[test]
fn an_entry_is_proven_up_to_the_signature() {
    let mut log = memory();
    let trusted = sample(&mut log);
    for n in 1..=8 {
        let p = log.build_entry_proof("doors", n).unwrap();
        let header = proof::verify_entry_proof(&p, &trusted).unwrap();
        assert_eq!((header.stream_id.as_str(), header.seqno), ("doors", n));
    }
    assert!(matches!(log.build_entry_proof("doors", 9), Err(Error::NotFound(m)) if m.what == "checkpoint"));

    let good = log.build_entry_proof("doors", 3).unwrap();
    let other = vec![log.verifier_key(&mut TestSigner, "other").unwrap()];
    assert!(matches!(proof::verify_entry_proof(&good, &other), Err(Error::Denied(_))));
    let forgeries: [&dyn Fn(&mut EntryProof); 12] = [
        &|p| p.header_bytes[40] ^= 1,
        &|p| p.header_bytes.truncate(10),
        &|p| p.inclusion.seqno = 4,
        &|p| p.inclusion.stream_id = "alarms".into(),
        &|p| p.inclusion.leaf_hash[0] ^= 1,
        &|p| p.inclusion.root[0] ^= 1,
        &|p| p.inclusion.tree_size += 1,
        &|p| p.inclusion.segment_id += 1,
        &|p| p.inclusion.path.truncate(1),
        &|p| p.segment_payload[20] ^= 1,
        &|p| p.log_path[0][0] ^= 1,
        &|p| p.checkpoint = p.checkpoint.replace("\n5\n", "\n6\n"),
    ];
    for (i, forge) in forgeries.iter().enumerate() {
        let mut p = good.clone();
        forge(&mut p);
        assert!(proof::verify_entry_proof(&p, &trusted).is_err(), "forgery {i}");
    }
    // A proof of one entry with the header of another.
    let mut mixed = log.build_entry_proof("doors", 4).unwrap();
    mixed.header_bytes = good.header_bytes.clone();
    assert!(proof::verify_entry_proof(&mixed, &trusted).is_err());
}

/// Tiles are derived: without them, or with wrong ones, proofs are the same.
#[test]
fn lost_or_wrong_tiles_change_no_proof() {
    let mut log = memory();
    fill(&mut log, "a", 1500);
    log.close_segment("a").unwrap();
    let tile = log.store_mut().read_tile("a", 1, 0).unwrap().unwrap();
    assert_eq!(tile.len(), 5 * 32);
    for hashes in [tile[..32].to_vec(), vec![9; 5 * 32]] {
        let good = log.build_inclusion_proof("a", 700).unwrap();
        log.store_mut().write_tiles("a", &[Tile { level: 1, index: 0, hashes }]).unwrap();
        assert_eq!(log.build_inclusion_proof("a", 700).unwrap(), good);
        fill(&mut log, "a", 1);
        let segment = log.close_segment("a").unwrap();
        let next = log.build_inclusion_proof("a", 1).unwrap();
        proof::verify_inclusion_proof(&next, &segment.root).unwrap();
    }
    assert!(matches!(log.verify_segments("a"), Err(Error::Corrupt(c)) if c.reason.contains("tile")));
    log.store_mut().write_tiles("a", &[Tile { level: 1, index: 0, hashes: tile }]).unwrap();
    log.verify_segments("a").unwrap();
}

/// Of the leaves, the blocks in which segments end are kept, whole once they are; wrong ones change nothing.
#[test]
fn blocks_in_which_segments_end_keep_their_leaves() {
    let mut log = memory();
    fill(&mut log, "a", 63);
    log.close_segment("a").unwrap();
    assert_eq!(log.store_mut().read_tile("a", 0, 0).unwrap(), None, "few are not worth a tile");
    fill(&mut log, "a", 37);
    log.close_segment("a").unwrap();
    fill(&mut log, "a", 900);
    let last = log.close_segment("a").unwrap();
    let lengths: Vec<_> = (0..4)
        .map(|block| log.store_mut().read_tile("a", 0, block).unwrap().map(|tile| tile.len() / 32))
        .collect();
    assert_eq!(lengths, [Some(256), None, None, Some(232)]);
    assert_eq!(log.verify_segments("a").unwrap().tiles_checked, 3);

    let good = log.build_consistency_proof("a", 100, 1000).unwrap();
    for (block, hashes) in [(0, vec![9; 256 * 32]), (3, vec![9; 10 * 32])] {
        let kept = log.store_mut().read_tile("a", 0, block).unwrap().unwrap();
        log.store_mut().write_tiles("a", &[Tile { level: 0, index: block, hashes }]).unwrap();
        assert_eq!(log.build_consistency_proof("a", 100, 1000).unwrap(), good);
        assert_eq!(log.close_segment("a").unwrap(), last);
        assert!(matches!(log.verify_segments("a"), Err(Error::Corrupt(c)) if c.reason.contains("level 0")));
        log.store_mut().write_tiles("a", &[Tile { level: 0, index: block, hashes: kept }]).unwrap();
    }
    log.store_mut().write_tiles("a", &[Tile { level: 0, index: 3, hashes: vec![9; 232 * 32] }]).unwrap();
    fill(&mut log, "a", 1);
    let next = log.close_segment("a").unwrap();
    let proof = log.build_inclusion_proof("a", 1001).unwrap();
    proof::verify_inclusion_proof(&proof, &next.root).unwrap();
    log.verify_segments("a").unwrap();
}

#[test]
fn reserved_objects_do_not_leak_into_streams() {
    let mut log = memory();
    sample(&mut log);
    assert!(log.list_segments("_log").unwrap().is_empty());
    assert!(log.verify_chain("_log", 1, 5).is_ok());
}

#[test]
fn times_may_step_back_without_breaking_the_chain() {
    let mut log = memory();
    fill(&mut log, "a", 3);
    // Fixed clocks start over: entries after a reopening are older than those before.
    let store = log.into_store();
    let mut log = secure_log::NativeSecureLog::new(store, fixed(), "test 2").unwrap();
    log.append(event("a", 4)).unwrap();
    let times: Vec<u64> = (1..=4).map(|n| log.read("a", n).unwrap().header.time_ms).collect();
    assert!(times[3] <= times[2]);
    log.verify_chain("a", 1, 4).unwrap();
}

#[test]
fn an_export_verifies_without_the_log_and_shows_every_change() {
    use secure_log::export::{ExportReport, ExportVerifier};
    let mut log = memory();
    let trusted = sample(&mut log);
    let mut lines: Vec<String> = Vec::new();
    log.export(&trusted, |page| {
        lines.extend(page.lines().map(str::to_owned));
        Ok(())
    })
    .unwrap();
    let check = |lines: &[String], trusted: &[String]| -> secure_log::Result<ExportReport> {
        let mut verifier = ExportVerifier::new(trusted)?;
        lines.iter().try_for_each(|line| verifier.line(line))?;
        verifier.finish()
    };
    let report = check(&lines, &trusted).unwrap();
    assert_eq!((report.entries, report.streams, report.segments, report.checkpoints), (21, 2, 2, 1));
    assert_eq!((report.payloads_checked, report.payloads_elsewhere, report.entries_uncovered), (20, 1, 4));

    for bad in ["", "x", "5:1:0:0:_log", "5:1:0:1:", "05:1:0:1:_log"] {
        assert!(matches!(log.export_page(&[], Some(bad)), Err(Error::Invalid(_))), "{bad:?}");
    }
    let other = vec![log.verifier_key(&mut TestSigner, "other").unwrap()];
    assert!(matches!(check(&lines, &other), Err(Error::Denied(_))));
    for i in 0..lines.len() {
        // Key lines are claims that nothing depends on; the tail after the last segment is not
        // under a signature, but the last line counts it.
        let claim = lines[i].starts_with("{\"key\"");
        let mut without = lines.clone();
        without.remove(i);
        assert_eq!(check(&without, &trusted).is_ok(), claim, "without line {i}");
        let mut twice = lines.clone();
        twice.insert(i, lines[i].clone());
        let same_checkpoint = lines[i].starts_with("{\"checkpoint\"");
        assert!(claim || same_checkpoint || check(&twice, &trusted).is_err(), "line {i} twice");
        assert!(check(&lines[..i], &trusted).is_err(), "cut before line {i}");
        // Nothing follows the very last entry, and no segment covers it: it is what its writer says.
        if claim || i == lines.len() - 2 {
            continue;
        }
        for at in (0..lines[i].len()).step_by(3) {
            if !lines[i].as_bytes()[at].is_ascii() {
                continue;
            }
            let mut changed = lines.clone();
            let mut bytes = changed[i].clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            changed[i] = String::from_utf8(bytes).unwrap();
            assert!(check(&changed, &trusted).is_err(), "line {i} changed at {at}");
        }
    }
}

/// Who trusts the keys of two logs does not let one of them sign for the other.
#[test]
fn the_key_of_another_log_does_not_count() {
    use secure_log::note::VerifierKey;
    use secure_log::signer::CheckpointSigner;
    use secure_log::store::{ObjectKind, ObjectWrite};
    let mut log = memory();
    let mut trusted = sample(&mut log);
    let note = log.latest_checkpoint().unwrap().unwrap().note;
    let key = VerifierKey::new("example.com/other", TestSigner.public_key("other").unwrap()).unwrap();
    trusted.push(key.to_string());
    log.verify_checkpoint_chain(&trusted).unwrap();
    let text = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let line = key.signature_line(&TestSigner.sign("other", text.as_bytes()).unwrap()).unwrap();
    let foreign = format!("{text}\n{line}");
    let mut proof = log.build_entry_proof("doors", 1).unwrap();
    proof::verify_entry_proof(&proof, &trusted).unwrap();
    proof.checkpoint = foreign.clone();
    assert!(matches!(proof::verify_entry_proof(&proof, &trusted), Err(Error::Denied(_))));
    let write = ObjectWrite {
        kind: ObjectKind::Checkpoint,
        key: format!("{:020}", 2),
        value: foreign.into_bytes(),
        expected: None,
    };
    log.store_mut().append(&[], &[], &[write]).unwrap();
    assert!(
        matches!(log.verify_checkpoint_chain(&trusted), Err(Error::Denied(r)) if r.contains("checkpoint 2"))
    );
}
