//! Key files: what is read, what is refused, what is written; OpenSSL reads and verifies the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use secure_log::signature;
use secure_log::signer::{Algorithm, CheckpointSigner, KeyError};
use secure_log_keystore::{Config, PrivateKey, SoftwareKeystore, key_file_name};
use tempfile::TempDir;

type Notices = Arc<Mutex<Vec<String>>>;

fn random(bytes: &mut [u8]) -> Result<(), String> {
    getrandom::fill(bytes).map_err(|e| e.to_string())
}

fn keystore(directory: Option<&Path>, algorithm: Algorithm, generate: bool) -> (SoftwareKeystore, Notices) {
    let notices = Notices::default();
    let said = Arc::clone(&notices);
    let keystore = SoftwareKeystore::new(Config {
        directory: directory.map(Into::into),
        algorithm,
        generate,
        notice: Box::new(move |text| said.lock().unwrap().push(text.to_owned())),
        ..Config::new(random)
    });
    (keystore, notices)
}

fn reading(directory: &Path) -> SoftwareKeystore {
    keystore(Some(directory), Algorithm::Ed25519, false).0
}

fn openssl(arguments: &[&str], directory: &Path) -> Option<Output> {
    Command::new("openssl").args(arguments).current_dir(directory).output().ok()
}

