//! Calls over wasi:http, one after another.

use std::time::Duration;

use secure_log_rpc::limits::MAX_ANSWER;
use secure_log_rpc::{Method, Transport, TransportError, envelope};
use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method as Verb, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme, http_error_code,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::StreamError;

use crate::settings::{Settings, pause};

/// Longest wait for a connection; a whole attempt has a limit of its own.
const CONNECT: Duration = Duration::from_secs(10);

/// A transport over HTTP, set up from the environment at its first call.
#[derive(Default)]
pub struct HttpTransport {
    settings: Option<Settings>,
    calls: u64,
}

/// An answer, whatever it says.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// Why there is no answer.
enum Failure {
    /// The request was not sent; it can be made again.
    NotReached(String),
    /// It was not sent, and will not be: something is set up wrongly.
    Refused(String),
    /// The connection broke after the request may have been sent.
    Lost(String),
}

impl Transport for HttpTransport {
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
        let settings = match &self.settings {
            Some(settings) => settings,
            None => self.settings.insert(Settings::read(|name| std::env::var(name).ok())?),
        };
        self.calls += 1;
        let id = self.calls;
        let peer = &settings.authority;
        let body = envelope::request(id, method, params);
        let changes_nothing = Method::from_name(method).is_some_and(|method| !method.writes());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let last = attempt > settings.retries;
            let wait = match send(settings, &body) {
                Ok(answer) => {
                    if !last && is_overload(&answer) {
                        answer.retry_after
                    } else {
                        return accept(id, settings, answer);
                    }
                }
                Err(Failure::NotReached(_)) if !last => None,
                Err(Failure::Lost(_)) if !last && changes_nothing => None,
                Err(Failure::NotReached(why)) => {
                    let text = format!("{peer} cannot be reached ({why}); tried {attempt} times");
                    return Err(TransportError::Unavailable(text));
                }
                Err(Failure::Refused(why)) => {
                    return Err(TransportError::Unavailable(format!("{peer} cannot be called: {why}")));
                }
                Err(Failure::Lost(why)) => {
                    return Err(TransportError::Unavailable(format!("the answer of {peer} was lost: {why}")));
                }
            };
            let mut random = [0];
            // Without randomness everybody waits equally long; that is no reason to fail.
            let _ = getrandom::fill(&mut random);
            std::thread::sleep(pause(attempt, wait, random[0]));
        }
    }
}

/// Asked to come back later, by something that did not make the call.
fn is_overload(answer: &Answer) -> bool {
    matches!(answer.status, 429 | 503) && !answer.body.starts_with(b"{")
}

/// The result, or an error in which the token does not show: some servers repeat what they were sent.
fn accept(id: u64, settings: &Settings, mut answer: Answer) -> Result<String, TransportError> {
    let outcome = take(id, &settings.authority, &answer);
    let token = settings.token().unwrap_or_default().as_bytes();
    if outcome.is_ok() || token.is_empty() {
        return outcome;
    }
    let mut found = false;
    for at in 0..answer.body.len() {
        if answer.body[at..].starts_with(token) {
            answer.body[at..at + token.len()].fill(b'*');
            found = true;
        }
    }
    if found { take(id, &settings.authority, &answer) } else { outcome }
}

fn take(id: u64, peer: &str, answer: &Answer) -> Result<String, TransportError> {
    let said = || {
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]);
        text.trim().replace(char::is_control, " ")
    };
    match answer.status {
        401 | 403 if !answer.body.starts_with(b"{") => Err(TransportError::Denied(format!(
            "{peer} answered {}: {} (SECURE_LOG_RPC_TOKEN holds the token)",
            answer.status,
            said()
        ))),
        300..=399 => Err(TransportError::Unavailable(format!(
            "{peer} answered {}: redirects are not followed; put the final address into SECURE_LOG_RPC_URL",
            answer.status
        ))),
        status => envelope::result_of(id, peer, status, &answer.body),
    }
}

