//! Appending, and the heads that it compares.

use rusqlite::{CachedStatement, Connection, OptionalExtension, TransactionBehavior, params};
use secure_log::error::{Error, Result};
use secure_log::limits::{MAX_HEADER, MAX_PAGE_BYTES, MAX_PAGE_ROWS, MAX_PAYLOAD, MAX_STREAM_ID};
use secure_log::model::StreamHead;
use secure_log::store::{ObjectWrite, Row, StreamAppend};

use crate::failure::{At, from_sqlite};
use crate::{objects, rows};

/// Longest salt in front of a payload.
const MAX_SALT: usize = 32;

/// One transaction: expectations, rows, objects.
pub fn append(
    conn: &mut Connection,
    appends: &[StreamAppend],
    expect: &[StreamHead],
    writes: &[ObjectWrite],
) -> Result<()> {
    for append in appends {
        check_rows(append)?;
    }
    let at = At::store();
    let tx =
        conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| from_sqlite(e, &at))?;
    for head in expect {
        check_head(&tx, head, "expected")?;
    }
    for append in appends {
        append_stream(&tx, append)?;
    }
    for write in writes {
        objects::write(&tx, write)?;
    }
    tx.commit().map_err(|e| from_sqlite(e, &at))
}

fn check_rows(append: &StreamAppend) -> Result<()> {
    let stream = &append.prior.stream_id;
    if stream.is_empty() || stream.len() > MAX_STREAM_ID {
        return Err(Error::invalid(
            "stream-id",
            format!("has {} bytes; a stream id has 1 to {MAX_STREAM_ID}", stream.len()),
        ));
    }
    let mut next = append.prior.seqno;
    for row in &append.rows {
        let refuse = |field: &str, reason: String| {
            Err(Error::invalid(field, format!("entry {} of stream {stream:?}: {reason}", row.seqno)))
        };
        next = next.checked_add(1).unwrap_or(0);
        if row.seqno != next {
            return refuse("seqno", format!("not numbered on from {}", append.prior.seqno));
        }
        rows::to_sql(row.seqno, "seqno")?;
        rows::to_sql(row.time_ms, "time-ms")?;
        if row.header.len() > MAX_HEADER {
            return refuse("header", format!("{} bytes; the limit is {MAX_HEADER}", row.header.len()));
        }
        let payload = row.payload.as_ref().map_or(0, Vec::len);
        if payload > MAX_PAYLOAD + MAX_SALT {
            return refuse("payload", format!("{payload} bytes; the limit is {MAX_PAYLOAD}"));
        }
    }
    Ok(())
}

