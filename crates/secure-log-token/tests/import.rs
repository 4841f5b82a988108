//! Keys that were made by other libraries, on SoftHSM2.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
#[path = "common/verify.rs"]
mod verify;

use std::sync::OnceLock;

use common::{Token, key, keys};
use getrandom::SysRng;
use getrandom::rand_core::{Rng as _, UnwrapErr};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use secure_log_pkcs11::token::{
    Admin as _, Curve, EcPoint, Hash, Key as _, KeyType, Mechanism, PrivateEcKey, PrivateKey, PrivateRsaKey,
    PublicKey, TokenError, Zeroizing,
};
use verify::{digest, verifies};

const MESSAGE: &[u8] = b"what is signed";

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    UnwrapErr(SysRng).fill_bytes(&mut bytes);
    bytes
}

fn secret(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

fn p256() -> PrivateEcKey {
    let key = p256::SecretKey::from_slice(&random::<32>()).unwrap();
    let point = key.public_key().to_sec1_point(false).as_bytes().to_vec();
    PrivateEcKey { curve: Curve::P256, private: secret(&key.to_bytes()), point }
}

fn ed25519() -> PrivateEcKey {
    let key = ed25519_dalek::SigningKey::from_bytes(&random());
    let point = key.verifying_key().to_bytes().to_vec();
    PrivateEcKey { curve: Curve::Ed25519, private: secret(&key.to_bytes()), point }
}

/// Two keys of 2,048 bits, made once.
fn rsa(which: usize) -> PrivateRsaKey {
    static MADE: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        [(); 2].map(|()| {
            let key = rsa::RsaPrivateKey::new(&mut UnwrapErr(SysRng), 2048).unwrap();
            key.to_pkcs1_der().unwrap().as_bytes().to_vec()
        })
    });
    let key = rsa::pkcs1::RsaPrivateKeyRef::try_from(made[which].as_slice()).unwrap();
    PrivateRsaKey {
        modulus: key.modulus.as_bytes().to_vec(),
        public_exponent: key.public_exponent.as_bytes().to_vec(),
        private_exponent: secret(key.private_exponent.as_bytes()),
        prime1: secret(key.prime1.as_bytes()),
        prime2: secret(key.prime2.as_bytes()),
        exponent1: secret(key.exponent1.as_bytes()),
        exponent2: secret(key.exponent2.as_bytes()),
        coefficient: secret(key.coefficient.as_bytes()),
    }
}

#[test]
fn keys_on_curves_are_imported_and_sign() {
    let token = Token::new("import");
    let session = token.session();
    for (made, mechanism) in [(p256(), Mechanism::EcdsaPrehashed), (ed25519(), Mechanism::Eddsa)] {
        let (curve, point, label) = (made.curve, made.point.clone(), made.curve.name());
        token.module.import_key(&session, &PrivateKey::Ec(made), label, label.as_bytes()).unwrap();
        let key = key(&session, label);
        assert_eq!(key.id().unwrap(), label.as_bytes());
        assert_eq!(key.key_type().unwrap(), KeyType::Ec(curve));
        let public = key.public_key().unwrap();
        assert_eq!(public, PublicKey::Ec(EcPoint { curve, point }));
        let data = match mechanism {
            Mechanism::Eddsa => MESSAGE.to_vec(),
            _ => digest(Hash::Sha256, MESSAGE),
        };
        let signature = key.sign(mechanism, &data).unwrap();
        assert!(verifies(&public, mechanism, Hash::Sha256, MESSAGE, &signature));
    }
}

#[test]
fn rsa_keys_are_imported_and_sign() {
    let token = Token::new("import rsa");
    let session = token.session();
    let made = rsa(0);
    let (modulus, exponent) = (made.modulus.clone(), made.public_exponent.clone());
    token.module.import_key(&session, &PrivateKey::Rsa(Box::new(made)), "rsa", &[1]).unwrap();
    let key = key(&session, "rsa");
    assert_eq!(key.key_type().unwrap(), KeyType::Rsa(2048));
    let public = key.public_key().unwrap();
    let PublicKey::Rsa(found) = &public else { panic!("{public:?}") };
    assert_eq!((&found.modulus, &found.exponent), (&modulus, &exponent));
    let mechanism = Mechanism::RsaPss { hash: Hash::Sha256, salt: None };
    let signature = key.sign(mechanism, MESSAGE).unwrap();
    assert!(verifies(&public, mechanism, Hash::Sha256, MESSAGE, &signature));
}

#[test]
fn what_is_no_pair_is_refused_whole() {
    let token = Token::new("no pair");
    let session = token.session();
    let refused = |key: PrivateKey| {
        let imported = token.module.import_key(&session, &key, "key", &[1]);
        assert_eq!(imported, Err(TokenError::InvalidInput), "{key:?}");
        assert!(keys(&session, "key").is_empty());
    };
    // Another's public half; it has all the right lengths.
    for (one, other) in [(p256(), p256()), (ed25519(), ed25519())] {
        refused(PrivateKey::Ec(PrivateEcKey { point: other.point, ..one }));
    }
    for make in [p256, ed25519] {
        let shorter = |bytes: &[u8]| bytes[1..].to_vec();
        refused(PrivateKey::Ec(PrivateEcKey { point: shorter(&make().point), ..make() }));
        refused(PrivateKey::Ec(PrivateEcKey { point: Vec::new(), ..make() }));
        refused(PrivateKey::Ec(PrivateEcKey { private: secret(&shorter(&make().private)), ..make() }));
        refused(PrivateKey::Ec(PrivateEcKey { private: secret(&[1; 64]), ..make() }));
        refused(PrivateKey::Ec(PrivateEcKey { curve: Curve::P384, ..make() }));
    }
    refused(PrivateKey::Ec(PrivateEcKey { private: secret(&[0; 32]), ..p256() }));
    let mut compressed = p256();
    compressed.point[0] = 2;
    refused(PrivateKey::Ec(compressed));

    let rsa_refused = |change: &dyn Fn(&mut PrivateRsaKey)| {
        let mut key = rsa(0);
        change(&mut key);
        refused(PrivateKey::Rsa(Box::new(key)));
    };
    rsa_refused(&|key| key.modulus.clear());
    rsa_refused(&|key| key.modulus[0] >>= 1);
    rsa_refused(&|key| key.coefficient.clear());
    rsa_refused(&|key| key.prime1 = secret(&[0; 128]));
    rsa_refused(&|key| key.prime2.extend([1; 256]));
    // A free name after all that.
    token.module.import_key(&session, &PrivateKey::Ec(p256()), "key", &[1]).unwrap();
    let again = token.module.import_key(&session, &PrivateKey::Ec(p256()), "key", &[2]);
    assert_eq!(again, Err(TokenError::Exists));
    let again = token.module.import_key(&session, &PrivateKey::Ec(p256()), "key 2", &[1]);
    assert_eq!(again, Err(TokenError::Exists));
}

#[test]
fn an_rsa_key_that_is_not_one_is_refused() {
    let token = Token::new("two rsa");
    let session = token.session();
    let (one, other) = (rsa(0), rsa(1));
    let mixed = PrivateRsaKey { modulus: other.modulus, ..one };
    let imported = token.module.import_key(&session, &PrivateKey::Rsa(Box::new(mixed)), "key", &[1]);
    assert!(imported.is_err(), "{imported:?}");
    assert!(keys(&session, "key").is_empty());
    token.module.import_key(&session, &PrivateKey::Rsa(Box::new(rsa(0))), "key", &[1]).unwrap();
}
