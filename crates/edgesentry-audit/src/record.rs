//! What a device states about one payload, in two versions.
//!
//! | | version 1 | version 2 |
//! |---|---|---|
//! | signed | the payload hash alone | the whole record |
//! | bytes | postcard | deterministic CBOR (RFC 8949 §4.2.1) |
//! | record hash | BLAKE3 of its bytes, signature included | the same |
//!
//! Whoever saw one record of version 1 can mint its successors: its signature says nothing about device, number,
//! time, reference or chain. A gate takes version 1 only where a device's registration allows it. `docs/records.md`
//! has every byte.

use std::borrow::Cow;

use secure_log::cbor::{DecodeError, MapReader, MapWriter};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A BLAKE3 hash.
pub type Hash32 = [u8; 32];
/// An Ed25519 signature.
pub type Signature64 = [u8; 64];

/// Longest device id, bytes of UTF-8.
pub const MAX_DEVICE_ID: usize = 255;
/// Longest object reference, bytes of UTF-8.
pub const MAX_OBJECT_REF: usize = 511;
/// Longest software version, bytes of UTF-8.
pub const MAX_SOFTWARE_VERSION: usize = 255;
/// The hash algorithm of payload and chain.
pub const HASH_ALG: &str = "blake3";
/// The signature algorithm.
pub const SIG_ALG: &str = "ed25519";
/// What the signature of a record of version 2 covers: these bytes, then the BLAKE3 hash of the record without
/// signature.
pub const SIGNATURE_DOMAIN: &[u8] = b"edgesentry-audit record v2\n";

/// What a record of version 2 says beyond version 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// Hash algorithm of payload and chain: [`HASH_ALG`].
    pub hash_alg: Cow<'static, str>,
    /// Signature algorithm: [`SIG_ALG`].
    pub sig_alg: Cow<'static, str>,
    /// The signing key ([`key_id`](crate::identity::key_id)), 32 hex digits.
    pub key_id: String,
    /// Release tag or git revision of the software that signed.
    pub software_version: String,
}

/// What a device states about one payload, signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuditRecord {
    /// The device.
    pub device_id: String,
    /// 1, 2, 3 … without gaps.
    pub sequence: u64,
    /// The device's clock, ms since the Unix epoch.
    pub timestamp_ms: u64,
    /// BLAKE3 of the payload.
    pub payload_hash: Hash32,
    /// Ed25519, over what [`signed_message`](Self::signed_message) gives.
    pub signature: Signature64,
    /// [`hash`](Self::hash) of the record before; zero for the first.
    pub prev_record_hash: Hash32,
    /// Where the device says that the payload belongs.
    pub object_ref: String,
    /// Present in version 2, absent in version 1.
    pub provenance: Option<Provenance>,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record: {0}")]
pub struct RecordError(pub String);

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

mod key {
    pub const VERSION: u64 = 1;
    pub const DEVICE_ID: u64 = 2;
    pub const SEQUENCE: u64 = 3;
    pub const TIMESTAMP_MS: u64 = 4;
    pub const PAYLOAD_HASH: u64 = 5;
    pub const PREV_RECORD_HASH: u64 = 6;
    pub const OBJECT_REF: u64 = 7;
    pub const HASH_ALG: u64 = 8;
    pub const SIG_ALG: u64 = 9;
    pub const KEY_ID: u64 = 10;
    pub const SOFTWARE_VERSION: u64 = 11;
    pub const SIGNATURE: u64 = 12;
}

impl AuditRecord {
    /// The previous hash of a chain's first record.
    pub const fn zero_hash() -> Hash32 {
        [0; 32]
    }

    /// 1 or 2.
    pub const fn version(&self) -> u8 {
        if self.provenance.is_some() { 2 } else { 1 }
    }

    /// The bytes that the signature covers.
    pub fn signed_message(&self) -> Vec<u8> {
        self.signed_message_with(&mut Vec::new())
    }

    /// The same, encoding the record into `scratch` on the way.
    pub fn signed_message_with(&self, scratch: &mut Vec<u8>) -> Vec<u8> {
        match &self.provenance {
            None => self.payload_hash.to_vec(),
            Some(provenance) => {
                self.write_cbor(provenance, None, scratch);
                let mut message = Vec::with_capacity(SIGNATURE_DOMAIN.len() + 32);
                message.extend_from_slice(SIGNATURE_DOMAIN);
                message.extend_from_slice(blake3::hash(scratch).as_bytes());
                message
            }
        }
    }

