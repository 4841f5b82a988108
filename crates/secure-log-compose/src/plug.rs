//! Plugging: the exports of some components become the imports of another.

use wac_graph::{
    CompositionGraph, EncodeOptions, PackageId, Processor,
    types::{ItemKind, Package, SubtypeChecker, are_semver_compatible},
};

use crate::imports::is_types_only;

/// A component with the name it has in messages.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Its name in `stacks.toml`.
    pub name: &'a str,
    /// The component's bytes.
    pub bytes: &'a [u8],
}

/// Why components could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    /// The bytes of a part are not a component.
    #[error("`{part}` is not a valid component: {reason:#}")]
    NotAComponent {
        /// The part.
        part: String,
        /// What the decoder said.
        reason: anyhow::Error,
    },
    /// An export has the name of an import of the socket, but another type.
    #[error("`{plug}` offers `{export}`, but not as `{socket}` imports it: {reason:#}")]
    Mismatch {
        /// The part that offers it.
        plug: String,
        /// The name of its export.
        export: String,
        /// The part that imports it.
        socket: String,
        /// Which function and which type differ.
        reason: anyhow::Error,
    },
    /// A plug exports nothing that the socket imports.
    #[error(
        "`{plug}` was not used: it offers {}, and `{socket}` imports {}",
        listed(.offers), listed(.imports)
    )]
    Unused {
        /// The part without a use.
        plug: String,
        /// What it exports.
        offers: Vec<String>,
        /// The part that it was to be plugged into.
        socket: String,
        /// What that imports, beside WASI.
        imports: Vec<String>,
    },
    /// Two plugs for one import.
    #[error("both `{first}` and `{second}` offer `{import}` to `{socket}`; leave one out")]
    Twice {
        /// The part that was plugged first.
        first: String,
        /// The part that came too late.
        second: String,
        /// The import that both would satisfy.
        import: String,
        /// The part that imports it.
        socket: String,
    },
    /// Two parts for one export.
    #[error("both `{first}` and `{second}` offer `{export}` to the host; leave one out, or do not re-export")]
    ExportedTwice {
        /// The part whose export the artifact has.
        first: String,
        /// The part that came too late.
        second: String,
        /// The export that both would be.
        export: String,
    },
    /// Imports of the socket that no plug satisfied and that no host has.
    #[error("`{socket}` still imports {}, which none of the plugs offers", listed(.imports))]
    Unsatisfied {
        /// The part with the open imports.
        socket: String,
        /// Their names.
        imports: Vec<String>,
    },
    /// The graph could not be built or encoded.
    #[error("the composition of `{socket}` failed: {reason:#}")]
    Graph {
        /// The part whose imports were to be satisfied.
        socket: String,
        /// What wac said.
        reason: anyhow::Error,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { format!("`{}`", names.join("`, `")) }
}

/// What the host sees of a composition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exports {
    /// What the socket exports.
    Socket,
    /// That, and what the plugs export and the socket does not: of the same instances that the socket uses, so that
    /// both see one state.
    All,
}

