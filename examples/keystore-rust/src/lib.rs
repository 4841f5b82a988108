//! One Ed25519 key, whose seed is 64 hexadecimal digits in the variable `MY_SEED`. It signs and does not seal.

use ed25519_dalek::pkcs8::EncodePublicKey;
use ed25519_dalek::{Signer, SigningKey};

wit_bindgen::generate!({ path: "../../wit", world: "secure-log:log/keystore-provider", generate_all });

use exports::keys::keystore::{envelope, signer};
use signer::KeyError;

/// The one identity that there is.
const IDENTITY: &str = "mine";

struct Keystore;
export!(Keystore);

fn key(identity: &str) -> Result<SigningKey, KeyError> {
    if identity != IDENTITY {
        return Err(KeyError::KeyNotFound(format!("{identity:?}: this keystore has one key, {IDENTITY:?}")));
    }
    // What is wrong with the seed is said without the seed.
    let text = std::env::var("MY_SEED").map_err(|_| KeyError::Invalid("MY_SEED is not set".into()))?;
    let wrong = || KeyError::Invalid("MY_SEED is not 64 hexadecimal digits".into());
    let digits: Vec<u8> = text.trim().chars().map_while(|c| c.to_digit(16)).map(|d| d as u8).collect();
    let seed: Vec<u8> = digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect();
    if digits.len() != text.trim().len() {
        return Err(wrong());
    }
    Ok(SigningKey::from_bytes(&seed.try_into().map_err(|_| wrong())?))
}

impl signer::Guest for Keystore {
    fn get_key(identity: String) -> Result<signer::KeyInfo, KeyError> {
        let der = key(&identity)?.verifying_key().to_public_key_der();
        let der = der.map_err(|e| KeyError::Failed(e.to_string()))?;
        Ok(signer::KeyInfo { algorithm: signer::Algorithm::Ed25519, public_key: der.into_vec() })
    }

    fn sign(identity: String, message: Vec<u8>) -> Result<Vec<u8>, KeyError> {
        Ok(key(&identity)?.sign(&message).to_vec())
    }
}

/// Streams that are sealed cannot be created over this keystore; public ones do not ask.
fn signs_only<T>() -> Result<T, envelope::EnvelopeError> {
    Err(envelope::EnvelopeError::Denied("this keystore signs and does not seal".into()))
}

impl envelope::Guest for Keystore {
    fn wrap(_: String, _: Vec<u8>, _: Vec<u8>) -> Result<Vec<u8>, envelope::EnvelopeError> {
        signs_only()
    }

    fn unwrap(_: String, _: Vec<u8>, _: Vec<u8>) -> Result<Vec<u8>, envelope::EnvelopeError> {
        signs_only()
    }

    fn destroy(_: String) -> Result<(), envelope::EnvelopeError> {
        signs_only()
    }
}
