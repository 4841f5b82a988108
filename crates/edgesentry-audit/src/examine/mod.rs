//! Files that a log or a device handed out, examined as they come in: for pages and programs that show an auditor what
//! holds, what does not, and where.
//!
//! The checks are those of [`secure_log::export`], [`crate::evidence`], [`secure_log::proof_file`] and
//! [`crate::integrity`]; this goes on after the first thing that does not hold where that makes sense, and keeps what
//! there is to show. The Rust face of `edgesentry:audit/examiner`.

mod bundle;
mod export;
mod found;
mod model;
mod path;
mod pieces;
mod proof;
mod records;

use crate::evidence::Trust;
use found::Found;
use pieces::{Lines, Values};

pub use model::{
    Count, DocumentKind, Finding, Item, MerklePath, SegmentMark, Signature, Standing, StreamSummary, Summary,
};

/// Most items that one call of [`Examiner::items`] returns.
pub const MAX_ITEMS: usize = 1000;
/// Most bytes of payloads that are kept to be shown.
pub const MAX_KEPT: usize = 64 << 20;
/// Most bytes of a payload that are shown.
pub const MAX_SHOWN: usize = 64 << 10;
/// Most findings that are told one by one.
pub const MAX_FINDINGS: usize = 100;

/// What every kind of file begins with: enough to tell them apart.
const FIRST: usize = 64;
const EXPECTED: &str = "this is none of the files that can be examined: an export of a log (eds log export), an evidence \
                        bundle (eds audit bundle), a .tlog-proof file, or signed records as JSON";

/// Examines one file.
pub struct Examiner {
    found: Found,
    reader: Reader,
}

enum Reader {
    Start { bytes: Vec<u8>, trust: Trust },
    Export { lines: Lines, export: Box<export::Export> },
    Bundle { lines: Lines, bundle: Box<bundle::Bundle> },
    Proof { bytes: Vec<u8>, trust: Trust },
    Records { values: Values, records: Box<records::Records> },
    Alien,
}

impl Examiner {
    /// Begins with a file, by what the caller trusts. Keys are taken as they are: what cannot be read makes the file's
    /// signatures fail, so callers parse them first.
    pub fn new(trust: Trust) -> Self {
        Self { found: Found::default(), reader: Reader::Start { bytes: Vec::new(), trust } }
    }

    /// Takes the next bytes of the file. Returns how many items there are.
    pub fn feed(&mut self, bytes: &[u8]) -> u64 {
        match &mut self.reader {
            Reader::Start { bytes: start, .. } => {
                start.extend_from_slice(bytes);
                if start.trim_ascii_start().len() >= FIRST {
                    self.choose();
                }
            }
            Reader::Export { lines, export } => {
                lines.feed(bytes, |line, text| export.line(line, text, &mut self.found));
            }
            Reader::Bundle { lines, bundle } => {
                lines.feed(bytes, |line, text| bundle.line(line, text, &mut self.found));
            }
            Reader::Proof { bytes: file, .. } => {
                // One byte too many is enough to be refused.
                let room = (secure_log::proof_file::MAX_PROOF_FILE + 1).saturating_sub(file.len());
                file.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Reader::Records { values, records } => {
                values.feed(bytes, |line, value| records.value(line, value, &mut self.found));
            }
            Reader::Alien => {}
        }
        self.found.items.len() as u64
    }

    /// Looks at the first bytes.
    fn choose(&mut self) {
        let Reader::Start { bytes, trust } = &mut self.reader else { return };
        let (bytes, trust) = (std::mem::take(bytes), std::mem::take(trust));
        let start = bytes.trim_ascii_start();
        let member = |name: &str| {
            let key = start.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
            key.is_some_and(|key| key.starts_with(format!("\"{name}\"").as_bytes()))
        };
        self.reader = if member("secure-log-export") {
            Reader::Export { lines: Lines::default(), export: Box::new(export::Export::new(&trust)) }
        } else if member("evidence-bundle") {
            Reader::Bundle { lines: Lines::default(), bundle: Box::new(bundle::Bundle::new(trust)) }
        } else if bytes.starts_with(secure_log::proof_file::FIRST_LINE.as_bytes()) {
            Reader::Proof { bytes: Vec::new(), trust }
        } else if matches!(start.first(), Some(b'[' | b'{')) {
            Reader::Records {
                values: Values::default(),
                records: Box::new(records::Records::new(&trust.device_keys)),
            }
        } else {
            Reader::Alien
        };
        self.feed(&bytes);
    }

    /// The file ends here; an error says what was expected.
    pub fn finish(&mut self) -> Result<Summary, String> {
        self.choose();
        let found = &mut self.found;
        let summary = match std::mem::replace(&mut self.reader, Reader::Alien) {
            Reader::Start { .. } | Reader::Alien => return Err(EXPECTED.into()),
            Reader::Export { mut lines, mut export } => {
                lines.end(|line, text| export.line(line, text, found));
                export.finish(found)
            }
            Reader::Bundle { mut lines, mut bundle } => {
                lines.end(|line, text| bundle.line(line, text, found));
                bundle.finish(found)
            }
            Reader::Proof { bytes, trust } => proof::examine(&bytes, &trust, found),
            Reader::Records { mut values, records } => {
                let line = values.line();
                if let Some(reason) = values.end() {
                    found.broken(None, Some(line), format!("line {line}: {reason}"));
                }
                records.finish(found)
            }
        };
        Ok(summary)
    }

    /// Items `first` onwards, at most [`MAX_ITEMS`].
    pub fn items(&self, first: u64, limit: u32) -> Vec<Item> {
        let first = usize::try_from(first).unwrap_or(usize::MAX).min(self.found.items.len());
        let limit = (limit as usize).min(MAX_ITEMS).min(self.found.items.len() - first);
        (first..first + limit).map(|index| self.found.item(index)).collect()
    }

    /// The payload of an item as text, at most [`MAX_SHOWN`] bytes of it: UTF-8 as it is, else hex.
    pub fn payload(&self, item: u64) -> Option<String> {
        self.found.payload(usize::try_from(item).ok()?)
    }

    /// The way of an item up to a checkpoint.
    pub fn path(&self, item: u64) -> Option<MerklePath> {
        self.found.path(usize::try_from(item).ok()?)
    }
}
