//! What `eds serve-mqtt` can set.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::{MqttError, topic};

/// How to reach a broker and what to take from it.
#[derive(Debug, Clone)]
pub struct MqttConfig {
    /// The broker's name or address.
    pub broker: String,
    /// Its port.
    pub port: u16,
    /// The topic filter that records arrive on; may have wildcards.
    pub topic: String,
    /// The client id: names the session that the broker keeps. No two clients may have the same at once.
    pub client_id: String,
    /// User name and password.
    pub credentials: Option<Credentials>,
    /// TLS; none: plain TCP.
    #[cfg(feature = "transport-mqtt-tls")]
    pub tls: Option<super::MqttTls>,
    /// The topic level, counted from 1, that says who sent the message; it must be the record's device. Means something
    /// where the broker lets each device publish on its own topic only.
    pub identity_level: Option<usize>,
    /// How often the connection is tried for life, from 5 s on.
    pub keep_alive: Duration,
    /// First and longest delay before a new attempt, of the broker as of the gate.
    pub backoff: (Duration, Duration),
    /// How long stopping may take.
    pub drain: Duration,
}

impl MqttConfig {
    /// A plain connection without credentials.
    pub fn new(broker: impl Into<String>, topic: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            broker: broker.into(),
            port: 1883,
            topic: topic.into(),
            client_id: client_id.into(),
            credentials: None,
            #[cfg(feature = "transport-mqtt-tls")]
            tls: None,
            identity_level: None,
            keep_alive: Duration::from_secs(30),
            backoff: (Duration::from_millis(100), Duration::from_secs(30)),
            drain: Duration::from_secs(20),
        }
    }

    pub(super) fn check(&self) -> Result<(), MqttError> {
        let bad = |field, reason: &str| Err(MqttError::Config { field, reason: reason.into() });
        if self.broker.is_empty() {
            return bad("broker", "it is empty");
        }
        if self.port == 0 {
            return bad("port", "0 is no port");
        }
        if self.client_id.is_empty() {
            return bad("client id", "it is empty: the broker keeps a session by it");
        }
        if self.client_id.len() > 65_535 || self.client_id.contains('\0') {
            return bad("client id", "it is longer than 65,535 bytes or has a NUL character");
        }
        if let Err(reason) = topic::check_filter(&self.topic) {
            return bad("topic", reason);
        }
        if self.identity_level.is_some_and(|n| !topic::has_level(&self.topic, n)) {
            return bad("identity level", "topics of this filter have no such level (the first is 1)");
        }
        Ok(())
    }
}

/// User name and password for a broker. Neither is shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: Option<Vec<u8>>,
}

/// The user name.
pub const USERNAME: &str = "EDS_MQTT_USERNAME";
/// The password.
pub const PASSWORD: &str = "EDS_MQTT_PASSWORD";
/// A file with the password; one line end at its end does not count.
pub const PASSWORD_FILE: &str = "EDS_MQTT_PASSWORD_FILE";

impl Credentials {
    /// From values at hand.
    pub fn new(username: impl Into<String>, password: Option<Vec<u8>>) -> Self {
        Self { username: username.into(), password }
    }

    /// From `EDS_MQTT_USERNAME` and either `EDS_MQTT_PASSWORD` or `EDS_MQTT_PASSWORD_FILE`, as `variable` gives them.
    /// Command lines are visible to everybody, so there are no flags for these.
    ///
    /// # Errors
    ///
    /// A password without a user name or given twice, a file that cannot be read.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, MqttError> {
        let bad = |field, reason: String| Err(MqttError::Config { field, reason });
        let username = variable(USERNAME).filter(|name| !name.is_empty());
        let password = match (variable(PASSWORD), variable(PASSWORD_FILE)) {
            (Some(_), Some(_)) => {
                return bad(PASSWORD, format!("{PASSWORD_FILE} is set as well: leave one out"));
            }
            (Some(password), None) => Some(password.into_bytes()),
            (None, Some(path)) => match read(Path::new(&path)) {
                Ok(password) => Some(password),
                Err(error) => return bad(PASSWORD_FILE, format!("{path}: {error}")),
            },
            (None, None) => None,
        };
        match (username, password) {
            (None, Some(_)) => bad(USERNAME, "there is a password and no user name".into()),
            (None, None) => Ok(None),
            (Some(username), password) => Ok(Some(Self { username, password })),
        }
    }

    pub(super) fn username(&self) -> &str {
        &self.username
    }

    pub(super) fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut password = std::fs::read(path)?;
    if password.ends_with(b"\n") {
        password.pop();
        if password.ends_with(b"\r") {
            password.pop();
        }
    }
    if password.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is empty"));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let good = || MqttConfig::new("localhost", "devices/+/ingest", "eds");
        assert_eq!(good().check(), Ok(()));
        assert_eq!(MqttConfig { identity_level: Some(2), ..good() }.check(), Ok(()));
        let field = |config: MqttConfig| match config.check() {
            Err(MqttError::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(MqttConfig { broker: String::new(), ..good() }), "broker");
        assert_eq!(field(MqttConfig { port: 0, ..good() }), "port");
        assert_eq!(field(MqttConfig { client_id: String::new(), ..good() }), "client id");
        assert_eq!(field(MqttConfig { client_id: "a\0".into(), ..good() }), "client id");
        assert_eq!(field(MqttConfig { topic: "a/#/b".into(), ..good() }), "topic");
        assert_eq!(field(MqttConfig { identity_level: Some(0), ..good() }), "identity level");
        assert_eq!(field(MqttConfig { identity_level: Some(4), ..good() }), "identity level");
    }

    #[test]
    fn credentials_come_from_the_environment_or_a_file_and_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "s3cret\r\n").unwrap();
        let path = file.to_str().unwrap();
        let from = |set: &[(&str, &str)]| {
            Credentials::from_environment(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(from(&[]), Ok(None));
        let of_file = from(&[(USERNAME, "eds"), (PASSWORD_FILE, path)]).unwrap().unwrap();
        assert_eq!(of_file, Credentials::new("eds", Some(b"s3cret".to_vec())));
        assert_eq!(from(&[(USERNAME, "eds"), (PASSWORD, "s3cret")]), Ok(Some(of_file.clone())));
        assert_eq!(from(&[(USERNAME, "eds")]), Ok(Some(Credentials::new("eds", None))));
        assert!(!format!("{of_file:?}").contains("eds"));
        std::fs::write(&file, "\n").unwrap();
        for bad in [
            &[(PASSWORD, "s3cret")][..],
            &[(USERNAME, "eds"), (PASSWORD, "s3cret"), (PASSWORD_FILE, path)],
            &[(USERNAME, "eds"), (PASSWORD_FILE, path)],
            &[(USERNAME, "eds"), (PASSWORD_FILE, "/nowhere/password")],
        ] {
            let error = from(bad).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
