//! Signed notes and checkpoints against `signed_note` and a whole log that somebody else made.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use ed25519_dalek::{Signer, SigningKey};
use secure_log::Error;
use secure_log::model::Hash;
use secure_log::note::{CheckpointBody, Note, VerifierKey};
use secure_log::signer::PublicKey;
use secure_log::tree::{Frontier, leaf_hash};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Test-only keys, public in transparency-dev/tessera.
const SKEY: &str =
    "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg";
const VKEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";

fn signing_key(skey: &str) -> SigningKey {
    let bytes = BASE64.decode(skey.splitn(5, '+').last().unwrap()).unwrap();
    SigningKey::from_bytes(bytes[1..].try_into().unwrap())
}

fn key(name: &str, seed: u8) -> (VerifierKey, SigningKey) {
    let signing = SigningKey::from_bytes(&[seed; 32]);
    let public = PublicKey::from_ed25519_raw(signing.verifying_key().as_bytes());
    (VerifierKey::new(name, public).unwrap(), signing)
}

fn note(text: &str, signers: &[&(VerifierKey, SigningKey)]) -> String {
    let lines = signers
        .iter()
        .map(|(key, signing)| key.signature_line(&signing.sign(text.as_bytes()).to_bytes()).unwrap());
    format!("{text}\n{}", lines.collect::<String>())
}

#[test]
fn golden_log_comes_out_byte_for_byte() {
    let Some(folder) = std::env::var_os("SECURE_LOG_VECTORS") else {
        eprintln!("SKIPPED: set SECURE_LOG_VECTORS to the folder that holds tessera-golden-log");
        return;
    };
    let folder = std::path::PathBuf::from(folder).join("tessera-golden-log");
    let key = VerifierKey::parse(VKEY).unwrap();
    let signing = signing_key(SKEY);
    let words = "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten";
    let mut tree = Frontier::default();
    let check = |tree: &Frontier| {
        let body = CheckpointBody {
            origin: "example.com/log/testdata".into(),
            size: tree.size(),
            root: tree.root(),
        };
        let text = body.to_text();
        let ours =
            format!("{text}\n{}", key.signature_line(&signing.sign(text.as_bytes()).to_bytes()).unwrap());
        let theirs = std::fs::read_to_string(folder.join(format!("checkpoint.{}", tree.size()))).unwrap();
        assert_eq!(ours, theirs);
        let parsed = Note::parse(&theirs).unwrap();
        assert_eq!(parsed.verify(std::slice::from_ref(&key)).unwrap().trusted, 1);
        assert_eq!(CheckpointBody::parse(&parsed.text).unwrap(), body);
    };
    check(&tree);
    for word in words.split(' ') {
        tree.push(leaf_hash(word.as_bytes()));
        check(&tree);
    }
}

#[test]
fn verifier_keys_round_trip() {
    for text in [VKEY, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"] {
        assert_eq!(VerifierKey::parse(text).unwrap().to_string(), text);
    }
    for bad in [
        "",
        "example.com/log",
        "example.com/log+33d7b496",
        "example.com/log/testdata+33d7b497+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "example.com/other+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "example.com/log/testdata+33d7b496+AuHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkk",
        "exa mple+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "x+ffffffff+/w==",
    ] {
        assert!(matches!(VerifierKey::parse(bad), Err(Error::Invalid(_))), "{bad:?}");
    }
}

/// What `signed_note` accepts and refuses, so does this one, and the other way round.
#[test]
fn agrees_with_signed_note() {
    use signed_note::{Note as Theirs, StandardVerifier, VerifierList};
    let a = key("example.com/a", 1);
    let b = key("example.com/b", 2);
    let text = "example.com/a\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let good = note(text, &[&a, &b]);
    let flipped = |at: usize| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut cases = vec![
        good.clone(),
        note(text, &[&a]),
        note(text, &[&b]),
        note("", &[&a]),
        note("text\n\nwith a blank line\n", &[&a]),
        format!("{text}\n"),
        text.to_owned(),
        good.trim_end().to_owned(),
        good.replace('\n', "\r\n"),
        good.replace("\u{2014}", "-"),
        good.replace("example.com/a ", "example.com/a  "),
        format!("{good}garbage\n"),
        format!("{good}\n"),
        String::new(),
        "\n\n".to_owned(),
    ];
    cases.extend((0..good.len()).map(flipped));
    for case in cases {
        let ours = Note::parse(&case).and_then(|n| n.verify(std::slice::from_ref(&a.0))).is_ok();
        let theirs = Theirs::from_bytes(case.as_bytes()).is_ok_and(|n| {
            let verifier = StandardVerifier::new(&a.0.to_string()).unwrap();
            n.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok()
        });
        assert_eq!(ours, theirs, "{case:?}");
    }
}

#[test]
fn a_known_key_that_fails_rejects_the_note_and_unknown_keys_are_passed_over() {
    let (a, b, c) = (key("example.com/a", 1), key("example.com/b", 2), key("example.com/c", 3));
    let text = "x\n";
    let verified = Note::parse(&note(text, &[&a, &b])).unwrap().verify(&[a.0]).unwrap();
    assert_eq!((verified.trusted, verified.unknown), (1, 1));

    let a = key("example.com/a", 1);
    let wrong = format!("{}{}", note(text, &[&a]), b.0.signature_line(&[7; 64]).unwrap());
    assert!(matches!(Note::parse(&wrong).unwrap().verify(&[a.0, b.0]), Err(Error::Corrupt(_))));
    assert!(matches!(
        Note::parse(&note(text, &[&c])).unwrap().verify(&[key("example.com/a", 1).0]),
        Err(Error::Denied(_))
    ));
    // The same key twice counts once.
    let a = key("example.com/a", 1);
    let twice = Note::parse(&note(text, &[&a, &a])).unwrap().verify(&[key("example.com/a", 1).0]).unwrap();
    assert_eq!(twice.trusted, 1);
}

#[test]
fn a_note_with_too_many_signatures_is_refused() {
    let a = key("example.com/a", 1);
    let sixteen: Vec<_> = (0..16).map(|_| &a).collect();
    assert!(Note::parse(&note("x\n", &sixteen)).is_ok());
    let many: Vec<_> = (0..101).map(|_| &a).collect();
    assert!(matches!(Note::parse(&note("x\n", &many)), Err(Error::Invalid(_))));
    assert!(matches!(Note::parse(&"x".repeat(2 << 20)), Err(Error::Invalid(_))));
}

#[test]
fn checkpoint_bodies_are_strict() {
    let root = BASE64.encode([7u8; 32]);
    let good = format!("example.com/log\n12\n{root}\n");
    let body = CheckpointBody::parse(&good).unwrap();
    assert_eq!((body.size, body.root), (12, [7u8; 32] as Hash));
    assert_eq!(body.to_text(), good);
    assert!(CheckpointBody::parse(&format!("{good}extension\n")).is_ok());
    for bad in [
        String::new(),
        format!("\n12\n{root}\n"),
        format!("example.com/log\n012\n{root}\n"),
        format!("example.com/log\n+12\n{root}\n"),
        format!("example.com/log\n-1\n{root}\n"),
        format!("example.com/log\n\n{root}\n"),
        format!("example.com/log\n18446744073709551616\n{root}\n"),
        "example.com/log\n12\nAAAA\n".to_owned(),
        format!("example.com/log\n0\n{root}\n"),
        format!("example.com/log\n12\n{root}"),
        format!("{good}\n"),
        "example.com/log\n12\n".to_owned(),
    ] {
        assert!(matches!(CheckpointBody::parse(&bad), Err(Error::Invalid(_))), "{bad:?}");
    }
}
