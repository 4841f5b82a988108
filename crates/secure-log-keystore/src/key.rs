//! One private key: made, read, written, used.

use std::fmt;

use ed25519_dalek::Signer as _;
use p256::elliptic_curve::Generate as _;
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::der::asn1::BitStringRef;
use rsa::pkcs8::der::{Decode, Encode, SecretDocument, pem::PemLabel};
use rsa::pkcs8::{
    EncodePrivateKey, EncodePublicKey, LineEnding, ObjectIdentifier, PrivateKeyInfoRef,
    SubjectPublicKeyInfoRef,
};
use rsa::pss::SigningKey as PssKey;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use secure_log::signature::{SignatureError, Verifier};
use secure_log::signer::{Algorithm, KeyError, PublicKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::config::FillRandom;
use crate::material::{KeyMaterial, RsaMaterial};
use crate::random::Random;

/// Modulus of generated RSA keys. 3072 bits stand for 128 bits of security (NIST SP 800-57).
pub const GENERATED_RSA_BITS: usize = 3072;

const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const OID_RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// A private key that has been checked. Its bytes are zeroized on drop and are shown by
/// nothing but [`to_pem`](Self::to_pem) and [`material`](Self::material).
pub struct PrivateKey {
    secret: Secret,
    public: PublicKey,
}

enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    EcdsaP256(p256::ecdsa::SigningKey),
    RsaPssSha256(Box<PssKey<Sha256>>),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.algorithm.name())
    }
}

fn failed(what: &str) -> impl Fn(rsa::pkcs8::Error) -> KeyError + '_ {
    move |e| KeyError::Failed(format!("{what}: {e}"))
}

impl PrivateKey {
    /// A new key.
    pub fn generate(algorithm: Algorithm, random: &mut FillRandom) -> Result<Self, KeyError> {
        Self::generate_sized(algorithm, GENERATED_RSA_BITS, random)
    }

    pub(crate) fn generate_sized(
        algorithm: Algorithm,
        rsa_bits: usize,
        random: &mut FillRandom,
    ) -> Result<Self, KeyError> {
        let secret = match algorithm {
            Algorithm::Ed25519 => {
                let seed = Random(random).seed()?;
                Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(&seed))
            }
            Algorithm::EcdsaP256 => Secret::EcdsaP256(p256::ecdsa::SigningKey::generate_from_rng(
                &mut Random(random).infallible()?,
            )),
            Algorithm::RsaPssSha256 => {
                let key = RsaPrivateKey::new(&mut Random(random).infallible()?, rsa_bits)
                    .map_err(|e| KeyError::Failed(format!("cannot make an RSA key: {e}")))?;
                Secret::RsaPssSha256(Box::new(PssKey::new(key)))
            }
        };
        Self::checked(secret, random)
    }

    /// The key in a PKCS#8 PEM file. The error says what is wrong with it, not what is in it.
    pub fn from_pem(pem: &[u8], random: &mut FillRandom) -> Result<Self, String> {
        let text = std::str::from_utf8(pem).map_err(|_| "not a PEM file")?;
        let (label, der) = SecretDocument::from_pem(text).map_err(|_| match pem_label(text) {
            Some(label) => wrong_label(label).unwrap_or_else(|| "damaged PEM".to_owned()),
            None => "not a PEM file".to_owned(),
        })?;
        if label != PrivateKeyInfoRef::PEM_LABEL {
            return Err(wrong_label(label).unwrap_or_else(|| "not a private key".to_owned()));
        }
        Self::from_pkcs8(der.as_bytes(), random)
    }

    fn from_pkcs8(der: &[u8], random: &mut FillRandom) -> Result<Self, String> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| "damaged PKCS#8")?;
        let secret = match info.algorithm.oid {
            OID_ED25519 => {
                Secret::Ed25519(ed25519_dalek::SigningKey::try_from(info).map_err(|_| "damaged Ed25519 key")?)
            }
            OID_EC => {
                match info.algorithm.parameters_oid() {
                    Ok(OID_P256) => {}
                    Ok(curve) => return Err(format!("elliptic curve {curve}; only P-256 ({OID_P256})")),
                    Err(_) => return Err("elliptic curve that is not named; only P-256".into()),
                }
                let key = p256::SecretKey::try_from(info).map_err(|_| "damaged P-256 key")?;
                Secret::EcdsaP256(key.into())
            }
            OID_RSA | OID_RSA_PSS => {
                let key = rsa::pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes())
                    .ok()
                    .and_then(|key| RsaPrivateKey::try_from(key).ok())
                    .ok_or("damaged RSA key, or one of more than two primes")?;
                // The rules for public keys decide about size, exponent and PSS parameters.
                let public = key.as_public_key().to_pkcs1_der().map_err(|_| "damaged RSA key")?;
                spki(info.algorithm, public.as_bytes())
                    .map_err(|_| SignatureError::Key("damaged RSA key".into()))
                    .and_then(|spki| PublicKey::from_spki_der(&spki))
                    .map_err(|e| e.to_string())?;
                Secret::RsaPssSha256(Box::new(PssKey::new(key)))
            }
            other => {
                return Err(format!("key of algorithm {other}; usable are Ed25519, EC P-256 and RSA"));
            }
        };
        Self::checked(secret, random).map_err(|e| match e {
            KeyError::Invalid(reason) => reason,
            other => other.to_string(),
        })
    }

    /// Signs once and verifies, so that a key whose halves do not fit is refused when it is
    /// read and not found out by an auditor.
    fn checked(secret: Secret, random: &mut FillRandom) -> Result<Self, KeyError> {
        let public = secret.public()?;
        let verifier = Verifier::new(&public).map_err(|e| KeyError::Invalid(e.to_string()))?;
        let key = Self { secret, public };
        const MESSAGE: &[u8] = b"secure-log keystore self-test";
        let signature = key.sign(MESSAGE, random)?;
        verifier
            .verify(MESSAGE, &signature)
            .map_err(|_| KeyError::Invalid("the private and the public half do not fit together".into()))?;
        Ok(key)
    }

    /// The public half. RSA keys are given as `rsaEncryption`, whatever their file says, so
    /// that one key has one SubjectPublicKeyInfo.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message. Ed25519 and ECDSA (RFC 6979, s as it comes) give the same signature
    /// every time; RSA-PSS draws a salt and a blinding factor from `random`.
    pub fn sign(&self, message: &[u8], random: &mut FillRandom) -> Result<Vec<u8>, KeyError> {
        let failed = |e: rsa::signature::Error| KeyError::Failed(format!("cannot sign: {e}"));
        match &self.secret {
            Secret::Ed25519(key) => Ok(key.try_sign(message).map_err(failed)?.to_vec()),
            Secret::EcdsaP256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(failed)?;
                Ok(signature.to_bytes().to_vec())
            }
            Secret::RsaPssSha256(key) => {
                Ok(key.try_sign_with_rng(&mut Random(random), message).map_err(failed)?.to_vec())
            }
        }
    }

    /// Its numbers, for a token that takes it in.
    pub fn material(&self) -> Result<KeyMaterial, KeyError> {
        Ok(match &self.secret {
            Secret::Ed25519(key) => KeyMaterial::Ed25519 {
                seed: Zeroizing::new(key.as_bytes().to_vec()),
                public: key.verifying_key().as_bytes().to_vec(),
            },
            Secret::EcdsaP256(key) => KeyMaterial::EcdsaP256 {
                scalar: Zeroizing::new(key.to_bytes().to_vec()),
                point: key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            },
            Secret::RsaPssSha256(key) => {
                let key: &RsaPrivateKey = key.as_ref().as_ref();
                KeyMaterial::Rsa(Box::new(RsaMaterial::of(key)?))
            }
        })
    }

    /// PKCS#8 in PEM, the bytes that `openssl genpkey` would write.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let der = match &self.secret {
            // Version 1, without the public half: OpenSSL before 3.2 reads nothing else.
            Secret::Ed25519(key) => {
                ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None }
                    .to_pkcs8_der()
            }
            Secret::EcdsaP256(key) => key.to_pkcs8_der(),
            Secret::RsaPssSha256(key) => key.to_pkcs8_der(),
        }
        .map_err(failed("cannot encode the key"))?;
        der.to_pem(PrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)
            .map_err(|e| KeyError::Failed(format!("cannot encode the key: {e}")))
    }
}

