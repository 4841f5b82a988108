//! Wrong PINs, wrong names, wrong keys.

use secure_log::signer::CheckpointSigner as _;
use secure_log_pkcs11::token::{Admin as _, Curve, KeySpec, Session as _, Slot as _, Tokens as _, User};
use secure_log_verify::host::types::Severity;
use secure_log_verify::host::{Artifact, Guest};

use super::token::{LABEL, Token, dist, identity, kinds};
use super::{MESSAGE, refused, signs};

const WRONG: &str = "wrong-PIN-0000";
const KEY: &str = "ed25519";

#[test]
fn wrong_pin_is_denied_and_an_instance_asks_the_token_once() {
    for kind in kinds() {
        let token = kind.token();
        let mut keystore = token.keystore_with(WRONG);
        refused(keystore.sign(&identity(KEY), MESSAGE), "denied", &["the token refuses the PIN", KEY]);
        // kryoptic locks itself after ten wrong PINs: were it asked again it would be locked now.
        for n in 0..20 {
            let key = identity(["ed25519", "ecdsa-p256", "rsa-pss-sha256"][n % 3]);
            refused(keystore.sign(&key, MESSAGE), "denied", &["not asked again before a restart"]);
            refused(keystore.public_key(&key), "denied", &["not asked again before a restart"]);
        }
        signs(&mut token.keystore(), &identity(KEY));
    }
}

#[test]
fn locked_pin_is_named_and_not_even_the_right_one_opens_it() {
    for kind in kinds() {
        let token = kind.token();
        for instance in 1..=kind.locks_after.unwrap_or(12) {
            let outcome = token.keystore_with(WRONG).sign(&identity(KEY), MESSAGE);
            let last = kind.locks_after == Some(instance);
            refused(outcome, "denied", if last { &["the PIN"] } else { &["refuses the PIN"] });
        }
        let mut right = token.keystore();
        if kind.locks_after.is_some() {
            for pin in [super::PIN, WRONG] {
                let outcome = token.keystore_with(pin).sign(&identity(KEY), MESSAGE);
                refused(outcome, "denied", &["locked the PIN", "security officer"]);
            }
        } else {
            signs(&mut right, &identity(KEY));
        }
    }
}

#[test]
fn no_pin_and_impossible_pins_are_denied() {
    for kind in kinds() {
        let token = kind.token();
        let mut guest = token.guest();
        guest.env.retain(|(name, _)| name != "SECURE_LOG_TOKEN_PIN");
        let start = |guest: &Guest| kind.keystore().start(guest).unwrap();
        refused(start(&guest).sign(&identity(KEY), MESSAGE), "denied", &["no PIN was given for this token"]);
        guest.set_env("SECURE_LOG_TOKEN_PIN_FILE", "/no/such/file");
        refused(start(&guest).sign(&identity(KEY), MESSAGE), "denied", &["no PIN was given for this token"]);
        for pin in ["1", &"9".repeat(255), &"9".repeat(4_000), "\u{1f511}\u{1f511}\u{1f511}"] {
            refused(token.keystore_with(pin).sign(&identity(KEY), MESSAGE), "denied", &["PIN"]);
        }
        signs(&mut token.keystore(), &identity(KEY));
    }
}

#[test]
fn pin_may_be_in_a_file_or_for_one_token_alone() {
    for kind in kinds() {
        let token = kind.token();
        let file = token.dir.path().join("pin");
        std::fs::write(&file, format!("{}\n", super::PIN)).unwrap();
        for (name, value) in [
            ("SECURE_LOG_TOKEN_PIN_FILE", file.to_str().unwrap()),
            ("SECURE_LOG_TOKEN_PIN_TEST_TOKEN", super::PIN),
            ("SECURE_LOG_TOKEN_PIN_TEST_TOKEN_FILE", file.to_str().unwrap()),
        ] {
            let mut guest = token.guest_with(WRONG);
            guest.set_env(name, value);
            signs(&mut kind.keystore().start(&guest).unwrap(), &identity(KEY));
        }
    }
}

