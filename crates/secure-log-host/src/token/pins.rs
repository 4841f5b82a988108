//! Where a host takes PINs from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secure_log_pkcs11::token::{PinProvider, User, Zeroizing};
use secure_log_pkcs11::{MAX_PIN, PIN_VARIABLE, SO_PIN_VARIABLE, pin_variable_suffix};

/// A PIN provider that threads share.
pub type SharedPins = Arc<dyn PinProvider + Send + Sync>;

/// PINs that were given beforehand. They are wiped from memory when this is dropped, and `Debug` shows none.
#[derive(Clone, Default)]
pub struct Pins {
    /// By the variable that would hold it.
    named: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// Of the user, by the label of the token.
    tokens: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

/// Why there are no PINs. The text names the file or variable and shows nothing of what is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinsError {
    /// The file of a PIN.
    #[error("cannot read the PIN in {path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read or write the file of a PIN.
    #[error(
        "other users may get at the PIN in {path} (mode {mode:03o}): chmod 600 it", path = .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Nothing in it.
    #[error("the PIN in {0} is empty")]
    Empty(String),
    /// More than any token takes.
    #[error("the PIN in {0} has more than 255 bytes, which no PIN has")]
    TooLong(String),
}

impl Pins {
    /// No PINs: tokens that need none.
    pub fn none() -> Self {
        Self::default()
    }

    /// The user's PIN.
    pub fn user(pin: impl Into<Vec<u8>>) -> Self {
        Self::none().with_user(pin)
    }

    /// With this PIN of the user, for all tokens that have none of their own here.
    pub fn with_user(mut self, pin: impl Into<Vec<u8>>) -> Self {
        self.named.insert(PIN_VARIABLE.into(), Zeroizing::new(pin.into()));
        self
    }

    /// With this PIN of the security officer: only who provisions a token needs it.
    pub fn with_officer(mut self, pin: impl Into<Vec<u8>>) -> Self {
        self.named.insert(SO_PIN_VARIABLE.into(), Zeroizing::new(pin.into()));
        self
    }

    /// With this PIN of the user for the token of this label.
    pub fn with_token(mut self, label: &str, pin: impl Into<Vec<u8>>) -> Self {
        self.tokens.insert(label.into(), Zeroizing::new(pin.into()));
        self
    }

    /// With the user's PIN in a file of mode 0600 or less. Line breaks at its end are not part of it.
    pub fn with_user_file(mut self, path: &Path) -> Result<Self, PinsError> {
        self.named.insert(PIN_VARIABLE.into(), read(path)?);
        Ok(self)
    }

    /// The same for the security officer.
    pub fn with_officer_file(mut self, path: &Path) -> Result<Self, PinsError> {
        self.named.insert(SO_PIN_VARIABLE.into(), read(path)?);
        Ok(self)
    }

    /// What this process's environment says, read now, by the rules of [`EnvPins`](secure_log_pkcs11::EnvPins):
    /// `SECURE_LOG_TOKEN_PIN_<LABEL>` before `SECURE_LOG_TOKEN_PIN`, each before it with `_FILE` after it for the name
    /// of a file; `SO_PIN` in place of `PIN` for the security officer. Files as in
    /// [`with_user_file`](Self::with_user_file). Nothing set is no error: a token may not ask.
    pub fn from_env() -> Result<Self, PinsError> {
        Self::from_vars(std::env::vars_os())
    }

    fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, PinsError> {
        let (mut named, mut files) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in vars {
            let Some(name) = name.to_str().filter(|name| is_pin(name)) else { continue };
            if value.is_empty() {
                continue;
            }
            if let Some(name) = name.strip_suffix("_FILE") {
                files.insert(name.to_owned(), read(Path::new(&value))?);
            } else {
                let pin = checked(Zeroizing::new(value.into_vec()), || name.to_owned())?;
                named.insert(name.to_owned(), pin);
            }
        }
        named.extend(files);
        Ok(Self { named, tokens: BTreeMap::new() })
    }
}

