//! Policy files of tlog-policy, and notes measured by them.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod parties;

use parties::{TestLog, cosign, cosigner};
use proptest::prelude::*;
use secure_log::Error;
use secure_log::note::Note;
use secure_log::policy::{MAX_ITEMS, MAX_POLICY, Missing, Policy, Problem};

fn log() -> TestLog {
    let mut log = TestLog::new("example.com/log", 1);
    log.grow(5);
    log
}

/// Witness `n` has the key of seed 100 + n and the name `wN.example`.
fn witness_line(name: &str, n: u8) -> String {
    format!("witness {name} {}\n", cosigner(&format!("w{n}.example"), 100 + n))
}

/// The log's note, cosigned by these witnesses.
fn cosigned(log: &TestLog, by: impl IntoIterator<Item = u8>) -> Note {
    let note = Note::parse(&log.checkpoint()).unwrap();
    let cosignatures: Vec<_> = by
        .into_iter()
        .map(|n| cosign(&format!("w{n}.example"), 100 + n, &note.text, 1_700_000_000 + u64::from(n)))
        .collect();
    note.with_cosignatures(&cosignatures)
}

fn problem(file: &str) -> (Option<usize>, Problem) {
    let error = Policy::parse(file.as_bytes()).unwrap_err();
    // Every refusal has a text and crosses the seam as `invalid`.
    assert!(
        matches!(Error::from(error.clone()), Error::Invalid(i) if i.field == "policy" && !i.reason.is_empty())
    );
    (error.line, error.problem)
}

#[test]
fn the_example_of_the_specification() {
    let log = log();
    let mut file = format!("log {}\n\n", log.verifier());
    for (name, n) in [("X1", 1), ("X2", 2), ("X3", 3)] {
        file += &witness_line(name, n);
    }
    file += "group X-witnesses 2 X1 X2 X3\n\n";
    for (name, n) in [("Y1", 4), ("Y2", 5), ("Y3", 6)] {
        file += &witness_line(name, n);
    }
    file += "group Y-witnesses any Y1 Y2 Y3\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";
    let policy = Policy::parse(file.as_bytes()).unwrap();
    assert_eq!(policy.quorum().unwrap().to_string(), "X-and-Y");
    assert_eq!(policy.witnesses().count(), 6);
    // All 64 sets of witnesses.
    for set in 0..64u8 {
        let by: Vec<u8> = (1..=6).filter(|n| set & (1 << (n - 1)) != 0).collect();
        let status = policy.evaluate(&cosigned(&log, by.iter().copied())).unwrap();
        let (x, y) = ((set & 7).count_ones(), (set >> 3).count_ones());
        assert_eq!(status.is_satisfied(), x >= 2 && y >= 1, "{by:?}: {status}");
        assert_eq!(status.cosigned.len() + status.absent.len(), 6);
        assert_eq!(status.cosigned.len(), by.len());
        assert_eq!(policy.require(&cosigned(&log, by)).is_ok(), x >= 2 && y >= 1);
    }
    let degraded = policy.evaluate(&cosigned(&log, [2])).unwrap();
    assert_eq!(
        degraded.to_string(),
        "degraded: the quorum X-and-Y misses 2 more of X-and-Y (1 more of X-witnesses (X1, X3), \
         1 more of Y-witnesses (Y1, Y2, Y3)); cosigned by X2 at 1700000002"
    );
    let Err(Error::Denied(text)) = policy.require(&cosigned(&log, [2])) else { panic!() };
    assert!(text.contains("1 more of X-witnesses (X1, X3)"), "{text}");
    let met = policy.evaluate(&cosigned(&log, [1, 2, 4])).unwrap();
    assert_eq!(
        met.to_string(),
        "witnessed: the quorum X-and-Y is met; cosigned by X1 at 1700000001, X2 at 1700000002, Y1 at 1700000004"
    );
}

/// The truth table of TestTwoOfNWitnessPolicy in sigsum-go (pkg/policy/policy_test.go at 192b553,
/// BSD-2).
#[test]
fn nested_thresholds_as_sigsum_has_them() {
    let log = log();
    let mut file = format!("log {}\n", log.verifier());
    for n in 0..6 {
        file += &witness_line(&format!("w{n}"), n);
    }
    let two =
        format!("{file}group g0 2 w0 w1\ngroup g1 2 w2 w3\ngroup g2 2 g1 w4 w5\ngroup q 2 g0 g2\nquorum q\n");
    let two = Policy::parse(two.as_bytes()).unwrap();
    let one = format!(
        "{file}group g0 1 w0 w1\ngroup g1 any w2 w3\ngroup g2 1 g1 w4 w5\ngroup q any g0 g2\nquorum q\n"
    );
    let one = Policy::parse(one.as_bytes()).unwrap();
    for i in 0..64u8 {
        let note = cosigned(&log, (0..6).filter(|j| i & (1 << j) != 0));
        let truth =
            [[false; 4], [false, false, false, true], [false, false, false, true], [true; 4]].concat();
        let expected = i & 3 == 3 && truth[usize::from(i >> 2)];
        assert_eq!(two.evaluate(&note).unwrap().is_satisfied(), expected, "{i}");
        assert_eq!(one.evaluate(&note).unwrap().is_satisfied(), i != 0, "{i}");
    }
}

