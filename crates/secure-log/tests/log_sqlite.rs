//! The log over the SQLite store.

mod common;
mod suite;

type Store = secure_log_sqlite::SqliteSecureLogStore;

fn fresh() -> common::Log<Store> {
    common::open(":memory:")
}
