//! What devices and receivers use in one process: records and their chain, keys, policies, updates, ingest, buffer.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod async_ingest;
mod buffer;
mod buffer_kill;
mod chain;
mod common;
mod documents;
mod events;
mod examine;
mod examples;
mod ingest;
mod keys;
mod network;
mod notarization;
mod records;
mod updates;
