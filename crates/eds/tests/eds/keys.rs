//! `eds keys`, and that nobody else can read what it writes.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::Place;

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_made_shown_and_rotated() {
    let place = Place::new();
    let made = place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    assert!(made.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{made}");
    assert_eq!((mode(&place.path("keys")), mode(&place.path("keys/audit.pem"))), (0o700, 0o600));
    let refused = place.fails(&["keys", "create", "audit", "--keys", "keys"]);
    assert!(refused.contains("never overwritten"), "{refused}");
    let shown = place.ok(&["keys", "show", "audit", "--keys", "keys", "--origin", "example.com/audit"]);
    assert!(shown.starts_with(&made), "{shown}");
    assert!(shown.lines().last().unwrap().starts_with("example.com/audit+"), "{shown}");

    let before = std::fs::read(place.path("keys/audit.pem")).unwrap();
    let rotated = place.ok(&["keys", "rotate", "audit", "--keys", "keys"]);
    assert_ne!(rotated, made);
    assert_eq!(std::fs::read(place.path("keys/audit.retired-1.pem")).unwrap(), before);
    assert_eq!(mode(&place.path("keys/audit.pem")), 0o600);
    let list = place.json(&["keys", "list", "--keys", "keys"]);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["audit", "audit.retired-1"]);
}

#[test]
fn every_algorithm_and_what_openssl_makes() {
    let place = Place::new();
    for alg in ["ed25519", "ecdsa-p256"] {
        let made = place.json(&["keys", "create", alg, "--alg", alg, "--keys", "keys"]);
        assert_eq!(made["algorithm"], alg);
    }
    let pem = place.path("openssl.pem");
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&pem).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("no openssl here: its keys are not tried");
        return;
    }
    let shown = place.ok(&["keys", "import", "theirs", "--from", "openssl.pem", "--keys", "keys"]);
    let theirs = Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&pem).output().unwrap();
    assert_eq!(shown, String::from_utf8(theirs.stdout).unwrap());
    assert_eq!(mode(&place.path("keys/theirs.pem")), 0o600);
}

#[test]
fn what_is_no_key_is_named() {
    let place = Place::new();
    std::fs::write(place.path("x.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let refused = place.fails(&["keys", "import", "x", "--from", "x.pem", "--keys", "keys"]);
    assert!(refused.contains("x.pem"), "{refused}");
    assert!(place.fails(&["keys", "show", "none", "--keys", "keys"]).contains("none.pem"));
    assert!(place.fails(&["keys", "list"]).contains("--keys"));
}

#[test]
fn keys_that_wrap_are_made_listed_and_destroyed_and_never_shown() {
    let place = Place::new();
    place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    let made = place.json(&["keys", "create", "a/b", "--alg", "aes-256-gcm", "--keys", "keys"]);
    assert_eq!((&made["name"], &made["algorithm"]), (&"a/b".into(), &"aes-256-gcm".into()));
    let path = place.path("keys/a%2Fb.kek");
    assert_eq!(mode(&path), 0o600);
    let key = std::fs::read_to_string(&path).unwrap();
    let refused = place.fails(&["keys", "create", "a/b", "--alg", "aes-256-gcm", "--keys", "keys"]);
    assert!(refused.contains("never overwritten"), "{refused}");
    let list = place.ok(&["keys", "list", "--keys", "keys"]);
    assert_eq!(list, "a/b\taes-256-gcm\naudit\ted25519\n");
    let shown = place.ok(&["keys", "show", "a/b", "--keys", "keys"]);
    assert_eq!(shown, "a/b\taes-256-gcm\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), key);

    let unasked = place.fails(&["keys", "destroy", "a/b", "--keys", "keys"]);
    assert!(unasked.contains("--yes") && path.exists(), "{unasked}");
    let signs = place.fails(&["keys", "destroy", "audit", "--yes", "--keys", "keys"]);
    assert!(signs.contains("no key-encryption key") && place.path("keys/audit.pem").exists(), "{signs}");
    place.ok(&["keys", "destroy", "a/b", "--yes", "--keys", "keys"]);
    assert!(!path.exists());
    let again = place.fails(&["keys", "destroy", "a/b", "--yes", "--keys", "keys"]);
    assert!(again.contains("a%2Fb.kek"), "{again}");

    std::fs::write(place.path("keys/x.kek"), &key[..40]).unwrap();
    let refused = place.fails(&["keys", "show", "x", "--keys", "keys"]);
    assert!(refused.contains("64 hexadecimal digits") && !refused.contains(&key[..8]), "{refused}");
}
