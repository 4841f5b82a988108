//! The admin socket: who is let in, what it does, and what it refuses.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::common::{TestDevice, TestServer};
use edgesentry_audit::gate::{Registered, Registration};
use edgesentry_server::admin::{AdminClient, AdminError, socket_path};
use tempfile::TempDir;

const PAYLOAD: &[u8] = b"door closed";

struct Setup {
    server: TestServer,
    _dir: TempDir,
    socket: std::path::PathBuf,
}

impl Setup {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let socket = socket_path(&dir.path().join("audit.db"));
        let server = TestServer::with(|builder| builder.admin(&socket));
        Self { server, _dir: dir, socket }
    }

    fn client(&self) -> AdminClient {
        AdminClient::connect(&self.socket).unwrap()
    }
}

fn kind(error: AdminError) -> String {
    match error {
        AdminError::Refused(fault) => fault.kind,
        other => panic!("{other}"),
    }
}

#[test]
fn devices_are_looked_after_while_the_server_runs() {
    let setup = Setup::new();
    let mut admin = setup.client();
    let (mut device, other) = (TestDevice::new("lift-01"), TestDevice::new("lift-02"));
    let mut http = setup.server.http();
    let first = device.body(PAYLOAD);
    assert_eq!(http.post(&first).json()["reason"], "unknown device");
    let registration = Registration::new(device.key.verifying_key());
    assert_eq!(admin.register("lift-01", &registration).unwrap(), Registered::Added);
    assert_eq!(admin.register("lift-01", &registration).unwrap(), Registered::Already);
    assert_eq!(http.post(&first).status, 202);

    let taken = Registration::new(device.key.verifying_key());
    assert_eq!(kind(admin.register("lift-02", &taken).unwrap_err()), "conflict", "one key serves one device");
    admin.register("lift-02", &Registration::new(other.key.verifying_key())).unwrap();
    assert_eq!(admin.list_ids(0, 10).unwrap(), ["lift-01", "lift-02"]);
    assert_eq!(admin.list_ids(1, 10).unwrap(), ["lift-02"]);

    let second = TestDevice::new("lift-01");
    let key = admin.add_key("lift-01", &second.key.verifying_key(), Some(5), None).unwrap();
    assert_eq!((key.not_before_ms, key.public_key), (Some(5), second.key.verifying_key()));
    let known = admin.get("lift-01").unwrap().unwrap();
    assert_eq!((known.keys.len(), known.next_sequence, known.next_prev_record_hash), (2, 2, device.prev));
    assert_eq!(admin.get("lift-03").unwrap(), None);

    admin.revoke_key("lift-01", &known.keys[0].key_id).unwrap();
    assert_eq!(http.post(&device.body(PAYLOAD)).json()["reason"], "key revoked");
    assert_eq!(admin.register("lift-01", &registration).unwrap(), Registered::Revoked, "it stays so");
    assert_eq!(kind(admin.revoke_key("lift-01", "00").unwrap_err()), "not-found");

    admin.allow_versions("lift-02", &[1, 2]).unwrap();
    assert_eq!(admin.get("lift-02").unwrap().unwrap().versions, [1, 2]);
    let opened = admin.open_epoch("lift-02", 100, &[7; 32]).unwrap();
    assert_eq!((opened.next_sequence, opened.next_prev_record_hash, opened.epochs.len()), (100, [7; 32], 2));
    admin.revoke_device("lift-02").unwrap();
    assert!(admin.get("lift-02").unwrap().unwrap().revoked.is_some());
}

#[test]
fn the_log_is_looked_after_while_the_server_runs() {
    let setup = Setup::new();
    let mut admin = setup.client();
    let mut device = setup.server.device("lift-01");
    assert_eq!(setup.server.http().post(&device.body(PAYLOAD)).status, 202);
    admin.flush().unwrap();
    let closed = admin.close_segments().unwrap();
    assert!(closed.segments.iter().any(|segment| segment.stream_id == "device/lift-01/1"));
    let checkpoint = closed.checkpoint.unwrap();
    let stats = admin.stats().unwrap();
    assert_eq!((stats.devices, stats.checkpoint), (1, Some(checkpoint)));
    let copies = TempDir::new().unwrap();
    let copy = copies.path().join("copy.db");
    admin.backup(copy.to_str().unwrap()).unwrap();
    assert!(copy.metadata().unwrap().len() > 0);
    assert_eq!(kind(admin.backup("copy.db").unwrap_err()), "bad-request", "relative to whose directory?");
    assert_eq!(kind(admin.reload_tls().unwrap_err()), "invalid", "there is no TLS");
}

