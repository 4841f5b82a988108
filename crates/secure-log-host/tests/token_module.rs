//! A PKCS #11 library of this host: logins, signatures, errors.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

#[path = "common/tokens.rs"]
mod tokens;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use secure_log_host::token::{Module, ModuleError, Pins};
use secure_log_pkcs11::token::{
    Admin as _, Curve, Hash, Key as _, KeyQuery, KeySpec, KeyType, Mechanism, Session as _, Signer as _,
    Slot as _, TokenError, Tokens as _, User,
};
use tokens::{counting, key, keys, module, pins, provisioned, session};

const ED25519: KeySpec = KeySpec::Ec(Curve::Ed25519);
const P256: KeySpec = KeySpec::Ec(Curve::P256);
const RSA: KeySpec = KeySpec::Rsa(2048);
const ECDSA: Mechanism = Mechanism::EcdsaPrehashed;
const PSS: Mechanism = Mechanism::RsaPss { hash: Hash::Sha256, salt: None };

#[test]
fn library_is_loaded_once_and_what_is_none_is_refused() {
    let (one, other) = (module(pins()), module(pins()));
    assert_eq!(one.path(), other.path());
    assert!(!format!("{one:?}").contains(tokens::PIN), "{one:?}");

    let pins = pins();
    let missing = Module::load(Path::new("/no/such/library.so"), pins.clone()).unwrap_err();
    assert!(matches!(missing, ModuleError::Missing { .. }), "{missing}");
    let text = tempfile::NamedTempFile::new().unwrap();
    let refused = Module::load(text.path(), pins.clone()).unwrap_err();
    assert!(matches!(refused, ModuleError::NotALibrary { .. }), "{refused}");
    let another = Path::new("/lib").join(format!("{}-linux-gnu/libm.so.6", std::env::consts::ARCH));
    let refused = Module::load(&another, pins).unwrap_err();
    assert!(
        matches!(&refused, ModuleError::NotALibrary { reason, .. } if reason.contains("C_GetFunctionList")),
        "{refused}"
    );
}

#[test]
fn token_tells_of_itself() {
    let module = provisioned("tells", &[]);
    let slot = module.find_token("tells").unwrap().unwrap();
    let info = slot.info().unwrap();
    assert_eq!(info.label, "tells");
    assert!(info.initialized && info.user_pin_initialized && info.login_required);
    assert!(!info.user_pin_locked && !info.protected_authentication && !info.write_protected);
    assert!(!info.serial.is_empty() && !info.manufacturer.ends_with(' '));
    let mechanisms = slot.mechanisms().unwrap();
    assert!([0x1041, 0x1057, 0x43].iter().all(|m| mechanisms.contains(m)), "{mechanisms:x?}");
    assert!(module.find_token("tell").unwrap().is_none());
    // The spare slot, which has no token yet.
    let blank = module.slots().unwrap().into_iter().find(|slot| !slot.info().unwrap().initialized).unwrap();
    assert_eq!(blank.open_session(false).unwrap_err(), TokenError::TokenUninitialized);
}

