//! What the environment says about the far end.

use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use secure_log_rpc::TransportError;

/// Where to call, and how patiently.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `https`, not `http`.
    pub tls: bool,
    /// Host, and port if the URL has one.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Value of the `authorization` header.
    pub authorization: Option<String>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often a call is made again.
    pub retries: u32,
}

fn invalid(name: &str, reason: impl AsRef<str>) -> TransportError {
    TransportError::Invalid(format!("{name}: {}", reason.as_ref()))
}

fn number(
    get: &impl Fn(&str) -> Option<String>,
    name: &str,
    default: u32,
    most: u32,
) -> Result<u32, TransportError> {
    match get(name).filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n <= most)
            .ok_or_else(|| invalid(name, format!("{text:?} is not a number from 0 to {most}"))),
    }
}

impl Settings {
    /// The token by itself.
    pub fn token(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }

    /// From variables as `get` finds them.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming the variable; never with the token in it.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, TransportError> {
        const URL: &str = "SECURE_LOG_RPC_URL";
        const TOKEN: &str = "SECURE_LOG_RPC_TOKEN";
        let url = get(URL).filter(|url| !url.is_empty()).ok_or_else(|| {
            invalid(URL, "is not set: give the URL of the endpoint, as in https://log.example.com/rpc")
        })?;
        // A URL may hold a password, so it is not repeated in errors.
        let uri: Uri = url.parse().map_err(|e| invalid(URL, format!("is no URL: {e}")))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(invalid(URL, "begins with neither https:// nor http://")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(invalid(URL, "holds a user name; the token goes into SECURE_LOG_RPC_TOKEN"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| invalid(URL, "names no host"))?;
        // The parser takes any digits for a port.
        if authority.len() > host.len() && uri.port_u16().is_none() {
            return Err(invalid(URL, "has a port that is none: they end at 65535"));
        }
        let token = get(TOKEN).filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(invalid(TOKEN, "holds characters that no header can carry"));
        }
        if token.is_some() && !tls && !is_loopback(host) {
            return Err(invalid(
                URL,
                format!("the token would go to {host} in clear: use https (plain http is for loopback)"),
            ));
        }
        let timeout = number(&get, "SECURE_LOG_RPC_TIMEOUT_MS", 30_000, 3_600_000)?;
        if timeout == 0 {
            return Err(invalid("SECURE_LOG_RPC_TIMEOUT_MS", "is 0: nothing answers in no time"));
        }
        Ok(Self {
            tls,
            authority: authority.to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            authorization: token.map(|token| format!("Bearer {token}")),
            timeout: Duration::from_millis(timeout.into()),
            retries: number(&get, "SECURE_LOG_RPC_RETRIES", 5, 100)?,
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How long to wait before attempt number `attempt` (from 1) is made again: twice as long each time, up to 2 seconds,
/// or what the far end asked for, up to 10; `random` spreads those who failed together.
pub fn pause(attempt: u32, retry_after: Option<Duration>, random: u8) -> Duration {
    if let Some(asked) = retry_after {
        return asked.min(Duration::from_secs(10));
    }
    let longest = Duration::from_millis(100 << attempt.saturating_sub(1).min(5)).min(Duration::from_secs(2));
    longest / 2 + (longest / 2).mul_f32(f32::from(random) / 255.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(get).map_err(|e| e.to_string())
    }

    #[test]
    fn the_url_says_where_and_how() {
        let settings = read(&[("SECURE_LOG_RPC_URL", "https://log.example.com:8443/audit/rpc?a=b")]).unwrap();
        assert!(settings.tls && settings.authorization.is_none());
        assert_eq!((&*settings.authority, &*settings.path), ("log.example.com:8443", "/audit/rpc?a=b"));
        assert_eq!((settings.timeout, settings.retries), (Duration::from_secs(30), 5));
        let settings = read(&[("SECURE_LOG_RPC_URL", "http://127.0.0.1:8787")]).unwrap();
        assert_eq!((settings.tls, &*settings.path), (false, "/"));
    }

    #[test]
    fn odd_urls_are_refused_and_not_repeated() {
        for (url, word) in [
            ("", "not set"),
            ("log.example.com", "https://"),
            ("ftp://log.example.com", "https://"),
            ("https://", "URL"),
            ("https://user:hunter2@log.example.com", "user name"),
            ("https://a b", "URL"),
            ("/rpc", "https://"),
            ("https://log.example.com:65536", "port"),
            ("https://log.example.com:99999999/rpc", "port"),
            ("http://[::1]:65536", "port"),
        ] {
            let error = read(&[("SECURE_LOG_RPC_URL", url)]).map(|_| ()).unwrap_err();
            assert!(error.contains(word) && error.contains("SECURE_LOG_RPC_URL"), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_token_goes_in_clear_to_loopback_only() {
        let with = |url| read(&[("SECURE_LOG_RPC_URL", url), ("SECURE_LOG_RPC_TOKEN", "hunter2")]);
        for url in
            ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:1/", "http://localhost", "https://a.b"]
        {
            assert_eq!(with(url).unwrap().authorization.as_deref(), Some("Bearer hunter2"), "{url}");
        }
        for url in
            ["http://10.0.0.1", "http://a.b", "http://127.0.0.1.a.b", "http://localhost.a.b", "http://[::2]"]
        {
            let error = with(url).map(|_| ()).unwrap_err();
            assert!(error.contains("https") && !error.contains("hunter2"), "{url}: {error}");
        }
        let error = read(&[("SECURE_LOG_RPC_URL", "https://a.b"), ("SECURE_LOG_RPC_TOKEN", "hun\nter2")]);
        assert!(error.map(|_| ()).unwrap_err().contains("SECURE_LOG_RPC_TOKEN"));
    }

    #[test]
    fn numbers_are_checked() {
        let with = |name, value| read(&[("SECURE_LOG_RPC_URL", "https://a.b"), (name, value)]);
        assert_eq!(with("SECURE_LOG_RPC_TIMEOUT_MS", "250").unwrap().timeout, Duration::from_millis(250));
        assert_eq!(with("SECURE_LOG_RPC_RETRIES", "0").unwrap().retries, 0);
        for (name, value) in [
            ("SECURE_LOG_RPC_TIMEOUT_MS", "0"),
            ("SECURE_LOG_RPC_TIMEOUT_MS", "soon"),
            ("SECURE_LOG_RPC_RETRIES", "-1"),
            ("SECURE_LOG_RPC_RETRIES", "101"),
        ] {
            assert!(with(name, value).map(|_| ()).unwrap_err().contains(name), "{name}={value}");
        }
    }

    #[test]
    fn pauses_grow_to_two_seconds_and_are_spread() {
        let range = |attempt| (pause(attempt, None, 0).as_millis(), pause(attempt, None, 255).as_millis());
        assert_eq!(range(1), (50, 100));
        assert_eq!(range(2), (100, 200));
        assert_eq!(range(50), (1000, 2000));
        assert_eq!(pause(1, Some(Duration::from_secs(3)), 9), Duration::from_secs(3));
        assert_eq!(pause(1, Some(Duration::from_secs(3600)), 9), Duration::from_secs(10));
    }
}
