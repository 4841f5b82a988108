//! Messages in both forms: what is taken, what is refused, and that errors arrive as they were sent.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::sync::OnceLock;

use proptest::prelude::*;
use secure_log::Error;
use secure_log::error::{Conflict, Corruption, InvalidArgument, Missing, Rollback};
use secure_log::model::StreamHead;
use secure_log::store::OpenStore;
use secure_log_rpc::envelope::{Form, Reply, parse, reply, request, result_of};
use secure_log_rpc::{CheckedStore, Fault, Method, RemoteStore, Server, Transport, TransportError};
use secure_log_sqlite::SqliteSecureLogStore;
use serde_json::{Value, json};

type TheServer = Server<CheckedStore<SqliteSecureLogStore>>;

fn server() -> TheServer {
    Server::new(SqliteSecureLogStore::open(":memory:").unwrap())
}

/// What an endpoint answers to a body.
fn answer(server: &mut TheServer, body: &[u8]) -> Reply {
    match parse(body) {
        Ok(call) => reply(&call.form, server.call(call.method, call.params)),
        Err((form, fault)) => reply(&form, Err(fault)),
    }
}

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

fn json_of(reply: &Reply) -> Value {
    assert!(reply.json, "{reply:?}");
    serde_json::from_slice(&reply.body).unwrap()
}

