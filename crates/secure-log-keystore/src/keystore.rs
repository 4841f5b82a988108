//! Labels to keys.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use secure_log::envelope::{Envelope, EnvelopeError};
use secure_log::signer::{Algorithm, CheckpointSigner, KeyError, PublicKey};

use crate::config::{Config, DIR_VARIABLE, GENERATE_VARIABLE};
use crate::files;
use crate::kek::KeyEncryptionKey;
use crate::key::PrivateKey;
use crate::label::{check_label, kek_file_name, key_file_name};
use crate::random::Random;

use zeroize::Zeroizing;

/// How many ephemeral keys one keystore makes: a bound on memory.
const MAX_EPHEMERAL: usize = 1_000;

/// Private keys in `<label>.pem` files and key-encryption keys in `<label>.kek` files of a directory, or in memory.
///
/// A private key is read once and kept: a file that is replaced counts for the next keystore. A key-encryption key is read
/// for every use: destroyed by one keystore, it is gone for all.
pub struct SoftwareKeystore {
    config: Config,
    keys: HashMap<String, PrivateKey>,
    /// Those in memory.
    keks: HashMap<String, KeyEncryptionKey>,
    said_ephemeral: bool,
}

impl SoftwareKeystore {
    /// A keystore; no file is looked at before a key is asked for.
    pub fn new(config: Config) -> Self {
        Self { config, keys: HashMap::new(), keks: HashMap::new(), said_ephemeral: false }
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
        self.before_ephemeral()?;
        PrivateKey::generate(self.config.algorithm, &mut self.config.random)
    }

    fn before_ephemeral(&mut self) -> Result<(), KeyError> {
        if self.keys.len() + self.keks.len() >= MAX_EPHEMERAL {
            return Err(KeyError::Invalid(format!("more than {MAX_EPHEMERAL} keys in memory")));
        }
        if !self.said_ephemeral {
            self.said_ephemeral = true;
            (self.config.notice)(&format!(
                "no {DIR_VARIABLE}: {} keys are made in memory and are lost at the end",
                self.config.algorithm.name()
            ));
        }
        Ok(())
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
        let algorithm = self.config.algorithm;
        let key = PrivateKey::generate(algorithm, &mut self.config.random)?;
        if self.write(&path, label, algorithm.name(), key.to_pem()?.as_bytes())? {
            return Ok(key);
        }
        // Somebody else made it in the meantime: theirs counts.
        self.read(&path)?.ok_or_else(|| changing(&path))
    }

    /// Writes a new key file; `false` if somebody else made it in the meantime.
    fn write(&mut self, path: &Path, label: &str, algorithm: &str, bytes: &[u8]) -> Result<bool, KeyError> {
        let unique = Random(&mut self.config.random).seed()?;
        let unique = u64::from_le_bytes(std::array::from_fn(|i| unique[i]));
        let created = files::create(path, unique, bytes)?;
        if created {
            let hint = if cfg!(unix) { "" } else { "; WASI sets no mode: keep others out of the directory" };
            (self.config.notice)(&format!("made the {algorithm} key {label:?} in {}{hint}", path.display()));
        }
        Ok(created)
    }

    /// The key-encryption key `label` for `f`; made where it may be and `make` says so.
    fn with_kek<R>(
        &mut self,
        label: &str,
        make: bool,
        f: impl FnOnce(&KeyEncryptionKey, &mut crate::FillRandom) -> Result<R, EnvelopeError>,
    ) -> Result<R, EnvelopeError> {
        check_label(label)?;
        let Some(directory) = self.config.directory.clone() else {
            if make && !self.keks.contains_key(label) {
                self.before_ephemeral()?;
                let made = KeyEncryptionKey::generate(&mut self.config.random)?;
                self.keks.insert(label.to_owned(), made);
            }
            let key = self.keks.get(label).ok_or_else(|| no_kek_in_memory(label))?;
            return f(key, &mut self.config.random);
        };
        let path = directory.join(kek_file_name(label)?);
        let key = match self.read_kek(&path, label)? {
            Some(key) => key,
            None => {
                files::check_directory(&directory)?;
                if !(make && self.config.generate) {
                    return Err(no_kek(label, &path));
                }
                self.create_kek(&path, label)?
            }
        };
        f(&key, &mut self.config.random)
    }

