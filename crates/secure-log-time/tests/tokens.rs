//! Tokens that are right: what openssl makes of our requests, and what we make of its tokens.
#![cfg(not(target_family = "wasm"))]

mod common;

use std::time::Duration;

use common::{AS_TOKEN, AUTHORITY, GOOD, MESSAGE, OTHER_POLICY, POLICY, Pki, Spec, info, is_recent};
use secure_log_time::{
    Certificate, Gaps, Hash, Imprint, ObjectIdentifier, Options, Request, Stamped, Time, Times, Trust,
    Unchecked, Verified, VerifyError, accept, verify,
};

fn check(token: &[u8], trust: &Trust) -> Result<Verified, VerifyError> {
    verify(
        token,
        Stamped::Message(MESSAGE),
        trust,
        &Options { now: Some(common::now()), ..Options::default() },
    )
}

#[test]
fn a_request_leads_to_a_token_that_both_verify() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let token = pki.token("tsa", "", false);
    assert!(!token.modified);
    pki.openssl_verifies(&token.der, "root.pem").unwrap();

    let verified = check(&token.der, &pki.trust(&["root"])).unwrap();
    assert!(is_recent(verified.time), "{}", verified.time);
    assert_eq!(verified.accuracy, Some(Duration::from_micros(1_500_100)));
    assert!(verified.ordering);
    assert_eq!(verified.serial, [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xf0]);
    assert_eq!(verified.policy.to_string(), POLICY);
    assert_eq!(verified.imprint, Imprint::of(Hash::Sha256, MESSAGE));
    assert_eq!(verified.authority, "CN=tsa");
    assert_eq!(verified.chain, [pki.load("tsa"), pki.load("root")]);
    assert_eq!(verified.unchecked, Unchecked::default());
    let same = verify(
        &token.der,
        Stamped::Imprint(&Imprint::of(Hash::Sha256, MESSAGE)),
        &pki.trust(&["root"]),
        &Options::default(),
    );
    assert_eq!(same.unwrap(), verified);

    let gaps = Gaps::of(&Times::new(Some(common::now()), None, &verified), Duration::from_secs(60));
    assert!(gaps.violations.is_empty(), "{gaps}");
}

#[test]
fn openssl_reads_every_kind_of_request() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let policy = Some(ObjectIdentifier::new(OTHER_POLICY).unwrap());
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        for nonce in [None, Some(0), Some(1), Some(0x80), Some(0xff00), Some(u64::MAX)] {
            let request =
                Request { imprint: Imprint::of(hash, MESSAGE), nonce, policy, cert_req: nonce.is_none() };
            assert_eq!(Request::from_der(&request.to_der()).unwrap(), request);
            let reply = pki.reply("tsa", &request.to_der(), "", false);
            let token = accept(&request, 200, None, &reply).unwrap();
            pki.openssl(&[
                "ts",
                "-verify",
                "-queryfile",
                "q.tsq",
                "-in",
                "r.tsr",
                "-CAfile",
                "root.pem",
                "-untrusted",
                "tsa.pem",
            ]);
            let mut trust = pki.trust(&["root"]);
            if !request.cert_req {
                assert_eq!(check(&token.der, &trust), Err(VerifyError::SignerCertificateMissing));
                trust.intermediates.push(pki.load("tsa"));
            }
            let verified = check(&token.der, &trust).unwrap();
            assert_eq!(verified.policy.to_string(), OTHER_POLICY);
            assert_eq!(verified.imprint.hash(), hash);
        }
    }
}

#[test]
fn chains_lead_over_intermediates() {
    let pki = Pki::new();
    pki.certificate("mid", Spec { extensions: AUTHORITY, ..GOOD });
    pki.certificate("tsa", Spec { issuer: Some("mid"), ..GOOD });
    pki.bundle(&["mid", "root"]);
    let mut trust = pki.trust(&["root"]);

    let whole = pki.token("tsa", "", true);
    pki.openssl_verifies(&whole.der, "root.pem").unwrap();
    let verified = check(&whole.der, &trust).unwrap();
    assert_eq!(verified.chain, [pki.load("tsa"), pki.load("mid"), pki.load("root")]);
    assert_eq!(verified.unchecked, Unchecked::default());

    let alone = pki.token("tsa", "", false);
    assert_eq!(check(&alone.der, &trust), Err(VerifyError::NotAnchored { authority: "CN=tsa".to_owned() }));
    trust.intermediates.push(pki.load("mid"));
    assert_eq!(check(&alone.der, &trust).unwrap().chain.len(), 3);
    // Whatever is trusted ends the chain.
    assert_eq!(check(&alone.der, &pki.trust(&["mid"])).unwrap().chain.len(), 2);
    let own = check(&whole.der, &pki.trust(&["tsa"])).unwrap();
    assert_eq!((own.chain.len(), own.unchecked.certificates), (1, 2));
}

