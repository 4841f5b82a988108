//! Composition at its seam: components made from WIT text go in, an artifact or a refusal comes out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use secure_log_compose::{
    imports::Outline,
    plug::{Exports, Part, PlugError, plug},
    seal::seal_environment,
    world::Worlds,
};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

const WIT: &str = r#"
package t:log@0.1.0;
interface types { record row { seqno: u64 } }
interface store {
  use types.{row};
  variant store-error { conflict(u64), storage(string) }
  append: func(rows: list<row>) -> result<u64, store-error>;
  flush: func();
}
interface signer { sign: func(message: list<u8>) -> list<u8>; }
interface log { use types.{row}; last: func() -> row; }
world core { import store; import signer; export log; }
world store-provider { export store; }
world signer-provider { export signer; }
world both-provider { export store; export signer; }
world composed { export log; }
world two-logs { export log; export signer; }
"#;

/// A component of the world `name`; its functions do nothing.
fn component(wit: &str, name: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(name)).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

fn worlds(wit: &str) -> Worlds {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("worlds.wit"), wit).unwrap();
    Worlds::read(dir.path()).unwrap()
}

fn compose(parts: &[(&str, &[u8])]) -> Result<Vec<u8>, PlugError> {
    compose_with(parts, Exports::Socket)
}

fn compose_with(parts: &[(&str, &[u8])], exports: Exports) -> Result<Vec<u8>, PlugError> {
    let parts: Vec<_> = parts.iter().map(|(name, bytes)| Part { name, bytes }).collect();
    plug(parts[0], &parts[1..], exports, |_| false)
}

/// What `wac plug` does with the same parts.
fn wac_plug(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut graph = wac_graph::CompositionGraph::new();
    let ids: Vec<_> = parts
        .iter()
        .map(|(name, bytes)| {
            let name = format!("t:{name}");
            let package = wac_types::Package::from_bytes(&name, None, *bytes, graph.types_mut()).unwrap();
            graph.register_package(package).unwrap()
        })
        .collect();
    wac_graph::plug(&mut graph, ids[1..].to_vec(), ids[0]).unwrap();
    graph.encode(wac_graph::EncodeOptions::default()).unwrap()
}

#[test]
fn a_complete_composition_keeps_the_exports_and_no_open_import() {
    let (core, store, signer) =
        (component(WIT, "core"), component(WIT, "store-provider"), component(WIT, "signer-provider"));
    let parts: [(&str, &[u8]); 3] = [("core", &core), ("store", &store), ("signer", &signer)];
    let artifact = compose(&parts).unwrap();
    let outline = Outline::of("artifact", &artifact).unwrap();
    assert_eq!(outline.imports, ["t:log/types@0.1.0 (types only)"]);
    assert_eq!(outline.exports, ["t:log/log@0.1.0"]);
    assert_eq!(outline, Outline::of("wac", &wac_plug(&parts)).unwrap());
    assert_eq!(artifact, compose(&parts).unwrap(), "the same parts give the same bytes");
    worlds(WIT).check(&artifact, "composed").unwrap();
}

