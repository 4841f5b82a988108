//! The store contract as a program, for where there is no `cargo test`: also a wasm command.
//!
//! `conformance DIRECTORY`: the stores are made in there.

use std::cell::Cell;
use std::path::Path;
use std::process::ExitCode;

use secure_log_conformance::{Configs, check_all};
use secure_log_sqlite::SqliteSecureLogStore;

fn main() -> ExitCode {
    let Some(dir) = std::env::args().nth(1) else {
        eprintln!("usage: conformance DIRECTORY");
        return ExitCode::FAILURE;
    };
    let number = Cell::new(0);
    let stores = || {
        number.set(number.get() + 1);
        let dir = Path::new(&dir).join(format!("rule-{}", number.get()));
        std::fs::create_dir(&dir).expect("an empty directory to begin with");
        Configs::<SqliteSecureLogStore>::in_directory(&dir)
    };
    // Where a panic cannot be caught, the rule printed last is the broken one.
    let broken = check_all(stores, |rule| println!("{rule}"));
    for (rule, reason) in &broken {
        println!("BROKEN {rule}: {reason}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
