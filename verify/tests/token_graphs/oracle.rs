//! Other people's verifiers: ring, and OpenSSL's command line.

use std::path::Path;
use std::process::Command;

use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use secure_log::signer::{Algorithm, PublicKey};

/// What follows the ASN.1 that stands before the key in its SubjectPublicKeyInfo (RFC 8410, RFC 5480, RFC 8017).
fn raw(key: &PublicKey) -> &[u8] {
    match key.algorithm {
        Algorithm::Ed25519 => &key.spki_der[12..],
        Algorithm::EcdsaP256 => &key.spki_der[26..],
        Algorithm::RsaPssSha256 => {
            // 30 82 … 30 0d 06 09 … 05 00 03 82 xx xx 00, then RSAPublicKey.
            assert_eq!(key.spki_der[19], 0x03, "a BIT STRING");
            &key.spki_der[24..]
        }
    }
}

/// Verifies with ring.
#[track_caller]
pub fn ring(key: &PublicKey, message: &[u8], signature: &[u8]) {
    let verified = match key.algorithm {
        Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, raw(key)).verify(message, signature),
        Algorithm::EcdsaP256 => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, raw(key)).verify(message, signature)
        }
        Algorithm::RsaPssSha256 => {
            UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, raw(key)).verify(message, signature)
        }
    };
    verified.unwrap_or_else(|_| panic!("ring refuses the {} signature", key.algorithm.name()));
}

/// Verifies with `openssl`, in files of `dir`.
#[track_caller]
pub fn openssl(dir: &Path, key: &PublicKey, message: &[u8], signature: &[u8]) {
    let file = |name: &str, content: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (message, public) = (file("message", message), file("key.der", &key.spki_der));
    let signature = match key.algorithm {
        Algorithm::EcdsaP256 => file("signature", &der(signature)),
        _ => file("signature", signature),
    };
    let pem = dir.join("key.pem").to_str().unwrap().to_owned();
    run("openssl", &["pkey", "-pubin", "-inform", "DER", "-in", &public, "-out", &pem]);
    let verify: &[&str] = match key.algorithm {
        Algorithm::Ed25519 => &[
            "pkeyutl", "-verify", "-pubin", "-inkey", &pem, "-rawin", "-in", &message, "-sigfile", &signature,
        ],
        Algorithm::EcdsaP256 => &["dgst", "-sha256", "-verify", &pem, "-signature", &signature, &message],
        Algorithm::RsaPssSha256 => &[
            "dgst",
            "-sha256",
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            "rsa_pss_saltlen:32",
            "-verify",
            &pem,
            "-signature",
            &signature,
            &message,
        ],
    };
    run("openssl", verify);
}

/// Runs a program, which must succeed; what it wrote to stdout.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let outcome = Command::new(program).args(arguments).output();
    let outcome =
        outcome.unwrap_or_else(|e| panic!("{program}: {e}; apt-get install softhsm2 opensc openssl"));
    assert!(
        outcome.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&outcome.stdout),
        String::from_utf8_lossy(&outcome.stderr)
    );
    outcome.stdout
}

/// r‖s as the SEQUENCE that OpenSSL wants.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1);
        let padded = if number[start] & 0x80 != 0 { vec![0] } else { Vec::new() };
        let bytes = [&padded[..], &number[start..]].concat();
        [&[0x02, bytes.len() as u8][..], &bytes].concat()
    };
    let (r, s) = signature.split_at(32);
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}
