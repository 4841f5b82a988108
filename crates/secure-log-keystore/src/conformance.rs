//! What every keystore must do, whoever holds the keys.
//!
//! [`RULES`] is a table of named rules over any [`CheckpointSigner`]; the macro
//! `keystore_conformance!` makes one test of each:
//!
//! ```
//! use secure_log_keystore::conformance::Keys;
//! use secure_log_keystore::{Config, SoftwareKeystore};
//!
//! fn open() -> (SoftwareKeystore, Keys, ()) {
//!     let config = Config::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()));
//!     let present = vec!["first".to_owned(), "second".to_owned()];
//!     (SoftwareKeystore::new(config), Keys { present, missing: None }, ())
//! }
//! secure_log_keystore::keystore_conformance!(open);
//! # fn main() {
//! #     secure_log_keystore::conformance::check_all(open).unwrap();
//! # }
//! ```

pub mod envelope;

use secure_log::signature::Verifier;
use secure_log::signer::{Algorithm, CheckpointSigner, KeyError, PublicKey};

/// The keys that a keystore under test is said to have.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Names of usable keys: two or more, of any algorithms.
    pub present: Vec<String>,
    /// A name that no key has. `None` where a name is all that it takes (ephemeral keys).
    pub missing: Option<String>,
}

/// A rule: its name, and a check that says what was broken.
pub struct Rule {
    /// Name in snake case.
    pub name: &'static str,
    /// Checks the rule on a keystore that has just been opened.
    pub check: fn(&mut dyn CheckpointSigner, &Keys) -> Result<(), String>,
}

/// Checks every rule, each on a keystore of its own; the names and reasons of those broken.
/// The third part of what `open` gives lives as long as the keystore (a directory, a token).
pub fn check_all<K: CheckpointSigner, A>(
    mut open: impl FnMut() -> (K, Keys, A),
) -> Result<(), Vec<(&'static str, String)>> {
    let mut broken = Vec::new();
    for rule in RULES {
        let (mut keystore, keys, _alive) = open();
        if let Err(reason) = (rule.check)(&mut keystore, &keys) {
            broken.push((rule.name, reason));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

/// Checks one rule and panics where it is broken; what the tests of `keystore_conformance!` call.
pub fn run<K: CheckpointSigner, A>(rule: &Rule, (mut keystore, keys, _alive): (K, Keys, A)) {
    if let Err(reason) = (rule.check)(&mut keystore, &keys) {
        panic!("{}: {reason}", rule.name);
    }
}

macro_rules! rules {
    ($($name:ident,)*) => {
        /// Every rule.
        pub const RULES: &[Rule] = &[$(Rule { name: stringify!($name), check: $name }),*];

        /// One `#[test]` for each rule of [`conformance`](crate::conformance). `$open` is called
        /// without arguments and gives a keystore, its `Keys`, and what must live as long.
        #[macro_export]
        macro_rules! keystore_conformance {
            ($open:expr) => {$(
                #[test]
                fn $name() {
                    let rule = $crate::conformance::RULES.iter().find(|r| r.name == stringify!($name));
                    $crate::conformance::run(rule.expect("a rule of this name"), ($open)());
                }
            )*};
        }
    };
}

rules! {
    public_keys_are_canonical,
    public_keys_stay_the_same,
    signing_needs_no_get_key_before_it,
    messages_of_every_size_are_signed,
    a_message_is_never_taken_for_a_digest,
    signatures_do_not_fit_another_message,
    keys_are_different_keys,
    ed25519_signatures_repeat,
    rsa_pss_salts_differ,
    a_hundred_signatures_verify,
    a_missing_key_is_not_created_by_looking,
    unusable_names_are_refused,
    hostile_names_do_no_harm,
}

type Outcome = Result<(), String>;

fn public_key(keystore: &mut dyn CheckpointSigner, name: &str) -> Result<PublicKey, String> {
    keystore.public_key(name).map_err(|e| format!("public key of {name:?}: {e}"))
}

fn verifier(key: &PublicKey) -> Result<Verifier, String> {
    Verifier::new(key).map_err(|e| e.to_string())
}

fn sign(keystore: &mut dyn CheckpointSigner, name: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    keystore.sign(name, message).map_err(|e| format!("sign {} bytes with {name:?}: {e}", message.len()))
}

fn signed(keystore: &mut dyn CheckpointSigner, name: &str, message: &[u8]) -> Outcome {
    let signature = sign(keystore, name, message)?;
    let key = public_key(keystore, name)?;
    verifier(&key)?
        .verify(message, &signature)
        .map_err(|e| format!("signature of {} bytes with {name:?}: {e}", message.len()))
}

fn require(holds: bool, reason: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(reason.into()) }
}

fn public_keys_are_canonical(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    require(keys.present.len() >= 2, "the suite wants two keys or more")?;
    for name in &keys.present {
        let key = public_key(keystore, name)?;
        let read = PublicKey::from_spki_der(&key.spki_der).map_err(|e| format!("{name:?}: {e}"))?;
        require(
            read == key,
            format!("{name:?} is said to be {:?}, its SPKI {:?}", key.algorithm, read.algorithm),
        )?;
    }
    Ok(())
}

fn public_keys_stay_the_same(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    let mut before = Vec::new();
    for name in &keys.present {
        before.push(public_key(keystore, name)?);
    }
    for (name, before) in keys.present.iter().zip(before) {
        signed(keystore, name, b"in between")?;
        require(public_key(keystore, name)? == before, format!("{name:?} changed"))?;
    }
    Ok(())
}

fn signing_needs_no_get_key_before_it(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    keys.present.iter().try_for_each(|name| signed(keystore, name, b"message"))
}

fn messages_of_every_size_are_signed(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i ^ (i >> 7)) as u8).collect();
    for name in &keys.present {
        for length in [0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 256, 4096, 65_536, bytes.len()] {
            signed(keystore, name, &bytes[..length])?;
        }
    }
    Ok(())
}

