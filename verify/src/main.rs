//! Runs a composed secure-log component and checks every promise it makes; see `--help`.

use std::process::ExitCode;

use clap::Parser;
use secure_log_verify::{cli::Args, run};

fn main() -> ExitCode {
    match run::run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
