//! One request: who sends it, what it asks for, and the answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use edgesentry_audit::NetworkPolicy;
use edgesentry_audit::http::{Admission, Answer, Head, admit, parse_request};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::body::{BodyError, Kept, collect, discard};
use super::connection::Peer;
use super::forwarded;
use super::limits::Limits;
use super::throttle::Throttle;
use crate::gate::GateError;
use crate::intake::{Intake, IntakeError};
use crate::metrics::{self, Metrics};
use crate::rate::{Rates, network_of};

pub(crate) const TARGET: &str = "edgesentry_audit::transport::http";

/// Where it is said whether records can be taken.
pub const READY_PATH: &str = "/readyz";
/// Where the metrics are.
pub const METRICS_PATH: &str = "/metrics";

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const METRICS: HeaderValue = HeaderValue::from_static(metrics::CONTENT_TYPE);
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What all requests share.
pub(crate) struct App {
    pub(crate) intake: Arc<Intake>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) policy: NetworkPolicy,
    pub(crate) proxies: NetworkPolicy,
    pub(crate) limits: Limits,
    pub(crate) open: AtomicUsize,
    pub(crate) sources: Option<Rates>,
    pub(crate) draining: AtomicBool,
    pub(crate) own_health_address: bool,
    pub(crate) timeout_answer: Vec<u8>,
    pub(crate) forbidden_answer: Vec<u8>,
    pub(crate) kept: Kept,
    pub(crate) refusals: Throttle,
    pub(crate) ids: Ids,
}

impl App {
    /// A time that a client may take: less where connections run out, so that those who only hold them make room.
    pub(crate) fn patience(&self, time: Duration) -> Duration {
        let crowded = self.open.load(Ordering::Relaxed) > self.limits.connections / 4 * 3;
        if crowded { time / 4 } else { time }
    }
}

