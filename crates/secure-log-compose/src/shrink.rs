//! Makes a component smaller: its core modules go through binaryen's `wasm-opt`, which knows no components.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::files::write_atomically;

/// Modules below this are adapters that nothing can be gained from.
const WORTH_IT: usize = 16 << 10;

/// What rustc's default features for wasm need, in words that old versions of `wasm-opt` know.
const FLAGS: [&str; 7] = [
    "-Oz",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// The component with its core modules optimised for size. What came out is kept in `cache`, under
/// the name of the component, for as long as the same component comes in.
///
/// # Errors
///
/// When the bytes are no component, or `wasm-opt` fails.
pub fn shrink(name: &str, component: &[u8], wasm_opt: &Path, cache: &Path) -> Result<Vec<u8>> {
    let (before, after) = (cache.join(format!("{name}.before.wasm")), cache.join(format!("{name}.wasm")));
    if std::fs::read(&before).is_ok_and(|old| old == component)
        && let Ok(done) = std::fs::read(&after)
    {
        return Ok(done);
    }
    let (preamble, mut rest) = component.split_at_checked(8).context("it is no component: too short")?;
    let mut out = preamble.to_vec();
    while let Some((&id, tail)) = rest.split_first() {
        let (content, tail) = section(tail).context("it is no component: a section is cut off")?;
        // Section 1 of a component is a core module (component-model, Binary.md).
        let smaller = match id {
            1 if content.len() >= WORTH_IT => Some(optimise(name, content, wasm_opt, cache)?),
            _ => None,
        };
        let content = smaller.as_deref().unwrap_or(content);
        out.push(id);
        leb128(&mut out, content.len());
        out.extend_from_slice(content);
        rest = tail;
    }
    // The result first: a run that is interrupted here does it again.
    write_atomically(&after, &out)?;
    write_atomically(&before, component)?;
    Ok(out)
}

fn optimise(name: &str, module: &[u8], wasm_opt: &Path, cache: &Path) -> Result<Vec<u8>> {
    let (input, output) = (cache.join(format!("{name}.module")), cache.join(format!("{name}.module.opt")));
    write_atomically(&input, module)?;
    let run = Command::new(wasm_opt).args(FLAGS).arg(&input).arg("-o").arg(&output).output();
    let run = run.with_context(|| format!("cannot run {}", wasm_opt.display()))?;
    if !run.status.success() {
        bail!("{} failed: {}", wasm_opt.display(), String::from_utf8_lossy(&run.stderr).trim());
    }
    let bytes = std::fs::read(&output).with_context(|| format!("cannot read {}", output.display()))?;
    for file in [input, output] {
        let _ = std::fs::remove_file(file);
    }
    Ok(bytes)
}

/// Content of a section that follows its id, and what comes after it.
fn section(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut size, mut at) = (0usize, 0);
    loop {
        let byte = *bytes.get(at)?;
        size |= usize::from(byte & 0x7f).checked_shl(7 * at as u32).filter(|_| at < 5)?;
        at += 1;
        if byte & 0x80 == 0 {
            return bytes.get(at..)?.split_at_checked(size);
        }
    }
}

fn leb128(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_by_their_size() {
        let mut bytes = Vec::new();
        leb128(&mut bytes, 300);
        bytes.extend([7; 301]);
        let (content, rest) = section(&bytes).unwrap();
        assert_eq!((content.len(), rest), (300, &[7][..]));
        assert!(section(&bytes[..200]).is_none());
        assert!(section(&[0x80; 9]).is_none());
        assert!(section(&[]).is_none());
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = shrink("x", b"\0asm", Path::new("wasm-opt"), dir.path()).unwrap_err();
        assert!(error.to_string().contains("no component"), "{error}");
        let error =
            shrink("x", b"\0asm\x0d\0\x01\0\x01\x7fabc", Path::new("wasm-opt"), dir.path()).unwrap_err();
        assert!(error.to_string().contains("cut off"), "{error}");
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut component = b"\0asm\x0d\0\x01\0\x01".to_vec();
        leb128(&mut component, WORTH_IT);
        component.extend(vec![0; WORTH_IT]);
        let error = shrink("x", &component, Path::new("no-such-wasm-opt"), dir.path()).unwrap_err();
        assert!(error.to_string().contains("no-such-wasm-opt"), "{error}");
    }
}
