//! The engine's own suite, its log over the contract: a client, and a server that checks what it is sent.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "../../secure-log/tests/common/mod.rs"]
mod common;
#[path = "../../secure-log/tests/suite/mod.rs"]
mod suite;

use secure_log::NativeSecureLog;
use secure_log::store::OpenStore;
use secure_log_rpc::{CheckedStore, RemoteStore, Server};
use secure_log_sqlite::SqliteSecureLogStore;

type Store = RemoteStore<Server<CheckedStore<SqliteSecureLogStore>>>;

fn fresh() -> common::Log<Store> {
    let server = Server::new(SqliteSecureLogStore::open(":memory:").unwrap());
    let store = RemoteStore::connect(server, "x").unwrap();
    NativeSecureLog::new(store, common::fixed(), "test 1").unwrap()
}
