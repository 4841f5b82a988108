//! What an examination has found so far.

use std::collections::HashMap;
use std::rc::Rc;

use secure_log::header::HeaderRef;
use secure_log::model::{Hash, Severity};

use super::model::*;
use super::path::{Paths, Proof};
use super::{MAX_FINDINGS, MAX_KEPT, MAX_SHOWN};

/// An item as it is kept: texts that are the same are kept once.
pub(super) struct Kept {
    pub line: u64,
    pub stream: usize,
    pub seqno: u64,
    pub time_ms: u64,
    pub event_type: Rc<str>,
    pub severity: Option<Severity>,
    pub producer: Rc<str>,
    pub software_version: Rc<str>,
    pub hash: Hash,
    pub prev_hash: Hash,
    pub payload: Rc<str>,
    pub standing: Standing,
    pub claimed_ms: Option<u64>,
    pub trusted_ms: Option<u64>,
    /// Its payload, without salt.
    pub bytes: Option<Box<[u8]>>,
    /// Its own proof, where the file has one.
    pub proof: Option<Proof>,
}

/// A stream or device.
pub(super) struct Stream {
    pub name: Rc<str>,
    first_item: usize,
    items: u64,
    first_ms: u64,
    last_ms: u64,
    last_seqno: u64,
    gaps: Vec<(u64, u64)>,
    broken: bool,
    not_checked: bool,
}

#[derive(Default)]
pub(super) struct Found {
    pub items: Vec<Kept>,
    pub streams: Vec<Stream>,
    by_name: HashMap<Rc<str>, usize>,
    texts: HashMap<Rc<str>, ()>,
    findings: Vec<Finding>,
    more_findings: u64,
    pub signatures: Vec<Signature>,
    pub counts: Vec<Count>,
    pub not_checked: Vec<String>,
    kept_bytes: usize,
    pub paths: Paths,
}

impl Found {
    pub fn text(&mut self, text: &str) -> Rc<str> {
        if let Some((found, ())) = self.texts.get_key_value(text) {
            return found.clone();
        }
        let new: Rc<str> = text.into();
        self.texts.insert(new.clone(), ());
        new
    }

    pub fn stream(&mut self, name: &str) -> usize {
        if let Some(found) = self.by_name.get(name) {
            return *found;
        }
        let name: Rc<str> = name.into();
        self.by_name.insert(name.clone(), self.streams.len());
        self.streams.push(Stream {
            name,
            first_item: self.items.len(),
            items: 0,
            first_ms: u64::MAX,
            last_ms: 0,
            last_seqno: 0,
            gaps: Vec::new(),
            broken: false,
            not_checked: false,
        });
        self.streams.len() - 1
    }

    /// An entry, before it is known how it stands.
    pub fn entry(&mut self, line: u64, header: &HeaderRef<'_>, bytes: &[u8], stored: Option<&[u8]>) -> usize {
        let payload = match (&header.object_ref, stored) {
            (Some(at), _) => format!("kept elsewhere: {at}"),
            (None, None) => "not here".to_owned(),
            (None, Some(_)) if header.nonce.is_some() => format!("sealed, {} bytes", header.payload_len),
            (None, Some(_)) => format!("{} bytes", header.payload_len),
        };
        let clear = stored.filter(|_| header.nonce.is_none() && header.object_ref.is_none());
        let clear = clear.and_then(|stored| stored.get(header.salt_len as usize..));
        let kept = Kept {
            line,
            stream: self.stream(header.stream_id),
            seqno: header.seqno,
            time_ms: header.time_ms,
            event_type: self.text(header.event_type),
            severity: Some(header.severity),
            producer: self.text(header.producer),
            software_version: self.text(header.software_version),
            hash: secure_log::header::entry_hash(bytes),
            prev_hash: header.prev_hash,
            payload: self.text(&payload),
            standing: Standing::NotChecked,
            claimed_ms: None,
            trusted_ms: None,
            bytes: self.keep(clear),
            proof: None,
        };
        self.push(kept)
    }

    fn keep(&mut self, payload: Option<&[u8]>) -> Option<Box<[u8]>> {
        // One byte more than is shown tells that there is more.
        let payload = payload.map(|payload| &payload[..payload.len().min(MAX_SHOWN + 1)]);
        let payload = payload.filter(|payload| self.kept_bytes + payload.len() <= MAX_KEPT)?;
        self.kept_bytes += payload.len();
        Some(payload.into())
    }

    pub fn push(&mut self, kept: Kept) -> usize {
        let stream = &mut self.streams[kept.stream];
        stream.items += 1;
        stream.first_ms = stream.first_ms.min(kept.time_ms);
        stream.last_ms = stream.last_ms.max(kept.time_ms);
        let next = match stream.items {
            1 => kept.seqno,
            _ => stream.last_seqno.saturating_add(1),
        };
        if kept.seqno > next {
            stream.gaps.push((next, kept.seqno - 1));
        }
        stream.last_seqno = stream.last_seqno.max(kept.seqno);
        self.items.push(kept);
        self.items.len() - 1
    }

