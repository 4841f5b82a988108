//! Checking a bundle.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secure_log::header::{Header, HeaderRef, entry_hash, payload_hash};
use secure_log::model::{Entry, Hash, ZERO_HASH};
use secure_log::note::{CheckpointBody, Note, Verified, VerifierKey};
use secure_log::policy::keys_that_count;
use secure_log::proof::verify_entry_under;
use secure_log::{Error, proof_file, stamp};

use super::log::{Entries, Proven};
use super::report::{Device, EntryTimes, Report};
use super::{About, Line, Refused, Subject, Trust, VERSION};
use crate::gate::{LogGate, Settings, streams};

/// Checks a whole bundle offline: every entry up to the checkpoint, the checkpoint by the caller's keys and policy, the
/// links between consecutive entries, payloads, time stamps, and of a device its registry and all of its records. The
/// first thing that does not hold is the error; what was not checked is counted and said.
pub fn verify(bundle: &str, trust: &Trust) -> Result<Report, Refused> {
    let mut verifier = Verifier::new(trust);
    if verifier.keys.is_empty() {
        let reason = "is empty: without a key that you trust nothing can be verified";
        return Err(Refused::Log { line: 1, source: Box::new(Error::invalid("trusted", reason)) });
    }
    for text in bundle.split_inclusive('\n') {
        verifier.text(text)?;
    }
    verifier.finish()
}

/// Checks a bundle line by line. Without any key it checks all but the checkpoint's signature, and the report says
/// that none was verified.
pub(crate) struct Verifier<T> {
    trust: T,
    keys: Vec<String>,
    line: u64,
    about: Option<About>,
    checkpoint: Option<Checkpoint>,
    entries: Entries,
    /// Stream, number and hash of the entry before.
    last: Option<(String, u64, Hash)>,
    report: Report,
    ended: bool,
}

/// The checkpoint, verified.
struct Checkpoint {
    /// As it stands in the proofs.
    full: String,
    body: CheckpointBody,
    /// Earliest time stamp, ms.
    stamped_ms: Option<u64>,
}

impl<T: Borrow<Trust>> Verifier<T> {
    pub(crate) fn new(trust: T) -> Self {
        let keys = keys_that_count(&trust.borrow().keys, trust.borrow().policy.as_ref());
        Self {
            trust,
            keys,
            line: 0,
            about: None,
            checkpoint: None,
            entries: Entries::default(),
            last: None,
            report: Report::default(),
            ended: false,
        }
    }

    fn bad(&self, reason: impl Into<String>) -> Refused {
        Refused::Line { line: self.line, reason: reason.into() }
    }

    fn log(&self, source: Error) -> Refused {
        Refused::Log { line: self.line, source: Box::new(source) }
    }

    /// Takes the next line, with its newline.
    fn text(&mut self, text: &str) -> Result<(), Refused> {
        let line = match text.strip_suffix('\n') {
            Some(text) => serde_json::from_str(text).map_err(|e| format!("is no line of a bundle: {e}")),
            None => Err("the bundle breaks off within this line".to_owned()),
        };
        match line {
            Ok(line) => self.take(line),
            Err(reason) => {
                self.line += 1;
                Err(self.bad(reason))
            }
        }
    }

    /// Takes the next line, parsed.
    pub(crate) fn take(&mut self, line: Line) -> Result<(), Refused> {
        self.line += 1;
        if self.ended {
            return Err(self.bad("there is more after the last line"));
        }
        if self.about.is_none() != matches!(line, Line::EvidenceBundle(_)) {
            return Err(self.bad("a bundle begins with its first line, and only there"));
        }
        match line {
            Line::EvidenceBundle(about) => self.begin(about),
            // Claims: what counts is what the caller trusts.
            Line::Key(_) | Line::Policy(_) => Ok(()),
            Line::Checkpoint { number, note, cosigned, time_tokens } => {
                self.checkpoint(number, &note, cosigned, &time_tokens)
            }
            Line::Entry { proof, payload, time_tokens } => {
                self.entry(&proof, payload.as_deref(), &time_tokens)
            }
            Line::End { entries } if entries == self.report.entries => {
                self.ended = true;
                Ok(())
            }
            Line::End { entries } => Err(self.bad(format!(
                "the last line counts {entries} entries, and there are {}",
                self.report.entries
            ))),
        }
    }

