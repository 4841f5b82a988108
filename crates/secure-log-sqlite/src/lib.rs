//! The store of a log in one SQLite file: [`SqliteSecureLogStore`].
//!
//! The same code natively and in `wasm32-wasip2`. One connection owns the file, under a
//! [lease](secure_log_lease) that every write checks; the README has the exact sequence of file
//! operations and the durability point.
//!
//! ```
//! # fn main() -> secure_log::Result<()> {
//! use secure_log::store::{OpenStore, SecureLogStore};
//! use secure_log_sqlite::SqliteSecureLogStore;
//!
//! let mut store = SqliteSecureLogStore::open(":memory:")?;
//! assert_eq!(store.head("door-7")?, None);
//! store.close()?;
//! # Ok(())
//! # }
//! ```

mod append;
mod backup;
mod db;
mod entries;
mod erase;
mod failure;
mod objects;
mod query;
mod rows;
mod schema;
mod store;
mod tiles;
mod vfs;

pub use schema::{APPLICATION_ID, SCHEMA_VERSION};
pub use store::SqliteSecureLogStore;
