//! Certificates of authorities and of those who vouch for them (RFC 5280).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode};
use x509_cert::Version;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName};

use crate::asn1::{DerError, malformed, whole};
use crate::error::{Role, VerifyError};
use crate::oids;
use crate::signature::{self, Failed};
use crate::signed::{Signed, pem_blocks};
use crate::time::Time;

/// A certificate. That it can be read says nothing about whether it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    signed: Signed,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    parsed: x509_cert::Certificate,
}

/// What extensions allow a certificate to be used for.
pub(crate) struct Purposes {
    /// `None`: no basic constraints. `Some(None)`: no authority. `Some(Some(n))`: at most n below it.
    pub authority: Option<Option<u8>>,
    pub key_usage: Option<KeyUsage>,
    /// Whether critical, and what for.
    pub extended: Option<(bool, Vec<ObjectIdentifier>)>,
}

impl Certificate {
    /// Reads a certificate in DER.
    pub fn from_der(bytes: &[u8]) -> Result<Self, DerError> {
        let bad = |e: der::Error| malformed("Certificate", e);
        let signed = Signed::read(bytes, "Certificate")?;
        let parsed = x509_cert::Certificate::from_der(bytes).map_err(bad)?;
        let inner = parsed.tbs_certificate();
        if inner.signature().to_der().map_err(bad)? != signed.algorithm {
            return Err(malformed("signatureAlgorithm", "not the one of the signed part"));
        }
        let extensions = inner.extensions().map_or(&[][..], Vec::as_slice);
        for (at, one) in extensions.iter().enumerate() {
            if extensions[..at].iter().any(|other| other.extn_id == one.extn_id) {
                return Err(malformed("extensions", format_args!("{} is there twice", one.extn_id)));
            }
        }
        let issuer = inner.issuer().to_der().map_err(bad)?;
        let subject = inner.subject().to_der().map_err(bad)?;
        Ok(Self { der: bytes.to_vec(), signed, issuer, subject, parsed })
    }

    /// Reads all certificates of a PEM file; other text and other objects between them are passed over.
    pub fn from_pem(file: impl AsRef<[u8]>) -> Result<Vec<Self>, DerError> {
        let blocks = pem_blocks(file.as_ref(), "CERTIFICATE", "Certificate")?;
        blocks.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject's name, as RFC 4514 writes names.
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate().subject().to_string()
    }

    /// The issuer's name, as RFC 4514 writes names.
    pub fn issuer(&self) -> String {
        self.parsed.tbs_certificate().issuer().to_string()
    }

