//! Where the socket of a store is, and how a path that is too long for a socket is reached.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Longest path that a socket address takes, bytes (Linux: 108 with the final zero).
const LONGEST: usize = 107;

/// The admin socket of the server that owns this store: `<store>.sock`.
pub fn socket_path(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// A path by another, shorter name, and what that name needs to be kept for.
pub(super) fn short(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= LONGEST {
        return Ok((path.to_owned(), None));
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the path has no directory or no name");
    let directory = File::open(path.parent().filter(|p| !p.as_os_str().is_empty()).ok_or_else(invalid)?)?;
    let name = path.file_name().ok_or_else(invalid)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((short, Some(directory)))
}
