//! The store at the other end of a transport, as a component.
#![cfg(target_family = "wasm")]

secure_log_guest::export_store!(secure_log_guest::RemoteStore<secure_log_guest::ImportedTransport>);
