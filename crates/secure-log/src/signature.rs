//! Signature verification, and the one form in which public keys are accepted.
//!
//! | algorithm | signature | rule |
//! |---|---|---|
//! | `ed25519` | 64 bytes | RFC 8032, strict: no small-order key or R, canonical S, no cofactor |
//! | `ecdsa-p256` | r‖s, 64 bytes | FIPS 186-5 on P-256 with SHA-256; both s and n − s verify |
//! | `rsa-pss-sha256` | as long as the modulus | RFC 8017 §8.1.2, SHA-256, MGF1-SHA-256, salt of exactly 32 bytes |
//!
//! A signature is a statement, not a name: ECDSA and RSA-PSS have many valid signatures of one
//! message, so nothing may be keyed by signature bytes.
//!
//! A public key is SubjectPublicKeyInfo in DER, and only in the encoding that one writer would
//! produce, since note key ids are hashes of these bytes. No input makes this module panic.

use std::fmt;

use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::{Signature as P256Signature, VerifyingKey as P256Key};
use p256::pkcs8::der::{Decode, Encode};
use p256::pkcs8::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::RsaPublicKey;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pss::{Signature as PssSignature, VerifyingKey as PssKey};
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts;
use sha2::Sha256;

use crate::signer::{Algorithm, PublicKey};

/// Smallest RSA modulus that is accepted, in bits.
pub const RSA_MIN_BITS: usize = 2048;
/// Largest RSA modulus that is accepted, in bits: what verification may cost is bounded.
pub const RSA_MAX_BITS: usize = 8192;
/// Smallest RSA public exponent that is accepted; the largest is 2³³ − 1.
pub const RSA_MIN_EXPONENT: u64 = 65_537;

/// The largest key (RSA 8192 with PSS parameters) has about 1,120 bytes.
const MAX_SPKI: usize = 2048;

const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const OID_RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// All of an Ed25519 SPKI but the 32 bytes of the key (RFC 8410 §4).
const ED25519_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// RSASSA-PSS-params (RFC 4055 §3.1): SHA-256, MGF1-SHA-256, salt of 32 bytes.
const PSS_SHA256_PARAMS: [u8; 54] = *b"\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
    \xa2\x03\x02\x01\x20";

/// Why a key or a signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureError {
    /// The public key is not one that is accepted here: get another key.
    Key(String),
    /// These bytes cannot be a signature of this key: their form is wrong.
    Malformed(String),
    /// A well-formed signature of another message or by another key.
    Mismatch,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(reason) => write!(f, "public key refused: {reason}"),
            Self::Malformed(reason) => write!(f, "malformed signature: {reason}"),
            Self::Mismatch => f.write_str("the signature does not belong to this key and message"),
        }
    }
}

impl std::error::Error for SignatureError {}

fn bad_key(reason: impl Into<String>) -> SignatureError {
    SignatureError::Key(reason.into())
}

fn malformed(reason: impl Into<String>) -> SignatureError {
    SignatureError::Malformed(reason.into())
}

/// Checks one signature. For many signatures of one key, keep a [`Verifier`].
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    Verifier::new(key)?.verify(message, signature)
}

/// A public key that has been checked and decoded once.
#[derive(Debug, Clone)]
pub struct Verifier(Key);

#[derive(Debug, Clone)]
enum Key {
    Ed25519(Ed25519Key),
    EcdsaP256(P256Key),
    RsaPssSha256 { key: PssKey<Sha256>, signature_len: usize },
}

impl Verifier {
    /// Decodes `key`; refuses what [`PublicKey::from_spki_der`] refuses, and a key whose SPKI is
    /// of another algorithm than it says.
    pub fn new(key: &PublicKey) -> Result<Self, SignatureError> {
        let verifier = Self::from_spki_der(&key.spki_der)?;
        if verifier.algorithm() != key.algorithm {
            return Err(bad_key(format!(
                "it is said to be {}, its SubjectPublicKeyInfo is {}",
                key.algorithm.name(),
                verifier.algorithm().name()
            )));
        }
        Ok(verifier)
    }

