//! What an examination tells (`edgesentry:audit/examiner` in `wit/edgesentry/examiner.wit`).

use secure_log::model::{Hash, Severity};
use secure_log::tree::Step;

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A whole log.
    LogExport,
    /// Some entries with everything that proves them.
    EvidenceBundle,
    /// One entry.
    ProofFile,
    /// Signed records of devices.
    Records,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All that was checked of it holds.
    Holds,
    /// It does not hold.
    Broken,
    /// It was not checked.
    NotChecked,
}

/// An entry of a log, or a record of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// From 0, in the order of the file.
    pub index: u64,
    /// Line of the file, from 1.
    pub line: u64,
    /// Stream of the entry; the device of a record.
    pub stream_id: String,
    /// Number of the entry in its stream, or of the record.
    pub seqno: u64,
    /// By the log's clock (an entry), by the device's (a record); ms since the Unix epoch.
    pub time_ms: u64,
    /// Event type; of a record, its `object_ref`.
    pub event_type: String,
    /// Severity of an entry.
    pub severity: Option<Severity>,
    /// Producer of an entry; key id of a record of version 2.
    pub producer: String,
    /// Software that wrote it, if it says so.
    pub software_version: String,
    /// Its hash.
    pub hash: Hash,
    /// Hash of the one before it, as it says.
    pub prev_hash: Hash,
    /// What is known of its payload, in words.
    pub payload: String,
    /// How it stands.
    pub standing: Standing,
    /// Segment that covers it, if the file says so.
    pub segment_id: Option<u64>,
    /// When its device says it happened.
    pub claimed_ms: Option<u64>,
    /// By when it existed, as an authority says.
    pub trusted_ms: Option<u64>,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In words.
    pub text: String,
    /// The item that is concerned, if it is one.
    pub item: Option<u64>,
    /// Line of the file, if it is known.
    pub line: Option<u64>,
}

/// A closed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentMark {
    /// Number of its entry in `_log`.
    pub segment_id: u64,
    /// First entry that it covers.
    pub first_seqno: u64,
    /// Last entry that it covers.
    pub last_seqno: u64,
    /// Root of the stream's tree.
    pub root: Hash,
    /// Number of the first checkpoint that covers it.
    pub checkpoint: Option<u64>,
}

/// A stream of the log, or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its name.
    pub stream_id: String,
    /// Index of its first item.
    pub first_item: u64,
    /// How many items it has.
    pub items: u64,
    /// Earliest time of an item, ms since the Unix epoch.
    pub first_ms: u64,
    /// Latest time.
    pub last_ms: u64,
    /// Numbers that are missing, as pairs of first and last.
    pub gaps: Vec<(u64, u64)>,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentMark>,
    /// How it stands.
    pub standing: Standing,
}

/// Who signed what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What was signed.
    pub of: String,
    /// Name and id of the key, or the authority.
    pub by: String,
    /// When, where the signature says so; ms since the Unix epoch.
    pub time_ms: Option<u64>,
    /// How it stands: that of a key which is not trusted is not checked.
    pub standing: Standing,
}

/// A number with its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// What was counted.
    pub what: String,
    /// How many.
    pub number: u64,
}

/// What an examination found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Kind of the file.
    pub kind: DocumentKind,
    /// Name of the log, or of the device if there is one only.
    pub origin: String,
    /// `Holds` only if the whole file was read, nothing in it is broken, and a signature by a trusted key verified.
    pub standing: Standing,
    /// What does not hold.
    pub findings: Vec<Finding>,
    /// Streams or devices, in the order of the file.
    pub streams: Vec<StreamSummary>,
    /// Who signed.
    pub signatures: Vec<Signature>,
    /// What was checked, by number.
    pub counts: Vec<Count>,
    /// What was not checked, in words.
    pub not_checked: Vec<String>,
}

/// The way of an entry up to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerklePath {
    /// Hash of the entry's leaf.
    pub leaf: Hash,
    /// Up to the root of the stream's tree at the segment; none for an entry of `_log`.
    pub steps: Vec<Step>,
    /// The segment's root; of an entry of `_log`, that of the checkpoint.
    pub root: Hash,
    /// Number of the segment; 0 for an entry of `_log`.
    pub segment_id: u64,
    /// Hash of the segment's leaf in `_log`; none for an entry of `_log`.
    pub log_leaf: Option<Hash>,
    /// Up to the root that the checkpoint signs.
    pub log_steps: Vec<Step>,
    /// Root of `_log` that the checkpoint signs.
    pub log_root: Hash,
    /// The checkpoint: its number.
    pub checkpoint: u64,
    /// The checkpoint note.
    pub note: String,
}
