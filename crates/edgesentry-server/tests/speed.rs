//! How fast records are taken, against the same server answering `/healthz`. To be run in a release build:
//! `cargo test --release -p edgesentry-server --test speed -- --ignored --nocapture`.
#![cfg(feature = "transport-tls")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation ends the test")]

mod common;

use std::process::Command;

use common::TestServer;
use serde_json::Value;

fn load(server: &TestServer, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_edgesentry-load"))
        .args(["run", &server.addr.to_string(), "--json"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "measures; needs a release build and a quiet machine"]
fn records_against_healthz() {
    let dir = tempfile::TempDir::new().unwrap();
    let socket = dir.path().join("admin.sock");
    let server = TestServer::with(|builder| builder.admin(&socket));
    let mut ratios = Vec::new();
    for round in 0..3 {
        let health = load(&server, &["--get", "/healthz", "--records", "100000"]);
        let seed = format!("round-{round}");
        let records =
            load(&server, &["--records", "30000", "--seed", &seed, "--admin", socket.to_str().unwrap()]);
        let of = |result: &Value, name: &str| result[name].as_f64().unwrap();
        let ratio = of(&records, "per_second") / of(&health, "per_second");
        println!(
            "/healthz {:.0}/s (p99 {:.2} ms); records {:.0}/s, p50 {:.2} ms, p99 {:.2} ms; {ratio:.2}",
            of(&health, "per_second"),
            of(&health, "p99_ms"),
            of(&records, "per_second"),
            of(&records, "p50_ms"),
            of(&records, "p99_ms"),
        );
        ratios.push(ratio);
    }
    println!("resident: {} KiB", common::resident_kib());
    assert!(ratios.iter().all(|ratio| *ratio >= 0.2), "{ratios:?}");
}
