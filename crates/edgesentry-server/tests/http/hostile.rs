//! Clients that mean no good, or know no better: the documented status, flat memory, and others are served meanwhile.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, TestServer};
use edgesentry_server::http::Limits;

const PAYLOAD: &[u8] = b"door closed";
const HEAD: &[u8] = b"POST /api/v1/ingest HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n";

fn quick() -> Limits {
    Limits {
        head_time: Duration::from_millis(200),
        idle_time: Duration::from_millis(400),
        body_grace: Duration::from_millis(200),
        body_time: Duration::from_millis(1500),
        ..Limits::default()
    }
}

#[test]
fn a_head_that_does_not_end_is_408() {
    let server = TestServer::with(|builder| builder.limits(quick()));
    let mut http = server.http();
    http.send(HEAD);
    let answer = http.answer();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(http.is_ended());
    let mut silent = server.http();
    assert!(silent.is_ended(), "who says nothing gets nothing");
    server.await_metric("edgesentry_connections", |n| n == 0.0);
    assert_eq!(server.metric("edgesentry_connections_dropped_total{reason=\"slow\"}"), 2.0);
}

#[test]
fn a_second_head_that_does_not_end_ends_the_connection() {
    let server = TestServer::with(|builder| builder.limits(quick()));
    let mut http = server.http();
    assert_eq!(http.get("/healthz").status, 200);
    http.send(HEAD);
    assert!(http.try_answer().is_err());
    let mut idle = server.http();
    assert_eq!(idle.get("/healthz").status, 200);
    assert!(idle.is_ended(), "idle for too long");
    server.await_metric("edgesentry_connections", |n| n == 0.0);
}

#[test]
fn a_body_that_does_not_keep_up_is_408() {
    let server = TestServer::with(|builder| builder.limits(quick()));
    let mut device = server.device("lift-01");
    let mut http = server.http();
    http.send(HEAD);
    http.send(b"content-length: 1000\r\n\r\n{");
    let answer = http.answer();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    // A byte at a time, for ever.
    let mut http = server.http();
    http.send(HEAD);
    http.send(b"content-length: 100000\r\n\r\n{");
    let begun = Instant::now();
    while http.io.write_all(b" ").is_ok() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
        if server.metric("edgesentry_http_responses_total{code=\"408\"}") >= 2.0 {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "cut off after {:?}", begun.elapsed());
    assert_eq!(http.answer().status, 408);
    // In two parts, but in time.
    let mut http = server.http();
    let request = device.body(PAYLOAD);
    http.send(HEAD);
    http.send(format!("content-length: {}\r\n\r\n", request.len()).as_bytes());
    http.send(&request[..100]);
    http.send(&request[100..]);
    assert_eq!(http.answer().status, 202);
}

#[test]
fn a_body_that_is_cut_short_leaves_nothing_behind() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    let request = device.body(PAYLOAD);
    for part in [0, 1, request.len() / 2, request.len() - 1] {
        let mut http = server.http();
        http.send(HEAD);
        http.send(format!("content-length: {}\r\n\r\n", request.len()).as_bytes());
        http.send(&request[..part]);
        drop(http);
    }
    server.await_metric("edgesentry_connections", |n| n == 0.0);
    assert_eq!(server.metric("edgesentry_ingest_accepted_total"), 0.0);
    assert_eq!(server.http().post(&request).status, 202);
}

