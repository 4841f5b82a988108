//! Time stamps by authorities that openssl makes.

use secure_log::SecureLog;
use secure_log::error::Error;
use secure_log::model::{TimeSubject, TimeTrust};
use secure_log::store::{ObjectKind, SecureLogStore};

use crate::pki::{GOOD, POLICY, Pki, Spec};
use crate::{grow, open};

fn trust(pki: &Pki) -> TimeTrust {
    TimeTrust { anchors: vec![pki.load("root").der().to_vec()], ..TimeTrust::default() }
}

fn entry(seqno: u64) -> TimeSubject {
    TimeSubject::Entry { stream_id: "doors".into(), seqno }
}

fn denied<T: std::fmt::Debug>(outcome: Result<T, Error>, says: &str) {
    match outcome {
        Err(Error::Denied(text)) => assert!(text.contains(says), "{text:?} says nothing of {says:?}"),
        other => panic!("denied was expected ({says}), not {other:?}"),
    }
}

#[test]
fn checkpoints_and_entries_are_stamped_and_verified_offline() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    let mut log = open(":memory:");
    let checkpoint = grow(&mut log, 3);
    for subject in [TimeSubject::Checkpoint(1), entry(2)] {
        let request = log.time_request(&subject, None).unwrap();
        let reply = pki.reply("tsa", &request, "", false);
        let stamp = log.accept_time(&subject, &request, &reply, &trust(&pki)).unwrap();
        assert!(stamp.time_ms > 1_700_000_000_000 && stamp.authority.contains("tsa"), "{stamp:?}");
        assert_eq!((stamp.policy.as_str(), stamp.imprint.as_str()), (POLICY, "sha256"));
        assert!(stamp.unchecked.iter().any(|what| what.contains("revoked")));
        let tokens = log.time_tokens(&subject).unwrap();
        assert_eq!(tokens.len(), 1);
        assert_eq!(log.verify_time(&subject, &tokens[0], &trust(&pki)).unwrap(), stamp);
        // Once more: another token, beside the first.
        let request = log.time_request(&subject, Some(POLICY)).unwrap();
        let reply = pki.reply("tsa", &request, "", false);
        log.accept_time(&subject, &request, &reply, &trust(&pki)).unwrap();
        assert_eq!(log.time_tokens(&subject).unwrap().len(), 2);
    }
    // What is stamped is what is handed out, byte for byte: openssl agrees.
    let token = &log.time_tokens(&TimeSubject::Checkpoint(1)).unwrap()[0];
    pki.write("note", checkpoint.note.as_bytes());
    pki.write("token", token);
    let [note, token, root] = ["note", "token", "root.pem"].map(|name| pki.path(name).display().to_string());
    pki.openssl(&["ts", "-verify", "-token_in", "-in", &token, "-data", &note, "-CAfile", &root]);
}

#[test]
fn tokens_that_prove_nothing_are_refused_by_name_and_not_kept() {
    let pki = Pki::new();
    pki.certificate("tsa", GOOD);
    pki.certificate("old", Spec { until: "20210101000000Z", ..GOOD });
    let other = Pki::new();
    other.certificate("tsa", GOOD);
    let mut log = open(":memory:");
    grow(&mut log, 3);
    let subject = TimeSubject::Checkpoint(1);
    let request = log.time_request(&subject, None).unwrap();
    let about_entry = log.time_request(&entry(1), None).unwrap();
    let again = log.time_request(&subject, None).unwrap();
    let reply = |authority: &str, request: &[u8]| pki.reply(authority, request, "", false);
    denied(log.accept_time(&subject, &request, &reply("tsa", &about_entry), &trust(&pki)), "something else");
    denied(log.accept_time(&subject, &request, &reply("tsa", &again), &trust(&pki)), "nonce");
    denied(log.accept_time(&subject, &request, &reply("old", &request), &trust(&pki)), "expired");
    denied(log.accept_time(&subject, &request, &reply("tsa", &request), &trust(&other)), "");
    denied(log.accept_time(&subject, &request, &other.reply("tsa", &request, "", false), &trust(&pki)), "");
    denied(log.accept_time(&subject, &request, b"no response", &trust(&pki)), "response");
    let wrong = log.accept_time(&subject, &about_entry, &reply("tsa", &about_entry), &trust(&pki));
    assert!(matches!(wrong, Err(Error::Invalid(i)) if i.field == "request"));
    let nobody = log.accept_time(&subject, &request, &reply("tsa", &request), &TimeTrust::default());
    assert!(matches!(nobody, Err(Error::Invalid(i)) if i.field == "trust.anchors"));
    assert!(log.store_mut().list_objects(ObjectKind::Receipt, "", None, 10).unwrap().is_empty());
    assert!(
        matches!(log.time_request(&subject, Some("no oid")), Err(Error::Invalid(i)) if i.field == "policy")
    );
    assert!(matches!(log.time_request(&entry(9), None), Err(Error::NotFound(_))));
    // A token for one thing does not do for another.
    log.accept_time(&subject, &request, &reply("tsa", &request), &trust(&pki)).unwrap();
    let token = log.time_tokens(&subject).unwrap().remove(0);
    denied(log.verify_time(&entry(1), &token, &trust(&pki)), "");
}
