//! Puts the composed components of dist/ into the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The components that the program carries; the names of files in dist/.
const CARRIED: [&str; 6] = [
    "secure-log-sqlite",
    "secure-log-file",
    "secure-log-remote",
    "edgesentry-ingest-sqlite",
    "edgesentry-ingest-sqlite-pkcs11-host",
    "edgesentry-ingest-remote",
];

fn main() {
    let dist = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../dist");
    println!("cargo::rerun-if-changed=build.rs");
    // All of it: builds with wide arithmetic may come later.
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut code = String::from("pub(crate) static CARRIED: &[Carried] = &[\n");
    for name in CARRIED {
        let portable = dist.join(format!("{name}.wasm"));
        let wide = dist.join("wide").join(format!("{name}.wasm"));
        if !portable.is_file() {
            println!(
                "cargo::error=dist/{name}.wasm is not there, and this program carries it. Build it: \
                 ./scripts/setup-toolchain.sh && ./scripts/build-components.sh"
            );
            continue;
        }
        let wide = if wide.is_file() {
            format!("Some(include_bytes!({}))", literal(&wide))
        } else {
            "None".to_owned()
        };
        let _ = writeln!(
            code,
            "Carried {{ name: {name:?}, portable: include_bytes!({}), wide: {wide} }},",
            literal(&portable)
        );
    }
    code.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("carried.rs");
    if let Err(error) = std::fs::write(&out, code) {
        println!("cargo::error=cannot write {}: {error}", out.display());
    }
}

fn literal(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}