#[test]
fn keys_say_what_they_are_and_do_only_that() {
    let module = provisioned(
        "kinds",
        &[("ed", ED25519), ("ec", P256), ("rsa", RSA), ("p384", KeySpec::Ec(Curve::P384))],
    );
    let session = session(&module, "kinds", false);
    assert_eq!(session.find_keys(&KeyQuery::default()).unwrap().len(), 4);
    let (ed, ec, rsa) = (key(&session, "ed"), key(&session, "ec"), key(&session, "rsa"));
    assert_eq!((ed.label().unwrap(), ed.id().unwrap()), ("ed".into(), vec![1]));
    assert_eq!(ed.key_type().unwrap(), KeyType::Ec(Curve::Ed25519));
    assert_eq!(key(&session, "p384").key_type().unwrap(), KeyType::Ec(Curve::P384));
    assert_eq!(rsa.key_type().unwrap(), KeyType::Rsa(2048));
    let by_id = KeyQuery { label: Some("ec".into()), id: Some(vec![2]) };
    assert_eq!(session.find_keys(&by_id).unwrap().len(), 1);
    let neither = KeyQuery { label: Some("ec".into()), id: Some(vec![1]) };
    assert!(session.find_keys(&neither).unwrap().is_empty());

    let pkcs1 = Mechanism::RsaPkcs1(Hash::Sha256);
    let long_salt = Mechanism::RsaPss { hash: Hash::Sha256, salt: Some(223) };
    for (key, mechanism) in [
        (&ec, pkcs1),
        (&ec, PSS),
        (&ec, Mechanism::Eddsa),
        (&ed, ECDSA),
        (&ed, PSS),
        (&rsa, ECDSA),
        (&rsa, Mechanism::Eddsa),
        (&rsa, long_salt),
    ] {
        assert_eq!(key.sign(mechanism, &[0; 32]), Err(TokenError::KeyUnsuitable), "{mechanism:?}");
        assert_eq!(key.sign_init(mechanism).unwrap_err(), TokenError::KeyUnsuitable, "{mechanism:?}");
    }
    // SoftHSM2 hashes nothing for ECDSA. Nothing else is done in its place.
    let hashing = Mechanism::Ecdsa(Hash::Sha256);
    assert_eq!(ec.sign(hashing, b"m"), Err(TokenError::MechanismUnsupported));
    assert_eq!(ec.sign(ECDSA, &[0; 65]), Err(TokenError::InvalidInput));
    let prehashed = Mechanism::RsaPssPrehashed { hash: Hash::Sha384, salt: None };
    assert_eq!(rsa.sign(prehashed, &[0; 32]), Err(TokenError::InvalidInput));
    assert_eq!(ec.sign(ECDSA, &[0; 32]).unwrap().len(), 64);
    assert_eq!(ed.sign(Mechanism::Eddsa, b"m").unwrap().len(), 64);
    assert_eq!(rsa.sign(pkcs1, b"m").unwrap().len(), 256);
}

#[test]
fn signature_in_pieces_is_the_one_thing_that_a_session_does() {
    let module = provisioned("pieces", &[("rsa", RSA), ("ed", ED25519)]);
    let session = session(&module, "pieces", true);
    let (rsa, ed) = (key(&session, "rsa"), key(&session, "ed"));
    let pkcs1 = Mechanism::RsaPkcs1(Hash::Sha256);
    let whole = rsa.sign(pkcs1, b"in pieces").unwrap();
    let signer = rsa.sign_init(pkcs1).unwrap();
    signer.update(b"in ").unwrap();
    assert_eq!(ed.sign(Mechanism::Eddsa, b"m"), Err(TokenError::Busy));
    assert_eq!(rsa.sign_init(pkcs1).unwrap_err(), TokenError::Busy);
    assert_eq!(module.rename_key(&session, &rsa, "x"), Err(TokenError::Busy));
    signer.update(b"pieces").unwrap();
    assert_eq!(signer.finish().unwrap(), whole);
    // Given up in the middle, and before the first piece.
    for pieces in 0..2 {
        let signer = rsa.sign_init(pkcs1).unwrap();
        (0..pieces).for_each(|_| signer.update(b"m").unwrap());
        drop(signer);
        assert_eq!(rsa.sign(pkcs1, b"in pieces").unwrap(), whole);
    }
    // What comes in one piece only says so, and is not in the way.
    let signer = ed.sign_init(Mechanism::Eddsa).unwrap();
    assert_eq!(signer.update(b"m"), Err(TokenError::Unsupported));
    ed.sign(Mechanism::Eddsa, b"m").unwrap();
    assert_eq!(signer.update(b"m"), Err(TokenError::Unsupported));
    assert_eq!(signer.finish(), Err(TokenError::Unsupported));
    ed.sign(Mechanism::Eddsa, b"m").unwrap();
}

#[test]
fn keys_end_with_their_session() {
    let module = provisioned("ends", &[("ec", P256)]);
    let (first, second) = (session(&module, "ends", false), session(&module, "ends", false));
    let (of_first, of_second) = (key(&first, "ec"), key(&second, "ec"));
    let signer = of_first.sign_init(ECDSA).unwrap();
    drop(first);
    assert_eq!(of_first.label(), Err(TokenError::SessionClosed));
    assert_eq!(of_first.public_key(), Err(TokenError::SessionClosed));
    assert_eq!(of_first.sign(ECDSA, &[0; 32]), Err(TokenError::SessionClosed));
    assert_eq!(signer.update(&[0; 32]), Err(TokenError::SessionClosed));
    assert_eq!(signer.finish(), Err(TokenError::SessionClosed));
    of_second.sign(ECDSA, &[0; 32]).unwrap();
}

