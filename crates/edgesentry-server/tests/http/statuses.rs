//! Every documented status, over a real socket and a real store.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::common::{Fault, Http, TestServer, body, eventually};
use edgesentry_audit::gate::Part;
use edgesentry_server::Rate;
use edgesentry_server::http::Limits;

const PAYLOAD: &[u8] = b"door closed, brake ok";

#[test]
fn a_record_is_accepted_once_and_its_copy_is_recognised() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    let mut http = server.http();
    let request = device.body(PAYLOAD);
    let answer = http.post(&request);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let json = answer.json();
    assert_eq!(
        (&json["status"], &json["device_id"], &json["sequence"]),
        (&"accepted".into(), &"lift-01".into(), &1.into())
    );
    assert_eq!((&json["stream"], &json["entry"]), (&"device/lift-01/1".into(), &1.into()));
    assert_eq!(json["record_hash"], hex::encode(device.prev));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    assert_eq!(answer.header("content-type"), Some("application/json"));

    let again = http.post(&request);
    assert_eq!(again.status, 422);
    assert_eq!((&again.json()["reason"], &again.json()["duplicate"]), (&"duplicate".into(), &true.into()));
    assert_eq!(again.json()["already"]["record_hash"], hex::encode(device.prev));

    for n in 2..=20 {
        let answer = http.post(&device.body(PAYLOAD));
        assert_eq!((answer.status, &answer.json()["sequence"]), (202, &n.into()), "{}", answer.text());
    }
}

#[test]
fn what_is_no_record_is_400_and_the_connection_goes_on() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    let good = device.body(PAYLOAD);
    let text = String::from_utf8(good.clone()).unwrap();
    let payload_hex = hex::encode(PAYLOAD);
    let odd = text.replace(&payload_hex, &payload_hex[1..]);
    let no_hex = text.replace(&payload_hex, &format!("zz{}", &payload_hex[2..]));
    let short = text.replacen("\"payload_hash\":[", "\"payload_hash\":[1,", 1);
    let deep = "[".repeat(100_000);
    let cases: [(&[u8], &str); 10] = [
        (b"", ""),
        (b"{", ""),
        (b"null", ""),
        (b"{}", ""),
        (b"\xff\xfe\x00", ""),
        (deep.as_bytes(), ""),
        (&good[..good.len() / 2], ""),
        (odd.as_bytes(), "raw_payload_hex"),
        (no_hex.as_bytes(), "raw_payload_hex"),
        (short.as_bytes(), "record.payload_hash"),
    ];
    let mut http = server.http();
    for (bad, field) in cases {
        let answer = http.post(bad);
        assert_eq!(answer.status, 400, "{}", answer.text());
        let json = answer.json();
        assert_eq!(json["status"], "bad_request");
        if !field.is_empty() {
            assert_eq!(json["field"], field, "{json}");
        }
        assert!(!answer.text().contains(&payload_hex), "{}", answer.text());
    }
    assert_eq!(http.post(&good).status, 202, "the same connection still serves");
}

#[test]
fn heads_are_judged_before_bodies() {
    let server = TestServer::start();
    let mut http = server.http();
    assert_eq!(http.get("/").status, 404);
    assert_eq!(http.get("/api/v1/devices").status, 404);
    let answer = http.get("/api/v1/ingest");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let answer = http.request("DELETE", "/healthz", &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let answer = http.request("POST", "/metrics", &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let json = ("content-type", "application/json");
    let plain = ("content-type", "text/plain");
    assert_eq!(http.request("POST", "/api/v1/ingest", &[plain], b"{}").status, 415);
    assert_eq!(http.request("POST", "/api/v1/ingest", &[], b"{}").status, 415);
    let gzip = ("content-encoding", "gzip");
    assert_eq!(http.request("POST", "/api/v1/ingest", &[json, gzip], b"{}").status, 415);
    assert_eq!(http.get("/healthz").status, 200, "all of it on one connection");
    assert_eq!(http.get("/readyz").status, 200);
}

#[test]
fn more_than_two_megabytes_is_413() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    for size in [(2 << 20) + 1, 10 << 20] {
        let mut http = server.http();
        let answer = http.post(&vec![b' '; size]);
        assert_eq!((answer.status, &answer.json()["status"]), (413, &"too_large".into()), "{size}");
    }
    // Without saying so beforehand.
    let mut http = server.http();
    http.send(b"POST /api/v1/ingest HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..160 {
        http.send(format!("10000\r\n{}\r\n", " ".repeat(0x10000)).as_bytes());
    }
    http.send(b"0\r\n\r\n");
    assert_eq!(http.answer().status, 413);
    // Who asks first is told before it sends.
    let mut http = server.http();
    http.send(b"POST /api/v1/ingest HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ncontent-length: 10000000\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(http.answer().status, 413);

    // Just below: a payload of nearly 1 MB in hex.
    let mut http = server.http();
    let large = vec![0xab; 1_040_000];
    let request = device.body(&large);
    assert!(request.len() < 2 << 20);
    let answer = http.post(&request);
    assert_eq!(answer.status, 202, "{}", answer.text());
    // The same in small chunks.
    let request = device.body(&large);
    let mut http = server.http();
    http.send(b"POST /api/v1/ingest HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in request.chunks(1000) {
        let mut bytes = format!("{:x}\r\n", chunk.len()).into_bytes();
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        http.send(&bytes);
    }
    http.send(b"0\r\n\r\n");
    assert_eq!(http.answer().status, 202);
}

#[test]
fn refusals_of_the_gate_are_422_with_their_reason() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    let mut stranger = crate::common::TestDevice::new("lift-02");
    let mut http = server.http();
    let reason = |http: &mut Http, request: &[u8], expected: &str| {
        let answer = http.post(request);
        assert_eq!((answer.status, &answer.json()["reason"]), (422, &expected.into()), "{}", answer.text());
    };
    reason(&mut http, &stranger.body(PAYLOAD), "unknown device");
    let record = device.record(PAYLOAD);
    reason(&mut http, &body(&record, b"another payload"), "payload hash mismatch");
    let mut changed = record.clone();
    changed.timestamp_ms += 1;
    reason(&mut http, &body(&changed, PAYLOAD), "invalid signature");
    let later = device.record(PAYLOAD);
    reason(&mut http, &body(&later, PAYLOAD), "invalid sequence");
    assert_eq!(http.post(&body(&record, PAYLOAD)).status, 202, "nothing of that was stored");
}

#[test]
fn a_gate_that_cannot_is_503_and_says_which_part() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    let request = device.body(PAYLOAD);
    let mut http = server.http();
    for fault in [Fault::Busy, Fault::Stopped, Fault::disk_full(Part::AuditLedger)] {
        server.gate.set_fault(fault);
        let answer = http.post(&request);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
        assert!(!answer.text().contains("disk full"), "what the store said is not for devices");
    }
    assert_eq!(http.post(&request).json()["component"], "audit_ledger");
    let answer = http.get("/readyz");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(http.get("/healthz").status, 200, "alive it is");
    server.gate.set_fault(Fault::None);
    assert_eq!(http.get("/readyz").status, 200);
    assert_eq!(http.post(&request).status, 202);
    assert_eq!(server.metric("edgesentry_ingest_error_total{component=\"audit_ledger\"}"), 2.0);
    assert_eq!(server.metric("edgesentry_ingest_error_total{component=\"gate\"}"), 2.0);
}

