//! One log, signed by one keystore after another.

use std::time::Duration;

use secure_log_verify::host::types::{Checkpoint, Severity};
use secure_log_verify::host::{Artifact, Guest};
use secure_log_verify::launch::Launcher;
use secure_log_verify::store_path::StorePath;

use super::token::{Token, dist, identity, kinds};

/// Appends and signs in an instance of its own; gives the verifier key and the checkpoint.
fn signed(store: &StorePath, graph: &str, guest: Guest, key: &str) -> (String, Checkpoint) {
    let artifact = Artifact::load(&dist().join(graph)).unwrap();
    let launcher = Launcher { artifact, guest, host_lock: true, patience: Duration::from_secs(10) };
    let mut log = launcher.open(store).unwrap();
    for n in 0..10 {
        log.append("doors", "door.opened", Severity::Notice, "lobby", format!("{graph} {n}").as_bytes())
            .unwrap();
    }
    let segment = log.close_segment("doors").unwrap();
    let checkpoint = log.sign_segment(key, segment.segment_id).unwrap();
    let verifier = log.verifier_key(key).unwrap();
    log.finish().unwrap();
    (verifier, checkpoint)
}

#[test]
fn log_goes_from_software_keys_to_a_token_and_to_another_as_one_chain() {
    let tokens: Vec<Token> = kinds().iter().map(super::token::Kind::token).collect();
    if tokens.is_empty() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = StorePath::file(&dir.path().join("audit.db")).unwrap();
    let keys = tempfile::tempdir().unwrap();
    let name = keys.path().to_str().unwrap();
    let mut software = Guest { silent: true, ..Guest::default() };
    software.preopen(keys.path(), name);
    software.set_env("SECURE_LOG_KEYSTORE_DIR", name);
    software.set_env("SECURE_LOG_KEYSTORE_GENERATE", "1");

    let mut chain = vec![signed(&store, "secure-log-sqlite.wasm", software.clone(), "audit")];
    for (token, key) in tokens.iter().zip(["ecdsa-p256", "ed25519"]) {
        chain.push(signed(&store, token.kind.graph, token.guest(), &identity(key)));
    }
    // And back, to show that a key's turn may come again.
    chain.push(signed(&store, "secure-log-sqlite.wasm", software.clone(), "audit"));

    let artifact = Artifact::load(&dist().join("secure-log-sqlite.wasm")).unwrap();
    let guest = Guest { silent: true, ..Guest::default() };
    let launcher = Launcher { artifact, guest, host_lock: true, patience: Duration::from_secs(10) };
    let mut log = launcher.open(&store).unwrap();
    let mut all: Vec<String> = chain.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(all.pop().as_ref(), all.first(), "the software key is the same");
    let report = log.verify_checkpoint_chain(&all).unwrap();
    assert_eq!(report.checkpoints, chain.len() as u64);
    assert_eq!(report.signatures_verified, chain.len() as u64);
    assert_eq!(report.entries_covered, 10 * chain.len() as u64);
    assert_eq!(report.latest.note, chain.last().unwrap().1.note);
    for (_, checkpoint) in &chain {
        log.check_against(&checkpoint.note).unwrap();
    }
    // With a key less there is a checkpoint that nobody who is trusted signed.
    for without in 0..all.len() {
        let one = std::slice::from_ref(&all[without]);
        let mut others = all.clone();
        others.remove(without);
        for trusted in [one, &others[..]] {
            let refused = log.verify_checkpoint_chain(trusted).unwrap_err();
            assert_eq!(refused.kind(), "denied", "{refused}");
            assert!(refused.to_string().contains("not among the trusted keys"), "{refused}");
        }
    }
    log.finish().unwrap();
}
