//! Writing an export (`crate::export`), a page at a time, without state between pages.

use super::*;
use crate::export::{EXPORT_VERSION, Line};
use crate::limits::MAX_PAGE_ROWS;
use crate::store::ObjectKind;

/// Where an export goes on.
struct Cursor {
    /// Head of `_log` when the export began: what happened later is left out.
    log_size: u64,
    /// Checkpoint lines written.
    checkpoints: u64,
    /// Entry lines written.
    entries: u64,
    /// Next entry of `stream_id`.
    next: u64,
    stream_id: String,
}

impl Cursor {
    fn to_text(&self) -> String {
        format!("{}:{}:{}:{}:{}", self.log_size, self.checkpoints, self.entries, self.next, self.stream_id)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ':');
        let mut number = || parts.next()?.parse().ok();
        let (log_size, checkpoints, entries, next) = (number()?, number()?, number()?, number()?);
        let stream_id = parts.next()?.to_owned();
        let cursor = Self { log_size, checkpoints, entries, next, stream_id };
        (cursor.next > 0 && cursor.to_text() == text).then_some(cursor)
    }
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_export_page(&mut self, keys: &[String], cursor: Option<&str>) -> Result<ExportPage> {
        let mut lines = String::new();
        let mut cursor = match cursor {
            Some(text) => Cursor::parse(text).ok_or_else(|| {
                Error::invalid("cursor", "is not one that an earlier page of an export gave")
            })?,
            None => self.begin_export(keys, &mut lines)?,
        };
        check_stream_id("cursor", &cursor.stream_id)?;
        let head = match cursor.stream_id.as_str() {
            LOG_STREAM => cursor.log_size,
            stream_id => self.existing_head(stream_id)?.seqno,
        };
        let prev = match cursor.next {
            1 => None,
            n => Some(self.row(&cursor.stream_id, n - 1, false)?.entry_hash),
        };
        let stream_id = cursor.stream_id.clone();
        let mut walk = verify::ChainWalk::new(&stream_id, cursor.next, prev);
        let left = head.saturating_sub(cursor.next - 1).min(MAX_PAGE_ROWS.into()) as u32;
        if left > 0 {
            let rows = self.store.read_rows(&stream_id, cursor.next, left, true)?;
            if rows.is_empty() {
                return Err(walk.missing());
            }
            let rules = self.rules(&stream_id)?;
            for row in rows.iter().take(left as usize) {
                let header = walk.step(row)?;
                let erased = rules.erasure(header.seqno, header.time_ms);
                if row.payload.is_none()
                    && header.object_ref.is_none()
                    && erased.is_some_and(|erased| erased.number > cursor.log_size)
                {
                    return Err(Error::Busy(format!(
                        "entry {} of stream {stream_id:?} was erased since the export began; begin it again",
                        header.seqno
                    )));
                }
                rules
                    .check_payload(&header, row.payload.as_deref())
                    .map_err(|reason| Error::corrupt(stream_id.as_str(), header.seqno, reason))?;
                lines += &Line::entry(&row.header, row.payload.as_deref()).to_text()?;
                cursor.entries += 1;
            }
        }
        cursor.next = walk.next_seqno();
        if cursor.next > head {
            let Some(next) = self.next_exported_stream(&cursor)? else {
                let end = Line::End { entries: cursor.entries, checkpoints: cursor.checkpoints };
                lines += &end.to_text()?;
                return Ok(ExportPage { lines, next: None });
            };
            (cursor.stream_id, cursor.next) = (next, 1);
        }
        Ok(ExportPage { lines, next: Some(cursor.to_text()) })
    }

    /// The lines before the entries.
    fn begin_export(&mut self, keys: &[String], lines: &mut String) -> Result<Cursor> {
        let log_size = self.log_head()?.seqno;
        let origin = self.stored_origin()?.ok_or_else(|| {
            Error::not_found("stream", LOG_STREAM, None, "the log is empty: there is nothing to export")
        })?;
        *lines += &Line::SecureLogExport { version: EXPORT_VERSION, origin }.to_text()?;
        for key in keys {
            crate::note::VerifierKey::parse(key)?;
            *lines += &Line::Key(key.clone()).to_text()?;
        }
        let mut checkpoints = 0;
        self.objects(ObjectKind::Checkpoint, "", |_, object| {
            let checkpoint = checkpoint::to_checkpoint(object)?;
            if checkpoint.size <= log_size {
                checkpoints += 1;
                *lines += &Line::Checkpoint(checkpoint.note).to_text()?;
            }
            Ok(())
        })?;
        Ok(Cursor { log_size, checkpoints, entries: 0, next: 1, stream_id: LOG_STREAM.to_owned() })
    }

    /// The stream after the cursor's that `_log` knew when the export began: `_log` itself is first,
    /// the others follow by name.
    fn next_exported_stream(&mut self, cursor: &Cursor) -> Result<Option<String>> {
        let mut after = match cursor.stream_id.as_str() {
            LOG_STREAM => None,
            stream_id => Some(stream_id.to_owned()),
        };
        loop {
            let Some(head) = self.store.list_heads(after.as_deref(), 1)?.pop() else { return Ok(None) };
            if head.stream_id != LOG_STREAM {
                let created = self.store.read_object(ObjectKind::Stream, &head.stream_id)?;
                let created = created.map(|value| lists::pointer_of(&head.stream_id, &value)).transpose()?;
                match created {
                    None => return Err(Error::corrupt(head.stream_id, 0, "`_log` does not know the stream")),
                    Some(number) if number <= cursor.log_size => return Ok(Some(head.stream_id)),
                    Some(_) => {}
                }
            }
            after = Some(head.stream_id);
        }
    }
}
