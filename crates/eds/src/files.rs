//! Files that commands read and write.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// The largest file of JSON that is read whole: about a million records.
const MAX_JSON: u64 = 1 << 30;

/// Writes a file whole or not at all, replacing what is there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = directory_of(path);
    let what = || format!("cannot write {}", path.display());
    let mut file = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.permissions(fs::Permissions::from_mode(0o666));
    }
    // A place that is not a plain file (a pipe, /dev/stdout) is written to as it is.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, bytes).with_context(what);
    }
    let mut file = file.prefix(".eds-").tempfile_in(dir).with_context(what)?;
    file.write_all(bytes).with_context(what)?;
    file.as_file().sync_all().with_context(what)?;
    file.persist(path).map_err(|e| e.error).with_context(what)?;
    Ok(())
}

/// Writes JSON, indented, with a newline at its end.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write(path, format!("{}\n", serde_json::to_string_pretty(value)?).as_bytes())
}

/// Creates a file that only its owner can read, with mode 0600. What is there is never overwritten.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = match options.open(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => bail!(
            "{} is there already, and a key is never overwritten: name another file, or move that one away",
            path.display()
        ),
        outcome => outcome.with_context(|| format!("cannot create {}", path.display()))?,
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is of no use, and would be in the way of the next attempt.
        let _ = fs::remove_file(path);
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(())
}

/// Reads a file that may hold a secret.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    const MAX: usize = 64 << 10;
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX + 1));
    file.take(MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > MAX {
        bail!("{} is too large for a key file", path.display());
    }
    Ok(bytes)
}

/// Reads at most `max` bytes of a file; more is an error that says so.
pub(crate) fn read(path: &Path, max: usize, what: &str) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() > max {
        bail!("{} has more than {max} bytes, the most for {what}", path.display());
    }
    Ok(bytes)
}

/// Reads a file of JSON. Errors name line and column and show nothing of what is in it.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let bytes = read(path, MAX_JSON as usize, what)?;
    serde_json::from_slice(&bytes).map_err(|e| {
        let problem = match e.classify() {
            serde_json::error::Category::Data => e.to_string(),
            _ => format!("it is not JSON at line {} column {}", e.line(), e.column()),
        };
        anyhow::anyhow!("{} is not {what}: {problem}", path.display())
    })
}

/// The directory that a path is in; the working directory for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// The path with `suffix` after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
