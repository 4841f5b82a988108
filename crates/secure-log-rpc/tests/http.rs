//! The policy of an HTTP endpoint: who may call, what is taken, and which status says what.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use secure_log::Error;
use secure_log_rpc::envelope::{Call, Form, Reply};
use secure_log_rpc::http::{Admission, HEALTH_CALL, Head, Policy, Refusal, health, not_opened};
use secure_log_rpc::limits::MAX_REQUEST;
use secure_log_rpc::{Fault, Method, Server};
use secure_log_sqlite::SqliteSecureLogStore;

const TOKEN: &str = "Zq7-hunter2~8kPw";

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

/// No reply shows the token.
#[track_caller]
fn keeps_quiet(reply: &Reply) {
    assert!(!text(reply).contains("hunter2"), "{reply:?}");
}

/// The policy's word on a request's head. Whatever it is, it does not show the token.
#[track_caller]
fn admit(policy: &Policy, head: &Head<'_>) -> Admission {
    let admission = policy.admit(head);
    if let Admission::Refused(refusal) = &admission {
        keeps_quiet(&refusal.reply);
        assert!(!refusal.reply.json, "{refusal:?}");
        assert!(refusal.header.is_none_or(|(name, value)| !format!("{name}: {value}").contains("hunter2")));
    }
    admission
}

#[track_caller]
fn refused(policy: &Policy, head: &Head<'_>) -> Refusal {
    match admit(policy, head) {
        Admission::Refused(refusal) => refusal,
        other => panic!("{head:?}: {other:?}"),
    }
}

/// The policy's word on a body. A refusal does not show the token.
fn admit_call<'a>(policy: &Policy, body: &'a str) -> Result<Call<'a>, Reply> {
    let outcome = policy.admit_call(body.as_bytes());
    if let Err(reply) = &outcome {
        keeps_quiet(reply);
    }
    outcome
}

fn with_token() -> Policy {
    Policy::from_settings(Some(TOKEN), None)
}

/// A good call, but for what it shows of itself.
fn post(authorization: Option<&[u8]>) -> Head<'_> {
    Head {
        method: "POST",
        path: "/",
        content_type: Some(b"application/json"),
        content_length: Some(100),
        authorization,
        ..Head::default()
    }
}

fn body_of(form: &Form, method: Method, params: &str) -> String {
    let name = method.name();
    match form {
        Form::JsonRpc(id) => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{name}","params":{params}}}"#),
        Form::Short => format!(r#"{{"method":"{name}","params":{params}}}"#),
    }
}

fn forms() -> [Form; 2] {
    [Form::JsonRpc("17".into()), Form::Short]
}

#[test]
fn the_right_token_is_let_in() {
    for shown in [
        format!("Bearer {TOKEN}"),
        format!("bearer {TOKEN}"),
        format!("BEARER {TOKEN}"),
        format!("bEaReR {TOKEN}"),
        format!("Bearer   {TOKEN}"),
        format!("Bearer {TOKEN}  "),
        format!("Bearer \t{TOKEN}"),
    ] {
        assert_eq!(admit(&with_token(), &post(Some(shown.as_bytes()))), Admission::Call, "{shown:?}");
    }
}

#[test]
fn a_wrong_token_is_401() {
    let shown = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        "Bearer  ".into(),
        TOKEN.into(),
        format!("Bearer{TOKEN}"),
        format!(" Bearer {TOKEN}"),
        format!("Bearer\t{TOKEN}"),
        format!("Basic {TOKEN}"),
        format!("Token: {TOKEN}"),
        format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]),
        format!("Bearer {}", &TOKEN[1..]),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {TOKEN}{TOKEN}"),
        format!("Bearer {TOKEN} {TOKEN}"),
        format!("Bearer {TOKEN}, Bearer {TOKEN}"),
        format!("Bearer \"{TOKEN}\""),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Bearer {}", TOKEN.to_lowercase()),
        format!("Bearer {}", TOKEN.replace('8', "9")),
        format!("Bearer {TOKEN}\0"),
        format!("Bearer {}", blake3::hash(TOKEN.as_bytes()).to_hex()),
        format!("Bearer {}", "x".repeat(1 << 20)),
    ];
    let raw: [&[u8]; 4] =
        [b"Bearer \xff\xfe", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"Bearer \xc3", b"B\xc3\xa4rer x"];
    for shown in shown.iter().map(String::as_bytes).chain(raw) {
        let refusal = refused(&with_token(), &post(Some(shown)));
        let what = String::from_utf8_lossy(&shown[..shown.len().min(60)]);
        assert_eq!(refusal.reply.status, 401, "{what}");
        assert_eq!(refusal.header, Some(("www-authenticate", "Bearer")), "{what}");
        assert!(text(&refusal.reply).len() < 200, "what was shown is not repeated: {what}");
    }
}

