//! The HTTP endpoint of a store: `wasi:http/incoming-handler` over the store that is plugged in.
//!
//! `SECURE_LOG_STORE_CONFIG` names the store, `SECURE_LOG_RPC_TOKEN` is what callers show (or
//! `SECURE_LOG_RPC_AUTH=none` says that nobody has to), `SECURE_LOG_RPC_BACKUP_DIR` where copies go. The store is
//! opened for each request and closed before its answer is sent, so that any number of instances and processes can
//! serve one store; it is closed quickly (`close=quick`), so that an instance which serves many requests in a row finds
//! its connection as it left it.

use std::marker::PhantomData;
use std::time::Duration;

use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::{Error, Result};
use secure_log_rpc::envelope::{Call, Reply, reply};
use secure_log_rpc::http::{Admission, HEALTH_CALL, Head, Policy, Refusal, health, not_opened};
use secure_log_rpc::limits::MAX_REQUEST;
use secure_log_rpc::{CheckedStore, Fault, Server};
use wasip2::clocks::monotonic_clock::{Instant, now, subscribe_instant};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, Method as Verb, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{OutputStream, StreamError};

use crate::ImportedStore;

/// How long a caller may be silent in the middle of a request or an answer.
const SILENCE: Duration = Duration::from_secs(15);
/// How many bytes a second a caller has to move, all in all, once it has taken longer than that: nobody holds an
/// instance with one byte now and then.
const PACE: u64 = 32 * 1024;

/// Which rows an endpoint takes.
pub trait Checks: 'static {
    /// The store that calls go to.
    type Store: SecureLogStore;
    /// Puts it in front of the store that is plugged in.
    fn server(store: ImportedStore) -> Server<Self::Store>;
}

/// Rows that follow and say what their headers say ([`CheckedStore`]).
pub struct Checked;

impl Checks for Checked {
    type Store = CheckedStore<ImportedStore>;
    fn server(store: ImportedStore) -> Server<Self::Store> {
        Server::new(store)
    }
}

/// Whatever the store takes: for tests of the contract.
pub struct Unchecked;

impl Checks for Unchecked {
    type Store = ImportedStore;
    fn server(store: ImportedStore) -> Server<Self::Store> {
        Server::unchecked(store)
    }
}

/// The endpoint.
pub struct Endpoint<C>(PhantomData<C>);

impl<C: Checks> Guest for Endpoint<C> {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let head_only = matches!(request.method(), Verb::Head);
        let (answer, header) = match answer::<C>(&request) {
            Ok(answer) => (answer, None),
            Err(refusal) => (refusal.reply, refusal.header),
        };
        send(out, answer, header, head_only);
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn answer<C: Checks>(request: &IncomingRequest) -> Result<Reply, Refusal> {
    let policy = Policy::from_settings(
        variable("SECURE_LOG_RPC_TOKEN").as_deref(),
        variable("SECURE_LOG_RPC_AUTH").as_deref(),
    );
    let headers = request.headers();
    // A header that stands there twice is none: a proxy may have looked at the other one.
    let header = |name: &str| match headers.get(name).as_mut_slice() {
        [value] => Some(std::mem::take(value)),
        _ => None,
    };
    let [content_type, content_encoding, content_length, authorization] =
        ["content-type", "content-encoding", "content-length", "authorization"].map(header);
    let method = request.method();
    let path = request.path_with_query().unwrap_or_default();
    let head = Head {
        method: match &method {
            Verb::Get => "GET",
            Verb::Head => "HEAD",
            Verb::Post => "POST",
            _ => "",
        },
        path: &path,
        content_type: content_type.as_deref(),
        content_encoding: content_encoding.as_deref(),
        content_length: content_length.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()),
        authorization: authorization.as_deref(),
    };
    match policy.admit(&head) {
        Admission::Refused(refusal) => Err(refusal),
        Admission::Health => {
            let (method, params) = HEALTH_CALL;
            let outcome = with_store::<C, _>(|server| server.call(method, params).map(drop))
                .unwrap_or_else(|error| Err(error.into()));
            if let Err(fault) = &outcome {
                eprintln!("secure-log endpoint: not healthy: {fault}");
            }
            Ok(health(&outcome))
        }
        Admission::Call => {
            let body = read_body(request, head.content_length)?;
            let call = match policy.admit_call(&body) {
                Ok(call) => call,
                Err(reply) => return Ok(reply),
            };
            Ok(perform::<C>(&call))
        }
    }
}

fn perform<C: Checks>(call: &Call<'_>) -> Reply {
    match with_store::<C, _>(|server| server.call(call.method, call.params)) {
        Ok(outcome) => {
            if let Err(Fault::Store(error @ (Error::Storage(_) | Error::Corrupt(_)))) = &outcome {
                eprintln!("secure-log endpoint: {}: {error}", call.method.name());
            }
            reply(&call.form, outcome)
        }
        Err(error) => {
            eprintln!("secure-log endpoint: the store cannot be opened: {error}");
            not_opened(&call.form, error)
        }
    }
}