#[test]
fn login_is_that_of_all_sessions_of_an_application_and_of_no_other() {
    let module = provisioned("logins", &[("ec", P256)]);
    let slot = module.find_token("logins").unwrap().unwrap();
    let (first, second) = (slot.open_session(false).unwrap(), slot.open_session(true).unwrap());
    assert!(keys(&first, "ec").is_empty());
    assert_eq!(first.logout(), Err(TokenError::NotLoggedIn));
    first.login(User::Normal).unwrap();
    first.login(User::Normal).unwrap();
    second.login(User::Normal).unwrap();
    let mine = key(&second, "ec");
    mine.sign(ECDSA, &[0; 32]).unwrap();

    // Another application sees nothing of that until it has logged in itself.
    let other = module.application();
    let theirs = other.find_token("logins").unwrap().unwrap().open_session(false).unwrap();
    assert!(keys(&theirs, "ec").is_empty());
    theirs.login(User::Normal).unwrap();
    let key_of_theirs = key(&theirs, "ec");
    // The security officer cannot come in between.
    assert_eq!(second.login(User::SecurityOfficer), Err(TokenError::Other(0x104)));
    let third = module.application();
    let officer = third.find_token("logins").unwrap().unwrap().open_session(true).unwrap();
    assert_eq!(officer.login(User::SecurityOfficer), Err(TokenError::Locked));

    // One logs out, and only one.
    first.logout().unwrap();
    assert_eq!(mine.sign(ECDSA, &[0; 32]), Err(TokenError::NotLoggedIn));
    assert_eq!(second.logout(), Err(TokenError::NotLoggedIn));
    key_of_theirs.sign(ECDSA, &[0; 32]).unwrap();
    second.login(User::Normal).unwrap();
    mine.sign(ECDSA, &[0; 32]).unwrap();
    // With its last session an application is gone.
    drop((first, second));
    key_of_theirs.sign(ECDSA, &[0; 32]).unwrap();
    theirs.logout().unwrap();
    assert_eq!(key_of_theirs.sign(ECDSA, &[0; 32]), Err(TokenError::NotLoggedIn));
    drop(theirs);
    officer.login(User::SecurityOfficer).unwrap();
}

#[test]
fn login_of_one_application_lets_in_nobody_without_the_pin() {
    let module = provisioned("joined", &[("ec", P256)]);
    let session = session(&module, "joined", false);
    for (pin, error) in [(None, TokenError::PinUnavailable), (Some("other-pin"), TokenError::PinIncorrect)] {
        let (pins, asked) = counting(pin);
        let other = module.with_pins(pins);
        let theirs = other.find_token("joined").unwrap().unwrap().open_session(false).unwrap();
        assert_eq!(theirs.login(User::Normal), Err(error));
        assert!(keys(&theirs, "ec").is_empty());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
    key(&session, "ec").sign(ECDSA, &[0; 32]).unwrap();
}

#[test]
fn pin_of_the_wrong_length_is_refused_and_debug_shows_none() {
    let module = provisioned("length", &[]);
    let short = module.with_pins(Arc::new(Pins::user("1")));
    let session = short.find_token("length").unwrap().unwrap().open_session(false).unwrap();
    let refused = session.login(User::Normal).unwrap_err();
    assert!(matches!(refused, TokenError::PinIncorrect | TokenError::PinInvalid), "{refused:?}");
    assert!(!format!("{short:?} {session:?}").contains("Pins"));
}

#[test]
fn two_tokens_of_one_label_are_doubtful() {
    let module = provisioned("double", &[]);
    assert_eq!(module.init_token("double").unwrap_err(), TokenError::Exists);
    for label in ["", "ends with a blank ", "nul\0", &"x".repeat(33)] {
        assert_eq!(module.init_token(label).unwrap_err(), TokenError::InvalidInput, "{label:?}");
    }
    for (pins, error) in [
        (Pins::user("user-1234"), TokenError::PinUnavailable),
        (Pins::none().with_officer("officer-1"), TokenError::PinUnavailable),
        (Pins::user("1").with_officer("officer-1"), TokenError::PinInvalid),
    ] {
        assert_eq!(module.with_pins(Arc::new(pins)).init_token("never").unwrap_err(), error);
        assert!(module.find_token("never").unwrap().is_none());
    }
}
