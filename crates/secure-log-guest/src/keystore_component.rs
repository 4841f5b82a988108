//! Any Rust keystore as the component that exports `signer` and `envelope`.

use std::marker::PhantomData;

use secure_log::envelope::{Envelope, EnvelopeError};
use secure_log::signer::{CheckpointSigner, KeyError, PublicKey};
use zeroize::Zeroizing;

use crate::MakeKeystore;
use crate::keystore_world::exports::keys::keystore::{envelope as e, signer as s};

/// A handle of the keystore in `K`'s slot, which is made on first use.
pub struct Keys<K>(PhantomData<fn() -> K>);

impl<K: MakeKeystore> Keys<K> {
    /// A handle.
    #[allow(clippy::new_without_default, reason = "for macros")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    fn run<R, E: From<KeyError>>(f: impl FnOnce(&mut K::Value) -> Result<R, E>) -> Result<R, E> {
        let done = K::with(|slot| {
            slot.enter(|keystore| {
                let keystore = match keystore {
                    Some(keystore) => keystore,
                    None => keystore.insert(K::make()?),
                };
                f(keystore)
            })
        });
        done.unwrap_or_else(|| {
            Err(KeyError::Unavailable("the keystore is in the middle of another call".into()).into())
        })
    }
}

impl<K: MakeKeystore<Value: CheckpointSigner>> CheckpointSigner for Keys<K> {
    fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError> {
        Self::run(|keystore| keystore.public_key(identity))
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Self::run(|keystore| keystore.sign(identity, message))
    }
}

impl<K: MakeKeystore<Value: Envelope>> Envelope for Keys<K> {
    fn wrap(&mut self, name: &str, key: &[u8], context: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        Self::run(|keystore| keystore.wrap(name, key, context))
    }

    fn unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        Self::run(|keystore| keystore.unwrap(name, wrapped, context))
    }

    fn destroy(&mut self, name: &str) -> Result<(), EnvelopeError> {
        Self::run(|keystore| keystore.destroy(name))
    }
}

/// The exports of a keystore component, over the keystore in `K`'s slot.
pub struct KeystoreComponent<K>(PhantomData<K>);

impl<K: MakeKeystore<Value: CheckpointSigner>> s::Guest for KeystoreComponent<K> {
    fn get_key(identity: String) -> Result<s::KeyInfo, s::KeyError> {
        let key = Keys::<K>::new().public_key(&identity)?;
        Ok(s::KeyInfo { algorithm: key.algorithm.into(), public_key: key.spki_der })
    }

    fn sign(identity: String, message: Vec<u8>) -> Result<Vec<u8>, s::KeyError> {
        Ok(Keys::<K>::new().sign(&identity, &message)?)
    }
}

impl<K: MakeKeystore<Value: Envelope>> e::Guest for KeystoreComponent<K> {
    fn wrap(name: String, key: Vec<u8>, context: Vec<u8>) -> Result<Vec<u8>, e::EnvelopeError> {
        Ok(Keys::<K>::new().wrap(&name, &Zeroizing::new(key), &context)?)
    }

    fn unwrap(name: String, wrapped: Vec<u8>, context: Vec<u8>) -> Result<Vec<u8>, e::EnvelopeError> {
        Ok(Keys::<K>::new().unwrap(&name, &wrapped, &context)?.to_vec())
    }

    fn destroy(name: String) -> Result<(), e::EnvelopeError> {
        Ok(Keys::<K>::new().destroy(&name)?)
    }
}
