//! TLS: versions, certificates of clients, and certificates that are replaced.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::certs::{Authority, Signed, client_config, connect};
use crate::common::{TestServer, eventually};
use edgesentry_server::admin::{AdminClient, AdminError};
use edgesentry_server::http::{ClientCerts, Limits, TlsSettings};
use rcgen::SanType;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

const PAYLOAD: &[u8] = b"door closed";

struct Setup {
    authority: Authority,
    dir: TempDir,
}

impl Setup {
    fn new() -> Self {
        let setup = Self { authority: Authority::new("test authority"), dir: TempDir::new().unwrap() };
        setup.authority.server().write(setup.dir.path());
        setup
    }

    fn settings(&self) -> TlsSettings {
        let mut settings =
            TlsSettings::new(self.dir.path().join("server.crt"), self.dir.path().join("server.key"));
        settings.poll = Duration::from_millis(20);
        settings
    }

    fn with_clients(&self, optional: bool) -> TlsSettings {
        let ca = self.dir.path().join("clients.pem");
        std::fs::write(&ca, &self.authority.pem).unwrap();
        TlsSettings { clients: Some(ClientCerts { ca, crl: None, optional }), ..self.settings() }
    }

    fn ca_file(&self) -> PathBuf {
        let path = self.dir.path().join("ca.pem");
        std::fs::write(&path, &self.authority.pem).unwrap();
        path
    }
}

