//! `serve-tls` and `serve-mqtt` as real processes, with other people's clients: curl and mosquitto.

#![cfg(unix)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{PRIVATE, PUBLIC, Place};
use serde_json::Value;

/// Whether a program is here; tests that need it say so and end where it is not.
fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .chain([Path::new("/usr/sbin").into()])
        .any(|dir| dir.join(program).exists());
    if !found {
        eprintln!("no {program} here: not tried");
    }
    found
}

fn envelope(place: &Place, n: u64) -> String {
    let (out, before, number) = (format!("{n}.json"), format!("{}.json", n - 1), n.to_string());
    let mut args = vec![
        "audit",
        "sign-record",
        "--device-id",
        "lift-01",
        "--sequence",
        &number,
        "--payload",
        "door",
        "--object-ref",
        "r",
        "--private-key-hex",
        PRIVATE,
        "--out",
        &out,
    ];
    if n > 1 {
        args.extend(["--prev-record", &before]);
    }
    place.ok(&args);
    let record: Value = serde_json::from_slice(&std::fs::read(place.path(&out)).unwrap()).unwrap();
    serde_json::json!({"record": record, "raw_payload_hex": hex::encode("door")}).to_string()
}

/// A certificate of its own for localhost, and its key.
fn certificate(place: &Place, name: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-keyout")
        .arg(place.path("server.key"))
        .arg("-out")
        .arg(place.path("server.crt"))
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
}

#[test]
fn records_come_over_tls_and_certificates_are_read_again() {
    if !has("openssl") || !has("curl") {
        return;
    }
    let place = Place::new();
    certificate(&place, "first");
    let device = format!("lift-01={PUBLIC}");
    let server = place.serve(&[
        "serve-tls",
        "--addr",
        "127.0.0.1:0",
        "--tls-cert",
        "server.crt",
        "--tls-key",
        "server.key",
        "--device",
        &device,
    ]);
    let url = format!("https://localhost:{}", server.addr.port());
    let curl = |args: &[&str]| {
        let out = Command::new("curl")
            .args(["-sS", "--cacert", "server.crt"])
            .args(args)
            .current_dir(place.path(""))
            .output();
        let out = out.unwrap();
        (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    std::fs::write(place.path("body.json"), envelope(&place, 1)).unwrap();
    let ingest = [
        "-o",
        "answer",
        "-w",
        "%{http_code}",
        "-H",
        "content-type: application/json",
        "--data-binary",
        "@body.json",
        &format!("{url}/api/v1/ingest"),
    ];
    assert_eq!(curl(&ingest).0, "202");
    // Another certificate: the client trusts that one alone, so it is served only after it was read again.
    certificate(&place, "second");
    server.signal("HUP");
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (code, error) = curl(&["-o", "answer", "-w", "%{http_code}", &format!("{url}/healthz")]);
        if code == "200" {
            break;
        }
        assert!(Instant::now() < until, "{code} {error}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(place.json(&["audit", "verify-store"])["records"], 1);
}

/// A broker; it is killed when dropped.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn records_come_from_a_broker() {
    if !has("mosquitto") || !has("mosquitto_pub") {
        return;
    }
    let place = Place::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(place.path("broker.conf"), format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
        .unwrap();
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let broker = Command::new(program)
        .arg("-c")
        .arg(place.path("broker.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _broker = Broker(broker.unwrap());
    let (device, port) = (format!("lift-01={PUBLIC}"), port.to_string());
    let server = place.serve(&[
        "serve-mqtt",
        "--broker",
        "127.0.0.1",
        "--port",
        &port,
        "--topic",
        "devices/+/ingest",
        "--identity-level",
        "2",
        "--device",
        &device,
        "--metrics-addr",
        "127.0.0.1:0",
    ]);
    let wait = |what: &str| {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let metrics = server.request("GET", "/metrics", b"").unwrap().1;
            if metrics.contains(what) {
                return;
            }
            assert!(Instant::now() < until, "{what}\n{metrics}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait("edgesentry_mqtt_connected 1");
    let publish = |topic: &str, message: &str| {
        let sent = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", topic, "-m", message])
            .status();
        assert!(sent.unwrap().success());
    };
    publish("devices/lift-01/ingest", &envelope(&place, 1));
    publish("devices/lift-01/ingest", &envelope(&place, 2));
    wait("edgesentry_ingest_accepted_total 2");
    // On the topic of another device it is refused.
    publish("devices/lift-02/ingest", &envelope(&place, 3));
    wait("edgesentry_ingest_rejected_total{reason=\"auth/device mismatch\"} 1");
    // The operator's calls work beside it.
    assert_eq!(place.json(&["audit", "devices", "show", "lift-01"])["next_sequence"], 3);
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(place.json(&["audit", "verify-store"])["records"], 2);
}
