//! Keys wrapped by AES keys of SoftHSM2.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Token;
use secure_log_keystore::conformance::Keys;
use secure_log_pkcs11::Pkcs11Keystore;
use secure_log_pkcs11::token::{
    Admin as _, KeyQuery, KeySpec, Session as _, Slot as _, TokenError, User, Wrapping as _, WrappingKey as _,
};
use secure_log_token::{Module, TokenSession, TokenWrappingKey};

fn wrapping(token: &Token, session: &TokenSession, label: &str, id: &[u8]) -> TokenWrappingKey {
    token.module.generate_key(session, KeySpec::Aes, label, id).unwrap();
    let query = KeyQuery { label: Some(label.into()), id: Some(id.to_vec()) };
    let mut keys = token.module.find_wrapping_keys(session, &query).unwrap();
    assert_eq!(keys.len(), 1);
    keys.remove(0)
}

#[test]
fn what_was_wrapped_is_unwrapped() {
    let token = Token::new("wrap");
    let session = token.session();
    let key = wrapping(&token, &session, "kek", &[1]);
    assert_eq!(key.label().unwrap(), "kek");
    assert_eq!(key.id().unwrap(), [1]);
    for (len, context) in
        [(1, &b""[..]), (32, b"stream/7"), (TokenWrappingKey::MAX_KEY, &[3; TokenWrappingKey::MAX_CONTEXT])]
    {
        let secret = vec![0x5a; len];
        let wrapped = key.wrap(&secret, context).unwrap();
        assert_eq!(wrapped.len(), 12 + len + 16);
        assert_eq!(*key.unwrap(&wrapped, context).unwrap(), secret);
        let again = key.wrap(&secret, context).unwrap();
        assert_ne!(again[..12], wrapped[..12], "nonces are not used twice");
    }
    // Not one of those that sign, and the other way round.
    assert!(common::keys(&session, "kek").is_empty());
    token.module.generate_key(&session, KeySpec::Rsa(2048), "rsa", &[2]).unwrap();
    assert_eq!(token.module.find_wrapping_keys(&session, &KeyQuery::default()).unwrap().len(), 1);
}

#[test]
fn what_was_changed_does_not_open() {
    let token = Token::new("tampered");
    let session = token.session();
    let (key, other) = (wrapping(&token, &session, "a", &[1]), wrapping(&token, &session, "b", &[2]));
    let wrapped = key.wrap(b"a data key", b"context").unwrap();
    let invalid = |bytes: &[u8], context: &[u8]| {
        assert_eq!(key.unwrap(bytes, context).err(), Some(TokenError::WrappedKeyInvalid), "{bytes:x?}");
    };
    for at in 0..wrapped.len() {
        let mut changed = wrapped.clone();
        changed[at] ^= 1;
        invalid(&changed, b"context");
    }
    for len in 0..wrapped.len() {
        invalid(&wrapped[..len], b"context");
    }
    invalid(&[&wrapped[..], &[0]].concat(), b"context");
    invalid(&vec![0; 12 + 1024 + 16 + 1], b"context");
    invalid(&wrapped, b"contexT");
    invalid(&wrapped, b"");
    assert_eq!(other.unwrap(&wrapped, b"context").err(), Some(TokenError::WrappedKeyInvalid));
    assert_eq!(&**key.unwrap(&wrapped, b"context").unwrap(), b"a data key");
}

#[test]
fn limits_hold() {
    let token = Token::new("limits");
    let session = token.session();
    let key = wrapping(&token, &session, "kek", &[1]);
    let long = vec![0; TokenWrappingKey::MAX_CONTEXT + 1];
    assert_eq!(key.wrap(&[], b""), Err(TokenError::InvalidInput));
    assert_eq!(key.wrap(&[0; TokenWrappingKey::MAX_KEY + 1], b""), Err(TokenError::InvalidInput));
    assert_eq!(key.wrap(&[0; 16], &long), Err(TokenError::InvalidInput));
    assert_eq!(key.unwrap(&[0; 60], &long).err(), Some(TokenError::InvalidInput));
}

#[test]
fn keys_end_with_session_and_login() {
    let token = Token::new("ends");
    let session = token.session();
    let key = wrapping(&token, &session, "kek", &[1]);
    let wrapped = key.wrap(b"a data key", b"").unwrap();
    let other = token.session();
    session.logout().unwrap();
    assert!(key.unwrap(&wrapped, b"").is_err());
    assert!(token.module.find_wrapping_keys(&other, &KeyQuery::default()).unwrap().is_empty());
    drop(session);
    assert_eq!(key.unwrap(&wrapped, b"").err(), Some(TokenError::SessionClosed));
    assert_eq!(key.wrap(&wrapped, b"").err(), Some(TokenError::SessionClosed));
    assert_eq!(key.label().err(), Some(TokenError::SessionClosed));
}

#[test]
fn a_destroyed_key_is_gone_and_only_that() {
    let token = Token::new("destroy");
    let session = token.session();
    let (key, other) = (wrapping(&token, &session, "a", &[1]), wrapping(&token, &session, "b", &[2]));
    let (lost, kept) = (key.wrap(b"a data key", b"").unwrap(), other.wrap(b"a data key", b"").unwrap());
    let reading = token.slot.open_session(false).unwrap();
    let query = KeyQuery { label: Some("a".into()), id: None };
    let seen = token.module.find_wrapping_keys(&reading, &query).unwrap().remove(0);
    assert_eq!(seen.destroy(), Err(TokenError::ReadOnly));
    session.logout().unwrap();
    assert_eq!(other.destroy(), Err(TokenError::NotLoggedIn));
    session.login(User::Normal).unwrap();

    let key = token.module.find_wrapping_keys(&session, &query).unwrap().remove(0);
    let other = KeyQuery { label: Some("b".into()), id: None };
    let other = token.module.find_wrapping_keys(&session, &other).unwrap().remove(0);
    key.destroy().unwrap();
    assert_eq!(key.unwrap(&lost, b"").err(), Some(TokenError::KeyGone));
    assert_eq!(key.wrap(b"key", b""), Err(TokenError::KeyGone));
    assert!(key.destroy().is_err());
    assert!(token.module.find_wrapping_keys(&session, &query).unwrap().is_empty());
    assert_eq!(&**other.unwrap(&kept, b"").unwrap(), b"a data key");
}

/// The keystore over a module that is linked in.
mod envelope {
    use super::*;

    fn open() -> (Pkcs11Keystore<Module>, Keys, MutexGuard<'static, ()>) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("envelope{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let token = Token::new(&name);
        let session = token.session();
        for (id, label) in (1..).zip(["first", "second"]) {
            token.module.generate_key(&session, KeySpec::Aes, label, &[id]).unwrap();
        }
        drop(session);
        let (module, alone) = token.into_module();
        let present =
            vec![format!("pkcs11:token={name};object=first"), format!("pkcs11:token={name};id=%02")];
        let missing = Some(format!("pkcs11:token={name};object=missing"));
        (Pkcs11Keystore::new(module), Keys { present, missing }, alone)
    }

    secure_log_keystore::envelope_conformance!(open);
}
