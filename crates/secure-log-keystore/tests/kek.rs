//! Key-encryption keys and their files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use secure_log::envelope::{Envelope, EnvelopeError};
use secure_log::signer::CheckpointSigner;
use secure_log_keystore::{Config, SoftwareKeystore, kek_file_name};

fn keystore(directory: &Path, generate: bool) -> (SoftwareKeystore, Arc<Mutex<Vec<String>>>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let sink = notices.clone();
    let config = Config {
        directory: Some(directory.into()),
        generate,
        notice: Box::new(move |text| sink.lock().unwrap().push(text.to_owned())),
        ..Config::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()))
    };
    (SoftwareKeystore::new(config), notices)
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes a key as `openssl rand -hex 32` would.
fn put(directory: &Path, name: &str, text: &[u8]) {
    let path = directory.join(kek_file_name(name).unwrap());
    fs::write(&path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn a_key_is_made_by_wrapping_where_that_is_allowed_and_by_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (mut looking, _) = keystore(directory.path(), false);
    let Err(EnvelopeError::KeyNotFound(text)) = looking.wrap("a/b", b"key", b"") else { panic!() };
    for wanted in ["openssl rand -hex 32", "a%2Fb.kek", "SECURE_LOG_KEYSTORE_GENERATE=1"] {
        assert!(text.contains(wanted), "{text}");
    }
    let (mut making, notices) = keystore(directory.path(), true);
    assert!(matches!(making.unwrap("a/b", &[0; 60], b""), Err(EnvelopeError::KeyNotFound(_))));
    assert!(matches!(making.destroy("a/b"), Err(EnvelopeError::KeyNotFound(_))));
    assert_eq!(names(directory.path()), [""; 0]);

    let wrapped = making.wrap("a/b", b"key", b"").unwrap();
    assert_eq!(names(directory.path()), ["a%2Fb.kek"]);
    assert!(notices.lock().unwrap()[0].contains("aes-256-gcm"));
    assert_eq!(**looking.unwrap("a/b", &wrapped, b"").unwrap(), *b"key");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(directory.path().join("a%2Fb.kek")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_signing_key_of_the_same_name_is_another_key() {
    let directory = tempfile::tempdir().unwrap();
    let (mut keystore, _) = keystore(directory.path(), true);
    let public = keystore.public_key("audit").unwrap();
    keystore.wrap("audit", b"key", b"").unwrap();
    assert_eq!(names(directory.path()), ["audit.kek", "audit.pem"]);
    keystore.destroy("audit").unwrap();
    assert_eq!(names(directory.path()), ["audit.pem"]);
    assert_eq!(keystore.public_key("audit"), Ok(public));
}

#[test]
fn racing_makers_agree_on_one_key() {
    let directory = tempfile::tempdir().unwrap();
    let wrapped: Vec<_> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| keystore(directory.path(), true).0.wrap("k", b"key", b"").unwrap()))
            .collect();
        makers.into_iter().map(|m| m.join().unwrap()).collect()
    });
    let (mut keystore, _) = keystore(directory.path(), false);
    assert!(wrapped.iter().all(|wrapped| **keystore.unwrap("k", wrapped, b"").unwrap() == *b"key"));
    assert_eq!(names(directory.path()), ["k.kek"]);
}

#[test]
fn files_that_are_no_keys_are_refused_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (mut keystore, _) = keystore(directory.path(), true);
    let digits = "8f3ac1".repeat(10) + "8f3a";
    let damaged = digits.replacen('c', "x", 1);
    for content in [
        &digits[..63],
        &format!("{digits}0"),
        &format!(" {digits}"),
        &damaged,
        "-----BEGIN PRIVATE KEY-----",
        "",
    ] {
        put(directory.path(), "k", content.as_bytes());
        for outcome in
            [keystore.wrap("k", b"key", b"").map(drop), keystore.unwrap("k", &[1; 60], b"").map(drop)]
        {
            let Err(EnvelopeError::Invalid(text)) = outcome else { panic!("{content:?}: {outcome:?}") };
            assert!(text.contains("k.kek") && text.contains("64 hexadecimal digits"), "{text}");
            assert!(!text.contains("8f3a"), "{text}");
        }
        assert_eq!(fs::read(directory.path().join("k.kek")).unwrap(), content.as_bytes());
    }
    put(directory.path(), "k", digits.as_bytes());
    keystore.wrap("k", b"key", b"").unwrap();
    assert!(!format!("{keystore:?}").contains("8f3a"));
}

