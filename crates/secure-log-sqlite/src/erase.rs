//! Erasing payloads.

use std::fs::File;
use std::io::{self, Write};

use rusqlite::{Connection, TransactionBehavior, params};
use secure_log::error::{Error, Result};

use crate::entries;
use crate::failure::{At, from_sqlite};

/// Rows of one transaction.
const STEP: i64 = 1_000;

/// Deletes the payloads of entries `from` to `to`, those that are there; how many there were. `secure_delete` overwrites
/// them in the file; what the write-ahead log has of them is for [`clear_wal`].
pub fn erase(conn: &mut Connection, stream: &str, from: u64, to: u64) -> Result<u64> {
    let at = At::entry(stream, from);
    let sql = |e| from_sqlite(e, &at);
    let Some((sid, head)) = entries::sid_and_head(conn, stream)? else { return Ok(0) };
    let last = i64::try_from(to.min(head.seqno)).unwrap_or(i64::MAX);
    let mut first = i64::try_from(from.max(1)).unwrap_or(i64::MAX);
    let mut erased = 0;
    while first <= last {
        let until = last.min(first.saturating_add(STEP - 1));
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        erased += tx
            .prepare_cached(
                "DELETE FROM payloads WHERE pos IN \
                 (SELECT pos FROM entries WHERE sid = ?1 AND seqno BETWEEN ?2 AND ?3)",
            )
            .and_then(|mut statement| statement.execute(params![sid, first, until]))
            .map_err(sql)? as u64;
        tx.commit().map_err(sql)?;
        first = until + 1;
    }
    Ok(erased)
}

/// Moves the write-ahead log into the file, and overwrites and empties it: it has pages from before the erasure.
/// `allowed` is asked before each write that does not go through SQLite.
pub fn clear_wal(conn: &Connection, allowed: impl Fn() -> Result<()>) -> Result<()> {
    let at = &At::store();
    let Some(path) = conn.path().filter(|path| !path.is_empty() && *path != ":memory:") else {
        return Ok(());
    };
    let wal = format!("{path}-wal");
    checkpoint(conn, "PRAGMA wal_checkpoint(RESTART)", at)?;
    // All of it is in the file now, durably: whatever becomes of these bytes, nothing is lost.
    overwrite(&wal, allowed)?;
    checkpoint(conn, "PRAGMA wal_checkpoint(TRUNCATE)", at)
}

fn checkpoint(conn: &Connection, sql: &str, at: &At) -> Result<()> {
    let busy: i64 = conn.query_row(sql, [], |row| row.get(0)).map_err(|e| from_sqlite(e, at))?;
    match busy {
        0 => Ok(()),
        _ => Err(Error::Busy("the write-ahead log is in use: run the erasure again".into())),
    }
}

fn overwrite(path: &str, allowed: impl Fn() -> Result<()>) -> Result<()> {
    let failed = |e: io::Error| Error::Storage(format!("cannot overwrite {path}: {e}"));
    let mut file = match File::options().write(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    let zeros = [0; 64 << 10];
    let mut left = file.metadata().map_err(failed)?.len();
    while left > 0 {
        let len = zeros.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        allowed()?;
        file.write_all(&zeros[..len]).map_err(failed)?;
        left -= len as u64;
    }
    file.sync_data().map_err(failed)
}
