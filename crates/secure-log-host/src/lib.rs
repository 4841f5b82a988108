//! Runs composed secure-log components under wasmtime.
