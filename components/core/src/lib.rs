//! The core component: all integrity logic between an imported store and an imported keystore.
#![cfg(target_family = "wasm")]

secure_log_guest::export_core!();
