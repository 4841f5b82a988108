//! `eds log`: the log itself, on any stack.

mod append;
mod copies;
mod domains;
mod head_file;
mod import;
pub(crate) mod proof;
mod read;
mod seal;
pub(crate) mod show;
pub(crate) mod stamp;
mod tiles;
mod verify;
pub(crate) mod witness;

use anyhow::Result;
use clap::Subcommand;

use crate::open::{Open, Part, Place, StoreArgs};
use crate::output::Output;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Streams(read::Streams),
    Create(domains::Create),
    Head(read::Head),
    Append(append::Append),
    Read(read::Read),
    Query(read::Query),
    Tail(read::Tail),
    Verify(verify::Verify),
    /// Closed segments of streams
    #[command(subcommand)]
    Segments(seal::Segments),
    Sign(seal::Sign),
    Prove(proof::Prove),
    VerifyProof(proof::VerifyProof),
    Witness(witness::Submit),
    Published(witness::Published),
    Stamp(stamp::StampNow),
    Times(stamp::Times),
    AcceptHead(head_file::AcceptHead),
    RotateKey(domains::RotateKey),
    Erase(domains::Erase),
    Backup(copies::Backup),
    Export(copies::Export),
    VerifyExport(copies::VerifyExport),
    Import(import::Import),
    ExportTiles(tiles::ExportTiles),
    CheckTiles(tiles::CheckTiles),
}

impl Command {
    pub fn run(self, out: Output) -> Result<()> {
        match self {
            Self::Streams(args) => args.run(out),
            Self::Create(args) => args.run(out),
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
            Self::Witness(args) => args.run(out),
            Self::Published(args) => args.run(out),
            Self::Stamp(args) => args.run(out),
            Self::Times(args) => args.run(out),
            Self::AcceptHead(args) => args.run(out),
            Self::RotateKey(args) => args.run(out),
            Self::Erase(args) => args.run(out),
            Self::Backup(args) => args.run(out),
            Self::Export(args) => args.run(out),
            Self::VerifyExport(args) => args.run(out),
            Self::Import(args) => args.run(out),
            Self::ExportTiles(args) => args.run(out),
            Self::CheckTiles(args) => args.run(out),
        }
    }
}

/// Works on a log that is there, and gives it back whatever comes out.
pub(crate) fn with_log<T>(store: &StoreArgs, work: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
    with_place(store.place(Part::Log)?, work)
}

/// The same for a place that was prepared.
fn with_place<T>(place: Place, work: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
    let mut log = place.must_exist()?.open()?;
    let outcome = work(&mut log);
    let closed = log.close();
    let value = outcome?;
    closed?;
    Ok(value)
}
