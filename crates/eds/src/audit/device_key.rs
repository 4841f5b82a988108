//! Device keys on the command line: hex, key files, and the environment. Nothing here repeats a key in an error.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use ed25519_dalek::{SigningKey, VerifyingKey};
use edgesentry_audit::keys::{KeyPair, parse_fixed_hex, signing_key_from_hex, verifying_key_from_hex};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::files;
use crate::output::warn;

/// The variable that holds a device's private key.
pub(crate) const VARIABLE: &str = "DEVICE_PRIVATE_KEY_HEX";

/// The JSON of a key pair, with a newline at its end.
pub(crate) fn to_json(pair: &KeyPair) -> Result<Zeroizing<String>> {
    // With all its room from the start it never moves and leaves no copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(512));
    serde_json::to_writer_pretty(&mut *text, pair)?;
    text.push(b'\n');
    Ok(Zeroizing::new(String::from_utf8(std::mem::take(&mut *text))?))
}

/// The private key of a key file.
fn read_key_file(path: &Path) -> Result<SigningKey> {
    let bytes = files::read_private(path)?;
    let what = || {
        format!(
            "{} is not a key file: it has private_key_hex and public_key_hex, as `eds audit keygen` writes them",
            path.display()
        )
    };
    // What serde says could show what it found there.
    let pair: KeyPair = serde_json::from_slice(&bytes).ok().with_context(what)?;
    let key = signing_key(&pair.private_key_hex, &format!("private_key_hex in {}", path.display()))?;
    let public = verifying_key(&pair.public_key_hex, &format!("public_key_hex in {}", path.display()))?;
    ensure!(
        key.verifying_key() == public,
        "the two keys in {} do not belong together: it was changed, or put together from two",
        path.display()
    );
    warn_if_open_to_others(path);
    Ok(key)
}

#[cfg(unix)]
fn warn_if_open_to_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        warn(format_args!(
            "other users may get at the private key in {} (mode {mode:03o}): chmod 600 it",
            path.display()
        ));
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_: &Path) {}

// Where a command takes a private key from.
#[derive(Args, Debug)]
pub(crate) struct PrivateKeyArgs {
    /// Private key, 64 hex digits. Other users can see it in the list of processes and shells keep it in their
    /// history: prefer --key-file, or the variable DEVICE_PRIVATE_KEY_HEX, which is taken if neither is given
    #[arg(long, value_name = "HEX", conflicts_with = "key_file")]
    private_key_hex: Option<SecretText>,

    /// File with the private key, as `eds audit keygen --out` writes it
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Text that shows itself nowhere.
#[derive(Clone)]
pub(crate) struct SecretText(Zeroizing<String>);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

impl PrivateKeyArgs {
    /// The key, if there is one.
    pub fn find(&self) -> Result<Option<SigningKey>> {
        if let Some(path) = &self.key_file {
            return read_key_file(path).map(Some);
        }
        if let Some(text) = &self.private_key_hex {
            return signing_key(&text.0, "--private-key-hex").map(Some);
        }
        match std::env::var(VARIABLE).map(Zeroizing::new) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => signing_key(&text, VARIABLE).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => bail!("{VARIABLE} is not hex"),
        }
    }

    /// The key; none is an error that says how to give one.
    pub fn take(&self) -> Result<SigningKey> {
        self.find()?.with_context(|| {
            format!("no private key is given: use --key-file FILE, {VARIABLE}, or --private-key-hex HEX")
        })
    }
}

/// Reads a private key. The error names `what` and shows nothing of it.
fn signing_key(text: &str, what: &str) -> Result<SigningKey> {
    signing_key_from_hex(text.trim()).with_context(|| what.to_owned())
}

/// Reads a public key.
pub(crate) fn verifying_key(text: &str, what: &str) -> Result<VerifyingKey> {
    verifying_key_from_hex(text.trim()).with_context(|| what.to_owned())
}

