//! The log's side of the witness protocol: requests, and what answers come to.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod parties;

use parties::{TestLog, cosign, cosigner, seed};
use proptest::prelude::*;
use secure_log::Error;
use secure_log::cosignature::Cosignature;
use secure_log::note::Note;
use secure_log::witness::{AddCheckpoint, Answer, MAX_PROOF, MAX_REQUEST, Refusal, WatchedLog, Witness};

fn log(size: u64) -> TestLog {
    let mut log = TestLog::new("example.com/log", 1);
    log.grow(size);
    log
}

fn prepared(from: u64, to: u64) -> AddCheckpoint {
    let log = log(to);
    AddCheckpoint::prepare(from, &log.proof_from(from), &log.checkpoint()).unwrap()
}

#[test]
fn the_body_is_the_specification_s() {
    let body = prepared(0, 3).to_body();
    assert_eq!(body, format!("old 0\n\n{}", log(3).checkpoint()));
    let body = prepared(2, 3).to_body();
    let lines: Vec<_> = body.lines().collect();
    assert_eq!((lines[0], lines[1].len(), lines[2]), ("old 2", 44, ""));
    assert!(body.ends_with(&log(3).checkpoint()));
    let back = AddCheckpoint::parse(body.as_bytes()).unwrap();
    assert_eq!(back, prepared(2, 3));
    assert_eq!((back.old_size(), back.size(), back.origin()), (2, 3, "example.com/log"));
    assert_eq!(back.proof(), log(3).proof_from(2));
}

#[test]
fn what_every_witness_would_refuse_is_not_sent() {
    let grown = log(5);
    let note = grown.checkpoint();
    let zero = format!("example.com/log\n0\n{}\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    for (old, proof, note) in [
        (6, vec![], note.clone()),
        (0, vec![[0; 32]], note.clone()),
        (5, vec![[0; 32]], note.clone()),
        (2, vec![[0; 32]; MAX_PROOF + 1], note.clone()),
        (0, vec![], note.trim_end().to_owned()),
        (0, vec![], "x\n\n— x AAAAAAAA\n".to_owned()),
        (0, vec![], grown.sign(&zero)),
        (0, vec![], grown.sign(&format!("example.com/log\n05\n{}\n", "A".repeat(43) + "="))),
        (0, vec![], note.replacen('\n', "\n\n", 1)),
        (0, vec![], note.clone() + &"— x AAAAAAAA\n".repeat(MAX_REQUEST / 10)),
    ] {
        let refused = AddCheckpoint::prepare(old, &proof, &note);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{old} {}", &note[..note.len().min(200)]);
    }
    assert!(AddCheckpoint::prepare(2, &[[0; 32]; MAX_PROOF], &note).is_ok());
}

#[test]
fn malformed_requests_are_refused() {
    let note = log(5).checkpoint();
    let line = format!("{}=\n", "A".repeat(43));
    for bad in [
        String::new(),
        note.clone(),
        format!("\n{note}"),
        format!("old\n\n{note}"),
        format!("old \n\n{note}"),
        format!("old 01\n\n{note}"),
        format!("old +1\n\n{note}"),
        format!("old -1\n\n{note}"),
        format!("old 1 \n\n{note}"),
        format!(" old 1\n\n{note}"),
        format!("Old 1\n\n{note}"),
        format!("old 18446744073709551616\n\n{note}"),
        format!("old 1\r\n\r\n{note}"),
        format!("old 1\n{note}"),
        format!("old 1\n{}", note.replace("\n\n", "\n")),
        format!("old 1\n\n\n{note}"),
        // TestParseBody of transparency-dev/witness, and hashes of another length.
        format!("10 stuff\n{line}\n{note}"),
        format!("10\nZ043\n423ed\n{note}"),
        format!("10\n{line}{note}"),
        format!("old 10\nabc=\ndef=\n\n{note}"),
        format!("old 1\n{} \n\n{note}", line.trim()),
        format!("old 1\n{}\n\n{note}", line.trim().trim_end_matches('=')),
        format!("old 1\n{}\n{note}", line.replace("A=", "B=")),
        // 64 proof lines; an origin that is not there; a note cut off.
        format!("old 1\n{}\n{note}", line.repeat(MAX_PROOF + 1)),
        format!("old 1\n\n{}", &note[note.find('\n').unwrap()..]),
        format!("old 1\n\n{}", note.trim_end()),
        format!("old 1\n\n{}", note.replace("\n5\n", "\n05\n")),
        format!("old 1\n\n{}", note.replace("\n5\n", "\n-5\n")),
        format!("old 1\n\n{}", note.replace("log\n", "log\u{7}\n")),
        format!("old 1\n\n{note}{}", "x".repeat(MAX_REQUEST)),
    ] {
        assert!(matches!(AddCheckpoint::parse(bad.as_bytes()), Err(Error::Invalid(_))), "{bad:.300}");
    }
    assert!(AddCheckpoint::parse(format!("old 1\n{}\n{note}", line.repeat(MAX_PROOF)).as_bytes()).is_ok());
    let mut bytes = format!("old 1\n\n{note}").into_bytes();
    bytes[10] = 0xff;
    assert!(matches!(AddCheckpoint::parse(&bytes), Err(Error::Invalid(_))));
}

