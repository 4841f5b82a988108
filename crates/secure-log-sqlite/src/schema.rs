//! The tables, and how older ones become these.

use rusqlite::{Connection, TransactionBehavior};
use secure_log::error::{Error, Result};

use crate::failure::{At, from_sqlite};

/// `application_id` of our files: `SLog`.
pub const APPLICATION_ID: i32 = i32::from_be_bytes(*b"SLog");
/// `user_version` that this release writes.
pub const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;

/// Statement `i` turns version `i` into version `i + 1`; version 0 is an empty file.
const MIGRATIONS: &[&str] = &["
CREATE TABLE streams (
  sid       INTEGER PRIMARY KEY,          -- internal number of the stream
  stream_id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE entries (
  pos        INTEGER PRIMARY KEY,         -- order of storing, over all streams
  sid        INTEGER NOT NULL,
  seqno      INTEGER NOT NULL,            -- 1, 2, 3 ... in its stream
  entry_hash BLOB NOT NULL,               -- BLAKE3 of header, 32 bytes
  header     BLOB NOT NULL,               -- canonical CBOR; what follows is copied from it
  time_ms    INTEGER NOT NULL,            -- ms since the Unix epoch
  severity   INTEGER NOT NULL,            -- 0 emergency ... 7 debug
  event_type TEXT NOT NULL,
  producer   TEXT NOT NULL,
  id         TEXT                         -- the event's own id
) STRICT;
CREATE UNIQUE INDEX entries_seqno ON entries (sid, seqno);
CREATE UNIQUE INDEX entries_id ON entries (sid, id) WHERE id IS NOT NULL;
CREATE INDEX entries_time ON entries (time_ms);
CREATE INDEX entries_event_type ON entries (event_type);
CREATE INDEX entries_severity ON entries (severity);
CREATE INDEX entries_producer ON entries (producer);

-- No row: the payload is kept elsewhere, or was erased.
CREATE TABLE payloads (
  pos     INTEGER PRIMARY KEY,            -- of its entry
  payload BLOB NOT NULL                   -- salt included
) STRICT;

CREATE TABLE objects (
  kind  TEXT NOT NULL,                    -- stream, frozen, segment, checkpoint, receipt, state
  key   TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- Derived from entries; may be deleted.
CREATE TABLE tiles (
  sid    INTEGER NOT NULL,
  level  INTEGER NOT NULL,                -- 0: leaf hashes
  idx    INTEGER NOT NULL,
  hashes BLOB NOT NULL,                   -- 1 to 256 hashes of 32 bytes
  PRIMARY KEY (sid, level, idx)
) STRICT;
"];

/// Brings the tables of an opened file up to date. Nothing is written to a file that is not ours
/// or that a newer release has written.
pub fn migrate(conn: &mut Connection, store: &str) -> Result<()> {
    let at = At::store();
    let number = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
    let application_id = number("application_id").map_err(|e| from_sqlite(e, &at))?;
    let version = number("user_version").map_err(|e| from_sqlite(e, &at))?;
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| from_sqlite(e, &at))?;
    if application_id != APPLICATION_ID && (application_id != 0 || version != 0 || tables != 0) {
        return Err(not_ours(store, application_id));
    }
    known(store, version)?;
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    let tx =
        conn.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(|e| from_sqlite(e, &at))?;
    for sql in &MIGRATIONS[version as usize..] {
        tx.execute_batch(sql).map_err(|e| from_sqlite(e, &at))?;
    }
    tx.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}"
    ))
    .and_then(|()| tx.commit())
    .map_err(|e| from_sqlite(e, &at))
}

/// Looks at the first 100 bytes of a file before anything touches it (SQLite file format §1.3).
pub fn check_header(store: &str, header: &[u8]) -> Result<()> {
    let int =
        |at: usize| -> Option<i32> { Some(i32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?)) };
    let (Some(version), Some(application_id)) = (int(60), int(68)) else {
        return Err(not_a_database(store));
    };
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(not_a_database(store));
    }
    if application_id != APPLICATION_ID {
        return Err(not_ours(store, application_id));
    }
    known(store, version)
}

fn known(store: &str, version: i32) -> Result<()> {
    if (0..=SCHEMA_VERSION).contains(&version) {
        return Ok(());
    }
    Err(Error::invalid(
        "config",
        format!(
            "{store} has schema version {version}; this release knows versions up to {SCHEMA_VERSION}: use a newer one"
        ),
    ))
}

fn not_a_database(store: &str) -> Error {
    Error::invalid("config", format!("{store} is not a SQLite database; it was left as it is"))
}

fn not_ours(store: &str, application_id: i32) -> Error {
    Error::invalid(
        "config",
        format!(
            "{store} is a SQLite database of something else (application_id {application_id}); it was left as it is"
        ),
    )
}
