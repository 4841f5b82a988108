//! Signatures of tokens and certificates.

use der::Decode as _;
use der::asn1::{AnyRef, ObjectIdentifier};
use ed25519_dalek::{Signature as EdSignature, VerifyingKey as EdKey};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::RsaPublicKey;
use sha2::{Sha256, Sha384, Sha512};
use x509_cert::spki::SubjectPublicKeyInfoOwned as KeyInfo;

use crate::asn1::{Algorithm, DerError, Fields, context, malformed, oid};
use crate::imprint::Hash;
use crate::oids;

/// RSA keys that are accepted, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The trailer field of RSASSA-PSS, 0xbc, has the number 1.
const TRAILER: u64 = 1;

pub(crate) enum Failed {
    Der(DerError),
    Unsupported(ObjectIdentifier),
    Key(String),
    Signature,
}

impl From<DerError> for Failed {
    fn from(error: DerError) -> Self {
        Self::Der(error)
    }
}

enum Scheme {
    Pkcs1(Hash),
    Pss(Hash, usize),
    Ecdsa(Hash),
    Ed25519,
}

impl Scheme {
    /// `digest`: the hash function that stands beside the algorithm in CMS.
    fn read(value: AnyRef<'_>, digest: Option<Hash>) -> Result<Self, Failed> {
        let algorithm = Algorithm::of(value, "signatureAlgorithm")?;
        let (scheme, hash) = match (algorithm.oid, digest) {
            (oids::RSA_PSS, _) => {
                let (hash, salt) = pss(&algorithm)?;
                return match digest {
                    Some(digest) if digest != hash => Err(Failed::Unsupported(hash.oid())),
                    _ => Ok(Self::Pss(hash, salt)),
                };
            }
            // RFC 5754 §3.2: in CMS the hash function may stand beside the algorithm only.
            (oids::RSA, Some(hash)) => (Self::Pkcs1(hash), hash),
            (oids::RSA_SHA256, _) => (Self::Pkcs1(Hash::Sha256), Hash::Sha256),
            (oids::RSA_SHA384, _) => (Self::Pkcs1(Hash::Sha384), Hash::Sha384),
            (oids::RSA_SHA512, _) => (Self::Pkcs1(Hash::Sha512), Hash::Sha512),
            (oids::ECDSA_SHA256, _) => (Self::Ecdsa(Hash::Sha256), Hash::Sha256),
            (oids::ECDSA_SHA384, _) => (Self::Ecdsa(Hash::Sha384), Hash::Sha384),
            (oids::ECDSA_SHA512, _) => (Self::Ecdsa(Hash::Sha512), Hash::Sha512),
            // RFC 8419 §3.1: with signed attributes their digest is SHA-512.
            (oids::ED25519, _) => (Self::Ed25519, Hash::Sha512),
            (other, _) => return Err(Failed::Unsupported(other)),
        };
        if algorithm.parameters.is_some() {
            return Err(malformed("signatureAlgorithm", "parameters that the algorithm does not have").into());
        }
        match digest {
            Some(digest) if digest != hash => Err(Failed::Unsupported(digest.oid())),
            _ => Ok(scheme),
        }
    }
}

/// RFC 4055 §3.1. The defaults are all of SHA-1, which is not accepted.
fn pss(algorithm: &Algorithm<'_>) -> Result<(Hash, usize), Failed> {
    let Some(parameters) = algorithm.parameters else {
        return Err(Failed::Unsupported(oids::SHA1));
    };
    let mut fields = Fields::sequence(parameters, "RSASSA-PSS-params")?;
    let mut explicit = |number| -> Result<Option<AnyRef<'_>>, DerError> {
        let what = "RSASSA-PSS-params";
        let Some(value) = fields.optional(context(number, true), what)? else {
            return Ok(None);
        };
        let mut inner = Fields::of(value, context(number, true), what)?;
        let value = inner.next(what)?;
        inner.end()?;
        Ok(Some(value))
    };
    let sha2 = |value: Option<AnyRef<'_>>| -> Result<Hash, Failed> {
        let value = value.ok_or(Failed::Unsupported(oids::SHA1))?;
        let algorithm = Algorithm::of(value, "hashAlgorithm")?;
        match (Hash::from_oid(&algorithm.oid), algorithm.parameters) {
            (Some(hash), None) => Ok(hash),
            _ => Err(Failed::Unsupported(algorithm.oid)),
        }
    };
    let number = |value: Option<AnyRef<'_>>, default| -> Result<u64, DerError> {
        value.map_or(Ok(default), |value| crate::asn1::as_type(value, "RSASSA-PSS-params"))
    };
    let hash = sha2(explicit(0)?)?;
    let mask = Algorithm::of(explicit(1)?.ok_or(Failed::Unsupported(oids::SHA1))?, "maskGenAlgorithm")?;
    if mask.oid != oids::MGF1 {
        return Err(Failed::Unsupported(mask.oid));
    }
    if sha2(mask.parameters)? != hash {
        return Err(malformed("maskGenAlgorithm", "another hash function than the signature's").into());
    }
    let salt = number(explicit(2)?, 20)?;
    if number(explicit(3)?, TRAILER)? != TRAILER {
        return Err(malformed("trailerField", "not 1").into());
    }
    fields.end()?;
    match usize::try_from(salt) {
        Ok(salt @ 0..=64) => Ok((hash, salt)),
        _ => Err(malformed("saltLength", "more than 64").into()),
    }
}

