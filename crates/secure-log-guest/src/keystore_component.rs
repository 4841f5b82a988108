//! Any Rust keystore as the component that exports `signer` and `envelope`.

use std::marker::PhantomData;

use secure_log::envelope::{Envelope, EnvelopeError};
use secure_log::signer::{CheckpointSigner, KeyError};
use zeroize::Zeroizing;

use crate::MakeKeystore;
use crate::keystore_world::exports::keys::keystore::{envelope as e, signer as s};

/// The exports of a keystore component, over the keystore in `K`'s slot.
pub struct KeystoreComponent<K>(PhantomData<K>);

impl<K: MakeKeystore> KeystoreComponent<K> {
    fn run<R, E: From<KeyError>, W: From<E>>(f: impl FnOnce(&mut K::Value) -> Result<R, E>) -> Result<R, W> {
        K::with(|slot| {
            slot.enter(|keystore| {
                let keystore = match keystore {
                    Some(keystore) => keystore,
                    None => keystore.insert(K::make()?),
                };
                f(keystore)
            })
        })
        .unwrap_or_else(|| {
            Err(KeyError::Unavailable("the keystore is in the middle of another call".into()).into())
        })
        .map_err(Into::into)
    }
}

impl<K: MakeKeystore<Value: CheckpointSigner>> s::Guest for KeystoreComponent<K> {
    fn get_key(identity: String) -> Result<s::KeyInfo, s::KeyError> {
        Self::run(|keystore| {
            let key = keystore.public_key(&identity)?;
            Ok::<_, KeyError>(s::KeyInfo { algorithm: key.algorithm.into(), public_key: key.spki_der })
        })
    }

    fn sign(identity: String, message: Vec<u8>) -> Result<Vec<u8>, s::KeyError> {
        Self::run(|keystore| keystore.sign(&identity, &message))
    }
}

impl<K: MakeKeystore<Value: Envelope>> e::Guest for KeystoreComponent<K> {
    fn wrap(name: String, key: Vec<u8>, context: Vec<u8>) -> Result<Vec<u8>, e::EnvelopeError> {
        let key = Zeroizing::new(key);
        Self::run(|keystore| keystore.wrap(&name, &key, &context))
    }

    fn unwrap(name: String, wrapped: Vec<u8>, context: Vec<u8>) -> Result<Vec<u8>, e::EnvelopeError> {
        Self::run(|keystore| {
            let key = keystore.unwrap(&name, &wrapped, &context)?;
            Ok::<_, EnvelopeError>(key.to_vec())
        })
    }

    fn destroy(name: String) -> Result<(), e::EnvelopeError> {
        Self::run(|keystore| keystore.destroy(&name))
    }
}