    /// The serial number, big-endian, as it is encoded.
    pub fn serial(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// From when until when it is valid, both inclusive.
    pub fn validity(&self) -> (Time, Time) {
        let validity = self.parsed.tbs_certificate().validity();
        let time = |time: x509_cert::time::Time| Time::since_epoch(time.to_unix_duration());
        (time(validity.not_before), time(validity.not_after))
    }

    pub(crate) fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    pub(crate) fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    pub(crate) fn role(&self) -> Role {
        Role::Certificate(self.subject())
    }

    /// Whether issuer and subject are the same; such certificates do not count in path lengths (RFC 5280 §6.1).
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Of version 1 or 2, which know no extensions.
    pub(crate) fn is_old(&self) -> bool {
        self.parsed.tbs_certificate().version() != Version::V3
    }

    /// Whether it was valid then (RFC 5280 §4.1.2.5).
    pub(crate) fn valid_at(&self, time: Time) -> Result<(), VerifyError> {
        let (from, until) = self.validity();
        if time < from {
            return Err(VerifyError::NotYetValid { of: self.role(), from });
        }
        // notAfter is a whole second and belongs to the period.
        if time.duration().as_secs() > until.duration().as_secs() {
            return Err(VerifyError::Expired { of: self.role(), until });
        }
        Ok(())
    }

    fn extension<'a, T: Decode<'a, Error = der::Error>>(
        &'a self,
        oid: &ObjectIdentifier,
        what: &'static str,
    ) -> Result<Option<(bool, T)>, DerError> {
        let extensions = self.parsed.tbs_certificate().extensions().map_or(&[][..], Vec::as_slice);
        let Some(one) = extensions.iter().find(|one| one.extn_id == *oid) else {
            return Ok(None);
        };
        let value = T::from_der(one.extn_value.as_bytes()).map_err(|e| malformed(what, e))?;
        Ok(Some((one.critical, value)))
    }

    /// The extensions that are known here. A critical one that is not is refused.
    pub(crate) fn purposes(&self) -> Result<Purposes, VerifyError> {
        for one in self.parsed.tbs_certificate().extensions().map_or(&[][..], Vec::as_slice) {
            // Policies are known in that none is asked for: whatever they are, they exclude nothing.
            let known = [
                oids::BASIC_CONSTRAINTS,
                oids::KEY_USAGE,
                oids::EXTENDED_KEY_USAGE,
                oids::SUBJECT_ALT_NAME,
                oids::CERTIFICATE_POLICIES,
            ];
            if one.critical && !known.contains(&one.extn_id) {
                return Err(VerifyError::CriticalExtension { of: self.role(), oid: one.extn_id });
            }
        }
        let constraints = self.extension::<BasicConstraints>(&oids::BASIC_CONSTRAINTS, "BasicConstraints")?;
        Ok(Purposes {
            authority: constraints
                .map(|(_, basic)| basic.ca.then_some(basic.path_len_constraint.unwrap_or(u8::MAX))),
            key_usage: self.extension(&oids::KEY_USAGE, "KeyUsage")?.map(|(_, usage)| usage),
            extended: self
                .extension::<ExtendedKeyUsage>(&oids::EXTENDED_KEY_USAGE, "ExtKeyUsageSyntax")?
                .map(|(critical, usage)| (critical, usage.0)),
        })
    }

    /// Whether it is for time stamping and nothing else (RFC 3161 §2.3).
    pub(crate) fn may_stamp(&self) -> Result<(), VerifyError> {
        let purposes = self.purposes()?;
        let wrong = |why| Err(VerifyError::WrongPurpose { of: self.role(), why });
        match purposes.extended {
            None => return wrong("no extended key usage, where timeStamping must be"),
            Some((_, usages)) if usages != [oids::TIME_STAMPING] => {
                return wrong("its extended key usage is not timeStamping alone");
            }
            Some((false, _)) => return wrong("its extended key usage is not critical"),
            Some((true, _)) => {}
        }
        match purposes.key_usage {
            Some(KeyUsage(flags))
                if flags.is_empty()
                    || !(KeyUsages::DigitalSignature | KeyUsages::NonRepudiation).contains(flags) =>
            {
                wrong("its key usage is not digitalSignature or nonRepudiation alone")
            }
            _ => Ok(()),
        }
    }

    /// Whether the subject of this certificate signed that one.
    pub(crate) fn issued(&self, other: &Self) -> Result<(), VerifyError> {
        self.signed(&other.signed, other.role())
    }

    /// Whether the subject of this certificate signed a certificate or a list.
    pub(crate) fn signed(&self, what: &Signed, of: Role) -> Result<(), VerifyError> {
        let algorithm = whole(&what.algorithm, "signatureAlgorithm")?;
        self.verify(algorithm, None, &what.content, &what.signature, of)
    }

    /// Verifies a signature with this certificate's key.
    pub(crate) fn verify(
        &self,
        algorithm: AnyRef<'_>,
        digest: Option<crate::imprint::Hash>,
        message: &[u8],
        signature: &[u8],
        of: Role,
    ) -> Result<(), VerifyError> {
        let key = self.parsed.tbs_certificate().subject_public_key_info();
        signature::verify(algorithm, digest, key, message, signature).map_err(|failed| match failed {
            Failed::Der(error) => error.into(),
            Failed::Unsupported(oid) => VerifyError::UnsupportedAlgorithm { of, oid },
            Failed::Key(why) => VerifyError::BadKey { of: self.role(), why },
            Failed::Signature => VerifyError::BadSignature { of },
        })
    }

    /// The key identifier, if it has one.
    pub(crate) fn key_id(&self) -> Option<Vec<u8>> {
        let found = self.extension::<der::asn1::OctetString>(&oids::SUBJECT_KEY_ID, "SubjectKeyIdentifier");
        found.ok().flatten().map(|(_, id)| id.as_bytes().to_vec())
    }

    /// Whether a GeneralName in DER is the subject's name or one of its other names.
    pub(crate) fn is_named(&self, general_name: &[u8]) -> Result<bool, DerError> {
        let directory = crate::asn1::tlv(0xa4, &[&self.subject]);
        if general_name == directory {
            return Ok(true);
        }
        let Some((_, SubjectAltName(names))) =
            self.extension::<SubjectAltName>(&oids::SUBJECT_ALT_NAME, "SubjectAltName")?
        else {
            return Ok(false);
        };
        Ok(names.iter().any(|name| name.to_der().is_ok_and(|name| name == general_name)))
    }
}
