//! Lists of revoked certificates (RFC 5280 §5), as far as their issuer lists its own certificates in one.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode as _, Tag, Tagged};
use x509_cert::name::Name;

use crate::asn1::{DerError, Fields, context, encoding, malformed, octets, oid, primitive, whole};
use crate::certificate::Certificate;
use crate::error::{Role, VerifyError};
use crate::oids;
use crate::request::boolean;
use crate::signed::{Signed, pem_blocks};
use crate::time::Time;

/// A list of revoked certificates. That it can be read says nothing about whether its signature is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    signed: Signed,
    issuer: Vec<u8>,
    name: String,
    this_update: Time,
    entries: Vec<Entry>,
    critical_extension: Option<ObjectIdentifier>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    serial: Vec<u8>,
    at: Time,
    reason: Option<u8>,
}

/// Why a certificate was revoked (RFC 5280 §5.3.1), where the list says so.
fn reason_name(reason: Option<u8>) -> &'static str {
    match reason {
        None => "for a reason that is not stated",
        Some(0) => "unspecified",
        Some(1) => "keyCompromise",
        Some(2) => "cACompromise",
        Some(3) => "affiliationChanged",
        Some(4) => "superseded",
        Some(5) => "cessationOfOperation",
        Some(6) => "certificateHold",
        Some(9) => "privilegeWithdrawn",
        Some(10) => "aACompromise",
        Some(_) => "for a reason that is not known here",
    }
}

impl RevocationList {
    /// Reads a list in DER.
    pub fn from_der(bytes: &[u8]) -> Result<Self, DerError> {
        let what = "CertificateList";
        let signed = Signed::read(bytes, what)?;
        let mut fields = Fields::sequence(whole(&signed.content, what)?, what)?;
        if fields.optional(Tag::Integer, "version")?.is_some_and(|version| version.value() != [1]) {
            return Err(malformed("version", "a CertificateList that is not of version 2"));
        }
        if encoding(fields.next("signature")?, "signature")? != signed.algorithm {
            return Err(malformed("signatureAlgorithm", "not the one of the signed part"));
        }
        let issuer = encoding(fields.next("issuer")?, "issuer")?;
        let name = Name::from_der(&issuer).map_err(|e| malformed("issuer", e))?.to_string();
        let this_update = time(fields.next("thisUpdate")?, "thisUpdate")?;
        for tag in [Tag::UtcTime, Tag::GeneralizedTime] {
            fields.optional(tag, "nextUpdate")?;
        }
        let mut critical_extension = None;
        let mut entries = Vec::new();
        if let Some(list) = fields.optional(Tag::Sequence, "revokedCertificates")? {
            for one in Fields::sequence(list, "revokedCertificates")?.rest()? {
                let mut entry = Fields::sequence(one, "revokedCertificates")?;
                let serial =
                    primitive(entry.next("userCertificate")?, Tag::Integer, "userCertificate")?.to_vec();
                let at = time(entry.next("revocationDate")?, "revocationDate")?;
                let mut reason = None;
                if let Some(extensions) = entry.optional(Tag::Sequence, "crlEntryExtensions")? {
                    let (critical, found) = read_extensions(extensions)?;
                    critical_extension = critical_extension.or(critical);
                    reason = found;
                }
                entry.end()?;
                entries.push(Entry { serial, at, reason });
            }
        }
        if let Some(explicit) = fields.optional(context(0, true), "crlExtensions")? {
            let mut inner = Fields::of(explicit, context(0, true), "crlExtensions")?;
            let (critical, _) = read_extensions(inner.next("crlExtensions")?)?;
            critical_extension = critical_extension.or(critical);
            inner.end()?;
        }
        fields.end()?;
        Ok(Self { signed, issuer, name, this_update, entries, critical_extension })
    }

    /// Reads all lists of a PEM file; other text and other objects between them are passed over.
    pub fn from_pem(file: impl AsRef<[u8]>) -> Result<Vec<Self>, DerError> {
        let blocks = pem_blocks(file.as_ref(), "X509 CRL", "CertificateList")?;
        blocks.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The issuer's name, as RFC 4514 writes names.
    pub fn issuer(&self) -> &str {
        &self.name
    }

    /// When it was issued: nothing is said about what was revoked after that.
    pub fn this_update(&self) -> Time {
        self.this_update
    }

    /// What the list says of a certificate for a token of this time. None: it is another issuer's.
    pub(crate) fn check(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        time: Time,
    ) -> Result<Option<Time>, VerifyError> {
        if self.issuer != certificate.issuer_der() {
            return Ok(None);
        }
        let of = Role::RevocationList(self.name.clone());
        if let Some(oid) = self.critical_extension {
            // Parts of a list, lists for other issuers, changes to a list.
            return Err(VerifyError::CriticalExtension { of, oid });
        }
        if issuer.purposes()?.key_usage.is_some_and(|usage| !usage.crl_sign()) {
            let why = "its key usage is not for signing revocation lists";
            return Err(VerifyError::WrongPurpose { of: issuer.role(), why });
        }
        issuer.signed(&self.signed, of)?;
        for entry in self.entries.iter().filter(|entry| entry.serial == certificate.serial()) {
            // RFC 3161 §4: these reasons leave the tokens from before alone, all others none.
            let spares = matches!(entry.reason, Some(0 | 3 | 4 | 5)) && time < entry.at;
            if !spares {
                let reason = reason_name(entry.reason);
                return Err(VerifyError::Revoked { of: certificate.role(), at: entry.at, reason });
            }
        }
        Ok(Some(self.this_update))
    }
}

fn time(value: AnyRef<'_>, what: &'static str) -> Result<Time, DerError> {
    let der = encoding(value, what)?;
    let time = x509_cert::time::Time::from_der(&der).map_err(|e| malformed(what, e))?;
    Ok(Time::since_epoch(time.to_unix_duration()))
}

/// The first critical extension, and the reason of an entry.
fn read_extensions(value: AnyRef<'_>) -> Result<(Option<ObjectIdentifier>, Option<u8>), DerError> {
    let (mut first, mut reason) = (None, None);
    for extension in Fields::sequence(value, "Extensions")?.rest()? {
        let mut fields = Fields::sequence(extension, "Extension")?;
        let name = oid(fields.next("extnID")?, "extnID")?;
        let critical = match fields.optional(Tag::Boolean, "critical")? {
            Some(value) => boolean(value, "critical")?,
            None => false,
        };
        let content = octets(fields.next("extnValue")?, "extnValue")?;
        fields.end()?;
        if critical && first.is_none() {
            first = Some(name);
        }
        if name == oids::REASON_CODE {
            let value = whole(content, "reasonCode")?;
            match (value.tag(), value.value()) {
                (Tag::Enumerated, [code]) => reason = Some(*code),
                _ => return Err(malformed("reasonCode", "not an ENUMERATED of one byte")),
            }
        }
    }
    Ok((first, reason))
}
