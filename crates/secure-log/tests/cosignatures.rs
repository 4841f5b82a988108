//! Cosignatures against those of another implementation, and what must not pass for one.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod parties;

use parties::{Key, TestLog, cosign, cosigner, seed};
use proptest::prelude::*;
use secure_log::Error;
use secure_log::cosignature::{Cosignature, CosignerKey, MAX_TIME, signed_message};
use secure_log::note::{Note, NoteSignature, VerifierKey};
use secure_log::signer::{Algorithm, CheckpointSigner, KeyError, PublicKey};

/// Made by FiloSottile/sunlight (cmd/skylight/testdata/witness at ed0bc38, ISC).
const SUNLIGHT: [(&str, &str, u64); 2] = [
    (
        "witness.example.org+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN",
        "rome2026h1.example.org\n300\nlCkHUpkmVBEms2r2T1K6Og69+wUuuN3MIEW1/ezu2v0=\n\n\
         — rome2026h1.example.org kVB1JgAAAZtxtEwABAMARzBFAiEAi+mTa2xjL1IdWpH82OeciGsGvwRAP+f1WkfKaSZCfFECIHoNPZ/Q3y6UNzvKOO9cuLr6V16vPNfhwhle9f6r5H/Z\n\
         — witness.example.org uKLPIAAAAABpVGeAhm2bOvKc3LaB9PFN1ruG19Y5yqslmcAAbhftnn1Zznmo0LXFZq4LGvqKqLX8jWlwLKasxEGTLIqAVusneCBmBw==\n",
        1,
    ),
    (
        "witness2.example.org+2e55b896+BIZ7fpceQWd60IfqQeS9IAnmNOCZjMDne8lZuguz/bi9",
        "milan2026h1.example.org\n300\nlCkHUpkmVBEms2r2T1K6Og69+wUuuN3MIEW1/ezu2v0=\n\n\
         — witness2.example.org LlW4lgAAAABpVGeAN/uFWqfjdU94rrKxFycCggM0Sa1L5tOJCJdYBwJ41CQsgKWA6B0+vywok3cPI3JIzuPeR+VotuYe/eNy0+30Dw==\n",
        0,
    ),
];

#[test]
fn cosignatures_of_sunlight_verify() {
    for (key, note, others) in SUNLIGHT {
        let key = CosignerKey::parse(key).unwrap();
        let parsed = Note::parse(note).unwrap();
        let found = parsed.cosignatures([&key]).unwrap();
        assert_eq!(found.unknown, others);
        let [cosignature] = &found.cosignatures[..] else { panic!("{found:?}") };
        // 2025-12-31 00:00:00 UTC.
        assert_eq!(cosignature.time, 1_767_139_200);
        assert_eq!(parsed.to_text(), note);
        assert!(note.ends_with(&cosignature.to_line()));
        for at in 0..note.find("\n\n").unwrap() {
            let mut bytes = note.as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let verified = Note::parse(&changed).and_then(|n| n.cosignatures([&key]));
            assert!(verified.is_err(), "byte {at} of the text was changed and it still verifies");
        }
    }
}

#[test]
fn verifier_keys_of_cosigners_round_trip() {
    for text in [
        SUNLIGHT[0].0,
        SUNLIGHT[1].0,
        // transparency-dev/formats, witness/witness_policy_test.go at 0b850f1.
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    ] {
        assert_eq!(CosignerKey::parse(text).unwrap().to_string(), text);
        // The log's kind of key has another type and another id, and the other way round.
        assert!(matches!(VerifierKey::parse(text), Err(Error::Invalid(_))));
    }
    for bad in [
        "",
        "w",
        "w+b8a2cf20",
        "witness.example.org+b8a2cf21+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN",
        "witness.example.org+B8A2CF20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN",
        "witness.example.com+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN",
        "witness.example.org+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28q",
        "witness.example.org+b8a2cf20+BVLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN",
        "witness example+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN",
        "+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN",
        // An ordinary key (0x01), and the beginning of an ML-DSA-44 key (0x06).
        "sigsum.org+e4ade967+AZuUY6B08pW3QVHu8uvsrxWPcAv9nykap2Nb4oxCee+r",
        "w+00000000+BgAA",
        "w+00000000+",
    ] {
        assert!(matches!(CosignerKey::parse(bad), Err(Error::Invalid(_))), "{bad:?}");
    }
}

