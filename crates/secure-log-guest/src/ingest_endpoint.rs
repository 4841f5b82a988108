//! The HTTP endpoint of a gate: `POST /api/v1/ingest` as `wasi:http/incoming-handler`, over the gate and the log that
//! are plugged in. Variables, statuses and bodies are in docs/ingest-http.md; what they mean is decided in
//! [`edgesentry_audit::http`].
//!
//! The log is opened for each request and closed, quickly, before its answer is sent, as in
//! [`endpoint`](crate::endpoint): any number of instances and processes can serve one store.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use edgesentry_audit::gate::{Failure, Outcome, Part, Registered, Registration, Submission, Verdict};
use edgesentry_audit::http::{
    Admission, Answer, EndpointSettings, Head, MAX_BODY, Rates, admit, last_forwarded, parse_request,
};
use secure_log::Error;
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use crate::gate::ImportedGate;
use crate::http::{BodyError, Response, json_or_text, method, only, quick, read_body, send, variable};

/// The endpoint.
pub struct IngestEndpoint;

/// What an instance keeps from one request to the next.
struct Endpoint {
    settings: EndpointSettings,
    configured: bool,
    /// Devices of the settings that are known to be registered, or cannot be.
    registered: BTreeSet<String>,
    sources: Option<Rates>,
    devices: Option<Rates>,
}

thread_local! {
    /// None: the first request is to come. The text: why the settings cannot be used.
    static ENDPOINT: RefCell<Option<Result<Endpoint, String>>> = const { RefCell::new(None) };
}

impl Guest for IngestEndpoint {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let answer = ENDPOINT.with(|slot| match slot.try_borrow_mut() {
            Ok(mut slot) => match slot.get_or_insert_with(Endpoint::from_environment) {
                Ok(endpoint) => endpoint.answer(&request),
                Err(why) => match admit(&Request::of(&request).head()) {
                    Admission::Refused(answer) => answer,
                    Admission::Ingest | Admission::Health => Answer::not_set_up(why),
                },
            },
            // Hosts enter an instance for one request at a time.
            Err(_) => Answer::unavailable("endpoint"),
        });
        let Answer { status, header, body } = answer;
        send(
            &request,
            out,
            &Response { status, content_type: json_or_text(true), header, body: body.as_bytes() },
        );
    }
}

/// The head of a request, held.
struct Request {
    method: &'static str,
    path: String,
    content_type: Option<Vec<u8>>,
    content_encoding: Option<Vec<u8>>,
    content_length: Option<u64>,
    forwarded: Vec<Vec<u8>>,
}

impl Request {
    fn of(request: &IncomingRequest) -> Self {
        let headers = request.headers();
        let length = only(&headers, "content-length");
        Self {
            method: method(request),
            path: request.path_with_query().unwrap_or_default(),
            content_type: only(&headers, "content-type"),
            content_encoding: only(&headers, "content-encoding"),
            content_length: length.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()),
            forwarded: headers.get("x-forwarded-for"),
        }
    }

    fn head(&self) -> Head<'_> {
        Head {
            method: self.method,
            path: &self.path,
            content_type: self.content_type.as_deref(),
            content_encoding: self.content_encoding.as_deref(),
            content_length: self.content_length,
        }
    }
}

fn now() -> Duration {
    Duration::from_nanos(monotonic_clock::now())
}

impl Endpoint {
    fn from_environment() -> Result<Self, String> {
        let settings = EndpointSettings::from_variables(variable).map_err(|error| {
            eprintln!("edgesentry ingest: not set up: {error}");
            error.to_string()
        })?;
        Ok(Self {
            sources: settings.source_rate.map(Rates::new),
            devices: settings.device_rate.map(Rates::new),
            settings,
            configured: false,
            registered: BTreeSet::new(),
        })
    }

    fn answer(&mut self, request: &IncomingRequest) -> Answer {
        let head = Request::of(request);
        match admit(&head.head()) {
            Admission::Refused(answer) => answer,
            Admission::Health => {
                let outcome = self.with_log(|_| ImportedGate::check().map_err(in_ledger));
                if let Err(failure) = &outcome {
                    eprintln!("edgesentry ingest: not healthy: {failure}");
                }
                Answer::health(outcome.is_ok())
            }
            Admission::Ingest => self.ingest(request, &head).unwrap_or_else(|answer| answer),
        }
    }

