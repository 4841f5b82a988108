//! The caller's end of the socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use edgesentry_audit::Hash32;
use edgesentry_audit::gate::{Device, DeviceKey, Registered, Registration};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::path::short;
use super::protocol::{ClosedInfo, DeviceInfo, Fault, KeyInfo, Op, RegisteredInfo, Reply, StatsInfo};

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No server listens there: the store can be opened instead.
    #[error("no server listens on {}", .0.display())]
    NobodyThere(PathBuf),
    /// The server would not do it.
    #[error("{}", .0.message)]
    Refused(Fault),
    /// The socket failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
    /// The answer makes no sense: another version of the server?
    #[error("the server gave an answer that makes no sense: {0}")]
    Answer(String),
}

/// Calls a server, one call after the other.
pub struct AdminClient {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl AdminClient {
    /// Connects to the socket at `path` ([`socket_path`](super::socket_path) of the store).
    pub fn connect(path: &Path) -> Result<Self, AdminError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AdminError::NobodyThere(path.to_owned())
            }
            _ => AdminError::Io { path: path.to_owned(), error },
        };
        let (address, directory) = short(path).map_err(failed)?;
        let stream = UnixStream::connect(address).map_err(failed)?;
        drop(directory);
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Makes a call and gives its answer as JSON.
    pub fn call(&mut self, op: &Op) -> Result<Value, AdminError> {
        let mut line = serde_json::to_vec(op).map_err(|e| AdminError::Answer(e.to_string()))?;
        line.push(b'\n');
        let mut answer = String::new();
        let sent = self.stream.get_mut().write_all(&line).and_then(|()| self.stream.read_line(&mut answer));
        sent.map_err(|error| AdminError::Io { path: self.path.clone(), error })?;
        if answer.is_empty() {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up");
            return Err(AdminError::Io { path: self.path.clone(), error });
        }
        match serde_json::from_str(&answer) {
            Ok(Reply::Ok(value)) => Ok(value),
            Ok(Reply::Error(fault)) => Err(AdminError::Refused(fault)),
            Err(error) => Err(AdminError::Answer(error.to_string())),
        }
    }

    fn get_as<T: DeserializeOwned>(&mut self, op: &Op) -> Result<T, AdminError> {
        serde_json::from_value(self.call(op)?).map_err(|error| AdminError::Answer(error.to_string()))
    }

    /// Registers a device with its first key.
    pub fn register(&mut self, device_id: &str, r: &Registration) -> Result<Registered, AdminError> {
        let op = Op::Register {
            device_id: device_id.to_owned(),
            public_key: hex::encode(r.public_key.as_bytes()),
            not_before_ms: r.not_before_ms,
            not_after_ms: r.not_after_ms,
            versions: r.versions.clone(),
            first: Some(r.first),
            anchor: Some(hex::encode(r.anchor)),
        };
        self.get_as::<RegisteredInfo>(&op).map(Registered::from)
    }

    /// Adds a key.
    pub fn add_key(
        &mut self,
        device_id: &str,
        public_key: &VerifyingKey,
        not_before_ms: Option<u64>,
        not_after_ms: Option<u64>,
    ) -> Result<DeviceKey, AdminError> {
        let public_key = hex::encode(public_key.as_bytes());
        let op = Op::AddKey { device_id: device_id.to_owned(), public_key, not_before_ms, not_after_ms };
        self.get_as::<KeyInfo>(&op)?.try_into().map_err(AdminError::Refused)
    }

    /// Revokes a key.
    pub fn revoke_key(&mut self, device_id: &str, key_id: &str) -> Result<(), AdminError> {
        let op = Op::RevokeKey { device_id: device_id.to_owned(), key_id: key_id.to_owned() };
        self.call(&op).map(drop)
    }

    /// Takes a device out of service.
    pub fn revoke_device(&mut self, device_id: &str) -> Result<(), AdminError> {
        self.call(&Op::Revoke { device_id: device_id.to_owned() }).map(drop)
    }

    /// Sets which record versions a device may send.
    pub fn allow_versions(&mut self, device_id: &str, versions: &[u8]) -> Result<(), AdminError> {
        let op = Op::AllowVersions { device_id: device_id.to_owned(), versions: versions.to_vec() };
        self.call(&op).map(drop)
    }

    /// Opens an epoch.
    pub fn open_epoch(&mut self, device_id: &str, first: u64, anchor: &Hash32) -> Result<Device, AdminError> {
        let op = Op::OpenEpoch { device_id: device_id.to_owned(), first, anchor: hex::encode(anchor) };
        self.get_as::<DeviceInfo>(&op)?.try_into().map_err(AdminError::Refused)
    }

    /// One device.
    pub fn get(&mut self, device_id: &str) -> Result<Option<Device>, AdminError> {
        let found = self.get_as::<Option<DeviceInfo>>(&Op::Get { device_id: device_id.to_owned() })?;
        found.map(Device::try_from).transpose().map_err(AdminError::Refused)
    }

    /// Ids of devices, in the order of their registration, after the first `skip`.
    pub fn list_ids(&mut self, skip: u64, limit: u32) -> Result<Vec<String>, AdminError> {
        self.get_as(&Op::List { skip, limit })
    }

    /// Closes segments and signs a checkpoint over them.
    pub fn close_segments(&mut self) -> Result<ClosedInfo, AdminError> {
        self.get_as(&Op::CloseSegments {})
    }

    /// Makes a copy of the store; `config` is an absolute path.
    pub fn backup(&mut self, config: &str) -> Result<(), AdminError> {
        self.call(&Op::Backup { config: config.to_owned() }).map(drop)
    }

    /// What the gate says about itself.
    pub fn stats(&mut self) -> Result<StatsInfo, AdminError> {
        self.get_as(&Op::Stats {})
    }

    /// Writes what refusals were counted.
    pub fn flush(&mut self) -> Result<(), AdminError> {
        self.call(&Op::Flush {}).map(drop)
    }

    /// Makes the server read its certificates again.
    pub fn reload_tls(&mut self) -> Result<(), AdminError> {
        self.call(&Op::ReloadTls {}).map(drop)
    }
}
