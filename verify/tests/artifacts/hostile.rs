//! A client of the remote stack and servers that mean it no good: typed errors in bounded time, and no harm done.

use std::fmt::Debug;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::http::{Fake, Manners, Reserved, answer, eventually, exchange, forwards, says};
use crate::common::remote::{Far, TOKEN, instance, instance_at, said};
use secure_log_verify::failure::{self, Failure};
use secure_log_verify::host::Hosted;
use secure_log_verify::host::types::Severity;
use serde_json::json;

/// How long an attempt may take here, and how much more a call may.
const TIMEOUT: u32 = 1000;
const SLACK: Duration = Duration::from_secs(8);

fn manners(
    act: impl Fn(&mut crate::common::http::Caller) -> std::io::Result<()> + Send + Sync + 'static,
) -> Manners {
    Arc::new(act)
}

/// What a call failed with, if it took no longer than an attempt and some.
fn failed<T: Debug>(what: &str, call: impl FnOnce() -> failure::Result<T>) -> Failure {
    let begun = Instant::now();
    let outcome = call();
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(TIMEOUT.into()) + SLACK, "{what}: it took {took:?}");
    let failure = outcome.map(|value| panic!("{what}: {value:?}")).unwrap_err();
    assert_ne!(failure.kind(), "trap", "{what}: {failure}");
    failure
}

/// A log with one entry behind a fake, and an instance that has it open.
fn far() -> (Far, Hosted) {
    let far = Far::start();
    let mut log = far.open(TIMEOUT, 0);
    append(&mut log).unwrap();
    (far, log)
}

fn append(log: &mut Hosted) -> failure::Result<u64> {
    log.append("doors", "opened", Severity::Notice, "tests", b"front").map(|result| result.seqno)
}

fn read(log: &mut Hosted) -> failure::Result<u64> {
    log.read("doors", 1).map(|entry| entry.header.seqno)
}

/// Runs a read against each of these; then everything works again. Each has a name, manners, the kind of its error
/// (or kinds, where it depends on what arrives first), and words in it.
fn each_fails(cases: Vec<(&str, Manners, &str, &str)>) {
    let (far, mut log) = far();
    for (what, manners, kind, word) in cases {
        far.fake.set(manners);
        let failure = failed(what, || read(&mut log));
        let text = said(&failure);
        assert!(kind.split('|').any(|kind| failure.kind() == kind), "{what}: {text}");
        assert!(text.contains(word), "{what}: {text}");
        assert!(text.contains(&far.fake.authority()), "{what} does not say who: {text}");
        far.recover();
        assert_eq!(read(&mut log).unwrap(), 1, "after {what}");
    }
    assert_eq!(append(&mut log).unwrap(), 2);
    log.verify_chain("doors", 1, 2).unwrap();
}

#[test]
fn a_port_where_nobody_listens_is_unavailable() {
    let port = Reserved::new();
    let mut log = instance_at(&port.url(), TIMEOUT, 0);
    let failure = failed("open", || log.open("remote"));
    let text = said(&failure);
    assert_eq!(failure.kind(), "unavailable", "{text}");
    assert!(text.contains(port.url().trim_start_matches("http://")) && text.contains("refused"), "{text}");

    // The same instance, when somebody is there.
    let far = Far::start();
    let _fake = Fake::start_at(port, forwards(far.endpoint.url()));
    log.open("remote").unwrap();
    assert_eq!(append(&mut log).unwrap(), 1);
}

