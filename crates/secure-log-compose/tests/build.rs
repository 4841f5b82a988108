//! `secure-log-compose build`: what may be missing, and what comes from elsewhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

const WIT: &str = "\
package t:log@0.1.0;
interface signer { sign: func(message: list<u8>) -> list<u8>; }
interface log { last: func() -> u64; }
world core { import signer; export log; }
world signer-provider { export signer; }
world composed { export log; }
";

const STACKS: &str = r#"
[components]
core = { package = "core" }
token = { package = "token", optional = "run the other script" }
[stacks]
keystore = { socket = "token", plugs = [], world = "signer-provider", part = true }
log = { socket = "core", plugs = ["keystore"], world = "composed" }
"#;

fn component(world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", WIT).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A folder with a core that is built and a token that is not.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["built", "wit", "golden", "golden/components", "dist", "dist/components"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("wit/worlds.wit"), WIT).unwrap();
    fs::write(at("stacks.toml"), STACKS).unwrap();
    fs::write(at("built/core.wasm"), component("core")).unwrap();
    dir
}

/// Whether it worked, and what it said on stderr.
fn build(dir: &Path, more: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_secure-log-compose"))
        .current_dir(dir)
        .args(["build", "--components", "built", "--golden", "golden", "--quiet", "--bless"])
        .args(more)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_is_optional_is_left_out_aloud_with_all_that_needs_it() {
    let dir = folder();
    let stale =
        ["dist/components/token.wasm", "dist/components/keystore.wasm", "dist/log.wasm", "dist/log.wit"];
    for name in stale {
        fs::write(dir.path().join(name), "of an earlier build").unwrap();
    }
    let (worked, said) = build(dir.path(), &[]);
    assert!(worked, "{said}");
    for part in
        ["component `token` is not built; run the other script", "artifact `keystore`", "artifact `log`"]
    {
        assert!(said.contains(&format!("left out: {part}")), "{said}");
    }
    for name in stale {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
    assert!(dir.path().join("dist/components/core.wasm").exists());

    fs::write(dir.path().join("built/token.wasm"), component("signer-provider")).unwrap();
    let (worked, said) = build(dir.path(), &[]);
    assert!(worked && said.is_empty(), "{said}");
    for name in stale {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    // What an artifact exports stands beside it, with the functions.
    let wit = fs::read_to_string(dir.path().join("dist/log.wit")).unwrap();
    assert!(wit.contains("export t:log/log@0.1.0;") && wit.contains("last: func() -> u64;"), "{wit}");
}

#[test]
fn a_prebuilt_component_takes_the_place_of_an_artifact() {
    let dir = folder();
    fs::write(dir.path().join("mine.wasm"), component("signer-provider")).unwrap();
    let (worked, said) = build(dir.path(), &["--prebuilt", "keystore=mine.wasm"]);
    assert!(worked, "{said}");
    assert!(dir.path().join("dist/log.wasm").exists());
    // Its imports are nobody's promise.
    assert!(!dir.path().join("golden/log.imports").exists());
}

#[test]
fn a_prebuilt_component_that_does_not_fit_is_refused() {
    let dir = folder();
    fs::write(dir.path().join("mine.wasm"), component("composed")).unwrap();
    let (worked, said) = build(dir.path(), &["--prebuilt", "keystore=mine.wasm"]);
    assert!(!worked && said.contains("signer-provider"), "{said}");
    assert!(!dir.path().join("dist/log.wasm").exists());
    let (worked, said) = build(dir.path(), &["--prebuilt", "keystroe=mine.wasm"]);
    assert!(!worked && said.contains("no artifact of that name"), "{said}");
}