    fn ingest(&mut self, request: &IncomingRequest, head: &Request) -> Result<Answer, Answer> {
        let source = self.admit_source(head)?;
        let body = read_body(request, head.content_length, MAX_BODY).map_err(|error| match error {
            BodyError::TooLarge => Answer::too_large(),
            BodyError::CutShort => Answer::cut_short(),
        })?;
        let mut submission = parse_request(&body).map_err(|bad| Answer::bad_request(&bad))?;
        drop(body);
        submission.source = source.map(|source| source.to_string());
        let device_id = submission.record.device_id.clone();
        if self.devices.as_ref().is_some_and(|devices| !devices.has_room(&device_id, now())) {
            return Err(Answer::too_many("device"));
        }
        let outcome = self.with_log(|endpoint| endpoint.submit(submission));
        match &outcome {
            // Only what the device has signed counts: nobody else can use up its share.
            Ok(Verdict { outcome: Outcome::Accepted(_), .. }) => {
                if let Some(devices) = &mut self.devices {
                    devices.take(&device_id, now());
                }
            }
            Ok(_) => {}
            Err(failure) => eprintln!("edgesentry ingest: {failure}"),
        }
        Ok(Answer::of(&outcome))
    }

    /// Who sends, as far as a proxy says it: before the body is read and before any signature is checked.
    fn admit_source(&mut self, head: &Request) -> Result<Option<IpAddr>, Answer> {
        if !self.settings.trust_forwarded {
            return Ok(None);
        }
        let source = last_forwarded(head.forwarded.iter().map(Vec::as_slice));
        if let Some(allowed) = &self.settings.allowed
            && source.is_none_or(|source| allowed.check(source).is_err())
        {
            return Err(Answer::forbidden());
        }
        if let Some(sources) = &mut self.sources {
            let name = source.map_or_else(|| "unknown".to_owned(), |source| source.to_string());
            if !sources.has_room(&name, now()) {
                return Err(Answer::too_many("source"));
            }
            sources.take(&name, now());
        }
        Ok(source)
    }

    /// Opens the log for `call`.
    fn with_log<R>(&mut self, call: impl FnOnce(&mut Self) -> Result<R, Failure>) -> Result<R, Failure> {
        quick(&self.settings.store, ImportedGate::open).map_err(in_ledger)?;
        let outcome = call(self);
        if let Err(error) = ImportedGate::close() {
            // What was answered is durable; the lease runs out by itself.
            eprintln!("edgesentry ingest: the log was not closed in order: {error}");
        }
        outcome
    }

    fn submit(&mut self, submission: Submission) -> Result<Verdict, Failure> {
        if !self.configured {
            ImportedGate::configure(&self.settings.gate)?;
            self.configured = true;
        }
        self.register(&submission.record.device_id)?;
        ImportedGate::submit(submission)
    }

    /// Registers a device of the settings before its first record in this instance. A registration that the registry
    /// refuses is for the operator to see; the device's records are judged by what the registry has.
    fn register(&mut self, device_id: &str) -> Result<(), Failure> {
        let Some(key) = self.settings.devices.get(device_id) else { return Ok(()) };
        if self.registered.contains(device_id) {
            return Ok(());
        }
        match ImportedGate::register(device_id, &Registration::new(*key)) {
            Ok(Registered::Added | Registered::Already) => {}
            Ok(Registered::Revoked) => {
                eprintln!(
                    "edgesentry ingest: EDS_DEVICES names {device_id:?} with a key that is revoked; it stays so"
                );
            }
            Err(Failure {
                error: error @ (Error::Conflict(_) | Error::Denied(_) | Error::Invalid(_)),
                ..
            }) => {
                eprintln!("edgesentry ingest: EDS_DEVICES: {device_id:?} is not registered so: {error}");
            }
            Err(failure) => return Err(failure),
        }
        self.registered.insert(device_id.to_owned());
        Ok(())
    }
}

fn in_ledger(error: Error) -> Failure {
    Failure { part: Part::AuditLedger, error }
}