fn is_pin(name: &str) -> bool {
    [PIN_VARIABLE, SO_PIN_VARIABLE]
        .iter()
        .any(|plain| name.strip_prefix(plain).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
}

impl PinProvider for Pins {
    fn pin(&self, token_label: &str, user: User) -> Option<Zeroizing<Vec<u8>>> {
        let plain = match user {
            User::SecurityOfficer => SO_PIN_VARIABLE,
            User::Normal => PIN_VARIABLE,
        };
        let own = self.tokens.get(token_label).filter(|_| user == User::Normal);
        let own = own.or_else(|| self.named.get(&format!("{plain}_{}", pin_variable_suffix(token_label))));
        own.or_else(|| self.named.get(plain)).cloned()
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.named.keys().chain(self.tokens.keys());
        write!(f, "Pins({})", known.map(String::as_str).collect::<Vec<_>>().join(", "))
    }
}

/// A function that is asked for each PIN when a token wants it: a prompt, a secret store.
pub struct PinFn<F>(pub F);

impl<F: Fn(&str, User) -> Option<Zeroizing<Vec<u8>>>> PinProvider for PinFn<F> {
    fn pin(&self, token_label: &str, user: User) -> Option<Zeroizing<Vec<u8>>> {
        (self.0)(token_label, user)
    }
}

impl<F> fmt::Debug for PinFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinFn")
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, PinsError> {
    let failed = |source| PinsError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PinsError::Exposed { path: path.to_owned(), mode });
    }
    // With all its room from the start the buffer never moves and leaves no copy behind.
    let mut pin = Zeroizing::new(Vec::with_capacity(MAX_PIN + 4));
    file.take(MAX_PIN as u64 + 3).read_to_end(&mut pin).map_err(failed)?;
    while let Some(b'\n' | b'\r') = pin.last() {
        pin.pop();
    }
    checked(pin, || path.display().to_string())
}

