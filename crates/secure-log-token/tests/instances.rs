//! Several instances at one token: the lease, and what the others did.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{Pins, STORAGE_VARIABLE, Token, alone, assert_usable, key, softhsm, storage};
use secure_log_pkcs11::token::{
    Admin as _, Curve, KeySpec, Mechanism, Session as _, Slot as _, TokenError, Tokens as _, User,
};
use secure_log_token::{ChangeLock as _, LeaseLock, Module, NoLock};

const P256: KeySpec = KeySpec::Ec(Curve::P256);

fn lease(name: &str) -> LeaseLock {
    LeaseLock::new(storage().join(name))
}

#[test]
fn while_one_changes_the_token_another_does_not() {
    let token = Token::with("leased", softhsm, lease("one").with_wait(Duration::ZERO));
    let session = token.session();
    let other = lease("one").acquire().unwrap();
    let locked = Some(TokenError::Locked);
    assert_eq!(token.module.generate_key(&session, P256, "key", &[1]).err(), locked);
    assert_eq!(token.module.init_token("new").err(), locked);
    other.check().unwrap();
    drop(other);
    token.module.generate_key(&session, P256, "key", &[1]).unwrap();
    let other = lease("one").acquire().unwrap();
    // Signing is no change.
    assert_usable(&key(&session, "key"), Mechanism::EcdsaPrehashed);
    drop(other);
}

#[test]
fn one_that_died_is_waited_out() {
    let died = lease("died").acquire().unwrap();
    let begun = Instant::now();
    assert!(matches!(lease("died").with_wait(Duration::from_millis(100)).acquire(), Err(TokenError::Locked)));
    let next = lease("died").acquire().unwrap();
    assert!((Duration::from_secs(3)..Duration::from_secs(6)).contains(&begun.elapsed()));
    assert_eq!(died.check(), Err(TokenError::Locked));
    next.check().unwrap();
}

#[test]
fn a_lease_that_cannot_be_had_says_why() {
    let lock = LeaseLock::new(storage().join("no such directory/token"));
    match lock.acquire().map(|_| ()) {
        Err(TokenError::Unusable(text)) => assert!(text.contains("no such directory"), "{text}"),
        other => panic!("{other:?}"),
    }
}

/// Made by a process of its own that shares our storage.
fn elsewhere(label: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "makes_a_token_elsewhere"])
        .env(STORAGE_VARIABLE, storage())
        .env("SECURE_LOG_TEST_LABEL", label)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "a part of other tests, in a process of its own"]
fn makes_a_token_elsewhere() {
    let Ok(label) = std::env::var("SECURE_LOG_TEST_LABEL") else { return };
    let token = Token::with(&label, softhsm, lease("elsewhere"));
    token.module.generate_key(&token.session(), P256, "key", &[1]).unwrap();
}

#[test]
fn a_token_that_another_instance_made_is_there() {
    let _alone = alone();
    // SAFETY: SoftHSM2's.
    let make = || unsafe { Module::new(softhsm, Pins::new(), lease("elsewhere")) };
    let (module, another) = (make().with_sole_use(), make());
    module.slots().unwrap();
    another.slots().unwrap();
    elsewhere("theirs");
    // SoftHSM2 reads its storage when it starts.
    assert!(another.find_token("theirs").unwrap().is_none());
    assert_eq!(module.init_token("theirs").err(), Some(TokenError::Exists));

    let slot = module.find_token("theirs").unwrap().unwrap();
    let session = slot.open_session(true).unwrap();
    session.login(User::Normal).unwrap();
    assert_usable(&key(&session, "key"), Mechanism::EcdsaPrehashed);
    // Not under an open session's feet.
    module.init_token("ours").unwrap();
    assert_usable(&key(&session, "key"), Mechanism::EcdsaPrehashed);
}

#[test]
fn keys_outlive_the_process_that_made_them() {
    let _alone = alone();
    elsewhere("earlier");
    // SAFETY: SoftHSM2's.
    let module = unsafe { Module::new(softhsm, Pins::new(), NoLock) }.with_sole_use();
    module.slots().unwrap();
    assert_eq!(module.init_token("earlier").err(), Some(TokenError::Exists));
    let session = module.find_token("earlier").unwrap().unwrap().open_session(false).unwrap();
    session.login(User::Normal).unwrap();
    assert_usable(&key(&session, "key"), Mechanism::EcdsaPrehashed);
}
