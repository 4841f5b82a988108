//! The entries of a bundle, as the gate reads a log.

use std::collections::BTreeMap;

use secure_log::error::{Error, Result};
use secure_log::model::{AppendResult, Entry, Event, QueryFilter, QueryPage, StreamHead};

use crate::gate::{GateLog, StoredRef};

/// An entry of a bundle, proven.
pub(super) struct Proven {
    pub entry: Entry,
    /// Without its salt; none if it is not in the bundle, or sealed.
    pub payload: Option<Vec<u8>>,
}

/// Entries by stream and number.
#[derive(Default)]
pub(super) struct Entries(pub BTreeMap<String, BTreeMap<u64, Proven>>);

impl Entries {
    /// What the device's clock said of its records, by the numbers of their entries. Callers have audited them.
    pub(super) fn claimed_times(&self, stream_id: &str) -> impl Iterator<Item = (u64, u64)> {
        let entries = self.0.get(stream_id).into_iter().flatten();
        entries.filter_map(|(seqno, proven)| {
            let stored = StoredRef::decode(proven.payload.as_deref()?).ok()?;
            Some((*seqno, stored.audit_record().ok()?.timestamp_ms))
        })
    }

    fn get(&self, stream_id: &str, seqno: u64) -> Result<&Proven> {
        let found = self.0.get(stream_id).and_then(|entries| entries.get(&seqno));
        found.ok_or_else(|| Error::not_found("entry", stream_id, Some(seqno), "it is not in the bundle"))
    }
}

impl GateLog for &Entries {
    fn append_batch(&mut self, _: Vec<Event>, _: &[StreamHead]) -> Result<Vec<AppendResult>> {
        Err(Error::Denied("a bundle is only read".into()))
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        let last = self.0.get(stream_id).and_then(|entries| entries.last_key_value());
        Ok(last.map(|(seqno, proven)| StreamHead {
            stream_id: stream_id.to_owned(),
            seqno: *seqno,
            entry_hash: proven.entry.entry_hash,
        }))
    }

    fn read(&mut self, stream_id: &str, seqno: u64) -> Result<Entry> {
        self.get(stream_id, seqno).map(|proven| proven.entry.clone())
    }

    fn read_payload(&mut self, stream_id: &str, seqno: u64) -> Result<Vec<u8>> {
        let payload = self.get(stream_id, seqno)?.payload.clone();
        payload.ok_or_else(|| Error::not_found("payload", stream_id, Some(seqno), "it is not in the bundle"))
    }

    /// By stream and producer, all at once.
    fn query(&mut self, filter: &QueryFilter, _: Option<&str>, _: u32) -> Result<QueryPage> {
        let streams = self.0.iter().filter(|(name, _)| filter.stream_id.as_ref().is_none_or(|s| s == *name));
        let entries = streams
            .flat_map(|(_, entries)| entries.values())
            .filter(|proven| filter.producer.as_ref().is_none_or(|p| *p == proven.entry.header.producer))
            .map(|proven| proven.entry.clone())
            .collect();
        Ok(QueryPage { entries, next: None })
    }
}
