//! What a PKCS #11 library of this host is asked, as OpenSC's pkcs11-spy writes it down.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

#[path = "common/tokens.rs"]
mod tokens;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use secure_log::signer::{CheckpointSigner as _, KeyError};
use secure_log_host::token::{Module, Pins, SharedPins};
use secure_log_pkcs11::Pkcs11Keystore;
use secure_log_pkcs11::token::{
    Curve, Hash, Key as _, KeySpec, Mechanism, Session as _, Slot as _, TokenError, Tokens as _, User,
};
use tokens::{PIN, STORAGE, identity, key, session, softhsm};

/// The calls are written by one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

static OUTPUT: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = STORAGE.path().join("calls");
    // SAFETY: as for SOFTHSM2_CONF: tests come here first, one at a time.
    unsafe {
        std::env::set_var("PKCS11SPY", softhsm());
        std::env::set_var("PKCS11SPY_OUTPUT", &output);
    }
    output
});

fn spied(pins: SharedPins) -> Module {
    let spy = format!("/usr/lib/{}-linux-gnu/pkcs11-spy.so", std::env::consts::ARCH);
    LazyLock::force(&OUTPUT);
    Module::load(spy.as_ref(), pins).expect("pkcs11-spy.so is in Debian's package opensc-pkcs11")
}

/// How often each of these functions was called by `what`.
fn calls<const N: usize>(functions: [&str; N], what: impl FnOnce()) -> [usize; N] {
    let before = fs::read_to_string(&*OUTPUT).unwrap_or_default().len();
    what();
    let after = fs::read_to_string(&*OUTPUT).unwrap();
    functions.map(|function| {
        after[before..].lines().filter(|line| line.ends_with(&format!(": {function}"))).count()
    })
}

#[test]
fn wrong_pin_reaches_the_token_once_whoever_tries() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let right = spied(tokens::pins());
    secure_log_host::token::provision(&right, "once", &[("k", KeySpec::Ec(Curve::Ed25519))]).unwrap();
    let asked = calls(["C_Login"], || {
        for _ in 0..3 {
            // Each an instance of its own, as after a restart of the component.
            let wrong = spied(Arc::new(Pins::user("9999-wrong")));
            let refused = Pkcs11Keystore::new(wrong.clone()).sign(&identity("once", "k"), b"m").unwrap_err();
            assert!(matches!(refused, KeyError::Denied(_)), "{refused:?}");
            let slot = wrong.find_token("once").unwrap().unwrap();
            let session = slot.open_session(false).unwrap();
            assert_eq!(session.login(User::Normal), Err(TokenError::PinIncorrect));
        }
    });
    assert_eq!(asked, [1]);
    let asked = calls(["C_Login", "C_Logout"], || {
        let mut keystore = Pkcs11Keystore::new(right.application());
        for _ in 0..10 {
            keystore.sign(&identity("once", "k"), b"m").unwrap();
        }
    });
    assert_eq!(asked, [1, 1]);
}

#[test]
fn key_of_the_wrong_type_is_found_out_without_the_token() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let module = spied(Arc::new(Pins::user(PIN).with_officer(tokens::SO_PIN)));
    secure_log_host::token::provision(&module, "type", &[("ec", KeySpec::Ec(Curve::P256))]).unwrap();
    let session = session(&module, "type", false);
    let key = key(&session, "ec");
    let [signed] = calls(["C_SignInit"], || {
        let pss = Mechanism::RsaPss { hash: Hash::Sha256, salt: None };
        assert_eq!(key.sign(pss, b"m"), Err(TokenError::KeyUnsuitable));
        assert_eq!(key.sign_init(Mechanism::Eddsa).unwrap_err(), TokenError::KeyUnsuitable);
    });
    assert_eq!(signed, 0);
}
