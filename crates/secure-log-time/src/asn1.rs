//! The fields of a DER value, read one after the other.
//!
//! Whatever is signed is kept as the bytes that were read, never encoded again from a parsed form.

use der::asn1::{AnyRef, IntRef, ObjectIdentifier};
use der::{Decode, DecodeValue, Encode, FixedTag, Reader, SliceReader, Tag, TagNumber, Tagged};

/// Bytes that are not the DER they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DerError {
    /// A value is missing, of another type, or not in DER.
    Malformed {
        /// The value, by its name in the RFC.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes follow the end of a value.
    TrailingBytes {
        /// The value that they follow.
        what: &'static str,
    },
}

impl std::fmt::Display for DerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed { what, why } => write!(f, "{what}: {why}"),
            Self::TrailingBytes { what } => write!(f, "bytes follow the end of {what}"),
        }
    }
}

impl std::error::Error for DerError {}

pub(crate) fn malformed(what: &'static str, why: impl std::fmt::Display) -> DerError {
    DerError::Malformed { what, why: why.to_string() }
}

/// The one value that `bytes` hold.
pub(crate) fn whole<'a>(bytes: &'a [u8], what: &'static str) -> Result<AnyRef<'a>, DerError> {
    let mut reader = SliceReader::new(bytes).map_err(|e| malformed(what, e))?;
    let value = AnyRef::decode(&mut reader).map_err(|e| malformed(what, e))?;
    if reader.is_finished() { Ok(value) } else { Err(DerError::TrailingBytes { what }) }
}

/// A value as its type.
pub(crate) fn as_type<'a, T>(value: AnyRef<'a>, what: &'static str) -> Result<T, DerError>
where
    T: DecodeValue<'a, Error = der::Error> + FixedTag + 'a,
{
    value.decode_as().map_err(|e| malformed(what, e))
}

/// An object identifier.
pub(crate) fn oid(value: AnyRef<'_>, what: &'static str) -> Result<ObjectIdentifier, DerError> {
    as_type(value, what)
}

/// The content of an OCTET STRING.
pub(crate) fn octets<'a>(value: AnyRef<'a>, what: &'static str) -> Result<&'a [u8], DerError> {
    primitive(value, Tag::OctetString, what)
}

/// The content of a value that has this tag.
pub(crate) fn primitive<'a>(value: AnyRef<'a>, tag: Tag, what: &'static str) -> Result<&'a [u8], DerError> {
    if value.tag() == tag {
        Ok(value.value())
    } else {
        Err(malformed(what, format_args!("a {} where a {tag} should be", value.tag())))
    }
}

/// The content of an INTEGER: two's complement, big-endian, as short as can be.
pub(crate) fn integer_content(value: AnyRef<'_>, what: &'static str) -> Result<Vec<u8>, DerError> {
    as_type::<IntRef<'_>>(value, what)?;
    Ok(value.value().to_vec())
}

/// Tag and length included.
pub(crate) fn encoding(value: AnyRef<'_>, what: &'static str) -> Result<Vec<u8>, DerError> {
    value.to_der().map_err(|e| malformed(what, e))
}

/// `[number]` of context-specific class.
pub(crate) const fn context(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific { constructed, number: TagNumber(number) }
}

/// Reads the elements of a SEQUENCE, a SET or a constructed context-specific value.
pub(crate) struct Fields<'a> {
    reader: SliceReader<'a>,
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// The elements of `value`, which must have this tag.
    pub fn of(value: AnyRef<'a>, tag: Tag, what: &'static str) -> Result<Self, DerError> {
        if value.tag() != tag {
            return Err(malformed(what, format_args!("a {} where a {tag} should be", value.tag())));
        }
        let reader = SliceReader::new(value.value()).map_err(|e| malformed(what, e))?;
        Ok(Self { reader, what })
    }

    /// The elements of a SEQUENCE.
    pub fn sequence(value: AnyRef<'a>, what: &'static str) -> Result<Self, DerError> {
        Self::of(value, Tag::Sequence, what)
    }

    /// The next element.
    pub fn next(&mut self, what: &'static str) -> Result<AnyRef<'a>, DerError> {
        if self.reader.is_finished() {
            return Err(malformed(what, format_args!("missing in {}", self.what)));
        }
        AnyRef::decode(&mut self.reader).map_err(|e| malformed(what, e))
    }

    /// The next element, if there is one and it has this tag.
    pub fn optional(&mut self, tag: Tag, what: &'static str) -> Result<Option<AnyRef<'a>>, DerError> {
        let mut ahead = self.reader.clone();
        if ahead.is_finished() {
            return Ok(None);
        }
        let value = AnyRef::decode(&mut ahead).map_err(|e| malformed(what, e))?;
        if value.tag() != tag {
            return Ok(None);
        }
        self.reader = ahead;
        Ok(Some(value))
    }

    /// The next element, an INTEGER of at most 64 bits that is not negative.
    pub fn number(&mut self, what: &'static str) -> Result<u64, DerError> {
        as_type(self.next(what)?, what)
    }

    /// All elements that are left.
    pub fn rest(mut self) -> Result<Vec<AnyRef<'a>>, DerError> {
        let mut all = Vec::new();
        while !self.reader.is_finished() {
            all.push(self.next(self.what)?);
        }
        Ok(all)
    }

    /// There must be no further element.
    pub fn end(self) -> Result<(), DerError> {
        if self.reader.is_finished() { Ok(()) } else { Err(DerError::TrailingBytes { what: self.what }) }
    }
}

/// AlgorithmIdentifier: parameters that are NULL count as none.
pub(crate) struct Algorithm<'a> {
    pub oid: ObjectIdentifier,
    pub parameters: Option<AnyRef<'a>>,
}

impl<'a> Algorithm<'a> {
    pub fn of(value: AnyRef<'a>, what: &'static str) -> Result<Self, DerError> {
        let mut fields = Fields::sequence(value, what)?;
        let oid = oid(fields.next(what)?, what)?;
        let mut rest = fields.rest()?;
        let parameters = rest.pop();
        if !rest.is_empty() {
            return Err(DerError::TrailingBytes { what });
        }
        let parameters = match parameters {
            Some(null) if null.tag() == Tag::Null => {
                if !null.value().is_empty() {
                    return Err(malformed(what, "a NULL with content"));
                }
                None
            }
            other => other,
        };
        Ok(Self { oid, parameters })
    }
}

/// `tag`, the length, and `parts` one after the other.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len() - 1);
        out.push(0x80 | (bytes.len() - start) as u8);
        out.extend(&bytes[start..]);
    }
    for part in parts {
        out.extend(*part);
    }
    out
}

/// INTEGER of a number that is not negative.
pub(crate) fn integer(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|b| *b != 0).unwrap_or(big_endian.len());
    let digits = &big_endian[start..];
    let pad: &[u8] = if digits.first().is_none_or(|b| *b >= 0x80) { &[0] } else { &[] };
    tlv(0x02, &[pad, digits])
}

/// OBJECT IDENTIFIER.
pub(crate) fn oid_der(oid: &ObjectIdentifier) -> Vec<u8> {
    tlv(0x06, &[oid.as_bytes()])
}
