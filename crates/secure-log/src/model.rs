//! Streams, events, entries: what callers see.

/// A BLAKE3 or SHA-256 hash.
pub type Hash = [u8; 32];

/// Hash before the first entry of a stream.
pub const ZERO_HASH: Hash = [0; 32];

/// Severity: the syslog eight (RFC 5424 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Severity {
    /// 0: system is unusable.
    Emergency = 0,
    /// 1: action must be taken immediately.
    Alert = 1,
    /// 2: critical conditions.
    Critical = 2,
    /// 3: error conditions.
    Error = 3,
    /// 4: warning conditions.
    Warning = 4,
    /// 5: normal but significant condition.
    Notice = 5,
    /// 6: informational messages.
    Informational = 6,
    /// 7: debug-level messages.
    Debug = 7,
}

impl Severity {
    /// All eight, most severe first.
    pub const ALL: [Self; 8] = [
        Self::Emergency,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Informational,
        Self::Debug,
    ];

    /// The severity of this syslog number.
    pub fn from_number(n: u8) -> Option<Self> {
        Self::ALL.get(usize::from(n)).copied()
    }
}

/// How the payloads of a stream are protected at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Stored as given.
    Public,
    /// Payload sealed.
    Protected,
    /// Payload sealed; event type and producer keyed.
    HighlyRestricted,
}

impl Tier {
    /// Name in stored data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Protected => "protected",
            Self::HighlyRestricted => "highly-restricted",
        }
    }

    /// The tier of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Public, Self::Protected, Self::HighlyRestricted].into_iter().find(|t| t.name() == name)
    }
}

/// The last entry of a stream, as known at some moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamHead {
    /// Stream id.
    pub stream_id: String,
    /// Number of the last entry; 0 where the stream has none (only in expectations).
    pub seqno: u64,
    /// Its entry hash; zero with `seqno` 0.
    pub entry_hash: Hash,
}

impl StreamHead {
    /// The state of a stream before its first entry.
    pub fn empty(stream_id: impl Into<String>) -> Self {
        Self { stream_id: stream_id.into(), seqno: 0, entry_hash: ZERO_HASH }
    }
}

/// Where an appended event ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendResult {
    /// Number of the entry in its stream.
    pub seqno: u64,
    /// BLAKE3 of its canonical header.
    pub entry_hash: Hash,
}

/// One event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Stream to append to.
    pub stream_id: String,
    /// What happened. Not empty.
    pub event_type: String,
    /// How severe it is.
    pub severity: Severity,
    /// Who says so. Not empty.
    pub producer: String,
    /// The event itself.
    pub payload: Vec<u8>,
    /// Media type of the payload.
    pub payload_encoding: Option<String>,
    /// Where the payload is kept instead of in this log: it is then hashed, not stored.
    pub object_ref: Option<String>,
    /// Unique per stream; makes a retry safe.
    pub id: Option<String>,
}

impl Event {
    /// An event with no optional part.
    pub fn new(
        stream_id: impl Into<String>,
        event_type: impl Into<String>,
        severity: Severity,
        producer: impl Into<String>,
        payload: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            stream_id: stream_id.into(),
            event_type: event_type.into(),
            severity,
            producer: producer.into(),
            payload: payload.into(),
            payload_encoding: None,
            object_ref: None,
            id: None,
        }
    }
}

/// What is known of a stream without reading its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Stream id.
    pub stream_id: String,
    /// Protection tier.
    pub tier: Tier,
    /// What the stream is for.
    pub description: Option<String>,
    /// Number of the `_log` entry that records its creation.
    pub created: u64,
    /// Number of the `_log` entry that records its deprecation.
    pub deprecated: Option<u64>,
    /// Whose data it is: the domain that is erased as one.
    pub erasure_domain: String,
    /// Milliseconds after an entry's time within which its erasure is refused.
    pub retention_ms: Option<u64>,
    /// Number of the `_log` entry that records the erasure of its domain.
    pub erased: Option<u64>,
    /// Last entry.
    pub head: Option<StreamHead>,
}

/// How a stream is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Protection tier.
    pub tier: Tier,
    /// What the stream is for.
    pub description: Option<String>,
    /// Whose data it is; `None`: the stream's id.
    pub erasure_domain: Option<String>,
    /// Milliseconds after an entry's time within which its erasure is refused.
    pub retention_ms: Option<u64>,
}

