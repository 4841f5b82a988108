//! `.tlog-proof` files: of a real log's entries, and of somebody else's log.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
mod parties;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::{TestSigner, open, sample};
use parties::{TestLog, cosign, cosigner};
use proptest::prelude::*;
use secure_log::model::{EntryProof, Hash};
use secure_log::note::{Note, VerifierKey};
use secure_log::policy::Policy;
use secure_log::proof_file::{self, FIRST_LINE, MAX_PATH, MAX_PROOF_FILE, TlogProof};
use secure_log::tree::leaf_hash;
use secure_log::{Error, SecureLog};
use secure_log_sqlite::SqliteSecureLogStore;

/// A proof of each entry under the checkpoint, and the keys to trust.
static SAMPLE: LazyLock<(Vec<EntryProof>, Vec<String>)> = LazyLock::new(|| {
    let mut log = open::<SqliteSecureLogStore>(":memory:");
    let trusted = sample(&mut log);
    // A second signature over more segments, so that paths have some length.
    for stream in ["a", "b", "c"] {
        common::fill(&mut log, stream, 5);
    }
    let segment = log.close_segments().unwrap().pop().unwrap();
    log.sign_segment(&mut TestSigner, "key", segment.segment_id).unwrap();
    let mut proofs = Vec::new();
    for stream in log.list_streams().unwrap() {
        let Some(head) = stream.head.filter(|_| stream.stream_id != "_log") else { continue };
        for seqno in 1..=head.seqno {
            proofs.push(log.build_entry_proof(&stream.stream_id, seqno).unwrap());
        }
    }
    (proofs, trusted)
});

fn file() -> (String, &'static [String]) {
    let (proofs, trusted) = &*SAMPLE;
    (proof_file::write(&proofs[8]).unwrap(), trusted)
}

#[test]
fn every_entry_s_proof_survives_the_file() {
    let (proofs, trusted) = &*SAMPLE;
    assert!(proofs.len() > 20);
    for proof in proofs {
        let text = proof_file::write(proof).unwrap();
        assert_eq!(proof_file::read(text.as_bytes()).unwrap(), *proof);
        let proven = proof_file::verify(text.as_bytes(), trusted, None).unwrap();
        assert_eq!(proven.header, secure_log::proof::verify_entry_proof(proof, trusted).unwrap());
        assert_eq!(
            (&*proven.header.stream_id, proven.header.seqno),
            (&*proof.inclusion.stream_id, proof.inclusion.seqno)
        );
        assert_eq!((proven.signatures.trusted, proven.signatures.unknown), (1, 0));
        assert_eq!(proven.witnesses, None);
    }
}

/// Whoever knows tlog-proof and nothing of this log can check the outer half: the leaf is the header
/// of the entry of `_log`.
#[test]
fn the_outer_half_is_an_ordinary_tlog_proof() {
    let (text, trusted) = file();
    let proof = proof_file::read(text.as_bytes()).unwrap();
    let parsed = TlogProof::parse(text.as_bytes()).unwrap();
    assert_eq!(parsed.index, proof.inclusion.segment_id - 1);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "c2sp.org/tlog-proof@v1");
    assert!(lines[1].starts_with("extra "));
    assert_eq!(lines[2], format!("index {}", parsed.index));
    let blank = lines.iter().position(|l| l.is_empty()).unwrap();
    // tlog_tiles checks the path, signed_note the checkpoint.
    let path: Vec<tlog_tiles::tlog::Hash> = lines[3..blank]
        .iter()
        .map(|l| tlog_tiles::tlog::Hash(BASE64.decode(l).unwrap().try_into().unwrap()))
        .collect();
    let note = signed_note::Note::from_bytes(lines[blank + 1..].join("\n").as_bytes());
    assert!(note.is_err(), "the last newline belongs to the note");
    let note = format!("{}\n", lines[blank + 1..].join("\n"));
    let note = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let verifier = signed_note::StandardVerifier::new(&trusted[0]).unwrap();
    note.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)])).unwrap();
    let body = std::str::from_utf8(note.text()).unwrap().to_owned();
    let body: Vec<_> = body.lines().collect();
    let root = tlog_tiles::tlog::Hash(BASE64.decode(body[2]).unwrap().try_into().unwrap());
    tlog_tiles::tlog::check_record(
        &path,
        body[1].parse().unwrap(),
        root,
        parsed.index,
        tlog_tiles::tlog::record_hash(&proof.segment_header),
    )
    .unwrap();
    let keys: Vec<_> = trusted.iter().map(|k| VerifierKey::parse(k).unwrap()).collect();
    parsed.verify_leaf(&leaf_hash(&proof.segment_header), &keys, None).unwrap();
    assert!(matches!(parsed.verify_leaf(&leaf_hash(b"other"), &keys, None), Err(Error::Corrupt(_))));
}

