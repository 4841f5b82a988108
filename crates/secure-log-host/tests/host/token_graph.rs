//! The token component of an artifact, run alone to provision it, and then in its graph.

use std::path::Path;
use std::sync::Arc;

use crate::common::{dist, guest, site};
use secure_log::signature::Verifier;
use secure_log::signer::CheckpointSigner as _;
use secure_log_host::token::{GraphToken, Pins, Throwaway, ThrowawayError, TokenArtifact, provision};
use secure_log_host::types::Severity;
use secure_log_host::{Artifact, Guest};
use secure_log_pkcs11::Pkcs11Keystore;
use secure_log_pkcs11::token::{
    Admin as _, Curve, Key as _, KeyQuery, KeySpec, Mechanism, Session as _, Signer as _, Slot as _,
    TokenError, Tokens as _, User, Wrapping as _, WrappingKey as _,
};

const KEYS: [(&str, KeySpec); 3] =
    [("ed", KeySpec::Ec(Curve::Ed25519)), ("ec", KeySpec::Ec(Curve::P256)), ("rsa", KeySpec::Rsa(2048))];
const STACKS: [&str; 2] = ["secure-log-sqlite-pkcs11.wasm", "secure-log-sqlite-kryoptic.wasm"];

fn token(artifact: &str) -> TokenArtifact {
    TokenArtifact::find(&dist(artifact)).unwrap().unwrap()
}

#[test]
fn artifacts_without_a_token_have_none() {
    assert!(TokenArtifact::find(&dist("secure-log-sqlite.wasm")).unwrap().is_none());
    let refused = Throwaway::provisioned(&dist("secure-log-sqlite.wasm"), &KEYS).unwrap_err();
    assert!(matches!(refused, ThrowawayError::NoToken(_)), "{refused}");
    let text = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(text.path(), "no component").unwrap();
    TokenArtifact::find(text.path()).unwrap_err();
    TokenArtifact::find(Path::new("/no/such/file.wasm")).unwrap_err();
}

#[test]
fn artifact_provisions_its_own_token_and_signs_with_it() {
    for stack in STACKS {
        let throwaway = Throwaway::provisioned(&dist(stack), &KEYS).unwrap();
        let mut guest = guest();
        throwaway.prepare(&mut guest);
        let dir = tempfile::tempdir().unwrap();
        let site = site(dir.path(), &guest);
        let artifact = Artifact::load(&dist(stack)).unwrap();
        assert!(!artifact.imports_token());
        let mut log = site.open(&artifact).unwrap();
        let mut trusted = Vec::new();
        for (key, _) in KEYS {
            log.append("doors", "door.opened", Severity::Informational, "lobby", b"{}").unwrap();
            assert!(log.seal(Some(&throwaway.identity(key))).unwrap().checkpoint.is_some(), "{stack}");
            trusted.push(log.verifier_key(&throwaway.identity(key)).unwrap());
        }
        assert_eq!(log.verify_checkpoint_chain(&trusted).unwrap().checkpoints, 3);
    }
}

#[test]
fn token_component_is_also_found_as_a_file_of_its_own() {
    let throwaway = Throwaway::new().unwrap();
    let started = throwaway.start(&token("components/token-softhsm.wasm")).unwrap();
    provision(&started, "alone", &KEYS[..1]).unwrap();
    // What one made, the other of the same token finds.
    let other = throwaway.start(&token(STACKS[0])).unwrap();
    assert!(other.find_token("alone").unwrap().unwrap().info().unwrap().user_pin_initialized);
}

#[test]
fn every_part_of_the_contract_works() {
    for stack in STACKS {
        let throwaway = Throwaway::provisioned(&dist(stack), &KEYS).unwrap();
        let token = throwaway.start(&token(stack)).unwrap();
        let slot = token.find_token(throwaway.label()).unwrap().unwrap();
        assert!(token.slots().unwrap().iter().any(|other| other.id() == slot.id()));
        assert!(!slot.mechanisms().unwrap().is_empty());
        let session = slot.open_session(true).unwrap();
        session.login(User::Normal).unwrap();
        let key = |label: &str| {
            let query = KeyQuery { label: Some(label.into()), id: None };
            session.find_keys(&query).unwrap().pop().unwrap()
        };
        let rsa = key("rsa");
        assert_eq!((rsa.label().unwrap(), rsa.id().unwrap()), ("rsa".into(), vec![3]));
        let pss = Mechanism::RsaPss { hash: secure_log_pkcs11::token::Hash::Sha256, salt: None };
        let signer = rsa.sign_init(pss).unwrap();
        signer.update(b"in ").unwrap();
        signer.update(b"pieces").unwrap();
        let public = secure_log_pkcs11::public_key(&rsa.public_key().unwrap()).unwrap();
        let signature = signer.finish().unwrap();
        Verifier::new(&public).unwrap().verify(b"in pieces", &signature).unwrap();
        assert_eq!(rsa.sign(Mechanism::Eddsa, b"m"), Err(TokenError::KeyUnsuitable), "{stack}");

        token.generate_key(&session, KeySpec::Aes, "wrap", &[9]).unwrap();
        let query = KeyQuery { label: Some("wrap".into()), id: None };
        let wrapping = token.find_wrapping_keys(&session, &query).unwrap().pop().unwrap();
        assert_eq!((wrapping.label().unwrap(), wrapping.id().unwrap()), ("wrap".into(), vec![9]));
        let wrapped = wrapping.wrap(b"secret", b"context").unwrap();
        assert_eq!(&**wrapping.unwrap(&wrapped, b"context").unwrap(), b"secret");
        assert_eq!(wrapping.unwrap(&wrapped, b"other").unwrap_err(), TokenError::WrappedKeyInvalid);

        token.rename_key(&session, &key("ed"), "renamed").unwrap();
        token.destroy_key(&session, &key("renamed")).unwrap();
        session.logout().unwrap();
        assert!(session.find_keys(&KeyQuery::default()).unwrap().is_empty());
    }
}

