//! The canonical header of an entry: what the chain and the tree commit to.
//!
//! A CBOR map with integer keys (`docs/format.md`, "Header"). It holds the payload's hash, never
//! the payload, so that entries can be verified without it and stay valid when it is gone.

use crate::cbor::{DecodeError, MapReader, MapWriter};
use crate::error::{Error, Result};
use crate::limits::{MAX_HEADER, MAX_STREAM_ID};
use crate::model::{Hash, Severity};
use crate::sealing::{NONCE_LEN, TAG_KEY_ID_LEN, TAG_LEN, is_hex_id, is_tag};

/// Version of the header format.
pub const HEADER_VERSION: u64 = 1;
/// Hash algorithm of chain and payloads, as named in the header.
pub const HASH_ALG: &str = "blake3";
/// Length of the salt in front of a payload that is stored in clear.
pub const SALT_LEN: u32 = 32;

mod key {
    pub const VERSION: u64 = 1;
    pub const STREAM_ID: u64 = 2;
    pub const SEQNO: u64 = 3;
    pub const PREV_HASH: u64 = 4;
    pub const TIME_MS: u64 = 5;
    pub const EVENT_TYPE: u64 = 6;
    pub const SEVERITY: u64 = 7;
    pub const PRODUCER: u64 = 8;
    pub const PAYLOAD_HASH: u64 = 9;
    pub const PAYLOAD_LEN: u64 = 10;
    pub const PAYLOAD_ENCODING: u64 = 11;
    pub const OBJECT_REF: u64 = 12;
    pub const HASH_ALG: u64 = 13;
    pub const SOFTWARE_VERSION: u64 = 14;
    pub const SESSION_ID: u64 = 15;
    pub const BOOT_ID: u64 = 16;
    pub const NONCE: u64 = 17;
    pub const DATA_KEY_ID: u64 = 18;
    pub const KEYED_TAGS: u64 = 19;
    pub const SALT_LEN: u64 = 20;
    pub const EVENT_ID: u64 = 21;
}

/// A header whose text is `T`: [`Header`] owns it, [`HeaderRef`] borrows it from the encoded bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderOf<T, B> {
    /// Stream id.
    pub stream_id: T,
    /// Number in the stream, from 1.
    pub seqno: u64,
    /// Entry hash of the entry before; zero for the first.
    pub prev_hash: Hash,
    /// When the log took the event, ms since the Unix epoch.
    pub time_ms: u64,
    /// What happened.
    pub event_type: T,
    /// How severe it is.
    pub severity: Severity,
    /// Who says so.
    pub producer: T,
    /// BLAKE3 of the stored payload bytes: salt, if any, then payload.
    pub payload_hash: Hash,
    /// Payload length without the salt; of a sealed payload what was sealed, without the tag.
    pub payload_len: u64,
    /// Media type of the payload.
    pub payload_encoding: Option<T>,
    /// Where the payload is kept, if not in this log.
    pub object_ref: Option<T>,
    /// Release tag or git revision of the writer.
    pub software_version: T,
    /// Random per opening of the log.
    pub session_id: [u8; 16],
    /// Boot of the host that wrote it.
    pub boot_id: Option<T>,
    /// Nonce of a sealed payload.
    pub nonce: Option<[u8; NONCE_LEN]>,
    /// Data key of a sealed payload.
    pub data_key_id: Option<T>,
    /// Event type and producer are keyed tags: id of their key.
    pub keyed_tags: Option<B>,
    /// Length of the salt stored in front of the payload: 0 or [`SALT_LEN`].
    pub salt_len: u32,
    /// The event's own id.
    pub event_id: Option<T>,
}

/// A header that owns its text.
pub type Header = HeaderOf<String, Vec<u8>>;
/// A header that borrows from its encoded bytes.
pub type HeaderRef<'a> = HeaderOf<&'a str, &'a [u8]>;

impl<T: AsRef<str>, B: AsRef<[u8]>> HeaderOf<T, B> {
    /// Length of the payload as it is stored: with its salt, or with the tag of its seal.
    pub fn stored_len(&self) -> u64 {
        let more = if self.nonce.is_some() { TAG_LEN as u64 } else { self.salt_len.into() };
        self.payload_len.saturating_add(more)
    }

