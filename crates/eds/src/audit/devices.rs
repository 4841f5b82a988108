//! `devices`.

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};
use edgesentry_audit::AuditRecord;
use edgesentry_audit::gate::{Device, DeviceKey, Registered, Registration};
use edgesentry_audit::identity::key_id;
use edgesentry_server::admin::{DeviceInfo, KeyInfo};
use serde_json::json;

use super::device_key::{fixed_hex, verifying_key};
use super::registry::{Registry, with_registry};
use crate::log::show::printable;
use crate::open::StoreArgs;
use crate::output::{Output, warn};
use crate::time;

#[derive(Subcommand, Debug)]
pub(crate) enum Devices {
    /// Register a device with its first key
    ///
    /// The same again changes nothing, and never revives a key that was revoked.
    #[command(after_help = "\
Examples:
  eds audit devices add lift-01=8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
  eds audit devices add --device-id lift-01 --public-key-hex 8a88… --valid-until 2027-01-01T00:00:00Z")]
    Add(Add),
    /// Give a device a further key
    ///
    /// Old and new key count side by side, so that what the old one signed can still arrive. When it has, revoke the old
    /// one (or at once, with --revoke-old). Windows count by the time in the record, which whoever holds the key
    /// chooses: only revoking ends a key that got into wrong hands.
    #[command(after_help = "\
Examples:
  eds audit devices rotate lift-01=4bb158f302c0ad9261c0acfa95e17144ae7249eb0973bbfaeae4501165887a77
  eds audit devices revoke lift-01 --key-id 34750f98bd59fcfc946da45aaabe933b")]
    Rotate(Rotate),
    /// Revoke a key, or take a device out of service
    ///
    /// From this moment on nothing that the key signed is accepted, whatever time the record names.
    #[command(after_help = "\
Examples:
  eds audit devices revoke lift-01 --key-id 34750f98bd59fcfc946da45aaabe933b
  eds audit devices revoke lift-01")]
    Revoke(Revoke),
    /// The registered devices
    #[command(after_help = "Example:\n  eds audit devices list --store audit.db")]
    List(List),
    /// What is registered of a device, and which record comes next
    #[command(after_help = "Example:\n  eds audit devices show lift-01 --json")]
    Show(Show),
    /// Let a device begin its chain anew
    ///
    /// For a device that lost its memory: its next record has the given number and previous hash (from record 1, with
    /// zeros, unless given). Records of earlier epochs stay as they are.
    #[command(after_help = "\
Examples:
  eds audit devices epoch lift-01
  eds audit devices epoch lift-01 --first 118 --anchor 9c1185a5c5e9fc54612808977ee8f548b2258d31…")]
    Epoch(Epoch),
    /// Set which record versions a device may send
    ///
    /// Version 1 signs the payload hash alone, so whoever saw one record can make up its successors.
    #[command(after_help = "Example:\n  eds audit devices allow lift-01 --versions 1,2")]
    Allow(Allow),
}

#[derive(Args, Debug)]
pub(crate) struct GateArgs {
    /// Name of the gate in whose name it is written down
    #[arg(long, value_name = "NAME", default_value = "main", help_heading = "Log")]
    pub gate_id: String,
    #[command(flatten)]
    pub store: StoreArgs,
}

impl GateArgs {
    fn with<T>(&self, create: bool, work: impl FnOnce(&mut Registry) -> Result<T>) -> Result<T> {
        with_registry(&self.store, &self.gate_id, create, work)
    }
}

// A device and a key.
#[derive(Args, Debug)]
struct DeviceAndKey {
    /// Device and public key (64 hex digits)
    #[arg(value_name = "ID=PUBKEY_HEX", conflicts_with_all = ["device_id", "public_key_hex"])]
    device: Option<String>,
    /// The device
    #[arg(long, value_name = "ID", required_unless_present = "device", requires = "public_key_hex")]
    device_id: Option<String>,
    /// Its public key, 64 hex digits
    #[arg(long, value_name = "HEX", requires = "device_id")]
    public_key_hex: Option<String>,
    /// The key counts for records from this time on: ms since 1970, or RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    valid_from: Option<u64>,
    /// The key counts for records before this time
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    valid_until: Option<u64>,
}

impl DeviceAndKey {
    fn get(&self) -> Result<(String, ed25519_dalek::VerifyingKey)> {
        if let (Some(from), Some(until)) = (self.valid_from, self.valid_until) {
            ensure!(from < until, "--valid-until is not after --valid-from");
        }
        match (&self.device, &self.device_id, &self.public_key_hex) {
            (Some(pair), _, _) => parse_device(pair),
            (None, Some(id), Some(key)) => Ok((id.clone(), verifying_key(key, "--public-key-hex")?)),
            _ => bail!("name a device and its key: ID=PUBKEY_HEX"),
        }
    }
}

