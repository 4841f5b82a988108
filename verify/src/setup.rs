//! From the command line to what a run needs: component, directories, variables, keys.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::cli::Args;
use crate::host::{Artifact, Guest};
use crate::launch::{Keys, Launcher, Place};
use crate::store_path::StorePath;

pub(crate) fn artifact_path(args: &Args) -> anyhow::Result<PathBuf> {
    let how =
        "build it with ./scripts/quickstart.sh, in the folder above this one; it puts components into dist/";
    let default = args.bench.then(|| PathBuf::from("../dist/secure-log-sqlite.wasm"));
    let path = args.artifact.clone().or(default).with_context(|| {
        format!("no component given, such as ../dist/secure-log-sqlite.wasm (see --help). If there is none yet, {how}")
    })?;
    ensure!(path.is_file(), "{} is not there: {how}", path.display());
    Ok(path)
}

pub(crate) fn launcher(args: &Args, path: &Path, guest: Guest) -> anyhow::Result<Launcher> {
    let artifact = Artifact::load(path)?;
    Ok(Launcher { artifact, guest, host_lock: !args.no_host_lock, patience: args.wait })
}

/// `SECURE_LOG_*`, and what `--env` names.
pub(crate) fn environment(args: &Args) -> anyhow::Result<Vec<(String, String)>> {
    let mut env: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("SECURE_LOG_"))
        .collect();
    for wish in &args.env {
        let (name, value) = match wish.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (wish.as_str(), std::env::var(wish).with_context(|| format!("--env {wish}"))?),
        };
        env.retain(|(n, _)| n != name);
        env.push((name.to_owned(), value));
    }
    Ok(env)
}

/// Finds or makes the directory of signing keys and lets the guest see it.
pub(crate) fn keys(args: &Args, store: &StorePath, guest: &mut Guest) -> anyhow::Result<Keys> {
    const DIR: &str = "SECURE_LOG_KEYSTORE_DIR";
    const GENERATE: &str = "SECURE_LOG_KEYSTORE_GENERATE";
    let get = |guest: &Guest, name: &str| guest.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let algorithm = get(guest, "SECURE_LOG_KEYSTORE_ALG").filter(|alg| !alg.is_empty());
    let default = algorithm.map_or("audit".into(), |alg| format!("audit-{alg}"));
    let identity = args.identity.clone().unwrap_or(default);
    let (dir, ours) = match (get(guest, DIR).filter(|dir| !dir.is_empty()), store.host_path()) {
        (Some(dir), _) => (PathBuf::from(dir), false),
        (None, Some(path)) => {
            let mut name = path.as_os_str().to_owned();
            name.push(".keys");
            if get(guest, GENERATE).is_none() {
                guest.env.push((GENERATE.into(), "1".into()));
            }
            (PathBuf::from(name), true)
        }
        (None, None) => return Ok(Keys { identity, place: Place::Memory }),
    };
    if ours {
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let dir = dir
        .canonicalize()
        .with_context(|| format!("the directory of keys, {}, is not there", dir.display()))?;
    let name = dir.to_str().with_context(|| format!("{} is not UTF-8", dir.display()))?.to_owned();
    guest.env.retain(|(n, _)| n != DIR);
    guest.env.push((DIR.into(), name.clone()));
    guest.preopen(&dir, name);
    Ok(Keys { identity, place: Place::Directory { path: dir, ours } })
}

/// A directory for copies: beside the log, so that it is the same file system.
pub(crate) fn scratch(store: &StorePath) -> anyhow::Result<TempDir> {
    let made = match store.preopen() {
        Some((dir, _)) => tempfile::Builder::new().prefix(".secure-log-verify-").tempdir_in(dir),
        None => TempDir::with_prefix("secure-log-verify-"),
    };
    made.context("cannot make a directory for copies beside the log")
}

pub(crate) fn default_name(artifact: &Path) -> &'static str {
    let name = artifact.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if name.contains("file") { "audit.jsonl" } else { "audit.db" }
}

/// Eight hexadecimal digits that differ from run to run.
pub(crate) fn run_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let hash = blake3::hash(&[now.to_le_bytes().as_slice(), &std::process::id().to_le_bytes()].concat());
    hash.to_hex()[..8].to_owned()
}

pub(crate) fn described(store: &StorePath, temporary: bool) -> String {
    match store.host_path() {
        None => "in memory; it ends with this run".into(),
        Some(path) if temporary => format!("{} (no config given: removed at the end)", path.display()),
        Some(path) => path.display().to_string(),
    }
}

pub(crate) fn described_keys(keys: &Keys) -> String {
    let name = &keys.identity;
    match &keys.place {
        Place::Memory => format!("{name:?}, made for this run and gone with it"),
        Place::Directory { path, ours: true } => {
            format!("{name:?} in {} (made on first use; keep real keys away from the log)", path.display())
        }
        Place::Directory { path, ours: false } => format!("{name:?} in {}", path.display()),
        Place::Token(_) => format!("{name:?}"),
    }
}

pub(crate) fn described_events(args: &Args) -> String {
    match &args.events {
        None => "a built-in sample".into(),
        Some(file) if file.as_os_str() == "-" => "lines of standard input".into(),
        Some(file) => format!("lines of {}", file.display()),
    }
}
