//! What a component imports and exports, as lines of text: for people to read and for golden lists to pin.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wac_types::{InterfaceId, ItemKind, Package, Type, Types};

use crate::files::write_atomically;

/// The names that a component imports and exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Sorted names of the imports, as [`outline_name`] writes them.
    pub imports: Vec<String>,
    /// Sorted names of the exports.
    pub exports: Vec<String>,
}

impl Outline {
    /// Reads the outline of a component.
    ///
    /// # Errors
    ///
    /// When the bytes are not a valid component.
    pub fn of(name: &str, component: &[u8]) -> Result<Self> {
        let mut types = Types::default();
        let package = Package::from_bytes(name, None, component, &mut types)
            .with_context(|| format!("{name} is not a valid component"))?;
        let world = &types[package.ty()];
        let list = |items: &mut dyn Iterator<Item = (&String, &ItemKind)>| {
            let mut lines: Vec<_> = items
                .map(|(name, kind)| {
                    let types_only = matches!(kind, ItemKind::Instance(id) if is_types_only(&types, *id));
                    outline_name(name, types_only)
                })
                .collect();
            lines.sort();
            lines.dedup();
            lines
        };
        Ok(Self { imports: list(&mut world.imports.iter()), exports: list(&mut world.exports.iter()) })
    }

    /// The first import that begins with one of `starts`.
    pub fn first_import_of(&self, starts: &[String]) -> Option<&str> {
        self.imports.iter().find(|import| begins_with_one_of(import, starts)).map(String::as_str)
    }

    /// The first of `starts` that no export begins with.
    pub fn first_missing_export<'s>(&self, starts: &'s [String]) -> Option<&'s str> {
        let missing = |start: &&String| {
            !self.exports.iter().any(|export| begins_with_one_of(export, std::slice::from_ref(start)))
        };
        starts.iter().find(missing).map(String::as_str)
    }

    /// The imports that a golden list pins: all but those that begin with one of `ambient`.
    pub fn pinned_imports(&self, ambient: &[String]) -> Vec<String> {
        self.imports.iter().filter(|import| !begins_with_one_of(import, ambient)).cloned().collect()
    }
}

/// Whether a name begins with one of `starts` and ends there at a border: `wasi:io` begins `wasi:io/poll@0.2`, and not
/// `wasi:ios/x`.
fn begins_with_one_of(name: &str, starts: &[String]) -> bool {
    starts
        .iter()
        .filter_map(|start| name.strip_prefix(start.as_str()))
        .any(|rest| rest.is_empty() || rest.starts_with(['/', '@']))
}

/// An interface with neither functions nor resources: nobody has to implement it.
pub fn is_types_only(types: &Types, interface: InterfaceId) -> bool {
    types[interface]
        .exports
        .values()
        .all(|kind| matches!(kind, ItemKind::Type(ty) if !matches!(ty, Type::Resource(_))))
}

/// The name as outlines show it. Hosts match WASI by its minor version and each library brings its own patch version,
/// so `wasi:io/streams@0.2.6` is shown as `wasi:io/streams@0.2`.
pub fn outline_name(name: &str, types_only: bool) -> String {
    let mut shown = name.to_owned();
    if name.starts_with("wasi:")
        && let Some((interface, version)) = name.split_once('@')
        && let Some((minor, patch)) = version.rsplit_once('.')
        && minor.contains('.')
        && patch.bytes().all(|byte| byte.is_ascii_digit())
    {
        shown = format!("{interface}@{minor}");
    }
    if types_only {
        shown.push_str(" (types only)");
    }
    shown
}

/// Compares the imports with the golden list in the file `golden`, or writes that file when `bless` is set.
///
/// # Errors
///
/// Names each import that is new and each that is gone.
pub fn check_golden(imports: &[String], golden: &Path, bless: bool) -> Result<()> {
    let mut text: String = imports.iter().flat_map(|line| [line, "\n"]).collect();
    if bless {
        write_atomically(golden, text.as_bytes())?;
        return Ok(());
    }
    let expected = match std::fs::read_to_string(golden) {
        Ok(expected) => expected.replace("\r\n", "\n"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no golden list of imports {} yet; if these imports are meant, write it with --bless:\n{}",
            golden.display(),
            text.trim_end()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", golden.display())),
    };
    if text == expected {
        return Ok(());
    }
    let expected: Vec<&str> = expected.lines().collect();
    text.clear();
    for new in imports.iter().filter(|line| !expected.contains(&line.as_str())) {
        text.push_str(&format!("\n  + {new}"));
    }
    for gone in expected.iter().filter(|line| !imports.iter().any(|import| import == *line)) {
        text.push_str(&format!("\n  - {gone}"));
    }
    bail!(
        "the imports are not those of {} (+ new, - gone); if this is meant, run again with --bless and commit the change:{text}",
        golden.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wasi_is_shown_by_its_minor_version() {
        assert_eq!(outline_name("wasi:io/streams@0.2.6", false), "wasi:io/streams@0.2");
        assert_eq!(outline_name("wasi:io/streams@0.3.0-rc-1", false), "wasi:io/streams@0.3.0-rc-1");
        assert_eq!(outline_name("a:b/c@0.1.0", true), "a:b/c@0.1.0 (types only)");
    }

    #[test]
    fn what_is_forbidden_is_found_at_a_border_of_the_name() {
        let outline = Outline {
            imports: vec!["wasi:filesystem/types@0.2".into(), "wasi:cli/environment@0.2".into()],
            exports: vec![],
        };
        let forbid = |start: &str| outline.first_import_of(&[start.to_owned()]);
        assert_eq!(forbid("wasi:filesystem"), Some("wasi:filesystem/types@0.2"));
        assert_eq!(forbid("wasi:cli/environment"), Some("wasi:cli/environment@0.2"));
        assert_eq!(forbid("wasi:file"), None);
        assert_eq!(forbid("wasi:cli/env"), None);
        assert_eq!(outline.pinned_imports(&["wasi:filesystem".to_owned()]), ["wasi:cli/environment@0.2"]);
    }

    #[test]
    fn a_golden_list_names_what_is_new_and_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let golden = dir.path().join("x.imports");
        let before = ["a:b/c".to_owned(), "d:e/f".to_owned()];
        let after = ["a:b/c".to_owned(), "g:h/i".to_owned()];
        assert!(check_golden(&before, &golden, false).unwrap_err().to_string().contains("--bless"));
        check_golden(&before, &golden, true).unwrap();
        check_golden(&before, &golden, false).unwrap();
        let error = check_golden(&after, &golden, false).unwrap_err().to_string();
        assert!(error.contains("+ g:h/i") && error.contains("- d:e/f"), "{error}");
        assert!(!error.contains("a:b/c"), "{error}");
    }
}
