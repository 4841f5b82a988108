//! A PKCS#11 token of kryoptic as a component.
#![cfg(target_family = "wasm")]
