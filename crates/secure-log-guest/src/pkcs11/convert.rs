//! Types of `pkcs11:token`, both ways.

use secure_log_pkcs11::token as t;

use super::token_world::exports::pkcs11::token::admin;

secure_log_pkcs11::token_conversions!(super::token_world::pkcs11::token::types);

impl From<admin::KeySpec> for t::KeySpec {
    fn from(spec: admin::KeySpec) -> Self {
        match spec {
            admin::KeySpec::Ec(curve) => Self::Ec(curve.into()),
            admin::KeySpec::Rsa(bits) => Self::Rsa(bits),
            admin::KeySpec::Aes => Self::Aes,
        }
    }
}

impl From<admin::PrivateKey> for t::PrivateKey {
    fn from(key: admin::PrivateKey) -> Self {
        let secret = t::Zeroizing::new;
        match key {
            admin::PrivateKey::Ec(key) => Self::Ec(t::PrivateEcKey {
                curve: key.curve.into(),
                private: secret(key.private),
                point: key.point,
            }),
            admin::PrivateKey::Rsa(key) => Self::Rsa(Box::new(t::PrivateRsaKey {
                modulus: key.modulus,
                public_exponent: key.public_exponent,
                private_exponent: secret(key.private_exponent),
                prime1: secret(key.prime1),
                prime2: secret(key.prime2),
                exponent1: secret(key.exponent1),
                exponent2: secret(key.exponent2),
                coefficient: secret(key.coefficient),
            })),
        }
    }
}
