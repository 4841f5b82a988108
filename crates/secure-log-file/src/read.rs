//! Pages of rows, of a stream or found by a query.

use secure_log::error::{Error, Result};
use secure_log::limits::{MAX_PAGE_BYTES, MAX_PAGE_ROWS};
use secure_log::model::QueryFilter;
use secure_log::store::{FoundPage, FoundRow, Row};

use crate::index::{Pos, Stream};
use crate::io::{Lines, read_at};
use crate::line::{self, EntryLine, Line, PayloadRef, SUM_BEFORE};
use crate::log::{failed, short_chunk};
use crate::store::FileSecureLogStore;

/// Lines of one stream that lie close together are read together, up to this much.
const READ_TOGETHER: u64 = 256 << 10;
/// How far apart such lines may be.
const READ_GAP: u64 = 4 << 10;
/// Payloads that lie one after the other are read together, up to this much.
const READ_PAYLOADS: u64 = 1 << 20;
/// What a row counts in a page beside its bytes.
pub(crate) const ROW_OVERHEAD: usize = 64;

/// A row without its payload, and where that is.
pub(crate) fn row_of(e: &EntryLine<'_>) -> Option<(Row, Option<PayloadRef>)> {
    let row = Row {
        seqno: e.seqno,
        entry_hash: e.hash,
        header: line::unbase64(e.header)?,
        payload: None,
        time_ms: e.time_ms,
        severity: e.severity,
        event_type: e.event_type.to_string(),
        producer: e.producer.to_string(),
        id: e.id.as_ref().map(ToString::to_string),
    };
    Some((row, e.payload))
}

pub(crate) fn size_of(row: &Row) -> usize {
    row.header.len()
        + row.event_type.len()
        + row.producer.len()
        + row.id.as_ref().map_or(0, String::len)
        + ROW_OVERHEAD
}

fn page_limit(limit: u32) -> usize {
    limit.clamp(1, MAX_PAGE_ROWS) as usize
}

/// A page that fills up.
pub(crate) struct Page {
    pub(crate) limit: usize,
    rows: usize,
    bytes: usize,
}

impl Page {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit: page_limit(limit), rows: 0, bytes: 0 }
    }

    fn full(&self) -> bool {
        self.rows >= self.limit
    }

    /// Takes `bytes` more, if they fit or are the first.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = !self.full() && (self.rows == 0 || self.bytes.saturating_add(bytes) <= MAX_PAGE_BYTES);
        if fits {
            self.rows += 1;
            self.bytes = self.bytes.saturating_add(bytes);
        }
        fits
    }
}