/// Proofs of the fifteen words of transparency-dev/tessera's golden log, under its last checkpoint.
#[test]
fn proofs_of_the_golden_log() {
    let Some(folder) = std::env::var_os("SECURE_LOG_VECTORS") else {
        eprintln!("SKIPPED: set SECURE_LOG_VECTORS to the folder that holds tessera-golden-log");
        return;
    };
    let folder = std::path::PathBuf::from(folder).join("tessera-golden-log");
    let key = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
    let keys = [VerifierKey::parse(key).unwrap()];
    let policy = Policy::parse(format!("log {key}\nquorum none\n").as_bytes()).unwrap();
    let words: Vec<&str> =
        "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten"
            .split(' ')
            .collect();
    let leaves: Vec<Hash> = words.iter().map(|w| leaf_hash(w.as_bytes())).collect();
    for size in 1..=15u64 {
        let note = std::fs::read_to_string(folder.join(format!("checkpoint.{size}"))).unwrap();
        for index in 0..size {
            let path = secure_log::tree::inclusion_path(&mut &leaves[..], index, size).unwrap();
            let lines: String = path.iter().map(|h| BASE64.encode(h) + "\n").collect();
            let text = format!("{FIRST_LINE}\nindex {index}\n{lines}\n{note}");
            let proof = TlogProof::parse(text.as_bytes()).unwrap();
            assert_eq!(proof.to_text(), text);
            for (i, leaf) in leaves.iter().enumerate() {
                let holds = proof.verify_leaf(leaf, &keys, Some(&policy)).is_ok();
                assert_eq!(holds, i as u64 == index, "{i} as {index} of {size}");
            }
        }
        let beyond = format!("{FIRST_LINE}\nindex {size}\n\n{note}");
        assert!(matches!(TlogProof::parse(beyond.as_bytes()), Err(Error::Invalid(_))));
    }
}

#[test]
fn a_policy_decides_whose_word_counts() {
    let (text, trusted) = file();
    let mut proof = proof_file::read(text.as_bytes()).unwrap();
    let note = Note::parse(&proof.checkpoint).unwrap();
    let witnesses = |n: u8| -> String {
        (0..n).map(|i| format!("witness w{i} {}\n", cosigner(&format!("w{i}"), i))).collect()
    };
    let policy = |logs: bool| {
        let log = if logs { format!("log {}\n", trusted[0]) } else { String::new() };
        let file = format!("{log}{}group g 2 w0 w1 w2\nquorum g\n", witnesses(3));
        Policy::parse(file.as_bytes()).unwrap()
    };
    let with = |by: &[u8], proof: &mut EntryProof| {
        let cosignatures: Vec<_> = by.iter().map(|i| cosign(&format!("w{i}"), *i, &note.text, 9)).collect();
        proof.checkpoint = note.with_cosignatures(&cosignatures).to_text();
        proof_file::write(proof).unwrap()
    };
    for by in [&[][..], &[0], &[1, 3], &[3, 4, 5]] {
        let text = with(by, &mut proof);
        let Err(Error::Denied(why)) = proof_file::verify(text.as_bytes(), trusted, Some(&policy(true)))
        else {
            panic!("{by:?}")
        };
        assert!(why.contains("degraded: the quorum g misses"), "{why}");
        // Without a policy nobody is asked, and that is said.
        let proven = proof_file::verify(text.as_bytes(), trusted, None).unwrap();
        assert_eq!((proven.witnesses, proven.signatures.unknown), (None, by.len() as u64));
    }
    let text = with(&[2, 0], &mut proof);
    let proven = proof_file::verify(text.as_bytes(), trusted, Some(&policy(false))).unwrap();
    let status = proven.witnesses.unwrap();
    assert!(status.is_satisfied() && !status.log_checked);
    // The keys may be the policy's, or come from elsewhere; from nowhere is refused.
    assert!(proof_file::verify(text.as_bytes(), &[], Some(&policy(true))).is_ok());
    assert!(matches!(proof_file::verify(text.as_bytes(), &[], Some(&policy(false))), Err(Error::Invalid(_))));
    assert!(matches!(proof_file::verify(text.as_bytes(), &[], None), Err(Error::Invalid(_))));
    // Both count where both are given.
    let other = TestLog::new("example.com/audit", 77).verifier().to_string();
    assert!(matches!(
        proof_file::verify(text.as_bytes(), std::slice::from_ref(&other), Some(&policy(true))),
        Err(Error::Denied(_))
    ));
    let of_other = format!("log {other}\nquorum none\n");
    assert!(matches!(
        proof_file::verify(text.as_bytes(), trusted, Some(&Policy::parse(of_other.as_bytes()).unwrap())),
        Err(Error::Denied(_))
    ));
    // A broken cosignature by a witness of the policy rejects the file.
    let mut broken = Note::parse(&proof.checkpoint).unwrap();
    broken.signatures[1].signature[9] ^= 1;
    proof.checkpoint = broken.to_text();
    let text = proof_file::write(&proof).unwrap();
    assert!(matches!(
        proof_file::verify(text.as_bytes(), trusted, Some(&policy(true))),
        Err(Error::Corrupt(_))
    ));
}

