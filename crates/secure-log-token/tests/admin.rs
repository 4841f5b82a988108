//! Tokens and keys are made, renamed and destroyed.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::{Pins, Token, assert_usable, key, keys, softhsm};
use secure_log_pkcs11::token::{
    Admin as _, Curve, Hash, Key as _, KeyQuery, KeySpec, KeyType, Mechanism, Result, Session as _,
    Slot as _, TokenError, Tokens as _, User,
};
use secure_log_token::{ChangeLock, Held, Module, NoLock};

const P256: KeySpec = KeySpec::Ec(Curve::P256);
const ECDSA: Mechanism = Mechanism::EcdsaPrehashed;

#[test]
fn a_token_is_made_once() {
    let token = Token::new("made");
    assert_eq!(token.slot.info().unwrap().label, "made");
    let again = token.module.init_token("made");
    assert_eq!(again.err(), Some(TokenError::Exists));
    assert_eq!(token.pins.asked(), 0, "no PIN is needed to find that out");
    let second = token.module.init_token("made too").unwrap();
    assert_ne!(second.id(), token.slot.id());
    // Both PINs were set.
    for user in [User::Normal, User::SecurityOfficer] {
        let session = second.open_session(true).unwrap();
        session.login(user).unwrap();
    }
}

#[test]
fn labels_of_tokens_fit() {
    let token = Token::new("fits");
    for label in ["", "ends with a blank ", "with\0nothing", &"x".repeat(33), "17 characters: éééééééééééééé"]
    {
        assert_eq!(token.module.init_token(label).err(), Some(TokenError::InvalidInput), "{label:?}");
    }
    for label in ["x".repeat(32), "ß in UTF-8".into()] {
        token.module.init_token(&label).unwrap();
        assert_eq!(token.module.find_token(&label).unwrap().unwrap().info().unwrap().label, label);
    }
}

#[test]
fn a_token_is_not_begun_without_both_pins() {
    let token = Token::new("both pins");
    for (user, officer, error) in [
        (None, Some("officer-5678"), TokenError::PinUnavailable),
        (Some("user-1234"), None, TokenError::PinUnavailable),
        (Some("123"), Some("officer-5678"), TokenError::PinInvalid),
        (Some("user-1234"), Some(""), TokenError::PinInvalid),
    ] {
        {
            let mut pins = token.pins.0.borrow_mut();
            (pins.user, pins.officer) = (user, officer);
        }
        assert_eq!(token.module.init_token("never").err(), Some(error));
        assert!(token.module.find_token("never").unwrap().is_none());
    }
}

#[test]
fn labels_and_ids_of_keys_are_taken_once() {
    let token = Token::new("taken");
    let session = token.session();
    let make = |spec, label: &str, id: &[u8]| token.module.generate_key(&session, spec, label, id);
    make(P256, "one", &[1]).unwrap();
    assert_eq!(make(P256, "one", &[2]), Err(TokenError::Exists));
    assert_eq!(make(KeySpec::Rsa(2048), "two", &[1]), Err(TokenError::Exists));
    assert_eq!(make(P256, "one", &[1]), Err(TokenError::Exists));
    make(KeySpec::Aes, "wrap", &[7]).unwrap();
    assert_eq!(make(KeySpec::Aes, "wrap", &[8]), Err(TokenError::Exists));
    assert_eq!(make(KeySpec::Aes, "wrap too", &[7]), Err(TokenError::Exists));
    assert_eq!(session.find_keys(&KeyQuery::default()).unwrap().len(), 1);

    for (label, id) in [("", &[2][..]), (&"x".repeat(256), &[2]), ("three", &[]), ("three", &[0; 65])] {
        assert_eq!(make(P256, label, id), Err(TokenError::InvalidInput));
    }
    for bits in [0, 1024, 2047, 4097, u32::MAX] {
        assert_eq!(make(KeySpec::Rsa(bits), "three", &[3]), Err(TokenError::InvalidInput));
    }
    make(P256, &"x".repeat(255), &[9; 64]).unwrap();
    assert_usable(&key(&session, &"x".repeat(255)), ECDSA);
}

