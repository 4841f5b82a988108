//! Ten thousand slow connections: memory stays flat, and others are served. Alone in its process, for that is measured.
#![cfg(feature = "transport-tls")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation ends the test")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::client::tcp;
use common::{TestServer, resident_kib};
use edgesentry_server::http::{Limits, raise_open_files};

const COUNT: usize = 10_000;
const SERVER: &str = "EDGESENTRY_CROWD_SERVER";
const HEAD: &str = "POST /api/v1/ingest HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n";

/// How a connection keeps a server waiting.
fn dawdle(io: &mut TcpStream, kind: usize) {
    let sent = match kind % 5 {
        0 => return,
        1 => "P".to_owned(),
        2 => HEAD.to_owned(),
        3 => format!("{HEAD}content-length: 1000\r\n\r\n{{"),
        _ => "GET /healthz HTTP/1.1\r\nhost: gate\r\n\r\n".to_owned(),
    };
    io.write_all(sent.as_bytes()).unwrap();
}

/// The crowd, in a process of its own: it has as many files to open as the server.
#[test]
#[ignore = "is started by the other test"]
fn crowd() {
    let addr: SocketAddr = std::env::var(SERVER).unwrap().parse().unwrap();
    raise_open_files();
    let mut slow: Vec<TcpStream> = (0..COUNT).map(|_| tcp(addr)).collect();
    for (kind, io) in slow.iter_mut().enumerate() {
        dawdle(io, kind);
    }
    println!("ready");
    // Until the other end goes away.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn ten_thousand_slow_connections_cost_little_and_others_are_served() {
    let files = raise_open_files();
    if files < COUNT as u64 + 500 {
        eprintln!("only {files} open files are allowed: not tested");
        return;
    }
    let long = Duration::from_secs(300);
    let limits =
        Limits { head_time: long, idle_time: long, body_grace: long, body_time: long, ..Limits::default() };
    let server = TestServer::with(|builder| builder.limits(limits));
    let mut device = server.device("lift-01");
    for _ in 0..50 {
        assert_eq!(server.http().post(&device.body(&[0; 10_000])).status, 202);
    }
    let before = resident_kib();
    let mut crowd = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crowd"])
        .env(SERVER, server.addr.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    server.await_metric("edgesentry_connections", |n| n >= COUNT as f64);
    server.await_metric("edgesentry_http_responses_total{code=\"200\"}", |n| n >= (COUNT / 5) as f64);
    let begun = Instant::now();
    let mut http = server.http();
    for _ in 0..100 {
        assert_eq!(http.post(&device.body(b"door closed")).status, 202);
        assert_eq!(server.http().get("/healthz").status, 200);
    }
    let took = begun.elapsed();
    let grown = resident_kib().saturating_sub(before);
    println!(
        "{COUNT} slow connections: {grown} KiB more resident, {} B each; 100 records in {took:?}",
        grown * 1024 / COUNT as u64
    );
    drop(crowd.stdin.take());
    crowd.wait().unwrap();
    drop(http);
    server.await_metric("edgesentry_connections", |n| n == 0.0);
    assert!(grown < COUNT as u64 * 16, "{grown} KiB for {COUNT} connections");
    assert!(took < Duration::from_secs(60), "{took:?}");
}
