//! Reading entries by stream: heads, rows, ids.

use rusqlite::{Connection, OptionalExtension, params};
use secure_log::error::Result;
use secure_log::limits::{MAX_PAGE_BYTES, MAX_PAGE_ROWS};
use secure_log::model::StreamHead;
use secure_log::store::Row;

use crate::failure::{At, from_sqlite};
use crate::rows;

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
    Ok(sid_and_head(conn, stream)?.map(|(_, head)| head))
}

/// Internal number and head of a stream that has entries.
pub fn sid_and_head(conn: &Connection, stream: &str) -> Result<Option<(i64, StreamHead)>> {
    let at = At::entry(stream, 0);
    let sql = |e| from_sqlite(e, &at);
    let mut statement = conn
        .prepare_cached(
            "SELECT e.seqno, e.entry_hash, s.sid FROM streams s JOIN entries e ON e.sid = s.sid \
             WHERE s.stream_id = ?1 ORDER BY e.seqno DESC LIMIT 1",
        )
        .map_err(sql)?;
    let mut found = statement.query([stream]).map_err(sql)?;
    let Some(row) = found.next().map_err(sql)? else { return Ok(None) };
    let seqno = rows::unsigned(row, 0, "seqno", &at)?;
    let entry_hash = rows::hash(row, 1, "entry_hash", &At::entry(stream, seqno))?;
    let sid = row.get(2).map_err(sql)?;
    Ok(Some((sid, StreamHead { stream_id: stream.to_owned(), seqno, entry_hash })))
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
