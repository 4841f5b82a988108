//! `docs/format.md` against the code: its worked examples are made again here, and an export is
//! verified by `scripts/verify-with-standard-tools.py`, which follows the document alone.
//!
//! `SECURE_LOG_BLESS=1` writes the examples into the document.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ciborium::Value;
use common::*;
use secure_log::envelope::{Envelope as _, EnvelopeError};
use secure_log::export::ExportVerifier;
use secure_log::header::entry_hash;
use secure_log::model::{Event, Severity, StreamOptions, Tier};
use secure_log::note::{CheckpointBody, VerifierKey};
use secure_log::record::LOG_STREAM;
use secure_log::sealing::{KeyUse, Place, WrappedKey, wrap_context};
use secure_log::signature::{ecdsa_der_to_raw, ecdsa_raw_to_der};
use secure_log::signer::{CheckpointSigner, KeyError, PublicKey};
use secure_log::store::{ObjectKind, Row, SecureLogStore};
use secure_log::tree::leaf_hash;
use secure_log::{SecureLog, proof};
use secure_log_file::FileSecureLogStore;
use secure_log_keystore::{Config, SoftwareKeystore};
use secure_log_sqlite::SqliteSecureLogStore;
use zeroize::Zeroizing;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

// The log of the examples.

/// Two streams, one segment each, a signed checkpoint, and an entry after it.
fn example<S: SecureLogStore>(log: &mut Log<S>) -> Vec<String> {
    log.set_origin("example.com/audit").unwrap();
    log.create_stream("doors", Tier::Public, Some("door events")).unwrap();
    let door = |kind: &str, severity, text: &str| Event::new("doors", kind, severity, "controller-7", text);
    log.append(door("door-opened", Severity::Notice, "door 3 opened")).unwrap();
    log.set_boot_id("boot-1").unwrap();
    let mut forced = door("door-forced", Severity::Alert, r#"{"door":3}"#);
    forced.payload_encoding = Some("application/json".into());
    forced.id = Some("event-17".into());
    log.append(forced).unwrap();
    log.append(door("door-closed", Severity::Notice, "door 3 closed")).unwrap();
    let mut frame = Event::new("cameras", "frame", Severity::Informational, "camera-1", "an image");
    frame.object_ref = Some("https://archive.example/frames/1".into());
    log.append(frame).unwrap();
    let segments = log.close_segments().unwrap();
    log.sign_segment(&mut TestSigner, "key", segments[1].segment_id).unwrap();
    log.append(door("door-opened", Severity::Notice, "door 4 opened")).unwrap();
    vec![log.verifier_key(&mut TestSigner, "key").unwrap()]
}

fn export<S: SecureLogStore>(log: &mut Log<S>, keys: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    log.export(keys, |page| {
        lines.extend(page.split_inclusive('\n').map(str::to_owned));
        Ok(())
    })
    .unwrap();
    lines
}

fn row<S: SecureLogStore>(log: &mut Log<S>, stream: &str, seqno: u64) -> Row {
    log.store_mut().read_rows(stream, seqno, 1, true).unwrap().remove(0)
}

// How bytes are shown.

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        write!(s, "{b:02x}").unwrap();
        s
    })
}

/// 32 bytes a line.
fn hex_lines(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| hex(line) + "\n").collect()
}

const HEADER_FIELDS: [&str; 21] = [
    "version",
    "stream-id",
    "seqno",
    "prev-hash",
    "time-ms",
    "event-type",
    "severity",
    "producer",
    "payload-hash",
    "payload-len",
    "payload-encoding",
    "object-ref",
    "hash-alg",
    "software-version",
    "session-id",
    "boot-id",
    "nonce",
    "data-key-id",
    "keyed-tags",
    "salt-len",
    "event-id",
];

