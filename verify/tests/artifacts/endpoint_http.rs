//! The endpoint under stock `wasmtime serve`, and requests that no decent client sends.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::common::http::{Fake, Message, connect, exchange, read_message};
use crate::common::remote::{TOKEN, event, instance_at};
use secure_log::store::OpenStore;
use secure_log::{NativeSecureLog, SecureLog};
use secure_log_rpc::limits::{MAX_REQUEST, MAX_ROWS};
use secure_log_sqlite::SqliteSecureLogStore;
use secure_log_verify::crowd::Machine;
use secure_log_verify::endpoint::{ARTIFACT, Form, Serve, Settings};
use secure_log_verify::failure;
use secure_log_verify::host::Hosted;
use secure_log_verify::host::types::Severity;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An endpoint over a store with a few entries.
struct Running {
    serve: Serve,
    dir: TempDir,
    copies: TempDir,
}

fn settings(dir: &Path) -> Settings {
    let mut settings = Settings::new(crate::common::dist(ARTIFACT), dir, "audit.db").unwrap();
    settings.token = Some(TOKEN.into());
    settings
}

impl Running {
    fn start(form: Form, change: impl FnOnce(&mut Settings, &Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let copies = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        change(&mut settings, copies.path());
        Self { serve: Serve::start(&settings, form).unwrap(), dir, copies }
    }

    fn url(&self) -> &str {
        self.serve.url()
    }

    /// Sends this, and looks at what every answer must keep to.
    fn ask(&self, request: &[u8]) -> Message {
        checked(exchange(self.url(), request).unwrap())
    }

    fn post(&self, body: &[u8]) -> Message {
        self.ask(&post("", body))
    }

    /// A call in the form of JSON-RPC: status and answer.
    fn call(&self, method: &str, params: Value) -> (u16, Value) {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let told = self.post(body.to_string().as_bytes());
        assert_eq!(told.json()["id"], 7, "{}", told.text());
        (told.status(), told.json())
    }

    fn healthy(&self) {
        let told = self.ask(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!((told.status(), &*told.text()), (200, r#"{"status":"ok"}"#));
    }

    /// Puts a few entries there, through the stack whose store this is.
    fn fill(&self) {
        let mut log = instance_at(self.url(), 60_000, 5);
        log.open("remote").unwrap();
        let events = ["front", "back", "side"].map(|door| event("doors", door, Some(door)));
        log.append_batch(&events, &[]).unwrap();
        log.close_segments().unwrap();
    }
}

/// What every answer must keep to.
fn checked(told: Message) -> Message {
    let all = format!("{}\n{}", told.head, told.text());
    for word in [TOKEN, "panicked", "backtrace", ".rs:", "wasm trap", "/crates/", "/src/"] {
        assert!(!all.contains(word), "{word:?} is in an answer: {all}");
    }
    if told.header("content-type").is_some() && told.status() != 500 {
        assert_eq!(told.header("cache-control"), Some("no-store"), "{all}");
        assert_eq!(told.header("x-content-type-options"), Some("nosniff"), "{all}");
    }
    told
}

/// A POST with the right token.
fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const HEAD_CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"head","params":["doors"]}"#;

/// The endpoint of most tests: those that run at the same time share it.
fn stock() -> Arc<Running> {
    static SHARED: Mutex<Weak<Running>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
    shared.upgrade().unwrap_or_else(|| {
        let running = Arc::new(Running::start(Form::Stock, |_, _| {}));
        running.fill();
        *shared = Arc::downgrade(&running);
        running
    })
}

#[test]
fn only_posts_are_calls_and_only_healthz_is_health() {
    let endpoint = stock();
    for verb in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "post"] {
        for path in ["/", "/rpc?x=/healthz", "/healthz/", "//healthz", "/%68ealthz"] {
            let told = endpoint.ask(format!("{verb} {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
            assert_eq!((told.status(), told.header("allow")), (405, Some("POST")), "{verb} {path}");
            assert!(verb != "HEAD" || told.body.is_empty());
        }
    }
    for path in ["/healthz", "/healthz?full=1"] {
        let told = endpoint.ask(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        assert_eq!((told.status(), &*told.text()), (200, r#"{"status":"ok"}"#));
        let told = endpoint.ask(format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        assert_eq!((told.status(), told.body.len()), (200, 0));
        for verb in ["POST", "PUT", "DELETE"] {
            let told = endpoint
                .ask(format!("{verb} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").as_bytes());
            assert_eq!((told.status(), told.header("allow")), (405, Some("GET, HEAD")), "{verb} {path}");
        }
    }
    // An answer without a body leaves the connection in order.
    let mut connection = connect(endpoint.url());
    for (verb, status) in [("HEAD", 200), ("GET", 200), ("HEAD", 200), ("POST", 405), ("GET", 200)] {
        let request = format!("{verb} /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        connection.get_mut().write_all(request.as_bytes()).unwrap();
        let told = checked(read_message(&mut connection, verb == "HEAD").unwrap());
        assert_eq!(told.status(), status, "{verb}");
    }
}

#[test]
fn only_the_token_opens() {
    let endpoint = stock();
    let with = |headers: &str| {
        let length = HEAD_CALL.len();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{HEAD_CALL}"
        );
        checked(exchange(endpoint.url(), head.as_bytes()).unwrap())
    };
    let good = format!("authorization: Bearer {TOKEN}\r\n");
    for headers in [
        good.clone(),
        format!("Authorization: bearer   {TOKEN} \r\n"),
        format!("AUTHORIZATION: BEARER {TOKEN}\r\n"),
    ] {
        let told = with(&headers);
        assert_eq!((told.status(), &told.json()["result"]["seqno"]), (200, &json!(3)), "{headers}");
    }
    for headers in [
        String::new(),
        "authorization:\r\n".into(),
        "authorization: Bearer\r\n".into(),
        "authorization: Bearer \r\n".into(),
        "authorization: Bearer x\r\n".into(),
        format!("authorization: {TOKEN}\r\n"),
        format!("authorization: Basic {TOKEN}\r\n"),
        format!("authorization: Bearer {}\r\n", &TOKEN[1..]),
        format!("authorization: Bearer {}\r\n", &TOKEN[..TOKEN.len() - 1]),
        format!("authorization: Bearer {TOKEN}x\r\n"),
        format!("authorization: Bearer x{TOKEN}\r\n"),
        format!("authorization: Bearer {}\r\n", TOKEN.to_uppercase()),
        format!("authorization: Bearer {TOKEN},{TOKEN}\r\n"),
        format!("authorization: Bearer {}\r\n", "z".repeat(10_000)),
        format!("authorization: Bearer \u{fc}{TOKEN}\r\n"),
        format!("{good}{good}"),
        format!("authorization: Bearer x\r\n{good}"),
        format!("proxy-authorization: Bearer {TOKEN}\r\n"),
        format!("cookie: token={TOKEN}\r\n"),
    ] {
        let told = with(&headers);
        assert_eq!(
            (told.status(), told.header("www-authenticate")),
            (401, Some("Bearer")),
            "{headers:.100}: {}",
            told.text()
        );
        assert!(told.json().is_null(), "nothing was called: {}", told.text());
    }
    endpoint.healthy();
}

#[test]
fn a_wrong_token_is_refused_before_the_body_is_read() {
    let endpoint = stock();
    let mut connection = connect(endpoint.url());
    let head = "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\ncontent-type: application/json\r\n\
                content-length: 1000000\r\n\r\n{";
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    assert_eq!(checked(read_message(&mut connection, false).unwrap()).status(), 401);
    endpoint.healthy();
}

#[test]
fn only_plain_json_is_taken() {
    let endpoint = stock();
    let with = |headers: &str| {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n{headers}\r\n{HEAD_CALL}",
            HEAD_CALL.len()
        );
        checked(exchange(endpoint.url(), head.as_bytes()).unwrap()).status()
    };
    for headers in [
        "content-type: application/json\r\n",
        "Content-Type: Application/JSON; charset=utf-8\r\n",
        "content-type: application/json\r\ncontent-encoding: identity\r\n",
    ] {
        assert_eq!(with(headers), 200, "{headers}");
    }
    for headers in [
        "",
        "content-type:\r\n",
        "content-type: text/plain\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: multipart/form-data; boundary=application/json\r\n",
        "content-type: application/jsonx\r\n",
        "content-type: text/json, application/json\r\n",
        "content-type: application/json\r\ncontent-type: text/plain\r\n",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        "content-type: application/json\r\ncontent-encoding: identity, gzip\r\n",
    ] {
        assert_eq!(with(headers), 415, "{headers}");
    }
}

/// Sends a body without end in chunks; how many bytes it took until there was an answer, and the answer.
fn endless(url: &str, chunk: &[u8]) -> (usize, Message) {
    let mut connection = connect(url);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
    framed.extend(chunk);
    framed.extend(b"\r\n");
    let mut sent = 0;
    while sent < 4 * MAX_REQUEST && connection.get_mut().write_all(&framed).is_ok() {
        sent += chunk.len();
    }
    (sent, checked(read_message(&mut connection, false).unwrap_or_default()))
}

#[test]
fn large_bodies_are_refused_before_they_fill_the_memory() {
    let endpoint = stock();
    for length in ["10000000000", "67108865", "4294967298", "18446744073709551615"] {
        let mut connection = connect(endpoint.url());
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        let begun = Instant::now();
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        let told = read_message(&mut connection, false);
        assert!(begun.elapsed() < Duration::from_secs(10), "{length}: it waits for a body");
        // The server itself may refuse numbers that are none.
        let status = told.map(checked).unwrap().status();
        assert!(status == 413 || (length.len() == 20 && status == 431), "{length}: {status}");
    }
    let (sent, told) = endless(endpoint.url(), &[b' '; 1 << 20]);
    // The answer may be lost where the server closes with the rest unread.
    assert!(told.status() == 413 || told.head.is_empty(), "{}", told.text());
    assert!(sent < 2 * MAX_REQUEST, "it took {sent} bytes");
    endpoint.healthy();

    // The largest that may be: not valid, but read.
    let told = endpoint.post(&vec![b' '; MAX_REQUEST]);
    assert_eq!(told.status(), 400, "{}", told.text());
    let told = endpoint.post(&vec![b' '; MAX_REQUEST + 1]);
    assert_eq!(told.status(), 413, "{}", told.text());
    endpoint.healthy();
}

#[test]
fn a_body_that_ends_early_is_no_call() {
    let endpoint = stock();
    let valid = append_of(&endpoint);
    for keep in [0, 1, valid.len() / 2, valid.len() - 1] {
        let request = post("", &valid);
        let cut = &request[..request.len() - valid.len() + keep];
        let mut connection = connect(endpoint.url());
        connection.get_mut().write_all(cut).unwrap();
        connection.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // An answer or none: nothing else is sure when the caller has gone.
        let _ = connection.read_to_end(&mut rest);
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{text}");
    }
    // A chunk cut short.
    let mut connection = connect(endpoint.url());
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{HEAD_CALL}\r\n",
        HEAD_CALL.len()
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    drop(connection);
    endpoint.healthy();
    assert_eq!(endpoint.call("head", json!(["doors"])).1["result"]["seqno"], 3, "nothing was written");
}

/// A valid append of one more entry to `doors`, which is never sent as it is.
fn append_of(endpoint: &Running) -> Vec<u8> {
    let bodies = recorded(endpoint.url(), |log| {
        log.append("elsewhere", "test", Severity::Notice, "tests", b"x").map(drop)
    });
    bodies.into_iter().find(|body| String::from_utf8_lossy(body).contains(r#""method":"append""#)).unwrap()
}

/// The bodies that a log sends for this. Appends do not arrive.
fn recorded(url: &str, act: impl FnOnce(&mut Hosted) -> failure::Result<()>) -> Vec<Vec<u8>> {
    let fake = Fake::start({
        let url = url.to_owned();
        Arc::new(move |caller| {
            let request = caller.request()?;
            if request.calls("append") {
                return Err(io::ErrorKind::Other.into());
            }
            caller.send(&exchange(&url, &request.to_bytes())?.to_bytes())
        })
    });
    let mut log = instance_at(&fake.url(), 60_000, 0);
    log.open("remote").unwrap();
    // What is appended is lost.
    let _ = act(&mut log);
    fake.seen().iter().map(|request| request.body.clone()).collect()
}

#[test]
fn bodies_that_are_no_calls_are_told_so() {
    let endpoint = stock();
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    let params = |params: String| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"head","params":{params}}}"#);
    for (what, body) in [
        ("nothing", String::new()),
        ("white space", "  \r\n".into()),
        ("a word", "null".into()),
        ("a number", "17".into()),
        ("a string", "\"head\"".into()),
        ("cut short", HEAD_CALL[..HEAD_CALL.len() - 1].into()),
        ("more than one", format!("{HEAD_CALL}{HEAD_CALL}")),
        ("a batch", format!("[{HEAD_CALL}]")),
        ("no method", r#"{"jsonrpc":"2.0","id":7,"params":[]}"#.into()),
        ("a number for a method", r#"{"jsonrpc":"2.0","id":7,"method":1,"params":[]}"#.into()),
        ("another version", r#"{"jsonrpc":"1.0","id":7,"method":"head","params":["doors"]}"#.into()),
        ("a notification", r#"{"jsonrpc":"2.0","method":"head","params":["doors"]}"#.into()),
        ("an object for an id", r#"{"jsonrpc":"2.0","id":{},"method":"head","params":["doors"]}"#.into()),
        (
            "a method twice",
            r#"{"jsonrpc":"2.0","id":7,"method":"head","method":"append","params":["doors"]}"#.into(),
        ),
        ("params by name", params(r#"{"stream-id":"doors"}"#.into())),
        ("no params", params("[]".into())),
        ("too many params", params(r#"["doors",1]"#.into())),
        ("a number for a name", params("[1]".into())),
        ("half a surrogate", params(r#"["\ud800"]"#.into())),
        ("a name too long", params(json!(["x".repeat(70_000)]).to_string())),
        ("brackets", deep("[", "]", 1_000_000)),
        ("brackets without end", "[".repeat(1_000_000)),
        ("braces", format!("{}1{}", r#"{"a":"#.repeat(300_000), "}".repeat(300_000))),
        ("brackets in params", params(deep("[", "]", 1_000_000))),
        (
            "brackets in an id",
            format!(r#"{{"jsonrpc":"2.0","id":{},"method":"head"}}"#, deep("[", "]", 1_000_000)),
        ),
        ("brackets in what is ignored", format!(r#"{{"x":{},"method":1}}"#, deep("[", "]", 1_000_000))),
    ] {
        let told = endpoint.post(body.as_bytes());
        assert_eq!(told.status(), 400, "{what}: {}", told.text());
        assert!(told.body.len() < 2000, "{what}: {} bytes", told.body.len());
    }
    let told = endpoint.post(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"head\",\"params\":[\"\xff\"]}");
    assert_eq!(told.status(), 400, "{}", told.text());

    for name in ["", "Head", "head ", "rpc", "__proto__", "x\u{0}", &"x".repeat(100_000)] {
        let (status, told) = endpoint.call(name, json!([]));
        assert_eq!((status, &told["error"]["code"]), (404, &json!(-32601)), "{name:.20}");
        assert!(told.to_string().len() < 2000);
        let short = json!({ "method": name, "params": [] }).to_string();
        assert_eq!(endpoint.post(short.as_bytes()).status(), 404);
    }
    endpoint.healthy();
}

#[test]
fn calls_that_are_too_much_are_refused() {
    let endpoint = stock();
    let hash = "A".repeat(43) + "=";
    let row = json!({
        "seqno": 1, "entry-hash": hash, "header": "", "payload": null, "time-ms": 0, "severity": 0,
        "event-type": "x", "producer": "x", "id": null,
    });
    let append = |rows: usize, streams: usize| {
        let rows = vec![row.to_string(); rows].join(",");
        let one = format!(r#"{{"stream-id":"x","prior-seqno":0,"prior-hash":"{hash}","rows":[{rows}]}}"#);
        let appends = vec![one; streams].join(",");
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"append","params":[[{appends}],[],[]]}}"#)
    };
    let heads = |n: usize| {
        let head = format!(r#"{{"stream-id":"x","seqno":1,"entry-hash":"{hash}"}}"#);
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"append","params":[[],[{}],[]]}}"#,
            vec![head; n].join(",")
        )
    };
    for body in [append(MAX_ROWS + 1, 1), append(0, MAX_ROWS + 1), heads(100_001)] {
        let told = endpoint.post(body.as_bytes());
        assert_eq!(told.status(), 400, "{} bytes: {}", body.len(), told.text());
        let json = told.json();
        assert_eq!(json["error"]["code"], -32602, "{json}");
        assert!(json["error"]["message"].as_str().unwrap().contains("at most"), "{json}");
    }
    // As many as may be: they are looked at, and found wanting.
    let told = endpoint.post(append(10_000, 1).as_bytes());
    assert!(told.json()["error"]["data"]["kind"].is_string(), "{}", told.text());
    assert_eq!(endpoint.call("head", json!(["x"])).1["result"], Value::Null);
    endpoint.healthy();
}

#[test]
fn a_caller_that_stops_in_the_middle_is_in_nobodys_way() {
    let endpoint = stock();
    let begin = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{"
    );
    let mut slow: Vec<_> = (0..8).map(|_| connect(endpoint.url())).collect();
    for connection in &mut slow {
        connection.get_mut().write_all(begin.as_bytes()).unwrap();
    }
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(endpoint.call("head", json!(["doors"])).1["result"]["seqno"], 3);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "others wait: {:?}", begun.elapsed());
    for connection in &mut slow {
        let told = read_message(connection, false).map(checked);
        assert!(told.is_err() || told.is_ok_and(|told| told.status() == 400));
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "it waited for {:?}", begun.elapsed());
}

#[test]
fn one_instance_for_all_gets_rid_of_a_slow_caller() {
    let endpoint = Running::start(Form::Kept, |_, _| {});
    endpoint.fill();
    let begin = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: 1000000\r\n\r\n{{"
    );
    // One byte and silence, and one byte now and then.
    for drips in [false, true] {
        let mut slow = connect(endpoint.url());
        slow.get_mut().write_all(begin.as_bytes()).unwrap();
        let mut drip = slow.get_ref().try_clone().unwrap();
        let dripping = std::thread::spawn(move || {
            let stop = Instant::now() + Duration::from_secs(60);
            while drips && Instant::now() < stop && drip.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let begun = Instant::now();
        assert_eq!(endpoint.call("head", json!(["doors"])).1["result"]["seqno"], 3);
        assert!(begun.elapsed() < Duration::from_secs(25), "others waited for {:?}", begun.elapsed());
        let told = read_message(&mut slow, false).map(checked);
        assert!(told.is_err() || told.is_ok_and(|told| told.status() == 400));
        drop(slow);
        dripping.join().unwrap();
    }
    // And one that has a large answer and does not read it.
    let mut log = instance_at(endpoint.url(), 60_000, 5);
    log.open("remote").unwrap();
    log.append("large", "test", Severity::Notice, "tests", &vec![7; 8 << 20]).unwrap();
    let mut slow = connect(endpoint.url());
    slow.get_mut().write_all(&post("", br#"{"method":"read-rows","params":["large",1,1,true]}"#)).unwrap();
    let begun = Instant::now();
    assert_eq!(endpoint.call("head", json!(["large"])).1["result"]["seqno"], 1);
    assert!(begun.elapsed() < Duration::from_secs(25), "others waited for {:?}", begun.elapsed());
    println!("not read: {:?}", begun.elapsed());
    drop(slow);
    endpoint.healthy();
}

#[test]
fn one_instance_for_all_answers_as_many_do() {
    let endpoint = Running::start(Form::Kept, |_, _| {});
    endpoint.fill();
    assert_eq!(endpoint.ask(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").status(), 405);
    assert_eq!(endpoint.ask(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").status(), 401);
    assert_eq!(endpoint.post("[".repeat(1_000_000).as_bytes()).status(), 400);
    assert_eq!(endpoint.call("nothing", json!([])).0, 404);
    let (sent, told) = endless(endpoint.url(), &[b' '; 1 << 20]);
    assert!(told.status() == 413 || told.head.is_empty(), "{}", told.text());
    assert!(sent < 2 * MAX_REQUEST, "it took {sent} bytes");
    for cut in [1, 50] {
        let request = post("", HEAD_CALL.as_bytes());
        connect(endpoint.url()).get_mut().write_all(&request[..request.len() - cut]).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(endpoint.call("close", json!([])).1["result"], Value::Null);
        assert_eq!(endpoint.call("head", json!(["doors"])).1["result"]["seqno"], 3);
    }
    endpoint.healthy();
}

#[test]
fn without_a_token_everybody_reads_and_nobody_writes() {
    let dir = tempfile::tempdir().unwrap();
    let with_token = Serve::start(&settings(dir.path()), Form::Stock).unwrap();
    let filled = Running { serve: with_token, dir, copies: tempfile::tempdir().unwrap() };
    filled.fill();
    let append = append_of(&filled);
    let Running { serve, dir, copies } = filled;
    serve.kill().unwrap();

    let mut open = settings(dir.path());
    open.token = None;
    open.env = vec![("SECURE_LOG_RPC_AUTH".into(), String::new())];
    let endpoint = Running { serve: Serve::start(&open, Form::Stock).unwrap(), dir, copies };
    let length = HEAD_CALL.len();
    let anonymous = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{HEAD_CALL}"
    );
    let told = endpoint.ask(anonymous.as_bytes());
    assert_eq!((told.status(), &told.json()["result"]["seqno"]), (200, &json!(3)), "{}", told.text());
    for body in [
        append,
        br#"{"jsonrpc":"2.0","id":7,"method":"append","params":[[],[],[]]}"#.to_vec(),
        br#"{"jsonrpc":"2.0","id":7,"method":"backup","params":["x"]}"#.to_vec(),
        br#"{"method":"append","params":[[],[],[]]}"#.to_vec(),
    ] {
        let told = endpoint.post(&body);
        assert_eq!(told.status(), 503, "{}", told.text());
        assert!(told.text().contains("SECURE_LOG_RPC_TOKEN"), "{}", told.text());
    }
    endpoint.healthy();
}

#[test]
fn settings_that_contradict_each_other_serve_nobody() {
    let endpoint = Running::start(Form::Stock, |settings, _| {
        settings.env = vec![("SECURE_LOG_RPC_AUTH".into(), "none".into())];
    });
    let told = endpoint.post(HEAD_CALL.as_bytes());
    assert_eq!(told.status(), 503, "{}", told.text());
    assert!(told.text().contains("SECURE_LOG_RPC_AUTH"), "{}", told.text());
}

#[test]
fn a_store_that_cannot_be_opened_is_told_to_callers_and_not_to_passers_by() {
    for (config, kind, word) in [
        ("", "invalid", "SECURE_LOG_STORE_CONFIG"),
        ("/nowhere/audit.db", "", ""),
        ("/data/nowhere/audit.db", "", ""),
        ("/data", "", ""),
        ("/data/audit.db?no-such=option", "invalid", "no-such"),
    ] {
        let endpoint = Running::start(Form::Stock, |settings, _| settings.config = config.into());
        let (status, told) = endpoint.call("head", json!(["doors"]));
        assert_eq!(status, 503, "{config:?}: {told}");
        let data = &told["error"]["data"];
        let its = data["kind"].as_str().unwrap();
        println!("{config:?}: {told}");
        assert!(kind.is_empty() || its == kind, "{config:?}: {told}");
        assert!(["invalid", "storage", "not-found", "denied"].contains(&its), "{config:?}: {told}");
        assert!(told.to_string().contains(word), "{config:?}: {told}");
        let told = endpoint.ask(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(told.status(), 503, "{config:?}");
        assert_eq!(told.json()["status"], "unavailable");
        assert!(!told.text().contains("nowhere") && !told.text().contains("/data"), "{}", told.text());
        // It is there when the store is.
        if config == "/data/nowhere/audit.db" {
            std::fs::create_dir(endpoint.dir.path().join("nowhere")).unwrap();
            endpoint.healthy();
        }
    }
}

#[test]
fn copies_are_off_unless_they_have_a_directory() {
    let endpoint = stock();
    let (status, told) = endpoint.call("backup", json!(["copy.db"]));
    assert_eq!((status, &told["error"]["data"]["kind"]), (200, &json!("denied")), "{told}");
    assert!(told.to_string().contains("SECURE_LOG_RPC_BACKUP_DIR"), "{told}");
    let told = endpoint.post(br#"{"method":"backup","params":["copy.db"]}"#);
    assert_eq!(told.status(), 403);
}

#[test]
fn a_copy_is_a_log_and_lies_where_the_endpoint_says() {
    let endpoint = Running::start(Form::Stock, |settings, copies| settings.copies = Some(copies.to_owned()));
    endpoint.fill();
    for name in [
        "",
        "/",
        ".",
        "..",
        "../x.db",
        "/copies/x.db",
        "a/b.db",
        "a\\b",
        ".hidden",
        "x y",
        "x\u{0}",
        "x?lease-ms=1",
        ":memory:",
        "file:x",
        "é",
    ] {
        let (status, told) = endpoint.call("backup", json!([name]));
        assert_eq!((status, &told["error"]["data"]["kind"]), (200, &json!("invalid")), "{name:?}: {told}");
        assert_eq!(std::fs::read_dir(endpoint.copies.path()).unwrap().count(), 0, "{name:?}");
    }
    assert_eq!(
        endpoint.call("backup", json!(["copy.db"])),
        (200, json!({"jsonrpc": "2.0", "id": 7, "result": null}))
    );
    let (status, told) = endpoint.call("backup", json!(["copy.db"]));
    assert_eq!((status, &told["error"]["data"]["kind"]), (200, &json!("conflict")), "{told}");

    let copy = endpoint.copies.path().join("copy.db");
    let store = SqliteSecureLogStore::open(copy.to_str().unwrap()).unwrap();
    let mut log = NativeSecureLog::new(store, Machine, "tests").unwrap();
    assert_eq!(log.verify_chain("doors", 1, 3).unwrap().entries_checked, 3);
    assert_eq!(log.verify_segments("doors").unwrap().segments_checked, 1);
    assert_eq!(log.read_payload("doors", 2).unwrap(), b"back");
    endpoint.healthy();
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Damages a few places.
fn mutate(dice: &mut Dice, body: &mut Vec<u8>) {
    const PIECES: [&str; 20] = [
        "null",
        "-1",
        "1e999",
        "18446744073709551616",
        "\"",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\\u0000",
        "\\ud800",
        "true",
        "0.5",
        "[[]]",
        "\"\"",
        "\u{0}",
        "AAAA",
        "=",
    ];
    for _ in 0..=dice.below(3) {
        let at = dice.below(body.len());
        let to = (at + 1 + dice.below(40)).min(body.len());
        match dice.below(6) {
            0 => body[at] ^= 1 << dice.below(8),
            1 => body[at] = dice.below(256) as u8,
            2 => drop(body.drain(at..to)),
            3 => {
                let part = body[at..to].to_vec();
                let there = dice.below(body.len());
                body.splice(there..there, part);
            }
            4 => drop(body.splice(at..at, PIECES[dice.below(PIECES.len())].bytes())),
            _ => drop(body.splice(at..to, PIECES[dice.below(PIECES.len())].bytes())),
        }
        if body.is_empty() {
            body.push(b'{');
        }
    }
}

#[test]
fn damaged_requests_are_refused_and_do_no_damage() {
    let endpoint = Running::start(Form::Stock, |_, _| {});
    endpoint.fill();
    let mut bodies = recorded(endpoint.url(), |log| {
        log.list_streams()?;
        log.read_payload("doors", 2)?;
        log.verify_segments("doors")?;
        log.list_segments("doors")?;
        log.latest_checkpoint()?;
        let events = ["a", "b", "c"].map(|name| event(name, name, Some(name)));
        log.append_batch(&events, &[]).map(drop)
    });
    bodies.sort();
    bodies.dedup();
    bodies.sort_by_key(|body| !String::from_utf8_lossy(body).contains(r#""append""#));
    let calls = [
        r#"{"jsonrpc":"2.0","id":7,"method":"query","params":[{"stream-id":null,"from-ms":0,"to-ms":null,"event-type":"test","min-severity":"debug","producer":null},null,10]}"#,
        r#"{"jsonrpc":"2.0","id":"x","method":"list-objects","params":["segment","",null,10]}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"last-object","params":["stream","d"]}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"read-tile","params":["doors",1,0]}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"find-id","params":["doors","front"]}"#,
        r#"{"method":"read-rows","params":["doors",1,100,true]}"#,
        r#"{"method":"list-heads","params":[null,100]}"#,
    ];
    bodies.truncate(20 - calls.len());
    bodies.extend(calls.map(|call| call.as_bytes().to_vec()));
    println!("{} requests", bodies.len());
    for call in calls {
        assert_eq!(endpoint.post(call.as_bytes()).status(), 200, "{call}");
    }

    let mut dice = Dice(0x5eed_1095);
    let mut statuses = std::collections::BTreeMap::new();
    for body in &bodies {
        for _ in 0..50 {
            let mut damaged = body.clone();
            mutate(&mut dice, &mut damaged);
            let told = endpoint.post(&damaged);
            let status = told.status();
            *statuses.entry(status).or_insert(0) += 1;
            assert!(
                [200, 400, 403, 404, 409, 422].contains(&status),
                "{status}: {}\n{}",
                told.text(),
                String::from_utf8_lossy(&damaged)
            );
        }
    }
    println!("{statuses:?}");
    // In the head, where the lengths stay as they are.
    for _ in 0..200 {
        let mut request = post("accept: application/json\r\nx-some: thing\r\n", HEAD_CALL.as_bytes());
        // After the line of the host: without a good one, no request reaches the endpoint.
        let first = String::from_utf8_lossy(&request).find("authorization").unwrap();
        let length = String::from_utf8_lossy(&request).find("content-length").unwrap();
        for _ in 0..=dice.below(3) {
            let at = first + dice.below(length - first);
            if !request[at].is_ascii_control() {
                request[at] = 0x20 + dice.below(0xe0) as u8;
            }
        }
        if let Ok(told) = exchange(endpoint.url(), &request) {
            let request = String::from_utf8_lossy(&request).into_owned();
            assert!(
                [200, 400, 401, 415].contains(&checked(told.clone()).status()),
                "{}\n{request}",
                told.head
            );
        }
    }
    endpoint.healthy();

    let mut log = instance_at(endpoint.url(), 60_000, 0);
    log.open("remote").unwrap();
    assert_eq!(log.verify_chain("doors", 1, 3).unwrap().entries_checked, 3);
    for head in log.list_streams().unwrap().into_iter().filter_map(|stream| stream.head) {
        log.verify_chain(&head.stream_id, 1, head.seqno).unwrap();
    }
}
