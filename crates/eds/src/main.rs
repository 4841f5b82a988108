//! The command line of secure-log and edgesentry-audit.
//!
//! Answers go to stdout, everything else to stderr. A command gives its exit code: 0 it worked or it holds, 1 it did not,
//! 2 the signature of a record is not valid, or the call cannot be understood.

mod audit;
mod carried;
mod cli;
mod files;
mod http;
mod keys;
mod log;
mod open;
mod output;
mod reference;
mod serve;
mod signing;
mod stack;
mod time;
mod token;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) if reader_went_away(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output (`head`, a pager) has seen enough.
fn reader_went_away(error: &anyhow::Error) -> bool {
    error.downcast_ref::<output::Closed>().is_some()
        || error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}
