//! The imported log as the log of a gate.

use edgesentry_audit::gate::GateLog;
use secure_log::Result;
use secure_log::model::{AppendResult, Entry, Event, QueryFilter, QueryPage, StreamHead};

use super::gate_world::secure_log::log::log as wit;
use crate::convert::{from_head, hash};
use crate::core_world::secure_log::log::types as w;

/// The log that is plugged into the component. Its host, or whoever has both, opens it.
pub struct ImportedLog;

impl GateLog for ImportedLog {
    fn append_batch(&mut self, events: Vec<Event>, expect: &[StreamHead]) -> Result<Vec<AppendResult>> {
        let events: Vec<w::Event> = events.into_iter().map(Into::into).collect();
        let expect: Vec<w::StreamHead> = expect.iter().map(Into::into).collect();
        let results = wit::append_batch(&events, &expect)?;
        let results = results.into_iter().zip(&events).map(|(result, event)| {
            let entry_hash = hash(&event.stream_id, result.seqno, &result.entry_hash)?;
            Ok(AppendResult { seqno: result.seqno, entry_hash })
        });
        results.collect()
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        wit::head(stream_id)?.map(from_head).transpose()
    }

    fn read(&mut self, stream_id: &str, seqno: u64) -> Result<Entry> {
        wit::read(stream_id, seqno)?.try_into()
    }

    fn read_payload(&mut self, stream_id: &str, seqno: u64) -> Result<Vec<u8>> {
        Ok(wit::read_payload(stream_id, seqno)?)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<QueryPage> {
        let page = w::Page { cursor: cursor.map(str::to_owned), limit };
        let page = wit::query(&filter.into(), &page)?;
        let entries = page.entries.into_iter().map(TryInto::try_into).collect::<Result<_>>()?;
        Ok(QueryPage { entries, next: page.next })
    }
}
