//! Checking a component against a world of the WIT packages: the rule of `wac targets`.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use wac_types::{ItemKind, Package, Type, Types, WorldId, validate_target};
use wit_parser::Resolve;

use crate::imports::is_types_only;

/// The worlds of a WIT package, ready for checks.
#[derive(Debug)]
pub struct Worlds {
    encoded: Vec<u8>,
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
    /// Reads the WIT package in the folder `wit` with its `deps`.
    ///
    /// # Errors
    ///
    /// When the WIT does not parse or resolve.
    pub fn read(wit: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) =
            resolve.push_dir(wit).with_context(|| format!("cannot read the WIT in {}", wit.display()))?;
        let encoded = wit_component::encode(&resolve, package)
            .with_context(|| format!("cannot encode the WIT in {}", wit.display()))?;
        Ok(Self { encoded })
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
        let wit = Package::from_bytes("wit", None, self.encoded.clone(), &mut types)?;
        let target = find_world(&types, wit.ty(), world)
            .ok_or_else(|| anyhow!("the WIT declares no world `{world}`; add it to wit/worlds.wit"))?;
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
        Package::from_bytes("wit", None, self.encoded.clone(), &mut types)
            .ok()
            .and_then(|wit| find_world(&types, wit.ty(), world))
            .is_some_and(|id| types[id].imports.contains_key(name))
    }
}

/// An encoded WIT package exports a type for each world, and that type exports the world itself as a component.
fn find_world(types: &Types, package: WorldId, world: &str) -> Option<WorldId> {
    let ItemKind::Type(Type::World(holder)) = types[package].exports.get(world)? else { return None };
    match types[*holder].exports.values().next()? {
        ItemKind::Component(id) => Some(*id),
        _ => None,
    }
}
