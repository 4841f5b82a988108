//! `docs/records.md` against the code: its examples are made again here, and its commands are run.
//!
//! `SECURE_LOG_BLESS=1` writes the examples into the document.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ed25519_dalek::Signer;
use edgesentry_audit::{AuditRecord, build_signed_record, build_signed_record_v1};

use crate::common::*;

const PAYLOAD: &[u8] = b"door-open";

fn document_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/records.md")
}

fn document() -> String {
    std::fs::read_to_string(document_path()).unwrap()
}

fn example_v1() -> AuditRecord {
    let (zero, reference) = (AuditRecord::zero_hash(), "s3://bucket/lift-01/1.bin");
    build_signed_record_v1(DEVICE, 1, START_MS, PAYLOAD, zero, reference, &key(1))
}

/// Of a fixed software version, so that a release does not change the document.
fn example_v2() -> AuditRecord {
    let (zero, reference) = (AuditRecord::zero_hash(), "s3://bucket/lift-01/1.bin");
    let mut record = build_signed_record(DEVICE, 1, START_MS, PAYLOAD, zero, reference, &key(1));
    record.provenance.as_mut().unwrap().software_version = "v0.1.0".into();
    record.signature = key(1).sign(&record.signed_message()).to_bytes();
    record
}

/// Parts of the bytes, a line each (long ones on several), with what they are; they must add up to all of them.
fn annotated(bytes: &[u8], parts: &[(usize, &str)]) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for (length, what) in parts {
        let part = &bytes[at..at + length];
        at += length;
        for (n, line) in part.chunks(32).enumerate() {
            let note = if n == 0 { format!("  {what}") } else { String::new() };
            writeln!(out, "{:<64}{note}", hex::encode(line)).unwrap();
        }
    }
    assert_eq!(at, bytes.len());
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn blocks() -> Vec<(&'static str, String)> {
    let (v1, v2) = (example_v1(), example_v2());
    let text = |length: usize| 2 + length;
    let v2_bytes = annotated(
        &v2.to_bytes(),
        &[
            (1, "map of 12"),
            (2, "1: version 2"),
            (text(7), "2: device_id \"lift-01\""),
            (2, "3: sequence 1"),
            (10, "4: timestamp_ms 1700000000000"),
            (3, "5: payload_hash, 32 bytes"),
            (32, "   BLAKE3 of \"door-open\""),
            (3, "6: prev_record_hash, 32 bytes"),
            (32, "   zeros: the first record"),
            (text(25) + 1, "7: object_ref \"s3://bucket/lift-01/1.bin\""),
            (text(6), "8: hash_alg \"blake3\""),
            (text(7), "9: sig_alg \"ed25519\""),
            (text(32) + 1, "10: key_id"),
            (text(6), "11: software_version \"v0.1.0\""),
            (3, "12: signature, 64 bytes"),
            (64, "   Ed25519"),
        ],
    );
    let v1_bytes = annotated(
        &v1.to_bytes(),
        &[
            (1 + 7, "device_id \"lift-01\""),
            (1, "sequence 1"),
            (6, "timestamp_ms 1700000000000"),
            (32, "payload_hash"),
            (1, "signature, 64 bytes"),
            (64, ""),
            (32, "prev_record_hash"),
            (1 + 25, "object_ref \"s3://bucket/lift-01/1.bin\""),
        ],
    );
    let hashes = |record: &AuditRecord| {
        let message = record.signed_message();
        let (domain, hash) = message.split_at(message.len() - 32);
        let mut out = String::new();
        if domain.is_empty() {
            writeln!(out, "message: payload_hash\n  {}", hex::encode(hash)).unwrap();
        } else {
            writeln!(out, "message: text and BLAKE3 of unsigned").unwrap();
            writeln!(out, "  {}\n  {}", hex::encode(domain), hex::encode(hash)).unwrap();
        }
        writeln!(out, "record hash\n  {}", hex::encode(record.hash())).unwrap();
        out
    };
    let json = {
        let mut out = String::from("{\n");
        let text = serde_json::to_string(&v2).unwrap();
        // One field a line; arrays are long, and their numbers say nothing.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let object = value.as_object().unwrap();
        let mut fields: Vec<_> = object.iter().collect();
        fields.sort_by_key(|(name, _)| text.find(&format!("\"{name}\":")).unwrap());
        for (n, (name, value)) in fields.iter().enumerate() {
            let value = match value.as_array() {
                Some(numbers) => format!("[{}, {}, … {} numbers]", numbers[0], numbers[1], numbers.len()),
                None => value.to_string(),
            };
            let comma = if n + 1 < fields.len() { "," } else { "" };
            writeln!(out, "  \"{name}\": {value}{comma}").unwrap();
        }
        out + "}\n"
    };
    vec![
        ("v2", v2_bytes),
        ("v2-hashes", hashes(&v2)),
        ("v1", v1_bytes),
        ("v1-hashes", hashes(&v1)),
        ("json", json),
    ]
}

