//! Each refusal of a certificate, by its name.
#![cfg(not(target_family = "wasm"))]

mod common;

use common::{
    AS_TOKEN, AUTHORITY, GOOD, MESSAGE, NOW, Pki, ROOT, STAMPS, Spec, certificate, info, of_authority,
    of_issuer, refusal,
};
use secure_log_time::{ObjectIdentifier, Options, Stamped, Time, Trust, VerifyError, verify};

#[test]
fn certificates_out_of_their_time() {
    let (from, until) = (Time::from_secs(1_704_067_200), Time::from_secs(1_706_745_600));
    let past = Spec { from: "20240101000000Z", until: "20240201000000Z", ..GOOD };
    assert_eq!(of_authority(past), VerifyError::Expired { of: certificate("tsa"), until });
    assert_eq!(
        of_issuer(Spec { extensions: AUTHORITY, ..past }),
        VerifyError::Expired { of: certificate("mid"), until }
    );
    let early = Spec { from: "20240101000000Z", ..GOOD };
    let pki = Pki::new();
    pki.certificate("tsa", early);
    let token = pki.cms("tsa", &info("20231231000000Z", &[]), AS_TOKEN);
    assert_eq!(
        refusal(&token, &pki.trust(&["root"])),
        VerifyError::NotYetValid { of: certificate("tsa"), from }
    );
    pki.certificate("old", Spec { issuer: None, extensions: ROOT, ..past });
    pki.certificate("tsa", Spec { issuer: Some("old"), ..GOOD });
    let token = pki.cms("tsa", &info(NOW, &[]), AS_TOKEN);
    assert_eq!(refusal(&token, &pki.trust(&["old"])), VerifyError::Expired { of: certificate("old"), until });
}

#[test]
fn certificates_of_another_purpose() {
    let authority = |extensions: &str| match of_authority(Spec { extensions, ..GOOD }) {
        VerifyError::WrongPurpose { of, why } if of == certificate("tsa") => why,
        other => panic!("{extensions}: {other}"),
    };
    assert!(authority("keyUsage=digitalSignature").starts_with("no extended key usage"));
    let alone = "its extended key usage is not timeStamping alone";
    assert_eq!(authority("extendedKeyUsage=critical,codeSigning"), alone);
    assert_eq!(authority("extendedKeyUsage=critical,timeStamping,codeSigning"), alone);
    assert_eq!(authority("extendedKeyUsage=critical,anyExtendedKeyUsage"), alone);
    assert_eq!(authority("extendedKeyUsage=timeStamping"), "its extended key usage is not critical");
    for usage in ["keyEncipherment", "digitalSignature,keyCertSign"] {
        let why = authority(&format!("extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,{usage}"));
        assert_eq!(why, "its key usage is not digitalSignature or nonRepudiation alone");
    }

    let issuer = |extensions: &str| match of_issuer(Spec { extensions, ..GOOD }) {
        VerifyError::WrongPurpose { of, why } if of == certificate("mid") => why,
        other => panic!("{extensions}: {other}"),
    };
    let no_authority = "its basic constraints do not make it an authority";
    assert_eq!(issuer(STAMPS), no_authority);
    assert_eq!(issuer("keyUsage=keyCertSign"), no_authority);
    assert_eq!(
        issuer("basicConstraints=critical,CA:true\nkeyUsage=cRLSign"),
        "its key usage is not for signing certificates"
    );
    assert_eq!(
        issuer("basicConstraints=critical,CA:true\nextendedKeyUsage=serverAuth"),
        "its extended key usage excludes timeStamping"
    );
}

#[test]
fn a_path_longer_than_allowed() {
    let pki = Pki::new();
    pki.certificate("mid", Spec { extensions: AUTHORITY, ..GOOD });
    pki.certificate("low", Spec { issuer: Some("mid"), extensions: AUTHORITY, ..GOOD });
    pki.certificate("tsa", Spec { issuer: Some("low"), ..GOOD });
    pki.bundle(&["mid", "low"]);
    let token = pki.cms("tsa", &info(NOW, &[]), &[AS_TOKEN, &["-certfile", "chain.pem"]].concat());
    let why = "more authorities below it than its basic constraints allow";
    assert_eq!(
        refusal(&token, &pki.trust(&["root"])),
        VerifyError::WrongPurpose { of: certificate("mid"), why }
    );
}