#[test]
fn pin_is_asked_for_once_and_not_for_each_signature() {
    for kind in kinds() {
        let token = kind.token();
        let file = token.dir.path().join("pin");
        std::fs::write(&file, super::PIN).unwrap();
        let mut guest = token.guest_with("");
        guest.set_env("SECURE_LOG_TOKEN_PIN_FILE", file.to_str().unwrap());
        let mut keystore = kind.keystore().start(&guest).unwrap();
        signs(&mut keystore, &identity(KEY));
        // From now on nobody can find the PIN.
        std::fs::remove_file(&file).unwrap();
        let mut late = kind.keystore().start(&guest).unwrap();
        refused(late.sign(&identity(KEY), MESSAGE), "denied", &["no PIN was given for this token"]);
        for n in 0..30 {
            signs(&mut keystore, &identity(["ed25519", "ecdsa-p256", "rsa-pss-sha256"][n % 3]));
        }
    }
}

#[test]
fn what_is_not_there_is_named() {
    for kind in kinds() {
        let token = kind.token();
        let mut keystore = token.keystore();
        let no_key = ["no private key matches on the token", LABEL, "nobody"];
        refused(keystore.sign(&identity("nobody"), MESSAGE), "key-not-found", &no_key);
        refused(keystore.sign("nobody", MESSAGE), "key-not-found", &no_key);
        refused(keystore.public_key(&identity("nobody")), "key-not-found", &no_key);
        let by_id = format!("pkcs11:object={KEY};id=%7F");
        refused(keystore.sign(&by_id, MESSAGE), "key-not-found", &["no private key matches"]);
        let elsewhere = format!("pkcs11:token=elsewhere;object={KEY}");
        let no_token = ["no token matches", LABEL, "elsewhere"];
        refused(keystore.sign(&elsewhere, MESSAGE), "unavailable", &no_token);
        signs(&mut keystore, &identity(KEY));
        signs(&mut keystore, KEY);
        let empty = Token::empty(kind);
        let mut nothing = empty.keystore();
        refused(nothing.sign(&identity(KEY), MESSAGE), "unavailable", &["there is no initialized token"]);
    }
}

#[test]
fn keys_that_cannot_sign_checkpoints_are_named() {
    for kind in kinds() {
        let token = kind.token();
        let admin = token.admin();
        let session = admin.find_token(LABEL).unwrap().unwrap().open_session(true).unwrap();
        session.login(User::Normal).unwrap();
        admin.generate_key(&session, KeySpec::Ec(Curve::P384), "p384", b"\x10").unwrap();
        admin.generate_key(&session, KeySpec::Ec(Curve::P521), "p521", b"\x11").unwrap();
        admin.generate_key(&session, KeySpec::Aes, "aes", b"\x12").unwrap();
        let mut keystore = token.keystore();
        for (key, says) in [("p384", "P-384"), ("p521", "P-521")] {
            let says = [says, "usable are Ed25519, P-256 and RSA", key];
            refused(keystore.sign(&identity(key), MESSAGE), "invalid", &says);
            refused(keystore.public_key(&identity(key)), "invalid", &says);
        }
        // A secret key is no private key.
        refused(keystore.sign(&identity("aes"), MESSAGE), "key-not-found", &["no private key matches"]);
        signs(&mut keystore, &identity(KEY));
    }
}

#[test]
fn whole_graph_says_the_same_and_the_log_goes_on() {
    for kind in kinds() {
        let token = kind.token();
        let artifact = Artifact::load(&dist().join(kind.graph)).unwrap();
        let mut unset = token.guest();
        unset.env.retain(|(name, _)| !name.ends_with("_CONF"));
        for (guest, key, case, says) in [
            (token.guest_with(WRONG), KEY, "denied", "the token refuses the PIN"),
            (token.guest(), "nobody", "not-found", "no private key matches"),
            (unset, KEY, "invalid", "_CONF is not set"),
            (token.guest(), KEY, "", ""),
        ] {
            let mut log = artifact.start(&guest).unwrap();
            log.open(":memory:").unwrap();
            log.append("doors", "door.opened", Severity::Notice, "lobby", b"{}").unwrap();
            let segment = log.close_segment("doors").unwrap();
            let outcome = log.sign_segment(&identity(key), segment.segment_id);
            if case.is_empty() {
                outcome.unwrap();
                let trusted = log.verifier_key(&identity(key)).unwrap();
                log.verify_checkpoint_chain(&[trusted]).unwrap();
            } else {
                let error = outcome.unwrap_err();
                let text = error.to_string();
                assert!(error.kind() == case && text.contains(says), "{}: {error:?}", kind.name);
                assert!(!text.contains("PIN-"), "{text}");
            }
            log.append("doors", "door.closed", Severity::Notice, "lobby", b"{}").unwrap();
            log.close().unwrap();
        }
    }
}
