//! The policy of an HTTP endpoint, without the I/O: who may call, what is taken, and which status says what.

use subtle::ConstantTimeEq;

use crate::envelope::{Call, Form, Reply, parse, reply};
use crate::limits::MAX_REQUEST;
use crate::{Fault, Method};

/// What an endpoint asks of its callers.
#[derive(Clone)]
pub struct Policy(Access);

#[derive(Clone)]
enum Access {
    /// Whoever shows the token. Its hash is kept, and hashes are compared: they are of one length, and comparing
    /// them takes the same time wherever they differ.
    Token(blake3::Hash),
    /// Everybody may read, nobody may write: no token was configured.
    ReadOnly,
    /// Everybody: something in front of the endpoint decides.
    Open,
    /// Nobody: the configuration makes no sense.
    Broken(&'static str),
}

/// The head of a request, as far as the policy looks at it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// Method, in capitals.
    pub method: &'a str,
    /// Path, with or without a query.
    pub path: &'a str,
    /// `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// `content-encoding`.
    pub content_encoding: Option<&'a [u8]>,
    /// `content-length`.
    pub content_length: Option<u64>,
    /// `authorization`.
    pub authorization: Option<&'a [u8]>,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Read the body, at most [`MAX_REQUEST`] bytes, and [`Policy::admit_call`] it.
    Call,
    /// Say whether the store can be opened and read.
    Health,
    /// Send this.
    Refused(Refusal),
}

/// A refusal with the headers that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The answer.
    pub reply: Reply,
    /// A header, by name and value.
    pub header: Option<(&'static str, &'static str)>,
}

impl Refusal {
    fn new(status: u16, text: &str) -> Self {
        Self { reply: Reply::text(status, text), header: None }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The body is larger than a call may be.
    pub fn too_large() -> Self {
        Self::new(413, &format!("the body is too large: a call has at most {MAX_REQUEST} bytes"))
    }

    /// The body ended early.
    pub fn cut_short() -> Self {
        Self::new(400, "the body ended early")
    }
}

impl Policy {
    /// From the values of `SECURE_LOG_RPC_TOKEN` and `SECURE_LOG_RPC_AUTH`.
    pub fn from_settings(token: Option<&str>, auth: Option<&str>) -> Self {
        Self(match (token, auth) {
            (None | Some(""), Some("none")) => Access::Open,
            (Some(token), Some("none")) if !token.is_empty() => Access::Broken(
                "SECURE_LOG_RPC_AUTH=none and SECURE_LOG_RPC_TOKEN contradict each other: unset one",
            ),
            (_, Some(auth)) if !auth.is_empty() && auth != "none" => {
                Access::Broken("SECURE_LOG_RPC_AUTH has one value, `none`; unset it to ask for the token")
            }
            (None | Some(""), _) => Access::ReadOnly,
            (Some(token), _) if !token.bytes().all(|b| b.is_ascii_graphic()) => Access::Broken(
                "SECURE_LOG_RPC_TOKEN holds characters that no header can carry: use letters, digits and -._~+/=",
            ),
            (Some(token), _) => Access::Token(blake3::hash(token.as_bytes())),
        })
    }

    /// What to do with a request, by its head alone.
    pub fn admit(&self, head: &Head<'_>) -> Admission {
        let path = head.path.split('?').next().unwrap_or_default();
        if path == "/healthz" {
            return match (head.method, &self.0) {
                ("GET" | "HEAD", Access::Broken(why)) => Admission::Refused(not_set_up(why)),
                ("GET" | "HEAD", _) => Admission::Health,
                _ => Admission::Refused(Refusal::new(405, "GET /healthz").with("allow", "GET, HEAD")),
            };
        }
        match self.check(head) {
            Ok(()) => Admission::Call,
            Err(refusal) => Admission::Refused(refusal),
        }
    }

    fn check(&self, head: &Head<'_>) -> Result<(), Refusal> {
        if head.method != "POST" {
            return Err(Refusal::new(405, "a call is a POST; see GET /healthz for a sign of life")
                .with("allow", "POST"));
        }
        match &self.0 {
            Access::Broken(why) => return Err(not_set_up(why)),
            Access::Token(expected) if !shows(head.authorization, expected) => {
                let text = match head.authorization {
                    None => "a token is needed: send `Authorization: Bearer <token>`",
                    Some(_) => "this token is not the one that the endpoint asks for",
                };
                return Err(Refusal::new(401, text).with("www-authenticate", "Bearer"));
            }
            _ => {}
        }
        if !head.content_type.is_some_and(is_json) {
            return Err(Refusal::new(415, "the body is JSON: send `Content-Type: application/json`"));
        }
        if head.content_encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
            return Err(Refusal::new(415, "send the body without a Content-Encoding"));
        }
        if head.content_length.is_some_and(|length| length > MAX_REQUEST as u64) {
            return Err(Refusal::too_large());
        }
        Ok(())
    }

    /// Takes a body apart, and lets pass what this caller may do.
    ///
    /// # Errors
    ///
    /// The answer to what is no call, or not allowed.
    pub fn admit_call<'a>(&self, body: &'a [u8]) -> Result<Call<'a>, Reply> {
        let call = parse(body).map_err(|(form, fault)| reply(&form, Err(fault)))?;
        if call.method.writes() && matches!(self.0, Access::ReadOnly) {
            let why = secure_log::Error::Denied(
                "this endpoint takes no writes: it has no token. Set SECURE_LOG_RPC_TOKEN at the endpoint, or \
                 SECURE_LOG_RPC_AUTH=none where something in front of it decides who may call"
                    .into(),
            );
            return Err(Reply { status: 503, ..reply(&call.form, Err(Fault::Store(why))) });
        }
        Ok(call)
    }
}

/// The answer of `GET /healthz`. Errors are for whoever runs the endpoint, not for whoever asks: it has no token.
pub fn health(outcome: &Result<(), Fault>) -> Reply {
    match outcome {
        Ok(()) => Reply { status: 200, json: true, body: br#"{"status":"ok"}"#.to_vec() },
        Err(_) => Reply {
            status: 503,
            json: true,
            body: br#"{"status":"unavailable","reason":"the store cannot be read; the endpoint's log says why"}"#
                .to_vec(),
        },
    }
}

/// The call that `GET /healthz` makes.
pub const HEALTH_CALL: (Method, &str) = (Method::Head, r#"["_log"]"#);

/// The answer where the endpoint's own store cannot be opened.
pub fn not_opened(form: &Form, error: secure_log::Error) -> Reply {
    Reply { status: 503, ..reply(form, Err(Fault::Store(error))) }
}

fn not_set_up(why: &str) -> Refusal {
    Refusal::new(503, &format!("the endpoint is not set up: {why}"))
}

fn shows(authorization: Option<&[u8]>, expected: &blake3::Hash) -> bool {
    let Some((scheme, token)) = authorization.and_then(|value| value.split_at_checked(7)) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ")
        && bool::from(blake3::hash(token.trim_ascii()).as_bytes().ct_eq(expected.as_bytes()))
}

fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    [&b"application/json"[..], b"application/json-rpc", b"application/jsonrequest"]
        .iter()
        .any(|json| essence.eq_ignore_ascii_case(json))
}
