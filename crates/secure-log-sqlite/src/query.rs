//! Finding rows by their index columns, in the order in which they were stored.
//!
//! Every index ends with the row's position, so each one can be walked in that order from a
//! cursor on. The walk that has least before it is taken; the other conditions are checked row by
//! row. A time range becomes a range of positions: clocks step, but rarely.

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use secure_log::error::{Error, Result};
use secure_log::limits::{MAX_PAGE_BYTES, MAX_PAGE_ROWS};
use secure_log::model::{QueryFilter, Severity};
use secure_log::store::{FoundPage, FoundRow};

use crate::failure::{At, from_sqlite};
use crate::{entries, rows};

/// How far to look for a time range before asking the time index where it is.
const PROBE: i64 = 4_096;
/// As many rows are worth walking without further thought.
const FEW: i64 = 1_000;

/// Where a query goes on: after a position, up to the last one that can match (if known).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    after: i64,
    last: Option<i64>,
}

impl Cursor {
    const START: Self = Self { after: 0, last: None };

    fn parse(text: &str) -> Result<Self> {
        let number = |digits: &str| -> Option<i64> {
            digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
        };
        let (after, last) = match text.split_once('-') {
            Some((after, last)) => (number(after), number(last).map(Some)),
            None => (number(text), Some(None)),
        };
        match (after, last) {
            (Some(after), Some(last)) => Ok(Self { after, last }),
            _ => Err(Error::invalid("cursor", "not one that a query of this store has given")),
        }
    }

    fn text(self) -> String {
        match self.last {
            Some(last) => format!("{}-{last}", self.after),
            None => self.after.to_string(),
        }
    }
}

/// Which index to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    All,
    Stream,
    EventType,
    Producer,
    Severity,
}

/// One page of the rows that match.
pub fn query(conn: &Connection, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
    let cursor = cursor.map_or(Ok(Cursor::START), Cursor::parse)?;
    let sid = match &filter.stream_id {
        Some(stream) => match entries::sid(conn, stream)? {
            Some(sid) => Some(sid),
            None => return Ok(FoundPage::default()),
        },
        None => None,
    };
    // Times that the tables cannot hold are after all that they hold.
    let Ok(from_ms) = filter.from_ms.map(i64::try_from).transpose() else { return Ok(FoundPage::default()) };
    let to_ms = filter.to_ms.and_then(|ms| i64::try_from(ms).ok());
    let query = Query { conn, filter, sid, from_ms, to_ms };
    query.page(cursor, limit.clamp(1, MAX_PAGE_ROWS) as usize)
}

struct Query<'a> {
    conn: &'a Connection,
    filter: &'a QueryFilter,
    sid: Option<i64>,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
}

/// A page being filled.
struct Page {
    rows: Vec<FoundRow>,
    last: i64,
    bytes: usize,
    limit: usize,
    more: bool,
}

impl Page {
    /// Takes a row; `false` when it does not fit.
    fn take(&mut self, pos: i64, row: FoundRow) -> bool {
        self.bytes += rows::size(&row.row) + row.stream_id.len();
        if self.rows.len() == self.limit || (!self.rows.is_empty() && self.bytes > MAX_PAGE_BYTES) {
            self.more = true;
            return false;
        }
        self.rows.push(row);
        self.last = pos;
        true
    }

    fn finish(self, last: Option<i64>) -> FoundPage {
        let next = self.more.then(|| Cursor { after: self.last, last }.text());
        FoundPage { rows: self.rows, next }
    }
}

