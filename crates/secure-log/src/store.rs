//! The store contract: the Rust face of `secure-log:log/store`.
//!
//! A store is an append-only table of entries plus a compare-and-set object map, changed
//! together in one transaction. It knows no hashes: it compares and keeps bytes.

use crate::error::Result;
use crate::model::{QueryFilter, StreamHead};

/// One row of a stream. The fields after `payload` are an index; the header is the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Number in the stream, from 1.
    pub seqno: u64,
    /// Hash of `header`.
    pub entry_hash: [u8; 32],
    /// Canonical header bytes.
    pub header: Vec<u8>,
    /// Stored payload bytes, salt included; `None` if kept elsewhere, erased or not asked for.
    pub payload: Option<Vec<u8>>,
    /// Copy of the header's time, ms since the Unix epoch.
    pub time_ms: u64,
    /// Copy of the header's severity, 0 to 7; stored as it is, so that a changed one shows.
    pub severity: u8,
    /// Copy of the header's event type.
    pub event_type: String,
    /// Copy of the header's producer.
    pub producer: String,
    /// Copy of the header's event id; unique in its stream.
    pub id: Option<String>,
}

/// New rows of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamAppend {
    /// Stream and head that the rows follow: the first row has `prior.seqno + 1`.
    /// `seqno` 0 and a zero hash for a new stream.
    pub prior: StreamHead,
    /// The rows, numbered without gaps.
    pub rows: Vec<Row>,
}

/// Kinds of objects. All but `State` are create-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// Facts of a stream; the key is the stream id.
    Stream,
    /// The stream named by the key takes no further rows: `append` refuses them with `denied`.
    Frozen,
    /// A closed segment.
    Segment,
    /// A signed checkpoint note.
    Checkpoint,
    /// Something a third party returned.
    Receipt,
    /// Anything that is replaced under compare-and-set.
    State,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Stream, Self::Frozen, Self::Segment, Self::Checkpoint, Self::Receipt, Self::State];

    /// Name in stored data and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Frozen => "frozen",
            Self::Segment => "segment",
            Self::Checkpoint => "checkpoint",
            Self::Receipt => "receipt",
            Self::State => "state",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Whether an object of this kind may never be replaced.
    pub const fn create_only(self) -> bool {
        !matches!(self, Self::State)
    }
}

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Kind.
    pub kind: ObjectKind,
    /// Key, unique per kind.
    pub key: String,
    /// Value.
    pub value: Vec<u8>,
}

/// An object to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectWrite {
    /// Kind.
    pub kind: ObjectKind,
    /// Key.
    pub key: String,
    /// New value.
    pub value: Vec<u8>,
    /// Value that must be there now; `None` = nothing may be there.
    pub expected: Option<Vec<u8>>,
}

/// A stretch of tree nodes: derived data, may be lost or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Level: nodes of level L are roots of 256^L leaves. A store keeps those from 1, and of level 0 the blocks
    /// in which segments end.
    pub level: u8,
    /// Index of the tile in its level.
    pub index: u64,
    /// 1 to 256 hashes of 32 bytes.
    pub hashes: Vec<u8>,
}

/// A row found by a query, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRow {
    /// Stream id.
    pub stream_id: String,
    /// The row.
    pub row: Row,
}

/// One page of a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundPage {
    /// The rows, in the order in which they were stored.
    pub rows: Vec<FoundRow>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// An opened store. Pages hold at most [`MAX_PAGE_ROWS`](crate::limits::MAX_PAGE_ROWS) rows or
/// [`MAX_PAGE_BYTES`](crate::limits::MAX_PAGE_BYTES), whatever `limit` says, but at least one row
/// where there is one.
pub trait SecureLogStore {
    /// Writes rows and objects in one transaction: all or nothing, durable (one fsync) when it
    /// returns.
    ///
    /// `Conflict` when a stream's head is not its `prior` (naming the head), an `expect`ed head
    /// does not hold (`seqno` 0: the stream must have no rows), an object's expectation fails, or
    /// a row's id is taken. `Denied` when rows go to a frozen stream.
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()>;

    /// Head of a stream; `None` if it has no rows.
    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>>;

    /// Rows from `from_seqno` on. Fewer than `limit` does not mean the end; none does.
    fn read_rows(&mut self, stream_id: &str, from_seqno: u64, limit: u32, payloads: bool)
    -> Result<Vec<Row>>;

    /// Number of the row that has this id.
    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>>;

    /// Heads of all streams with rows, by stream id (bytewise), after `after`.
    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>>;

    /// Rows that match, in the order in which they were stored.
    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage>;

    /// One object's value.
    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>>;

    /// Objects whose key begins with `prefix`, by key (bytewise), after `after`.
    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>>;

    /// The object with the greatest key that begins with `prefix`.
    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>>;

    /// Writes tiles, replacing older ones. Need not be durable at once.
    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()>;

    /// Hashes of a tile.
    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>>;

    /// Removes the payloads of rows `from_seqno` to `to_seqno`, those that are there, such that nothing of them is left in
    /// the store's files; durable when it returns. Rows stay. Returns how many there were.
    fn erase_payloads(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<u64>;

    /// Makes a consistent copy at `config` while open. `Conflict` if there is something already.
    fn backup(&mut self, config: &str) -> Result<()>;

    /// Closes the store and gives it to whoever waits. Dropping it instead leaves the lease to
    /// run out.
    fn close(self) -> Result<()>
    where
        Self: Sized;
}

/// A store that is opened by a configuration string: what a store component is made of.
pub trait OpenStore: SecureLogStore + Sized {
    /// Opens the store that `config` names, creating it if needed.
    fn open(config: &str) -> Result<Self>;
}
