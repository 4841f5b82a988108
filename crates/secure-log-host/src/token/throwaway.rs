//! A token for a test or a demonstration.

use secure_log_pkcs11::token::{KeySpec, TokenError, Zeroizing};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{GraphToken, Pins, SharedPins, TokenArtifact, TokenDir, TokenDirError, provision};
use crate::error::Error;
use crate::guest::Guest;

/// Label of the token of a [`Throwaway`].
const LABEL: &str = "throwaway";

/// A token directory in a temporary place, with random PINs that nobody else knows. It goes when this is dropped.
#[derive(Debug)]
pub struct Throwaway {
    dir: TokenDir,
    pins: Pins,
    user: UserPin,
    _temp: tempfile::TempDir,
}

struct UserPin(Zeroizing<String>);

impl std::fmt::Debug for UserPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Why there is no such token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThrowawayError {
    /// No place, or no randomness.
    #[error("no place for a throw-away token")]
    Io(#[from] io::Error),
    /// Its directory.
    #[error(transparent)]
    Dir(#[from] TokenDirError),
    /// The artifact.
    #[error(transparent)]
    Artifact(#[from] Error),
    /// There is no token component in the artifact.
    #[error("{0} has no token in it")]
    NoToken(PathBuf),
    /// The token.
    #[error("the throw-away token: {0}")]
    Token(#[from] TokenError),
}

impl Throwaway {
    /// A directory without a token in it yet.
    pub fn new() -> Result<Self, ThrowawayError> {
        let temp = tempfile::Builder::new().prefix("secure-log-token-").tempdir()?;
        let dir = TokenDir::create(&temp.path().join("token"))?;
        let (user, officer) = (random_pin()?, random_pin()?);
        let pins = Pins::user(user.as_bytes()).with_officer(officer.as_bytes());
        Ok(Self { dir, pins, user: UserPin(user), _temp: temp })
    }

    /// A token with these keys, made by the token component in the artifact at `artifact`.
    pub fn provisioned(artifact: &Path, keys: &[(&str, KeySpec)]) -> Result<Self, ThrowawayError> {
        let token = TokenArtifact::find(artifact)?.ok_or_else(|| ThrowawayError::NoToken(artifact.into()))?;
        let throwaway = Self::new()?;
        provision(&throwaway.start(&token)?, LABEL, keys)?;
        Ok(throwaway)
    }

    /// Starts a token component on it.
    pub fn start(&self, token: &TokenArtifact) -> Result<GraphToken, ThrowawayError> {
        let mut guest = Guest::default();
        self.dir.prepare(&mut guest);
        Ok(token.start(&guest, self.shared_pins())?)
    }

    /// Label of its token: `throwaway`.
    pub fn label(&self) -> &'static str {
        LABEL
    }

    /// Identity of a key on it, as checkpoints are signed with: `pkcs11:token=throwaway;object=KEY`.
    pub fn identity(&self, key: &str) -> String {
        format!("pkcs11:token={LABEL};object={key}")
    }

    /// Its directory.
    pub fn dir(&self) -> &TokenDir {
        &self.dir
    }

    /// Its PINs.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The same for a token.
    pub fn shared_pins(&self) -> SharedPins {
        Arc::new(self.pins.clone())
    }

    /// Lets instances of `guest` sign with it: its directory and the user's PIN (`SECURE_LOG_TOKEN_PIN`).
    pub fn prepare(&self, guest: &mut Guest) {
        self.dir.prepare(guest);
        guest.set_env("SECURE_LOG_TOKEN_PIN", self.user.0.as_str());
    }
}

/// 16 hexadecimal digits: as long as the shortest PIN that any token asks for, and no more than the longest.
fn random_pin() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 8]);
    getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_pins_and_place_and_leaves_nothing() {
        let (one, other) = (Throwaway::new().unwrap(), Throwaway::new().unwrap());
        assert_ne!(*one.user.0, *other.user.0);
        let mut guest = Guest::default();
        one.prepare(&mut guest);
        assert!(guest.env.iter().any(|(name, pin)| name == "SECURE_LOG_TOKEN_PIN" && pin.len() == 16));
        assert!(!guest.env.iter().any(|(name, _)| name.contains("SO_PIN")));
        assert!(!format!("{one:?}").contains(one.user.0.as_str()));
        let path = one.dir().path().to_owned();
        drop(one);
        assert!(!path.exists() && other.dir().path().exists());
    }
}