#[test]
fn connections_that_end_early_are_unavailable() {
    let half = || answer("200 OK", "content-type: application/json\r\n", &[b'['; 1000]);
    each_fails(vec![
        ("accepted and closed", manners(|_| Ok(())), "unavailable", "lost"),
        ("closed after the request", manners(|caller| caller.request().map(drop)), "unavailable", "lost"),
        ("half a status line", says("HTTP/1."), "unavailable", "lost"),
        ("half a head", says("HTTP/1.1 200 OK\r\ncontent-le"), "unavailable", "lost"),
        ("closed in the body", says(&half()[..500]), "unavailable", "lost"),
        (
            "reset in the body",
            manners(move |caller| {
                // What nobody has read when a socket is closed makes a reset of it.
                caller.stream.fill_buf()?;
                caller.send(&half()[..500])?;
                let request = caller.stream.buffer().len();
                assert!(request > 0);
                eventually(|| caller.stream.get_ref().peek(&mut [0]).is_ok_and(|n| n > 0));
                Ok(())
            }),
            "unavailable",
            "lost",
        ),
        (
            "a chunk cut short",
            says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n["),
            "unavailable",
            "lost",
        ),
    ]);
}

#[test]
fn slow_answers_end_at_the_deadline() {
    let drip = Duration::from_millis(20);
    each_fails(vec![
        (
            "silence",
            manners(|caller| {
                caller.request()?;
                caller.silence()
            }),
            "unavailable",
            "in time",
        ),
        ("silence without reading", manners(|caller| caller.silence()), "unavailable", "in time"),
        (
            "a head, then silence",
            manners(|caller| {
                caller.request()?;
                caller.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[")?;
                caller.silence()
            }),
            "unavailable",
            "in time",
        ),
        (
            "a head, one byte at a time",
            manners(move |caller| {
                caller.request()?;
                caller.send(b"HTTP/1.1 200 OK\r\nx-slow: ")?;
                caller.send_for_ever(b"z", drip)
            }),
            "unavailable",
            "in time",
        ),
        (
            "a body, one byte at a time",
            manners(move |caller| {
                caller.request()?;
                caller.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
                caller.send_for_ever(b"[", drip)
            }),
            "unavailable",
            "in time",
        ),
        (
            "a body without an end, one byte at a time",
            manners(move |caller| {
                caller.request()?;
                caller.send(b"HTTP/1.1 200 OK\r\n\r\n")?;
                caller.send_for_ever(b" ", drip)
            }),
            "unavailable",
            "in time",
        ),
        (
            "chunks of one byte",
            manners(move |caller| {
                caller.request()?;
                caller.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                caller.send_for_ever(b"1\r\n \r\n", drip)
            }),
            "unavailable",
            "in time",
        ),
        (
            "`continue` for ever",
            manners(move |caller| {
                caller.request()?;
                caller.send_for_ever(b"HTTP/1.1 100 Continue\r\n\r\n", drip)
            }),
            "unavailable",
            "in time",
        ),
    ]);
}

#[test]
fn a_server_that_does_not_take_the_request_ends_at_the_deadline() {
    let (far, mut log) = far();
    let deaf = manners(|caller| {
        let stop = Instant::now() + Duration::from_secs(30);
        eventually(|| {
            Instant::now() > stop || caller.stream.get_ref().take_error().is_ok_and(|e| e.is_some())
        });
        Ok(())
    });
    far.fake.set(deaf);
    let payload = vec![7; 8 << 20];
    let begun = Instant::now();
    let outcome = log.append("doors", "opened", Severity::Notice, "tests", &payload);
    // Three attempts of the log, and after each a look whether it landed.
    assert!(begun.elapsed() < Duration::from_millis(6 * u64::from(TIMEOUT)) + SLACK, "{:?}", begun.elapsed());
    let failure = outcome.map(drop).unwrap_err();
    assert_eq!(failure.kind(), "unavailable", "{}", said(&failure));
    far.recover();
    let mut patient = far.open(30_000, 0);
    assert_eq!(append(&mut patient).unwrap(), 2);
    assert_eq!(read(&mut log).unwrap(), 1);
}

#[test]
fn answers_that_are_no_answers_are_corrupt() {
    let ok = |body: &str| says(answer("200 OK", "content-type: application/json\r\n", body.as_bytes()));
    let html = "<!doctype html><title>Welcome</title>\u{1b}[31m<p>It works!\u{0}";
    each_fails(vec![
        ("a page", ok(html), "corrupt", "no JSON"),
        ("a large page", ok(&html.repeat(100_000)), "corrupt", "no JSON"),
        ("nothing", ok(""), "corrupt", "no JSON"),
        ("white space", ok(" \r\n\t"), "corrupt", "no JSON"),
        ("bytes", says(answer("200 OK", "", &[0xff; 100])), "corrupt", "no JSON"),
        ("no content", says("HTTP/1.1 204 No Content\r\n\r\n"), "corrupt", "no JSON"),
        ("JSON cut short", ok(r#"{"jsonrpc":"2.0","id":3,"result":[{"seqno":1,"#), "corrupt", "no JSON"),
        ("two answers", ok("[] []"), "corrupt", "no JSON"),
        (
            "an answer to another call",
            ok(r#"{"jsonrpc":"2.0","id":999,"result":[]}"#),
            "corrupt",
            "another call",
        ),
        ("an answer to no call", ok(r#"{"jsonrpc":"2.0","result":[]}"#), "corrupt", "another call"),
        ("an answer to null", ok(r#"{"jsonrpc":"2.0","id":null,"result":[]}"#), "corrupt", "another call"),
        ("an answer without a result", ok(r#"{"jsonrpc":"2.0","id":3}"#), "corrupt", "another call"),
        (
            "an error of another call",
            ok(r#"{"jsonrpc":"2.0","id":999,"error":{"code":-32004,"message":"no"}}"#),
            "corrupt",
            "another call",
        ),
    ]);
}

#[test]
fn results_of_another_shape_are_corrupt() {
    let (far, mut log) = far();
    let long = "[".repeat(1_000_000);
    let row = r#"{"seqno":1,"entry-hash":"","header":"","payload":null,"time-ms":0,"severity":0,"event-type":"","producer":"","id":null}"#;
    for result in [
        "{}",
        "null",
        "true",
        "1",
        "\"[]\"",
        "[null]",
        "[[]]",
        "[{}]",
        r#"[{"seqno":1}]"#,
        &format!("[{row}]"),
        r#"[{"seqno":-1}]"#,
        r#"[{"seqno":1e300}]"#,
        &format!("{long}{}", "]".repeat(1_000_000)),
    ] {
        for jsonrpc in [true, false] {
            let result = result.to_owned();
            let url = far.endpoint.url().to_owned();
            far.fake.set(manners(move |caller| {
                let request = caller.request()?;
                if !request.calls("read-rows") {
                    return caller.send(&exchange(&url, &request.to_bytes())?.to_bytes());
                }
                let id = request.json()["id"].clone();
                let body = if jsonrpc {
                    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
                } else {
                    result.clone()
                };
                caller.send(&answer("200 OK", "", body.as_bytes()))
            }));
            let failure = failed("a result of another shape", || read(&mut log));
            let text = said(&failure);
            assert_eq!(failure.kind(), "corrupt", "{text}");
            assert!(text.contains("read-rows"), "{text}");
            far.recover();
            assert_eq!(read(&mut log).unwrap(), 1);
        }
    }
}

#[test]
fn rows_that_were_changed_on_the_way_are_corrupt() {
    let (far, mut log) = far();
    let url = far.endpoint.url().to_owned();
    far.fake.set(manners(move |caller| {
        let request = caller.request()?;
        let mut told = exchange(&url, &request.to_bytes())?;
        let mut json = told.json();
        if let Some(payload) = json["result"][0]["payload"].as_str() {
            let first = if payload.starts_with('A') { "B" } else { "A" };
            json["result"][0]["payload"] = format!("{first}{}", &payload[1..]).into();
        }
        told.body = json.to_string().into_bytes();
        caller.send(&answer("200 OK", "", &told.body))
    }));
    assert_eq!(read(&mut log).unwrap(), 1, "the header is as it was");
    let failure = failed("a payload of others", || log.read_payload("doors", 1));
    assert_eq!(failure.kind(), "corrupt", "{}", said(&failure));
    far.recover();
    assert_eq!(log.read_payload("doors", 1).unwrap(), b"front");
}

#[test]
fn redirects_are_not_followed() {
    let (far, mut log) = far();
    let elsewhere = Fake::start(says(answer("200 OK", "", b"[]")));
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent", "300 Choices"]
    {
        let location = format!("location: {}/\r\n", elsewhere.url());
        far.fake.set(says(answer(status, &location, b"")));
        for what in ["read", "append"] {
            let failure = failed(status, || if what == "read" { read(&mut log) } else { append(&mut log) });
            let text = said(&failure);
            assert_eq!(failure.kind(), "unavailable", "{status}: {text}");
            assert!(text.contains("redirects are not followed"), "{status}: {text}");
            assert!(text.contains(&far.fake.authority()), "{status}: {text}");
            assert!(!text.contains(&elsewhere.authority()), "{status}: {text}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
    far.recover();
    assert_eq!(append(&mut log).unwrap(), 2);
}

#[test]
fn lengths_that_do_not_hold_are_unavailable() {
    let cut = |length: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n[]");
    let waits = |length: &str| {
        let text = cut(length);
        manners(move |caller| {
            caller.request()?;
            caller.send(text.as_bytes())?;
            caller.silence()
        })
    };
    each_fails(vec![
        ("too long by one", says(cut("3")), "unavailable", "lost"),
        ("too long", says(cut("1000")), "unavailable", "lost"),
        ("10 GB", waits("10000000000"), "unavailable", "too large"),
        ("one more than may be", waits("67108865"), "unavailable", "too large"),
        ("4 GB and two", waits("4294967298"), "unavailable", "too large"),
        ("all that u64 has", waits("18446744073709551614"), "unavailable", "lost"),
        ("more than u64 has", waits("99999999999999999999"), "unavailable", "lost"),
        ("a negative one", says(cut("-2")), "unavailable", "lost"),
        ("one that is no number", says(cut("two")), "unavailable", "lost"),
        (
            "two of them",
            says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 20\r\n\r\n[]"),
            "unavailable",
            "lost",
        ),
        // What comes after it belongs to nobody.
        (
            "too short, and the rest later",
            manners(move |caller| {
                caller.request()?;
                caller.send(cut("1").strip_suffix(']').unwrap().as_bytes())?;
                caller.silence()?;
                caller.send(b"]")
            }),
            "corrupt",
            "no JSON",
        ),
        ("too short", says(cut("1")), "corrupt|unavailable", ""),
    ]);
}

#[test]
fn no_http_at_all_is_unavailable() {
    let endless = |line: &'static [u8]| {
        manners(move |caller| {
            caller.request()?;
            caller.send(b"HTTP/1.1 200 OK\r\n")?;
            caller.send_for_ever(line, Duration::ZERO)
        })
    };
    each_fails(vec![
        ("another protocol", says("SSH-2.0-OpenSSH_9.9\r\n"), "unavailable", "lost"),
        ("a body alone", says("[]"), "unavailable", "lost"),
        ("zeros", says([0; 1000]), "unavailable", "lost"),
        ("another version", says("HTTP/9.9 200 OK\r\n\r\n[]"), "unavailable", "lost"),
        ("no such status", says("HTTP/1.1 2000 OK\r\n\r\n[]"), "unavailable", "lost"),
        ("a header without a name", says("HTTP/1.1 200 OK\r\n: x\r\n\r\n[]"), "unavailable", "lost"),
        ("headers without end", endless(b"x-more: and more\r\n"), "unavailable", "lost"),
        ("a header without end", endless(b"and more"), "unavailable", "lost"),
        (
            "an answer before the request",
            manners(|caller| caller.send(b"nonsense\r\n\r\n")),
            "unavailable",
            "lost",
        ),
    ]);
}

#[test]
fn an_endless_body_is_cut_before_it_fills_the_memory() {
    let far = Far::start();
    let mut log = far.open(20_000, 0);
    append(&mut log).unwrap();
    let before = log.memory_bytes();
    let mut chunk = b"100000\r\n".to_vec();
    chunk.extend(vec![b' '; 1 << 20]);
    chunk.extend(b"\r\n");
    let sent = Arc::new(AtomicUsize::new(0));
    for chunked in [true, false] {
        let (chunk, counter) = (chunk.clone(), sent.clone());
        far.fake.set(manners(move |caller| {
            caller.request()?;
            let head = if chunked { "transfer-encoding: chunked\r\n" } else { "" };
            caller.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes())?;
            counter.store(0, Ordering::Relaxed);
            loop {
                caller.send(&chunk)?;
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let outcome = log.read("doors", 1);
        let failure = outcome.map(drop).unwrap_err();
        let text = said(&failure);
        assert_eq!(failure.kind(), "unavailable", "{text}");
        assert!(text.contains("too large") && text.contains(&far.fake.authority()), "{text}");
        assert!(sent.load(Ordering::Relaxed) < 128, "it took {sent:?} MiB");
        let grown = log.memory_bytes() - before;
        assert!(grown < 160 << 20, "the instance grew by {} MiB", grown >> 20);
    }
    far.recover();
    assert_eq!(read(&mut log).unwrap(), 1);
}

#[test]
fn every_status_has_its_error() {
    let page = "<html><h1>Sorry</h1></html>";
    let status = |status: &str| says(answer(status, "content-type: text/html\r\n", page.as_bytes()));
    let later = |status: &str, after: &str| {
        says(answer(status, &format!("retry-after: {after}\r\n"), page.as_bytes()))
    };
    each_fails(vec![
        ("400", status("400 Bad Request"), "invalid", "answered 400"),
        ("401", status("401 Unauthorized"), "denied", "SECURE_LOG_RPC_TOKEN"),
        ("403", status("403 Forbidden"), "denied", "SECURE_LOG_RPC_TOKEN"),
        ("404", status("404 Not Found"), "not-found", "answered 404"),
        ("405", status("405 Method Not Allowed"), "storage", "answered 405"),
        ("408", status("408 Request Timeout"), "unavailable", "answered 408"),
        ("413", status("413 Content Too Large"), "invalid", "answered 413"),
        ("418", status("418 I'm a teapot"), "storage", "answered 418"),
        ("429", later("429 Too Many Requests", "5"), "busy", "answered 429"),
        (
            "429 until a date",
            later("429 Too Many Requests", "Sat, 21 Nov 2099 07:28:00 GMT"),
            "busy",
            "answered 429",
        ),
        ("429 for ever", later("429 Too Many Requests", "18446744073709551615"), "busy", "answered 429"),
        ("429 for no time", later("429 Too Many Requests", "-1"), "busy", "answered 429"),
        ("500", status("500 Internal Server Error"), "storage", "answered 500"),
        ("501", status("501 Not Implemented"), "storage", "answered 501"),
        ("502", status("502 Bad Gateway"), "unavailable", "answered 502"),
        ("503", status("503 Service Unavailable"), "busy", "answered 503"),
        ("504", status("504 Gateway Timeout"), "unavailable", "answered 504"),
        ("599", status("599 Whatever"), "storage", "answered 599"),
        ("101", says("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), "storage", "answered 101"),
    ]);
}

#[test]
fn error_objects_are_believed_as_far_as_they_make_sense() {
    let (far, mut log) = far();
    let data = r#"{"code":-32005,"message":"x","data":{"kind":"busy","reason":"somebody else"}}"#;
    for (error, kind) in [
        (r#"{"code":-32601,"message":"there is no method \"read-rows\""}"#, "invalid"),
        (data, "busy"),
        (r#"{"code":-32005,"message":"x","data":{"kind":"bored","reason":"x"}}"#, "corrupt"),
        (r#""boom""#, "corrupt"),
        ("17", "corrupt"),
        ("{}", "corrupt"),
    ] {
        far.fake.set(manners(move |caller| {
            let id = caller.request()?.json()["id"].clone();
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
            caller.send(&answer("200 OK", "", body.as_bytes()))
        }));
        let failure = failed(error, || read(&mut log));
        assert_eq!(failure.kind(), kind, "{error}: {}", said(&failure));
    }
    far.recover();
    assert_eq!(read(&mut log).unwrap(), 1);
}

#[test]
fn a_server_that_repeats_the_token_does_not_get_it_into_errors() {
    let (far, mut log) = far();
    for status in ["200 OK", "400 Bad", "401 Unauthorized", "403 Forbidden", "404 No", "500 Oh", "502 Oh"] {
        for jsonrpc in [false, true] {
            for padding in [0, 390] {
                far.fake.set(manners(move |caller| {
                    let request = caller.request()?;
                    let id = request.json()["id"].clone();
                    let shown = request.header("authorization").unwrap_or_default();
                    assert!(shown.contains(TOKEN));
                    let text = format!("{}{shown} is not right, {shown}", ".".repeat(padding));
                    let body = match jsonrpc {
                        true => format!(
                            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,"message":"{text}"}}}}"#
                        ),
                        false => text,
                    };
                    caller.send(&answer(status, "", body.as_bytes()))
                }));
                let failure = failed(status, || read(&mut log));
                let text = said(&failure);
                assert!(!text.contains(&TOKEN[..8]), "a part of the token: {text}");
            }
        }
    }
    // As a result: JSON of another shape.
    for result in [
        json!(TOKEN),
        json!([{ "seqno": TOKEN }]),
        json!([{ "seqno": format!("\"{TOKEN}`, expected\"") }]),
        json!([TOKEN.repeat(10_000)]),
        json!({ TOKEN: TOKEN }),
        json!([{ TOKEN: 1 }]),
        json!([{ "kind": TOKEN, "key": "", "value": "" }]),
        json!([{ "kind": format!("{TOKEN}`, expected `{TOKEN}"), "key": "", "value": "" }]),
        json!([{ "seqno": 1, "entry-hash": TOKEN }]),
    ] {
        far.fake.set(manners(move |caller| {
            let id = caller.request()?.json()["id"].clone();
            let body = json!({ "jsonrpc": "2.0", "id": id, "result": result });
            caller.send(&answer("200 OK", "", body.to_string().as_bytes()))
        }));
        said(&failed("a result", || log.read_payload("doors", 1)));
        said(&failed("a result", || log.list_segments("doors")));
        said(&failed("a result", || log.list_streams()));
    }
    far.recover();
    assert_eq!(read(&mut log).unwrap(), 1);
}

#[test]
fn tls_that_fails_is_unavailable() {
    let plain = Fake::start(manners(|caller| caller.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let silent = Fake::start(manners(|caller| caller.silence()));
    let closing = Fake::start(manners(|_| Ok(())));
    for (fake, word) in [(&plain, "TLS"), (&silent, "in time"), (&closing, "")] {
        let mut log = instance_at(&format!("https://{}", fake.authority()), TIMEOUT, 0);
        let failure = failed("TLS", || log.open("remote"));
        let text = said(&failure);
        assert_eq!(failure.kind(), "unavailable", "{text}");
        assert!(text.contains(word) && text.contains(&fake.authority()), "{text}");
    }
}

/// `openssl s_server` with a certificate that nobody vouches for.
struct SelfSigned {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl SelfSigned {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .current_dir(dir.path())
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"])
            .args([
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ])
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut child = Command::new("openssl")
            .current_dir(dir.path())
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem", "-www"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { child, port: 0, _dir: dir };
        for line in lines.map_while(Result::ok) {
            if let Some(port) = line.strip_prefix("ACCEPT ").and_then(|at| at.rsplit(':').next()) {
                this.port = port.parse().unwrap();
                return this;
            }
        }
        panic!("openssl s_server does not listen");
    }
}

impl Drop for SelfSigned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    let server = SelfSigned::start();
    for host in ["localhost", "127.0.0.1"] {
        let authority = format!("{host}:{}", server.port);
        let mut log = instance_at(&format!("https://{authority}/rpc"), 5000, 0);
        let failure = failed("a self-signed certificate", || log.open("remote"));
        let text = said(&failure);
        assert_eq!(failure.kind(), "unavailable", "{text}");
        assert!(text.contains("its certificate is not trusted") && text.contains(&authority), "{text}");
    }
}

#[test]
fn a_name_that_nobody_has_is_unavailable() {
    let mut log = instance_at("https://nothing-is-here.invalid:8443/rpc", TIMEOUT, 0);
    let failure = failed("open", || log.open("remote"));
    let text = said(&failure);
    assert_eq!(failure.kind(), "unavailable", "{text}");
    assert!(text.contains("nothing-is-here.invalid:8443"), "{text}");
}

#[test]
fn a_token_is_not_sent_in_clear_to_another_host() {
    let far = Far::start();
    // This machine by an address that is not its loopback address, so it could be reached.
    let url = format!("http://0.0.0.0:{}", far.fake.port());
    let mut log = instance_at(&url, TIMEOUT, 0);
    for _ in 0..2 {
        let failure = failed("open", || log.open("remote"));
        let text = said(&failure);
        assert_eq!(failure.kind(), "invalid", "{text}");
        assert!(text.contains("SECURE_LOG_RPC_URL") && text.contains("https"), "{text}");
    }
    assert_eq!(far.fake.connections(), 0);

    let mut log = instance(&[("SECURE_LOG_RPC_URL", &url), ("SECURE_LOG_RPC_RETRIES", "0")]);
    let failure = failed("open", || log.open("remote"));
    assert_eq!(failure.kind(), "denied", "{}", said(&failure));
    assert_eq!(far.fake.connections(), 1, "without a token it is called");
}

#[test]
fn settings_that_make_no_sense_are_invalid() {
    const GOOD: (&str, &str) = ("SECURE_LOG_RPC_URL", "http://127.0.0.1:9");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "")], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "127.0.0.1:9")], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "ftp://127.0.0.1:9")], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "http://")], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "http://a b/")], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "http://127.0.0.1:99999999/")], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "http://127.0.0.1:rpc/")], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "https://zebra-7f3a-token-9c1e@127.0.0.1:9")], "SECURE_LOG_RPC_URL"),
        (&[("SECURE_LOG_RPC_URL", "https://u:zebra-7f3a-token-9c1e@127.0.0.1:9")], "SECURE_LOG_RPC_URL"),
        (&[GOOD, ("SECURE_LOG_RPC_TOKEN", "zebra-7f3a-token-9c1e\r\nx-evil: 1")], "SECURE_LOG_RPC_TOKEN"),
        (&[GOOD, ("SECURE_LOG_RPC_TIMEOUT_MS", "0")], "SECURE_LOG_RPC_TIMEOUT_MS"),
        (&[GOOD, ("SECURE_LOG_RPC_TIMEOUT_MS", "-1")], "SECURE_LOG_RPC_TIMEOUT_MS"),
        (&[GOOD, ("SECURE_LOG_RPC_TIMEOUT_MS", "99999999999")], "SECURE_LOG_RPC_TIMEOUT_MS"),
        (&[GOOD, ("SECURE_LOG_RPC_RETRIES", "many")], "SECURE_LOG_RPC_RETRIES"),
        (&[GOOD, ("SECURE_LOG_RPC_RETRIES", "1000000")], "SECURE_LOG_RPC_RETRIES"),
    ];
    for (env, name) in cases {
        let mut log = instance(env);
        for _ in 0..2 {
            let failure = failed(name, || log.open("remote"));
            let text = said(&failure);
            assert_eq!(failure.kind(), "invalid", "{env:?}: {text}");
            assert_eq!(crate::common::remote::invalid_field(&failure), Some("transport"), "{env:?}: {text}");
            assert!(text.contains(name), "{env:?}: {text}");
        }
    }
}

#[test]
fn a_server_that_comes_up_late_is_waited_for() {
    let far = Far::start();
    let port = Reserved::new();
    let mut log = instance_at(&port.url(), 5000, 20);
    let late = std::thread::spawn({
        let manners = forwards(far.endpoint.url());
        move || {
            // Some attempts are refused first. How many does not matter.
            std::thread::sleep(Duration::from_millis(500));
            Fake::start_at(port, manners)
        }
    });
    log.open("remote").unwrap();
    let fake = late.join().unwrap();
    assert_eq!((fake.calls("open"), fake.connections()), (1, 1));
    assert_eq!(append(&mut log).unwrap(), 1);
}

#[test]
fn refused_connections_are_tried_as_often_as_asked_for() {
    let port = Reserved::new();
    let mut log = instance_at(&port.url(), TIMEOUT, 3);
    let failure = failed("open", || log.open("remote"));
    let text = said(&failure);
    assert!(failure.kind() == "unavailable" && text.contains("tried 4 times"), "{text}");
}

/// Answers so to the first `times` calls of `method`, and passes on the rest.
fn at_first(times: usize, method: &'static str, url: &str, bytes: Option<Vec<u8>>) -> Manners {
    let (url, asked) = (url.to_owned(), AtomicUsize::new(0));
    manners(move |caller| {
        let request = caller.request()?;
        if request.calls(method) && asked.fetch_add(1, Ordering::SeqCst) < times {
            return bytes.as_ref().map_or(Ok(()), |bytes| caller.send(bytes));
        }
        caller.send(&exchange(&url, &request.to_bytes())?.to_bytes())
    })
}

#[test]
fn an_overload_that_passes_is_not_noticed() {
    let far = Far::start();
    let mut log = far.open(TIMEOUT, 5);
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let overload = answer(status, "retry-after: 0\r\n", b"<html>later</html>");
        let before = far.fake.calls("append");
        far.fake.set(at_first(2, "append", far.endpoint.url(), Some(overload.clone())));
        append(&mut log).unwrap();
        assert_eq!(far.fake.calls("append") - before, 3, "{status}");
        let before = far.fake.calls("read-rows");
        far.fake.set(at_first(2, "read-rows", far.endpoint.url(), Some(overload)));
        assert_eq!(read(&mut log).unwrap(), 1);
        assert_eq!(far.fake.calls("read-rows") - before, 3, "{status}");
    }
    log.verify_chain("doors", 1, 2).unwrap();
    assert_eq!(far.direct().head("doors").unwrap().unwrap().seqno, 2);
}

