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

/// The suite finds what is wrong with keystores that are wrong.
mod broken {
    use secure_log::signer::{CheckpointSigner, KeyError, PublicKey};
    use secure_log_keystore::conformance::check_all;

    use super::*;

    enum Fault {
        SameKey,
        NewKeyEachTime,
        SignsDigest,
        CreatesByLooking,
    }

    struct Broken(Fault, SoftwareKeystore, u32);

    impl Broken {
        fn real_name(&mut self, identity: &str) -> Result<String, KeyError> {
            self.2 += 1;
            match self.0 {
                Fault::SameKey => Ok("one".into()),
                Fault::NewKeyEachTime => Ok(self.2.to_string()),
                Fault::CreatesByLooking | Fault::SignsDigest => Ok(identity.into()),
            }
        }
    }

    impl CheckpointSigner for Broken {
        fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError> {
            let name = self.real_name(identity)?;
            self.1.public_key(&name)
        }

        fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
            let name = self.real_name(identity)?;
            match self.0 {
                Fault::SignsDigest if message.len() == 32 => self.1.sign(&name, &message[..31]),
                _ => self.1.sign(&name, message),
            }
        }
    }

    fn faults(fault: fn() -> Fault, missing: Option<&str>) -> Vec<&'static str> {
        let broken = check_all(|| {
            let config = Config { notice: Box::new(|_| {}), ..config() };
            let keys = Keys { present: vec!["a".into(), "b".into()], missing: missing.map(Into::into) };
            (Broken(fault(), SoftwareKeystore::new(config), 0), keys, ())
        });
        broken.unwrap_err().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn keystores_are_found_out() {
        assert!(faults(|| Fault::SameKey, None).contains(&"keys_are_different_keys"));
        assert!(faults(|| Fault::NewKeyEachTime, None).contains(&"public_keys_stay_the_same"));
        assert!(faults(|| Fault::SignsDigest, None).contains(&"a_message_is_never_taken_for_a_digest"));
        let names = faults(|| Fault::CreatesByLooking, Some("missing"));
        assert!(names.contains(&"a_missing_key_is_not_created_by_looking"));
    }
}

/// Key-encryption keys in a directory, and in memory.
mod envelope_files {
    use super::*;

    fn open() -> (SoftwareKeystore, Keys, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let present = ["customer-4711", "例/顧客", "a.pem"].map(str::to_owned).to_vec();
        for name in &present {
            let file = directory.path().join(secure_log_keystore::kek_file_name(name).unwrap());
            let mut random: secure_log_keystore::FillRandom =
                Box::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()));
            let key = secure_log_keystore::KeyEncryptionKey::generate(&mut random).unwrap();
            std::fs::write(file, key.to_hex()).unwrap();
        }
        let config =
            Config { directory: Some(directory.path().into()), notice: Box::new(|_| {}), ..config() };
        (SoftwareKeystore::new(config), Keys { present, missing: Some("missing".into()) }, directory)
    }

    secure_log_keystore::envelope_conformance!(open);
}

mod envelope_memory {
    use super::*;

    fn open() -> (SoftwareKeystore, Keys, ()) {
        let config = Config { notice: Box::new(|_| {}), ..config() };
        let present = vec!["first".to_owned(), "second".to_owned()];
        (SoftwareKeystore::new(config), Keys { present, missing: Some("missing".into()) }, ())
    }

    secure_log_keystore::envelope_conformance!(open);
}
