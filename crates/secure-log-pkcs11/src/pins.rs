//! PINs from the environment.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use zeroize::{Zeroize as _, Zeroizing};

use crate::token::{PinProvider, User};

/// Holds the user's PIN; with `_FILE` after it, the name of a file that does; with `_<LABEL>` after it, for one token.
pub const PIN_VARIABLE: &str = "SECURE_LOG_TOKEN_PIN";
/// The same for the security officer's PIN.
pub const SO_PIN_VARIABLE: &str = "SECURE_LOG_TOKEN_SO_PIN";

/// Longest PIN in bytes; no token takes a longer one.
pub const MAX_PIN: usize = 255;

/// The PINs that the environment names, read when they are asked for.
///
/// For the user, in this order: `SECURE_LOG_TOKEN_PIN_<LABEL>_FILE`, `SECURE_LOG_TOKEN_PIN_<LABEL>`,
/// `SECURE_LOG_TOKEN_PIN_FILE`, `SECURE_LOG_TOKEN_PIN`; `<LABEL>` is the token's label with ASCII letters in capitals and
/// `_` for what is neither a letter nor a digit. For the security officer `SO_PIN` stands for `PIN`. The line break at
/// the end of a file is not part of the PIN. A file that cannot be read is said on stderr and is no PIN.
pub struct EnvPins<F>(F);

impl<F: Fn(&str) -> Option<OsString>> EnvPins<F> {
    /// The PINs in `variables`.
    pub fn new(variables: F) -> Self {
        Self(variables)
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }
}

impl<F: Fn(&str) -> Option<OsString>> PinProvider for EnvPins<F> {
    fn pin(&self, token_label: &str, user: User) -> Option<Zeroizing<Vec<u8>>> {
        let plain = match user {
            User::Normal => PIN_VARIABLE,
            User::SecurityOfficer => SO_PIN_VARIABLE,
        };
        let own = pin_variable_suffix(token_label);
        // `…_FILE` names files, whatever a token is called.
        let own = (own != "FILE" && !own.ends_with("_FILE")).then(|| format!("{plain}_{own}"));
        for name in own.into_iter().chain([plain.to_owned()]) {
            if let Some(path) = self.variable(&format!("{name}_FILE")) {
                let path = Path::new(&path);
                return read(path)
                    .inspect_err(|reason| eprintln!("{name}_FILE: {}: {reason}", path.display()))
                    .ok();
            }
            if let Some(pin) = self.variable(&name) {
                return Some(Zeroizing::new(pin.into_encoded_bytes()));
            }
        }
        None
    }
}

impl<F> std::fmt::Debug for EnvPins<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnvPins")
    }
}

/// A token's label in the name of a variable: ASCII letters in capitals, `_` for what is neither a letter nor a digit.
pub fn pin_variable_suffix(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PIN + 3));
    let mut file = std::fs::File::open(path).map_err(|e| e.to_string())?.take(MAX_PIN as u64 + 3);
    file.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let line_break: &[u8] = b"\r\n";
    while bytes.last().is_some_and(|byte| line_break.contains(byte)) {
        bytes.pop();
    }
    match bytes.len() {
        0 => Err("it is empty".into()),
        1..=MAX_PIN => Ok(bytes),
        _ => {
            bytes.zeroize();
            Err(format!("it has more than {MAX_PIN} bytes, which no PIN has"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(pairs: &[(&str, &str)], label: &str, user: User) -> Option<Vec<u8>> {
        let pins = EnvPins::new(|name: &str| {
            pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
        });
        pins.pin(label, user).map(|pin| pin.to_vec())
    }

    #[test]
    fn the_narrowest_variable_counts() {
        let all = [
            ("SECURE_LOG_TOKEN_PIN", "any"),
            ("SECURE_LOG_TOKEN_PIN_MY_TOKEN_1", "mine"),
            ("SECURE_LOG_TOKEN_SO_PIN", "officer"),
            ("SECURE_LOG_TOKEN_PIN_EMPTY", ""),
        ];
        assert_eq!(pin(&all, "my token-1", User::Normal), Some(b"mine".to_vec()));
        assert_eq!(pin(&all, "other", User::Normal), Some(b"any".to_vec()));
        assert_eq!(pin(&all, "empty", User::Normal), Some(b"any".to_vec()));
        assert_eq!(pin(&all, "my token-1", User::SecurityOfficer), Some(b"officer".to_vec()));
        assert_eq!(pin(&[], "other", User::Normal), None);
        assert_eq!(pin(&[("SECURE_LOG_TOKEN_PIN", "any")], "file", User::Normal), Some(b"any".to_vec()));
        assert_eq!(pin(&[("SECURE_LOG_TOKEN_PIN_FILE", "/none/there")], "file", User::Normal), None);
    }

    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn a_file_holds_a_pin() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        let name = path.to_str().unwrap();
        let variables = [("SECURE_LOG_TOKEN_PIN_FILE", name), ("SECURE_LOG_TOKEN_PIN", "not this one")];
        let written = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            pin(&variables, "t", User::Normal)
        };
        assert_eq!(written(b"12 34\n"), Some(b"12 34".to_vec()));
        assert_eq!(written(b"1234\r\n"), Some(b"1234".to_vec()));
        assert_eq!(written(b"\n"), None);
        assert_eq!(written(&[b'1'; 300]), None);
        std::fs::remove_file(&path).unwrap();
        // A file that is named and not there is no reason to try another PIN: tokens count wrong ones.
        assert_eq!(pin(&variables, "t", User::Normal), None);
    }
}
