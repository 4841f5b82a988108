//! The append-only file store as a component.
#![cfg(target_family = "wasm")]

secure_log_guest::export_store!(secure_log_file::FileSecureLogStore);