/// Runs OpenSSL, or says on stderr that the test did without it.
fn with_openssl(arguments: &[&str], directory: &Path) -> bool {
    match openssl(arguments, directory) {
        Some(output) => {
            assert!(
                output.status.success(),
                "openssl {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            true
        }
        None => {
            eprintln!("openssl is not installed: this test checked nothing");
            false
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What `openssl genpkey` is given for each kind of key that is usable.
const GENPKEY: [(&str, Algorithm, &[&str]); 5] = [
    ("ed25519", Algorithm::Ed25519, &["-algorithm", "ed25519"]),
    ("p256", Algorithm::EcdsaP256, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("rsa", Algorithm::RsaPssSha256, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("rsa-pss", Algorithm::RsaPssSha256, &["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]),
    (
        "rsa-pss-parameters",
        Algorithm::RsaPssSha256,
        &[
            "-algorithm",
            "RSA-PSS",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-pkeyopt",
            "rsa_pss_keygen_md:sha256",
            "-pkeyopt",
            "rsa_pss_keygen_mgf1_md:sha256",
            "-pkeyopt",
            "rsa_pss_keygen_saltlen:32",
        ],
    ),
];

fn genpkey(directory: &Path, label: &str, arguments: &[&str]) -> bool {
    let file = key_file_name(label).unwrap();
    with_openssl(&[&["genpkey"], arguments, &["-out", &file]].concat(), directory)
}

/// `openssl pkeyutl` on what a keystore signed, with the public half as the keystore gives it.
fn openssl_verifies(keystore: &mut SoftwareKeystore, label: &str) {
    let work = tempfile::tempdir().unwrap();
    let message = b"what an auditor reads\n";
    let key = keystore.public_key(label).unwrap();
    let raw = keystore.sign(label, message).unwrap();
    signature::verify(&key, message, &raw).unwrap();
    fs::write(work.path().join("key.der"), &key.spki_der).unwrap();
    fs::write(work.path().join("message"), message).unwrap();
    let mut arguments = vec![
        "pkeyutl",
        "-verify",
        "-pubin",
        "-keyform",
        "DER",
        "-inkey",
        "key.der",
        "-rawin",
        "-in",
        "message",
        "-sigfile",
        "signature",
    ];
    let sig = match key.algorithm {
        Algorithm::Ed25519 => raw,
        Algorithm::EcdsaP256 => {
            arguments.extend(["-digest", "sha256"]);
            signature::ecdsa_raw_to_der(&raw).unwrap()
        }
        Algorithm::RsaPssSha256 => {
            arguments.extend(["-digest", "sha256", "-pkeyopt", "rsa_padding_mode:pss"]);
            arguments.extend(["-pkeyopt", "rsa_pss_saltlen:32", "-pkeyopt", "rsa_mgf1_md:sha256"]);
            raw
        }
    };
    fs::write(work.path().join("signature"), sig).unwrap();
    with_openssl(&arguments, work.path());
}

#[test]
fn keys_that_openssl_makes_sign_what_openssl_verifies() {
    let directory = tempfile::tempdir().unwrap();
    for (label, algorithm, arguments) in GENPKEY {
        if !genpkey(directory.path(), label, arguments) {
            return;
        }
        // What is asked for new keys does not matter to one that exists.
        for asked in [Algorithm::Ed25519, Algorithm::RsaPssSha256] {
            let (mut keystore, notices) = keystore(Some(directory.path()), asked, true);
            assert_eq!(keystore.public_key(label).unwrap().algorithm, algorithm, "{label}");
            openssl_verifies(&mut keystore, label);
            assert_eq!(*notices.lock().unwrap(), [""; 0], "{label}");
        }
    }
    assert_eq!(names(directory.path()).len(), GENPKEY.len());
}

#[test]
fn keys_that_we_make_are_the_bytes_that_openssl_would_write() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in Algorithm::ALL {
        let label = algorithm.name();
        let (mut keystore, notices) = keystore(Some(directory.path()), algorithm, true);
        let key = keystore.public_key(label).unwrap();
        assert_eq!(key.algorithm, algorithm);
        assert_eq!(notices.lock().unwrap().len(), 1);
        openssl_verifies(&mut keystore, label);

        let file = key_file_name(label).unwrap();
        if with_openssl(&["pkey", "-in", &file, "-out", "copy"], directory.path()) {
            let [ours, theirs] = [&file[..], "copy"].map(|f| fs::read(directory.path().join(f)).unwrap());
            assert!(ours == theirs, "{label}: openssl writes this key differently");
            with_openssl(
                &["pkey", "-in", &file, "-pubout", "-outform", "DER", "-out", "public"],
                directory.path(),
            );
            assert_eq!(fs::read(directory.path().join("public")).unwrap(), key.spki_der);
            with_openssl(&["pkey", "-in", &file, "-check", "-noout"], directory.path());
        }
        assert_eq!(reading(directory.path()).public_key(label), Ok(key));
    }
    #[cfg(unix)]
    for algorithm in Algorithm::ALL {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.path().join(key_file_name(algorithm.name()).unwrap());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_missing_key_says_how_to_make_it_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    for (algorithm, words) in
        [(Algorithm::Ed25519, "ed25519"), (Algorithm::EcdsaP256, "P-256"), (Algorithm::RsaPssSha256, "RSA")]
    {
        let (mut keystore, _) = keystore(Some(directory.path()), algorithm, false);
        for result in [keystore.public_key("log").map(drop), keystore.sign("log", b"m").map(drop)] {
            let Err(KeyError::KeyNotFound(text)) = result else { panic!("{result:?}") };
            for wanted in ["openssl genpkey", words, "log.pem", "SECURE_LOG_KEYSTORE_GENERATE=1"] {
                assert!(text.contains(wanted), "{text}");
            }
        }
    }
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn a_key_made_later_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut early = reading(directory.path());
    early.public_key("log").unwrap_err();
    let (mut maker, _) = keystore(Some(directory.path()), Algorithm::EcdsaP256, true);
    let key = maker.public_key("log").unwrap();
    assert_eq!(early.public_key("log"), Ok(key));
}

#[test]
fn hostile_labels_stay_in_the_directory() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("keys");
    fs::create_dir(&directory).unwrap();
    let (mut keystore, _) = keystore(Some(&directory), Algorithm::Ed25519, true);
    let labels =
        ["..", ".", "../x", "/etc/x", "a/b", "a\\b", "\0", "a\nb", "ключ", "%2F", "-rf", " ", "x.pem"];
    let mut keys = Vec::new();
    for label in labels {
        let key = keystore.public_key(label).unwrap();
        assert!(!keys.contains(&key), "{label:?}");
        keys.push(key);
    }
    assert_eq!(names(parent.path()), ["keys"]);
    assert_eq!(names(&directory).len(), labels.len());
    for label in ["", &"/".repeat(255), &"🔑".repeat(63), &"x".repeat(252), &"x".repeat(256)] {
        assert!(matches!(keystore.public_key(label), Err(KeyError::Invalid(_))), "{label:?}");
    }
    assert_eq!(names(&directory).len(), labels.len());
}

#[test]
fn racing_makers_agree_on_one_key() {
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<_> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    keystore(Some(directory.path()), Algorithm::Ed25519, true).0.public_key("log").unwrap()
                })
            })
            .collect();
        makers.into_iter().map(|m| m.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|k| *k == keys[0]));
    assert_eq!(names(directory.path()), ["log.pem"]);
}

/// A directory in which `log.pem` holds `content`; the error that reading it gives.
fn refusal(content: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.pem");
    fs::write(&path, content).unwrap();
    private(&path);
    let (mut keystore, _) = keystore(Some(directory.path()), Algorithm::Ed25519, true);
    let Err(KeyError::Invalid(text)) = keystore.public_key("log") else { panic!("not refused") };
    assert_eq!(keystore.sign("log", b"m"), Err(KeyError::Invalid(text.clone())));
    assert!(text.contains("log.pem"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), content, "a file that is refused is left alone");
    text
}

fn private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let _ = path;
}

#[test]
fn files_that_are_no_keys_are_refused() {
    let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    assert!(refusal(b"").contains("not a PEM file"));
    assert!(refusal(b"garbage").contains("not a PEM file"));
    assert!(refusal(&[0xff; 300]).contains("not a PEM file"));
    assert!(refusal(&vec![b'x'; 70_000]).contains("too large"));
    assert!(refusal(pem("PRIVATE KEY", "!!!!").as_bytes()).contains("damaged PEM"));
    assert!(refusal(pem("PRIVATE KEY", "MAA=").as_bytes()).contains("damaged PKCS#8"));
    assert!(refusal(pem("ENCRYPTED PRIVATE KEY", "AAAA").as_bytes()).contains("openssl pkey"));
    assert!(refusal(pem("RSA PRIVATE KEY", "AAAA").as_bytes()).contains("openssl pkcs8 -topk8"));
    assert!(refusal(pem("EC PRIVATE KEY", "AAAA").as_bytes()).contains("openssl pkcs8 -topk8"));
    assert!(refusal(pem("PUBLIC KEY", "AAAA").as_bytes()).contains("no private key"));
    assert!(refusal(b"-----BEGIN PRIVATE KEY-----\nAAAA").contains("damaged PEM"));
}

#[test]
fn keys_that_are_not_accepted_are_refused() {
    let cases: [(&[&str], &str); 8] = [
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "only P-256"),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "only P-256"),
        (&["-algorithm", "ed448"], "usable are"),
        (&["-algorithm", "x25519"], "usable are"),
        (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], "1024 bits"),
        (
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"],
            "exponent",
        ),
        (
            &[
                "-algorithm",
                "RSA-PSS",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-pkeyopt",
                "rsa_pss_keygen_md:sha512",
            ],
            "RSASSA-PSS parameters",
        ),
        (&["-algorithm", "ed25519", "-aes256", "-pass", "pass:secret"], "encrypted"),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (arguments, wanted) in cases {
        if !genpkey(directory.path(), "log", arguments) {
            return;
        }
        let text = refusal(&fs::read(directory.path().join("log.pem")).unwrap());
        assert!(text.contains(wanted), "{arguments:?}: {text}");
    }
    // The traditional form of a key that is fine as PKCS#8.
    genpkey(directory.path(), "log", GENPKEY[1].2);
    with_openssl(&["pkey", "-traditional", "-in", "log.pem", "-out", "old.pem"], directory.path());
    assert!(refusal(&fs::read(directory.path().join("old.pem")).unwrap()).contains("openssl pkcs8 -topk8"));
}

