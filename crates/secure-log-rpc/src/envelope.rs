//! Messages: JSON-RPC 2.0, and the short form `{"method": …, "params": […]}`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::fault::excerpt;
use crate::{Fault, Method, TransportError};

/// How a caller asked, and so how it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// JSON-RPC 2.0, with the caller's id as it stood in the request.
    JsonRpc(String),
    /// Method and params alone: the answer is the result, or a status and the error's text.
    Short,
}

/// A call as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// How to answer it.
    pub form: Form,
    /// What to call.
    pub method: Method,
    /// JSON array of the arguments.
    pub params: &'a str,
}

/// An answer, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Whether the body is JSON; else it is plain text.
    pub json: bool,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer in plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, json: false, body: text.into().into_bytes() }
    }
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct RequestWire<'a> {
    #[serde(default, borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "raw")]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "raw")]
    params: Option<&'a RawValue>,
}

/// Takes a request apart.
///
/// # Errors
///
/// The fault, and the form to answer it in as far as it is known.
#[allow(clippy::result_large_err, reason = "one a request, and on its way out")]
pub fn parse(body: &[u8]) -> Result<Call<'_>, (Form, Fault)> {
    let null = || Form::JsonRpc("null".into());
    let text = std::str::from_utf8(body)
        .map_err(|e| (null(), Fault::Parse(format!("not UTF-8 after byte {}", e.valid_up_to()))))?;
    if text.trim_start().starts_with('[') {
        return Err((
            null(),
            Fault::Request("send one call at a time; batches of calls are not taken".into()),
        ));
    }
    let request: RequestWire<'_> = serde_json::from_str(text).map_err(|e| {
        let fault = if e.is_data() { Fault::Request(e.to_string()) } else { Fault::Parse(e.to_string()) };
        (null(), fault)
    })?;
    let form = match (request.jsonrpc.as_deref(), request.id) {
        (None, _) => Form::Short,
        (Some("2.0"), Some(id)) if id_is_good(id) => Form::JsonRpc(id.get().to_owned()),
        (Some("2.0"), Some(_)) => {
            return Err((null(), Fault::Request("the id is neither a string nor a number".into())));
        }
        (Some("2.0"), None) => {
            let reason = "it has no id: an audit log does nothing that nobody waits for an answer to";
            return Err((null(), Fault::Request(reason.into())));
        }
        (Some(_), _) => return Err((null(), Fault::Request("`jsonrpc` is not \"2.0\"".into()))),
    };
    let Some(name) = request.method else {
        return Err((form, Fault::Request("it names no method".into())));
    };
    let Some(method) = Method::from_name(&name) else {
        return Err((form, Fault::Method(excerpt(&name))));
    };
    let params = request.params.map_or("[]", RawValue::get);
    if !params.starts_with('[') {
        return Err((form, Fault::Params("they are a JSON array, in the order of the arguments".into())));
    }
    Ok(Call { form, method, params })
}

fn id_is_good(id: &RawValue) -> bool {
    let id = id.get();
    id.len() <= 256 && !id.starts_with(['{', '[', 't', 'f'])
}

/// The answer to a call of this form.
pub fn reply(form: &Form, outcome: Result<String, Fault>) -> Reply {
    match (form, outcome) {
        (Form::Short, Ok(result)) => Reply { status: 200, json: true, body: result.into_bytes() },
        (Form::Short, Err(fault)) => Reply::text(fault.status(), fault.to_string()),
        (Form::JsonRpc(id), Ok(result)) => {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
            Reply { status: 200, json: true, body: body.into_bytes() }
        }
        (Form::JsonRpc(id), Err(fault)) => {
            // What the store says is an answer; what is wrong with the message is not.
            let status = if let Fault::Store(_) = fault { 200 } else { fault.status() };
            let error = serde_json::to_string(&fault.to_object()).unwrap_or_else(|_| "{}".into());
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
            Reply { status, json: true, body: body.into_bytes() }
        }
    }
}

/// The JSON-RPC 2.0 request of a call. `params` is a JSON array.
pub fn request(id: u64, method: &str, params: &str) -> Vec<u8> {
    let method = serde_json::to_string(method).unwrap_or_else(|_| "\"\"".into());
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#).into_bytes()
}

#[derive(Deserialize)]
struct AnswerWire<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    id: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "raw")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "raw")]
    error: Option<&'a RawValue>,
}

/// Takes the result out of an answer of `peer` (its name in messages) to the request of this id, in either form.
///
/// # Errors
///
/// `Failed` with the error object, or with text where there is none.
pub fn result_of(id: u64, peer: &str, status: u16, body: &[u8]) -> Result<String, TransportError> {
    let failed = |body: String| Err(TransportError::Failed { status, body });
    let text = String::from_utf8_lossy(body);
    if let Ok(answer) = serde_json::from_str::<AnswerWire<'_>>(&text)
        && answer.jsonrpc == "2.0"
    {
        // Whoever could not read the id of a request says what was wrong with it under none.
        let ours =
            |its: Option<&RawValue>| its.is_none_or(|its| its.get() == "null" || its.get() == id.to_string());
        return match (answer.error, answer.result, answer.id) {
            (Some(error), _, its) if error.get() != "null" && ours(its) => failed(error.get().to_owned()),
            (_, Some(result), Some(its)) if its.get() == id.to_string() => Ok(result.get().to_owned()),
            _ => failed(format!("{peer} answered another call than the one that was made")),
        };
    }
    match status {
        200..=299 if serde_json::from_str::<&RawValue>(&text).is_ok() => Ok(text.into_owned()),
        200..=299 => failed(format!(
            "{peer} answered {status}, but with something that is no JSON ({} bytes): {}",
            body.len(),
            excerpt(&text)
        )),
        _ => failed(format!("{peer} answered {status}: {}", excerpt(&text))),
    }
}
