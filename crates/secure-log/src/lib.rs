//! Engine of a tamper-evident audit log.
//!
//! Pure logic: no I/O, no clock and no randomness of its own. Data flows one way: event →
//! entry (encode, hash) → [store](store::SecureLogStore) → segment → checkpoint → proof, and
//! back only through verification.

mod cbor;
pub mod error;
pub mod header;
pub mod limits;
pub mod model;
pub mod signer;
pub mod store;

pub use error::{Error, Result};
