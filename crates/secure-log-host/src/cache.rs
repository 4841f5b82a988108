//! Compiled components, kept by the hash of what they were compiled from.
//!
//! Compiling takes seconds. A compiled artifact is native code, so it is taken only from a folder that belongs to
//! whoever runs this and that nobody else can write: `target/` for a program that lies in one, else the service's
//! `$CACHE_DIRECTORY`, `$XDG_CACHE_HOME/secure-log` or `~/.cache/secure-log`. Without such a folder every start
//! compiles. A file that is damaged, or of another compiler, is compiled anew.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::{Error, Result};

/// Begins a kept file; the BLAKE3 hash of the rest follows.
const MAGIC: &[u8; 16] = b"secure-log cwasm";
const HASH: usize = 32;
/// Kept files of a user's cache: a few versions of a few artifacts.
const KEPT: usize = 16;

/// Compiles `wasm`, or takes what an earlier run compiled.
pub(crate) fn load(engine: &Engine, name: &str, wasm: &[u8]) -> Result<Component> {
    load_from(cache_dir().as_ref(), engine, name, wasm)
}

fn load_from(dir: Option<&CacheDir>, engine: &Engine, name: &str, wasm: &[u8]) -> Result<Component> {
    let file = dir.map(|dir| dir.path.join(format!("{}.cwasm", key(engine, wasm))));
    if let Some(bytes) = file.as_deref().and_then(|file| read(file).ok()) {
        // SAFETY: the bytes are what this code serialised, unless somebody forged them: they have the hash that was
        // written with them, so they are not damaged, and the file and its folder belong to this user (or to root)
        // and nobody else can write them. Whoever can forge them runs as this user already, and could as well
        // replace this program's data, or in `target/` the program. wasmtime checks version and settings itself.
        if let Ok(component) = unsafe { Component::deserialize(engine, &bytes[MAGIC.len() + HASH..]) } {
            return Ok(component);
        }
    }
    let component = Component::new(engine, wasm)
        .map_err(|e| Error::Component { name: name.to_owned(), reason: format!("{e:#}") })?;
    if let (Some(file), Some(dir)) = (file, dir) {
        // Without a cache the next start is slower, and nothing else.
        if let Err(error) = keep(&file, &component) {
            tracing::debug!(file = %file.display(), %error, "compiled component not kept");
        }
        if dir.prune {
            prune(&dir.path);
        }
    }
    Ok(component)
}

/// A kept file with all of its bytes as they were written.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    if !only_ours(&file.metadata()?) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0) + 1);
    file.read_to_end(&mut bytes)?;
    let sound = bytes.get(..MAGIC.len()).is_some_and(|magic| magic == MAGIC)
        && bytes
            .get(MAGIC.len()..)
            .and_then(|rest| rest.split_at_checked(HASH))
            .is_some_and(|(hash, compiled)| blake3::hash(compiled).as_bytes().as_slice() == hash);
    if sound { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn keep(file: &Path, component: &Component) -> io::Result<()> {
    let dir = file.parent().ok_or(io::ErrorKind::NotFound)?;
    let compiled = component.serialize().map_err(|e| io::Error::other(format!("{e:#}")))?;
    // 0600, and under its name only when it is complete.
    let mut part = tempfile::NamedTempFile::new_in(dir)?;
    part.write_all(MAGIC)?;
    part.write_all(blake3::hash(&compiled).as_bytes())?;
    part.write_all(&compiled)?;
    part.persist(file)?;
    Ok(())
}

/// Leaves the newest files: each version of an artifact has a name of its own.
fn prune(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            path.extension().is_some_and(|ext| ext == "cwasm").then_some(())?;
            Some((path.metadata().ok()?.modified().ok()?, path))
        })
        .collect();
    files.sort();
    let old = files.len().saturating_sub(KEPT);
    for (_, path) in files.drain(..old) {
        let _ = fs::remove_file(path);
    }
}

fn key(engine: &Engine, wasm: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    format!("{}-{:016x}", &blake3::hash(wasm).to_hex()[..32], settings.finish())
}

struct CacheDir {
    path: PathBuf,
    prune: bool,
}

