//! No payload and no key in any log event, however much is logged, nor in any answer.
#![cfg(feature = "transport-tls")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation ends the test")]

mod common;

use std::io;
use std::sync::{Arc, Mutex};

use common::{Fault, TestServer, body};
use edgesentry_audit::gate::Part;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[test]
fn payloads_and_keys_are_in_no_log_event_and_no_answer() {
    let captured = Captured::default();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .init();
    let dir = tempfile::TempDir::new().unwrap();
    let socket = dir.path().join("admin.sock");
    let server = TestServer::with(|builder| builder.admin(&socket));
    let mut device = server.device("lift-01");
    let payload = b"S3CRET-PAYLOAD-\xc0\xff\xee-TEXT";
    let mut http = server.http();
    let mut answers = Vec::new();
    let record = device.record(payload);
    let good = body(&record, payload);
    let text = String::from_utf8(good.clone()).unwrap();
    let hex = hex::encode(payload);
    let mut requests = vec![good.clone(), good.clone()];
    requests.push(body(&record, b"S3CRET-PAYLOAD of another kind"));
    requests.push(text.replace(&hex, &format!("{hex}f")).into_bytes());
    requests.push(text.replace(&hex, &format!("{hex}zz")).into_bytes());
    requests.push(text.replace("\"record\"", &format!("\"{hex}\"")).into_bytes());
    requests.push(text.replace("\"sequence\":1", &format!("\"sequence\":\"{hex}\"")).into_bytes());
    requests.push(good[..good.len() - 5].to_vec());
    let mut forged = record.clone();
    forged.timestamp_ms += 1;
    requests.push(body(&forged, payload));
    requests.push(body(&common::TestDevice::new("stranger").record(payload), payload));
    for request in &requests {
        answers.push(http.post(request));
    }
    server.gate.set_fault(Fault::disk_full(Part::AuditLedger));
    answers.push(http.post(&device.body(payload)));
    server.gate.set_fault(Fault::Busy);
    answers.push(http.post(&device.body(payload)));
    server.gate.set_fault(Fault::None);
    let mut garbage = server.http();
    garbage.send(format!("{hex} S3CRET-PAYLOAD\r\n\r\n").as_bytes());
    let _ = garbage.try_answer();
    let mut admin = edgesentry_server::admin::AdminClient::connect(&socket).unwrap();
    admin.stats().unwrap();
    drop((http, garbage, server));

    let log = captured.0.lock().unwrap().clone();
    let log_text = String::from_utf8_lossy(&log);
    for event in
        ["record accepted", "payload hash mismatch", "integrity policy rejected record", "not a record"]
    {
        assert!(log_text.contains(event), "{event} was not logged");
    }
    for target in [
        "edgesentry_audit::ingest::storage",
        "edgesentry_audit::ingest::verify",
        "edgesentry_audit::transport::http",
        "edgesentry_audit::admin",
    ] {
        assert!(log_text.contains(&format!("\"target\":\"{target}\"")), "{target}");
    }
    assert!(log_text.contains("\"request_id\":"), "events name their request");
    let secret = device.key.to_bytes();
    let numbers = |bytes: &[u8]| {
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        [numbers.join(","), numbers.join(", ")]
    };
    let mut forbidden: Vec<Vec<u8>> = vec![
        b"S3CRET".to_vec(),
        payload.to_vec(),
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
        hex::encode("S3CRET").into_bytes(),
        secret.to_vec(),
        hex::encode(secret).into_bytes(),
    ];
    forbidden.extend(numbers(payload).map(String::into_bytes));
    forbidden.extend(numbers(&secret).map(String::into_bytes));
    for needle in &forbidden {
        let inside = |hay: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
        assert!(!inside(&log), "{} is in the log", String::from_utf8_lossy(needle));
        for answer in &answers {
            assert!(!inside(&answer.body), "{} is in {answer:?}", String::from_utf8_lossy(needle));
        }
    }
}
