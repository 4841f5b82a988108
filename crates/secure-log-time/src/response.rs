//! Responses of an authority (RFC 3161 §2.4.2).

use der::Tag;
use der::asn1::{AnyRef, ObjectIdentifier};

use crate::asn1::{DerError, Fields, encoding, integer, malformed, whole};
use crate::error::VerifyError;
use crate::imprint::Imprint;
use crate::info::Info;
use crate::request::Request;
use crate::token::{MAX_TOKEN, Parts};

/// The media type of a response's body.
pub const RESPONSE_TYPE: &str = "application/timestamp-reply";

/// A token that answers a request. Whether its signature is right and its authority trusted: [`verify`](crate::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// TimeStampToken in DER: what is to be kept.
    pub der: Vec<u8>,
    /// What it says.
    pub info: Info,
    /// The authority granted the request with modifications (status grantedWithMods).
    pub modified: bool,
}

/// What an authority answers other than a token (RFC 3161 §2.4.2, PKIStatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The request is refused.
    Rejection,
    /// The request is not processed yet.
    Waiting,
    /// A revocation is imminent.
    RevocationWarning,
    /// A revocation has occurred.
    RevocationNotification,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rejection => "rejection",
            Self::Waiting => "waiting",
            Self::RevocationWarning => "revocationWarning",
            Self::RevocationNotification => "revocationNotification",
        })
    }
}

/// Why an authority refused (RFC 3161 §2.4.2, PKIFailureInfo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The hash function is not known to the authority, or not supported.
    BadAlg,
    /// The transaction is not permitted or supported.
    BadRequest,
    /// The data has the wrong format.
    BadDataFormat,
    /// The authority's time source is not available.
    TimeNotAvailable,
    /// The policy is not supported.
    UnacceptedPolicy,
    /// The extension is not supported.
    UnacceptedExtension,
    /// The additional information could not be understood, or is not available.
    AddInfoNotAvailable,
    /// The request cannot be handled: a failure of the authority.
    SystemFailure,
    /// A bit that RFC 3161 does not name.
    Other(u32),
}

impl Failure {
    fn from_bit(bit: u32) -> Self {
        match bit {
            0 => Self::BadAlg,
            2 => Self::BadRequest,
            5 => Self::BadDataFormat,
            14 => Self::TimeNotAvailable,
            15 => Self::UnacceptedPolicy,
            16 => Self::UnacceptedExtension,
            17 => Self::AddInfoNotAvailable,
            25 => Self::SystemFailure,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BadAlg => "badAlg",
            Self::BadRequest => "badRequest",
            Self::BadDataFormat => "badDataFormat",
            Self::TimeNotAvailable => "timeNotAvailable",
            Self::UnacceptedPolicy => "unacceptedPolicy",
            Self::UnacceptedExtension => "unacceptedExtension",
            Self::AddInfoNotAvailable => "addInfoNotAvailable",
            Self::SystemFailure => "systemFailure",
            Self::Other(bit) => return write!(f, "failure {bit}"),
        })
    }
}

/// Why a response is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// The HTTP status is not 200.
    Http {
        /// The status.
        status: u16,
    },
    /// The body is of another media type than [`RESPONSE_TYPE`]: a proxy's page perhaps.
    ContentType {
        /// The one that came.
        found: String,
    },
    /// The body is no response in DER, or bytes follow its end.
    Der(DerError),
    /// The authority did not grant the request.
    Refused {
        /// What it answers.
        status: Status,
        /// Why, by the names of the RFC.
        failures: Vec<Failure>,
        /// Why, in the authority's words, without control characters.
        text: String,
    },
    /// Granted, and yet without a token.
    TokenMissing,
    /// What came is no token.
    Token(VerifyError),
    /// The token does not answer the request: it stamps something else.
    WrongImprint,
    /// The token does not repeat the request's nonce: an answer to an older request, perhaps.
    WrongNonce,
    /// The token is of another policy than the request.
    WrongPolicy {
        /// The token's.
        found: ObjectIdentifier,
    },
    /// The certificate was asked for and is not in the token.
    CertificateMissing,
}

impl From<DerError> for AcceptError {
    fn from(error: DerError) -> Self {
        Self::Der(error)
    }
}

