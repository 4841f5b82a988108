//! Private keys and payloads appear in nothing that a command says or logs.

use crate::support::{PUBLIC, Place};

/// A key that occurs nowhere else, and a payload that does not.
const KEY: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e7abcd";
const PAYLOAD: &str = "a-payload-that-nobody-should-see";

fn leaks(text: &str) -> bool {
    let text = text.to_lowercase();
    let payload_hex = hex::encode(PAYLOAD);
    let numbers = format!("{:?}", PAYLOAD.as_bytes());
    [&KEY[..16], &KEY[16..32], &KEY[32..48], PAYLOAD, &payload_hex, &numbers]
        .iter()
        .any(|s| text.contains(*s))
}

#[test]
fn no_output_shows_a_private_key_or_a_payload() {
    let place = Place::new();
    let sign = |key: &str, more: &[&str]| {
        let args = [
            "audit",
            "sign-record",
            "--device-id",
            "d",
            "--sequence",
            "1",
            "--payload",
            PAYLOAD,
            "--object-ref",
            "r",
            "--private-key-hex",
            key,
        ];
        place.run(&[&args[..], more].concat())
    };
    std::fs::write(place.path("key.json"), format!("{{\"private_key_hex\": \"{KEY}\"}}")).unwrap();
    std::fs::write(
        place.path("pair.json"),
        format!("{{\"private_key_hex\": \"{KEY}\", \"public_key_hex\": \"{PUBLIC}\"}}"),
    )
    .unwrap();
    std::fs::write(
        place.path("odd.json"),
        format!("{{\"private_key_hex\": \"{KEY}0\", \"public_key_hex\": 7}}"),
    )
    .unwrap();
    std::fs::write(
        place.path("pem.pem"),
        format!("-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n"),
    )
    .unwrap();
    std::fs::write(
        place.path("payloads.json"),
        serde_json::json!([hex::encode(PAYLOAD), PAYLOAD]).to_string(),
    )
    .unwrap();
    std::fs::write(
        place.path("payloads2.json"),
        serde_json::json!({PAYLOAD: hex::encode(PAYLOAD)}).to_string(),
    )
    .unwrap();
    std::fs::write(place.path("records.json"), "[]").unwrap();
    let ingest = |payloads: &str| {
        place.run(&[
            "audit",
            "demo-ingest",
            "--device-id",
            "d",
            "--records-file",
            "records.json",
            "--payloads-file",
            payloads,
        ])
    };
    let mut ran = vec![
        sign(KEY, &[]),
        sign(KEY, &["--out", "record.json", "--json"]),
        sign(&KEY[1..], &[]),
        sign(&format!("{KEY}00"), &[]),
        sign(&KEY.replace("5e", "xx"), &[]),
        sign(KEY, &["--record-version", "1"]),
        sign(KEY, &["--payload-file", "x"]),
        sign(KEY, &["--timestamp-ms", "never"]),
        sign(KEY, &["--key-file", "key.json"]),
        place.run(&["audit", "inspect-key", "--key-file", "key.json"]),
        place.run(&["audit", "inspect-key", "--key-file", "pair.json"]),
        place.run(&["audit", "inspect-key", "--key-file", "odd.json"]),
        place.run(&["keys", "import", "k", "--from", "pem.pem", "--keys", "keys"]),
        place.run(&["keys", "create", "k", "--keys", "keys"]),
        ingest("payloads.json"),
        ingest("payloads2.json"),
    ];
    let from_env =
        place.command(&["audit", "inspect-key"]).env("DEVICE_PRIVATE_KEY_HEX", &KEY[2..]).output().unwrap();
    ran.push(from_env.into());
    for ran in &ran {
        assert!(!leaks(&ran.stdout) && !leaks(&ran.stderr), "{}{}", ran.stdout, ran.stderr);
    }
    // The check itself sees what it looks for.
    let shown = place.command(&["audit", "inspect-key"]).env("DEVICE_PRIVATE_KEY_HEX", KEY).output().unwrap();
    assert!(leaks(&String::from_utf8(shown.stdout).unwrap()));
}

#[cfg(unix)]
#[test]
fn no_log_event_of_a_server_shows_a_payload() {
    use std::fs;

    let place = Place::new();
    place.ok(&["audit", "keygen", "--out", "key.json"]);
    let key: serde_json::Value = serde_json::from_slice(&fs::read(place.path("key.json")).unwrap()).unwrap();
    let device = format!("d={}", key["public_key_hex"].as_str().unwrap());
    place.ok(&[
        "audit",
        "sign-record",
        "--device-id",
        "d",
        "--sequence",
        "1",
        "--payload",
        PAYLOAD,
        "--object-ref",
        "r",
        "--key-file",
        "key.json",
        "--out",
        "record.json",
    ]);
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("record.json")).unwrap()).unwrap();
    let mut command = place.command(&["serve", "--addr", "127.0.0.1:0", "--device", &device]);
    command.env("RUST_LOG", "trace");
    let server = place.start(command);
    assert_eq!(server.ingest(&record, PAYLOAD.as_bytes()).unwrap().0, 202);
    let refused = server.ingest(&record, format!("{PAYLOAD}!").as_bytes()).unwrap();
    assert!(refused.0 == 422 && !leaks(&refused.1), "{refused:?}");
    let odd = format!("{{\"record\": 1, \"raw_payload_hex\": \"{}x\"}}", hex::encode(PAYLOAD));
    let malformed = server.request("POST", "/api/v1/ingest", odd.as_bytes()).unwrap();
    assert!(malformed.0 == 400 && !leaks(&malformed.1), "{malformed:?}");
    let (_, said) = server.stop();
    let log = fs::read_to_string(place.path("server.log")).unwrap();
    assert!(log.contains("record accepted"), "{log}");
    assert!(!leaks(&log) && !leaks(&said));
}
