//! Opening, holding and closing the one connection.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use secure_log::error::{Error, Result};
use secure_log_lease::{Lease, StoreConfig};

use crate::failure::{At, from_sqlite, with_errno};
use crate::vfs::{LeasedVfs, base_name};
use crate::{erase, schema};

/// Where the store is.
pub enum Target {
    /// In memory, gone with the store.
    Memory,
    /// In a file, under a lease.
    File(StoreConfig),
}

impl Target {
    /// Parses a configuration string.
    pub fn parse(config: &str) -> Result<Self> {
        if config == ":memory:" {
            return Ok(Self::Memory);
        }
        Ok(Self::File(StoreConfig::parse(config)?))
    }
}

/// Largest write-ahead log, bytes, of a store that is closed quickly (48 pages): whoever opens it reads that back.
const LEFT_OVER: u64 = 32 + 48 * (24 + 4096);

/// An open connection. Fields are dropped in order: the connection before its VFS.
pub struct Db {
    /// The connection.
    pub conn: Connection,
    vfs: Option<LeasedVfs>,
}

impl Db {
    /// Opens what `target` names, creating it if needed.
    pub fn open(target: &Target) -> Result<Self> {
        match target {
            Target::Memory => {
                let mut conn = connect(Path::new(":memory:"), base_name())?;
                configure(&conn)?;
                schema::migrate(&mut conn, ":memory:")?;
                Ok(Self { conn, vfs: None })
            }
            Target::File(config) => {
                inspect(&config.path)?;
                Self::open_under(config, Lease::acquire(&config.path, &config.lease)?)
            }
        }
    }

    fn open_under(config: &StoreConfig, lease: Lease) -> Result<Self> {
        let took_over = lease.took_over();
        let vfs = LeasedVfs::register(lease)?;
        match Self::open_leased(config, &vfs, took_over) {
            Ok(conn) => Ok(Self { conn, vfs: Some(vfs) }),
            Err(e) => {
                let e = vfs.take_refusal().unwrap_or(e);
                // Whether or not it can be given back, the reason above is what matters.
                let _ = vfs.release();
                Err(e)
            }
        }
    }

    fn open_leased(config: &StoreConfig, vfs: &LeasedVfs, took_over: bool) -> Result<Connection> {
        let conn = Self::open_file(config, vfs)?;
        if !took_over {
            return Ok(conn);
        }
        // The holder before us may only be suspended, right in front of a write to its
        // write-ahead log. Closing empties and removes that file, so such a write goes nowhere.
        conn.close().map_err(|(_, e)| from_sqlite(e, &At::store()))?;
        Self::open_file(config, vfs)
    }

    fn open_file(config: &StoreConfig, vfs: &LeasedVfs) -> Result<Connection> {
        let store = config.path.display().to_string();
        let mut conn = connect(&config.path, Some(vfs.name()))?;
        let result = (|| {
            // In WAL mode without shared memory nothing can be read before this.
            pragma(&conn, "PRAGMA locking_mode = EXCLUSIVE")?;
            schema::migrate(&mut conn, &store)?;
            let mode = conn
                .query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))
                .map_err(|e| from_sqlite(e, &At::store()))?;
            if mode != "wal" {
                return Err(Error::Storage(format!(
                    "{store} cannot use a write-ahead log (journal mode {mode})"
                )));
            }
            configure(&conn)?;
            if config.quick_close {
                // `Parked` sees to it.
                pragma(&conn, "PRAGMA wal_autocheckpoint = 0")?;
            }
            Ok(())
        })();
        match result {
            Ok(()) => Ok(conn),
            Err(e) => Err(with_errno(e, system_errno(&conn))),
        }
    }

    /// Runs `operation` as the owner of the file. `Busy` where it is not, or no longer.
    pub fn run<T>(&mut self, operation: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        if let Some(vfs) = &self.vfs {
            vfs.lease().check()?;
        }
        let result = operation(&mut self.conn);
        if let Some(vfs) = &self.vfs {
            let refusal = vfs.take_refusal();
            // What was read while somebody else was writing means nothing.
            match vfs.lease().check() {
                Err(e @ Error::Busy(_)) => return Err(e),
                _ => {
                    if let (Err(_), Some(e)) = (&result, refusal) {
                        return Err(e);
                    }
                }
            }
        }
        result.map_err(|e| with_errno(e, system_errno(&self.conn)))
    }

    /// Empties the write-ahead log such that nothing of it is left.
    pub fn clear_wal(&mut self) -> Result<()> {
        let Self { conn, vfs } = self;
        erase::clear_wal(conn, || vfs.as_ref().map_or(Ok(()), |vfs| vfs.lease().check()))
    }

    /// Whether another process has taken over.
    pub fn is_lost(&self) -> bool {
        self.vfs.as_ref().is_some_and(|vfs| vfs.lease().is_lost())
    }

    /// Closes the connection without writing anything: the file is somebody else's.
    pub fn abandon(self) {
        // Writes would be refused anyway; this saves the attempt.
        let _ = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        drop(self.conn);
    }

    /// Moves the write-ahead log into the file and gives the lease back.
    pub fn close(self) -> Result<()> {
        let Self { conn, vfs } = self;
        if let Some(vfs) = &vfs
            && let Err(e) = vfs.lease().check()
        {
            let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            drop(conn);
            return Err(e);
        }
        if let Err((conn, e)) = conn.close() {
            drop(conn);
            return Err(from_sqlite(e, &At::store()));
        }
        match vfs {
            Some(vfs) => vfs.release(),
            None => Ok(()),
        }
    }
}

