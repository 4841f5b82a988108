//! A witness over HTTP: `wasi:http/incoming-handler` over the store and the keystore that are plugged in. Calls and
//! answers are those of [`secure_log::witness::Service`]; docs/witness.md has the variables.
//!
//! The store is opened for each request and closed, quickly, before its answer is sent, as in
//! [`endpoint`](crate::endpoint).

use std::time::{SystemTime, UNIX_EPOCH};

use secure_log::cosignature::CosignerKey;
use secure_log::note::VerifierKey;
use secure_log::signer::CheckpointSigner;
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::witness::{MAX_REQUEST, Response as Answer, Service, WatchedLog, Witness, unavailable};
use secure_log::{Error, Result};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use crate::http::{BodyError, Response, method, only, quick, read_body, send, variable};
use crate::{ImportedSigner, ImportedStore};

/// Name that it cosigns under: a URL without scheme, by convention.
const NAME: &str = "SECURE_LOG_WITNESS_NAME";
/// Name of its key in the keystore.
const KEY: &str = "SECURE_LOG_WITNESS_KEY";
/// Verifier keys of the logs that it watches.
const LOGS: &str = "SECURE_LOG_WITNESS_LOGS";
const STORE: &str = "SECURE_LOG_STORE_CONFIG";

/// The endpoint.
pub struct WitnessEndpoint;

impl Guest for WitnessEndpoint {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let answer = answer(&request).unwrap_or_else(|error| {
            eprintln!("secure-log witness: {error}");
            unavailable(&error)
        });
        let header = (answer.status == 429).then_some(("retry-after", "1"));
        let content_type = answer.content_type;
        send(
            &request,
            out,
            &Response { status: answer.status, content_type, header, body: answer.body.as_bytes() },
        );
    }
}

fn text(status: u16, body: &str) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: body.into() }
}

fn answer(request: &IncomingRequest) -> Result<Answer> {
    let verb = method(request);
    let path = request.path_with_query().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let mut body = Vec::new();
    if verb == "POST" {
        let length = only(&request.headers(), "content-length");
        let length = length.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > MAX_REQUEST as u64) {
            return Ok(text(413, "the request is too large\n"));
        }
        body = match read_body(request, length, MAX_REQUEST) {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return Ok(text(413, "the request is too large\n")),
            Err(BodyError::CutShort) => {
                return Ok(text(400, "the request ended early, or came too slowly\n"));
            }
        };
    }
    let (witness, identity) = witness()?;
    let store = quick(&needed(STORE, "names the store")?, ImportedStore::open)?;
    let mut service = Service::new(witness, &identity, store, ImportedSigner);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let answer = service.answer(verb, path, &body, now);
    if let Err(error) = service.into_store().close() {
        // What was answered is durable; the lease runs out by itself.
        eprintln!("secure-log witness: the store was not closed in order: {error}");
    }
    answer
}

fn needed(name: &str, what: &str) -> Result<String> {
    variable(name).ok_or_else(|| Error::invalid(name, format!("is not set at the witness: it {what}")))
}

/// The witness that the environment describes, and the name of its key.
fn witness() -> Result<(Witness, String)> {
    let name = needed(NAME, "is the name to cosign under")?;
    let identity = needed(KEY, "names the key in the keystore")?;
    let logs = needed(LOGS, "has the verifier keys of the logs to watch")?;
    let mut watched: Vec<(String, Vec<VerifierKey>)> = Vec::new();
    for text in logs.split([';', '\n']).map(str::trim).filter(|text| !text.is_empty()) {
        let key = VerifierKey::parse(text).map_err(|e| Error::invalid(LOGS, e.to_string()))?;
        match watched.iter_mut().find(|(origin, _)| origin == key.name()) {
            Some((_, keys)) => keys.push(key),
            None => watched.push((key.name().to_owned(), vec![key])),
        }
    }
    let logs =
        watched.into_iter().map(|(origin, keys)| WatchedLog::new(&origin, keys)).collect::<Result<_>>()?;
    let key = CosignerKey::new(&name, ImportedSigner.public_key(&identity)?)?;
    Ok((Witness::new(key, logs)?, identity))
}
