//! Compiled components, kept beside the program by the hash of what they were compiled from.
//!
//! Compiling takes seconds, and the kill experiment starts dozens of processes. A compiled
//! artifact is native code, so it is only taken from `target/`, where the program itself lies.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Context;
use wasmtime::Engine;
use wasmtime::component::Component;

pub(crate) fn load(engine: &Engine, path: &Path) -> anyhow::Result<Component> {
    let wasm = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let cached = cache_dir().map(|dir| dir.join(format!("{}.cwasm", key(engine, &wasm))));
    if let Some(file) = cached.as_deref().filter(|file| file.is_file()) {
        // SAFETY: the file lies in the build folder beside this program and was written by it;
        // whoever can replace it can replace the program.
        match unsafe { Component::deserialize_file(engine, file) } {
            Ok(component) => return Ok(component),
            Err(_) => drop(fs::remove_file(file)),
        }
    }
    let component = Component::new(engine, &wasm).map_err(|e| {
        anyhow::anyhow!("{} is not a WebAssembly component that this harness can run: {e:#}", path.display())
    })?;
    if let Some(file) = cached {
        // Without a cache the next start is slower, and nothing else.
        let _ = keep(&file, &component);
    }
    Ok(component)
}

fn keep(file: &Path, component: &Component) -> anyhow::Result<()> {
    let dir = file.parent().context("no parent")?;
    fs::create_dir_all(dir)?;
    let mut part = tempfile::NamedTempFile::new_in(dir)?;
    std::io::Write::write_all(&mut part, &component.serialize().map_err(anyhow::Error::msg)?)?;
    part.persist(file)?;
    Ok(())
}

fn key(engine: &Engine, wasm: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    format!("{}-{:016x}", &blake3::hash(wasm).to_hex()[..32], settings.finish())
}

/// `target/compiled`, when the program runs from a `target` folder.
fn cache_dir() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let target = program.ancestors().find(|dir| dir.file_name().is_some_and(|name| name == "target"))?;
    Some(target.join("compiled"))
}
