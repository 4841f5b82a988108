//! A keystore component by itself: what the core of a graph calls, without a log.

use std::fmt;
use std::path::{Path, PathBuf};

use secure_log::envelope::{Envelope, EnvelopeError};
use secure_log::signer::{Algorithm, CheckpointSigner, KeyError, PublicKey};
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker};
use zeroize::Zeroizing;

use crate::bindings::keystore::KeystoreProvider;
use crate::bindings::keystore::exports::keys::keystore::{envelope, signer};
use crate::cache;
use crate::engine::{Checks, Clocked, epochs};
use crate::error::{Error, Result};
use crate::guest::{Guest, State};
use crate::token;
use crate::token::bindings::types as token_types;

/// A compiled component that exports `keys:keystore/{signer, envelope}`: software, or a token with the keystore over it.
#[derive(Clone)]
pub struct KeystoreArtifact {
    clocked: Clocked,
    component: Component,
    path: PathBuf,
}

impl KeystoreArtifact {
    /// Compiles the component at `path`, or takes it from the cache of compiled artifacts.
    pub fn load(path: &Path) -> Result<Self> {
        let wasm = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let clocked = Clocked::shared(Checks::default())?;
        let component = cache::load(&clocked.engine, &path.to_string_lossy(), &wasm)?;
        Ok(Self { clocked, component, path: path.to_owned() })
    }

    /// Where it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it signs with keys on a token of this host: [`Guest::token`] then has to be there.
    pub fn imports_token(&self) -> bool {
        let ty = self.component.component_type();
        ty.imports(&self.clocked.engine).any(|(name, _)| name.starts_with("pkcs11:token/tokens@"))
    }

    /// Starts an instance.
    pub fn start(&self, guest: &Guest) -> Result<Keystore> {
        let name = || self.path.to_string_lossy().into_owned();
        if guest.token.is_none() && self.imports_token() {
            return Err(Error::NoToken { name: name() });
        }
        let mut store = Store::new(&self.clocked.engine, State::new(guest, None)?);
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(epochs(None));
        let started = || -> wasmtime::Result<Keystore> {
            let mut linker = Linker::<State>::new(&self.clocked.engine);
            wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
            token_types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
            if self.imports_token() {
                token::import::add_to_linker(&mut linker)?;
            }
            let world = KeystoreProvider::instantiate(&mut store, &self.component, &linker)?;
            Ok(Keystore { store, world, died: None })
        };
        started().map_err(|e| Error::Instantiate { name: name(), reason: format!("{e:#}") })
    }
}

impl fmt::Debug for KeystoreArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeystoreArtifact").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A running keystore component. When it dies, [`died`](Self::died) says of what, and every call fails: start another.
pub struct Keystore {
    store: Store<State>,
    world: KeystoreProvider,
    died: Option<String>,
}

impl Keystore {
    /// What it died of, if it did.
    pub fn died(&self) -> Option<&str> {
        self.died.as_deref()
    }

    /// The answer of a call; [`KeyError::Failed`] if the component is dead, or died of it.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&KeystoreProvider, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> std::result::Result<T, KeyError> {
        if let Some(reason) = &self.died {
            return Err(KeyError::Failed(reason.clone()));
        }
        call(&self.world, &mut self.store).map_err(|trap| {
            let reason = format!("the keystore component died: {}", trap.root_cause());
            self.died = Some(reason.clone());
            KeyError::Failed(reason)
        })
    }
}

impl CheckpointSigner for Keystore {
    fn public_key(&mut self, identity: &str) -> std::result::Result<PublicKey, KeyError> {
        let key = self
            .call(|world, store| world.keys_keystore_signer().call_get_key(store, identity))?
            .map_err(error)?;
        let algorithm = match key.algorithm {
            signer::Algorithm::Ed25519 => Algorithm::Ed25519,
            signer::Algorithm::EcdsaP256 => Algorithm::EcdsaP256,
            signer::Algorithm::RsaPssSha256 => Algorithm::RsaPssSha256,
        };
        Ok(PublicKey { algorithm, spki_der: key.public_key })
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> std::result::Result<Vec<u8>, KeyError> {
        self.call(|world, store| world.keys_keystore_signer().call_sign(store, identity, message))?
            .map_err(error)
    }
}

impl Envelope for Keystore {
    fn wrap(
        &mut self,
        name: &str,
        key: &[u8],
        context: &[u8],
    ) -> std::result::Result<Vec<u8>, EnvelopeError> {
        self.call(|world, store| world.keys_keystore_envelope().call_wrap(store, name, key, context))?
            .map_err(envelope_error)
    }

    fn unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> std::result::Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        self.call(|world, store| world.keys_keystore_envelope().call_unwrap(store, name, wrapped, context))?
            .map(Zeroizing::new)
            .map_err(envelope_error)
    }

    fn destroy(&mut self, name: &str) -> std::result::Result<(), EnvelopeError> {
        self.call(|world, store| world.keys_keystore_envelope().call_destroy(store, name))?
            .map_err(envelope_error)
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore").field("died", &self.died).finish_non_exhaustive()
    }
}

fn error(error: signer::KeyError) -> KeyError {
    match error {
        signer::KeyError::KeyNotFound(text) => KeyError::KeyNotFound(text),
        signer::KeyError::Denied(text) => KeyError::Denied(text),
        signer::KeyError::Invalid(text) => KeyError::Invalid(text),
        signer::KeyError::Unavailable(text) => KeyError::Unavailable(text),
        signer::KeyError::Failed(text) => KeyError::Failed(text),
    }
}

fn envelope_error(error: envelope::EnvelopeError) -> EnvelopeError {
    match error {
        envelope::EnvelopeError::KeyNotFound(text) => EnvelopeError::KeyNotFound(text),
        envelope::EnvelopeError::WrongKey(text) => EnvelopeError::WrongKey(text),
        envelope::EnvelopeError::Denied(text) => EnvelopeError::Denied(text),
        envelope::EnvelopeError::Invalid(text) => EnvelopeError::Invalid(text),
        envelope::EnvelopeError::Unavailable(text) => EnvelopeError::Unavailable(text),
        envelope::EnvelopeError::Failed(text) => EnvelopeError::Failed(text),
    }
}
