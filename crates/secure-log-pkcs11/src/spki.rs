//! Public keys of tokens as SubjectPublicKeyInfo.

use rsa::pkcs1::RsaPublicKey;
use rsa::pkcs8::der::asn1::{AnyRef, BitStringRef, UintRef};
use rsa::pkcs8::der::{self, Encode as _};
use rsa::pkcs8::spki::AlgorithmIdentifier;
use rsa::pkcs8::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use secure_log::signer::{KeyError, PublicKey};

use crate::token;
use crate::token::{Curve, EcPoint};

const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A token's public key as the log has them: Ed25519, P-256, or RSA from 2,048 bits.
///
/// # Errors
///
/// `invalid` for a key of another kind, or one that is none.
pub fn public_key(key: &token::PublicKey) -> Result<PublicKey, KeyError> {
    let invalid = |reason: String| KeyError::Invalid(format!("the public key on the token: {reason}"));
    let spki = match key {
        token::PublicKey::Ec(EcPoint { curve: Curve::Ed25519, point }) => {
            let raw = point.as_slice().try_into();
            return raw
                .map(PublicKey::from_ed25519_raw)
                .map_err(|_| invalid(format!("{} bytes for an Ed25519 key, which has 32", point.len())));
        }
        token::PublicKey::Ec(EcPoint { curve: Curve::P256, point }) => {
            p256_spki(point).map_err(|e| invalid(e.to_string()))?
        }
        token::PublicKey::Ec(EcPoint { curve, .. }) => {
            return Err(invalid(format!("{}; usable are Ed25519, P-256 and RSA", curve.name())));
        }
        token::PublicKey::Rsa(key) => rsa_spki(key).map_err(|e| invalid(e.to_string()))?,
    };
    PublicKey::from_spki_der(&spki).map_err(|e| invalid(e.to_string()))
}

fn p256_spki(point: &[u8]) -> Result<Vec<u8>, der::Error> {
    let algorithm = AlgorithmIdentifier { oid: OID_EC, parameters: Some(AnyRef::from(&OID_P256)) };
    SubjectPublicKeyInfoRef { algorithm, subject_public_key: BitStringRef::from_bytes(point)? }.to_der()
}

fn rsa_spki(key: &token::RsaPublicKey) -> Result<Vec<u8>, der::Error> {
    let key =
        RsaPublicKey { modulus: UintRef::new(&key.modulus)?, public_exponent: UintRef::new(&key.exponent)? };
    let bytes = key.to_der()?;
    let algorithm = AlgorithmIdentifier { oid: OID_RSA, parameters: Some(AnyRef::NULL) };
    SubjectPublicKeyInfoRef { algorithm, subject_public_key: BitStringRef::from_bytes(&bytes)? }.to_der()
}
