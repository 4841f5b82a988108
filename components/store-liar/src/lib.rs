//! A store that lies, before another one: a component for tests of the core. `secure_log_conformance::liar` says how.
#![cfg(target_family = "wasm")]

secure_log_guest::export_store!(secure_log_conformance::liar::Liar<secure_log_guest::ImportedStore>);