#[test]
fn every_algorithm() {
    let pss: &[&str] = &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
    let cms_pss: &[&str] =
        &["-md", "sha384", "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:48"];
    let pss_key: &[&str] = &["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"];
    let only = ["rsa_pss_keygen_md:sha384", "rsa_pss_keygen_mgf1_md:sha384", "rsa_pss_keygen_saltlen:48"];
    let only: Vec<&str> = only.into_iter().flat_map(|option| ["-pkeyopt", option]).collect();
    let pss_key_of_sha384 = &[pss_key, &only].concat();
    // Keys of the authority and of the root, how the root signs, how the authority does.
    type Arguments<'a> = &'a [&'a str];
    let cases: &[[Arguments<'_>; 4]] = &[
        [common::RSA, common::RSA, &["-md", "sha256"], &["-md", "sha256"]],
        [common::RSA, common::RSA, &["-md", "sha384"], &["-md", "sha384"]],
        [common::RSA, common::RSA, &["-md", "sha512"], &["-md", "sha512"]],
        [common::RSA, common::RSA, pss, cms_pss],
        [pss_key, common::RSA, pss, cms_pss],
        [pss_key_of_sha384, common::RSA, pss, cms_pss],
        [common::P256, common::P384, &["-md", "sha384"], &["-md", "sha256"]],
        [common::P384, common::P256, &["-md", "sha512"], &["-md", "sha512"]],
        [common::P384, common::ED25519, &["-md", "null"], &["-md", "sha384"]],
    ];
    for [key, root, sign, cms] in cases {
        let pki = Pki::new();
        pki.named("ca", "root", Spec { key: root, sign, issuer: None, extensions: common::ROOT, ..GOOD });
        pki.certificate("tsa", Spec { key, sign, issuer: Some("ca"), ..GOOD });
        let token = pki.cms("tsa", &info("20240731120000Z", &[]), &[AS_TOKEN, cms].concat());
        let trust = pki.trust(&["ca"]);
        let verified =
            check(&token, &trust).unwrap_or_else(|e| panic!("{key:?} {root:?} {sign:?} {cms:?}: {e}"));
        assert_eq!(verified.time.to_string(), "2024-07-31T12:00:00Z");
        assert_eq!(
            (verified.accuracy, verified.ordering, verified.serial.as_slice()),
            (None, false, &[42][..])
        );
        // The last byte belongs to the signature in all of them.
        let mut altered = token.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(check(&altered, &trust).is_err(), "{key:?}");
    }
}

/// `openssl cms` of version 3.0 does not know Ed25519, so the envelope is made here (RFC 8419).
#[test]
fn ed25519() {
    let pki = Pki::new();
    pki.certificate("tsa", Spec { key: common::ED25519, ..GOOD });
    let stamp = info("20240731120000Z", &[]);
    let trust = pki.trust(&["root"]);
    let token = pki.ed25519_token("tsa", &stamp, Hash::Sha512);
    check(&token, &trust).unwrap();
    let of = secure_log_time::Role::Token;
    let sha256 = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
    assert_eq!(
        check(&pki.ed25519_token("tsa", &stamp, Hash::Sha256), &trust),
        Err(VerifyError::UnsupportedAlgorithm { of: of.clone(), oid: sha256 })
    );
    let mut altered = token;
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(check(&altered, &trust), Err(VerifyError::BadSignature { of }));
}

#[test]
fn the_certificate_may_be_bound_by_sha1_as_rfc_2634_has_it() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    for hash in ["sha1", "sha256", "sha384", "sha512"] {
        let token = pki.token("tsa", &format!("ess_cert_id_alg={hash}\ness_cert_id_chain=yes"), false);
        pki.openssl_verifies(&token.der, "root.pem").unwrap();
        check(&token.der, &pki.trust(&["root"])).unwrap_or_else(|e| panic!("{hash}: {e}"));
    }
}

#[test]
fn fractions_of_a_second_and_key_identifiers() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let token = pki.token("tsa", "clock_precision_digits=6", false);
    assert!(is_recent(check(&token.der, &pki.trust(&["root"])).unwrap().time));
    let token = pki.cms("tsa", &info("20240731120000.123456789Z", &[]), &[AS_TOKEN, &["-keyid"]].concat());
    let time = check(&token, &pki.trust(&["root"])).unwrap().time;
    assert_eq!(time.to_string(), "2024-07-31T12:00:00.123456789Z");
    assert_eq!(time.as_millis(), 1_722_427_200_123);
}