/// A store that was closed quickly: the lease is given back, the connection is kept for the next opening. If there is
/// none, nothing is lost: the write-ahead log lies beside the file.
pub struct Parked {
    db: Db,
    config: StoreConfig,
    files: Files,
}

/// Length and time of the store's file and of its write-ahead log.
type Files = [Option<(u64, Option<SystemTime>)>; 2];

fn wal_of(store: &Path) -> PathBuf {
    let mut wal = store.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

fn files(store: &Path) -> Files {
    let look = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.len(), meta.modified().ok()));
    [look(store), look(&wal_of(store))]
}

impl Parked {
    /// Gives the lease back and keeps the rest.
    pub fn park(db: Db, config: &StoreConfig) -> Result<Self> {
        let Some(vfs) = &db.vfs else { return Err(Error::Storage("a store in memory is not parked".into())) };
        if let Err(e) = vfs.lease().check() {
            db.abandon();
            return Err(e);
        }
        if fs::metadata(wal_of(&config.path)).is_ok_and(|meta| meta.len() > LEFT_OVER) {
            pragma(&db.conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
        }
        // It may be dropped at any time, without the lease.
        db.conn
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(|e| from_sqlite(e, &At::store()))?;
        let files = files(&config.path);
        vfs.lease().park()?;
        Ok(Self { db, config: config.clone(), files })
    }

    /// Whether it is what this configuration names.
    pub fn is(&self, config: &StoreConfig) -> bool {
        self.config == *config
    }

    /// Takes the lease again, and opens the file anew where others were there in between.
    pub fn resume(self) -> Result<Db> {
        let Self { db, config, files: before } = self;
        let Some(vfs) = &db.vfs else { return Ok(db) };
        if vfs.lease().resume()? && files(&config.path) == before {
            return Ok(db);
        }
        let Db { conn, vfs } = db;
        drop(conn);
        match vfs {
            Some(vfs) => Db::open_under(&config, vfs.into_lease()),
            None => Db::open(&Target::File(config)),
        }
    }
}

fn connect(path: &Path, vfs: Option<&CStr>) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = plain_path(path);
    match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(&path, flags, vfs),
        None => Connection::open_with_flags(&path, flags),
    }
    .map_err(|e| match from_sqlite(e, &At::store()) {
        Error::Storage(text) => Error::Storage(format!("cannot open {}: {text}", path.display())),
        other => other,
    })
}

/// SQLite takes a name that begins with `file:` for a URI; with `./` in front it does not.
pub fn plain_path(path: &Path) -> PathBuf {
    if path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        Path::new(".").join(path)
    } else {
        path.into()
    }
}

fn configure(conn: &Connection) -> Result<()> {
    for sql in [
        "PRAGMA synchronous = FULL",
        // Pages (4 MiB): a sync is cheaper where the write-ahead log is overwritten than where it grows.
        "PRAGMA wal_autocheckpoint = 1000",
        // KiB: bounds memory, in a guest above all.
        "PRAGMA cache_size = -16384",
        // A guest may have no directory for temporary files.
        "PRAGMA temp_store = MEMORY",
        // What is erased is overwritten.
        "PRAGMA secure_delete = ON",
        // Damage is to be found, not built upon.
        "PRAGMA cell_size_check = ON",
        "PRAGMA trusted_schema = OFF",
        // After a large transaction the write-ahead log shrinks again.
        "PRAGMA journal_size_limit = 67108864",
    ] {
        pragma(conn, sql)?;
    }
    for option in [
        DbConfig::SQLITE_DBCONFIG_DEFENSIVE,
        // Without it, a statement whose plan looked at a parameter (to see whether a partial index serves) is parsed
        // and planned anew each time that the parameter changes: a multiple of what it does.
        DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG,
    ] {
        conn.set_db_config(option, true).map_err(|e| from_sqlite(e, &At::store()))?;
    }
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn pragma(conn: &Connection, sql: &str) -> Result<()> {
    // Some answer with a row, some do not.
    conn.prepare(sql)
        .and_then(|mut statement| {
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        })
        .map_err(|e| from_sqlite(e, &At::store()))
}

fn system_errno(conn: &Connection) -> i32 {
    // SAFETY: the handle is open for as long as `conn` is.
    unsafe { rusqlite::ffi::sqlite3_system_errno(conn.handle()) }
}

/// Refuses what is not a store before a lease is taken or anything is written.
fn inspect(path: &Path) -> Result<()> {
    let store = path.display().to_string();
    let is_directory = || Error::invalid("config", format!("{store} is a directory: name a file in it"));
    if path.as_os_str().as_encoded_bytes().last().is_some_and(|b| std::path::is_separator(char::from(*b))) {
        return Err(is_directory());
    }
    let cannot = |e: std::io::Error| match e.kind() {
        ErrorKind::PermissionDenied => Error::Denied(format!("cannot read {store}: {e}")),
        _ => Error::Storage(format!("cannot read {store}: {e}")),
    };
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(cannot(e)),
        Ok(meta) if meta.is_dir() => return Err(is_directory()),
        Ok(meta) if !meta.is_file() => {
            return Err(Error::invalid("config", format!("{store} is not a regular file")));
        }
        Ok(meta) if meta.len() == 0 => return Ok(()),
        Ok(_) => {}
    }
    // A crash while the file was being created leaves half of it and a journal that undoes it.
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    if fs::metadata(journal).is_ok_and(|meta| meta.len() > 0) {
        return Ok(());
    }
    let mut header = Vec::new();
    File::open(path).and_then(|file| file.take(100).read_to_end(&mut header)).map_err(cannot)?;
    schema::check_header(&store, &header)
}
