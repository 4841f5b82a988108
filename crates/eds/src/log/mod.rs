//! `eds log`: the log itself, on any stack.

mod append;
mod copies;
mod import;
pub(crate) mod proof;
mod read;
mod seal;
pub(crate) mod show;
mod verify;

use anyhow::Result;
use clap::Subcommand;

use crate::open::{Open, Part, StoreArgs};
use crate::output::Output;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// The streams of a log
    Streams(read::Streams),
    /// The last entry of a stream, or name, head and newest checkpoint of the log
    Head(read::Head),
    /// Append events to a stream
    Append(append::Append),
    /// Show an entry
    Read(read::Read),
    /// Find entries
    Query(read::Query),
    /// Show the last entries, and follow what comes
    Tail(read::Tail),
    /// Check the whole log, or one stream
    Verify(verify::Verify),
    /// Closed segments of streams
    #[command(subcommand)]
    Segments(seal::Segments),
    /// Close segments and sign a checkpoint over them
    Sign(seal::Sign),
    /// Prove an entry up to the newest checkpoint
    Prove(proof::Prove),
    /// Check such a proof, without the log
    VerifyProof(proof::VerifyProof),
    /// Copy a log while it is consistent
    Backup(copies::Backup),
    /// Write the whole log as text that anybody can verify
    Export(copies::Export),
    /// Check an export, without the log
    VerifyExport(copies::VerifyExport),
    /// Make a log from an export, with the same entries, hashes and checkpoints
    Import(import::Import),
}

impl Command {
    pub fn run(self, out: Output) -> Result<()> {
        match self {
            Self::Streams(args) => args.run(out),
            Self::Head(args) => args.run(out),
            Self::Append(args) => args.run(out),
            Self::Read(args) => args.run(out),
            Self::Query(args) => args.run(out),
            Self::Tail(args) => args.run(out),
            Self::Verify(args) => args.run(out),
            Self::Segments(command) => command.run(out),
            Self::Sign(args) => args.run(out),
            Self::Prove(args) => args.run(out),
            Self::VerifyProof(args) => args.run(out),
            Self::Backup(args) => args.run(out),
            Self::Export(args) => args.run(out),
            Self::VerifyExport(args) => args.run(out),
            Self::Import(args) => args.run(out),
        }
    }
}

/// Works on a log that is there, and gives it back whatever comes out.
fn with_log<T>(store: &StoreArgs, work: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
    let mut log = store.place(Part::Log)?.must_exist()?.open()?;
    let outcome = work(&mut log);
    let closed = log.close();
    let value = outcome?;
    closed.map(|()| value)
}