    fn begin(&mut self, about: About) -> Result<(), Refused> {
        if about.version != VERSION {
            return Err(
                self.bad(format!("version {} of bundles is not known here; {VERSION} is", about.version))
            );
        }
        if let Subject::Range { from, to, .. } = &about.subject
            && (*from == 0 || to < from)
        {
            return Err(self.bad(format!("there are no entries from {from} to {to}")));
        }
        self.report.origin.clone_from(&about.origin);
        self.about = Some(about);
        Ok(())
    }

    fn checkpoint(
        &mut self,
        number: u64,
        note: &str,
        cosigned: Option<String>,
        tokens: &[String],
    ) -> Result<(), Refused> {
        if self.checkpoint.is_some() {
            return Err(self.bad("there is a second checkpoint"));
        }
        let full = cosigned.unwrap_or_else(|| note.to_owned());
        if !full.starts_with(note) {
            return Err(self.bad("the cosigned checkpoint is not the checkpoint with more lines"));
        }
        let parsed = Note::parse(&full).map_err(|e| self.log(e))?;
        let body = CheckpointBody::parse(&parsed.text).map_err(|e| self.log(e))?;
        if body.origin != self.report.origin {
            let origin = &self.report.origin;
            return Err(self.bad(format!("the checkpoint is of {:?}, the bundle of {origin:?}", body.origin)));
        }
        let keys: Result<Vec<_>, _> = self.keys.iter().map(|key| VerifierKey::parse(key)).collect();
        let verified = match keys.map_err(|e| self.log(e))?.as_slice() {
            [] => Verified { trusted: 0, unknown: parsed.signatures.len() as u64 },
            keys => parsed.verify_origin(&body.origin, keys).map_err(|e| self.log(e))?,
        };
        let policy = self.trust.borrow().policy.as_ref();
        let status = policy.map(|policy| policy.require(&parsed)).transpose();
        self.report.witnesses = status.map_err(|e| self.log(e))?.map(|status| status.to_string());
        self.report.signatures_verified = verified.trusted;
        self.report.signatures_unknown = verified.unknown;
        self.report.checkpoint = number;
        self.report.size = body.size;
        let stamped_ms = self.stamps(note.as_bytes(), tokens)?;
        self.checkpoint = Some(Checkpoint { full, body, stamped_ms });
        Ok(())
    }

    /// Earliest time of tokens over `message`; every one of them must hold.
    fn stamps(&mut self, message: &[u8], tokens: &[String]) -> Result<Option<u64>, Refused> {
        let Some(trust) = &self.trust.borrow().time else {
            self.report.time.not_checked += tokens.len() as u64;
            return Ok(None);
        };
        let mut earliest = None;
        for token in tokens {
            let token = BASE64.decode(token).map_err(|_| self.bad("a time stamp is not base64"))?;
            // The log's time plays no part in it.
            let stamp = stamp::verify(&token, message, 0, trust).map_err(|e| self.log(e))?;
            self.report.time.verified += 1;
            if !self.report.time.authorities.contains(&stamp.authority) {
                self.report.time.authorities.push(stamp.authority);
            }
            for words in stamp.unchecked {
                let words = format!("of a time stamp: {words}");
                if !self.report.not_checked.contains(&words) {
                    self.report.not_checked.push(words);
                }
            }
            earliest = Some(earliest.map_or(stamp.time_ms, |e: u64| e.min(stamp.time_ms)));
        }
        Ok(earliest)
    }

    fn entry(&mut self, proof: &str, payload: Option<&str>, tokens: &[String]) -> Result<(), Refused> {
        let Some(checkpoint) = &self.checkpoint else {
            return Err(self.bad("an entry comes before the checkpoint"));
        };
        let checkpoint_ms = checkpoint.stamped_ms;
        let proof = proof_file::read(proof.as_bytes()).map_err(|e| self.log(e))?;
        if proof.checkpoint != checkpoint.full {
            return Err(self.bad("the proof leads to another checkpoint than that of the bundle"));
        }
        let header = verify_entry_under(&proof, &checkpoint.body).map_err(|e| self.log(e))?;
        let hash = entry_hash(&proof.header_bytes);
        self.place(&header, hash)?;
        let payload = payload.map(|text| BASE64.decode(text)).transpose();
        let payload = payload.map_err(|_| self.bad("the payload is not base64"))?;
        let clear = self.payload(&proof.header_bytes, payload)?;
        let own_ms = self.stamps(&proof.header_bytes, tokens)?;
        let trusted_ms = own_ms.into_iter().chain(checkpoint_ms).min();
        if self.in_subject(&header.stream_id) {
            self.report.times.push(EntryTimes {
                stream_id: header.stream_id.clone(),
                seqno: header.seqno,
                claimed_ms: None,
                received_ms: header.time_ms,
                trusted_ms,
            });
        }
        self.report.entries += 1;
        let stream = self.entries.0.entry(header.stream_id.clone()).or_default();
        let (seqno, header_bytes) = (header.seqno, proof.header_bytes);
        stream.insert(
            seqno,
            Proven { entry: Entry { header, entry_hash: hash, header_bytes }, payload: clear },
        );
        Ok(())
    }