/// Verifies `signature` of `message` with the key of a certificate.
pub(crate) fn verify(
    algorithm: AnyRef<'_>,
    digest: Option<Hash>,
    key: &KeyInfo,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Failed> {
    let scheme = Scheme::read(algorithm, digest)?;
    let bits = key.subject_public_key.as_bytes().ok_or_else(|| bad_key("not whole bytes"))?;
    let verified = match (scheme, key.algorithm.oid) {
        (Scheme::Pkcs1(hash), oids::RSA) => {
            rsa_key(bits)?.verify(pkcs1(hash), &hash.digest(message), signature)
        }
        (Scheme::Pss(hash, salt), oids::RSA) => {
            pss_verify(&rsa_key(bits)?, hash, salt, &hash.digest(message), signature)
        }
        (Scheme::Pss(hash, salt), oids::RSA_PSS) => {
            // RFC 4055 §1.2: a key with parameters is for these alone.
            if let Some(parameters) = &key.algorithm.parameters {
                let of_key = Algorithm { oid: oids::RSA_PSS, parameters: Some(parameters.to_ref()) };
                let (only, least) = pss(&of_key)?;
                if only != hash || salt < least {
                    return Err(bad_key("RSASSA-PSS parameters that exclude the signature's"));
                }
            }
            pss_verify(&rsa_key(bits)?, hash, salt, &hash.digest(message), signature)
        }
        (Scheme::Ecdsa(hash), oids::EC) => return ecdsa(key, bits, &hash.digest(message), signature),
        (Scheme::Ed25519, oids::ED25519) => return ed25519(bits, message, signature),
        (_, other) => return Err(Failed::Key(format!("{other} is not of the signature's algorithm"))),
    };
    verified.map_err(|_| Failed::Signature)
}

fn bad_key(why: impl std::fmt::Display) -> Failed {
    Failed::Key(why.to_string())
}

fn pkcs1(hash: Hash) -> rsa::Pkcs1v15Sign {
    match hash {
        Hash::Sha256 => rsa::Pkcs1v15Sign::new::<Sha256>(),
        Hash::Sha384 => rsa::Pkcs1v15Sign::new::<Sha384>(),
        Hash::Sha512 => rsa::Pkcs1v15Sign::new::<Sha512>(),
    }
}

fn pss_verify(
    key: &RsaPublicKey,
    hash: Hash,
    salt: usize,
    digest: &[u8],
    signature: &[u8],
) -> rsa::errors::Result<()> {
    match hash {
        Hash::Sha256 => key.verify(rsa::Pss::<Sha256>::new_with_salt(salt), digest, signature),
        Hash::Sha384 => key.verify(rsa::Pss::<Sha384>::new_with_salt(salt), digest, signature),
        Hash::Sha512 => key.verify(rsa::Pss::<Sha512>::new_with_salt(salt), digest, signature),
    }
}

fn rsa_key(bits: &[u8]) -> Result<RsaPublicKey, Failed> {
    let pkcs1 = rsa::pkcs1::RsaPublicKeyRef::from_der(bits).map_err(bad_key)?;
    let integer = |bytes: &[u8]| {
        rsa::BoxedUint::from_be_slice(bytes, (bytes.len() as u32).saturating_mul(8)).map_err(bad_key)
    };
    // Before any arithmetic: the size is what the work depends on.
    let size = pkcs1.modulus.as_bytes().len() * 8;
    if size > *RSA_BITS.end() || pkcs1.public_exponent.as_bytes().len() > 8 {
        return Err(bad_key(format_args!("an RSA modulus of {size} bits, or an exponent over 64 bits")));
    }
    let (n, e) = (integer(pkcs1.modulus.as_bytes())?, integer(pkcs1.public_exponent.as_bytes())?);
    let size = n.bits_vartime() as usize;
    if !RSA_BITS.contains(&size) {
        return Err(bad_key(format_args!("an RSA modulus of {size} bits, not {RSA_BITS:?}")));
    }
    RsaPublicKey::new_with_size_limits(n, e, RSA_BITS).map_err(bad_key)
}

fn ecdsa(key: &KeyInfo, bits: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), Failed> {
    let curve = key.algorithm.parameters.as_ref().ok_or_else(|| bad_key("no curve"))?;
    let verified = match oid(curve.to_ref(), "namedCurve")? {
        oids::P256 => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(bits).map_err(bad_key)?;
            p256::ecdsa::Signature::from_der(signature).and_then(|s| key.verify_prehash(digest, &s))
        }
        oids::P384 => {
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).map_err(bad_key)?;
            p384::ecdsa::Signature::from_der(signature).and_then(|s| key.verify_prehash(digest, &s))
        }
        other => return Err(Failed::Unsupported(other)),
    };
    verified.map_err(|_| Failed::Signature)
}

fn ed25519(bits: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Failed> {
    let key: &[u8; 32] = bits.try_into().map_err(|_| bad_key("not 32 bytes"))?;
    let key = EdKey::from_bytes(key).map_err(bad_key)?;
    let signature = EdSignature::from_slice(signature).map_err(|_| Failed::Signature)?;
    key.verify_strict(message, &signature).map_err(|_| Failed::Signature)
}
