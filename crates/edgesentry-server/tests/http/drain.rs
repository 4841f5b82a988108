//! Stopping: what is in flight is answered, nothing new is taken, and it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::{Fault, Http, TestServer, eventually};
use edgesentry_server::Gate as _;
use edgesentry_server::http::Limits;
use tokio::sync::Notify;

const PAYLOAD: &[u8] = b"door closed";

/// Sends without waiting.
fn begin(http: &mut Http, body: &[u8]) {
    http.send(
        format!(
            "POST /api/v1/ingest HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    http.send(body);
}

#[test]
fn requests_in_flight_are_answered_and_stored() {
    let mut server = TestServer::start();
    let mut devices: Vec<_> = (0..4).map(|n| server.device(&format!("lift-{n}"))).collect();
    let go = Arc::new(Notify::new());
    server.gate.set_fault(Fault::Held(go.clone()));
    let mut open: Vec<_> = devices.iter().map(|_| server.http()).collect();
    for (http, device) in open.iter_mut().zip(&mut devices) {
        begin(http, &device.body(PAYLOAD));
    }
    let (mut idle, mut half) = (server.http(), server.http());
    assert_eq!(idle.get("/healthz").status, 200);
    half.send(b"POST /api/v1/ingest HTTP/1.1\r\n");
    let waiting = server.gate.waiting.clone();
    eventually("all wait for the gate", || (waiting.load(Ordering::Relaxed) == 4).then_some(()));
    server.await_metric("edgesentry_connections", |n| n == 6.0);

    server.begin_stop();
    assert!(idle.is_ended(), "idle connections are closed");
    assert!(half.is_ended(), "so are those that sent half a head");
    eventually("nobody is taken any more", || {
        std::net::TcpStream::connect(server.addr).is_err().then_some(())
    });
    assert_eq!(server.metric("edgesentry_ingest_accepted_total"), 0.0, "they still wait");
    go.notify_waiters();
    for http in &mut open {
        let answer = http.answer();
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert!(http.is_ended());
    }
    assert_eq!(server.stopped(), 0);
    for device in &devices {
        let stored = server.block_on(server.gate.get(device.id.clone())).unwrap().unwrap();
        assert_eq!(stored.next_sequence, 2);
    }
}

#[test]
fn a_request_that_does_not_end_is_cut_off() {
    let limits = Limits { drain_time: Duration::from_millis(100), ..Limits::default() };
    let mut server = TestServer::with(|builder| builder.limits(limits));
    let mut device = server.device("lift-01");
    server.gate.set_fault(Fault::Held(Arc::new(Notify::new())));
    let mut http = server.http();
    begin(&mut http, &device.body(PAYLOAD));
    let waiting = server.gate.waiting.clone();
    eventually("it waits for the gate", || (waiting.load(Ordering::Relaxed) == 1).then_some(()));
    server.begin_stop();
    assert_eq!(server.stopped(), 1);
    assert!(http.try_answer().is_err());
}

#[test]
fn before_it_stops_it_says_so() {
    let mut server = TestServer::with(|builder| builder.drain_notice(Duration::from_secs(3600)));
    let mut device = server.device("lift-01");
    assert_eq!(server.http().get("/readyz").status, 200);
    server.begin_stop();
    let draining = eventually("it says that it stops", || {
        let answer = server.http().get("/readyz");
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(draining.json()["status"], "draining");
    assert_eq!(server.http().post(&device.body(PAYLOAD)).status, 202, "and serves on");
}

#[test]
fn a_record_outlives_the_server() {
    let mut server = TestServer::start();
    let mut device = server.device("lift-01");
    let request = device.body(PAYLOAD);
    assert_eq!(server.http().post(&request).status, 202);
    let next = device.body(PAYLOAD);
    server.begin_stop();
    server.stopped();
    let dir = tempfile::TempDir::new().unwrap();
    let copy = dir.path().join("audit.db");
    server.block_on(server.gate.backup(copy.to_str().unwrap().into())).unwrap();
    drop(server);
    let server = TestServer::in_dir(dir, |builder| builder);
    let again = server.http().post(&request);
    assert_eq!((again.status, &again.json()["duplicate"]), (422, &true.into()), "{}", again.text());
    assert_eq!(server.http().post(&next).status, 202, "the chain goes on from the store alone");
}