/// Diagnostic notation (RFC 8949 §8), read by a decoder that is not ours.
fn diagnostic(value: &Value) -> String {
    match value {
        Value::Integer(n) => i128::from(*n).to_string(),
        Value::Bytes(bytes) => format!("h'{}'", hex(bytes)),
        Value::Text(text) => serde_json::to_string(text).unwrap(),
        Value::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(k, v)| format!("{}: {}", diagnostic(k), diagnostic(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => panic!("{other:?} is not in our data"),
    }
}

fn decode(bytes: &[u8]) -> Value {
    ciborium::from_reader(bytes).unwrap()
}

/// A header, one field a line with its name.
fn header_diagnostic(header: &[u8]) -> String {
    let Value::Map(entries) = decode(header) else { panic!("not a map") };
    let mut out = "{\n".to_owned();
    for (key, value) in &entries {
        let n = i128::from(*key.as_integer().as_ref().unwrap());
        let name = HEADER_FIELDS[n as usize - 1];
        writeln!(out, "  {n}: {}, / {name} /", diagnostic(value)).unwrap();
    }
    let last = out.rfind(", /").unwrap();
    out.replace_range(last..last + 1, "");
    out + "}\n"
}

// The blocks.

fn header_block<S: SecureLogStore>(log: &mut Log<S>) -> String {
    let row = row(log, "doors", 2);
    format!("{}\n{}", hex_lines(&row.header), header_diagnostic(&row.header))
}

fn hashes_block<S: SecureLogStore>(log: &mut Log<S>) -> String {
    let row = row(log, "doors", 2);
    let stored = row.payload.unwrap();
    let (salt, payload) = stored.split_at(32);
    let kept_elsewhere = log.read("cameras", 1).unwrap().header.payload_hash;
    assert_eq!(kept_elsewhere, *blake3::hash(b"an image").as_bytes());
    format!(
        "doors 2  salt          {}\n         payload       {}  {:?}\n         payload hash  {}\n         entry hash    {}\n         leaf hash     {}\n\ncameras 1  payload       {}  \"an image\"\n           payload hash  {}\n",
        hex(salt),
        hex(payload),
        std::str::from_utf8(payload).unwrap(),
        hex(blake3::hash(&stored).as_bytes()),
        hex(&entry_hash(&row.header)),
        hex(&leaf_hash(&row.header)),
        hex(b"an image"),
        hex(&kept_elsewhere),
    )
}

fn records_block<S: SecureLogStore>(log: &mut Log<S>) -> String {
    let head = log.head(LOG_STREAM).unwrap().unwrap();
    let mut out = String::new();
    for n in 1..=head.seqno {
        let row = row(log, LOG_STREAM, n);
        let payload = row.payload.unwrap();
        let Value::Map(entries) = decode(&payload) else { panic!("not a map") };
        let value = diagnostic(&Value::Map(entries));
        writeln!(out, "_log {n}: {}", row.event_type).unwrap();
        writeln!(out, "  record      {}", hex_lines(&payload).trim_end().replace('\n', "\n              "))
            .unwrap();
        writeln!(out, "              {}", value.replace(", 5: h", ",\n               5: h")).unwrap();
        writeln!(out, "  entry hash  {}", hex(&row.entry_hash)).unwrap();
        writeln!(out, "  leaf hash   {}", hex(&leaf_hash(&row.header))).unwrap();
    }
    out
}

fn tree_block<S: SecureLogStore>(log: &mut Log<S>, trusted: &[String]) -> String {
    let mut out = String::new();
    for n in 1..=3 {
        writeln!(out, "leaf {}  {}", n - 1, hex(&leaf_hash(&row(log, "doors", n).header))).unwrap();
    }
    let entry = log.build_entry_proof("doors", 2).unwrap();
    proof::verify_entry_proof(&entry, trusted).unwrap();
    let inclusion = &entry.inclusion;
    writeln!(out, "root    {}  (size {})", hex(&inclusion.root), inclusion.tree_size).unwrap();
    writeln!(out, "\ninclusion of doors 2 (index 1, size {})", inclusion.tree_size).unwrap();
    for hash in &inclusion.path {
        writeln!(out, "        {}", hex(hash)).unwrap();
    }
    let id = inclusion.segment_id;
    writeln!(out, "inclusion of _log {id} (index {}, size 5)", id - 1).unwrap();
    for hash in &entry.log_path {
        writeln!(out, "        {}", hex(hash)).unwrap();
    }
    let root = log.latest_checkpoint().unwrap().unwrap().root;
    writeln!(out, "root of _log\n        {}  (size 5)", hex(&root)).unwrap();
    out
}

/// The P-256 key with the scalar 70 70 … 70.
fn p256_line(text: &str) -> (VerifierKey, String) {
    use p256::ecdsa::signature::Signer;
    use p256::pkcs8::EncodePublicKey;
    let signing = p256::ecdsa::SigningKey::from_slice(&[0x70; 32]).unwrap();
    let spki = signing.verifying_key().to_public_key_der().unwrap();
    let key =
        VerifierKey::new("example.com/audit", PublicKey::from_spki_der(spki.as_bytes()).unwrap()).unwrap();
    let signature: p256::ecdsa::Signature = signing.sign(text.as_bytes());
    let line = key.signature_line(&signature.to_bytes()).unwrap();
    (key, line)
}

fn note_block<S: SecureLogStore>(log: &mut Log<S>) -> String {
    log.latest_checkpoint().unwrap().unwrap().note
}

fn keys_block<S: SecureLogStore>(log: &mut Log<S>, trusted: &[String]) -> String {
    let latest = log.latest_checkpoint().unwrap().unwrap();
    let text = CheckpointBody { origin: latest.origin, size: latest.size, root: latest.root }.to_text();
    let (p256, line) = p256_line(&text);
    format!(
        "Ed25519 (0x01)  seed of the private key  {}\n{}\n\nECDSA (0x02)  private scalar  {}\n{p256}\n{line}",
        hex(&[b'k'; 32]),
        trusted[0],
        hex(&[0x70; 32]),
    )
}

fn objects_block<S: SecureLogStore>(log: &mut Log<S>) -> String {
    let mut out = String::new();
    for kind in ObjectKind::ALL {
        for object in log.store_mut().list_objects(kind, "", None, 1000).unwrap() {
            let value = match kind {
                ObjectKind::Checkpoint => "the note above".to_owned(),
                _ => format!("{}  {}", hex(&object.value), diagnostic(&decode(&object.value))),
            };
            let key = serde_json::to_string(&object.key).unwrap();
            writeln!(out, "{:<10}  {key:<32}  {value}", kind.name()).unwrap();
        }
    }
    out
}

/// Keys in memory, made from a counter.
fn counting_keystore() -> SoftwareKeystore {
    let mut n = 0_u8;
    SoftwareKeystore::new(Config::new(move |out| {
        out.iter_mut().for_each(|byte| {
            n = n.wrapping_add(1);
            *byte = n;
        });
        Ok(())
    }))
}

/// A log with sealed streams, from its first entry to its erasure.
fn sealed_block<S: SecureLogStore>(log: Log<S>) -> String {
    let keystore = std::sync::Arc::new(std::sync::Mutex::new(counting_keystore()));
    let mut log = log.with_envelope(Shared(keystore.clone()));
    log.set_origin("example.com/wards").unwrap();
    for (stream, tier) in [("patients", Tier::Protected), ("suspects", Tier::HighlyRestricted)] {
        let options = StreamOptions { erasure_domain: Some("customer-7".into()), ..StreamOptions::new(tier) };
        log.create_stream_with(stream, &options).unwrap();
        log.append(Event::new(stream, "seen", Severity::Notice, "ward-3", format!("one of the {stream}")))
            .unwrap();
    }
    let mut out = String::new();
    let state = log.store_mut().list_objects(ObjectKind::State, "", None, 99).unwrap();
    for object in &state {
        let key = serde_json::to_string(&object.key).unwrap();
        writeln!(out, "state {key}").unwrap();
        writeln!(out, "      {}\n", diagnostic(&decode(&object.value)).replace(", 3: h", ",\n       3: h"))
            .unwrap();
    }
    for stream in ["patients", "suspects"] {
        let row = row(&mut log, stream, 1);
        let header = secure_log::header::HeaderRef::decode(&row.header).unwrap();
        let id = header.data_key_id.unwrap();
        let wrapped = state.iter().find(|o| o.key.ends_with(id)).unwrap();
        let wrapped = WrappedKey::decode(&wrapped.value).unwrap();
        let context = wrap_context(KeyUse::Data, "customer-7", stream, id);
        let key = keystore.lock().unwrap().unwrap("customer-7", &wrapped.wrapped, &context).unwrap();
        let place = Place { stream_id: stream, data_key_id: id, seqno: 1 };
        writeln!(out, "{stream} 1, header\n{}", header_diagnostic(&row.header)).unwrap();
        let indent = |bytes: &[u8]| hex_lines(bytes).trim_end().replace('\n', "\n                 ");
        writeln!(out, "wrap context     {}", indent(&context)).unwrap();
        writeln!(out, "data key         {}", hex(&key)).unwrap();
        writeln!(out, "associated data  {}", indent(&place.associated_data())).unwrap();
        writeln!(out, "stored payload   {}", indent(row.payload.as_deref().unwrap())).unwrap();
        let opened = log.open_entry(stream, 1).unwrap();
        let text = String::from_utf8(opened.payload).unwrap();
        writeln!(out, "opened           {:?}, {:?}, {text:?}\n", opened.event_type, opened.producer).unwrap();
    }
    log.rotate_key("customer-7", "customer-7-b").unwrap();
    log.erase_payloads("patients", 1, 1, "asked to").unwrap();
    log.erase_domain("customer-7", "contract ended").unwrap();
    let head = log.head(LOG_STREAM).unwrap().unwrap();
    for n in 1..=head.seqno {
        let row = row(&mut log, LOG_STREAM, n);
        let payload = row.payload.unwrap();
        writeln!(
            out,
            "_log {n}: {}\n  {}",
            row.event_type,
            hex_lines(&payload).trim_end().replace('\n', "\n  ")
        )
        .unwrap();
        writeln!(out, "  {}", diagnostic(&decode(&payload)).replace(", 5: h", ",\n   5: h")).unwrap();
    }
    let state = log.store_mut().list_objects(ObjectKind::State, "", None, 99).unwrap();
    for object in state.iter().filter(|o| !o.key.contains("-key\t")) {
        let key = serde_json::to_string(&object.key).unwrap();
        writeln!(out, "state {key}  {}", diagnostic(&decode(&object.value))).unwrap();
    }
    out
}

/// A keystore that the test looks into as well.
struct Shared(std::sync::Arc<std::sync::Mutex<SoftwareKeystore>>);

impl secure_log::envelope::Envelope for Shared {
    fn wrap(&mut self, name: &str, key: &[u8], context: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        self.0.lock().unwrap().wrap(name, key, context)
    }

    fn unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        self.0.lock().unwrap().unwrap(name, wrapped, context)
    }

    fn destroy(&mut self, name: &str) -> Result<(), EnvelopeError> {
        self.0.lock().unwrap().destroy(name)
    }
}

fn sqlite_block() -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.db");
    let mut log = open::<SqliteSecureLogStore>(path.to_str().unwrap());
    log.append(event("doors", 1)).unwrap();
    log.into_store().close().unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    let mut out = String::new();
    for pragma in ["application_id", "user_version"] {
        let value: i64 = conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).unwrap();
        writeln!(out, "PRAGMA {pragma} = {value};").unwrap();
    }
    let mut statement =
        conn.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").unwrap();
    for sql in statement.query_map([], |row| row.get::<_, String>(0)).unwrap() {
        writeln!(out, "{};", sql.unwrap()).unwrap();
    }
    out
}

