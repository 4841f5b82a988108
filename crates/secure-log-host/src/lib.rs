//! Runs composed secure-log components under wasmtime.
//!
//! [`Artifact`] is a compiled component, [`Hosted`] one instance of it with a typed method for each export, [`Site`]
//! the place of a log prepared for an instance (its directory, its config, a native lock), and [`LogOwner`] a thread
//! that owns a log for a program of many threads: it commits what they submit in groups, starts the instance again
//! when it died, and seals and signs by itself. Keys on PKCS #11 tokens are in [`token`].
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{path::Path, time::Duration};
//! use secure_log_host::{Artifact, Guest, Site, StorePath, types::Severity};
//!
//! let artifact = Artifact::load(Path::new("dist/secure-log-sqlite.wasm"))?;
//! let site = Site::local(&StorePath::parse("audit.db")?, &Guest::default(), Duration::from_secs(5))?;
//! let mut log = site.open(&artifact)?;
//! let entry = log.append("doors", "door.opened", Severity::Informational, "lobby", b"{}")?;
//! println!("entry {} is durable", entry.seqno);
//! log.close()?;
//! # Ok(()) }
//! ```

mod artifact;
mod bindings;
mod cache;
mod convert;
mod engine;
mod error;
pub mod failure;
mod gate;
mod guest;
mod head;
mod hosted;
mod keystore;
pub mod lock;
pub mod owner;
mod site;
pub mod store_path;
pub mod token;

pub use artifact::{Artifact, PORTABLE, Reach};
pub use bindings::core::exports::secure_log::log::{time, witness};
pub use bindings::core::secure_log::log::types;
pub use engine::engine_config;
pub use error::{Error, OpenError, Result};
pub use failure::Failure;
pub use guest::{Fixed, Guest};
pub use head::{HeadError, HeadFile};
pub use hosted::{Hosted, Sealed};
pub use keystore::{Keystore, KeystoreArtifact};
pub use lock::HostLock;
pub use owner::{Answer, LogOwner, OwnerError, OwnerEvents, Sealing, Settings, Statistics};
pub use site::Site;
pub use store_path::StorePath;
