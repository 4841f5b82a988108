//! The portable and the wide build are the same component.

use std::time::Duration;

use crate::common::{artifact, dist, guest};
use secure_log_host::types::{Event, Severity};
use secure_log_host::{Artifact, Fixed, Guest, Site, StorePath};

/// What a log says that is the same in each run: everything.
fn run(artifact: &Artifact, algorithm: &str) -> (Vec<Vec<u8>>, String) {
    let mut guest = Guest {
        fixed: Some(Fixed { time: Duration::from_secs(1_790_000_000), random: (0..=255).collect() }),
        ..guest()
    };
    guest.set_env("SECURE_LOG_KEYSTORE_ALG", algorithm);
    let site = Site::unlocked(&StorePath::parse(":memory:").unwrap(), &guest);
    let mut log = site.open(artifact).unwrap();
    let mut hashes = Vec::new();
    for n in 0..300_u32 {
        let event = Event {
            stream_id: format!("stream-{}", n % 3),
            event_type: "t".into(),
            severity: Severity::Informational,
            producer: "p".into(),
            payload: n.to_le_bytes().repeat(n as usize),
            payload_encoding: None,
            object_ref: None,
            id: Some(n.to_string()),
        };
        hashes.extend(log.append_batch(&[event], &[]).unwrap().into_iter().map(|stored| stored.entry_hash));
    }
    let checkpoint = log.seal(Some("audit")).unwrap().checkpoint.unwrap();
    let key = log.verifier_key("audit").unwrap();
    let report = log.verify_checkpoint_chain(&[key]).unwrap();
    assert_eq!(report.entries_uncovered, 0);
    log.close().unwrap();
    (hashes, checkpoint.note)
}

#[test]
fn both_write_the_same_entries_and_sign_the_same_note() {
    let portable = artifact("secure-log-sqlite.wasm");
    let wide = Artifact::load(&dist("wide/secure-log-sqlite.wasm")).unwrap();
    let (hashes, note) = run(&portable, "ed25519");
    assert_eq!(hashes.len(), 300);
    assert_eq!((&hashes, &note), (&run(&portable, "ed25519").0, &run(&portable, "ed25519").1));
    assert_eq!((hashes, note), run(&wide, "ed25519"));
    assert_eq!(run(&portable, "ecdsa-p256"), run(&wide, "ecdsa-p256"));
}

#[test]
fn wide_build_is_taken_where_there_is_one() {
    let portable = std::fs::read(dist("secure-log-sqlite.wasm")).unwrap();
    let wide = std::fs::read(dist("wide/secure-log-sqlite.wasm")).unwrap();
    assert!(Artifact::from_bytes("a", &portable, Some(&wide)).unwrap().is_wide());
    assert!(!Artifact::from_bytes("a", &portable, None).unwrap().is_wide());
    assert!(Artifact::load_fastest(&dist("secure-log-sqlite.wasm")).unwrap().is_wide());
    assert!(!Artifact::load(&dist("secure-log-sqlite.wasm")).unwrap().is_wide());
}
