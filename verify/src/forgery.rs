//! Changes stored bytes behind the log's back, on copies of its files.
//!
//! The harness knows no store format. It appends an entry whose payload and header hold marks
//! that occur nowhere else, closes the log, looks for the marks in the files (as they are, in
//! hexadecimal, in base64) and changes one byte inside of each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::failure::Failure;
use crate::host::types::{Event, LogError, Severity};
use crate::launch::{Launcher, Session};
use crate::store_path::StorePath;
use crate::writer::hex;

/// An entry with marks in it.
#[derive(Clone, Debug)]
pub struct Marked {
    /// Its stream.
    pub stream: String,
    /// Its number.
    pub seqno: u64,
    /// Mark in its payload.
    pub payload: String,
    /// Mark in its header (the media type, which is kept nowhere else).
    pub header: String,
}

/// One place in one file where a mark is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// File, relative to the directory of the store.
    pub file: PathBuf,
    /// Byte to change.
    pub offset: usize,
    /// Value to write there.
    pub forged: u8,
}

/// Appends `before` + 1 + `after` entries, of which the middle one carries marks.
pub fn plant(log: &mut Session, stream: &str, before: usize, after: usize) -> anyhow::Result<Marked> {
    let (payload, header) = (format!("mark-payload-{stream}"), format!("text/x-mark-header-{stream}"));
    let event = |n: usize| Event {
        stream_id: stream.into(),
        event_type: "transfer".into(),
        severity: Severity::Notice,
        producer: "bank".into(),
        payload: if n == before {
            format!("pay 100 to alice; {payload}").into_bytes()
        } else {
            format!("pay {n} to bob").into_bytes()
        },
        payload_encoding: (n == before).then(|| header.clone()),
        object_ref: None,
        id: None,
    };
    let events: Vec<Event> = (0..=before + after).map(event).collect();
    let acks = log.append_batch(&events, &[])?;
    Ok(Marked { stream: stream.into(), seqno: acks[before].seqno, payload, header })
}

/// All places where `mark` is stored.
pub fn sites(store: &Path, mark: &str) -> anyhow::Result<Vec<Site>> {
    let dir = directory(store);
    let mut found = Vec::new();
    for file in files_below(&files_of(store)?)? {
        let bytes = fs::read(&file)?;
        let relative = file.strip_prefix(dir).unwrap_or(&file);
        for (needle, encoded) in spellings(mark.as_bytes()) {
            let mut from = 0;
            while let Some(at) = find(&bytes[from..], &needle) {
                // The middle: never a character that a neighbour shares bits with.
                let offset = from + at + needle.len() / 2;
                let forged = match bytes[offset] {
                    b'2' if encoded => b'3',
                    _ if encoded => b'2',
                    byte => byte ^ 1,
                };
                found.push(Site { file: relative.to_owned(), offset, forged });
                from += at + needle.len();
            }
        }
    }
    Ok(found)
}

/// Copies the files of a closed store into `to`, changes one byte and returns the store there.
pub fn forge(store: &StorePath, site: &Site, to: &Path) -> anyhow::Result<StorePath> {
    let path = store.host_path().context("a store in memory has no files")?;
    fs::create_dir_all(to)?;
    let dir = directory(path);
    let files = files_of(path)?;
    for file in files_below(&files)? {
        let copy = to.join(file.strip_prefix(dir).unwrap_or(&file));
        fs::create_dir_all(directory(&copy))?;
        fs::copy(&file, &copy)?;
    }
    let target = to.join(&site.file);
    let mut bytes = fs::read(&target)?;
    bytes[site.offset] = site.forged;
    fs::write(&target, bytes)?;
    Ok(store.at(&to.join(path.file_name().context("a store has a name")?))?)
}

/// Opens a forged store and has it verified: the error must name the entry. Returns the error.
pub fn caught(launcher: &Launcher, forged: &StorePath, marked: &Marked) -> anyhow::Result<String> {
    let mut log = launcher.start(forged, &[])?;
    let opened = log.open_log();
    let outcome = opened.and_then(|()| log.verify_chain(&marked.stream, 1, marked.seqno + 1).map(drop));
    match outcome {
        Ok(()) => anyhow::bail!("NOT caught: the chain of {:?} verifies", marked.stream),
        Err(Failure::Log(LogError::Corrupt(c))) => {
            ensure!(
                c.stream_id == marked.stream && c.seqno == marked.seqno,
                "caught, but it names stream {:?} seqno {} instead of {:?} seqno {}: {}",
                c.stream_id,
                c.seqno,
                marked.stream,
                marked.seqno,
                c.reason
            );
            Ok(Failure::Log(LogError::Corrupt(c)).to_string())
        }
        Err(other) => Err(anyhow::Error::new(other).context("verification ends in another error")),
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What belongs to the store at `store`: itself and what lies beside it under its name, but no
/// host lock and no keys.
fn files_of(store: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let name = store.file_name().and_then(|name| name.to_str()).context("a store has a name")?;
    let mut files = Vec::new();
    for entry in fs::read_dir(directory(store))? {
        let path = entry?.path();
        let rest = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix(name));
        let ours = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']));
        if ours && !matches!(rest, Some(".lock" | ".keys")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn files_below(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside: Vec<PathBuf> =
                fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
            files.extend(files_below(&inside)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// How a store may have written down these bytes, and whether that is an encoding.
fn spellings(bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let lower = hex(bytes);
    let mut all =
        vec![(bytes.to_vec(), false), (lower.to_uppercase().into_bytes(), true), (lower.into_bytes(), true)];
    // In base64 the characters depend on where in a group of three the bytes begin; those at
    // the ends are shared with the neighbours.
    for shift in 0..3 {
        let padded = [&[0; 3][..shift], bytes].concat();
        let inner = (shift * 8).div_ceil(6)..padded.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            all.push((text.as_bytes()[inner.clone()].to_vec(), true));
        }
    }
    all.sort();
    all.dedup();
    all
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_every_spelling_and_alignment() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("log");
        let mark = "mark-payload-9";
        let mut text = b"x".to_vec();
        for pad in ["", "a", "ab"] {
            text.extend(STANDARD_NO_PAD.encode(format!("{pad}{mark}zz")).bytes());
            text.push(b'\n');
        }
        text.extend(hex(mark.as_bytes()).bytes());
        fs::write(&store, &text).unwrap();
        fs::create_dir(dir.path().join("log.payloads")).unwrap();
        fs::write(dir.path().join("log.payloads/1"), format!("..{mark}..")).unwrap();
        fs::write(dir.path().join("log.lock"), mark).unwrap();
        fs::write(dir.path().join("logbook"), mark).unwrap();
        let sites = sites(&store, mark).unwrap();
        assert_eq!(sites.len(), 5, "{sites:?}");
        assert_eq!(sites.iter().filter(|s| s.file == Path::new("log.payloads/1")).count(), 1);
    }
}