    /// What does not go together: the field and what is wrong with it.
    fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let Some(id) = &self.data_key_id else {
            return match (&self.nonce, &self.keyed_tags) {
                (None, None) => None,
                (Some(_), _) => Some(("data-key-id", "a sealed payload names its data key")),
                (None, Some(_)) => Some(("keyed-tags", "only sealed entries have keyed tags")),
            };
        };
        if self.nonce.is_none() {
            Some(("nonce", "a sealed payload has a nonce"))
        } else if !is_hex_id(id.as_ref()) {
            Some(("data-key-id", "is not 32 lower-case hexadecimal digits"))
        } else if self.salt_len != 0 {
            Some(("salt-len", "a sealed payload has no salt"))
        } else if self.object_ref.is_some() {
            Some(("object-ref", "a sealed payload is kept here"))
        } else if let Some(tags) = &self.keyed_tags {
            if tags.as_ref().len() != TAG_KEY_ID_LEN {
                Some(("keyed-tags", "the id of a tag key has 16 bytes"))
            } else if !is_tag(self.event_type.as_ref()) || !is_tag(self.producer.as_ref()) {
                Some(("keyed-tags", "event type and producer are not keyed tags"))
            } else {
                None
            }
        } else {
            None
        }
    }

    /// Canonical bytes, without looking at the rules for names.
    pub(crate) fn encode_unchecked(&self) -> Vec<u8> {
        let mut w = MapWriter::with_capacity(320);
        w.uint(key::VERSION, HEADER_VERSION)
            .text(key::STREAM_ID, self.stream_id.as_ref())
            .uint(key::SEQNO, self.seqno)
            .bytes(key::PREV_HASH, &self.prev_hash)
            .uint(key::TIME_MS, self.time_ms)
            .text(key::EVENT_TYPE, self.event_type.as_ref())
            .uint(key::SEVERITY, self.severity as u64)
            .text(key::PRODUCER, self.producer.as_ref())
            .bytes(key::PAYLOAD_HASH, &self.payload_hash)
            .uint(key::PAYLOAD_LEN, self.payload_len)
            .opt_text(key::PAYLOAD_ENCODING, self.payload_encoding.as_ref().map(AsRef::as_ref))
            .opt_text(key::OBJECT_REF, self.object_ref.as_ref().map(AsRef::as_ref))
            .text(key::HASH_ALG, HASH_ALG)
            .text(key::SOFTWARE_VERSION, self.software_version.as_ref())
            .bytes(key::SESSION_ID, &self.session_id)
            .opt_text(key::BOOT_ID, self.boot_id.as_ref().map(AsRef::as_ref))
            .opt_bytes(key::NONCE, self.nonce.as_ref().map(|n| &n[..]))
            .opt_text(key::DATA_KEY_ID, self.data_key_id.as_ref().map(AsRef::as_ref))
            .opt_bytes(key::KEYED_TAGS, self.keyed_tags.as_ref().map(AsRef::as_ref));
        if self.salt_len != 0 {
            w.uint(key::SALT_LEN, u64::from(self.salt_len));
        }
        w.opt_text(key::EVENT_ID, self.event_id.as_ref().map(AsRef::as_ref));
        w.finish()
    }

    /// Canonical bytes. `Invalid`, naming the field, if a name breaks the rules of
    /// [`check_name`] or the whole is over 65,535 bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        check_stream_id("stream-id", self.stream_id.as_ref())?;
        check_name("event-type", self.event_type.as_ref())?;
        check_name("producer", self.producer.as_ref())?;
        check_name("software-version", self.software_version.as_ref())?;
        for (field, value) in [
            ("payload-encoding", &self.payload_encoding),
            ("object-ref", &self.object_ref),
            ("boot-id", &self.boot_id),
            ("data-key-id", &self.data_key_id),
            ("event-id", &self.event_id),
        ] {
            if let Some(value) = value {
                check_name(field, value.as_ref())?;
            }
        }
        if self.seqno == 0 {
            return Err(Error::invalid("seqno", "entries are numbered from 1"));
        }
        if self.salt_len != 0 && self.salt_len != SALT_LEN {
            return Err(Error::invalid("salt-len", format!("{} is neither 0 nor 32", self.salt_len)));
        }
        if let Some((field, reason)) = self.contradiction() {
            return Err(Error::invalid(field, reason));
        }
        let bytes = self.encode_unchecked();
        if bytes.len() > MAX_HEADER {
            return Err(Error::invalid(
                "header",
                format!(
                    "{} bytes; names, references and ids of an event may add up to {MAX_HEADER} bytes of header",
                    bytes.len()
                ),
            ));
        }
        Ok(bytes)
    }
}

