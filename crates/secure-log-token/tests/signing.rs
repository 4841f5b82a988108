//! Keys of SoftHSM2 sign, and other libraries verify.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
#[path = "common/verify.rs"]
mod verify;

use common::{Token, assert_usable, key};
use secure_log_pkcs11::token::{
    Admin as _, Curve, Hash, Key as _, KeyQuery, KeySpec, KeyType, Mechanism, Session as _, Signer as _,
    Slot as _, TokenError,
};
use verify::{digest, verifies};

const MESSAGE: &[u8] = b"what is signed";
const RSA_PSS: Mechanism = Mechanism::RsaPss { hash: Hash::Sha256, salt: None };

#[test]
fn a_token_tells_of_itself() {
    let token = Token::new("tells");
    let info = token.slot.info().unwrap();
    assert_eq!(info.label, "tells");
    assert!(info.initialized && info.user_pin_initialized && info.login_required);
    assert!(!info.user_pin_locked && !info.protected_authentication && !info.write_protected);
    assert!(!info.manufacturer.is_empty() && !info.manufacturer.ends_with(' '), "{info:?}");
    assert!(!info.serial.is_empty());
    let mechanisms = token.slot.mechanisms().unwrap();
    assert!(mechanisms.contains(&0x1041) && mechanisms.contains(&0x1087), "{mechanisms:x?}");
}

#[test]
fn keys_on_curves_sign() {
    let token = Token::new("curves");
    let session = token.session();
    for (curve, mechanism, hash) in [
        (Curve::P256, Mechanism::EcdsaPrehashed, Hash::Sha256),
        (Curve::P384, Mechanism::EcdsaPrehashed, Hash::Sha384),
        (Curve::Ed25519, Mechanism::Eddsa, Hash::Sha512),
    ] {
        let label = curve.name();
        token.module.generate_key(&session, KeySpec::Ec(curve), label, label.as_bytes()).unwrap();
        let key = key(&session, label);
        assert_eq!(key.label().unwrap(), label);
        assert_eq!(key.id().unwrap(), label.as_bytes());
        assert_eq!(key.key_type().unwrap(), KeyType::Ec(curve));
        let public = key.public_key().unwrap();
        let data = match mechanism {
            Mechanism::Eddsa => MESSAGE.to_vec(),
            _ => digest(hash, MESSAGE),
        };
        let signature = key.sign(mechanism, &data).unwrap();
        assert_eq!(signature.len(), 2 * curve.private_len());
        assert!(verifies(&public, mechanism, hash, MESSAGE, &signature), "{label}");
        assert!(!verifies(&public, mechanism, hash, b"another", &signature), "{label}");
    }
    assert_eq!(session.find_keys(&KeyQuery::default()).unwrap().len(), 3);
    let by_id = KeyQuery { label: None, id: Some(b"P-384".to_vec()) };
    assert_eq!(session.find_keys(&by_id).unwrap().len(), 1);
    let both = KeyQuery { label: Some("P-256".into()), id: Some(b"P-384".to_vec()) };
    assert!(session.find_keys(&both).unwrap().is_empty());
}

#[test]
fn other_curves_sign_as_their_own_token_verifies() {
    let token = Token::new("more curves");
    let session = token.session();
    // The making of a key tries it, in the token.
    for (curve, mechanism, len) in
        [(Curve::P521, Mechanism::EcdsaPrehashed, 132), (Curve::Ed448, Mechanism::Eddsa, 114)]
    {
        let label = curve.name();
        token.module.generate_key(&session, KeySpec::Ec(curve), label, label.as_bytes()).unwrap();
        let key = key(&session, label);
        assert_eq!(key.key_type().unwrap(), KeyType::Ec(curve));
        assert!(key.public_key().is_ok());
        assert_eq!(key.sign(mechanism, &[1; 64]).unwrap().len(), len);
    }
}

