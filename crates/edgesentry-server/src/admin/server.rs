//! The server's end of the socket.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::path::short;
use super::protocol::{
    ClosedInfo, DeviceInfo, Fault, KeyInfo, Op, RegisteredInfo, Reply, StatsInfo, hash, public_key,
    registration,
};
use crate::gate::Gate;

const TARGET: &str = "edgesentry_audit::admin";
/// Longest line, bytes.
const LINE: u64 = 1 << 20;
/// Callers at once.
const CALLERS: usize = 32;

/// What a server does when told to on the socket.
pub type Control = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A socket that takes administrative calls. Its file is removed when it is dropped.
pub struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
    service: Arc<Service>,
}

struct Service {
    gate: Arc<dyn Gate>,
    reload_tls: Option<Control>,
}

struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Not one that another server put in its place.
        if fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl AdminSocket {
    /// Makes a socket at `path`, in place of one that a server which is gone left there. Whoever calls this owns the
    /// store: no other server is using the path. `reload_tls` is done for `reload-tls`.
    pub fn bind(path: &Path, gate: Arc<dyn Gate>, reload_tls: Option<Control>) -> io::Result<Self> {
        if let Ok(there) = fs::symlink_metadata(path)
            && !std::os::unix::fs::FileTypeExt::is_socket(&there.file_type())
        {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else is there"));
        }
        // Under another name first: at its path it is never open to others, and never absent.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(name);
        let _ = fs::remove_file(&fresh);
        let (address, directory) = short(&fresh)?;
        let listener = UnixListener::bind(&address)?;
        drop(directory);
        let placed = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::symlink_metadata(&fresh))
            .and_then(|metadata| fs::rename(&fresh, path).map(|()| metadata));
        let metadata = placed.inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        let file = SocketFile { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()) };
        Ok(Self { listener, file, service: Arc::new(Service { gate, reload_tls }) })
    }

    /// Takes calls, for ever. Dropping the future ends all of them.
    pub async fn serve(self) {
        let Self { listener, file, service } = self;
        let mut callers = JoinSet::new();
        loop {
            let accepted = if callers.len() < CALLERS {
                tokio::select! {
                    accepted = listener.accept() => accepted,
                    Some(_) = callers.join_next() => continue,
                }
            } else {
                callers.join_next().await;
                continue;
            };
            match accepted {
                Ok((stream, _)) if allowed(&stream) => {
                    callers.spawn(calls(stream, service.clone()));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(target: TARGET, path = %file.path.display(), %error, "cannot take a call");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Whether the caller is this process's user or root. The mode of the file says the same; this holds wherever the
/// file is.
fn allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => true,
        Ok(peer) => {
            tracing::warn!(target: TARGET, uid = peer.uid(), "call by another user refused");
            false
        }
        Err(error) => {
            tracing::warn!(target: TARGET, %error, "call by an unknown user refused");
            false
        }
    }
}

async fn calls(stream: UnixStream, service: Arc<Service>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut read).take(LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = line.last() == Some(&b'\n');
        let reply = if whole {
            service.reply(&line).await
        } else {
            Reply::Error(Fault::bad_request(format!("a call is a line of JSON of at most {LINE} bytes")))
        };
        let mut text = serde_json::to_vec(&reply).unwrap_or_default();
        text.push(b'\n');
        if write.write_all(&text).await.is_err() || !whole {
            return;
        }
    }
}

impl Service {
    async fn reply(&self, line: &[u8]) -> Reply {
        let op = match serde_json::from_slice::<Op>(line) {
            Ok(op) => op,
            Err(error) => return Reply::Error(Fault::bad_request(error.to_string())),
        };
        let name = name(&op);
        match self.perform(op).await {
            Ok(value) => {
                tracing::info!(target: TARGET, op = name, "done");
                Reply::Ok(value)
            }
            Err(fault) => {
                tracing::warn!(target: TARGET, op = name, kind = fault.kind, error = fault.message, "not done");
                Reply::Error(fault)
            }
        }
    }

    async fn perform(&self, op: Op) -> Result<Value, Fault> {
        let gate = &self.gate;
        match op {
            Op::Register { device_id, public_key, not_before_ms, not_after_ms, versions, first, anchor } => {
                let registration = registration(
                    &public_key,
                    not_before_ms,
                    not_after_ms,
                    versions,
                    first,
                    anchor.as_deref(),
                )?;
                value(&RegisteredInfo::from(gate.register(device_id, registration).await?))
            }
            Op::AddKey { device_id, public_key: key, not_before_ms, not_after_ms } => {
                let key = public_key(&key)?;
                value(&KeyInfo::from(&gate.add_key(device_id, key, not_before_ms, not_after_ms).await?))
            }
            Op::RevokeKey { device_id, key_id } => {
                gate.revoke_key(device_id, key_id).await?;
                Ok(json!({}))
            }
            Op::Revoke { device_id } => {
                gate.revoke_device(device_id).await?;
                Ok(json!({}))
            }
            Op::AllowVersions { device_id, versions } => {
                gate.allow_versions(device_id, versions).await?;
                Ok(json!({}))
            }
            Op::OpenEpoch { device_id, first, anchor } => {
                let anchor = hash("anchor", &anchor)?;
                value(&DeviceInfo::from(&gate.open_epoch(device_id, first, anchor).await?))
            }
            Op::Get { device_id } => value(&gate.get(device_id).await?.as_ref().map(DeviceInfo::from)),
            Op::List { skip, limit } => value(&gate.list_ids(skip, limit).await?),
            Op::CloseSegments {} => value(&ClosedInfo::from(&gate.close_segments().await?)),
            Op::Backup { config } => {
                // A relative path would be one of the server's directory, which the caller does not see.
                if !Path::new(&config).is_absolute() {
                    return Err(Fault::bad_request("config: is not an absolute path"));
                }
                gate.backup(config).await?;
                Ok(json!({}))
            }
            Op::Stats {} => value(&StatsInfo::from(&gate.stats().await?)),
            Op::Flush {} => {
                gate.flush().await?;
                Ok(json!({}))
            }
            Op::ReloadTls {} => match &self.reload_tls {
                None => Err(Fault::bad_request("this server has no TLS")),
                Some(reload) => {
                    let reload = reload.clone();
                    match tokio::task::spawn_blocking(move || reload()).await {
                        Ok(Ok(())) => Ok(json!({})),
                        Ok(Err(message)) => Err(Fault { kind: "invalid".into(), component: None, message }),
                        Err(_) => Err(Fault::bad_request("the reload did not end")),
                    }
                }
            },
        }
    }
}

/// The name of a call, for the log: its arguments are not in it.
fn name(op: &Op) -> String {
    let named = serde_json::to_value(op).ok();
    named.and_then(|op| op.get("op").and_then(Value::as_str).map(str::to_owned)).unwrap_or_default()
}

fn value(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|error| Fault::bad_request(error.to_string()))
}