/// What the document shows, under the names of its markers.
fn blocks() -> Vec<(&'static str, String)> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let mut log = open::<FileSecureLogStore>(path.to_str().unwrap());
    let trusted = example(&mut log);
    verify_all(&mut log, &trusted).unwrap();
    let lines = export(&mut log, &trusted);
    let mut blocks = vec![
        ("header", header_block(&mut log)),
        ("hashes", hashes_block(&mut log)),
        ("log-records", records_block(&mut log)),
        ("tree", tree_block(&mut log, &trusted)),
        ("note", note_block(&mut log)),
        ("keys", keys_block(&mut log, &trusted)),
        ("objects", objects_block(&mut log)),
    ];
    log.into_store().close().unwrap();
    blocks.push(("file-store", std::fs::read_to_string(&path).unwrap()));
    let payloads = std::fs::read(directory.path().join("audit.jsonl.payloads/000001.bin")).unwrap();
    blocks.push(("file-payloads", hex_lines(&payloads)));
    blocks.push(("export", lines.concat()));
    blocks.push(("sqlite-schema", sqlite_block()));
    blocks.push(("sealed", sealed_block(open::<SqliteSecureLogStore>(":memory:"))));

    // The bytes do not depend on the store.
    let mut sqlite = open::<SqliteSecureLogStore>(":memory:");
    let trusted = example(&mut sqlite);
    assert_eq!(export(&mut sqlite, &trusted), lines);
    blocks
}

