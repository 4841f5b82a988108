//! The PINs of tokens from the environment, as a component.
#![cfg(target_family = "wasm")]

secure_log_guest::export_pin_provider!(|| secure_log_pkcs11::EnvPins::new(|name: &str| std::env::var_os(
    name
)));
