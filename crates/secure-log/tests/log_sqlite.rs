//! The log over the SQLite store.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
mod suite;

type Store = secure_log_sqlite::SqliteSecureLogStore;

fn fresh() -> common::Log<Store> {
    common::open(":memory:")
}
