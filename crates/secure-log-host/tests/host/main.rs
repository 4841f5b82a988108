//! The host library on the composed artifacts.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod builds;
#[path = "../common/mod.rs"]
mod common;
mod gate;
mod limits;
mod log;
mod owner;
mod token_graph;
