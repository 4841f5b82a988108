//! The export: a whole log as one text file, verifiable in one pass without the log.
//!
//! JSON lines (`docs/format.md`, "Export"): what it is, the keys that signed (claims, not trust),
//! the checkpoints, then the entries of `_log`, then those of every other stream, then a line that
//! says how many there were. Checkpoints come first so that the reader can compare roots as the
//! entries pass by.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::domains::{Domains, Found, StreamRules};
use crate::error::{Error, Result};
use crate::header::{HeaderRef, entry_hash};
use crate::model::{Hash, ZERO_HASH};
use crate::note::{CheckpointBody, Note, Verified, VerifierKey};
use crate::record::{LOG_STREAM, Record};
use crate::tree::{Frontier, leaf_hash};

/// Version of the export format.
pub const EXPORT_VERSION: u32 = 1;

/// One line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Line {
    /// First line: format version and name of the log.
    SecureLogExport {
        /// [`EXPORT_VERSION`].
        version: u32,
        /// Name of the log.
        origin: String,
    },
    /// A verifier key that signed checkpoints. A claim of whoever made the export.
    Key(String),
    /// A signed checkpoint note, oldest first.
    Checkpoint(String),
    /// An entry: `_log` from 1 on, then the other streams, each from 1 on.
    Entry {
        /// Canonical header, base64.
        header: String,
        /// Stored payload (salt and all), base64; absent if it is kept elsewhere or erased.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<String>,
    },
    /// Last line.
    End {
        /// Entry lines.
        entries: u64,
        /// Checkpoint lines.
        checkpoints: u64,
    },
}

impl Line {
    pub(crate) fn entry(header: &[u8], payload: Option<&[u8]>) -> Self {
        Self::Entry { header: BASE64.encode(header), payload: payload.map(|p| BASE64.encode(p)) }
    }

    /// The line, with its newline.
    pub fn to_text(&self) -> Result<String> {
        let mut text = serde_json::to_string(self).map_err(|e| Error::Storage(format!("export: {e}")))?;
        text.push('\n');
        Ok(text)
    }
}

/// What an export holds and what was checked; only returned when all of it held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExportReport {
    /// Name of the log.
    pub origin: String,
    /// Checkpoints, each signed by a trusted key.
    pub checkpoints: u64,
    /// Signatures by trusted keys.
    pub signatures_verified: u64,
    /// Signatures by other keys: not checked.
    pub signatures_unknown: u64,
    /// Streams, without `_log`.
    pub streams: u64,
    /// Segments recorded in `_log`.
    pub segments: u64,
    /// Entries, with those of `_log`.
    pub entries: u64,
    /// Entries of `_log` after the newest checkpoint.
    pub log_entries_unsigned: u64,
    /// Entries of other streams that no signed segment covers.
    pub entries_uncovered: u64,
    /// Payloads whose hash was checked.
    pub payloads_checked: u64,
    /// Payloads kept elsewhere: not checked.
    pub payloads_elsewhere: u64,
    /// Payloads that are not there since they were erased, as `_log` records.
    pub payloads_erased: u64,
}

/// What `_log` says of a stream whose entries are still to come.
#[derive(Default)]
struct Pending {
    /// Size, root, head hash and number of each segment.
    segments: Vec<(u64, Hash, Hash, u64)>,
    /// Size of the last segment that a checkpoint covers.
    signed: u64,
    /// Size and head hash at which the stream ended.
    end: Option<(u64, Hash)>,
    /// Last entry whose payload was erased.
    erased: u64,
}

/// Checks an export line by line.
pub struct ExportVerifier {
    /// `None`: signatures are not checked.
    trusted: Option<Vec<VerifierKey>>,
    report: ExportReport,
    verified: Verified,
    /// Size, root and number of the checkpoints not yet reached.
    checkpoints: std::collections::VecDeque<(u64, Hash, u64)>,
    signed_size: u64,
    last_checkpoint: u64,
    streams: BTreeMap<String, Pending>,
    domains: Domains,
    current: Option<Current>,
    lines: u64,
    ended: bool,
}

struct Current {
    stream_id: String,
    prev: Hash,
    tree: Frontier,
    /// Segments still to come, last first.
    segments: Vec<(u64, Hash, Hash, u64)>,
    signed: u64,
    end: Option<(u64, Hash)>,
    erased: u64,
    rules: StreamRules,
}