    fn read_kek(&mut self, path: &Path, label: &str) -> Result<Option<KeyEncryptionKey>, EnvelopeError> {
        let Some(text) = files::read(path, &mut self.config.notice)? else { return Ok(None) };
        if !text.is_empty() && text.iter().all(|byte| *byte == 0) {
            return Err(EnvelopeError::KeyNotFound(format!(
                "{label:?} was destroyed, and what is left of {} is zeros: destroy it again",
                path.display()
            )));
        }
        KeyEncryptionKey::from_hex(&text)
            .map(Some)
            .map_err(|reason| EnvelopeError::Invalid(format!("{}: {reason}", path.display())))
    }

    /// Makes the key-encryption key `name` in the directory. One that is there is not overwritten: [`KeyError::Invalid`].
    pub fn create_key_encryption_key(&mut self, name: &str) -> Result<(), KeyError> {
        let Some(directory) = self.config.directory.clone() else {
            return Err(KeyError::Invalid(format!(
                "no {DIR_VARIABLE}: a key has to be in a directory to be kept"
            )));
        };
        let path = directory.join(kek_file_name(name)?);
        files::check_directory(&directory)?;
        let key = KeyEncryptionKey::generate(&mut self.config.random)?;
        if self.write(&path, name, KeyEncryptionKey::ALGORITHM, &key.to_hex())? {
            return Ok(());
        }
        Err(KeyError::Invalid(format!("{} is there already, and a key is never overwritten", path.display())))
    }

    fn create_kek(&mut self, path: &Path, label: &str) -> Result<KeyEncryptionKey, EnvelopeError> {
        let key = KeyEncryptionKey::generate(&mut self.config.random)?;
        if self.write(path, label, KeyEncryptionKey::ALGORITHM, &key.to_hex())? {
            return Ok(key);
        }
        self.read_kek(path, label)?.ok_or_else(|| changing(path).into())
    }
}

fn changing(path: &Path) -> KeyError {
    KeyError::Unavailable(format!("{} is being changed by somebody else", path.display()))
}

fn no_kek(label: &str, path: &Path) -> EnvelopeError {
    EnvelopeError::KeyNotFound(format!(
        "{label:?}: a new key-encryption key is made with `openssl rand -hex 32 >'{}'` (mode 0600), or on the first wrap \
         with {GENERATE_VARIABLE}=1; one that was lost or destroyed only comes back from a copy of its file",
        path.display()
    ))
}

fn no_kek_in_memory(label: &str) -> EnvelopeError {
    EnvelopeError::KeyNotFound(format!("{label:?} is not in memory, where keys live without {DIR_VARIABLE}"))
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

impl Envelope for SoftwareKeystore {
    fn wrap(&mut self, name: &str, key: &[u8], context: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        self.with_kek(name, true, |kek, random| kek.wrap(key, context, random))
    }

    fn unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        self.with_kek(name, false, |kek, _| kek.unwrap(wrapped, context))
    }

    /// The file is overwritten and removed. What a file system, a solid-state disk or a backup keeps of it is out of reach.
    fn destroy(&mut self, name: &str) -> Result<(), EnvelopeError> {
        check_label(name)?;
        let Some(directory) = self.config.directory.clone() else {
            return self.keks.remove(name).map(drop).ok_or_else(|| no_kek_in_memory(name));
        };
        let path = directory.join(kek_file_name(name)?);
        if files::destroy(&path)? {
            (self.config.notice)(&format!("destroyed the key-encryption key {name:?}, {}", path.display()));
            return Ok(());
        }
        files::check_directory(&directory)?;
        Err(EnvelopeError::KeyNotFound(format!("{name:?}: there is no {}", path.display())))
    }
}

impl fmt::Debug for SoftwareKeystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareKeystore")
            .field("config", &self.config)
            .field("keys", &(self.keys.len() + self.keks.len()))
            .finish_non_exhaustive()
    }
}