#[test]
fn a_quorum_may_be_one_witness_or_none() {
    let log = log();
    let file = format!("{}{}quorum a\n", witness_line("a", 1), witness_line("b", 2));
    let policy = Policy::parse(file.as_bytes()).unwrap();
    let status = policy.evaluate(&cosigned(&log, [2])).unwrap();
    assert_eq!(status.missing, Some(Missing::Witness("a".into())));
    assert_eq!(
        status.to_string(),
        "degraded: the quorum a misses a; cosigned by b at 1700000002; \
         the log's own signature was not checked (the policy names no logs)"
    );
    assert!(policy.evaluate(&cosigned(&log, [1])).unwrap().is_satisfied());

    let none = Policy::parse(b"quorum none\n").unwrap();
    let status = none.require(&cosigned(&log, [])).unwrap();
    assert!(status.is_satisfied() && !status.log_checked);
    assert!(status.to_string().starts_with("not witnessed: "), "{status}");
}

#[test]
fn the_log_must_be_one_of_the_policy_s() {
    let (a, mut b) = (log(), TestLog::new("example.com/other", 2));
    b.grow(5);
    let both = format!("log {}\nlog {} https://b.example/\nquorum none\n", a.verifier(), b.verifier());
    let both = Policy::parse(both.as_bytes()).unwrap();
    assert!(both.require(&cosigned(&a, [])).unwrap().log_checked);
    assert!(both.require(&cosigned(&b, [])).is_ok());
    assert_eq!(both.logs().nth(1).unwrap().1.unwrap().as_str(), Some("https://b.example/"));

    let only_b = Policy::parse(format!("log {}\nquorum none\n", b.verifier()).as_bytes()).unwrap();
    assert!(matches!(only_b.evaluate(&cosigned(&a, [])), Err(Error::Denied(_))));
    // The other log's key signs a checkpoint in the name of this one.
    let text = Note::parse(&a.checkpoint()).unwrap().text;
    let forged = Note::parse(&b.sign(&text)).unwrap();
    assert!(matches!(both.evaluate(&forged), Err(Error::Denied(_))));
    // And a cosignature is not a log's signature.
    let mut unsigned = cosigned(&a, [1]);
    unsigned.signatures.remove(0);
    let file = format!("log {}\n{}quorum x\n", a.verifier(), witness_line("x", 1));
    assert!(matches!(Policy::parse(file.as_bytes()).unwrap().evaluate(&unsigned), Err(Error::Denied(_))));
}

#[test]
fn a_witness_that_fails_rejects_the_note_whatever_the_quorum() {
    let log = log();
    let file = format!("{}{}group g any a b\nquorum g\n", witness_line("a", 1), witness_line("b", 2));
    let policy = Policy::parse(file.as_bytes()).unwrap();
    let mut note = cosigned(&log, [1, 2]);
    note.signatures[2].signature[20] ^= 1;
    assert!(matches!(policy.evaluate(&note), Err(Error::Corrupt(_))));
    // A stranger's broken line is no concern of ours.
    let mut note = cosigned(&log, [1, 3]);
    note.signatures[2].signature[20] ^= 1;
    assert!(policy.require(&note).is_ok());
}

#[test]
fn one_witness_under_many_lines_counts_once() {
    let log = log();
    let file = format!("{}{}group g 2 a b\nquorum g\n", witness_line("a", 1), witness_line("b", 2));
    let policy = Policy::parse(file.as_bytes()).unwrap();
    let mut note = cosigned(&log, [1]);
    for time in 1..10 {
        let again = note.with_cosignatures(&[cosign("w1.example", 101, &note.text, time)]);
        note.signatures.extend(again.signatures.last().cloned());
    }
    assert_eq!(note.signatures.len(), 11);
    assert!(!policy.evaluate(&note).unwrap().is_satisfied());
}

