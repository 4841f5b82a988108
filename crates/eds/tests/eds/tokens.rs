//! `eds keys` on tokens, and logs that are signed with them: Debian's SoftHSM2 as a vendor's library, OpenSC's tools and
//! OpenSSL as those who look at the same token.

#![cfg(unix)]

use std::fs;
use std::process::Command;

use crate::hsm::{Hsm, PIN, URI, stdout};
use serde_json::Value;

const ALGORITHMS: [&str; 3] = ["ed25519", "ecdsa-p256", "rsa-pss-sha256"];

#[test]
fn tokens_are_made_once_and_listed() {
    let hsm = Hsm::new();
    let blank = hsm.json(&["keys", "tokens"]);
    assert_eq!(blank[0]["initialized"], false);
    assert_eq!(blank[0]["label"], Value::Null);
    let none = hsm.fails(&["keys", "list", "--pin-file", "pin"]);
    assert!(none.contains("eds keys init-token"), "{none}");
    hsm.init("prod");
    let again = hsm.fails(&["keys", "init-token", "prod", "--pin-file", "pin", "--so-pin-file", "so-pin"]);
    assert!(again.contains("never initialized again"), "{again}");
    let tokens = hsm.json(&["keys", "tokens"]);
    let prod = tokens.as_array().unwrap().iter().find(|token| token["label"] == "prod").unwrap();
    assert_eq!((&prod["manufacturer"], &prod["pin"]), (&Value::from("SoftHSM project"), &Value::from("set")));
    let line = hsm.ok(&["keys", "tokens"]);
    let serial = prod["serial"].as_str().unwrap();
    assert!(line.contains("prod\tSoftHSM project\tSoftHSM v2\t") && line.contains(serial), "{line}");
    assert!(hsm.tool(&["-L"]).contains(serial), "pkcs11-tool sees another token");
    let long = hsm.fails(&["keys", "init-token", &"x".repeat(33)]);
    assert!(long.contains("1 to 32 bytes"), "{long}");
}

#[test]
fn every_algorithm_is_made_shown_and_rotated_and_others_read_the_same() {
    let hsm = Hsm::with_token();
    for alg in ALGORITHMS {
        let made = hsm.json(&["keys", "create", alg, "--alg", alg, "--pin-file", "pin"]);
        assert_eq!((&made["name"], &made["algorithm"]), (&alg.into(), &alg.into()));
        assert_eq!(made["id"].as_str().unwrap().len(), 32);
        let shown = hsm.json(&["keys", "show", alg, "--pin-file", "pin", "--origin", "example.com/audit"]);
        assert_eq!(shown["public_key_pem"], made["public_key_pem"]);
        assert_eq!(shown["id"], made["id"]);
        assert!(shown["verifier_key"].as_str().unwrap().starts_with("example.com/audit+"), "{shown}");
        assert!(hsm.others_read(alg, made["public_key_pem"].as_str().unwrap()), "{alg}");
        assert!(hsm.openssl_verifies(alg, made["public_key_pem"].as_str().unwrap()), "{alg}");
    }
    let refused = hsm.fails(&["keys", "create", "ed25519", "--pin-file", "pin"]);
    assert!(refused.contains("never overwritten"), "{refused}");

    let list = hsm.json(&["keys", "list", "--pin-file", "pin"]);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ecdsa-p256", "ed25519", "rsa-pss-sha256"]);
    assert_eq!(list[1]["uri"], "pkcs11:token=prod;object=ed25519");
    let objects = hsm.tool(&["-O", "--login", "--pin", PIN]);
    assert!(objects.contains(list[1]["id"].as_str().unwrap()), "{objects}");
    assert!(!objects.contains("extractable\n") || objects.contains("never extractable"), "{objects}");

    let old = hsm.ok(&["keys", "show", "ed25519", "--pin-file", "pin"]);
    let new = hsm.ok(&["keys", "rotate", "ed25519", "--pin-file", "pin"]);
    assert_ne!(old, new);
    assert_eq!(hsm.ok(&["keys", "show", "ed25519", "--pin-file", "pin"]), new);
    assert_eq!(hsm.ok(&["keys", "show", "ed25519.retired-1", "--pin-file", "pin"]), old);
    let other = hsm.json(&["keys", "rotate", "ed25519", "--alg", "ecdsa-p256", "--pin-file", "pin"]);
    assert_eq!(other["algorithm"], "ecdsa-p256");
    let id = other["id"].as_str().unwrap();
    let escaped: String =
        id.as_bytes().chunks(2).map(|two| format!("%{}", std::str::from_utf8(two).unwrap())).collect();
    let by_id = hsm.json(&["keys", "show", &format!("pkcs11:token=prod;id={escaped}"), "--pin-file", "pin"]);
    assert_eq!(by_id["public_key_pem"], other["public_key_pem"]);
}

