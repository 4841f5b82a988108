//! Verification of a token, offline.

use std::time::Duration;

use der::asn1::ObjectIdentifier;
use der::{Tag, Tagged};
use sha1::{Digest as _, Sha1};

use crate::asn1::{Algorithm, DerError, Fields, malformed, octets, oid};
use crate::certificate::Certificate;
use crate::chain;
use crate::error::{Role, VerifyError};
use crate::imprint::{Hash, Imprint};
use crate::info::Info;
use crate::oids;
use crate::revocation::RevocationList;
use crate::time::Time;
use crate::token::{Parts, SignerId};

/// What the token should be about.
#[derive(Clone, Copy, Debug)]
pub enum Stamped<'a> {
    /// These bytes; they are hashed as the token says.
    Message(&'a [u8]),
    /// What has this hash.
    Imprint(&'a Imprint),
}

/// Whom to trust.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Trusted certificates: roots, or an authority's own.
    pub anchors: Vec<Certificate>,
    /// Certificates that may be needed on the way and are not in the token. They are not trusted.
    pub intermediates: Vec<Certificate>,
    /// Lists of revoked certificates, of those who issued the certificates of the chain. Others are passed over.
    pub revocation_lists: Vec<RevocationList>,
}

/// What else to demand.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Policies that are accepted; empty: any.
    pub policies: Vec<ObjectIdentifier>,
    /// The verifier's own time: a token from after it is refused. None: not checked.
    pub now: Option<Time>,
}

/// What a token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What was stamped existed at this time.
    pub time: Time,
    /// How far the time may be off, either way. None: the token does not say.
    pub accuracy: Option<Duration>,
    /// Whether the authority's stamps can be ordered by their times alone.
    pub ordering: bool,
    /// The authority's number of the stamp: the content of an INTEGER, big-endian.
    pub serial: Vec<u8>,
    /// The policy of the stamp.
    pub policy: ObjectIdentifier,
    /// What was stamped.
    pub imprint: Imprint,
    /// The subject of the authority's certificate, as RFC 4514 writes names.
    pub authority: String,
    /// The authority's certificate first, a trust anchor last.
    pub chain: Vec<Certificate>,
    /// Until when each certificate of the chain, the anchor excepted, is known not to be revoked: the time of the newest
    /// list of [`Trust::revocation_lists`] that covers it. None: not checked.
    pub not_revoked: Vec<Option<Time>>,
    /// What the token holds besides.
    pub unchecked: Unchecked,
}

/// Parts of a token that no signature covers and that were not needed: nothing is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unchecked {
    /// Certificates that are not in the chain.
    pub certificates: usize,
    /// Lists of revoked certificates, and OCSP responses, inside the token.
    pub revocation_lists: usize,
    /// Attributes that are not signed.
    pub attributes: usize,
}

/// Verifies a token (TimeStampToken in DER) against what it should be about and whom to trust. Nothing is fetched.
pub fn verify(
    token: &[u8],
    stamped: Stamped<'_>,
    trust: &Trust,
    options: &Options,
) -> Result<Verified, VerifyError> {
    let parts = Parts::read(token)?;
    signed_content(&parts)?;
    let info = Info::read(parts.content)?;
    if let Some(oid) = info.critical_extension {
        return Err(VerifyError::CriticalExtension { of: Role::Token, oid });
    }

    // Those that cannot be read cannot be needed either.
    let embedded: Vec<Certificate> =
        parts.certificates.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    let others: Vec<&Certificate> = embedded.iter().chain(&trust.intermediates).collect();
    let leaf = signer(&parts, others.iter().copied().chain(&trust.anchors))?;
    let signer = &parts.signer;
    leaf.verify(
        signer.algorithm,
        Some(signer.hash),
        &signer.attributes.signed,
        signer.signature,
        Role::Token,
    )?;
    leaf.may_stamp()?;
    leaf.valid_at(info.time)?;
    let chain = chain::build(leaf, &trust.anchors, &others, info.time)?;
    let not_revoked = chain
        .windows(2)
        .map(|pair| match pair {
            [one, issuer] => revocation(one, issuer, &trust.revocation_lists, info.time),
            _ => Ok(None),
        })
        .collect::<Result<_, _>>()?;
    if let Some(name) = &info.tsa
        && !leaf.is_named(name)?
    {
        return Err(VerifyError::AuthorityName);
    }

    let imprint = info.imprint.map_err(|oid| VerifyError::unsupported(Role::Token, oid))?;
    let expected = match stamped {
        Stamped::Message(message) => Imprint::of(imprint.hash(), message),
        Stamped::Imprint(imprint) => imprint.clone(),
    };
    if imprint != expected {
        return Err(VerifyError::WrongImprint { expected, found: imprint });
    }
    if !options.policies.is_empty() && !options.policies.contains(&info.policy) {
        return Err(VerifyError::WrongPolicy { found: info.policy });
    }
    if let Some(now) = options.now
        && info.time > now.after(info.accuracy.unwrap_or_default())
    {
        return Err(VerifyError::InTheFuture { time: info.time, now });
    }
    let used = |der: &&Vec<u8>| chain.iter().any(|one| one.der() == der.as_slice());
    let unchecked = Unchecked {
        certificates: parts.certificates.len() - parts.certificates.iter().filter(used).count(),
        revocation_lists: parts.revocation_lists,
        attributes: signer.unsigned_attributes,
    };
    Ok(Verified {
        time: info.time,
        accuracy: info.accuracy,
        ordering: info.ordering,
        serial: info.serial,
        policy: info.policy,
        imprint,
        authority: leaf.subject(),
        chain: chain.into_iter().cloned().collect(),
        not_revoked,
        unchecked,
    })
}

