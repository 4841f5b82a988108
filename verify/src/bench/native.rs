//! The native sides of the comparisons.

use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, params};
use secure_log::NativeSecureLog;
use secure_log::header::entry_hash;
use secure_log::store::OpenStore;
use secure_log_sqlite::SqliteSecureLogStore;

use crate::crowd::Machine;

/// The engine on the same store, without a component in between.
pub type Native = NativeSecureLog<SqliteSecureLogStore, Machine>;

/// The native log over a SQLite store.
pub fn open(config: &str) -> anyhow::Result<Native> {
    Ok(NativeSecureLog::new(SqliteSecureLogStore::open(config)?, Machine, "bench")?)
}

/// SQLite alone: the statements that an append of the store executes, on the store's schema, with
/// rows that were made beforehand.
pub struct PlainSqlite {
    conn: Connection,
    next: i64,
}

impl PlainSqlite {
    /// Opens a file that the store has made, with its settings.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let conn = Connection::open(path)?;
        conn.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; \
             PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = 67108864;",
        )?;
        conn.set_prepared_statement_cache_capacity(64);
        Ok(Self { conn, next: 1 })
    }

    /// Makes such a file: the store's tables, and one stream.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let config = path.to_str().context("the path is not UTF-8")?;
        secure_log::store::SecureLogStore::close(SqliteSecureLogStore::open(config)?)?;
        let plain = Self::open(path)?;
        plain.conn.execute("INSERT INTO streams (stream_id) VALUES ('bench')", [])?;
        Ok(plain)
    }

    /// One transaction with one entry.
    pub fn append(&mut self, header: &[u8], payload: &[u8]) -> anyhow::Result<()> {
        let tx = self.conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let sid: i64 = tx
            .prepare_cached("SELECT sid FROM streams WHERE stream_id = ?1")?
            .query_row(["bench"], |row| row.get(0))?;
        {
            let mut head = tx.prepare_cached(
                "SELECT seqno, entry_hash FROM entries WHERE sid = ?1 ORDER BY seqno DESC LIMIT 1",
            )?;
            let mut rows = head.query([sid])?;
            if let Some(row) = rows.next()? {
                std::hint::black_box((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?));
            }
        }
        tx.prepare_cached("SELECT 1 FROM objects WHERE kind = ?1 AND key = ?2")?
            .exists(["frozen", "bench"])?;
        let pos = tx
            .prepare_cached(
                "INSERT INTO entries (sid, seqno, entry_hash, header, time_ms, severity, event_type, producer, id) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .insert(params![
                sid,
                self.next,
                blake3::hash(&self.next.to_le_bytes()).as_bytes(),
                header,
                1_790_000_000_000_i64 + self.next,
                6,
                super::append::EVENT_TYPE,
                super::append::PRODUCER,
                None::<String>
            ])?;
        tx.prepare_cached("INSERT INTO payloads (pos, payload) VALUES (?1, ?2)")?
            .execute(params![pos, payload])?;
        tx.commit()?;
        self.next += 1;
        Ok(())
    }

    /// Reads all columns of a stream's entries and hashes the stored headers. Gives their number.
    pub fn read_and_hash(&self, stream: &str) -> anyhow::Result<u64> {
        let mut statement = self.conn.prepare_cached(
            "SELECT e.seqno, e.entry_hash, e.header, e.time_ms, e.severity, e.event_type, e.producer, e.id \
             FROM streams s JOIN entries e ON e.sid = s.sid WHERE s.stream_id = ?1 ORDER BY e.seqno",
        )?;
        let mut rows = statement.query([stream])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            for column in 0..8 {
                std::hint::black_box(row.get_ref(column)?);
            }
            std::hint::black_box(entry_hash(row.get_ref(2)?.as_blob()?));
            count += 1;
        }
        Ok(count)
    }
}
