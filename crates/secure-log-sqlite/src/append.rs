//! Appending: compare heads, insert, all or nothing.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, params};
use secure_log::error::{Error, Result};
use secure_log::limits::{MAX_HEADER, MAX_PAYLOAD, MAX_STREAM_ID};
use secure_log::model::StreamHead;
use secure_log::store::{ObjectWrite, Row, StreamAppend};

use crate::entries::{create_sid, find_id, sid, sid_and_head};
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
    in_transaction(conn, |conn| {
        let mut checked = HashMap::with_capacity(expect.len());
        for head in expect {
            let sid = check_head(conn, head, "expected")?;
            checked.insert(head.stream_id.as_str(), (head, sid));
        }
        let any_frozen = objects::any_frozen(conn)?;
        for append in appends {
            let prior = &append.prior;
            // Whoever expects a head and goes on from it has it looked up once.
            let sid = match checked.get(prior.stream_id.as_str()) {
                Some((head, sid)) if *head == prior => *sid,
                _ => check_head(conn, prior, "the head to follow")?,
            };
            append_stream(conn, append, sid, any_frozen)?;
            checked.remove(prior.stream_id.as_str());
        }
        for write in writes {
            objects::write(conn, write)?;
        }
        Ok(())
    })
}

/// Runs `work` in a transaction. Its statements are cached: parsing them costs as much as a row.
fn in_transaction(conn: &Connection, work: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
    let run = |sql: &str| {
        let executed = conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        executed.map(drop).map_err(|e| from_sqlite(e, &At::store()))
    };
    run("BEGIN IMMEDIATE")?;
    let result = work(conn).and_then(|()| run("COMMIT"));
    if result.is_err() && !conn.is_autocommit() {
        // Whether or not this works, the reason above is what matters.
        let _ = conn.execute_batch("ROLLBACK");
    }
    result
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

/// `sid`: the stream's internal number, if it has one; its head was checked.
fn append_stream(conn: &Connection, append: &StreamAppend, sid: Option<i64>, any_frozen: bool) -> Result<()> {
    let stream = &append.prior.stream_id;
    let Some(first) = append.rows.first() else { return Ok(()) };
    let at = At::entry(stream, first.seqno);
    if any_frozen && objects::is_frozen(conn, stream)? {
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
        insert(conn, &mut entry, &mut payload, sid, &append.prior, row)?;
    }
    Ok(())
}

fn insert(
    conn: &Connection,
    entry: &mut CachedStatement<'_>,
    payload: &mut CachedStatement<'_>,
    sid: i64,
    prior: &StreamHead,
    row: &Row,
) -> Result<()> {
    let stream = &prior.stream_id;
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
                // The head is the one before this transaction, which is undone.
                return Err(Error::conflict(
                    stream,
                    (prior.seqno > 0).then(|| prior.clone()),
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

/// `Conflict` unless the stream's head is `wanted`; otherwise its internal number, if it has one.
fn check_head(conn: &Connection, wanted: &StreamHead, what: &str) -> Result<Option<i64>> {
    let stream = &wanted.stream_id;
    let (sid, actual) = match sid_and_head(conn, stream)? {
        Some((sid, head)) => (Some(sid), Some(head)),
        None => (sid(conn, stream)?, None),
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