/// The time of the newest list that covers a certificate.
fn revocation(
    certificate: &Certificate,
    issuer: &Certificate,
    lists: &[RevocationList],
    time: Time,
) -> Result<Option<Time>, VerifyError> {
    let mut newest = None;
    for list in lists {
        newest = newest.max(list.check(certificate, issuer, time)?);
    }
    Ok(newest)
}

/// The signed attributes are of this content (RFC 5652 §5.4).
fn signed_content(parts: &Parts<'_>) -> Result<(), VerifyError> {
    let attributes = &parts.signer.attributes;
    let missing = |attribute| VerifyError::AttributeMissing { attribute };
    let value = attributes.one(&oids::CONTENT_TYPE, "contentType")?.ok_or(missing("contentType"))?;
    let found = oid(value, "contentType")?;
    if found != oids::TST_INFO {
        return Err(VerifyError::NotATimeStamp { found: found.to_string() });
    }
    let value = attributes.one(&oids::MESSAGE_DIGEST, "messageDigest")?.ok_or(missing("messageDigest"))?;
    if octets(value, "messageDigest")? != parts.signer.hash.digest(parts.content) {
        return Err(VerifyError::AlteredInfo);
    }
    Ok(())
}

/// The certificate that the signer names, and that its signature is bound to (RFC 5816 §2.2.1).
fn signer<'a>(
    parts: &Parts<'_>,
    certificates: impl Iterator<Item = &'a Certificate>,
) -> Result<&'a Certificate, VerifyError> {
    let attributes = &parts.signer.attributes;
    let v1 = attributes.one(&oids::SIGNING_CERTIFICATE, "signingCertificate")?;
    let v2 = attributes.one(&oids::SIGNING_CERTIFICATE_V2, "signingCertificateV2")?;
    if v1.is_none() && v2.is_none() {
        return Err(VerifyError::AttributeMissing { attribute: "signingCertificate" });
    }
    let mut named = false;
    for one in certificates {
        let same = match &parts.signer.id {
            SignerId::IssuerAndSerial(issuer, serial) => {
                one.issuer_der() == issuer.as_slice() && one.serial() == *serial
            }
            SignerId::KeyId(id) => one.key_id().is_some_and(|own| own == *id),
        };
        named |= same;
        if same
            && v1.map_or(Ok(true), |value| binds(value, false, one))?
            && v2.map_or(Ok(true), |value| binds(value, true, one))?
        {
            return Ok(one);
        }
    }
    Err(if named { VerifyError::CertificateBinding } else { VerifyError::SignerCertificateMissing })
}

/// Whether the first ESSCertID (SHA-1, RFC 2634 §5.4) or ESSCertIDv2 (RFC 5035 §4) is of this certificate.
fn binds(attribute: der::asn1::AnyRef<'_>, v2: bool, certificate: &Certificate) -> Result<bool, VerifyError> {
    let what = "signingCertificate";
    let mut fields = Fields::sequence(attribute, what)?;
    let mut ids = Fields::sequence(fields.next("certs")?, "certs")?;
    let mut id = Fields::sequence(ids.next("ESSCertID")?, "ESSCertID")?;
    let hash = match id.optional(Tag::Sequence, "hashAlgorithm")? {
        Some(value) if v2 => {
            let algorithm = Algorithm::of(value, "hashAlgorithm")?;
            Hash::from_oid(&algorithm.oid)
                .ok_or_else(|| VerifyError::unsupported(Role::Token, algorithm.oid))?
        }
        Some(_) => return Err(malformed("ESSCertID", "a hash function where there is none").into()),
        None => Hash::Sha256,
    };
    let digest = octets(id.next("certHash")?, "certHash")?;
    let own = if v2 { hash.digest(certificate.der()) } else { Sha1::digest(certificate.der()).to_vec() };
    if digest != own {
        return Ok(false);
    }
    match id.optional(Tag::Sequence, "issuerSerial")? {
        Some(value) => Ok(issuer_serial(value, certificate)?),
        None => Ok(true),
    }
}

/// Whether an IssuerSerial (RFC 5035 §5) is the certificate's.
fn issuer_serial(value: der::asn1::AnyRef<'_>, certificate: &Certificate) -> Result<bool, DerError> {
    let mut fields = Fields::sequence(value, "issuerSerial")?;
    let names = Fields::sequence(fields.next("issuer")?, "issuer")?.rest()?;
    let serial = fields.next("serialNumber")?;
    fields.end()?;
    // [4] directoryName, whose Name is tagged explicitly.
    let tag = crate::asn1::context(4, true);
    let named = names.iter().any(|name| name.tag() == tag && name.value() == certificate.issuer_der());
    Ok(named && serial.tag() == Tag::Integer && serial.value() == certificate.serial())
}
