//! The registry of devices: in a store that this process opens, or through the server that owns it.

use anyhow::{Context as _, Result, bail};
use ed25519_dalek::VerifyingKey;
use edgesentry_audit::Hash32;
use edgesentry_audit::gate::{Device, DeviceKey, Registered, Registration, Settings};
use edgesentry_server::admin::AdminClient;

use crate::open::{Open, Part, Place, StoreArgs};

/// Whoever takes an operator's calls.
pub(crate) enum Registry {
    /// The log is open here.
    Here(Box<Open>),
    /// A server has it.
    Server(AdminClient),
}

/// Writes the methods: both sides have the same calls under their own names.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $here:ident;)*) => {
        impl Registry {
            $($(#[$doc])* pub fn $name(&mut self $(, $arg: $ty)*) -> Result<$ret> {
                Ok(match self {
                    Self::Here(log) => log.$here($($arg),*)?,
                    Self::Server(client) => client.$name($($arg),*)?,
                })
            })*
        }
    };
}

calls! {
    /// Registers a device with its first key.
    register(device_id: &str, registration: &Registration) -> Registered = register_device;
    /// Adds a key.
    add_key(device_id: &str, key: &VerifyingKey, from_ms: Option<u64>, to_ms: Option<u64>) -> DeviceKey = add_device_key;
    /// Revokes a key.
    revoke_key(device_id: &str, key_id: &str) -> () = revoke_device_key;
    /// Takes a device out of service.
    revoke_device(device_id: &str) -> () = revoke_device;
    /// Sets which record versions a device may send.
    allow_versions(device_id: &str, versions: &[u8]) -> () = allow_versions;
    /// Opens an epoch.
    open_epoch(device_id: &str, first: u64, anchor: &Hash32) -> Device = open_epoch;
    /// One device.
    get(device_id: &str) -> Option<Device> = device;
    /// Ids of devices in the order of their registration.
    list_ids(skip: u64, limit: u32) -> Vec<String> = device_ids;
}

impl Registry {
    /// A device that has to be there.
    pub fn existing(&mut self, device_id: &str) -> Result<Device> {
        self.get(device_id)?.with_context(|| {
            format!("no device {device_id:?} is registered: `eds audit devices list` names those there are")
        })
    }

    /// Ids of all devices.
    pub fn all_ids(&mut self) -> Result<Vec<String>> {
        const PAGE: u32 = 1_000;
        let mut ids = Vec::new();
        loop {
            let page = self.list_ids(ids.len() as u64, PAGE)?;
            if page.is_empty() {
                return Ok(ids);
            }
            ids.extend(page);
        }
    }
}

/// Works on the registry of a store, and gives the store back whatever comes out. With `create`, a store that is not
/// there comes into being.
pub(crate) fn with_registry<T>(
    store: &StoreArgs,
    gate_id: &str,
    create: bool,
    work: impl FnOnce(&mut Registry) -> Result<T>,
) -> Result<T> {
    let place = store.place(Part::Gate)?;
    if let Some(client) = place.server()? {
        return work(&mut Registry::Server(client));
    }
    let place = if create { place } else { place.must_exist()? };
    let mut registry = Registry::Here(Box::new(open_gate(&place, gate_id)?));
    let outcome = work(&mut registry);
    let closed = match registry {
        Registry::Here(log) => log.close(),
        Registry::Server(_) => Ok(()),
    };
    let value = outcome?;
    closed?;
    Ok(value)
}

/// An instance with the log open and its gate set up. Each refusal is written down at once.
pub(crate) fn open_gate(place: &Place, gate_id: &str) -> Result<Open> {
    if !place.artifact().has_gate() {
        bail!(
            "{} has no gate (edgesentry:audit): use a stack such as edgesentry-ingest-sqlite",
            place.artifact().path().display()
        );
    }
    let mut log = place.open()?;
    log.configure(&Settings { gate_id: gate_id.to_owned(), refusal_interval_ms: 0 })?;
    Ok(log)
}
