//! The HTTP endpoint as a component.
#![cfg(target_family = "wasm")]

secure_log_guest::export_endpoint!(secure_log_guest::endpoint::Checked);