#[test]
fn an_overload_that_does_not_pass_is_busy() {
    let (far, _) = far();
    let mut log = far.open(TIMEOUT, 2);
    let before = far.fake.connections();
    far.fake.set(says(answer("503 Service Unavailable", "retry-after: 1\r\n", b"later")));
    let begun = Instant::now();
    let failure = failed("503", || read(&mut log));
    assert_eq!(failure.kind(), "busy", "{}", said(&failure));
    assert!(begun.elapsed() >= Duration::from_secs(2), "it came back early: {:?}", begun.elapsed());
    assert_eq!(far.fake.connections() - before, 3);
}

#[test]
fn nobody_waits_for_as_long_as_a_server_likes() {
    let (far, _) = far();
    let mut log = far.open(TIMEOUT, 1);
    far.fake.set(says(answer("503 Service Unavailable", "retry-after: 86400\r\n", b"later")));
    let begun = Instant::now();
    let failure = read(&mut log).unwrap_err();
    assert_eq!(failure.kind(), "busy", "{}", said(&failure));
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
}

#[test]
fn a_read_is_made_again_when_its_answer_is_lost() {
    let (far, _) = far();
    let mut log = far.open(TIMEOUT, 2);
    let before = far.fake.calls("read-rows");
    far.fake.set(at_first(2, "read-rows", far.endpoint.url(), None));
    assert_eq!(read(&mut log).unwrap(), 1);
    assert_eq!(far.fake.calls("read-rows") - before, 3);

    let before = far.fake.calls("read-rows");
    far.fake.set(at_first(3, "read-rows", far.endpoint.url(), None));
    let failure = failed("lost three times", || read(&mut log));
    assert_eq!(failure.kind(), "unavailable", "{}", said(&failure));
    assert_eq!(far.fake.calls("read-rows") - before, 3);
}