#[test]
fn only_ed25519_keys_cosign() {
    let ecdsa = PublicKey {
        algorithm: Algorithm::EcdsaP256,
        spki_der: p256::ecdsa::SigningKey::from_slice(&[7; 32])
            .unwrap()
            .verifying_key()
            .to_public_key_der()
            .unwrap()
            .as_bytes()
            .to_vec(),
    };
    use p256::pkcs8::EncodePublicKey as _;
    assert!(matches!(CosignerKey::new("w", ecdsa), Err(Error::Invalid(_))));
    assert!(matches!(CosignerKey::new("w", PublicKey::from_ed25519_raw(&[0; 32])), Err(Error::Invalid(_))));
    assert!(matches!(CosignerKey::new("a+b", seed(1).public()), Err(Error::Invalid(_))));
    assert!(matches!(CosignerKey::new("a b", seed(1).public()), Err(Error::Invalid(_))));
}

#[test]
fn the_signed_message_is_the_specification_s() {
    // The example of c2sp.org/tlog-cosignature.
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(signed_message(text, 1_679_315_147), format!("cosignature/v1\ntime 1679315147\n{text}"));
}

fn log() -> TestLog {
    let mut log = TestLog::new("example.com/log", 1);
    log.grow(5);
    log
}

fn text_of(note: &str) -> String {
    Note::parse(note).unwrap().text
}

#[test]
fn extension_lines_are_covered() {
    let log = log();
    let plain = text_of(&log.checkpoint());
    let extended = format!("{plain}an extension\n");
    let key = cosigner("w", 9);
    let of_plain = cosign("w", 9, &plain, 7);
    let of_extended = cosign("w", 9, &extended, 7);
    assert!(key.verify(&plain, &of_plain) && key.verify(&extended, &of_extended));
    assert!(!key.verify(&plain, &of_extended) && !key.verify(&extended, &of_plain));
}

#[test]
fn the_time_is_covered_and_bounded() {
    let text = text_of(&log().checkpoint());
    let key = cosigner("w", 9);
    let good = cosign("w", 9, &text, 1_700_000_000);
    assert!(!key.verify(&text, &Cosignature { time: good.time + 1, ..good.clone() }));
    for time in [0, MAX_TIME + 1, u64::MAX] {
        assert!(matches!(key.cosign(&mut seed(9), "key", &text, time), Err(Error::Invalid(_))), "{time}");
    }
    assert!(key.verify(&text, &cosign("w", 9, &text, MAX_TIME)));
    // Signed by the right key, but beyond what a time may be.
    use ed25519_dalek::Signer as _;
    let late = MAX_TIME + 1;
    let signature = seed(9).0.sign(signed_message(&text, late).as_bytes()).to_bytes();
    let cosignature = Cosignature { name: "w".into(), id: key.id(), time: late, signature };
    assert!(!key.verify(&text, &cosignature));
    let note = Note::parse(&format!("{text}\n{}", cosignature.to_line())).unwrap();
    assert!(matches!(note.cosignatures([&key]), Err(Error::Corrupt(_))));
}

#[test]
fn only_checkpoints_are_cosigned() {
    let key = cosigner("w", 9);
    for text in ["", "x\n", "origin\n1\nAAAA\n", "origin\n01\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"]
    {
        assert!(key.cosign(&mut seed(9), "key", text, 1).is_err(), "{text:?}");
    }
    // Size 0 with another root than the empty tree's.
    let bogus = "origin\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    assert!(key.cosign(&mut seed(9), "key", bogus, 1).is_err());
}

