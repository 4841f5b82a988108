//! The examples by their documented names, run one after the other.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// When the newest file under `folder` was written.
fn newest(folder: &Path) -> SystemTime {
    let times = std::fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => newest(&entry.path()),
            false => entry.metadata().unwrap().modified().unwrap(),
        }
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The example as `cargo test` has built it just now, if it has; otherwise `cargo run` builds it.
fn command(name: &str) -> Command {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = std::env::current_exe().unwrap();
    let built = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    let sources = newest(&package.join("src")).max(newest(&package.join("examples")));
    if built.metadata().and_then(|file| file.modified()).is_ok_and(|time| time > sources) {
        return Command::new(built);
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--locked", "--package", "edgesentry-audit", "--example", name]);
    cargo.current_dir(package);
    cargo
}

fn run(name: &str, folder: &Path) -> (bool, String) {
    let output = command(name).env("TMPDIR", folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_examples_run_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let good = |name: &str, expected: &[&str]| {
        let (success, output) = run(name, folder.path());
        assert!(success, "{name}:\n{output}");
        for line in expected {
            assert!(output.contains(line), "{name} does not say {line:?}:\n{output}");
        }
        output
    };
    good(
        "lift_inspection_flow",
        &[
            "accepted: sequence=3 object_ref=s3://bucket/lift-01/inspection-3.bin",
            "rejected: payload hash mismatch for device=lift-01 sequence=2",
            "operation: Rejected sequence=2",
            "The stored chain and its signatures hold.",
        ],
    );

    // Before the device has written anything, the others say whom to run first.
    let (success, output) = run("edge_gateway", folder.path());
    assert!(!success && output.contains("run the example `edge_device` first"), "{output}");
    let (success, output) = run("cloud_backend", folder.path());
    assert!(!success && output.contains("run the example `edge_device` first"), "{output}");

    good("edge_device", &["signed sequence=3", "eds_records.json"]);
    good("edge_gateway", &["eds_fwd_records.json"]);
    let cloud = good(
        "cloud_backend",
        &[
            "REJECTED sequence=1: source 203.0.113.9 is not allowed",
            "ACCEPTED sequence=1: entry 1 of device/lift-01/1",
            "REJECTED sequence=2: invalid signature for device=lift-01",
            "REJECTED sequence=2: payload hash mismatch for device=lift-01 sequence=2",
            "REJECTED sequence=1: duplicate record for device=lift-01 sequence=1",
            "ACCEPTED sequence=3: entry 3 of device/lift-01/1",
            "verified: 3 records",
        ],
    );
    assert_eq!(cloud.matches("ACCEPTED").count(), 3, "{cloud}");
    // Once more: a fresh store each time.
    good("cloud_backend", &["verified: 3 records"]);
}