/// The document with the blocks put in.
fn with_blocks(document: &str, blocks: &[(&str, String)]) -> String {
    let mut out = document.to_owned();
    for (name, content) in blocks {
        let marker = format!("<!-- example: {name} -->\n```");
        let at = out.find(&marker).unwrap_or_else(|| panic!("no marker for {name}")) + marker.len();
        assert!(!out[at..].contains(&marker), "two markers for {name}");
        let begin = at + out[at..].find('\n').unwrap() + 1;
        let end = begin + out[begin..].find("```\n").unwrap();
        out.replace_range(begin..end, content);
    }
    assert_eq!(out.matches("<!-- example: ").count(), blocks.len(), "a marker without an example");
    out
}

#[test]
fn the_document_shows_what_the_code_does() {
    let path = repository().join("docs/format.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let made = with_blocks(&document, &blocks());
    if made == document {
        return;
    }
    if std::env::var_os("SECURE_LOG_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let differing: String = document
        .lines()
        .zip(made.lines())
        .zip(1..)
        .filter(|((theirs, ours), _)| theirs != ours)
        .take(10)
        .map(|((theirs, ours), n)| format!("line {n}\n- {theirs}\n+ {ours}\n"))
        .collect();
    panic!(
        "docs/format.md differs from what the code does ({} and {} lines):\n{differing}\
         If the format was meant to change, run this test with SECURE_LOG_BLESS=1.",
        document.lines().count(),
        made.lines().count(),
    );
}

// Verification with standard tools.

/// Whether a tool is there; if not, says so in a way that output capturing does not hide.
fn have_tools(tools: &[&str]) -> bool {
    use std::io::Write as _;
    let missing: Vec<_> =
        tools.iter().filter(|t| Command::new(t).arg("--help").output().is_err()).copied().collect();
    if missing.is_empty() {
        return true;
    }
    let text = format!("\nNOT CHECKED: verification with standard tools: {} missing\n", missing.join(", "));
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    false
}

/// What the script says of an export: its report, or its complaint.
fn standard_tools(export: &str, trusted: &[String]) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), export).unwrap();
    let output = Command::new("python3")
        .arg(repository().join("scripts/verify-with-standard-tools.py"))
        .arg(file.path())
        .args(trusted)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match output.status.code() {
        Some(0) => Ok(text(output.stdout)),
        Some(1) => Err(text(output.stderr)),
        other => panic!("the script ended with {other:?}: {}", text(output.stderr)),
    }
}