#[test]
fn parts_of_different_proofs_do_not_verify() {
    let (proofs, trusted) = &*SAMPLE;
    let (a, b) = (&proofs[8], proofs.iter().find(|p| p.inclusion.stream_id == "b").unwrap());
    assert_ne!(a.inclusion.segment_id, b.inclusion.segment_id);
    let mixed = [
        EntryProof { header_bytes: b.header_bytes.clone(), ..a.clone() },
        EntryProof { inclusion: b.inclusion.clone(), ..a.clone() },
        EntryProof { segment_header: b.segment_header.clone(), ..a.clone() },
        EntryProof { segment_payload: b.segment_payload.clone(), ..a.clone() },
        EntryProof { log_path: b.log_path.clone(), ..a.clone() },
        EntryProof {
            segment_header: b.segment_header.clone(),
            segment_payload: b.segment_payload.clone(),
            ..a.clone()
        },
    ];
    for proof in mixed {
        // Refused when it is written, or when it is verified.
        let written = proof_file::write(&proof);
        if let Ok(text) = written {
            assert!(proof_file::verify(text.as_bytes(), trusted, None).is_err(), "{proof:?}");
        }
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let (text, trusted) = file();
    let good = proof_file::verify(text.as_bytes(), trusted, None).unwrap();
    for at in 0..text.len() {
        for bit in [0, 3] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            assert!(proof_file::verify(&bytes, trusted, None).is_err(), "byte {at}");
        }
    }
    for cut in 0..text.len() {
        assert!(proof_file::verify(&text.as_bytes()[..cut], trusted, None).is_err(), "cut at {cut}");
    }
    assert_eq!(proof_file::verify(text.as_bytes(), trusted, None).unwrap(), good);
}