    /// Decodes a SubjectPublicKeyInfo; the algorithm is the one that it names.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, SignatureError> {
        if der.len() > MAX_SPKI {
            return Err(bad_key(format!("{} bytes; at most {MAX_SPKI}", der.len())));
        }
        let spki = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|e| bad_key(format!("not a SubjectPublicKeyInfo in DER: {e}")))?;
        let bits = spki
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| bad_key("the key is not a whole number of bytes"))?;
        // The decoder tolerates little, but what it tolerates would give one key two ids.
        if spki.to_der().ok().as_deref() != Some(der) {
            return Err(bad_key("not canonical DER"));
        }
        let parameters = spki.algorithm.parameters;
        match spki.algorithm.oid {
            OID_ED25519 => {
                if parameters.is_some() {
                    return Err(bad_key("Ed25519 takes no parameters (RFC 8410 §3)"));
                }
                ed25519_key(bits).map(|key| Self(Key::Ed25519(key)))
            }
            OID_EC => {
                match parameters.map(|p| p.decode_as::<ObjectIdentifier>()) {
                    Some(Ok(OID_P256)) => {}
                    Some(Ok(curve)) => {
                        return Err(bad_key(format!("elliptic curve {curve}; only P-256 ({OID_P256})")));
                    }
                    _ => return Err(bad_key("the elliptic curve is not named; only P-256")),
                }
                p256_key(bits).map(|key| Self(Key::EcdsaP256(key)))
            }
            OID_RSA => {
                if !parameters.is_some_and(|p| p.is_null()) {
                    return Err(bad_key("rsaEncryption takes NULL as its parameters (RFC 3279 §2.3.1)"));
                }
                rsa_key(bits).map(Self::from_rsa)
            }
            OID_RSA_PSS => {
                let fits = match parameters {
                    None => true,
                    Some(p) => p.to_der().is_ok_and(|der| der == PSS_SHA256_PARAMS),
                };
                if !fits {
                    return Err(bad_key(
                        "id-RSASSA-PSS parameters must be absent or SHA-256, MGF1-SHA-256, salt of 32 bytes",
                    ));
                }
                rsa_key(bits).map(Self::from_rsa)
            }
            other => Err(bad_key(format!("algorithm {other}; accepted are Ed25519, ECDSA on P-256 and RSA"))),
        }
    }

    fn from_rsa(key: RsaPublicKey) -> Self {
        let signature_len = key.size();
        Self(Key::RsaPssSha256 { key: PssKey::new_with_salt_len(key, 32), signature_len })
    }

    /// What the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Key::Ed25519(_) => Algorithm::Ed25519,
            Key::EcdsaP256(_) => Algorithm::EcdsaP256,
            Key::RsaPssSha256 { .. } => Algorithm::RsaPssSha256,
        }
    }

    /// Length of this key's signatures in bytes.
    pub fn signature_len(&self) -> usize {
        match &self.0 {
            Key::Ed25519(_) | Key::EcdsaP256(_) => 64,
            Key::RsaPssSha256 { signature_len, .. } => *signature_len,
        }
    }

    /// Checks that `signature` is this key's signature of `message` (the message, not a digest).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let expected = self.signature_len();
        if signature.len() != expected {
            return Err(malformed(format!(
                "{} bytes; {} of this key has {expected}",
                signature.len(),
                self.algorithm().name()
            )));
        }
        match &self.0 {
            Key::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature)
                    .map_err(|_| malformed("not an Ed25519 signature"))?;
                key.verify_strict(message, &signature).map_err(|_| SignatureError::Mismatch)
            }
            Key::EcdsaP256(key) => {
                key.verify(message, &p256_signature(signature)?).map_err(|_| SignatureError::Mismatch)
            }
            Key::RsaPssSha256 { key, .. } => {
                let signature =
                    PssSignature::try_from(signature).map_err(|_| malformed("not an RSA signature"))?;
                key.verify(message, &signature).map_err(|_| SignatureError::Mismatch)
            }
        }
    }
}

