//! What keys are made of.

use secure_log_pkcs11::token::{
    Curve, KeySpec, KeyType, Mechanism, PrivateEcKey, PrivateKey, PrivateRsaKey, Result, TokenError,
};

use crate::attributes::Attributes;
use crate::ck::*;
use crate::kind;
use crate::mechanism::Operation;
use crate::public::encode_point;
use crate::wrapping::AES_LEN;

/// Lengths of RSA keys that are made, in bits.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2_048..=4_096;
/// 65,537
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// [`TokenError::InvalidInput`] for a key that is not made.
pub(super) fn check_spec(spec: KeySpec) -> Result<()> {
    match spec {
        KeySpec::Rsa(bits) if !RSA_BITS.contains(&bits) => Err(TokenError::InvalidInput),
        _ => Ok(()),
    }
}

fn named(template: Attributes, label: &str, id: &[u8]) -> Attributes {
    template.bytes(CKA_LABEL, label.as_bytes()).bytes(CKA_ID, id)
}

/// A private key: for signing, never to leave the token.
fn private(label: &str, id: &[u8]) -> Attributes {
    named(Attributes::of(CKO_PRIVATE_KEY), label, id)
        .flags(&[CKA_PRIVATE, CKA_SENSITIVE, CKA_SIGN], true)
        .flags(&[CKA_EXTRACTABLE, CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE], false)
}

/// Its public half.
fn public(label: &str, id: &[u8]) -> Attributes {
    named(Attributes::of(CKO_PUBLIC_KEY), label, id)
        .flag(CKA_VERIFY, true)
        .flags(&[CKA_PRIVATE, CKA_ENCRYPT, CKA_WRAP], false)
}

/// An AES key, for wrapping by encryption (`wrapping`) and for nothing else.
pub(super) fn aes(label: &str, id: &[u8]) -> Attributes {
    named(Attributes::of(CKO_SECRET_KEY), label, id)
        .number(CKA_KEY_TYPE, CKK_AES)
        .number(CKA_VALUE_LEN, AES_LEN)
        .flags(&[CKA_PRIVATE, CKA_SENSITIVE, CKA_ENCRYPT, CKA_DECRYPT], true)
        .flags(&[CKA_EXTRACTABLE, CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CKA_VERIFY, CKA_DERIVE], false)
}

/// A pair that the token makes: mechanism, public and private template.
pub(super) struct Pair {
    pub operation: Operation<'static>,
    pub public: Attributes,
    pub private: Attributes,
    pub kind: KeyType,
}

impl Pair {
    pub fn ec(curve: Curve, label: &str, id: &[u8]) -> Self {
        let mechanism = if curve.is_edwards() { CKM_EC_EDWARDS_KEY_PAIR_GEN } else { CKM_EC_KEY_PAIR_GEN };
        Self {
            operation: Operation::Plain(mechanism),
            public: public(label, id)
                .number(CKA_KEY_TYPE, kind::key_type(curve))
                .bytes(CKA_EC_PARAMS, kind::params(curve)),
            private: private(label, id).number(CKA_KEY_TYPE, kind::key_type(curve)),
            kind: KeyType::Ec(curve),
        }
    }

    pub fn rsa(bits: u32, label: &str, id: &[u8]) -> Self {
        Self {
            operation: Operation::Plain(CKM_RSA_PKCS_KEY_PAIR_GEN),
            public: public(label, id)
                .number(CKA_KEY_TYPE, CKK_RSA)
                .number(CKA_MODULUS_BITS, CK_ULONG::from(bits))
                .bytes(CKA_PUBLIC_EXPONENT, RSA_EXPONENT),
            private: private(label, id).number(CKA_KEY_TYPE, CKK_RSA),
            kind: KeyType::Rsa(bits),
        }
    }
}

/// A pair that comes from elsewhere.
pub(super) struct Import {
    pub public: Attributes,
    pub private: Attributes,
    pub kind: KeyType,
}

impl Import {
    /// [`TokenError::InvalidInput`] if a part has not the length that the kind of key demands.
    pub fn new(key: &PrivateKey, label: &str, id: &[u8]) -> Result<Self> {
        match key {
            PrivateKey::Ec(key) => Self::ec(key, label, id),
            PrivateKey::Rsa(key) => Self::rsa(key, label, id),
        }
    }

    fn ec(key: &PrivateEcKey, label: &str, id: &[u8]) -> Result<Self> {
        let zero = !key.curve.is_edwards() && key.private.iter().all(|byte| *byte == 0);
        if key.private.len() != key.curve.private_len() || zero || !kind::is_point(key.curve, &key.point) {
            return Err(TokenError::InvalidInput);
        }
        let common = |template: Attributes| {
            template
                .number(CKA_KEY_TYPE, kind::key_type(key.curve))
                .bytes(CKA_EC_PARAMS, kind::params(key.curve))
        };
        Ok(Self {
            public: common(public(label, id)).bytes(CKA_EC_POINT, &encode_point(&key.point)),
            private: common(private(label, id)).bytes(CKA_VALUE, &key.private),
            kind: KeyType::Ec(key.curve),
        })
    }

    fn rsa(key: &PrivateRsaKey, label: &str, id: &[u8]) -> Result<Self> {
        let modulus = kind::without_zeros(&key.modulus);
        let bits =
            kind::bits(modulus).filter(|bits| RSA_BITS.contains(bits)).ok_or(TokenError::InvalidInput)?;
        let mut private = private(label, id).number(CKA_KEY_TYPE, CKK_RSA).bytes(CKA_MODULUS, modulus);
        for (attribute, number) in [
            (CKA_PUBLIC_EXPONENT, &key.public_exponent),
            (CKA_PRIVATE_EXPONENT, &*key.private_exponent),
            (CKA_PRIME_1, &*key.prime1),
            (CKA_PRIME_2, &*key.prime2),
            (CKA_EXPONENT_1, &*key.exponent1),
            (CKA_EXPONENT_2, &*key.exponent2),
            (CKA_COEFFICIENT, &*key.coefficient),
        ] {
            let number = kind::without_zeros(number);
            if number.is_empty() || number.len() > modulus.len() {
                return Err(TokenError::InvalidInput);
            }
            private = private.bytes(attribute, number);
        }
        let exponent = kind::without_zeros(&key.public_exponent);
        let public = public(label, id)
            .number(CKA_KEY_TYPE, CKK_RSA)
            .bytes(CKA_MODULUS, modulus)
            .bytes(CKA_PUBLIC_EXPONENT, exponent);
        Ok(Self { public, private, kind: KeyType::Rsa(bits) })
    }
}

/// How a pair is tried: what the kind of key signs with in every token.
pub(super) fn trial(kind: KeyType) -> Mechanism {
    match kind {
        KeyType::Ec(curve) if curve.is_edwards() => Mechanism::Eddsa,
        KeyType::Ec(_) => Mechanism::EcdsaPrehashed,
        KeyType::Rsa(_) | KeyType::Other(_) => Mechanism::RsaPkcs1(secure_log_pkcs11::token::Hash::Sha256),
    }
}
