//! A consistent copy while open.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use secure_log::error::{Error, Result};
use secure_log_lease::StoreConfig;

use crate::db::plain_path;
use crate::failure::{At, from_sqlite};

/// Copies everything that is committed to the file that `config` names. It gets its name only
/// when it is complete and synced.
pub fn backup(conn: &mut Connection, config: &str) -> Result<()> {
    if config == ":memory:" {
        return Err(Error::invalid("config", "a copy in memory would be gone at once: name a file"));
    }
    let target = StoreConfig::parse(config)?.path;
    for suffix in ["", "-wal", "-journal", ".lease"] {
        let name = with_suffix(&target, suffix);
        if fs::symlink_metadata(&name).is_ok() {
            return Err(Error::conflict(name.display().to_string(), None, "there is something already"));
        }
    }
    let partial = with_suffix(&target, ".partial");
    let result = copy(conn, &partial).and_then(|()| publish(&partial, &target));
    if result.is_err() {
        // Nothing of ours stays behind; a failure to clean up must not hide the first one.
        let _ = fs::remove_file(&partial);
        let _ = fs::remove_file(with_suffix(&partial, "-journal"));
    }
    result
}

fn copy(conn: &Connection, partial: &Path) -> Result<()> {
    // What a crashed backup left is worth nothing.
    for suffix in ["", "-journal"] {
        match fs::remove_file(with_suffix(partial, suffix)) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(partial, &e)),
            _ => {}
        }
    }
    let name = plain_path(partial);
    let name = name.to_str().ok_or_else(|| Error::invalid("config", "the path is not UTF-8"))?;
    conn.execute("VACUUM INTO ?1", [name]).map_err(|e| match from_sqlite(e, &At::store()) {
        Error::Storage(text) => Error::Storage(format!("backup to {}: {text}", partial.display())),
        other => other,
    })?;
    File::options().write(true).open(partial).and_then(|file| file.sync_all()).map_err(|e| io(partial, &e))
}

/// Gives the copy its name, without replacing anything that has appeared meanwhile.
fn publish(partial: &Path, target: &Path) -> Result<()> {
    match fs::hard_link(partial, target) {
        Ok(()) => fs::remove_file(partial).map_err(|e| io(partial, &e))?,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::conflict(target.display().to_string(), None, "there is something already"));
        }
        // Some file systems have no links.
        Err(_) => fs::rename(partial, target).map_err(|e| io(target, &e))?,
    }
    // The name is durable with its directory; where directories cannot be synced there is nothing to do.
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn io(path: &Path, e: &std::io::Error) -> Error {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::Storage(format!("disk full: {}: {e}", path.display()))
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::Denied(format!("{}: {e}", path.display()))
        }
        _ => Error::Storage(format!("{}: {e}", path.display())),
    }
}
