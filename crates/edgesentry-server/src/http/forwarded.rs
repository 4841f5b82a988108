//! Whose request it is, behind proxies.

use std::net::{IpAddr, SocketAddr};

use edgesentry_audit::NetworkPolicy;

/// The address in an element of `X-Forwarded-For`, with or without a port.
fn address(element: &str) -> Option<IpAddr> {
    let element = element.trim();
    let parsed = element.parse::<IpAddr>().ok().or_else(|| {
        element
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .and_then(|v6| v6.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::from))
            .or_else(|| element.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
    });
    parsed.map(|ip| ip.to_canonical())
}

/// The client of a request that the trusted proxy `peer` passed on: from the right, the first element of its
/// `X-Forwarded-For` headers that is not a trusted proxy. What stands left of it anybody can have written. `None`
/// where that element is no address. Without headers it is the proxy's own request.
pub(crate) fn client<'a>(
    peer: IpAddr,
    trusted: &NetworkPolicy,
    headers: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> Option<IpAddr> {
    let mut client = peer;
    for header in headers.rev() {
        let text = std::str::from_utf8(header).ok()?;
        for element in text.rsplit(',') {
            client = address(element)?;
            if trusted.check(client).is_err() {
                return Some(client);
            }
        }
    }
    Some(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[&str]) -> Option<String> {
        let mut trusted = NetworkPolicy::new();
        trusted.allow_cidr("10.0.0.0/8").unwrap();
        let peer = "10.0.0.1".parse().unwrap();
        client(peer, &trusted, headers.iter().map(|h| h.as_bytes())).map(|ip| ip.to_string())
    }

    #[test]
    fn the_first_untrusted_from_the_right_counts() {
        let is = |headers: &[&str], expected: &str| {
            assert_eq!(of(headers).as_deref(), Some(expected), "{headers:?}")
        };
        is(&[], "10.0.0.1");
        is(&["192.0.2.7"], "192.0.2.7");
        is(&["127.0.0.1, 192.0.2.7"], "192.0.2.7");
        is(&["127.0.0.1, 192.0.2.7, 10.2.3.4,10.0.0.9"], "192.0.2.7");
        is(&["127.0.0.1", "192.0.2.7", "10.2.3.4"], "192.0.2.7");
        is(&["10.2.3.4, 10.9.9.9"], "10.2.3.4");
        is(&["192.0.2.7:4711"], "192.0.2.7");
        is(&["[2001:db8::1]:80, [2001:db8::2]"], "2001:db8::2");
        is(&["::ffff:192.0.2.7"], "192.0.2.7");
    }

    #[test]
    fn what_is_no_address_is_nobody() {
        for header in ["", "unknown", "192.0.2.7,", "192.0.2.7, _hidden", "192.0.2.7 10.0.0.1", "\u{e4}"] {
            assert_eq!(of(&[header]), None, "{header:?}");
        }
        assert_eq!(of(&["nonsense, 192.0.2.7"]).as_deref(), Some("192.0.2.7"));
    }
}
