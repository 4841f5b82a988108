//! Some entries with everything that proves them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secure_log::header::HeaderRef;
use secure_log::note::{CheckpointBody, Note};
use secure_log::policy::keys_that_count;
use secure_log::proof_file;
use secure_log::record::Record;

use super::export::{name_and_hash, signatures};
use super::found::Found;
use super::model::{DocumentKind, Signature, Standing, Summary};
use super::path::{Checkpoint, Proof};
use super::pieces;
use crate::evidence::{Line, Report, Subject, Trust, Verifier};

pub(super) struct Bundle {
    verifier: Option<Verifier<Trust>>,
    keys: Vec<String>,
    witnesses: Vec<String>,
    origin: String,
    device: Option<String>,
    lines_not_checked: u64,
    last: Option<usize>,
}

impl Bundle {
    pub fn new(trust: Trust) -> Self {
        let keys = keys_that_count(&trust.keys, trust.policy.as_ref());
        let witnesses = trust.policy.iter().flat_map(|policy| policy.witness_keys());
        Self {
            keys: keys.iter().map(|key| name_and_hash(key)).collect(),
            witnesses: witnesses.map(|key| name_and_hash(&key.to_string())).collect(),
            verifier: Some(Verifier::new(trust)),
            origin: String::new(),
            device: None,
            lines_not_checked: 0,
            last: None,
        }
    }

    pub fn line(&mut self, number: u64, text: pieces::Line<'_>, found: &mut Found) {
        if self.verifier.is_none() {
            self.lines_not_checked += 1;
        }
        let line: Result<Line, String> = text
            .and_then(|text| serde_json::from_str(text).map_err(|e| format!("is no line of a bundle: {e}")));
        let line = match line {
            Ok(line) => line,
            Err(reason) => {
                if self.verifier.take().is_some() {
                    found.broken(None, Some(number), format!("line {number}: {reason}"));
                }
                return;
            }
        };
        let item = self.show(number, &line, found);
        let checkpoint = match &line {
            Line::Checkpoint { note, cosigned, .. } => Some(cosigned.clone().unwrap_or(note.clone())),
            _ => None,
        };
        let held = match self.verifier.as_mut().map(|verifier| verifier.take(line)) {
            None => {
                if let Some(item) = item {
                    found.stands(item, Standing::NotChecked);
                }
                false
            }
            Some(Ok(())) => {
                if let Some(item) = item {
                    found.stands(item, Standing::Holds);
                }
                true
            }
            Some(Err(refused)) => {
                found.broken(item, Some(number), refused.to_string());
                self.verifier = None;
                false
            }
        };
        if let Some(note) = checkpoint.as_deref().and_then(|note| Note::parse(note).ok()) {
            let known = if held { [&self.keys[..], &self.witnesses[..]].concat() } else { Vec::new() };
            let of = found.paths.checkpoints.first().map_or(0, |checkpoint| checkpoint.number);
            signatures(&format!("checkpoint {of}"), &note, &known, found);
        }
    }

    /// What there is to show of a line, whether it holds or not.
    fn show(&mut self, number: u64, line: &Line, found: &mut Found) -> Option<usize> {
        match line {
            Line::EvidenceBundle(about) => {
                self.origin.clone_from(&about.origin);
                if let Subject::Device { id } = &about.subject {
                    self.device = Some(id.clone());
                }
                None
            }
            Line::Checkpoint { number, note, .. } => {
                let parsed = Note::parse(note).ok()?;
                let body = CheckpointBody::parse(&parsed.text).ok()?;
                let checkpoint =
                    Checkpoint { number: *number, size: body.size, root: body.root, note: note.clone() };
                found.paths.checkpoints.push(checkpoint);
                None
            }
            Line::Entry { proof, payload, .. } => {
                let proof = proof_file::read(proof.as_bytes()).ok()?;
                let header = HeaderRef::decode(&proof.header_bytes).ok()?;
                let stored = payload.as_deref().and_then(|text| BASE64.decode(text).ok());
                let item = found.entry(number, &header, &proof.header_bytes, stored.as_deref());
                if let Ok(segment) = HeaderRef::decode(&proof.segment_header)
                    && let Ok(record) = Record::decode(segment.event_type, &proof.segment_payload)
                {
                    found.paths.record(segment.seqno, record);
                }
                let before = self.last.and_then(|last| found.items[last].proof.as_ref());
                let proof = Proof::new(&proof, before);
                found.items[item].proof = Some(proof);
                self.last = Some(item);
                Some(item)
            }
            Line::Key(_) | Line::Policy(_) | Line::End { .. } => None,
        }
    }

    pub fn finish(self, found: &mut Found) -> Summary {
        let report = match self.verifier.map(Verifier::finish) {
            Some(Ok(report)) => report,
            Some(Err(refused)) => {
                found.broken(None, None, refused.to_string());
                found.all_not_checked();
                Report::default()
            }
            None => Report::default(),
        };
        let places: HashMap<_, _> = found
            .items
            .iter()
            .enumerate()
            .map(|(i, kept)| ((found.streams[kept.stream].name.clone(), kept.seqno), i))
            .collect();
        for times in &report.times {
            if let Some(item) = places.get(&(times.stream_id.as_str().into(), times.seqno)) {
                found.items[*item].claimed_ms = times.claimed_ms;
                found.items[*item].trusted_ms = times.trusted_ms;
            }
        }
        if let Some(device) = &report.device {
            for (key, _) in &device.keys {
                found.signatures.push(Signature {
                    of: format!("records of {}", device.device_id),
                    by: format!("device key {key}"),
                    time_ms: None,
                    standing: if device.keys_trusted { Standing::Holds } else { Standing::NotChecked },
                });
            }
        }
        let stamped = report.times.iter().filter_map(|times| times.trusted_ms).min();
        for authority in &report.time.authorities {
            found.signatures.push(Signature {
                of: "time stamps".into(),
                by: authority.clone(),
                time_ms: stamped,
                standing: Standing::Holds,
            });
        }
        for (number, what) in [
            (found.items.len() as u64, "entries in the file"),
            (report.entries, "entries proven up to the checkpoint"),
            (report.signatures_verified, "signatures of the checkpoint by trusted keys"),
            (report.payloads_checked, "payloads with the hash that was logged"),
            (
                report.device.as_ref().map_or(0, |d| d.records),
                "records of the device: signed, chained, allowed",
            ),
            (report.time.verified, "time stamps verified"),
        ] {
            found.count(number, what);
        }
        if let Some(witnesses) = &report.witnesses {
            found.count(1, &format!("policy met: {witnesses}"));
        }
        found.say_not_checked(self.lines_not_checked, "lines after something that does not hold");
        found.not_checked.extend(report.not_checked);
        let origin = self.device.map_or(self.origin.clone(), |id| format!("{id} in {}", self.origin));
        found.summary(DocumentKind::EvidenceBundle, origin, report.signatures_verified > 0)
    }
}
