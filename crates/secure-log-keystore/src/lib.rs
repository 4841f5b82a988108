//! Software keystore: private keys in PKCS#8 PEM files and key-encryption keys beside them, or in memory only.
//!
//! [`SoftwareKeystore`] is the [`CheckpointSigner`](secure_log::signer::CheckpointSigner) and
//! [`Envelope`](secure_log::envelope::Envelope) for development, tests and hosts whose disk is trusted; production keys belong in a token.
//! The crate's README has the threat model, the file format and the environment variables.

mod config;
pub mod conformance;
mod files;
mod kek;
mod key;
mod keystore;
mod label;
mod material;
mod random;

pub use config::{ALG_VARIABLE, Config, DIR_VARIABLE, FillRandom, GENERATE_VARIABLE, Notice};
pub use kek::KeyEncryptionKey;
pub use key::{GENERATED_RSA_BITS, PrivateKey};
pub use keystore::SoftwareKeystore;
pub use label::{kek_file_name, key_file_name, key_label};
pub use material::{KeyMaterial, RsaMaterial};