impl FileSecureLogStore {
    /// Reads lines of entries `from..` of a stream, for as long as `take` wants more.
    pub(crate) fn each_row(
        &self,
        stream: &Stream,
        from: u64,
        at_most: usize,
        mut take: impl FnMut(Pos, &EntryLine<'_>) -> Result<bool>,
    ) -> Result<()> {
        let log = &self.log;
        let mut next = from;
        let mut left = at_most;
        let mut given = false;
        let mut buf = Vec::new();
        while left > 0 {
            // Lines that lie close together.
            let mut group: Vec<Pos> = Vec::new();
            let mut broken = None;
            while group.len() < left {
                match stream.pos(next) {
                    Ok(Some(pos)) => {
                        if let (Some(first), Some(last)) = (group.first(), group.last()) {
                            let gap = pos.offset().saturating_sub(last.offset() + last.len() as u64);
                            let span = pos.offset() + pos.len() as u64 - first.offset();
                            if gap > READ_GAP || span > READ_TOGETHER {
                                break;
                            }
                        }
                        group.push(pos);
                        next += 1;
                    }
                    Ok(None) => break,
                    Err(e) => {
                        broken = Some(e);
                        break;
                    }
                }
            }
            let (Some(first), Some(last)) = (group.first().copied(), group.last().copied()) else {
                return match broken {
                    // What was found before it comes first.
                    Some(e) if !given => Err(e),
                    _ => Ok(()),
                };
            };
            left -= group.len();
            let start = first.offset().saturating_sub(SUM_BEFORE as u64);
            buf.resize((last.offset() + last.len() as u64 - start) as usize, 0);
            let n = read_at(&log.file, &mut buf, start).map_err(|e| log.read_failed(&e))?;
            for (seqno, pos) in (next - group.len() as u64..).zip(group) {
                let at = (pos.offset() - start) as usize - SUM_BEFORE;
                let line = buf[..n].get(at..at + SUM_BEFORE + pos.len());
                let entry = match line.and_then(|l| log.content(pos.offset(), l)).map(line::scan) {
                    Some(Ok(Line::Entry(e))) if e.stream == *stream.name && e.seqno == seqno => e,
                    _ if given => return Ok(()),
                    _ => {
                        return Err(Error::corrupt(
                            &*stream.name,
                            seqno,
                            format!("its line at byte {} does not hold", pos.offset()),
                        ));
                    }
                };
                if !take(pos, &entry)? {
                    return Ok(());
                }
                given = true;
            }
            if broken.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fetches payloads; an error for the first row, fewer rows for a later one.
    pub(crate) fn fill_payloads(
        &mut self,
        stream: &str,
        rows: &mut Vec<Row>,
        places: &[Option<PayloadRef>],
    ) -> Result<()> {
        let mut i = 0;
        while i < rows.len() {
            let Some(first) = places[i] else {
                i += 1;
                continue;
            };
            let mut count = 1;
            let mut end = first.offset.saturating_add(first.len);
            while let Some(Some(p)) = places.get(i + count) {
                let together =
                    p.chunk == first.chunk && p.offset == end && end - first.offset + p.len <= READ_PAYLOADS;
                if !together || i + count >= rows.len() {
                    break;
                }
                end += p.len;
                count += 1;
            }
            let mut bytes = vec![0; (end - first.offset) as usize];
            let read = self.payloads.read(first.chunk, first.offset, &mut bytes);
            let complete = read.map_err(|e| failed("read", &self.payloads.path(first.chunk), &e))?;
            if !complete && count > 1 {
                // One after the other, to find the one that is short.
                for k in i..i + count {
                    let Some(p) = places[k] else { continue };
                    let mut bytes = vec![0; p.len as usize];
                    let read = self.payloads.read(p.chunk, p.offset, &mut bytes);
                    if !read.map_err(|e| failed("read", &self.payloads.path(p.chunk), &e))? {
                        return self.short_payload(stream, rows, k, p);
                    }
                    rows[k].payload = Some(bytes);
                }
            } else if !complete {
                return self.short_payload(stream, rows, i, first);
            } else {
                let mut rest = &bytes[..];
                for k in i..i + count {
                    let len = places[k].map_or(0, |p| p.len as usize);
                    let (mine, others) = rest.split_at(len);
                    rows[k].payload = Some(mine.to_vec());
                    rest = others;
                }
            }
            i += count;
        }
        Ok(())
    }

    fn short_payload(&self, stream: &str, rows: &mut Vec<Row>, k: usize, p: PayloadRef) -> Result<()> {
        if k > 0 {
            rows.truncate(k);
            return Ok(());
        }
        let len = self.payloads.len(p.chunk).unwrap_or_default();
        Err(Error::corrupt(stream, rows[0].seqno, short_chunk(p.chunk, len)))
    }

    pub(crate) fn parse_cursor(&self, cursor: &str) -> Result<u64> {
        let refused = || Error::invalid("cursor", "this is no cursor that this store gave out");
        let offset: u64 = cursor.parse().map_err(|_| refused())?;
        if offset.to_string() != cursor || offset < SUM_BEFORE as u64 || offset > self.log.end {
            return Err(refused());
        }
        if offset == self.log.end {
            return Ok(offset);
        }
        let mut before = [0];
        let n = read_at(&self.log.file, &mut before, offset - 1).map_err(|e| self.log.read_failed(&e))?;
        if n == 1 && before == *b"\n" { Ok(offset) } else { Err(refused()) }
    }

    pub(crate) fn query_stream(
        &self,
        stream: &Stream,
        filter: &QueryFilter,
        from: u64,
        limit: u32,
    ) -> Result<FoundPage> {
        let mut found = FoundPage::default();
        let mut page = Page::new(limit);
        let first = stream.number_at(from);
        let mut next = first;
        // In pieces, so that what was found before damage is handed out first.
        loop {
            let mut seen = 0;
            let mut at = None;
            let read = self.each_row(stream, next, page_limit(u32::MAX), |pos, entry| {
                if matches(filter, entry) {
                    let (row, _) = row_of(entry).ok_or_else(|| self.log.changed(pos.offset(), &[]))?;
                    if !page.take(size_of(&row)) {
                        at = Some(pos.offset());
                        return Ok(false);
                    }
                    found.rows.push(FoundRow { stream_id: stream.name.to_string(), row });
                }
                seen += 1;
                Ok(true)
            });
            match read {
                Err(e) if found.rows.is_empty() => return Err(e),
                Err(_) => {
                    // The next page begins where this one had to stop.
                    let last = next + seen - 1;
                    let end = stream.pos(last)?.map_or(self.log.end, |p| p.offset() + p.len() as u64 + 1);
                    found.next = Some(end.to_string());
                    return Ok(found);
                }
                Ok(()) => {}
            }
            if at.is_some() {
                found.next = at.map(|o| o.to_string());
                return Ok(found);
            }
            if seen == 0 {
                match self.log.index.check_end(stream) {
                    Err(e) if found.rows.is_empty() => return Err(e),
                    Err(_) => found.next = Some(self.log.end.to_string()),
                    Ok(()) => {}
                }
                return Ok(found);
            }
            next += seen;
        }
    }

    pub(crate) fn query_all(&self, filter: &QueryFilter, from: u64, limit: u32) -> Result<FoundPage> {
        let log = &self.log;
        let mut found = FoundPage::default();
        let mut page = Page::new(limit);
        let mut before = [0; SUM_BEFORE];
        let n = read_at(&log.file, &mut before, from - SUM_BEFORE as u64).map_err(|e| log.read_failed(&e))?;
        let mut prev = line::sum_before(&before[..n]);
        let mut lines = Lines::new(&log.file, from, log.end);
        while let Some(raw) = lines.next().map_err(|e| log.read_failed(&e))? {
            let chained = log.index.chained_from.get(&raw.offset).copied().or(prev);
            let split = if raw.ended && raw.whole() { line::split_sum(raw.bytes) } else { None };
            prev = split.map(|(_, sum)| sum);
            let content = split
                .filter(|(content, sum)| chained.is_some_and(|c| line::sum_of(&c, content) == *sum))
                .and_then(|(content, _)| std::str::from_utf8(content).ok());
            let outcome = match content.map(line::scan) {
                Some(Ok(Line::Entry(e))) if !matches(filter, &e) => continue,
                Some(Ok(Line::Entry(e))) => match log.index.stream(&e.stream).map(|s| s.pos(e.seqno)) {
                    Some(Ok(Some(pos))) if pos.offset() == raw.offset => row_of(&e)
                        .map(|(row, _)| FoundRow { stream_id: e.stream.into_owned(), row })
                        .ok_or_else(|| log.changed(raw.offset, raw.bytes)),
                    Some(Err(e)) => Err(e),
                    _ => Err(log.changed(raw.offset, raw.bytes)),
                },
                Some(Ok(_)) => continue,
                _ => Err(log.changed(raw.offset, raw.bytes)),
            };
            match outcome {
                Ok(row) if page.take(size_of(&row.row)) => found.rows.push(row),
                Err(e) if found.rows.is_empty() => return Err(e),
                _ => {
                    found.next = Some(raw.offset.to_string());
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

fn matches(filter: &QueryFilter, e: &EntryLine<'_>) -> bool {
    filter.stream_id.as_ref().is_none_or(|s| *s == e.stream)
        && filter.from_ms.is_none_or(|t| e.time_ms >= t)
        && filter.to_ms.is_none_or(|t| e.time_ms < t)
        && filter.min_severity.is_none_or(|s| e.severity <= s as u8)
        && filter.event_type.as_ref().is_none_or(|t| *t == e.event_type)
        && filter.producer.as_ref().is_none_or(|p| *p == e.producer)
}

/// The least string that is greater than all that begin with `prefix`.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            c => char::from_u32(u32::from(c) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}
