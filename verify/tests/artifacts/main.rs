//! What the composed artifacts do, hosted here and served by wasmtime.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod bad_input;
mod command;
mod command_token;
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod crowd;
mod endpoint_http;
mod exactly_once;
mod forgery;
mod full_disk;
mod hostile;
mod ingest_http;
mod lies;
mod readme;
#[path = "../common/token.rs"]
mod token;
mod witness_http;
mod world;