fn our_verifier(export: &str, trusted: &[String]) -> Result<(), String> {
    let check = || {
        let mut verifier = ExportVerifier::new(trusted)?;
        export.lines().try_for_each(|line| verifier.line(line))?;
        verifier.finish()
    };
    check().map(drop).map_err(|e: secure_log::Error| e.to_string())
}

/// Both accept or both refuse.
#[track_caller]
fn both(what: &str, export: &str, trusted: &[String], holds: bool) {
    let (theirs, ours) = (standard_tools(export, trusted), our_verifier(export, trusted));
    assert_eq!((theirs.is_ok(), ours.is_ok()), (holds, holds), "{what}: {theirs:?}, {ours:?}");
}

const TOOLS: [&str; 3] = ["python3", "b3sum", "openssl"];

#[test]
fn standard_tools_verify_an_export_and_refuse_changed_ones() {
    if !have_tools(&TOOLS) {
        return;
    }
    let mut log = open::<SqliteSecureLogStore>(":memory:");
    let trusted = example(&mut log);
    let lines = export(&mut log, &trusted);
    let good = lines.concat();
    let report = standard_tools(&good, &trusted).unwrap();
    let document = std::fs::read_to_string(repository().join("docs/format.md")).unwrap();
    let command = format!("$ ./scripts/verify-with-standard-tools.py export.jsonl {}\n{report}", trusted[0]);
    assert!(document.contains(&command), "docs/format.md does not show this:\n{command}");
    both("as it is", &good, &trusted, true);
    let other = vec![log.verifier_key(&mut TestSigner, "other").unwrap()];
    both("with a key that did not sign", &good, &other, false);

    for (i, line) in lines.iter().enumerate() {
        // Key lines are claims; twice the same checkpoint says nothing new.
        let claim = line.starts_with("{\"key\"");
        let without: String = lines.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, l)| &**l).collect();
        both(&format!("without line {i}"), &without, &trusted, claim);
        let last = i + 1 == lines.len();
        let mut cut = lines[..i].concat();
        if !last {
            cut.push_str(&lines[lines.len() - 1]);
        }
        both(&format!("cut before line {i}"), &cut, &trusted, false);
        // Nothing signed covers the very last entry: whoever made the export vouches for it.
        if claim || i + 2 == lines.len() {
            continue;
        }
        for at in [line.len() / 4, line.len() / 2, line.len() - 20] {
            let mut changed = lines.clone();
            let to = if &line[at..=at] == "A" { "B" } else { "A" };
            changed[i].replace_range(at..=at, to);
            both(&format!("line {i} changed at {at}"), &changed.concat(), &trusted, false);
        }
        if i + 3 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(i, i + 1);
            let harmless = lines[i + 1].starts_with("{\"key\"") || line.starts_with("{\"checkpoint\"");
            if i > 0 && !harmless {
                both(&format!("lines {i} and {} swapped", i + 1), &swapped.concat(), &trusted, false);
            }
        }
    }
}

