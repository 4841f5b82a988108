//! Keys in files: those of the software keystore.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use secure_log::envelope::{Envelope as _, EnvelopeError};
use secure_log::signer::Algorithm;
use secure_log_keystore::{
    Config, FillRandom, KeyEncryptionKey, PrivateKey, SoftwareKeystore, kek_file_name, key_file_name,
    key_label,
};
use serde_json::json;

use super::{Work, confirm, show};
use crate::files;
use crate::output::{Output, note};

/// Does the work on a directory of keys.
pub(super) fn run(out: Output, dir: PathBuf, work: Work) -> Result<()> {
    match work {
        Work::Create { name, alg } => {
            let key = PrivateKey::generate(alg, &mut random())?;
            create_dir(&dir)?;
            store(&dir, &name, &key)?;
            show::key(out, &name, key.public(), None, &[])
        }
        Work::Import { name, from } => {
            let key = read(&from)?;
            create_dir(&dir)?;
            store(&dir, &name, &key)?;
            show::key(out, &name, key.public(), None, &[])
        }
        Work::CreateWrapping { name } => {
            create_dir(&dir)?;
            keystore(&dir).create_key_encryption_key(&name)?;
            note(format_args!(
                "the key is in {}. Without it nobody reads what it seals: keep a copy apart from the log's",
                dir.join(kek_file_name(&name)?).display()
            ));
            show::wrapping(out, &name, &[])
        }
        Work::Destroy { name, yes } => destroy(&dir, &name, yes),
        Work::Show { name, origin } if origin.is_none() && is_wrapping(&dir, &name)? => {
            read_wrapping(&dir.join(kek_file_name(&name)?))?;
            show::wrapping(out, &name, &[])
        }
        Work::Show { name, origin } => {
            let key = read(&dir.join(key_file_name(&name)?))?;
            show::key(out, &name, key.public(), origin.as_deref(), &[])
        }
        Work::List => list(out, &dir),
        Work::Rotate { name, alg } => rotate(out, &dir, &name, alg),
    }
}

pub(super) fn random() -> FillRandom {
    Box::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()))
}

/// The key in a PEM file.
pub(super) fn read(path: &Path) -> Result<PrivateKey> {
    let pem = files::read_private(path)?;
    PrivateKey::from_pem(&pem, &mut random())
        .map_err(|reason| anyhow::anyhow!("{}: {reason}", path.display()))
}

/// The keystore over these keys.
fn keystore(dir: &Path) -> SoftwareKeystore {
    let config =
        Config { directory: Some(dir.to_owned()), notice: Box::new(|_| {}), ..Config::new(random()) };
    SoftwareKeystore::new(config)
}

fn read_wrapping(path: &Path) -> Result<KeyEncryptionKey> {
    KeyEncryptionKey::from_hex(&files::read_private(path)?)
        .map_err(|reason| anyhow::anyhow!("{}: {reason}", path.display()))
}

/// Whether the only key of this name is one for wrapping.
fn is_wrapping(dir: &Path, name: &str) -> Result<bool> {
    Ok(dir.join(kek_file_name(name)?).exists() && !dir.join(key_file_name(name)?).exists())
}

fn destroy(dir: &Path, name: &str, yes: bool) -> Result<()> {
    let path = dir.join(kek_file_name(name)?);
    if !path.exists() {
        bail!("there is no key-encryption key {name:?}: no {}", path.display());
    }
    confirm::destruction(name, yes)?;
    keystore(dir).destroy(name).map_err(|error| match error {
        EnvelopeError::KeyNotFound(_) => anyhow::anyhow!("{name:?} is gone: somebody else has destroyed it"),
        error => error.into(),
    })?;
    note(format_args!(
        "{name:?} is destroyed: its file was overwritten and removed. Copies of it, in backups or in snapshots, are yours to \
         destroy; a solid-state disk or a journaling file system may keep what was overwritten for some time"
    ));
    Ok(())
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

fn list(out: Output, dir: &Path) -> Result<()> {
    let cannot = || format!("cannot read the directory of keys {}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let file = entry.with_context(cannot)?.file_name();
        if let Some(name) = file.to_str()
            && let Some(label) = key_label(name)
        {
            names.push((label, name.to_owned()));
        }
    }
    names.sort();
    let mut listed = Vec::new();
    for (name, file) in names {
        let path = dir.join(&file);
        let algorithm = match file.ends_with(".kek") {
            true => read_wrapping(&path).map(|_| KeyEncryptionKey::ALGORITHM),
            false => read(&path).map(|key| key.public().algorithm.name()),
        };
        match algorithm {
            Ok(algorithm) => listed.push((name, algorithm)),
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

fn rotate(out: Output, dir: &Path, name: &str, alg: Option<Algorithm>) -> Result<()> {
    let path = dir.join(key_file_name(name)?);
    let old = read(&path)?;
    let new = PrivateKey::generate(alg.unwrap_or(old.public().algorithm), &mut random())?;
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
    show::key(out, name, new.public(), None, &[])
}
