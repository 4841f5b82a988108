//! Bad input gives a typed error that says what and where, writes nothing and traps nothing,
//! with 256 MiB of guest memory.

use crate::common::{STACKS, Stack};
use secure_log_verify::host::types::{Event, Severity};
use secure_log_verify::launch::Session;
use secure_log_verify::refusals::{
    self, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_HEADER, MAX_PAYLOAD, event, expect,
};
use secure_log_verify::store_path::StorePath;

const MEMORY: usize = 256 << 20;

fn stack(names: (&str, &str)) -> Stack {
    let mut stack = Stack::new(names, true, &[]);
    stack.launcher.guest.memory_limit = Some(MEMORY);
    stack
}

fn heads(log: &mut Session) -> Vec<(String, u64)> {
    log.list_streams().unwrap().into_iter().filter_map(|s| Some((s.stream_id, s.head?.seqno))).collect()
}

#[test]
fn calls_before_open_and_after_close_are_refused() {
    for names in STACKS {
        let stack = stack(names);
        let mut log = stack.launcher.start(&stack.store, &[]).unwrap();
        for turn in ["before open", "after close"] {
            let append = log.append("s", "t", Severity::Notice, "p", b"x");
            expect(turn, append, &["invalid"]).unwrap();
            expect(turn, log.append_batch(&[event("s", "x")], &[]), &["invalid"]).unwrap();
            expect(turn, log.list_streams(), &["invalid"]).unwrap();
            expect(turn, log.head("s"), &["invalid"]).unwrap();
            expect(turn, log.verify_chain("s", 1, 1), &["invalid"]).unwrap();
            expect(turn, log.close_segments(), &["invalid"]).unwrap();
            expect(turn, log.sign_segment("audit", 1), &["invalid"]).unwrap();
            expect(turn, log.backup("copy"), &["invalid"]).unwrap();
            expect(turn, log.close(), &["invalid"]).unwrap();
            expect(turn, log.open(""), &["invalid"]).unwrap();
            if turn == "before open" {
                log.open_log().unwrap();
                let config = log.config().to_owned();
                expect("second open", log.open(&config), &["invalid"]).unwrap();
                log.close().unwrap();
            }
        }
        log.open_log().unwrap();
    }
}

#[test]
fn every_refusal_is_typed_and_writes_nothing() {
    for names in STACKS {
        let stack = stack(names);
        let mut log = stack.open();
        log.append("s", "t", Severity::Notice, "p", b"one").unwrap();
        log.append("s", "t", Severity::Notice, "p", b"two").unwrap();
        let segment = log.close_segment("s").unwrap();
        log.sign_segment("audit", segment.segment_id).unwrap();
        let before = heads(&mut log);
        let wrong: Vec<String> = refusals::all()
            .iter()
            .filter_map(|case| case.check(&mut log, "s").err())
            .map(|e| format!("{e:#}"))
            .collect();
        assert!(wrong.is_empty(), "{}:\n{}", names.0, wrong.join("\n"));
        assert_eq!(heads(&mut log), before);
        crate::common::verify_all(&mut log);
        log.finish().unwrap();
        let mut again = stack.open();
        assert_eq!(heads(&mut again), before);
    }
}

#[test]
fn what_is_just_within_its_limit_is_accepted() {
    for names in STACKS {
        let stack = stack(names);
        let mut log = stack.open();
        log.append("s", "t", Severity::Notice, "p", &vec![7; MAX_PAYLOAD]).unwrap();
        assert_eq!(log.read_payload("s", 1).unwrap().len(), MAX_PAYLOAD);
        // The header's other fields take some of its 65,535 bytes.
        log.append("s", &"t".repeat(MAX_HEADER - 500), Severity::Notice, "p", b"").unwrap();
        log.append_batch(&vec![event("many", "x"); MAX_BATCH_EVENTS], &[]).unwrap();
        log.append_batch(&vec![event("large", vec![7; MAX_PAYLOAD]); MAX_BATCH_BYTES / MAX_PAYLOAD], &[])
            .unwrap();
        for name in refusals::odd_but_good_names("odd") {
            log.append(&name, "t", Severity::Notice, "p", name.as_bytes()).unwrap();
        }
        crate::common::verify_all(&mut log);
        log.close_segments().unwrap();
        assert!(log.memory_bytes() <= MEMORY);
        log.finish().unwrap();
        crate::common::verify_all(&mut stack.open());
    }
}

#[test]
fn long_log_is_verified_within_256_mib() {
    for names in STACKS {
        let stack = stack(names);
        let mut log = stack.open();
        let batch: Vec<Event> = (0..MAX_BATCH_EVENTS).map(|n| event("s", format!("entry {n}"))).collect();
        for _ in 0..5 {
            log.append_batch(&batch, &[]).unwrap();
        }
        log.finish().unwrap();
        let mut log = stack.open();
        log.verify_chain("s", 1, 50_000).unwrap();
        log.close_segments().unwrap();
        log.verify_segments("s").unwrap();
        assert!(log.memory_bytes() < MEMORY / 2, "{} bytes", log.memory_bytes());
    }
}

