//! The store conformance suite over the wire contract, in one process.

use std::marker::PhantomData;

use secure_log::Result;
use secure_log::store::OpenStore;
use secure_log_conformance::{AnyStore, Stores, store_conformance};
use secure_log_file::FileSecureLogStore;
use secure_log_rpc::{RemoteStore, Server};
use secure_log_sqlite::SqliteSecureLogStore;
use tempfile::TempDir;

/// A client whose server is in the same process, over a store in a directory.
struct Remote<S> {
    dir: TempDir,
    store: PhantomData<S>,
}

impl<S: OpenStore + 'static> Remote<S> {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory"), store: PhantomData }
    }

    fn connect(&self, config: &str) -> Result<Box<dyn AnyStore>> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let server = Server::unchecked(S::open(&path(config))?).with_backups(path(""));
        Ok(Box::new(RemoteStore::connect(server, config)?))
    }
}

impl<S: OpenStore + 'static> Stores for Remote<S> {
    fn open(&mut self) -> Result<Box<dyn AnyStore>> {
        self.connect("store")
    }

    fn persistent(&self) -> bool {
        true
    }

    fn copy_config(&self, number: u32) -> Option<String> {
        Some(format!("copy{number}"))
    }

    fn open_config(&mut self, config: &str) -> Result<Box<dyn AnyStore>> {
        self.connect(config)
    }
}

store_conformance!(sqlite, Remote::<SqliteSecureLogStore>::new);
store_conformance!(file, Remote::<FileSecureLogStore>::new);