#[test]
fn rsa_keys_sign_in_each_way() {
    let token = Token::new("rsa");
    let session = token.session();
    token.module.generate_key(&session, KeySpec::Rsa(2048), "rsa", &[1]).unwrap();
    let key = key(&session, "rsa");
    assert_eq!(key.key_type().unwrap(), KeyType::Rsa(2048));
    let public = key.public_key().unwrap();
    for (mechanism, hash) in [
        (Mechanism::RsaPkcs1(Hash::Sha256), Hash::Sha256),
        (RSA_PSS, Hash::Sha256),
        (Mechanism::RsaPss { hash: Hash::Sha384, salt: Some(20) }, Hash::Sha384),
        (Mechanism::RsaPss { hash: Hash::Sha512, salt: Some(0) }, Hash::Sha512),
    ] {
        let signature = key.sign(mechanism, MESSAGE).unwrap();
        assert_eq!(signature.len(), 256);
        assert!(verifies(&public, mechanism, hash, MESSAGE, &signature), "{mechanism:?}");

        let signer = key.sign_init(mechanism).unwrap();
        for piece in [&MESSAGE[..5], b"", &MESSAGE[5..]] {
            signer.update(piece).unwrap();
        }
        let signature = signer.finish().unwrap();
        assert!(verifies(&public, mechanism, hash, MESSAGE, &signature), "{mechanism:?} in pieces");
    }
    let prehashed = Mechanism::RsaPssPrehashed { hash: Hash::Sha256, salt: None };
    let signature = key.sign(prehashed, &digest(Hash::Sha256, MESSAGE)).unwrap();
    assert!(verifies(&public, prehashed, Hash::Sha256, MESSAGE, &signature));
}

#[test]
fn what_does_not_fit_the_key_is_refused_and_the_session_goes_on() {
    let token = Token::new("unfit");
    let session = token.session();
    token.module.generate_key(&session, KeySpec::Ec(Curve::P256), "ec", &[1]).unwrap();
    token.module.generate_key(&session, KeySpec::Ec(Curve::Ed25519), "ed", &[2]).unwrap();
    token.module.generate_key(&session, KeySpec::Rsa(2048), "rsa", &[3]).unwrap();
    let (ec, ed, rsa) = (key(&session, "ec"), key(&session, "ed"), key(&session, "rsa"));
    let (pkcs1, eddsa, ecdsa) =
        (Mechanism::RsaPkcs1(Hash::Sha256), Mechanism::Eddsa, Mechanism::EcdsaPrehashed);
    for (key, mechanism) in [
        (&ec, pkcs1),
        (&ec, RSA_PSS),
        (&ec, eddsa),
        (&ed, ecdsa),
        (&ed, Mechanism::Ecdsa(Hash::Sha256)),
        (&ed, pkcs1),
        (&rsa, eddsa),
        (&rsa, ecdsa),
        (&rsa, Mechanism::RsaPss { hash: Hash::Sha256, salt: Some(223) }),
        (&rsa, Mechanism::RsaPss { hash: Hash::Sha256, salt: Some(u32::MAX) }),
    ] {
        assert_eq!(key.sign(mechanism, &[0; 32]), Err(TokenError::KeyUnsuitable), "{mechanism:?}");
        assert_eq!(key.sign_init(mechanism).err(), Some(TokenError::KeyUnsuitable), "{mechanism:?}");
    }
    assert_usable(&ec, ecdsa);
    assert_usable(&ed, eddsa);
    assert_usable(&rsa, Mechanism::RsaPss { hash: Hash::Sha256, salt: Some(222) });

    // SoftHSM2 hashes nothing for ECDSA. Nothing else is done in its place.
    let hashing = Mechanism::Ecdsa(Hash::Sha256);
    assert_eq!(ec.sign(hashing, MESSAGE), Err(TokenError::MechanismUnsupported));
    assert_eq!(ec.sign_init(hashing).err(), Some(TokenError::MechanismUnsupported));
    assert_usable(&ec, ecdsa);

    // A digest is one.
    for data in [&[0; 0][..], &[0; 65]] {
        assert_eq!(ec.sign(ecdsa, data), Err(TokenError::InvalidInput));
    }
    let prehashed = Mechanism::RsaPssPrehashed { hash: Hash::Sha384, salt: None };
    assert_eq!(rsa.sign(prehashed, &[0; 32]), Err(TokenError::InvalidInput));
    assert_usable(&rsa, RSA_PSS);
}

