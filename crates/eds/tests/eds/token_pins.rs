//! PINs: where they come from, that a wrong one is tried once, and that a server finds out before it listens.

#![cfg(unix)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::hsm::{Hsm, PIN, SO_PIN, URI, module, spy};
use crate::support::PUBLIC;

/// How often the token was asked for this, and forgets it.
fn calls(hsm: &Hsm, function: &str) -> usize {
    let calls = fs::read_to_string(hsm.place.path("calls")).unwrap_or_default();
    fs::remove_file(hsm.place.path("calls")).ok();
    calls.lines().filter(|line| line.ends_with(&format!(": {function}"))).count()
}

/// The command, with what the token is asked written down.
fn spied(hsm: &Hsm, args: &[&str]) -> Command {
    let mut command = hsm.command(args);
    command.env("SECURE_LOG_PKCS11_MODULE", spy()).env("PKCS11SPY", module());
    command.env("PKCS11SPY_OUTPUT", hsm.place.path("calls"));
    command
}

fn with_key() -> Hsm {
    let hsm = Hsm::with_token();
    hsm.ok(&["keys", "create", "audit", "--pin-file", "pin"]);
    hsm.ok(&["log", "append", "doors", "one"]);
    hsm
}

#[test]
fn wrong_pin_is_tried_once_and_named() {
    let hsm = with_key();
    for args in [
        &["keys", "create", "more"][..],
        &["keys", "list"],
        &["keys", "show", "audit"],
        &["keys", "rotate", "audit"],
        &["log", "sign", "--identity", URI],
    ] {
        let ran = hsm.output(&mut spied(&hsm, &[args, &["--pin-file", "wrong-pin"]].concat()));
        assert_eq!(ran.code, Some(1), "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stderr.contains("refuses the PIN") && ran.stderr.contains("--pin-file"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("another pin"), "{}", ran.stderr);
        assert_eq!(calls(&hsm, "C_Login"), 1, "{args:?}");
    }
    // Nothing was made or renamed.
    let ran = hsm.output(&mut spied(&hsm, &["keys", "list", "--pin-file", "pin", "--json"]));
    assert_eq!(calls(&hsm, "C_Login"), 1);
    let keys: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    assert_eq!(keys[0]["name"], "audit");
}

#[test]
fn server_with_a_wrong_pin_ends_before_it_listens_and_says_so_by_its_code() {
    let hsm = with_key();
    let serve = |pin: &str, key: &str| {
        let args =
            ["serve", "--addr", "127.0.0.1:0", "--store", "server.db", "--sign-with", key, "--pin-file", pin];
        hsm.output(&mut spied(&hsm, &args))
    };
    let refused = serve("wrong-pin", URI);
    // EX_NOPERM: a service manager is told not to start it again.
    assert_eq!(refused.code, Some(77), "{}{}", refused.stdout, refused.stderr);
    assert!(
        refused.stderr.contains("--sign-with") && refused.stderr.contains("refuses the PIN"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("listening"), "{}", refused.stderr);
    assert_eq!(calls(&hsm, "C_Login"), 1);
    let none = serve("pin", "pkcs11:token=prod;object=none");
    assert_eq!(none.code, Some(1), "{}{}", none.stdout, none.stderr);
    assert!(none.stderr.contains("no private key matches"), "{}", none.stderr);
    assert!(!hsm.place.path("server.db").exists());
}

/// A server signs with the token, and logs in for that once: not for each signature.
#[test]
fn server_signs_with_a_token() {
    let hsm = with_key();
    let device = format!("lift-01={PUBLIC}");
    let mut command = spied(
        &hsm,
        &[
            "serve",
            "--addr",
            "127.0.0.1:0",
            "--store",
            "server.db",
            "--origin",
            "example.com/lifts",
            "--device",
            &device,
            "--sign-with",
            URI,
            "--segment-records",
            "1",
        ],
    );
    command.env("SECURE_LOG_TOKEN_PIN_PROD_FILE", hsm.place.path("pin")).env("RUST_LOG", "trace");
    let server = hsm.place.start(command);
    for n in 1..=3 {
        if n == 3 {
            // Noticed at the next start: until then the old key signs.
            hsm.ok(&["keys", "rotate", "audit", "--pin-file", "pin"]);
        }
        let previous = format!("record-{}.json", n - 1);
        let (sequence, out) = (n.to_string(), format!("record-{n}.json"));
        let mut args = vec![
            "audit",
            "sign-record",
            "--device-id",
            "lift-01",
            "--sequence",
            &sequence,
            "--payload",
            "p",
            "--object-ref",
            "r",
            "--private-key-hex",
            crate::support::PRIVATE,
            "--out",
            &out,
        ];
        if n > 1 {
            args.extend(["--prev-record", &previous]);
        }
        hsm.ok(&args);
        let record = serde_json::from_slice(&fs::read(hsm.place.path(&out)).unwrap()).unwrap();
        assert_eq!(server.ingest(&record, b"p").unwrap().0, 202);
    }
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
    let log = fs::read_to_string(hsm.place.path("server.log")).unwrap();
    assert!(log.matches("checkpoint signed").count() >= 3, "{log}");
    assert!(!log.contains(PIN) && !said.contains(PIN));
    // Once to see that it can sign, once by the instance that does.
    let made = fs::read_to_string(hsm.place.path("calls")).unwrap();
    assert!(made.matches(": C_Sign\n").count() >= 4, "{made}");
    assert_eq!(calls(&hsm, "C_Login"), 2);

    let old = ["keys", "show", "audit.retired-1", "--pin-file", "pin", "--origin", "example.com/lifts"];
    let shown = hsm.ok(&old);
    let verifier = shown.lines().last().unwrap();
    let verified = hsm.ok(&["log", "verify", "--store", "server.db", "--trust", verifier]);
    assert!(verified.contains("not checked: 0 signatures by other keys"), "{verified}");
}

#[test]
fn pins_come_from_files_and_variables_and_files_that_others_read_are_refused() {
    let hsm = with_key();
    let list = |name: &str, value: &str| hsm.output(hsm.command(&["keys", "list"]).env(name, value));
    for (name, value) in [
        ("SECURE_LOG_TOKEN_PIN", PIN),
        ("SECURE_LOG_TOKEN_PIN_FILE", "pin"),
        ("SECURE_LOG_TOKEN_PIN_PROD", PIN),
        ("SECURE_LOG_TOKEN_PIN_PROD_FILE", "pin"),
    ] {
        let ran = list(name, value);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.stderr);
    }
    // The option comes before the variables.
    let option = hsm.output(
        hsm.command(&["keys", "list", "--pin-file", "pin"]).env("SECURE_LOG_TOKEN_PIN_PROD", "another pin"),
    );
    assert_eq!(option.code, Some(0), "{}", option.stderr);
    let missing = list("SECURE_LOG_TOKEN_PIN_FILE", "none");
    assert!(missing.code == Some(1) && missing.stderr.contains("none"), "{}", missing.stderr);
    let open = hsm.place.path("pin");
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let exposed = hsm.fails(&["keys", "list", "--pin-file", "pin"]);
    assert!(exposed.contains("chmod 600"), "{exposed}");
    // systemd's own copy for a service looks like one that a group reads.
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o440)).unwrap();
    let mut service = hsm.command(&["keys", "list", "--pin-file", open.to_str().unwrap()]);
    let credential = hsm.output(service.env("CREDENTIALS_DIRECTORY", hsm.place.path("")));
    assert_eq!(credential.code, Some(0), "{}", credential.stderr);
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let hsm = with_key();
    let run = |args: &[&str]| hsm.output(&mut hsm.under(&["setsid", "--wait"], args));
    for args in [&["keys", "list"][..], &["log", "sign", "--identity", URI], &["keys", "init-token", "more"]]
    {
        let ran = run(args);
        assert_eq!(ran.code, Some(1), "{args:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("no terminal") && ran.stderr.contains("--pin-file FILE"),
            "{}",
            ran.stderr
        );
    }
}

