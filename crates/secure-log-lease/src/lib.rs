//! What stores kept in files share: their configuration string, and the lease that decides who
//! may write.
//!
//! WASI has no file locks, and an instance that is dropped runs no code, so a lock that is held
//! until it is given back would stay behind for ever. A [`Lease`] runs out instead. It needs
//! nothing but files: create-exclusive, listing a directory, and a monotonic clock that is never
//! compared with anyone else's.
//!
//! ```no_run
//! # fn main() -> secure_log::Result<()> {
//! use secure_log_lease::{Lease, StoreConfig};
//!
//! let config = StoreConfig::parse("audit.jsonl?lease-ms=1000")?;
//! let lease = Lease::acquire(&config.path, &config.lease)?;
//! lease.check()?; // before every write, before and after every sync
//! lease.release()?;
//! # Ok(())
//! # }
//! ```

mod config;
mod lease;

pub use config::{LeaseOptions, StoreConfig};
pub use lease::Lease;
