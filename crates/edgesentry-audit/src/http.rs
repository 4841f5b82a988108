//! Receiving records over HTTP, without the I/O: what is taken, and which status and body say what.
//!
//! A record arrives as `POST /api/v1/ingest` with the JSON body `{"record": {…}, "raw_payload_hex": "…"}`
//! ([`parse_request`]; messages of other transports have the same form), and what became of it goes back as JSON with
//! a `status` ([`Answer::of`]). `docs/ingest-http.md` has the table. No text here repeats payload bytes, and none
//! repeats more of a request than its device id.

mod rates;
mod settings;

use std::fmt;
use std::net::IpAddr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_path_to_error::Segment;

use crate::error::IngestError;
use crate::gate::{Failure, Outcome, Receipt, Submission, Verdict};
use crate::record::{AuditRecord, MAX_DEVICE_ID};

pub use rates::{Rate, Rates};
pub use settings::{EndpointSettings, SettingsError};

/// Where records are sent.
pub const INGEST_PATH: &str = "/api/v1/ingest";
/// Where a sign of life is.
pub const HEALTH_PATH: &str = "/healthz";
/// Largest body, bytes.
pub const MAX_BODY: usize = 2 << 20;
/// Seconds after which a 429 or a 503 says to try again.
pub const RETRY_AFTER: &str = "1";

/// A body as it is sent.
#[derive(Deserialize)]
#[serde(expecting = "an object with `record` and `raw_payload_hex`")]
struct Request {
    record: AuditRecord,
    raw_payload_hex: Payload,
}

/// Payload bytes in hex, of either case.
struct Payload(Vec<u8>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl Visitor<'_> for Hex {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of hex digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Payload, E> {
                // Not what `hex` says: that names the character, which is part of the payload.
                hex::decode(text).map(Payload).map_err(|error| match error {
                    hex::FromHexError::InvalidHexCharacter { index, .. } => {
                        E::custom(format_args!("no hex digit at position {index}"))
                    }
                    _ => E::custom(format_args!("an odd number of hex digits ({})", text.len())),
                })
            }
        }
        deserializer.deserialize_str(Hex)
    }
}

/// Why a body is not a record with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest {
    /// Where it is wrong: `record.payload_hash[3]`, `raw_payload_hex`; empty: the body as a whole.
    pub field: String,
    /// What is wrong there. It repeats nothing of the body.
    pub reason: String,
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { "body" } else { &self.field };
        write!(f, "{field}: {}", self.reason)
    }
}

impl std::error::Error for BadRequest {}

/// Reads a body. Who sent it is not in it: `route_identity` and `source` are the transport's to fill in.
///
/// # Errors
///
/// What is no JSON, no hex, or of another shape. Fields beside the two are let pass; fields of the record are not.
pub fn parse_request(body: &[u8]) -> Result<Submission, BadRequest> {
    match serde_json::from_slice::<Request>(body) {
        Ok(request) => Ok(Submission {
            record: request.record,
            payload: request.raw_payload_hex.0,
            route_identity: None,
            source: None,
        }),
        Err(_) => Err(explain(body)),
    }
}

/// Reads a body that is wrong once more, keeping track of where.
fn explain(body: &[u8]) -> BadRequest {
    let mut json = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize::<_, Request>(&mut json) {
        Err(error) => error,
        Ok(_) => {
            let reason = json.end().err().map_or_else(String::new, |error| error.to_string());
            return BadRequest { field: String::new(), reason };
        }
    };
    let mut field = String::new();
    for segment in error.path() {
        match segment {
            Segment::Map { key } if KNOWN.contains(&key.as_str()) => {
                if !field.is_empty() {
                    field.push('.');
                }
                field.push_str(key);
            }
            Segment::Seq { index } => field.push_str(&format!("[{index}]")),
            // A name that somebody else chose.
            _ => break,
        }
    }
    BadRequest { field, reason: words(error.inner()) }
}

const KNOWN: [&str; 14] = [
    "record",
    "raw_payload_hex",
    "version",
    "device_id",
    "sequence",
    "timestamp_ms",
    "payload_hash",
    "signature",
    "prev_record_hash",
    "object_ref",
    "hash_alg",
    "sig_alg",
    "key_id",
    "software_version",
];

