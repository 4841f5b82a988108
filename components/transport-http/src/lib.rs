//! The transport over wasi:http, as a component.
//!
//! `SECURE_LOG_RPC_URL` says where the endpoint is, `SECURE_LOG_RPC_TOKEN` who calls. One attempt takes at most
//! `SECURE_LOG_RPC_TIMEOUT_MS` (30,000). A call is made again, `SECURE_LOG_RPC_RETRIES` times (5) with growing pauses,
//! where it cannot have taken effect (no connection, status 429 or 503) or changes nothing; a write whose answer was
//! lost is not: its caller finds out what became of it.

pub mod settings;

#[cfg(target_family = "wasm")]
mod client;

#[cfg(target_family = "wasm")]
secure_log_guest::export_transport!(client::HttpTransport);
