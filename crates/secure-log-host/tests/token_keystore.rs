//! The keystore over a PKCS #11 library of this host.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

#[path = "common/tokens.rs"]
mod tokens;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use secure_log::envelope::{Envelope as _, EnvelopeError};
use secure_log::signature::Verifier;
use secure_log::signer::{CheckpointSigner, KeyError};
use secure_log_host::token::Module;
use secure_log_keystore::conformance::Keys;
use secure_log_pkcs11::Pkcs11Keystore;
use secure_log_pkcs11::token::{Curve, KeySpec};
use tokens::{counting, identity, keystore, pins, provisioned};

const ED25519: KeySpec = KeySpec::Ec(Curve::Ed25519);
const P256: KeySpec = KeySpec::Ec(Curve::P256);

fn open() -> (Pkcs11Keystore<Module>, Keys, ()) {
    static TOKEN: LazyLock<()> = LazyLock::new(|| {
        provisioned(
            "conform",
            &[("ed", ED25519), ("ec", P256), ("rsa", KeySpec::Rsa(2048)), ("ed2", ED25519)],
        );
    });
    LazyLock::force(&TOKEN);
    let present = ["ed", "ec", "rsa", "ed2"].map(|key| identity("conform", key)).to_vec();
    (keystore(pins()), Keys { present, missing: Some(identity("conform", "none")) }, ())
}

secure_log_keystore::keystore_conformance!(open);

#[test]
fn wrong_pin_is_asked_for_once_and_denied() {
    provisioned("wrong", &[("k", ED25519)]);
    let (wrong, asked) = counting(Some("9999-wrong"));
    let mut keystore = keystore(wrong);
    for _ in 0..3 {
        let refused = keystore.sign(&identity("wrong", "k"), b"m").unwrap_err();
        assert!(matches!(refused, KeyError::Denied(_)), "{refused:?}");
        assert!(!refused.to_string().contains("9999"), "{refused}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // Others are not locked out by it.
    tokens::keystore(pins()).sign(&identity("wrong", "k"), b"m").unwrap();
}

#[test]
fn without_a_pin_nothing_is_signed() {
    provisioned("no pin", &[("k", ED25519)]);
    let (none, asked) = counting(None);
    let refused = keystore(none).sign(&identity("no%20pin", "k"), b"m").unwrap_err();
    assert!(matches!(refused, KeyError::Denied(_)), "{refused:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_not_there_is_named() {
    provisioned("there", &[("k", ED25519)]);
    let mut keystore = keystore(pins());
    let refused = keystore.sign(&identity("nowhere", "k"), b"m").unwrap_err();
    assert!(matches!(&refused, KeyError::Unavailable(text) if text.contains("nowhere")), "{refused:?}");
    let refused = keystore.sign(&identity("there", "other"), b"m").unwrap_err();
    assert!(matches!(&refused, KeyError::KeyNotFound(text) if text.contains("there")), "{refused:?}");
    keystore.sign(&identity("there", "k"), b"m").unwrap();
}

#[test]
fn keystores_of_one_process_sign_side_by_side() {
    provisioned("threads", &[("ed", ED25519), ("ec", P256)]);
    let threads: Vec<_> = ["ed", "ec", "ed", "ec"]
        .into_iter()
        .map(|key| {
            std::thread::spawn(move || {
                let identity = identity("threads", key);
                let mut keystore = keystore(pins());
                let verifier = Verifier::new(&keystore.public_key(&identity).unwrap()).unwrap();
                for i in 0..200 {
                    let message = format!("{key} {i}");
                    let signature = keystore.sign(&identity, message.as_bytes()).unwrap();
                    verifier.verify(message.as_bytes(), &signature).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

mod envelope {
    use super::*;

    /// A token of its own: the rules destroy keys.
    fn open() -> (Pkcs11Keystore<Module>, Keys, ()) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let token = format!("envelope{}", COUNT.fetch_add(1, Ordering::Relaxed));
        provisioned(&token, &[("first", KeySpec::Aes), ("second", KeySpec::Aes), ("signs", ED25519)]);
        let present = vec![identity(&token, "first"), format!("pkcs11:token={token};id=%02")];
        // A key that signs is none that wraps.
        (keystore(pins()), Keys { present, missing: Some(identity(&token, "signs")) }, ())
    }

    secure_log_keystore::envelope_conformance!(open);
}

#[test]
fn a_key_that_one_keystore_destroys_is_gone_for_others() {
    provisioned("shared", &[("kek", KeySpec::Aes)]);
    let (mut one, mut other) = (keystore(pins()), keystore(pins()));
    let kek = identity("shared", "kek");
    let wrapped = one.wrap(&kek, b"a data key", b"context").unwrap();
    assert_eq!(**other.unwrap(&kek, &wrapped, b"context").unwrap(), *b"a data key");
    other.destroy(&kek).unwrap();
    let gone = one.unwrap(&kek, &wrapped, b"context").unwrap_err();
    assert!(matches!(gone, EnvelopeError::KeyNotFound(_)), "{gone:?}");
}

#[test]
fn nothing_is_unwrapped_with_a_wrong_pin_and_it_is_asked_for_once() {
    provisioned("wrong kek", &[("kek", KeySpec::Aes)]);
    let (wrong, asked) = counting(Some("9999-wrong"));
    let mut keystore = keystore(wrong);
    let kek = identity("wrong%20kek", "kek");
    for _ in 0..2 {
        for refused in [keystore.wrap(&kek, b"key", b"").map(drop), keystore.destroy(&kek)] {
            let Err(EnvelopeError::Denied(text)) = refused else { panic!("{refused:?}") };
            assert!(!text.contains("9999"), "{text}");
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