#[test]
fn a_cosignature_is_of_a_checkpoint_by_the_key_it_names() {
    use ed25519_dalek::Signer as _;
    let text = text_of(&log().checkpoint());
    let key = cosigner("w", 9);
    let good = cosign("w", 9, &text, 7);
    assert!(key.verify(&text, &good));
    // The same signature under another name or id.
    assert!(!key.verify(&text, &Cosignature { name: "v".into(), ..good.clone() }));
    assert!(!key.verify(&text, &Cosignature { id: [0; 4], ..good.clone() }));
    // A valid signature of something that is no checkpoint.
    let signature = seed(9).0.sign(signed_message("x\n", 7).as_bytes()).to_bytes();
    assert!(!key.verify("x\n", &Cosignature { signature, ..good }));
}

/// Signs something else than it is asked to.
struct Liar(Vec<u8>);

impl CheckpointSigner for Liar {
    fn public_key(&mut self, _: &str) -> Result<PublicKey, KeyError> {
        Ok(seed(9).public())
    }

    fn sign(&mut self, _: &str, _: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.0.clone())
    }
}

#[test]
fn what_the_keystore_gives_is_verified() {
    let text = text_of(&log().checkpoint());
    let key = cosigner("w", 9);
    for bytes in [vec![], vec![1; 64], vec![1; 65]] {
        assert!(matches!(key.cosign(&mut Liar(bytes), "key", &text, 1), Err(Error::Storage(_))));
    }
    assert!(matches!(key.cosign(&mut seed(8), "key", &text, 1), Err(Error::Storage(_))));
    assert!(matches!(key.cosign(&mut seed(9), "missing", &text, 1), Err(Error::NotFound(_))));
}

#[test]
fn a_known_cosigner_that_fails_rejects_the_note_and_unknown_ones_are_passed_over() {
    let log = log();
    let note = Note::parse(&log.checkpoint()).unwrap();
    let text = &note.text;
    let (a, b) = (cosigner("a", 8), cosigner("b", 9));
    let (by_a, by_b) = (cosign("a", 8, text, 5), cosign("b", 9, text, 6));
    let both = note.with_cosignatures(&[by_a.clone(), by_b.clone()]);
    let found = both.cosignatures([&a]).unwrap();
    assert_eq!((&found.cosignatures[..], found.unknown), (&[by_a.clone()][..], 2));
    // The log's signature still counts, cosignatures are unknown lines to it.
    let verified = both.verify(&[log.verifier()]).unwrap();
    assert_eq!((verified.trusted, verified.unknown), (1, 2));

    // The name of `a` with the id of `b`, or the other way round, is neither.
    let mut mixed = both.clone();
    mixed.signatures[1].id = b.id();
    assert_eq!(mixed.cosignatures([&a]).unwrap().cosignatures, []);
    for broken in [
        Cosignature { signature: [7; 64], ..by_a.clone() },
        Cosignature { time: 6, ..by_a.clone() },
        Cosignature { signature: by_b.signature, ..by_a.clone() },
    ] {
        let broken = note.with_cosignatures(&[broken, by_b.clone()]);
        assert!(matches!(broken.cosignatures([&a, &b]), Err(Error::Corrupt(_))));
        assert_eq!(broken.cosignatures([&b]).unwrap().cosignatures, std::slice::from_ref(&by_b));
    }
    // Known, but too short to be one.
    let mut short = both.clone();
    short.signatures[1].signature.pop();
    assert!(matches!(short.cosignatures([&a]), Err(Error::Corrupt(_))));
    // Of another checkpoint of the same log.
    let mut larger = TestLog::new("example.com/log", 1);
    larger.grow(6);
    let moved = Note::parse(&larger.checkpoint()).unwrap().with_cosignatures(&[by_a]);
    assert!(matches!(moved.cosignatures([&a]), Err(Error::Corrupt(_))));
}