/// The document with `content` in the fences behind its marker.
fn with_block(document: &str, marker: &str, content: &str) -> String {
    let marker = format!("<!-- {marker} -->\n```");
    assert_eq!(document.matches(&marker).count(), 1, "{marker}");
    let at = document.find(&marker).unwrap() + marker.len();
    let begin = at + document[at..].find('\n').unwrap() + 1;
    let end = begin + document[begin..].find("```\n").unwrap();
    format!("{}{content}{}", &document[..begin], &document[end..])
}

#[test]
fn the_document_shows_what_the_code_does() {
    let document = document();
    let mut made = document.clone();
    let blocks = blocks();
    for (name, content) in &blocks {
        made = with_block(&made, &format!("example: {name}"), content);
    }
    assert_eq!(made.matches("<!-- example: ").count(), blocks.len(), "a marker without an example");
    if made == document {
        return;
    }
    if std::env::var_os("SECURE_LOG_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(document_path(), made).unwrap();
        return;
    }
    let line = document.lines().zip(made.lines()).zip(1..).find(|((theirs, ours), _)| theirs != ours);
    panic!(
        "docs/records.md differs from what the code does: {line:#?}\n\
         If the format was meant to change, run this test with SECURE_LOG_BLESS=1."
    );
}

/// The commands behind a marker.
fn script(name: &str) -> String {
    let document = document();
    let marker = format!("<!-- script: {name} -->\n```sh\n");
    let at = document.find(&marker).unwrap() + marker.len();
    document[at..at + document[at..].find("```\n").unwrap()].to_owned()
}

/// Whether a tool is there; if not, says so in a way that output capturing does not hide.
fn have_tools(tools: &[&str]) -> bool {
    use std::io::Write as _;
    let missing: Vec<_> =
        tools.iter().filter(|t| Command::new(t).arg("--help").output().is_err()).copied().collect();
    if missing.is_empty() {
        return true;
    }
    let text = format!("\nNOT CHECKED: records with standard tools: {} missing\n", missing.join(", "));
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    false
}

/// What the commands say of a record: their output, and whether all of them succeeded.
fn run(name: &str, record: &AuditRecord, payload: &[u8]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("record.hex", hex::encode(record.to_bytes()).as_bytes());
    write("record.json", &serde_json::to_vec(record).unwrap());
    write("payload", payload);
    write("key.hex", hex::encode(key(1).verifying_key().as_bytes()).as_bytes());
    let output = Command::new("sh").args(["-e", "-c", &script(name)]).current_dir(&folder).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn standard_tools_verify_a_record_and_refuse_changed_ones() {
    if !have_tools(&["b3sum", "openssl", "basenc", "python3"]) {
        return;
    }
    let verified = "payload hash OK\nSignature Verified Successfully\n";
    let (good, output) = run("v2", &example_v2(), PAYLOAD);
    assert!(good, "{output}");
    assert_eq!(output, format!("{verified}{}\n", hex::encode(example_v2().hash())));
    assert_eq!(run("v1", &example_v1(), PAYLOAD), (true, verified.to_owned()));

    for (name, record) in [("v2", example_v2()), ("v1", example_v1())] {
        let (_, output) = run(name, &record, b"door-shut");
        assert!(!output.contains("payload hash OK"), "{name}: {output}");
        let mut changed = record.clone();
        changed.signature[0] ^= 1;
        let (good, output) = run(name, &changed, PAYLOAD);
        assert!(!good && !output.contains("Verified Successfully"), "{name}: {output}");
    }
    // Version 2 alone protects the rest.
    let changed = |record: AuditRecord| AuditRecord { timestamp_ms: START_MS + 1, ..record };
    assert!(!run("v2", &changed(example_v2()), PAYLOAD).0);
    assert!(run("v1", &changed(example_v1()), PAYLOAD).0);
}
