//! The store contract.

use secure_log_conformance::{Configs, store_conformance};
use secure_log_sqlite::SqliteSecureLogStore;

store_conformance!(file, || {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Configs::<SqliteSecureLogStore>::in_directory(dir.path()).keep(dir)
});

store_conformance!(memory, || {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copies = dir.path().join("copy").display().to_string();
    Configs::<SqliteSecureLogStore>::new(":memory:").copies(copies).keep(dir)
});