impl StreamOptions {
    /// A tier, and nothing else.
    pub fn new(tier: Tier) -> Self {
        Self { tier, description: None, erasure_domain: None, retention_ms: None }
    }
}

/// What an erasure did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Number of the `_log` entry that records it.
    pub log_entry: u64,
    /// Streams concerned.
    pub streams: u64,
    /// Entries whose payload is no longer there.
    pub entries: u64,
    /// Key-encryption keys that were destroyed, by name.
    pub keys_destroyed: Vec<String>,
}

/// An event as it was before it was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What happened.
    pub event_type: String,
    /// Who said so.
    pub producer: String,
    /// The event itself.
    pub payload: Vec<u8>,
}

/// Which entries to return; conditions are joined by "and".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryFilter {
    /// Only this stream.
    pub stream_id: Option<String>,
    /// Not before this time (ms, inclusive).
    pub from_ms: Option<u64>,
    /// Before this time (ms, exclusive).
    pub to_ms: Option<u64>,
    /// Exactly this event type.
    pub event_type: Option<String>,
    /// At least as severe as this.
    pub min_severity: Option<Severity>,
    /// Exactly this producer.
    pub producer: Option<String>,
}

/// One stored entry, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The header, decoded.
    pub header: crate::header::Header,
    /// The canonical header bytes.
    pub header_bytes: Vec<u8>,
    /// BLAKE3 of `header_bytes`.
    pub entry_hash: Hash,
}

/// One page of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPage {
    /// The entries, in the order in which they were stored.
    pub entries: Vec<Entry>,
    /// Pass as cursor to go on; `None` at the end.
    pub next: Option<String>,
}

/// One page of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPage {
    /// Whole lines.
    pub lines: String,
    /// Pass as cursor to go on; `None` at the end.
    pub next: Option<String>,
}

/// What a verification looked at; only returned when all of it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Stream verified.
    pub stream_id: String,
    /// First entry checked.
    pub from_seqno: u64,
    /// Last entry checked.
    pub to_seqno: u64,
    /// Headers whose encoding, hash, link and index columns were checked.
    pub entries_checked: u64,
    /// Payloads whose hash was checked.
    pub payloads_checked: u64,
    /// Payloads that are gone and whose erasure `_log` records.
    pub payloads_erased: u64,
    /// Payloads kept outside of this log.
    pub payloads_elsewhere: u64,
    /// Payloads stored here that were not read.
    pub payloads_not_checked: u64,
    /// Closed segments whose recorded head agreed with the chain.
    pub segments_matched: u64,
    /// Head of the stream when the check began.
    pub head: StreamHead,
}

/// A closed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Number of its entry in `_log`.
    pub segment_id: u64,
    /// Stream it belongs to.
    pub stream_id: String,
    /// First entry that no earlier segment covers.
    pub first_seqno: u64,
    /// Size of the stream's tree.
    pub size: u64,
    /// RFC 6962 root of entries 1 to `size`.
    pub root: Hash,
    /// Entry hash of entry `size`.
    pub head_hash: Hash,
    /// When it was closed, ms since the Unix epoch.
    pub closed_at_ms: u64,
}

/// What `verify_segments` recomputed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentsReport {
    /// Stream verified.
    pub stream_id: String,
    /// Segments whose root was recomputed and agreed.
    pub segments_checked: u64,
    /// Entries hashed into the tree.
    pub entries_checked: u64,
    /// Entries after the last segment.
    pub entries_uncovered: u64,
    /// Stored tiles compared with the recomputed tree.
    pub tiles_checked: u64,
}

/// An entry is in its stream's tree (RFC 6962 §2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Stream id.
    pub stream_id: String,
    /// Number of the entry; its leaf index is `seqno − 1`.
    pub seqno: u64,
    /// Leaf hash of the header bytes.
    pub leaf_hash: Hash,
    /// Size of the tree that the proof is about.
    pub tree_size: u64,
    /// Root of that tree.
    pub root: Hash,
    /// Sibling hashes from the leaf upwards.
    pub path: Vec<Hash>,
    /// Segment that records `root`.
    pub segment_id: u64,
}