    /// Whether entries of this stream are what the bundle is about.
    fn in_subject(&self, stream_id: &str) -> bool {
        match self.about.as_ref().map(|about| &about.subject) {
            Some(Subject::Range { stream, .. }) => stream == stream_id,
            Some(Subject::Device { id }) => {
                stream_id != streams::registry(id) && stream_id != streams::KEY_INDEX
            }
            None => false,
        }
    }

    /// Whether the entry may stand here: streams one after the other, each without gaps. Of the index of keys only the
    /// device's are there, so it has gaps.
    fn place(&mut self, header: &Header, hash: Hash) -> Result<(), Refused> {
        let (stream, seqno) = (&header.stream_id, header.seqno);
        let first = match self.about.as_ref().map(|about| &about.subject) {
            Some(Subject::Range { stream: wanted, from, to }) => {
                if stream != wanted || !(*from..=*to).contains(&seqno) {
                    return Err(
                        self.bad(format!("entry {seqno} of {stream:?} is not what the bundle is about"))
                    );
                }
                *from
            }
            Some(Subject::Device { id }) => {
                let known = *stream == streams::registry(id)
                    || stream == streams::KEY_INDEX
                    || stream.starts_with(streams::device(id, 1).trim_end_matches('1'));
                if !known {
                    return Err(self.bad(format!("stream {stream:?} is not one of device {id:?}")));
                }
                1
            }
            None => return Err(self.bad("a bundle begins with its first line")),
        };
        let before = self.last.take().filter(|(name, ..)| name == stream);
        if before.is_none() && self.entries.0.contains_key(stream) {
            return Err(self.bad(format!("the entries of {stream:?} are not together")));
        }
        let gaps = stream == streams::KEY_INDEX;
        let (expected, prev) = match &before {
            Some((_, number, hash)) => (number + 1, Some(*hash)),
            None if first == 1 => (1, Some(ZERO_HASH)),
            None => (first, None),
        };
        if gaps {
            if before.as_ref().is_some_and(|(_, number, _)| seqno <= *number) {
                return Err(self.bad(format!("entry {seqno} of {stream:?} is out of order")));
            }
        } else if seqno != expected {
            return Err(self.bad(format!("entry {expected} of {stream:?} is missing: here is {seqno}")));
        } else if prev.is_some_and(|prev| prev != header.prev_hash) {
            return Err(self.bad(format!("entry {seqno} of {stream:?} does not follow the one before it")));
        }
        self.last = Some((stream.clone(), seqno, hash));
        Ok(())
    }