    /// The record's bytes: postcard for version 1, canonical CBOR for version 2.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_bytes(&mut bytes);
        bytes
    }

    /// The same into the memory of `out`; what it held is gone.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        match &self.provenance {
            None => self.write_postcard(out),
            Some(provenance) => self.write_cbor(provenance, Some(&self.signature), out),
        }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; anything else is refused.
    pub fn from_bytes(version: u8, bytes: &[u8]) -> Result<Self, RecordError> {
        let record = match version {
            1 => {
                let (v1, rest): (V1<'_>, _) =
                    postcard::take_from_bytes(bytes).map_err(|e| RecordError(e.to_string()))?;
                if !rest.is_empty() {
                    return Err(RecordError("bytes after its end".into()));
                }
                v1.into_record()?
            }
            2 => Self::from_cbor(bytes)?,
            other => return Err(RecordError(format!("version {other}; there are 1 and 2"))),
        };
        // postcard accepts longer forms of numbers than it writes.
        if record.to_bytes() != bytes {
            return Err(RecordError("not in its one canonical form".into()));
        }
        Ok(record)
    }

    /// The hash that the next record has as `prev_record_hash`: BLAKE3 of [`to_bytes`](Self::to_bytes).
    pub fn hash(&self) -> Hash32 {
        self.hash_with(&mut Vec::new())
    }

    /// The same, encoding the record into `scratch` on the way: whoever hashes many records keeps one.
    pub fn hash_with(&self, scratch: &mut Vec<u8>) -> Hash32 {
        self.write_bytes(scratch);
        *blake3::hash(scratch).as_bytes()
    }

    /// postcard of [`V1`]. By hand, because serde writes a hash byte by byte.
    fn write_postcard(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(ROOM + self.device_id.len() + self.object_ref.len());
        let text = |out: &mut Vec<u8>, text: &str| {
            varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        };
        text(out, &self.device_id);
        varint(out, self.sequence);
        varint(out, self.timestamp_ms);
        out.extend_from_slice(&self.payload_hash);
        varint(out, self.signature.len() as u64);
        out.extend_from_slice(&self.signature);
        out.extend_from_slice(&self.prev_record_hash);
        text(out, &self.object_ref);
    }

    fn write_cbor(&self, provenance: &Provenance, signature: Option<&Signature64>, out: &mut Vec<u8>) {
        let mut memory = std::mem::take(out);
        memory.clear();
        memory
            .reserve(ROOM + self.device_id.len() + self.object_ref.len() + provenance.software_version.len());
        let mut map = MapWriter::reusing(memory);
        map.uint(key::VERSION, 2)
            .text(key::DEVICE_ID, &self.device_id)
            .uint(key::SEQUENCE, self.sequence)
            .uint(key::TIMESTAMP_MS, self.timestamp_ms)
            .bytes(key::PAYLOAD_HASH, &self.payload_hash)
            .bytes(key::PREV_RECORD_HASH, &self.prev_record_hash)
            .text(key::OBJECT_REF, &self.object_ref)
            .text(key::HASH_ALG, &provenance.hash_alg)
            .text(key::SIG_ALG, &provenance.sig_alg)
            .text(key::KEY_ID, &provenance.key_id)
            .text(key::SOFTWARE_VERSION, &provenance.software_version)
            .opt_bytes(key::SIGNATURE, signature.map(|s| &s[..]));
        *out = map.finish();
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut map = MapReader::new(bytes)?;
        let missing = |name: &str| RecordError(format!("it has no {name}"));
        let mut field = |key: u64, name: &'static str| match map.next()? {
            Some((found, value)) if found == key => Ok(value),
            _ => Err(missing(name)),
        };
        if field(key::VERSION, "version")?.uint()? != 2 {
            return Err(RecordError("its version is not 2".into()));
        }
        let device_id = field(key::DEVICE_ID, "device_id")?.text()?.to_owned();
        let sequence = field(key::SEQUENCE, "sequence")?.uint()?;
        let timestamp_ms = field(key::TIMESTAMP_MS, "timestamp_ms")?.uint()?;
        let payload_hash = field(key::PAYLOAD_HASH, "payload_hash")?.array()?;
        let prev_record_hash = field(key::PREV_RECORD_HASH, "prev_record_hash")?.array()?;
        let object_ref = field(key::OBJECT_REF, "object_ref")?.text()?.to_owned();
        let hash_alg = name(field(key::HASH_ALG, "hash_alg")?.text()?);
        let sig_alg = name(field(key::SIG_ALG, "sig_alg")?.text()?);
        let key_id = field(key::KEY_ID, "key_id")?.text()?.to_owned();
        let software_version = field(key::SOFTWARE_VERSION, "software_version")?.text()?.to_owned();
        let signature = field(key::SIGNATURE, "signature")?.array()?;
        if map.next()?.is_some() {
            return Err(RecordError("it has a field that no version has".into()));
        }
        let provenance = Some(Provenance { hash_alg, sig_alg, key_id, software_version });
        Ok(Self {
            device_id,
            sequence,
            timestamp_ms,
            payload_hash,
            signature,
            prev_record_hash,
            object_ref,
            provenance,
        })
    }
}

