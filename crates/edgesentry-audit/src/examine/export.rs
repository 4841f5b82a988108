//! A whole log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secure_log::Error;
use secure_log::export::{ExportReport, ExportVerifier, Line};
use secure_log::header::HeaderRef;
use secure_log::note::{CheckpointBody, Note};
use secure_log::policy::keys_that_count;
use secure_log::record::{LOG_STREAM, Record};

use super::found::Found;
use super::model::{DocumentKind, Signature, Standing, Summary};
use super::path::Checkpoint;
use super::pieces;
use crate::evidence::Trust;

/// Most signatures that are told one by one.
const MAX_SIGNATURES: usize = 1000;

pub(super) struct Export {
    /// `None` once something did not hold after which nothing can be checked.
    verifier: Option<ExportVerifier>,
    /// Keys that are trusted, as `name+hash`.
    keys: Vec<String>,
    /// The stream that is passed over, since something in it did not hold.
    passing: Option<String>,
    origin: String,
    lines_not_checked: u64,
}

/// `name+hash` of a verifier key. Its base64 may hold a `+` as well.
pub(super) fn name_and_hash(key: &str) -> String {
    key.splitn(3, '+').take(2).collect::<Vec<_>>().join("+")
}

#[cfg(test)]
#[test]
fn a_key_with_a_plus_in_its_base64_has_the_same_name() {
    assert_eq!(name_and_hash("example.com/log+0a1b2c3d+AQ+/x+="), "example.com/log+0a1b2c3d");
}

/// Who signed a note: those whose key is among `trusted` (`name+hash`) hold, if the note was verified.
pub(super) fn signatures(of: &str, note: &Note, trusted: &[String], found: &mut Found) {
    for line in &note.signatures {
        let by = format!("{}+{}", line.name, hex::encode(line.id));
        let known = trusted.contains(&by);
        let standing = if known { Standing::Holds } else { Standing::NotChecked };
        if found.signatures.len() < MAX_SIGNATURES {
            found.signatures.push(Signature { of: of.to_owned(), by, time_ms: None, standing });
        }
    }
}

impl Export {
    pub fn new(trust: &Trust) -> Self {
        let keys = keys_that_count(&trust.keys, trust.policy.as_ref());
        let verifier = match keys.as_slice() {
            [] => Ok(ExportVerifier::without_keys()),
            keys => ExportVerifier::new(keys),
        };
        Self {
            // Callers parse keys first: see `Examiner::new`.
            verifier: verifier.ok(),
            keys: keys.iter().map(|key| name_and_hash(key)).collect(),
            passing: None,
            origin: String::new(),
            lines_not_checked: 0,
        }
    }

    pub fn line(&mut self, number: u64, text: pieces::Line<'_>, found: &mut Found) {
        if self.verifier.is_none() {
            self.lines_not_checked += 1;
        }
        let line = text
            .and_then(|text| serde_json::from_str(text).map_err(|e| format!("is no line of an export: {e}")));
        match line {
            Ok(Line::Entry { header, payload }) => self.entry(number, header, payload, found),
            Ok(line) => self.other(number, line, found),
            Err(reason) => self.stop(number, format!("line {number}: {reason}"), found),
        }
    }

    /// Something after which nothing can be checked.
    fn stop(&mut self, number: u64, reason: String, found: &mut Found) {
        if self.verifier.take().is_some() {
            found.broken(None, Some(number), reason);
        }
    }

    fn other(&mut self, number: u64, line: Line, found: &mut Found) {
        if let Line::SecureLogExport { origin, .. } = &line {
            self.origin.clone_from(origin);
        }
        let note = match &line {
            Line::Checkpoint(note) => Some(note.clone()),
            _ => None,
        };
        if let Some(verifier) = &mut self.verifier
            && let Err(error) = verifier.take(line)
        {
            self.stop(number, at(number, &error), found);
        }
        let Some(note) = note else { return };
        let Ok(parsed) = Note::parse(&note) else { return };
        let Ok(body) = CheckpointBody::parse(&parsed.text) else { return };
        let number = found.paths.checkpoints.len() as u64 + 1;
        let trusted = if self.verifier.is_some() { self.keys.as_slice() } else { &[] };
        signatures(&format!("checkpoint {number}"), &parsed, trusted, found);
        found.paths.checkpoints.push(Checkpoint { number, size: body.size, root: body.root, note });
    }