impl ExportVerifier {
    /// A verifier that trusts these keys.
    pub fn new(trusted: &[String]) -> Result<Self> {
        Ok(Self::with(Some(crate::native::parse_trusted(trusted)?)))
    }

    /// A verifier that trusts nobody: it checks all but signatures, and the report says that it verified none. Such an
    /// export hangs together; who made it is not shown.
    pub fn without_keys() -> Self {
        Self::with(None)
    }

    fn with(trusted: Option<Vec<VerifierKey>>) -> Self {
        Self {
            trusted,
            report: ExportReport::default(),
            verified: Verified::default(),
            checkpoints: Default::default(),
            signed_size: 0,
            last_checkpoint: 0,
            streams: BTreeMap::new(),
            domains: Domains::default(),
            current: None,
            lines: 0,
            ended: false,
        }
    }

    fn bad(&self, reason: impl std::fmt::Display) -> Error {
        Error::invalid("export", format!("line {}: {reason}", self.lines))
    }

    /// Takes the next line, without its newline.
    pub fn line(&mut self, text: &str) -> Result<()> {
        match serde_json::from_str(text) {
            Ok(line) => self.take(line),
            Err(e) => {
                self.lines += 1;
                Err(self.bad(e))
            }
        }
    }

    /// Takes the next line, parsed.
    pub fn take(&mut self, line: Line) -> Result<()> {
        self.lines += 1;
        if self.ended {
            return Err(self.bad("there is more after the last line"));
        }
        match line {
            Line::SecureLogExport { version, origin } => {
                if self.lines != 1 {
                    return Err(self.bad("a second export begins here"));
                }
                if version != EXPORT_VERSION {
                    return Err(self.bad(format!("version {version} is not known here; {EXPORT_VERSION} is")));
                }
                self.report.origin = origin;
                Ok(())
            }
            _ if self.lines == 1 => Err(self.bad("is not an export of a log")),
            Line::Key(_) => Ok(()),
            Line::Checkpoint(note) => self.checkpoint(&note),
            Line::Entry { header, payload } => {
                let decode = |s: &str| BASE64.decode(s).map_err(|_| self.bad("is not base64"));
                let header = decode(&header)?;
                let payload = payload.as_deref().map(decode).transpose()?;
                self.entry(&header, payload.as_deref())
            }
            Line::End { entries, checkpoints } => {
                if (entries, checkpoints) != (self.report.entries, self.report.checkpoints) {
                    return Err(self.bad(format!(
                        "the export should have {entries} entries and {checkpoints} checkpoints, and has {} and {}",
                        self.report.entries, self.report.checkpoints
                    )));
                }
                self.ended = true;
                Ok(())
            }
        }
    }

    fn checkpoint(&mut self, note: &str) -> Result<()> {
        if self.report.entries > 0 {
            return Err(self.bad("a checkpoint stands after the entries"));
        }
        let note = Note::parse(note).map_err(|e| self.bad(e))?;
        let number = self.report.checkpoints + 1;
        let body = CheckpointBody::parse(&note.text).map_err(|e| self.bad(e))?;
        let verified = match &self.trusted {
            None => Verified { trusted: 0, unknown: note.signatures.len() as u64 },
            Some(trusted) => note.verify_origin(&body.origin, trusted).map_err(|e| match e {
                Error::Denied(reason) => Error::Denied(format!("checkpoint {number}: {reason}")),
                other => other,
            })?,
        };
        self.verified.trusted += verified.trusted;
        self.verified.unknown += verified.unknown;
        if body.origin != self.report.origin {
            return Err(self.bad(format!("the checkpoint is of the log {:?}", body.origin)));
        }
        if body.size < self.last_checkpoint || body.size == 0 {
            return Err(self.bad("the checkpoint is smaller than the one before"));
        }
        self.last_checkpoint = body.size;
        self.signed_size = body.size;
        self.checkpoints.push_back((body.size, body.root, number));
        self.report.checkpoints = number;
        Ok(())
    }

