//! Requests for a time stamp (RFC 3161 §2.4.1).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Tag, Tagged};

use crate::asn1::{DerError, Fields, integer, malformed, oid, oid_der, tlv, whole};
use crate::imprint::Imprint;

/// The media type of a request's body.
pub const REQUEST_TYPE: &str = "application/timestamp-query";

/// A request for a time stamp. [`accept`](crate::accept) needs it again when the response is there; until then its
/// bytes can be kept ([`Request::from_der`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The hash of what is to be stamped. The authority learns nothing else of it.
    pub imprint: Imprint,
    /// A random number that the response must repeat, so that no older response passes for it. Leave it out only where
    /// there is no randomness.
    pub nonce: Option<u64>,
    /// The policy under which the authority shall stamp; None: its own.
    pub policy: Option<ObjectIdentifier>,
    /// Whether the token shall hold the authority's certificate. Without it the token cannot be verified unless the
    /// certificate is kept elsewhere.
    pub cert_req: bool,
}

impl Request {
    /// A request that asks for the certificate, under the authority's own policy.
    pub fn new(imprint: Imprint, nonce: u64) -> Self {
        Self { imprint, nonce: Some(nonce), policy: None, cert_req: true }
    }

    /// The body of a POST of the type [`REQUEST_TYPE`], in DER.
    pub fn to_der(&self) -> Vec<u8> {
        let policy = self.policy.as_ref().map(oid_der).unwrap_or_default();
        let nonce = self.nonce.map(|nonce| integer(&nonce.to_be_bytes())).unwrap_or_default();
        let cert_req: &[u8] = if self.cert_req { &[0x01, 0x01, 0xff] } else { &[] };
        tlv(0x30, &[&integer(&[1]), &self.imprint.to_der(), &policy, &nonce, cert_req])
    }

    /// Reads what [`to_der`](Self::to_der) made, and nothing else.
    pub fn from_der(bytes: &[u8]) -> Result<Self, DerError> {
        let mut fields = Fields::sequence(whole(bytes, "TimeStampReq")?, "TimeStampReq")?;
        if fields.number("version")? != 1 {
            return Err(malformed("version", "not 1"));
        }
        let imprint = Imprint::read(fields.next("messageImprint")?)?
            .map_err(|oid| malformed("hashAlgorithm", format_args!("{oid} is not known here")))?;
        let policy = match fields.optional(Tag::ObjectIdentifier, "reqPolicy")? {
            Some(value) => Some(oid(value, "reqPolicy")?),
            None => None,
        };
        let nonce = match fields.optional(Tag::Integer, "nonce")? {
            Some(value) => Some(crate::asn1::as_type(value, "nonce")?),
            None => None,
        };
        let cert_req = match fields.optional(Tag::Boolean, "certReq")? {
            Some(value) => boolean(value, "certReq")?,
            None => false,
        };
        fields.end()?;
        let request = Self { imprint, nonce, policy, cert_req };
        // One way to write each request: NULL parameters there, no FALSE.
        if request.to_der() == bytes { Ok(request) } else { Err(malformed("TimeStampReq", "not canonical")) }
    }
}

/// BOOLEAN.
pub(crate) fn boolean(value: AnyRef<'_>, what: &'static str) -> Result<bool, DerError> {
    match (value.tag(), value.value()) {
        (Tag::Boolean, [0xff]) => Ok(true),
        (Tag::Boolean, [0x00]) => Ok(false),
        _ => Err(malformed(what, "not a BOOLEAN in DER")),
    }
}
