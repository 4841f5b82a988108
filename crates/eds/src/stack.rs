//! `eds stack`: what a composed component consists of.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use serde_json::json;
use wasmparser::{ComponentNameSectionReader, KnownCustom, Parser, Payload};

use crate::carried::{CARRIED, Carried};
use crate::files;
use crate::output::Output;

/// The largest component that is looked at.
const MAX_COMPONENT: usize = 256 << 20;

/// What is plugged into a composed component
///
/// Shows its parts and what it imports and exports. Without an argument it lists the components that this program
/// carries.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  eds stack
  eds stack sqlite
  eds stack dist/secure-log-remote.wasm --json")]
pub(crate) struct Args {
    /// A component: a file, or one that this program carries (sqlite, file, remote, ingest-sqlite, ingest-remote)
    #[arg(value_name = "PATH|NAME")]
    component: Option<String>,
}

/// What is in a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Names of the components in it, in the order in which they stand there.
    pub parts: Vec<String>,
    /// Names of its imports, sorted.
    pub imports: Vec<String>,
    /// Names of its exports, sorted.
    pub exports: Vec<String>,
}

impl Args {
    pub fn run(self, out: Output) -> Result<()> {
        let Some(component) = self.component else {
            let list = |carried: &Carried| {
                json!({
                    "name": carried.name,
                    "bytes": carried.bytes().len(),
                    "wide_arithmetic": carried.wide.is_some(),
                })
            };
            if out.json {
                return out.document(&CARRIED.iter().map(list).collect::<Vec<_>>());
            }
            for carried in CARRIED {
                let wide = if carried.wide.is_some() { "\twide arithmetic" } else { "" };
                out.line(format_args!("{}\t{} bytes{wide}", carried.name, carried.bytes().len()))?;
            }
            return Ok(());
        };
        let contents = match find(&component) {
            Some(carried) => Contents::of(carried.bytes()),
            None => {
                let path = PathBuf::from(&component);
                Contents::of(&files::read(&path, MAX_COMPONENT, "a component")?)
            }
        }
        .with_context(|| format!("{component} cannot be read"))?;
        if out.json {
            return out.document(&json!({
                "parts": contents.parts,
                "imports": contents.imports,
                "exports": contents.exports,
            }));
        }
        for (what, names) in
            [("parts", &contents.parts), ("imports", &contents.imports), ("exports", &contents.exports)]
        {
            out.line(format_args!("{what}:"))?;
            for name in names {
                out.line(format_args!("  {name}"))?;
            }
        }
        Ok(())
    }
}

/// A carried component by its whole name, or by what follows its product's name.
pub(crate) fn find(name: &str) -> Option<&'static Carried> {
    ["", "secure-log-", "edgesentry-"].iter().find_map(|product| Carried::find(&format!("{product}{name}")))
}

impl Contents {
    /// Reads a component's sections.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        if !Parser::is_component(bytes) {
            bail!("it is not a WebAssembly component");
        }
        let mut contents = Self::default();
        let mut depth = 0_usize;
        let mut components: u32 = 0;
        let mut names = std::collections::BTreeMap::new();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } => depth += 1,
                Payload::ComponentSection { .. } => {
                    if depth == 0 {
                        names.insert(components, None);
                        components += 1;
                    }
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        contents.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        contents.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if depth == 0 => {
                    if let KnownCustom::ComponentName(reader) = section.as_known() {
                        component_names(reader, &mut names);
                    }
                }
                _ => {}
            }
        }
        contents.parts = names
            .into_iter()
            .map(|(index, name)| name.unwrap_or_else(|| format!("component {index}, without a name")))
            .collect();
        contents.imports.sort();
        contents.exports.sort();
        Ok(contents)
    }
}

fn component_names(
    reader: ComponentNameSectionReader<'_>,
    names: &mut std::collections::BTreeMap<u32, Option<String>>,
) {
    for name in reader {
        if let Ok(wasmparser::ComponentName::Components(map)) = name {
            for naming in map.into_iter().flatten() {
                names.insert(naming.index, Some(naming.name.to_owned()));
            }
        }
    }
}
