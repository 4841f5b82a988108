//! The artifacts export what their world says, and nothing else.

use std::path::Path;

/// The exports of a world in wit/worlds.wit.
fn exports_of(world: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/worlds.wit");
    let text = std::fs::read_to_string(file).unwrap();
    let package = text.lines().find_map(|line| line.strip_prefix("package ")).unwrap().trim_end_matches(';');
    let (name, version) = package.split_once('@').unwrap();
    let begin = text.find(&format!("world {world} {{")).unwrap_or_else(|| panic!("no world {world}"));
    let body = &text[begin..begin + text[begin..].find('}').unwrap()];
    let mut exports: Vec<String> = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("export ")?.strip_suffix(';'))
        .map(|interface| format!("{name}/{interface}@{version}"))
        .collect();
    exports.sort();
    exports
}

#[test]
fn artifacts_export_exactly_their_world() {
    for (artifact, world) in [
        ("secure-log-sqlite.wasm", "composed-sqlite"),
        ("secure-log-file.wasm", "composed-file"),
        ("secure-log-remote.wasm", "composed-remote"),
        ("secure-log-remote-host.wasm", "composed-remote-host"),
    ] {
        let exports = crate::common::launcher(artifact, false).artifact.exports();
        assert_eq!(exports, exports_of(world), "{artifact}");
        assert!(exports.len() >= 3);
    }
}