/// A smaller tree of a stream is a prefix of a larger one (RFC 6962 §2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// Stream id.
    pub stream_id: String,
    /// Size of the smaller tree.
    pub from_size: u64,
    /// Size of the larger tree.
    pub to_size: u64,
    /// Proof hashes.
    pub path: Vec<Hash>,
}

/// A signed head of the whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// 1, 2, 3 … in the order of signing.
    pub number: u64,
    /// Name of the log.
    pub origin: String,
    /// Entries of `_log` that it covers.
    pub size: u64,
    /// Root of `_log` at that size.
    pub root: Hash,
    /// The signed note.
    pub note: String,
}

/// What `verify_checkpoint_chain` checked; only returned when all of it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Checkpoints verified, each by at least one trusted key.
    pub checkpoints: u64,
    /// Signatures by trusted keys that verified.
    pub signatures_verified: u64,
    /// Signatures by keys that are not trusted: not checked.
    pub signatures_unknown: u64,
    /// The newest checkpoint.
    pub latest: Checkpoint,
    /// Entries of `_log`.
    pub log_entries: u64,
    /// Entries of `_log` after the newest checkpoint.
    pub log_entries_unsigned: u64,
    /// Streams that `_log` knows.
    pub streams: u64,
    /// Segments under the newest checkpoint.
    pub segments: u64,
    /// Entries of streams that a signed segment covers.
    pub entries_covered: u64,
    /// Entries of streams that no signed segment covers.
    pub entries_uncovered: u64,
}

/// From one entry to a signed checkpoint, verifiable without the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryProof {
    /// Canonical header of the entry.
    pub header_bytes: Vec<u8>,
    /// The entry in its stream's tree.
    pub inclusion: InclusionProof,
    /// Canonical header of the `_log` entry that closed the segment.
    pub segment_header: Vec<u8>,
    /// Its payload.
    pub segment_payload: Vec<u8>,
    /// That entry in the tree of `_log`.
    pub log_path: Vec<Hash>,
    /// The signed checkpoint note.
    pub checkpoint: String,
}

/// A cosignature that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// The witness, by its name in the policy.
    pub name: String,
    /// When it cosigned, by its own clock: seconds since the Unix epoch.
    pub time: u64,
}

/// What became of a request to a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// Cosigned, verified and stored: how many cosignatures that were not there before.
    Cosigned(u64),
    /// The witness cosigned a checkpoint of this smaller size last: prepare again from it.
    Conflict(u64),
    /// It refused, with this HTTP status.
    Refused(u16, crate::witness::Refusal),
}

/// How far a policy is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Number of the newest checkpoint; 0 if there is none.
    pub newest: u64,
    /// Witnesses of the policy that cosigned it.
    pub cosigned: Vec<Witnessed>,
    /// Witnesses of the policy that did not.
    pub absent: Vec<String>,
    /// What it lacks to count as published; `None` if it does.
    pub lacks: Option<String>,
    /// Number of the newest checkpoint that counts as published.
    pub published: Option<u64>,
}

/// What is stamped by a time-stamping authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeSubject {
    /// The note of a checkpoint as the log signed it, without cosignatures.
    Checkpoint(u64),
    /// The canonical header of an entry.
    Entry {
        /// Stream.
        stream_id: String,
        /// Number.
        seqno: u64,
    },
}

/// Whom to believe about time: certificates and revocation lists, DER.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeTrust {
    /// Trust anchors.
    pub anchors: Vec<Vec<u8>>,
    /// Certificates that tokens may leave out.
    pub intermediates: Vec<Vec<u8>>,
    /// Revocation lists.
    pub revocation_lists: Vec<Vec<u8>>,
}

/// A time-stamp token that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStamp {
    /// Time of the authority, ms since the Unix epoch.
    pub time_ms: u64,
    /// How far it may be off, if the authority says.
    pub accuracy_ms: Option<u64>,
    /// Time by the log's clock.
    pub log_time_ms: u64,
    /// Serial number of the token, big-endian.
    pub serial: Vec<u8>,
    /// Policy of the authority, dotted.
    pub policy: String,
    /// Subject of the certificate that signed.
    pub authority: String,
    /// Hash algorithm of the imprint.
    pub imprint: String,
    /// What was not checked, in words.
    pub unchecked: Vec<String>,
}