fn refused(answer: Answer) -> Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_status_has_its_meaning() {
    let request = prepared(2, 5);
    let keys = [cosigner("w", 9)];
    let answer = |status, body: &str| request.accept(&keys, status, body.as_bytes());
    let say = "why\n";
    assert_eq!(refused(answer(400, say)), Refusal::Malformed("why".into()));
    assert_eq!(refused(answer(403, say)), Refusal::Untrusted("why".into()));
    assert_eq!(refused(answer(404, say)), Refusal::UnknownLog("why".into()));
    assert_eq!(refused(answer(422, say)), Refusal::Inconsistent("why".into()));
    assert_eq!(refused(answer(429, say)), Refusal::Pushback("why".into()));
    for other in [0, 100, 201, 204, 301, 401, 410, 500, 502, 503] {
        assert_eq!(refused(answer(other, say)), Refusal::Status(other, "why".into()));
    }
    assert!(refused(answer(429, "")).is_temporary() && refused(answer(503, "")).is_temporary());
    for status in [200, 301, 400, 403, 404, 409, 422] {
        assert!(!refused(answer(status, "")).is_temporary(), "{status}");
    }
    // 409: the size to prove from; the size that we sent (older witnesses, for another root), or
    // none, is no size to prove from.
    for size in [0, 1, 3, 4, 5] {
        assert_eq!(answer(409, &format!("{size}\n")), Answer::Conflict { size });
    }
    for body in ["2\n", "", "3", "03\n", "+3\n", "3\n\n", "three\n", "3\nx\n", "18446744073709551616\n"] {
        assert!(matches!(refused(answer(409, body)), Refusal::Inconsistent(_)), "{body:?}");
    }
    // The witness has seen more of this log than there is.
    assert_eq!(refused(answer(409, "6\n")), Refusal::Behind { size: 6 });
    assert_eq!(refused(answer(409, "18446744073709551615\n")), Refusal::Behind { size: u64::MAX });
}

#[test]
fn words_of_a_witness_are_cut_and_cleaned() {
    let request = prepared(0, 5);
    let body = [b"\x1b[31m\tred".as_slice(), &b"x".repeat(100_000), b"\nmore\n\xff"].concat();
    let Refusal::Inconsistent(says) = refused(request.accept(&[], 422, &body)) else { panic!() };
    assert!(says.starts_with("[31m red") && says.len() == 199, "{says}");
    assert!(refused(request.accept(&[], 422, b"")).to_string().ends_with("cosigned"));
    for status in [200, 400, 403, 404, 409, 422, 429, 500] {
        assert!(!refused(request.accept(&[], status, b"\xff\n\n")).to_string().contains('\n'));
    }
}

#[test]
fn cosignatures_are_verified() {
    let request = prepared(0, 5);
    let text = &request.note().text;
    let keys = [cosigner("w", 9), cosigner("w2", 10)];
    let good = cosign("w", 9, text, 1_700_000_000);
    let stranger = cosign("stranger", 11, text, 1_700_000_000);
    let accept = |body: &str| request.accept(&keys, 200, body.as_bytes());
    let line = good.to_line();
    assert_eq!(accept(&line), Answer::Cosigned(vec![good.clone()]));
    // Lines by other keys are passed over, the log's own among them.
    let own = request.note().signatures[0].to_line();
    assert_eq!(accept(&format!("{}{own}{line}", stranger.to_line())), Answer::Cosigned(vec![good.clone()]));
    let second = cosign("w2", 10, text, 1_700_000_001);
    assert_eq!(
        accept(&format!("{line}{}", second.to_line())),
        Answer::Cosigned(vec![good.clone(), second.clone()])
    );

    let of_another =
        cosign("w", 9, &log(6).checkpoint().split("\n\n").next().map(|t| format!("{t}\n")).unwrap(), 7);
    let flipped = Cosignature { signature: second.signature, ..good.clone() };
    for useless in [
        String::new(),
        "\n".into(),
        line.trim_end().into(),
        format!("{line}\n"),
        format!("\n{line}"),
        format!("OK\n{line}"),
        format!("{line}garbage\n"),
        format!("more text\n\n{line}"),
        line.replace('\n', "\r\n"),
        stranger.to_line(),
        own.clone(),
        flipped.to_line(),
        format!("{line}{}", Cosignature { time: 1, ..second.clone() }.to_line()),
        of_another.to_line(),
        line.repeat(101),
    ] {
        assert!(matches!(refused(accept(&useless)), Refusal::NotCosigned(_)), "{useless:?}");
    }
    assert!(matches!(refused(request.accept(&keys, 200, b"\xff")), Refusal::NotCosigned(_)));
    assert!(matches!(refused(request.accept(&[], 200, line.as_bytes())), Refusal::NotCosigned(_)));
}

