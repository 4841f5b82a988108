//! The HTTP endpoint of a store: `wasi:http/incoming-handler` over the store that is plugged in.
//!
//! `SECURE_LOG_STORE_CONFIG` names the store, `SECURE_LOG_RPC_TOKEN` is what callers show (or
//! `SECURE_LOG_RPC_AUTH=none` says that nobody has to), `SECURE_LOG_RPC_BACKUP_DIR` where copies go. The store is
//! opened for each request and closed before its answer is sent, so that any number of instances and processes can
//! serve one store; it is closed quickly (`close=quick`), so that an instance which serves many requests in a row finds
//! its connection as it left it.

use std::marker::PhantomData;

use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::{Error, Result};
use secure_log_rpc::envelope::{Call, Reply, reply};
use secure_log_rpc::http::{Admission, HEALTH_CALL, Head, Policy, Refusal, health, not_opened};
use secure_log_rpc::limits::MAX_REQUEST;
use secure_log_rpc::{CheckedStore, Fault, Server};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use crate::ImportedStore;
use crate::http::{BodyError, Response, json_or_text, method, only, quick, read_body, send, variable};

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
        let (answer, header) = match answer::<C>(&request) {
            Ok(answer) => (answer, None),
            Err(refusal) => (refusal.reply, refusal.header),
        };
        send(
            &request,
            out,
            &Response {
                status: answer.status,
                content_type: json_or_text(answer.json),
                header,
                body: &answer.body,
            },
        );
    }
}

fn answer<C: Checks>(request: &IncomingRequest) -> Result<Reply, Refusal> {
    let policy = Policy::from_settings(
        variable("SECURE_LOG_RPC_TOKEN").as_deref(),
        variable("SECURE_LOG_RPC_AUTH").as_deref(),
    );
    let headers = request.headers();
    let [content_type, content_encoding, content_length, authorization] =
        ["content-type", "content-encoding", "content-length", "authorization"]
            .map(|name| only(&headers, name));
    let path = request.path_with_query().unwrap_or_default();
    let head = Head {
        method: method(request),
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
            let body = read_body(request, head.content_length, MAX_REQUEST).map_err(|error| match error {
                BodyError::TooLarge => Refusal::too_large(),
                BodyError::CutShort => Refusal::cut_short(),
            })?;
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
    quick(&config, ImportedStore::open)
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