fn open() -> Result<ImportedStore> {
    let config = variable("SECURE_LOG_STORE_CONFIG").ok_or_else(|| {
        Error::invalid("SECURE_LOG_STORE_CONFIG", "is not set at the endpoint: it names the store")
    })?;
    if config == ":memory:" {
        return ImportedStore::open(&config);
    }
    let quick = format!("{config}{}close=quick", if config.contains('?') { '&' } else { '?' });
    match ImportedStore::open(&quick) {
        // A store of somebody else's, which knows no such option.
        Err(Error::Invalid(_)) => ImportedStore::open(&config),
        opened => opened,
    }
}

/// Runs `call` on the store.
fn with_store<C: Checks, R>(
    call: impl FnOnce(&mut Server<C::Store>) -> Result<R, Fault>,
) -> Result<Result<R, Fault>> {
    let mut server = C::server(open()?);
    if let Some(directory) = variable("SECURE_LOG_RPC_BACKUP_DIR") {
        server = server.with_backups(directory);
    }
    let outcome = call(&mut server);
    if let Some(Err(error)) = server.into_store().map(SecureLogStore::close) {
        // What was answered is durable; the lease runs out by itself.
        eprintln!("secure-log endpoint: the store was not closed in order: {error}");
    }
    Ok(outcome)
}

/// How long a caller has for a body.
struct Patience(Instant);

impl Patience {
    fn begin() -> Self {
        Self(now())
    }

    /// Waits; false when the caller, who has moved so many bytes, was too slow.
    fn ready(&self, pollable: &Pollable, moved: usize) -> bool {
        let all = SILENCE + Duration::from_millis(moved as u64 * 1000 / PACE);
        let slow = self.0.saturating_add(all.as_nanos() as u64);
        let silent = now().saturating_add(SILENCE.as_nanos() as u64);
        now() < slow && poll(&[pollable, &subscribe_instant(slow.min(silent))]).contains(&0)
    }
}

fn read_body(request: &IncomingRequest, length: Option<u64>) -> Result<Vec<u8>, Refusal> {
    let body = request.consume().map_err(|()| Refusal::cut_short())?;
    let stream = body.stream().map_err(|()| Refusal::cut_short())?;
    let arrives = stream.subscribe();
    let patience = Patience::begin();
    let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(1 << 20) as usize);
    loop {
        if !patience.ready(&arrives, bytes.len()) {
            return Err(Refusal::cut_short());
        }
        match stream.read(64 * 1024) {
            Ok(chunk) if bytes.len() + chunk.len() > MAX_REQUEST => return Err(Refusal::too_large()),
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(Refusal::cut_short()),
        }
    }
    if length.is_some_and(|length| length != bytes.len() as u64) {
        return Err(Refusal::cut_short());
    }
    Ok(bytes)
}

fn send(out: ResponseOutparam, reply: Reply, header: Option<(&str, &str)>, head_only: bool) {
    let fields = Fields::new();
    let kind = if reply.json { "application/json" } else { "text/plain; charset=utf-8" };
    let length = reply.body.len().to_string();
    let common = [
        ("content-type", kind),
        ("content-length", &length),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    for (name, value) in common.into_iter().chain(header) {
        // These names and values are valid; a host that refuses one answers without it.
        let _ = fields.append(name, value.as_bytes());
    }
    let response = OutgoingResponse::new(fields);
    let _ = response.set_status_code(reply.status);
    let body = response.body();
    let rest = if head_only { &[][..] } else { &reply.body[..] };
    // From here on the caller may be gone, and nobody is left to tell.
    let Ok(body) = body else { return ResponseOutparam::set(out, Ok(response)) };
    let Ok(stream) = body.write() else { return ResponseOutparam::set(out, Ok(response)) };
    let room = stream.check_write().unwrap_or(0) as usize;
    if rest.len() <= room && stream.write(rest).is_ok() {
        // The last thing that this instance does: it can take the next request at once.
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
        ResponseOutparam::set(out, Ok(response));
        return;
    }
    ResponseOutparam::set(out, Ok(response));
    let written = write_all(&stream, rest);
    drop(stream);
    if written.is_some() {
        let _ = OutgoingBody::finish(body, None);
    }
}

fn write_all(stream: &OutputStream, mut rest: &[u8]) -> Option<()> {
    let room = stream.subscribe();
    let patience = Patience::begin();
    let all = rest.len();
    while !rest.is_empty() {
        if !patience.ready(&room, all - rest.len()) {
            return None;
        }
        let (now, later) = rest.split_at(rest.len().min(stream.check_write().ok()? as usize));
        stream.write(now).ok()?;
        rest = later;
    }
    stream.flush().ok()?;
    patience.ready(&room, all).then_some(())
}
