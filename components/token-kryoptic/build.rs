//! Checks that the libraries of `scripts/setup-tokens.sh` are there and links what kryoptic's own build does not. For wasm
//! only: natively this crate is empty.

use std::env;

const TOKENS: &str = "SECURE_LOG_TOKENS";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={TOKENS}");
    if env::var("CARGO_CFG_TARGET_FAMILY").as_deref() != Ok("wasm") {
        return;
    }
    let Ok(tokens) = env::var(TOKENS) else {
        println!(
            "cargo::error={TOKENS} is not set: run scripts/setup-tokens.sh, then `. scripts/env.sh` in this shell"
        );
        return;
    };
    println!("cargo::rustc-link-search=native={tokens}/libcrypto");
    println!("cargo::rustc-link-lib=static=wasi-emulated-getpid");
}
