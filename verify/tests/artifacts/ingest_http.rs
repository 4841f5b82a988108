//! Device records over HTTP, under stock `wasmtime serve`: what is answered, what is stored, and what survives a kill.

use std::collections::BTreeMap;
use std::io::{BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::http::{Message, PATIENCE, address, exchange, read_message};
use crate::common::{dist, launcher, number, verify_all};
use ed25519_dalek::SigningKey;
use edgesentry_audit::gate::{Outcome, Registered, Registration, Submission};
use edgesentry_audit::{AuditRecord, IngestError, build_signed_record, build_signed_record_v1, key_id};
use secure_log_verify::endpoint::{ARTIFACT, Endpoint, Form, Serve, Settings};
use secure_log_verify::host::{Artifact, Guest, Hosted};
use secure_log_verify::launch::Session;
use secure_log_verify::store_path::StorePath;
use serde_json::{Value, json};
use tempfile::TempDir;

const SERVER: &str = "edgesentry-ingest-server.wasm";
/// Nothing of it may be in any answer.
const PAYLOAD: &[u8] = b"a payload that nobody else may read";

/// A device with its chain.
struct Device {
    id: String,
    key: SigningKey,
    sequence: u64,
    prev: [u8; 32],
}

impl Device {
    fn new(id: &str) -> Self {
        let key = SigningKey::from_bytes(blake3::hash(id.as_bytes()).as_bytes());
        Self { id: id.into(), key, sequence: 1, prev: AuditRecord::zero_hash() }
    }

    /// The next record. It stays the next one until [`accepted`](Self::accepted).
    fn record(&self) -> AuditRecord {
        let object_ref = format!("{}/{}", self.id, self.sequence);
        build_signed_record(&self.id, self.sequence, 1_000, PAYLOAD, self.prev, object_ref, &self.key)
    }

    fn accepted(&mut self, record: &AuditRecord) {
        (self.sequence, self.prev) = (record.sequence + 1, record.hash());
    }

    /// As `EDS_DEVICES` has it.
    fn registered(&self) -> String {
        let key: String = self.key.verifying_key().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        format!("{}={key}", self.id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server over an empty store.
struct Running {
    serve: Serve,
    settings: Settings,
    dir: TempDir,
}

fn settings(dir: &Path, devices: &[&Device], more: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::new(dist(SERVER), dir, "audit.db").unwrap();
    settings.token = None;
    let devices: Vec<_> = devices.iter().map(|device| device.registered()).collect();
    settings.env = vec![("EDS_DEVICES".into(), devices.join(","))];
    settings.env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    settings
}

impl Running {
    fn start(form: Form, devices: &[&Device], more: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), devices, more);
        Self { serve: Serve::start(&settings, form).unwrap(), settings, dir }
    }

    /// Sends this, and looks at what every answer must keep to.
    fn ask(&self, request: &[u8]) -> Message {
        let told = exchange(self.serve.url(), request).unwrap();
        assert_eq!(told.header("content-type"), Some("application/json"), "{}", told.head);
        for secret in [PAYLOAD, hex(PAYLOAD).as_bytes()] {
            let told = told.to_bytes();
            assert!(!told.windows(secret.len()).any(|part| part == secret), "an answer has the payload");
        }
        told
    }

    fn post(&self, headers: &str, body: &[u8]) -> Message {
        self.ask(&request(headers, body))
    }

    fn send(&self, record: &AuditRecord) -> Message {
        self.post(JSON, &body(record))
    }

    /// Sends a record that is accepted.
    fn accept(&self, device: &mut Device) -> Value {
        let record = device.record();
        let told = self.send(&record);
        assert_eq!(told.status(), 202, "{}", told.text());
        device.accepted(&record);
        told.json()
    }

    /// Sends a record that is refused for this reason.
    fn refuse(&self, record: &AuditRecord, reason: &str) -> Value {
        let told = self.send(record);
        assert_eq!(told.status(), 422, "{}", told.text());
        assert_eq!(told.json()["reason"], reason, "{}", told.text());
        assert_eq!(told.json()["status"], "rejected");
        told.json()
    }

    /// The store, opened by an instance of the same artifact in this process.
    fn store(&self) -> Session {
        let path = StorePath::file(&self.dir.path().join("audit.db")).unwrap();
        launcher(SERVER, false).open(&path).unwrap()
    }
}

const JSON: &str = "content-type: application/json\r\n";

fn request(headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST /api/v1/ingest HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn body(record: &AuditRecord) -> Vec<u8> {
    json!({ "record": record, "raw_payload_hex": hex(PAYLOAD) }).to_string().into_bytes()
}

fn submission(record: AuditRecord) -> Submission {
    Submission { record, payload: PAYLOAD.to_vec(), route_identity: None, source: None }
}

#[test]
fn every_status_is_the_documented_one() {
    let mut lift = Device::new("lift-01");
    let running = Running::start(Form::Stock, &[&lift], &[]);
    let get = |line: &str| running.ask(format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());

    assert_eq!(get("GET /healthz").text(), r#"{"status":"ok"}"#);
    assert_eq!(get("HEAD /healthz").status(), 200);
    let not_get = get("GET /api/v1/ingest");
    assert_eq!((not_get.status(), not_get.header("allow")), (405, Some("POST")));
    assert_eq!(get("GET /").status(), 404);
    assert_eq!(running.post("", &body(&lift.record())).status(), 415);
    assert_eq!(running.post("content-type: text/plain\r\n", &body(&lift.record())).status(), 415);

    let bad = [
        ("{".to_owned(), ""),
        (json!({ "record": lift.record(), "raw_payload_hex": "abc" }).to_string(), "raw_payload_hex"),
        (json!({ "record": lift.record(), "raw_payload_hex": "zz" }).to_string(), "raw_payload_hex"),
        (json!({ "raw_payload_hex": hex(PAYLOAD) }).to_string(), ""),
        (json!({ "record": hex(PAYLOAD), "raw_payload_hex": "" }).to_string(), "record"),
    ];
    for (body, field) in bad {
        let told = running.post(JSON, body.as_bytes());
        assert_eq!(told.status(), 400, "{}", told.text());
        assert_eq!(told.json()["field"].as_str().unwrap_or_default(), field, "{}", told.text());
    }

    // Too large, whether the head says so or the body turns out to be.
    let large = vec![b' '; (2 << 20) + 1];
    assert_eq!(running.post(JSON, &large).status(), 413);
    let mut chunked = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nhost: x\r\n{JSON}transfer-encoding: chunked\r\n\r\n{:x}\r\n",
        large.len()
    )
    .into_bytes();
    chunked.extend_from_slice(&large);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(running.ask(&chunked).status(), 413);
    let mut largest = body(&lift.record());
    largest.resize(2 << 20, b' ');
    assert_eq!(running.post(JSON, &largest).status(), 202, "two MiB are taken");
    lift.accepted(&lift.record());

    let told = running.accept(&mut lift);
    assert_eq!(told["status"], "accepted");
    assert_eq!(
        (&told["device_id"], &told["sequence"], &told["epoch"]),
        (&json!("lift-01"), &json!(2), &json!(1))
    );
    assert_eq!((&told["stream"], &told["entry"]), (&json!("device/lift-01/1"), &json!(2)));
    assert_eq!(told["record_hash"], hex(&lift.prev));
    // Nothing that was refused is stored.
    let mut log = running.store();
    assert_eq!(log.head("device/lift-01/1").unwrap().unwrap().seqno, 2);
    assert_eq!(log.read_record("lift-01", 1, 2).unwrap().payload, PAYLOAD);
    assert!(verify_all(&mut log) > 0);
}

#[test]
fn attacks_are_refused_for_what_they_are_and_logged() {
    let (mut lift, mut other) = (Device::new("lift-01"), Device::new("door-7"));
    let running = Running::start(Form::Kept, &[&lift, &other], &[("EDS_REFUSAL_INTERVAL_MS", "0")]);
    let first = lift.record();
    let told = running.accept(&mut lift);
    running.accept(&mut other);

    let again = running.refuse(&first, "duplicate");
    assert_eq!((&again["duplicate"], &again["already"]["entry"]), (&json!(true), &json!(1)));
    assert_eq!(again["already"]["entry_hash"], told["entry_hash"]);
    let another = build_signed_record("lift-01", 1, 9, PAYLOAD, [0; 32], "", &lift.key);
    assert_eq!(running.refuse(&another, "duplicate").get("duplicate"), None, "another record has its number");

    let next = lift.record();
    let changed = |change: &dyn Fn(&mut AuditRecord)| {
        let mut record = next.clone();
        change(&mut record);
        record
    };
    running.refuse(&changed(&|r| r.payload_hash[0] ^= 1), "payload hash mismatch");
    running.refuse(&changed(&|r| r.signature[0] ^= 1), "invalid signature");
    running.refuse(&changed(&|r| r.timestamp_ms += 1), "invalid signature");
    running.refuse(&changed(&|r| r.object_ref.push('x')), "invalid signature");
    running.refuse(&changed(&|r| r.prev_record_hash[0] ^= 1), "invalid signature");
    running.refuse(&changed(&|r| r.device_id = "door-7".into()), "unknown key");
    running.refuse(&changed(&|r| r.device_id = "nobody".into()), "unknown device");
    running.refuse(&changed(&|r| r.sequence = 0), "malformed");
    let gap = build_signed_record("lift-01", 5, 1, PAYLOAD, lift.prev, "", &lift.key);
    let gap = running.refuse(&gap, "invalid sequence");
    assert_eq!((&gap["expected"], &gap["actual"]), (&json!(2), &json!(5)));
    let beside = build_signed_record("lift-01", 2, 1, PAYLOAD, [7; 32], "", &lift.key);
    running.refuse(&beside, "invalid previous hash");
    let minted = build_signed_record_v1("lift-01", 2, 1, PAYLOAD, lift.prev, "", &lift.key);
    running.refuse(&minted, "version not allowed");
    running.accept(&mut lift);

    let mut log = running.store();
    assert_eq!(log.head("device/lift-01/1").unwrap().unwrap().seqno, 2);
    let decisions = log.head("operations/main").unwrap().unwrap().seqno;
    assert_eq!(decisions, 3 + 13, "each of 3 acceptances and 13 refusals has its entry");
    verify_all(&mut log);
}

#[test]
fn a_kill_in_the_middle_of_a_chain_changes_nothing() {
    for form in [Form::Stock, Form::Kept] {
        let mut lift = Device::new("lift-01");
        let mut running = Running::start(form, &[&lift], &[]);
        for _ in 0..3 {
            running.accept(&mut lift);
        }
        running.serve.kill().unwrap();
        running.serve = Serve::start(&running.settings, form).unwrap();
        let gap = build_signed_record("lift-01", 9, 1, PAYLOAD, lift.prev, "", &lift.key);
        assert_eq!(running.refuse(&gap, "invalid sequence")["expected"], 4);
        running.accept(&mut lift);
        let mut log = running.store();
        assert_eq!(log.head("device/lift-01/1").unwrap().unwrap().seqno, 4);
        verify_all(&mut log);
    }
}

#[test]
fn a_revocation_elsewhere_counts_at_once() {
    let (mut lift, mut other) = (Device::new("lift-01"), Device::new("door-7"));
    let running = Running::start(Form::Kept, &[&lift, &other], &[]);
    running.accept(&mut lift);
    running.accept(&mut other);
    {
        let mut log = running.store();
        log.revoke_device_key("lift-01", &key_id(&lift.key.verifying_key())).unwrap();
        log.revoke_device("door-7").unwrap();
        log.finish().unwrap();
    }
    running.refuse(&lift.record(), "key revoked");
    running.refuse(&other.record(), "device revoked");
    // Neither a new instance nor its variables bring them back.
    let Running { serve, settings, dir } = running;
    serve.kill().unwrap();
    let running = Running { serve: Serve::start(&settings, Form::Kept).unwrap(), settings, dir };
    running.refuse(&lift.record(), "key revoked");
    running.refuse(&other.record(), "device revoked");
    let mut log = running.store();
    let registration = Registration::new(lift.key.verifying_key());
    assert_eq!(log.register_device("lift-01", &registration).unwrap(), Registered::Revoked);
}

#[test]
fn a_proxy_says_who_may_send_and_how_much() {
    let mut lift = Device::new("lift-01");
    let more = [
        ("EDS_TRUST_FORWARDED_FOR", "1"),
        ("EDS_ALLOWED_SOURCES", "10.0.0.0/8"),
        ("EDS_SOURCE_RATE", "1:3"),
        ("EDS_DEVICE_RATE", "1:2"),
    ];
    let running = Running::start(Form::Kept, &[&lift], &more);
    let from = |headers: &str, record: &AuditRecord| running.post(&format!("{JSON}{headers}"), &body(record));
    for stranger in ["", "x-forwarded-for: 192.0.2.1\r\n", "x-forwarded-for: 10.0.0.1, 192.0.2.1\r\n"] {
        assert_eq!(from(stranger, &lift.record()).status(), 403, "{stranger}");
    }
    let friend = "x-forwarded-for: 192.0.2.1, 10.0.0.1\r\n";
    let mut slowed = Vec::new();
    for n in 0..8 {
        let record = lift.record();
        let told = from(friend, &record);
        match told.status() {
            202 => lift.accepted(&record),
            429 if n >= 2 => {
                assert_eq!(told.header("retry-after"), Some("1"), "{}", told.head);
                slowed.push(told.json()["error"].as_str().unwrap().to_owned());
            }
            status => panic!("{n}: {status} {}", told.text()),
        }
    }
    for who in ["this device", "this source"] {
        assert!(slowed.iter().any(|error| error.contains(who)), "{who} is not in {slowed:?}");
    }
    // Whoever cannot sign as a device does not use up what it may send.
    let mut door = Device::new("door-7");
    let running = Running::start(Form::Kept, &[&door], &[("EDS_DEVICE_RATE", "1:1")]);
    for _ in 0..3 {
        running.refuse(&AuditRecord { timestamp_ms: 5, ..door.record() }, "invalid signature");
    }
    running.accept(&mut door);
}

#[test]
fn what_is_set_up_wrongly_or_cannot_be_stored_is_a_503() {
    let lift = Device::new("lift-01");
    let running = Running::start(Form::Stock, &[&lift], &[("EDS_ALLOWED_SOURCES", "10.0.0.0/8")]);
    let told = running.send(&lift.record());
    assert_eq!(told.status(), 503);
    assert!(told.text().contains("EDS_ALLOWED_SOURCES needs EDS_TRUST_FORWARDED_FOR"), "{}", told.text());
    assert_eq!(running.ask(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").status(), 503);

    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), &[&lift], &[]);
    settings.config = "/nowhere/audit.db".into();
    let running = Running { serve: Serve::start(&settings, Form::Kept).unwrap(), settings, dir };
    for _ in 0..2 {
        let told = running.send(&lift.record());
        assert_eq!((told.status(), told.header("retry-after")), (503, Some("1")), "{}", told.text());
        assert!(told.json()["component"].is_string() && !told.text().contains("nowhere"), "{}", told.text());
    }
    assert_eq!(running.ask(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").status(), 503);
}

/// What a sender knows: its device, and the records that were answered with 202.
struct Sender {
    device: Device,
    acknowledged: BTreeMap<u64, AuditRecord>,
}

impl Sender {
    /// Sends until told to stop. An answer that is lost is asked for again: the record is stored once, whichever it was.
    fn run(&mut self, url: &str, stop: &AtomicBool) {
        let mut connection: Option<BufReader<TcpStream>> = None;
        while !stop.load(Ordering::Relaxed) {
            let record = self.device.record();
            let told = (|| {
                if connection.is_none() {
                    let stream = TcpStream::connect(address(url))?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    connection = Some(BufReader::new(stream));
                }
                let connection = connection.as_mut().ok_or(ErrorKind::NotConnected)?;
                connection.get_mut().write_all(&request(JSON, &body(&record)))?;
                read_message(connection, false)
            })();
            match told {
                Ok(told) => match told.status() {
                    202 => {
                        self.acknowledged.insert(record.sequence, record.clone());
                        self.device.accepted(&record);
                    }
                    422 if told.json()["duplicate"] == true => self.device.accepted(&record),
                    503 => {}
                    status => panic!("{status}: {}", told.text()),
                },
                Err(_) => {
                    // The server is dead or not there yet.
                    connection = None;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

#[test]
fn what_was_accepted_is_there_once_after_any_number_of_kills() {
    let rounds = number("SECURE_LOG_INGEST_KILLS", 6);
    let devices: Vec<Device> = (0..4).map(|n| Device::new(&format!("device-{n}"))).collect();
    let mut running = Running::start(Form::Kept, &devices.iter().collect::<Vec<_>>(), &[]);
    let (port, url) = (running.serve.port(), running.serve.url().to_owned());
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let senders: Vec<_> = devices
        .into_iter()
        .map(|device| {
            let (url, stop, sent) = (url.clone(), stop.clone(), sent.clone());
            std::thread::spawn(move || {
                let mut sender = Sender { device, acknowledged: BTreeMap::new() };
                sender.run(&url, &stop);
                sent.lock().unwrap().push(sender);
            })
        })
        .collect();
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(1500 + u64::from(round) * 130));
        let form = if round % 2 == 0 { Form::Stock } else { Form::Kept };
        running.serve.kill().unwrap();
        running.serve = Serve::start_at(&running.settings, form, port).unwrap();
    }
    std::thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    running.serve.kill().unwrap();

    let path = StorePath::file(&running.dir.path().join("audit.db")).unwrap();
    let mut log = launcher(SERVER, false).open(&path).unwrap();
    verify_all(&mut log);
    let mut all = 0;
    for sender in sent.lock().unwrap().iter() {
        let id = &sender.device.id;
        let stored = log.head(&format!("device/{id}/1")).unwrap().unwrap().seqno;
        let last = sender.device.sequence - 1;
        // One record can have been stored whose answer was lost, and was not asked for any more.
        assert!((last..=last + 1).contains(&stored), "{id}: {stored} stored, {last} answered");
        for (sequence, record) in &sender.acknowledged {
            assert_eq!(log.read_record(id, 1, *sequence).unwrap().record, *record);
        }
        assert!(!sender.acknowledged.is_empty(), "{id} got nothing through");
        all += sender.acknowledged.len();
    }
    println!("{all} records were answered with 202 over {rounds} kills, and each is there once");
}

/// A gate over a store that is elsewhere.
fn remote(endpoint: &Endpoint, settings: &Settings) -> Hosted {
    let artifact = Artifact::load(&dist("edgesentry-ingest-remote.wasm")).unwrap();
    let env = settings.client_env(endpoint.url());
    let mut gate = artifact.start(&Guest { env, silent: true, ..Guest::default() }).unwrap();
    gate.open("remote").unwrap();
    gate
}

#[test]
fn two_gates_on_one_remote_store_refuse_a_duplicate_wherever_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::new(dist(ARTIFACT), dir.path(), "audit.db").unwrap();
    let endpoint = Endpoint::start(&settings).unwrap();
    let (mut north, mut south) = (remote(&endpoint, &settings), remote(&endpoint, &settings));
    let (mut lift, mut door) = (Device::new("lift-01"), Device::new("door-7"));
    for device in [&lift, &door] {
        let registration = Registration::new(device.key.verifying_key());
        assert_eq!(north.register_device(&device.id, &registration).unwrap(), Registered::Added);
        assert_eq!(south.register_device(&device.id, &registration).unwrap(), Registered::Already);
    }
    for _ in 0..4 {
        let record = lift.record();
        assert!(matches!(north.submit(&submission(record.clone())).unwrap().outcome, Outcome::Accepted(_)));
        let again = south.submit(&submission(record.clone())).unwrap();
        assert!(matches!(again.outcome, Outcome::Rejected(IngestError::Duplicate { .. })), "{again:?}");
        assert_eq!(again.already.unwrap().seqno, record.sequence);
        lift.accepted(&record);
        // And the other way round, on a chain that the other gate has just made longer.
        let record = lift.record();
        assert!(matches!(south.submit(&submission(record.clone())).unwrap().outcome, Outcome::Accepted(_)));
        let again = north.submit(&submission(record.clone())).unwrap();
        assert!(matches!(again.outcome, Outcome::Rejected(IngestError::Duplicate { .. })), "{again:?}");
        lift.accepted(&record);
        let record = door.record();
        assert!(matches!(north.submit(&submission(record.clone())).unwrap().outcome, Outcome::Accepted(_)));
        door.accepted(&record);
    }
    south.revoke_device("door-7").unwrap();
    let refused = north.submit(&submission(door.record())).unwrap();
    assert!(matches!(refused.outcome, Outcome::Rejected(IngestError::DeviceRevoked(_))), "{refused:?}");
    let head = north.head("device/lift-01/1").unwrap().unwrap();
    assert_eq!(head.seqno, 8);
    north.verify_chain("device/lift-01/1", 1, 8).unwrap();
}
