//! What the variables of the component `ingest-http` say.

use std::collections::BTreeMap;

use ed25519_dalek::VerifyingKey;

use crate::gate::Settings;
use crate::http::rates::Rate;
use crate::keys::verifying_key_from_hex;
use crate::network_policy::NetworkPolicy;
use crate::record::MAX_DEVICE_ID;

/// An endpoint's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Config of the store, for `log.open`.
    pub store: String,
    /// How the gate works.
    pub gate: Settings,
    /// Devices to register.
    pub devices: BTreeMap<String, VerifyingKey>,
    /// Whether the last `X-Forwarded-For` is a proxy's word about the source.
    pub trust_forwarded: bool,
    /// Which sources may send; none: all.
    pub allowed: Option<NetworkPolicy>,
    /// How fast a source may send.
    pub source_rate: Option<Rate>,
    /// How fast a device may send.
    pub device_rate: Option<Rate>,
}

/// A variable that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {reason}")]
pub struct SettingsError {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

fn wrong<T>(variable: &'static str, reason: impl Into<String>) -> Result<T, SettingsError> {
    Err(SettingsError { variable, reason: reason.into() })
}

impl EndpointSettings {
    /// From the variables of `docs/ingest-http.md`; one that is empty counts as not set.
    ///
    /// # Errors
    ///
    /// Names the variable. An endpoint with wrong settings answers 503: it does not guess.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let get = |name: &'static str| get(name).filter(|value| !value.is_empty());
        let Some(store) = get("SECURE_LOG_STORE_CONFIG") else {
            return wrong("SECURE_LOG_STORE_CONFIG", "is not set: it names the store");
        };
        let mut gate = Settings::default();
        if let Some(id) = get("EDS_GATE_ID") {
            if id.len() > 255 || id.contains(char::is_control) {
                return wrong("EDS_GATE_ID", "is not a name of at most 255 bytes without control characters");
            }
            gate.gate_id = id;
        }
        if let Some(ms) = get("EDS_REFUSAL_INTERVAL_MS") {
            match ms.parse() {
                Ok(ms) => gate.refusal_interval_ms = ms,
                Err(_) => return wrong("EDS_REFUSAL_INTERVAL_MS", "is not a number of milliseconds"),
            }
        }
        let trust_forwarded = match get("EDS_TRUST_FORWARDED_FOR").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => return wrong("EDS_TRUST_FORWARDED_FOR", "is neither 1 nor 0"),
        };
        let allowed = get("EDS_ALLOWED_SOURCES").map(|list| sources(&list)).transpose()?;
        let rate = |name| match get(name) {
            None => Ok(None),
            Some(text) => match Rate::parse(&text) {
                Some(rate) => Ok(Some(rate)),
                None => {
                    wrong(name, "is neither records per second, such as 20, nor with a burst, such as 20:100")
                }
            },
        };
        let source_rate = rate("EDS_SOURCE_RATE")?;
        if !trust_forwarded {
            let needs = "needs EDS_TRUST_FORWARDED_FOR=1: a component does not see who connects";
            if allowed.is_some() {
                return wrong("EDS_ALLOWED_SOURCES", needs);
            }
            if source_rate.is_some() {
                return wrong("EDS_SOURCE_RATE", needs);
            }
        }
        Ok(Self {
            store,
            gate,
            devices: get("EDS_DEVICES").map_or_else(|| Ok(BTreeMap::new()), |list| devices(&list))?,
            trust_forwarded,
            allowed,
            source_rate,
            device_rate: rate("EDS_DEVICE_RATE")?,
        })
    }
}

/// `id=hexkey,…`; an id may hold `=`, and no comma.
fn devices(list: &str) -> Result<BTreeMap<String, VerifyingKey>, SettingsError> {
    let mut devices = BTreeMap::new();
    for (n, entry) in (1..).zip(list.split(',')) {
        let at = |reason: String| wrong("EDS_DEVICES", format!("has a wrong entry {n}: {reason}"));
        let Some((id, key)) = entry.trim().rsplit_once('=') else {
            return at("it is not <device id>=<public key in hex>".into());
        };
        if id.is_empty() || id.len() > MAX_DEVICE_ID || id.contains(char::is_control) {
            return at(format!("a device id has 1 to {MAX_DEVICE_ID} bytes and no control characters"));
        }
        let key = match verifying_key_from_hex(key) {
            Ok(key) => key,
            Err(error) => return at(error.to_string()),
        };
        if devices.insert(id.to_owned(), key).is_some() {
            return at("this device is named twice".into());
        }
    }
    Ok(devices)
}

