//! The log of an instance as the gate's own code reads it: the same checks natively, over what the component stored.

use edgesentry_audit::gate::GateLog;
use secure_log::error::Error;
use secure_log::header::HeaderRef;
use secure_log::model::{AppendResult, Entry, Event, QueryFilter, QueryPage, Severity, StreamHead};
use secure_log_host::{Failure, Hosted, types};

/// A log to read.
pub(crate) struct ReadLog<'a>(pub &'a mut Hosted);

fn error(failure: Failure) -> Error {
    match failure {
        Failure::Log(error) => error.into(),
        other => Error::Storage(other.to_string()),
    }
}

fn hash(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes
        .try_into()
        .map_err(|_| Error::Storage(format!("the component answered with a hash of {} bytes", bytes.len())))
}

fn entry(entry: types::Entry) -> Result<Entry, Error> {
    let header = HeaderRef::decode(&entry.header_bytes)
        .map_err(|e| Error::corrupt(entry.header.stream_id.as_str(), entry.header.seqno, e.to_string()))?
        .to_owned();
    Ok(Entry { header, entry_hash: hash(&entry.entry_hash)?, header_bytes: entry.header_bytes })
}

fn severity(severity: Severity) -> types::Severity {
    match severity {
        Severity::Emergency => types::Severity::Emergency,
        Severity::Alert => types::Severity::Alert,
        Severity::Critical => types::Severity::Critical,
        Severity::Error => types::Severity::Error,
        Severity::Warning => types::Severity::Warning,
        Severity::Notice => types::Severity::Notice,
        Severity::Informational => types::Severity::Informational,
        Severity::Debug => types::Severity::Debug,
    }
}

impl GateLog for ReadLog<'_> {
    fn append_batch(&mut self, _: Vec<Event>, _: &[StreamHead]) -> Result<Vec<AppendResult>, Error> {
        Err(Error::Denied("this log was opened to be read".into()))
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>, Error> {
        let head = self.0.head(stream_id).map_err(error)?;
        head.map(|head| {
            Ok(StreamHead {
                stream_id: head.stream_id,
                seqno: head.seqno,
                entry_hash: hash(&head.entry_hash)?,
            })
        })
        .transpose()
    }

    fn read(&mut self, stream_id: &str, seqno: u64) -> Result<Entry, Error> {
        self.0.read(stream_id, seqno).map_err(error).and_then(entry)
    }

    fn read_payload(&mut self, stream_id: &str, seqno: u64) -> Result<Vec<u8>, Error> {
        self.0.read_payload(stream_id, seqno).map_err(error)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<QueryPage, Error> {
        let filter = types::QueryFilter {
            stream_id: filter.stream_id.clone(),
            from_ms: filter.from_ms,
            to_ms: filter.to_ms,
            event_type: filter.event_type.clone(),
            min_severity: filter.min_severity.map(severity),
            producer: filter.producer.clone(),
        };
        let page = types::Page { cursor: cursor.map(str::to_owned), limit };
        let page = self.0.query(&filter, &page).map_err(error)?;
        Ok(QueryPage {
            entries: page.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
            next: page.next,
        })
    }
}