    /// The payload in clear, if it is here and not sealed.
    fn payload(&mut self, header_bytes: &[u8], stored: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Refused> {
        let header = HeaderRef::decode(header_bytes).map_err(|e| self.bad(e.to_string()))?;
        let what = format!("the payload of entry {} of {:?}", header.seqno, header.stream_id);
        let Some(mut stored) = stored else {
            match header.object_ref {
                Some(_) => self.report.payloads_elsewhere += 1,
                None => self.report.payloads_absent += 1,
            }
            return Ok(None);
        };
        if header.object_ref.is_some() {
            return Err(self.bad(format!("{what} is kept elsewhere, and is here")));
        }
        if stored.len() as u64 != header.stored_len() || payload_hash(&[], &stored) != header.payload_hash {
            return Err(self.bad(format!("{what} is not the one in its header")));
        }
        self.report.payloads_checked += 1;
        if header.nonce.is_some() {
            self.report.payloads_sealed += 1;
            return Ok(None);
        }
        stored.drain(..header.salt_len as usize);
        Ok(Some(stored))
    }

    /// The report, after the last line.
    pub(crate) fn finish(mut self) -> Result<Report, Refused> {
        self.line += 1;
        let Some(about) = self.about.take().filter(|_| self.ended) else {
            return Err(self.bad("the bundle breaks off here: its last line is missing"));
        };
        if self.checkpoint.is_none() {
            return Err(self.bad("the bundle has no checkpoint"));
        }
        match &about.subject {
            Subject::Range { stream, from, to } => {
                let there = self.entries.0.get(stream).map_or(0, |entries| entries.len() as u64);
                if there != to - from + 1 {
                    return Err(self.bad(format!("entry {} of {stream:?} is missing", from + there)));
                }
            }
            Subject::Device { id } => self.device(id)?,
        }
        self.sum_times();
        self.say_not_checked(&about.subject);
        Ok(self.report)
    }

    /// The device by the gate's own rules, over the entries of the bundle.
    fn device(&mut self, id: &str) -> Result<(), Refused> {
        let failed = |source| Refused::Device { device: id.to_owned(), source: Box::new(source) };
        let gate = LogGate::new(&self.entries, Settings::default());
        let mut gate = gate.map_err(|source| Refused::Log { line: self.line, source: Box::new(source) })?;
        let audited = gate.audit_device(id).map_err(failed)?;
        let trusted = &self.trust.borrow().device_keys;
        for key in audited.device.keys.iter().filter(|_| !trusted.is_empty()) {
            if !trusted.contains(&key.public_key.to_bytes()) {
                let key = hex::encode(key.public_key.as_bytes());
                return Err(Refused::DeviceKey { device: id.to_owned(), key });
            }
        }
        let mut claimed = BTreeMap::new();
        for epoch in &audited.epochs {
            for (seqno, timestamp_ms) in self.entries.claimed_times(&epoch.stream_id) {
                claimed.insert((epoch.stream_id.clone(), seqno), timestamp_ms);
            }
        }
        for times in &mut self.report.times {
            times.claimed_ms = claimed.get(&(times.stream_id.clone(), times.seqno)).copied();
        }
        self.report.device = Some(Device {
            device_id: id.to_owned(),
            registry_entries: audited.registry_entries,
            epochs: audited.epochs.len() as u64,
            records: audited.records,
            records_absent: audited.records_erased,
            revoked: audited.device.revoked.is_some(),
            keys: audited
                .device
                .keys
                .iter()
                .map(|key| (hex::encode(key.public_key.as_bytes()), key.revoked.is_some()))
                .collect(),
            keys_trusted: !trusted.is_empty(),
        });
        Ok(())
    }

    fn sum_times(&mut self) {
        let time = &mut self.report.time;
        for entry in &self.report.times {
            if let Some(claimed) = entry.claimed_ms {
                time.claimed_after_received += u64::from(claimed > entry.received_ms);
                time.longest_delivery_ms =
                    time.longest_delivery_ms.max(entry.received_ms.saturating_sub(claimed));
            }
            if let Some(trusted) = entry.trusted_ms {
                time.received_after_trusted += u64::from(entry.received_ms > trusted);
                time.longest_stamping_ms =
                    time.longest_stamping_ms.max(trusted.saturating_sub(entry.received_ms));
            }
        }
    }

    fn say_not_checked(&mut self, subject: &Subject) {
        let report = &mut self.report;
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                report.not_checked.push(format!("{count} {what}"));
            }
        };
        say(report.payloads_absent, "payloads that are not in the bundle: erased, or withheld");
        say(report.payloads_elsewhere, "payloads that are kept elsewhere");
        say(
            report.payloads_sealed,
            "sealed payloads: their ciphertext is the one that was logged, what it says takes a key",
        );
        say(report.signatures_unknown, "signatures of the checkpoint by keys that were not given");
        say(report.time.not_checked, "time stamps: no authority was given");
        if report.signatures_verified == 0 {
            report.not_checked.push("the signature of the checkpoint: no key of the log was given".into());
        }
        if self.trust.borrow().policy.is_none() {
            report.not_checked.push("witnesses: no policy was given".into());
        }
        if report.time.verified == 0 && report.time.not_checked == 0 {
            report.not_checked.push("when it was: there is no time stamp, only the log's own clock".into());
        }
        if matches!(subject, Subject::Device { .. }) && self.trust.borrow().device_keys.is_empty() {
            report
                .not_checked
                .push("whose the device's keys are: they are the ones that the log's registry names".into());
        }
        report.not_checked.push("what came after the last entry of the bundle".into());
    }
}
