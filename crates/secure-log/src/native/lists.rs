//! Streams and queries.

use std::collections::BTreeMap;

use super::seal::DomainState;
use super::*;
use crate::limits::MAX_PAGE_ROWS;
use crate::record::decode_pointer;
use crate::store::{Object, ObjectKind};

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    /// All objects of a kind under a prefix, page by page.
    pub(super) fn objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        mut visit: impl FnMut(&mut Self, Object) -> Result<()>,
    ) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list_objects(kind, prefix, after.as_deref(), MAX_PAGE_ROWS)?;
            let Some(last) = page.last() else { return Ok(()) };
            let last = last.key.clone();
            if after.as_ref().is_some_and(|a| *a >= last) {
                return Err(Error::Storage(format!("the store lists {} objects out of order", kind.name())));
            }
            after = Some(last);
            for object in page {
                visit(self, object)?;
            }
        }
    }

    /// All heads, page by page.
    pub(super) fn all_heads(
        &mut self,
        mut visit: impl FnMut(&mut Self, StreamHead) -> Result<()>,
    ) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list_heads(after.as_deref(), MAX_PAGE_ROWS)?;
            let Some(last) = page.last() else { return Ok(()) };
            let last = last.stream_id.clone();
            if after.as_ref().is_some_and(|a| *a >= last) {
                return Err(Error::Storage("the store lists streams out of order".into()));
            }
            after = Some(last);
            for head in page {
                visit(self, head)?;
            }
        }
    }

    pub(super) fn do_deprecate_stream(&mut self, stream_id: &str) -> Result<()> {
        check_own_stream(stream_id)?;
        for _ in 0..MAX_STEADY {
            if self.protection(stream_id)?.is_none() {
                return Err(Error::not_found(
                    "stream",
                    stream_id,
                    None,
                    "there is no such stream to deprecate",
                ));
            }
            if self.store.read_object(ObjectKind::Frozen, stream_id)?.is_some() {
                return Ok(());
            }
            let head = self.store.head(stream_id)?.unwrap_or_else(|| StreamHead::empty(stream_id));
            let record = Record::StreamDeprecated {
                stream_id: stream_id.to_owned(),
                size: head.seqno,
                head_hash: head.entry_hash,
            };
            // The head must still be the recorded one: nothing slips in behind it.
            match self.commit_records(&[record], std::slice::from_ref(&head), None, |_| Vec::new()) {
                Ok(_) => return Ok(()),
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy(format!("others append to {stream_id:?} all the time; stop them and try again")))
    }

    pub(super) fn do_list_streams(&mut self) -> Result<Vec<StreamInfo>> {
        let mut streams: BTreeMap<String, StreamInfo> = BTreeMap::new();
        let mut erased: BTreeMap<String, Option<u64>> = BTreeMap::new();
        self.objects(ObjectKind::Stream, "", |log, object| {
            let protection = log.existing_protection(&object.key)?;
            let domain = protection.domain.clone();
            let erased = match erased.get(&domain) {
                Some(known) => *known,
                None => {
                    let state = match log.domain_state(&domain)? {
                        DomainState::Erased(erased) => Some(erased.number),
                        _ => None,
                    };
                    erased.insert(domain.clone(), state);
                    state
                }
            };
            let info = StreamInfo {
                stream_id: object.key.clone(),
                tier: protection.tier,
                description: protection.description.clone(),
                created: protection.created,
                deprecated: None,
                erasure_domain: domain,
                retention_ms: protection.retention_ms,
                erased,
                head: None,
            };
            streams.insert(object.key, info);
            Ok(())
        })?;
        self.objects(ObjectKind::Frozen, "", |_, object| {
            let number = pointer_of(&object.key, &object.value)?;
            match streams.get_mut(&object.key) {
                Some(info) => info.deprecated = Some(number),
                None => return Err(Error::corrupt(object.key, 0, "it is deprecated and was never created")),
            }
            Ok(())
        })?;
        self.all_heads(|_, head| {
            if head.stream_id == LOG_STREAM {
                let info = StreamInfo {
                    stream_id: LOG_STREAM.to_owned(),
                    tier: Tier::Public,
                    description: None,
                    created: 1,
                    deprecated: None,
                    erasure_domain: LOG_STREAM.to_owned(),
                    retention_ms: None,
                    erased: None,
                    head: Some(head),
                };
                streams.insert(LOG_STREAM.to_owned(), info);
                return Ok(());
            }
            match streams.get_mut(&head.stream_id) {
                Some(info) => info.head = Some(head),
                None => return Err(Error::corrupt(head.stream_id, 0, "`_log` does not know the stream")),
            }
            Ok(())
        })?;
        Ok(streams.into_values().collect())
    }

    pub(super) fn do_query(
        &mut self,
        filter: &QueryFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<QueryPage> {
        if let Some(stream_id) = &filter.stream_id {
            check_stream_id("filter.stream-id", stream_id)?;
        }
        for (field, value) in
            [("filter.event-type", &filter.event_type), ("filter.producer", &filter.producer)]
        {
            if let Some(value) = value {
                check_name(field, value)?;
            }
        }
        if limit == 0 || limit > MAX_PAGE_ROWS {
            return Err(Error::invalid(
                "page.limit",
                format!("{limit}; a page has 1 to {MAX_PAGE_ROWS} entries"),
            ));
        }
        let keyed = self.keyed_filter(filter)?;
        let page = self.store.query(keyed.as_ref().unwrap_or(filter), cursor, limit)?;
        let entries = page
            .rows
            .into_iter()
            .map(|found| verify::to_entry(&found.stream_id, found.row))
            .collect::<Result<_>>()?;
        Ok(QueryPage { entries, next: page.next })
    }
}

pub(super) fn already_there(stream_id: &str, number: u64) -> Error {
    Error::conflict(stream_id, None, format!("the stream exists already, since `_log` entry {number}"))
}

/// Decodes the pointer in an object about `stream_id`.
pub(super) fn pointer_of(stream_id: &str, value: &[u8]) -> Result<u64> {
    decode_pointer(value).ok().filter(|n| *n > 0).ok_or_else(|| {
        Error::corrupt(stream_id, 0, "the index of `_log` holds something that is no entry number")
    })
}