impl<'a> HeaderRef<'a> {
    /// Decodes canonical bytes; anything that [`HeaderOf::encode`] would not give is refused.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_HEADER {
            return Err(DecodeError("a header is at most 65,535 bytes"));
        }
        let mut map = MapReader::new(bytes)?;
        let mut next = map.next()?;
        // Takes the entry under `key` if it comes next; keys ascend, so each is asked for once.
        macro_rules! optional {
            ($key:expr, $convert:ident) => {
                match next {
                    Some((k, v)) if k == $key => {
                        next = map.next()?;
                        Some(v.$convert()?)
                    }
                    _ => None,
                }
            };
        }
        macro_rules! required {
            ($key:expr, $convert:ident) => {
                optional!($key, $convert).ok_or(DecodeError("a header field is missing or out of place"))?
            };
        }
        let version: u64 = required!(key::VERSION, uint);
        if version != HEADER_VERSION {
            return Err(DecodeError("header version is not 1"));
        }
        let header = Self {
            stream_id: required!(key::STREAM_ID, text),
            seqno: required!(key::SEQNO, uint),
            prev_hash: required!(key::PREV_HASH, array),
            time_ms: required!(key::TIME_MS, uint),
            event_type: required!(key::EVENT_TYPE, text),
            severity: u8::try_from(required!(key::SEVERITY, uint))
                .ok()
                .and_then(Severity::from_number)
                .ok_or(DecodeError("severity is not 0 to 7"))?,
            producer: required!(key::PRODUCER, text),
            payload_hash: required!(key::PAYLOAD_HASH, array),
            payload_len: required!(key::PAYLOAD_LEN, uint),
            payload_encoding: optional!(key::PAYLOAD_ENCODING, text),
            object_ref: optional!(key::OBJECT_REF, text),
            software_version: {
                if required!(key::HASH_ALG, text) != HASH_ALG {
                    return Err(DecodeError("hash algorithm is not blake3"));
                }
                required!(key::SOFTWARE_VERSION, text)
            },
            session_id: required!(key::SESSION_ID, array),
            boot_id: optional!(key::BOOT_ID, text),
            nonce: optional!(key::NONCE, array),
            data_key_id: optional!(key::DATA_KEY_ID, text),
            keyed_tags: optional!(key::KEYED_TAGS, bytes),
            salt_len: match optional!(key::SALT_LEN, uint) {
                None => 0,
                Some(n) if n == u64::from(SALT_LEN) => SALT_LEN,
                Some(_) => return Err(DecodeError("salt length is not 32")),
            },
            event_id: optional!(key::EVENT_ID, text),
        };
        if next.is_some() {
            return Err(DecodeError("a header field is unknown or out of place"));
        }
        if header.seqno == 0 {
            return Err(DecodeError("sequence number is 0"));
        }
        let optional =
            [header.payload_encoding, header.object_ref, header.boot_id, header.data_key_id, header.event_id];
        let required = [header.stream_id, header.event_type, header.producer, header.software_version];
        if !required.into_iter().chain(optional.into_iter().flatten()).all(is_name)
            || header.stream_id.len() > MAX_STREAM_ID
        {
            return Err(DecodeError("a name is empty, too long or holds control characters"));
        }
        match header.contradiction() {
            Some((_, reason)) => Err(DecodeError(reason)),
            None => Ok(header),
        }
    }

    /// A copy that owns its text.
    pub fn to_owned(&self) -> Header {
        let own = |t: Option<&str>| t.map(str::to_owned);
        Header {
            stream_id: self.stream_id.to_owned(),
            seqno: self.seqno,
            prev_hash: self.prev_hash,
            time_ms: self.time_ms,
            event_type: self.event_type.to_owned(),
            severity: self.severity,
            producer: self.producer.to_owned(),
            payload_hash: self.payload_hash,
            payload_len: self.payload_len,
            payload_encoding: own(self.payload_encoding),
            object_ref: own(self.object_ref),
            software_version: self.software_version.to_owned(),
            session_id: self.session_id,
            boot_id: own(self.boot_id),
            nonce: self.nonce,
            data_key_id: own(self.data_key_id),
            keyed_tags: self.keyed_tags.map(<[u8]>::to_vec),
            salt_len: self.salt_len,
            event_id: own(self.event_id),
        }
    }
}

/// Entry hash: BLAKE3 of the canonical header bytes.
pub fn entry_hash(header_bytes: &[u8]) -> Hash {
    *blake3::hash(header_bytes).as_bytes()
}

/// Payload hash: BLAKE3 of the salt (if any) followed by the payload.
pub fn payload_hash(salt: &[u8], payload: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(salt).update(payload);
    *hasher.finalize().as_bytes()
}

fn is_name(value: &str) -> bool {
    // Printable ASCII without a branch for each byte; verification does this for every name.
    let plain = value.bytes().fold(true, |plain, b| plain & (0x20..0x7f).contains(&b));
    !value.is_empty() && (plain || !value.chars().any(char::is_control))
}

/// Checks a name (event type, producer, id, reference, …): not empty, no control characters.
pub fn check_name(field: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        return Err(Error::invalid(field, "must not be empty"));
    }
    if !is_name(value) {
        return Err(Error::invalid(field, "must not hold control characters"));
    }
    Ok(())
}

