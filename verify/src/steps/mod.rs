//! The steps of a run, by subject. Each file knows one part of the log's promises.

pub mod append;
pub mod copy;
pub mod experiments;
pub mod prove;
pub mod read;
pub mod seal;
pub mod sign;

use crate::host::types::StreamHead;
use crate::launch::{Keys, Launcher, Session};
use crate::report::Report;
use crate::store_path::StorePath;
use crate::token::Token;

/// What steps share.
pub struct Run {
    /// Starts instances.
    pub launcher: Launcher,
    /// The log of this run.
    pub store: StorePath,
    /// Its signing keys.
    pub keys: Keys,
    /// The token that they are on, if they are on one.
    pub token: Option<Token>,
    /// Verifier keys to trust: the user's, then also the keystore's once they are known.
    pub trusted: Vec<String>,
    /// Part of the names of all streams that experiments make.
    pub id: String,
    /// Where results go.
    pub report: Report,
    /// What was appended in this run.
    pub appended: Appended,
}

/// What a run put into the log, to be found again.
#[derive(Default)]
pub struct Appended {
    /// Events in all.
    pub events: u64,
    /// Payload bytes in all.
    pub bytes: u64,
    /// Some of them, the first and the last included, with the payload that was given.
    pub samples: Vec<Sample>,
}

/// One appended event.
#[derive(Clone)]
pub struct Sample {
    /// Where it is.
    pub head: StreamHead,
    /// What was given.
    pub event: crate::host::types::Event,
}

impl Run {
    /// Streams of the log with at least one entry, the log's own included.
    pub fn heads(log: &mut Session) -> anyhow::Result<Vec<StreamHead>> {
        Ok(log.list_streams()?.into_iter().filter_map(|stream| stream.head).collect())
    }
}

/// `1 entry`, `2 entries`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_read_well() {
        assert_eq!(count(1, "entry", "entries"), "1 entry");
        assert_eq!(count(1_234_567, "entry", "entries"), "1,234,567 entries");
    }
}
