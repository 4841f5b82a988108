//! Columns ⇄ rows. Whatever somebody has put into a column, this never panics.

use rusqlite::types::ValueRef;
use secure_log::error::{Error, Result};
use secure_log::store::Row;

use crate::failure::{At, from_sqlite};

/// Columns of `entries` in the order that [`entry`] reads.
pub const COLUMNS: &str =
    "e.seqno, e.entry_hash, e.header, e.time_ms, e.severity, e.event_type, e.producer, e.id";

/// Reads the columns of an entry from number `first` on.
pub fn entry(row: &rusqlite::Row<'_>, first: usize, at: &At) -> Result<Row> {
    let seqno = unsigned(row, first, "seqno", at)?;
    let at = &At { seqno, ..at.clone() };
    Ok(Row {
        seqno,
        entry_hash: hash(row, first + 1, "entry_hash", at)?,
        header: blob(row, first + 2, "header", at)?,
        payload: None,
        time_ms: unsigned(row, first + 3, "time_ms", at)?,
        severity: u8::try_from(unsigned(row, first + 4, "severity", at)?)
            .map_err(|_| at.corrupt("column severity is out of range"))?,
        event_type: text(row, first + 5, "event_type", at)?,
        producer: text(row, first + 6, "producer", at)?,
        id: match value(row, first + 7, at)? {
            ValueRef::Null => None,
            _ => Some(text(row, first + 7, "id", at)?),
        },
    })
}

/// Bytes that a row takes in a page.
pub fn size(row: &Row) -> usize {
    row.header.len()
        + row.payload.as_ref().map_or(0, Vec::len)
        + row.event_type.len()
        + row.producer.len()
        + row.id.as_ref().map_or(0, String::len)
        + 64
}

/// A number that the tables can hold.
pub fn to_sql(n: u64, field: &str) -> Result<i64> {
    i64::try_from(n)
        .map_err(|_| Error::invalid(field, format!("{n} is more than {}, the largest number", i64::MAX)))
}

/// The value of a column.
pub fn value<'a>(row: &'a rusqlite::Row<'_>, column: usize, at: &At) -> Result<ValueRef<'a>> {
    row.get_ref(column).map_err(|e| from_sqlite(e, at))
}

/// A number that is not negative.
pub fn unsigned(row: &rusqlite::Row<'_>, column: usize, name: &str, at: &At) -> Result<u64> {
    match value(row, column, at)? {
        ValueRef::Integer(n) => {
            u64::try_from(n).map_err(|_| at.corrupt(format!("column {name} is negative")))
        }
        _ => Err(at.corrupt(format!("column {name} is not a number"))),
    }
}

/// 32 bytes.
pub fn hash(row: &rusqlite::Row<'_>, column: usize, name: &str, at: &At) -> Result<[u8; 32]> {
    match value(row, column, at)? {
        ValueRef::Blob(bytes) => {
            bytes.try_into().map_err(|_| at.corrupt(format!("column {name} is not 32 bytes")))
        }
        _ => Err(at.corrupt(format!("column {name} is not bytes"))),
    }
}

/// Bytes.
pub fn blob(row: &rusqlite::Row<'_>, column: usize, name: &str, at: &At) -> Result<Vec<u8>> {
    match value(row, column, at)? {
        ValueRef::Blob(bytes) => Ok(bytes.to_vec()),
        _ => Err(at.corrupt(format!("column {name} is not bytes"))),
    }
}

/// Text.
pub fn text(row: &rusqlite::Row<'_>, column: usize, name: &str, at: &At) -> Result<String> {
    match value(row, column, at)? {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| at.corrupt(format!("column {name} is not UTF-8"))),
        _ => Err(at.corrupt(format!("column {name} is not text"))),
    }
}
