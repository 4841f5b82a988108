//! The object map.

use rusqlite::{Connection, OptionalExtension, params};
use secure_log::error::{Error, Result};
use secure_log::limits::{MAX_BATCH_BYTES, MAX_PAGE_BYTES, MAX_PAGE_ROWS};
use secure_log::store::{Object, ObjectKind, ObjectWrite};

use crate::failure::{At, from_sqlite};
use crate::rows;

/// Name of an object in errors.
fn name(kind: ObjectKind, key: &str) -> String {
    format!("{}/{key}", kind.name())
}

/// Writes one object under compare-and-set.
pub fn write(conn: &Connection, write: &ObjectWrite) -> Result<()> {
    let (kind, key) = (write.kind, write.key.as_str());
    let conflict = |reason: &str| Err(Error::conflict(name(kind, key), None, reason));
    if key.len() + write.value.len() > MAX_BATCH_BYTES {
        return Err(Error::invalid(
            "value",
            format!("{} is larger than {MAX_BATCH_BYTES} bytes", kind.name()),
        ));
    }
    if kind.create_only() && write.expected.is_some() {
        return conflict("objects of this kind are created once and never replaced");
    }
    match (read(conn, kind, key)?, &write.expected) {
        (Some(_), None) => return conflict("it is there already"),
        (None, Some(_)) => return conflict("it is not there"),
        (Some(actual), Some(expected)) if actual != *expected => return conflict("its value is another one"),
        _ => {}
    }
    conn.prepare_cached("INSERT OR REPLACE INTO objects (kind, key, value) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.execute(params![kind.name(), key, write.value]))
        .map_err(|e| from_sqlite(e, &At::store()))?;
    Ok(())
}

/// Whether there is a stream that takes no further rows.
pub fn any_frozen(conn: &Connection) -> Result<bool> {
    conn.prepare_cached("SELECT 1 FROM objects WHERE kind = ?1 LIMIT 1")
        .and_then(|mut statement| statement.exists([ObjectKind::Frozen.name()]))
        .map_err(|e| from_sqlite(e, &At::store()))
}

/// Whether a stream takes no further rows.
pub fn is_frozen(conn: &Connection, stream: &str) -> Result<bool> {
    conn.prepare_cached("SELECT 1 FROM objects WHERE kind = ?1 AND key = ?2")
        .and_then(|mut statement| statement.exists([ObjectKind::Frozen.name(), stream]))
        .map_err(|e| from_sqlite(e, &At::entry(stream, 0)))
}

/// One object's value.
pub fn read(conn: &Connection, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
    let at = At::store();
    conn.prepare_cached("SELECT value FROM objects WHERE kind = ?1 AND key = ?2")
        .and_then(|mut statement| {
            statement.query_row([kind.name(), key], |row| Ok(rows::blob(row, 0, "value", &at))).optional()
        })
        .map_err(|e| from_sqlite(e, &at))?
        .transpose()
}

/// Objects whose key begins with `prefix`, after `after`.
pub fn list(
    conn: &Connection,
    kind: ObjectKind,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Object>> {
    let (after, above) = match after {
        Some(after) if after >= prefix => (after, ">"),
        _ => (prefix, ">="),
    };
    page(conn, kind, prefix, &format!("key {above} ?2"), after, "ASC", limit)
}

/// The object with the greatest key that begins with `prefix`.
pub fn last(conn: &Connection, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
    Ok(page(conn, kind, prefix, "key >= ?2", prefix, "DESC", 1)?.pop())
}

fn page(
    conn: &Connection,
    kind: ObjectKind,
    prefix: &str,
    lower: &str,
    bound: &str,
    order: &str,
    limit: u32,
) -> Result<Vec<Object>> {
    let at = At::store();
    let sql = |e| from_sqlite(e, &at);
    // Text is compared bytewise (BINARY), so a prefix is a range.
    let upper = successor(prefix);
    let below = if upper.is_some() { "AND key < ?3" } else { "AND ?3 IS NULL" };
    let mut statement = conn
        .prepare_cached(&format!(
            "SELECT key, value FROM objects WHERE kind = ?1 AND {lower} {below} ORDER BY key {order} LIMIT ?4"
        ))
        .map_err(sql)?;
    let mut found =
        statement.query(params![kind.name(), bound, upper, limit.clamp(1, MAX_PAGE_ROWS)]).map_err(sql)?;
    let (mut objects, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next().map_err(sql)? {
        let key = rows::text(row, 0, "key", &at)?;
        let value = rows::blob(row, 1, "value", &at)?;
        bytes += key.len() + value.len() + 64;
        if !objects.is_empty() && bytes > MAX_PAGE_BYTES {
            break;
        }
        objects.push(Object { kind, key, value });
    }
    Ok(objects)
}

/// The least text that is greater than all that begin with `prefix`; `None` if there is none.
/// UTF-8 sorts as its code points do.
fn successor(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The one gap in the code points is that of the surrogates.
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn a_prefix_is_a_range() {
        assert_eq!(successor(""), None);
        assert_eq!(successor("a").as_deref(), Some("b"));
        assert_eq!(successor("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{10FFFF}"), None);
    }
}
