//! The witness: every row of the protocol table, and what must never be cosigned or stored.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod parties;

use parties::running::{NAME, Running, request};
use parties::{TestLog, cosign, cosigner, seed};
use secure_log::Error;
use secure_log::cosignature::CosignerKey;
use secure_log::note::{CheckpointBody, Note};
use secure_log::witness::{
    AddCheckpoint, MAX_LOG_KEYS, MAX_PROOF, MAX_REQUEST, Stored, WatchedLog, Witness, origin_hash,
};

fn log(size: u64) -> TestLog {
    let mut log = TestLog::new("example.com/log", 1);
    log.grow(size);
    log
}

fn step(from: u64, to: u64) -> String {
    let log = log(to);
    request(from, &log.proof_from(from), &log.checkpoint())
}

#[test]
fn witnesses_growth_from_nothing() {
    let mut witness = Running::of(&log(0));
    let sizes = [0, 0, 1, 2, 3, 7, 8, 9, 64, 100, 100, 255, 256, 257];
    let mut from = 0;
    for to in sizes {
        witness.expect(200, &step(from, to));
        let stored = witness.stored("example.com/log").unwrap();
        assert_eq!((stored.size(), *stored.root()), (to, log(to).root()));
        from = to;
    }
}

#[test]
fn an_empty_tree_has_one_root() {
    let zero = CheckpointBody { origin: "example.com/log".into(), size: 0, root: [1; 32] };
    let bogus = request(0, &[], &log(0).sign(&zero.to_text()));
    let mut witness = Running::of(&log(0));
    witness.expect(422, &bogus);
    witness.expect(200, &step(0, 0));
    witness.expect(422, &bogus);
    // Known before the root is looked at.
    witness.expect(200, &step(0, 3));
    assert_eq!(witness.expect(409, &bogus).body, "3\n");
    let with_proof = request(0, &[[1; 32]], &log(5).checkpoint());
    let mut fresh = Running::of(&log(0));
    fresh.expect(422, &with_proof);
    fresh.expect(200, &step(0, 0));
    fresh.expect(422, &with_proof);
}

#[test]
fn the_first_reason_in_the_table_decides() {
    let mut witness = Running::of(&log(0));
    witness.expect(200, &step(0, 5));
    let fork = || {
        let mut fork = TestLog::new("example.com/log", 1).fork(" forked");
        fork.grow(4);
        fork
    };
    let stranger = TestLog::new("example.com/log", 2).grow(4).checkpoint();
    // Not signed by the log, an old size too large, not the stored one: 403.
    witness.expect(403, &request(9, &[[0; 32]], &stranger));
    // Signed, but the old size too large and not the stored one: 400.
    witness.expect(400, &request(9, &[[0; 32]], &fork().checkpoint()));
    // Not the stored size, and no proof that holds: 409.
    assert_eq!(witness.expect(409, &request(3, &[[0; 32]], &fork().checkpoint())).body, "5\n");
    // Of no log that is known, whoever signed: 404.
    let mut other = TestLog::new("example.com/other", 1);
    witness.expect(404, &request(9, &[], &other.grow(3).checkpoint()));
}

#[test]
fn a_fork_is_not_cosigned() {
    let mut witness = Running::of(&log(0));
    witness.expect(200, &step(0, 5));
    let mut fork = TestLog::new("example.com/log", 1).fork(" forked");
    fork.grow(5);
    // The same size with another root, with and without a proof.
    witness.expect(422, &request(5, &[], &fork.checkpoint()));
    witness.expect(422, &request(5, &[[0; 32]], &fork.checkpoint()));
    fork.grow(9);
    witness.expect(422, &request(5, &fork.proof_from(5), &fork.checkpoint()));
    // Branched off after what was cosigned: that is growth.
    witness.expect(200, &step(5, 9));
}

#[test]
fn a_rolled_back_log_is_told_the_size() {
    let mut witness = Running::of(&log(0));
    witness.expect(200, &step(0, 9));
    for old in 0..=5 {
        assert_eq!(witness.expect(409, &step(old, 5)).body, "9\n");
    }
    witness.expect(400, &request(9, &[], &log(5).checkpoint()));
}

