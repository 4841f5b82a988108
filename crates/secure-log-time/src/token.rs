//! A token's envelope: CMS SignedData with one signer (RFC 5652 §5, RFC 3161 §2.4.2).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Tag, Tagged};

use crate::asn1::{Algorithm, DerError, Fields, context, encoding, malformed, octets, oid, tlv, whole};
use crate::error::{Role, VerifyError};
use crate::imprint::Hash;
use crate::oids;

/// The most a token may hold, in bytes. Those of known authorities have 1 to 8 KiB.
pub const MAX_TOKEN: usize = 128 << 10;

/// The parts of a token, of which none is verified yet.
pub(crate) struct Parts<'a> {
    /// TSTInfo in DER.
    pub content: &'a [u8],
    /// Elements of the certificate set, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// Elements of the set of revocation lists: not looked at.
    pub revocation_lists: usize,
    pub signer: Signer<'a>,
}

pub(crate) struct Signer<'a> {
    pub id: SignerId<'a>,
    pub hash: Hash,
    pub attributes: Attributes<'a>,
    pub algorithm: AnyRef<'a>,
    pub signature: &'a [u8],
    /// Not looked at.
    pub unsigned_attributes: usize,
}

/// Which certificate the signer names.
pub(crate) enum SignerId<'a> {
    /// The issuer's name in DER, and the serial number as it is encoded.
    IssuerAndSerial(Vec<u8>, &'a [u8]),
    KeyId(&'a [u8]),
}

pub(crate) struct Attributes<'a> {
    all: Vec<(ObjectIdentifier, Vec<AnyRef<'a>>)>,
    /// What the signature is over: a SET, in DER order.
    pub signed: Vec<u8>,
}

impl<'a> Attributes<'a> {
    fn read(value: AnyRef<'a>) -> Result<Self, DerError> {
        let mut all = Vec::new();
        let mut encodings = Vec::new();
        for attribute in Fields::of(value, context(0, true), "signedAttrs")?.rest()? {
            encodings.push(encoding(attribute, "Attribute")?);
            all.push(read_attribute(attribute)?);
        }
        encodings.sort();
        let parts: Vec<&[u8]> = encodings.iter().map(Vec::as_slice).collect();
        Ok(Self { all, signed: tlv(0x31, &parts) })
    }

    /// The one value of an attribute that may be there once (RFC 5652 §11).
    pub fn one(&self, name: &ObjectIdentifier, what: &'static str) -> Result<Option<AnyRef<'a>>, DerError> {
        let mut found = self.all.iter().filter(|(oid, _)| oid == name);
        let Some((_, values)) = found.next() else {
            return Ok(None);
        };
        match (values.as_slice(), found.next()) {
            ([value], None) => Ok(Some(*value)),
            _ => Err(malformed(what, "there more than once, or without one value")),
        }
    }
}

fn read_attribute<'a>(value: AnyRef<'a>) -> Result<(ObjectIdentifier, Vec<AnyRef<'a>>), DerError> {
    let mut fields = Fields::sequence(value, "Attribute")?;
    let name = oid(fields.next("attrType")?, "attrType")?;
    let values = Fields::of(fields.next("attrValues")?, Tag::Set, "attrValues")?.rest()?;
    fields.end()?;
    Ok((name, values))
}

impl<'a> Parts<'a> {
    pub fn read(token: &'a [u8]) -> Result<Self, VerifyError> {
        if token.len() > MAX_TOKEN {
            return Err(VerifyError::TooLarge { size: token.len() });
        }
        let mut info = Fields::sequence(whole(token, "TimeStampToken")?, "TimeStampToken")?;
        content_type(info.next("contentType")?, &oids::SIGNED_DATA)?;
        let mut explicit = Fields::of(info.next("content")?, context(0, true), "content")?;
        info.end()?;
        let mut fields = Fields::sequence(explicit.next("SignedData")?, "SignedData")?;
        explicit.end()?;

        if fields.number("version")? != 3 {
            return Err(malformed("version", "a SignedData that is not of version 3").into());
        }
        let digests = Fields::of(fields.next("digestAlgorithms")?, Tag::Set, "digestAlgorithms")?.rest()?;
        let mut encapsulated = Fields::sequence(fields.next("encapContentInfo")?, "encapContentInfo")?;
        content_type(encapsulated.next("eContentType")?, &oids::TST_INFO)?;
        let mut explicit = Fields::of(encapsulated.next("eContent")?, context(0, true), "eContent")?;
        encapsulated.end()?;
        let content = octets(explicit.next("eContent")?, "eContent")?;
        explicit.end()?;
        let mut certificates = Vec::new();
        if let Some(set) = fields.optional(context(0, true), "certificates")? {
            for one in Fields::of(set, context(0, true), "certificates")?.rest()? {
                certificates.push(encoding(one, "certificates")?);
            }
        }
        let revocation_lists = match fields.optional(context(1, true), "crls")? {
            Some(set) => Fields::of(set, context(1, true), "crls")?.rest()?.len(),
            None => 0,
        };
        let signers = Fields::of(fields.next("signerInfos")?, Tag::Set, "signerInfos")?.rest()?;
        fields.end()?;
        let [signer] = signers.as_slice() else {
            return Err(VerifyError::Signers { found: signers.len() });
        };
        let (signer, hash) = Signer::read(*signer)?;
        let mut announced = false;
        for value in digests {
            let algorithm = Algorithm::of(value, "digestAlgorithms")?;
            announced |= algorithm.oid == hash && algorithm.parameters.is_none();
        }
        if !announced {
            return Err(malformed("digestAlgorithms", "the signer's is not among them").into());
        }
        Ok(Self { content, certificates, revocation_lists, signer })
    }
}

impl<'a> Signer<'a> {
    fn read(value: AnyRef<'a>) -> Result<(Self, ObjectIdentifier), VerifyError> {
        let mut fields = Fields::sequence(value, "SignerInfo")?;
        let version = fields.number("version")?;
        let id = fields.next("sid")?;
        let id = match (version, id.tag()) {
            (1, Tag::Sequence) => {
                let mut names = Fields::sequence(id, "sid")?;
                let issuer = encoding(names.next("issuer")?, "issuer")?;
                let serial = names.next("serialNumber")?;
                names.end()?;
                if serial.tag() != Tag::Integer {
                    return Err(malformed("serialNumber", "not an INTEGER").into());
                }
                SignerId::IssuerAndSerial(issuer, serial.value())
            }
            (3, tag) if tag == context(0, false) => SignerId::KeyId(id.value()),
            _ => return Err(malformed("sid", "not what the SignerInfo's version says").into()),
        };
        let digest = Algorithm::of(fields.next("digestAlgorithm")?, "digestAlgorithm")?;
        let hash = match (Hash::from_oid(&digest.oid), digest.parameters) {
            (Some(hash), None) => hash,
            _ => return Err(VerifyError::unsupported(Role::Token, digest.oid)),
        };
        let attributes = fields
            .optional(context(0, true), "signedAttrs")?
            .ok_or(VerifyError::AttributeMissing { attribute: "signedAttrs" })?;
        let attributes = Attributes::read(attributes)?;
        let algorithm = fields.next("signatureAlgorithm")?;
        let signature = octets(fields.next("signature")?, "signature")?;
        let unsigned_attributes = match fields.optional(context(1, true), "unsignedAttrs")? {
            Some(set) => Fields::of(set, context(1, true), "unsignedAttrs")?.rest()?.len(),
            None => 0,
        };
        fields.end()?;
        Ok((Self { id, hash, attributes, algorithm, signature, unsigned_attributes }, digest.oid))
    }
}

fn content_type(value: AnyRef<'_>, wanted: &ObjectIdentifier) -> Result<(), VerifyError> {
    let found = oid(value, "contentType")?;
    if found == *wanted { Ok(()) } else { Err(VerifyError::NotATimeStamp { found: found.to_string() }) }
}