/// What serde_json says, without what it found.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (error.classify(), text.rsplit_once(", expected ")) {
        (Category::Data, Some((found, expected))) if found.starts_with("unknown field") => {
            format!("has a field that it does not know; expected {expected}")
        }
        (Category::Data, Some((_, expected))) => format!("expected {expected}"),
        _ => text,
    }
}

/// The head of a request, as far as it decides what happens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// Method, in capitals.
    pub method: &'a str,
    /// Path, with or without a query.
    pub path: &'a str,
    /// `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// `content-encoding`.
    pub content_encoding: Option<&'a [u8]>,
    /// `content-length`.
    pub content_length: Option<u64>,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Read the body, at most [`MAX_BODY`] bytes, and [`parse_request`] it.
    Ingest,
    /// Say whether the store can be opened and read ([`Answer::health`]).
    Health,
    /// Send this.
    Refused(Answer),
}

/// What to do with a request, by its head alone.
pub fn admit(head: &Head<'_>) -> Admission {
    let path = head.path.split('?').next().unwrap_or_default();
    Admission::Refused(match (path, head.method) {
        (HEALTH_PATH, "GET" | "HEAD") => return Admission::Health,
        (HEALTH_PATH, _) => Answer::method_not_allowed("GET, HEAD"),
        (INGEST_PATH, "POST") => match check_body(head) {
            Ok(()) => return Admission::Ingest,
            Err(answer) => answer,
        },
        (INGEST_PATH, _) => Answer::method_not_allowed("POST"),
        _ => Answer::not_found(),
    })
}

/// Whether what a head says about its body can be taken.
///
/// # Errors
///
/// The answer to what cannot: 413 or 415.
pub fn check_body(head: &Head<'_>) -> Result<(), Answer> {
    if !head.content_type.is_some_and(is_json) {
        return Err(Answer::unsupported("the body is JSON: send `Content-Type: application/json`"));
    }
    if head.content_encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Answer::unsupported("send the body without a Content-Encoding"));
    }
    if head.content_length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Answer::too_large());
    }
    Ok(())
}

/// `application/json`, `application/…+json`, with or without parameters.
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let Some(subtype) = essence
        .split_at_checked(12)
        .and_then(|(kind, subtype)| kind.eq_ignore_ascii_case(b"application/").then_some(subtype))
    else {
        return false;
    };
    subtype.eq_ignore_ascii_case(b"json")
        || subtype.len() > 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case(b"+json")
}

/// The address that the nearest proxy saw: the last one of the last `X-Forwarded-For` header. Whoever is in front of
/// that proxy can have written the others.
pub fn last_forwarded<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<IpAddr> {
    let last = std::str::from_utf8(headers.into_iter().last()?).ok()?.rsplit(',').next()?.trim();
    last.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// An answer: always JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// A header that belongs to it, by name and value.
    pub header: Option<(&'static str, &'static str)>,
    /// JSON.
    pub body: String,
}

/// The JSON of a refusal that is not the gate's.
#[derive(Serialize)]
struct Fault<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    component: &'a str,
    error: &'a str,
}

/// The JSON of a verdict.
#[derive(Serialize)]
struct Decision<'a> {
    status: &'a str,
    device_id: &'a str,
    sequence: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    at: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    already: Option<Place<'a>>,
}

/// Where a record is.
#[derive(Serialize)]
struct Place<'a> {
    stream: &'a str,
    entry: u64,
    epoch: u64,
    record_hash: String,
    entry_hash: String,
}

impl<'a> From<&'a Receipt> for Place<'a> {
    fn from(receipt: &'a Receipt) -> Self {
        Self {
            stream: &receipt.stream_id,
            entry: receipt.seqno,
            epoch: receipt.epoch,
            record_hash: hex::encode(receipt.record_hash),
            entry_hash: hex::encode(receipt.entry_hash),
        }
    }
}

impl Answer {
    /// 202, 422 or 503: what became of a record.
    pub fn of(outcome: &Result<Verdict, Failure>) -> Self {
        match outcome {
            Ok(verdict) => Self::verdict(verdict),
            Err(failure) => Self::unavailable(failure.part.name()),
        }
    }

