//! Each refusal, by its name.
#![cfg(not(target_family = "wasm"))]

mod common;

use common::{
    AS_TOKEN, AUTHORITY, GOOD, MESSAGE, NOW, Pki, Spec, certificate, info, of_authority, refusal, tlv,
};
use secure_log_time::{
    DerError, Hash, Imprint, ObjectIdentifier, Options, Role, Stamped, Time, VerifyError, verify,
};

#[test]
fn another_message() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let token = pki.token("tsa", "", false).der;
    let trust = pki.trust(&["root"]);
    let found = Imprint::of(Hash::Sha256, MESSAGE);
    for expected in [Imprint::of(Hash::Sha256, b"another"), Imprint::of(Hash::Sha512, MESSAGE)] {
        let error = verify(&token, Stamped::Imprint(&expected), &trust, &Options::default()).unwrap_err();
        assert_eq!(error, VerifyError::WrongImprint { expected, found: found.clone() });
        assert!(error.to_string().starts_with("the token stamps something else: sha256:"), "{error}");
    }
}

#[test]
fn altered_bytes() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let trust = pki.trust(&["root"]);
    let token = pki.cms("tsa", &info(NOW, &[]), AS_TOKEN);
    let altered = |find: &[u8], at: usize| {
        let mut altered = token.clone();
        let start = altered.windows(find.len()).position(|part| part == find).unwrap();
        altered[start + at] ^= 1;
        refusal(&altered, &trust)
    };
    assert_eq!(altered(NOW.as_bytes(), 3), VerifyError::AlteredInfo);
    assert_eq!(altered(&Hash::Sha256.digest(MESSAGE), 0), VerifyError::AlteredInfo);
    let content = Hash::Sha256.digest(&info(NOW, &[]));
    assert_eq!(altered(&content, 0), VerifyError::AlteredInfo);
    let certificate = pki.load("tsa");
    assert_eq!(altered(&Hash::Sha256.digest(certificate.der()), 0), VerifyError::CertificateBinding);
    let mut last = token.clone();
    *last.last_mut().unwrap() ^= 1;
    assert_eq!(refusal(&last, &trust), VerifyError::BadSignature { of: Role::Token });
    let longer = [token.as_slice(), &[0]].concat();
    assert_eq!(
        refusal(&longer, &trust),
        VerifyError::Der(DerError::TrailingBytes { what: "TimeStampToken" })
    );
    assert!(matches!(
        refusal(&token[..token.len() - 1], &trust),
        VerifyError::Der(DerError::Malformed { .. })
    ));
    let huge = vec![0; secure_log_time::MAX_TOKEN + 1];
    assert_eq!(refusal(&huge, &trust), VerifyError::TooLarge { size: huge.len() });
}

#[test]
fn algorithms_that_are_not_accepted() {
    let unsupported =
        |of, oid| VerifyError::UnsupportedAlgorithm { of, oid: ObjectIdentifier::new_unwrap(oid) };
    let sha1 = "1.3.14.3.2.26";
    let pki = Pki::new();
    pki.certificate("tsa", Spec { key: common::RSA, ..GOOD });
    let trust = pki.trust(&["root"]);
    let cms = |content: &[u8], options: &[&str]| pki.cms("tsa", content, &[AS_TOKEN, options].concat());
    assert_eq!(refusal(&cms(&info(NOW, &[]), &["-md", "sha1"]), &trust), unsupported(Role::Token, sha1));
    let hash: Vec<u8> = Hash::Sha256.digest(MESSAGE)[..20].to_vec();
    let imprint =
        tlv(0x30, &[&tlv(0x30, &[&[0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a]]), &tlv(0x04, &[&hash])]);
    let time = tlv(0x18, &[NOW.as_bytes()]);
    let stamp = tlv(0x30, &[&[2, 1, 1], &[6, 1, 0x2a], &imprint, &[2, 1, 1], &time]);
    assert_eq!(refusal(&cms(&stamp, &[]), &trust), unsupported(Role::Token, sha1));

    let p521 = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
    assert_eq!(of_authority(Spec { key: p521, ..GOOD }), unsupported(Role::Token, "1.3.132.0.35"));
    let short = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
    match of_authority(Spec { key: short, ..GOOD }) {
        VerifyError::BadKey { of, why } => assert_eq!((of, why.contains("1024")), (certificate("tsa"), true)),
        other => panic!("{other}"),
    }
    // A certificate that is signed with SHA-1.
    let old = Spec { key: common::RSA, extensions: AUTHORITY, ..GOOD };
    pki.certificate("mid", old);
    pki.certificate("tsa", Spec { issuer: Some("mid"), sign: &["-md", "sha1"], ..GOOD });
    let token = pki.cms("tsa", &info(NOW, &[]), &[AS_TOKEN, &["-certfile", "mid.pem"]].concat());
    assert_eq!(refusal(&token, &trust), unsupported(certificate("tsa"), "1.2.840.113549.1.1.5"));
}