#[test]
fn an_append_is_not_made_again_by_the_transport() {
    let (far, _) = far();
    let mut log = far.open(TIMEOUT, 5);
    far.fake.set(at_first(usize::MAX, "append", far.endpoint.url(), None));
    let failure = failed("appends that vanish", || append(&mut log));
    assert_eq!(failure.kind(), "unavailable", "{}", said(&failure));
    let bodies: Vec<_> = {
        let seen = far.fake.seen();
        let appends = seen.iter().rev().take_while(|request| !request.calls("open"));
        appends.filter(|request| request.calls("append")).map(|r| r.json()["params"].clone()).collect()
    };
    // The log itself makes it again, with a look before each, and the very same rows.
    assert_eq!(bodies.len(), 3, "the transport made it again");
    assert!(bodies.iter().all(|params| *params == bodies[0]));
    far.recover();
    assert_eq!(append(&mut log).unwrap(), 2);
}

#[test]
fn what_a_server_says_never_writes_to_a_terminal() {
    let (far, mut log) = far();
    for status in ["200 OK", "401 Unauthorized", "404 Not Found", "500 Oh"] {
        let evil = "\u{1b}]0;pwned\u{7}\u{1b}[2J\r\nroot:\u{9b}31m".repeat(3);
        far.fake.set(says(answer(status, "", evil.as_bytes())));
        said(&failed(status, || read(&mut log)));
    }
}

#[test]
fn a_request_has_what_it_needs_and_one_line_for_each_header() {
    let (far, _) = far();
    let seen = far.fake.seen();
    for request in seen.iter() {
        assert!(request.head.starts_with("POST / HTTP/1.1\r\n"), "{}", request.head);
        assert_eq!(request.header("host"), Some(&*far.fake.authority()));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
        assert_eq!(request.header("content-length"), Some(&*request.body.len().to_string()));
        assert_eq!(request.head.matches("authorization").count(), 1);
        assert!(!request.text().contains(TOKEN), "the token is in a header and nowhere else");
    }
    assert!(seen.len() > 2);
}