/// History written anew with correct hashes, up to the signature.
#[test]
fn standard_tools_refuse_a_forged_history() {
    if !have_tools(&TOOLS) {
        return;
    }
    let mut log = open::<SqliteSecureLogStore>(":memory:");
    let trusted = example(&mut log);
    let lines = export(&mut log, &trusted);
    let checkpoint = lines.iter().find(|l| l.starts_with("{\"checkpoint\"")).unwrap().clone();

    let mut forged = open::<SqliteSecureLogStore>(":memory:");
    forged.set_origin("example.com/audit").unwrap();
    fill(&mut forged, "doors", 3);
    fill(&mut forged, "cameras", 1);
    let segments = forged.close_segments().unwrap();
    let mut unsigned = export(&mut forged, &trusted);
    unsigned.insert(2, checkpoint);
    let end = unsigned.len() - 1;
    unsigned[end] = unsigned[end].replace("\"checkpoints\":0", "\"checkpoints\":1");
    both("under the old signature", &unsigned.concat(), &trusted, false);
    forged.sign_segment(&mut TestSigner, "mallory", segments[0].segment_id).unwrap();
    let mallory = vec![forged.verifier_key(&mut TestSigner, "mallory").unwrap()];
    let signed = export(&mut forged, &trusted).concat();
    both("signed by somebody else", &signed, &trusted, false);
    both("for whoever trusts somebody else", &signed, &mallory, true);

    // One stream of the forged log in place of the true one.
    let doors = |lines: &[String]| -> Vec<String> {
        let of = |line: &String| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let header = BASE64.decode(value["entry"]["header"].as_str()?).unwrap();
            let header = secure_log::header::HeaderRef::decode(&header).unwrap();
            Some(header.stream_id == "doors")
        };
        lines.iter().filter(|l| of(l) == Some(true)).cloned().collect()
    };
    let theirs = doors(&export(&mut forged, &trusted));
    let mut mixed = lines.clone();
    let first = mixed.iter().position(|l| *l == doors(&lines)[0]).unwrap();
    mixed.splice(first..first + 4, theirs);
    let entries = mixed.iter().filter(|l| l.starts_with("{\"entry\"")).count();
    let end = mixed.len() - 1;
    mixed[end] = format!("{{\"end\":{{\"entries\":{entries},\"checkpoints\":1}}}}\n");
    both("one stream from another log", &mixed.concat(), &trusted, false);
}