#[test]
fn white_space_comments_and_octets() {
    let mut file = b"\n# comment\n \t # another \xff\n".to_vec();
    file.extend(witness_line(" \t a\t", 1).replace('\n', " \t https://\u{fc}.example/\t \n").into_bytes());
    // Names that only bytes tell apart, one of them not UTF-8.
    file.extend(
        [b"witness \xe2\x84\xaa ", cosigner("w2.example", 102).to_string().as_bytes(), b"\n"].concat(),
    );
    file.extend([b"witness \xff ", cosigner("w3.example", 103).to_string().as_bytes(), b"\n"].concat());
    file.extend(witness_line("K", 4).into_bytes());
    file.extend(b"group all 2 a \xe2\x84\xaa \xff K\n\tquorum\tall \n");
    let policy = Policy::parse(&file).unwrap();
    let names: Vec<_> = policy.witnesses().map(|w| w.name.as_bytes().to_vec()).collect();
    assert_eq!(names, [&b"a"[..], b"\xe2\x84\xaa", b"\xff", b"K"]);
    assert_eq!(policy.witnesses().next().unwrap().url.unwrap().as_str(), Some("https://\u{fc}.example/"));
    assert_eq!(policy.witnesses().nth(2).unwrap().name.as_str(), None);
    // Lines may come after the quorum.
    let again =
        Policy::parse(&[&policy.to_bytes()[..], witness_line("late", 9).as_bytes()].concat()).unwrap();
    assert_eq!(again.witnesses().count(), 5);
    let written = policy.to_bytes();
    assert_eq!(Policy::parse(&written).unwrap().to_bytes(), written);
}

#[test]
fn every_error_names_its_line() {
    let (a, b) = (witness_line("a", 1), witness_line("b", 2));
    let log = log();
    let key = log.verifier();
    let form = |form| Problem::Form(form);
    let (log_form, witness_form) = ("log <vkey> [<url>]", "witness <name> <vkey> [<url>]");
    let (group_form, quorum_form) = ("group <name> all|any|<k> <name>...", "quorum <name>|none");
    let cases: Vec<(String, Option<usize>, Problem)> = vec![
        (String::new(), None, Problem::NoQuorum),
        (a.clone(), None, Problem::NoQuorum),
        ("quorum none".into(), Some(1), Problem::Unterminated),
        (format!("{a}{b}group g all a b\nquorum g"), Some(4), Problem::Unterminated),
        ("# \x0c\nquorum none\n".into(), Some(1), Problem::ControlCharacter(0x0c)),
        ("quorum none\n# \x7f\n".into(), Some(2), Problem::ControlCharacter(0x7f)),
        ("quorum none\r\n".into(), Some(1), Problem::ControlCharacter(b'\r')),
        ("Quorum none\n".into(), Some(1), Problem::UnknownKeyword("Quorum".into())),
        ("\nmirror x\n".into(), Some(2), Problem::UnknownKeyword("mirror".into())),
        ("quorum none\nquorum none\n".into(), Some(2), Problem::SecondQuorum),
        ("quorum\n".into(), Some(1), form(quorum_form)),
        ("quorum none # comment\n".into(), Some(1), form(quorum_form)),
        ("quorum x\n".into(), Some(1), Problem::UndefinedName("x".into())),
        (format!("quorum a\n{a}"), Some(1), Problem::UndefinedName("a".into())),
        ("log\n".into(), Some(1), form(log_form)),
        (format!("log {key} http://example.org #comment\n"), Some(1), form(log_form)),
        (
            format!("log {key}\n\nlog {key} http://example.org\n"),
            Some(3),
            Problem::DuplicateKey(key.to_string()),
        ),
        ("witness a\n".into(), Some(1), form(witness_form)),
        (format!("{a}{}", witness_line("a", 2)), Some(2), Problem::DuplicateName("a".into())),
        (witness_line("none", 1), Some(1), Problem::DuplicateName("none".into())),
        (
            // The same key under another key name is the same witness.
            format!("{a}witness c {}\n", cosigner("other", 101)),
            Some(2),
            Problem::DuplicateKey(cosigner("other", 101).to_string()),
        ),
        (format!("{a}group\n"), Some(2), form(group_form)),
        (format!("{a}group g any\n"), Some(2), form(group_form)),
        (format!("{a}group g some a\n"), Some(2), Problem::Threshold("some".into())),
        (format!("{a}group g 0 a\n"), Some(2), Problem::Threshold("0".into())),
        (format!("{a}group g 2 a\n"), Some(2), Problem::Threshold("2".into())),
        (format!("{a}group g 01 a\n"), Some(2), Problem::Threshold("01".into())),
        (format!("{a}group g -1 a\n"), Some(2), Problem::Threshold("-1".into())),
        (format!("{a}group g all a x\n"), Some(2), Problem::UndefinedName("x".into())),
        (format!("{a}group g all a g\n"), Some(2), Problem::UndefinedName("g".into())),
        (format!("{a}group g all a none\n"), Some(2), Problem::NoneAsMember),
        (format!("{a}{b}group g 2 a b a\n"), Some(3), Problem::AlreadyMember("a".into())),
        (format!("{a}{b}group g all a\ngroup h any b a\n"), Some(4), Problem::AlreadyMember("a".into())),
        (format!("{a}group a any a\n"), Some(2), Problem::DuplicateName("a".into())),
        (format!("{a}group none any a\n"), Some(2), Problem::DuplicateName("none".into())),
    ];
    for (file, line, expected) in cases {
        assert_eq!(problem(&file), (line, expected), "{file:?}");
    }
    // Keys of the wrong kind: a log's key for a witness, and the other way round.
    for file in [
        format!("witness a {key}\n"),
        format!("log {}\n", cosigner("w1.example", 101)),
        "log x\n".into(),
        "witness a x+00000000+BgAA\n".into(),
    ] {
        let (line, problem) = problem(&file);
        assert!(line == Some(1) && matches!(problem, Problem::Key(_)), "{file:?}");
    }
    let (line, found) = {
        let error = Policy::parse(b"log \xff+00000000+AA\n").unwrap_err();
        (error.line, error.problem)
    };
    assert!(line == Some(1) && matches!(found, Problem::Key(_)));
}