fn describe(error: &ErrorCode) -> String {
    match error {
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) => "its name is not known".into(),
        ErrorCode::ConnectionRefused => "connection refused".into(),
        ErrorCode::ConnectionTimeout => "no connection in time".into(),
        ErrorCode::ConnectionTerminated => "connection closed".into(),
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => "no answer in time".into(),
        // Some hosts say no more than this, whatever is wrong.
        ErrorCode::TlsProtocolError => {
            "TLS failed: it speaks no TLS, or its certificate is not trusted".into()
        }
        ErrorCode::HttpProtocolError => "the connection broke, or this is no HTTP".into(),
        ErrorCode::TlsCertificateError => "its TLS certificate is not trusted".into(),
        ErrorCode::TlsAlertReceived(_) => "TLS failed: it sent an alert".into(),
        ErrorCode::InternalError(Some(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn classify(error: &ErrorCode) -> Failure {
    let text = describe(error);
    match error {
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionLimitReached => Failure::NotReached(text),
        ErrorCode::DestinationIpProhibited
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_)
        | ErrorCode::HttpRequestDenied
        | ErrorCode::HttpRequestUriInvalid => Failure::Refused(text),
        _ => Failure::Lost(text),
    }
}

fn internal(what: &str) -> Failure {
    Failure::Refused(format!("the request cannot be made: {what}"))
}

/// One attempt. Everything that it opens is closed at its end, children before parents.
fn send(settings: &Settings, body: &[u8]) -> Result<Answer, Failure> {
    let deadline = Deadline::after(settings.timeout);
    let fields = Fields::new();
    let length = body.len().to_string();
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("content-type", b"application/json"),
        ("accept", b"application/json"),
        ("content-length", length.as_bytes()),
        ("user-agent", concat!("secure-log/", env!("CARGO_PKG_VERSION")).as_bytes()),
    ];
    if let Some(authorization) = &settings.authorization {
        headers.push(("authorization", authorization.as_bytes()));
    }
    for (name, value) in headers {
        fields.append(name, value).map_err(|_| internal("a header was refused"))?;
    }
    let request = OutgoingRequest::new(fields);
    let scheme = if settings.tls { Scheme::Https } else { Scheme::Http };
    request.set_method(&Verb::Post).map_err(|()| internal("POST"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| internal("the scheme"))?;
    request.set_authority(Some(&settings.authority)).map_err(|()| internal("the host"))?;
    request.set_path_with_query(Some(&settings.path)).map_err(|()| internal("the path"))?;
    let out = request.body().map_err(|()| internal("its body"))?;

    let options = RequestOptions::new();
    let timeout = settings.timeout.as_nanos() as u64;
    // A host may leave these out; the deadline below holds in any case.
    let _ = options.set_connect_timeout(Some(timeout.min(CONNECT.as_nanos() as u64)));
    let _ = options.set_first_byte_timeout(Some(timeout));
    let _ = options.set_between_bytes_timeout(Some(timeout));

    let future = outgoing_handler::handle(request, Some(options)).map_err(|e| classify(&e))?;
    // A body that was cut short is finished only when the answer is there; until then it must stay open.
    let cut_short = write_body(out, body, &future, &deadline);
    let answer = wait(&future, &deadline).and_then(|response| read(&response, &deadline));
    drop(cut_short);
    answer
}

/// Writes the whole body and finishes it; gives it back unfinished where the far end answers or fails before that.
fn write_body(
    out: OutgoingBody,
    mut rest: &[u8],
    future: &FutureIncomingResponse,
    deadline: &Deadline,
) -> Option<OutgoingBody> {
    let Ok(stream) = out.write() else { return Some(out) };
    let written = {
        let room = stream.subscribe();
        let answered = future.subscribe();
        let mut flushed = false;
        loop {
            let ready = poll(&[&room, &answered, &deadline.0]);
            if !ready.contains(&0) {
                break false;
            }
            let Ok(room) = stream.check_write() else { break rest.is_empty() };
            if rest.is_empty() {
                if flushed {
                    break true;
                }
                flushed = true;
                if stream.flush().is_err() {
                    break true;
                }
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room as usize));
            if stream.write(now).is_err() {
                break false;
            }
            rest = later;
        }
    };
    drop(stream);
    if !written {
        return Some(out);
    }
    // An error here is an error of the request, which its future tells.
    let _ = OutgoingBody::finish(out, None);
    None
}

fn wait(future: &FutureIncomingResponse, deadline: &Deadline) -> Result<IncomingResponse, Failure> {
    let ready = future.subscribe();
    if !deadline.allows(&ready) {
        return Err(Failure::Lost("no answer in time".into()));
    }
    drop(ready);
    match future.get() {
        Some(Ok(Ok(response))) => Ok(response),
        Some(Ok(Err(error))) => Err(classify(&error)),
        Some(Err(())) | None => Err(Failure::Lost("the answer was taken already".into())),
    }
}

fn read(response: &IncomingResponse, deadline: &Deadline) -> Result<Answer, Failure> {
    let lost = |why: &str| Failure::Lost(why.to_owned());
    let headers = response.headers();
    let header = |name: &str| headers.get(name).into_iter().next().and_then(|v| String::from_utf8(v).ok());
    let retry_after =
        header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let length: Option<u64> = header("content-length").and_then(|text| text.trim().parse().ok());
    if length.is_some_and(|length| length > MAX_ANSWER as u64) {
        return Err(lost("it is too large"));
    }
    let body = response.consume().map_err(|()| lost("its body was taken already"))?;
    let stream = body.stream().map_err(|()| lost("its body was taken already"))?;
    let ready = stream.subscribe();
    // A length is a promise: memory is for what came.
    let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(1 << 20) as usize);
    loop {
        if !deadline.allows(&ready) {
            return Err(lost("it did not end in time"));
        }
        match stream.read(64 * 1024) {
            Ok(chunk) if bytes.len() + chunk.len() > MAX_ANSWER => return Err(lost("it is too large")),
            Ok(chunk) => {
                if bytes.capacity() - bytes.len() < chunk.len() {
                    // Twice as much, but never more than an answer may be.
                    let room = (2 * bytes.capacity()).clamp(64 * 1024, MAX_ANSWER);
                    bytes.reserve_exact(room - bytes.len());
                }
                bytes.extend_from_slice(&chunk);
            }
            Err(StreamError::Closed) => break,
            Err(_) if deadline.is_over() => return Err(lost("it did not end in time")),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(Failure::Lost(http_error_code(&error).map_or_else(
                    || "the connection broke in the middle of it".to_owned(),
                    |code| format!("the connection broke in the middle of it ({})", describe(&code)),
                )));
            }
        }
    }
    if length.is_some_and(|length| length != bytes.len() as u64) {
        return Err(lost("it has another length than it says"));
    }
    Ok(Answer { status: response.status(), retry_after, body: bytes })
}

/// The end of an attempt.
struct Deadline(Pollable);

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self(monotonic_clock::subscribe_duration(timeout.as_nanos() as u64))
    }

    fn is_over(&self) -> bool {
        self.0.ready()
    }

    /// Waits; false when time is up first.
    fn allows(&self, ready: &Pollable) -> bool {
        poll(&[ready, &self.0]).contains(&0)
    }
}
