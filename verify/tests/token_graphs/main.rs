//! Graphs that sign with the keys of a token in them, and everything that can be wrong with one.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod damage;
mod instances;
mod interop;
mod isolation;
mod oracle;
mod read_only;
mod refusals;
mod rotation;
mod survival;
#[path = "../common/token.rs"]
mod token;

use std::fmt::Debug;

use secure_log::signature::Verifier;
use secure_log::signer::{CheckpointSigner as _, KeyError};
use secure_log_verify::host::Keystore;
use token::{PIN, SO_PIN};

/// What is signed.
const MESSAGE: &[u8] = b"example.com/audit\n1234\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

/// The case of an error and its text, which tells no PIN.
fn said(error: &KeyError) -> (&'static str, String) {
    let (kind, text) = match error {
        KeyError::KeyNotFound(text) => ("key-not-found", text),
        KeyError::Denied(text) => ("denied", text),
        KeyError::Invalid(text) => ("invalid", text),
        KeyError::Unavailable(text) => ("unavailable", text),
        KeyError::Failed(text) => ("failed", text),
    };
    assert!(!text.contains(PIN) && !text.contains(SO_PIN) && !text.contains("wrong-PIN"), "a PIN: {text}");
    assert!(text.len() < 1_000 && !text.chars().any(char::is_control), "{text:?}");
    (kind, text.clone())
}

/// The outcome is an error of this case that says all of these.
#[track_caller]
fn refused<T: Debug>(outcome: Result<T, KeyError>, case: &str, says: &[&str]) {
    let error = outcome.expect_err("an error");
    let (kind, text) = said(&error);
    assert!(kind == case && says.iter().all(|part| text.contains(part)), "not {case} {says:?}: {error:?}");
}

/// The key signs, and the signature verifies in the core.
#[track_caller]
fn signs(keystore: &mut Keystore, identity: &str) {
    let signature = keystore.sign(identity, MESSAGE).unwrap();
    let key = keystore.public_key(identity).unwrap();
    Verifier::new(&key).unwrap().verify(MESSAGE, &signature).unwrap();
}

/// The key signs well, or there is an error; the component lives.
#[track_caller]
fn signs_or_says(keystore: &mut Keystore, identity: &str) -> Option<(&'static str, String)> {
    let outcome = keystore.sign(identity, MESSAGE);
    assert_eq!(keystore.died(), None);
    match outcome {
        Ok(signature) => {
            let key = keystore.public_key(identity).unwrap();
            Verifier::new(&key).unwrap().verify(MESSAGE, &signature).unwrap();
            None
        }
        Err(error) => Some(said(&error)),
    }
}