#[test]
fn one_signature_in_pieces_at_a_time() {
    let token = Token::new("busy");
    let session = token.session();
    token.module.generate_key(&session, KeySpec::Rsa(2048), "rsa", &[1]).unwrap();
    let key = key(&session, "rsa");
    let public = key.public_key().unwrap();

    let signer = key.sign_init(RSA_PSS).unwrap();
    signer.update(&MESSAGE[..3]).unwrap();
    assert_eq!(key.sign_init(RSA_PSS).err(), Some(TokenError::Busy));
    assert_eq!(key.sign(RSA_PSS, MESSAGE), Err(TokenError::Busy));
    assert_eq!(token.module.rename_key(&session, &key, "x"), Err(TokenError::Busy));
    // Another session is another matter.
    let other = token.session();
    let again = common::key(&other, "rsa");
    assert_usable(&again, RSA_PSS);
    // None of that disturbed it.
    signer.update(&MESSAGE[3..]).unwrap();
    let signature = signer.finish().unwrap();
    assert!(verifies(&public, RSA_PSS, Hash::Sha256, MESSAGE, &signature));

    // Given up in the middle, and before the first piece.
    for pieces in [1, 0] {
        let signer = key.sign_init(RSA_PSS).unwrap();
        for _ in 0..pieces {
            signer.update(MESSAGE).unwrap();
        }
        drop(signer);
        assert_usable(&key, RSA_PSS);
        assert_eq!(common::keys(&session, "rsa").len(), 1, "still logged in");
    }
}

#[test]
fn signatures_that_come_in_one_piece_only_say_so() {
    let token = Token::new("pieces");
    let session = token.session();
    for (curve, mechanism) in [(Curve::Ed25519, Mechanism::Eddsa), (Curve::P256, Mechanism::EcdsaPrehashed)] {
        let label = curve.name();
        token.module.generate_key(&session, KeySpec::Ec(curve), label, label.as_bytes()).unwrap();
        let key = key(&session, label);
        let signer = key.sign_init(mechanism).unwrap();
        assert_eq!(signer.update(&[1; 32]), Err(TokenError::Unsupported));
        assert_usable(&key, mechanism);
        assert_eq!(signer.update(&[1; 32]), Err(TokenError::Unsupported));
        assert_eq!(signer.finish(), Err(TokenError::Unsupported));
        assert_eq!(key.sign_init(mechanism).unwrap().finish(), Err(TokenError::Unsupported));
        assert_usable(&key, mechanism);
    }
}

#[test]
fn keys_end_with_their_session() {
    let token = Token::new("closed");
    let session = token.session();
    token.module.generate_key(&session, KeySpec::Ec(Curve::P256), "ec", &[1]).unwrap();
    let first = key(&session, "ec");
    let (rest, signing) = (token.session(), key(&session, "ec"));
    let signer = signing.sign_init(Mechanism::EcdsaPrehashed).unwrap();
    drop(session);
    let closed = Some(TokenError::SessionClosed);
    assert_eq!(first.label().err(), closed);
    assert_eq!(first.id().err(), closed);
    assert_eq!(first.key_type().err(), closed);
    assert_eq!(first.public_key().err(), closed);
    assert_eq!(first.sign(Mechanism::EcdsaPrehashed, &[0; 32]).err(), closed);
    assert_eq!(signer.update(&[0; 32]).err(), closed);
    assert_eq!(signer.finish().err(), closed);
    assert_eq!(token.module.rename_key(&rest, &first, "new").err(), closed);
    assert_usable(&key(&rest, "ec"), Mechanism::EcdsaPrehashed);
}

#[test]
fn signing_needs_no_read_write_session() {
    let token = Token::new("read-only");
    let session = token.session();
    token.module.generate_key(&session, KeySpec::Ec(Curve::P256), "ec", &[1]).unwrap();
    drop(session);
    let session = token.slot.open_session(false).unwrap();
    // Private keys are not seen without a login, which ended with the last session.
    assert!(common::keys(&session, "ec").is_empty());
    session.login(secure_log_pkcs11::token::User::Normal).unwrap();
    assert_usable(&key(&session, "ec"), Mechanism::EcdsaPrehashed);
    assert!(common::keys(&session, "no such key").is_empty());
    let spec = KeySpec::Ec(Curve::P256);
    assert_eq!(token.module.generate_key(&session, spec, "new", &[2]), Err(TokenError::ReadOnly));
}