/// Whoever still has the file open, or a second name for it, finds zeros.
#[test]
fn a_destroyed_key_is_overwritten_removed_and_gone_for_others() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (mut keystore, _) = keystore(directory.path(), true);
    let wrapped = keystore.wrap("k", b"key", b"").unwrap();
    let path = directory.path().join("k.kek");
    fs::hard_link(&path, elsewhere.path().join("second")).unwrap();
    // What a crash leaves of a key that was being made: a copy, where there are no hard links, and somebody else's.
    fs::copy(&path, directory.path().join("%new-0000000000000001")).unwrap();
    fs::write(directory.path().join("%new-0000000000000002"), "another").unwrap();
    let (mut other, _) = self::keystore(directory.path(), false);
    other.unwrap("k", &wrapped, b"").unwrap();

    keystore.destroy("k").unwrap();
    assert_eq!(names(directory.path()), ["%new-0000000000000002"]);
    assert_eq!(fs::read(elsewhere.path().join("second")).unwrap(), [0; 65]);
    for keystore in [&mut keystore, &mut other] {
        assert!(matches!(keystore.unwrap("k", &wrapped, b""), Err(EnvelopeError::KeyNotFound(_))));
    }
    // A new key of the name is not the old one.
    keystore.wrap("k", b"key", b"").unwrap();
    assert!(matches!(keystore.unwrap("k", &wrapped, b""), Err(EnvelopeError::WrongKey(_))));
}

#[test]
fn a_key_that_is_destroyed_in_part_is_gone_and_can_be_destroyed_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut keystore, _) = keystore(directory.path(), true);
    put(directory.path(), "k", &[0; 65]);
    for outcome in [keystore.wrap("k", b"key", b"").map(drop), keystore.unwrap("k", &[1; 60], b"").map(drop)]
    {
        let Err(EnvelopeError::KeyNotFound(text)) = outcome else { panic!("{outcome:?}") };
        assert!(text.contains("destroy it again"), "{text}");
    }
    keystore.destroy("k").unwrap();
    assert_eq!(names(directory.path()), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_link_is_not_destroyed_in_the_place_of_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("key");
    fs::write(&key, "00".repeat(32)).unwrap();
    std::os::unix::fs::symlink(&key, directory.path().join("k.kek")).unwrap();
    let refused = keystore(directory.path(), false).0.destroy("k");
    assert!(
        matches!(&refused, Err(EnvelopeError::Invalid(text)) if text.contains("not a regular file")),
        "{refused:?}"
    );
    assert_eq!(fs::read(&key).unwrap().len(), 64);
}

const WORK: &str = "KEK_TEST_DIRECTORY";

/// Makes and destroys keys in the directory of [`WORK`] and says so, until it is killed.
#[test]
#[ignore = "started by the next test"]
fn make_and_destroy() {
    let directory = std::env::var_os(WORK).unwrap();
    let (mut keystore, _) = keystore(Path::new(&directory), true);
    let mut out = std::io::stdout();
    for n in 0_u32.. {
        let wrapped = keystore.wrap(&format!("made-{n}"), b"key", b"").unwrap();
        let hex: String = wrapped.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "\nmade {n} {hex}").unwrap();
        keystore.wrap(&format!("gone-{n}"), b"key", b"").unwrap();
        keystore.destroy(&format!("gone-{n}")).unwrap();
        writeln!(out, "\ngone {n}").unwrap();
    }
}

/// Killed right after an answer, and wherever it is by then: what was made is there, what was destroyed is not.
#[test]
fn kills_neither_lose_keys_nor_bring_them_back() {
    let mut answers = 0;
    for round in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "make_and_destroy", "--ignored", "--nocapture"])
            .env(WORK, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut lines = lines.filter(|line| line.starts_with("made ") || line.starts_with("gone "));
        let mut said: Vec<_> = lines.by_ref().take(1 + round).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines);
        answers += said.len();

        let (mut keystore, _) = keystore(directory.path(), false);
        for line in said {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["made", n, hex] if hex.len() == 2 * (12 + 3 + 16) => {
                    let wrapped: Vec<_> = (0..hex.len() / 2)
                        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                        .collect();
                    let key = keystore.unwrap(&format!("made-{n}"), &wrapped, b"").unwrap();
                    assert_eq!(**key, *b"key");
                }
                ["gone", n] => {
                    assert!(!directory.path().join(format!("gone-{n}.kek")).exists());
                }
                // The last line may be cut.
                _ => {}
            }
        }
        // Whatever there is can be used or destroyed.
        for name in names(directory.path()).iter().filter_map(|file| secure_log_keystore::key_label(file)) {
            match keystore.wrap(&name, b"key", b"") {
                Ok(_) => {}
                Err(EnvelopeError::KeyNotFound(text)) => assert!(text.contains("destroy it again"), "{text}"),
                Err(other) => panic!("{name}: {other}"),
            }
            keystore.destroy(&name).unwrap();
        }
    }
    assert!(answers > 50, "{answers}");
}
