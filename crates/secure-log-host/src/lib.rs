//! Runs composed secure-log components under wasmtime.
//!
//! [`HostedLog`] is an open log: [`HostedLog::open`] takes a component and a config, [`HostedLog::builder`] limits
//! (memory, time, fuel), directories, variables and keys besides. [`AsyncLog`] is the same for async code. A compiled
//! component is kept by its content, so that only the first start compiles.
//!
//! ```no_run
#![doc = include_str!("../examples/embed.rs")]
//! ```
//!
//! Below them: [`Artifact`] is a compiled component, [`Hosted`] one instance of it with a typed method for each export,
//! [`Site`] the place of a log prepared for an instance (its directory, its config, a native lock), and [`LogOwner`] a
//! thread that owns a log for a program of many threads: it commits what they submit in groups, starts the instance
//! again when it died, and seals and signs by itself. Keys on PKCS #11 tokens are in [`token`].

mod artifact;
mod async_log;
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
mod log;
pub mod owner;
mod site;
pub mod store_path;
pub mod token;

pub use artifact::{Artifact, PORTABLE, Reach};
pub use async_log::AsyncLog;
pub use bindings::core::exports::secure_log::log::{time, witness};
pub use bindings::core::secure_log::log::types;
pub use engine::{Checks, engine_config};
pub use error::{Error, OpenError, Result};
pub use failure::Failure;
pub use guest::{Fixed, Guest};
pub use head::{HeadError, HeadFile};
pub use hosted::{Hosted, Sealed};
pub use keystore::{Keystore, KeystoreArtifact};
pub use lock::HostLock;
pub use log::{Builder, HostedLog};
pub use owner::{Answer, LogOwner, OwnerError, OwnerEvents, Sealing, Settings, Statistics};
pub use site::Site;
pub use store_path::StorePath;
