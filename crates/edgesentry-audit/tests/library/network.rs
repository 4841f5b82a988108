//! Who may connect.

use std::net::IpAddr;

use edgesentry_audit::{AllowedSource, NetworkPolicy, NetworkPolicyError, ingest};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn policy(rules: &[&str]) -> NetworkPolicy {
    let mut policy = NetworkPolicy::new();
    for rule in rules {
        policy.allow(rule).unwrap();
    }
    policy
}

#[track_caller]
fn allows(rules: &[&str], allowed: &[&str], denied: &[&str]) {
    let policy = policy(rules);
    for source in allowed {
        assert_eq!(policy.check(ip(source)), Ok(()), "{source}");
    }
    for source in denied {
        assert_eq!(policy.check(ip(source)), Err(NetworkPolicyError::Denied { ip: ip(source) }), "{source}");
    }
}

#[test]
fn nobody_may_connect_without_a_rule() {
    allows(&[], &[], &["127.0.0.1", "::1", "10.0.0.1"]);
    let error = NetworkPolicy::default().check(ip("192.0.2.1")).unwrap_err();
    assert_eq!(error.to_string(), "source 192.0.2.1 is not allowed");
}

#[test]
fn addresses_and_blocks_of_both_families_are_allowed() {
    allows(&["10.0.0.0/8"], &["10.0.0.0", "10.255.255.255"], &["11.0.0.0", "9.255.255.255", "::a00:1"]);
    allows(&["192.0.2.7"], &["192.0.2.7"], &["192.0.2.8"]);
    allows(&["2001:db8::/32"], &["2001:db8::1", "2001:db8:ffff::"], &["2001:db9::1", "10.0.0.1"]);
    allows(&["::1"], &["::1"], &["::2", "127.0.0.1"]);
    allows(&["10.1.2.3/8"], &["10.9.9.9"], &["11.1.2.3"]);
    allows(&["0.0.0.0/0"], &["192.0.2.1"], &["::1"]);
    allows(&["::/0"], &["::1"], &["192.0.2.1"]);
    allows(&["10.0.0.0/32"], &["10.0.0.0"], &["10.0.0.1"]);
    let mut policy = NetworkPolicy::new();
    policy.allow_ip(ip("192.0.2.7"));
    policy.allow_cidr("10.0.0.0/8").unwrap();
    assert!(policy.check(ip("192.0.2.7")).is_ok() && policy.check(ip("10.1.1.1")).is_ok());
}

#[test]
fn ipv4_inside_ipv6_is_ipv4() {
    allows(&["10.0.0.0/8", "192.0.2.7"], &["::ffff:10.1.2.3", "::ffff:192.0.2.7"], &["::ffff:11.0.0.1"]);
    allows(&["::ffff:10.0.0.0/104"], &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.1"]);
    allows(&["::ffff:192.0.2.7"], &["192.0.2.7"], &["192.0.2.8"]);
    allows(&["::ffff:0:0/96"], &["192.0.2.7"], &["::1"]);
    // No source looks like that, so the rule allows none; above all it does not allow all of IPv4.
    allows(&["::ffff:0:0/95"], &[], &["192.0.2.7", "::ffff:192.0.2.7"]);
}

#[test]
fn what_is_no_rule_is_refused_and_allows_nobody() {
    let mut policy = NetworkPolicy::new();
    for wrong in [
        "",
        "10.0.0.0/33",
        "::/129",
        "10.0.0/8",
        "example.com",
        "10.0.0.0/-1",
        " 10.0.0.0/8",
        "10.0.0.0/",
        "1.2.3.4:80",
    ] {
        let error = policy.allow(wrong).unwrap_err();
        assert_eq!(error, NetworkPolicyError::InvalidSource { text: wrong.into() });
    }
    let error = policy.allow_cidr("10.0.0.1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"10.0.0.1\" is not a block of addresses such as 10.0.0.0/8 or 2001:db8::/32"
    );
    assert_eq!(policy.allowed(), []);
}

#[test]
fn rules_are_shown_as_they_count() {
    let policy = policy(&["10.1.2.3/8", "::ffff:192.0.2.7", "10.0.0.0/8"]);
    let shown: Vec<String> = policy.allowed().iter().map(AllowedSource::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7"]);
    let also: ingest::NetworkPolicy = policy;
    assert!(also.check(ip("10.0.0.1")).is_ok());
}