fn checked(pin: Zeroizing<Vec<u8>>, from: impl FnOnce() -> String) -> Result<Zeroizing<Vec<u8>>, PinsError> {
    match pin.len() {
        0 => Err(PinsError::Empty(from())),
        1..=MAX_PIN => Ok(pin),
        _ => Err(PinsError::TooLong(from())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn vars(vars: &[(&str, &str)]) -> Result<Pins, PinsError> {
        Pins::from_vars(vars.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    fn file(dir: &Path, mode: u32, content: &str) -> PathBuf {
        let path = dir.join(format!("pin-{mode:o}"));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn token_with_a_variable_of_its_own_has_that_pin_and_others_the_common_one() {
        let pins = vars(&[
            ("SECURE_LOG_TOKEN_PIN", "1234"),
            ("SECURE_LOG_TOKEN_SO_PIN", "87654321"),
            ("SECURE_LOG_TOKEN_PIN_LIFT_7__", "777"),
            ("SECURE_LOG_TOKEN_PIN_EMPTY", ""),
            ("SECURE_LOG_STORE_CONFIG", "x"),
        ])
        .unwrap();
        assert_eq!(**pins.pin("other", User::Normal).unwrap(), *b"1234");
        assert_eq!(**pins.pin("empty", User::Normal).unwrap(), *b"1234");
        assert_eq!(**pins.pin("lift 7_ü", User::Normal).unwrap(), *b"777");
        assert_eq!(**pins.pin("lift 7_ü", User::SecurityOfficer).unwrap(), *b"87654321");
        assert!(Pins::none().pin("t", User::Normal).is_none());
        assert!(vars(&[]).unwrap().pin("t", User::Normal).is_none());
        let pins = Pins::user("1234").with_token("file", "5678");
        assert_eq!(**pins.pin("file", User::Normal).unwrap(), *b"5678");
        assert_eq!(**pins.pin("File", User::Normal).unwrap(), *b"1234");
        assert!(pins.pin("file", User::SecurityOfficer).is_none());
    }

    #[test]
    fn variables_mean_what_they_mean_in_a_graph() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), 0o600, "from a file\n");
        let path = path.to_str().unwrap();
        let sets: [&[(&str, &str)]; 5] = [
            &[("SECURE_LOG_TOKEN_PIN", "1"), ("SECURE_LOG_TOKEN_PIN_FILE", path)],
            &[("SECURE_LOG_TOKEN_PIN", "1"), ("SECURE_LOG_TOKEN_PIN_A_B_FILE", path)],
            &[("SECURE_LOG_TOKEN_PIN_A_B", "2"), ("SECURE_LOG_TOKEN_PIN_FILE", path)],
            &[("SECURE_LOG_TOKEN_SO_PIN", "3"), ("SECURE_LOG_TOKEN_SO_PIN_A_B", "4")],
            &[("SECURE_LOG_TOKEN_PIN", ""), ("SECURE_LOG_TOKEN_PIN_A_B", "")],
        ];
        for set in sets {
            let own = vars(set).unwrap();
            let graph = secure_log_pkcs11::EnvPins::new(|name: &str| {
                set.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
            });
            for (label, user) in ["a b", "other", "file"].iter().zip([User::Normal, User::SecurityOfficer]) {
                assert_eq!(own.pin(label, user), graph.pin(label, user), "{label} {user:?} {set:?}");
            }
        }
    }

    #[test]
    fn newline_at_the_end_of_a_file_is_not_part_of_the_pin() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, content, pin) in
            [(0o600, "1234\n", "1234"), (0o400, "12 34\r\n", "12 34"), (0o700, "1\n\n", "1")]
        {
            let path = file(dir.path(), mode, content);
            let pins = vars(&[("SECURE_LOG_TOKEN_PIN_FILE", path.to_str().unwrap())]).unwrap();
            assert_eq!(**pins.pin("t", User::Normal).unwrap(), *pin.as_bytes());
            let pins = Pins::none().with_officer_file(&path).unwrap();
            assert_eq!(**pins.pin("t", User::SecurityOfficer).unwrap(), *pin.as_bytes());
        }
    }

    #[test]
    fn what_is_no_pin_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let exposed = Pins::none().with_user_file(&file(dir.path(), 0o640, "1234")).unwrap_err();
        assert!(matches!(exposed, PinsError::Exposed { mode: 0o640, .. }), "{exposed}");
        assert!(
            exposed.to_string().contains("pin-640") && !exposed.to_string().contains("1234"),
            "{exposed}"
        );
        let missing = Pins::none().with_user_file(&dir.path().join("none")).unwrap_err();
        assert!(matches!(missing, PinsError::Read { .. }), "{missing}");
        let empty = Pins::none().with_user_file(&file(dir.path(), 0o600, "\n")).unwrap_err();
        assert!(matches!(empty, PinsError::Empty(_)), "{empty}");
        let long = Pins::none().with_user_file(&file(dir.path(), 0o600, &"1".repeat(2000))).unwrap_err();
        assert!(matches!(long, PinsError::TooLong(_)), "{long}");
        let long = vars(&[("SECURE_LOG_TOKEN_PIN", &"1".repeat(2000))]).unwrap_err();
        assert!(long.to_string().contains("SECURE_LOG_TOKEN_PIN"), "{long}");
    }

    #[test]
    fn debug_shows_no_pin() {
        let pins = Pins::user("1234").with_officer("5678").with_token("t", "9999");
        let shown =
            format!("{pins:?} {:?}", PinFn(|_: &str, _: User| -> Option<Zeroizing<Vec<u8>>> { None }));
        assert_eq!(shown, "Pins(SECURE_LOG_TOKEN_PIN, SECURE_LOG_TOKEN_SO_PIN, t) PinFn");
    }
}
