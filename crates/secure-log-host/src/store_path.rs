//! The config string as users write it, and what the guest gets to see of it.
//!
//! Grammar: `:memory:` or `<path>[?key=value[&key=value…]]`. Paths are the host's; the guest gets
//! the directory of the store and nothing else.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where a log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePath {
    place: Place,
    params: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Memory,
    File { host: PathBuf, guest: String, dir: (PathBuf, String) },
}

impl StorePath {
    /// Reads a config. The store may not exist yet, its directory must.
    pub fn parse(config: &str) -> Result<Self> {
        let (path, params) = config.split_once('?').unwrap_or((config, ""));
        let params = params.split('&').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let place = if path == ":memory:" { Place::Memory } else { file(path)? };
        Ok(Self { place, params })
    }

    /// A store at `path`.
    pub fn file(path: &Path) -> Result<Self> {
        Ok(Self { place: file(utf8(path)?)?, params: Vec::new() })
    }

    /// The same options at another path.
    pub fn at(&self, path: &Path) -> Result<Self> {
        Ok(Self { params: self.params.clone(), ..Self::file(path)? })
    }

    /// The same place with one more option.
    pub fn with(&self, param: &str) -> Self {
        let mut with = self.clone();
        with.params.push(param.to_owned());
        with
    }

    /// Host path of the store; none for a store in memory.
    pub fn host_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Memory => None,
            Place::File { host, .. } => Some(host),
        }
    }

    /// Directory to give to the guest: host path and name in the guest.
    pub fn preopen(&self) -> Option<(&Path, &str)> {
        match &self.place {
            Place::Memory => None,
            Place::File { dir: (host, guest), .. } => Some((host, guest)),
        }
    }

    /// The config as a user would write it, for another process of the same working directory.
    pub fn host_config(&self) -> String {
        let path = self.host_path().map_or(":memory:".into(), |path| path.to_string_lossy().into_owned());
        if self.params.is_empty() { path } else { format!("{path}?{}", self.params.join("&")) }
    }

    /// The config for a store that is opened natively, in this process.
    pub fn native_config(&self, host_lock: bool) -> String {
        let guest = self.guest_config(host_lock);
        let options = guest.split_once('?').map_or(String::new(), |(_, options)| format!("?{options}"));
        let path = self.host_path().map_or(":memory:".into(), |path| path.to_string_lossy().into_owned());
        format!("{path}{options}")
    }

    /// The config that the component gets; with `host_lock`, it says that a native lock is held.
    pub fn guest_config(&self, host_lock: bool) -> String {
        let mut config = match &self.place {
            Place::Memory => ":memory:".to_owned(),
            Place::File { guest, .. } => guest.clone(),
        };
        let mut params = self.params.clone();
        let says = params.iter().any(|p| p.starts_with("lock="));
        if host_lock && !says && self.host_path().is_some() {
            params.push("lock=host".into());
        }
        if !params.is_empty() {
            config.push('?');
            config.push_str(&params.join("&"));
        }
        config
    }
}

/// A bare name stays what it is, with the working directory as `.`; anything else becomes
/// absolute and keeps its name, so that the component's errors show a path the user can open.
fn file(path: &str) -> Result<Place> {
    let given = Path::new(path);
    let Some(name) = given.file_name().and_then(|name| name.to_str()) else {
        return Err(refused(format!("{path:?}"), "does not end in a file name"));
    };
    let parent = given.parent().unwrap_or(Path::new(""));
    if parent.as_os_str().is_empty() {
        let dir = (PathBuf::from("."), ".".to_owned());
        return Ok(Place::File { host: given.to_owned(), guest: name.to_owned(), dir });
    }
    let shown = || format!("the directory of the store, {}", parent.display());
    let dir = std::fs::canonicalize(parent).map_err(|e| refused(shown(), format!("is not there: {e}")))?;
    if !dir.is_dir() {
        return Err(refused(shown(), "is not a directory"));
    }
    let dir_name = utf8(&dir)?.to_owned();
    let host = dir.join(name);
    let guest = utf8(&host)?.to_owned();
    Ok(Place::File { host, guest, dir: (dir, dir_name) })
}

/// Paths cross into the guest as text.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| refused(path.display().to_string(), "is not UTF-8"))
}

fn refused(what: String, reason: impl Into<String>) -> Error {
    Error::Path { what, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_no_directory_and_no_lock() {
        let store = StorePath::parse(":memory:").unwrap();
        assert_eq!((store.host_path(), store.preopen()), (None, None));
        assert_eq!(store.guest_config(true), ":memory:");
    }

    #[test]
    fn bare_name_is_in_the_working_directory() {
        let store = StorePath::parse("audit.jsonl").unwrap();
        assert_eq!(store.preopen(), Some((Path::new("."), ".")));
        assert_eq!(store.guest_config(false), "audit.jsonl");
        assert_eq!(store.guest_config(true), "audit.jsonl?lock=host");
    }

    #[test]
    fn options_are_kept_and_an_explicit_lock_is_not_doubled() {
        let store = StorePath::parse("audit.db?lease-ms=300&wait-ms=0").unwrap();
        assert_eq!(store.guest_config(false), "audit.db?lease-ms=300&wait-ms=0");
        assert_eq!(store.guest_config(true), "audit.db?lease-ms=300&wait-ms=0&lock=host");
        assert_eq!(store.with("lock=host").guest_config(true), "audit.db?lease-ms=300&wait-ms=0&lock=host");
    }

    #[test]
    fn path_with_a_directory_becomes_absolute_and_its_directory_is_the_preopen() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let store = StorePath::file(&dir.path().join("sub/../audit.db")).unwrap_err();
        assert!(store.to_string().contains("is not there"), "{store}");
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let store = StorePath::file(&dir.path().join("sub/../audit.db")).unwrap();
        assert_eq!(store.host_path(), Some(real.join("audit.db").as_path()));
        assert_eq!(store.preopen(), Some((real.as_path(), real.to_str().unwrap())));
        assert_eq!(store.guest_config(false), real.join("audit.db").to_str().unwrap());
    }

    #[test]
    fn directory_that_is_not_there_is_named() {
        let error = StorePath::parse("/no/such/place/audit.db").unwrap_err().to_string();
        assert!(error.contains("/no/such/place"), "{error}");
        assert!(StorePath::parse("..").is_err());
    }
}
