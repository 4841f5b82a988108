//! `eds audit`: records of devices.

mod anchor;
mod bundle;
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
    Keygen(key::Keygen),
    InspectKey(key::InspectKey),
    SignRecord(record::SignRecord),
    VerifyRecord(record::VerifyRecord),
    VerifyChain(chain::VerifyChain),
    DemoLiftInspection(demo::DemoLiftInspection),
    DemoIngest(ingest::DemoIngest),
    /// The devices whose records a gate takes
    #[command(subcommand)]
    Devices(devices::Devices),
    Export(export::Export),
    VerifyStore(export::VerifyStore),
    Bundle(bundle::Bundle),
    VerifyBundle(bundle::VerifyBundle),
    Serve(serve::ServeHttp),
    ServeTls(serve::ServeTls),
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
            Self::Bundle(args) => done(args.run(out)),
            Self::VerifyBundle(args) => done(args.run(out)),
            Self::Serve(args) => done(args.run()),
            Self::ServeTls(args) => done(args.run()),
            Self::ServeMqtt(args) => done(args.run()),
        }
    }
}
