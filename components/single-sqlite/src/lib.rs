//! A whole log in one component: SQLite store, software keystore. For hosts in which calls from component to component are slow
//! (JavaScript); everywhere else the composed artifact is the one to take.
#![cfg(target_family = "wasm")]

secure_log_guest::export_log!(
    secure_log_sqlite::SqliteSecureLogStore,
    secure_log_keystore::SoftwareKeystore,
    secure_log_keystore::SoftwareKeystore::from_env
);
