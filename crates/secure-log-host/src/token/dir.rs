//! The directory in which a token component keeps its keys.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::guest::Guest;

const SOFTHSM: &str = "softhsm2.conf";
const KRYOPTIC: &str = "kryoptic.conf";
const TOKENS: &str = "tokens";

/// The directory in which a token component keeps its keys, encrypted under the PIN: one for SoftHSM2 and kryoptic,
/// so that nobody needs to know which of them is in an artifact. The guest sees it under its host path, so SoftHSM2's
/// native tools work on the same token with `SOFTHSM2_CONF=<dir>/softhsm2.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenDir {
    path: PathBuf,
    /// The same as text.
    name: String,
}

/// Why a directory cannot be a token's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenDirError {
    /// It is not there, or has no token configuration.
    #[error("{path} is not a token directory: {missing} is not there. Create one (TokenDir::create)", path = .path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        missing: PathBuf,
    },
    /// Tokens write to their directory, even those that only sign.
    #[error("the token directory {path} cannot be written to", path = .path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// Its configuration names another directory, which the guest would not see.
    #[error(
        "{conf} says that tokens are in {tokens}, which is not in that directory: was it moved? Correct the path",
        conf = .conf.display()
    )]
    Elsewhere {
        /// The configuration.
        conf: PathBuf,
        /// The directory that it names.
        tokens: String,
    },
    /// A path that the configuration files cannot hold.
    #[error("the token directory {path:?} cannot be named in its configuration: {reason}")]
    Path {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The system.
    #[error("cannot set up {path}", path = .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, TokenDirError>;

impl TokenDir {
    /// Makes `path` (mode 0700) a token directory, or opens it if it is one: nothing that is there is overwritten.
    pub fn create(path: &Path) -> Result<Self> {
        make_dir(path)?;
        let dir = Self::named(path)?;
        dir.writable()?;
        make_dir(&dir.path.join(TOKENS))?;
        let name = &dir.name;
        let softhsm = format!(
            "directories.tokendir = {name}/{TOKENS}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
        );
        let kryoptic =
            format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{name}/kryoptic.sql\"\n");
        for (file, content) in [(SOFTHSM, softhsm), (KRYOPTIC, kryoptic)] {
            create_new(&dir.path.join(file), content.as_bytes())?;
        }
        Self::open(path)
    }

    /// Opens a token directory.
    pub fn open(path: &Path) -> Result<Self> {
        let missing = |missing: PathBuf| TokenDirError::Missing { path: path.to_owned(), missing };
        if !path.is_dir() {
            return Err(missing(path.to_owned()));
        }
        let dir = Self::named(path)?;
        for name in [SOFTHSM, KRYOPTIC, TOKENS] {
            let inside = dir.path.join(name);
            if !inside.exists() {
                return Err(missing(inside));
            }
        }
        dir.writable()?;
        dir.inside(SOFTHSM, "directories.tokendir")?;
        dir.inside(KRYOPTIC, "dbargs")?;
        Ok(dir)
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SoftHSM2's configuration, for its native tools.
    pub fn softhsm_conf(&self) -> PathBuf {
        self.path.join(SOFTHSM)
    }

    /// kryoptic's configuration.
    pub fn kryoptic_conf(&self) -> PathBuf {
        self.path.join(KRYOPTIC)
    }

    /// Lets instances of `guest` use it: the directory, `SOFTHSM2_CONF` and `KRYOPTIC_CONF`. The PIN is another matter.
    pub fn prepare(&self, guest: &mut Guest) {
        guest.preopen(&self.path, self.name.clone());
        guest.set_env("SOFTHSM2_CONF", format!("{}/{SOFTHSM}", self.name));
        guest.set_env("KRYOPTIC_CONF", format!("{}/{KRYOPTIC}", self.name));
    }

    fn named(path: &Path) -> Result<Self> {
        let real =
            fs::canonicalize(path).map_err(|source| TokenDirError::Io { path: path.to_owned(), source })?;
        let unfit = |reason| Err(TokenDirError::Path { path: real.clone(), reason });
        let Some(name) = real.to_str().map(str::to_owned) else { return unfit("it is not UTF-8") };
        if name.contains(['#', '"', '\\']) || name.chars().any(char::is_control) {
            return unfit("it has a character out of #, \", \\ or a control character in it");
        }
        if name.trim() != name {
            return unfit("it ends in a blank");
        }
        Ok(Self { path: real, name })
    }

    fn writable(&self) -> Result<()> {
        let tokens = self.path.join(TOKENS);
        for path in [&self.path, &tokens] {
            match access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => {}
                Err(rustix::io::Errno::NOENT) => {}
                Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS | rustix::io::Errno::PERM) => {
                    return Err(TokenDirError::ReadOnly { path: path.clone() });
                }
                Err(source) => {
                    return Err(TokenDirError::Io { path: path.clone(), source: source.into() });
                }
            }
        }
        Ok(())
    }

    /// Whether `key` of the configuration `file` names something in this directory.
    fn inside(&self, file: &str, key: &str) -> Result<()> {
        let conf = self.path.join(file);
        let text =
            fs::read_to_string(&conf).map_err(|source| TokenDirError::Io { path: conf.clone(), source })?;
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            if name.trim() == key && !Path::new(value).starts_with(&self.path) {
                return Err(TokenDirError::Elsewhere { conf, tokens: value.to_owned() });
            }
        }
        Ok(())
    }
}

