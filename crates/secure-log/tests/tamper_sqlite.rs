//! Someone with write access to the database: what each change looks like to whoever verifies.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use std::path::{Path, PathBuf};

use common::*;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use secure_log::error::Corruption;
use secure_log::model::Severity;
use secure_log::store::SecureLogStore;
use secure_log::{Error, SecureLog};
use secure_log_sqlite::SqliteSecureLogStore;
use tempfile::TempDir;

struct Sample {
    directory: TempDir,
    original: PathBuf,
    trusted: Vec<String>,
}

fn config(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn close(log: Log<SqliteSecureLogStore>) {
    log.into_store().close().unwrap();
}

fn make() -> Sample {
    make_with(|_| {})
}

fn make_with(last: impl FnOnce(&mut Log<SqliteSecureLogStore>)) -> Sample {
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("original.db");
    let mut log = open::<SqliteSecureLogStore>(config(&original));
    let trusted = sample(&mut log);
    log.deprecate_stream("alarms").unwrap();
    last(&mut log);
    verify_all(&mut log, &trusted).unwrap();
    close(log);
    Sample { directory, original, trusted }
}

impl Sample {
    /// What verification says of a copy that `change` was made to.
    fn after(&self, change: impl FnOnce(&Connection)) -> secure_log::Result<()> {
        let copy = self.directory.path().join("copy.db");
        std::fs::copy(&self.original, &copy).unwrap();
        let conn = Connection::open(&copy).unwrap();
        change(&conn);
        drop(conn);
        let opened = <SqliteSecureLogStore as secure_log::store::OpenStore>::open(config(&copy));
        let result = opened.and_then(|store| {
            let mut log = secure_log::NativeSecureLog::new(store, fixed(), "test 1")?;
            let result = verify_all(&mut log, &self.trusted);
            close(log);
            result
        });
        for leftover in std::fs::read_dir(self.directory.path()).unwrap() {
            let path = leftover.unwrap().path();
            if path != self.original {
                let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
            }
        }
        result
    }

    fn sql(&self, sql: &str) -> secure_log::Result<()> {
        self.after(|conn| assert!(conn.execute(sql, []).unwrap() > 0, "{sql} changed nothing"))
    }
}

#[track_caller]
fn names(result: secure_log::Result<()>, stream: &str, seqno: u64) {
    match &result {
        Err(Error::Corrupt(Corruption { stream_id, seqno: n, .. })) if stream_id == stream && *n == seqno => {
        }
        other => panic!("expected entry {seqno} of {stream} to be named, got {other:?}"),
    }
}

/// Other values that a column could be changed to.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Integer(n) => {
            vec![Value::Integer(n + 1), Value::Integer(n - 1), Value::Integer(n + 1_000_000)]
        }
        Value::Text(s) => {
            let mut other = s.clone().into_bytes();
            if let Some(last) = other.last_mut() {
                *last = if *last == b'x' { b'y' } else { b'x' };
            }
            vec![Value::Text(String::from_utf8(other).unwrap()), Value::Text(format!("{s}x"))]
        }
        Value::Blob(b) => {
            let mut all: Vec<Value> = (0..b.len())
                .step_by(7)
                .map(|at| {
                    let mut other = b.clone();
                    other[at] ^= 1 << (at % 8);
                    Value::Blob(other)
                })
                .collect();
            all.push(Value::Blob(b[..b.len() - 1].to_vec()));
            all
        }
        Value::Null => vec![Value::Text("made-up".into())],
        Value::Real(_) => panic!("no column is real"),
    }
}

