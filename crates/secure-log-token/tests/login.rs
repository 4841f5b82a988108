//! PINs: asked for once, tried once.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Pins, Token, alone, key, softhsm};
use secure_log_pkcs11::token::{
    Admin as _, Curve, KeySpec, Session as _, Slot as _, TokenError, Tokens as _, User,
};
use secure_log_token::ck::*;
use secure_log_token::{Module, NoLock, config_file};

static LOGINS: AtomicUsize = AtomicUsize::new(0);
static LOCK_FLAGS: AtomicUsize = AtomicUsize::new(0);

fn real() -> &'static CK_FUNCTION_LIST {
    static REAL: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
    REAL.get_or_init(|| {
        let mut list = std::ptr::null_mut();
        // SAFETY: room for one pointer; the list is SoftHSM2's own.
        unsafe {
            assert_eq!(softhsm(&raw mut list), CKR_OK);
            *list
        }
    })
}

unsafe extern "C" fn login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_BYTE,
    len: CK_ULONG,
) -> CK_RV {
    LOGINS.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the caller's.
    unsafe { real().C_Login.unwrap()(session, user, pin, len) }
}

unsafe extern "C" fn token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    // SAFETY: the caller's.
    unsafe {
        let rv = real().C_GetTokenInfo.unwrap()(slot, info);
        (*info).flags |= LOCK_FLAGS.load(Ordering::SeqCst) as CK_FLAGS;
        rv
    }
}

/// SoftHSM2 with its logins counted, and with the flags of a locked PIN, which it never sets by itself.
unsafe extern "C" fn watched(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    static WATCHED: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
    let watched = WATCHED.get_or_init(|| CK_FUNCTION_LIST {
        C_Login: Some(login),
        C_GetTokenInfo: Some(token_info),
        ..*real()
    });
    // SAFETY: the caller's; nobody writes to the list.
    unsafe { *list = std::ptr::from_ref(watched).cast_mut() };
    CKR_OK
}

/// A token, after whose making the counting begins.
fn token(label: &str) -> Token {
    let token = Token::with(label, watched, NoLock);
    LOGINS.store(0, Ordering::SeqCst);
    LOCK_FLAGS.store(0, Ordering::SeqCst);
    token
}

fn logins() -> usize {
    LOGINS.load(Ordering::SeqCst)
}

#[test]
fn a_login_asks_once() {
    let token = token("once");
    let session = token.slot.open_session(false).unwrap();
    session.login(User::Normal).unwrap();
    session.login(User::Normal).unwrap();
    // It is the token that is logged in.
    let other = token.slot.open_session(true).unwrap();
    other.login(User::Normal).unwrap();
    assert_eq!((logins(), token.pins.asked()), (1, 1));
    assert_eq!(token.pins.0.borrow().asked, [("once".to_owned(), User::Normal)]);

    session.logout().unwrap();
    other.login(User::Normal).unwrap();
    assert_eq!((logins(), token.pins.asked()), (2, 2));
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let token = token("wrong");
    token.pins.0.borrow_mut().user = Some("not the PIN");
    let session = token.slot.open_session(true).unwrap();
    assert_eq!(session.login(User::Normal), Err(TokenError::PinIncorrect));
    assert_eq!((logins(), token.pins.asked()), (1, 1));
    // Everything that needs a login says so, and tries none.
    assert!(common::keys(&session, "any").is_empty());
    let spec = KeySpec::Ec(Curve::P256);
    assert_eq!(token.module.generate_key(&session, spec, "new", &[1]), Err(TokenError::NotLoggedIn));
    assert_eq!((logins(), token.pins.asked()), (1, 1));

    token.pins.0.borrow_mut().user = Some(common::PIN);
    session.login(User::Normal).unwrap();
    token.module.generate_key(&session, spec, "new", &[1]).unwrap();
    key(&session, "new");
}

