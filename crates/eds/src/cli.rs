//! The command line as a whole.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::output::{self, Output};
use crate::token::refused_pin;
use crate::{audit, keys, log, reference, serve, stack};

/// Exit code of a server whose token refuses the PIN: EX_NOPERM of sysexits.h.
const PIN_REFUSED: u8 = 77;

/// A tamper-evident audit log, and the gate for what field devices sign.
///
/// A device signs records of what it saw. A gate verifies each one before it is stored in a log that shows any change
/// afterwards. `eds audit` makes, checks and receives records, `eds log` works on the log itself.
#[derive(Parser, Debug)]
#[command(name = "eds", version, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  eds audit keygen --out device-lift-01.key.json
  eds audit verify-chain --records-file records.json
  eds serve --device lift-01=8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c

Exit codes: 0 it worked, or what was checked holds; 1 it failed, or something does not hold; 2 a record is INVALID
(verify-record), or the call cannot be understood; 77 a server ends because a token refuses its PIN, and must not be
started again with the same. Answers go to stdout, errors and progress to stderr.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Records of devices: make them, check them, receive them
    #[command(subcommand)]
    Audit(audit::Command),
    Serve(serve::ServeHttp),
    ServeTls(serve::ServeTls),
    ServeMqtt(serve::ServeMqtt),
    /// The log itself: append, read, verify, sign, prove, copy
    #[command(subcommand)]
    Log(log::Command),
    /// Keys that sign checkpoints of a log: in files, or on PKCS#11 tokens
    #[command(subcommand)]
    Keys(keys::Command),
    Stack(stack::Args),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  eds completions bash > ~/.local/share/bash-completion/completions/eds"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print this command line's reference as Markdown (docs/cli.md)
    #[command(hide = true)]
    Docs,
}

impl Cli {
    pub fn run(self) -> Result<ExitCode> {
        let out = Output { json: self.json };
        match self.command {
            Command::Audit(command) => command.run(out),
            Command::Serve(args) => served(args.run()),
            Command::ServeTls(args) => served(args.run()),
            Command::ServeMqtt(args) => served(args.run()),
            Command::Log(command) => command.run(out).map(|()| ExitCode::SUCCESS),
            Command::Keys(command) => command.run(out).map(|()| ExitCode::SUCCESS),
            Command::Stack(args) => args.run(out).map(|()| ExitCode::SUCCESS),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "eds", &mut script);
                out.bytes(&script).map(|()| ExitCode::SUCCESS)
            }
            Command::Docs => {
                out.bytes(reference::markdown(Self::command()).as_bytes()).map(|()| ExitCode::SUCCESS)
            }
        }
    }
}

/// How a server ended. One whose token refuses the PIN says so by its code: a service manager that starts it again and
/// again would have the token locked.
fn served(outcome: Result<()>) -> Result<ExitCode> {
    match outcome {
        Err(error) if refused_pin(&error) => {
            output::error(&error);
            Ok(ExitCode::from(PIN_REFUSED))
        }
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command says what it does, and every one that takes arguments shows how.
    #[test]
    fn every_command_and_every_argument_is_described() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no description");
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{path} {} has no description", argument.get_id());
            }
            for sub in command.get_subcommands() {
                walk(sub, &path);
            }
        }
        walk(&Cli::command(), "");
    }
}
