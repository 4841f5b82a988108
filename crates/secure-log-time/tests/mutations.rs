//! A token in which any byte is another is refused.
#![cfg(not(target_family = "wasm"))]

mod common;

use common::{AUTHORITY, GOOD, MESSAGE, Pki, Spec};
use proptest::prelude::*;
use secure_log_time::{Options, Stamped, Trust, Verified, VerifyError, verify};

fn check(token: &[u8], trust: &Trust) -> Result<Verified, VerifyError> {
    verify(token, Stamped::Message(MESSAGE), trust, &Options::default())
}

/// Calls `see` for each byte with each of these flips.
fn each(token: &[u8], flips: &[u8], trust: &Trust, see: impl Fn(usize, u8, Result<Verified, VerifyError>)) {
    let mut altered = token.to_vec();
    for at in 0..token.len() {
        for flip in flips {
            altered[at] ^= flip;
            see(at, *flip, check(&altered, trust));
            altered[at] = token[at];
        }
    }
}

#[test]
fn every_bit_of_a_token_matters() {
    let pki = Pki::new();
    pki.certificate("mid", Spec { extensions: AUTHORITY, ..GOOD });
    pki.certificate("tsa", Spec { issuer: Some("mid"), ..GOOD });
    pki.bundle(&["mid"]);
    let token = pki.token("tsa", "", true).der;
    let trust = pki.trust(&["root"]);
    check(&token, &trust).unwrap();
    each(&token, &[1, 2, 4, 8, 16, 32, 64, 128, 255], &trust, |at, flip, verified| {
        assert!(verified.is_err(), "byte {at} ^ {flip}");
    });
    for end in 0..token.len() {
        assert!(check(&token[..end], &trust).is_err(), "{end} bytes");
    }
}

#[test]
fn every_byte_of_an_rsa_token_matters() {
    let pki = Pki::new();
    pki.certificate("tsa", Spec { key: common::RSA, ..GOOD });
    let token = pki.token("tsa", "", false).der;
    let trust = pki.trust(&["root"]);
    let whole = check(&token, &trust).unwrap();
    // rsaEncryption beside SHA-256, as openssl has it, is also named sha256WithRSAEncryption (RFC 5754 §3.2).
    let pkcs1 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    each(&token, &[1, 0x80, 1 ^ 11], &trust, |at, flip, verified| match verified {
        Err(_) => {}
        Ok(same) => {
            assert!(token[..at].ends_with(&pkcs1) && flip == 1 ^ 11, "byte {at} ^ {flip}");
            assert_eq!(same, whole);
        }
    });
}

#[test]
fn what_no_signature_covers_is_said_to_be_unchecked() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    pki.bundle(&["root"]);
    let token = pki.token("tsa", "", true).der;
    let trust = pki.trust(&["root"]);
    let whole = check(&token, &trust).unwrap();
    assert_eq!(whole.unchecked.certificates, 0);
    each(&token, &[1, 0x80], &trust, |at, flip, verified| {
        // The trusted root comes from the verifier; the copy in the token is of no use once it is another.
        if let Ok(verified) = verified {
            assert_ne!(verified.unchecked.certificates, 0, "byte {at} ^ {flip}");
            assert_eq!(verified.chain, whole.chain);
        }
    });
}

#[test]
fn spliced_tokens_are_refused() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let token = pki.token("tsa", "", false).der;
    let other = pki.token("tsa", "", false).der;
    let trust = pki.trust(&["root"]);
    let length = token.len();
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..8),
        (0..length, 0..64_usize).prop_map({
            let other = other.clone();
            move |(from, size)| other[from.min(other.len())..(from + size).min(other.len())].to_vec()
        }),
    ];
    proptest!(ProptestConfig::with_cases(2_000), |(at in 0..length, gone in 0..16_usize, piece in piece)| {
        let end = (at + gone).min(length);
        let spliced = [&token[..at], &piece, &token[end..]].concat();
        prop_assume!(spliced != token && spliced != other);
        prop_assert!(check(&spliced, &trust).is_err());
    });
}
