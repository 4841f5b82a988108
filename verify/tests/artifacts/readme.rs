//! The README's embedding example is the one that is compiled, and it runs.

#[path = "../../examples/embed.rs"]
mod embed;

#[test]
fn the_embedding_example_is_the_one_that_runs() {
    let readme = include_str!("../../../README.md");
    let example = include_str!("../../examples/embed.rs");
    let code =
        &example[example.find("use wasmtime::component").expect("the example begins with its imports")..];
    assert!(readme.contains(code.trim_end()), "README.md and verify/examples/embed.rs differ");
    let artifact = std::path::Path::new("../dist/secure-log-sqlite.wasm");
    assert!(artifact.exists(), "{} is missing: run scripts/build-components.sh", artifact.display());
    embed::main().expect("the example runs");
}
