//! Reading back: rows against their headers, headers against the chain, payloads against headers.

use super::*;
use crate::domains::{Found, StreamRules};
use crate::limits::MAX_PAGE_ROWS;
use crate::store::StreamAppend;
use crate::tiles;

/// Checks a row on its own: canonical encoding, hash, place, and the index columns against the
/// header. The link to the row before is the caller's.
pub(super) fn check_row<'a>(stream_id: &str, row: &'a Row) -> Result<HeaderRef<'a>> {
    let corrupt = |reason: String| Error::corrupt(stream_id, row.seqno, reason);
    if entry_hash(&row.header) != row.entry_hash {
        return Err(corrupt("its hash does not belong to its header".into()));
    }
    let header =
        HeaderRef::decode(&row.header).map_err(|e| corrupt(format!("its header is not canonical: {e}")))?;
    if header.stream_id != stream_id {
        return Err(corrupt(format!("its header belongs to stream {:?}", header.stream_id)));
    }
    if header.seqno != row.seqno {
        return Err(corrupt(format!("its header belongs to entry {}", header.seqno)));
    }
    let column = if header.time_ms != row.time_ms {
        "time"
    } else if header.severity as u8 != row.severity {
        "severity"
    } else if header.event_type != row.event_type {
        "event type"
    } else if header.producer != row.producer {
        "producer"
    } else if header.event_id != row.id.as_deref() {
        "event id"
    } else {
        return Ok(header);
    };
    Err(corrupt(format!("the stored {column} differs from the header's")))
}

/// Checks a stored payload against its header, where none can be erased.
pub(super) fn check_payload(stream_id: &str, header: &HeaderRef<'_>, payload: Option<&[u8]>) -> Result<()> {
    StreamRules::of_log()
        .check_payload(header, payload)
        .map(|_| ())
        .map_err(|reason| Error::corrupt(stream_id, header.seqno, reason))
}

/// Decodes the record in a row of `_log` that was read with its payload.
pub(super) fn decode_record(row: &Row) -> Result<Record> {
    decode_checked_record(row, &check_row(LOG_STREAM, row)?)
}

/// The same for a row that was checked already, as those of a walk are.
pub(super) fn decode_checked_record(row: &Row, header: &HeaderRef<'_>) -> Result<Record> {
    check_payload(LOG_STREAM, header, row.payload.as_deref())?;
    if header.salt_len != 0 || header.nonce.is_some() {
        return Err(Error::corrupt(LOG_STREAM, row.seqno, "the record is salted or sealed"));
    }
    Record::decode(header.event_type, row.payload.as_deref().unwrap_or_default())
        .map_err(|e| Error::corrupt(LOG_STREAM, row.seqno, format!("the record is malformed: {e}")))
}

pub(super) fn to_entry(stream_id: &str, row: Row) -> Result<Entry> {
    let header = check_row(stream_id, &row)?.to_owned();
    Ok(Entry { header, header_bytes: row.header, entry_hash: row.entry_hash })
}

/// Follows a chain row by row.
pub(super) struct ChainWalk<'a> {
    stream_id: &'a str,
    next: u64,
    /// Hash that the next row must link to; `None` where it is not known.
    prev: Option<Hash>,
}

impl<'a> ChainWalk<'a> {
    pub(super) fn new(stream_id: &'a str, next: u64, prev: Option<Hash>) -> Self {
        let prev = if next == 1 { Some(ZERO_HASH) } else { prev };
        Self { stream_id, next, prev }
    }

    pub(super) fn next_seqno(&self) -> u64 {
        self.next
    }

    pub(super) fn step<'r>(&mut self, row: &'r Row) -> Result<HeaderRef<'r>> {
        if row.seqno != self.next {
            return Err(self.missing());
        }
        let header = check_row(self.stream_id, row)?;
        if self.prev.is_some_and(|prev| prev != header.prev_hash) {
            return Err(Error::corrupt(
                self.stream_id,
                row.seqno,
                "it does not link to the entry before it: one of the two was replaced",
            ));
        }
        self.prev = Some(row.entry_hash);
        self.next += 1;
        Ok(header)
    }

    pub(super) fn missing(&self) -> Error {
        Error::corrupt(self.stream_id, self.next, "the entry is missing")
    }
}