#[test]
fn file_that_is_no_store_is_refused_and_left_alone() {
    for names in STACKS {
        for content in [
            &b"Dear diary,\nnothing happened.\n"[..],
            &[0; 8192],
            b"SQLite format 3\0 and then nothing",
            b"{\"format\":\"other\"}\n",
        ] {
            let stack = stack(names);
            let path = stack.store.host_path().unwrap();
            std::fs::write(path, content).unwrap();
            let mut log = stack.launcher.start(&stack.store, &[]).unwrap();
            let opened = log.open_log();
            expect("a file that is no store", opened, &["corrupt", "invalid", "storage"]).unwrap();
            drop(log);
            assert_eq!(std::fs::read(path).unwrap(), content, "{}", names.0);
        }
    }
}

#[test]
fn directory_in_the_place_of_a_store_is_refused() {
    for names in STACKS {
        let stack = stack(names);
        std::fs::create_dir(stack.store.host_path().unwrap()).unwrap();
        let mut log = stack.launcher.start(&stack.store, &[]).unwrap();
        expect("a directory", log.open_log(), &["corrupt", "invalid", "storage", "denied"]).unwrap();
    }
}

#[test]
fn path_outside_of_what_the_guest_may_see_is_refused() {
    for names in STACKS {
        let stack = stack(names);
        let mut log = stack.launcher.start(&stack.store, &[]).unwrap();
        for path in ["/etc/audit.db", "../audit.db", "nowhere/audit.db"] {
            expect(path, log.open(path), &["storage", "denied", "invalid"]).unwrap();
        }
        log.open_log().unwrap();
    }
}

#[test]
fn newer_schema_is_refused_and_named() {
    let stack = stack(STACKS[0]);
    stack.open().finish().unwrap();
    let path = stack.store.host_path().unwrap();
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA user_version = 999; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(conn);
    let mut log = stack.launcher.start(&stack.store, &[]).unwrap();
    let text = expect("schema 999", log.open_log(), &["invalid", "denied", "storage"]).unwrap();
    assert!(text.contains("999"), "{text}");
}

#[test]
fn unknown_options_of_a_config_are_refused() {
    for names in STACKS {
        let stack = stack(names);
        for option in ["lease=1", "lease-ms=soon", "lease-ms=1", "wait-ms=-1", "lock=none-at-all"] {
            let store: StorePath = stack.store.with(option);
            let mut log = stack.launcher.start(&store, &[]).unwrap();
            let text = expect(option, log.open_log(), &["invalid"]).unwrap();
            let key = option.split('=').next().unwrap();
            assert!(text.contains(key) || text.contains("config"), "{text}");
        }
        assert!(!stack.store.host_path().unwrap().exists(), "a refused open left a store");
    }
}

#[test]
fn missing_key_and_wrong_key_are_told_apart() {
    for names in STACKS {
        let mut stack = stack(names);
        let keys = stack.dir.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        let name = keys.to_str().unwrap().to_owned();
        stack.launcher.guest.preopen(&keys, name.clone());
        stack.launcher.guest.env.push(("SECURE_LOG_KEYSTORE_DIR".into(), name));
        let mut log = stack.open();
        log.append("s", "t", Severity::Notice, "p", b"x").unwrap();
        let segment = log.close_segment("s").unwrap().segment_id;
        let text = expect("a missing key", log.sign_segment("audit", segment), &["not-found"]).unwrap();
        assert!(text.contains("audit"), "{text}");
        assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 0, "a key was made by looking for it");
        assert!(log.latest_checkpoint().unwrap().is_none());
        log.finish().unwrap();

        // A file that is no key: refused, and not replaced.
        std::fs::write(
            keys.join("audit.pem"),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        )
        .unwrap();
        let mut log = stack.open();
        expect("a broken key", log.sign_segment("audit", segment), &["invalid"]).unwrap();
        log.finish().unwrap();
        std::fs::remove_file(keys.join("audit.pem")).unwrap();

        stack.launcher.guest.env.push(("SECURE_LOG_KEYSTORE_GENERATE".into(), "1".into()));
        let mut log = stack.open();
        log.sign_segment("audit", segment).unwrap();
        let (right, wrong) = (log.verifier_key("audit").unwrap(), log.verifier_key("other").unwrap());
        assert_eq!(log.verify_checkpoint_chain(&[right]).unwrap().checkpoints, 1);
        expect("another key", log.verify_checkpoint_chain(&[wrong]), &["denied", "corrupt"]).unwrap();
    }
}