/// Every column of every row of every table: a change is caught, and says in which stream, and for
/// entries and payloads at which entry.
#[test]
fn every_column_of_every_row() {
    // All of it under a segment: what comes after the last one can be cut off unnoticed (see
    // `truncation_is_caught_up_to_the_last_segment`).
    let sample = make_with(|log| drop(log.close_segments().unwrap()));
    let conn = Connection::open(&sample.original).unwrap();
    let mut tables = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> = tables.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    let mut tried = 0;
    for table in &tables {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let rows: Vec<Vec<Value>> = statement
            .query_map([], |r| (0..columns.len()).map(|i| r.get(i)).collect())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(table == "tiles" || !rows.is_empty(), "the sample has nothing in {table}");
        let which: Vec<String> = columns.iter().map(|c| format!("{c} IS ?")).collect();
        for row in &rows {
            for (i, column) in columns.iter().enumerate() {
                for value in changes(&row[i]) {
                    let mut unique = true;
                    let result = sample.after(|conn| {
                        let sql = format!("UPDATE {table} SET {column} = ? WHERE {}", which.join(" AND "));
                        let values = std::iter::once(&value).chain(row);
                        match conn.execute(&sql, params_from_iter(values)) {
                            Ok(changed) => assert_eq!(changed, 1),
                            // The value of another row: the database itself refuses it.
                            Err(_) => unique = false,
                        }
                    });
                    if !unique {
                        continue;
                    }
                    tried += 1;
                    // The order of storing over all streams is no claim of the log. It shows all
                    // the same where the entry's payload is stored under it.
                    let elsewhere = row
                        .iter()
                        .any(|v| matches!(v, Value::Blob(b) if b.windows(9).any(|w| w == b"bucket/98")));
                    if table == "entries" && column == "pos" && elsewhere {
                        result.unwrap();
                        continue;
                    }
                    // Without its only signature the log is one that nobody signed, and with the
                    // signer's name changed it is one that a stranger signed: both are said.
                    let unsigned = matches!(&result, Err(Error::NotFound(m)) if m.what == "checkpoint")
                        || matches!(&result, Err(Error::Denied(_)));
                    if unsigned && row[0] == Value::Text("checkpoint".into()) {
                        continue;
                    }
                    let what = format!("{table}.{column} of {row:?} set to {value:?}");
                    let Err(Error::Corrupt(c)) = &result else { panic!("{what}: {result:?}") };
                    assert!(!c.stream_id.is_empty(), "{what}: {c:?}");
                    if table == "entries" && column != "pos" && column != "sid" {
                        assert!(c.seqno > 0, "{what}: {c:?}");
                    }
                }
            }
        }
    }
    assert!(tried > 1000, "only {tried} changes");
}

#[test]
fn a_changed_entry_or_payload_is_named() {
    let s = make();
    let doors = "sid = (SELECT sid FROM streams WHERE stream_id = 'doors')";
    for column in ["time_ms = time_ms + 1", "severity = 9", "event_type = 'x'", "producer = 'x'", "id = 'x'"]
    {
        names(s.sql(&format!("UPDATE entries SET {column} WHERE seqno = 3 AND {doors}")), "doors", 3);
    }
    let pos = format!("pos = (SELECT pos FROM entries WHERE seqno = 5 AND {doors})");
    names(s.sql(&format!("UPDATE payloads SET payload = x'00' WHERE {pos}")), "doors", 5);
    names(s.sql(&format!("DELETE FROM payloads WHERE {pos}")), "doors", 5);
    names(s.sql(&format!("UPDATE entries SET header = zeroblob(9) WHERE seqno = 7 AND {doors}")), "doors", 7);
}