#[test]
fn files_are_read_strictly() {
    let mut log = TestLog::new("example.com/log", 1);
    let note = log.grow(9).checkpoint();
    let line = BASE64.encode([7; 32]);
    let good = format!("{FIRST_LINE}\nextra QUJD\nindex 0\n{line}\n{line}\n\n{note}");
    let parsed = TlogProof::parse(good.as_bytes()).unwrap();
    assert_eq!((parsed.extra.as_deref(), parsed.index, parsed.path.len()), (Some(&b"ABC"[..]), 0, 2));
    assert_eq!(parsed.to_text(), good);
    let bare = format!("{FIRST_LINE}\nindex 8\n\n{note}");
    assert_eq!(TlogProof::parse(bare.as_bytes()).unwrap().to_text(), bare);
    for bad in [
        String::new(),
        note.clone(),
        // TestUnmarshalErrors of transparency-dev/formats, proof/tlog_proof_test.go at 0b850f1.
        good.replace(FIRST_LINE, "wrong-header"),
        good.replace("QUJD", "!!notbase64!!"),
        good.replace("index 0\n", "\n"),
        good.replace("index 0", "index notanumber"),
        good.replace("index 0", "index -5"),
        good.replacen(&line, "!!notbase64!!", 1),
        good.replacen(&line, &BASE64.encode([0; 64]), 1),
        good.replace(&format!("{line}\n{line}\n"), &"a".repeat(65 * 1024)),
        // And ours.
        good.replace("index 0\n", ""),
        good.replace("index 0", "index 00"),
        good.replace("index 0", "index 01"),
        good.replace("index 0", "index +1"),
        good.replace("index 0", "index 9"),
        good.replace("index 0", "index 18446744073709551616"),
        good.replace("index 0", "Index 0"),
        good.replace("extra QUJD\n", "extra \n"),
        good.replace("extra QUJD\n", "extra\n"),
        good.replace("extra QUJD\n", "extra QUJD\nextra QUJD\n"),
        good.replace("extra QUJD\nindex 0\n", "index 0\nextra QUJD\n"),
        good.replace("extra QUJD", "extra QUJDRA"),
        good.replace('\n', "\r\n"),
        good.replace("@v1", "@v2"),
        format!("\n{good}"),
        good.replacen(&line, &format!("{line} "), 1),
        good.replacen(&line, line.trim_end_matches('='), 1),
        format!("{FIRST_LINE}\nindex 0\n{}\n{note}", format!("{line}\n").repeat(MAX_PATH + 1)),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        good.replace("\n9\n", "\n09\n"),
        format!("{good}{}", "x".repeat(MAX_PROOF_FILE)),
    ] {
        assert!(matches!(TlogProof::parse(bad.as_bytes()), Err(Error::Invalid(_))), "{bad:.400}");
    }
    // A file of another application is a tlog-proof, but none of an entry.
    for other in [good, bare] {
        assert!(matches!(proof_file::read(other.as_bytes()), Err(Error::Invalid(_))));
    }
}

#[test]
fn extra_data_is_read_strictly() {
    let (text, _) = file();
    let parsed = TlogProof::parse(text.as_bytes()).unwrap();
    let extra = parsed.extra.clone().unwrap();
    let with = |extra: Vec<u8>| {
        proof_file::read(TlogProof { extra: Some(extra), ..parsed.clone() }.to_text().as_bytes())
    };
    assert!(with(extra.clone()).is_ok());
    for cut in 1..extra.len() {
        assert!(matches!(with(extra[..cut].to_vec()), Err(Error::Invalid(_))), "cut at {cut}");
    }
    assert!(with([&extra[..], &[0]].concat()).is_err());
    // The map's head: one field more or fewer than there are.
    for head in [0xa4, 0xa6] {
        assert!(with([&[head], &extra[1..]].concat()).is_err());
    }
    // A sixth field.
    assert!(with([&[0xa6], &extra[1..], &[6, 0x40]].concat()).is_err());
    // An unknown format.
    let at = extra.windows(2).position(|w| w == b"v1").unwrap();
    let mut other = extra.clone();
    other[at + 1] = b'2';
    assert!(with(other).is_err());
    // An entry of `_log` that closes no segment, and a path with half a hash.
    let (proofs, _) = &*SAMPLE;
    let mut half = proofs[8].clone();
    half.inclusion.path.push([0; 32]);
    let longer = proof_file::write(&half).unwrap();
    assert!(proof_file::verify(longer.as_bytes(), file().1, None).is_err());
    let mut zero = proofs[8].clone();
    zero.inclusion.segment_id = 0;
    assert!(matches!(proof_file::write(&zero), Err(Error::Invalid(_))));
}

proptest! {
    #[test]
    fn files_round_trip(
        extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..200)),
        index in 0..9u64,
        path in proptest::collection::vec(any::<Hash>(), 0..=MAX_PATH),
    ) {
        let mut log = TestLog::new("example.com/log", 1);
        let checkpoint = Note::parse(&log.grow(9).checkpoint()).unwrap();
        let proof = TlogProof { extra, index, path, checkpoint };
        prop_assert_eq!(TlogProof::parse(proof.to_text().as_bytes()).unwrap(), proof);
    }

    #[test]
    fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(proof_file::read(&bytes).is_err());
    }

    #[test]
    fn no_extra_data_panics(extra in proptest::collection::vec(any::<u8>(), 1..200), keep in 0..40usize) {
        let (text, _) = file();
        let mut parsed = TlogProof::parse(text.as_bytes()).unwrap();
        let mut start = parsed.extra.take().unwrap()[..keep].to_vec();
        start.extend(extra);
        parsed.extra = Some(start);
        prop_assert!(proof_file::read(parsed.to_text().as_bytes()).is_err());
    }
}
