//! Lists of revoked certificates.
#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use common::{AS_TOKEN, AUTHORITY, GOOD, MESSAGE, NOW, Pki, Spec, certificate, info, is_recent, refusal};
use secure_log_time::{ObjectIdentifier, Options, RevocationList, Role, Stamped, Trust, VerifyError, verify};

/// After every revocation of a test.
const LATER: &str = "20980731120000Z";

impl Pki {
    fn revoke(&self, name: &str, by: &str, reason: Option<&str>) {
        let (file, key, issuer) = (format!("{name}.pem"), format!("{by}.key"), format!("{by}.pem"));
        let mut arguments =
            vec!["ca", "-config", "ca.cnf", "-revoke", &file, "-keyfile", &key, "-cert", &issuer];
        if let Some(reason) = reason {
            arguments.extend(["-crl_reason", reason]);
        }
        self.openssl(&arguments);
    }

    fn list(&self, by: &str, extensions: &[&str]) -> RevocationList {
        let (key, issuer) = (format!("{by}.key"), format!("{by}.pem"));
        let arguments =
            ["ca", "-config", "ca.cnf", "-gencrl", "-crldays", "30", "-keyfile", &key, "-cert", &issuer];
        self.openssl(&[&arguments[..], &["-out", "crl.pem"], extensions].concat());
        RevocationList::from_pem(self.read("crl.pem")).unwrap().remove(0)
    }
}

/// What is said of tokens from before and after the revocation.
fn revoked(reason: Option<&str>) -> [Result<(), String>; 2] {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    pki.revoke("tsa", "root", reason);
    let trust = Trust { revocation_lists: vec![pki.list("root", &[])], ..pki.trust(&["root"]) };
    [NOW, LATER].map(|time| {
        let token = pki.cms("tsa", &info(time, &[]), AS_TOKEN);
        verify(&token, Stamped::Message(MESSAGE), &trust, &Options::default()).map(|_| ()).map_err(
            |e| match e {
                VerifyError::Revoked { of, at, reason } if of == certificate("tsa") && is_recent(at) => {
                    reason.to_owned()
                }
                other => panic!("{other}"),
            },
        )
    })
}

#[test]
fn tokens_fall_with_a_certificate_as_rfc_3161_says() {
    for reason in ["keyCompromise", "CACompromise", "certificateHold"] {
        let found = revoked(Some(reason)).map(|result| result.map_err(|e| e.to_lowercase()));
        assert_eq!(found, [Err(reason.to_lowercase()), Err(reason.to_lowercase())]);
    }
    for reason in ["unspecified", "affiliationChanged", "superseded", "cessationOfOperation"] {
        assert_eq!(revoked(Some(reason)), [Ok(()), Err(reason.to_owned())]);
    }
    let silent = Err("for a reason that is not stated".to_owned());
    assert_eq!(revoked(None), [silent.clone(), silent]);
}

#[test]
fn what_is_covered_is_said() {
    let pki = Pki::new();
    let extensions = &format!("{AUTHORITY},cRLSign\n").replace("keyCertSign\n", "keyCertSign");
    pki.certificate("mid", Spec { extensions, ..GOOD });
    pki.certificate("tsa", Spec { issuer: Some("mid"), ..GOOD });
    let token = pki.cms("tsa", &info(NOW, &[]), &[AS_TOKEN, &["-certfile", "mid.pem"]].concat());
    let covered = |lists: &[&RevocationList]| {
        let revocation_lists = lists.iter().map(|list| (*list).clone()).collect();
        let trust = Trust { revocation_lists, ..pki.trust(&["root"]) };
        verify(&token, Stamped::Message(MESSAGE), &trust, &Options::default()).map(|v| v.not_revoked)
    };
    let (of_root, of_mid) = (pki.list("root", &[]), pki.list("mid", &[]));
    assert!(is_recent(of_mid.this_update()));
    assert_eq!((of_root.issuer(), of_mid.issuer()), ("CN=root", "CN=mid"));
    assert_eq!(covered(&[]), Ok(vec![None, None]));
    assert_eq!(covered(&[&of_mid]), Ok(vec![Some(of_mid.this_update()), None]));
    assert_eq!(
        covered(&[&of_root, &of_mid]),
        Ok(vec![Some(of_mid.this_update()), Some(of_root.this_update())])
    );
    // The list of another authority says nothing; the one of a revoked issuer comes too late.
    let other = Pki::new();
    other.named("ca", "else", Spec { issuer: None, extensions: common::ROOT, ..GOOD });
    assert_eq!(covered(&[&other.list("ca", &[])]), Ok(vec![None, None]));
    pki.revoke("mid", "root", Some("CACompromise"));
    match covered(&[&of_mid, &pki.list("root", &[])]) {
        Err(VerifyError::Revoked { of, reason, .. }) => {
            assert_eq!((of, reason), (certificate("mid"), "cACompromise"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_that_cannot_be_relied_on() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.certificate("tsa", GOOD);
    let token = pki.cms("tsa", &info(NOW, &[]), AS_TOKEN);
    let with = |list| refusal(&token, &Trust { revocation_lists: vec![list], ..pki.trust(&["root"]) });
    let of = Role::RevocationList("CN=root".to_owned());
    assert_eq!(with(other.list("root", &[])), VerifyError::BadSignature { of: of.clone() });
    // A list of some of the certificates only.
    let config = "[ext]\nissuingDistributionPoint=critical,@idp\n[idp]\nonlyCA=TRUE\n";
    pki.write("ca.cnf", &[pki.read("ca.cnf").as_slice(), config.as_bytes()].concat());
    let oid = ObjectIdentifier::new_unwrap("2.5.29.28");
    assert_eq!(with(pki.list("root", &["-crlexts", "ext"])), VerifyError::CriticalExtension { of, oid });

    let mid = Pki::new();
    mid.certificate("mid", Spec { extensions: AUTHORITY, ..GOOD });
    mid.certificate("tsa", Spec { issuer: Some("mid"), ..GOOD });
    let token = mid.cms("tsa", &info(NOW, &[]), &[AS_TOKEN, &["-certfile", "mid.pem"]].concat());
    let trust = Trust { revocation_lists: vec![mid.list("mid", &[])], ..mid.trust(&["root"]) };
    let why = "its key usage is not for signing revocation lists";
    assert_eq!(refusal(&token, &trust), VerifyError::WrongPurpose { of: certificate("mid"), why });
}

#[test]
fn altered_lists() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    pki.revoke("tsa", "root", Some("superseded"));
    pki.list("root", &[]);
    pki.openssl(&["crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.der"]);
    let der = pki.read("crl.der");
    let token = pki.cms("tsa", &info(NOW, &[]), AS_TOKEN);
    let trust = pki.trust(&["root"]);
    let covered = |der: &[u8]| {
        let Ok(list) = RevocationList::from_der(der) else {
            return false;
        };
        let trust = Trust { revocation_lists: vec![list], ..trust.clone() };
        let verified = verify(&token, Stamped::Message(MESSAGE), &trust, &Options::default());
        verified.is_ok_and(|verified| verified.not_revoked != [None])
    };
    assert!(covered(&der));
    for at in 0..der.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut altered = der.clone();
            altered[at] ^= flip;
            assert!(!covered(&altered), "byte {at} ^ {flip}");
        }
        assert!(RevocationList::from_der(&der[..at]).is_err(), "{at} bytes");
    }
    assert!(RevocationList::from_der(&[&der[..], &[0]].concat()).is_err());
}
