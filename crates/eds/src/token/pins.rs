//! PINs: from a file, from the environment, or asked for at the terminal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use secure_log_host::token::Pins as Given;
use secure_log_pkcs11::MAX_PIN;
use secure_log_pkcs11::token::{PinProvider, User, Zeroizing};

use crate::files;

/// Whether a security officer's PIN may be wanted, and where it is.
pub(crate) enum OfficerPin {
    /// Nothing is provisioned: none is wanted.
    None,
    /// From this file, else from the environment, else asked for.
    From(Option<PathBuf>),
}

/// The PINs of a command. The terminal is asked when a token wants one that is nowhere else, once for each: a token
/// that refused a PIN is not tried with another.
pub(crate) struct Pins {
    given: Given,
    /// A new token's PINs are typed twice.
    twice: bool,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    answers: Vec<(String, User, Zeroizing<Vec<u8>>)>,
    /// Why the last question gave no PIN.
    failed: Option<String>,
}

impl Pins {
    /// The user's PIN comes from `file` where one is named, else from the environment. No other source is tried when the
    /// one that was named cannot be used.
    pub fn new(file: Option<&Path>, officer: OfficerPin) -> Result<Self> {
        let mut given = match (file, &officer) {
            (Some(_), OfficerPin::None | OfficerPin::From(Some(_))) => Given::none(),
            _ => Given::from_env()?,
        };
        let twice = matches!(officer, OfficerPin::From(_));
        if let OfficerPin::From(Some(path)) = officer {
            given = given.with_officer_file(&path)?;
        }
        given = match file {
            Some(path) if is_credential(path) => given.with_user(credential(path)?.as_slice()),
            Some(path) => given.with_user_file(path)?,
            None => given,
        };
        Ok(Self { given, twice, asked: Mutex::default() })
    }

    /// The user's PIN for this token as text, for an environment. None if there is none.
    pub fn text(&self, token: &str) -> Result<Option<Zeroizing<String>>> {
        let Some(pin) = self.pin(token, User::Normal) else { return Ok(None) };
        match std::str::from_utf8(&pin) {
            Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
            Err(_) => bail!("the PIN is not UTF-8, which a token in a component cannot be given"),
        }
    }

    /// Why there was no PIN, if one was asked for.
    pub fn failure(&self) -> Option<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).failed.clone()
    }
}

impl PinProvider for Pins {
    fn pin(&self, token_label: &str, user: User) -> Option<Zeroizing<Vec<u8>>> {
        if let Some(pin) = self.given.pin(token_label, user) {
            return Some(pin);
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(label, of, _): &&(String, User, _)| label == token_label && *of == user;
        if let Some((_, _, pin)) = asked.answers.iter().find(same) {
            return Some(pin.clone());
        }
        // Whoever was asked and gave none is not asked again.
        if asked.failed.is_some() {
            return None;
        }
        match ask(token_label, user, self.twice) {
            Ok(pin) => {
                asked.answers.push((token_label.to_owned(), user, pin.clone()));
                Some(pin)
            }
            Err(reason) => {
                asked.failed = Some(reason);
                None
            }
        }
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.given.fmt(f)
    }
}

/// Whether systemd made this file for us. Where it gives us the right to read it by an access control list, its mode
/// looks as if a group had it.
fn is_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .is_some_and(|dir| !dir.is_empty() && path.starts_with(Path::new(&dir)))
}

fn credential(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut pin = files::read_private(path)?;
    while let Some(b'\n' | b'\r') = pin.last() {
        pin.pop();
    }
    if !(1..=MAX_PIN).contains(&pin.len()) {
        bail!("the PIN in {} has {} bytes; a PIN has 1 to {MAX_PIN}", path.display(), pin.len());
    }
    Ok(pin)
}

/// Asks at the terminal, whatever stdin and stdout are. Nothing of the answer is shown.
fn ask(token: &str, user: User, twice: bool) -> Result<Zeroizing<Vec<u8>>, String> {
    let whose = match user {
        User::Normal => "PIN",
        User::SecurityOfficer => "PIN of the security officer",
    };
    let new = if twice { "New " } else { "" };
    let pin = read(&format!("{new}{whose} for the token {token:?}: "))?;
    if pin.is_empty() {
        return Err("the PIN that was typed is empty".into());
    }
    if twice && *read(&format!("{new}{whose} once more: "))? != *pin {
        return Err("the two PINs that were typed are not the same".into());
    }
    Ok(Zeroizing::new(pin.as_bytes().to_vec()))
}

fn read(prompt: &str) -> Result<Zeroizing<String>, String> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| format!("no PIN was given, and there is no terminal to ask for it at ({error})"))
}