#[test]
fn a_gate_that_does_not_answer_is_503_in_time() {
    let limits = Limits { gate_time: Duration::from_millis(500), ..Limits::default() };
    let server = TestServer::with(|builder| builder.limits(limits));
    let mut device = server.device("lift-01");
    server.gate.set_fault(Fault::Held(Default::default()));
    let request = device.body(PAYLOAD);
    let mut http = server.http();
    let answer = http.post(&request);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    server.gate.set_fault(Fault::None);
    let stored = |status: u16| (status != 503).then_some(status);
    let status = eventually("the gate answers in time", || stored(http.post(&request).status));
    assert!(matches!(status, 202 | 422), "sent again, it is stored once: {status}");
    assert_eq!(http.post(&request).json()["duplicate"], true);
}

fn rate(n: u32) -> Option<Rate> {
    Some(Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(n).unwrap() })
}

#[test]
fn a_device_that_sends_too_fast_is_429_and_others_are_not() {
    let limits = Limits { device_rate: rate(3), ..Limits::default() };
    let server = TestServer::with(|builder| builder.limits(limits));
    let (mut one, mut other) = (server.device("lift-01"), server.device("lift-02"));
    let mut http = server.http();
    for _ in 0..3 {
        assert_eq!(http.post(&one.body(PAYLOAD)).status, 202);
    }
    let answer = http.post(&one.body(PAYLOAD));
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{}", answer.text());
    assert_eq!(http.post(&other.body(PAYLOAD)).status, 202);
    assert_eq!(server.metric("edgesentry_rate_limited_total{scope=\"device\"}"), 1.0);
}

#[test]
fn a_source_that_sends_too_fast_is_429_whatever_it_sends() {
    let limits = Limits { source_rate: rate(3), ..Limits::default() };
    let server = TestServer::with(|builder| builder.limits(limits));
    let mut device = server.device("lift-01");
    assert_eq!(server.http().post(&device.body(PAYLOAD)).status, 202);
    assert_eq!(server.http().post(b"nonsense").status, 400);
    assert_eq!(server.http().post(&vec![b' '; 10 << 20]).status, 413, "its head is enough");
    assert_eq!(server.http().post(b"nonsense").status, 400);
    let mut http = server.http();
    for _ in 0..3 {
        let answer = http.post(&vec![b' '; 100_000]);
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    }
    assert_eq!(http.get("/healthz").status, 200, "it is still looked after");
    assert_eq!(server.metric("edgesentry_rate_limited_total{scope=\"source\"}"), 3.0);
}

#[test]
fn health_and_metrics_may_have_an_address_of_their_own() {
    let server = TestServer::with(|builder| builder.health("127.0.0.1:0".parse().unwrap()));
    let (mut http, mut health) = (server.http(), Http::connect(server.health.unwrap()));
    assert_eq!(http.get("/metrics").status, 404);
    assert_eq!(http.get("/readyz").status, 404);
    assert_eq!(http.get("/healthz").status, 200);
    let metrics = health.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(health.get("/readyz").status, 200);
    assert_eq!(health.get("/healthz").status, 200);
    assert_eq!(health.post(b"{}").status, 404, "no records there");
}
