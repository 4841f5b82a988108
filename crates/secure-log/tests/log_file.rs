//! The log over the file store.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
mod sealing;
mod suite;

use std::cell::RefCell;

use tempfile::TempDir;

type Store = secure_log_file::FileSecureLogStore;

thread_local! {
    /// Directories of this test; removed when its thread ends.
    static DIRECTORIES: RefCell<Vec<TempDir>> = const { RefCell::new(Vec::new()) };
}

fn fresh() -> common::Log<Store> {
    let directory = tempfile::tempdir().unwrap();
    let log = common::open(directory.path().join("audit.jsonl").to_str().unwrap());
    DIRECTORIES.with(|d| d.borrow_mut().push(directory));
    log
}

/// Name of a store in a directory.
const FILE: &str = "audit.jsonl";
