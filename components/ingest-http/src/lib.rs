//! The ingest endpoint as a component.
#![cfg(target_family = "wasm")]

secure_log_guest::export_ingest_endpoint!();
