//! Signatures seen by other libraries.

use ed25519_dalek::Verifier as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::traits::SignatureScheme as _;
use secure_log_pkcs11::token::{Curve, Hash, Mechanism, PublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

pub fn digest(hash: Hash, message: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha256 => Sha256::digest(message).to_vec(),
        Hash::Sha384 => Sha384::digest(message).to_vec(),
        Hash::Sha512 => Sha512::digest(message).to_vec(),
    }
}

/// Verifies what `mechanism` made of `message`; where that takes a digest, of its digest by `hash`.
pub fn verifies(key: &PublicKey, mechanism: Mechanism, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
    match (key, mechanism) {
        (PublicKey::Ec(key), Mechanism::EcdsaPrehashed | Mechanism::Ecdsa(_)) => {
            let digest = digest(hash, message);
            match key.curve {
                Curve::P256 => {
                    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&key.point).unwrap();
                    let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
                    key.verify_prehash(&digest, &signature).is_ok()
                }
                Curve::P384 => {
                    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&key.point).unwrap();
                    let signature = p384::ecdsa::Signature::from_slice(signature).unwrap();
                    key.verify_prehash(&digest, &signature).is_ok()
                }
                other => panic!("{other:?}"),
            }
        }
        (PublicKey::Ec(key), Mechanism::Eddsa) => {
            let key = ed25519_dalek::VerifyingKey::from_bytes(&key.point.as_slice().try_into().unwrap());
            let signature = ed25519_dalek::Signature::from_slice(signature).unwrap();
            key.unwrap().verify(message, &signature).is_ok()
        }
        (PublicKey::Rsa(key), mechanism) => {
            let number = rsa::BoxedUint::from_be_slice_vartime;
            let key = rsa::RsaPublicKey::new(number(&key.modulus), number(&key.exponent)).unwrap();
            let digest = digest(hash, message);
            match mechanism {
                Mechanism::RsaPkcs1(Hash::Sha256) => {
                    rsa::Pkcs1v15Sign::new::<Sha256>().verify(&key, &digest, signature).is_ok()
                }
                Mechanism::RsaPss { salt, .. } | Mechanism::RsaPssPrehashed { salt, .. } => {
                    let salt = salt.unwrap_or(hash.digest_len()) as usize;
                    match hash {
                        Hash::Sha256 => {
                            rsa::Pss::<Sha256>::new_with_salt(salt).verify(&key, &digest, signature)
                        }
                        Hash::Sha384 => {
                            rsa::Pss::<Sha384>::new_with_salt(salt).verify(&key, &digest, signature)
                        }
                        Hash::Sha512 => {
                            rsa::Pss::<Sha512>::new_with_salt(salt).verify(&key, &digest, signature)
                        }
                    }
                    .is_ok()
                }
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}