#[test]
fn another_authority() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.certificate("tsa", GOOD);
    pki.named("fake", "evil", Spec { issuer: None, extensions: ROOT, ..GOOD });
    pki.certificate("theirs", Spec { issuer: Some("fake"), ..GOOD });
    // With and without its root in the token.
    for options in [AS_TOKEN.to_vec(), [AS_TOKEN, &["-certfile", "fake.pem"]].concat()] {
        let token = pki.cms("theirs", &info(NOW, &[]), &options);
        let error = refusal(&token, &pki.trust(&["root"]));
        assert_eq!(error, VerifyError::NotAnchored { authority: "CN=theirs".to_owned() });
        assert!(error.to_string().starts_with("another authority's token: "), "{error}");
        assert!(
            verify(&token, Stamped::Message(MESSAGE), &pki.trust(&["fake"]), &Options::default()).is_ok()
        );
    }
    // A root of the same name with another key.
    let token = pki.cms("tsa", &info(NOW, &[]), AS_TOKEN);
    assert_eq!(
        refusal(&token, &other.trust(&["root"])),
        VerifyError::BadSignature { of: certificate("tsa") }
    );
    assert_eq!(
        refusal(&token, &Trust::default()),
        VerifyError::NotAnchored { authority: "CN=tsa".to_owned() }
    );
}

#[test]
fn a_certificate_with_a_critical_extension_that_is_not_known() {
    let unknown = "1.2.3.4=critical,DER:0500\n";
    let oid = ObjectIdentifier::new_unwrap("1.2.3.4");
    let of = certificate("tsa");
    let extensions = &format!("{STAMPS}{unknown}");
    assert_eq!(of_authority(Spec { extensions, ..GOOD }), VerifyError::CriticalExtension { of, oid });
    let extensions = &format!("{AUTHORITY}nameConstraints=critical,permitted;DNS:example.com\n");
    let oid = ObjectIdentifier::new_unwrap("2.5.29.30");
    let of = certificate("mid");
    assert_eq!(of_issuer(Spec { extensions, ..GOOD }), VerifyError::CriticalExtension { of, oid });
}

#[test]
fn a_certificate_of_the_same_name_number_and_key() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    for (file, days) in [("tsa.pem", "3000"), ("twin.pem", "3001")] {
        let rest =
            ["-CAkey", "root.key", "-set_serial", "7", "-extfile", "tsa.ext", "-days", days, "-out", file];
        pki.openssl(&[&["x509", "-req", "-in", "tsa.csr", "-CA", "root.pem"], &rest[..]].concat());
    }
    let time = common::now().to_string().replace(['-', ':', 'T'], "");
    let time = format!("{}Z", time.split(['.', 'Z']).next().unwrap());
    let token = pki.cms("tsa", &info(&time, &[]), &[AS_TOKEN, &["-nocerts"]].concat());
    let mut trust = pki.trust(&["root"]);
    trust.intermediates.push(pki.load("twin"));
    assert_eq!(refusal(&token, &trust), VerifyError::CertificateBinding);
    trust.intermediates.push(pki.load("tsa"));
    assert!(verify(&token, Stamped::Message(MESSAGE), &trust, &Options::default()).is_ok());
}

#[test]
fn a_crowd_of_namesakes() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let token = pki.cms("tsa", &info(NOW, &[]), AS_TOKEN);
    let mut trust = Trust::default();
    let other = Pki::new();
    for _ in 0..65 {
        let sign = &["-config", "ca.cnf", "-batch", "-notext", "-in", "root.csr", "-out", "twin.pem"];
        let rest = ["-selfsign", "-keyfile", "root.key", "-extfile", "root.ext", "-days", "1000"];
        other.openssl(&[&["ca"], &sign[..], &rest].concat());
        trust.intermediates.push(other.load("twin"));
    }
    assert_eq!(refusal(&token, &trust), VerifyError::TooManyCertificates);
}
