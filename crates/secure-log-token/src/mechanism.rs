//! Mechanisms and their parameters.

use std::ptr::null_mut;

use secure_log_pkcs11::token::{Curve, Hash, KeyType, Mechanism, Result, TokenError};

use crate::ck::*;
use crate::functions::{Call, Rv};

/// Longest RSA key that is signed with, in bits.
const MAX_RSA: u32 = 16_384;
/// Longest digest that ECDSA is given, in bytes.
const MAX_DIGEST: usize = 64;
/// Length of a nonce of AES-GCM in bytes.
pub(crate) const NONCE: usize = 12;
/// Length of a tag of AES-GCM in bytes.
pub(crate) const TAG: usize = 16;

/// A mechanism with its parameter.
pub(crate) enum Operation<'a> {
    /// One that has none.
    Plain(CK_MECHANISM_TYPE),
    /// RSASSA-PSS; length of the salt.
    Pss(CK_MECHANISM_TYPE, Hash, u32),
    /// Ed448, which is always told that it is pure and without context.
    Ed448,
    /// AES-GCM.
    Gcm { nonce: [u8; NONCE], context: &'a [u8] },
}

impl Operation<'_> {
    /// Calls `with` the mechanism.
    pub fn raw<R>(&self, with: impl FnOnce(*mut CK_MECHANISM) -> R) -> Call<R> {
        match self {
            Self::Plain(kind) => {
                let mut raw = CK_MECHANISM { mechanism: *kind, pParameter: null_mut(), ulParameterLen: 0 };
                Ok(with(&raw mut raw))
            }
            Self::Pss(kind, hash, salt) => {
                let (hash, mgf) = match hash {
                    Hash::Sha256 => (CKM_SHA256, CKG_MGF1_SHA256),
                    Hash::Sha384 => (CKM_SHA384, CKG_MGF1_SHA384),
                    Hash::Sha512 => (CKM_SHA512, CKG_MGF1_SHA512),
                };
                let params = CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: CK_ULONG::from(*salt) };
                Ok(with_params(*kind, params, with))
            }
            Self::Ed448 => {
                let params =
                    CK_EDDSA_PARAMS { phFlag: CK_FALSE, ulContextDataLen: 0, pContextData: null_mut() };
                Ok(with_params(CKM_EDDSA, params, with))
            }
            Self::Gcm { nonce, context } => {
                let mut nonce = *nonce;
                let params = CK_GCM_PARAMS {
                    pIv: nonce.as_mut_ptr(),
                    ulIvLen: NONCE as CK_ULONG,
                    ulIvBits: 8 * NONCE as CK_ULONG,
                    pAAD: context.as_ptr().cast_mut(),
                    ulAADLen: CK_ULONG::try_from(context.len()).map_err(|_| Rv(CKR_DATA_LEN_RANGE))?,
                    ulTagBits: 8 * TAG as CK_ULONG,
                };
                Ok(with_params(CKM_AES_GCM, params, with))
            }
        }
    }
}

fn with_params<P, R>(
    mechanism: CK_MECHANISM_TYPE,
    mut params: P,
    with: impl FnOnce(*mut CK_MECHANISM) -> R,
) -> R {
    let (parameter, len) = ((&raw mut params).cast(), size_of::<P>() as CK_ULONG);
    let mut raw = CK_MECHANISM { mechanism, pParameter: parameter, ulParameterLen: len };
    with(&raw mut raw)
}

/// How a key signs.
pub(crate) struct Signing {
    pub operation: Operation<'static>,
    /// Length of the signature in bytes.
    pub signature_len: usize,
    /// The lengths that data may have, if it is a digest.
    digest: Option<(usize, usize)>,
}

impl Signing {
    /// [`TokenError::KeyUnsuitable`] if keys of this kind do not sign so.
    pub fn new(mechanism: Mechanism, key: KeyType) -> Result<Self> {
        let (signature_len, rsa) = match key {
            KeyType::Ec(Curve::Ed448) => (114, false),
            KeyType::Ec(curve) => (2 * curve.private_len(), false),
            KeyType::Rsa(bits) if bits <= MAX_RSA => (bits.div_ceil(8) as usize, true),
            KeyType::Rsa(_) | KeyType::Other(_) => return Err(TokenError::KeyUnsuitable),
        };
        let nist = matches!(key, KeyType::Ec(curve) if !curve.is_edwards());
        let (operation, digest) = match mechanism {
            Mechanism::EcdsaPrehashed if nist => (Operation::Plain(CKM_ECDSA), Some((1, MAX_DIGEST))),
            Mechanism::Ecdsa(hash) if nist => (Operation::Plain(ecdsa(hash)), None),
            Mechanism::Eddsa if key == KeyType::Ec(Curve::Ed25519) => (Operation::Plain(CKM_EDDSA), None),
            Mechanism::Eddsa if key == KeyType::Ec(Curve::Ed448) => (Operation::Ed448, None),
            Mechanism::RsaPkcs1(hash) if rsa => (Operation::Plain(pkcs1(hash)), None),
            Mechanism::RsaPss { hash, salt } if rsa => (pss_operation(pss(hash), hash, salt, key)?, None),
            Mechanism::RsaPssPrehashed { hash, salt } if rsa => {
                let len = hash.digest_len() as usize;
                (pss_operation(CKM_RSA_PKCS_PSS, hash, salt, key)?, Some((len, len)))
            }
            _ => return Err(TokenError::KeyUnsuitable),
        };
        Ok(Self { operation, signature_len, digest })
    }

    /// [`TokenError::InvalidInput`] if a digest is none.
    pub fn check_data(&self, data: &[u8]) -> Result<()> {
        match self.digest {
            Some((least, most)) if !(least..=most).contains(&data.len()) => Err(TokenError::InvalidInput),
            _ => Ok(()),
        }
    }
}

/// [`TokenError::KeyUnsuitable`] if hash and salt do not fit into a signature of the key (RFC 8017 §9.1.1).
fn pss_operation(
    mechanism: CK_MECHANISM_TYPE,
    hash: Hash,
    salt: Option<u32>,
    key: KeyType,
) -> Result<Operation<'static>> {
    let salt = salt.unwrap_or(hash.digest_len());
    let room = match key {
        KeyType::Rsa(bits) => bits.saturating_sub(1).div_ceil(8),
        _ => 0,
    };
    if salt.checked_add(hash.digest_len() + 2).is_none_or(|need| need > room) {
        return Err(TokenError::KeyUnsuitable);
    }
    Ok(Operation::Pss(mechanism, hash, salt))
}

fn ecdsa(hash: Hash) -> CK_MECHANISM_TYPE {
    match hash {
        Hash::Sha256 => CKM_ECDSA_SHA256,
        Hash::Sha384 => CKM_ECDSA_SHA384,
        Hash::Sha512 => CKM_ECDSA_SHA512,
    }
}

fn pkcs1(hash: Hash) -> CK_MECHANISM_TYPE {
    match hash {
        Hash::Sha256 => CKM_SHA256_RSA_PKCS,
        Hash::Sha384 => CKM_SHA384_RSA_PKCS,
        Hash::Sha512 => CKM_SHA512_RSA_PKCS,
    }
}

fn pss(hash: Hash) -> CK_MECHANISM_TYPE {
    match hash {
        Hash::Sha256 => CKM_SHA256_RSA_PKCS_PSS,
        Hash::Sha384 => CKM_SHA384_RSA_PKCS_PSS,
        Hash::Sha512 => CKM_SHA512_RSA_PKCS_PSS,
    }
}