impl Secret {
    fn public(&self) -> Result<PublicKey, KeyError> {
        let encoded = |der: Result<rsa::pkcs8::Document, rsa::pkcs8::spki::Error>| {
            der.map(rsa::pkcs8::Document::into_vec)
                .map_err(|e| KeyError::Failed(format!("cannot encode the public key: {e}")))
        };
        let (algorithm, spki_der) = match self {
            Self::Ed25519(key) => return Ok(PublicKey::from_ed25519_raw(key.verifying_key().as_bytes())),
            Self::EcdsaP256(key) => (Algorithm::EcdsaP256, encoded(key.verifying_key().to_public_key_der())?),
            Self::RsaPssSha256(key) => {
                let key: &RsaPrivateKey = key.as_ref().as_ref();
                (Algorithm::RsaPssSha256, encoded(key.as_public_key().to_public_key_der())?)
            }
        };
        Ok(PublicKey { algorithm, spki_der })
    }
}

fn spki(
    algorithm: rsa::pkcs8::AlgorithmIdentifierRef<'_>,
    key: &[u8],
) -> Result<Vec<u8>, rsa::pkcs8::der::Error> {
    SubjectPublicKeyInfoRef { algorithm, subject_public_key: BitStringRef::from_bytes(key)? }.to_der()
}

/// What the first `-----BEGIN …-----` names.
fn pem_label(text: &str) -> Option<&str> {
    text.split_once("-----BEGIN ")?.1.split_once("-----")?.0.into()
}

/// What to do about a PEM block that is not `PRIVATE KEY`.
fn wrong_label(label: &str) -> Option<String> {
    Some(match label {
        "PRIVATE KEY" => return None,
        "ENCRYPTED PRIVATE KEY" => {
            "encrypted key: decrypt it with `openssl pkey -in <file> -out <file>`, or use a token".into()
        }
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "EC PARAMETERS" => format!(
            "`{label}` in the traditional format: convert it with \
             `openssl pkcs8 -topk8 -nocrypt -in <file> -out <file>`"
        ),
        "PUBLIC KEY" | "CERTIFICATE" => "no private key in it".into(),
        _ => "not a PKCS#8 private key".into(),
    })
}
