//! What a gate needs of a log.

use secure_log::model::{AppendResult, Entry, Event, QueryFilter, QueryPage, StreamHead};
use secure_log::{Result, SecureLog};

/// The part of `secure-log:log/log` that a gate works on. Every [`SecureLog`] is one; inside a component the imported
/// interface is another.
pub trait GateLog {
    /// Appends events to any number of streams, all or none; `expect` lists heads that must still hold, or the whole
    /// is a conflict (`seqno` 0: the stream must have no entries).
    fn append_batch(&mut self, events: Vec<Event>, expect: &[StreamHead]) -> Result<Vec<AppendResult>>;
    /// Last entry of a stream.
    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>>;
    /// One entry, without its payload.
    fn read(&mut self, stream_id: &str, seqno: u64) -> Result<Entry>;
    /// The payload of an entry, checked against its header.
    fn read_payload(&mut self, stream_id: &str, seqno: u64) -> Result<Vec<u8>>;
    /// Entries that match, a page at a time.
    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<QueryPage>;
}

impl<L: SecureLog> GateLog for L {
    fn append_batch(&mut self, events: Vec<Event>, expect: &[StreamHead]) -> Result<Vec<AppendResult>> {
        SecureLog::append_batch(self, events, expect)
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        SecureLog::head(self, stream_id)
    }

    fn read(&mut self, stream_id: &str, seqno: u64) -> Result<Entry> {
        SecureLog::read(self, stream_id, seqno)
    }

    fn read_payload(&mut self, stream_id: &str, seqno: u64) -> Result<Vec<u8>> {
        SecureLog::read_payload(self, stream_id, seqno)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<QueryPage> {
        SecureLog::query(self, filter, cursor, limit)
    }
}