/// Satisfies imports of `socket` with exports of `plugs`. The result exports what `exports` says, and imports what
/// is left: WASI, interfaces that hold only types, and what `left_open` accepts. Instances are made in the order of
/// `plugs`, so the same parts give the same bytes, with [`Exports::Socket`] the ones that `wac plug` gives.
///
/// # Errors
///
/// Whenever the result would not be complete: see [`PlugError`].
pub fn plug(
    socket: Part<'_>,
    plugs: &[Part<'_>],
    exports: Exports,
    left_open: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, PlugError> {
    let mut graph = CompositionGraph::new();
    let graph_error = |reason: anyhow::Error| PlugError::Graph { socket: socket.name.to_owned(), reason };

    let socket_package = register(&mut graph, socket)?;
    let plug_packages =
        plugs.iter().map(|part| register(&mut graph, *part)).collect::<Result<Vec<_>, _>>()?;
    let socket_instance = graph.instantiate(socket_package);

    let mut satisfied: Vec<(String, &str)> = Vec::new();
    let mut exporters = vec![(socket, socket_package, socket_instance)];
    for (part, package) in plugs.iter().zip(plug_packages) {
        let matches = matches(&graph, socket, socket_package, *part, package)?;
        if matches.is_empty() {
            return Err(PlugError::Unused {
                plug: part.name.to_owned(),
                offers: own(graph.types()[graph[package].ty()].exports.keys()),
                socket: socket.name.to_owned(),
                imports: own(graph.types()[graph[socket_package].ty()].imports.keys()),
            });
        }
        let instance = graph.instantiate(package);
        if exports == Exports::All {
            exporters.push((*part, package, instance));
        }
        for (export, import) in matches {
            if let Some((_, first)) = satisfied.iter().find(|(name, _)| *name == import) {
                return Err(PlugError::Twice {
                    first: (*first).to_owned(),
                    second: part.name.to_owned(),
                    import,
                    socket: socket.name.to_owned(),
                });
            }
            let alias = graph.alias_instance_export(instance, &export).map_err(|e| graph_error(e.into()))?;
            graph
                .set_instantiation_argument(socket_instance, &import, alias)
                .map_err(|e| graph_error(e.into()))?;
            satisfied.push((import, part.name));
        }
    }

    let world = &graph.types()[graph[socket_package].ty()];
    let open: Vec<String> = world
        .imports
        .iter()
        .filter(|(name, kind)| {
            !name.starts_with("wasi:")
                && !satisfied.iter().any(|(import, _)| import == *name)
                && !matches!(kind, ItemKind::Instance(id) if is_types_only(graph.types(), *id))
                && !left_open(name)
        })
        .map(|(name, _)| name.clone())
        .collect();
    if !open.is_empty() {
        return Err(PlugError::Unsatisfied { socket: socket.name.to_owned(), imports: open });
    }

    let mut exported: Vec<(String, &str)> = Vec::new();
    for (part, package, instance) in exporters {
        for name in graph.types()[graph[package].ty()].exports.keys().cloned().collect::<Vec<_>>() {
            match exported.iter().find(|(other, _)| *other == name) {
                // It may be in front of what it imports: whoever calls it calls the socket.
                Some((_, first)) if *first == socket.name => continue,
                Some((_, first)) => {
                    return Err(PlugError::ExportedTwice {
                        first: (*first).to_owned(),
                        second: part.name.to_owned(),
                        export: name,
                    });
                }
                None => {}
            }
            let alias = graph.alias_instance_export(instance, &name).map_err(|e| graph_error(e.into()))?;
            graph.export(alias, &name).map_err(|e| graph_error(e.into()))?;
            exported.push((name, part.name));
        }
    }
    let processor = Some(Processor { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") });
    graph.encode(EncodeOptions { processor, ..EncodeOptions::default() }).map_err(|e| graph_error(e.into()))
}

fn register(graph: &mut CompositionGraph, part: Part<'_>) -> Result<PackageId, PlugError> {
    // wac wants package names; the prefix keeps a part that is its own plug apart from itself.
    Package::from_bytes(&format!("part:{}", part.name), None, part.bytes, graph.types_mut())
        .and_then(|package| Ok(graph.register_package(package)?))
        .map_err(|reason| PlugError::NotAComponent { part: part.name.to_owned(), reason })
}

/// The pairs (export of the plug, import of the socket) of one name and one type.
/// Names match as wac matches them: exactly, else by compatible version.
fn matches(
    graph: &CompositionGraph,
    socket: Part<'_>,
    socket_package: PackageId,
    plug: Part<'_>,
    plug_package: PackageId,
) -> Result<Vec<(String, String)>, PlugError> {
    let types = graph.types();
    let imports = &types[graph[socket_package].ty()].imports;
    let mut cache = Default::default();
    let mut checker = SubtypeChecker::new(&mut cache);
    let mut pairs = Vec::new();
    for (export, offered) in &types[graph[plug_package].ty()].exports {
        let import = imports
            .get_key_value(export)
            .or_else(|| imports.iter().find(|(import, _)| are_semver_compatible(export, import)));
        let Some((import, wanted)) = import else { continue };
        checker.is_subtype(*offered, types, *wanted, types).map_err(|reason| PlugError::Mismatch {
            plug: plug.name.to_owned(),
            export: export.clone(),
            socket: socket.name.to_owned(),
            reason,
        })?;
        pairs.push((export.clone(), import.clone()));
    }
    Ok(pairs)
}

/// Names without WASI's, which every plug and socket has.
fn own<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.filter(|name| !name.starts_with("wasi:")).cloned().collect()
}