/// Such as a witness that was restored from an old copy of its store would see.
#[test]
fn an_old_size_above_the_stored_one_is_a_conflict() {
    let mut witness = Running::of(&log(0));
    assert_eq!(witness.expect(409, &step(3, 9)).body, "0\n");
    assert_eq!(witness.expect(409, &step(9, 9)).body, "0\n");
    witness.expect(200, &step(0, 5));
    assert_eq!(witness.expect(409, &step(7, 9)).body, "5\n");
    assert_eq!(witness.expect(409, &step(9, 9)).body, "5\n");
}

#[test]
fn every_hash_of_a_proof_counts() {
    let grown = log(13);
    let (proof, note) = (grown.proof_from(6), grown.checkpoint());
    let mut witness = Running::of(&grown);
    witness.expect(200, &step(0, 6));
    for i in 0..proof.len() {
        let mut flipped = proof.clone();
        flipped[i][7] ^= 1;
        witness.expect(422, &request(6, &flipped, &note));
        let mut without = proof.clone();
        without.remove(i);
        witness.expect(422, &request(6, &without, &note));
    }
    let longer = [&proof[..], &[[0; 32]]].concat();
    witness.expect(422, &request(6, &longer, &note));
    witness.expect(200, &request(6, &proof, &note));
}

#[test]
fn the_same_checkpoint_again_gets_a_fresh_time() {
    let mut witness = Running::of(&log(0));
    let first = witness.expect(200, &step(0, 5));
    let second = witness.expect(200, &step(5, 5));
    assert_ne!(first.body, second.body);
    let stored = Note::parse(witness.stored("example.com/log").unwrap().note()).unwrap();
    assert_eq!(stored.signatures.len(), 2);
}

/// As Go's decoder, and so other witnesses, have it.
#[test]
fn signatures_with_loose_bits_are_read() {
    let body = step(0, 3);
    let (rest, last) = body.strip_suffix("=\n").unwrap().split_at(body.len() - 3);
    let loose = format!("{rest}{}=\n", char::from(last.as_bytes()[0] + 1));
    assert!(Note::parse(loose.split_once("\n\n").unwrap().1).is_err());
    let mut witness = Running::of(&log(3));
    let decision = witness.post(&loose);
    assert_eq!(decision.status, 200);
    let stored = witness.stored("example.com/log").unwrap();
    assert!(stored.note().starts_with(&log(3).checkpoint()));
}

#[test]
fn known_keys_that_fail_refuse_the_checkpoint_and_unknown_ones_are_ignored() {
    let grown = log(3);
    let note = grown.checkpoint();
    let mut old_key = TestLog::new("example.com/log", 7);
    old_key.grow(3);
    let keys = || vec![grown.verifier(), old_key.verifier()];
    let new = || Running::new(vec![WatchedLog::new("example.com/log", keys()).unwrap()]);
    let line = |signature: &[u8]| old_key.verifier().signature_line(signature).unwrap();
    // Either key is enough: rotation.
    new().expect(200, &request(0, &[], &note));
    new().expect(200, &request(0, &[], &old_key.checkpoint()));
    // One holds, the other fails.
    new().expect(403, &request(0, &[], &format!("{note}{}", line(&[7; 64]))));
    new().expect(
        403,
        &request(0, &[], &format!("{}{}", Note::parse(&note).unwrap().text + "\n", line(&[7; 64]))),
    );
    // Sixteen strangers, one of them malformed as a signature.
    let strangers: String = (10..26)
        .map(|n| {
            let stranger = TestLog::new(&format!("stranger{n}.example"), n);
            // As long as post-quantum signatures are.
            stranger.verifier().signature_line(&[n; 4900]).unwrap()
        })
        .collect();
    new().expect(200, &request(0, &[], &format!("{note}{strangers}— short.example AAAAAAA=\n")));
    new().expect(403, &request(0, &[], &format!("{}\n{strangers}", Note::parse(&note).unwrap().text)));
}

