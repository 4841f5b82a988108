//! `docs/rpc.md` against the code: its tables are the code's, its lists are those of `wit/log.wit`, and its examples are
//! answered as it says.
//!
//! `SECURE_LOG_BLESS=1` writes the answers into the document.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "../../secure-log/tests/common/mod.rs"]
mod common;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use common::fixed;
use secure_log::error::{Conflict, Missing, Rollback};
use secure_log::model::{Event, Severity};
use secure_log::store::OpenStore;
use secure_log::{Error, NativeSecureLog, SecureLog};
use secure_log_rpc::envelope::{Form, parse, reply, request};
use secure_log_rpc::http::{Admission, Head, Policy, Refusal};
use secure_log_rpc::{CheckedStore, Fault, Method, RemoteStore, Server, Transport, TransportError, limits};
use secure_log_sqlite::SqliteSecureLogStore;
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn path() -> PathBuf {
    repository().join("docs/rpc.md")
}

fn document() -> String {
    std::fs::read_to_string(path()).unwrap()
}

/// The text under a heading, up to the next one of its rank or a higher one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let rank = heading.bytes().take_while(|b| *b == b'#').count();
    let start = document.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let text = &document[start + heading.len() + 2..];
    let is_end = |line: &str| {
        let its = line.bytes().take_while(|b| *b == b'#').count();
        its > 0 && its <= rank && line[its..].starts_with(' ')
    };
    let lines = text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    });
    let end = lines.into_iter().find(|(_, line)| is_end(line)).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// Cells of the table whose head begins with this cell, without the head.