#[test]
fn a_plug_with_another_type_is_refused_and_the_type_named() {
    let other = WIT.replace("conflict(u64),", "conflict(u64), busy,");
    let (core, store, signer) =
        (component(WIT, "core"), component(&other, "store-provider"), component(WIT, "signer-provider"));
    let parts: [(&str, &[u8]); 3] = [("core", &core), ("store", &store), ("signer", &signer)];

    let open = Outline::of("wac", &wac_plug(&parts)).unwrap().imports;
    assert!(open.contains(&"t:log/store@0.1.0".to_owned()), "wac plug no longer skips it silently: {open:?}");

    let error = compose(&parts).unwrap_err();
    assert!(matches!(error, PlugError::Mismatch { .. }));
    let text = error.to_string();
    for part in ["`store` offers `t:log/store@0.1.0`", "`core` imports", "`store-error`", "count of 3"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn a_plug_that_lacks_a_function_is_refused() {
    let other = WIT.replace("flush: func();", "");
    let (core, store) = (component(WIT, "core"), component(&other, "store-provider"));
    let error = compose(&[("core", &core), ("store", &store)]).unwrap_err().to_string();
    assert!(error.contains("flush"), "{error}");
}

#[test]
fn a_plug_of_another_version_is_not_used() {
    let next = WIT.replace("t:log@0.1.0", "t:log@0.2.0");
    let (core, store) = (component(WIT, "core"), component(&next, "store-provider"));
    let error = compose(&[("core", &core), ("store", &store)]).unwrap_err();
    assert!(matches!(error, PlugError::Unused { .. }));
    let text = error.to_string();
    assert!(text.contains("t:log/store@0.2.0") && text.contains("t:log/store@0.1.0"), "{text}");
}

#[test]
fn a_plug_of_a_later_patch_version_fits() {
    let next = WIT.replace("t:log@0.1.0", "t:log@0.1.7");
    let (core, both) = (component(WIT, "core"), component(&next, "both-provider"));
    compose(&[("core", &core), ("both", &both)]).unwrap();
}

#[test]
fn an_import_left_open_is_named() {
    let (core, store) = (component(WIT, "core"), component(WIT, "store-provider"));
    let error = compose(&[("core", &core), ("store", &store)]).unwrap_err();
    assert!(
        matches!(&error, PlugError::Unsatisfied { imports, .. } if imports == &["t:log/signer@0.1.0"]),
        "{error}"
    );
}

#[test]
fn two_plugs_for_one_import_are_refused() {
    let (core, store, both) =
        (component(WIT, "core"), component(WIT, "store-provider"), component(WIT, "both-provider"));
    let error = compose(&[("core", &core), ("store", &store), ("both", &both)]).unwrap_err();
    assert!(matches!(error, PlugError::Twice { .. }), "{error}");
}

/// A gate over a log: what is between them is the log's, and the host sees both.
const GATE: &str = r#"
package t:gate@0.1.0;
interface judging { use t:log/types@0.1.0.{row}; judge: func(row: row) -> bool; }
world gate { import t:log/log@0.1.0; export judging; }
world guard { import t:log/log@0.1.0; export t:log/log@0.1.0; }
world composed-gate { export judging; export t:log/log@0.1.0; }
"#;

/// [`GATE`], with the package that it uses.
fn gate_wit() -> String {
    format!("{GATE}{}", nested(WIT))
}

/// A package in the form in which it can stand behind another one.
fn nested(wit: &str) -> String {
    let (head, body) = wit.trim().split_once(";\n").unwrap();
    format!("{head} {{\n{body}\n}}\n")
}

#[test]
fn reexported_exports_come_from_the_instance_that_the_socket_uses() {
    let (gate, log) = (component(&gate_wit(), "gate"), component(WIT, "composed"));
    let parts: [(&str, &[u8]); 2] = [("gate", &gate), ("log", &log)];
    let outline = |exports| {
        let artifact = compose_with(&parts, exports).unwrap();
        (Outline::of("artifact", &artifact).unwrap(), artifact)
    };
    let (alone, _) = outline(Exports::Socket);
    assert_eq!(alone.exports, ["t:gate/judging@0.1.0"]);
    let (both, artifact) = outline(Exports::All);
    assert_eq!(both.exports, ["t:gate/judging@0.1.0", "t:log/log@0.1.0"]);
    assert_eq!(both.imports, alone.imports);
    assert_eq!(artifact, outline(Exports::All).1, "the same parts give the same bytes");

    // One log, made once: it is what the gate imports and what the host sees.
    assert_eq!(instantiations(&artifact), 2);
}

/// How many components are instantiated at the top of a composition.
fn instantiations(artifact: &[u8]) -> usize {
    use wasmparser::{ComponentInstance, Parser, Payload};
    let (mut depth, mut count) = (0, 0);
    for payload in Parser::new(0).parse_all(artifact) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentInstanceSection(section) if depth == 0 => {
                let made = |instance: &ComponentInstance<'_>| {
                    matches!(instance, ComponentInstance::Instantiate { .. })
                };
                count += section.into_iter().filter(|instance| made(instance.as_ref().unwrap())).count();
            }
            _ => {}
        }
    }
    count
}

#[test]
fn what_the_socket_exports_is_not_exported_again() {
    let (guard, log) = (component(&gate_wit(), "guard"), component(WIT, "composed"));
    let parts: [(&str, &[u8]); 2] = [("guard", &guard), ("log", &log)];
    let artifact = compose_with(&parts, Exports::All).unwrap();
    assert_eq!(Outline::of("artifact", &artifact).unwrap().exports, ["t:log/log@0.1.0"]);
    assert_eq!(artifact, compose(&parts).unwrap(), "the guard's log, not the one behind it");
}

#[test]
fn two_plugs_for_one_export_are_refused() {
    let wit = WIT.replace(
        "world store-provider { export store; }",
        "interface extra { f: func(); } world store-provider { export store; export extra; }
         world signer-and-extra { export signer; export extra; }",
    );
    let (core, store, signer) =
        (component(WIT, "core"), component(&wit, "store-provider"), component(&wit, "signer-and-extra"));
    let parts: [(&str, &[u8]); 3] = [("core", &core), ("store", &store), ("signer", &signer)];
    compose(&parts).unwrap();
    let error = compose_with(&parts, Exports::All).unwrap_err();
    assert!(
        matches!(&error, PlugError::ExportedTwice { export, .. } if export == "t:log/extra@0.1.0"),
        "{error}"
    );
    assert!(error.to_string().contains("both `store` and `signer`"), "{error}");
}