    fn verdict(verdict: &Verdict) -> Self {
        let mut decision = Decision {
            status: "accepted",
            device_id: shortened(&verdict.device_id),
            sequence: verdict.sequence,
            at: None,
            reason: None,
            error: None,
            expected: None,
            actual: None,
            duplicate: None,
            already: None,
        };
        let status = match &verdict.outcome {
            Outcome::Accepted(receipt) => {
                decision.at = Some(receipt.into());
                202
            }
            Outcome::Rejected(error) => {
                decision.status = "rejected";
                decision.reason = Some(error.reason());
                decision.error = Some(error.to_string());
                if let IngestError::InvalidSequence { expected, actual, .. } = error {
                    (decision.expected, decision.actual) = (Some(*expected), Some(*actual));
                }
                if let Some(receipt) = &verdict.already {
                    (decision.duplicate, decision.already) = (Some(true), Some(receipt.into()));
                }
                422
            }
        };
        Self { status, header: None, body: json(&decision) }
    }

    fn fault(status: u16, word: &str, error: &str) -> Self {
        Self { status, header: None, body: json(&Fault { status: word, field: "", component: "", error }) }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// 400: see [`parse_request`].
    pub fn bad_request(bad: &BadRequest) -> Self {
        let error = &bad.to_string();
        let fault = Fault { status: "bad_request", field: &bad.field, component: "", error };
        Self { status: 400, header: None, body: json(&fault) }
    }

    /// 400: the body ended early, or did not come in time.
    pub fn cut_short() -> Self {
        Self::fault(400, "bad_request", "the body ended early")
    }

    /// 403: this source is not allowed to send.
    pub fn forbidden() -> Self {
        Self::fault(403, "forbidden", "this source is not allowed")
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::fault(404, "not_found", "there is nothing here: records go to POST /api/v1/ingest")
    }

    /// 405, with the methods that there are.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::fault(405, "method_not_allowed", &format!("there is only {allow} here")).with("allow", allow)
    }

    /// 413: more than [`MAX_BODY`].
    pub fn too_large() -> Self {
        Self::fault(413, "too_large", &format!("the body is larger than {MAX_BODY} bytes"))
    }

    fn unsupported(error: &str) -> Self {
        Self::fault(415, "unsupported_media_type", error)
    }

    /// 429: `who` (`source`, `device`) sends faster than it may.
    pub fn too_many(who: &str) -> Self {
        Self::fault(
            429,
            "too_many_requests",
            &format!("too many records from this {who}; send it again later"),
        )
        .with("retry-after", RETRY_AFTER)
    }

    /// 503: `component` cannot do its work. Why is for whoever runs the gate, not for whoever sends. Whether the record
    /// was stored is not always known.
    pub fn unavailable(component: &str) -> Self {
        let error = "the record could not be stored; send the same again later, it is stored once";
        let fault = Fault { status: "unavailable", field: "", component, error };
        Self { status: 503, header: None, body: json(&fault) }.with("retry-after", RETRY_AFTER)
    }

    /// 503: the endpoint's configuration makes no sense; `why` names the variable or flag.
    pub fn not_set_up(why: &str) -> Self {
        Self::fault(503, "not_set_up", &format!("the endpoint is not set up: {why}"))
    }

