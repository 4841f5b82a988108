//! A module that fails, or that lies.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "common/objects.rs"]
mod objects;

use common::{Pins, Token, alone, assert_usable, key, keys};
use faulty::Fault::{Fails, Lies};
use faulty::{fault, faulty, heal};
use objects::{destroy, objects};
use secure_log_pkcs11::token::{
    Admin as _, Curve, Hash, Key as _, KeyQuery, KeySpec, Mechanism, PrivateEcKey, PrivateKey, Session as _,
    Signer as _, Slot as _, TokenError, Tokens as _, User, Wrapping as _, WrappingKey as _, Zeroizing,
};
use secure_log_token::ck::*;
use secure_log_token::{Module, NoLock};

const P256: KeySpec = KeySpec::Ec(Curve::P256);
const ECDSA: Mechanism = Mechanism::EcdsaPrehashed;
const HUGE: CK_ULONG = CK_UNAVAILABLE_INFORMATION;

fn token(label: &str) -> Token {
    let alone = alone();
    heal();
    Token::alone(alone, label, faulty, NoLock)
}

fn device(rv: CK_RV) -> Option<TokenError> {
    Some(TokenError::Device(rv as u32))
}

fn assert_unusable<T>(result: Result<T, TokenError>, part: &str) {
    match result.map(|_| ()) {
        Err(TokenError::Unusable(text)) => assert!(text.contains(part), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_module_that_does_not_start_says_so_each_time_until_it_does() {
    let _alone = alone();
    heal();
    fault("C_Initialize", 0, Fails(CKR_GENERAL_ERROR));
    // SAFETY: SoftHSM2's, with faults.
    let module = unsafe { Module::new(faulty, Pins::new(), NoLock) };
    for _ in 0..3 {
        assert_unusable(module.slots(), "C_Initialize: CK_RV 0x5");
        assert_unusable(module.find_token("any"), "C_Initialize");
        assert_unusable(module.init_token("any"), "C_Initialize");
    }
    heal();
    module.slots().unwrap();
}

#[test]
fn a_module_without_functions_is_none() {
    unsafe extern "C" fn no_list(_: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
        CKR_OK
    }
    unsafe extern "C" fn no_functions(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
        static EMPTY: CK_FUNCTION_LIST = CK_FUNCTION_LIST::EMPTY;
        // SAFETY: the caller's; nobody writes to the list.
        unsafe { *list = (&raw const EMPTY).cast_mut() };
        CKR_OK
    }
    for (entry, part) in
        [(no_list as CK_C_GetFunctionList, "C_GetFunctionList"), (no_functions, "CK_RV 0x54")]
    {
        // SAFETY: they give no function that could be called.
        let module = unsafe { Module::new(entry, Pins::new(), NoLock) };
        assert_unusable(module.slots(), part);
        assert_unusable(module.slots(), part);
    }
}

#[test]
fn a_failed_signature_leaves_the_session_usable() {
    let token = token("failed");
    let session = token.session();
    token.module.generate_key(&session, P256, "key", &[1]).unwrap();
    let key = key(&session, "key");
    for (function, rv, error) in [
        ("C_SignInit", 0x90, TokenError::Busy),
        ("C_SignInit", 0x68, TokenError::KeyUnsuitable),
        ("C_SignInit", 0x101, TokenError::NotLoggedIn),
        ("C_Sign", CKR_GENERAL_ERROR, TokenError::Device(5)),
        ("C_Sign", CKR_BUFFER_TOO_SMALL, TokenError::Other(0x150)),
        ("C_Sign", 0x8000_0001, TokenError::Other(0x8000_0001)),
    ] {
        fault(function, 0, Fails(rv));
        assert_eq!(key.sign(ECDSA, &[0; 32]), Err(error), "{function} {rv:x}");
        heal();
        assert_usable(&key, ECDSA);
        assert_eq!(keys(&session, "key").len(), 1, "still logged in");
    }
    // The module's own operation is not ended by what fails before it.
    for len in [0, 63, 65, HUGE] {
        fault("C_Sign", 0, Lies(len));
        assert!(matches!(key.sign(ECDSA, &[0; 32]), Err(TokenError::Device(_))), "{len}");
        heal();
        assert_usable(&key, ECDSA);
    }
    // Without a fresh session there is none.
    fault("C_Sign", 0, Fails(CKR_DEVICE_ERROR));
    fault("C_OpenSession", 0, Fails(0xb1));
    assert_eq!(key.sign(ECDSA, &[0; 32]).err(), device(CKR_DEVICE_ERROR));
    heal();
    assert_eq!(key.sign(ECDSA, &[0; 32]), Err(TokenError::SessionClosed));
    assert_eq!(session.login(User::Normal), Err(TokenError::SessionClosed));
}

#[test]
fn a_signature_in_pieces_fails_for_good() {
    let token = token("in pieces");
    let session = token.session();
    token.module.generate_key(&session, KeySpec::Rsa(2048), "key", &[1]).unwrap();
    let key = key(&session, "key");
    let mechanism = Mechanism::RsaPkcs1(Hash::Sha256);
    let signer = key.sign_init(mechanism).unwrap();
    signer.update(b"one").unwrap();
    fault("C_SignUpdate", 0, Fails(CKR_DEVICE_ERROR));
    assert_eq!(signer.update(b"two").err(), device(CKR_DEVICE_ERROR));
    heal();
    assert_usable(&key, mechanism);
    assert_eq!(signer.update(b"two").err(), device(CKR_DEVICE_ERROR));
    assert_eq!(signer.finish().err(), device(CKR_DEVICE_ERROR));
    assert_usable(&key, mechanism);
    for (what, error) in [(Fails(6), 6), (Lies(255), 0x30), (Lies(HUGE), 0x30)] {
        let signer = key.sign_init(mechanism).unwrap();
        fault("C_SignFinal", 0, what);
        assert_eq!(signer.finish().err(), device(error));
        heal();
        assert_usable(&key, mechanism);
    }
}

#[test]
fn counts_and_lengths_are_not_believed() {
    let token = token("liar");
    let session = token.session();
    token.module.generate_key(&session, P256, "key", &[1]).unwrap();
    let honest = key(&session, "key");
    for after in [0, 1] {
        fault("C_GetSlotList", after, Lies(HUGE));
        assert_eq!(token.module.slots().err(), device(CKR_DEVICE_ERROR));
        heal();
    }
    for count in [65, HUGE] {
        fault("C_FindObjects", 0, Lies(count));
        assert_eq!(session.find_keys(&KeyQuery::default()).err(), device(CKR_DEVICE_ERROR));
        heal();
    }
    // Always one more.
    fault("C_FindObjects", 0, Lies(64));
    assert_eq!(session.find_keys(&KeyQuery::default()).err(), device(CKR_DEVICE_ERROR));
    heal();
    assert_eq!(keys(&session, "key").len(), 1, "the search was ended");

    fault("C_GetAttributeValue", 0, Lies(1 << 30));
    assert_eq!(honest.label().err(), device(CKR_DEVICE_ERROR));
    assert_eq!(honest.key_type().err(), device(CKR_DEVICE_ERROR));
    heal();
    // Longer the second time.
    fault("C_GetAttributeValue", 1, Lies(4));
    assert_eq!(honest.label().err(), device(CKR_DEVICE_ERROR));
    heal();
    // Not told.
    fault("C_GetAttributeValue", 0, Lies(CK_UNAVAILABLE_INFORMATION));
    assert_eq!(honest.label().unwrap(), "");
    assert_eq!(honest.key_type(), Err(TokenError::KeyUnsuitable));
    heal();
    assert_eq!(honest.label().unwrap(), "key");
    assert_usable(&honest, ECDSA);
}

#[test]
fn wrapping_fails_whole() {
    let token = token("wrapping");
    let session = token.session();
    token.module.generate_key(&session, KeySpec::Aes, "kek", &[1]).unwrap();
    let key = token.module.find_wrapping_keys(&session, &KeyQuery::default()).unwrap().remove(0);
    let wrapped = key.wrap(b"a data key", b"").unwrap();
    for (function, what, error) in [
        ("C_GenerateRandom", Fails(0x121), TokenError::Other(0x121)),
        ("C_Encrypt", Fails(CKR_GENERAL_ERROR), TokenError::Device(5)),
        ("C_Encrypt", Lies(10), TokenError::Device(0x30)),
        ("C_Encrypt", Lies(HUGE), TokenError::Device(0x30)),
    ] {
        fault(function, 0, what);
        assert_eq!(key.wrap(b"a data key", b""), Err(error));
        heal();
        assert_eq!(&**key.unwrap(&wrapped, b"").unwrap(), b"a data key");
    }
    let invalid = TokenError::WrappedKeyInvalid;
    for (what, error) in [
        (Fails(CKR_ENCRYPTED_DATA_INVALID), invalid.clone()),
        (Fails(CKR_ENCRYPTED_DATA_LEN_RANGE), invalid.clone()),
        (Fails(CKR_GENERAL_ERROR), invalid.clone()),
        (Fails(CKR_DATA_LEN_RANGE), invalid),
        (Fails(CKR_DEVICE_ERROR), TokenError::Device(0x30)),
        (Fails(0x101), TokenError::NotLoggedIn),
        (Lies(9), TokenError::Device(0x30)),
        (Lies(HUGE), TokenError::Device(0x30)),
    ] {
        fault("C_Decrypt", 0, what);
        assert_eq!(key.unwrap(&wrapped, b"").err(), Some(error));
        heal();
        assert_eq!(&**key.unwrap(&wrapped, b"").unwrap(), b"a data key");
    }
}

#[test]
fn a_token_without_its_user_pin_is_not_called_made() {
    let token = token("whole");
    fault("C_InitPIN", 0, Fails(CKR_DEVICE_ERROR));
    assert_unusable(token.module.init_token("half"), "no user PIN yet");
    assert_unusable(token.module.init_token("new"), "no user PIN yet");
    heal();
    for label in ["half", "new"] {
        let slot = token.module.init_token(label).unwrap();
        slot.open_session(false).unwrap().login(User::Normal).unwrap();
    }
}

fn p256() -> PrivateKey {
    let key = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let point = p256::ecdsa::VerifyingKey::from(&p256::ecdsa::SigningKey::from(key)).to_sec1_point(false);
    PrivateKey::Ec(PrivateEcKey {
        curve: Curve::P256,
        private: Zeroizing::new(vec![7; 32]),
        point: point.as_bytes().to_vec(),
    })
}

#[test]
fn both_halves_are_made_or_none() {
    let token = token("halves");
    let session = token.session();
    let import = || token.module.import_key(&session, &p256(), "key", &[1]);
    let generate = || token.module.generate_key(&session, P256, "key", &[1]);
    for (function, after) in [("C_CreateObject", 0), ("C_CreateObject", 1), ("C_Sign", 0), ("C_Verify", 0)] {
        fault(function, after, Fails(CKR_DEVICE_ERROR));
        assert_eq!(import().err(), device(CKR_DEVICE_ERROR), "{function}");
        heal();
        assert_eq!(objects(&token, "key"), 0, "{function}");
        if function != "C_CreateObject" {
            fault(function, after, Fails(CKR_DEVICE_ERROR));
            assert_eq!(generate().err(), device(CKR_DEVICE_ERROR), "{function}");
            heal();
            assert_eq!(objects(&token, "key"), 0, "{function}");
        }
    }
    // What cannot be undone either is said.
    fault("C_CreateObject", 1, Fails(CKR_DEVICE_ERROR));
    fault("C_DestroyObject", 0, Fails(CKR_GENERAL_ERROR));
    assert_unusable(import(), "could not be removed");
    heal();
    let half = key(&session, "key");
    assert_eq!(half.public_key().err(), Some(TokenError::KeyGone));
    token.module.destroy_key(&session, &half).unwrap();
    import().unwrap();
    assert_usable(&key(&session, "key"), ECDSA);
}

#[test]
fn both_halves_have_one_name() {
    let token = token("one name");
    let session = token.session();
    token.module.generate_key(&session, P256, "key", &[1]).unwrap();
    let key = key(&session, "key");
    for after in [0, 1] {
        fault("C_SetAttributeValue", after, Fails(CKR_DEVICE_ERROR));
        let renamed = token.module.rename_key(&session, &key, "new");
        heal();
        if after == 0 {
            assert_eq!(renamed.err(), device(CKR_DEVICE_ERROR));
            assert_eq!((objects(&token, "key"), objects(&token, "new")), (2, 0));
        } else {
            // The way back failed as well.
            assert_unusable(renamed, "rename it again");
            assert_eq!((objects(&token, "key"), objects(&token, "new")), (1, 1));
        }
    }
    token.module.rename_key(&session, &key, "key").unwrap();
    assert_eq!((objects(&token, "key"), objects(&token, "new")), (2, 0));
}

#[test]
fn what_an_interrupted_making_left_is_removed_and_nothing_else() {
    let token = token("orphans");
    let session = token.session();
    for (label, id) in [("mine", [1]), ("another's", [2])] {
        token.module.generate_key(&session, P256, label, &id).unwrap();
        destroy(&token, label, CKO_PRIVATE_KEY);
        assert_eq!(objects(&token, label), 1);
    }
    let make = |label: &str, id: &[u8]| token.module.generate_key(&session, P256, label, id);
    make("mine", &[1]).unwrap();
    assert_eq!(objects(&token, "mine"), 2);
    key(&session, "mine").public_key().unwrap();
    assert_eq!(make("new", &[2]), Err(TokenError::Exists));
    assert_eq!(objects(&token, "another's"), 1);
}

#[test]
fn without_a_public_half_an_rsa_key_still_has_its_public_key() {
    let token = token("no public");
    let session = token.session();
    for (spec, label) in [(P256, "ec"), (KeySpec::Rsa(2048), "rsa")] {
        token.module.generate_key(&session, spec, label, label.as_bytes()).unwrap();
        destroy(&token, label, CKO_PUBLIC_KEY);
    }
    assert!(key(&session, "rsa").public_key().is_ok());
    let ec = key(&session, "ec");
    assert_eq!(ec.public_key().err(), Some(TokenError::KeyGone));
    token.module.rename_key(&session, &ec, "new").unwrap();
    token.module.destroy_key(&session, &ec).unwrap();
}
