//! A software key in the numbers that a token takes.

use anyhow::Result;
use secure_log_keystore::{KeyMaterial, PrivateKey as SoftwareKey};
use secure_log_pkcs11::token::{Curve, PrivateEcKey, PrivateKey, PrivateRsaKey};

pub(super) fn numbers(key: &SoftwareKey) -> Result<PrivateKey> {
    Ok(match key.material()? {
        KeyMaterial::Ed25519 { seed, public } => {
            PrivateKey::Ec(PrivateEcKey { curve: Curve::Ed25519, private: seed, point: public })
        }
        KeyMaterial::EcdsaP256 { scalar, point } => {
            PrivateKey::Ec(PrivateEcKey { curve: Curve::P256, private: scalar, point })
        }
        KeyMaterial::Rsa(rsa) => PrivateKey::Rsa(Box::new(PrivateRsaKey {
            modulus: rsa.modulus,
            public_exponent: rsa.public_exponent,
            private_exponent: rsa.private_exponent,
            prime1: rsa.prime1,
            prime2: rsa.prime2,
            exponent1: rsa.exponent1,
            exponent2: rsa.exponent2,
            coefficient: rsa.coefficient,
        })),
    })
}
