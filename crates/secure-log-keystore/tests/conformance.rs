//! The keystore suite on the software keystore, with and without files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use secure_log::signer::Algorithm;
use secure_log_keystore::conformance::Keys;
use secure_log_keystore::{Config, SoftwareKeystore};

fn config() -> Config {
    Config::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()))
}

/// A directory that holds keys of all algorithms, two of each of the cheap ones.
mod files {
    use std::path::Path;
    use std::sync::LazyLock;

    use secure_log::signer::CheckpointSigner;
    use tempfile::TempDir;

    use super::*;

    static KEYS: LazyLock<(TempDir, Vec<String>)> = LazyLock::new(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        for algorithm in Algorithm::ALL {
            let mut keystore = SoftwareKeystore::new(Config {
                directory: Some(directory.path().into()),
                generate: true,
                algorithm,
                ..config()
            });
            for which in ["first", "second", "example.com/log", "名前"] {
                if algorithm == Algorithm::RsaPssSha256 && which != "first" {
                    continue;
                }
                let name = format!("{}-{which}", algorithm.name());
                keystore.public_key(&name).unwrap();
                names.push(name);
            }
        }
        (directory, names)
    });

    fn open() -> (SoftwareKeystore, Keys, &'static Path) {
        let (directory, names) = &*KEYS;
        let directory = directory.path();
        let config = Config { directory: Some(directory.into()), ..config() };
        let keys = Keys { present: names.clone(), missing: Some("missing".into()) };
        (SoftwareKeystore::new(config), keys, directory)
    }

    secure_log_keystore::keystore_conformance!(open);
}

mod ephemeral {
    use super::*;

    fn open(algorithm: Algorithm) -> (SoftwareKeystore, Keys, ()) {
        let config = Config { algorithm, notice: Box::new(|_| {}), ..config() };
        let present = vec!["first".to_owned(), "second".to_owned()];
        (SoftwareKeystore::new(config), Keys { present, missing: None }, ())
    }

    mod ed25519 {
        use super::*;
        secure_log_keystore::keystore_conformance!(|| open(Algorithm::Ed25519));
    }

    mod ecdsa_p256 {
        use super::*;
        secure_log_keystore::keystore_conformance!(|| open(Algorithm::EcdsaP256));
    }
}