/// Checks a stream id: a name of at most 255 bytes of UTF-8.
pub fn check_stream_id(field: &str, value: &str) -> Result<()> {
    check_name(field, value)?;
    if value.len() > MAX_STREAM_ID {
        return Err(Error::invalid(
            field,
            format!("{} bytes; a stream id has at most {MAX_STREAM_ID} bytes of UTF-8", value.len()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        "[^\\p{Cc}]{1,20}"
    }

    prop_compose! {
        fn header()(
            names in (name(), name(), name(), name()),
            options in (
                proptest::option::of(name()), proptest::option::of(name()), proptest::option::of(name()),
                proptest::option::of(name()),
            ),
            numbers in (1..=u64::MAX, any::<u64>(), any::<u64>(), 0u8..8),
            hashes in (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 16]>()),
            sealed in proptest::option::of((any::<[u8; 24]>(), "[0-9a-f]{32}", proptest::option::of(any::<[u8; 16]>()))),
            salted in any::<bool>(),
        ) -> Header {
            let mut header = Header {
                stream_id: names.0, seqno: numbers.0, prev_hash: hashes.0, time_ms: numbers.1,
                event_type: names.1, severity: Severity::from_number(numbers.3).unwrap(),
                producer: names.2, payload_hash: hashes.1, payload_len: numbers.2,
                payload_encoding: options.0, object_ref: options.1, software_version: names.3,
                session_id: hashes.2, boot_id: options.2, nonce: None, data_key_id: None,
                keyed_tags: None, salt_len: if salted { SALT_LEN } else { 0 }, event_id: options.3,
            };
            if let Some((nonce, id, tags)) = sealed {
                (header.nonce, header.data_key_id) = (Some(nonce), Some(id));
                (header.salt_len, header.object_ref) = (0, None);
                if let Some(tags) = tags {
                    let tag = |n: u8| format!("keyed:{}", crate::sealing::hex(&[n; 16]));
                    (header.event_type, header.producer) = (tag(1), tag(2));
                    header.keyed_tags = Some(tags.to_vec());
                }
            }
            header
        }
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(h in header()) {
            let bytes = h.encode().unwrap();
            prop_assert_eq!(HeaderRef::decode(&bytes).unwrap().to_owned(), h);
        }

        /// One value, one encoding: whatever decodes re-encodes to the same bytes.
        #[test]
        fn accepts_only_canonical_bytes(h in header(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = h.encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(decoded) = HeaderRef::decode(&bytes) {
                prop_assert_eq!(decoded.encode().unwrap(), bytes);
            }
        }

        #[test]
        fn never_panics(bytes in any::<Vec<u8>>()) {
            let _ = HeaderRef::decode(&bytes);
        }
    }

    #[test]
    fn what_does_not_go_together_is_neither_written_nor_read() {
        let tag = format!("keyed:{}", "a".repeat(32));
        let good = Header {
            stream_id: "s".into(),
            seqno: 1,
            prev_hash: [0; 32],
            time_ms: 0,
            event_type: tag.clone(),
            severity: Severity::Debug,
            producer: tag,
            payload_hash: [0; 32],
            payload_len: 3,
            payload_encoding: None,
            object_ref: None,
            software_version: "v".into(),
            session_id: [0; 16],
            boot_id: None,
            nonce: Some([1; 24]),
            data_key_id: Some("0".repeat(32)),
            keyed_tags: Some(vec![2; 16]),
            salt_len: 0,
            event_id: None,
        };
        assert_eq!(good.stored_len(), 19);
        assert!(HeaderRef::decode(&good.encode().unwrap()).is_ok());
        type Change = fn(&mut Header);
        let bad: [(&str, Change); 8] = [
            ("nonce", |h| h.nonce = None),
            ("data-key-id", |h| h.data_key_id = None),
            ("data-key-id", |h| h.data_key_id = Some("A".repeat(32))),
            ("salt-len", |h| h.salt_len = SALT_LEN),
            ("object-ref", |h| h.object_ref = Some("x".into())),
            ("keyed-tags", |h| h.keyed_tags = Some(vec![2; 15])),
            ("keyed-tags", |h| h.producer = "gate".into()),
            ("keyed-tags", |h| (h.nonce, h.data_key_id) = (None, None)),
        ];
        for (field, change) in bad {
            let mut header = good.clone();
            change(&mut header);
            let error = header.encode().unwrap_err();
            assert!(matches!(&error, Error::Invalid(i) if i.field == field), "{field}: {error}");
            assert!(HeaderRef::decode(&header.encode_unchecked()).is_err(), "{field}");
        }
    }

    #[test]
    fn names_follow_the_rules() {
        for bad in ["", "a\nb", "\u{7f}", "\0", "\u{85}"] {
            assert!(check_name("producer", bad).is_err(), "{bad:?}");
        }
        assert!(check_stream_id("stream-id", &"é".repeat(127)).is_ok());
        assert!(check_stream_id("stream-id", &"é".repeat(128)).is_err());
        assert!(check_stream_id("stream-id", "../device/ä").is_ok());
    }
}