/// Every file that differs from a good one in one byte is refused or is that key, and no error
/// repeats any of the file.
#[test]
fn damaged_keys_are_refused_without_a_word_of_them() {
    let mut fill: secure_log_keystore::FillRandom = Box::new(random);
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
        let key = PrivateKey::generate(algorithm, &mut fill).unwrap();
        let pem = key.to_pem().unwrap();
        for at in 0..pem.len() {
            let mut damaged = pem.as_bytes().to_vec();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            match PrivateKey::from_pem(&damaged, &mut fill) {
                Ok(other) => assert!(!format!("{other:?}").contains(&pem[30..40])),
                Err(text) => {
                    let leaks = pem.as_bytes().windows(8).filter(|w| !w.starts_with(b"-----")).any(|w| {
                        let w = std::str::from_utf8(w).unwrap();
                        !"-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----".contains(w.trim())
                            && text.contains(w)
                    });
                    assert!(!leaks, "{text}");
                }
            }
        }
        for length in 0..pem.len() - 1 {
            assert!(PrivateKey::from_pem(&pem.as_bytes()[..length], &mut fill).is_err());
        }
        assert_eq!(format!("{key:?}"), format!("PrivateKey({})", algorithm.name()));
    }
}

#[test]
fn line_ends_of_other_systems_are_fine() {
    let mut fill: secure_log_keystore::FillRandom = Box::new(random);
    let key = PrivateKey::generate(Algorithm::Ed25519, &mut fill).unwrap();
    let pem = key.to_pem().unwrap().replace('\n', "\r\n");
    assert_eq!(PrivateKey::from_pem(pem.as_bytes(), &mut fill).unwrap().public(), key.public());
}

