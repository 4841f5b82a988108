//! What HTTP endpoints have in common: bodies of callers who may be slow or gone, and answers to them.

use std::time::Duration;

use secure_log::{Error, Result};
use wasip2::clocks::monotonic_clock::{Instant, now, subscribe_instant};
use wasip2::http::types::{
    Fields, IncomingRequest, Method as Verb, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{OutputStream, StreamError};

/// How long a caller may be silent in the middle of a request or an answer.
const SILENCE: Duration = Duration::from_secs(15);
/// How many bytes a second a caller has to move, all in all, once it has taken longer than that: nobody holds an
/// instance with one byte now and then.
const PACE: u64 = 32 * 1024;

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The method in capitals; empty for those that no endpoint has.
pub(crate) fn method(request: &IncomingRequest) -> &'static str {
    match request.method() {
        Verb::Get => "GET",
        Verb::Head => "HEAD",
        Verb::Post => "POST",
        _ => "",
    }
}

/// A header. One that stands there twice is none: a proxy may have looked at the other one.
pub(crate) fn only(headers: &Fields, name: &str) -> Option<Vec<u8>> {
    match headers.get(name).as_mut_slice() {
        [value] => Some(std::mem::take(value)),
        _ => None,
    }
}

/// Opens what `config` names so that it is closed quickly (`close=quick`): an instance that serves many requests in a
/// row finds its connection as it left it.
pub(crate) fn quick<T>(config: &str, open: impl Fn(&str) -> Result<T>) -> Result<T> {
    if config == ":memory:" {
        return open(config);
    }
    match open(&format!("{config}{}close=quick", if config.contains('?') { '&' } else { '?' })) {
        // A store of somebody else's, which knows no such option.
        Err(Error::Invalid(_)) => open(config),
        opened => opened,
    }
}

/// Why there is no body.
pub(crate) enum BodyError {
    /// It ended early, or came too slowly.
    CutShort,
    /// It is larger than allowed.
    TooLarge,
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

/// Reads a body of at most `most` bytes; `length` is what its head says.
pub(crate) fn read_body(
    request: &IncomingRequest,
    length: Option<u64>,
    most: usize,
) -> Result<Vec<u8>, BodyError> {
    let body = request.consume().map_err(|()| BodyError::CutShort)?;
    let stream = body.stream().map_err(|()| BodyError::CutShort)?;
    let arrives = stream.subscribe();
    let patience = Patience::begin();
    let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(1 << 20) as usize);
    loop {
        if !patience.ready(&arrives, bytes.len()) {
            return Err(BodyError::CutShort);
        }
        match stream.read(64 * 1024) {
            Ok(chunk) if bytes.len() + chunk.len() > most => return Err(BodyError::TooLarge),
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(BodyError::CutShort),
        }
    }
    if length.is_some_and(|length| length != bytes.len() as u64) {
        return Err(BodyError::CutShort);
    }
    Ok(bytes)
}

/// Media type of JSON, or of text.
pub(crate) fn json_or_text(json: bool) -> &'static str {
    if json { "application/json" } else { "text/plain; charset=utf-8" }
}

/// An answer.
pub(crate) struct Response<'a> {
    /// Status.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'a str,
    /// A header of its own.
    pub header: Option<(&'a str, &'a str)>,
    /// Body.
    pub body: &'a [u8],
}

/// Answers a request; to a HEAD with the headers alone.
pub(crate) fn send(request: &IncomingRequest, out: ResponseOutparam, answer: &Response<'_>) {
    let fields = Fields::new();
    let length = answer.body.len().to_string();
    let common = [
        ("content-type", answer.content_type),
        ("content-length", &length),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    for (name, value) in common.into_iter().chain(answer.header) {
        // These names and values are valid; a host that refuses one answers without it.
        let _ = fields.append(name, value.as_bytes());
    }
    let response = OutgoingResponse::new(fields);
    let _ = response.set_status_code(answer.status);
    let body = response.body();
    let rest = if matches!(request.method(), Verb::Head) { &[][..] } else { answer.body };
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
