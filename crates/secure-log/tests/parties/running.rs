//! A witness with a store in memory, as a host would run it.

use std::collections::HashMap;

use secure_log::note::Note;
use secure_log::witness::{AddCheckpoint, Response, SIZE_CONTENT_TYPE, Stored, WatchedLog, Witness};

use super::{TestLog, cosigner, seed};
use secure_log::model::Hash;

pub const NAME: &str = "example.com/witness";

/// A witness and its store: one note an origin, replaced by compare-and-set.
pub struct Running {
    pub witness: Witness,
    pub store: HashMap<String, String>,
    pub time: u64,
}

impl Running {
    pub fn new(logs: Vec<WatchedLog>) -> Self {
        let witness = Witness::new(cosigner(NAME, 99), logs).unwrap();
        Self { witness, store: HashMap::new(), time: 1_700_000_000 }
    }

    pub fn of(log: &TestLog) -> Self {
        Self::new(vec![WatchedLog::new(&log.origin, vec![log.verifier()]).unwrap()])
    }

    pub fn stored(&self, origin: &str) -> Option<Stored> {
        self.store.get(origin).map(|note| self.witness.open(origin, note).unwrap())
    }

    /// What a host does with a POST.
    pub fn post(&mut self, body: &str) -> Response {
        let request = match AddCheckpoint::parse(body.as_bytes()) {
            Ok(request) => request,
            Err(error) => return Response::malformed(&error),
        };
        self.time += 1;
        let before = self.stored(request.origin());
        let decision =
            self.witness.decide(before.as_ref(), &request, self.time, &mut seed(99), "witness").unwrap();
        assert_eq!(decision.update.is_some(), decision.response.status == 200);
        if let Some(update) = decision.update {
            // What is stored can be opened again, and says the same.
            let note = update.note().to_owned();
            assert_eq!(self.witness.open(request.origin(), &note).unwrap(), update);
            assert_eq!(update.time(), self.time);
            self.store.insert(request.origin().to_owned(), note);
        }
        decision.response
    }

    /// Posts and checks the status; with 200 the answer must be one cosignature of the checkpoint,
    /// otherwise nothing may have been stored.
    pub fn expect(&mut self, status: u16, body: &str) -> Response {
        let before = self.store.clone();
        let response = self.post(body);
        assert_eq!(response.status, status, "{body}\n{response:?}");
        if status == 200 {
            let note = AddCheckpoint::parse(body.as_bytes()).unwrap().note().clone();
            let answered = Note::parse(&format!("{}\n{}", note.text, response.body)).unwrap();
            assert_eq!(answered.signatures.len(), 1);
            let found = answered.cosignatures([self.witness.key()]).unwrap().cosignatures;
            assert_eq!((found.len(), found[0].time), (1, self.time));
        } else {
            assert_eq!(self.store, before);
            assert!(!response.body.contains("\n—") && response.body.len() < 400, "{response:?}");
        }
        match status {
            409 => assert_eq!(response.content_type, SIZE_CONTENT_TYPE),
            _ => assert_eq!(response.content_type, "text/plain; charset=utf-8"),
        }
        response
    }
}

pub fn request(old: u64, proof: &[Hash], note: &str) -> String {
    use base64::Engine as _;
    let proof: String =
        proof.iter().map(|h| format!("{}\n", base64::engine::general_purpose::STANDARD.encode(h))).collect();
    format!("old {old}\n{proof}\n{note}")
}