#[test]
fn what_is_no_token() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    pki.certificate("second", GOOD);
    let trust = pki.trust(&["root"]);
    let stamp = info(NOW, &[]);
    let cms = |content: &[u8], options: &[&str]| refusal(&pki.cms("tsa", content, options), &trust);
    let kind = ["-econtent_type", "1.2.840.113549.1.9.16.1.4"];
    // As ordinary data; without signed attributes; without a binding to the certificate; of two signers.
    let data = cms(&stamp, &["-cades"]);
    assert!(matches!(data, VerifyError::Der(_) | VerifyError::NotATimeStamp { .. }), "{data}");
    assert!(matches!(
        cms(&stamp, &["-cades", "-econtent_type", "1.2.3"]),
        VerifyError::NotATimeStamp { found } if found == "1.2.3"
    ));
    let missing = |attribute| VerifyError::AttributeMissing { attribute };
    assert_eq!(cms(&stamp, &[&kind[..], &["-noattr"]].concat()), missing("signedAttrs"));
    assert_eq!(cms(&stamp, &kind), missing("signingCertificate"));
    assert_eq!(
        cms(&stamp, &[AS_TOKEN, &["-signer", "second.pem", "-inkey", "second.key"]].concat()),
        VerifyError::Signers { found: 2 }
    );
    assert!(matches!(cms(b"not DER", AS_TOKEN), VerifyError::Der(DerError::Malformed { .. })));
    assert!(matches!(refusal(b"", &trust), VerifyError::Der(DerError::Malformed { .. })));
    let trailing = [&stamp[..], &[5, 0]].concat();
    assert_eq!(cms(&trailing, AS_TOKEN), VerifyError::Der(DerError::TrailingBytes { what: "TSTInfo" }));
    assert_eq!(cms(&stamp, &[AS_TOKEN, &["-nocerts"]].concat()), VerifyError::SignerCertificateMissing);
}

#[test]
fn what_a_token_must_not_say() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let trust = pki.trust(&["root"]);
    let with = |further: &[&[u8]]| refusal(&pki.cms("tsa", &info(NOW, further), AS_TOKEN), &trust);
    let extension = |critical: &[u8]| tlv(0xa1, &[&tlv(0x30, &[&[6, 2, 0x2a, 3], critical, &[4, 0]])]);
    assert_eq!(
        with(&[&extension(&[1, 1, 0xff])]),
        VerifyError::CriticalExtension { of: Role::Token, oid: ObjectIdentifier::new_unwrap("1.2.3") }
    );
    let harmless = pki.cms("tsa", &info(NOW, &[&extension(&[])]), AS_TOKEN);
    assert!(verify(&harmless, Stamped::Message(MESSAGE), &trust, &Options::default()).is_ok());

    let name = |name: &[u8]| {
        let part = tlv(0x31, &[&tlv(0x30, &[&[6, 3, 0x55, 4, 3], &tlv(0x0c, &[name])])]);
        tlv(0xa0, &[&tlv(0xa4, &[&tlv(0x30, &[&part])])])
    };
    assert_eq!(with(&[&name(b"somebody")]), VerifyError::AuthorityName);
    let own = pki.cms("tsa", &info(NOW, &[&name(b"tsa")]), AS_TOKEN);
    assert!(verify(&own, Stamped::Message(MESSAGE), &trust, &Options::default()).is_ok());
    for accuracy in
        [&[0x80, 1, 0][..], &[0x80, 2, 0x03, 0xe8], &[0x81, 1, 0x80], &[0x82, 1, 1], &[2, 1, 0xff]]
    {
        let error = with(&[&tlv(0x30, &[accuracy])]);
        assert!(matches!(error, VerifyError::Der(_)), "{accuracy:x?}: {error}");
    }
}

#[test]
fn what_the_options_refuse() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let trust = pki.trust(&["root"]);
    let accuracy = tlv(0x30, &[&[2, 1, 1]]);
    let token = pki.cms("tsa", &info(NOW, &[&accuracy]), AS_TOKEN);
    let with = |options: Options| verify(&token, Stamped::Message(MESSAGE), &trust, &options).map(|v| v.time);
    let [own, other] = ["1.2.3.4", "1.2.3.5"].map(ObjectIdentifier::new_unwrap);
    let policies = |policies: &[_]| Options { policies: policies.to_vec(), now: None };
    assert_eq!(with(policies(&[other])), Err(VerifyError::WrongPolicy { found: own }));
    let time = with(policies(&[other, own])).unwrap();
    let at = |millis: u64| Options {
        now: Some(Time::from_millis(time.as_millis() - millis)),
        policies: Vec::new(),
    };
    assert_eq!(with(at(1_000)), Ok(time));
    let now = at(1_001).now.unwrap();
    assert_eq!(with(at(1_001)), Err(VerifyError::InTheFuture { time, now }));
}
