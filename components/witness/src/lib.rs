//! A witness of logs as a component.
#![cfg(target_family = "wasm")]

secure_log_guest::export_witness!();
