//! Storage that is missing or damaged, as SoftHSM2 finds it when it starts: in a process of its own each time.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Pins, STORAGE_VARIABLE, Token, alone, key, keys, softhsm, storage};
use secure_log_pkcs11::token::{
    Admin as _, Curve, Key as _, KeySpec, Mechanism, Session as _, Slot as _, TokenError, Tokens as _, User,
};
use secure_log_token::softhsm::{stored_tokens, token_directory};
use secure_log_token::{Module, NoLock, TokenSession, config_file};

const EXPECTED: &str = "SECURE_LOG_TEST_EXPECTED";
const ECDSA: Mechanism = Mechanism::EcdsaPrehashed;

#[test]
#[ignore = "a part of other tests, in a process of its own"]
fn finds() {
    let Ok(expected) = std::env::var(EXPECTED) else { return };
    let _alone = alone();
    // SAFETY: SoftHSM2's.
    let module = unsafe { Module::new(softhsm, Pins::new(), NoLock) }
        .with_check(|| token_directory(&config()).map(drop))
        .with_stored(|| stored_tokens(&token_directory(&config())?));
    let session = || -> TokenSession {
        let slot = module.find_token("damaged").unwrap().unwrap();
        let session = slot.open_session(true).unwrap();
        session.login(User::Normal).unwrap();
        session
    };
    let other_key_signs = |session: &TokenSession| key(session, "other").sign(ECDSA, &[0; 32]).unwrap();
    match expected.as_str() {
        "whole" => {
            let session = session();
            key(&session, "key").sign(ECDSA, &[0; 32]).unwrap();
            assert!(module.find_token("no such").unwrap().is_none());
        }
        "no directory" => {
            for _ in 0..2 {
                assert_unusable(module.slots(), "tokens: ");
                assert_unusable(module.init_token("new"), "tokens: ");
            }
        }
        "damaged token" => {
            assert_unusable(module.find_token("damaged"), "of 1 tokens in the storage only 0 can be read");
            assert_unusable(module.init_token("damaged"), "can be read");
        }
        "damaged private key" => {
            let session = session();
            for key in keys(&session, "key") {
                assert_unusable(key.sign(ECDSA, &[0; 32]), "the key is not whole");
            }
            other_key_signs(&session);
        }
        "damaged public key" => {
            let session = session();
            assert_eq!(key(&session, "key").public_key().err(), Some(TokenError::KeyGone));
            other_key_signs(&session);
        }
        other => panic!("{other}"),
    }
}

fn config() -> PathBuf {
    storage().join("softhsm2.conf")
}

fn assert_unusable<T>(result: Result<T, TokenError>, part: &str) {
    match result.map(|_| ()) {
        Err(TokenError::Unusable(text)) => assert!(text.contains(part), "{text}"),
        other => panic!("{other:?}"),
    }
}

fn expect(expected: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "finds"])
        .env(STORAGE_VARIABLE, storage())
        .env(EXPECTED, expected)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{expected}: {said}");
}

/// The objects in a directory and their contents.
fn objects(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == "object"))
        .map(|p| (p.clone(), fs::read(p).unwrap()))
        .collect()
}

#[test]
fn each_damage_is_an_error_of_its_own() {
    let token = Token::new("damaged");
    let session = token.session();
    let tokens = storage().join("tokens");
    let dir = fs::read_dir(&tokens).unwrap().next().unwrap().unwrap().path();
    token.module.generate_key(&session, KeySpec::Ec(Curve::P256), "other", &[1]).unwrap();
    let before = objects(&dir);
    token.module.generate_key(&session, KeySpec::Ec(Curve::P256), "key", &[2]).unwrap();
    expect("whole");

    let is_new = |path: &Path| !before.iter().any(|(old, _)| old == path);
    for (path, whole) in objects(&dir) {
        let token_object = path.file_name().unwrap() == "token.object";
        if !token_object && !is_new(&path) {
            continue;
        }
        // A private key's label is stored encrypted.
        let private = !whole.windows(3).any(|part| part == b"key");
        let expected = match (token_object, private) {
            (true, _) => "damaged token",
            (false, true) => "damaged private key",
            (false, false) => "damaged public key",
        };
        for len in [0, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..len]).unwrap();
            expect(expected);
        }
        fs::write(&path, &whole).unwrap();
        expect("whole");
    }

    fs::rename(&tokens, storage().join("elsewhere")).unwrap();
    expect("no directory");
    fs::rename(storage().join("elsewhere"), &tokens).unwrap();
    expect("whole");
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    assert_unusable(
        config_file("SECURE_LOG_TEST_NO_SUCH_VARIABLE"),
        "SECURE_LOG_TEST_NO_SUCH_VARIABLE is not set",
    );
    // Cargo sets this one to a directory.
    assert_unusable(config_file("CARGO_MANIFEST_DIR"), "is a directory");
}