#[test]
fn a_missing_token_is_401_and_says_what_to_send() {
    let refusal = refused(&with_token(), &post(None));
    assert_eq!(refusal.reply.status, 401);
    assert_eq!(refusal.header, Some(("www-authenticate", "Bearer")));
    assert!(text(&refusal.reply).contains("Authorization: Bearer"), "{refusal:?}");
}

#[test]
fn whoever_shows_the_token_may_call_every_method() {
    for form in forms() {
        for method in Method::ALL {
            let body = body_of(&form, method, "[]");
            let call = admit_call(&with_token(), &body).unwrap();
            assert_eq!((call.form, call.method, call.params), (form.clone(), method, "[]"));
        }
    }
}

#[test]
fn without_a_configured_token_everybody_may_read() {
    for (token, auth) in [(None, None), (Some(""), None), (None, Some("")), (Some(""), Some(""))] {
        let policy = Policy::from_settings(token, auth);
        for shown in [None, Some(&b"Bearer anything"[..])] {
            assert_eq!(admit(&policy, &post(shown)), Admission::Call);
        }
        for form in forms() {
            for method in Method::ALL.into_iter().filter(|method| !method.writes()) {
                assert_eq!(admit_call(&policy, &body_of(&form, method, "[]")).unwrap().method, method);
            }
        }
    }
}

#[test]
fn without_a_configured_token_writes_are_503_and_name_the_variable() {
    let policy = Policy::from_settings(None, None);
    let writes: Vec<_> = Method::ALL.into_iter().filter(|method| method.writes()).map(Method::name).collect();
    assert_eq!(writes, ["append", "write-tiles", "erase-payloads", "backup"]);
    for form in forms() {
        for method in writes.iter().map(|name| Method::from_name(name).unwrap()) {
            let reply = admit_call(&policy, &body_of(&form, method, "[[],[],[]]")).unwrap_err();
            assert_eq!(reply.status, 503, "{reply:?}");
            assert!(text(&reply).contains("SECURE_LOG_RPC_TOKEN"), "{reply:?}");
            assert!(text(&reply).contains("SECURE_LOG_RPC_AUTH=none"), "{reply:?}");
            assert_eq!(reply.json, form != Form::Short);
            if reply.json {
                let answer: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
                assert_eq!(answer["id"], 17);
                assert_eq!(answer["error"]["code"], -32006);
                assert_eq!(answer["error"]["data"]["kind"], "denied");
            }
        }
    }
}

