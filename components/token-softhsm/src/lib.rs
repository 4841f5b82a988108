//! A PKCS#11 token of SoftHSM as a component.
#![cfg(target_family = "wasm")]
