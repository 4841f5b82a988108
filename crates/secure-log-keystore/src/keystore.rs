//! Labels to keys.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use secure_log::signer::{Algorithm, CheckpointSigner, KeyError, PublicKey};

use crate::config::{Config, DIR_VARIABLE, GENERATE_VARIABLE};
use crate::files;
use crate::key::PrivateKey;
use crate::label::{check_label, key_file_name};
use crate::random::Random;

/// How many ephemeral keys one keystore makes: a bound on memory.
const MAX_EPHEMERAL: usize = 1_000;

/// Private keys in `<label>.pem` files of a directory, or in memory.
///
/// A key is read once and kept: a file that is replaced counts for the next keystore.
pub struct SoftwareKeystore {
    config: Config,
    keys: HashMap<String, PrivateKey>,
    said_ephemeral: bool,
}

impl SoftwareKeystore {
    /// A keystore; no file is looked at before a key is asked for.
    pub fn new(config: Config) -> Self {
        Self { config, keys: HashMap::new(), said_ephemeral: false }
    }

    /// The keystore that the environment describes (see the crate's README).
    pub fn from_env() -> Result<Self, KeyError> {
        Config::from_env().map(Self::new)
    }

    fn key(&mut self, label: &str) -> Result<(&PrivateKey, &mut crate::FillRandom), KeyError> {
        if !self.keys.contains_key(label) {
            check_label(label)?;
            let key = match self.config.directory.clone() {
                Some(directory) => self.load(&directory, label)?,
                None => self.ephemeral()?,
            };
            self.keys.insert(label.to_owned(), key);
        }
        match self.keys.get(label) {
            Some(key) => Ok((key, &mut self.config.random)),
            None => Err(KeyError::Failed(format!("key {label:?} is gone"))),
        }
    }

    fn ephemeral(&mut self) -> Result<PrivateKey, KeyError> {
        if self.keys.len() >= MAX_EPHEMERAL {
            return Err(KeyError::Invalid(format!("more than {MAX_EPHEMERAL} keys in memory")));
        }
        if !self.said_ephemeral {
            self.said_ephemeral = true;
            (self.config.notice)(&format!(
                "no {DIR_VARIABLE}: {} keys are made in memory and are lost at the end",
                self.config.algorithm.name()
            ));
        }
        PrivateKey::generate(self.config.algorithm, &mut self.config.random)
    }

    fn load(&mut self, directory: &Path, label: &str) -> Result<PrivateKey, KeyError> {
        let path = directory.join(key_file_name(label)?);
        if let Some(key) = self.read(&path)? {
            return Ok(key);
        }
        files::check_directory(directory)?;
        if !self.config.generate {
            return Err(KeyError::KeyNotFound(format!(
                "{label:?}: make it with `openssl genpkey {} -out '{}'` (mode 0600), \
                 or set {GENERATE_VARIABLE}=1",
                genpkey_arguments(self.config.algorithm),
                path.display()
            )));
        }
        self.create(path, label)
    }

    fn read(&mut self, path: &Path) -> Result<Option<PrivateKey>, KeyError> {
        let Some(pem) = files::read(path, &mut self.config.notice)? else { return Ok(None) };
        PrivateKey::from_pem(&pem, &mut self.config.random)
            .map(Some)
            .map_err(|reason| KeyError::Invalid(format!("{}: {reason}", path.display())))
    }

    fn create(&mut self, path: PathBuf, label: &str) -> Result<PrivateKey, KeyError> {
        let key = PrivateKey::generate(self.config.algorithm, &mut self.config.random)?;
        let unique = Random(&mut self.config.random).seed()?;
        let unique = u64::from_le_bytes(std::array::from_fn(|i| unique[i]));
        if files::create(&path, unique, key.to_pem()?.as_bytes())? {
            let hint = if cfg!(unix) { "" } else { "; WASI sets no mode: keep others out of the directory" };
            (self.config.notice)(&format!(
                "made the {} key {label:?} in {}{hint}",
                self.config.algorithm.name(),
                path.display()
            ));
            return Ok(key);
        }
        // Somebody else made it in the meantime: theirs counts.
        self.read(&path)?.ok_or_else(|| {
            KeyError::Unavailable(format!("{} is being changed by somebody else", path.display()))
        })
    }
}

/// What makes a key of this algorithm with OpenSSL.
fn genpkey_arguments(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 => "-algorithm ed25519",
        Algorithm::EcdsaP256 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        Algorithm::RsaPssSha256 => "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
    }
}

impl CheckpointSigner for SoftwareKeystore {
    fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError> {
        Ok(self.key(identity)?.0.public().clone())
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (key, random) = self.key(identity)?;
        key.sign(message, random)
    }
}

impl fmt::Debug for SoftwareKeystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareKeystore")
            .field("config", &self.config)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