#[test]
fn worlds_are_found_in_every_package_of_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("worlds.wit", WIT);
    write("gate/gate.wit", GATE);
    write("no-wit/README.md", "not a package");
    let worlds = Worlds::read(dir.path()).unwrap();
    let (gate, log) = (component(&gate_wit(), "gate"), component(WIT, "composed"));
    let parts: [(&str, &[u8]); 2] = [("gate", &gate), ("log", &log)];
    worlds.check(&log, "composed").unwrap();
    worlds.check(&compose_with(&parts, Exports::All).unwrap(), "composed-gate").unwrap();
    let error = worlds.check(&compose(&parts).unwrap(), "composed-gate").unwrap_err().to_string();
    assert!(error.contains("it does not export `t:log/log@0.1.0`"), "{error}");
    assert!(worlds.imports("gate", "t:log/log@0.1.0") && !worlds.imports("composed", "t:log/log@0.1.0"));

    write("gate/gate.wit", &GATE.replace("world composed-gate", "world composed"));
    let error = Worlds::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("another world `composed`"), "{error}");
}

#[test]
fn bytes_that_are_no_component_are_refused_by_name() {
    let core = component(WIT, "core");
    let error = compose(&[("core", &core), ("store", b"not wasm")]).unwrap_err().to_string();
    assert!(error.starts_with("`store` is not a valid component"), "{error}");
}

#[test]
fn an_artifact_must_fit_its_world() {
    let core = component(WIT, "core");
    let composed = component(WIT, "composed");
    let other = component(&WIT.replace("last: func() -> row", "last: func() -> option<row>"), "composed");
    let worlds = worlds(WIT);
    let refused = |bytes: &[u8], world: &str| worlds.check(bytes, world).unwrap_err().to_string();

    worlds.check(&composed, "composed").unwrap();
    assert!(refused(&core, "composed").contains("it imports `t:log/store@0.1.0`"));
    assert!(refused(&composed, "two-logs").contains("it does not export `t:log/signer@0.1.0`"));
    assert!(refused(&other, "composed").contains("`t:log/log@0.1.0` has another type"));
    assert!(refused(&composed, "nowhere").contains("no world `nowhere`"));
}

#[test]
fn wasi_may_come_on_top_of_a_world_and_its_patch_version_is_not_compared() {
    let with = |version: &str, world: &str| {
        let wit = format!(
            "{WIT}\nworld with-wasi {{ import wasi:made-up/up@{version}; export log; }}\n\
             package wasi:made-up@{version} {{ interface up {{ f: func(); }} }}"
        );
        (component(&wit, "with-wasi"), worlds(&wit), world.to_owned())
    };
    let (newer, worlds_newer, world) = with("0.2.9", "with-wasi");
    let (older, worlds_older, _) = with("0.2.3", "with-wasi");
    worlds_older.check(&newer, &world).unwrap();
    worlds_newer.check(&older, &world).unwrap();
    worlds(WIT).check(&newer, "composed").unwrap();
    assert_eq!(Outline::of("x", &newer).unwrap().imports[1], "wasi:made-up/up@0.2");

    let (next, ..) = with("0.3.0", "with-wasi");
    assert!(worlds(WIT).check(&next, "composed").unwrap_err().to_string().contains("wasi:made-up/up@0.3.0"));
}

#[test]
fn a_sealed_component_has_no_environment_and_is_otherwise_the_same() {
    let wit = |import: &str| {
        format!(
            "{WIT}\nworld nosy {{ {import} import store; export log; }}\n\
             package wasi:cli@0.2.6 {{ interface environment {{
                get-environment: func() -> list<tuple<string, string>>;
                get-arguments: func() -> list<string>;
                initial-cwd: func() -> option<string>;
             }} }}"
        )
    };
    let nosy = component(&wit("import wasi:cli/environment@0.2.6;"), "nosy");
    let modest = component(&wit(""), "nosy");
    let seal = |bytes| seal_environment(Part { name: "nosy", bytes }).unwrap();

    let outline = Outline::of("modest", &modest).unwrap();
    assert_ne!(Outline::of("nosy", &nosy).unwrap(), outline);
    assert_eq!(Outline::of("sealed", &seal(&nosy)).unwrap(), outline);
    assert_eq!(seal(&modest), modest);
}

mod command {
    use std::{path::Path, process::Command};

    use super::{WIT, component};

