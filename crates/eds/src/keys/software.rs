//! Keys in PEM files: those of the software keystore.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use secure_log::signer::Algorithm;
use secure_log_keystore::{FillRandom, PrivateKey, key_file_name};
use serde_json::json;

use super::{Work, show};
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