/// Sunlight stored signatures that it had not verified, a forged one in its own name among them, and
/// could not open its store any more.
#[test]
fn only_verified_signatures_are_stored() {
    let grown = log(3);
    let note = Note::parse(&grown.checkpoint()).unwrap();
    let mut forged = cosign(NAME, 99, &note.text, 5);
    forged.signature[3] ^= 1;
    let stranger = cosign("stranger.example", 98, &note.text, 5);
    let mut submitted = note.with_cosignatures(&[forged, stranger]);
    // The log's own signature three times.
    submitted.signatures.extend([note.signatures[0].clone(), note.signatures[0].clone()]);
    let mut witness = Running::of(&grown);
    let response = witness.expect(200, &request(0, &[], &submitted.to_text()));
    let stored = Note::parse(witness.stored(&grown.origin).unwrap().note()).unwrap();
    assert_eq!(stored.signatures[..1], note.signatures);
    assert_eq!(stored.signatures.len(), 2);
    assert!(stored.to_text().ends_with(&response.body));
    assert!(stored.verify(&[grown.verifier()]).is_ok());
}

#[test]
fn a_note_full_of_signatures_still_fits() {
    let grown = log(3);
    let note = Note::parse(&grown.checkpoint()).unwrap();
    let mut full = note.clone();
    full.signatures = vec![note.signatures[0].clone(); 100];
    Running::of(&grown).expect(200, &request(0, &[], &full.to_text()));
    full.signatures.push(note.signatures[0].clone());
    Running::of(&grown).expect(400, &request(0, &[], &full.to_text()));
    let keys = |n: usize| (0..n).map(|n| TestLog::new("example.com/log", n as u8).verifier()).collect();
    assert!(WatchedLog::new("example.com/log", keys(MAX_LOG_KEYS)).is_ok());
    assert!(matches!(WatchedLog::new("example.com/log", keys(MAX_LOG_KEYS + 1)), Err(Error::Invalid(_))));
}

#[test]
fn the_longest_checkpoint_still_fits() {
    let grown = log(3);
    let body = CheckpointBody { origin: grown.origin.clone(), size: 3, root: grown.root() }.to_text();
    let long = |length: usize| {
        let rest = length - grown.sign(&format!("{body}\n")).len();
        let note = grown.sign(&format!("{body}{}\n", "x".repeat(rest)));
        assert_eq!(note.len(), length);
        note
    };
    let most = MAX_REQUEST - MAX_PROOF * 45 - 32;
    assert!(AddCheckpoint::prepare(0, &[], &long(most)).is_ok());
    assert!(matches!(AddCheckpoint::prepare(0, &[], &long(most + 1)), Err(Error::Invalid(_))));
    // `post` opens what it stores.
    Running::of(&grown).expect(200, &request(0, &[], &long(most)));
    Running::of(&grown).expect(400, &request(0, &[], &long(most + 1)));
}

#[test]
fn extension_lines_are_cosigned_as_they_are() {
    let grown = log(3);
    let body = CheckpointBody { origin: grown.origin.clone(), size: 3, root: grown.root() };
    let extended = grown.sign(&format!("{}an extension\n", body.to_text()));
    let mut witness = Running::of(&grown);
    let response = witness.expect(200, &request(0, &[], &extended));
    let plain = Note::parse(&format!("{}\n{}", body.to_text(), response.body)).unwrap();
    assert!(matches!(plain.cosignatures([witness.witness.key()]), Err(Error::Corrupt(_))));
}

/// Two updates decided on the same state: the store's compare-and-set lets one through, and the
/// other is decided again, so that nothing is rolled back.
#[test]
fn racing_updates_never_roll_back() {
    let mut running = Running::of(&log(0));
    running.expect(200, &step(0, 5));
    let before = running.stored("example.com/log");
    let parse = |body: &str| AddCheckpoint::parse(body.as_bytes()).unwrap();
    let (small, large) = (parse(&step(5, 6)), parse(&step(5, 9)));
    let decide = |state: Option<&Stored>, request: &AddCheckpoint| {
        running.witness.decide(state, request, 1_800_000_000, &mut seed(99), "witness").unwrap()
    };
    // Both hold on the state that both have read.
    let of_small = decide(before.as_ref(), &small);
    let of_large = decide(before.as_ref(), &large);
    assert_eq!((of_small.response.status, of_large.response.status), (200, 200));
    let mut store = before.clone();
    let mut replace = |expected: &Option<Stored>, new: Option<Stored>| {
        let fits = store == *expected;
        if fits {
            store = new;
        }
        fits
    };
    assert!(replace(&before, of_large.update.clone()));
    assert!(!replace(&before, of_small.update), "the larger one was rolled back");
    let again = decide(of_large.update.as_ref(), &small);
    assert_eq!((again.response.status, again.response.body.as_str()), (409, "9\n"));
    assert_eq!(store.unwrap().size(), 9);
}