/// Whether the terminal shows nothing of what is typed.
fn shows_nothing(hsm: &Hsm) -> bool {
    let tty = fs::read_to_string(hsm.place.path("tty")).unwrap();
    let state = crate::hsm::stdout(Command::new("stty").args(["-a", "-F", tty.trim()]));
    state.contains(" -echo ")
}

/// Runs a command at a terminal and types these lines, each when it is asked for.
fn at_a_terminal(hsm: &Hsm, args: &str, lines: &[&str]) -> (bool, String) {
    let command = hsm.command(&[args]);
    let line = format!("tty >tty; exec {} {args}", command.get_program().to_str().unwrap());
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(hsm.place.path(""));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let mut child =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut piece = [0; 1_024];
        while let Ok(n @ 1..) = stdout.read(&mut piece) {
            let _ = sender.send(String::from_utf8_lossy(&piece[..n]).into_owned());
        }
    });
    let until = Instant::now() + Duration::from_secs(60);
    let (mut seen, mut typed) = (String::new(), 0);
    while let Ok(piece) = receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
        seen.push_str(&piece);
        if typed < lines.len() && seen.matches("PIN").count() > typed && seen.ends_with(": ") {
            // The prompt is there before the terminal is told to show nothing. Nobody types as fast as this.
            while !shows_nothing(hsm) {
                assert!(Instant::now() < until, "the terminal shows what is typed: {seen}");
                std::thread::yield_now();
            }
            writeln!(stdin, "{}", lines[typed]).unwrap();
            typed += 1;
        }
    }
    drop(stdin);
    let worked = child.wait().unwrap().success();
    assert_eq!(typed, lines.len(), "{seen}");
    (worked, seen)
}

#[test]
fn pin_is_asked_for_at_the_terminal_and_not_shown() {
    let hsm = Hsm::new();
    let (made, seen) = at_a_terminal(&hsm, "keys init-token prod", &[SO_PIN, SO_PIN, PIN, PIN]);
    assert!(made && seen.contains("once more") && seen.contains("initialized"), "{seen}");
    assert!(!seen.contains(PIN) && !seen.contains(SO_PIN), "{seen}");
    // A new key is probed too: with the PIN that was typed once.
    let (made, seen) = at_a_terminal(&hsm, "keys create audit", &[PIN]);
    assert!(made && seen.contains("BEGIN PUBLIC KEY") && !seen.contains(PIN), "{seen}");
    let (made, seen) = at_a_terminal(&hsm, "keys list", &["another pin"]);
    assert!(!made && seen.contains("refuses the PIN"), "{seen}");
    let (made, seen) = at_a_terminal(&hsm, "keys init-token more", &[SO_PIN, PIN]);
    assert!(!made && seen.contains("not the same"), "{seen}");
    let (made, seen) = at_a_terminal(&hsm, "keys list", &[""]);
    assert!(!made && seen.contains("empty"), "{seen}");
}