fn make_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
            Err(TokenDirError::ReadOnly { path: path.to_owned() })
        }
        Err(source) => Err(TokenDirError::Io { path: path.to_owned(), source }),
    }
}

/// Writes a file of mode 0600 that is not there yet.
fn create_new(path: &Path, content: &[u8]) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome
            .and_then(|mut file| {
                file.write_all(content)?;
                file.sync_all()
            })
            .map_err(|source| TokenDirError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn created_once_and_then_only_opened() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/token");
        let dir = TokenDir::create(&path).unwrap();
        for name in ["", TOKENS] {
            assert_eq!(mode(&dir.path().join(name)), 0o700, "{name}");
        }
        for conf in [dir.softhsm_conf(), dir.kryoptic_conf()] {
            assert_eq!(mode(&conf), 0o600);
            let mut text = fs::read_to_string(&conf).unwrap();
            text.push_str("\n# mine\n");
            fs::write(&conf, text).unwrap();
        }
        assert_eq!(TokenDir::create(&path).unwrap(), dir);
        assert_eq!(TokenDir::open(&path).unwrap(), dir);
        assert!(fs::read_to_string(dir.softhsm_conf()).unwrap().ends_with("# mine\n"));
        let mut guest = Guest::default();
        dir.prepare(&mut guest);
        let name = dir.path().to_str().unwrap();
        assert_eq!(guest.preopens, [(dir.path().to_owned(), name.to_owned())]);
        assert!(guest.env.contains(&("SOFTHSM2_CONF".into(), format!("{name}/softhsm2.conf"))));
        assert!(guest.env.contains(&("KRYOPTIC_CONF".into(), format!("{name}/kryoptic.conf"))));
    }

    #[test]
    fn what_is_no_token_directory_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let none = temp.path().join("none");
        assert!(matches!(TokenDir::open(&none), Err(TokenDirError::Missing { .. })));
        assert!(!none.exists());
        assert!(matches!(TokenDir::open(temp.path()), Err(TokenDirError::Missing { .. })));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        let hash = TokenDir::create(&temp.path().join("a#b")).unwrap_err();
        assert!(matches!(hash, TokenDirError::Path { .. }), "{hash}");
    }

    #[test]
    fn directory_that_was_moved_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        TokenDir::create(&temp.path().join("old")).unwrap();
        fs::rename(temp.path().join("old"), temp.path().join("new")).unwrap();
        let moved = TokenDir::open(&temp.path().join("new")).unwrap_err();
        assert!(
            matches!(&moved, TokenDirError::Elsewhere { tokens, .. } if tokens.ends_with("old/tokens")),
            "{moved}"
        );
    }

    #[test]
    fn directory_that_cannot_be_written_to_is_named() {
        // Nothing is read-only to root but such a file system.
        let read_only = Path::new("/proc/self/token");
        assert!(TokenDir::create(read_only).is_err());
        if rustix::process::geteuid().is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let dir = TokenDir::create(&temp.path().join("token")).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let refused = TokenDir::open(dir.path()).unwrap_err();
        assert!(matches!(refused, TokenDirError::ReadOnly { .. }), "{refused}");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}
