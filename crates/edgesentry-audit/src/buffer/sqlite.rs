//! A buffer in a SQLite file: what was pushed is there after a crash.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::{BufferError, BufferStore, BufferedEntry};
use crate::integrity::ChainAnchor;
use crate::record::AuditRecord;

/// `PRAGMA application_id`: "EDSb".
const APPLICATION_ID: i32 = 0x4544_5362;
const SCHEMA_VERSION: i32 = 1;
/// Most payload bytes that are read at a time, beyond the first entry.
const PAGE_BYTES: usize = 4 << 20;

const SCHEMA: &str = "
    CREATE TABLE entries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        version INTEGER NOT NULL,
        record BLOB NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE TABLE last (
        device_id TEXT PRIMARY KEY,
        sequence BLOB NOT NULL,
        record_hash BLOB NOT NULL
    ) WITHOUT ROWID;
";

/// Entries in a SQLite file, in WAL mode with `synchronous=FULL`: each push is synced before it returns. One process has
/// the file at a time.
#[derive(Debug)]
pub struct SqliteBufferStore {
    db: Connection,
    len: usize,
}

fn failed(error: rusqlite::Error) -> BufferError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => BufferError::Busy(error.to_string()),
        Some(ErrorCode::NotADatabase) => BufferError::NotABuffer(error.to_string()),
        _ => BufferError::Storage(error.to_string()),
    }
}

/// Makes the file for its owner alone: payloads are in it. SQLite gives its other files the same permissions.
fn make_private(path: &Path) -> Result<(), BufferError> {
    #[cfg(unix)]
    if path != Path::new(":memory:") {
        use std::os::unix::fs::OpenOptionsExt;
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        if let Err(error) = made
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(BufferError::Storage(format!("{}: {error}", path.display())));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

impl SqliteBufferStore {
    /// Opens the buffer in this file and makes it if need be. `:memory:` is a buffer in memory.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BufferError> {
        let path = path.as_ref();
        make_private(path)?;
        // No `SQLITE_OPEN_URI`: a path is a path.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(path, flags).map_err(failed)?;
        Self::prepare(&mut db).map_err(failed)??;
        let len: i64 = db.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).map_err(failed)?;
        Ok(Self { db, len: usize::try_from(len).unwrap_or_default() })
    }

    fn prepare(db: &mut Connection) -> rusqlite::Result<Result<(), BufferError>> {
        db.busy_timeout(std::time::Duration::from_secs(1))?;
        // Set before the first access, so that the lock is taken by it and kept.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        let change = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let number = |name| change.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        match (number("application_id")?, number("user_version")?) {
            (APPLICATION_ID, SCHEMA_VERSION) => {}
            (0, 0) => {
                let tables: i64 =
                    change.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
                if tables != 0 {
                    return Ok(Err(BufferError::NotABuffer("it is another database".into())));
                }
                change.execute_batch(SCHEMA)?;
                change.pragma_update(None, "application_id", APPLICATION_ID)?;
                change.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            (APPLICATION_ID, version) => {
                return Ok(Err(BufferError::NotABuffer(format!(
                    "it is of version {version}, and this program knows {SCHEMA_VERSION}"
                ))));
            }
            _ => return Ok(Err(BufferError::NotABuffer("it is another database".into()))),
        }
        change.commit()?;
        Ok(Ok(()))
    }
}

impl BufferStore for SqliteBufferStore {
    fn push(&mut self, entry: &BufferedEntry) -> Result<(), BufferError> {
        let record = &entry.record;
        let bytes = record.to_bytes();
        let hash = *blake3::hash(&bytes).as_bytes();
        let mut push = || -> rusqlite::Result<()> {
            let change = self.db.transaction()?;
            change
                .prepare_cached("INSERT INTO entries (version, record, payload) VALUES (?1, ?2, ?3)")?
                .execute(params![record.version(), bytes, entry.payload])?;
            change
                .prepare_cached(
                    "INSERT INTO last (device_id, sequence, record_hash) VALUES (?1, ?2, ?3)
                     ON CONFLICT (device_id) DO UPDATE SET sequence = ?2, record_hash = ?3",
                )?
                .execute(params![record.device_id, record.sequence.to_be_bytes(), hash])?;
            change.commit()
        };
        push().map_err(failed)?;
        self.len += 1;
        Ok(())
    }

    fn front(&mut self, limit: usize) -> Result<Vec<BufferedEntry>, BufferError> {
        let mut select = self
            .db
            .prepare_cached("SELECT number, version, record, payload FROM entries ORDER BY number LIMIT ?1")
            .map_err(failed)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = select.query([limit]).map_err(failed)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next().map_err(failed)? {
            let number = row.get(0).map_err(failed)?;
            let corrupt = |reason: String| BufferError::Corrupt { number, reason };
            let version: u8 = row.get(1).map_err(|e| corrupt(e.to_string()))?;
            let record: Vec<u8> = row.get(2).map_err(|e| corrupt(e.to_string()))?;
            let payload: Vec<u8> = row.get(3).map_err(|e| corrupt(e.to_string()))?;
            let record = AuditRecord::from_bytes(version, &record).map_err(|e| corrupt(e.to_string()))?;
            bytes += payload.len();
            if bytes > PAGE_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(BufferedEntry { record, payload });
        }
        Ok(entries)
    }

    fn remove(&mut self, count: usize) -> Result<(), BufferError> {
        if count == 0 {
            return Ok(());
        }
        let removed = self
            .db
            .prepare_cached(
                "DELETE FROM entries WHERE number IN (SELECT number FROM entries ORDER BY number LIMIT ?1)",
            )
            .and_then(|mut delete| delete.execute([i64::try_from(count).unwrap_or(i64::MAX)]))
            .map_err(failed)?;
        self.len = self.len.saturating_sub(removed);
        Ok(())
    }

    fn len(&self) -> usize {
        self.len
    }

    fn last(&mut self, device_id: &str) -> Result<Option<ChainAnchor>, BufferError> {
        let row = self
            .db
            .query_row("SELECT sequence, record_hash FROM last WHERE device_id = ?1", [device_id], |row| {
                Ok((row.get::<_, [u8; 8]>(0)?, row.get::<_, [u8; 32]>(1)?))
            })
            .optional()
            .map_err(failed)?;
        Ok(row.map(|(sequence, record_hash)| ChainAnchor {
            sequence: u64::from_be_bytes(sequence),
            record_hash,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_synced_before_they_return() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteBufferStore::open(folder.path().join("device.buffer")).unwrap();
        let setting = |name| {
            store.db.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).unwrap()
        };
        assert_eq!(setting("journal_mode"), "wal".to_owned().into());
        assert_eq!(setting("synchronous"), 2.into());
        assert_eq!(setting("locking_mode"), "exclusive".to_owned().into());
    }
}
