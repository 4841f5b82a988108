//! Why a token is refused.

use der::asn1::ObjectIdentifier;

use crate::asn1::DerError;
use crate::imprint::Imprint;
use crate::time::Time;

/// What it is that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The token.
    Token,
    /// A certificate, by the name of its subject.
    Certificate(String),
    /// A list of revoked certificates, by the name of its issuer.
    RevocationList(String),
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token => f.write_str("the token"),
            Self::Certificate(subject) => write!(f, "the certificate of {subject}"),
            Self::RevocationList(issuer) => write!(f, "the revocation list of {issuer}"),
        }
    }
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// The bytes are no token in DER, or some follow its end.
    Der(DerError),
    /// More bytes than [`MAX_TOKEN`](crate::MAX_TOKEN).
    TooLarge {
        /// How many.
        size: usize,
    },
    /// A CMS object of another kind.
    NotATimeStamp {
        /// Its content type.
        found: String,
    },
    /// Not exactly one signer (RFC 3161 §2.4.2).
    Signers {
        /// How many.
        found: usize,
    },
    /// A signed attribute that must be there is not.
    AttributeMissing {
        /// Its name in the RFC.
        attribute: &'static str,
    },
    /// The token is about something else.
    WrongImprint {
        /// What should be stamped.
        expected: Imprint,
        /// What is stamped.
        found: Imprint,
    },
    /// The content is not what was signed: its digest is not the one of the signed attributes.
    AlteredInfo,
    /// The token's policy is none of those that were asked for.
    WrongPolicy {
        /// The token's.
        found: ObjectIdentifier,
    },
    /// A critical extension is not known here.
    CriticalExtension {
        /// Where.
        of: Role,
        /// Which.
        oid: ObjectIdentifier,
    },
    /// The time lies after the verifier's own, accuracy allowed for.
    InTheFuture {
        /// The token's time.
        time: Time,
        /// The verifier's.
        now: Time,
    },
    /// An algorithm that is not known here, or is not accepted any more.
    UnsupportedAlgorithm {
        /// Where.
        of: Role,
        /// Which.
        oid: ObjectIdentifier,
    },
    /// A key that is too short, or not a key.
    BadKey {
        /// Whose certificate has it.
        of: Role,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate of the signer is neither in the token nor among those given.
    SignerCertificateMissing,
    /// The token was signed for another certificate with the same key or name (RFC 5816, ESSCertID).
    CertificateBinding,
    /// A signature does not verify.
    BadSignature {
        /// Of what.
        of: Role,
    },
    /// The certificate is not one for time stamping, or its issuer's not one for issuing.
    WrongPurpose {
        /// Whose.
        of: Role,
        /// What is missing or too much.
        why: &'static str,
    },
    /// The certificate had expired at the token's time.
    Expired {
        /// Whose.
        of: Role,
        /// Until when it was valid.
        until: Time,
    },
    /// The certificate was not yet valid at the token's time.
    NotYetValid {
        /// Whose.
        of: Role,
        /// From when it was valid.
        from: Time,
    },
    /// The certificate was revoked, and the token falls with it (RFC 3161 §4).
    Revoked {
        /// Whose.
        of: Role,
        /// When.
        at: Time,
        /// Why, by the name of RFC 5280.
        reason: &'static str,
    },
    /// The token names an authority that is not the subject of the certificate.
    AuthorityName,
    /// No chain leads from the authority to a trust anchor: somebody else's token.
    NotAnchored {
        /// The subject of the authority's certificate.
        authority: String,
    },
    /// A chain was looked for too long: too many certificates of the same name.
    TooManyCertificates,
}

impl VerifyError {
    pub(crate) fn unsupported(of: Role, oid: ObjectIdentifier) -> Self {
        Self::UnsupportedAlgorithm { of, oid }
    }
}

impl From<DerError> for VerifyError {
    fn from(error: DerError) -> Self {
        Self::Der(error)
    }
}

impl std::fmt::Display for VerifyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Der(error) => write!(f, "not a time-stamp token: {error}"),
            Self::TooLarge { size } => {
                write!(f, "a token of {size} bytes; at most {} are read", crate::MAX_TOKEN)
            }
            Self::NotATimeStamp { found } => write!(f, "not a time-stamp token: content type {found}"),
            Self::Signers { found } => write!(f, "{found} signers; a time-stamp token has exactly one"),
            Self::AttributeMissing { attribute } => write!(f, "the token has no {attribute}"),
            Self::WrongImprint { expected, found } => {
                write!(f, "the token stamps something else: {found}, not {expected}")
            }
            Self::AlteredInfo => f.write_str("the token's content was altered: it is not what was signed"),
            Self::WrongPolicy { found } => write!(f, "the token's policy, {found}, is not one asked for"),
            Self::CriticalExtension { of, oid } => {
                write!(f, "{of} has the critical extension {oid}, which is not known here")
            }
            Self::InTheFuture { time, now } => write!(f, "the token's time, {time}, lies after now, {now}"),
            Self::UnsupportedAlgorithm { of, oid } => {
                write!(f, "{of} uses the algorithm {oid}, which is not accepted here")
            }
            Self::BadKey { of, why } => write!(f, "the key in {of}: {why}"),
            Self::SignerCertificateMissing => f.write_str(
                "the signer's certificate is not in the token: give it along (it was perhaps not asked for)",
            ),
            Self::CertificateBinding => f.write_str("the token was signed for another certificate"),
            Self::BadSignature { of } => write!(f, "the signature of {of} does not verify"),
            Self::WrongPurpose { of, why } => write!(f, "{of} is not for this purpose: {why}"),
            Self::Expired { of, until } => {
                write!(f, "{of} had expired at the token's time: it was valid until {until}")
            }
            Self::NotYetValid { of, from } => {
                write!(f, "{of} was not yet valid at the token's time: it is valid from {from}")
            }
            Self::Revoked { of, at, reason } => write!(f, "{of} was revoked at {at}: {reason}"),
            Self::AuthorityName => f.write_str("the token names an authority that its certificate does not"),
            Self::NotAnchored { authority } => {
                write!(
                    f,
                    "another authority's token: nothing leads from {authority} to a trusted certificate"
                )
            }
            Self::TooManyCertificates => f.write_str("too many certificates of the same names"),
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Der(error) => Some(error),
            _ => None,
        }
    }
}
