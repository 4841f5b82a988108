//! What a call can end in besides a result, as a JSON-RPC error object and as an HTTP status.

use std::fmt;

use secure_log::Error;
use serde::{Deserialize, Serialize};

use crate::wire::ErrorData;

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The store said so.
    Store(Error),
    /// The body is not JSON.
    Parse(String),
    /// The body is not a request.
    Request(String),
    /// There is no such method.
    Method(String),
    /// The arguments are not those of the method.
    Params(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Parse(text) => write!(f, "the body is not JSON: {text}"),
            Self::Request(text) => write!(f, "not a request: {text}"),
            Self::Method(name) => write!(f, "there is no method {name:?}"),
            Self::Params(text) => write!(f, "wrong params: {text}"),
        }
    }
}

/// The error object of JSON-RPC 2.0 (§5.1). `data` is the store's error; those of the protocol have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// What happened: see [`Fault::code`].
    pub code: i64,
    /// The same for people.
    pub message: String,
    /// The store's error with all its fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ErrorData>,
}

impl Fault {
    /// Code of the error object: those of JSON-RPC 2.0 for its own errors, −32001 and below for the store's.
    pub fn code(&self) -> i64 {
        match self {
            Self::Parse(_) => -32700,
            Self::Request(_) => -32600,
            Self::Method(_) => -32601,
            Self::Params(_) => -32602,
            Self::Store(error) => match error {
                Error::Conflict(_) => -32001,
                Error::NotFound(_) => -32002,
                Error::Corrupt(_) => -32003,
                Error::RolledBack(_) => -32004,
                Error::Busy(_) => -32005,
                Error::Denied(_) => -32006,
                Error::Invalid(_) => -32007,
                Error::Unavailable(_) => -32008,
                Error::Sealed(_) | Error::Storage(_) => -32009,
            },
        }
    }

    /// HTTP status of an answer in the short form.
    pub fn status(&self) -> u16 {
        match self {
            Self::Parse(_) | Self::Request(_) | Self::Params(_) => 400,
            Self::Method(_) => 404,
            Self::Store(error) => match error {
                Error::Invalid(_) => 400,
                Error::Denied(_) => 403,
                Error::NotFound(_) => 404,
                Error::Conflict(_) => 409,
                Error::Corrupt(_) | Error::RolledBack(_) => 422,
                Error::Sealed(_) | Error::Storage(_) => 500,
                Error::Unavailable(_) => 502,
                Error::Busy(_) => 503,
            },
        }
    }

    /// The error object.
    pub fn to_object(&self) -> ErrorObject {
        let data = match self {
            Self::Store(error) => Some(error.into()),
            _ => None,
        };
        ErrorObject { code: self.code(), message: self.to_string(), data }
    }
}

/// What an HTTP status says where there is no error object: the far end speaks the short form, or something stands in
/// front of it.
pub(crate) fn from_status(status: u16, text: &str) -> Error {
    let text = || match text.trim() {
        "" => format!("the far end answered {status}"),
        text => excerpt(text),
    };
    match status {
        400 => Error::invalid("call", text()),
        401 | 403 => Error::Denied(text()),
        404 => Error::not_found("store", "", None, text()),
        409 => Error::conflict("", None, text()),
        413 => Error::invalid("call", format!("too large for the far end: {}", text())),
        422 => Error::corrupt("", 0, text()),
        429 | 503 => Error::Busy(text()),
        408 | 502 | 504 => Error::Unavailable(text()),
        200..=399 => Error::corrupt("", 0, text()),
        _ => Error::Storage(text()),
    }
}

/// Error texts of others are shown in part: they may be whole pages.
pub(crate) fn excerpt(text: &str) -> String {
    const MOST: usize = 400;
    let mut short: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST + 1).collect();
    if short.chars().count() > MOST {
        short.pop();
        short.push('…');
    }
    short
}