/// A witness may not leave out the time (tlog-witness), though such a signature can be made.
#[test]
fn a_cosignature_without_time_is_refused() {
    use ed25519_dalek::Signer as _;
    let request = prepared(0, 5);
    let key = cosigner("w", 9);
    let message = secure_log::cosignature::signed_message(&request.note().text, 0);
    let signature = seed(9).0.sign(message.as_bytes()).to_bytes();
    let timeless = Cosignature { name: "w".into(), id: key.id(), time: 0, signature };
    assert!(key.verify(&request.note().text, &timeless));
    let answer = request.accept(&[key], 200, timeless.to_line().as_bytes());
    assert!(matches!(refused(answer), Refusal::NotCosigned(reason) if reason.contains("no time")));
}

/// The client against the witness of this crate: the conflict leads to the right proof, a rolled-back
/// and a forked log are told so.
#[test]
fn a_client_finds_its_way() {
    let witness = Witness::new(
        cosigner("w", 9),
        vec![WatchedLog::new("example.com/log", vec![log(0).verifier()]).unwrap()],
    )
    .unwrap();
    let keys = [witness.key().clone()];
    let mut stored = None;
    let mut time = 1_700_000_000;
    let mut send = |request: &AddCheckpoint| {
        let parsed = AddCheckpoint::parse(request.to_body().as_bytes()).unwrap();
        time += 1;
        let decision = witness.decide(stored.as_ref(), &parsed, time, &mut seed(9), "w").unwrap();
        stored = decision.update.or(stored.take());
        request.accept(&keys, decision.response.status, decision.response.body.as_bytes())
    };
    let mut submit = |log: &TestLog| {
        let note = log.checkpoint();
        match send(&AddCheckpoint::prepare(0, &[], &note).unwrap()) {
            Answer::Conflict { size } => {
                send(&AddCheckpoint::prepare(size, &log.proof_from(size), &note).unwrap())
            }
            answer => answer,
        }
    };
    for size in [3, 3, 8, 100] {
        let log = log(size);
        let Answer::Cosigned(cosignatures) = submit(&log) else { panic!() };
        let note = Note::parse(&log.checkpoint()).unwrap().with_cosignatures(&cosignatures);
        assert_eq!(note.cosignatures(&keys).unwrap().cosignatures, cosignatures);
    }
    assert_eq!(refused(submit(&log(50))), Refusal::Behind { size: 100 });
    let mut fork = TestLog::new("example.com/log", 1).fork(" forked");
    assert!(matches!(refused(submit(fork.grow(200))), Refusal::Inconsistent(_)));
    let mut other = TestLog::new("example.com/other", 1);
    assert!(matches!(refused(submit(other.grow(5))), Refusal::UnknownLog(_)));
    let mut stranger = TestLog::new("example.com/log", 2);
    assert!(matches!(refused(submit(stranger.grow(101))), Refusal::Untrusted(_)));
    assert!(matches!(submit(&log(101)), Answer::Cosigned(_)));
}

proptest! {
    #[test]
    fn requests_round_trip(old in 0..=40u64, proof in proptest::collection::vec(any::<[u8; 32]>(), 0..=MAX_PROOF)) {
        let note = log(40).checkpoint();
        let proof = if old == 0 || old == 40 { vec![] } else { proof };
        let request = AddCheckpoint::prepare(old, &proof, &note).unwrap();
        let body = request.to_body();
        let parsed = AddCheckpoint::parse(body.as_bytes()).unwrap();
        prop_assert_eq!(parsed.to_body(), body);
        prop_assert_eq!(parsed, request);
    }

    #[test]
    fn no_request_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(AddCheckpoint::parse(&body).is_err());
    }

    /// Whatever is parsed is written as it was, but for loose bits at the end of a signature.
    #[test]
    fn changed_requests_parse_to_themselves_or_not_at_all(at in 0..400usize, byte in any::<u8>()) {
        let mut body = prepared(2, 5).to_body().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        if let Ok(request) = AddCheckpoint::parse(&body) {
            let mut written = request.to_body().into_bytes();
            prop_assert_eq!(AddCheckpoint::parse(&written).unwrap(), request);
            if at + 3 == body.len() {
                written[at] = byte;
            }
            prop_assert_eq!(written, body);
        }
    }

    #[test]
    fn no_answer_panics(status in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let cosigned = matches!(prepared(2, 5).accept(&[cosigner("w", 9)], status, &body), Answer::Cosigned(_));
        prop_assert!(!cosigned);
    }
}
