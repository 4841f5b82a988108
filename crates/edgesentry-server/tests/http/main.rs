//! The HTTP server over real sockets, a real gate and a real store.
#![cfg(feature = "transport-tls")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation ends the test")]

mod admin;
#[path = "../common/mod.rs"]
mod common;
mod drain;
mod hostile;
mod observe;
mod sources;
mod statuses;
mod tls;
