//! The log over the SQLite store.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
mod sealing;
mod suite;

type Store = secure_log_sqlite::SqliteSecureLogStore;

fn fresh() -> common::Log<Store> {
    common::open(":memory:")
}

/// Name of a store in a directory.
const FILE: &str = "audit.db";
