//! The program as its users run it.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

#[cfg(unix)]
mod bundle;
mod docs;
#[cfg(unix)]
#[path = "../support/hsm.rs"]
mod hsm;
mod keys;
mod log;
#[cfg(unix)]
#[path = "../../../secure-log-time/tests/common/mod.rs"]
mod pki;
mod scripts;
mod secrets;
mod serve;
#[path = "../support/mod.rs"]
mod support;
mod tiles;
mod token_dir;
mod token_pins;
mod tokens;
mod transports;
#[cfg(unix)]
mod trust;