#[test]
fn the_same_key_may_be_a_log_s_and_a_witness_s() {
    let log = log();
    let file = format!("log {}\nwitness w {}\nquorum w\n", log.verifier(), cosigner("example.com/log", 1));
    let policy = Policy::parse(file.as_bytes()).unwrap();
    let note = Note::parse(&log.checkpoint()).unwrap();
    // The log's signature is not its cosignature.
    assert!(!policy.evaluate(&note).unwrap().is_satisfied());
    let note = note.with_cosignatures(&[cosign("example.com/log", 1, &note.text, 9)]);
    assert!(policy.require(&note).is_ok());
}

#[test]
fn policies_are_bounded() {
    let lines = |n: usize| -> String { (0..n).map(|n| witness_line(&format!("w{n}"), n as u8)).collect() };
    assert!(Policy::parse(format!("{}quorum none\n", lines(MAX_ITEMS)).as_bytes()).is_ok());
    let too_many = format!("{}quorum none\n", lines(MAX_ITEMS + 1));
    assert_eq!(problem(&too_many), (Some(MAX_ITEMS + 1), Problem::TooMany("witnesses")));
    // A chain of groups, each of the one before.
    let mut file = witness_line("g0", 1);
    for n in 1..=MAX_ITEMS {
        file += &format!("group g{n} all g{}\n", n - 1);
    }
    let deep = format!("{file}quorum g{MAX_ITEMS}\n");
    let policy = Policy::parse(deep.as_bytes()).unwrap();
    assert!(!policy.evaluate(&cosigned(&log(), [])).unwrap().is_satisfied());
    assert!(policy.evaluate(&cosigned(&log(), [1])).unwrap().is_satisfied());
    file += &format!("group more any g{MAX_ITEMS}\n");
    assert_eq!(problem(&file), (Some(MAX_ITEMS + 2), Problem::TooMany("groups")));
    let long = format!("# {}\nquorum none\n", "x".repeat(MAX_POLICY));
    assert_eq!(problem(&long), (None, Problem::TooLong));
}

proptest! {
    #[test]
    fn no_file_panics(file in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(policy) = Policy::parse(&file) {
            prop_assert_eq!(Policy::parse(&policy.to_bytes()).unwrap().to_bytes(), policy.to_bytes());
        }
    }

    #[test]
    fn no_lines_panic(lines in proptest::collection::vec("(log|witness|group|quorum|#)( (a|b|none|all|any|1|2|x\\+0\\+AQ==)){0,5}", 0..12)) {
        let _ = Policy::parse(format!("{}{}\n", witness_line("a", 1), lines.join("\n")).as_bytes());
    }

    /// Random k-of-n trees mean what a direct count says.
    #[test]
    fn thresholds_count(n in 1..8usize, k in 1..8usize, set in any::<u8>()) {
        prop_assume!(k <= n);
        let log = log();
        let mut file: String = (0..n).map(|i| witness_line(&format!("w{i}"), i as u8)).collect();
        let members: Vec<_> = (0..n).map(|i| format!("w{i}")).collect();
        file += &format!("group g {k} {}\nquorum g\n", members.join(" "));
        let policy = Policy::parse(file.as_bytes()).unwrap();
        prop_assert_eq!(Policy::parse(&policy.to_bytes()).unwrap().to_bytes(), policy.to_bytes());
        let by: Vec<u8> = (0..n as u8).filter(|i| set & (1 << i) != 0).collect();
        let status = policy.evaluate(&cosigned(&log, by.iter().copied())).unwrap();
        prop_assert_eq!(status.is_satisfied(), by.len() >= k);
        if let Some(Missing::Group { more, of, .. }) = status.missing {
            prop_assert_eq!((more, of.len()), (k - by.len(), n - by.len()));
        }
    }
}