    /// 200 or 503: the answer of `GET /healthz`.
    pub fn health(well: bool) -> Self {
        if well {
            return Self { status: 200, header: None, body: r#"{"status":"ok"}"#.into() };
        }
        Self::fault(503, "unavailable", "the store cannot be read; the endpoint's log says why")
    }
}

/// Status and body of [`Answer::of`].
pub fn answer(outcome: &Result<Verdict, Failure>) -> (u16, String) {
    let answer = Answer::of(outcome);
    (answer.status, answer.body)
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and options of them have no way to fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// At most as long as a device id may be: a record that is refused for its length is not sent back whole.
fn shortened(device_id: &str) -> &str {
    &device_id[..device_id.floor_char_boundary(MAX_DEVICE_ID)]
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::gate::Part;
    use crate::{build_signed_record, build_signed_record_v1};

    const PAYLOAD: &[u8] = b"\xde\xad\xbe\xef and then some";

    fn body(record: &AuditRecord) -> serde_json::Value {
        serde_json::json!({ "record": record, "raw_payload_hex": hex::encode(PAYLOAD) })
    }

    fn record() -> AuditRecord {
        let key = SigningKey::from_bytes(&[7; 32]);
        build_signed_record("lift-01", 1, 1000, PAYLOAD, AuditRecord::zero_hash(), "lift/1", &key)
    }

    fn bad(body: &[u8]) -> BadRequest {
        parse_request(body).unwrap_err()
    }

    fn bad_json(change: impl FnOnce(&mut serde_json::Value)) -> BadRequest {
        let mut value = body(&record());
        change(&mut value);
        bad(value.to_string().as_bytes())
    }

    #[test]
    fn both_versions_are_read() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let v1 = build_signed_record_v1("a", 1, 1, PAYLOAD, AuditRecord::zero_hash(), "", &key);
        for record in [record(), v1] {
            let read = parse_request(body(&record).to_string().as_bytes()).unwrap();
            assert_eq!((read.record, read.payload.as_slice()), (record, PAYLOAD));
            assert_eq!((read.route_identity, read.source), (None, None));
        }
        let mut upper = body(&record());
        upper["raw_payload_hex"] = hex::encode_upper(PAYLOAD).into();
        upper["trace"] = "of somebody's proxy".into();
        assert_eq!(parse_request(upper.to_string().as_bytes()).unwrap().payload, PAYLOAD);
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        let secret = "5ec2e7";
        let cases: [(BadRequest, &str, &str); 14] = [
            (bad(b"{"), "", "EOF"),
            (bad(b"\"5ec2e7\""), "", "expected an object with"),
            (bad(&[0xff, 0xfe]), "", "expected value"),
            (bad(format!("{} x", body(&record())).as_bytes()), "", "trailing"),
            (bad_json(|v| v["raw_payload_hex"] = "abc".into()), "raw_payload_hex", "odd"),
            (bad_json(|v| v["raw_payload_hex"] = "5ec2e7zz".into()), "raw_payload_hex", "position 6"),
            (bad_json(|v| v["raw_payload_hex"] = 5.into()), "raw_payload_hex", "a string of hex digits"),
            (bad_json(|v| v["record"] = secret.into()), "record", "expected a record"),
            (bad_json(|v| v["record"]["payload_hash"] = secret.into()), "record.payload_hash", "32 numbers"),
            (bad_json(|v| v["record"]["payload_hash"][3] = 256.into()), "record.payload_hash[3]", "u8"),
            (bad_json(|v| v["record"]["sequence"] = secret.into()), "record.sequence", "u64"),
            (bad_json(|v| v["record"]["5ec2e7"] = 1.into()), "record", "does not know"),
            (
                bad_json(|v| drop(v["record"].as_object_mut().unwrap().remove("signature"))),
                "record",
                "`signature`",
            ),
            (bad_json(|v| v["record"]["version"] = 3.into()), "record", "version 3"),
        ];
        for (bad, field, part) in cases {
            assert_eq!(bad.field, field, "{bad}");
            assert!(bad.reason.contains(part), "{part} is not in: {bad}");
            let answer = Answer::bad_request(&bad);
            assert!(answer.status == 400 && !answer.body.contains(secret), "{}", answer.body);
        }
        let (twice, deep) = (br#"{"raw_payload_hex":"","raw_payload_hex":""}"#, "[".repeat(1 << 20));
        assert!(bad(twice).reason.contains("duplicate field"));
        assert!(bad(format!("{{\"x\":{deep}").as_bytes()).reason.contains("EOF"));
    }

    #[test]
    fn a_head_decides_before_the_body_is_read() {
        let json: Option<&[u8]> = Some(b"Application/JSON; charset=utf-8");
        let post = Head { method: "POST", path: INGEST_PATH, content_type: json, ..Head::default() };
        let refused = |head: Head<'_>| match admit(&head) {
            Admission::Refused(answer) => answer,
            other => panic!("{other:?}"),
        };
        assert_eq!(admit(&post), Admission::Ingest);
        assert_eq!(admit(&Head { path: "/api/v1/ingest?x", ..post }), Admission::Ingest);
        assert_eq!(
            admit(&Head { content_type: Some(b"application/vnd.eds+json"), ..post }),
            Admission::Ingest
        );
        assert_eq!(admit(&Head { method: "HEAD", path: "/healthz", ..Head::default() }), Admission::Health);
        assert_eq!(refused(Head { path: "/", ..post }).status, 404);
        let not_get = refused(Head { method: "GET", ..post });
        assert_eq!((not_get.status, not_get.header), (405, Some(("allow", "POST"))));
        assert_eq!(refused(Head { path: HEALTH_PATH, ..post }).header, Some(("allow", "GET, HEAD")));
        assert_eq!(refused(Head { content_type: None, ..post }).status, 415);
        for kind in [&b"text/plain"[..], b"application/x-json", b"application/", b"json"] {
            assert_eq!(refused(Head { content_type: Some(kind), ..post }).status, 415);
        }
        assert_eq!(refused(Head { content_encoding: Some(b"gzip"), ..post }).status, 415);
        let length = |n| Head { content_length: Some(n), ..post };
        assert_eq!(admit(&length(MAX_BODY as u64)), Admission::Ingest);
        assert_eq!(refused(length(MAX_BODY as u64 + 1)).status, 413);
    }

    #[test]
    fn the_last_forwarded_address_counts() {
        let last = |headers: &[&str]| last_forwarded(headers.iter().map(|h| h.as_bytes()));
        assert_eq!(last(&["1.1.1.1, 10.0.0.7"]), "10.0.0.7".parse().ok());
        assert_eq!(last(&["1.1.1.1", "::ffff:10.0.0.7"]), "10.0.0.7".parse().ok());
        assert_eq!(last(&["2001:db8::1"]), "2001:db8::1".parse().ok());
        for none in [&[][..], &[""], &["1.1.1.1,"], &["unknown"], &["1.1.1.1:80"]] {
            assert_eq!(last(none), None, "{none:?}");
        }
    }

    fn receipt() -> Receipt {
        Receipt {
            stream_id: "device/lift-01/1".into(),
            seqno: 1,
            entry_hash: [0xab; 32],
            epoch: 1,
            record_hash: [0xcd; 32],
            registry_seqno: 1,
        }
    }

    fn of(outcome: Outcome, already: Option<Receipt>) -> (u16, serde_json::Value) {
        let verdict = Verdict { device_id: "lift-01".into(), sequence: 1, outcome, already };
        let (status, body) = answer(&Ok(verdict));
        (status, serde_json::from_str(&body).unwrap())
    }

    #[test]
    fn verdicts_become_statuses_and_bodies() {
        let place = serde_json::json!({
            "stream": "device/lift-01/1", "entry": 1, "epoch": 1,
            "record_hash": "cd".repeat(32), "entry_hash": "ab".repeat(32),
        });
        let (status, body) = of(Outcome::Accepted(receipt()), None);
        let mut expected = serde_json::json!({ "status": "accepted", "device_id": "lift-01", "sequence": 1 });
        expected.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        assert_eq!((status, body), (202, expected));

        let duplicate = || IngestError::Duplicate { device_id: "lift-01".into(), sequence: 1 };
        let (status, body) = of(Outcome::Rejected(duplicate()), Some(receipt()));
        assert_eq!(status, 422);
        assert_eq!((&body["status"], &body["reason"]), (&"rejected".into(), &"duplicate".into()));
        assert_eq!((&body["duplicate"], &body["already"]), (&true.into(), &place));
        let (_, body) = of(Outcome::Rejected(duplicate()), None);
        assert_eq!(body.get("duplicate").or(body.get("already")), None, "another record has its number");

        let gap = IngestError::InvalidSequence { device_id: "lift-01".into(), expected: 1, actual: 9 };
        let (_, body) = of(Outcome::Rejected(gap), None);
        assert_eq!((&body["expected"], &body["actual"]), (&1.into(), &9.into()));
        assert_eq!(body["error"], "invalid sequence for device=lift-01: expected 1, actual 9");
    }

    #[test]
    fn a_failure_says_which_part_and_not_what_the_store_said() {
        let error = secure_log::Error::Storage("/secret/place: disk full".into());
        let answer = Answer::of(&Err(Failure { part: Part::AuditLedger, error }));
        assert_eq!((answer.status, answer.header), (503, Some(("retry-after", RETRY_AFTER))));
        assert!(answer.body.contains("audit_ledger") && !answer.body.contains("secret"), "{}", answer.body);
    }

    #[test]
    fn a_name_that_is_too_long_is_not_sent_back() {
        let error = IngestError::Malformed { field: "device_id".into(), reason: "too long".into() };
        let verdict = Verdict {
            device_id: "ä".repeat(1 << 20),
            sequence: 1,
            outcome: Outcome::Rejected(error),
            already: None,
        };
        assert!(answer(&Ok(verdict)).1.len() < 1000);
    }
}
