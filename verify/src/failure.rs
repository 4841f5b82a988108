//! What a call into the component can end in, in words.

use std::fmt;

use crate::host::types::LogError;

/// A result of a call into the component.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A call that gave no value.
#[derive(Debug)]
pub enum Failure {
    /// The component answered with an error.
    Log(LogError),
    /// The component died. Its instance cannot be used any more.
    Trap(wasmtime::Error),
}

impl Failure {
    /// Name of the error's case in `log-error`, or `trap`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Log(error) => match error {
                LogError::Conflict(_) => "conflict",
                LogError::NotFound(_) => "not-found",
                LogError::Corrupt(_) => "corrupt",
                LogError::RolledBack(_) => "rolled-back",
                LogError::Busy(_) => "busy",
                LogError::Denied(_) => "denied",
                LogError::Invalid(_) => "invalid",
                LogError::Unavailable(_) => "unavailable",
                LogError::Storage(_) => "storage",
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Trap(trap) => return write!(f, "the component trapped: {trap:#}"),
            Self::Log(error) => error,
        };
        write!(f, "{}", self.kind())?;
        match error {
            LogError::Conflict(c) => {
                write!(f, " stream {:?}: {}", c.stream_id, c.reason)?;
                match &c.actual {
                    Some(head) => write!(f, " (its head is {})", head.seqno),
                    None => Ok(()),
                }
            }
            LogError::NotFound(m) => {
                write!(f, " {} {:?}", m.what, m.name)?;
                if let Some(number) = m.number {
                    write!(f, " number {number}")?;
                }
                write!(f, ": {}", m.reason)
            }
            LogError::Corrupt(c) => {
                write!(f, " stream {:?}", c.stream_id)?;
                if c.seqno > 0 {
                    write!(f, " seqno {}", c.seqno)?;
                }
                write!(f, ": {}", c.reason)
            }
            LogError::RolledBack(r) => {
                write!(f, ": the note says size {}, the log has {}: {}", r.claimed_size, r.size, r.reason)
            }
            LogError::Invalid(i) => write!(f, " {}: {}", i.field, i.reason),
            LogError::Busy(s) | LogError::Denied(s) | LogError::Unavailable(s) | LogError::Storage(s) => {
                write!(f, ": {s}")
            }
        }
    }
}

impl std::error::Error for Failure {}