/// What `openssl s_client` says, with one request sent.
fn s_client(server: &TestServer, ca: &Path, arguments: &[&str]) -> (bool, String) {
    let mut child = Command::new("openssl")
        .arg("s_client")
        .args([
            "-connect",
            &server.addr.to_string(),
            "-servername",
            "localhost",
            "-quiet",
            "-verify_return_error",
        ])
        .arg("-CAfile")
        .arg(ca)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = child.stdin.take().unwrap();
    // Where the handshake fails the pipe breaks.
    let _ = stdin.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn tls_1_2_and_1_3_are_served_and_1_1_is_not() {
    let setup = Setup::new();
    let server = TestServer::with(|builder| builder.tls(setup.settings()));
    let ca = setup.ca_file();
    for version in ["-tls1_2", "-tls1_3"] {
        let (well, text) = s_client(&server, &ca, &[version]);
        assert!(well && text.contains("HTTP/1.1 200 OK"), "{version}: {text}");
    }
    for old in ["-tls1_1", "-tls1"] {
        // At security level 0, or openssl would not even try.
        let (well, text) = s_client(&server, &ca, &[old, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!well && !text.contains("HTTP/1.1"), "{old}: {text}");
        assert!(text.contains("SSL alert number"), "the server refuses: {old}: {text}");
    }
    server.await_metric("edgesentry_connections_dropped_total{reason=\"handshake\"}", |n| n == 2.0);
}

#[test]
fn records_come_over_tls() {
    let setup = Setup::new();
    let server = TestServer::with(|builder| builder.tls(setup.settings()));
    let mut device = server.device("lift-01");
    let mut http = connect(server.addr, &client_config(&setup.authority, None));
    for _ in 0..5 {
        assert_eq!(http.post(&device.body(PAYLOAD)).status, 202);
    }
    assert_eq!(http.post(&vec![b' '; 10 << 20]).status, 413);
    let mut plain = server.http();
    plain.send(b"GET /healthz HTTP/1.1\r\nhost: gate\r\n\r\n");
    assert!(plain.try_answer().is_err(), "no HTTP without TLS");
}

#[test]
fn a_client_without_a_certificate_or_with_a_strangers_is_not_let_in() {
    let setup = Setup::new();
    let server = TestServer::with(|builder| builder.tls(setup.with_clients(false)));
    let refused = |own: Option<&Signed>| {
        let mut http = connect(server.addr, &client_config(&setup.authority, own));
        // TLS 1.3 tells a client only after it believes to be done.
        let sent = http.io.write_all(b"GET /healthz HTTP/1.1\r\nhost: gate\r\n\r\n");
        sent.and_then(|()| http.try_answer().map(drop)).is_err()
    };
    assert!(refused(None));
    let stranger = Authority::new("test authority").client(Some("lift-01"), vec![]);
    assert!(refused(Some(&stranger)), "an authority of the same name is another");
    let nobody = setup.authority.client(None, vec![]);
    assert!(refused(Some(&nobody)), "a certificate without a name would not be compared with anything");
    server.await_metric("edgesentry_connections_dropped_total{reason=\"handshake\"}", |n| n == 3.0);
    assert!(!refused(Some(&setup.authority.client(Some("lift-01"), vec![]))));
}

#[test]
fn a_certificate_speaks_for_its_device_only() {
    let setup = Setup::new();
    let server = TestServer::with(|builder| builder.tls(setup.with_clients(false)));
    let mut device = server.device("lift-01");
    let mut other = server.device("lift-02");
    let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let own = [
        setup.authority.client(Some("lift-01"), vec![]),
        setup.authority.client(Some("somebody"), vec![dns("lift-01")]),
        setup
            .authority
            .client(Some("somebody"), vec![dns("something"), uri("urn:edgesentry:device:lift-01")]),
    ];
    for own in &own {
        let mut http = connect(server.addr, &client_config(&setup.authority, Some(own)));
        let answer = http.post(&device.body(PAYLOAD));
        assert_eq!(answer.status, 202, "{}", answer.text());
        let request = other.body(PAYLOAD);
        other.sequence -= 1;
        other.prev = [0; 32];
        let answer = http.post(&request);
        assert_eq!((answer.status, &answer.json()["reason"]), (422, &"auth/device mismatch".into()));
    }
    // A name that counts less does not help.
    let others = [
        setup.authority.client(Some("lift-01"), vec![dns("lift-02")]),
        setup.authority.client(Some("lift-01"), vec![dns("lift-01"), uri("urn:edgesentry:device:lift-02")]),
        setup.authority.client(Some("lift-01"), vec![uri("https://example.com/lift-01")]),
    ];
    for other in &others {
        let mut http = connect(server.addr, &client_config(&setup.authority, Some(other)));
        let answer = http.post(&device.body(PAYLOAD));
        device.sequence -= 1;
        assert_eq!((answer.status, &answer.json()["reason"]), (422, &"auth/device mismatch".into()));
    }
    assert_eq!(server.metric("edgesentry_ingest_rejected_total{reason=\"auth/device mismatch\"}"), 6.0);
}

#[test]
fn where_certificates_are_optional_those_that_are_shown_count() {
    let setup = Setup::new();
    let server = TestServer::with(|builder| builder.tls(setup.with_clients(true)));
    let mut device = server.device("lift-01");
    let mut http = connect(server.addr, &client_config(&setup.authority, None));
    assert_eq!(http.post(&device.body(PAYLOAD)).status, 202);
    let wrong = setup.authority.client(Some("lift-02"), vec![]);
    let mut http = connect(server.addr, &client_config(&setup.authority, Some(&wrong)));
    assert_eq!(http.post(&device.body(PAYLOAD)).status, 422);
}

/// The certificate that a new connection sees.
fn seen(server: &TestServer, setup: &Setup) -> Vec<u8> {
    let mut http = connect(server.addr, &client_config(&setup.authority, None));
    assert_eq!(http.get("/healthz").status, 200);
    http.io.conn.peer_certificates().unwrap()[0].to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let setup = Setup::new();
    let server = TestServer::with(|builder| builder.tls(setup.settings()));
    let mut old_connection = connect(server.addr, &client_config(&setup.authority, None));
    assert_eq!(old_connection.get("/healthz").status, 200);
    let first = seen(&server, &setup);

    let renewed = setup.authority.server();
    renewed.write(setup.dir.path());
    assert_ne!(first, der(&renewed.cert));
    eventually("the renewed certificate", || (seen(&server, &setup) == der(&renewed.cert)).then_some(()));
    assert_eq!(old_connection.get("/healthz").status, 200, "connections live on");

    // A key that is not the certificate's; then no certificate at all.
    let failures = "edgesentry_tls_reloads_total{result=\"error\"}";
    let before = server.metric(failures);
    std::fs::write(setup.dir.path().join("server.key"), setup.authority.server().key).unwrap();
    server.await_metric(failures, |n| n > before);
    assert_eq!(seen(&server, &setup), der(&renewed.cert));
    let error = server.handle.reload().unwrap_err().to_string();
    assert!(error.contains("server.crt") && error.contains("server.key"), "{error}");
    assert!(!error.contains("PRIVATE KEY"), "{error}");
    std::fs::write(setup.dir.path().join("server.crt"), "nonsense").unwrap();
    assert!(server.handle.reload().is_err());
    assert_eq!(seen(&server, &setup), der(&renewed.cert));

    // As a signal would have it.
    let last = setup.authority.server();
    last.write(setup.dir.path());
    server.handle.reload().unwrap();
    assert_eq!(seen(&server, &setup), der(&last.cert));
    assert!(server.metric("edgesentry_tls_certificate_expiry_timestamp_seconds") > 1e9);
}

#[test]
fn the_admin_socket_has_certificates_read_again() {
    let setup = Setup::new();
    let settings = TlsSettings { poll: Duration::from_secs(3600), ..setup.settings() };
    let socket = setup.dir.path().join("admin.sock");
    let server = TestServer::with(|builder| builder.tls(settings).admin(&socket));
    let renewed = setup.authority.server();
    renewed.write(setup.dir.path());
    let mut admin = AdminClient::connect(&socket).unwrap();
    admin.reload_tls().unwrap();
    assert_eq!(seen(&server, &setup), der(&renewed.cert));
    std::fs::write(setup.dir.path().join("server.key"), "nonsense").unwrap();
    assert!(matches!(admin.reload_tls(), Err(AdminError::Refused(_))));
}

#[test]
fn files_that_make_no_sense_are_named() {
    let setup = Setup::new();
    let gate = crate::common::NativeGate::open(&setup.dir.path().join("audit.db"));
    let gate = std::sync::Arc::new(gate);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = |settings: TlsSettings| {
        let builder = edgesentry_server::http::Server::builder(gate.clone()).tls(settings);
        runtime.block_on(builder.bind()).err().unwrap().to_string()
    };
    let missing = TlsSettings::new("/nowhere/server.crt", "/nowhere/server.key");
    assert!(error(missing).contains("/nowhere/server.crt"));
    let empty = setup.dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    assert!(error(TlsSettings { cert: empty.clone(), ..setup.settings() }).contains("no certificate"));
    assert!(error(TlsSettings { key: empty.clone(), ..setup.settings() }).contains("empty.pem"));
    let clients = ClientCerts { ca: empty.clone(), crl: None, optional: false };
    assert!(error(TlsSettings { clients: Some(clients), ..setup.settings() }).contains("empty.pem"));
}

#[test]
fn who_begins_a_handshake_and_goes_silent_is_dropped() {
    let setup = Setup::new();
    let limits = Limits { head_time: Duration::from_millis(100), ..Limits::default() };
    let server = TestServer::with(|builder| builder.tls(setup.settings()).limits(limits));
    let (mut silent, mut half) = (server.http(), server.http());
    half.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);
    for http in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        let _ = http.io.read_to_end(&mut rest);
        assert!(rest.len() < 16, "at most an alert");
    }
    server.await_metric("edgesentry_connections_dropped_total{reason=\"handshake\"}", |n| n == 2.0);
    server.await_metric("edgesentry_connections", |n| n == 0.0);
}