/// Ids of requests: a random part for the process, and a number.
pub(crate) struct Ids {
    process: u32,
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let process = RandomState::new().hash_one(0_u8).to_le_bytes();
        Self {
            process: u32::from_le_bytes([process[0], process[1], process[2], process[3]]),
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> String {
        format!("{:08x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// An answer on its way.
struct Reply {
    answer: Answer,
    content_type: HeaderValue,
    close: bool,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, content_type: JSON, close: false }
    }
}

impl Reply {
    fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

/// 408: the request did not come in time.
pub(crate) fn timeout() -> Answer {
    fixed(408, r#"{"status":"timeout","error":"the request did not come in time"}"#)
}

fn fixed(status: u16, body: &str) -> Answer {
    Answer { status, header: None, body: body.to_owned() }
}

/// An answer as bytes, for who is not served: it ends the connection.
pub(crate) fn raw(answer: &Answer) -> Vec<u8> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{}",
        answer.body.len(),
        answer.body
    )
    .into_bytes()
}

/// Answers one request.
pub(crate) async fn answer(app: &App, peer: &Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let id = request_id(app, peer, &request);
    let Reply { answer, content_type, close } = reply(app, peer, request, &id).await;
    app.metrics.response(answer.status);
    if answer.status >= 400 && answer.status != 422 {
        let (source, status) = (peer.text.as_str(), answer.status);
        tracing::debug!(target: TARGET, request_id = id, source, status, "request refused");
    }
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.reserve(4);
    headers.insert(CONTENT_TYPE, content_type);
    if let Ok(id) = HeaderValue::from_maybe_shared(Bytes::from(id)) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some((name, value)) = answer.header {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if close {
        headers.insert(CONNECTION, CLOSE);
    }
    response
}

/// The id that a trusted proxy gave, or one of our own.
fn request_id(app: &App, peer: &Peer, request: &Request<Incoming>) -> String {
    let given = request.headers().get(REQUEST_ID).filter(|_| peer.proxy).and_then(|id| id.to_str().ok());
    let fits = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    given.filter(fits).map_or_else(|| app.ids.next(), str::to_owned)
}

async fn reply(app: &App, peer: &Peer, request: Request<Incoming>, id: &str) -> Reply {
    let client = if peer.proxy {
        let headers = request.headers().get_all(FORWARDED).iter().map(HeaderValue::as_bytes);
        let client = forwarded::client(peer.ip, &app.proxies, headers);
        match client.filter(|client| app.policy.check(*client).is_ok()) {
            Some(client) => client,
            None => {
                let client = client.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
                if app.refusals.allow() {
                    tracing::warn!(target: TARGET, request_id = id, source = client, proxy = peer.text, "source not allowed");
                }
                return refuse(app, request, Answer::forbidden()).await;
            }
        }
    } else {
        peer.ip
    };
    let path = request.uri().path();
    let observed = peer.for_health || !app.own_health_address;
    match (path, request.method()) {
        (READY_PATH, &Method::GET | &Method::HEAD) if observed => return ready(app).await.into(),
        (METRICS_PATH, &Method::GET | &Method::HEAD) if observed => {
            let answer = Answer { status: 200, header: None, body: app.metrics.encode() };
            return Reply { answer, content_type: METRICS, close: false };
        }
        (READY_PATH | METRICS_PATH, _) if observed => {
            return refuse(app, request, Answer::method_not_allowed("GET, HEAD")).await;
        }
        _ => {}
    }
    let header = |name: HeaderName| request.headers().get(name).map(HeaderValue::as_bytes);
    let head = Head {
        method: request.method().as_str(),
        path,
        content_type: header(CONTENT_TYPE),
        content_encoding: header(CONTENT_ENCODING),
        content_length: request.body().size_hint().exact(),
    };
    match admit(&head) {
        Admission::Health => Answer::health(true).into(),
        Admission::Refused(answer) => refuse(app, request, answer).await,
        Admission::Ingest if peer.for_health => refuse(app, request, Answer::not_found()).await,
        Admission::Ingest => ingest(app, peer, client, request, id).await,
    }
}

/// Refuses a request, and reads its body so that the sender gets to see the answer.
async fn refuse(app: &App, request: Request<Incoming>, answer: Answer) -> Reply {
    let announced = request.body().size_hint().exact();
    let waits = request.headers().contains_key(EXPECT);
    // Who waits to be asked for a body has not sent it, and hyper asks when it is read.
    if waits || announced.is_some_and(|length| length == 0) {
        let reply = Reply::from(answer);
        return if waits { reply.closing() } else { reply };
    }
    let small = announced.is_some_and(|length| length <= app.limits.body as u64);
    discard(request.into_body(), &app.limits, announced.unwrap_or(0)).await;
    let reply = Reply::from(answer);
    if small { reply } else { reply.closing() }
}

async fn ready(app: &App) -> Answer {
    if app.draining.load(Ordering::Relaxed) {
        return fixed(503, r#"{"status":"draining","error":"the server is about to stop"}"#);
    }
    match tokio::time::timeout(app.limits.gate_time, app.intake.gate().health()).await {
        Ok(Ok(())) => Answer::health(true),
        Ok(Err(error)) => {
            tracing::error!(target: TARGET, %error, "not ready");
            Answer::health(false)
        }
        Err(_) => {
            tracing::error!(target: TARGET, error = "the gate does not answer", "not ready");
            Answer::health(false)
        }
    }
}

async fn ingest(app: &App, peer: &Peer, client: IpAddr, request: Request<Incoming>, id: &str) -> Reply {
    if let Some(sources) = &app.sources
        && !sources.allow(network_of(client))
    {
        app.metrics.limited("source");
        return refuse(app, request, Answer::too_many("source")).await;
    }
    let collected = match collect(request.into_body(), &app.limits, &app.kept).await {
        Ok(collected) => collected,
        Err(error) => {
            let answer = match error {
                BodyError::TooLarge => Answer::too_large(),
                BodyError::Slow => timeout(),
                BodyError::Broken => Answer::cut_short(),
                BodyError::NoRoom => busy(),
            };
            return Reply::from(answer).closing();
        }
    };
    let mut submission = match parse_request(&collected.bytes) {
        Ok(submission) => submission,
        Err(bad) => {
            tracing::info!(target: TARGET, request_id = id, source = peer.text, error = %bad, "not a record");
            return Answer::bad_request(&bad).into();
        }
    };
    submission.route_identity.clone_from(&peer.identity);
    submission.source = Some(if peer.proxy { client.to_string() } else { peer.text.clone() });
    let outcome = app.intake.submit(submission, id).await;
    drop(collected);
    match outcome {
        Ok(verdict) => Answer::of(&Ok(verdict)),
        Err(IntakeError::TooMany) => Answer::too_many("device"),
        Err(IntakeError::Gate(GateError::Failed(failure))) => Answer::of(&Err(failure)),
        Err(IntakeError::Gate(GateError::Busy | GateError::Stopped) | IntakeError::Slow(_)) => busy(),
    }
    .into()
}

/// 503: not now.
fn busy() -> Answer {
    Answer::unavailable("gate")
}
