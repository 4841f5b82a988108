//! What a token says (RFC 3161 §2.4.2, TSTInfo). Trusted only once [`verify`](crate::verify) has returned it.

use std::time::Duration;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Tag, Tagged};

use crate::asn1::{
    DerError, Fields, as_type, context, encoding, integer_content, malformed, oid, primitive, whole,
};
use crate::imprint::Imprint;
use crate::request::boolean;
use crate::time::Time;

/// The content of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The time of the stamp.
    pub time: Time,
    /// How far the time may be off, either way. None: the token does not say (its policy may).
    pub accuracy: Option<Duration>,
    /// Whether the authority's stamps can be ordered by their times alone, whatever the accuracy.
    pub ordering: bool,
    /// The authority's number of the stamp: the content of an INTEGER, big-endian (some authorities' are negative).
    pub serial: Vec<u8>,
    /// The policy of the stamp.
    pub policy: ObjectIdentifier,
    /// What was stamped; the object identifier of the hash function where that is not SHA-2.
    pub imprint: Result<Imprint, ObjectIdentifier>,
    /// The nonce of the request: the content of an INTEGER, big-endian.
    pub nonce: Option<Vec<u8>>,
    /// The authority's name as the token has it, a GeneralName in DER.
    pub(crate) tsa: Option<Vec<u8>>,
    /// A critical extension: nobody who does not know it may trust the token.
    pub(crate) critical_extension: Option<ObjectIdentifier>,
}

impl Info {
    /// Reads the content of a token's eContent.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DerError> {
        let mut fields = Fields::sequence(whole(bytes, "TSTInfo")?, "TSTInfo")?;
        if fields.number("version")? != 1 {
            return Err(malformed("version", "a TSTInfo that is not of version 1"));
        }
        let policy = oid(fields.next("policy")?, "policy")?;
        let imprint = Imprint::read(fields.next("messageImprint")?)?;
        let serial = integer_content(fields.next("serialNumber")?, "serialNumber")?;
        let time = fields.next("genTime")?;
        let time = Time::from_generalized(primitive(time, Tag::GeneralizedTime, "genTime")?)?;
        let accuracy = match fields.optional(Tag::Sequence, "accuracy")? {
            Some(value) => Some(accuracy(value)?),
            None => None,
        };
        let ordering = match fields.optional(Tag::Boolean, "ordering")? {
            Some(value) => boolean(value, "ordering")?,
            None => false,
        };
        let nonce = match fields.optional(Tag::Integer, "nonce")? {
            Some(value) => Some(integer_content(value, "nonce")?),
            None => None,
        };
        let tsa = match fields.optional(context(0, true), "tsa")? {
            Some(value) => {
                let mut name = Fields::of(value, context(0, true), "tsa")?;
                let value = encoding(name.next("tsa")?, "tsa")?;
                name.end()?;
                Some(value)
            }
            None => None,
        };
        let critical_extension = match fields.optional(context(1, true), "extensions")? {
            Some(value) => critical(Fields::of(value, context(1, true), "extensions")?)?,
            None => None,
        };
        fields.end()?;
        Ok(Self { time, accuracy, ordering, serial, policy, imprint, nonce, tsa, critical_extension })
    }
}

fn accuracy(value: AnyRef<'_>) -> Result<Duration, DerError> {
    let mut fields = Fields::sequence(value, "accuracy")?;
    let mut total = match fields.optional(Tag::Integer, "seconds")? {
        Some(value) => Duration::from_secs(as_type::<u64>(value, "seconds")?),
        None => Duration::ZERO,
    };
    for (number, what, unit) in
        [(0, "millis", Duration::from_millis(1)), (1, "micros", Duration::from_micros(1))]
    {
        if let Some(value) = fields.optional(context(number, false), what)? {
            let count = match *value.value() {
                [low] if low < 0x80 => u32::from(low),
                [0, low] if low >= 0x80 => u32::from(low),
                [high, low] if (1..0x80).contains(&high) => u32::from(high) << 8 | u32::from(low),
                _ => return Err(malformed(what, "not an INTEGER from 1 to 999")),
            };
            if !(1..=999).contains(&count) {
                return Err(malformed(what, "not from 1 to 999"));
            }
            total = total.saturating_add(unit * count);
        }
    }
    fields.end()?;
    Ok(total)
}

/// The first critical one.
fn critical(extensions: Fields<'_>) -> Result<Option<ObjectIdentifier>, DerError> {
    let mut found = None;
    for extension in extensions.rest()? {
        let mut fields = Fields::sequence(extension, "Extension")?;
        let name = oid(fields.next("extnID")?, "extnID")?;
        let critical = match fields.optional(Tag::Boolean, "critical")? {
            Some(value) => boolean(value, "critical")?,
            None => false,
        };
        if fields.next("extnValue")?.tag() != Tag::OctetString {
            return Err(malformed("extnValue", "not an OCTET STRING"));
        }
        fields.end()?;
        if critical && found.is_none() {
            found = Some(name);
        }
    }
    Ok(found)
}