fn append_stream(conn: &Connection, append: &StreamAppend) -> Result<()> {
    let stream = &append.prior.stream_id;
    let sid = check_head(conn, &append.prior, "the head to follow")?;
    let Some(first) = append.rows.first() else { return Ok(()) };
    let at = At::entry(stream, first.seqno);
    if objects::is_frozen(conn, stream)? {
        return Err(Error::Denied(format!("stream {stream:?} is frozen: it takes no further entries")));
    }
    let sid = match sid {
        Some(sid) => sid,
        None => create_sid(conn, stream)?,
    };
    let sql = |e| from_sqlite(e, &at);
    let mut entry = conn
        .prepare_cached(
            "INSERT INTO entries (sid, seqno, entry_hash, header, time_ms, severity, event_type, producer, id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .map_err(sql)?;
    let mut payload =
        conn.prepare_cached("INSERT INTO payloads (pos, payload) VALUES (?1, ?2)").map_err(sql)?;
    for row in &append.rows {
        insert(conn, &mut entry, &mut payload, sid, stream, row)?;
    }
    Ok(())
}

fn insert(
    conn: &Connection,
    entry: &mut CachedStatement<'_>,
    payload: &mut CachedStatement<'_>,
    sid: i64,
    stream: &str,
    row: &Row,
) -> Result<()> {
    let sql = |e| from_sqlite(e, &At::entry(stream, row.seqno));
    let pos = entry.insert(params![
        sid,
        rows::to_sql(row.seqno, "seqno")?,
        &row.entry_hash[..],
        row.header,
        rows::to_sql(row.time_ms, "time-ms")?,
        row.severity,
        row.event_type,
        row.producer,
        row.id,
    ]);
    let pos = match pos {
        Ok(pos) => pos,
        Err(e) => {
            if let (Some(rusqlite::ErrorCode::ConstraintViolation), Some(id)) =
                (e.sqlite_error_code(), &row.id)
                && let Some(taken) = find_id(conn, stream, id)?
            {
                return Err(Error::conflict(
                    stream,
                    head(conn, stream)?,
                    format!("id {id:?} is taken by entry {taken}"),
                ));
            }
            return Err(sql(e));
        }
    };
    if let Some(bytes) = &row.payload {
        payload.execute(params![pos, bytes]).map_err(sql)?;
    }
    Ok(())
}

/// Internal number of a stream, if it has one.
pub fn sid(conn: &Connection, stream: &str) -> Result<Option<i64>> {
    let at = At::entry(stream, 0);
    conn.prepare_cached("SELECT sid FROM streams WHERE stream_id = ?1")
        .and_then(|mut statement| statement.query_row([stream], |row| row.get(0)).optional())
        .map_err(|e| from_sqlite(e, &at))
}

/// Gives a stream its internal number.
pub fn create_sid(conn: &Connection, stream: &str) -> Result<i64> {
    let at = At::entry(stream, 0);
    conn.prepare_cached("INSERT INTO streams (stream_id) VALUES (?1)")
        .and_then(|mut statement| statement.insert([stream]))
        .map_err(|e| from_sqlite(e, &at))
}

/// Head of a stream.
pub fn head(conn: &Connection, stream: &str) -> Result<Option<StreamHead>> {
    match sid(conn, stream)? {
        Some(sid) => head_of(conn, stream, sid),
        None => Ok(None),
    }
}

fn head_of(conn: &Connection, stream: &str, sid: i64) -> Result<Option<StreamHead>> {
    let at = At::entry(stream, 0);
    let sql = |e| from_sqlite(e, &at);
    let mut statement = conn
        .prepare_cached("SELECT seqno, entry_hash FROM entries WHERE sid = ?1 ORDER BY seqno DESC LIMIT 1")
        .map_err(sql)?;
    let mut found = statement.query([sid]).map_err(sql)?;
    let Some(row) = found.next().map_err(sql)? else { return Ok(None) };
    let seqno = rows::unsigned(row, 0, "seqno", &at)?;
    let entry_hash = rows::hash(row, 1, "entry_hash", &At::entry(stream, seqno))?;
    Ok(Some(StreamHead { stream_id: stream.to_owned(), seqno, entry_hash }))
}

/// `Conflict` unless the stream's head is `wanted`; otherwise its internal number, if it has one.
fn check_head(conn: &Connection, wanted: &StreamHead, what: &str) -> Result<Option<i64>> {
    let stream = &wanted.stream_id;
    let sid = sid(conn, stream)?;
    let actual = match sid {
        Some(sid) => head_of(conn, stream, sid)?,
        None => None,
    };
    let holds = match &actual {
        Some(head) => head == wanted,
        None => wanted.seqno == 0,
    };
    if holds {
        return Ok(sid);
    }
    let reason = match &actual {
        Some(head) if head.seqno == wanted.seqno => {
            format!("entry {} has another hash than {what}", head.seqno)
        }
        _ => format!("{what} is entry {}", wanted.seqno),
    };
    Err(Error::conflict(stream, actual, reason))
}

/// Number of the entry with this id.
pub fn find_id(conn: &Connection, stream: &str, id: &str) -> Result<Option<u64>> {
    let at = At::entry(stream, 0);
    let sql = |e| from_sqlite(e, &at);
    let mut statement = conn
        .prepare_cached(
            "SELECT e.seqno FROM streams s JOIN entries e ON e.sid = s.sid AND e.id = ?2 WHERE s.stream_id = ?1",
        )
        .map_err(sql)?;
    let mut found = statement.query([stream, id]).map_err(sql)?;
    match found.next().map_err(sql)? {
        Some(row) => Ok(Some(rows::unsigned(row, 0, "seqno", &at)?)),
        None => Ok(None),
    }
}

/// Rows of a stream from `from` on.
pub fn read_rows(conn: &Connection, stream: &str, from: u64, limit: u32, payloads: bool) -> Result<Vec<Row>> {
    let mut at = At::entry(stream, from);
    let (Some(sid), Ok(first)) = (sid(conn, stream)?, i64::try_from(from)) else { return Ok(Vec::new()) };
    let (column, join) =
        if payloads { (", p.payload", "LEFT JOIN payloads p ON p.pos = e.pos") } else { ("", "") };
    let mut statement = conn
        .prepare_cached(&format!(
            "SELECT {}{column} FROM entries e {join} WHERE e.sid = ?1 AND e.seqno >= ?2 ORDER BY e.seqno LIMIT ?3",
            rows::COLUMNS
        ))
        .map_err(|e| from_sqlite(e, &at))?;
    let mut found = statement
        .query(params![sid, first, limit.clamp(1, MAX_PAGE_ROWS)])
        .map_err(|e| from_sqlite(e, &at))?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next().map_err(|e| from_sqlite(e, &at))? {
        let mut entry = rows::entry(row, 0, &at)?;
        let here = At::entry(stream, entry.seqno);
        if payloads {
            entry.payload = match rows::value(row, 8, &here)? {
                rusqlite::types::ValueRef::Null => None,
                _ => Some(rows::blob(row, 8, "payload", &here)?),
            };
        }
        bytes += rows::size(&entry);
        if !page.is_empty() && bytes > MAX_PAGE_BYTES {
            break;
        }
        at.seqno = entry.seqno.saturating_add(1);
        page.push(entry);
    }
    Ok(page)
}

/// Heads of all streams after `after`.
pub fn list_heads(conn: &Connection, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
    let mut at = At::store();
    let mut statement = conn
        .prepare_cached(
            "SELECT s.stream_id, e.seqno, e.entry_hash FROM streams s \
             JOIN entries e ON e.sid = s.sid AND e.seqno = (SELECT max(seqno) FROM entries WHERE sid = s.sid) \
             WHERE s.stream_id > ?1 ORDER BY s.stream_id LIMIT ?2",
        )
        .map_err(|e| from_sqlite(e, &at))?;
    let mut found = statement
        .query(params![after.unwrap_or(""), limit.clamp(1, MAX_PAGE_ROWS)])
        .map_err(|e| from_sqlite(e, &at))?;
    let mut heads = Vec::new();
    while let Some(row) = found.next().map_err(|e| from_sqlite(e, &at))? {
        let stream_id = rows::text(row, 0, "stream_id", &At::store())?;
        at = At::entry(&stream_id, 0);
        let seqno = rows::unsigned(row, 1, "seqno", &at)?;
        at.seqno = seqno;
        heads.push(StreamHead { seqno, entry_hash: rows::hash(row, 2, "entry_hash", &at)?, stream_id });
    }
    Ok(heads)
}