/// Checks rows that somebody else made before they are stored: each one's hash, canonical header, index columns and
/// payload, and that they follow `append.prior` and each other. Whether that is the head is the store's to say.
///
/// `Corrupt` naming the first row that does not hold.
pub fn check_append(append: &StreamAppend) -> Result<()> {
    let prior = &append.prior;
    let stream_id = prior.stream_id.as_str();
    if (prior.seqno == 0) != (prior.entry_hash == ZERO_HASH) {
        return Err(Error::corrupt(stream_id, prior.seqno, "seqno 0 goes with a hash of zeros, and only it"));
    }
    // Numbers end before the last one, so that whoever counts on from a row does not begin anew.
    let next = match prior.seqno.checked_add(append.rows.len() as u64) {
        Some(last) if last < u64::MAX => prior.seqno + 1,
        _ => return Err(Error::corrupt(stream_id, prior.seqno, "nothing comes after the last number")),
    };
    let mut walk = ChainWalk::new(stream_id, next, Some(prior.entry_hash));
    for row in &append.rows {
        let header = walk.step(row)?;
        check_payload(stream_id, &header, row.payload.as_deref())?;
    }
    Ok(())
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    /// Calls `visit` for rows `from` to `to`, in order, each checked and linked to the one before.
    /// `link`: whether the first row is checked against the row before it.
    pub(super) fn walk(
        &mut self,
        stream_id: &str,
        from: u64,
        to: u64,
        payloads: bool,
        link: bool,
        mut visit: impl FnMut(&Row, &HeaderRef<'_>) -> Result<()>,
    ) -> Result<()> {
        let prev = match from {
            2.. if link => Some(self.row(stream_id, from - 1, false)?.entry_hash),
            _ => None,
        };
        let mut walk = ChainWalk::new(stream_id, from, prev);
        while walk.next_seqno() <= to {
            let left = to - walk.next_seqno() + 1;
            let limit = u32::try_from(left).unwrap_or(u32::MAX).min(MAX_PAGE_ROWS);
            let rows = self.store.read_rows(stream_id, walk.next_seqno(), limit, payloads)?;
            if rows.is_empty() {
                return Err(walk.missing());
            }
            for row in rows.iter().take(limit as usize) {
                let header = walk.step(row)?;
                visit(row, &header)?;
            }
        }
        Ok(())
    }

    /// Head of a stream that must have entries `from_seqno` to `to_seqno`.
    fn head_above(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<StreamHead> {
        let head = self.existing_head(stream_id)?;
        if from_seqno == 0 {
            return Err(Error::invalid("from-seqno", "entries are numbered from 1"));
        }
        if to_seqno < from_seqno {
            return Err(Error::invalid("to-seqno", format!("{to_seqno} is before from-seqno {from_seqno}")));
        }
        if to_seqno > head.seqno {
            return Err(Error::not_found(
                "entry",
                stream_id,
                Some(to_seqno),
                format!("the last entry is {}", head.seqno),
            ));
        }
        Ok(head)
    }

    /// Headers of entries, as many as one page of the store holds.
    pub(super) fn do_read_headers(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        to_seqno: u64,
    ) -> Result<Vec<u8>> {
        self.head_above(stream_id, from_seqno, to_seqno)?;
        let prev = match from_seqno {
            1 => None,
            n => Some(self.row(stream_id, n - 1, false)?.entry_hash),
        };
        let mut walk = ChainWalk::new(stream_id, from_seqno, prev);
        let limit = (to_seqno - from_seqno).saturating_add(1).min(MAX_PAGE_ROWS.into()) as u32;
        let rows = self.store.read_rows(stream_id, from_seqno, limit, false)?;
        if rows.is_empty() {
            return Err(walk.missing());
        }
        let mut bundle = Vec::with_capacity(rows.iter().map(|row| 2 + row.header.len()).sum());
        for row in rows.iter().take(limit as usize) {
            walk.step(row)?;
            tiles::push_entry(&mut bundle, &row.header)?;
        }
        Ok(bundle)
    }

    pub(super) fn do_verify(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        to_seqno: u64,
        payloads: bool,
    ) -> Result<VerifyReport> {
        let head = self.head_above(stream_id, from_seqno, to_seqno)?;
        let segments = match stream_id {
            LOG_STREAM => Vec::new(),
            _ => self.segments_of(stream_id)?,
        };
        let rules = self.rules(stream_id)?;
        let mut segments = segments.iter().skip_while(|s| s.size < from_seqno).peekable();
        let mut report = VerifyReport {
            stream_id: stream_id.to_owned(),
            from_seqno,
            to_seqno,
            entries_checked: 0,
            payloads_checked: 0,
            payloads_erased: 0,
            payloads_elsewhere: 0,
            payloads_not_checked: 0,
            segments_matched: 0,
            head: head.clone(),
        };
        let mut last = ZERO_HASH;
        self.walk(stream_id, from_seqno, to_seqno, payloads, true, |row, header| {
            report.entries_checked += 1;
            let corrupt = |reason| Error::corrupt(stream_id, row.seqno, reason);
            rules.check_header(header).map_err(corrupt)?;
            if payloads {
                match rules.check_payload(header, row.payload.as_deref()).map_err(corrupt)? {
                    Found::Checked => report.payloads_checked += 1,
                    Found::Elsewhere => report.payloads_elsewhere += 1,
                    Found::Erased => report.payloads_erased += 1,
                }
            } else if header.object_ref.is_some() {
                report.payloads_elsewhere += 1;
            } else {
                report.payloads_not_checked += 1;
            }
            while let Some(segment) = segments.next_if(|s| s.size == row.seqno) {
                if segment.head_hash != row.entry_hash {
                    return Err(Error::corrupt(
                        stream_id,
                        row.seqno,
                        format!(
                            "segment {} recorded another entry here: the chain was rewritten after it was closed",
                            segment.segment_id
                        ),
                    ));
                }
                report.segments_matched += 1;
            }
            last = row.entry_hash;
            Ok(())
        })?;
        if to_seqno == head.seqno {
            if last != head.entry_hash {
                return Err(Error::corrupt(stream_id, to_seqno, "the stream's head names another hash"));
            }
            if let Some(segment) = segments.next() {
                return Err(Error::corrupt(
                    stream_id,
                    head.seqno + 1,
                    format!(
                        "segment {} covers {} entries, but only {} are there: the rest was removed",
                        segment.segment_id, segment.size, head.seqno
                    ),
                ));
            }
        }
        Ok(report)
    }
}
