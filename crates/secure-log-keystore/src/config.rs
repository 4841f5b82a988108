//! What a keystore is made from.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use secure_log::signer::{Algorithm, KeyError};

/// Names the algorithm of keys that are generated.
pub const ALG_VARIABLE: &str = "SECURE_LOG_KEYSTORE_ALG";
/// Names the directory of key files.
pub const DIR_VARIABLE: &str = "SECURE_LOG_KEYSTORE_DIR";
/// `1`: a missing key file is created.
pub const GENERATE_VARIABLE: &str = "SECURE_LOG_KEYSTORE_GENERATE";

/// Fills the bytes with randomness fit for keys, or says why it cannot.
pub type FillRandom = Box<dyn FnMut(&mut [u8]) -> Result<(), String> + Send>;

/// Takes what the operator should read. Never key material.
pub type Notice = Box<dyn FnMut(&str) + Send>;

/// What a [`SoftwareKeystore`](crate::SoftwareKeystore) is made from.
pub struct Config {
    /// Directory of `<label>.pem` files. `None`: keys live in memory and die with the keystore.
    pub directory: Option<PathBuf>,
    /// Algorithm of generated keys. A key that exists keeps its own.
    pub algorithm: Algorithm,
    /// Whether a missing key file is created. Without a directory keys are always generated.
    pub generate: bool,
    /// Source of randomness: for new keys, and for the salt and the blinding of RSA signatures.
    pub random: FillRandom,
    /// Where warnings go.
    pub notice: Notice,
}

impl Config {
    /// Ephemeral Ed25519 keys, randomness from `random`, warnings to stderr.
    pub fn new(random: impl FnMut(&mut [u8]) -> Result<(), String> + Send + 'static) -> Self {
        Self {
            directory: None,
            algorithm: Algorithm::Ed25519,
            generate: false,
            random: Box::new(random),
            notice: Box::new(|text| eprintln!("keystore: {text}")),
        }
    }

    /// The configuration in the process's environment, with the system's randomness.
    pub fn from_env() -> Result<Self, KeyError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// The configuration in `variables`. A variable that is set must make sense: an empty
    /// directory is refused rather than taken for "no directory".
    pub fn from_variables(variables: impl Fn(&str) -> Option<OsString>) -> Result<Self, KeyError> {
        let invalid = |name: &str, value: &OsString, wanted: &str| {
            KeyError::Invalid(format!("{name} is {value:?}; {wanted}"))
        };
        let mut config = Self::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()));
        if let Some(value) = variables(ALG_VARIABLE) {
            config.algorithm = value.to_str().and_then(Algorithm::from_name).ok_or_else(|| {
                let names = Algorithm::ALL.map(Algorithm::name).join(", ");
                invalid(ALG_VARIABLE, &value, &format!("use one of {names}"))
            })?;
        }
        if let Some(value) = variables(DIR_VARIABLE) {
            if value.is_empty() {
                return Err(invalid(
                    DIR_VARIABLE,
                    &value,
                    "name a directory, or unset it for keys in memory",
                ));
            }
            config.directory = Some(value.into());
        }
        config.generate = match variables(GENERATE_VARIABLE) {
            None => false,
            Some(value) if value == "1" => true,
            Some(value) if value == "0" || value.is_empty() => false,
            Some(value) => return Err(invalid(GENERATE_VARIABLE, &value, "use 1 or 0")),
        };
        Ok(config)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("directory", &self.directory)
            .field("algorithm", &self.algorithm)
            .field("generate", &self.generate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Config, KeyError> {
        Config::from_variables(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
    }

    fn refused(name: &str, value: &str) -> String {
        match from(&[(name, value)]) {
            Err(KeyError::Invalid(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_set_means_ephemeral_ed25519() {
        let config = from(&[]).unwrap();
        assert_eq!(config.directory, None);
        assert_eq!(config.algorithm, Algorithm::Ed25519);
        assert!(!config.generate);
    }

    #[test]
    fn everything_set() {
        for algorithm in Algorithm::ALL {
            let config =
                from(&[(ALG_VARIABLE, algorithm.name()), (DIR_VARIABLE, "/keys"), (GENERATE_VARIABLE, "1")])
                    .unwrap();
            assert_eq!(config.algorithm, algorithm);
            assert_eq!(config.directory, Some("/keys".into()));
            assert!(config.generate);
        }
        assert!(!from(&[(GENERATE_VARIABLE, "0")]).unwrap().generate);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for value in ["", "rsa", "ED25519", "ed25519 "] {
            let text = refused(ALG_VARIABLE, value);
            assert!(text.contains("ed25519, ecdsa-p256, rsa-pss-sha256"), "{text}");
        }
        assert!(refused(DIR_VARIABLE, "").contains(DIR_VARIABLE));
        assert!(refused(GENERATE_VARIABLE, "yes").contains("use 1 or 0"));
    }
}