/// The error object of an answer in JSON-RPC.
fn error_of(reply: &Reply) -> (i64, String) {
    let answer = json_of(reply);
    assert_eq!(answer["jsonrpc"], "2.0");
    assert!(answer.get("result").is_none(), "{answer}");
    let error = &answer["error"];
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

#[track_caller]
fn refused(body: &[u8], status: u16, code: i64, word: &str) {
    let answer = answer(&mut server(), body);
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
    assert_eq!(answer.status, status, "{shown}: {answer:?}");
    let (its, message) = error_of(&answer);
    assert_eq!(its, code, "{shown}: {message}");
    assert!(message.contains(word), "{shown}: {message}");
    assert!(json_of(&answer)["error"].get("data").is_none(), "the protocol's errors have no data");
}

// Requests.

#[test]
fn both_forms_are_taken_and_answered() {
    let call = parse(br#"{"jsonrpc":"2.0","id":7,"method":"head","params":["doors"]}"#).unwrap();
    assert_eq!(
        (call.form, call.method, call.params),
        (Form::JsonRpc("7".into()), Method::Head, r#"["doors"]"#)
    );
    let call = parse(br#"{"method":"head","params":["doors"]}"#).unwrap();
    assert_eq!((call.form, call.method, call.params), (Form::Short, Method::Head, r#"["doors"]"#));

    let mut server = server();
    let long = answer(&mut server, br#"{"jsonrpc":"2.0","id":7,"method":"head","params":["doors"]}"#);
    assert_eq!((long.status, long.json), (200, true));
    assert_eq!(text(&long), r#"{"jsonrpc":"2.0","id":7,"result":null}"#);
    let short = answer(&mut server, br#"{"method":"head","params":["doors"]}"#);
    assert_eq!((short.status, short.json, text(&short)), (200, true, "null"));
}

#[test]
fn members_come_in_any_order_and_unknown_ones_are_passed_over() {
    let mut server = server();
    for body in [
        r#"{"params":["a"],"method":"head","id":1,"jsonrpc":"2.0"}"#,
        "\n\t {\"id\" : 1 , \"jsonrpc\" : \"2.0\" , \"method\" : \"head\" , \"params\" : [ \"a\" ] } \r\n",
        r#"{"jsonrpc":"2.0","id":1,"method":"head","params":["a"],"meta":{"trace":[1,{}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"\u0068ead","params":["\u0061"]}"#,
    ] {
        let answer = answer(&mut server, body.as_bytes());
        assert_eq!(text(&answer), r#"{"jsonrpc":"2.0","id":1,"result":null}"#, "{body}");
    }
}

#[test]
fn every_method_is_known_by_its_name_alone() {
    for method in Method::ALL {
        assert_eq!(Method::from_name(method.name()), Some(method));
        let body = request(3, method.name(), "[]");
        assert_eq!(parse(&body).unwrap().method, method);
    }
    for name in ["", "Head", "HEAD", "head ", "read_rows", "readRows", "store.head", "drop", "rpc.discover"] {
        let body = request(3, name, "[]");
        refused(&body, 404, -32601, "there is no method");
    }
}

#[test]
fn an_id_comes_back_as_it_stood() {
    let long = format!("\"{}\"", "i".repeat(254));
    for id in [
        "0",
        "1",
        "-1",
        "18446744073709551615",
        "123456789012345678901234567890",
        "1.50",
        "1e3",
        "\"\"",
        "\"a\"",
        r#""\u0061\n\"""#,
        "null",
        &long,
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"head","params":["a"]}}"#);
        let answer = answer(&mut server(), body.as_bytes());
        assert_eq!(text(&answer), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":null}}"#));
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"head","params":[]}}"#);
        assert!(
            text(&self::answer(&mut server(), body.as_bytes())).contains(&format!("\"id\":{id},\"error\""))
        );
    }
}

#[test]
fn an_id_that_is_no_string_and_no_number_is_refused() {
    let long = format!("\"{}\"", "i".repeat(255));
    let digits = "7".repeat(257);
    for id in ["{}", r#"{"a":1}"#, "[]", "[1]", "true", "false", &long, &digits] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"head","params":["a"]}}"#);
        refused(body.as_bytes(), 400, -32600, "id");
        assert_eq!(json_of(&answer(&mut server(), body.as_bytes()))["id"], Value::Null);
    }
}

#[test]
fn a_request_without_an_id_is_refused() {
    refused(br#"{"jsonrpc":"2.0","method":"head","params":["a"]}"#, 400, -32600, "no id");
    // It is not carried out either.
    let mut server = server();
    let body = br#"{"jsonrpc":"2.0","method":"append","params":[[],[],[{"kind":"state","key":"k","value":"AA=="}]]}"#;
    assert_eq!(answer(&mut server, body).status, 400);
    assert_eq!(server.call(Method::ReadObject, r#"["state","k"]"#).unwrap(), "null");
}

#[test]
fn other_versions_of_the_protocol_are_refused() {
    for version in [r#""1.0""#, r#""2""#, r#""2.0 ""#, r#""""#, "2.0", "2", "true", "{}", "[]"] {
        let body = format!(r#"{{"jsonrpc":{version},"id":1,"method":"head","params":["a"]}}"#);
        refused(body.as_bytes(), 400, -32600, "");
    }
}

#[test]
fn batches_are_refused() {
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"head","params":["a"]}"#;
    for body in [format!("[{one}]"), format!(" \n[{one},{one}]"), "[]".into(), "[".into(), "[1,2,3]".into()] {
        refused(body.as_bytes(), 400, -32600, "one call at a time");
    }
}

#[test]
fn what_is_not_json_is_refused() {
    let whole = r#"{"jsonrpc":"2.0","id":1,"method":"head","params":["a"]}"#;
    for end in 1..whole.len() {
        refused(&whole.as_bytes()[..end], 400, -32700, "not JSON");
    }
    for body in
        ["", " ", "\n", "{", "}", "nonsense", "<html></html>", "method=head", "{\"a\":}", "{'a':1}", "{,}"]
    {
        refused(body.as_bytes(), 400, -32700, "not JSON");
    }
    for after in ["x", "{}", ",", "\0", "null"] {
        refused(format!("{whole}{after}").as_bytes(), 400, -32700, "not JSON");
    }
    refused(&[0xEF, 0xBB, 0xBF, b'{', b'}'], 400, -32700, "not JSON");
    refused(b"{\"method\":\"he\xffad\"}", 400, -32700, "not UTF-8 after byte 13");
    refused(&[0xff; 100], 400, -32700, "not UTF-8");
    refused(&[0; 100], 400, -32700, "not JSON");
    // UTF-16
    let wide: Vec<u8> = whole.encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(&wide, 400, -32700, "not JSON");
}

#[test]
fn json_that_is_no_request_is_refused() {
    for body in
        ["1", "\"head\"", "null", "true", r#"{"method":1}"#, r#"{"method":{}}"#, r#"{"method":["head"]}"#]
    {
        refused(body.as_bytes(), 400, -32600, "");
    }
    // A member that stands twice: two readers might take different ones.
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"head","method":"append","params":["a"]}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"head","params":["a"]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"head","params":["a"],"params":["b"]}"#,
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"head","params":["a"]}"#,
    ] {
        refused(body.as_bytes(), 400, -32600, "duplicate");
    }
    refused(br#"{"jsonrpc":"2.0","id":1,"params":["a"]}"#, 400, -32600, "no method");
    refused(br#"{"jsonrpc":"2.0","id":1,"method":null,"params":["a"]}"#, 400, -32600, "no method");
    // In the short form there is no error object.
    let answer = answer(&mut server(), br#"{"params":["a"]}"#);
    assert_eq!((answer.status, answer.json), (400, false));
    assert!(text(&answer).contains("no method"));
}

#[test]
fn params_are_an_array_of_what_the_method_takes() {
    for params in [r#"{"stream-id":"a"}"#, "null", "1", "\"a\"", "true"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"head","params":{params}}}"#);
        refused(body.as_bytes(), 400, -32602, "JSON array");
        let body = format!(r#"{{"method":"head","params":{params}}}"#);
        let answer = answer(&mut server(), body.as_bytes());
        assert_eq!((answer.status, answer.json), (400, false));
        assert!(text(&answer).starts_with("wrong params"), "{answer:?}");
    }
    // None at all is an empty array.
    refused(br#"{"jsonrpc":"2.0","id":1,"method":"head"}"#, 400, -32602, "wrong params");
    let mut server = server();
    assert_eq!(text(&answer(&mut server, br#"{"method":"close"}"#)), "null");
}

/// Good params of each method, on an empty store.
fn good_params(method: Method) -> Value {
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let head = json!({"stream-id": "b", "seqno": 0, "entry-hash": hash});
    let row = json!({
        "header": "oQEB", "payload": "AA==", "seqno": 1, "entry-hash": hash, "time-ms": 1, "severity": 5,
        "event-type": "e", "producer": "p", "id": null,
    });
    match method {
        Method::Open | Method::Backup => json!(["x"]),
        Method::Close => json!([]),
        Method::Append => json!([
            [{"stream-id": "a", "prior-seqno": 0, "prior-hash": hash, "rows": [row]}],
            [head],
            [{"kind": "state", "key": "k", "value": "AA==", "expected": null}],
        ]),
        Method::Head => json!(["a"]),
        Method::ReadRows => json!(["a", 1, 10, true]),
        Method::FindId => json!(["a", "x"]),
        Method::ListHeads => json!([null, 10]),
        Method::Query => json!([
            {"stream-id": "a", "from-ms": 0, "to-ms": 1, "event-type": "e", "min-severity": "notice", "producer": "p"},
            null,
            10,
        ]),
        Method::ReadObject | Method::LastObject => json!(["state", "k"]),
        Method::ListObjects => json!(["state", "", null, 10]),
        Method::WriteTiles => json!(["a", []]),
        Method::ReadTile => json!(["a", 1, 0]),
        Method::ErasePayloads => json!(["a", 1, 2]),
    }
}

#[test]
fn too_few_too_many_and_wrong_arguments_are_wrong_params() {
    for method in Method::ALL {
        let good = good_params(method);
        let good = good.as_array().unwrap();
        let outcome = server().call(method, &json!(good).to_string());
        assert!(!matches!(outcome, Err(Fault::Params(_))), "{method:?}: {outcome:?}");
        if method == Method::WriteTiles {
            continue; // Denied whatever it says.
        }
        let mut wrong: Vec<Vec<Value>> = Vec::new();
        for n in 0..good.len() {
            wrong.push(good[..n].to_vec());
            for other in
                [json!(-1), json!(1.5), json!({"a": 1}), json!([[1]]), json!("\u{1f510}"), json!(true)]
            {
                let same = std::mem::discriminant(&other) == std::mem::discriminant(&good[n]);
                let optional = good[n].is_null();
                if (same && !other.is_number() && !other.is_array() && !other.is_object())
                    || (optional && other.is_string())
                {
                    continue;
                }
                let mut params = good.to_vec();
                params[n] = other;
                wrong.push(params);
            }
            if !good[n].is_null() {
                let mut params = good.to_vec();
                params[n] = Value::Null;
                wrong.push(params);
            }
        }
        wrong.push(good.iter().cloned().chain([json!(1)]).collect());
        for params in wrong {
            let outcome = server().call(method, &json!(params).to_string());
            assert!(matches!(outcome, Err(Fault::Params(_))), "{method:?} {params:?}: {outcome:?}");
        }
        for params in ["", "{}", "null", "[", "[]x", "1", "\"a\""] {
            let outcome = server().call(method, params);
            assert!(matches!(outcome, Err(Fault::Params(_))), "{method:?} {params}: {outcome:?}");
        }
    }
}

#[test]
fn members_of_records_are_those_that_are_documented() {
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let stream = |rows: &str| {
        format!(r#"[[{{"stream-id":"a","prior-seqno":0,"prior-hash":"{hash}","rows":{rows}}}],[],[]]"#)
    };
    for (method, params) in [
        (Method::Append, stream("[]").replace("rows", "Rows")),
        (Method::Append, stream("[]").replace("stream-id", "stream_id")),
        (Method::Append, stream(r#"[{"header":"oQEB","headers":"oQEB"}]"#)),
        (Method::Append, stream(r#"[{"header":"oQEB"}]"#)),
        (Method::Append, stream(r#"[{"payload":"oQEB"}]"#)),
        (Method::Append, stream("[]").replace(hash, &hash[4..])),
        (Method::Append, stream("[]").replace(hash, "")),
        (Method::Append, stream("[]").replace(hash, &hash.replace('=', ""))),
        (Method::Append, stream("[]").replace(hash, &hash.replace("A=", "B="))),
        (Method::Append, stream("[]").replace("\"prior-seqno\":0", "\"prior-seqno\":18446744073709551616")),
        (Method::Append, stream("[]").replace("\"prior-seqno\":0", "\"prior-seqno\":\"0\"")),
        (Method::Append, format!(r#"[[],[{{"stream-id":"a","seqno":0,"entry-hash":"{hash}","x":1}}],[]]"#)),
        (Method::Append, r#"[[],[],[{"kind":"state","key":"k","value":"A"}]]"#.into()),
        (Method::Append, r#"[[],[],[{"kind":"state","key":"k","value":"AA==","expect":"AA=="}]]"#.into()),
        (Method::Append, r#"[[],[],[{"kind":"State","key":"k","value":"AA=="}]]"#.into()),
        (Method::Append, r#"[[],[],[{"kind":"tile","key":"k","value":"AA=="}]]"#.into()),
        (Method::ReadObject, r#"["segments","k"]"#.into()),
        (Method::Query, r#"[{"stream":"a"},null,1]"#.into()),
        (Method::Query, r#"[{"min-severity":5},null,1]"#.into()),
        (Method::Query, r#"[{"min-severity":"info"},null,1]"#.into()),
        (Method::ReadRows, r#"["a",1,4294967296,true]"#.into()),
        (Method::ReadTile, r#"["a",256,0]"#.into()),
    ] {
        let outcome = server().call(method, &params);
        assert!(matches!(outcome, Err(Fault::Params(_))), "{method:?} {params}: {outcome:?}");
    }
}

#[test]
fn what_is_too_much_for_one_call_is_wrong_params() {
    use secure_log_rpc::limits::{MAX_NAME, MAX_OBJECT, MAX_OBJECTS, MAX_ROWS};
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let many = |one: &str, n: usize| format!("[{}]", vec![one; n].join(","));
    let stream =
        |rows: &str| format!(r#"{{"stream-id":"a","prior-seqno":0,"prior-hash":"{hash}","rows":{rows}}}"#);
    let row = |member: &str| stream(&format!(r#"[{{"header":"oQEB",{member}}}]"#));
    let base64 = |n: usize| secure_log_rpc::base64::encode(&vec![0; n]);
    let name = "n".repeat(MAX_NAME + 1);
    let head = format!(r#"{{"stream-id":"a","seqno":0,"entry-hash":"{hash}"}}"#);
    let object = r#"{"kind":"state","key":"k","value":""}"#;
    let append = |appends: &str, expect: &str, objects: &str| {
        (Method::Append, format!("[{appends},{expect},{objects}]"))
    };
    let header = |n| stream(&format!(r#"[{{"header":"{}"}}]"#, base64(n)));
    for (method, params) in [
        (Method::Head, format!(r#"["{name}"]"#)),
        (Method::ReadRows, format!(r#"["{name}",1,1,false]"#)),
        (Method::FindId, format!(r#"["{name}","a"]"#)),
        (Method::FindId, format!(r#"["a","{name}"]"#)),
        (Method::ListHeads, format!(r#"["{name}",1]"#)),
        (Method::Query, format!(r#"[{{}},"{name}",1]"#)),
        (Method::ReadObject, format!(r#"["state","{name}"]"#)),
        (Method::ListObjects, format!(r#"["state","{name}",null,1]"#)),
        (Method::ListObjects, format!(r#"["state","","{name}",1]"#)),
        (Method::LastObject, format!(r#"["state","{name}"]"#)),
        (Method::ReadTile, format!(r#"["{name}",1,0]"#)),
        append(&format!("[{}]", stream(&many(r#"{"header":""}"#, MAX_ROWS + 1))), "[]", "[]"),
        append(&many(&stream("[]"), MAX_ROWS + 1), "[]", "[]"),
        append("[]", &many(&head, MAX_OBJECTS + 1), "[]"),
        append("[]", "[]", &many(object, MAX_OBJECTS + 1)),
        append("[]", "[]", &format!("[{}]", object.replace("\"k\"", &format!("\"{name}\"")))),
        append(
            "[]",
            "[]",
            &format!("[{}]", object.replace("\"\"", &format!("\"{}\"", base64(MAX_OBJECT + 1)))),
        ),
        append(&format!("[{}]", header(65_536)), "[]", "[]"),
        append(&format!("[{}]", row(&format!("\"payload\":\"{}\"", base64((8 << 20) + 33)))), "[]", "[]"),
        append(&format!("[{}]", stream("[]").replace("\"a\"", &format!("\"{name}\""))), "[]", "[]"),
    ] {
        match server().call(method, &params) {
            Err(Fault::Params(why)) => assert!(why.contains("at most"), "{method:?} {why}"),
            other => panic!("{method:?} {}: {other:?}", &params[..80]),
        }
    }
    // At the limit the store is asked.
    let name = &name[1..];
    assert_eq!(server().call(Method::Head, &format!(r#"["{name}"]"#)).unwrap(), "null");
}

#[test]
fn calls_after_close_are_invalid() {
    let mut server = server();
    assert_eq!(server.call(Method::Close, "[]").unwrap(), "null");
    for method in Method::ALL {
        let outcome = server.call(method, &good_params(method).to_string());
        assert!(
            matches!(&outcome, Err(Fault::Store(Error::Invalid(i))) if i.reason.contains("closed")),
            "{outcome:?}"
        );
    }
}

#[test]
fn the_handshake_takes_any_config_but_an_empty_one() {
    let mut server = server();
    for config in ["x", ":memory:", "/etc/passwd", "a?b=c", "\u{1f510}", " "] {
        assert_eq!(server.call(Method::Open, &json!([config]).to_string()).unwrap(), "null");
    }
    let outcome = server.call(Method::Open, r#"[""]"#);
    assert!(matches!(outcome, Err(Fault::Store(Error::Invalid(i))) if i.field == "config"));
    let outcome = RemoteStore::connect(server, "").map(drop);
    assert!(matches!(outcome, Err(Error::Invalid(i)) if i.field == "config"));
}

#[test]
fn a_copy_is_a_plain_file_name_in_the_directory_of_the_endpoint() {
    let call = |server: &mut TheServer, name: &str| server.call(Method::Backup, &json!([name]).to_string());
    let denied = call(&mut server(), "copy.db");
    assert!(
        matches!(&denied, Err(Fault::Store(Error::Denied(why))) if why.contains("SECURE_LOG_RPC_BACKUP_DIR")),
        "{denied:?}"
    );
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("copies");
    std::fs::create_dir(&inside).unwrap();
    let mut server = server().with_backups(inside.display().to_string() + "/");
    let long = "n".repeat(201);
    for name in [
        "",
        ".",
        "..",
        ".hidden",
        "../copy.db",
        "/copy.db",
        "a/b",
        "a\\b",
        "copy.db?wait-ms=1",
        "file:copy.db",
        ":memory:",
        "a b",
        "a\0b",
        "ä",
        "a\n",
        "%2e%2e",
        "-\u{202e}",
        &long,
    ] {
        let outcome = call(&mut server, name);
        assert!(
            matches!(&outcome, Err(Fault::Store(Error::Invalid(i))) if i.field == "config"),
            "{name:?}: {outcome:?}"
        );
    }
    assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0);
    for name in ["copy.db", "2027-01-15_A.db", "-x", &long[1..]] {
        assert_eq!(call(&mut server, name).unwrap(), "null", "{name}");
        assert!(inside.join(name).is_file(), "{name}");
    }
    assert!(matches!(call(&mut server, "copy.db"), Err(Fault::Store(Error::Conflict(_)))));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was made outside");
}

// Depth.

const DEEP: usize = 1_000_000;

/// Runs on a stack of half of what wasm gives: recursion over input would not come back.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(512 * 1024).spawn(test).unwrap().join().unwrap();
}

fn brackets(inner: &str) -> String {
    format!("{}{inner}{}", "[".repeat(DEEP), "]".repeat(DEEP))
}

fn braces(inner: &str) -> String {
    format!("{}{inner}{}", "{\"a\":".repeat(DEEP), "}".repeat(DEEP))
}

#[test]
fn a_million_brackets_are_400_and_no_stack_overflow() {
    on_a_small_stack(|| {
        let mut server = server();
        for (deep, whole) in [
            (brackets(""), true),
            (brackets("1"), true),
            (braces("1"), true),
            ("[".repeat(DEEP), false),
            ("{\"a\":".repeat(DEEP), false),
            (braces("}"), false),
        ] {
            assert_eq!(answer(&mut server, deep.as_bytes()).status, 400, "at top level");
            for method in Method::ALL {
                let good = good_params(method);
                let good: Vec<String> = good.as_array().unwrap().iter().map(Value::to_string).collect();
                for n in 0..good.len().max(1) {
                    let mut params = good.clone();
                    params.resize(good.len().max(1), String::new());
                    params[n].clone_from(&deep);
                    let (name, params) = (method.name(), params.join(","));
                    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{name}","params":[{params}]}}"#);
                    // Tiles are denied, whatever they are.
                    let status = if whole && method == Method::WriteTiles { 200 } else { 400 };
                    assert_eq!(answer(&mut server, body.as_bytes()).status, status, "{name}, argument {n}");
                }
            }
            for member in ["jsonrpc", "id", "method"] {
                let body = format!(r#"{{"{member}":{deep},"params":[]}}"#);
                assert_eq!(answer(&mut server, body.as_bytes()).status, 400, "in {member}");
            }
        }
    });
}

#[test]
fn a_million_brackets_inside_records_are_400_and_no_stack_overflow() {
    on_a_small_stack(|| {
        let mut server = server();
        let places = [
            (Method::Query, r#"[{"stream-id":DEEP},null,1]"#),
            (Method::Query, r#"[{"unknown":DEEP},null,1]"#),
            (Method::Append, r#"[[{"stream-id":DEEP}],[],[]]"#),
            (Method::Append, r#"[[{"rows":[{"header":DEEP}]}],[],[]]"#),
            (Method::Append, r#"[[{"rows":[{"id":DEEP}]}],[],[]]"#),
            (Method::Append, r#"[[{"unknown":DEEP}],[],[]]"#),
            (Method::Append, r#"[[],[{"seqno":DEEP}],[]]"#),
            (Method::Append, r#"[[],[],[{"expected":DEEP}]]"#),
        ];
        for deep in [brackets(""), braces("1"), "[".repeat(DEEP)] {
            for (method, place) in places {
                let params = place.replace("DEEP", &deep);
                assert!(matches!(server.call(method, &params), Err(Fault::Params(_))), "{place}");
            }
        }
    });
}

/// Nobody looks at members that nobody knows, so a whole one does no harm.
#[test]
fn a_million_brackets_in_an_ignored_member_are_passed_over() {
    on_a_small_stack(|| {
        let mut server = server();
        for deep in [brackets(""), braces("1")] {
            let body = format!(r#"{{"meta":{deep},"jsonrpc":"2.0","id":1,"method":"head","params":["a"]}}"#);
            assert_eq!(
                text(&answer(&mut server, body.as_bytes())),
                r#"{"jsonrpc":"2.0","id":1,"result":null}"#
            );
        }
        for deep in ["[".repeat(DEEP), "{\"a\":".repeat(DEEP), braces("}")] {
            let body = format!(r#"{{"meta":{deep},"jsonrpc":"2.0","id":1,"method":"head","params":["a"]}}"#);
            assert_eq!(answer(&mut server, body.as_bytes()).status, 400);
        }
    });
}

/// A transport that answers every call alike.
struct Says(u16, String);

impl Transport for Says {
    fn call(&mut self, method: &str, _: &str) -> Result<String, TransportError> {
        if method == "open" {
            return Ok("null".into());
        }
        result_of(1, "log.example.com", self.0, self.1.as_bytes())
    }
}

#[test]
fn a_million_brackets_in_an_answer_are_an_error_and_no_stack_overflow() {
    use secure_log::store::SecureLogStore;
    on_a_small_stack(|| {
        for deep in [brackets(""), braces("1"), "[".repeat(DEEP)] {
            for answer in [
                deep.clone(),
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":{deep}}}"#),
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":[{{"header":{deep}}}]}}"#),
                format!(r#"{{"jsonrpc":"2.0","id":1,"error":{deep}}}"#),
                format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":"m","data":{deep}}}}}"#),
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":"m","data":{{"kind":"busy","reason":{deep}}}}}}}"#
                ),
                format!(r#"{{"jsonrpc":"2.0","id":{deep},"result":[]}}"#),
            ] {
                let mut store = RemoteStore::connect(Says(200, answer), "x").unwrap();
                assert!(matches!(store.read_rows("a", 1, 1, true), Err(Error::Corrupt(_))));
                assert!(matches!(store.head("a"), Err(Error::Corrupt(_))));
                assert!(matches!(store.append(&[], &[], &[]), Err(Error::Corrupt(_))));
            }
        }
    });
}

// Errors, to the client and back.

const ODD: &str = "\"q\" \\ \n\t\u{0}\u{7f}\u{1f510} ü </script> \u{2028}";

fn head(stream: &str, seqno: u64) -> StreamHead {
    StreamHead { stream_id: stream.into(), seqno, entry_hash: [seqno as u8; 32] }
}

type IsThat = fn(&Error) -> bool;

/// Every error, with every field, and how both forms say it: code, status, and what a client makes of the status.
fn every_error() -> Vec<(Error, i64, u16, IsThat)> {
    let mut all: Vec<(Error, i64, u16, IsThat)> = Vec::new();
    for text in ["", "why", ODD] {
        for actual in [None, Some(head(text, 0)), Some(head("a", u64::MAX))] {
            all.push((
                Error::Conflict(Conflict { stream_id: text.into(), actual, reason: text.into() }),
                -32001,
                409,
                |e| matches!(e, Error::Conflict(_)),
            ));
        }
        for number in [None, Some(0), Some(u64::MAX)] {
            all.push((
                Error::NotFound(Missing { what: text.into(), name: ODD.into(), number, reason: text.into() }),
                -32002,
                404,
                |e| matches!(e, Error::NotFound(_)),
            ));
        }
        for seqno in [0, 1, u64::MAX] {
            all.push((
                Error::Corrupt(Corruption { stream_id: ODD.into(), seqno, reason: text.into() }),
                -32003,
                422,
                |e| matches!(e, Error::Corrupt(_)),
            ));
        }
        all.push((
            Error::RolledBack(Box::new(Rollback {
                claimed_size: u64::MAX,
                claimed_root: [0xff; 32],
                size: 0,
                root: [1; 32],
                reason: text.into(),
            })),
            -32004,
            422,
            |e| matches!(e, Error::Corrupt(_)),
        ));
        all.push((Error::Busy(text.into()), -32005, 503, |e| matches!(e, Error::Busy(_))));
        all.push((Error::Denied(text.into()), -32006, 403, |e| matches!(e, Error::Denied(_))));
        all.push((
            Error::Invalid(InvalidArgument { field: text.into(), reason: ODD.into() }),
            -32007,
            400,
            |e| matches!(e, Error::Invalid(_)),
        ));
        all.push((Error::Unavailable(text.into()), -32008, 502, |e| matches!(e, Error::Unavailable(_))));
        all.push((Error::Storage(text.into()), -32009, 500, |e| matches!(e, Error::Storage(_))));
    }
    all
}

#[test]
fn every_error_of_a_store_arrives_as_it_was() {
    for (error, code, _, _) in every_error() {
        let sent = reply(&Form::JsonRpc("5".into()), Err(Fault::Store(error.clone())));
        assert_eq!(sent.status, 200, "what the store says is an answer");
        let answer = json_of(&sent);
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(5), &json!(code)));
        assert_eq!(answer["error"]["message"], error.to_string());
        let received = Error::from(result_of(5, "log.example.com", sent.status, &sent.body).unwrap_err());
        assert_eq!(received, error);
        // Whatever status something in between made of it.
        for status in [0, 400, 500, 503] {
            let received = Error::from(result_of(5, "log.example.com", status, &sent.body).unwrap_err());
            assert_eq!(received, error);
        }
    }
}

#[test]
fn in_the_short_form_the_status_says_what_to_do() {
    for (error, _, status, is_that) in every_error() {
        let sent = reply(&Form::Short, Err(Fault::Store(error.clone())));
        assert_eq!((sent.status, sent.json), (status, false), "{error}");
        assert_eq!(text(&sent), error.to_string());
        let received = Error::from(result_of(5, "log.example.com", sent.status, &sent.body).unwrap_err());
        assert!(is_that(&received), "{error:?} arrived as {received:?}");
        assert!(received.to_string().contains(&format!("log.example.com answered {status}")), "{received}");
        assert!(!received.to_string().contains('\n'), "{received:?}");
    }
}

#[test]
fn errors_of_the_protocol_are_invalid_calls_for_the_client() {
    for (fault, code, status) in [
        (Fault::Parse("x".into()), -32700, 400),
        (Fault::Request("x".into()), -32600, 400),
        (Fault::Method("x".into()), -32601, 404),
        (Fault::Params("x".into()), -32602, 400),
    ] {
        let sent = reply(&Form::JsonRpc("5".into()), Err(fault.clone()));
        assert_eq!((sent.status, error_of(&sent).0), (status, code));
        let received = Error::from(result_of(5, "log.example.com", sent.status, &sent.body).unwrap_err());
        assert!(
            matches!(&received, Error::Invalid(i) if i.field == "call" && i.reason.contains('x')),
            "{received:?}"
        );
        let short = reply(&Form::Short, Err(fault));
        assert_eq!((short.status, short.json), (status, false));
    }
}

#[test]
fn statuses_of_others_say_whether_it_may_have_happened() {
    let cases: [(u16, IsThat); 14] = [
        (400, |e| matches!(e, Error::Invalid(_))),
        (401, |e| matches!(e, Error::Denied(_))),
        (403, |e| matches!(e, Error::Denied(_))),
        (408, |e| matches!(e, Error::Unavailable(_))),
        (413, |e| matches!(e, Error::Invalid(i) if i.reason.contains("too large"))),
        (429, |e| matches!(e, Error::Busy(_))),
        (500, |e| matches!(e, Error::Storage(_))),
        (502, |e| matches!(e, Error::Unavailable(_))),
        (503, |e| matches!(e, Error::Busy(_))),
        (504, |e| matches!(e, Error::Unavailable(_))),
        (204, |e| matches!(e, Error::Corrupt(_))),
        (302, |e| matches!(e, Error::Corrupt(_))),
        (418, |e| matches!(e, Error::Storage(_))),
        (0, |e| matches!(e, Error::Storage(_))),
    ];
    let page = format!("<!DOCTYPE html>\r\n<html>{}</html>", "<p>It is broken.</p>\n".repeat(10_000));
    for (status, is_that) in cases {
        for body in ["", "Bad Gateway", &page] {
            let error = Error::from(result_of(1, "log.example.com", status, body.as_bytes()).unwrap_err());
            assert!(is_that(&error), "{status}: {error:?}");
            let said = error.to_string();
            assert!(said.contains("log.example.com") && said.len() < 1000, "{said}");
            assert!(!said.contains(['\n', '\r']), "{said:?}");
        }
    }
}

// Answers.

fn taken(status: u16, body: &str) -> Result<String, String> {
    result_of(5, "log.example.com", status, body.as_bytes()).map_err(|error| match error {
        TransportError::Failed { status: its, body } => {
            assert_eq!(its, status);
            body
        }
        other => panic!("{other:?}"),
    })
}

#[test]
fn results_are_taken_out_of_both_forms() {
    for (body, result) in [
        (r#"{"jsonrpc":"2.0","id":5,"result":null}"#, "null"),
        (r#"{"jsonrpc":"2.0","id":5,"result":[1, 2]}"#, "[1, 2]"),
        (r#"{"result":{"a":1},"jsonrpc":"2.0","id":5}"#, r#"{"a":1}"#),
        (r#"{"jsonrpc":"2.0","id":5,"result":7,"error":null}"#, "7"),
        (r#"{"jsonrpc":"2.0","id":5,"result":null,"error":null}"#, "null"),
        (" {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":\"\\u0061\"}\n", r#""\u0061""#),
        (r#"{"jsonrpc":"2.0","id":5,"result":18446744073709551615,"meta":1}"#, "18446744073709551615"),
        ("null", "null"),
        ("[]", "[]"),
        (r#"{"rows":[],"next":null}"#, r#"{"rows":[],"next":null}"#),
        (r#""AAAA""#, r#""AAAA""#),
    ] {
        assert_eq!(taken(200, body).as_deref(), Ok(result), "{body}");
    }
}

#[test]
fn the_answer_to_another_call_is_not_taken() {
    for body in [
        r#"{"jsonrpc":"2.0","id":4,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":"5","result":null}"#,
        r#"{"jsonrpc":"2.0","id":5.0,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":null}"#,
        r#"{"jsonrpc":"2.0","result":null}"#,
        r#"{"jsonrpc":"2.0","id":5}"#,
        r#"{"jsonrpc":"2.0","id":5,"error":null}"#,
        r#"{"jsonrpc":"2.0","id":4,"error":{"code":-32005,"message":"busy","data":{"kind":"busy","reason":"x"}}}"#,
    ] {
        let why = taken(200, body).unwrap_err();
        assert!(why.contains("log.example.com answered another call"), "{body}: {why}");
    }
    // An error about a request of which the far end knows no id has none.
    for id in ["5", "null"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32700,"message":"m"}}}}"#);
        assert_eq!(taken(400, &body).unwrap_err(), r#"{"code":-32700,"message":"m"}"#);
    }
    let body = r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"m"}}"#;
    assert_eq!(taken(400, body).unwrap_err(), r#"{"code":-32700,"message":"m"}"#);
}

#[test]
fn an_error_beats_a_result() {
    let body = r#"{"jsonrpc":"2.0","id":5,"result":null,"error":{"code":1,"message":"m"}}"#;
    assert_eq!(taken(200, body).unwrap_err(), r#"{"code":1,"message":"m"}"#);
    for odd in ["0", "false", "\"\"", "[]", "{}"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":5,"result":null,"error":{odd}}}"#);
        assert_eq!(taken(200, &body).unwrap_err(), odd);
    }
}

#[test]
fn garbage_is_no_result() {
    for body in
        ["", " ", "ok", "<html>", "nullx", "{", "\u{fffd}", "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":nul"]
    {
        let why = taken(200, body).unwrap_err();
        assert!(why.contains("no JSON") && why.contains("log.example.com"), "{body}: {why}");
    }
    assert!(result_of(5, "log.example.com", 200, &[0xff, 0xfe, 0]).is_err());
    // JSON is a result only under a status that says so.
    for status in [0, 199, 300, 302, 304, 400, 404, 500, 503, 999] {
        assert!(taken(status, "null").is_err(), "{status}");
        assert!(taken(status, "[]").is_err(), "{status}");
    }
}

// Anything.

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..5).prop_map(Value::from),
        Just(json!(u64::MAX)),
        any::<String>().prop_map(Value::from),
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(|b| json!(secure_log_rpc::base64::encode(&b))),
        proptest::sample::select(vec![
            "",
            "a",
            "_log",
            "state",
            "segment",
            "frozen",
            "stream",
            "notice",
            "debug",
            "oQEB",
            "AA==",
            "x:1:2",
            "1:1",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((member(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn member() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "stream-id",
        "prior-seqno",
        "prior-hash",
        "rows",
        "header",
        "payload",
        "seqno",
        "entry-hash",
        "time-ms",
        "severity",
        "event-type",
        "producer",
        "id",
        "kind",
        "key",
        "value",
        "expected",
        "from-ms",
        "to-ms",
        "min-severity",
        "jsonrpc",
        "result",
        "error",
        "data",
        "code",
        "message",
        "reason",
        "next",
        "row",
        "other",
    ])
    .prop_map(str::to_owned)
}

/// How many values there are in a value, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Puts `other` in the place of the value number `n`.
fn replace(value: &mut Value, n: &mut usize, other: &Value) {
    if *n == 0 {
        *n = usize::MAX;
        *value = other.clone();
        return;
    }
    *n = n.wrapping_sub(1);
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, n, other)),
        Value::Object(members) => members.values_mut().for_each(|value| replace(value, n, other)),
        _ => {}
    }
}

/// JSON of a fault or a result is JSON.
fn is_an_answer(outcome: Result<String, Fault>) {
    for form in [Form::JsonRpc("1".into()), Form::Short] {
        let reply = reply(&form, outcome.clone());
        assert!((200..=599).contains(&reply.status));
        match reply.json {
            true => drop(serde_json::from_slice::<Value>(&reply.body).unwrap()),
            false => drop(String::from_utf8(reply.body).unwrap()),
        }
    }
}

fn message() -> &'static [String] {
    static MESSAGES: OnceLock<Vec<String>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        vec![
            r#"{"jsonrpc":"2.0","id":5,"method":"read-rows","params":["doors",1,10,true]}"#.into(),
            r#"{"method":"head","params":["doors"]}"#.into(),
            r#"{"jsonrpc":"2.0","id":5,"result":[{"header":"oQEB","seqno":1}]}"#.into(),
            r#"{"jsonrpc":"2.0","id":5,"error":{"code":-32001,"message":"m","data":{"kind":"conflict","stream-id":"a","actual":null,"reason":"r"}}}"#.into(),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_a_call_or_a_fault(body in any::<Vec<u8>>()) {
        is_an_answer(parse(&body).map(|call| call.params.to_owned()).map_err(|(_, fault)| fault));
    }

    #[test]
    fn any_bytes_are_a_result_or_an_error(body in any::<Vec<u8>>(), status in any::<u16>()) {
        if let Err(error) = result_of(5, "log.example.com", status, &body) {
            let _ = Error::from(error).to_string();
        }
    }

    /// Messages with some bytes changed, on both ends.
    #[test]
    fn damaged_messages_are_taken_or_refused(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        status in prop_oneof![Just(200u16), any::<u16>()],
    ) {
        let mut body = which.get(message()).clone().into_bytes();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        is_an_answer(parse(&body).map(|call| call.params.to_owned()).map_err(|(_, fault)| fault));
        if let Err(error) = result_of(5, "log.example.com", status, &body) {
            let _ = Error::from(error).to_string();
        }
    }

    #[test]
    fn any_params_are_answered(method in proptest::sample::select(Method::ALL.to_vec()), params in any_json()) {
        let mut server = server();
        is_an_answer(server.call(method, &params.to_string()));
        let args = Value::Array(vec![params.clone(), params]);
        is_an_answer(server.call(method, &args.to_string()));
    }

    /// Good params with one value replaced by another.
    #[test]
    fn almost_good_params_are_answered(
        method in proptest::sample::select(Method::ALL.to_vec()),
        at in any::<prop::sample::Index>(),
        other in any_json(),
    ) {
        let mut params = good_params(method);
        let mut n = at.index(count(&params));
        replace(&mut params, &mut n, &other);
        is_an_answer(server().call(method, &params.to_string()));
    }

    /// Whatever the far end answers, the client ends with a value or an error.
    #[test]
    fn any_answer_is_read(status in prop_oneof![Just(200u16), any::<u16>()], answer in any_json()) {
        use secure_log::store::{ObjectKind, SecureLogStore};
        for answer in [
            answer.to_string(),
            json!({"jsonrpc": "2.0", "id": 1, "result": answer}).to_string(),
            json!({"jsonrpc": "2.0", "id": 1, "error": answer}).to_string(),
            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m", "data": answer}}).to_string(),
        ] {
            let mut store = RemoteStore::connect(Says(status, answer), "x").unwrap();
            let _ = store.append(&[], &[], &[]);
            let _ = store.head("a");
            let _ = store.read_rows("a", 1, 1, true);
            let _ = store.find_id("a", "i");
            let _ = store.list_heads(None, 1);
            let _ = store.query(&secure_log::model::QueryFilter::default(), None, 1);
            let _ = store.read_object(ObjectKind::State, "k");
            let _ = store.list_objects(ObjectKind::State, "", None, 1);
            let _ = store.last_object(ObjectKind::State, "");
            let _ = store.read_tile("a", 1, 0);
            let _ = store.backup("x");
            let _ = store.close();
        }
    }

    #[test]
    fn any_text_in_an_error_arrives_as_it_was(texts in any::<[String; 3]>(), number in any::<Option<u64>>(), hash in any::<[u8; 32]>()) {
        let [a, b, c] = texts;
        let actual = number.map(|seqno| StreamHead { stream_id: c.clone(), seqno, entry_hash: hash });
        for error in [
            Error::conflict(&a, actual, &b),
            Error::not_found(&a, &b, number, &c),
            Error::corrupt(&a, number.unwrap_or(0), &b),
            Error::invalid(&a, &b),
            Error::Storage(a),
        ] {
            let sent = reply(&Form::JsonRpc("5".into()), Err(Fault::Store(error.clone())));
            prop_assert_eq!(Error::from(result_of(5, "p", sent.status, &sent.body).unwrap_err()), error);
        }
    }
}
