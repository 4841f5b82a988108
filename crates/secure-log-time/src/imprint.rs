//! What a time stamp is about: the hash of a message.

use der::asn1::{AnyRef, ObjectIdentifier};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::asn1::{Algorithm, DerError, Fields, malformed, octets, oid_der, tlv};
use crate::oids;

/// Hash functions of imprints and signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    pub(crate) fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        match *oid {
            oids::SHA256 => Some(Self::Sha256),
            oids::SHA384 => Some(Self::Sha384),
            oids::SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    pub(crate) fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => oids::SHA256,
            Self::Sha384 => oids::SHA384,
            Self::Sha512 => oids::SHA512,
        }
    }

    /// Bytes of a digest.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of a message.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

/// The hash of what a time stamp is about (RFC 3161 §2.4.1, MessageImprint).
#[derive(Clone, PartialEq, Eq)]
pub struct Imprint {
    hash: Hash,
    digest: Vec<u8>,
}

impl Imprint {
    /// The imprint of a message.
    pub fn of(hash: Hash, message: &[u8]) -> Self {
        Self { hash, digest: hash.digest(message) }
    }

    /// An imprint of which only the digest is at hand. None if it has not the size of this hash.
    pub fn from_digest(hash: Hash, digest: &[u8]) -> Option<Self> {
        (digest.len() == hash.size()).then(|| Self { hash, digest: digest.to_vec() })
    }

    /// The hash function.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The digest.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    pub(crate) fn to_der(&self) -> Vec<u8> {
        let algorithm = tlv(0x30, &[&oid_der(&self.hash.oid()), &[0x05, 0x00]]);
        tlv(0x30, &[&algorithm, &tlv(0x04, &[&self.digest])])
    }

    /// `Ok(Err(oid))`: a hash function that is not known here.
    pub(crate) fn read(value: AnyRef<'_>) -> Result<Result<Self, ObjectIdentifier>, DerError> {
        let mut fields = Fields::sequence(value, "MessageImprint")?;
        let algorithm = Algorithm::of(fields.next("hashAlgorithm")?, "hashAlgorithm")?;
        let digest = octets(fields.next("hashedMessage")?, "hashedMessage")?;
        fields.end()?;
        let Some(hash) = Hash::from_oid(&algorithm.oid) else {
            return Ok(Err(algorithm.oid));
        };
        if algorithm.parameters.is_some() {
            return Err(malformed("hashAlgorithm", "parameters that SHA-2 does not have"));
        }
        Self::from_digest(hash, digest)
            .map(Ok)
            .ok_or_else(|| malformed("hashedMessage", format_args!("not the size of {hash}")))
    }
}

impl std::fmt::Display for Imprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.hash)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Imprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Imprint({self})")
    }
}
