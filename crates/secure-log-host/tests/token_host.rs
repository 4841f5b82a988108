//! A graph that signs with a token of this host.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod common;
#[path = "common/tokens.rs"]
mod tokens;

use std::sync::Arc;

use common::{dist, guest, site};
use secure_log_host::token::{Module, Pins};
use secure_log_host::types::Severity;
use secure_log_host::{Artifact, Error, Failure, Guest, Hosted};
use secure_log_pkcs11::token::{Curve, KeySpec};
use tokens::{identity, provisioned};

const STACK: &str = "secure-log-sqlite-pkcs11-host.wasm";
const KEYS: [(&str, KeySpec); 3] =
    [("ed", KeySpec::Ec(Curve::Ed25519)), ("ec", KeySpec::Ec(Curve::P256)), ("rsa", KeySpec::Rsa(2048))];

fn with(token: Module) -> Guest {
    Guest { token: Some(token), ..guest() }
}

fn append(log: &mut Hosted) {
    log.append("doors", "door.opened", Severity::Informational, "lobby", b"{}").unwrap();
}

#[test]
fn checkpoints_are_signed_on_the_token_and_verify() {
    let module = provisioned("graph", &KEYS);
    let artifact = Artifact::load(&dist(STACK)).unwrap();
    assert!(artifact.imports_token());
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path(), &with(module));
    let mut trusted = Vec::new();
    {
        let mut log = site.open(&artifact).unwrap();
        for (key, _) in KEYS {
            append(&mut log);
            let sealed = log.seal(Some(&identity("graph", key))).unwrap();
            assert!(sealed.checkpoint.is_some());
            trusted.push(log.verifier_key(&identity("graph", key)).unwrap());
        }
        log.close().unwrap();
    }
    // Another instance of the same process goes on.
    let mut log = site.open(&artifact).unwrap();
    append(&mut log);
    log.seal(Some(&identity("graph", "ed"))).unwrap();
    let report = log.verify_checkpoint_chain(&trusted).unwrap();
    assert_eq!(report.checkpoints, 4);
    // Without the other keys the chain is not trusted.
    log.verify_checkpoint_chain(&trusted[..1]).unwrap_err();
}

#[test]
fn instances_of_one_process_sign_side_by_side() {
    let module = provisioned("beside", &KEYS);
    let artifact = Artifact::load(&dist(STACK)).unwrap();
    let threads: Vec<_> = KEYS
        .into_iter()
        .map(|(key, _)| {
            let (module, artifact) = (module.clone(), artifact.clone());
            std::thread::spawn(move || {
                let mut log = artifact.start(&with(module)).unwrap();
                log.open(":memory:").unwrap();
                for _ in 0..20 {
                    append(&mut log);
                    assert!(log.seal(Some(&identity("beside", key))).unwrap().checkpoint.is_some());
                }
                let trusted = log.verifier_key(&identity("beside", key)).unwrap();
                log.verify_checkpoint_chain(&[trusted]).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn what_is_wrong_with_the_token_is_said_and_the_log_goes_on() {
    let module = provisioned("wrong", &KEYS);
    let artifact = Artifact::load(&dist(STACK)).unwrap();
    for (pins, says) in [(Pins::user("9999-wrong"), "refuses the PIN"), (Pins::none(), "no PIN")] {
        let mut log = artifact.start(&with(module.with_pins(Arc::new(pins)))).unwrap();
        log.open(":memory:").unwrap();
        append(&mut log);
        let refused = log.seal(Some(&identity("wrong", "ed"))).unwrap_err();
        assert!(!refused.is_fatal() && refused.kind() == "denied", "{refused}");
        assert!(refused.to_string().contains(says), "{refused}");
        append(&mut log);
    }
    let mut log = artifact.start(&with(module)).unwrap();
    log.open(":memory:").unwrap();
    append(&mut log);
    for identity in [identity("wrong", "none"), identity("nowhere", "ed")] {
        let refused = log.seal(Some(&identity)).unwrap_err();
        assert!(matches!(refused, Failure::Log(_)), "{refused}");
    }
    // What was closed is signed as soon as there is a key.
    assert!(log.seal(Some(&identity("wrong", "ed"))).unwrap().checkpoint.is_some());
}

#[test]
fn host_without_a_token_says_what_to_do() {
    let artifact = Artifact::load(&dist(STACK)).unwrap();
    let refused = artifact.start(&guest()).err().unwrap();
    assert!(matches!(refused, Error::NoToken { .. }), "{refused}");
    assert!(refused.to_string().contains("Guest::token") && refused.to_string().contains(STACK), "{refused}");
    // Artifacts that need none ignore one.
    let module = provisioned("unused", &[]);
    Artifact::load(&dist("secure-log-sqlite.wasm")).unwrap().start(&with(module)).unwrap();
}
