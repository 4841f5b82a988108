//! The gate over a log, in SQLite: attacks, servers side by side, restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation ends the test")]

mod common;

mod audit;
mod batches;
mod epochs;
mod events;
mod properties;
mod registry;
mod servers;
mod speed;
mod threats;
mod updates;