#[test]
fn rotation_that_fails_leaves_the_old_key_as_it_was() {
    let hsm = Hsm::with_token();
    let old = hsm.ok(&["keys", "create", "audit", "--pin-file", "pin"]);
    // A token that makes such keys and cannot sign with them.
    hsm.configure("slots.mechanisms = CKM_ECDSA,CKM_EC_KEY_PAIR_GEN");
    let failed = hsm.fails(&["keys", "rotate", "audit", "--pin-file", "pin"]);
    assert!(
        failed.contains("the old one is \"audit\" as before") && failed.contains("destroyed again"),
        "{failed}"
    );
    let failed = hsm.fails(&["keys", "create", "other", "--pin-file", "pin"]);
    assert!(failed.contains("destroyed again"), "{failed}");
    hsm.configure("");
    assert_eq!(hsm.json(&["keys", "list", "--pin-file", "pin"]).as_array().unwrap().len(), 1);
    assert_eq!(hsm.ok(&["keys", "show", "audit", "--pin-file", "pin"]), old);
}

#[test]
fn imported_keys_are_the_same_keys() {
    let hsm = Hsm::with_token();
    let rsa = ["-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"];
    let p256 = ["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for (alg, how) in ALGORITHMS.into_iter().zip([&["-algorithm", "ed25519"][..], &p256, &rsa]) {
        let pem = hsm.place.path("theirs.pem");
        let made = Command::new("openssl").arg("genpkey").args(how).arg("-out").arg(&pem).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let theirs = stdout(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&pem));
        let ran = hsm.run(&["keys", "import", alg, "--from", "theirs.pem", "--pin-file", "pin"]);
        assert_eq!((ran.code, &ran.stdout), (Some(0), &theirs), "{}", ran.stderr);
        assert!(ran.stderr.contains("theirs.pem still holds the key"), "{}", ran.stderr);
        assert!(hsm.others_read(alg, &theirs), "{alg}");
        assert!(hsm.openssl_verifies(alg, &theirs), "{alg}");
    }
    let refused = hsm.fails(&["keys", "import", "ed25519", "--from", "theirs.pem", "--pin-file", "pin"]);
    assert!(refused.contains("never overwritten"), "{refused}");
    fs::write(hsm.place.path("x.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    assert!(hsm.fails(&["keys", "import", "x", "--from", "x.pem", "--pin-file", "pin"]).contains("x.pem"));
}

/// From a key in a file to one in an HSM, and on to a second one there: one chain.
#[test]
fn log_goes_on_from_a_file_to_a_token_and_on() {
    let hsm = Hsm::with_token();
    let file = ["--keys", "keys"];
    let token = ["--pin-file", "pin"];
    let origin = ["--origin", "example.com/audit"];
    let append = |text: &str| hsm.ok(&[&["log", "append", "doors", text][..], &origin].concat());
    let verifier = |args: &[&str]| {
        let shown = hsm.ok(&[&["keys", "show"][..], args, &origin].concat());
        shown.lines().last().unwrap().to_owned()
    };
    hsm.without_module(&[&["keys", "create", "audit"][..], &file].concat());
    append("one");
    hsm.without_module(&[&["log", "sign", "--identity", "audit"][..], &file].concat());
    let software = verifier(&["audit", "--keys", "keys"]);

    hsm.ok(&[&["keys", "create", "audit", "--alg", "ecdsa-p256"][..], &token].concat());
    append("two");
    let note = hsm.ok(&[&["log", "sign", "--identity", URI][..], &token].concat());
    assert!(note.starts_with("example.com/audit\n"), "{note}");
    let first = verifier(&["audit", "--pin-file", "pin"]);

    hsm.ok(&[&["keys", "rotate", "audit"][..], &token].concat());
    append("three");
    // A plain name is a label on the only token.
    hsm.ok(&[&["log", "sign", "--identity", "audit"][..], &token].concat());
    let second = verifier(&["audit", "--pin-file", "pin"]);
    let retired = verifier(&["audit.retired-1", "--pin-file", "pin"]);
    assert_eq!(retired, first);

    let all = ["--trust", &software, "--trust", &first, "--trust", &second];
    let verified = hsm.ok(&[&["log", "verify"][..], &all].concat());
    assert!(
        verified.contains("checkpoints: 3 verified, 3 signatures; not checked: 0 signatures"),
        "{verified}"
    );
    for only in [&software, &first, &second] {
        let ran = hsm.run(&["log", "verify", "--trust", only]);
        assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    }
    // The retired key can still sign.
    append("four");
    let old = "pkcs11:token=prod;object=audit.retired-1";
    hsm.ok(&[&["log", "sign", "--identity", old][..], &token].concat());
    hsm.ok(&[&["log", "verify"][..], &all].concat());
}

#[test]
fn names_and_places_that_do_not_fit_are_named() {
    let hsm = Hsm::with_token();
    hsm.ok(&["keys", "create", "audit", "--pin-file", "pin"]);
    let none = hsm.fails(&["keys", "show", "none", "--pin-file", "pin"]);
    assert!(none.contains("no key \"none\"") && none.contains("eds keys list"), "{none}");
    let none = hsm.fails(&["keys", "list", "--token", "other", "--pin-file", "pin"]);
    assert!(none.contains("no token \"other\"; there are \"prod\""), "{none}");
    let differ = hsm.fails(&["keys", "show", URI, "--token", "other", "--pin-file", "pin"]);
    assert!(differ.contains("\"prod\"") && differ.contains("--token"), "{differ}");
    let value = hsm.fails(&["keys", "show", "pkcs11:object=audit?pin-value=4711", "--pin-file", "pin"]);
    assert!(value.contains("pin-value") && !value.contains("4711"), "{value}");
    hsm.init("second");
    let several = hsm.fails(&["keys", "list", "--pin-file", "pin"]);
    assert!(several.contains("--token LABEL") && several.contains("\"second\""), "{several}");
    hsm.ok(&["keys", "list", "--token", "second", "--pin-file", "pin"]);

    let elsewhere = hsm.without_module_fails(&["keys", "show", URI, "--keys", "keys"]);
    assert!(elsewhere.contains("--pkcs11-module"), "{elsewhere}");
    let nowhere = hsm.without_module_fails(&["keys", "list"]);
    assert!(nowhere.contains("--keys DIR") && nowhere.contains("--pkcs11-module"), "{nowhere}");
    let library = hsm.fails(&["keys", "tokens", "--pkcs11-module", "none.so"]);
    assert!(library.contains("none.so"), "{library}");
    let conf = hsm.output(hsm.command(&["keys", "tokens"]).env("SOFTHSM2_CONF", "none.conf"));
    assert!(conf.code == Some(1) && conf.stderr.contains("SOFTHSM2_CONF"), "{}", conf.stderr);
    let both = hsm.output(hsm.command(&["keys", "list"]).env("SECURE_LOG_KEYSTORE_DIR", "keys"));
    assert!(both.code == Some(1) && both.stderr.contains("both set"), "{}", both.stderr);

    hsm.ok(&["log", "append", "doors", "one", "--stack", "file"]);
    let stack = hsm.fails(&["log", "sign", "--identity", URI, "--stack", "file", "--pin-file", "pin"]);
    assert!(stack.contains("--stack sqlite"), "{stack}");
    let remote = hsm.fails(&["serve", "--sign-with", URI, "--stack", "remote", "--pin-file", "pin"]);
    assert!(remote.contains("--stack sqlite"), "{remote}");
    hsm.ok(&["log", "append", "doors", "one"]);
    let key = hsm.fails(&["log", "sign", "--identity", "pkcs11:token=prod;object=none", "--pin-file", "pin"]);
    assert!(
        key.contains("no private key matches on the token \"prod\"") && key.contains("eds keys list"),
        "{key}"
    );
}

#[test]
fn token_that_cannot_be_written_to_is_named_and_keeps_its_keys() {
    let hsm = Hsm::with_token();
    hsm.ok(&["keys", "create", "audit", "--pin-file", "pin"]);
    let mount =
        "mount --bind tokens tokens && mount -o remount,bind,ro tokens || exit 99; exec \"$0\" \"$@\"";
    let read_only = |args: &[&str]| {
        let args = [args, &["--pin-file", "pin"]].concat();
        hsm.output(&mut hsm.under(&["unshare", "--mount", "sh", "-c", mount], &args))
    };
    hsm.ok(&["log", "append", "doors", "one"]);
    // SoftHSM2 writes even when it only signs.
    for args in
        [&["keys", "create", "more"][..], &["keys", "rotate", "audit"], &["log", "sign", "--identity", URI]]
    {
        let ran = read_only(args);
        if ran.stderr.contains("unshare") || ran.code == Some(99) {
            println!("NOT CHECKED: a token that cannot be written to, for which nothing can be mounted here");
            return;
        }
        assert_eq!(ran.code, Some(1), "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("directory of tokens"), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(hsm.ok(&["keys", "list", "--pin-file", "pin"]).lines().count(), 1);
}

#[test]
fn keys_that_wrap_are_made_listed_and_destroyed() {
    let hsm = Hsm::with_token();
    let made = hsm.json(&["keys", "create", "domain", "--alg", "aes-256-gcm", "--pin-file", "pin"]);
    assert_eq!(
        (&made["algorithm"], &made["uri"]),
        (&"aes-256-gcm".into(), &"pkcs11:token=prod;object=domain".into())
    );
    let objects = || hsm.tool(&["-O", "--login", "--pin", PIN]);
    assert!(objects().contains("AES length 32"), "{}", objects());
    let list = hsm.ok(&["keys", "list", "--pin-file", "pin"]);
    assert!(list.contains("domain\taes-256-gcm\tpkcs11:token=prod;object=domain\n"), "{list}");
    assert_eq!(hsm.ok(&["keys", "show", "domain", "--pin-file", "pin"]), "domain\taes-256-gcm\n");
    let refused = hsm.fails(&["keys", "create", "domain", "--alg", "aes-256-gcm", "--pin-file", "pin"]);
    assert!(refused.contains("never overwritten"), "{refused}");
    let unasked = hsm.fails(&["keys", "destroy", "domain", "--pin-file", "pin"]);
    assert!(unasked.contains("--yes") && objects().contains("AES"), "{unasked}");
    hsm.ok(&["keys", "destroy", "domain", "--yes", "--pin-file", "pin"]);
    assert!(!objects().contains("AES"), "{}", objects());
    let again = hsm.fails(&["keys", "destroy", "domain", "--yes", "--pin-file", "pin"]);
    assert!(again.contains("no key-encryption key"), "{again}");
}
