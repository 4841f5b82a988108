//! A private key in numbers, for a token that takes it in.

use std::fmt;

use rsa::RsaPrivateKey;
use rsa::pkcs1::{EncodeRsaPrivateKey as _, RsaPrivateKeyRef as RsaNumbers};
use rsa::pkcs8::der::Decode as _;
use secure_log::signer::KeyError;
use zeroize::Zeroizing;

/// What [`PrivateKey::material`](crate::PrivateKey::material) gives: all that there is of a key. `Debug` shows nothing
/// of it.
pub enum KeyMaterial {
    /// Ed25519 (RFC 8032).
    Ed25519 {
        /// The seed, 32 bytes.
        seed: Zeroizing<Vec<u8>>,
        /// The public key, 32 bytes.
        public: Vec<u8>,
    },
    /// ECDSA on P-256.
    EcdsaP256 {
        /// The scalar, 32 bytes, big-endian.
        scalar: Zeroizing<Vec<u8>>,
        /// The uncompressed public point (SEC 1 §2.3.3), 65 bytes.
        point: Vec<u8>,
    },
    /// RSA of two primes (RFC 8017 §3.2).
    Rsa(Box<RsaMaterial>),
}

/// An RSA key of two primes, all numbers big-endian without leading zeros.
pub struct RsaMaterial {
    /// n
    pub modulus: Vec<u8>,
    /// e
    pub public_exponent: Vec<u8>,
    /// d
    pub private_exponent: Zeroizing<Vec<u8>>,
    /// p
    pub prime1: Zeroizing<Vec<u8>>,
    /// q
    pub prime2: Zeroizing<Vec<u8>>,
    /// d mod (p − 1)
    pub exponent1: Zeroizing<Vec<u8>>,
    /// d mod (q − 1)
    pub exponent2: Zeroizing<Vec<u8>>,
    /// q⁻¹ mod p
    pub coefficient: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 { .. } => "KeyMaterial(ed25519)",
            Self::EcdsaP256 { .. } => "KeyMaterial(ecdsa-p256)",
            Self::Rsa(_) => "KeyMaterial(rsa)",
        })
    }
}

impl fmt::Debug for RsaMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaMaterial")
    }
}

impl RsaMaterial {
    pub(crate) fn of(key: &RsaPrivateKey) -> Result<Self, KeyError> {
        let failed = || KeyError::Failed("the RSA key cannot be taken apart".into());
        let der = key.to_pkcs1_der().map_err(|_| failed())?;
        let numbers = RsaNumbers::from_der(der.as_bytes()).map_err(|_| failed())?;
        let secret = |number: &[u8]| Zeroizing::new(number.to_vec());
        Ok(Self {
            modulus: numbers.modulus.as_bytes().to_vec(),
            public_exponent: numbers.public_exponent.as_bytes().to_vec(),
            private_exponent: secret(numbers.private_exponent.as_bytes()),
            prime1: secret(numbers.prime1.as_bytes()),
            prime2: secret(numbers.prime2.as_bytes()),
            exponent1: secret(numbers.exponent1.as_bytes()),
            exponent2: secret(numbers.exponent2.as_bytes()),
            coefficient: secret(numbers.coefficient.as_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use secure_log::signer::Algorithm;

    use super::*;
    use crate::{FillRandom, PrivateKey};

    fn random() -> FillRandom {
        Box::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()))
    }

    fn key(algorithm: Algorithm) -> PrivateKey {
        PrivateKey::generate_sized(algorithm, 2_048, &mut random()).unwrap()
    }

    #[test]
    fn the_numbers_are_those_of_the_key() {
        let ed25519 = key(Algorithm::Ed25519);
        let KeyMaterial::Ed25519 { seed, public } = ed25519.material().unwrap() else {
            panic!("{ed25519:?}")
        };
        let again = ed25519_dalek::SigningKey::from_bytes(seed.as_slice().try_into().unwrap());
        assert_eq!(again.verifying_key().as_bytes().as_slice(), public);
        assert!(ed25519.public().spki_der.ends_with(&public));

        let p256 = key(Algorithm::EcdsaP256);
        let KeyMaterial::EcdsaP256 { scalar, point } = p256.material().unwrap() else { panic!("{p256:?}") };
        assert_eq!((scalar.len(), point.len(), point[0]), (32, 65, 4));
        assert!(p256.public().spki_der.ends_with(&point));
        let again = p256::ecdsa::SigningKey::from_slice(&scalar).unwrap();
        assert_eq!(again.verifying_key().to_sec1_point(false).as_bytes(), point);

        let rsa = key(Algorithm::RsaPssSha256);
        let KeyMaterial::Rsa(numbers) = rsa.material().unwrap() else { panic!("{rsa:?}") };
        assert_eq!((numbers.modulus.len(), numbers.public_exponent.as_slice()), (256, &[1, 0, 1][..]));
        let lengths = [&numbers.prime1, &numbers.prime2].map(|prime| prime.len());
        assert_eq!(lengths, [128, 128]);
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        let material = key(Algorithm::Ed25519).material().unwrap();
        assert_eq!(format!("{material:?}"), "KeyMaterial(ed25519)");
        let material = key(Algorithm::RsaPssSha256).material().unwrap();
        let KeyMaterial::Rsa(numbers) = &material else { panic!("{material:?}") };
        assert_eq!(format!("{material:?} {numbers:?}"), "KeyMaterial(rsa) RsaMaterial");
    }
}
