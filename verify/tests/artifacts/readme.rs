//! The example without a library of ours runs.

#[path = "../../examples/bare.rs"]
mod bare;

#[test]
fn the_example_with_wasmtime_alone_runs() {
    let artifact = std::path::Path::new("../dist/secure-log-sqlite.wasm");
    assert!(artifact.exists(), "{} is missing: run scripts/build-components.sh", artifact.display());
    bare::main().expect("the example runs");
}
