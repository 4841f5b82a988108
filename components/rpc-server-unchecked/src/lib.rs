//! The HTTP endpoint that leaves rows to its store: the store conformance suite uses rows whose headers are no headers.
//! For tests alone; no stack of `dist/` holds it.
#![cfg(target_family = "wasm")]

secure_log_guest::export_endpoint!(secure_log_guest::endpoint::Unchecked);
