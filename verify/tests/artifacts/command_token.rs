//! The command on artifacts that sign with a token, as users know it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::token::{Kind, NATIVE, PIN, SOFTHSM, dist, kinds, native};

const HOST: &str = "secure-log-sqlite-pkcs11-host.wasm";

fn harness(dir: &Path, artifact: &str, config: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secure-log-verify"));
    command.current_dir(dir).stdin(Stdio::null()).arg(dist().join(artifact)).arg(config);
    command.args(["--kill-rounds", "2"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SECURE_LOG_")) {
        command.env_remove(name);
    }
    command.env_remove("SOFTHSM2_CONF").env_remove("KRYOPTIC_CONF");
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn holds(command: &mut Command, says: &[&str]) -> String {
    let output = command.output().unwrap();
    let text = text(&output);
    assert!(output.status.success() && text.contains("steps hold"), "{text}");
    says.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in {text}"));
    assert!(!text.contains(PIN) && !text.contains('✗'), "{text}");
    text
}

#[track_caller]
fn fails(command: &mut Command, says: &[&str]) {
    let output = command.output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    says.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in {text}"));
}

#[test]
fn every_step_holds_on_a_throw_away_token() {
    let dir = tempfile::tempdir().unwrap();
    for kind in kinds() {
        let says = ["a throw-away token of ", "one key of each algorithm"];
        let text = holds(&mut harness(dir.path(), kind.graph, ":memory:"), &says);
        assert!(text.contains("\"pkcs11:token=throwaway;object=audit-ed25519\""), "{text}");
        let place = text.split("token of ").nth(1).and_then(|t| t.split(" in ").nth(1)).unwrap();
        let place = Path::new(place.split(": one key").next().unwrap());
        assert!(place.is_absolute() && !place.exists(), "{} is still there", place.display());
        for algorithm in ["ecdsa-p256", "rsa-pss-sha256"] {
            let mut command = harness(dir.path(), kind.graph, &format!("{}-{algorithm}.db", kind.name));
            command.env("SECURE_LOG_KEYSTORE_ALG", algorithm);
            holds(&mut command, &[&format!("object=audit-{algorithm}"), "a token of yours and --trust "]);
        }
        let mut command = harness(dir.path(), kind.graph, ":memory:");
        fails(command.env("SECURE_LOG_KEYSTORE_ALG", "dsa"), &["SECURE_LOG_KEYSTORE_ALG", "dsa", "ed25519"]);
        fails(harness(dir.path(), kind.graph, ":memory:").args(["--identity", "mine"]), &["no token yet"]);
    }
}

#[test]
fn every_step_holds_on_the_users_token_and_again_on_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    for kind in kinds() {
        let token = kind.token();
        let conf = |kind: Kind| match kind.name == SOFTHSM.name {
            true => ("SOFTHSM2_CONF", token.dir.softhsm_conf()),
            false => ("KRYOPTIC_CONF", token.dir.kryoptic_conf()),
        };
        let (variable, path) = conf(kind);
        let pin = dir.path().join("pin");
        std::fs::write(&pin, PIN).unwrap();
        for (name, value) in [("SECURE_LOG_TOKEN_PIN", Path::new(PIN)), ("SECURE_LOG_TOKEN_PIN_FILE", &pin)] {
            let mut command = harness(dir.path(), kind.graph, &format!("{}.db", kind.name));
            command.env(variable, &path).env(name, value).args(["--identity", "ecdsa-p256"]);
            holds(&mut command, &[&format!("yours, {variable}="), "run the same command again"]);
        }
        let mut command = harness(dir.path(), kind.graph, ":memory:");
        fails(command.env(variable, &path), &[variable, "no PIN", "SECURE_LOG_TOKEN_PIN"]);
        let mut command = harness(dir.path(), kind.graph, ":memory:");
        fails(
            command.env(variable, "/no/such.conf").env("SECURE_LOG_TOKEN_PIN", PIN),
            &[variable, "/no/such.conf"],
        );
    }
}

#[test]
fn every_step_holds_on_a_token_of_the_host() {
    let dir = tempfile::tempdir().unwrap();
    fails(&mut harness(dir.path(), HOST, ":memory:"), &["set SECURE_LOG_PKCS11_MODULE", NATIVE]);
    native();
    let with = |config: &str| {
        let mut command = harness(dir.path(), HOST, config);
        command.env("SECURE_LOG_PKCS11_MODULE", NATIVE);
        command
    };
    holds(&mut with(":memory:"), &["a throw-away token of ", "behind /usr/lib/softhsm/libsofthsm2.so"]);
    let mut gate = harness(dir.path(), "edgesentry-ingest-sqlite-pkcs11-host.wasm", ":memory:");
    holds(gate.env("SECURE_LOG_PKCS11_MODULE", NATIVE), &["a throw-away token of "]);
    holds(&mut with("host.db"), &["a token of yours and --trust "]);
    fails(
        with(":memory:").env("SOFTHSM2_CONF", "/no/such.conf"),
        &["no PIN for them: set SECURE_LOG_TOKEN_PIN", "SOFTHSM2_CONF"],
    );
    fails(
        with(":memory:").env("SECURE_LOG_PKCS11_MODULE", "/no/such.so").env("SECURE_LOG_TOKEN_PIN", "1"),
        &["/no/such.so"],
    );
    if !SOFTHSM.is_there() {
        return;
    }
    let token = SOFTHSM.token();
    for _ in 0..2 {
        let mut command = with("mine.db");
        command.env("SOFTHSM2_CONF", token.dir.softhsm_conf()).env("SECURE_LOG_TOKEN_PIN", PIN);
        holds(command.args(["--identity", "rsa-pss-sha256"]), &["yours, behind /usr/lib/softhsm"]);
    }
}

/// The blocks of docs/keystores.md that are to be run as they stand, with the command that is under test.
#[test]
fn commands_of_the_documentation_work_as_written() {
    if !SOFTHSM.is_there() {
        return;
    }
    native();
    let text = std::fs::read_to_string(dist().join("../docs/keystores.md")).unwrap();
    let blocks: Vec<&str> = text
        .split("<!-- test: native-softhsm -->\n```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 2);
    let cargo = "cargo run --release --manifest-path \"$REPO/verify/Cargo.toml\" --";
    assert!(blocks.iter().all(|block| block.contains(cargo)));
    let script = blocks.concat().replace(cargo, &format!("'{}'", env!("CARGO_BIN_EXE_secure-log-verify")));
    let dir = tempfile::tempdir().unwrap();
    let mut bash = Command::new("bash");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SECURE_LOG_")) {
        bash.env_remove(name);
    }
    let output = bash
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(dir.path())
        .env("REPO", dist().join("..").canonicalize().unwrap())
        .output()
        .unwrap();
    let text = self::text(&output);
    assert!(output.status.success() && text.matches("steps hold").count() == 2, "{text}");
    assert!(text.contains("yours, SOFTHSM2_CONF=") && text.contains("yours, behind "), "{text}");
    let pin = std::fs::read_to_string(dir.path().join("pin")).unwrap();
    assert!(!text.contains(pin.trim()), "{text}");
}
