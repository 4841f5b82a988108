//! The witness's side: the table of answers.

use super::{AddCheckpoint, SIZE_CONTENT_TYPE};
use crate::cosignature::CosignerKey;
use crate::error::{Error, Result};
use crate::model::Hash;
use crate::note::{CheckpointBody, Note, VerifierKey};
use crate::signer::CheckpointSigner;
use crate::tree;

/// Most keys of one watched log: what a witness stores is always a note that it can read again.
pub const MAX_LOG_KEYS: usize = 64;

/// Most characters of a reason in an answer.
const MAX_REASON: usize = 200;

/// A log that a witness watches.
#[derive(Debug)]
pub struct WatchedLog {
    origin: String,
    keys: Vec<VerifierKey>,
}

impl WatchedLog {
    /// The log `origin`, whose checkpoints count when one of these keys signed them. Keys need not
    /// bear the origin as their name.
    pub fn new(origin: &str, keys: Vec<VerifierKey>) -> Result<Self> {
        crate::header::check_name("origin", origin)?;
        if keys.is_empty() {
            return Err(Error::invalid("keys", format!("of the log {origin:?}: none")));
        }
        if keys.len() > MAX_LOG_KEYS {
            let count = keys.len();
            return Err(Error::invalid(
                "keys",
                format!("of the log {origin:?}: {count}; at most {MAX_LOG_KEYS}"),
            ));
        }
        Ok(Self { origin: origin.to_owned(), keys })
    }

    /// Its origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The signatures of the note by keys of this log, verified and each once: what may be stored
    /// beside an own cosignature. `Err` says why there are none that count.
    fn verified(&self, note: &Note) -> Result<Note> {
        note.verify(&self.keys)?;
        let mut kept = Note { text: note.text.clone(), signatures: Vec::new() };
        for line in &note.signatures {
            let alone = Note { text: note.text.clone(), signatures: vec![line.clone()] };
            let known = kept.signatures.iter().any(|k| k.name == line.name && k.id == line.id);
            if !known && alone.verify(&self.keys).is_ok() {
                kept.signatures.push(line.clone());
            }
        }
        Ok(kept)
    }
}

/// What a witness keeps of a log: the checkpoint it cosigned last, as a note that holds the log's
/// verified signatures and its own, nothing else. It is also what the witness serves to monitors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    note: String,
    size: u64,
    root: Hash,
    time: u64,
}

impl Stored {
    /// The note, to be stored under its origin.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Size of the tree that was cosigned last.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// When, seconds since the Unix epoch.
    pub fn time(&self) -> u64 {
        self.time
    }
}

/// An answer, to be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Body.
    pub body: String,
}

impl Response {
    pub(super) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    /// 400, for what [`AddCheckpoint::parse`] refused.
    pub fn malformed(error: &Error) -> Self {
        // It may quote the request, which may be long.
        let reason: String = error.to_string().chars().take(MAX_REASON).collect();
        Self::text(400, format!("{reason}\n"))
    }
}

/// What a witness does with a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub response: Response,
    /// With 200, the state that must be durable before the answer is sent, and only in place of the
    /// very state that was decided on (compare-and-set). Where another request was faster, drop
    /// this decision and decide again on the new state: the cosignature must not get out.
    pub update: Option<Stored>,
}

impl Decision {
    fn refuse(status: u16, body: impl Into<String>) -> Result<Self> {
        Ok(Self { response: Response::text(status, body), update: None })
    }
}

/// A witness: its key and the logs it watches.
#[derive(Debug)]
pub struct Witness {
    key: CosignerKey,
    logs: Vec<WatchedLog>,
}

impl Witness {
    /// A witness that cosigns with `key`. Each origin is there once.
    pub fn new(key: CosignerKey, logs: Vec<WatchedLog>) -> Result<Self> {
        for (i, log) in logs.iter().enumerate() {
            if logs[..i].iter().any(|l| l.origin == log.origin) {
                return Err(Error::invalid("logs", format!("the origin {:?} is there twice", log.origin)));
            }
        }
        Ok(Self { key, logs })
    }

    /// The key it cosigns with.
    pub fn key(&self) -> &CosignerKey {
        &self.key
    }

