//! The cloud: lets known networks in, judges every record, and stores what counts in a tamper-evident log in a SQLite
//! file. Last of three roles, after `edge_device` and `edge_gateway`.
//!
//!     cargo run -p edgesentry-audit --example cloud_backend

mod shared;

use std::net::IpAddr;

use edgesentry_audit::gate::{LogGate, Outcome as Judged, Registration, Settings, Submission, streams};
use edgesentry_audit::{AuditRecord, NetworkPolicy, verifying_key_from_hex};
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::{Environment, NativeSecureLog, SecureLog};
use secure_log_sqlite::SqliteSecureLogStore;
use shared::{Outcome, now_ms, path, read};

/// The machine's clock and randomness, for the log.
struct Machine;

impl Environment for Machine {
    fn now_ms(&mut self) -> u64 {
        now_ms()
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        // A salt that can be guessed protects nothing, so there is no going on without.
        if getrandom::fill(out).is_err() {
            std::process::abort();
        }
    }
}

#[derive(serde::Deserialize)]
struct Provisioned {
    device_id: String,
    public_key_hex: String,
}

fn main() -> Outcome {
    let device: Provisioned = read("eds_device.json", "edge_device")?;
    let records: Vec<AuditRecord> = read("eds_fwd_records.json", "edge_gateway")?;
    let tampered: Vec<AuditRecord> = read("eds_fwd_tampered.json", "edge_gateway")?;
    let payloads: Vec<String> = read("eds_fwd_payloads.json", "edge_gateway")?;
    let payloads = payloads.iter().map(hex::decode).collect::<Result<Vec<_>, _>>()?;

    // An empty store each time; a real one is opened again and goes on where it was.
    let folder = path("eds_cloud_backend");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("audit.sqlite");
    println!("[cloud backend] stores in {}", file.display());
    let store = SqliteSecureLogStore::open(&file.to_string_lossy())?;
    let log = NativeSecureLog::new(store, Machine, env!("CARGO_PKG_VERSION"))?;
    let mut gate = LogGate::new(log, Settings { gate_id: "cloud".into(), refusal_interval_ms: 0 })?;
    gate.register(&device.device_id, &Registration::new(verifying_key_from_hex(&device.public_key_hex)?))?;
    println!("  registered {}", device.device_id);

    let mut network = NetworkPolicy::new();
    network.allow_cidr("10.0.0.0/8")?;
    network.allow_ip("127.0.0.1".parse()?);

    let gateway: IpAddr = "10.0.8.15".parse()?;
    let stranger: IpAddr = "203.0.113.9".parse()?;
    let mut ingest = |source: IpAddr, record: &AuditRecord, payload: &[u8]| -> Outcome<bool> {
        let sequence = record.sequence;
        // Before anything is read or verified.
        if let Err(denied) = network.check(source) {
            println!("  REJECTED sequence={sequence}: {denied}");
            return Ok(false);
        }
        let verdict = gate.submit(&Submission {
            record: record.clone(),
            payload: payload.to_vec(),
            route_identity: None,
            source: Some(source.to_string()),
        })?;
        match verdict.outcome {
            Judged::Accepted(receipt) => {
                println!("  ACCEPTED sequence={sequence}: entry {} of {}", receipt.seqno, receipt.stream_id);
                Ok(true)
            }
            Judged::Rejected(error) => {
                println!("  REJECTED sequence={sequence}: {error}");
                Ok(false)
            }
        }
    };
    let expect = |what: &str, outcome: bool, expected: bool| match outcome == expected {
        true => Ok(()),
        false => Err(format!("{what} should {}have been accepted", if expected { "" } else { "not " })),
    };

    println!("- from a network that is not allowed");
    expect("a stranger's record", ingest(stranger, &records[0], &payloads[0])?, false)?;
    println!("- the first record");
    expect("the first record", ingest(gateway, &records[0], &payloads[0])?, true)?;
    println!("- the second one with another time");
    expect("the tampered record", ingest(gateway, &tampered[1], &payloads[1])?, false)?;
    println!("- the second one with another payload");
    expect("another payload", ingest(gateway, &records[1], b"status=ok")?, false)?;
    println!("- the records as they were signed, the first one again among them");
    expect("the replay", ingest(gateway, &records[0], &payloads[0])?, false)?;
    for (record, payload) in records.iter().zip(&payloads).skip(1) {
        expect("a signed record", ingest(gateway, record, payload)?, true)?;
    }

    gate.flush()?;
    println!("- what the log holds");
    for stream in gate.log_mut().list_streams()? {
        println!("  {:3} entries in {}", stream.head.map_or(0, |head| head.seqno), stream.stream_id);
    }
    let operations = streams::operations("cloud");
    let last = gate.log_mut().head(&operations)?.map_or(0, |head| head.seqno);
    for n in 1..=last {
        let decision = gate.log_mut().read_payload(&operations, n)?;
        println!("  decision {n}: {}", String::from_utf8_lossy(&decision));
    }
    let report = gate.audit_device(&device.device_id)?;
    println!("  verified: {} records and {} bytes of payload", report.records, report.payload_bytes);
    gate.log_mut().close_segments()?;
    gate.into_log().into_store().close()?;
    Ok(())
}
