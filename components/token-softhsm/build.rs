//! Links the libraries that `scripts/setup-tokens.sh` built. For wasm only: natively this crate is empty.

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
    let libraries = [
        ("softhsm", "softhsm2"),
        ("libcrypto", "crypto"),
        ("libcrypto", "wasi-emulated-getpid"),
        ("libcxx/lib", "c++"),
        ("libcxx/lib", "c++abi"),
    ];
    for (folder, name) in libraries {
        println!("cargo::rerun-if-changed={tokens}/{folder}/lib{name}.a");
        println!("cargo::rustc-link-search=native={tokens}/{folder}");
        println!("cargo::rustc-link-lib=static={name}");
    }
}