#[test]
fn directories_that_cannot_be_used() {
    let parent = tempfile::tempdir().unwrap();
    let there = |path: PathBuf| {
        let (mut keystore, _) = keystore(Some(&path), Algorithm::Ed25519, true);
        keystore.public_key("log").unwrap_err()
    };
    let error = there(parent.path().join("missing"));
    assert!(matches!(&error, KeyError::Invalid(text) if text.contains("SECURE_LOG_KEYSTORE_DIR")), "{error}");
    fs::write(parent.path().join("file"), b"").unwrap();
    let error = there(parent.path().join("file"));
    assert!(matches!(&error, KeyError::Invalid(_)), "{error}");
    fs::create_dir(parent.path().join("log.pem")).unwrap();
    let error = there(parent.path().into());
    assert!(matches!(&error, KeyError::Invalid(text) if text.contains("not a regular file")), "{error}");
    assert_eq!(names(parent.path()), ["file", "log.pem"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_warned_about_and_used() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    keystore(Some(directory.path()), Algorithm::Ed25519, true).0.public_key("log").unwrap();
    let path = directory.path().join("log.pem");
    for (mode, warnings) in [(0o600, 0), (0o400, 0), (0o644, 1), (0o640, 1)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (mut keystore, notices) = keystore(Some(directory.path()), Algorithm::Ed25519, false);
        keystore.sign("log", b"m").unwrap();
        keystore.sign("log", b"m").unwrap();
        assert_eq!(notices.lock().unwrap().len(), warnings, "{mode:o}");
    }
}

/// As root nothing is unreadable, so this says nothing there.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_is_denied() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    keystore(Some(directory.path()), Algorithm::Ed25519, true).0.public_key("log").unwrap();
    let path = directory.path().join("log.pem");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        eprintln!("running as root: this test checked nothing");
        return;
    }
    assert!(matches!(reading(directory.path()).public_key("log"), Err(KeyError::Denied(_))));
}

#[test]
fn ephemeral_keys_are_said_to_be_so_once() {
    let (mut keystore, notices) = keystore(None, Algorithm::EcdsaP256, false);
    let first = keystore.public_key("a").unwrap();
    assert_ne!(keystore.public_key("b").unwrap(), first);
    assert_eq!(keystore.public_key("a").unwrap(), first);
    let notices = notices.lock().unwrap();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("SECURE_LOG_KEYSTORE_DIR"), "{}", notices[0]);
    assert!(format!("{keystore:?}").len() < 200);
}

#[test]
fn without_randomness_nothing_is_made_or_salted() {
    let directory: TempDir = tempfile::tempdir().unwrap();
    for algorithm in Algorithm::ALL {
        let mut keystore = SoftwareKeystore::new(Config {
            directory: Some(directory.path().into()),
            algorithm,
            generate: true,
            ..Config::new(|_| Err("the dice are lost".into()))
        });
        let error = keystore.public_key("log").unwrap_err();
        assert!(matches!(&error, KeyError::Failed(text) if text.contains("the dice are lost")), "{error}");
    }
    assert_eq!(names(directory.path()), [""; 0]);
}

/// RFC 6979 A.2.5: the signature is the deterministic one, and its high s stays as it is.
#[test]
fn ecdsa_is_rfc_6979() {
    use p256::pkcs8::{EncodePrivateKey, LineEnding};
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    let secret = hex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
    let pem = p256::SecretKey::from_slice(&secret).unwrap().to_pkcs8_pem(LineEnding::LF).unwrap();
    let mut fill: secure_log_keystore::FillRandom = Box::new(random);
    let key = PrivateKey::from_pem(pem.as_bytes(), &mut fill).unwrap();
    let expected = "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716\
                    F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8";
    assert_eq!(key.sign(b"sample", &mut fill).unwrap(), hex(expected));
}
