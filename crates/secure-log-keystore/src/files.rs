//! Key files: read whole, written never over another.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use secure_log::signer::KeyError;
use zeroize::Zeroizing;

use crate::config::{DIR_VARIABLE, Notice};

/// The largest RSA key that is accepted takes about 6.4 kB.
const MAX_FILE: usize = 64 << 10;

/// Beginning of the names of files that are being made: `%n` begins no label's file name.
const NEW: &str = "%new-";

/// Maps an error on `path` to what the caller must do.
fn io(what: &str, path: &Path, error: &std::io::Error) -> KeyError {
    let text = format!("cannot {what} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => KeyError::Denied(text),
        ErrorKind::InvalidFilename | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            KeyError::Invalid(text)
        }
        _ => KeyError::Failed(text),
    }
}

/// A directory of keys that is there.
pub(crate) fn check_directory(directory: &Path) -> Result<(), KeyError> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(KeyError::Invalid(format!(
            "{DIR_VARIABLE} names {}, which is not a directory",
            directory.display()
        ))),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(io("look into", directory, &e)),
        Err(e) => Err(KeyError::Invalid(format!(
            "{DIR_VARIABLE} names {}, which cannot be found ({e}): create it with mode 0700; \
             a component also needs it to be among the directories that the host shares",
            directory.display()
        ))),
    }
}

/// The bytes of a key file; `None` if there is no such file.
pub(crate) fn read(path: &Path, notice: &mut Notice) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io("read", path, &e)),
    };
    let refused = |reason: &str| KeyError::Invalid(format!("{}: {reason}", path.display()));
    // Opening a pipe would wait for whoever writes to it.
    if !metadata.is_file() {
        return Err(refused("not a regular file"));
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io("read", path, &e)),
    };
    // With all its room from the start the buffer never moves and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|e| io("read", path, &e))?;
    if bytes.len() > MAX_FILE {
        return Err(refused("too large for a key file"));
    }
    warn_if_open_to_others(path, &metadata, notice);
    Ok(Some(bytes))
}

#[cfg(unix)]
fn warn_if_open_to_others(path: &Path, metadata: &fs::Metadata, notice: &mut Notice) {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        notice(&format!(
            "warning: other users may get at the private key {} (mode {mode:03o}): chmod 600 it",
            path.display()
        ));
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_: &Path, _: &fs::Metadata, _: &mut Notice) {}

/// Writes a file that nobody has written yet, with mode 0600 where there are modes. It appears
/// whole or not at all, and is on disk when this returns. `false`: it exists already.
pub(crate) fn create(path: &Path, unique: u64, bytes: &[u8]) -> Result<bool, KeyError> {
    let new = path.with_file_name(format!("{NEW}{unique:016x}"));
    let written = write_new(&new, bytes).and_then(|()| publish(&new, path));
    // An error here leaves a key that nobody uses, under a name that says so.
    let _ = fs::remove_file(&new);
    match written {
        Ok(()) => {}
        Err(Failure(_, e)) if e.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(Failure(at, e)) => return Err(io("write", &at, &e)),
    }
    if let Some(directory) = path.parent() {
        sync_directory(directory)?;
    }
    Ok(true)
}

/// Overwrites a key file with zeros and removes it, and every copy of it that a crash left in the making. Done when this
/// returns; a crash in between leaves the key or a file of zeros, which can be destroyed again. `false`: there is no such file.
pub(crate) fn destroy(path: &Path) -> Result<bool, KeyError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(io("look at", path, &e)),
        // The link would go and the key stay.
        Ok(metadata) if !metadata.is_file() => {
            return Err(KeyError::Invalid(format!("{}: not a regular file", path.display())));
        }
        Ok(_) => {}
    }
    let Some(key) = read(path, &mut (Box::new(|_: &str| {}) as Notice))? else { return Ok(false) };
    let directory = path.parent().unwrap_or(Path::new("."));
    for entry in fs::read_dir(directory).map_err(|e| io("list", directory, &e))? {
        let entry = entry.map_err(|e| io("list", directory, &e))?;
        let of_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(NEW));
        // One that is gone by now is somebody's new key that has its name.
        if of_ours && fs::read(entry.path()).map(Zeroizing::new).is_ok_and(|copy| *copy == *key) {
            wipe(&entry.path())?;
        }
    }
    wipe(path)?;
    sync_directory(directory)?;
    Ok(true)
}

fn wipe(path: &Path) -> Result<(), KeyError> {
    let overwrite = || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(MAX_FILE).min(MAX_FILE);
        file.write_all(&vec![0; length])?;
        file.sync_all()
    };
    overwrite().map_err(|e| io("overwrite", path, &e))?;
    fs::remove_file(path).map_err(|e| io("remove", path, &e))
}

struct Failure(PathBuf, std::io::Error);

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|e| Failure(path.into(), e))
}

/// A hard link is the rename that never replaces.
fn publish(new: &Path, path: &Path) -> Result<(), Failure> {
    match fs::hard_link(new, path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(Failure(path.into(), e)),
        // Some file systems and hosts have no hard links. Creating the file is exclusive too; a
        // crash in the middle leaves one that is refused as damaged.
        Err(_) => {
            let bytes = fs::read(new).map(Zeroizing::new).map_err(|e| Failure(new.into(), e))?;
            write_new(path, &bytes)
        }
    }
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> Result<(), KeyError> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| io("sync", directory, &e))
}

/// Not every host can sync a directory; those that can do.
#[cfg(not(unix))]
fn sync_directory(directory: &Path) -> Result<(), KeyError> {
    let _ = File::open(directory).and_then(|d| d.sync_all());
    Ok(())
}