impl PublicKey {
    /// The key of a SubjectPublicKeyInfo. Accepted are Ed25519, EC keys on P-256 (uncompressed
    /// point) and RSA of 2048 to 8192 bits with an exponent of at least 65537 (`rsaEncryption`,
    /// or `id-RSASSA-PSS` whose parameters are absent or SHA-256 with a salt of 32); only in
    /// canonical DER without trailing bytes.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, SignatureError> {
        let algorithm = Verifier::from_spki_der(der)?.algorithm();
        Ok(Self { algorithm, spki_der: der.to_vec() })
    }

    /// The Ed25519 key of these 32 bytes. They are not checked before a [`Verifier`] is made.
    pub fn from_ed25519_raw(raw: &[u8; 32]) -> Self {
        Self { algorithm: Algorithm::Ed25519, spki_der: [&ED25519_PREFIX[..], raw].concat() }
    }

    /// The 32 bytes of an Ed25519 key.
    pub fn ed25519_raw(&self) -> Option<[u8; 32]> {
        match self.algorithm {
            Algorithm::Ed25519 => self.spki_der.strip_prefix(&ED25519_PREFIX[..])?.try_into().ok(),
            Algorithm::EcdsaP256 | Algorithm::RsaPssSha256 => None,
        }
    }
}

/// An ECDSA signature r‖s as `Ecdsa-Sig-Value` in DER (RFC 3279 §2.2.3), the form of C2SP notes.
pub fn ecdsa_raw_to_der(raw: &[u8]) -> Result<Vec<u8>, SignatureError> {
    Ok(p256_signature(raw)?.to_der().as_bytes().to_vec())
}

/// `Ecdsa-Sig-Value` as r‖s. Strict: whatever DER would not have written is refused.
pub fn ecdsa_der_to_raw(der: &[u8]) -> Result<[u8; 64], SignatureError> {
    let signature = P256Signature::from_der(der)
        .map_err(|_| malformed("not the DER of two integers from 1 to n − 1 (P-256)"))?;
    if signature.to_der().as_bytes() != der {
        return Err(malformed("not canonical DER"));
    }
    Ok(signature.to_bytes().into())
}

fn p256_signature(raw: &[u8]) -> Result<P256Signature, SignatureError> {
    if raw.len() != 64 {
        return Err(malformed(format!("{} bytes; ecdsa-p256 has 64", raw.len())));
    }
    P256Signature::from_slice(raw).map_err(|_| malformed("r and s must be from 1 to n − 1 (P-256)"))
}

fn ed25519_key(bits: &[u8]) -> Result<Ed25519Key, SignatureError> {
    let raw: &[u8; 32] =
        bits.try_into().map_err(|_| bad_key(format!("Ed25519 key of {} bytes, not 32", bits.len())))?;
    let key = Ed25519Key::from_bytes(raw).map_err(|_| bad_key("not a point of Ed25519's curve"))?;
    if key.is_weak() {
        return Err(bad_key("Ed25519 point of small order: anyone could sign for it"));
    }
    if key.to_edwards().compress().as_bytes() != raw {
        return Err(bad_key("Ed25519 point that is not in canonical form (RFC 8032 §5.1.3)"));
    }
    Ok(key)
}

fn p256_key(bits: &[u8]) -> Result<P256Key, SignatureError> {
    if bits.len() != 65 || bits[0] != 4 {
        return Err(bad_key("P-256 point that is not in uncompressed form (04‖x‖y, 65 bytes)"));
    }
    P256Key::from_sec1_bytes(bits).map_err(|_| bad_key("not a point of P-256"))
}

