//! The PKCS #11 keystore: keys that never leave a token.
//!
//! [`token`] is the Rust face of the seam `pkcs11:token`: what a token offers, whether it is a component of the same
//! graph, a vendor's module behind a host or one that is called directly. [`Pkcs11Keystore`] is the
//! [`CheckpointSigner`](secure_log::signer::CheckpointSigner) and
//! [`Envelope`](secure_log::envelope::Envelope) over any such token, and [`KeyUri`] names a key on one (RFC 7512). The crate's README tells which keystore is for whom.

mod conversions;
mod keystore;
mod pins;
mod spki;
pub mod token;
mod uri;

pub use keystore::Pkcs11Keystore;
pub use pins::{EnvPins, MAX_PIN, PIN_VARIABLE, SO_PIN_VARIABLE, pin_variable_suffix};
pub use spki::public_key;
pub use uri::{KeyUri, UriError};
