//! Records and enums of `pkcs11:token/types` and `admin`.

use std::fmt;

use zeroize::Zeroizing;

/// Who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Initializes the token and sets the user's PIN (CKU_SO).
    SecurityOfficer,
    /// Uses keys (CKU_USER).
    Normal,
}

/// Hash algorithms of mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Length of a digest in bytes.
    pub const fn digest_len(self) -> u32 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// Edwards25519.
    Ed25519,
    /// Edwards448.
    Ed448,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::P256, Self::P384, Self::P521, Self::Ed25519, Self::Ed448];

    /// Name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Ed25519 => "Ed25519",
            Self::Ed448 => "Ed448",
        }
    }

    /// Whether keys on it sign with EdDSA.
    pub const fn is_edwards(self) -> bool {
        matches!(self, Self::Ed25519 | Self::Ed448)
    }

    /// Length of a point as [`EcPoint`] has it, in bytes.
    pub const fn point_len(self) -> usize {
        match self {
            Self::P256 => 65,
            Self::P384 => 97,
            Self::P521 => 133,
            Self::Ed25519 => 32,
            Self::Ed448 => 57,
        }
    }

    /// Length of a private key as [`PrivateEcKey`] has it, in bytes.
    pub const fn private_len(self) -> usize {
        match self {
            Self::P256 | Self::Ed25519 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
            Self::Ed448 => 57,
        }
    }
}

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// On a curve.
    Ec(Curve),
    /// RSA; length of the modulus in bits.
    Rsa(u32),
    /// Another: the CK_KEY_TYPE.
    Other(u32),
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ec(curve) => f.write_str(curve.name()),
            Self::Rsa(bits) => write!(f, "RSA of {bits} bits"),
            Self::Other(kind) => write!(f, "CK_KEY_TYPE 0x{kind:x}"),
        }
    }
}

/// How to sign. The prehashed cases take a digest, all others the message. `salt` is the length of an RSASSA-PSS salt in
/// bytes; none = that of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// CKM_ECDSA over a digest; the signature is r‖s.
    EcdsaPrehashed,
    /// CKM_ECDSA_SHA256 and so on.
    Ecdsa(Hash),
    /// CKM_EDDSA, pure.
    Eddsa,
    /// CKM_SHA256_RSA_PKCS and so on.
    RsaPkcs1(Hash),
    /// CKM_SHA256_RSA_PKCS_PSS and so on.
    RsaPss {
        /// Hash of the message, and of MGF1.
        hash: Hash,
        /// Length of the salt.
        salt: Option<u32>,
    },
    /// CKM_RSA_PKCS_PSS over a digest.
    RsaPssPrehashed {
        /// Hash that made the digest, and of MGF1.
        hash: Hash,
        /// Length of the salt.
        salt: Option<u32>,
    },
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcPoint {
    /// The curve.
    pub curve: Curve,
    /// NIST curves: the uncompressed point (SEC 1 §2.3.3). Edwards curves: the public key (RFC 8032).
    pub point: Vec<u8>,
}

/// A public RSA key; both numbers big-endian without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    /// Modulus.
    pub modulus: Vec<u8>,
    /// Public exponent.
    pub exponent: Vec<u8>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// On a curve.
    Ec(EcPoint),
    /// RSA.
    Rsa(RsaPublicKey),
}

/// What a token says of itself (CK_TOKEN_INFO).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Label, without trailing blanks.
    pub label: String,
    /// Who made it.
    pub manufacturer: String,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// CKF_TOKEN_INITIALIZED.
    pub initialized: bool,
    /// CKF_USER_PIN_INITIALIZED.
    pub user_pin_initialized: bool,
    /// CKF_USER_PIN_LOCKED.
    pub user_pin_locked: bool,
    /// CKF_LOGIN_REQUIRED.
    pub login_required: bool,
    /// CKF_PROTECTED_AUTHENTICATION_PATH.
    pub protected_authentication: bool,
    /// CKF_WRITE_PROTECTED.
    pub write_protected: bool,
}

/// Which keys; conditions are joined by "and", none matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyQuery {
    /// CKA_LABEL.
    pub label: Option<String>,
    /// CKA_ID.
    pub id: Option<Vec<u8>>,
}

/// What key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpec {
    /// A pair on a curve.
    Ec(Curve),
    /// An RSA pair; bits of the modulus, 2,048 to 4,096.
    Rsa(u32),
    /// An AES key of 256 bits for wrapping.
    Aes,
}

/// Private key on a curve.
pub struct PrivateEcKey {
    /// The curve.
    pub curve: Curve,
    /// NIST curves: the scalar, as long as the order. Edwards curves: the seed (RFC 8032).
    pub private: Zeroizing<Vec<u8>>,
    /// The public half, as in [`EcPoint`].
    pub point: Vec<u8>,
}

/// Private RSA key (RFC 8017 §3.2), all numbers big-endian without leading zeros.
pub struct PrivateRsaKey {
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

/// A private key that comes from elsewhere.
pub enum PrivateKey {
    /// On a curve.
    Ec(PrivateEcKey),
    /// RSA.
    Rsa(Box<PrivateRsaKey>),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ec(key) => write!(f, "PrivateKey({})", key.curve.name()),
            Self::Rsa(_) => f.write_str("PrivateKey(RSA)"),
        }
    }
}
