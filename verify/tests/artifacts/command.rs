//! The command as users know it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{STACKS, dist};
use serde_json::Value;

fn harness(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secure-log-verify"));
    command.current_dir(dir).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SECURE_LOG_")) {
        command.env_remove(name);
    }
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Steps and the summary of a run with --json.
fn steps(output: &Output) -> (Vec<Value>, Value) {
    let lines: Vec<Value> = String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}")))
        .collect();
    let summary = lines.last().unwrap()["summary"].clone();
    (lines.into_iter().filter(|line| line["step"].is_number()).collect(), summary)
}

#[test]
fn every_step_holds_in_memory_and_on_disk_and_again_on_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    for (artifact, config) in [
        ("secure-log-sqlite.wasm", Some(":memory:")),
        ("secure-log-sqlite.wasm", None),
        ("secure-log-file.wasm", None),
        ("secure-log-sqlite.wasm", Some("audit.db")),
        ("secure-log-sqlite.wasm", Some("audit.db")),
        ("secure-log-file.wasm", Some("audit.jsonl")),
        ("secure-log-file.wasm", Some("audit.jsonl")),
        ("secure-log-remote.wasm", Some(":memory:")),
        ("secure-log-remote.wasm", Some("far.db")),
        ("secure-log-remote.wasm", Some("far.db")),
        ("secure-log-remote-host.wasm", Some(":memory:")),
        ("secure-log-remote-host.wasm", Some("far.db")),
    ] {
        let output = harness(dir.path())
            .arg(dist(artifact))
            .args(config)
            .args(["--json", "--kill-rounds", "2"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{artifact} {config:?}: {}", text(&output));
        let (steps, summary) = steps(&output);
        assert!(steps.len() > 30 && steps.iter().all(|step| step["ok"] == true), "{}", text(&output));
        assert_eq!(summary["steps"], steps.len());
    }
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("secure-log-verify"))
        .collect();
    assert!(left.is_empty(), "copies were left behind: {left:?}");
}

#[test]
fn lines_of_a_file_and_of_standard_input_end_up_in_the_log_and_nothing_else_does() {
    for (artifact, store) in STACKS {
        let dir = tempfile::tempdir().unwrap();
        let lines: String = (0..1_500).map(|n| format!("line {n}: something happened\n")).collect();
        std::fs::write(dir.path().join("app.log"), &lines).unwrap();
        let args = [store, "--kill-rounds", "1", "--events"];
        let output = harness(dir.path()).arg(dist(artifact)).args(args).arg("app.log").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let mut piped = harness(dir.path());
        piped.arg(dist(artifact)).args(args).args(["-", "--stream", "piped"]);
        let mut child =
            piped.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
        assert!(child.wait().unwrap().success());

        let launcher = crate::common::launcher(artifact, true);
        let path = secure_log_verify::store_path::StorePath::file(&dir.path().join(store)).unwrap();
        let mut log = launcher.open(&path).unwrap();
        let streams: Vec<String> = log.list_streams().unwrap().into_iter().map(|s| s.stream_id).collect();
        assert_eq!(streams, ["_log", "app.log", "piped"]);
        assert_eq!(log.head("app.log").unwrap().unwrap().seqno, 1_500);
        assert_eq!(log.read_payload("app.log", 1_234).unwrap(), b"line 1233: something happened");
        assert_eq!(log.read_payload("piped", 2).unwrap(), b"two");
    }
}

#[test]
fn each_algorithm_signs_and_the_log_keeps_its_older_keys() {
    let dir = tempfile::tempdir().unwrap();
    for algorithm in [None, Some("ecdsa-p256"), Some("rsa-pss-sha256")] {
        let mut command = harness(dir.path());
        command.arg(dist("secure-log-file.wasm")).args(["audit.jsonl", "--kill-rounds", "0"]);
        if let Some(algorithm) = algorithm {
            command.env("SECURE_LOG_KEYSTORE_ALG", algorithm);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{algorithm:?}: {}", text(&output));
    }
}

#[test]
fn missing_key_makes_a_step_fail_and_the_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("keys")).unwrap();
    let output = harness(dir.path())
        .arg(dist("secure-log-sqlite.wasm"))
        .args([":memory:", "--json", "--kill-rounds", "0"])
        .env("SECURE_LOG_KEYSTORE_DIR", "keys")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let (steps, summary) = steps(&output);
    let failed = steps.iter().find(|step| step["ok"] == false).unwrap();
    assert_eq!(failed["id"], "sign-segment");
    assert!(failed["error"].as_str().unwrap().starts_with("not-found key \"audit\""), "{failed}");
    assert_eq!(summary["ok"], false);
    assert!(!summary["not_checked"].as_array().unwrap().is_empty());
}

#[test]
fn calls_that_cannot_be_understood_end_with_2_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = dist("secure-log-sqlite.wasm");
    let artifact = artifact.to_str().unwrap();
    for (args, says) in [
        (&[][..], "scripts/quickstart.sh"),
        (&["no-such.wasm"], "scripts/quickstart.sh"),
        (&["--no-such-option"], "--no-such-option"),
        (&[artifact, "no/such/place/audit.db"], "no/such/place"),
        (&[artifact, ":memory:", "--events", "no-such-file"], "no-such-file"),
        (&[artifact, ":memory:", "--env", "SURELY_NOT_SET"], "SURELY_NOT_SET"),
    ] {
        let output = harness(dir.path()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(says), "{args:?}: {}", text(&output));
    }
    std::fs::write(dir.path().join("not.wasm"), "no component").unwrap();
    let output = harness(dir.path()).arg("not.wasm").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

#[test]
fn second_harness_on_the_same_log_is_told_who_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let lock =
        secure_log_verify::lock::HostLock::acquire(&dir.path().join("audit.db"), std::time::Duration::ZERO);
    let output = harness(dir.path())
        .arg(dist("secure-log-sqlite.wasm"))
        .args(["audit.db", "--wait", "0.2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("audit.db.lock"), "{}", text(&output));
    drop(lock);
}
