//! Checking a component against a world of the WIT packages: the rule of `wac targets`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use wac_types::{ItemKind, Package, Type, Types, WorldId, validate_target};
use wit_parser::Resolve;

use crate::imports::is_types_only;

/// The worlds of the WIT packages, ready for checks.
#[derive(Debug)]
pub struct Worlds {
    /// Each package, encoded.
    packages: Vec<Vec<u8>>,
}

/// Why a component does not fit a world.
#[derive(Debug, thiserror::Error)]
#[error("it does not fit the world `{world}`:{}", .differences.iter().map(|line| format!("\n  {line}")).collect::<String>())]
pub struct WorldError {
    /// The world.
    pub world: String,
    /// One line for each import or export that differs.
    pub differences: Vec<String>,
}

impl Worlds {
    /// Reads the WIT package in the folder `wit` with its `deps`, and those in its other folders: they may use it and
    /// each other, in the order of their names.
    ///
    /// # Errors
    ///
    /// When the WIT does not parse or resolve, or two packages have a world of one name.
    pub fn read(wit: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let mut packages = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for folder in folders(wit).with_context(|| format!("cannot read the folder {}", wit.display()))? {
            let (package, _) = resolve
                .push_dir(&folder)
                .with_context(|| format!("cannot read the WIT in {}", folder.display()))?;
            for world in resolve.packages[package].worlds.keys() {
                if names.contains(world) {
                    bail!(
                        "{} has another world `{world}`; stacks.toml could not tell them apart",
                        folder.display()
                    );
                }
                names.push(world.clone());
            }
            packages.push(package);
        }
        let encode = |package| wit_component::encode(&resolve, package);
        let packages = packages.into_iter().map(encode).collect::<Result<_>>();
        Ok(Self {
            packages: packages.with_context(|| format!("cannot encode the WIT in {}", wit.display()))?,
        })
    }

    /// Checks that `component` imports at most what the world imports, and exports at least what it exports, with
    /// matching types. Versions match as hosts match them (0.2.6 serves 0.2.3). Imports of WASI 0.2 and of interfaces
    /// that hold only types may come on top: every host has the first (the golden lists pin which), nobody implements
    /// the second.
    ///
    /// # Errors
    ///
    /// An unknown world, an invalid component, or a [`WorldError`].
    pub fn check(&self, component: &[u8], world: &str) -> Result<()> {
        let mut types = Types::default();
        let target = self
            .find(&mut types, world)?
            .ok_or_else(|| anyhow!("the WIT declares no world `{world}`; add it to a worlds.wit"))?;
        let component = Package::from_bytes("component", None, component, &mut types)?;

        let Err(report) = validate_target(&types, target, component.ty()) else { return Ok(()) };
        let imports = &types[component.ty()].imports;
        let harmless = |name: &str| {
            (name.starts_with("wasi:") && name.contains("@0.2."))
                || matches!(imports.get(name), Some(ItemKind::Instance(id)) if is_types_only(&types, *id))
        };
        let differences: Vec<String> = report
            .imports_not_in_target()
            .filter(|name| !harmless(name))
            .map(|name| format!("it imports `{name}`, which the world does not"))
            .chain(report.missing_exports().map(|(name, _)| format!("it does not export `{name}`")))
            .chain(
                report
                    .mismatched_types()
                    .map(|(name, _, reason)| format!("`{name}` has another type: {reason:#}")),
            )
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(WorldError { world: world.to_owned(), differences }.into())
    }

    /// Whether the world imports an interface of this name.
    pub fn imports(&self, world: &str, name: &str) -> bool {
        let mut types = Types::default();
        let found = self.find(&mut types, world).ok().flatten();
        found.is_some_and(|id| types[id].imports.contains_key(name))
    }

    fn find(&self, types: &mut Types, world: &str) -> Result<Option<WorldId>> {
        for (n, encoded) in self.packages.iter().enumerate() {
            let package = Package::from_bytes(&format!("wit{n}"), None, encoded.clone(), types)?;
            if let Some(found) = find_world(types, package.ty(), world) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The folder itself, then those in it that hold WIT, by name.
fn folders(wit: &Path) -> std::io::Result<Vec<PathBuf>> {
    let holds_wit = |folder: &Path| -> std::io::Result<bool> {
        for entry in folder.read_dir()? {
            if entry?.path().extension().is_some_and(|ending| ending == "wit") {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let mut folders = Vec::new();
    for entry in wit.read_dir()? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "deps") && holds_wit(&path)? {
            folders.push(path);
        }
    }
    folders.sort();
    folders.insert(0, wit.to_owned());
    Ok(folders)
}

/// An encoded WIT package exports a type for each world, and that type exports the world itself as a component.
fn find_world(types: &Types, package: WorldId, world: &str) -> Option<WorldId> {
    let ItemKind::Type(Type::World(holder)) = types[package].exports.get(world)? else { return None };
    match types[*holder].exports.values().next()? {
        ItemKind::Component(id) => Some(*id),
        _ => None,
    }
}

/// What a component imports and exports, as WIT text with every package that it names: all that a host or a generator
/// of bindings needs.
///
/// # Errors
///
/// When `component` is no component.
pub fn wit_of(component: &[u8]) -> Result<String> {
    let decoded = wit_component::decode(component).context("its WIT cannot be read")?;
    let (resolve, package) = (decoded.resolve(), decoded.package());
    let others: Vec<_> = resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != package).collect();
    let mut printer = wit_component::WitPrinter::default();
    printer.print(resolve, package, &others)?;
    Ok(printer.output.to_string())
}