    /// Begins with the entries of a stream, unless it has: an error is about the stream that ends with this, as its
    /// name says, or about this one.
    pub fn enter(&mut self, stream_id: &str) -> Result<()> {
        match &self.current {
            Some(current) if current.stream_id == stream_id => Ok(()),
            _ => self.begin_stream(stream_id),
        }
    }

    /// Gives up the stream in which something did not hold, to go on with the others; its further entries are
    /// [passed over](Self::pass_over).
    pub fn give_up_stream(&mut self) {
        self.current = None;
        self.report.entries += 1;
    }

    /// Counts a line with an entry that is not checked.
    pub fn pass_over(&mut self) {
        self.lines += 1;
        self.report.entries += 1;
    }

    fn finish_stream(&mut self) -> Result<()> {
        let Some(done) = self.current.take() else { return Ok(()) };
        let size = done.tree.size();
        if done.stream_id == LOG_STREAM {
            if let Some((at, _, number)) = self.checkpoints.front() {
                return Err(Error::corrupt(
                    LOG_STREAM,
                    size + 1,
                    format!("checkpoint {number} covers {at} entries, but only {size} are there"),
                ));
            }
            self.report.log_entries_unsigned = size - self.signed_size.min(size);
            return Ok(());
        }
        if let Some((at, _, _, id)) = done.segments.last() {
            return Err(Error::corrupt(
                done.stream_id,
                size + 1,
                format!("segment {id} covers {at} entries, but only {size} are there"),
            ));
        }
        if let Some((end, head)) = done.end
            && (size, done.prev) != (end, head)
        {
            return Err(Error::corrupt(
                done.stream_id,
                size.min(end) + u64::from(size != end),
                format!(
                    "`_log` recorded that the stream ended at entry {end}, and here it ends at {size}, or otherwise"
                ),
            ));
        }
        if done.erased > size {
            return Err(Error::corrupt(
                done.stream_id,
                done.erased,
                "`_log` records its erasure, and it is not there",
            ));
        }
        self.report.entries_uncovered += size - done.signed.min(size);
        Ok(())
    }

    fn begin_stream(&mut self, stream_id: &str) -> Result<()> {
        self.finish_stream()?;
        let Pending { mut segments, signed, end, erased } = match (stream_id, self.report.entries) {
            (LOG_STREAM, 0) => Pending::default(),
            (LOG_STREAM, _) => return Err(self.bad("`_log` must come before the other streams, once")),
            (_, 0) => return Err(self.bad("`_log` must come first")),
            _ => match self.streams.remove(stream_id) {
                Some(pending) => pending,
                None => {
                    return Err(Error::corrupt(
                        stream_id,
                        1,
                        "`_log` does not know the stream, or it comes twice",
                    ));
                }
            },
        };
        segments.reverse();
        self.current = Some(Current {
            stream_id: stream_id.to_owned(),
            prev: ZERO_HASH,
            tree: Frontier::default(),
            segments,
            signed,
            end,
            erased,
            rules: self.domains.rules(stream_id).unwrap_or_else(StreamRules::of_log),
        });
        Ok(())
    }

    fn entry(&mut self, bytes: &[u8], payload: Option<&[u8]>) -> Result<()> {
        let header =
            HeaderRef::decode(bytes).map_err(|e| self.bad(format!("the header is not canonical: {e}")))?;
        self.enter(header.stream_id)?;
        let Some(current) = &mut self.current else { return Err(Error::Storage("no stream".into())) };
        let corrupt = |reason: String| Err(Error::corrupt(header.stream_id, header.seqno, reason));
        if header.seqno != current.tree.size() + 1 {
            let missing = current.tree.size() + 1;
            return Err(Error::corrupt(header.stream_id, missing, "the entry is missing"));
        }
        if header.prev_hash != current.prev {
            return corrupt("it does not link to the entry before it".into());
        }
        let hash = entry_hash(bytes);
        current.prev = hash;
        current.tree.push(leaf_hash(bytes));
        let found =
            current.rules.check_header(&header).and_then(|()| current.rules.check_payload(&header, payload));
        match found {
            Ok(Found::Checked) => self.report.payloads_checked += 1,
            Ok(Found::Elsewhere) => self.report.payloads_elsewhere += 1,
            Ok(Found::Erased) => self.report.payloads_erased += 1,
            Err(reason) => return corrupt(reason.into()),
        }
        let size = current.tree.size();
        if current.stream_id == LOG_STREAM {
            while let Some((_, root, number)) = self.checkpoints.pop_front_if(|(at, _, _)| *at == size) {
                if root != current.tree.root() {
                    return corrupt(format!(
                        "entries 1 to {size} do not give the root that checkpoint {number} signed"
                    ));
                }
            }
            if header.salt_len != 0 {
                return corrupt("the record is salted".into());
            }
            let record = match Record::decode(header.event_type, payload.unwrap_or_default()) {
                Ok(record) => record,
                Err(e) => return corrupt(format!("the record is malformed: {e}")),
            };
            if let Err(reason) = self.domains.apply(header.seqno, header.time_ms, &record) {
                return corrupt(reason.into());
            }
            self.record(header.seqno, record)?;
        } else {
            while let Some((_, root, head, id)) = current.segments.pop_if(|s| s.0 == size) {
                if root != current.tree.root() || head != hash {
                    return corrupt(format!("segment {id} recorded another history up to here"));
                }
            }
        }
        self.report.entries += 1;
        Ok(())
    }

