//! What an authority answers, and what of it is accepted.
#![cfg(not(target_family = "wasm"))]

mod common;

use common::{GOOD, MESSAGE, OTHER_POLICY, POLICY, Pki, request, tlv};
use secure_log_time::{
    AcceptError, DerError, Failure, Hash, Imprint, ObjectIdentifier, Request, Status, VerifyError, accept,
};

#[test]
fn refusals_of_openssl_by_name() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let refused = |body: &[u8], options: &str| {
        let reply = pki.reply("tsa", body, options, false);
        match accept(&request(), 200, None, &reply).unwrap_err() {
            AcceptError::Refused { status: Status::Rejection, failures, text } => (failures, text),
            other => panic!("{other}"),
        }
    };
    let policy = Some(ObjectIdentifier::new_unwrap("1.2.3.4.5"));
    let (failures, text) = refused(&Request { policy, ..request() }.to_der(), "");
    assert_eq!(failures, [Failure::UnacceptedPolicy]);
    assert!(text.contains("policy"), "{text}");
    assert_eq!(refused(&request().to_der(), "digests=sha512").0, [Failure::BadAlg]);
    assert_eq!(refused(b"\x30\x00", "").0, [Failure::BadDataFormat]);
}

#[test]
fn what_is_no_answer_to_the_request() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let asked = request();
    let reply = pki.reply("tsa", &asked.to_der(), "", false);
    let token = accept(&asked, 200, Some("Application/Timestamp-Reply; charset=binary"), &reply).unwrap();
    assert_eq!(token.info.policy.to_string(), POLICY);

    let other = |request: Request| accept(&request, 200, None, &reply).unwrap_err();
    let imprint = Imprint::of(Hash::Sha256, b"another");
    assert_eq!(other(Request { imprint, ..asked.clone() }), AcceptError::WrongImprint);
    let imprint = Imprint::of(Hash::Sha512, MESSAGE);
    assert_eq!(other(Request { imprint, ..asked.clone() }), AcceptError::WrongImprint);
    for nonce in [None, Some(0), Some(1)] {
        assert_eq!(other(Request { nonce, ..asked.clone() }), AcceptError::WrongNonce);
    }
    let policy = Some(ObjectIdentifier::new_unwrap(OTHER_POLICY));
    let found = ObjectIdentifier::new_unwrap(POLICY);
    assert_eq!(other(Request { policy, ..asked.clone() }), AcceptError::WrongPolicy { found });
    let bare = pki.reply("tsa", &Request { cert_req: false, ..asked.clone() }.to_der(), "", false);
    assert_eq!(accept(&asked, 200, None, &bare), Err(AcceptError::CertificateMissing));

    assert_eq!(accept(&asked, 503, None, &reply), Err(AcceptError::Http { status: 503 }));
    let html = accept(&asked, 200, Some("text/html"), b"<html>").unwrap_err();
    assert_eq!(html, AcceptError::ContentType { found: "text/html".to_owned() });
    let longer = [reply.as_slice(), &[0]].concat();
    let trailing = AcceptError::Der(DerError::TrailingBytes { what: "TimeStampResp" });
    assert_eq!(accept(&asked, 200, None, &longer), Err(trailing));
    for end in 0..reply.len() {
        assert!(matches!(accept(&asked, 200, None, &reply[..end]), Err(AcceptError::Der(_))), "{end}");
    }
}

#[test]
fn answers_without_a_token() {
    let answer = |parts: &[&[u8]]| accept(&request(), 200, None, &tlv(0x30, parts)).unwrap_err();
    let status = |number: u8, further: &[u8]| tlv(0x30, &[&[2, 1, number], further]);
    assert_eq!(answer(&[&status(0, &[])]), AcceptError::TokenMissing);
    for (number, status_of) in [
        (2, Status::Rejection),
        (3, Status::Waiting),
        (4, Status::RevocationWarning),
        (5, Status::RevocationNotification),
    ] {
        match answer(&[&status(number, &[])]) {
            AcceptError::Refused { status, failures, text } => {
                assert_eq!((status, failures, text), (status_of, vec![], String::new()));
            }
            other => panic!("{other}"),
        }
    }
    assert!(matches!(answer(&[&status(6, &[])]), AcceptError::Der(_)));
    let text = tlv(0x30, &[&tlv(0x0c, &[b"no\x1b[31m time"]), &tlv(0x0c, &[b"now"])]);
    let failures = [3, 5, 6, 0b1010_0100, 0b0100_0011, 0b1100_0000, 0b0100_0000];
    let error = answer(&[&status(2, &[text, failures.to_vec()].concat())]);
    assert_eq!(
        error.to_string(),
        "the time-stamp authority answered rejection, badAlg, badRequest, badDataFormat, failure 9, \
         timeNotAvailable, unacceptedPolicy, unacceptedExtension, addInfoNotAvailable, systemFailure: \
         no[31m time now"
    );
    let sequence = tlv(0x30, &[&[2, 1, 1]]);
    assert!(matches!(answer(&[&status(1, &[]), &sequence]), AcceptError::Token(VerifyError::Der(_))));
}
