//! `eds keys`: the PEM files of the software keystore.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use clap::{Args, Subcommand};
use secure_log::note::VerifierKey;
use secure_log::signer::{Algorithm, PublicKey};
use secure_log_keystore::{DIR_VARIABLE, FillRandom, PrivateKey, key_file_name};
use serde_json::json;

use crate::files;
use crate::output::{Output, note};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a key. A key that is there is not overwritten
    #[command(after_help = "Example:\n  eds keys create audit --keys /etc/edgesentry/keys")]
    Create {
        /// Name of the key: it is kept in <NAME>.pem
        name: String,
        /// Algorithm
        #[arg(long, default_value = "ed25519", value_parser = ALGORITHMS)]
        alg: String,
        #[command(flatten)]
        keys: KeysDir,
    },
    /// The keys of the directory
    #[command(after_help = "Example:\n  eds keys list --keys /etc/edgesentry/keys")]
    List {
        #[command(flatten)]
        keys: KeysDir,
    },
    /// Show a public key, and the verifier key by which checkpoints of a log are checked
    #[command(
        after_help = "Example:\n  eds keys show audit --keys /etc/edgesentry/keys --origin example.com/audit"
    )]
    Show {
        /// Name of the key
        name: String,
        /// Name of the log (`eds log head` says it): shows the verifier key, as `--trust` takes it
        #[arg(long, value_name = "ORIGIN")]
        origin: Option<String>,
        #[command(flatten)]
        keys: KeysDir,
    },
    /// Take in a private key from a PEM file (PKCS#8), such as `openssl genpkey` writes
    #[command(after_help = "Example:\n  eds keys import audit --from audit.pem --keys /etc/edgesentry/keys")]
    Import {
        /// Name of the key
        name: String,
        /// The file
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        keys: KeysDir,
    },
    /// Put a new key in the place of one, and keep the old one under another name
    ///
    /// Checkpoints of the old key stay valid: whoever verifies the log has to trust both verifier keys. A server that
    /// runs signs with the new key after its next start.
    #[command(after_help = "Example:\n  eds keys rotate audit --keys /etc/edgesentry/keys")]
    Rotate {
        /// Name of the key
        name: String,
        /// Algorithm of the new key [default: that of the old one]
        #[arg(long, value_parser = ALGORITHMS)]
        alg: Option<String>,
        #[command(flatten)]
        keys: KeysDir,
    },
}

const ALGORITHMS: [&str; 3] =
    [Algorithm::Ed25519.name(), Algorithm::EcdsaP256.name(), Algorithm::RsaPssSha256.name()];

#[derive(Args, Debug)]
pub(crate) struct KeysDir {
    /// Directory of the keys [default: SECURE_LOG_KEYSTORE_DIR]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl KeysDir {
    fn get(self) -> Result<PathBuf> {
        let from_env = || std::env::var_os(DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.keys
            .or_else(from_env)
            .with_context(|| format!("no directory of keys is given: use --keys DIR, or {DIR_VARIABLE}"))
    }
}

impl Command {
    pub fn run(self, out: Output) -> Result<()> {
        match self {
            Self::Create { name, alg, keys } => {
                let dir = keys.get()?;
                let key = generate(&alg)?;
                create_dir(&dir)?;
                store(&dir, &name, &key)?;
                show(out, &name, key.public(), None)
            }
            Self::Import { name, from, keys } => {
                let dir = keys.get()?;
                let key = read(&from)?;
                create_dir(&dir)?;
                store(&dir, &name, &key)?;
                show(out, &name, key.public(), None)
            }
            Self::Show { name, origin, keys } => {
                let key = read(&keys.get()?.join(key_file_name(&name)?))?;
                show(out, &name, key.public(), origin.as_deref())
            }
            Self::List { keys } => list(out, &keys.get()?),
            Self::Rotate { name, alg, keys } => rotate(out, &keys.get()?, &name, alg),
        }
    }
}

fn random() -> FillRandom {
    Box::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()))
}

fn generate(alg: &str) -> Result<PrivateKey> {
    let algorithm = Algorithm::from_name(alg).with_context(|| format!("there is no algorithm {alg:?}"))?;
    Ok(PrivateKey::generate(algorithm, &mut random())?)
}