    fn record(&mut self, number: u64, record: Record) -> Result<()> {
        let corrupt = |reason: &str| Err(Error::corrupt(LOG_STREAM, number, reason));
        match record {
            Record::LogCreated { origin } if number == 1 && origin == self.report.origin => Ok(()),
            Record::LogCreated { .. } => {
                corrupt("the log is created by entry 1, under the name of the export")
            }
            _ if number == 1 => corrupt("the log is created by entry 1"),
            Record::StreamCreated { stream_id, .. } => {
                self.report.streams += 1;
                match self.streams.insert(stream_id, Pending::default()) {
                    None => Ok(()),
                    Some(_) => corrupt("the stream is created twice"),
                }
            }
            Record::StreamDeprecated { stream_id, size, head_hash } => {
                let Some(pending) = self.streams.get_mut(&stream_id).filter(|p| p.end.is_none()) else {
                    return corrupt("a stream is deprecated that does not exist or already is");
                };
                pending.end = Some((size, head_hash));
                Ok(())
            }
            Record::SegmentClosed { stream_id, size, root, first_seqno, head_hash } => {
                let Some(pending) = self.streams.get_mut(&stream_id) else {
                    return corrupt("a segment is closed of a stream that does not exist");
                };
                if first_seqno != pending.segments.last().map_or(0, |s| s.0) + 1 || size < first_seqno {
                    return corrupt("a segment does not begin where the one before ends");
                }
                pending.segments.push((size, root, head_hash, number));
                if number <= self.signed_size {
                    pending.signed = size;
                }
                self.report.segments += 1;
                Ok(())
            }
            Record::PayloadsErased { stream_id, to, .. } => {
                let Some(pending) = self.streams.get_mut(&stream_id) else {
                    return corrupt("an erasure is recorded of a stream that does not exist");
                };
                pending.erased = pending.erased.max(to);
                Ok(())
            }
            Record::KeyRotated { .. } | Record::DomainErased { .. } => Ok(()),
        }
    }

    /// The objects about erasure domains that a store of this log has.
    pub(crate) fn domain_objects(&self) -> Vec<crate::store::ObjectWrite> {
        crate::native::domain_objects(&self.domains)
    }

    /// The report, after the last line.
    pub fn finish(mut self) -> Result<ExportReport> {
        if !self.ended {
            self.lines += 1;
            return Err(self.bad("the export breaks off here: its last line is missing"));
        }
        self.finish_stream()?;
        let recorded =
            |p: &Pending| p.segments.last().map_or(0, |s| s.0).max(p.end.map_or(0, |e| e.0)).max(p.erased);
        if let Some((stream_id, pending)) = self.streams.iter().find(|(_, p)| recorded(p) > 0) {
            return Err(Error::corrupt(
                stream_id,
                1,
                format!("the stream is missing, and `_log` recorded {} entries of it", recorded(pending)),
            ));
        }
        if self.report.checkpoints == 0 {
            return Err(Error::not_found("checkpoint", &self.report.origin, None, "the export holds none"));
        }
        self.report.signatures_verified = self.verified.trusted;
        self.report.signatures_unknown = self.verified.unknown;
        Ok(self.report)
    }
}