    /// How an item stands.
    pub fn stands(&mut self, item: usize, standing: Standing) {
        let kept = &mut self.items[item];
        kept.standing = standing;
        let stream = &mut self.streams[kept.stream];
        stream.broken |= standing == Standing::Broken;
        stream.not_checked |= standing == Standing::NotChecked;
    }

    /// Something does not hold.
    pub fn broken(&mut self, item: Option<usize>, line: Option<u64>, text: String) {
        if let Some(item) = item {
            self.stands(item, Standing::Broken);
        }
        if self.findings.len() == MAX_FINDINGS {
            self.more_findings += 1;
            return;
        }
        self.findings.push(Finding { text, item: item.map(|item| item as u64), line });
    }

    /// A stream does not hold, and it is no single item of it.
    pub fn stream_broken(&mut self, name: &str) {
        if let Some(stream) = self.by_name.get(name) {
            self.streams[*stream].broken = true;
        }
    }

    /// The entries of a stream stand as one: of a device, say, whose records the gate judges together.
    pub fn all_not_checked(&mut self) {
        for item in 0..self.items.len() {
            if self.items[item].standing == Standing::Holds {
                self.stands(item, Standing::NotChecked);
            }
        }
    }

    pub fn is_broken(&self) -> bool {
        !self.findings.is_empty()
    }

    pub fn count(&mut self, number: u64, what: &str) {
        self.counts.push(Count { what: what.to_owned(), number });
    }

    /// Says that something was not checked, if there is any of it.
    pub fn say_not_checked(&mut self, number: u64, what: &str) {
        if number > 0 {
            self.not_checked.push(format!("{number} {what}"));
        }
    }

    /// The summary. `signed`: a signature by a trusted key verified.
    pub fn summary(&mut self, kind: DocumentKind, origin: String, signed: bool) -> Summary {
        if self.more_findings > 0 {
            let text = format!("and {} more things that do not hold", self.more_findings);
            self.findings.push(Finding { text, item: None, line: None });
        }
        let streams = self.streams.iter().map(|stream| StreamSummary {
            stream_id: stream.name.to_string(),
            first_item: stream.first_item as u64,
            items: stream.items,
            first_ms: stream.first_ms,
            last_ms: stream.last_ms,
            gaps: stream.gaps.clone(),
            segments: self.paths.segments(&stream.name),
            standing: match (stream.broken, stream.not_checked) {
                (true, _) => Standing::Broken,
                (false, true) => Standing::NotChecked,
                (false, false) => Standing::Holds,
            },
        });
        Summary {
            kind,
            origin,
            standing: match (self.findings.is_empty(), signed) {
                (false, _) => Standing::Broken,
                (true, true) => Standing::Holds,
                (true, false) => Standing::NotChecked,
            },
            streams: streams.collect(),
            findings: std::mem::take(&mut self.findings),
            signatures: std::mem::take(&mut self.signatures),
            counts: std::mem::take(&mut self.counts),
            not_checked: std::mem::take(&mut self.not_checked),
        }
    }

    pub fn item(&self, index: usize) -> Item {
        let kept = &self.items[index];
        let stream_id = &self.streams[kept.stream].name;
        let of_proof = kept.proof.as_ref().map(|proof| proof.segment_id());
        Item {
            index: index as u64,
            line: kept.line,
            stream_id: stream_id.to_string(),
            seqno: kept.seqno,
            time_ms: kept.time_ms,
            event_type: kept.event_type.to_string(),
            severity: kept.severity,
            producer: kept.producer.to_string(),
            software_version: kept.software_version.to_string(),
            hash: kept.hash,
            prev_hash: kept.prev_hash,
            payload: kept.payload.to_string(),
            standing: kept.standing,
            segment_id: of_proof.or_else(|| Some(self.paths.covering(stream_id, kept.seqno)?.segment_id)),
            claimed_ms: kept.claimed_ms,
            trusted_ms: kept.trusted_ms,
        }
    }

    pub fn payload(&self, index: usize) -> Option<String> {
        let bytes = self.items.get(index)?.bytes.as_deref()?;
        let shown = &bytes[..bytes.len().min(MAX_SHOWN)];
        let more = if bytes.len() > shown.len() { " …" } else { "" };
        // A character may be cut in two at the end of what is shown.
        match std::str::from_utf8(shown) {
            Ok(text) => Some(format!("{text}{more}")),
            Err(e) if e.error_len().is_none() && !more.is_empty() => {
                Some(format!("{}{more}", String::from_utf8_lossy(&shown[..e.valid_up_to()])))
            }
            Err(_) => {
                let shown = &shown[..shown.len().min(MAX_SHOWN / 2)];
                let more = if bytes.len() > shown.len() { " …" } else { "" };
                Some(format!("{}{more}", hex::encode(shown)))
            }
        }
    }

    pub fn path(&self, index: usize) -> Option<MerklePath> {
        let kept = self.items.get(index)?;
        match &kept.proof {
            Some(proof) => proof.path(&self.paths),
            None => self.paths.path(&self.streams[kept.stream].name, kept.seqno),
        }
    }
}