impl std::fmt::Display for AcceptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http { status } => write!(f, "the time-stamp authority answered HTTP {status}"),
            Self::ContentType { found } => {
                write!(f, "the time-stamp authority answered {found:?}, not {RESPONSE_TYPE}")
            }
            Self::Der(error) => write!(f, "not a time-stamp response: {error}"),
            Self::Refused { status, failures, text } => {
                write!(f, "the time-stamp authority answered {status}")?;
                failures.iter().try_for_each(|failure| write!(f, ", {failure}"))?;
                if text.is_empty() { Ok(()) } else { write!(f, ": {text}") }
            }
            Self::TokenMissing => f.write_str("granted, but there is no token"),
            Self::Token(error) => error.fmt(f),
            Self::WrongImprint => f.write_str("the token stamps something else than was asked for"),
            Self::WrongNonce => f.write_str("the token does not repeat the request's nonce"),
            Self::WrongPolicy { found } => write!(f, "the token's policy is {found}, not the one asked for"),
            Self::CertificateMissing => f.write_str("the certificate was asked for and is not in the token"),
        }
    }
}

impl std::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Der(error) => Some(error),
            Self::Token(error) => Some(error),
            _ => None,
        }
    }
}

/// Takes an authority's response to a request: HTTP status, media type (None: the transport has none) and body.
pub fn accept(
    request: &Request,
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Token, AcceptError> {
    if status != 200 {
        return Err(AcceptError::Http { status });
    }
    if let Some(found) = content_type
        && !found.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(RESPONSE_TYPE))
    {
        return Err(AcceptError::ContentType { found: printable(found, 100) });
    }
    if body.len() > MAX_TOKEN + 1024 {
        return Err(AcceptError::Token(VerifyError::TooLarge { size: body.len() }));
    }
    let mut fields = Fields::sequence(whole(body, "TimeStampResp")?, "TimeStampResp")?;
    let modified = granted(fields.next("status")?)?;
    let token = fields.rest()?;
    let token = match token.as_slice() {
        [] => return Err(AcceptError::TokenMissing),
        [token] => encoding(*token, "TimeStampToken")?,
        _ => return Err(DerError::TrailingBytes { what: "TimeStampResp" }.into()),
    };
    answers(request, token, modified)
}

/// Whether granted with modifications.
fn granted(value: AnyRef<'_>) -> Result<bool, AcceptError> {
    let mut fields = Fields::sequence(value, "PKIStatusInfo")?;
    let status = fields.number("status")?;
    let mut text = Vec::new();
    if let Some(strings) = fields.optional(Tag::Sequence, "statusString")? {
        for one in Fields::sequence(strings, "statusString")?.rest()? {
            text.push(printable(&String::from_utf8_lossy(one.value()), 500));
        }
    }
    let mut failures = Vec::new();
    if let Some(bits) = fields.optional(Tag::BitString, "failInfo")? {
        let Some((unused @ 0..8, bytes)) = bits.value().split_first() else {
            return Err(malformed("failInfo", "not a BIT STRING").into());
        };
        let count = (bytes.len() as u32).min(8) * 8;
        for bit in 0..count.saturating_sub(u32::from(*unused)) {
            if bytes[bit as usize / 8] & (0x80 >> (bit % 8)) != 0 {
                failures.push(Failure::from_bit(bit));
            }
        }
    }
    fields.end()?;
    let status = match status {
        0 => return Ok(false),
        1 => return Ok(true),
        2 => Status::Rejection,
        3 => Status::Waiting,
        4 => Status::RevocationWarning,
        5 => Status::RevocationNotification,
        _ => return Err(malformed("status", "not one of PKIStatus").into()),
    };
    Err(AcceptError::Refused { status, failures, text: text.join(" ") })
}

fn answers(request: &Request, der: Vec<u8>, modified: bool) -> Result<Token, AcceptError> {
    let parts = Parts::read(&der).map_err(AcceptError::Token)?;
    let info = Info::read(parts.content)?;
    if request.cert_req && parts.certificates.is_empty() {
        return Err(AcceptError::CertificateMissing);
    }
    let same = |imprint: &Imprint| *imprint == request.imprint;
    if !info.imprint.as_ref().is_ok_and(same) {
        return Err(AcceptError::WrongImprint);
    }
    // Without tag and length, which is one byte.
    let asked = request.nonce.map(|nonce| integer(&nonce.to_be_bytes())[2..].to_vec());
    if asked != info.nonce {
        return Err(AcceptError::WrongNonce);
    }
    if request.policy.is_some_and(|policy| policy != info.policy) {
        return Err(AcceptError::WrongPolicy { found: info.policy });
    }
    drop(parts);
    Ok(Token { der, info, modified })
}

/// At most `limit` characters of what somebody else wrote, without control characters.
fn printable(text: &str, limit: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(limit).collect()
}
