//! Runs a composed secure-log component and checks every promise it makes.
//!
//! [`host`] is the embedding, a crate of its own: how a program of yours would run such a component with wasmtime.
//! Everything here is the harness: the steps of a run, the experiments that damage copies and
//! kill writers, and the speed table.

pub mod bench;
pub mod cli;
pub mod crowd;
pub mod endpoint;
pub mod events;
pub mod forgery;
pub mod kill;
pub mod launch;
pub mod refusals;
pub mod report;
pub mod run;
mod setup;
pub mod steps;
pub mod token;
pub mod writer;

pub use secure_log_host as host;
pub use secure_log_host::{failure, lock, store_path};
