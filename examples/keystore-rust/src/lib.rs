//! A keystore for secure-log: world `keystore-provider` of wit/worlds.wit. Its keys are Ed25519 seeds that the host gives
//! in `SECURE_LOG_SEEDS`, as `name=seed`, 64 hexadecimal digits, with `;` between keys.

use std::sync::OnceLock;

use ed25519_dalek::pkcs8::EncodePublicKey;
use ed25519_dalek::{Signer, SigningKey};

wit_bindgen::generate!({ path: "../../wit", world: "keystore-provider" });

use exports::keys::keystore::envelope::{EnvelopeError, Guest as Envelope};
use exports::keys::keystore::signer::{Algorithm, Guest as Signing, KeyError, KeyInfo};

const VARIABLE: &str = "SECURE_LOG_SEEDS";
const MAX_NAME: usize = 255;

struct Keys(Vec<(String, SigningKey)>);

impl Keys {
    /// What a variable holds, or what is wrong with it. Nothing of the text is repeated: it holds seeds.
    fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<(String, SigningKey)> = Vec::new();
        for (number, part) in (1..).zip(text.split(';')) {
            // A name may hold `=`, a seed does not.
            let (name, seed) = part
                .rsplit_once('=')
                .and_then(|(name, seed)| Some((name, SigningKey::from_bytes(&seed_of(seed)?))))
                .ok_or_else(|| {
                    format!("{VARIABLE}: key {number} is not name=seed, with a seed of 64 hexadecimal digits")
                })?;
            if name.is_empty() || name.len() > MAX_NAME {
                return Err(format!(
                    "{VARIABLE}: the name of key {number} has {} bytes; 1 to {MAX_NAME}",
                    name.len()
                ));
            }
            if keys.iter().any(|(other, _)| other == name) {
                return Err(format!("{VARIABLE}: key {number} has the name of one before it"));
            }
            keys.push((name.to_owned(), seed));
        }
        Ok(Self(keys))
    }

    /// The environment of an instance does not change, so it is read once.
    fn get() -> Result<&'static Self, KeyError> {
        static KEYS: OnceLock<Result<Keys, String>> = OnceLock::new();
        KEYS.get_or_init(|| match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => Self::parse(&text),
            _ => {
                Err(format!("{VARIABLE} is not set: give it name=seed, with a seed of 64 hexadecimal digits"))
            }
        })
        .as_ref()
        .map_err(|reason| KeyError::Invalid(reason.clone()))
    }

    fn find(name: &str) -> Result<&'static SigningKey, KeyError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(KeyError::Invalid(format!(
                "the key's name has {} bytes; 1 to {MAX_NAME}",
                name.len()
            )));
        }
        let keys = Self::get()?;
        keys.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, key)| key)
            .ok_or_else(|| KeyError::KeyNotFound(format!("{VARIABLE} holds no key {name:?}")))
    }
}

fn seed_of(hex: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let mut seed = [0; 32];
    if pairs.len() != seed.len() {
        return None;
    }
    for (byte, [high, low]) in seed.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(seed)
}

struct Keystore;

impl Signing for Keystore {
    fn get_key(identity: String) -> Result<KeyInfo, KeyError> {
        let key = Keys::find(&identity)?.verifying_key();
        let public_key =
            key.to_public_key_der().map_err(|error| KeyError::Failed(error.to_string()))?.into_vec();
        Ok(KeyInfo { algorithm: Algorithm::Ed25519, public_key })
    }

    fn sign(identity: String, message: Vec<u8>) -> Result<Vec<u8>, KeyError> {
        let signature =
            Keys::find(&identity)?.try_sign(&message).map_err(|error| KeyError::Failed(error.to_string()))?;
        Ok(signature.to_vec())
    }
}

/// Sealed streams need a keystore that wraps.
fn only_signs<T>() -> Result<T, EnvelopeError> {
    Err(EnvelopeError::Denied(
        "this keystore only signs: for sealed streams plug in one that wraps keys".to_owned(),
    ))
}

impl Envelope for Keystore {
    fn wrap(_: String, _: Vec<u8>, _: Vec<u8>) -> Result<Vec<u8>, EnvelopeError> {
        only_signs()
    }

    fn unwrap(_: String, _: Vec<u8>, _: Vec<u8>) -> Result<Vec<u8>, EnvelopeError> {
        only_signs()
    }

    fn destroy(_: String) -> Result<(), EnvelopeError> {
        only_signs()
    }
}

export!(Keystore);