#[test]
fn deleted_inserted_swapped_and_duplicated_entries_are_named() {
    let s = make();
    let doors = "sid = (SELECT sid FROM streams WHERE stream_id = 'doors')";
    let log = "sid = (SELECT sid FROM streams WHERE stream_id = '_log')";
    names(s.sql(&format!("DELETE FROM entries WHERE seqno = 4 AND {doors}")), "doors", 4);
    names(s.sql(&format!("DELETE FROM entries WHERE seqno = 2 AND {log}")), "_log", 2);
    // Closing the gap by renumbering shows in the headers.
    let result = s.after(|conn| {
        conn.execute_batch(&format!(
            "DELETE FROM entries WHERE seqno = 4 AND {doors};
             UPDATE entries SET seqno = -seqno WHERE seqno > 4 AND {doors};
             UPDATE entries SET seqno = -seqno - 1 WHERE seqno < 0;"
        ))
        .unwrap();
    });
    names(result, "doors", 4);
    let result = s.after(|conn| {
        conn.execute_batch(&format!(
            "UPDATE entries SET seqno = -2 WHERE seqno = 2 AND {doors};
             UPDATE entries SET seqno = 2 WHERE seqno = 3 AND {doors};
             UPDATE entries SET seqno = 3 WHERE seqno = -2;"
        ))
        .unwrap();
    });
    names(result, "doors", 2);
    // A copy of the last entry under the next number.
    let result = s.after(|conn| {
        conn.execute_batch(&format!(
            "INSERT INTO entries SELECT pos + 1000, sid, seqno + 1, entry_hash, header, time_ms, severity,
               event_type, producer, id FROM entries WHERE seqno = 12 AND {doors};
             INSERT INTO payloads SELECT pos + 1000, payload FROM payloads
               WHERE pos = (SELECT pos FROM entries WHERE seqno = 12 AND {doors});"
        ))
        .unwrap();
    });
    names(result, "doors", 13);
}

/// Removing the end of a stream: caught as far as a segment recorded it, and not beyond. That is
/// why segments are closed and signed often.
#[test]
fn truncation_is_caught_up_to_the_last_segment() {
    let s = make();
    let doors = "sid = (SELECT sid FROM streams WHERE stream_id = 'doors')";
    names(s.sql(&format!("DELETE FROM entries WHERE seqno > 7 AND {doors}")), "doors", 8);
    names(s.sql(&format!("DELETE FROM entries WHERE {doors}")), "doors", 1);
    // Entries 9 to 12 came after the segment: nothing yet says that they existed.
    s.sql(&format!("DELETE FROM entries WHERE seqno > 8 AND {doors}")).unwrap();
    // A deprecated stream ends where `_log` says.
    let alarms = "sid = (SELECT sid FROM streams WHERE stream_id = 'alarms')";
    names(s.sql(&format!("DELETE FROM entries WHERE seqno > 3 AND {alarms}")), "alarms", 4);
}

#[test]
fn a_dropped_stream_is_missed() {
    let s = make();
    let result = s.after(|conn| {
        conn.execute_batch(
            "DELETE FROM entries WHERE sid = (SELECT sid FROM streams WHERE stream_id = 'alarms');
             DELETE FROM objects WHERE key LIKE 'alarms%';
             DELETE FROM streams WHERE stream_id = 'alarms';",
        )
        .unwrap();
    });
    assert!(
        matches!(&result, Err(Error::Corrupt(c)) if c.stream_id == "_log" || c.stream_id == "alarms"),
        "{result:?}"
    );
    // Also when `_log` is cut before the stream's creation, since a checkpoint covers more.
    let result = s.after(|conn| {
        conn.execute_batch(
            "DELETE FROM entries WHERE sid = (SELECT sid FROM streams WHERE stream_id = 'alarms');
             DELETE FROM entries WHERE seqno > 2 AND sid = (SELECT sid FROM streams WHERE stream_id = '_log');
             DELETE FROM objects WHERE key LIKE 'alarms%' OR kind = 'segment';
             DELETE FROM streams WHERE stream_id = 'alarms';",
        )
        .unwrap();
    });
    names(result, "_log", 3);
}