#[test]
fn numbers_may_be_negative_or_long() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let stamp = info(common::NOW, &[&[0x02, 0x01, 0x80]]);
    let at = stamp.windows(3).position(|part| part == [0x02, 0x01, 0x2a]).unwrap();
    let serial = |serial: &[u8]| {
        let content = [&stamp[2..at], &common::tlv(0x02, &[serial]), &stamp[at + 3..]].concat();
        check(&pki.cms("tsa", &common::tlv(0x30, &[&content]), AS_TOKEN), &pki.trust(&["root"]))
    };
    for number in [&[0xf0][..], &[0], &[0x7f; 20], &[0x80; 64]] {
        assert_eq!(serial(number).unwrap().serial, number);
    }
    for number in [&[][..], &[0, 1], &[0xff, 0x80]] {
        assert!(matches!(serial(number), Err(VerifyError::Der(_))), "{number:x?}");
    }
}

#[test]
fn certificates_in_pem_however_it_is_laid_out() {
    let pki = Pki::new();
    let pem = String::from_utf8(pki.read("root.pem")).unwrap();
    let root = [pki.load("root")];
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let one_line = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----");
    for text in [one_line, pem.replace('\n', "\r\n"), format!("subject=CN = root\n\n{pem}\ntext")] {
        assert_eq!(Certificate::from_pem(&text).unwrap(), root);
    }
    let latin1 = [b"# Autorit\xe9\n", pem.as_bytes(), pem.as_bytes()].concat();
    assert_eq!(Certificate::from_pem(latin1).unwrap(), [root.clone(), root].concat());
    assert_eq!(Certificate::from_pem("").unwrap(), []);
    assert!(Certificate::from_pem(&pem[..pem.len() - 30]).is_err());
}

#[test]
fn unsigned_parts_are_counted() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    pki.certificate("else", GOOD);
    pki.bundle(&["root", "else"]);
    let token = pki.token("tsa", "", true);
    let unchecked = check(&token.der, &pki.trust(&["root"])).unwrap().unchecked;
    assert_eq!(unchecked, Unchecked { certificates: 1, ..Unchecked::default() });
}

#[test]
fn a_time_is_valid_to_the_last_second_of_a_certificate() {
    let pki = Pki::new();
    pki.certificate("tsa", Spec { from: "20240101000000Z", until: "20240201000000Z", ..GOOD });
    let at = |time: &str| {
        let token = pki.cms("tsa", &info(time, &[]), AS_TOKEN);
        check(&token, &pki.trust(&["root"])).map(|verified| verified.time)
    };
    at("20240101000000Z").unwrap();
    at("20240201000000.5Z").unwrap();
    let of = secure_log_time::Role::Certificate("CN=tsa".to_owned());
    let until = Time::from_secs(1_706_745_600);
    assert_eq!(at("20240201000001Z"), Err(VerifyError::Expired { of: of.clone(), until }));
    let from = Time::from_secs(1_704_067_200);
    assert_eq!(at("20231231235959.9Z"), Err(VerifyError::NotYetValid { of, from }));
}

/// What `tests/fixtures/make.sh` made with openssl.
#[test]
fn the_committed_token() {
    let read = |name: &str| std::fs::read(format!("tests/fixtures/{name}")).unwrap();
    let request = Request::from_der(&read("request.tsq")).unwrap();
    assert_eq!(request.imprint, Imprint::of(Hash::Sha256, MESSAGE));
    assert_eq!((request.nonce.is_some(), request.policy, request.cert_req), (true, None, true));
    let token = accept(&request, 200, None, &read("response.tsr")).unwrap();
    let root = Certificate::from_pem(read("root.pem")).unwrap();
    let trust = Trust { anchors: root, ..Trust::default() };
    // Wherever the clock of this machine stands.
    let verified = verify(&token.der, Stamped::Message(MESSAGE), &trust, &Options::default()).unwrap();
    assert_eq!(verified.time, token.info.time);
    assert_eq!(verified.accuracy, Some(Duration::from_secs(1)));
}