#[test]
fn what_is_no_http_is_400_and_the_server_goes_on() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    let garbage: [&[u8]; 7] = [
        b"\0\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n",
        b"POST /api/v1/ingest HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1/ingest HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    ];
    for bytes in garbage {
        let mut http = server.http();
        http.send(bytes);
        let answer = http.try_answer();
        let text = String::from_utf8_lossy(bytes);
        assert!(answer.as_ref().is_ok_and(|answer| answer.status == 400), "{text:?}: {answer:?}");
    }
    let mut http = server.http();
    // Chunks that are none: whatever it says, nothing is accepted and nothing smuggled.
    http.send(HEAD);
    http.send(b"transfer-encoding: chunked\r\n\r\nzzz\r\n");
    assert_eq!(http.answer().status, 400);
    let mut http = server.http();
    http.send(HEAD);
    http.send(b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(http.answer().status, 400);
    assert_eq!(server.http().post(&device.body(PAYLOAD)).status, 202);
}

#[test]
fn pipelined_requests_are_answered_in_order_up_to_the_garbage() {
    let server = TestServer::start();
    let mut device = server.device("lift-01");
    let mut bytes = Vec::new();
    for _ in 0..5 {
        let request = device.body(PAYLOAD);
        bytes.extend_from_slice(HEAD);
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", request.len()).as_bytes());
        bytes.extend_from_slice(&request);
    }
    bytes.extend_from_slice(b"\xff\xfe garbage \r\n\r\n");
    bytes.extend_from_slice(b"GET /healthz HTTP/1.1\r\nhost: gate\r\n\r\n");
    let mut http = server.http();
    http.send(&bytes);
    for n in 1..=5 {
        let answer = http.answer();
        assert_eq!((answer.status, &answer.json()["sequence"]), (202, &n.into()));
    }
    assert_eq!(http.answer().status, 400);
    assert!(http.try_answer().is_err(), "after garbage nothing can be told apart");
    server.await_metric("edgesentry_connections_dropped_total{reason=\"not_http\"}", |n| n == 1.0);
}

#[test]
fn header_bombs_are_431() {
    let server = TestServer::start();
    let many: String = (0..5000).map(|i| format!("x-{i}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    for bomb in [many, long] {
        let mut http = server.http();
        // It is answered, and hung up, before all of it is sent.
        let _ = http.io.write_all(format!("GET /healthz HTTP/1.1\r\n{bomb}\r\n").as_bytes());
        if let Ok(answer) = http.try_answer() {
            assert_eq!(answer.status, 431);
        }
        server.await_metric("edgesentry_connections", |n| n == 0.0);
    }
    assert_eq!(server.metric("edgesentry_http_responses_total{code=\"200\"}"), 0.0);
    let mut http = server.http();
    http.send(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)).as_bytes());
    if let Ok(answer) = http.try_answer() {
        assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    }
    assert_eq!(server.http().get("/healthz").status, 200);
}

#[test]
fn further_connections_are_closed_at_once() {
    let server = TestServer::with(|builder| builder.limits(Limits { connections: 4, ..Limits::default() }));
    let mut taken: Vec<_> = (0..4).map(|_| server.http()).collect();
    for http in &mut taken {
        assert_eq!(http.get("/healthz").status, 200);
    }
    assert!(server.http().is_ended());
    assert_eq!(server.metric("edgesentry_connections_dropped_total{reason=\"too_many\"}"), 1.0);
    for http in &mut taken {
        assert_eq!(http.get("/healthz").status, 200);
    }
    drop(taken);
    server.await_metric("edgesentry_connections", |n| n == 0.0);
    assert_eq!(server.http().get("/healthz").status, 200);
}

#[test]
fn unfinished_bodies_together_have_a_limit() {
    let limits = Limits { bodies: 1 << 20, ..Limits::default() };
    let server = TestServer::with(|builder| builder.limits(limits));
    let mut device = server.device("lift-01");
    let mut open: Vec<_> = (0..8).map(|_| server.http()).collect();
    for http in &mut open {
        http.send(HEAD);
        http.send(b"content-length: 2000000\r\n\r\n");
        let _ = http.io.write_all(&vec![b' '; 400_000]);
    }
    server.await_metric("edgesentry_http_responses_total{code=\"503\"}", |n| n >= 5.0);
    assert!(
        server.metric("edgesentry_http_responses_total{code=\"503\"}") <= 6.0,
        "some are within the limit"
    );
    drop(open);
    server.await_metric("edgesentry_connections", |n| n == 0.0);
    assert_eq!(server.http().post(&device.body(PAYLOAD)).status, 202);
}

#[test]
fn where_connections_run_out_those_that_do_nothing_make_room_sooner() {
    let idle_time = Duration::from_secs(12);
    let limits = Limits { connections: 4, idle_time, head_time: Duration::from_secs(2), ..Limits::default() };
    let server = TestServer::with(|builder| builder.limits(limits));
    let begun = Instant::now();
    let mut taken: Vec<_> = (0..4).map(|_| server.http()).collect();
    for http in &mut taken {
        assert_eq!(http.get("/healthz").status, 200);
    }
    server.await_metric("edgesentry_connections", |n| n < 4.0);
    assert!(begun.elapsed() < idle_time / 2, "after {:?}", begun.elapsed());
    assert_eq!(server.http().get("/healthz").status, 200);
}