/// Reads `ID=PUBKEY_HEX`. An id may have a `=` in it, a key has none.
pub(crate) fn parse_device(text: &str) -> Result<(String, ed25519_dalek::VerifyingKey)> {
    let (id, key) = text.rsplit_once('=').with_context(|| {
        format!("{text:?} is not ID=PUBKEY_HEX: a device and its public key, 64 hex digits")
    })?;
    ensure!(!id.is_empty(), "{text:?} names no device before the `=`");
    Ok((id.to_owned(), verifying_key(key, &format!("the public key of {id:?}"))?))
}

#[derive(Args, Debug)]
pub(crate) struct Add {
    #[command(flatten)]
    device: DeviceAndKey,
    /// Take records of version 1 too. It signs the payload hash alone: whoever saw one record can make up its successors
    #[arg(long)]
    allow_v1: bool,
    /// Number of its first record, for a device that joins in the middle of its chain
    #[arg(long, value_name = "N", requires = "anchor", value_parser = clap::value_parser!(u64).range(1..))]
    first: Option<u64>,
    /// Hash of the record before that one, 64 hex digits
    #[arg(long, value_name = "HEX", requires = "first")]
    anchor: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
}

impl Add {
    fn run(self, out: Output) -> Result<()> {
        let (device_id, public_key) = self.device.get()?;
        let mut registration = Registration::new(public_key);
        registration.not_before_ms = self.device.valid_from;
        registration.not_after_ms = self.device.valid_until;
        if self.allow_v1 {
            registration.versions = vec![1, 2];
        }
        if let (Some(first), Some(anchor)) = (self.first, &self.anchor) {
            registration.first = first;
            registration.anchor = fixed_hex(anchor, "--anchor")?;
        }
        let registered = self.gate.with(true, |registry| registry.register(&device_id, &registration))?;
        let key_id = key_id(&public_key);
        let name = match registered {
            Registered::Added => "added",
            Registered::Already => "already registered",
            Registered::Revoked => "revoked",
        };
        if registered == Registered::Revoked {
            warn(format_args!(
                "key {key_id} of {device_id:?} was revoked, and stays so: the device needs another key"
            ));
        }
        let answer = json!({"device_id": device_id, "key_id": key_id, "registered": name});
        out.either(&answer, || format!("{}\t{key_id}\t{name}", printable(&device_id)))
    }
}

#[derive(Args, Debug)]
pub(crate) struct Rotate {
    #[command(flatten)]
    device: DeviceAndKey,
    /// Revoke the keys that the device had, now: nothing more that they signed is accepted
    #[arg(long)]
    revoke_old: bool,
    #[command(flatten)]
    gate: GateArgs,
}

