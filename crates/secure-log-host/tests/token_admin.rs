//! Keys are made, imported, renamed, destroyed, and wrap others, through a PKCS #11 library of this host.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

#[path = "common/tokens.rs"]
mod tokens;

use ed25519_dalek::SigningKey;
use secure_log_host::token::{ModuleSession, ModuleWrappingKey};
use secure_log_pkcs11::token::{
    Admin as _, Curve, EcPoint, Key as _, KeyQuery, KeySpec, Mechanism, PrivateEcKey, PrivateKey, PublicKey,
    Session as _, TokenError, User, Wrapping as _, WrappingKey as _, Zeroizing,
};
use tokens::{key, keys, provisioned, session};

const P256: KeySpec = KeySpec::Ec(Curve::P256);
const ECDSA: Mechanism = Mechanism::EcdsaPrehashed;

#[test]
fn labels_and_ids_are_taken_once() {
    let module = provisioned("taken", &[("one", P256)]);
    let session = session(&module, "taken", true);
    let make = |spec, label: &str, id: &[u8]| module.generate_key(&session, spec, label, id);
    assert_eq!(make(P256, "one", &[2]), Err(TokenError::Exists));
    assert_eq!(make(KeySpec::Rsa(2048), "two", &[1]), Err(TokenError::Exists));
    make(KeySpec::Aes, "wrap", &[7]).unwrap();
    assert_eq!(make(KeySpec::Aes, "wrap", &[8]), Err(TokenError::Exists));
    assert_eq!(make(KeySpec::Aes, "wrap too", &[7]), Err(TokenError::Exists));
    for (label, id) in [("", &[2][..]), (&"x".repeat(256), &[2]), ("three", &[]), ("three", &[0; 65])] {
        assert_eq!(make(P256, label, id), Err(TokenError::InvalidInput));
    }
    for bits in [0, 1024, 2047, 4097, u32::MAX] {
        assert_eq!(make(KeySpec::Rsa(bits), "three", &[3]), Err(TokenError::InvalidInput));
    }
    make(P256, &"x".repeat(255), &[9; 64]).unwrap();
    assert_eq!(session.find_keys(&KeyQuery::default()).unwrap().len(), 2);
}

#[test]
fn all_kinds_of_keys_are_made() {
    let curves = Curve::ALL.map(|curve| (curve.name(), KeySpec::Ec(curve)));
    let module = provisioned("all", &curves);
    let session = session(&module, "all", false);
    for curve in Curve::ALL {
        let key = key(&session, curve.name());
        let PublicKey::Ec(point) = key.public_key().unwrap() else { panic!("{curve:?}") };
        assert_eq!((point.curve, point.point.len()), (curve, curve.point_len()));
        let mechanism = if curve.is_edwards() { Mechanism::Eddsa } else { ECDSA };
        key.sign(mechanism, &[7; 32]).unwrap();
    }
}

#[test]
fn renamed_and_destroyed_in_both_halves() {
    let module = provisioned("changed", &[("old", P256), ("other", KeySpec::Rsa(2048))]);
    let session = session(&module, "changed", true);
    let old = key(&session, "old");
    let public = old.public_key().unwrap();
    assert_eq!(module.rename_key(&session, &old, "other"), Err(TokenError::Exists));
    assert_eq!(module.rename_key(&session, &old, ""), Err(TokenError::InvalidInput));
    module.rename_key(&session, &old, "old").unwrap();
    module.rename_key(&session, &old, "new").unwrap();
    assert_eq!(old.label().unwrap(), "new");
    assert!(keys(&session, "old").is_empty());
    assert_eq!(key(&session, "new").public_key().unwrap(), public);
    // The name is free again, whole.
    module.generate_key(&session, P256, "old", &[3]).unwrap();
    assert_ne!(key(&session, "old").public_key().unwrap(), public);

    for label in ["new", "other"] {
        let key = key(&session, label);
        let id = key.id().unwrap();
        let before = key.public_key().unwrap();
        module.destroy_key(&session, &key).unwrap();
        assert_eq!(key.label(), Err(TokenError::KeyGone));
        assert_eq!(module.destroy_key(&session, &key), Err(TokenError::KeyGone));
        // A public half that was left would be found.
        module.generate_key(&session, P256, "again", &id).unwrap();
        let again = tokens::key(&session, "again");
        assert_ne!(again.public_key().unwrap(), before);
        module.destroy_key(&session, &again).unwrap();
    }
}