#[test]
fn a_cosigner_counts_once_with_its_newest_time() {
    let note = Note::parse(&log().checkpoint()).unwrap();
    let key = cosigner("w", 9);
    let at = |time| cosign("w", 9, &note.text, time);
    let mut twice = note.with_cosignatures(&[at(5)]);
    twice.signatures.extend(note.with_cosignatures(&[at(7)]).signatures.pop());
    twice.signatures.extend(note.with_cosignatures(&[at(6)]).signatures.pop());
    assert_eq!(twice.cosignatures([&key]).unwrap().cosignatures, [at(7)]);
    // Attaching replaces what stood there by the same key.
    let renewed = twice.with_cosignatures(&[at(8)]);
    assert_eq!(renewed.signatures.len(), 2);
    assert_eq!(renewed.cosignatures([&key]).unwrap().cosignatures, [at(8)]);
    assert_eq!(Note::parse(&renewed.to_text()).unwrap(), renewed);
}

/// Cosignatures as a plug-in of `signed_note`, with nothing of this crate.
struct Theirs(ed25519_dalek::VerifyingKey, u32);

impl signed_note::Verifier for Theirs {
    fn name(&self) -> &str {
        "w"
    }

    fn key_id(&self) -> u32 {
        self.1
    }

    fn verify(&self, msg: &[u8], sig: &[u8]) -> bool {
        let Some((time, signature)) = sig.split_first_chunk::<8>() else { return false };
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        let head = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(*time));
        self.0.verify_strict(&[head.as_bytes(), msg].concat(), &signature).is_ok()
    }
}

#[test]
fn agrees_with_signed_note_on_every_changed_byte() {
    let Key(signing) = seed(9);
    let key = cosigner("w", 9);
    let note = Note::parse(&log().checkpoint()).unwrap();
    let good = note.with_cosignatures(&[cosign("w", 9, &note.text, 1_700_000_000)]).to_text();
    for at in 0..=good.len() {
        let mut bytes = good.clone().into_bytes();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        let ours = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| Note::parse(text).ok()?.cosignatures([&key]).ok())
            .is_some_and(|found| found.cosignatures.len() == 1);
        let theirs = signed_note::Note::from_bytes(&bytes).is_ok_and(|note| {
            let verifier = Theirs(signing.verifying_key(), u32::from_be_bytes(key.id()));
            note.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)])).is_ok()
        });
        assert_eq!(ours, theirs, "byte {at}");
        let of_log = good.lines().nth(4).unwrap();
        let start = good.find(of_log).unwrap();
        let in_log_line = (start..=start + of_log.len()).contains(&at);
        assert!(in_log_line || ours == (at == good.len()), "byte {at}");
    }
}

proptest! {
    #[test]
    fn lines_round_trip(name in "[a-z./0-9]{1,40}", id in any::<[u8; 4]>(), time in 0..=MAX_TIME, fill in any::<u8>()) {
        let made = Cosignature { name, id, time, signature: [fill; 64] };
        let note = Note::parse(&format!("x\n\n{}", made.to_line())).unwrap();
        prop_assert_eq!(Cosignature::from_note_signature(&note.signatures[0]), Some(made));
    }

    #[test]
    fn no_signature_bytes_panic(signature in proptest::collection::vec(any::<u8>(), 0..100)) {
        let line = NoteSignature { name: "w".into(), id: [0; 4], signature };
        let parsed = Cosignature::from_note_signature(&line);
        prop_assert_eq!(parsed.is_some(), line.signature.len() == 72 && line.signature[0] < 0x80);
    }

    #[test]
    fn no_verifier_key_panics(text in "\\PC{0,80}") {
        if let Ok(key) = CosignerKey::parse(&text) {
            prop_assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn notes_round_trip(text in "([a-z \n]{0,40}\n)?", lines in proptest::collection::vec(("[a-z]{1,9}", any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 1..80)), 1..6)) {
        let signatures = lines.into_iter().map(|(name, id, signature)| NoteSignature { name, id, signature }).collect();
        let note = Note { text, signatures };
        if let Ok(parsed) = Note::parse(&note.to_text()) {
            prop_assert_eq!(&parsed.to_text(), &note.to_text());
        }
    }
}
