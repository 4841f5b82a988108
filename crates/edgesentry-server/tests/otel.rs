//! With the feature `otel`, the span of a record reaches a collector, without payload or key.
#![cfg(all(feature = "otel", feature = "transport-tls"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation ends the test")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use edgesentry_server::logging::{self, Form};

/// In a process of its own, for where spans go is said by its environment.
#[test]
#[ignore = "is started by the other test"]
fn sender() {
    let logging = logging::init(Form::Json, std::io::sink()).unwrap();
    let server = common::TestServer::start();
    let mut device = server.device("lift-01");
    assert_eq!(server.http().post(&device.body(b"S3CRET")).status, 202);
    drop(server);
    drop(logging);
}

#[test]
fn the_span_of_a_record_reaches_a_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let mut sender = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "sender"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .spawn()
        .unwrap();
    let (mut stream, _) = collector.accept().unwrap();
    let mut request = Vec::new();
    let whole = loop {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the request ends early");
        request.extend_from_slice(&chunk[..n]);
        let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if request.len() >= end + 4 + length.parse::<usize>().unwrap() {
            break head;
        }
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    drop(stream);
    assert!(sender.wait().unwrap().success());
    assert!(whole.starts_with("post /v1/traces"), "{whole}");
    let inside = |needle: &str| request.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(inside("ingest") && inside("request_id") && inside("edgesentry"));
    assert!(!inside("S3CRET") && !inside(&hex::encode("S3CRET")));
}