    fn entry(&mut self, number: u64, header: String, payload: Option<String>, found: &mut Found) {
        let decode = |text: &str| BASE64.decode(text).ok();
        let bytes = decode(&header);
        let stored = payload.as_deref().and_then(decode);
        let decoded = bytes.as_deref().and_then(|bytes| Some((bytes, HeaderRef::decode(bytes).ok()?)));
        let Some((bytes, header_of)) = decoded else {
            // The verifier says what is wrong with it.
            return self.other(number, Line::Entry { header, payload }, found);
        };
        let stream_id = header_of.stream_id;
        let item = found.entry(number, &header_of, bytes, stored.as_deref());
        found.paths.leaf(stream_id, header_of.seqno, bytes);
        if stream_id == LOG_STREAM
            && let Ok(record) = Record::decode(header_of.event_type, stored.as_deref().unwrap_or_default())
        {
            found.paths.record(header_of.seqno, record);
        }
        let Some(verifier) = &mut self.verifier else {
            return found.stands(item, Standing::NotChecked);
        };
        if self.passing.as_deref() == Some(stream_id) {
            verifier.pass_over();
            self.lines_not_checked += 1;
            return found.stands(item, Standing::NotChecked);
        }
        self.passing = None;
        // What ends here may be what does not hold.
        if let Err(error) = verifier.enter(stream_id) {
            let about = match &error {
                Error::Corrupt(corruption) => corruption.stream_id.as_str(),
                _ => stream_id,
            };
            found.stream_broken(about);
            let of_this = about == stream_id;
            found.broken(of_this.then_some(item), Some(number), at(number, &error));
            if about == LOG_STREAM {
                self.verifier = None;
                return;
            }
            if of_this || verifier.enter(stream_id).is_err() {
                verifier.pass_over();
                self.passing = Some(stream_id.to_owned());
                return;
            }
        }
        match verifier.take(Line::Entry { header, payload }) {
            Ok(()) => {
                found.stands(item, Standing::Holds);
                if stored.is_none() && header_of.object_ref.is_none() {
                    found.items[item].payload = found.text("erased, as `_log` records");
                }
            }
            Err(error) => {
                found.broken(Some(item), Some(number), at(number, &error));
                if stream_id == LOG_STREAM {
                    self.verifier = None;
                } else {
                    verifier.give_up_stream();
                    self.passing = Some(stream_id.to_owned());
                }
            }
        }
    }

    pub fn finish(self, found: &mut Found) -> Summary {
        let report = match self.verifier.map(ExportVerifier::finish) {
            Some(Ok(report)) => report,
            Some(Err(error)) => {
                if let Error::Corrupt(corruption) = &error {
                    found.stream_broken(&corruption.stream_id);
                }
                found.broken(None, None, error.to_string());
                ExportReport::default()
            }
            None => ExportReport::default(),
        };
        let ExportReport { signatures_verified, signatures_unknown, .. } = report;
        for (number, what) in [
            (found.items.len() as u64, "entries in the file"),
            (report.streams, "streams beside `_log`"),
            (report.segments, "segments"),
            (report.checkpoints, "checkpoints"),
            (signatures_verified, "signatures of checkpoints by trusted keys"),
            (report.payloads_checked, "payloads with the hash that was logged"),
            (report.payloads_erased, "payloads erased, as `_log` records"),
        ] {
            found.count(number, what);
        }
        for (number, what) in [
            (self.lines_not_checked, "lines after something that does not hold"),
            (signatures_unknown, "signatures of checkpoints by keys that were not given"),
            (report.payloads_elsewhere, "payloads that are kept elsewhere"),
            (report.entries_uncovered, "entries that no signed segment covers: chained, and not signed"),
            (
                report.log_entries_unsigned,
                "entries of `_log` after the newest checkpoint: chained, and not signed",
            ),
        ] {
            found.say_not_checked(number, what);
        }
        found.not_checked.push("what the log recorded after this export".into());
        found.summary(DocumentKind::LogExport, self.origin, signatures_verified > 0)
    }
}

/// An error with the line, where it does not say so itself.
fn at(number: u64, error: &Error) -> String {
    let text = error.to_string();
    if text.contains("line ") { text } else { format!("line {number}: {text}") }
}