fn ed25519(seed: u8) -> PrivateEcKey {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let point = key.verifying_key().to_bytes().to_vec();
    PrivateEcKey { curve: Curve::Ed25519, private: Zeroizing::new(key.to_bytes().to_vec()), point }
}

#[test]
fn imported_key_signs_as_it_did_elsewhere() {
    use ed25519_dalek::Signer as _;
    let module = provisioned("imported", &[]);
    let session = session(&module, "imported", true);
    module.import_key(&session, &PrivateKey::Ec(ed25519(1)), "ed", &[1]).unwrap();
    let imported = key(&session, "ed");
    let expected = SigningKey::from_bytes(&[1; 32]).sign(b"message").to_bytes().to_vec();
    assert_eq!(imported.sign(Mechanism::Eddsa, b"message").unwrap(), expected);
    let point = ed25519(1).point;
    assert_eq!(imported.public_key().unwrap(), PublicKey::Ec(EcPoint { curve: Curve::Ed25519, point }));

    // Halves that are not of one key leave nothing.
    let halves = PrivateEcKey { point: ed25519(2).point, ..ed25519(3) };
    assert_eq!(
        module.import_key(&session, &PrivateKey::Ec(halves), "halves", &[2]),
        Err(TokenError::InvalidInput)
    );
    assert!(keys(&session, "halves").is_empty());
    let short = PrivateEcKey { private: Zeroizing::new(vec![1; 31]), ..ed25519(1) };
    assert_eq!(
        module.import_key(&session, &PrivateKey::Ec(short), "short", &[2]),
        Err(TokenError::InvalidInput)
    );
    assert_eq!(module.import_key(&session, &PrivateKey::Ec(ed25519(4)), "ed", &[2]), Err(TokenError::Exists));
    module.import_key(&session, &PrivateKey::Ec(ed25519(4)), "free", &[2]).unwrap();
}

#[test]
fn who_may_not_change_changes_nothing() {
    let module = provisioned("may not", &[("key", P256)]);
    let writing = session(&module, "may not", true);
    let key = key(&writing, "key");
    let reading = session(&module, "may not", false);
    assert_eq!(module.generate_key(&reading, P256, "new", &[2]), Err(TokenError::ReadOnly));
    assert_eq!(module.rename_key(&reading, &key, "new"), Err(TokenError::ReadOnly));
    assert_eq!(module.destroy_key(&reading, &key), Err(TokenError::ReadOnly));
    let other = provisioned("another", &[]);
    let elsewhere = session(&other, "another", true);
    assert_eq!(module.destroy_key(&elsewhere, &key), Err(TokenError::InvalidInput));
    assert_eq!(module.rename_key(&elsewhere, &key, "new"), Err(TokenError::InvalidInput));
    writing.logout().unwrap();
    assert_eq!(module.generate_key(&writing, P256, "new", &[2]), Err(TokenError::NotLoggedIn));
    assert_eq!(module.destroy_key(&writing, &key), Err(TokenError::NotLoggedIn));
    writing.login(User::Normal).unwrap();
    assert_eq!(writing.find_keys(&KeyQuery::default()).unwrap().len(), 1);
    // A logout ends what was known of private keys.
    tokens::key(&writing, "key").sign(ECDSA, &[0; 32]).unwrap();
}

fn wrapping(
    session: &ModuleSession,
    module: &secure_log_host::token::Module,
    label: &str,
) -> ModuleWrappingKey {
    let query = KeyQuery { label: Some(label.into()), id: None };
    let mut keys = module.find_wrapping_keys(session, &query).unwrap();
    assert_eq!(keys.len(), 1);
    keys.remove(0)
}