/// Whoever rewrites history with correct hashes: one stream is betrayed by its segments, the whole
/// log only by what was signed or kept elsewhere.
#[test]
fn a_rewritten_log_is_consistent_in_itself_and_betrayed_by_the_signature() {
    let s = make();
    let mut log = open::<SqliteSecureLogStore>(config(&s.original));
    let note = log.latest_checkpoint().unwrap().unwrap().note;
    close(log);

    let path = s.directory.path().join("forged.db");
    let mut forged = open::<SqliteSecureLogStore>(config(&path));
    forged.set_origin("example.com/audit").unwrap();
    forged.create_stream("doors", secure_log::model::Tier::Public, Some("door events")).unwrap();
    let mut lie = event("doors", 0);
    lie.severity = Severity::Debug;
    forged.append(lie).unwrap();
    fill(&mut forged, "doors", 7);
    fill(&mut forged, "alarms", 4);
    forged.close_segments().unwrap();

    // The chain and the segments hold: a hash needs no key.
    forged.verify_chain("doors", 1, 8).unwrap();
    forged.verify_segments("doors").unwrap();
    forged.verify_chain("_log", 1, 5).unwrap();
    // Without the key there is no checkpoint; with the old one it does not fit.
    assert!(matches!(forged.verify_checkpoint_chain(&s.trusted), Err(Error::NotFound(_))));
    let write = secure_log::store::ObjectWrite {
        kind: secure_log::store::ObjectKind::Checkpoint,
        key: format!("{:020}", 1),
        value: note.clone().into_bytes(),
        expected: None,
    };
    forged.store_mut().append(&[], &[], &[write]).unwrap();
    names(forged.verify_checkpoint_chain(&s.trusted).map(drop), "_log", 5);
    assert!(matches!(forged.check_against(&note), Err(Error::RolledBack(_))));
    // Nor will the log sign on top of it.
    let error = forged.sign_segment(&mut TestSigner, "key", 5).unwrap_err();
    assert!(matches!(&error, Error::Corrupt(c) if c.reason.contains("checkpoint 1")), "{error}");
    close(forged);
}

/// One stream rewritten with correct hashes, everything else as it was.
#[test]
fn a_rewritten_stream_is_betrayed_by_its_segment() {
    let s = make();
    let path = s.directory.path().join("other.db");
    let mut other = open::<SqliteSecureLogStore>(config(&path));
    other.set_origin("example.com/audit").unwrap();
    fill(&mut other, "doors", 12);
    close(other);
    let result = s.after(|conn| {
        conn.execute_batch(&format!(
            "ATTACH '{}' AS other;
             DELETE FROM payloads WHERE pos IN (SELECT pos FROM entries WHERE sid = (SELECT sid FROM streams WHERE stream_id = 'doors'));
             DELETE FROM entries WHERE sid = (SELECT sid FROM streams WHERE stream_id = 'doors');
             INSERT INTO entries SELECT pos + 1000, (SELECT sid FROM streams WHERE stream_id = 'doors'), seqno, entry_hash,
               header, time_ms, severity, event_type, producer, id FROM other.entries
               WHERE sid = (SELECT sid FROM other.streams WHERE stream_id = 'doors');
             INSERT INTO payloads SELECT p.pos + 1000, p.payload FROM other.payloads p JOIN other.entries e ON e.pos = p.pos
               WHERE e.sid = (SELECT sid FROM other.streams WHERE stream_id = 'doors');",
            path.display()
        ))
        .unwrap();
    });
    names(result, "doors", 8);
}

/// Going back to an older copy of the whole store is consistent in itself: only a note kept
/// elsewhere shows it.
#[test]
fn an_older_copy_is_betrayed_by_a_note_kept_elsewhere() {
    let s = make();
    let old = s.directory.path().join("old.db");
    std::fs::copy(&s.original, &old).unwrap();
    let mut log = open::<SqliteSecureLogStore>(config(&s.original));
    fill(&mut log, "doors", 3);
    let segment = log.close_segment("doors").unwrap();
    let note = log.sign_segment(&mut TestSigner, "key", segment.segment_id).unwrap().note;
    close(log);
    let mut log = open::<SqliteSecureLogStore>(config(&old));
    verify_all(&mut log, &s.trusted).unwrap();
    let error = log.check_against(&note).unwrap_err();
    assert!(matches!(&error, Error::RolledBack(r) if r.claimed_size == 7 && r.size == 6), "{error}");
    close(log);
}
