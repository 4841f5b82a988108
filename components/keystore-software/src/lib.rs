//! The software keystore as a component.
#![cfg(target_family = "wasm")]

secure_log_guest::export_keystore!(
    secure_log_keystore::SoftwareKeystore,
    secure_log_keystore::SoftwareKeystore::from_env
);
