//! Sealing: a component gets an empty environment of its own in place of the host's.
//!
//! Rust's std reads an environment variable when it prints a panic, and libc's helpers read others, so that most
//! components import `wasi:cli/environment` without a need. Composed components share the host's WASI: what may see
//! no variable must not import them.

use anyhow::{Context, Result};
use wac_types::{Package, Types};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemorySection, MemoryType, Module,
    TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::plug::{Exports, Part, plug};

const ENVIRONMENT: &str = "wasi:cli/environment";

/// The component `part` with an empty environment, arguments and working folder; unchanged when it imports none.
///
/// # Errors
///
/// When the component is invalid or imports an environment that is not the one of WASI 0.2.
pub fn seal_environment(part: Part<'_>) -> Result<Vec<u8>> {
    let mut types = Types::default();
    let package = Package::from_bytes(part.name, None, part.bytes, &mut types)
        .with_context(|| format!("`{}` is not a valid component", part.name))?;
    let imported = types[package.ty()]
        .imports
        .keys()
        .find(|name| name.strip_prefix(ENVIRONMENT).is_some_and(|version| version.starts_with('@')));
    let Some((_, version)) = imported.and_then(|name| name.split_once('@')) else {
        return Ok(part.bytes.to_vec());
    };
    let empty = empty_environment(version).context("cannot make the empty environment")?;
    Ok(plug(part, &[Part { name: "the empty environment", bytes: &empty }], Exports::Socket, |_| true)?)
}

/// A component that exports `wasi:cli/environment` and has nothing in it.
fn empty_environment(version: &str) -> Result<Vec<u8>> {
    const FUNCTIONS: [&str; 3] = ["get-environment", "get-arguments", "initial-cwd"];
    let wit = format!(
        "package wasi:cli@{version};
         interface environment {{
           get-environment: func() -> list<tuple<string, string>>;
           get-arguments: func() -> list<string>;
           initial-cwd: func() -> option<string>;
         }}
         world empty {{ export environment; }}"
    );
    let mut resolve = Resolve::default();
    let package = resolve.push_str("environment.wit", &wit)?;
    let world = resolve.select_world(&[package], Some("empty"))?;

    // Each function returns the address 0 of a memory of zeros: an empty list, and an option that is none.
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (index, name) in (0..).zip(FUNCTIONS) {
        functions.function(0);
        exports.export(&format!("{ENVIRONMENT}@{version}#{name}"), ExportKind::Func, index);
        let mut body = Function::new([]);
        body.instructions().i32_const(0).end();
        code.function(&body);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: Some(1),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    exports.export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);

    let mut module = module.finish();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().module(&module)?.validate(true).encode()
}
