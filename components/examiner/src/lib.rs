//! The examiner as a component: files that a log or a device handed out, examined without the log.
#![cfg(target_family = "wasm")]

secure_log_guest::export_examiner!();
