//! Runs a composed secure-log component and checks every promise it makes.
//!
//! [`host`] is the embedding: how a program of yours would run such a component with wasmtime.
//! Everything else is the harness: the steps of a run, the experiments that damage copies and
//! kill writers, and the speed table.

pub mod bench;
pub mod cli;
pub mod compiled;
pub mod crowd;
pub mod endpoint;
pub mod events;
pub mod failure;
pub mod forgery;
pub mod host;
pub mod kill;
pub mod launch;
pub mod lock;
pub mod refusals;
pub mod report;
pub mod run;
mod setup;
pub mod steps;
pub mod store_path;
pub mod writer;