fn sources(list: &str) -> Result<NetworkPolicy, SettingsError> {
    let mut policy = NetworkPolicy::new();
    for source in list.split(',') {
        if let Err(error) = policy.allow(source.trim()) {
            return wrong("EDS_ALLOWED_SOURCES", format!("has a wrong entry: {error}"));
        }
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<EndpointSettings, SettingsError> {
        EndpointSettings::from_variables(|name| {
            let (_, value) = variables
                .iter()
                .chain([&("SECURE_LOG_STORE_CONFIG", "/data/x.db")])
                .find(|(n, _)| *n == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn without_variables_there_are_defaults() {
        let settings = read(&[("EDS_GATE_ID", "")]).unwrap();
        assert_eq!((settings.store.as_str(), settings.gate), ("/data/x.db", Settings::default()));
        assert!(settings.devices.is_empty() && !settings.trust_forwarded && settings.allowed.is_none());
        assert_eq!((settings.source_rate, settings.device_rate), (None, None));
        let error = read(&[("SECURE_LOG_STORE_CONFIG", "")]).unwrap_err();
        assert_eq!(error.to_string(), "SECURE_LOG_STORE_CONFIG is not set: it names the store");
    }

    #[test]
    fn all_of_them_are_read() {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        let hex = hex::encode(key.as_bytes());
        let settings = read(&[
            ("EDS_GATE_ID", "north"),
            ("EDS_REFUSAL_INTERVAL_MS", "0"),
            ("EDS_DEVICES", &format!("lift-01={hex}, a=b={}", hex.to_uppercase())),
            ("EDS_TRUST_FORWARDED_FOR", "1"),
            ("EDS_ALLOWED_SOURCES", "10.0.0.0/8, ::1"),
            ("EDS_SOURCE_RATE", "20"),
            ("EDS_DEVICE_RATE", "1:5"),
        ])
        .unwrap();
        assert_eq!(settings.gate, Settings { gate_id: "north".into(), refusal_interval_ms: 0 });
        assert_eq!(settings.devices, BTreeMap::from([("lift-01".into(), key), ("a=b".into(), key)]));
        let allowed = settings.allowed.unwrap();
        assert!(
            allowed.check("10.9.9.9".parse().unwrap()).is_ok()
                && allowed.check("11.0.0.1".parse().unwrap()).is_err()
        );
        assert_eq!(settings.source_rate, Some(Rate { per_second: 20, burst: 20 }));
        assert_eq!(settings.device_rate, Some(Rate { per_second: 1, burst: 5 }));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let hex = hex::encode(SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes());
        let twice = format!("a={hex},a={hex}");
        let wrong: [(&[(&str, &str)], &str); 10] = [
            (&[("EDS_GATE_ID", "a\nb")], "EDS_GATE_ID"),
            (&[("EDS_REFUSAL_INTERVAL_MS", "1s")], "EDS_REFUSAL_INTERVAL_MS"),
            (&[("EDS_DEVICES", "lift-01")], "entry 1"),
            (&[("EDS_DEVICES", "lift-01=abc")], "public key"),
            (&[("EDS_DEVICES", &twice)], "entry 2: this device is named twice"),
            (&[("EDS_TRUST_FORWARDED_FOR", "yes")], "EDS_TRUST_FORWARDED_FOR"),
            (&[("EDS_ALLOWED_SOURCES", "10.0.0.0/8")], "needs EDS_TRUST_FORWARDED_FOR=1"),
            (&[("EDS_SOURCE_RATE", "20")], "needs EDS_TRUST_FORWARDED_FOR=1"),
            (&[("EDS_TRUST_FORWARDED_FOR", "1"), ("EDS_ALLOWED_SOURCES", "10.0.0.0/8,here")], "\"here\""),
            (&[("EDS_DEVICE_RATE", "0")], "EDS_DEVICE_RATE"),
        ];
        for (variables, part) in wrong {
            let error = read(variables).unwrap_err().to_string();
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}