fn table(text: &str, first: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {first} |")));
    assert!(lines.next().is_some(), "no table of {first:?}");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn number(text: &str) -> usize {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

// What there is, by the contract.

/// A part of `wit/log.wit`, without its comments.
fn wit(block: &str) -> String {
    let text = std::fs::read_to_string(repository().join("wit/log.wit")).unwrap();
    let start = text.find(&format!("{block} {{\n")).unwrap_or_else(|| panic!("no {block}"));
    let indent = text[..start].len() - text[..start].trim_end_matches(' ').len();
    let end = format!("\n{}}}\n", " ".repeat(indent));
    let body = &text[start..];
    let body = &body[..body.find(&end).unwrap()];
    body.lines()
        .skip(1)
        .filter(|line| !line.trim().starts_with("//"))
        .map(|line| line.to_owned() + "\n")
        .collect()
}

/// Members of a record or cases of an enumeration.
fn members(block: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line.trim().trim_start_matches('%').split([':', ',', '(']).next().unwrap_or_default();
        name.to_owned()
    };
    wit(block).lines().map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_method_has_a_section_and_nothing_else_has() {
    let document = document();
    let sections: Vec<&str> =
        section(&document, "## Methods").lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let named: BTreeSet<&str> = sections.iter().copied().collect();
    assert_eq!(named, Method::ALL.into_iter().map(Method::name).collect::<BTreeSet<_>>());
    assert_eq!(sections.len(), Method::ALL.len(), "one has two");
}

#[test]
fn the_params_of_each_method_are_those_of_the_contract() {
    let document = document();
    let store = wit("interface store");
    for method in Method::ALL.map(Method::name) {
        let start =
            store.find(&format!("\n  {method}: func(")).unwrap_or_else(|| panic!("{method} is not in WIT"));
        let signature = store[start..].split_once('(').unwrap().1.split_once(')').unwrap().0;
        let wit: Vec<&str> =
            signature.split(", ").filter_map(|param| Some(param.split_once(':')?.0)).collect();
        let text = section(&document, &format!("### {method}"));
        let line = text.lines().find_map(|line| line.strip_prefix("- Params: ")).unwrap();
        assert_eq!(quoted(line)[0], format!("[{}]", wit.join(", ")), "{method}");
        for part in ["- Result: ", "- Errors: "] {
            assert_eq!(text.lines().filter(|line| line.starts_with(part)).count(), 1, "{method}: {part:?}");
        }
        let calls = examples(text);
        assert!(calls.iter().any(|example| method_of(&example.request) == method), "{method} has no example");
    }
}

fn method_of(request: &str) -> String {
    let value: Value = serde_json::from_str(request).unwrap();
    value["method"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_records_are_those_of_the_contract() {
    let document = document();
    let rows = table(section(&document, "## Values"), "record");
    let named: Vec<String> = rows.iter().map(|row| quoted(&row[0]).remove(0)).collect();
    let records = [
        "stream-head",
        "stream-append",
        "row",
        "object",
        "object-write",
        "query-filter",
        "found-row",
        "found-page",
    ];
    assert_eq!(named, records);
    for (row, name) in rows.iter().zip(records) {
        let mut in_wit = members(&format!("record {name}"));
        let mut shown = quoted(&row[1]);
        in_wit.sort();
        shown.sort();
        assert_eq!(shown, in_wit, "{name}");
    }
    for (row, name) in
        table(section(&document, "## Values"), "enumeration").iter().zip(["object-kind", "severity"])
    {
        assert_eq!(quoted(&row[0]), [name]);
        assert_eq!(quoted(&row[1]), members(&format!("enum {name}")), "{name}");
    }
}

// What there is, by the code.

/// One fault of each code.
fn faults() -> Vec<Fault> {
    let text = || "x".to_owned();
    let stores = [
        Error::Conflict(Conflict { stream_id: text(), actual: None, reason: text() }),
        Error::NotFound(Missing { what: text(), name: text(), number: None, reason: text() }),
        Error::corrupt("x", 1, "x"),
        Error::RolledBack(Box::new(Rollback {
            claimed_size: 1,
            claimed_root: [0; 32],
            size: 1,
            root: [0; 32],
            reason: text(),
        })),
        Error::Busy(text()),
        Error::Denied(text()),
        Error::invalid("x", "x"),
        Error::Unavailable(text()),
        Error::Storage(text()),
    ];
    let protocol =
        [Fault::Parse(text()), Fault::Request(text()), Fault::Method(text()), Fault::Params(text())];
    protocol.into_iter().chain(stores.map(Fault::Store)).collect()
}

#[test]
fn the_table_of_errors_is_that_of_the_code() {
    let document = document();
    let shown: BTreeMap<i64, Vec<String>> = table(section(&document, "## Errors"), "code")
        .into_iter()
        .map(|row| (row[0].replace('−', "-").parse().unwrap(), row[1..].to_vec()))
        .collect();
    let faults = faults();
    assert_eq!(shown.keys().copied().collect::<BTreeSet<_>>(), faults.iter().map(Fault::code).collect());
    assert_eq!(shown.len(), faults.len());
    let mut kinds = Vec::new();
    for fault in faults {
        let row = &shown[&fault.code()];
        let object = serde_json::to_string(&fault.to_object()).unwrap();
        let object: Value = serde_json::from_str(&object).unwrap();
        let mut data: BTreeSet<String> =
            object["data"].as_object().map(|data| data.keys().cloned().collect()).unwrap_or_default();
        data.remove("kind");
        let kind = object["data"]["kind"].as_str();
        assert_eq!(quoted(&row[0]).first().map(String::as_str), kind, "{fault:?}");
        assert_eq!(quoted(&row[1]).into_iter().collect::<BTreeSet<_>>(), data, "{fault:?}");
        assert_eq!(row[2], fault.status().to_string(), "{fault:?}");
        kinds.extend(kind.map(str::to_owned));
    }
    // No store seals: that is the core's.
    let of_stores = members("variant log-error").into_iter().filter(|kind| kind != "sealed");
    assert_eq!(kinds, of_stores.collect::<Vec<_>>());
    // What sections call errors are kinds of this table.
    for method in Method::ALL.map(Method::name) {
        let text = section(&document, &format!("### {method}"));
        let line = text.lines().find_map(|line| line.strip_prefix("- Errors: ")).unwrap();
        for kind in quoted(line) {
            assert!(kinds.contains(&kind), "{method}: {kind}");
        }
    }
}

#[test]
fn the_table_of_statuses_is_that_of_the_code() {
    let document = document();
    let shown: BTreeSet<u16> = table(section(&document, "## Statuses"), "status")
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect();
    let mut made = BTreeSet::new();
    for fault in faults() {
        for form in [Form::Short, Form::JsonRpc("1".into())] {
            made.insert(reply(&form, Err(fault.clone())).status);
        }
    }
    made.insert(reply(&Form::Short, Ok("null".into())).status);
    made.extend([Refusal::too_large(), Refusal::cut_short()].map(|refusal| refusal.reply.status));
    let good = Head { method: "POST", content_type: Some(b"application/json"), ..Head::default() };
    for (policy, head) in [
        (Policy::from_settings(Some("a"), None), good),
        (Policy::from_settings(Some("a"), Some("none")), good),
        (Policy::from_settings(None, None), Head { method: "GET", ..good }),
        (Policy::from_settings(None, None), Head { content_type: None, ..good }),
    ] {
        let Admission::Refused(refusal) = policy.admit(&head) else { panic!("{head:?}") };
        made.insert(refusal.reply.status);
    }
    assert_eq!(shown, made);
}

#[test]
fn the_table_of_limits_is_that_of_the_code() {
    use secure_log::limits::{MAX_HEADER, MAX_PAGE_BYTES, MAX_PAGE_ROWS, MAX_PAYLOAD, MAX_STREAM_ID};
    let salt = secure_log::header::SALT_LEN as usize;
    let document = document();
    let shown: Vec<(String, usize)> = table(section(&document, "## Limits"), "what")
        .into_iter()
        .map(|row| (row[0].clone(), number(&row[1])))
        .collect();
    let made = [
        ("body of a request, bytes", limits::MAX_REQUEST),
        ("answer that a client takes, bytes", limits::MAX_ANSWER),
        ("rows in one `append`, all streams together", limits::MAX_ROWS),
        ("objects in one `append`, and expected heads", limits::MAX_OBJECTS),
        ("value of an object, bytes", limits::MAX_OBJECT),
        ("key, prefix, event id, cursor, bytes", limits::MAX_NAME),
        ("stream id in an `append`, bytes", MAX_STREAM_ID),
        ("header, bytes", MAX_HEADER),
        ("stored payload, bytes, salt included", MAX_PAYLOAD + salt),
        ("rows on one page, whatever `limit` says", MAX_PAGE_ROWS as usize),
        ("bytes on one page, if it has more than one row", MAX_PAGE_BYTES),
        ("`id` of a request, bytes of its JSON", 256),
    ];
    assert_eq!(shown, made.map(|(what, value)| (what.to_owned(), value)));
    let with_id = |n: usize| format!(r#"{{"jsonrpc":"2.0","id":{},"method":"close"}}"#, "7".repeat(n));
    assert!(parse(with_id(256).as_bytes()).is_ok() && parse(with_id(257).as_bytes()).is_err());
}

#[test]
fn settings_that_are_named_are_those_that_there_are() {
    let document = document();
    let named: BTreeSet<&str> = document
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.starts_with("SECURE_LOG_"))
        .collect();
    let there = ["SECURE_LOG_RPC_AUTH", "SECURE_LOG_RPC_BACKUP_DIR", "SECURE_LOG_RPC_TOKEN"];
    assert_eq!(named, BTreeSet::from(there));
}

// Examples.

/// A request and its answer.
struct Example {
    /// Line of the answer, from 0.
    line: usize,
    request: String,
    answer: String,
}

const TO: &str = "--> ";
const FROM: &str = "<-- ";

fn examples(text: &str) -> Vec<Example> {
    let lines: Vec<&str> = text.lines().collect();
    let mut examples = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        if let Some(request) = line.strip_prefix(TO) {
            let answer = lines.get(n + 1).and_then(|line| line.strip_prefix(FROM));
            let answer = answer.unwrap_or_else(|| panic!("a request without an answer: {request}"));
            examples.push(Example { line: n + 1, request: request.to_owned(), answer: answer.to_owned() });
        }
    }
    let answers = lines.iter().filter(|line| line.starts_with(FROM.trim_end())).count();
    assert_eq!(answers, examples.len(), "an answer without a request");
    examples
}

/// What a server answers; a status stands in front of it unless it is 200.
fn answer(server: &mut Server<CheckedStore<SqliteSecureLogStore>>, request: &str) -> String {
    let reply = match parse(request.as_bytes()) {
        Ok(call) => reply(&call.form, server.call(call.method, call.params)),
        Err((form, fault)) => reply(&form, Err(fault)),
    };
    let body = String::from_utf8(reply.body).unwrap();
    match reply.status {
        200 => body,
        status => format!("({status}) {body}"),
    }
}

#[test]
fn the_examples_are_answered_as_the_document_says() {
    let document = document();
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteSecureLogStore::open(":memory:").unwrap();
    let mut server = Server::new(store).with_backups(directory.path().display().to_string());
    let examples = examples(&document);
    let mut lines: Vec<String> = document.lines().map(str::to_owned).collect();
    let mut differing = String::new();
    for example in &examples {
        let made = answer(&mut server, &example.request);
        assert!(!made.contains(directory.path().to_str().unwrap()), "{made}");
        if made != example.answer {
            let line = example.line + 1;
            differing += &format!("line {line}\n- {}\n+ {made}\n", example.answer);
            lines[example.line] = format!("{FROM}{made}");
        }
    }
    if differing.is_empty() {
        return;
    }
    if std::env::var_os("SECURE_LOG_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(path(), lines.join("\n") + "\n").unwrap();
        return;
    }
    panic!(
        "docs/rpc.md differs from what a server answers:\n{differing}\
         If the contract was meant to change, run this test with SECURE_LOG_BLESS=1."
    );
}

/// Keeps the requests that write.
struct Recorder {
    server: Server<CheckedStore<SqliteSecureLogStore>>,
    appends: Rc<RefCell<Vec<String>>>,
}

impl Transport for Recorder {
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
        if method == "append" {
            self.appends.borrow_mut().push(params.to_owned());
        }
        Transport::call(&mut self.server, method, params)
    }
}

/// The rows of the examples are made by the engine: a new log, an event to it, and another one.
#[test]
fn the_rows_of_the_examples_are_those_that_the_engine_makes() {
    let appends = Rc::default();
    let server = Server::new(SqliteSecureLogStore::open(":memory:").unwrap());
    let store = RemoteStore::connect(Recorder { server, appends: Rc::clone(&appends) }, "audit").unwrap();
    let mut log = NativeSecureLog::new(store, fixed(), "test 1").unwrap();
    log.set_origin("example.com/audit").unwrap();
    log.append(Event::new("doors", "door-opened", Severity::Notice, "controller-7", "door 3 opened"))
        .unwrap();
    let mut forced = Event::new("doors", "door-forced", Severity::Alert, "controller-7", r#"{"door":3}"#);
    forced.payload_encoding = Some("application/json".into());
    forced.id = Some("event-17".into());
    log.append(forced).unwrap();
    let document = document();
    let append = section(&document, "### append");
    let shown: Vec<String> = examples(append).into_iter().map(|example| example.request).collect();
    for (n, params) in appends.borrow().iter().enumerate() {
        let made = String::from_utf8(request(n as u64 + 11, "append", params)).unwrap();
        assert!(shown.contains(&made), "docs/rpc.md does not show this request:\n{made}");
    }
}
