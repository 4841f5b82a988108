//! Tiles: derived data.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use secure_log::error::{Error, Result};
use secure_log::limits::MAX_STREAM_ID;
use secure_log::store::Tile;

use crate::failure::{At, from_sqlite};
use crate::{entries, rows};

/// Writes tiles, replacing older ones, without waiting for the disk: they can be derived again.
pub fn write(conn: &mut Connection, stream: &str, tiles: &[Tile]) -> Result<()> {
    if stream.is_empty() || stream.len() > MAX_STREAM_ID {
        return Err(Error::invalid("stream-id", format!("a stream id has 1 to {MAX_STREAM_ID} bytes")));
    }
    for tile in tiles {
        if !(32..=256 * 32).contains(&tile.hashes.len()) || tile.hashes.len() % 32 != 0 {
            return Err(Error::invalid(
                "hashes",
                format!("{} bytes are not 1 to 256 hashes", tile.hashes.len()),
            ));
        }
        rows::to_sql(tile.index, "index")?;
    }
    if tiles.is_empty() {
        return Ok(());
    }
    let at = At::entry(stream, 0);
    // The next durable commit syncs these frames too: they come before it in the same file.
    conn.execute_batch("PRAGMA synchronous = NORMAL").map_err(|e| from_sqlite(e, &at))?;
    let result = write_all(conn, stream, tiles, &at);
    conn.execute_batch("PRAGMA synchronous = FULL").map_err(|e| from_sqlite(e, &at))?;
    result
}

fn write_all(conn: &mut Connection, stream: &str, tiles: &[Tile], at: &At) -> Result<()> {
    let sql = |e| from_sqlite(e, at);
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    let sid = match entries::sid(&tx, stream)? {
        Some(sid) => sid,
        None => entries::create_sid(&tx, stream)?,
    };
    {
        let mut statement = tx
            .prepare_cached("INSERT OR REPLACE INTO tiles (sid, level, idx, hashes) VALUES (?1, ?2, ?3, ?4)")
            .map_err(sql)?;
        for tile in tiles {
            statement
                .execute(params![sid, tile.level, rows::to_sql(tile.index, "index")?, tile.hashes])
                .map_err(sql)?;
        }
    }
    tx.commit().map_err(sql)
}

/// Hashes of a tile.
pub fn read(conn: &Connection, stream: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
    let at = At::entry(stream, 0);
    let (Some(sid), Ok(index)) = (entries::sid(conn, stream)?, i64::try_from(index)) else { return Ok(None) };
    conn.prepare_cached("SELECT hashes FROM tiles WHERE sid = ?1 AND level = ?2 AND idx = ?3")
        .and_then(|mut statement| {
            statement
                .query_row(params![sid, level, index], |row| Ok(rows::blob(row, 0, "hashes", &at)))
                .optional()
        })
        .map_err(|e| from_sqlite(e, &at))?
        .transpose()
}