#[test]
fn what_is_no_call_is_refused_and_the_next_one_is_not() {
    let setup = Setup::new();
    let stream = UnixStream::connect(&setup.socket).unwrap();
    let mut read = BufReader::new(stream.try_clone().unwrap());
    let mut call = |line: &str| {
        (&stream).write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        read.read_line(&mut answer).unwrap();
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()
    };
    let hex = "00".repeat(31);
    for bad in [
        "\n".to_owned(),
        "nonsense\n".into(),
        "{}\n".into(),
        "{\"op\":\"devices.erase\"}\n".into(),
        "{\"op\":\"devices.get\"}\n".into(),
        "{\"op\":\"devices.get\",\"device_id\":\"a\",\"extra\":1}\n".into(),
        format!("{{\"op\":\"devices.register\",\"device_id\":\"a\",\"public_key\":\"{hex}\"}}\n"),
    ] {
        assert_eq!(call(&bad)["error"]["kind"], "bad-request", "{bad}");
    }
    assert_eq!(call("{\"op\":\"devices.get\",\"device_id\":\"a\"}\n")["ok"], serde_json::Value::Null);
    // A line without an end ends the connection.
    let mut stream = UnixStream::connect(&setup.socket).unwrap();
    let _ = stream.write_all(&vec![b'x'; 2 << 20]);
    let mut lines = BufReader::new(stream).lines();
    let refused = lines.next();
    assert!(refused.is_none_or(|line| line.is_err() || line.unwrap().contains("bad-request")));
    assert!(setup.client().stats().is_ok());
}

#[test]
fn only_its_owner_is_let_in() {
    let setup = Setup::new();
    let mode = fs::metadata(&setup.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: that another user is refused is not tested here");
        return;
    }
    // Even where the mode lets them: as another user, through a directory that is open.
    let open = TempDir::new().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = open.path().join("open.sock");
    let server = TestServer::with(|builder| builder.admin(&socket));
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(AdminClient::connect(&socket).unwrap().stats().is_ok());
    let script = "import os,socket,sys\nos.setgid(65534)\nos.setuid(65534)\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.sendall(b'{\"op\":\"stats\"}\\n')\nsys.stdout.buffer.write(s.recv(1000))";
    let output =
        Command::new("python3").arg("-c").arg(script).arg(&socket).output().expect("python3 is installed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing for user 65534");
    drop(server);
}

#[test]
fn a_socket_that_was_left_is_replaced_and_a_file_is_not() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("audit.db.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(matches!(AdminClient::connect(&socket), Err(AdminError::NobodyThere(_))));
    let mut server = TestServer::with(|builder| builder.admin(&socket));
    assert!(AdminClient::connect(&socket).unwrap().stats().is_ok());
    server.begin_stop();
    server.stopped();
    assert!(!socket.exists(), "and removed at the end");
    assert!(matches!(AdminClient::connect(&socket), Err(AdminError::NobodyThere(_))));
    drop(server);

    fs::write(&socket, "precious").unwrap();
    let gate = std::sync::Arc::new(crate::common::NativeGate::open(&dir.path().join("audit.db")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = edgesentry_server::http::Server::builder(gate).admin(&socket);
    let error = runtime.block_on(builder.bind()).err().unwrap().to_string();
    assert!(error.contains("something else is there"), "{error}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_works_too() {
    let dir = TempDir::new().unwrap();
    let deep = dir.path().join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    let socket = socket_path(&deep.join("audit.db"));
    let _server = TestServer::with(|builder| builder.admin(&socket));
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    assert!(AdminClient::connect(&socket).unwrap().stats().is_ok());
    assert!(matches!(
        AdminClient::connect(Path::new("/nowhere/at/all.sock")),
        Err(AdminError::NobodyThere(_))
    ));
}