#[test]
fn a_clock_that_steps_back_signs_nothing() {
    let running = {
        let mut running = Running::of(&log(0));
        running.expect(200, &step(0, 5));
        running
    };
    let stored = running.stored("example.com/log").unwrap();
    let request = AddCheckpoint::parse(step(5, 6).as_bytes()).unwrap();
    let at = |time| running.witness.decide(Some(&stored), &request, time, &mut seed(99), "witness");
    assert!(matches!(at(stored.time() - 1), Err(Error::Unavailable(_))));
    assert_eq!(at(stored.time()).unwrap().response.status, 200);
    assert!(matches!(at(u64::MAX), Err(Error::Invalid(_))));
    assert!(matches!(
        running.witness.decide(
            None,
            &AddCheckpoint::parse(step(0, 5).as_bytes()).unwrap(),
            0,
            &mut seed(99),
            "w"
        ),
        Err(Error::Invalid(_))
    ));
}

#[test]
fn a_keystore_that_fails_changes_nothing() {
    let running = Running::of(&log(0));
    let request = AddCheckpoint::parse(step(0, 5).as_bytes()).unwrap();
    let decide =
        |key: u8, identity: &str| running.witness.decide(None, &request, 9, &mut seed(key), identity);
    assert!(matches!(decide(99, "missing"), Err(Error::NotFound(_))));
    assert!(matches!(decide(98, "witness"), Err(Error::Storage(_))));
}

#[test]
fn what_was_stored_must_be_cosigned_by_this_witness() {
    let grown = log(3);
    let running = Running::of(&grown);
    let note = Note::parse(&grown.checkpoint()).unwrap();
    let good = note.with_cosignatures(&[cosign(NAME, 99, &note.text, 5)]);
    assert_eq!(running.witness.open(&grown.origin, &good.to_text()).unwrap().size(), 3);
    let mut forged = good.clone();
    forged.signatures[1].signature[70] ^= 1;
    let mut cut = good.to_text();
    cut.pop();
    for (origin, bad) in [
        (&*grown.origin, note.to_text()),
        (&*grown.origin, forged.to_text()),
        (&*grown.origin, note.with_cosignatures(&[cosign("other", 98, &note.text, 5)]).to_text()),
        (&*grown.origin, cut),
        (&*grown.origin, String::new()),
        ("example.com/other", good.to_text()),
    ] {
        assert!(matches!(running.witness.open(origin, &bad), Err(Error::Corrupt(_))), "{bad:?}");
    }
}

#[test]
fn origins_are_names_and_there_once() {
    let key = || log(0).verifier();
    for bad in ["", "a\nb", "a\u{7}"] {
        assert!(matches!(WatchedLog::new(bad, vec![key()]), Err(Error::Invalid(_))), "{bad:?}");
    }
    // Not recommended, but C2SP lets them be.
    assert!(WatchedLog::new("a + b", vec![key()]).is_ok());
    assert!(matches!(WatchedLog::new("a", vec![]), Err(Error::Invalid(_))));
    let twice =
        || vec![WatchedLog::new("a", vec![key()]).unwrap(), WatchedLog::new("a", vec![key()]).unwrap()];
    let witness: CosignerKey = cosigner(NAME, 99);
    assert!(matches!(Witness::new(witness, twice()), Err(Error::Invalid(_))));
    assert_eq!(origin_hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    // The folder of that log's checkpoint in FiloSottile/sunlight, cmd/skylight/testdata/witness.
    assert_eq!(
        origin_hash("rome2026h1.example.org"),
        "000de184301123b9278c086a7d9f68c9577e83872224c197058fd90784ea9706"
    );
}
