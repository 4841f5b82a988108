//! Reading what a gate stored: in a store that nobody has open, or in a copy that the server makes which has it open.

use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::registry::open_gate;
use crate::files;
use crate::open::{Open, Part, StoreArgs};
use crate::output::note;

/// Reads a store with `work`.
pub(crate) fn with_stored<T>(store: &StoreArgs, work: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
    let place = store.place(Part::Gate)?.must_exist()?;
    let mut copy: Option<TempDir> = None;
    let place = match place.server()? {
        None => place,
        Some(mut server) => {
            let path = place.path().context("a server has a store in a file")?;
            let dir = files::directory_of(path).canonicalize().context("the directory of the store")?;
            let dir = tempfile::Builder::new()
                .prefix(".eds-copy-")
                .tempdir_in(&dir)
                .with_context(|| format!("cannot make a copy of the store in {}", dir.display()))?;
            let name = path.file_name().map_or(Path::new("copy"), Path::new);
            let at = dir.path().join(name);
            note(format_args!("a server has {} open: reading a copy that it makes", path.display()));
            let config = at.to_str().context("the path of the copy is not UTF-8")?;
            server.backup(config).context("the server could not copy its store")?;
            let of_copy = StoreArgs { store: Some(config.to_owned()), ..store.clone() };
            copy = Some(dir);
            of_copy.place(Part::Gate)?
        }
    };
    let mut log = open_gate(&place, "reader")?;
    let outcome = work(&mut log);
    let closed = log.close();
    drop(copy);
    let value = outcome?;
    closed?;
    Ok(value)
}