/// Room for what every record has: hashes, signature, key id, names, numbers, heads.
const ROOM: usize = 320;

/// A number as postcard writes it: seven bits a byte, lowest first, the high bit on all but the last.
fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// An algorithm's name, without an allocation for those that exist.
fn name(text: &str) -> Cow<'static, str> {
    match text {
        HASH_ALG => Cow::Borrowed(HASH_ALG),
        SIG_ALG => Cow::Borrowed(SIG_ALG),
        other => Cow::Owned(other.to_owned()),
    }
}

/// Version 1 in postcard: fields in this order, hashes as 32 bytes, the signature as a byte string with its length.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct V1<'a> {
    #[serde(borrow)]
    device_id: Cow<'a, str>,
    sequence: u64,
    timestamp_ms: u64,
    payload_hash: Hash32,
    signature: Vec<u8>,
    prev_record_hash: Hash32,
    #[serde(borrow)]
    object_ref: Cow<'a, str>,
}

impl V1<'_> {
    fn into_record(self) -> Result<AuditRecord, RecordError> {
        let signature = self.signature.as_slice().try_into();
        Ok(AuditRecord {
            device_id: self.device_id.into_owned(),
            sequence: self.sequence,
            timestamp_ms: self.timestamp_ms,
            payload_hash: self.payload_hash,
            signature: signature.map_err(|_| RecordError("its signature does not have 64 bytes".into()))?,
            prev_record_hash: self.prev_record_hash,
            object_ref: self.object_ref.into_owned(),
            provenance: None,
        })
    }
}

/// A record in JSON: hashes and signature are arrays of numbers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a record")]
struct Json<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u8>,
    #[serde(borrow)]
    device_id: Cow<'a, str>,
    sequence: u64,
    timestamp_ms: u64,
    payload_hash: Bytes<32>,
    signature: Bytes<64>,
    prev_record_hash: Bytes<32>,
    #[serde(borrow)]
    object_ref: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    hash_alg: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sig_alg: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    software_version: Option<Cow<'a, str>>,
}

/// Bytes as an array of numbers of exactly this length.
pub(crate) struct Bytes<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Numbers<N> {
            type Value = Bytes<N>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "an array of {N} numbers from 0 to 255")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut bytes = [0; N];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(i, &self))?;
                }
                match seq.next_element::<u8>()? {
                    None => Ok(Bytes(bytes)),
                    Some(_) => Err(A::Error::invalid_length(N + 1, &self)),
                }
            }
        }
        deserializer.deserialize_seq(Numbers)
    }
}

impl Serialize for AuditRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let provenance = self.provenance.as_ref();
        Json {
            version: provenance.map(|_| 2),
            device_id: Cow::Borrowed(&self.device_id),
            sequence: self.sequence,
            timestamp_ms: self.timestamp_ms,
            payload_hash: Bytes(self.payload_hash),
            signature: Bytes(self.signature),
            prev_record_hash: Bytes(self.prev_record_hash),
            object_ref: Cow::Borrowed(&self.object_ref),
            hash_alg: provenance.map(|p| Cow::Borrowed(&*p.hash_alg)),
            sig_alg: provenance.map(|p| Cow::Borrowed(&*p.sig_alg)),
            key_id: provenance.map(|p| Cow::Borrowed(&*p.key_id)),
            software_version: provenance.map(|p| Cow::Borrowed(&*p.software_version)),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AuditRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let provenance = match json.version {
            Some(2) => {
                let need = |field: Option<Cow<'de, str>>, name: &'static str| {
                    field.ok_or_else(|| D::Error::missing_field(name))
                };
                Some(Provenance {
                    hash_alg: name(&need(json.hash_alg, "hash_alg")?),
                    sig_alg: name(&need(json.sig_alg, "sig_alg")?),
                    key_id: need(json.key_id, "key_id")?.into_owned(),
                    software_version: need(json.software_version, "software_version")?.into_owned(),
                })
            }
            None | Some(1) => {
                let extra = [&json.hash_alg, &json.sig_alg, &json.key_id, &json.software_version];
                if extra.iter().any(|field| field.is_some()) {
                    return Err(D::Error::custom(
                        "a record without \"version\": 2 has fields of version 2: the version was taken off or changed",
                    ));
                }
                None
            }
            Some(other) => {
                return Err(D::Error::custom(format_args!("version {other}; there are 1 and 2")));
            }
        };
        Ok(Self {
            device_id: json.device_id.into_owned(),
            sequence: json.sequence,
            timestamp_ms: json.timestamp_ms,
            payload_hash: json.payload_hash.0,
            signature: json.signature.0,
            prev_record_hash: json.prev_record_hash.0,
            object_ref: json.object_ref.into_owned(),
            provenance,
        })
    }
}
