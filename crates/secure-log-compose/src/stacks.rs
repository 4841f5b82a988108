//! `stacks.toml`: which components there are and which artifacts are composed from them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The contents of `stacks.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stacks {
    /// Beginnings of the names of imports that Rust's std and libc bring along or not, by their version, and that give
    /// access to nobody's data: golden lists leave them out.
    #[serde(default)]
    pub ambient: Vec<String>,
    /// The components, by the names that stacks use for them (their folders under `components/`).
    pub components: BTreeMap<String, Component>,
    /// The artifacts, by file name without `.wasm`.
    pub stacks: BTreeMap<String, Stack>,
}

/// A component that this repository builds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Component {
    /// The Cargo package that builds it.
    pub package: String,
    /// Beginnings of import names that it must never have, whatever its golden list says:
    /// `wasi:filesystem` forbids the whole package, `wasi:cli/environment` one interface.
    #[serde(default)]
    pub forbid: Vec<String>,
    /// Whether it gets an empty environment in place of the host's, should it import one.
    #[serde(default)]
    pub no_environment: bool,
    /// Whether it is for tests alone.
    #[serde(default)]
    pub test: bool,
    /// It may not be there: what to do to get it. It and the artifacts with it in them are left out then.
    pub optional: Option<String>,
    /// Whether there is no build of it with wide arithmetic.
    #[serde(default)]
    pub portable_only: bool,
}

impl Component {
    /// The name of the file that Cargo builds for it.
    pub fn file_name(&self) -> String {
        format!("{}.wasm", self.package.replace('-', "_"))
    }
}

/// An artifact: a socket and what is plugged into it. Both may name components or other stacks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stack {
    /// Whose imports are satisfied, and whose exports the artifact has (with `reexport`: not alone).
    pub socket: String,
    /// What satisfies them. Each must be used.
    pub plugs: Vec<String>,
    /// The world that the artifact must fit, of any package in `wit/`.
    pub world: String,
    /// Whether the artifact has the plugs' exports as well, those of which the socket has none of that name.
    #[serde(default)]
    pub reexport: bool,
    /// Beginnings of the names of exports that it must have besides, for those that no world of ours can list: WASI's.
    #[serde(default)]
    pub exports: Vec<String>,
    /// Whether it is for tests alone.
    #[serde(default)]
    pub test: bool,
    /// Whether it is a part of other artifacts, and stands with the components.
    #[serde(default)]
    pub part: bool,
}

impl Stack {
    /// What it is made of: the socket and the plugs.
    pub fn parts(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.socket).chain(&self.plugs)
    }
}

/// Why a `stacks.toml` was refused.
#[derive(Debug, thiserror::Error)]
pub enum StacksError {
    /// Not TOML, or not of this shape.
    #[error("stacks.toml cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A stack names a part that does not exist.
    #[error("stack `{stack}` uses `{part}`, but there is no component or stack of that name in stacks.toml")]
    UnknownPart {
        /// The stack that names it.
        stack: String,
        /// The name that nothing has.
        part: String,
    },
    /// Stacks that need each other.
    #[error("stack `{0}` is made of itself, directly or through others")]
    Cycle(String),
    /// One name for two things.
    #[error("`{0}` is the name of both a component and a stack; rename one")]
    NameTwice(String),
}

impl Stacks {
    /// Reads the text of a `stacks.toml`.
    ///
    /// # Errors
    ///
    /// Says which stack or name is wrong.
    pub fn parse(text: &str) -> Result<Self, StacksError> {
        let stacks: Self = toml::from_str(text)?;
        if let Some(name) = stacks.stacks.keys().find(|name| stacks.components.contains_key(*name)) {
            return Err(StacksError::NameTwice(name.clone()));
        }
        stacks.build_order()?;
        Ok(stacks)
    }

    /// The stacks, each after those that it is made of.
    ///
    /// # Errors
    ///
    /// When a stack names something unknown, or itself.
    pub fn build_order(&self) -> Result<Vec<&str>, StacksError> {
        let mut order = Vec::new();
        for name in self.stacks.keys() {
            self.visit(name, &mut Vec::new(), &mut order)?;
        }
        Ok(order)
    }

    /// Everything that a stack is made of, directly or through other stacks.
    pub fn parts_of(&self, name: &str) -> Vec<&str> {
        let mut found = Vec::new();
        if let Some(stack) = self.stacks.get(name) {
            for part in stack.parts() {
                found.push(part.as_str());
                found.extend(self.parts_of(part));
            }
        }
        found
    }

    fn visit<'a>(
        &'a self,
        name: &'a str,
        above: &mut Vec<&'a str>,
        order: &mut Vec<&'a str>,
    ) -> Result<(), StacksError> {
        if order.contains(&name) {
            return Ok(());
        }
        if above.contains(&name) {
            return Err(StacksError::Cycle(name.to_owned()));
        }
        let stack = &self.stacks[name];
        above.push(name);
        for part in stack.parts() {
            if self.stacks.contains_key(part) {
                self.visit(part, above, order)?;
            } else if !self.components.contains_key(part) {
                return Err(StacksError::UnknownPart { stack: name.to_owned(), part: part.clone() });
            }
        }
        above.pop();
        order.push(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: &str =
        "[components]\ncore = { package = \"the-core\" }\nstore = { package = \"a-store\" }\n[stacks]\n";

    fn refused(stacks: &str) -> String {
        Stacks::parse(&format!("{PARTS}{stacks}")).unwrap_err().to_string()
    }

    #[test]
    fn a_stack_comes_after_the_stacks_it_is_made_of() {
        let stacks = Stacks::parse(&format!(
            "{PARTS}a = {{ socket = 'core', plugs = ['z'], world = 'w' }}\nz = {{ socket = 'store', plugs = [], world = 'w' }}"
        ))
        .unwrap();
        assert_eq!(stacks.build_order().unwrap(), ["z", "a"]);
        assert_eq!(stacks.components["core"].file_name(), "the_core.wasm");
    }

    #[test]
    fn wrong_stacks_are_named() {
        assert!(
            refused("a = { socket = 'core', plugs = ['nobody'], world = 'w' }").contains("`a` uses `nobody`")
        );
        assert!(refused("a = { socket = 'a', plugs = [], world = 'w' }").contains("`a` is made of itself"));
        assert!(
            refused("core = { socket = 'store', plugs = [], world = 'w' }")
                .contains("`core` is the name of both")
        );
        assert!(refused("a = { socket = 'core', plug = ['store'], world = 'w' }").contains("plug"));
    }
}