#[test]
fn auth_none_opens_the_endpoint() {
    for token in [None, Some("")] {
        let policy = Policy::from_settings(token, Some("none"));
        for shown in [None, Some(&b"Bearer anything"[..]), Some(b"Basic eDp5")] {
            assert_eq!(admit(&policy, &post(shown)), Admission::Call);
        }
        for form in forms() {
            for method in Method::ALL {
                assert_eq!(admit_call(&policy, &body_of(&form, method, "[]")).unwrap().method, method);
            }
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_503_and_name_the_variable_but_not_the_token() {
    let spaced = format!("{TOKEN} ");
    let broken_line = format!("{TOKEN}\n");
    let broken_inside = format!("{TOKEN}\0{TOKEN}");
    let deleted = format!("{TOKEN}\u{7f}");
    let umlaut = format!("ü{TOKEN}");
    let cases: [(Option<&str>, Option<&str>, &str); 12] = [
        (Some(TOKEN), Some("none"), "SECURE_LOG_RPC_AUTH"),
        (Some(TOKEN), Some("none"), "SECURE_LOG_RPC_TOKEN"),
        (Some(TOKEN), Some("token"), "SECURE_LOG_RPC_AUTH"),
        (Some(TOKEN), Some("None"), "SECURE_LOG_RPC_AUTH"),
        (None, Some("NONE"), "SECURE_LOG_RPC_AUTH"),
        (None, Some("none "), "SECURE_LOG_RPC_AUTH"),
        (None, Some(TOKEN), "SECURE_LOG_RPC_AUTH"),
        (Some(&spaced), None, "SECURE_LOG_RPC_TOKEN"),
        (Some(&broken_line), None, "SECURE_LOG_RPC_TOKEN"),
        (Some(&broken_inside), None, "SECURE_LOG_RPC_TOKEN"),
        (Some(&deleted), Some(""), "SECURE_LOG_RPC_TOKEN"),
        (Some(&umlaut), None, "SECURE_LOG_RPC_TOKEN"),
    ];
    for (token, auth, variable) in cases {
        let policy = Policy::from_settings(token, auth);
        let shown = token.map(|token| format!("Bearer {token}"));
        for shown in [None, shown.as_deref().map(str::as_bytes), Some(b"Bearer x")] {
            let refusal = refused(&policy, &post(shown));
            assert_eq!(refusal.reply.status, 503, "{token:?} {auth:?}");
            assert!(text(&refusal.reply).contains(variable), "{token:?} {auth:?}: {refusal:?}");
        }
        // It is not healthy either.
        let refusal = refused(&policy, &Head { method: "GET", path: "/healthz", ..Head::default() });
        assert_eq!(refusal.reply.status, 503, "{token:?} {auth:?}");
    }
}

#[test]
fn other_verbs_are_405_and_say_which_is_allowed() {
    for policy in [with_token(), Policy::from_settings(None, None), Policy::from_settings(None, Some("none"))]
    {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "post", ""] {
            for path in ["/", "/rpc", "/healthz/", "/healthzz", "/rpc?/healthz", ""] {
                let refusal = refused(&policy, &Head { method, path, ..post(None) });
                assert_eq!(refusal.reply.status, 405, "{method} {path}");
                assert_eq!(refusal.header, Some(("allow", "POST")), "{method} {path}");
            }
        }
    }
}

#[test]
fn calls_go_to_any_path() {
    let shown = format!("Bearer {TOKEN}");
    for path in ["/", "/rpc", "/rpc?tenant=7", "/?", "", "/a/b/c", "/healthz/x", "/x/healthz"] {
        assert_eq!(
            admit(&with_token(), &Head { path, ..post(Some(shown.as_bytes())) }),
            Admission::Call,
            "{path}"
        );
    }
}

#[test]
fn healthz_answers_get_and_head_without_a_token() {
    for policy in [with_token(), Policy::from_settings(None, None), Policy::from_settings(None, Some("none"))]
    {
        for path in ["/healthz", "/healthz?", "/healthz?verbose=1&x=/rpc"] {
            for method in ["GET", "HEAD"] {
                assert_eq!(admit(&policy, &Head { method, path, ..Head::default() }), Admission::Health);
            }
            for method in ["POST", "PUT", "DELETE", "OPTIONS", ""] {
                let refusal = refused(&policy, &Head { method, path, ..post(None) });
                assert_eq!(refusal.reply.status, 405, "{method} {path}");
                assert_eq!(refusal.header, Some(("allow", "GET, HEAD")), "{method} {path}");
            }
        }
    }
}

#[test]
fn a_body_that_is_not_json_is_415() {
    let open = Policy::from_settings(None, Some("none"));
    for good in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        " application/json ; charset=utf-8",
        "application/json-rpc",
        "application/jsonrequest",
    ] {
        let head = Head { content_type: Some(good.as_bytes()), ..post(None) };
        assert_eq!(admit(&open, &head), Admission::Call, "{good}");
    }
    for bad in [
        None,
        Some(&b""[..]),
        Some(b"text/plain"),
        Some(b"text/json"),
        Some(b"text/plain; application/json"),
        Some(b"application/jsonx"),
        Some(b"application/json-patch+json"),
        Some(b"application/x-www-form-urlencoded"),
        Some(b"multipart/form-data; boundary=x"),
        Some(b"application/cbor"),
        Some(b";application/json"),
        Some(b"\xff\xfe"),
    ] {
        let refusal = refused(&open, &Head { content_type: bad, ..post(None) });
        assert_eq!(refusal.reply.status, 415, "{bad:?}");
        assert!(text(&refusal.reply).contains("application/json"), "{refusal:?}");
    }
}

#[test]
fn an_encoded_body_is_415() {
    let open = Policy::from_settings(None, Some("none"));
    for good in ["identity", "Identity"] {
        let head = Head { content_encoding: Some(good.as_bytes()), ..post(None) };
        assert_eq!(admit(&open, &head), Admission::Call);
    }
    for bad in ["gzip", "GZIP", "br", "deflate", "zstd", "identity, gzip", "gzip, identity"] {
        let refusal = refused(&open, &Head { content_encoding: Some(bad.as_bytes()), ..post(None) });
        assert_eq!(refusal.reply.status, 415, "{bad}");
        assert!(text(&refusal.reply).contains("Content-Encoding"), "{refusal:?}");
    }
}

#[test]
fn a_body_that_is_too_large_is_413_by_its_length_alone() {
    let open = Policy::from_settings(None, Some("none"));
    for good in [None, Some(0), Some(1), Some(MAX_REQUEST as u64)] {
        assert_eq!(admit(&open, &Head { content_length: good, ..post(None) }), Admission::Call);
    }
    for bad in [MAX_REQUEST as u64 + 1, 1 << 32, u64::MAX] {
        let refusal = refused(&open, &Head { content_length: Some(bad), ..post(None) });
        assert_eq!(refusal, Refusal::too_large());
        assert_eq!(refusal.reply.status, 413);
        assert!(text(&refusal.reply).contains("67108864"), "{refusal:?}");
    }
    assert_eq!(Refusal::cut_short().reply.status, 400);
}

/// Whoever has no token is told nothing else.
#[test]
fn the_token_is_asked_for_before_anything_about_the_body() {
    let head = Head {
        content_type: Some(b"text/plain"),
        content_encoding: Some(b"gzip"),
        content_length: Some(u64::MAX),
        ..post(None)
    };
    assert_eq!(refused(&with_token(), &head).reply.status, 401);
    let shown = format!("Bearer {TOKEN}");
    let head = Head { authorization: Some(shown.as_bytes()), ..head };
    assert_eq!(refused(&with_token(), &head).reply.status, 415);
    let head = Head { content_type: Some(b"application/json"), ..head };
    assert_eq!(refused(&with_token(), &head).reply.status, 415);
    let head = Head { content_encoding: None, ..head };
    assert_eq!(refused(&with_token(), &head).reply.status, 413);
}

#[test]
fn a_body_that_is_no_call_is_answered_by_every_policy() {
    for policy in [with_token(), Policy::from_settings(None, None), Policy::from_settings(None, Some("none"))]
    {
        for (body, status) in [
            ("", 400),
            ("{", 400),
            ("[]", 400),
            ("{}", 400),
            (r#"{"method":"drop"}"#, 404),
            (r#"{"jsonrpc":"2.0","id":1,"method":"drop"}"#, 404),
            (r#"{"jsonrpc":"2.0","method":"append","params":[[],[],[]]}"#, 400),
        ] {
            assert_eq!(admit_call(&policy, body).unwrap_err().status, status, "{body}");
        }
    }
}

#[test]
fn health_tells_whoever_asks_no_more_than_that() {
    let good = health(&Ok(()));
    assert_eq!((good.status, good.json, text(&good)), (200, true, r#"{"status":"ok"}"#));
    let secret = || format!("cannot open {TOKEN}");
    for fault in [
        Fault::Store(Error::Storage(secret())),
        Fault::Store(Error::corrupt(secret(), 7, secret())),
        Fault::Store(Error::Busy(secret())),
        Fault::Params(secret()),
    ] {
        let bad = health(&Err(fault));
        keeps_quiet(&bad);
        assert_eq!((bad.status, bad.json), (503, true));
        let answer: serde_json::Value = serde_json::from_slice(&bad.body).unwrap();
        assert_eq!(answer["status"], "unavailable");
    }
}

#[test]
fn the_call_of_healthz_works_on_an_empty_store() {
    let mut server =
        Server::new(<SqliteSecureLogStore as secure_log::store::OpenStore>::open(":memory:").unwrap());
    let (method, params) = HEALTH_CALL;
    assert!(!method.writes());
    assert_eq!(server.call(method, params).unwrap(), "null");
}

#[test]
fn a_store_that_does_not_open_is_no_success() {
    for form in forms() {
        for error in [
            Error::Busy("another process holds it".into()),
            Error::Storage("disk full".into()),
            Error::Unavailable("gone".into()),
            Error::corrupt("", 0, "no database"),
            Error::invalid("SECURE_LOG_STORE_CONFIG", "is not set"),
        ] {
            let reply = not_opened(&form, error.clone());
            assert_eq!(reply.status, 503, "{error}");
            assert!(text(&reply).contains(match &error {
                Error::Invalid(_) => "SECURE_LOG_STORE_CONFIG",
                Error::Busy(why) | Error::Storage(why) | Error::Unavailable(why) => why,
                _ => "no database",
            }));
        }
    }
}
