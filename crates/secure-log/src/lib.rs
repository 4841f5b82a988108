//! Engine of a tamper-evident audit log.
//!
//! Pure logic: no I/O, no clock and no randomness of its own. Data flows one way: event →
//! entry (encode, hash) → [store](store::SecureLogStore) → segment → checkpoint → proof, and
//! back only through verification.
//!
//! - [`SecureLog`] is the log as its users see it, [`NativeSecureLog`] implements it over
//! - [`store::SecureLogStore`], the seam to a backend, and
//! - [`signer::CheckpointSigner`], the seam to whoever holds the keys.
//! - [`proof`] and [`export`] check what was handed out, without the log; [`proof_file`] is a
//!   proof as a file.
//! - [`tiles`]: a tree as the static files of C2SP tlog-tiles, written and verified.
//! - [`sealing`]: payloads that only whoever holds a key can read.
//! - [`stamp`]: time stamps of an authority.
//! - [`cosignature`], [`policy`] and [`witness`]: what witnesses say of a log's checkpoints.
//!
//! The byte formats are specified in `docs/format.md`.

pub mod cbor;
pub mod cosignature;
mod domains;
pub mod envelope;
pub mod error;
pub mod export;
pub mod header;
pub mod import;
pub mod limits;
pub mod model;
mod native;
pub mod note;
pub mod policy;
pub mod proof;
pub mod proof_file;
pub mod record;
pub mod sealing;
mod secure_log;
pub mod signature;
pub mod signer;
pub mod stamp;
pub mod store;
pub mod tiles;
pub mod tree;
mod wire;
pub mod witness;

pub use error::{Error, Result};
pub use native::{Environment, NativeSecureLog, check_append, derive_tile};
pub use secure_log::SecureLog;