#[test]
fn without_a_pin_none_is_tried() {
    let token = token("none");
    let session = token.slot.open_session(false).unwrap();
    token.pins.0.borrow_mut().user = None;
    assert_eq!(session.login(User::Normal), Err(TokenError::PinUnavailable));
    token.pins.0.borrow_mut().user = Some("");
    assert_eq!(session.login(User::Normal), Err(TokenError::PinInvalid));
    assert_eq!(logins(), 0);
    // Who is logged in needs none.
    token.pins.0.borrow_mut().user = Some(common::PIN);
    session.login(User::Normal).unwrap();
    token.pins.0.borrow_mut().user = None;
    session.login(User::Normal).unwrap();
}

#[test]
fn a_locked_pin_is_not_tried() {
    let token = token("locked");
    let session = token.slot.open_session(true).unwrap();
    for (flag, locked, other) in [
        (CKF_USER_PIN_LOCKED, User::Normal, User::SecurityOfficer),
        (CKF_SO_PIN_LOCKED, User::SecurityOfficer, User::Normal),
    ] {
        LOGINS.store(0, Ordering::SeqCst);
        token.pins.0.borrow_mut().asked.clear();
        LOCK_FLAGS.store(flag as usize, Ordering::SeqCst);
        assert_eq!(token.slot.info().unwrap().user_pin_locked, locked == User::Normal);
        assert_eq!(session.login(locked), Err(TokenError::PinLocked));
        assert_eq!((logins(), token.pins.asked()), (0, 0));
        session.login(other).unwrap();
        session.logout().unwrap();
    }
    LOCK_FLAGS.store(0, Ordering::SeqCst);
}

#[test]
fn a_token_that_asks_by_itself_is_given_none() {
    let token = token("keypad");
    let session = token.slot.open_session(true).unwrap();
    LOCK_FLAGS.store(CKF_PROTECTED_AUTHENTICATION_PATH as usize, Ordering::SeqCst);
    assert!(token.slot.info().unwrap().protected_authentication);
    // SoftHSM2 has no keypad: it misses the PIN that it is not given.
    assert_eq!(session.login(User::Normal), Err(TokenError::InvalidInput));
    assert_eq!((logins(), token.pins.asked()), (1, 0));
    LOCK_FLAGS.store(0, Ordering::SeqCst);
}

#[test]
fn the_security_officer_makes_no_keys() {
    let token = token("officer");
    let session = token.slot.open_session(true).unwrap();
    session.login(User::SecurityOfficer).unwrap();
    assert!(session.login(User::Normal).is_err(), "two users at once");
    let spec = KeySpec::Ec(Curve::P256);
    assert_eq!(token.module.generate_key(&session, spec, "new", &[1]), Err(TokenError::NotLoggedIn));
}

#[test]
fn an_uninitialized_token_has_no_sessions_and_no_label() {
    let token = token("there");
    let blank =
        token.module.slots().unwrap().into_iter().find(|slot| !slot.info().unwrap().initialized).unwrap();
    assert!(token.module.find_token("there").unwrap().is_some());
    assert!(token.module.find_token("").unwrap().is_none());
    assert_eq!(blank.open_session(true).err(), Some(TokenError::TokenUninitialized));
    assert_eq!((logins(), token.pins.asked()), (0, 0));
}

#[test]
fn a_module_that_lacks_its_configuration_says_which() {
    let _alone = alone();
    // SAFETY: SoftHSM2's.
    let module = unsafe { Module::new(softhsm, Pins::new(), NoLock) };
    let module = module.with_check(|| config_file("SECURE_LOG_TEST_NO_SUCH_VARIABLE").map(|_| ()));
    for _ in 0..2 {
        match module.slots().map(|slots| slots.len()) {
            Err(TokenError::Unusable(text)) => {
                assert!(text.contains("SECURE_LOG_TEST_NO_SUCH_VARIABLE"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(module.find_token("any").map(|_| ()), Err(TokenError::Unusable(_))));
    assert!(matches!(module.init_token("any").map(|_| ()), Err(TokenError::Unusable(_))));
}