#[test]
fn a_key_is_renamed_in_both_halves() {
    let token = Token::new("renamed");
    let session = token.session();
    token.module.generate_key(&session, P256, "old", &[1]).unwrap();
    token.module.generate_key(&session, P256, "other", &[2]).unwrap();
    let old = key(&session, "old");
    let public = old.public_key().unwrap();
    let rename = |label: &str| token.module.rename_key(&session, &old, label);
    assert_eq!(rename("other"), Err(TokenError::Exists));
    assert_eq!(rename(""), Err(TokenError::InvalidInput));
    rename("old").unwrap();
    rename("new").unwrap();
    assert_eq!(old.label().unwrap(), "new");
    assert!(keys(&session, "old").is_empty());
    let new = key(&session, "new");
    assert_eq!(new.public_key().unwrap(), public);
    assert_usable(&new, ECDSA);
    // The name is free again, whole: what was the public half has it no more.
    token.module.generate_key(&session, P256, "old", &[3]).unwrap();
    assert_ne!(key(&session, "old").public_key().unwrap(), public);
}

#[test]
fn a_key_is_destroyed_in_both_halves() {
    let token = Token::new("destroyed");
    let session = token.session();
    for spec in [P256, KeySpec::Rsa(2048), KeySpec::Ec(Curve::Ed25519)] {
        token.module.generate_key(&session, spec, "key", &[1]).unwrap();
        let (first, same) = (key(&session, "key"), key(&session, "key"));
        let before = first.public_key().unwrap();
        token.module.destroy_key(&session, &first).unwrap();
        assert!(keys(&session, "key").is_empty());
        assert_eq!(first.label().err(), Some(TokenError::KeyGone));
        assert_eq!(same.public_key().err(), Some(TokenError::KeyGone));
        assert_eq!(token.module.destroy_key(&session, &same), Err(TokenError::KeyGone));
        // A public half that was left would be found, and make the next one's doubtful.
        token.module.generate_key(&session, spec, "key", &[1]).unwrap();
        let second = key(&session, "key");
        assert_ne!(second.public_key().unwrap(), before);
        token.module.destroy_key(&session, &second).unwrap();
    }
}

#[test]
fn a_key_of_another_token_is_not_changed_through_this_one() {
    let token = Token::new("mine");
    let other = token.module.init_token("other's").unwrap().open_session(true).unwrap();
    other.login(User::Normal).unwrap();
    let session = token.session();
    token.module.generate_key(&session, P256, "key", &[1]).unwrap();
    let mine = key(&session, "key");
    assert_eq!(token.module.destroy_key(&other, &mine), Err(TokenError::InvalidInput));
    assert_eq!(token.module.rename_key(&other, &mine, "new"), Err(TokenError::InvalidInput));
    assert_usable(&mine, ECDSA);
}

#[test]
fn sessions_that_may_not_change_change_nothing() {
    let token = Token::new("may not");
    let session = token.session();
    token.module.generate_key(&session, P256, "key", &[1]).unwrap();
    let key = key(&session, "key");
    let reading = token.slot.open_session(false).unwrap();
    assert_eq!(token.module.generate_key(&reading, P256, "new", &[2]), Err(TokenError::ReadOnly));
    assert_eq!(token.module.rename_key(&reading, &key, "new"), Err(TokenError::ReadOnly));
    assert_eq!(token.module.destroy_key(&reading, &key), Err(TokenError::ReadOnly));
    session.logout().unwrap();
    assert_eq!(token.module.generate_key(&session, P256, "new", &[2]), Err(TokenError::NotLoggedIn));
    session.login(User::Normal).unwrap();
    assert!(keys(&session, "new").is_empty());
}

/// A lock that somebody else holds, or takes over after some looks.
#[derive(Clone)]
struct Contested(Rc<Cell<Option<u32>>>);

