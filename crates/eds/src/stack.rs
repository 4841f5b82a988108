//! `eds stack`: what a composed component consists of.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use serde::Serialize;
use serde_json::json;
use wasmparser::{Parser, Payload};

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
    /// A component: a file, or one that this program carries (sqlite, file, remote, ingest-sqlite, ingest-remote,
    /// ingest-sqlite-pkcs11-host)
    #[arg(value_name = "PATH|NAME")]
    component: Option<String>,
}

/// What is in a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The components in it that hold code, in the order in which they stand there. An artifact has no names of them;
    /// what they export says what they are.
    pub parts: Vec<PartInfo>,
    /// Names of its imports, sorted.
    pub imports: Vec<String>,
    /// Names of its exports, sorted.
    pub exports: Vec<String>,
}

/// A component in a component.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PartInfo {
    /// What it is for.
    pub role: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Names of its imports, sorted.
    pub imports: Vec<String>,
    /// Names of its exports, sorted.
    pub exports: Vec<String>,
    #[serde(skip)]
    has_code: bool,
}

/// What a part is for, by the first of these that it exports.
const ROLES: [(&str, &str); 9] = [
    ("edgesentry:audit/ingest@", "gate"),
    ("secure-log:log/log@", "core"),
    ("secure-log:log/store@", "store"),
    ("secure-log:log/transport@", "transport"),
    ("keys:keystore/signer@", "keystore"),
    ("pkcs11:token", "token"),
    ("wasi:http/incoming-handler@", "endpoint"),
    ("wasi:cli/environment@", "an empty environment"),
    ("", "other"),
];

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
        out.line("parts:")?;
        for part in &contents.parts {
            out.line(format_args!("  {}, {} bytes", part.role, part.bytes))?;
            for name in part.exports.iter().filter(|name| !name.starts_with("wasi:")) {
                out.line(format_args!("    exports {name}"))?;
            }
            for name in &part.imports {
                out.line(format_args!("    imports {name}"))?;
            }
        }
        for (what, names) in [("imports", &contents.imports), ("exports", &contents.exports)] {
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
        // Components that are open, the outermost first; a module counts as one that is passed over.
        let mut open = vec![Some(PartInfo::default())];
        let mut contents = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match payload {
                Payload::ModuleSection { .. } => {
                    if let Some(Some(part)) = open.last_mut() {
                        part.has_code = true;
                    }
                    open.push(None);
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    let bytes = (unchecked_range.end - unchecked_range.start) as u64;
                    open.push(Some(PartInfo { bytes, ..PartInfo::default() }));
                }
                Payload::ComponentImportSection(imports) => {
                    if let Some(Some(part)) = open.last_mut() {
                        for import in imports {
                            part.imports.push(import?.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(exports) => {
                    if let Some(Some(part)) = open.last_mut() {
                        for export in exports {
                            part.exports.push(export?.name.name.to_owned());
                        }
                    }
                }
                Payload::End(_) => {
                    let Some(Some(mut part)) = open.pop() else { continue };
                    part.imports.sort();
                    part.exports.sort();
                    if open.is_empty() {
                        (contents.imports, contents.exports) = (part.imports, part.exports);
                    } else if part.has_code {
                        let exports = |start: &str| part.exports.iter().any(|name| name.starts_with(start));
                        part.role =
                            ROLES.iter().find(|(start, _)| exports(start)).map_or("other", |(_, role)| role);
                        contents.parts.push(part);
                    }
                }
                _ => {}
            }
        }
        Ok(contents)
    }
}