impl Query<'_> {
    fn page(&self, cursor: Cursor, limit: usize) -> Result<FoundPage> {
        let mut page = Page { rows: Vec::new(), last: cursor.after, bytes: 0, limit, more: false };
        let Cursor { mut after, mut last } = cursor;
        let (walk, few) = self.choose(after, last.unwrap_or(i64::MAX))?;
        let timed = self.from_ms.is_some() || self.to_ms.is_some();
        if timed && last.is_none() && !few {
            let probed = after.saturating_add(PROBE);
            self.walk(walk, after, probed, &mut page)?;
            if page.more {
                return Ok(page.finish(None));
            }
            match self.time_bounds(probed)? {
                Some((first, end)) => (after, last) = (first - 1, Some(end)),
                None => return Ok(page.finish(None)),
            }
        }
        self.walk(walk, after, last.unwrap_or(i64::MAX), &mut page)?;
        Ok(page.finish(last))
    }

    /// The index with the fewest rows in these positions, and whether they are few.
    fn choose(&self, after: i64, last: i64) -> Result<(Walk, bool)> {
        let mut candidates = Vec::new();
        if self.sid.is_some() {
            candidates.push(Walk::Stream);
        }
        if self.filter.event_type.is_some() {
            candidates.push(Walk::EventType);
        }
        if self.filter.producer.is_some() {
            candidates.push(Walk::Producer);
        }
        if self.filter.min_severity.is_some_and(|s| s != Severity::Debug) {
            candidates.push(Walk::Severity);
        }
        let mut best = (Walk::All, i64::MAX);
        for walk in candidates {
            let count = self.count(walk, after, last)?;
            if count < best.1 {
                best = (walk, count);
            }
        }
        Ok((best.0, best.1 <= FEW))
    }

    /// How many rows a walk has before it; at most a few more than [`FEW`].
    fn count(&self, walk: Walk, after: i64, last: i64) -> Result<i64> {
        let count = |column: &str, value: Value| -> Result<i64> {
            self.conn
                .prepare_cached(&format!(
                    "SELECT count(*) FROM \
                     (SELECT 1 FROM entries WHERE {column} = ?1 AND pos > ?2 AND pos <= ?3 LIMIT ?4)"
                ))
                .and_then(|mut statement| {
                    statement.query_row(params![value, after, last, FEW + 1], |row| row.get(0))
                })
                .map_err(|e| self.sql(e))
        };
        match walk {
            Walk::All => Ok(i64::MAX),
            Walk::Stream => {
                let (first, end) = (self.seqno_at(after)?, self.seqno_at(last)?);
                Ok(end - first)
            }
            Walk::EventType => count("event_type", text(&self.filter.event_type)),
            Walk::Producer => count("producer", text(&self.filter.producer)),
            Walk::Severity => {
                self.severities().try_fold(0, |sum, s| Ok(sum + count("severity", Value::from(s))?))
            }
        }
    }

    fn severities(&self) -> impl Iterator<Item = i64> + use<> {
        0..=self.filter.min_severity.map_or(7, |s| s as i64)
    }

    /// Adds the rows that match with `after` < position ≤ `last`, until the page is full.
    fn walk(&self, walk: Walk, after: i64, last: i64, page: &mut Page) -> Result<()> {
        if page.more || after >= last {
            return Ok(());
        }
        if walk == Walk::Severity {
            return self.walk_severities(after, last, page);
        }
        let mut values = vec![Value::from(after), Value::from(last)];
        let mut conditions = String::new();
        let mut order = "e.pos";
        let (mut after_column, mut last_column) = ("e.pos", "e.pos");
        if walk == Walk::Stream {
            (after_column, last_column, order) = ("e.seqno", "+e.pos", "e.seqno");
            values[0] = Value::from(self.seqno_at(after)?);
        }
        conditions.push_str(&format!("{after_column} > ?1 AND {last_column} <= ?2"));
        self.conditions(walk, &mut conditions, &mut values);
        values.push(Value::from((page.limit - page.rows.len() + 1) as i64));
        let sql = format!(
            "SELECT e.pos, s.stream_id, {} FROM entries e LEFT JOIN streams s ON s.sid = e.sid \
             WHERE {conditions} ORDER BY {order} LIMIT ?{}",
            rows::COLUMNS,
            values.len()
        );
        let mut statement = self.conn.prepare_cached(&sql).map_err(|e| self.sql(e))?;
        let mut found = statement.query(params_from_iter(values)).map_err(|e| self.sql(e))?;
        while let Some(row) = found.next().map_err(|e| self.sql(e))? {
            let (pos, row) = self.found(row)?;
            if !page.take(pos, row) {
                break;
            }
        }
        Ok(())
    }

    /// One walk per severity, merged.
    fn walk_severities(&self, after: i64, last: i64, page: &mut Page) -> Result<()> {
        let want = page.limit - page.rows.len() + 1;
        let mut positions: Vec<i64> = Vec::new();
        for severity in self.severities() {
            let mut values = vec![Value::from(after), Value::from(last), Value::from(severity)];
            let mut conditions = "e.pos > ?1 AND e.pos <= ?2 AND e.severity = ?3".to_owned();
            self.conditions(Walk::Severity, &mut conditions, &mut values);
            values.push(Value::from(want as i64));
            let sql = format!(
                "SELECT e.pos FROM entries e WHERE {conditions} ORDER BY e.pos LIMIT ?{}",
                values.len()
            );
            let mut statement = self.conn.prepare_cached(&sql).map_err(|e| self.sql(e))?;
            let mut found = statement.query(params_from_iter(values)).map_err(|e| self.sql(e))?;
            while let Some(row) = found.next().map_err(|e| self.sql(e))? {
                positions.push(row.get(0).map_err(|e| self.sql(e))?);
            }
        }
        positions.sort_unstable();
        positions.truncate(want);
        let sql = format!(
            "SELECT e.pos, s.stream_id, {} FROM entries e LEFT JOIN streams s ON s.sid = e.sid WHERE e.pos = ?1",
            rows::COLUMNS
        );
        let mut statement = self.conn.prepare_cached(&sql).map_err(|e| self.sql(e))?;
        for pos in positions {
            let mut found = statement.query([pos]).map_err(|e| self.sql(e))?;
            let row = found.next().map_err(|e| self.sql(e))?;
            let row =
                row.ok_or_else(|| At::store().corrupt(format!("an index names row {pos}, which is gone")))?;
            let (pos, row) = self.found(row)?;
            if !page.take(pos, row) {
                break;
            }
        }
        Ok(())
    }

    /// The conditions besides the positions. A `+` keeps SQLite from using another index.
    fn conditions(&self, walk: Walk, sql: &mut String, values: &mut Vec<Value>) {
        let mut add = |condition: &str, value: Value| {
            values.push(value);
            sql.push_str(&format!(" AND {condition} ?{}", values.len()));
        };
        if let Some(sid) = self.sid {
            add(if walk == Walk::Stream { "e.sid =" } else { "+e.sid =" }, Value::from(sid));
        }
        if self.filter.event_type.is_some() {
            let column = if walk == Walk::EventType { "e.event_type =" } else { "+e.event_type =" };
            add(column, text(&self.filter.event_type));
        }
        if self.filter.producer.is_some() {
            let column = if walk == Walk::Producer { "e.producer =" } else { "+e.producer =" };
            add(column, text(&self.filter.producer));
        }
        if let (Some(severity), true) = (self.filter.min_severity, walk != Walk::Severity) {
            add("+e.severity <=", Value::from(severity as i64));
        }
        if let Some(from) = self.from_ms {
            add("+e.time_ms >=", Value::from(from));
        }
        if let Some(to) = self.to_ms {
            add("+e.time_ms <", Value::from(to));
        }
    }

    /// First and last position after `after` whose time matches: one walk through the time index
    /// alone.
    fn time_bounds(&self, after: i64) -> Result<Option<(i64, i64)>> {
        let to = if self.to_ms.is_some() { "time_ms < ?3" } else { "?3 IS NULL" };
        self.conn
            .prepare_cached(&format!(
                "SELECT min(pos), max(pos) FROM entries WHERE time_ms >= ?2 AND {to} AND +pos > ?1"
            ))
            .and_then(|mut statement| {
                statement.query_row(params![after, self.from_ms.unwrap_or(i64::MIN), self.to_ms], |row| {
                    Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?))
                })
            })
            .map_err(|e| self.sql(e))
    }

    /// Last number of the stream that is stored at or before a position; 0 if there is none.
    fn seqno_at(&self, pos: i64) -> Result<i64> {
        if pos <= 0 {
            return Ok(0);
        }
        let at_or_before = |seqno: i64| -> Result<Option<(i64, i64)>> {
            let mut statement = self
                .conn
                .prepare_cached(
                    "SELECT seqno, pos FROM entries WHERE sid = ?1 AND seqno <= ?2 ORDER BY seqno DESC LIMIT 1",
                )
                .map_err(|e| self.sql(e))?;
            let mut found = statement.query(params![self.sid, seqno]).map_err(|e| self.sql(e))?;
            match found.next().map_err(|e| self.sql(e))? {
                Some(row) => {
                    Ok(Some((row.get(0).map_err(|e| self.sql(e))?, row.get(1).map_err(|e| self.sql(e))?)))
                }
                None => Ok(None),
            }
        };
        let Some((mut high, end)) = at_or_before(i64::MAX)? else { return Ok(0) };
        if end <= pos {
            return Ok(high);
        }
        // Within a stream, positions grow with the numbers.
        let mut low = 0;
        while low < high {
            let middle = low + (high - low + 1) / 2;
            match at_or_before(middle)? {
                Some((_, here)) if here > pos => high = middle - 1,
                _ => low = middle,
            }
        }
        Ok(low)
    }

    fn found(&self, row: &rusqlite::Row<'_>) -> Result<(i64, FoundRow)> {
        let at = At::store();
        let pos = row.get(0).map_err(|e| self.sql(e))?;
        if rows::value(row, 1, &at)? == rusqlite::types::ValueRef::Null {
            return Err(at.corrupt(format!("row {pos} belongs to a stream that is gone")));
        }
        let stream_id = rows::text(row, 1, "stream_id", &at)?;
        let entry = rows::entry(row, 2, &At::entry(&stream_id, 0))?;
        Ok((pos, FoundRow { stream_id, row: entry }))
    }

    fn sql(&self, e: rusqlite::Error) -> Error {
        from_sqlite(e, &At::entry(self.filter.stream_id.as_deref().unwrap_or(""), 0))
    }
}

fn text(value: &Option<String>) -> Value {
    value.clone().map_or(Value::Null, Value::Text)
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn cursors_survive_being_text() {
        for cursor in [Cursor { after: 0, last: None }, Cursor { after: 7, last: Some(i64::MAX) }] {
            assert_eq!(Cursor::parse(&cursor.text()).unwrap(), cursor);
        }
        for bad in ["", "-", "1-", "-1", "+1", "1-2-3", "x", "9223372036854775808", "1 "] {
            assert!(Cursor::parse(bad).is_err(), "{bad:?}");
        }
    }
}