fn read(path: &Path) -> Result<PrivateKey> {
    let pem = files::read_private(path)?;
    PrivateKey::from_pem(&pem, &mut random())
        .map_err(|reason| anyhow::anyhow!("{}: {reason}", path.display()))
}

fn store(dir: &Path, name: &str, key: &PrivateKey) -> Result<()> {
    files::create_private(&dir.join(key_file_name(name)?), key.to_pem()?.as_bytes())
}

fn create_dir(dir: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir).with_context(|| format!("cannot create {}", dir.display()))
}

/// The public half in PEM.
fn pem(key: &PublicKey) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(&key.spki_der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END PUBLIC KEY-----\n"
}

fn show(out: Output, name: &str, key: &PublicKey, origin: Option<&str>) -> Result<()> {
    let verifier_key = origin.map(|origin| VerifierKey::new(origin, key.clone())).transpose()?;
    let verifier_key = verifier_key.map(|key| key.to_string());
    if out.json {
        return out.document(&json!({
            "name": name,
            "algorithm": key.algorithm.name(),
            "public_key_pem": pem(key),
            "verifier_key": verifier_key,
        }));
    }
    out.bytes(pem(key).as_bytes())?;
    verifier_key.map_or(Ok(()), |key| out.line(key))
}

fn list(out: Output, dir: &Path) -> Result<()> {
    let cannot = || format!("cannot read the directory of keys {}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let file = entry.with_context(cannot)?.file_name();
        if let Some(name) = file.to_str().and_then(label) {
            names.push(name);
        }
    }
    names.sort();
    let mut listed = Vec::new();
    for name in names {
        match read(&dir.join(key_file_name(&name)?)) {
            Ok(key) => listed.push((name, key.public().algorithm.name())),
            Err(error) => note(format_args!("passed over: {error:#}")),
        }
    }
    if out.json {
        let keys: Vec<_> = listed.iter().map(|(name, alg)| json!({"name": name, "algorithm": alg})).collect();
        return out.document(&keys);
    }
    for (name, algorithm) in listed {
        out.line(format_args!("{name}\t{algorithm}"))?;
    }
    Ok(())
}

/// The label of a key's file; `None` for other files.
fn label(file: &str) -> Option<String> {
    let escaped = file.strip_suffix(".pem")?;
    let mut bytes = Vec::new();
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => u8::from_str_radix(std::str::from_utf8(&[rest.next()?, rest.next()?]).ok()?, 16).ok()?,
            other => other,
        });
    }
    let label = String::from_utf8(bytes).ok()?;
    (key_file_name(&label).as_deref() == Ok(file)).then_some(label)
}

fn rotate(out: Output, dir: &Path, name: &str, alg: Option<String>) -> Result<()> {
    let path = dir.join(key_file_name(name)?);
    let old = read(&path)?;
    let new = generate(alg.as_deref().unwrap_or(old.public().algorithm.name()))?;
    // The old key is stored under its new name first, then the new one takes its place in one step: at no time is
    // there no key of the name, and no crash loses the old one.
    let retired = (1..1_000_u32)
        .map(|n| format!("{name}.retired-{n}"))
        .find(|retired| key_file_name(retired).is_ok_and(|file| !dir.join(file).exists()));
    let Some(retired) = retired else { bail!("{name:?} was rotated too often: move the retired keys away") };
    store(dir, &retired, &old)?;
    let next = dir.join(format!("%next-{}.pem", std::process::id()));
    files::create_private(&next, new.to_pem()?.as_bytes())?;
    fs::rename(&next, &path).with_context(|| format!("cannot replace {}", path.display()))?;
    note(format_args!("the old key is {retired:?} now; its checkpoints need its verifier key to be checked"));
    show(out, name, new.public(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_from_file_names() {
        for name in ["audit", "example.com/log", "ключ", "a b", "100%"] {
            assert_eq!(label(&key_file_name(name).unwrap()).as_deref(), Some(name));
        }
        for file in ["audit.key", "%new-00.pem", "%2f.pem", "a/b.pem"] {
            assert_eq!(label(file), None, "{file}");
        }
    }
}
