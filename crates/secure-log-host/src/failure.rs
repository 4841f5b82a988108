//! What a call into the component can end in, in words.

use std::fmt;
use std::time::Duration;

use edgesentry_audit::gate;

use crate::bindings::core::secure_log::log::types::LogError;

/// A result of a call into the component.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A call that gave no value.
#[derive(Debug)]
pub enum Failure {
    /// The component answered with an error.
    Log(LogError),
    /// Its gate could not do its work; nothing was accepted by the call.
    Gate(gate::Failure),
    /// The component has no such interface.
    NotExported(&'static str),
    /// The component died. Its instance cannot be used any more.
    Trap(wasmtime::Error),
    /// The call did not end in this time and was interrupted. The instance cannot be used any more.
    Deadline(Duration),
    /// The call needed more than so much fuel and was stopped. The instance cannot be used any more.
    Fuel(u64),
    /// The component needed more than so many bytes of memory and died. Its instance cannot be used any more.
    Memory(usize),
}

impl Failure {
    /// Whether the instance died of it: drop it and start another. What the call wrote may be there or not.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Trap(_) | Self::Deadline(_) | Self::Fuel(_) | Self::Memory(_))
    }

    /// Name of the error's case in `log-error`, or `gate`, `not-exported`, `trap`, `deadline`, `fuel`, `memory`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Deadline(_) => "deadline",
            Self::Fuel(_) => "fuel",
            Self::Memory(_) => "memory",
            Self::Gate(_) => "gate",
            Self::NotExported(_) => "not-exported",
            Self::Log(error) => match error {
                LogError::Conflict(_) => "conflict",
                LogError::NotFound(_) => "not-found",
                LogError::Corrupt(_) => "corrupt",
                LogError::RolledBack(_) => "rolled-back",
                LogError::Busy(_) => "busy",
                LogError::Denied(_) => "denied",
                LogError::Invalid(_) => "invalid",
                LogError::Sealed(_) => "sealed",
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
            Self::Deadline(time) => {
                return write!(f, "the component did not answer within {} s", time.as_secs_f32());
            }
            Self::Fuel(limit) => return write!(f, "the component needed more than {limit} units of fuel"),
            Self::Memory(limit) => {
                return write!(f, "the component needed more than {} MiB of memory", limit >> 20);
            }
            Self::Gate(failure) => return write!(f, "{failure}"),
            Self::NotExported(what) => return write!(f, "this component has no {what}"),
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
            LogError::Sealed(s) => {
                write!(f, " stream {:?}", s.stream_id)?;
                if s.seqno > 0 {
                    write!(f, " seqno {}", s.seqno)?;
                }
                write!(f, ": key {:?}: {}", s.key, s.reason)
            }
            LogError::Busy(s) | LogError::Denied(s) | LogError::Unavailable(s) | LogError::Storage(s) => {
                write!(f, ": {s}")
            }
        }
    }
}

impl std::error::Error for Failure {}
