//! Someone with write access to the files of the file store: every byte, flipped.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;

use std::path::{Path, PathBuf};

use common::*;
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::{Error, NativeSecureLog};
use secure_log_file::FileSecureLogStore;

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all.sort();
    all
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}

fn verify(directory: &Path, trusted: &[String]) -> secure_log::Result<()> {
    let store = FileSecureLogStore::open(directory.join("audit.jsonl").to_str().unwrap())?;
    let mut log = NativeSecureLog::new(store, fixed(), "test 1")?;
    let result = verify_all(&mut log, trusted);
    log.into_store().close().unwrap();
    result
}

/// Flips one byte after the other in the log and its payloads. Each is caught; all but those in the
/// first line (which says that the file is ours) name a stream, and those in entries and payloads
/// an entry.
#[test]
fn every_byte() {
    let original = tempfile::tempdir().unwrap();
    let path = original.path().join("audit.jsonl");
    let mut log = open::<FileSecureLogStore>(path.to_str().unwrap());
    let trusted = sample(&mut log);
    log.into_store().close().unwrap();
    verify(original.path(), &trusted).unwrap();

    let text = std::fs::read(&path).unwrap();
    let first_line = text.iter().position(|b| *b == b'\n').unwrap() + 1;
    let mut unnamed = Vec::new();
    let mut tried = 0;
    for file in files(original.path()) {
        let name = file.strip_prefix(original.path()).unwrap().to_owned();
        let shown = name.display().to_string();
        // The lease is no part of the log; tiles are derived and tested as such.
        if shown.contains(".lease") || shown.contains(".tiles") {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap();
        let step = if bytes.len() > 4000 { 3 } else { 1 };
        for at in (0..bytes.len()).step_by(step) {
            let directory = tempfile::tempdir().unwrap();
            copy(original.path(), directory.path());
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(directory.path().join(&name), changed).unwrap();
            tried += 1;
            match verify(directory.path(), &trusted) {
                Err(Error::Corrupt(c)) => {
                    if c.stream_id.is_empty() || c.seqno == 0 {
                        unnamed.push(format!("{shown} byte {at}: {c:?}"));
                    }
                }
                Err(Error::Invalid(i))
                    if shown == "audit.jsonl" && at < first_line && i.field == "config" => {}
                other => panic!("{shown} byte {at} flipped: {other:?}"),
            }
        }
    }
    assert!(tried > 2000, "only {tried} bytes");
    // Damage in an object or a checkpoint is not about one entry.
    for line in &unnamed {
        assert!(line.contains("audit.jsonl byte"), "{line}");
    }
    assert!(
        unnamed.len() * 4 < tried,
        "{} of {tried} name no entry, first {:?}",
        unnamed.len(),
        unnamed.first()
    );
}