impl ChangeLock for Contested {
    fn acquire(&self) -> Result<Box<dyn Held>> {
        match self.0.get() {
            Some(0) => Err(TokenError::Locked),
            _ => Ok(Box::new(self.clone())),
        }
    }
}

impl Held for Contested {
    fn check(&self) -> Result<()> {
        match self.0.get() {
            Some(1) => Err(TokenError::Locked),
            looks => {
                self.0.set(looks.map(|looks| looks - 1));
                Ok(())
            }
        }
    }
}

#[test]
fn under_anothers_lock_nothing_is_changed() {
    let contested = Contested(Rc::new(Cell::new(None)));
    let token = Token::with("contested", softhsm, contested.clone());
    let session = token.session();
    token.module.generate_key(&session, P256, "key", &[1]).unwrap();
    let key = key(&session, "key");

    contested.0.set(Some(0));
    let locked = Some(TokenError::Locked);
    assert_eq!(token.module.init_token("new").err(), locked);
    assert_eq!(token.module.generate_key(&session, P256, "new", &[2]).err(), locked);
    assert_eq!(token.module.rename_key(&session, &key, "new").err(), locked);
    assert_eq!(token.module.destroy_key(&session, &key).err(), locked);
    assert_usable(&key, ECDSA);

    // Overtaken before the first change, or while the key was made.
    for (looks, spec, label) in
        [(1, P256, "a"), (2, P256, "b"), (1, KeySpec::Aes, "c"), (2, KeySpec::Aes, "d")]
    {
        let make = || token.module.generate_key(&session, spec, label, label.as_bytes());
        contested.0.set(Some(looks));
        assert_eq!(make().err(), locked);
        contested.0.set(None);
        // Nothing was left of it.
        make().unwrap();
    }
    // Between one half and the other: the name is put back.
    contested.0.set(Some(2));
    assert_eq!(token.module.rename_key(&session, &key, "half").err(), locked);
    assert_eq!(key.label().unwrap(), "key");
    contested.0.set(Some(1));
    assert_eq!(token.module.init_token("new").err(), locked);
    assert!(token.module.find_token("new").unwrap().is_none());
}

#[test]
fn a_token_whose_making_was_interrupted_is_completed() {
    let contested = Contested(Rc::new(Cell::new(None)));
    let token = Token::with("whole", softhsm, contested.clone());
    // Overtaken after C_InitToken.
    contested.0.set(Some(2));
    match token.module.init_token("half").err() {
        Some(TokenError::Unusable(text)) => {
            assert!(text.contains("half") && text.contains("user PIN"), "{text}")
        }
        other => panic!("{other:?}"),
    }
    let half = token.module.find_token("half").unwrap().unwrap();
    assert!(!half.info().unwrap().user_pin_initialized);
    let session = half.open_session(true).unwrap();
    assert_eq!(session.login(User::Normal), Err(TokenError::PinNotInitialized));
    drop(session);
    contested.0.set(None);

    token.pins.0.borrow_mut().officer = Some("not the officer's");
    assert_eq!(token.module.init_token("half").err(), Some(TokenError::PinIncorrect));
    token.pins.0.borrow_mut().officer = Some(common::SO_PIN);
    let half = token.module.init_token("half").unwrap();
    half.open_session(true).unwrap().login(User::Normal).unwrap();
    assert_eq!(token.module.init_token("half").err(), Some(TokenError::Exists));
}

#[test]
fn two_modules_see_the_same_keys() {
    let token = Token::new("shared");
    let session = token.session();
    token.module.generate_key(&session, KeySpec::Rsa(3072), "key", &[1]).unwrap();
    // SAFETY: SoftHSM2's.
    let other = unsafe { Module::new(softhsm, Pins::new(), NoLock) };
    let slot = other.find_token("shared").unwrap().unwrap();
    let session = slot.open_session(false).unwrap();
    session.login(User::Normal).unwrap();
    let key = key(&session, "key");
    assert_eq!(key.key_type().unwrap(), KeyType::Rsa(3072));
    assert_usable(&key, Mechanism::RsaPkcs1(Hash::Sha512));
}
