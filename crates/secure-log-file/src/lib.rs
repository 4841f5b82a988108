//! A [`SecureLogStore`](secure_log::store::SecureLogStore) in one append-only file of JSON lines.
//!
//! `<path>` holds entries, objects and commits, each on a line with a checksum; the payloads lie
//! apart in `<path>.payloads/`, tree tiles in `<path>.tiles/`, the lease in `<path>.lease/`. The
//! crate's README gives the byte form, and what is and what is not noticed.
//!
//! ```no_run
//! # fn main() -> secure_log::Result<()> {
//! use secure_log::store::{OpenStore, SecureLogStore};
//! use secure_log_file::FileSecureLogStore;
//!
//! let mut store = FileSecureLogStore::open("audit.jsonl?lease-ms=1000")?;
//! let heads = store.list_heads(None, 100)?;
//! store.close()?;
//! # Ok(())
//! # }
//! ```

mod backup;
mod erase;
mod index;
mod io;
mod line;
mod load;
mod log;
mod payload;
mod read;
mod store;
mod tiles;
mod write;

pub use store::FileSecureLogStore;