/// Reads so many bytes of hex.
pub(crate) fn fixed_hex<const N: usize>(text: &str, what: &str) -> Result<[u8; N]> {
    parse_fixed_hex(text.trim()).with_context(|| what.to_owned())
}

/// Public keys by which records are checked, each for one device or for all.
#[derive(Debug, Default)]
pub(crate) struct PublicKeys(Vec<(Option<String>, VerifyingKey)>);

/// A file of public keys.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeysFile {
    // Before the others: a list of one would pass for a struct of one field.
    List(Vec<String>),
    Pair(PublicHalf),
    ByDevice(std::collections::BTreeMap<String, OneOrMore>),
}

#[derive(Deserialize)]
struct PublicHalf {
    public_key_hex: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl PublicKeys {
    /// The keys of an option that may be given several times, and of a file.
    pub fn read(hex: &[String], file: Option<&Path>) -> Result<Self> {
        let mut keys = Vec::new();
        for text in hex {
            keys.push((None, verifying_key(text, "--public-key-hex")?));
        }
        if let Some(path) = file {
            let what = || {
                format!(
                    "{} is not a file of public keys: a list of hex strings, or an object from device ids to one hex string or a list of them",
                    path.display()
                )
            };
            let bytes = files::read_private(path)?;
            let parsed: KeysFile = serde_json::from_slice(&bytes).ok().with_context(what)?;
            let place = |device: &str| format!("the key of {device:?} in {}", path.display());
            match parsed {
                KeysFile::Pair(pair) => {
                    let name = format!("public_key_hex in {}", path.display());
                    keys.push((None, verifying_key(&pair.public_key_hex, &name)?));
                }
                KeysFile::List(list) => {
                    for (number, text) in list.iter().enumerate() {
                        let name = format!("key {} in {}", number + 1, path.display());
                        keys.push((None, verifying_key(text, &name)?));
                    }
                }
                KeysFile::ByDevice(devices) => {
                    for (device, texts) in devices {
                        let texts = match texts {
                            OneOrMore::One(text) => vec![text],
                            OneOrMore::More(texts) => texts,
                        };
                        for text in texts {
                            keys.push((Some(device.clone()), verifying_key(&text, &place(&device))?));
                        }
                    }
                }
            }
            ensure!(!keys.is_empty(), "{} holds no key", path.display());
        }
        Ok(Self(keys))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that may have signed for a device.
    pub fn of(&self, device_id: &str) -> Vec<VerifyingKey> {
        let of_it = |owner: &Option<String>| owner.as_deref().is_none_or(|owner| owner == device_id);
        self.0.iter().filter(|(owner, _)| of_it(owner)).map(|(_, key)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_a_private_key_shows_nothing_of_it() {
        for text in ["c0ffee", &"zz".repeat(32), &"c0ffee".repeat(20)] {
            let error = format!("{:#}", signing_key(text, "--private-key-hex").unwrap_err());
            assert!(error.starts_with("--private-key-hex") && !error.contains(&text[..4]), "{error}");
        }
    }

    #[test]
    fn a_public_key_of_small_order_is_refused() {
        let error = verifying_key(&format!("01{}", "00".repeat(31)), "--public-key-hex").unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("small order"), "{error}");
    }

    #[test]
    fn keys_of_a_device_are_its_own_and_those_of_all() {
        let key = |n: u8| hex::encode(SigningKey::from_bytes(&[n; 32]).verifying_key().as_bytes());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(
            &file,
            serde_json::json!({"lift-01": key(1), "lift-02": [key(2), key(3)]}).to_string(),
        )
        .unwrap();
        let keys = PublicKeys::read(&[key(9)], Some(&file)).unwrap();
        assert_eq!(keys.of("lift-01").len(), 2);
        assert_eq!(keys.of("lift-02").len(), 3);
        assert_eq!(keys.of("lift-03").len(), 1);
        std::fs::write(&file, "[\"12\"]").unwrap();
        assert!(PublicKeys::read(&[], Some(&file)).unwrap_err().to_string().contains("key 1 in"));
    }
}
