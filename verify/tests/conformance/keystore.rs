//! The software keystore through its component.

use std::sync::LazyLock;

use secure_log::signer::{Algorithm, CheckpointSigner, KeyError, PublicKey};
use secure_log_keystore::conformance::Keys;
use tempfile::TempDir;
use wasmtime::Store;

use super::{Host, Provider};

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "keystore-provider" });
}
use bindings::exports::keys::keystore::signer;

static SOFTWARE: LazyLock<Provider> = LazyLock::new(|| Provider::load("keystore-software.wasm"));

struct Component {
    store: Store<Host>,
    world: bindings::KeystoreProvider,
}

fn error(error: signer::KeyError) -> KeyError {
    match error {
        signer::KeyError::KeyNotFound(s) => KeyError::KeyNotFound(s),
        signer::KeyError::Denied(s) => KeyError::Denied(s),
        signer::KeyError::Invalid(s) => KeyError::Invalid(s),
        signer::KeyError::Unavailable(s) => KeyError::Unavailable(s),
        signer::KeyError::Failed(s) => KeyError::Failed(s),
    }
}

impl CheckpointSigner for Component {
    fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError> {
        let calls = self.world.keys_keystore_signer();
        let key = calls.call_get_key(&mut self.store, identity).expect("no trap").map_err(error)?;
        let algorithm = match key.algorithm {
            signer::Algorithm::Ed25519 => Algorithm::Ed25519,
            signer::Algorithm::EcdsaP256 => Algorithm::EcdsaP256,
            signer::Algorithm::RsaPssSha256 => Algorithm::RsaPssSha256,
        };
        Ok(PublicKey { algorithm, spki_der: key.public_key })
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let calls = self.world.keys_keystore_signer();
        calls.call_sign(&mut self.store, identity, message).expect("no trap").map_err(error)
    }
}

fn instance(directory: &TempDir, more: &[(&str, &str)]) -> Component {
    let name = directory.path().to_str().expect("a path in UTF-8");
    let env = [&[("SECURE_LOG_KEYSTORE_DIR", name)], more].concat();
    let (linker, mut store) = SOFTWARE.host(Some(directory.path()), &env);
    let world = bindings::KeystoreProvider::instantiate(&mut store, SOFTWARE.component(), &linker)
        .expect("the keystore starts");
    Component { store, world }
}

/// A keystore with a key of each algorithm in files, made by an earlier instance.
fn open() -> (Component, Keys, TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, algorithm) in [("first", "ed25519"), ("second", "ecdsa-p256")] {
        let settings = [("SECURE_LOG_KEYSTORE_GENERATE", "1"), ("SECURE_LOG_KEYSTORE_ALG", algorithm)];
        instance(&directory, &settings).public_key(name).expect("a new key");
    }
    let present = vec!["first".to_owned(), "second".to_owned()];
    (instance(&directory, &[]), Keys { present, missing: Some("third".to_owned()) }, directory)
}

secure_log_keystore::keystore_conformance!(open);
