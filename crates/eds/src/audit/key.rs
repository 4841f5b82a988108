//! `keygen` and `inspect-key`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use edgesentry_audit::keys::{generate_keypair, inspect_key};
use zeroize::Zeroizing;

use super::device_key::{PrivateKeyArgs, to_json};
use crate::files;
use crate::output::Output;

/// Make a key pair for a device or a publisher
///
/// Ed25519, as JSON with `private_key_hex` and `public_key_hex`. Each device has a key of its own.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  eds audit keygen\n  eds audit keygen --out device-lift-01.key.json")]
pub(crate) struct Keygen {
    /// Create this file (mode 0600) instead of printing the keys. A file that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Keygen {
    pub fn run(self, out: Output) -> Result<()> {
        let text = to_json(&generate_keypair()?)?;
        match self.out {
            Some(path) => files::create_private(&path, text.as_bytes()),
            None => out.bytes(text.as_bytes()),
        }
    }
}

/// Show the public key of a private key
///
/// Prints both, as `keygen` does.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds audit inspect-key --key-file device-lift-01.key.json
  eds audit inspect-key --private-key-hex 0101010101010101010101010101010101010101010101010101010101010101")]
pub(crate) struct InspectKey {
    #[command(flatten)]
    key: PrivateKeyArgs,
}

impl InspectKey {
    pub fn run(self, out: Output) -> Result<()> {
        let private = Zeroizing::new(hex::encode(self.key.take()?.as_bytes()));
        out.bytes(to_json(&inspect_key(&private)?)?.as_bytes())
    }
}
