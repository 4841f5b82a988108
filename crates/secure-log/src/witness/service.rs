//! A witness as a service over a store: what to answer to which call, without a network.

use super::{ADD_CHECKPOINT, AddCheckpoint, Response, Stored, Witness, origin_hash};
use crate::error::{Error, Result};
use crate::signer::CheckpointSigner;
use crate::store::{ObjectKind, ObjectWrite, SecureLogStore};

/// How often a decision is made again because another request was faster.
const MAX_ATTEMPTS: usize = 16;

/// A witness and what it has seen. Each log's newest checkpoint is one object of the store, replaced under
/// compare-and-set: any number of services may work on one store.
pub struct Service<S, K> {
    witness: Witness,
    identity: String,
    store: S,
    signer: K,
}

/// Key of the object that has the newest checkpoint of a log.
fn state_key(origin: &str) -> String {
    format!("witness\t{}", origin_hash(origin))
}

impl<S: SecureLogStore, K: CheckpointSigner> Service<S, K> {
    /// A service that cosigns with the key `identity` of `signer`.
    pub fn new(witness: Witness, identity: &str, store: S, signer: K) -> Self {
        Self { witness, identity: identity.to_owned(), store, signer }
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Answers a call. `path` is what follows the prefix of the service, `time` in seconds since the Unix epoch.
    ///
    /// | call | answer |
    /// |---|---|
    /// | `POST /add-checkpoint` | C2SP tlog-witness; 200 only when the new state is durable |
    /// | `GET /<SHA-256 of the origin in hex>/checkpoint` | the newest cosigned checkpoint; 404 if there is none |
    /// | `GET /key` | the witness's verifier key |
    /// | `GET /health` | 200 if the store can be read |
    ///
    /// Errors are the witness's own: [`unavailable`] makes an answer of them.
    pub fn answer(&mut self, method: &str, path: &str, body: &[u8], time: u64) -> Result<Response> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, &parts[..]) {
            ("POST", [ADD_CHECKPOINT]) => self.add_checkpoint(body, time),
            ("GET" | "HEAD", [hash, "checkpoint"]) => self.checkpoint(hash),
            ("GET" | "HEAD", ["key"]) => Ok(Response::text(200, format!("{}\n", self.witness.key()))),
            ("GET" | "HEAD", ["health"]) => {
                self.store.last_object(ObjectKind::State, "witness\t")?;
                Ok(Response::text(200, "ok\n"))
            }
            (_, [ADD_CHECKPOINT] | ["key"] | ["health"] | [_, "checkpoint"]) => {
                Ok(Response::text(405, "the method is not one of this path\n"))
            }
            _ => Ok(Response::text(404, "there is nothing here\n")),
        }
    }

    fn stored(&mut self, origin: &str) -> Result<Option<(Vec<u8>, Stored)>> {
        let Some(value) = self.store.read_object(ObjectKind::State, &state_key(origin))? else {
            return Ok(None);
        };
        let note = std::str::from_utf8(&value)
            .map_err(|_| Error::corrupt(origin, 0, "the stored checkpoint is not text"))?;
        let stored = self.witness.open(origin, note)?;
        Ok(Some((value, stored)))
    }

    fn checkpoint(&mut self, hash: &str) -> Result<Response> {
        let origin =
            self.witness.logs().iter().map(super::WatchedLog::origin).find(|o| origin_hash(o) == hash);
        let stored = match origin.map(str::to_owned) {
            Some(origin) => self.stored(&origin)?,
            None => None,
        };
        Ok(match stored {
            Some((_, stored)) => Response::text(200, stored.note()),
            None => Response::text(404, "no checkpoint of this log was cosigned\n"),
        })
    }

    fn add_checkpoint(&mut self, body: &[u8], time: u64) -> Result<Response> {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(error) => return Ok(Response::malformed(&error)),
        };
        for _ in 0..MAX_ATTEMPTS {
            let before = self.stored(request.origin())?;
            let (value, stored) = before.unzip();
            let decision =
                self.witness.decide(stored.as_ref(), &request, time, &mut self.signer, &self.identity)?;
            let Some(update) = decision.update else { return Ok(decision.response) };
            let write = ObjectWrite {
                kind: ObjectKind::State,
                key: state_key(request.origin()),
                value: update.note().as_bytes().to_vec(),
                expected: value,
            };
            match self.store.append(&[], &[], std::slice::from_ref(&write)) {
                Ok(()) => return Ok(decision.response),
                // Another request was faster: its state counts, and this cosignature must not get out.
                Err(Error::Conflict(_)) => {}
                Err(error) => {
                    // The answer of the store may be what was lost.
                    let there = self.store.read_object(ObjectKind::State, &write.key);
                    return match there {
                        Ok(Some(value)) if value == write.value => Ok(decision.response),
                        _ => Err(error),
                    };
                }
            }
        }
        Err(Error::Busy("other requests were faster each time".into()))
    }
}

/// The answer to an error of the witness's own.
pub fn unavailable(error: &Error) -> Response {
    let status = match error {
        Error::Busy(_) => 429,
        Error::Corrupt(_) | Error::Storage(_) | Error::Denied(_) => 500,
        _ => 503,
    };
    Response::text(status, format!("{error}\n"))
}