/// A deprecated stream ends where `_log` says, whether or not a segment covers its end.
#[test]
fn standard_tools_hold_a_deprecated_stream_to_its_end() {
    if !have_tools(&TOOLS) {
        return;
    }
    let mut log = open::<SqliteSecureLogStore>(":memory:");
    fill(&mut log, "doors", 2);
    let segment = log.close_segment("doors").unwrap();
    fill(&mut log, "doors", 1);
    log.deprecate_stream("doors").unwrap();
    log.sign_segment(&mut TestSigner, "key", segment.segment_id).unwrap();
    let trusted = vec![log.verifier_key(&mut TestSigner, "key").unwrap()];
    let mut lines = export(&mut log, &trusted);
    standard_tools(&lines.concat(), &trusted).unwrap();
    let (last, end) = (lines.len() - 2, lines.len() - 1);
    lines[end] = lines[end].replace("\"entries\":7", "\"entries\":6");
    lines.remove(last);
    let complaint = standard_tools(&lines.concat(), &trusted).unwrap_err();
    assert!(complaint.contains("doors"), "{complaint}");
    both("cut below its end", &lines.concat(), &trusted, false);
}

/// What is sealed needs no key, and what `_log` says was erased need not be there.
#[test]
fn standard_tools_verify_sealed_and_erased_entries() {
    if !have_tools(&TOOLS) {
        return;
    }
    let keystore = std::sync::Arc::new(std::sync::Mutex::new(counting_keystore()));
    let mut log = open::<SqliteSecureLogStore>(":memory:").with_envelope(Shared(keystore));
    for (stream, tier) in [("patients", Tier::Protected), ("suspects", Tier::HighlyRestricted)] {
        let options = StreamOptions { retention_ms: Some(2000), ..StreamOptions::new(tier) };
        log.create_stream_with(stream, &options).unwrap();
        fill(&mut log, stream, 3);
    }
    log.rotate_key("suspects", "suspects-b").unwrap();
    fill(&mut log, "open", 3);
    log.erase_payloads("open", 2, 3, "asked to").unwrap();
    log.erase_payloads("patients", 1, 2, "asked to").unwrap();
    log.erase_domain("suspects", "asked to").unwrap();
    let segments = log.close_segments().unwrap();
    log.sign_segment(&mut TestSigner, "key", segments[0].segment_id).unwrap();
    let trusted = vec![log.verifier_key(&mut TestSigner, "key").unwrap()];
    let lines = export(&mut log, &trusted);
    let good = lines.concat();
    both("as it is", &good, &trusted, true);
    assert!(standard_tools(&good, &trusted).unwrap().contains("7 payloads erased"));
    // A payload that is not there, and of which `_log` says nothing.
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("\"payload\"")) {
        let mut without = lines.clone();
        without[i] = line[..line.find(",\"payload\"").unwrap()].to_owned() + "}}\n";
        both(&format!("line {i} without its payload"), &without.concat(), &trusted, false);
    }
    // Without the records nothing is erased: they cannot be left out, or moved behind the signature.
    for kind in ["payloads-erased", "domain-erased"] {
        let of = |line: &String| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let header = BASE64.decode(value["entry"]["header"].as_str()?).unwrap();
            Some(secure_log::header::HeaderRef::decode(&header).unwrap().event_type == kind)
        };
        let without: String =
            lines.iter().filter(|line| of(line) != Some(true)).map(|line| &**line).collect();
        both(&format!("without {kind}"), &without, &trusted, false);
    }
}

