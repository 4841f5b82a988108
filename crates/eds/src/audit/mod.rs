//! `eds audit`: records of devices.

mod anchor;
mod chain;
mod demo;
mod device_key;
pub(crate) mod devices;
mod export;
mod gate_log;
mod ingest;
mod key;
mod record;
mod registry;
mod stored;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::output::Output;
use crate::serve;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a key pair for a device or a publisher
    Keygen(key::Keygen),
    /// Show the public key of a private key
    InspectKey(key::InspectKey),
    /// Sign a record about a payload
    SignRecord(record::SignRecord),
    /// Check the signature of one record
    VerifyRecord(record::VerifyRecord),
    /// Check a chain of records
    VerifyChain(chain::VerifyChain),
    /// Make the records of one lift inspection, to try things out with
    DemoLiftInspection(demo::DemoLiftInspection),
    /// Give records to a gate over a local store, to try things out with
    DemoIngest(ingest::DemoIngest),
    /// The devices whose records a gate takes
    #[command(subcommand)]
    Devices(devices::Devices),
    /// Write accepted records of a device to a file
    Export(export::Export),
    /// Verify what is stored of devices
    VerifyStore(export::VerifyStore),
    /// Receive records over HTTP
    Serve(serve::ServeHttp),
    /// Receive records over HTTPS
    ServeTls(serve::ServeTls),
    /// Receive records from an MQTT broker
    ServeMqtt(serve::ServeMqtt),
}

impl Command {
    pub fn run(self, out: Output) -> Result<ExitCode> {
        let done = |outcome: Result<()>| outcome.map(|()| ExitCode::SUCCESS);
        match self {
            Self::Keygen(args) => done(args.run(out)),
            Self::InspectKey(args) => done(args.run(out)),
            Self::SignRecord(args) => done(args.run(out)),
            Self::VerifyRecord(args) => args.run(out),
            Self::VerifyChain(args) => done(args.run(out)),
            Self::DemoLiftInspection(args) => done(args.run(out)),
            Self::DemoIngest(args) => done(args.run(out)),
            Self::Devices(command) => done(command.run(out)),
            Self::Export(args) => done(args.run(out)),
            Self::VerifyStore(args) => done(args.run(out)),
            Self::Serve(args) => done(args.run()),
            Self::ServeTls(args) => done(args.run()),
            Self::ServeMqtt(args) => done(args.run()),
        }
    }
}