fn rsa_key(bits: &[u8]) -> Result<RsaPublicKey, SignatureError> {
    let pkcs1 = rsa::pkcs1::RsaPublicKeyRef::from_der(bits)
        .map_err(|e| bad_key(format!("not an RSAPublicKey in DER: {e}")))?;
    let integer = |bytes: &[u8]| {
        rsa::BoxedUint::from_be_slice(bytes, (bytes.len() as u32).saturating_mul(8))
            .map_err(|_| bad_key("RSA integers out of range"))
    };
    let n = integer(pkcs1.modulus.as_bytes())?;
    let e = integer(pkcs1.public_exponent.as_bytes())?;
    let size = n.bits_vartime() as usize;
    if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&size) {
        return Err(bad_key(format!(
            "RSA modulus of {size} bits; accepted are {RSA_MIN_BITS} to {RSA_MAX_BITS}"
        )));
    }
    if e < rsa::BoxedUint::from(RSA_MIN_EXPONENT) {
        return Err(bad_key(format!("RSA exponent under {RSA_MIN_EXPONENT}")));
    }
    let key = RsaPublicKey::new_with_size_limits(n, e, RSA_MIN_BITS..=RSA_MAX_BITS)
        .map_err(|e| bad_key(format!("RSA: {e}")))?;
    if key.to_pkcs1_der().ok().is_none_or(|der| der.as_bytes() != bits) {
        return Err(bad_key("not a canonical RSAPublicKey"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::Signer as _;
    use p256::pkcs8::EncodePublicKey as _;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut out = vec![tag];
        match length {
            0..128 => out.push(length as u8),
            128..256 => out.extend([0x81, length as u8]),
            _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        out.extend(content);
        out
    }

    fn integer(bytes: &[u8]) -> Vec<u8> {
        tlv(2, bytes)
    }

    const RSA_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    const NULL: &[u8] = b"\x05\x00";

    /// SPKI of an RSA key with these integers; `n` gets the zero byte that keeps it positive.
    fn rsa_spki(algorithm: &[u8], n: &[u8], e: &[u8]) -> Vec<u8> {
        let key = tlv(0x30, &[integer(&[&[0], n].concat()), integer(e)].concat());
        let bits = tlv(3, &[&[0], &key[..]].concat());
        tlv(0x30, &[tlv(0x30, algorithm), bits].concat())
    }

    fn odd(bits: usize) -> Vec<u8> {
        let mut n = vec![0xc3; bits / 8];
        n[bits / 8 - 1] |= 1;
        n
    }

    fn refused(der: &[u8]) -> String {
        match PublicKey::from_spki_der(der) {
            Err(SignatureError::Key(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    const F4: &[u8] = &[1, 0, 1];

    #[test]
    fn rsa_sizes() {
        let rsa = [RSA_OID, NULL].concat();
        for bits in [2048, 2056, 3072, 4096, 8192] {
            let key = PublicKey::from_spki_der(&rsa_spki(&rsa, &odd(bits), F4)).unwrap();
            assert_eq!(key.algorithm, Algorithm::RsaPssSha256);
            assert_eq!(Verifier::new(&key).unwrap().signature_len(), bits / 8);
        }
        assert!(refused(&rsa_spki(&rsa, &odd(1024), F4)).contains("1024 bits"));
        assert!(refused(&rsa_spki(&rsa, &odd(2040), F4)).contains("2040 bits"));
        assert!(refused(&rsa_spki(&rsa, &odd(8200), F4)).contains("8200 bits"));
        assert!(refused(&rsa_spki(&rsa, &odd(32_768), F4)).contains("at most 2048"));
    }

    #[test]
    fn rsa_integers_must_make_sense() {
        let rsa = [RSA_OID, NULL].concat();
        let n = odd(2048);
        for e in [&[][..], &[0], &[1], &[3], &[0, 0xff, 0xff], &[1, 0, 0], &[2, 0, 0, 0, 1], &[0xff, 0, 1]] {
            refused(&rsa_spki(&rsa, &n, e));
        }
        refused(&rsa_spki(&rsa, &n, &[7; 64]));
        let mut even = n.clone();
        even[255] &= 0xfe;
        refused(&rsa_spki(&rsa, &even, F4));
        // A second zero byte in front: BER, not DER.
        refused(&rsa_spki(&rsa, &[&[0], &n[..]].concat(), F4));
    }

    #[test]
    fn rsa_algorithm_identifiers() {
        let pss: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
        let n = odd(2048);
        for algorithm in [[RSA_OID, NULL].concat(), pss.to_vec(), [pss, &PSS_SHA256_PARAMS].concat()] {
            PublicKey::from_spki_der(&rsa_spki(&algorithm, &n, F4)).unwrap();
        }
        let mut salt_of_20 = PSS_SHA256_PARAMS;
        salt_of_20[53] = 20;
        for algorithm in [RSA_OID.to_vec(), [pss, NULL].concat(), [pss, &salt_of_20].concat()] {
            assert!(refused(&rsa_spki(&algorithm, &n, F4)).contains("parameters"));
        }
    }

    #[test]
    fn only_one_encoding_of_a_key() {
        let signing = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let p256 = signing.verifying_key().to_public_key_der().unwrap().into_vec();
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let ed25519 = PublicKey::from_ed25519_raw(ed25519.verifying_key().as_bytes()).spki_der;
        for der in [p256.clone(), ed25519.clone()] {
            PublicKey::from_spki_der(&der).unwrap();
            refused(&[&der[..], &[0]].concat());
            refused(&der[..der.len() - 1]);
            // The outer length in the long form.
            refused(&[&[0x30, 0x81, der[1]], &der[2..]].concat());
        }
        // Unused bits in the bit string.
        let mut unused = ed25519.clone();
        unused[11] = 1;
        refused(&unused);
        // Ed25519 with NULL parameters.
        let raw = &ed25519[12..];
        let null = tlv(0x30, &[&tlv(0x30, b"\x06\x03\x2b\x65\x70\x05\x00"), &ed25519[9..12], raw].concat());
        assert!(refused(&null).contains("parameters"));
        // A compressed P-256 point, and one off the curve.
        let algorithm = &p256[2..23];
        let compressed = signing.verifying_key().to_sec1_point(true);
        let bits = tlv(3, &[&[0], compressed.as_bytes()].concat());
        assert!(refused(&tlv(0x30, &[algorithm, &bits].concat())).contains("uncompressed"));
        let mut off = p256.clone();
        off[90] ^= 1;
        assert!(refused(&off).contains("not a point"));
        assert!(refused(&[]).contains("SubjectPublicKeyInfo"));
    }

    #[test]
    fn ed25519_weak_and_non_canonical_points() {
        let spki = |raw: [u8; 32]| PublicKey::from_ed25519_raw(&raw);
        let little = |low: u8, high: u8| {
            let mut raw = [0; 32];
            (raw[0], raw[31]) = (low, high);
            raw
        };
        // The neutral element, (0, −1) and a point of order 4.
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        for raw in [little(1, 0), minus_one, little(0, 0), little(0, 0x80)] {
            assert!(Verifier::new(&spki(raw)).is_err());
        }
        // y = p + 3 … p + 18: the same points as y = 3 … 18, in an encoding of their own.
        let mut points = 0;
        for low in 3..19 {
            let mut raw = [0xff; 32];
            (raw[0], raw[31]) = (0xed + low, 0x7f);
            assert!(Verifier::new(&spki(raw)).is_err());
            points += usize::from(Verifier::new(&spki(little(low, 0))).is_ok());
        }
        assert!(points > 0, "some of these are points, so the refusal above is about the encoding");
    }

    #[test]
    fn ed25519_raw_and_back() {
        let signing = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let key = PublicKey::from_ed25519_raw(signing.verifying_key().as_bytes());
        assert_eq!(PublicKey::from_spki_der(&key.spki_der), Ok(key.clone()));
        assert_eq!(key.ed25519_raw().as_ref(), Some(signing.verifying_key().as_bytes()));
        let signature = signing.sign(b"m").to_bytes();
        assert_eq!(verify(&key, b"m", &signature), Ok(()));
        assert_eq!(verify(&key, b"n", &signature), Err(SignatureError::Mismatch));
        assert!(matches!(verify(&key, b"m", &signature[1..]), Err(SignatureError::Malformed(_))));
        let lie = PublicKey { algorithm: Algorithm::EcdsaP256, ..key };
        assert_eq!(lie.ed25519_raw(), None);
    }

    #[test]
    fn ecdsa_takes_both_values_of_s() {
        let secret: [u8; 32] = std::array::from_fn(|i| i as u8 + 1);
        let signing = p256::ecdsa::SigningKey::from_slice(&secret).unwrap();
        let der = signing.verifying_key().to_public_key_der().unwrap().into_vec();
        let verifier = Verifier::from_spki_der(&der).unwrap();
        let signature: P256Signature = p256::ecdsa::signature::Signer::sign(&signing, b"sample");
        let (r, s) = signature.split_scalars();
        for s in [*s, -*s] {
            let raw = P256Signature::from_scalars(*r, s).unwrap().to_bytes();
            assert_eq!(verifier.verify(b"sample", &raw), Ok(()));
            assert_eq!(ecdsa_der_to_raw(&ecdsa_raw_to_der(&raw).unwrap()).unwrap(), raw[..]);
        }
        assert!(ecdsa_raw_to_der(&[0; 64]).is_err());
        assert!(ecdsa_raw_to_der(&[0xff; 64]).is_err());
        assert!(ecdsa_der_to_raw(&[]).is_err());
    }
}