impl Rotate {
    fn run(self, out: Output) -> Result<()> {
        let (device_id, public_key) = self.device.get()?;
        let (added, revoked) = self.gate.with(false, |registry| {
            let device = registry.existing(&device_id)?;
            let added =
                registry.add_key(&device_id, &public_key, self.device.valid_from, self.device.valid_until)?;
            let mut revoked = Vec::new();
            let old = device.keys.iter().filter(|key| key.revoked.is_none() && key.key_id != added.key_id);
            for key in old.filter(|_| self.revoke_old) {
                registry.revoke_key(&device_id, &key.key_id)?;
                revoked.push(key.key_id.clone());
            }
            Ok((added, revoked))
        })?;
        let answer = json!({"device_id": device_id, "added": KeyInfo::from(&added), "revoked": revoked});
        out.either(&answer, || {
            let mut text = format!("{}\t{}\tadded", printable(&device_id), added.key_id);
            for key in &revoked {
                text += &format!("\n{}\t{key}\trevoked", printable(&device_id));
            }
            text
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// The device
    device_id: String,
    /// The key; without it the whole device is taken out of service
    #[arg(long, value_name = "KEY_ID")]
    key_id: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
}

impl Revoke {
    fn run(self, out: Output) -> Result<()> {
        self.gate.with(false, |registry| match &self.key_id {
            Some(key_id) => registry.revoke_key(&self.device_id, key_id),
            None => registry.revoke_device(&self.device_id),
        })?;
        let answer = json!({"device_id": self.device_id, "key_id": self.key_id, "revoked": true});
        out.either(&answer, || {
            let key = self.key_id.as_deref().unwrap_or("the whole device");
            format!("{}\t{key}\trevoked", printable(&self.device_id))
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    gate: GateArgs,
}

impl List {
    fn run(self, out: Output) -> Result<()> {
        self.gate.with(false, |registry| {
            let mut all = Vec::new();
            for id in registry.all_ids()? {
                let device = registry.existing(&id)?;
                if out.json {
                    all.push(DeviceInfo::from(&device));
                } else {
                    out.line(line(&device))?;
                }
            }
            if out.json { out.document(&all) } else { Ok(()) }
        })
    }
}

fn line(device: &Device) -> String {
    let keys = device.keys.iter().filter(|key| key.revoked.is_none()).count();
    let state = if device.revoked.is_some() { "revoked" } else { "in service" };
    let accepted = device.epochs.last().map_or(0, |epoch| device.next_sequence - epoch.first);
    format!(
        "{}\t{state}\t{keys} keys\tepoch {}\t{accepted} records in it",
        printable(&device.device_id),
        device.epochs.len()
    )
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The device
    device_id: String,
    #[command(flatten)]
    gate: GateArgs,
}

impl Show {
    fn run(self, out: Output) -> Result<()> {
        let device = self.gate.with(false, |registry| registry.existing(&self.device_id))?;
        if out.json {
            return out.document(&DeviceInfo::from(&device));
        }
        out.line(line(&device))?;
        let versions: Vec<_> = device.versions.iter().map(u8::to_string).collect();
        out.line(format_args!("record versions\t{}", versions.join(", ")))?;
        for key in &device.keys {
            out.line(key_line(key))?;
        }
        for epoch in &device.epochs {
            out.line(format_args!(
                "epoch {}\tfrom record {}\tafter {}",
                epoch.number,
                epoch.first,
                hex::encode(epoch.anchor)
            ))?;
        }
        out.line(format_args!(
            "next record\t{}\tafter {}",
            device.next_sequence,
            hex::encode(device.next_prev_record_hash)
        ))
    }
}

fn key_line(key: &DeviceKey) -> String {
    let mut text = format!("key {}\t{}", key.key_id, hex::encode(key.public_key.as_bytes()));
    if let Some(from) = key.not_before_ms {
        text += &format!("\tfrom {}", time::show(from));
    }
    if let Some(until) = key.not_after_ms {
        text += &format!("\tuntil {}", time::show(until));
    }
    if key.revoked.is_some() {
        text += "\trevoked";
    }
    text
}

#[derive(Args, Debug)]
pub(crate) struct Epoch {
    /// The device
    device_id: String,
    /// Number of its next record
    #[arg(long, value_name = "N", requires = "anchor", value_parser = clap::value_parser!(u64).range(1..))]
    first: Option<u64>,
    /// Previous hash of that record, 64 hex digits
    #[arg(long, value_name = "HEX", requires = "first")]
    anchor: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
}

impl Epoch {
    fn run(self, out: Output) -> Result<()> {
        let anchor = match &self.anchor {
            Some(text) => fixed_hex(text, "--anchor")?,
            None => AuditRecord::zero_hash(),
        };
        let first = self.first.unwrap_or(1);
        let device =
            self.gate.with(false, |registry| registry.open_epoch(&self.device_id, first, &anchor))?;
        if out.json {
            return out.document(&DeviceInfo::from(&device));
        }
        out.line(line(&device))
    }
}

#[derive(Args, Debug)]
pub(crate) struct Allow {
    /// The device
    device_id: String,
    /// The versions
    #[arg(long, value_name = "V", required = true, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=2))]
    versions: Vec<u8>,
    #[command(flatten)]
    gate: GateArgs,
}

impl Allow {
    fn run(self, out: Output) -> Result<()> {
        self.gate.with(false, |registry| registry.allow_versions(&self.device_id, &self.versions))?;
        let answer = json!({"device_id": self.device_id, "versions": self.versions});
        out.either(&answer, || format!("{}\tmay send {:?}", printable(&self.device_id), self.versions))
    }
}

impl Devices {
    pub fn run(self, out: Output) -> Result<()> {
        match self {
            Self::Add(args) => args.run(out),
            Self::Rotate(args) => args.run(out),
            Self::Revoke(args) => args.run(out),
            Self::List(args) => args.run(out),
            Self::Show(args) => args.run(out),
            Self::Epoch(args) => args.run(out),
            Self::Allow(args) => args.run(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_hold_what_separates_it_from_its_key() {
        let key = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
        assert_eq!(parse_device(&format!("site=7/lift={key}")).unwrap().0, "site=7/lift");
        assert!(parse_device("lift-01").unwrap_err().to_string().contains("ID=PUBKEY_HEX"));
        assert!(parse_device(&format!("={key}")).is_err());
        assert!(parse_device("lift-01=c0ffee").unwrap_err().to_string().contains("\"lift-01\""));
    }
}