#[test]
fn keystore_runs_over_a_token_component() {
    for stack in STACKS {
        let throwaway = Throwaway::provisioned(&dist(stack), &KEYS).unwrap();
        let mut keystore = Pkcs11Keystore::new(throwaway.start(&token(stack)).unwrap());
        for (key, _) in KEYS {
            let identity = throwaway.identity(key);
            let verifier = Verifier::new(&keystore.public_key(&identity).unwrap()).unwrap();
            verifier.verify(b"m", &keystore.sign(&identity, b"m").unwrap()).unwrap();
        }
    }
}

#[test]
fn native_softhsm_and_the_component_share_a_token() {
    let throwaway = Throwaway::provisioned(&dist(STACKS[0]), &KEYS).unwrap();
    let listed = std::process::Command::new("softhsm2-util")
        .arg("--show-slots")
        .env("SOFTHSM2_CONF", throwaway.dir().softhsm_conf())
        .output()
        .expect("softhsm2-util is not installed: install Debian's package softhsm2");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("throwaway"), "{listed:?}");
}

#[test]
fn resources_of_another_instance_are_refused() {
    let throwaway = Throwaway::provisioned(&dist(STACKS[0]), &KEYS[..1]).unwrap();
    let token = token(STACKS[0]);
    let (one, other) = (throwaway.start(&token).unwrap(), throwaway.start(&token).unwrap());
    let session = |token: &GraphToken| {
        let session = token.find_token("throwaway").unwrap().unwrap().open_session(true).unwrap();
        session.login(User::Normal).unwrap();
        session
    };
    let (of_one, of_other) = (session(&one), session(&other));
    let key = of_one.find_keys(&KeyQuery::default()).unwrap().pop().unwrap();
    assert_eq!(other.destroy_key(&of_other, &key), Err(TokenError::InvalidInput));
    assert_eq!(other.generate_key(&of_one, KEYS[0].1, "x", &[7]), Err(TokenError::InvalidInput));
    key.sign(Mechanism::Eddsa, b"m").unwrap();
}

#[test]
fn what_is_wrong_is_said() {
    let throwaway = Throwaway::provisioned(&dist(STACKS[0]), &KEYS[..1]).unwrap();
    let token = token(STACKS[0]);
    let mut prepared = Guest::default();
    throwaway.dir().prepare(&mut prepared);
    for (pins, error) in
        [(Pins::user("wrong-pin"), TokenError::PinIncorrect), (Pins::none(), TokenError::PinUnavailable)]
    {
        let token = token.start(&prepared, Arc::new(pins)).unwrap();
        let session = token.find_token("throwaway").unwrap().unwrap().open_session(false).unwrap();
        assert_eq!(session.login(User::Normal), Err(error));
    }
    // No directory at all.
    let token = token.start(&Guest::default(), throwaway.shared_pins()).unwrap();
    let refused = token.slots().unwrap_err();
    assert!(matches!(refused, TokenError::Unusable(_)), "{refused}");
}

#[test]
fn component_that_dies_says_so_ever_after() {
    let throwaway = Throwaway::provisioned(&dist(STACKS[0]), &KEYS[..1]).unwrap();
    let mut small = Guest { memory_limit: Some(16 << 20), silent: true, ..Guest::default() };
    throwaway.dir().prepare(&mut small);
    let token = token(STACKS[0]).start(&small, throwaway.shared_pins()).unwrap();
    let session = token.find_token("throwaway").unwrap().unwrap().open_session(false).unwrap();
    session.login(User::Normal).unwrap();
    let key = session.find_keys(&KeyQuery::default()).unwrap().pop().unwrap();
    key.sign(Mechanism::Eddsa, b"m").unwrap();
    let died = key.sign(Mechanism::Eddsa, &vec![0; 32 << 20]).unwrap_err();
    assert!(matches!(&died, TokenError::Unusable(text) if text.contains("16 MiB of memory")), "{died}");
    assert_eq!(key.sign(Mechanism::Eddsa, b"m").unwrap_err(), died);
    assert_eq!(token.slots().unwrap_err(), died);
}
