//! Who may send: the network gate, and whose address counts behind proxies.

use crate::common::certs::Authority;
use crate::common::{Http, TestServer, allowing};
use edgesentry_audit::NetworkPolicy;
use edgesentry_server::http::TlsSettings;

const PAYLOAD: &[u8] = b"door closed";

#[test]
fn without_a_policy_nobody_is_let_in() {
    let server = TestServer::with(|builder| builder.policy(NetworkPolicy::new()));
    let mut device = server.device("lift-01");
    for _ in 0..3 {
        let answer = server.http().post(&device.body(PAYLOAD));
        assert_eq!((answer.status, &answer.json()["status"]), (403, &"forbidden".into()));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.http().get(path).status, 403, "{path}");
    }
    server.await_metric("edgesentry_connections_dropped_total{reason=\"not_allowed\"}", |n| n == 6.0);
    assert_eq!(server.metric("edgesentry_http_responses_total{code=\"403\"}"), 6.0);
    assert_eq!(server.metric("edgesentry_connections_opened_total"), 0.0);
}

#[test]
fn a_refused_source_gets_its_answer_before_it_sends_anything() {
    let server = TestServer::with(|builder| builder.policy(allowing(&["192.0.2.0/24"])));
    assert_eq!(server.http().answer().status, 403);
}

#[test]
fn over_tls_a_refused_source_gets_no_handshake() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new("test");
    let (cert, key) = authority.server().write(dir.path());
    let server = TestServer::with(|builder| {
        builder.policy(allowing(&["192.0.2.0/24"])).tls(TlsSettings::new(cert, key))
    });
    let mut plain = server.http();
    assert!(plain.is_ended(), "not a byte");
    server.await_metric("edgesentry_connections_dropped_total{reason=\"not_allowed\"}", |n| n == 1.0);
    assert_eq!(server.metric("edgesentry_connections_dropped_total{reason=\"handshake\"}"), 0.0);
    assert_eq!(server.metric("edgesentry_http_responses_total{code=\"403\"}"), 0.0);
}

/// A server behind a proxy at 127.0.0.1 whose clients are 10.0.0.0/8.
fn behind_proxy() -> TestServer {
    TestServer::with(|builder| {
        builder
            .policy(allowing(&["10.0.0.0/8", "2001:db8::/32"]))
            .trusted_proxies(allowing(&["127.0.0.1", "127.0.0.2"]))
    })
}

#[test]
fn behind_a_proxy_the_client_it_saw_counts() {
    let server = behind_proxy();
    let mut device = server.device("lift-01");
    let mut http = server.http();
    let mut status = |forwarded: &[&str]| {
        let headers: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
        let answer = http.post_with(&headers, b"nonsense");
        assert!(matches!(answer.status, 400 | 403), "{}", answer.text());
        answer.status
    };
    assert_eq!(status(&["10.1.2.3"]), 400, "let in, and judged");
    assert_eq!(status(&["2001:db8::7"]), 400);
    assert_eq!(status(&["192.0.2.1"]), 403);
    assert_eq!(status(&["10.1.2.3, 192.0.2.1"]), 403, "what the client itself wrote does not count");
    assert_eq!(status(&["10.1.2.3", "192.0.2.1"]), 403, "in whichever header");
    assert_eq!(status(&["192.0.2.1, 10.1.2.3"]), 400);
    assert_eq!(status(&["192.0.2.1, 10.1.2.3, 127.0.0.2"]), 400, "through two proxies");
    assert_eq!(status(&["10.1.2.3, 192.0.2.1, 127.0.0.2"]), 403);
    assert_eq!(status(&["10.1.2.3, unknown"]), 403, "no address is nobody");
    assert_eq!(status(&["10.1.2.3,"]), 403);
    assert_eq!(status(&[]), 403, "the proxy itself is no client");
    let answer = http.post_with(&[("x-forwarded-for", "10.1.2.3")], &device.body(PAYLOAD));
    assert_eq!(answer.status, 202);
    assert_eq!(http.request("GET", "/metrics", &[("x-forwarded-for", "192.0.2.1")], b"").status, 403);
}

#[test]
fn from_anybody_else_the_header_means_nothing() {
    let server = TestServer::with(|builder| {
        builder.policy(allowing(&["10.0.0.0/8"])).trusted_proxies(allowing(&["192.0.2.1"]))
    });
    assert_eq!(server.http().post_with(&[("x-forwarded-for", "10.1.2.3")], b"{}").status, 403);
    let server = TestServer::start();
    let answer = server.http().post_with(&[("x-forwarded-for", "192.0.2.1")], b"nonsense");
    assert_eq!(answer.status, 400, "it does not shut out either");
}

#[test]
fn a_trusted_proxy_names_its_requests_and_nobody_else_does() {
    let server = behind_proxy();
    let named = [("x-forwarded-for", "10.1.2.3"), ("x-request-id", "abc-123")];
    assert_eq!(server.http().post_with(&named, b"{}").header("x-request-id"), Some("abc-123"));
    let forged = [("x-forwarded-for", "10.1.2.3"), ("x-request-id", "a b{}\"")];
    assert_ne!(server.http().post_with(&forged, b"{}").header("x-request-id"), Some("a b{}\""));
    let server = TestServer::start();
    let answer = server.http().post_with(&[("x-request-id", "abc-123")], b"{}");
    assert_ne!(answer.header("x-request-id"), Some("abc-123"));
}

#[test]
fn ipv6_sources_are_told_apart() {
    let listen = "[::1]:0".parse().unwrap();
    let server = TestServer::with(|builder| builder.listen(listen).policy(allowing(&["::1"])));
    assert_eq!(Http::connect(server.addr).get("/healthz").status, 200);
    let server = TestServer::with(|builder| builder.listen(listen).policy(allowing(&["0.0.0.0/0"])));
    assert_eq!(Http::connect(server.addr).get("/healthz").status, 403);
    // A dual-stack socket sees IPv4 clients as mapped addresses.
    let listen = "[::]:0".parse().unwrap();
    let server = TestServer::with(|builder| builder.listen(listen).policy(allowing(&["127.0.0.1"])));
    let v4 = (std::net::Ipv4Addr::LOCALHOST, server.addr.port()).into();
    assert_eq!(Http::connect(v4).get("/healthz").status, 200);
}