#[test]
fn wrapped_keys_open_with_the_same_key_and_context_only() {
    let module = provisioned("wrap", &[("a", KeySpec::Aes), ("b", KeySpec::Aes)]);
    let session = session(&module, "wrap", false);
    let (key, other) = (wrapping(&session, &module, "a"), wrapping(&session, &module, "b"));
    assert_eq!((key.label().unwrap(), key.id().unwrap()), ("a".into(), vec![1]));
    let longest = vec![3; ModuleWrappingKey::MAX_CONTEXT];
    for (len, context) in [(1, &b""[..]), (32, b"stream/7"), (ModuleWrappingKey::MAX_KEY, &longest)] {
        let secret = vec![0x5a; len];
        let wrapped = key.wrap(&secret, context).unwrap();
        assert_eq!(wrapped.len(), 12 + len + 16);
        assert_eq!(*key.unwrap(&wrapped, context).unwrap(), secret);
        assert_ne!(key.wrap(&secret, context).unwrap()[..12], wrapped[..12], "nonces are not used twice");
    }
    let wrapped = key.wrap(b"a data key", b"context").unwrap();
    let invalid = |key: &ModuleWrappingKey, bytes: &[u8], context: &[u8]| {
        assert_eq!(key.unwrap(bytes, context).err(), Some(TokenError::WrappedKeyInvalid), "{bytes:x?}");
    };
    for at in 0..wrapped.len() {
        let mut changed = wrapped.clone();
        changed[at] ^= 1;
        invalid(&key, &changed, b"context");
        invalid(&key, &wrapped[..at], b"context");
    }
    invalid(&key, &[&wrapped[..], &[0]].concat(), b"context");
    invalid(&key, &vec![0; 12 + 1024 + 16 + 1], b"context");
    invalid(&key, &wrapped, b"contexT");
    invalid(&other, &wrapped, b"context");
    assert_eq!(&**key.unwrap(&wrapped, b"context").unwrap(), b"a data key");
    let long = vec![0; ModuleWrappingKey::MAX_CONTEXT + 1];
    assert_eq!(key.wrap(&[], b""), Err(TokenError::InvalidInput));
    assert_eq!(key.wrap(&[0; ModuleWrappingKey::MAX_KEY + 1], b""), Err(TokenError::InvalidInput));
    assert_eq!(key.wrap(&[0; 16], &long), Err(TokenError::InvalidInput));
    assert_eq!(key.unwrap(&wrapped, &long).unwrap_err(), TokenError::InvalidInput);
    // Those that sign and those that wrap are told apart.
    assert!(keys(&session, "a").is_empty());
    session.logout().unwrap();
    assert_eq!(key.wrap(b"k", b""), Err(TokenError::NotLoggedIn));
    assert!(module.find_wrapping_keys(&session, &KeyQuery::default()).unwrap().is_empty());
}

#[test]
fn native_tool_finds_what_was_made() {
    provisioned("tool", &[("ed", KeySpec::Ec(Curve::Ed25519)), ("rsa", KeySpec::Rsa(2048))]);
    let listed = std::process::Command::new("pkcs11-tool")
        .args(["--module", tokens::softhsm().to_str().unwrap(), "--token-label", "tool", "--login", "--pin"])
        .args([tokens::PIN, "--list-objects"])
        .output()
        .expect("pkcs11-tool is not installed: install Debian's package opensc");
    let text = String::from_utf8_lossy(&listed.stdout);
    assert_eq!(text.matches("Private Key Object").count(), 2, "{text}");
    assert_eq!(text.matches("Public Key Object").count(), 2, "{text}");
    assert!(text.contains("sensitive, always sensitive, never extract"), "{text}");
    assert!(
        !["decrypt", "wrap"].iter().any(|usage| text.contains(usage)),
        "keys are for signing only: {text}"
    );
}