    /// A folder as the repository has it: stacks, WIT and built components.
    fn folder(stacks: &str, store_wit: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        write("wit/worlds.wit", WIT.as_bytes());
        write("built/t_core.wasm", &component(WIT, "core"));
        write("built/t_store.wasm", &component(store_wit, "store-provider"));
        write("built/t_signer.wasm", &component(WIT, "signer-provider"));
        let components = "[components]\ncore = { package = 't-core' }\nstore = { package = 't-store' }\nsigner = { package = 't-signer' }\n[stacks]\n";
        write("stacks.toml", format!("{components}{stacks}").as_bytes());
        dir
    }

    fn build(dir: &Path, more: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_secure-log-compose"))
            .args(["build", "--components", "built"])
            .args(more)
            .current_dir(dir)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    const STACK: &str = "a = { socket = 'core', plugs = ['store', 'signer'], world = 'composed' }\n";

    #[test]
    fn builds_prints_and_pins_the_imports() {
        let dir = folder(STACK, WIT);
        let (ok, text) = build(dir.path(), &[]);
        assert!(!ok && text.contains("no golden list"), "{text}");
        assert!(!dir.path().join("dist").exists(), "an artifact that was not approved was written");

        let (ok, text) = build(dir.path(), &["--bless"]);
        assert!(
            ok && text.contains("dist/a.wasm") && text.contains("t:log/types@0.1.0 (types only)"),
            "{text}"
        );
        let (ok, text) = build(dir.path(), &[]);
        assert!(ok, "{text}");
        let golden = std::fs::read_to_string(dir.path().join("tests/golden/a.imports")).unwrap();
        assert_eq!(golden, "t:log/types@0.1.0 (types only)\n");

        let show = Command::new(env!("CARGO_BIN_EXE_secure-log-compose"))
            .args(["show", "dist/a.wasm"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(String::from_utf8(show.stdout).unwrap().contains("exports:\n    t:log/log@0.1.0"));
    }

    #[test]
    fn a_mismatched_plug_fails_the_build_and_leaves_the_old_artifact() {
        let dir = folder(STACK, WIT);
        assert!(build(dir.path(), &["--bless"]).0);
        let before = std::fs::read(dir.path().join("dist/a.wasm")).unwrap();
        let other = WIT.replace("rows: list<row>", "rows: list<u64>");
        std::fs::write(dir.path().join("built/t_store.wasm"), component(&other, "store-provider")).unwrap();
        let (ok, text) = build(dir.path(), &[]);
        assert!(!ok, "{text}");
        assert!(
            text.contains("artifact `a`: `store` offers `t:log/store@0.1.0`") && text.contains("rows"),
            "{text}"
        );
        assert_eq!(std::fs::read(dir.path().join("dist/a.wasm")).unwrap(), before);
    }

    #[test]
    fn a_stack_can_be_part_of_another() {
        let wit = WIT.replace(
            "world store-provider { export store; }",
            "world store-provider { import signer; export store; }",
        );
        let stacks = "a = { socket = 'core', plugs = ['b', 'signer'], world = 'composed' }\n\
                      b = { socket = 'store', plugs = ['signer'], world = 'store-provider' }\n";
        let dir = folder(stacks, &wit);
        let (ok, text) = build(dir.path(), &["--bless"]);
        assert!(ok, "{text}");
        assert!(dir.path().join("dist/a.wasm").exists() && dir.path().join("dist/b.wasm").exists());
    }

    #[test]
    fn a_stack_that_reexports_exports_what_its_plugs_do() {
        let stacks =
            "a = { socket = 'core', plugs = ['store', 'signer'], world = 'composed', reexport = true }\n";
        let dir = folder(stacks, WIT);
        let (ok, text) = build(dir.path(), &["--bless"]);
        assert!(ok, "{text}");
        let bytes = std::fs::read(dir.path().join("dist/a.wasm")).unwrap();
        let exports = secure_log_compose::imports::Outline::of("a", &bytes).unwrap().exports;
        assert_eq!(exports, ["t:log/log@0.1.0", "t:log/signer@0.1.0", "t:log/store@0.1.0"]);
    }

    #[test]
    fn a_forbidden_import_is_refused_even_when_blessed() {
        let dir = folder(STACK, WIT);
        let stacks = std::fs::read_to_string(dir.path().join("stacks.toml")).unwrap();
        let stacks = stacks.replace("'t-core' }", "'t-core', forbid = ['t:log/signer'] }");
        std::fs::write(dir.path().join("stacks.toml"), stacks).unwrap();
        let (ok, text) = build(dir.path(), &["--bless"]);
        assert!(!ok && text.contains("component `core`: it imports `t:log/signer@0.1.0`"), "{text}");
    }

    #[test]
    fn a_component_that_is_not_built_is_named() {
        let dir = folder(STACK, WIT);
        std::fs::remove_file(dir.path().join("built/t_signer.wasm")).unwrap();
        let (ok, text) = build(dir.path(), &[]);
        assert!(!ok && text.contains("component `signer` is not built"), "{text}");
    }
}
