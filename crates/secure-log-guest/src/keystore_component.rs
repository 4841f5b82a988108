//! Any Rust signer as the component that exports `signer`.

use std::marker::PhantomData;

use secure_log::signer::{CheckpointSigner, KeyError};

use crate::MakeKeystore;
use crate::keystore_world::exports::keys::keystore::signer as s;

/// The exports of a keystore component, over the keystore in `K`'s slot.
pub struct KeystoreComponent<K>(PhantomData<K>);

impl<K: MakeKeystore<Value: CheckpointSigner>> KeystoreComponent<K> {
    fn run<R>(f: impl FnOnce(&mut K::Value) -> Result<R, KeyError>) -> Result<R, s::KeyError> {
        K::with(|slot| {
            slot.enter(|keystore| {
                let keystore = match keystore {
                    Some(keystore) => keystore,
                    None => keystore.insert(K::make()?),
                };
                f(keystore)
            })
        })
        .unwrap_or_else(|| Err(KeyError::Unavailable("the keystore is in the middle of another call".into())))
        .map_err(Into::into)
    }
}

impl<K: MakeKeystore<Value: CheckpointSigner>> s::Guest for KeystoreComponent<K> {
    fn get_key(identity: String) -> Result<s::KeyInfo, s::KeyError> {
        Self::run(|keystore| {
            let key = keystore.public_key(&identity)?;
            Ok(s::KeyInfo { algorithm: key.algorithm.into(), public_key: key.spki_der })
        })
    }

    fn sign(identity: String, message: Vec<u8>) -> Result<Vec<u8>, s::KeyError> {
        Self::run(|keystore| keystore.sign(&identity, &message))
    }
}