/// Who trusts the keys of two logs does not let one of them sign for the other.
#[test]
fn standard_tools_do_not_take_the_key_of_another_log() {
    if !have_tools(&TOOLS) {
        return;
    }
    let mut log = open::<SqliteSecureLogStore>(":memory:");
    let own = example(&mut log);
    let checkpoint = log.latest_checkpoint().unwrap().unwrap();
    let key = VerifierKey::new("example.com/other", TestSigner.public_key("other").unwrap()).unwrap();
    let text = checkpoint.note.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let line = key.signature_line(&TestSigner.sign("other", text.as_bytes()).unwrap()).unwrap();
    let good = export(&mut log, &[]).concat();
    let quoted = |note: &str| serde_json::to_string(note).unwrap();
    let other = good.replace(&quoted(&checkpoint.note), &quoted(&format!("{text}\n{line}")));
    assert_ne!(other, good);
    let trusted = [own[0].clone(), key.to_string()];
    let complaint = standard_tools(&other, &trusted).unwrap_err();
    assert!(complaint.contains("for this log"), "{complaint}");
    both("signed by the key of another log", &other, &trusted, false);
    // Beside the log's own signature it is one more.
    let more = good.replace(&quoted(&checkpoint.note), &quoted(&(checkpoint.note.clone() + &line)));
    assert!(standard_tools(&more, &trusted).unwrap().contains("2 signatures by trusted keys"));
}

/// Keys that OpenSSL makes and signs with, one of each algorithm.
struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    fn run(&self, arguments: &str) -> Vec<u8> {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.run("genpkey -algorithm ed25519 -out ed25519");
        this.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ecdsa-p256");
        this.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa-pss-sha256");
        this
    }
}

impl CheckpointSigner for OpenSsl {
    fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError> {
        let der = self.run(&format!("pkey -in {identity} -pubout -outform DER"));
        Ok(PublicKey::from_spki_der(&der).unwrap())
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        std::fs::write(self.0.path().join("message"), message).unwrap();
        let signature = self.run(&match identity {
            "ed25519" => "pkeyutl -sign -inkey ed25519 -rawin -in message".to_owned(),
            "ecdsa-p256" => "dgst -sha256 -sign ecdsa-p256 message".to_owned(),
            _ => format!(
                "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign {identity} message"
            ),
        });
        Ok(match identity {
            "ecdsa-p256" => {
                let raw = ecdsa_der_to_raw(&signature).unwrap();
                assert_eq!(ecdsa_raw_to_der(&raw).unwrap(), signature);
                raw.to_vec()
            }
            _ => signature,
        })
    }
}

#[test]
fn standard_tools_know_the_three_algorithms() {
    if !have_tools(&TOOLS) {
        return;
    }
    let mut openssl = OpenSsl::new();
    for identity in ["ed25519", "ecdsa-p256", "rsa-pss-sha256"] {
        let mut log = open::<SqliteSecureLogStore>(":memory:");
        fill(&mut log, "doors", 300);
        let segment = log.close_segment("doors").unwrap();
        log.sign_segment(&mut openssl, identity, segment.segment_id).unwrap();
        let trusted = vec![log.verifier_key(&mut openssl, identity).unwrap()];
        let good = export(&mut log, &trusted).concat();
        both(identity, &good, &trusted, true);
        // Another size under the same signature.
        let forged = good.replace("\\n3\\n", "\\n4\\n");
        assert_ne!(forged, good);
        both(identity, &forged, &trusted, false);
    }
}