fn cache_dir() -> Option<CacheDir> {
    if let Some(target) = target_dir() {
        return usable(target.join("compiled")).map(|path| CacheDir { path, prune: false });
    }
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = match (var("CACHE_DIRECTORY"), var("XDG_CACHE_HOME"), var("HOME")) {
        // systemd lists several directories with colons between them.
        (Some(dirs), ..) => PathBuf::from(dirs.to_str()?.split(':').next()?),
        (_, Some(cache), _) if cache.is_absolute() => cache.join("secure-log"),
        (_, _, Some(home)) if home.is_absolute() => home.join(".cache/secure-log"),
        _ => return None,
    };
    usable(path).map(|path| CacheDir { path, prune: true })
}

/// The `target` folder that the program lies in.
fn target_dir() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let target = program.ancestors().find(|dir| dir.file_name().is_some_and(|name| name == "target"))?;
    // Any folder may have that name; cargo marks its own.
    target.join("CACHEDIR.TAG").is_file().then(|| target.to_owned())
}

/// The directory, made if need be, when it is ours alone. A service's directory is a symbolic link to one that is.
fn usable(dir: PathBuf) -> Option<PathBuf> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&dir).ok()?;
    let dir = dir.canonicalize().ok()?;
    let metadata = fs::symlink_metadata(&dir).ok()?;
    if metadata.is_dir() && only_ours(&metadata) {
        return Some(dir);
    }
    tracing::debug!(dir = %dir.display(), "not a directory that only this user can write: nothing is cached");
    None
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NOFOLLOW.bits();
    OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// Whether it belongs to this user, and nobody else can write it.
#[cfg(unix)]
fn only_ours(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn only_ours(_: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::engine_config;

    const WASM: &[u8] = b"\0asm\x0d\0\x01\0";

    fn cached(dir: &Path) -> (Engine, CacheDir, PathBuf) {
        let engine = Engine::new(&engine_config()).unwrap();
        let file = dir.join(format!("{}.cwasm", key(&engine, WASM)));
        (engine, CacheDir { path: dir.to_owned(), prune: true }, file)
    }

    #[test]
    fn compiled_once_and_taken_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, cache, file) = cached(dir.path());
        load_from(Some(&cache), &engine, "empty", WASM).unwrap();
        let first = fs::metadata(&file).unwrap().modified().unwrap();
        assert!(read(&file).is_ok());
        load_from(Some(&cache), &engine, "empty", WASM).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), first, "it was compiled again");
    }

    #[test]
    fn every_damaged_byte_is_noticed_and_the_file_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, cache, file) = cached(dir.path());
        load_from(Some(&cache), &engine, "empty", WASM).unwrap();
        let sound = fs::read(&file).unwrap();
        for at in [0, MAGIC.len(), MAGIC.len() + HASH, sound.len() / 2, sound.len() - 1] {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(&file, &damaged).unwrap();
            assert!(read(&file).is_err(), "byte {at}");
            load_from(Some(&cache), &engine, "empty", WASM).unwrap();
            assert!(read(&file).is_ok(), "byte {at}: it was not written again");
        }
        fs::write(&file, b"").unwrap();
        load_from(Some(&cache), &engine, "empty", WASM).unwrap();
        // Sound, and not what this compiler writes.
        let foreign = b"\x7fELF and something else";
        let whole = [MAGIC.as_slice(), blake3::hash(foreign).as_bytes(), foreign].concat();
        fs::write(&file, whole).unwrap();
        load_from(Some(&cache), &engine, "empty", WASM).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn directories_and_files_that_others_can_write_are_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let made = usable(dir.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&made, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(usable(made).is_none());

        let (engine, cache, file) = cached(dir.path());
        load_from(Some(&cache), &engine, "empty", WASM).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(read(&file).is_err());
        fs::rename(&file, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &file).unwrap();
        assert!(read(&file).is_err());
    }

    #[test]
    fn only_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..KEPT + 3 {
            fs::write(dir.path().join(format!("{n}.cwasm")), b"").unwrap();
        }
        fs::write(dir.path().join("other"), b"").unwrap();
        prune(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), KEPT + 1);
    }

    #[test]
    fn what_is_no_component_is_named() {
        let engine = Engine::new(&engine_config()).unwrap();
        let error = load_from(None, &engine, "some.wasm", b"no component").map(drop).unwrap_err().to_string();
        assert!(error.starts_with("some.wasm is not a WebAssembly component"), "{error}");
    }
}
