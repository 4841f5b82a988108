//! What SQLite says, in the words of the store contract.

use rusqlite::ErrorCode;
use secure_log::error::Error;

/// What was being read or written, for errors about bad pages.
#[derive(Debug, Clone)]
pub struct At {
    /// Stream; empty where it is not about one.
    pub stream_id: String,
    /// Entry; 0 where it is not about one.
    pub seqno: u64,
}

impl At {
    /// The store as a whole.
    pub fn store() -> Self {
        Self { stream_id: String::new(), seqno: 0 }
    }

    /// A stream, from `seqno` on.
    pub fn entry(stream_id: &str, seqno: u64) -> Self {
        Self { stream_id: stream_id.to_owned(), seqno }
    }

    /// `Corrupt` here.
    pub fn corrupt(&self, reason: impl Into<String>) -> Error {
        Error::corrupt(&self.stream_id, self.seqno, reason)
    }
}

/// Maps an error of SQLite. Bound values never appear in it.
pub fn from_sqlite(error: rusqlite::Error, at: &At) -> Error {
    let rusqlite::Error::SqliteFailure(code, message) = &error else {
        return match error {
            rusqlite::Error::SqlInputError { msg, .. } => {
                at.corrupt(format!("the tables are not as expected: {msg}"))
            }
            rusqlite::Error::QueryReturnedNoRows
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => at.corrupt(error.to_string()),
            other => Error::Storage(other.to_string()),
        };
    };
    let text = message.clone().unwrap_or_else(|| code.to_string());
    let text = format!("SQLite: {text} (code {})", code.extended_code);
    match code.code {
        // Nothing that we write is too big, so what is says so about itself.
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TooBig => at.corrupt(text),
        ErrorCode::DiskFull => {
            Error::Storage(format!("disk full: {text}; nothing was written, free space and retry"))
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Busy(text),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            Error::Denied(text)
        }
        // A statement that the tables do not understand: somebody changed them.
        ErrorCode::Unknown if code.extended_code == rusqlite::ffi::SQLITE_ERROR => {
            at.corrupt(format!("the tables are not as expected: {text}"))
        }
        ErrorCode::ConstraintViolation => at.corrupt(format!("the tables contradict themselves: {text}")),
        _ => Error::Storage(text),
    }
}

/// Maps a failure of input or output, where the system says more than SQLite does.
pub fn with_errno(error: Error, errno: i32) -> Error {
    match error {
        Error::Storage(text) if errno != 0 => {
            let system = std::io::Error::from_raw_os_error(errno);
            let full =
                matches!(system.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
            if full && !text.starts_with("disk full") {
                Error::Storage(format!("disk full: {text}: {system}"))
            } else {
                Error::Storage(format!("{text}: {system}"))
            }
        }
        other => other,
    }
}