fn a_message_is_never_taken_for_a_digest(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    // What verifies 32 or 64 bytes as a message has hashed them.
    for name in &keys.present {
        for message in [&[0; 32][..], &[0xff; 32], &[7; 48], &[7; 64]] {
            signed(keystore, name, message)?;
        }
    }
    Ok(())
}

fn signatures_do_not_fit_another_message(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    for name in &keys.present {
        let verifier = verifier(&public_key(keystore, name)?)?;
        let signature = sign(keystore, name, b"one message")?;
        for other in [&b"another"[..], b"", b"one message\n", b"one messagf"] {
            require(verifier.verify(other, &signature).is_err(), format!("{name:?}: fits {other:?}"))?;
        }
    }
    Ok(())
}

fn keys_are_different_keys(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    for (i, a) in keys.present.iter().enumerate() {
        let signature = sign(keystore, a, b"message")?;
        for b in &keys.present[i + 1..] {
            let (key_a, key_b) = (public_key(keystore, a)?, public_key(keystore, b)?);
            require(key_a != key_b, format!("{a:?} and {b:?} are one key"))?;
            let taken = verifier(&key_b)?.verify(b"message", &signature).is_ok();
            require(!taken, format!("{b:?} verifies what {a:?} signed"))?;
        }
    }
    Ok(())
}

fn repeated(keystore: &mut dyn CheckpointSigner, keys: &Keys, algorithm: Algorithm, same: bool) -> Outcome {
    for name in &keys.present {
        if public_key(keystore, name)?.algorithm == algorithm {
            let (a, b) = (sign(keystore, name, b"m")?, sign(keystore, name, b"m")?);
            require((a == b) == same, format!("{name:?}: two signatures equal: {}", a == b))?;
        }
    }
    Ok(())
}

fn ed25519_signatures_repeat(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    repeated(keystore, keys, Algorithm::Ed25519, true)
}

fn rsa_pss_salts_differ(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    repeated(keystore, keys, Algorithm::RsaPssSha256, false)
}

fn a_hundred_signatures_verify(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    for (i, name) in keys.present.iter().cycle().take(100).enumerate() {
        signed(keystore, name, format!("message {i}").as_bytes())?;
    }
    Ok(())
}

fn a_missing_key_is_not_created_by_looking(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    let Some(missing) = &keys.missing else { return Ok(()) };
    for _ in 0..2 {
        let looked = keystore.public_key(missing);
        require(matches!(looked, Err(KeyError::KeyNotFound(_))), format!("get-key: {looked:?}"))?;
        let signed = keystore.sign(missing, b"message");
        require(matches!(signed, Err(KeyError::KeyNotFound(_))), format!("sign: {signed:?}"))?;
    }
    signing_needs_no_get_key_before_it(keystore, keys)
}

fn unusable_names_are_refused(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    for name in ["", &"x".repeat(256), &"🔑".repeat(64)] {
        let looked = keystore.public_key(name);
        require(matches!(looked, Err(KeyError::Invalid(_))), format!("get-key {name:?}: {looked:?}"))?;
        let signed = keystore.sign(name, b"message");
        require(matches!(signed, Err(KeyError::Invalid(_))), format!("sign {name:?}: {signed:?}"))?;
    }
    signing_needs_no_get_key_before_it(keystore, keys)
}

fn hostile_names_do_no_harm(keystore: &mut dyn CheckpointSigner, keys: &Keys) -> Outcome {
    let long = "x".repeat(255);
    let wide = "🔑".repeat(63);
    for name in [
        ".",
        "..",
        "/",
        "../x",
        "a/b",
        "a\\b",
        "\0",
        "a\nb",
        "%",
        "%2F",
        "*",
        "~",
        "$HOME",
        "C:x",
        "pkcs11:object=x",
        "ключ",
        " ",
        "-rf",
        "--",
        &long,
        &wide,
    ] {
        match keystore.sign(name, b"message") {
            Err(KeyError::KeyNotFound(_) | KeyError::Invalid(_)) => {}
            Ok(_) if keys.missing.is_none() => {}
            other => return Err(format!("sign {name:?}: {other:?}")),
        }
    }
    signing_needs_no_get_key_before_it(keystore, keys)
}
