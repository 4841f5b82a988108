//! Tokens of native SoftHSM2 in the graph, those of the graph in native SoftHSM2, and everybody's signatures verified
//! by other people's programs.

use std::path::Path;
use std::process::Command;

use secure_log::signature::Verifier;
use secure_log::signer::{Algorithm, CheckpointSigner as _, PublicKey};
use sha2::{Digest as _, Sha256};

use super::oracle::{openssl, ring};
use super::token::{LABEL, NATIVE, PIN, SO_PIN, SOFTHSM, Token, identity, kinds, native};
use super::{MESSAGE, signs};

/// One of native SoftHSM2's programs on the directory of `token`.
#[track_caller]
fn tool(token: &Token, program: &str, arguments: &[&str]) -> Vec<u8> {
    native();
    let outcome =
        Command::new(program).env("SOFTHSM2_CONF", token.dir.softhsm_conf()).args(arguments).output();
    let outcome = outcome.unwrap_or_else(|e| panic!("{program}: {e}; apt-get install softhsm2 opensc"));
    let text = [&outcome.stdout[..], &outcome.stderr].concat();
    assert!(outcome.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&text));
    outcome.stdout
}

pub fn pkcs11_tool(token: &Token, arguments: &[&str]) -> Vec<u8> {
    let common = ["--module", NATIVE, "--token-label", LABEL, "--login", "--pin", PIN];
    tool(token, "pkcs11-tool", &[&common[..], arguments].concat())
}

/// CKA_ID of a key on a test's token.
fn id(algorithm: Algorithm) -> &'static str {
    let at = Algorithm::ALL.iter().position(|one| *one == algorithm).unwrap();
    ["01", "02", "03"][at]
}

/// A token as the manuals of SoftHSM2 and OpenSC make it.
fn made_natively() -> Token {
    let token = Token::empty(SOFTHSM);
    let init = ["--init-token", "--free", "--label", LABEL, "--so-pin", SO_PIN, "--pin", PIN];
    tool(&token, "softhsm2-util", &init);
    for algorithm in Algorithm::ALL {
        let kind = match algorithm {
            Algorithm::Ed25519 => "EC:edwards25519",
            Algorithm::EcdsaP256 => "EC:prime256v1",
            Algorithm::RsaPssSha256 => "rsa:2048",
        };
        let key = ["--keypairgen", "--key-type", kind, "--label", algorithm.name(), "--id", id(algorithm)];
        pkcs11_tool(&token, &key);
    }
    token
}

fn verified_by_all(dir: &Path, key: &PublicKey, signature: &[u8]) {
    Verifier::new(key).unwrap().verify(MESSAGE, signature).unwrap();
    ring(key, MESSAGE, signature);
    openssl(dir, key, MESSAGE, signature);
}

#[test]
fn signatures_verify_in_the_core_with_ring_and_with_openssl() {
    for kind in kinds() {
        let token = kind.token();
        let mut keystore = token.keystore();
        for algorithm in Algorithm::ALL {
            let name = identity(algorithm.name());
            let key = keystore.public_key(&name).unwrap();
            assert_eq!(key.algorithm, algorithm);
            verified_by_all(token.dir.path(), &key, &keystore.sign(&name, MESSAGE).unwrap());
        }
    }
}

#[test]
fn token_of_native_softhsm_signs_in_the_graph() {
    if !SOFTHSM.is_there() {
        return;
    }
    let token = made_natively();
    let mut keystore = token.keystore();
    for algorithm in Algorithm::ALL {
        let name = identity(algorithm.name());
        let key = keystore.public_key(&name).unwrap();
        assert_eq!(key.algorithm, algorithm);
        verified_by_all(token.dir.path(), &key, &keystore.sign(&name, MESSAGE).unwrap());
        let exported = pkcs11_tool(&token, &["--read-object", "--type", "pubkey", "--id", id(algorithm)]);
        if algorithm != Algorithm::Ed25519 {
            // OpenSC writes Edwards keys in a form of its own.
            assert_eq!(exported, key.spki_der, "{algorithm:?}");
        }
        signs(&mut keystore, &format!("pkcs11:id=%{}", id(algorithm)));
    }
}

#[test]
fn token_of_the_graph_signs_natively() {
    if !SOFTHSM.is_there() {
        return;
    }
    let token = SOFTHSM.token();
    let mut keystore = token.keystore();
    let file = |name: &str, content: &[u8]| {
        let path = token.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (message, digest) = (file("m", MESSAGE), file("d", &Sha256::digest(MESSAGE)));
    let out = token.dir.path().join("s").to_str().unwrap().to_owned();
    for algorithm in Algorithm::ALL {
        let key = keystore.public_key(&identity(algorithm.name())).unwrap();
        let how: &[&str] = match algorithm {
            Algorithm::Ed25519 => &["--mechanism", "EDDSA", "--input-file", &message],
            Algorithm::EcdsaP256 => &["--mechanism", "ECDSA", "--input-file", &digest],
            Algorithm::RsaPssSha256 => &[
                "--mechanism",
                "RSA-PKCS-PSS",
                "--hash-algorithm",
                "SHA256",
                "--mgf",
                "MGF1-SHA256",
                "--salt-len",
                "32",
                "--input-file",
                &digest,
            ],
        };
        let sign = [&["--sign", "--id", id(algorithm), "--output-file", &out], how].concat();
        pkcs11_tool(&token, &sign);
        verified_by_all(token.dir.path(), &key, &std::fs::read(&out).unwrap());
    }
    signs(&mut token.keystore(), &identity("ed25519"));
}

#[test]
fn pin_that_was_changed_meanwhile_ends_no_session_and_opens_no_other() {
    if !SOFTHSM.is_there() {
        return;
    }
    const NEW: &str = "user-2222-new-PIN";
    let token = SOFTHSM.token();
    let mut before = token.keystore();
    signs(&mut before, &identity("ed25519"));
    pkcs11_tool(&token, &["--change-pin", "--new-pin", NEW]);
    // An instance that is logged in goes on.
    signs(&mut before, &identity("ed25519"));
    signs(&mut before, &identity("ecdsa-p256"));
    super::refused(token.keystore().sign(&identity("ed25519"), MESSAGE), "denied", &["refuses the PIN"]);
    signs(&mut token.keystore_with(NEW), &identity("ed25519"));
    signs(&mut token.keystore_with(NEW), &identity("rsa-pss-sha256"));
}
