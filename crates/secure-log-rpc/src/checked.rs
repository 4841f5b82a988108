//! A store that believes no writer.

use secure_log::model::{QueryFilter, StreamHead};
use secure_log::store::{
    FoundPage, Object, ObjectKind, ObjectWrite, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log::{Error, Result, check_append, derive_tile};

/// Checks rows before they reach the store behind it, and makes tiles itself instead of taking them.
///
/// A store compares heads and keeps bytes; it computes nothing. Behind this one, whoever may write can add only entries
/// that follow: every row has the hash of its header, the header is canonical and says what the columns say, it links
/// to the row before, and the payload is the one in the header. What objects say is not looked into; they are created
/// once, and verification holds them against `_log`.
pub struct CheckedStore<S>(S);

impl<S: SecureLogStore> CheckedStore<S> {
    /// Checks in front of `store`.
    pub fn new(store: S) -> Self {
        Self(store)
    }

    /// The store behind.
    pub fn into_inner(self) -> S {
        self.0
    }
}

impl<S: SecureLogStore> SecureLogStore for CheckedStore<S> {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        appends.iter().try_for_each(check_append)?;
        self.0.append(appends, expect, objects)
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        self.0.head(stream_id)
    }

    fn read_rows(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        limit: u32,
        payloads: bool,
    ) -> Result<Vec<Row>> {
        self.0.read_rows(stream_id, from_seqno, limit, payloads)
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        self.0.find_id(stream_id, id)
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        self.0.list_heads(after, limit)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        self.0.query(filter, cursor, limit)
    }

    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        self.0.read_object(kind, key)
    }

    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        self.0.list_objects(kind, prefix, after, limit)
    }

    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        self.0.last_object(kind, prefix)
    }

    fn write_tiles(&mut self, _: &str, _: &[Tile]) -> Result<()> {
        Err(Error::Denied("tiles are not taken from callers: they are derived here from the entries".into()))
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        match level {
            1 => derive_tile(&mut self.0, stream_id, index),
            // One entry in 65,536 counts here: the caller makes them from those of level 1.
            _ => self.0.read_tile(stream_id, level, index),
        }
    }

    fn erase_payloads(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<u64> {
        self.0.erase_payloads(stream_id, from_seqno, to_seqno)
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        self.0.backup(config)
    }

    fn close(self) -> Result<()> {
        self.0.close()
    }
}
