//! What the store costs beside SQLite itself, in one run: durable appends one by one and in
//! batches, against the same statements in a plain native loop; then queries on the result.
//!
//! `cargo run --release -p secure-log-sqlite --example throughput [ROWS] [DIRECTORY]`

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use secure_log::model::{QueryFilter, Severity, StreamHead};
use secure_log::store::{OpenStore, Row, SecureLogStore, StreamAppend};
use secure_log_sqlite::SqliteSecureLogStore;

const SINGLES: u64 = 2_000;
const BATCH: u64 = 1_000;

fn row(seqno: u64) -> Row {
    let mut entry_hash = [0; 32];
    entry_hash[..8].copy_from_slice(&seqno.to_le_bytes());
    Row {
        seqno,
        entry_hash,
        header: vec![7; 200],
        payload: Some(vec![9; 250]),
        time_ms: 1_700_000_000_000 + seqno,
        severity: if seqno.is_multiple_of(10_000) { 1 } else { 6 },
        event_type: if seqno.is_multiple_of(50_000) { "rare".into() } else { format!("type-{}", seqno % 10) },
        producer: format!("device-{}", seqno % 100),
        id: None,
    }
}

fn rate(what: &str, rows: u64, took: Duration) {
    let each = took.as_secs_f64() * 1e6 / rows as f64;
    println!(
        "{what:<44} {rows:>9} rows {:>9.1} ms {:>9.0} rows/s {each:>8.1} us each",
        took.as_secs_f64() * 1e3,
        1e6 / each
    );
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let rows: u64 = args.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let dir = std::path::PathBuf::from(args.next().unwrap_or_else(|| ".".into()));
    let dir = dir.join(format!("throughput-{:x}", RandomState::new().hash_one(0)));
    std::fs::create_dir(&dir)?;
    let result = run(rows, &dir);
    std::fs::remove_dir_all(&dir)?;
    result
}

fn run(rows: u64, dir: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let mut store = SqliteSecureLogStore::open(&dir.join("a.db").display().to_string())?;
    let mut head = StreamHead::empty("a");
    let mut append = |store: &mut SqliteSecureLogStore, count: u64| -> secure_log::Result<()> {
        let new: Vec<_> = (head.seqno + 1..=head.seqno + count).map(row).collect();
        let next = new.last().map(|row| (row.seqno, row.entry_hash));
        store.append(&[StreamAppend { prior: head.clone(), rows: new }], &[], &[])?;
        if let Some((seqno, entry_hash)) = next {
            head = StreamHead { stream_id: "a".into(), seqno, entry_hash };
        }
        Ok(())
    };

    let start = Instant::now();
    for _ in 0..SINGLES {
        append(&mut store, 1)?;
    }
    rate("store: durable appends of one row", SINGLES, start.elapsed());
    native(dir, SINGLES, 1)?;

    let mut stored = SINGLES;
    let (start, before) = (Instant::now(), stored);
    while stored < rows {
        append(&mut store, BATCH)?;
        stored += BATCH;
    }
    rate("store: durable appends of 1,000 rows", stored - before, start.elapsed());
    native(dir, (stored - before).min(100_000), BATCH)?;
    let start = Instant::now();
    append(&mut store, 10_000)?;
    rate("store: one durable append of 10,000 rows", 10_000, start.elapsed());
    let start = Instant::now();
    for _ in 0..SINGLES {
        append(&mut store, 1)?;
    }
    rate("store: durable appends of one row, at the end", SINGLES, start.elapsed());

    let all = QueryFilter::default();
    let middle = 1_700_000_000_000 + rows / 2;
    let queries = [
        ("everything", all.clone()),
        ("stream", QueryFilter { stream_id: Some("a".into()), ..all.clone() }),
        ("event type", QueryFilter { event_type: Some("type-3".into()), ..all.clone() }),
        ("rare event type", QueryFilter { event_type: Some("rare".into()), ..all.clone() }),
        ("producer", QueryFilter { producer: Some("device-7".into()), ..all.clone() }),
        ("severity", QueryFilter { min_severity: Some(Severity::Critical), ..all.clone() }),
        (
            "100 ms in the middle",
            QueryFilter { from_ms: Some(middle), to_ms: Some(middle + 100), ..all.clone() },
        ),
        ("second half", QueryFilter { from_ms: Some(middle), ..all.clone() }),
        (
            "second half, rare",
            QueryFilter { from_ms: Some(middle), event_type: Some("rare".into()), ..all.clone() },
        ),
        ("after the end", QueryFilter { from_ms: Some(middle * 2), ..all.clone() }),
    ];
    for (what, filter) in queries {
        let start = Instant::now();
        let first = store.query(&filter, None, 100)?;
        let took = start.elapsed();
        let start = Instant::now();
        let second = first.next.as_deref().map(|next| store.query(&filter, Some(next), 100)).transpose()?;
        println!(
            "query {what:<24} {:>4} rows {:>8.2} ms; next page {:>4} rows {:>8.2} ms",
            first.rows.len(),
            took.as_secs_f64() * 1e3,
            second.as_ref().map_or(0, |page| page.rows.len()),
            start.elapsed().as_secs_f64() * 1e3
        );
    }
    let start = Instant::now();
    store.backup(&dir.join("copy.db").display().to_string())?;
    rate("backup", stored, start.elapsed());
    store.close()?;
    Ok(())
}

/// The same statements on the same schema without the store.
fn native(dir: &std::path::Path, rows: u64, batch: u64) -> Result<(), Box<dyn Error>> {
    let path = dir.join(format!("native-{batch}.db"));
    SqliteSecureLogStore::open(&path.display().to_string())?.close()?;
    let conn = Connection::open(&path)?;
    conn.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         INSERT INTO streams VALUES (1, 'a')",
    )?;
    let start = Instant::now();
    let mut seqno = 0;
    while seqno < rows {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        conn.prepare_cached(
            "SELECT seqno, entry_hash FROM entries WHERE sid = 1 ORDER BY seqno DESC LIMIT 1",
        )?
        .exists([])?;
        let mut entry =
            conn.prepare_cached("INSERT INTO entries VALUES (NULL, 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
        let mut payload = conn.prepare_cached("INSERT INTO payloads VALUES (?1, ?2)")?;
        for _ in 0..batch {
            seqno += 1;
            let row = row(seqno);
            let pos = entry.insert(params![
                i64::try_from(row.seqno)?,
                &row.entry_hash[..],
                row.header,
                i64::try_from(row.time_ms)?,
                row.severity,
                row.event_type,
                row.producer,
                row.id
            ])?;
            payload.execute(params![pos, row.payload])?;
        }
        drop((entry, payload));
        conn.prepare_cached("COMMIT")?.execute([])?;
    }
    rate(&format!("plain SQLite: the same in batches of {batch}"), rows, start.elapsed());
    Ok(())
}
