//! How rules get at the stores that they test.

use std::any::Any;
use std::marker::PhantomData;
use std::path::Path;

use secure_log::error::Result;
use secure_log::store::{OpenStore, SecureLogStore};

/// A store that can be closed through a box.
pub trait AnyStore: SecureLogStore {
    /// [`SecureLogStore::close`].
    fn close_boxed(self: Box<Self>) -> Result<()>;
}

impl<S: SecureLogStore> AnyStore for S {
    fn close_boxed(self: Box<Self>) -> Result<()> {
        (*self).close()
    }
}

/// Where a rule's stores come from.
pub trait Stores {
    /// Opens the store under test, empty at first. A rule closes it before it opens it again.
    fn open(&mut self) -> Result<Box<dyn AnyStore>>;

    /// Whether what is closed can be opened again.
    fn persistent(&self) -> bool;

    /// Configuration for a copy that is not there yet, another one for each `number`; `None` if
    /// this store cannot copy.
    fn copy_config(&self, number: u32) -> Option<String>;

    /// Opens what this configuration names.
    fn open_config(&mut self, config: &str) -> Result<Box<dyn AnyStore>>;
}

/// Stores of a type that is opened by a configuration string.
pub struct Configs<S> {
    config: String,
    persistent: bool,
    copies: Option<String>,
    kept: Vec<Box<dyn Any>>,
    store: PhantomData<fn() -> S>,
}

impl<S> Configs<S> {
    /// The store under test is `config`; it is gone when it is closed, and cannot copy.
    pub fn new(config: impl Into<String>) -> Self {
        Self { config: config.into(), persistent: false, copies: None, kept: Vec::new(), store: PhantomData }
    }

    /// The store under test is a file in this directory, copies are other ones.
    pub fn in_directory(directory: &Path) -> Self {
        let name = |file: &str| directory.join(file).display().to_string();
        Self::new(name("store")).persistent().copies(name("copy"))
    }

    /// It can be opened again.
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// It can copy: a number is appended to `prefix`.
    pub fn copies(mut self, prefix: impl Into<String>) -> Self {
        self.copies = Some(prefix.into());
        self
    }

    /// Keeps a guard (a temporary directory, a server) for as long as the stores are used.
    pub fn keep(mut self, guard: impl Any) -> Self {
        self.kept.push(Box::new(guard));
        self
    }
}

impl<S: OpenStore + 'static> Stores for Configs<S> {
    fn open(&mut self) -> Result<Box<dyn AnyStore>> {
        Ok(Box::new(S::open(&self.config)?))
    }

    fn persistent(&self) -> bool {
        self.persistent
    }

    fn copy_config(&self, number: u32) -> Option<String> {
        Some(format!("{}{number}", self.copies.as_ref()?))
    }

    fn open_config(&mut self, config: &str) -> Result<Box<dyn AnyStore>> {
        Ok(Box::new(S::open(config)?))
    }
}
