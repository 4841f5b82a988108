//! Errors, by what the caller must do. The same cases cross every seam.

use std::fmt;

use crate::model::StreamHead;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An expectation that did not hold: re-read the head and decide again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Stream (or object) concerned.
    pub stream_id: String,
    /// Its head now, if it has one.
    pub actual: Option<StreamHead>,
    /// What was expected.
    pub reason: String,
}

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What: `stream`, `entry`, `payload`, `segment`, `checkpoint`, `key` …
    pub what: String,
    /// Its name, or the stream it was looked for in.
    pub name: String,
    /// Its number, where it has one.
    pub number: Option<u64>,
    /// Why it is not there and what to do.
    pub reason: String,
}

/// Stored data that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// Stream in which it shows.
    pub stream_id: String,
    /// First entry that does not hold; 0 where it is not about one entry.
    pub seqno: u64,
    /// What does not hold.
    pub reason: String,
}

/// An argument that was refused; nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidArgument {
    /// The argument or field.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The log is not where a note says it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Size that the note claims.
    pub claimed_size: u64,
    /// Root that the note claims.
    pub claimed_root: [u8; 32],
    /// Size of `_log` here.
    pub size: u64,
    /// Root here at the smaller of the two sizes.
    pub root: [u8; 32],
    /// What differs.
    pub reason: String,
}

/// What stands between a sealed payload and its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    /// The keystore has no key of this name.
    Lost,
    /// The keystore has a key of this name, and it is another one.
    Wrong,
    /// The domain has another key since, and this data key was not wrapped under it.
    Rotated,
    /// The key was destroyed: the data is erased.
    Destroyed,
}

impl KeyProblem {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Wrong, Self::Rotated, Self::Destroyed];

    /// Name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Wrong => "wrong",
            Self::Rotated => "rotated",
            Self::Destroyed => "destroyed",
        }
    }

    /// The problem of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|problem| problem.name() == name)
    }
}

/// A payload that is sealed and cannot be opened, or cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPayload {
    /// Stream.
    pub stream_id: String,
    /// Entry; 0 where a new one was to be sealed.
    pub seqno: u64,
    /// Name of the key-encryption key.
    pub key: String,
    /// What is wrong with it.
    pub problem: KeyProblem,
    /// The same in words, and what to do.
    pub reason: String,
}

/// Errors, by what the caller must do (`log-error` in `wit/log.wit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Somebody else was first: re-read and decide again.
    Conflict(Conflict),
    /// It is not there.
    NotFound(Missing),
    /// Stop: stored data does not hold.
    Corrupt(Corruption),
    /// Stop: the log is behind or beside a checkpoint that it signed before.
    RolledBack(Box<Rollback>),
    /// Try again later: another process holds the store.
    Busy(String),
    /// Not allowed; trying again does not help.
    Denied(String),
    /// Correct the call.
    Invalid(InvalidArgument),
    /// Get the key: a payload is sealed and cannot be opened, or cannot be sealed.
    Sealed(Box<SealedPayload>),
    /// The backend cannot be reached; whether the call took effect is unknown.
    Unavailable(String),
    /// The backend failed.
    Storage(String),
}

impl Error {
    /// `invalid`: `field` is not usable because of `reason`.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid(InvalidArgument { field: field.into(), reason: reason.into() })
    }

    /// `corrupt`: entry `seqno` of `stream_id` does not hold (0: not about one entry).
    pub fn corrupt(stream_id: impl Into<String>, seqno: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt(Corruption { stream_id: stream_id.into(), seqno, reason: reason.into() })
    }

    /// `not-found`: `what` called `name`, number `number`.
    pub fn not_found(
        what: impl Into<String>,
        name: impl Into<String>,
        number: Option<u64>,
        reason: impl Into<String>,
    ) -> Self {
        Self::NotFound(Missing { what: what.into(), name: name.into(), number, reason: reason.into() })
    }

    /// `conflict`: the expectation about `stream_id` did not hold; `actual` is its head.
    pub fn conflict(
        stream_id: impl Into<String>,
        actual: Option<StreamHead>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Conflict(Conflict { stream_id: stream_id.into(), actual, reason: reason.into() })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(c) => {
                write!(f, "conflict on {:?}: {}", c.stream_id, c.reason)?;
                match &c.actual {
                    Some(head) => write!(f, " (its head is {})", head.seqno),
                    None => Ok(()),
                }
            }
            Self::NotFound(m) => {
                write!(f, "{} {:?}", m.what, m.name)?;
                if let Some(n) = m.number {
                    write!(f, " number {n}")?;
                }
                write!(f, " not found: {}", m.reason)
            }
            Self::Corrupt(c) if c.seqno == 0 => {
                write!(f, "stream {:?} is corrupt: {}", c.stream_id, c.reason)
            }
            Self::Corrupt(c) => {
                write!(f, "entry {} of stream {:?} is corrupt: {}", c.seqno, c.stream_id, c.reason)
            }
            Self::RolledBack(r) => write!(
                f,
                "the log was rolled back or replaced: the note has size {}, the log {}: {}",
                r.claimed_size, r.size, r.reason
            ),
            Self::Busy(s) => write!(f, "busy: {s}"),
            Self::Denied(s) => write!(f, "denied: {s}"),
            Self::Invalid(i) => write!(f, "invalid {}: {}", i.field, i.reason),
            Self::Sealed(s) if s.seqno == 0 => {
                write!(f, "stream {:?} cannot be sealed: key {:?}: {}", s.stream_id, s.key, s.reason)
            }
            Self::Sealed(s) => write!(
                f,
                "entry {} of stream {:?} is sealed: key {:?}: {}",
                s.seqno, s.stream_id, s.key, s.reason
            ),
            Self::Unavailable(s) => write!(f, "unavailable: {s}"),
            Self::Storage(s) => write!(f, "storage: {s}"),
        }
    }
}

impl std::error::Error for Error {}