    /// The logs it watches.
    pub fn logs(&self) -> &[WatchedLog] {
        &self.logs
    }

    fn log(&self, origin: &str) -> Option<&WatchedLog> {
        self.logs.iter().find(|l| l.origin == origin)
    }

    /// Opens what was stored for `origin`: it must be a checkpoint of that log with a cosignature
    /// of this witness, else `Corrupt`. Whether it is the newest, only the store knows.
    pub fn open(&self, origin: &str, note: &str) -> Result<Stored> {
        let corrupt = |reason: String| {
            Error::corrupt(origin, 0, format!("the stored checkpoint of {origin:?}: {reason}"))
        };
        let parsed = Note::parse(note).map_err(|e| corrupt(e.to_string()))?;
        let body = CheckpointBody::parse(&parsed.text).map_err(|e| corrupt(e.to_string()))?;
        if body.origin != origin {
            return Err(corrupt(format!("it is of the log {:?}", body.origin)));
        }
        let own = parsed.cosignatures([&self.key]).map_err(|e| corrupt(e.to_string()))?.cosignatures;
        let own = own.first().ok_or_else(|| corrupt(format!("{} did not cosign it", self.key.name())))?;
        Ok(Stored { note: note.to_owned(), size: body.size, root: body.root, time: own.time })
    }

    /// Answers a request, given what is stored for its [origin](AddCheckpoint::origin) (`None`:
    /// nothing yet). The answers, in the order in which they are tried:
    ///
    /// | status | when |
    /// |---|---|
    /// | 400 | malformed (by [`Response::malformed`]) |
    /// | 404 | the origin is not watched |
    /// | 403 | no signature by a key of the log, or one that does not verify |
    /// | 400 | the old size is larger than the checkpoint's |
    /// | 409 | the old size is not the stored one; the body is the stored one |
    /// | 422 | size 0 with another root than the empty tree's |
    /// | 422 | the proof does not hold; equal sizes with different roots |
    /// | 200 | cosigned at `time`, seconds since the Unix epoch |
    ///
    /// An error is the witness's own (answer 500 or 503): the keystore failed, or `time` is before
    /// that of the stored cosignature, since a cosignature says what was the largest tree then.
    pub fn decide(
        &self,
        stored: Option<&Stored>,
        request: &AddCheckpoint,
        time: u64,
        signer: &mut dyn CheckpointSigner,
        identity: &str,
    ) -> Result<Decision> {
        let body = &request.body;
        let Some(log) = self.log(&body.origin) else {
            return Decision::refuse(404, "unknown log\n");
        };
        let verified = match log.verified(&request.note) {
            Ok(note) => note,
            Err(Error::Denied(_)) => return Decision::refuse(403, "no signature by a key of the log\n"),
            Err(_) => return Decision::refuse(403, "invalid signature\n"),
        };
        if request.old_size > body.size {
            return Decision::refuse(400, "the old size is larger than the checkpoint's\n");
        }
        let empty = tree::empty_root();
        let (size, root) = stored.map_or((0, &empty), |s| (s.size, &s.root));
        if request.old_size != size {
            let response =
                Response { status: 409, content_type: SIZE_CONTENT_TYPE, body: format!("{size}\n") };
            return Ok(Decision { response, update: None });
        }
        if body.size == 0 && body.root != empty {
            return Decision::refuse(422, "size 0 has another root than the empty tree\n");
        }
        if body.size == size && body.root != *root {
            return Decision::refuse(422, "another root was cosigned for this size\n");
        }
        if !tree::verify_consistency(size, body.size, &request.proof, root, &body.root) {
            return Decision::refuse(422, "the consistency proof does not hold\n");
        }
        if let Some(before) = stored.map(|s| s.time).filter(|t| *t > time) {
            return Err(Error::Unavailable(format!(
                "the clock stands at {time}, before the last cosignature for {:?}, at {before}",
                body.origin
            )));
        }
        let cosignature = self.key.cosign(signer, identity, &verified.text, time)?;
        let line = cosignature.to_line();
        let note = verified.with_cosignatures(&[cosignature]).to_text();
        let update = Stored { note, size: body.size, root: body.root, time };
        let response = Response::text(200, line);
        Ok(Decision { response, update: Some(update) })
    }
}
