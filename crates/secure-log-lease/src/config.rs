//! Configuration of a store in a file: `<path>[?key=value[&key=value…]]`.

use std::path::PathBuf;
use std::time::Duration;

use secure_log::error::{Error, Result};

const LEASE_MS: std::ops::RangeInclusive<u64> = 200..=600_000;
const WAIT_MS: std::ops::RangeInclusive<u64> = 0..=3_600_000;

/// How a lease is taken and held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    /// How long a holder must be silent before somebody else may take over (L). Every process
    /// that opens the store must use the same value.
    pub duration: Duration,
    /// How long [`Lease::acquire`](crate::Lease::acquire) waits for another holder.
    pub wait: Duration,
    /// The host holds a native lock on this store for us: whoever held the lease before is gone,
    /// so it is taken at once.
    pub host_lock: bool,
}

impl LeaseOptions {
    /// L of `duration`, and the wait that goes with it: long enough for a dead holder's lease to
    /// run out.
    pub fn with_duration(duration: Duration) -> Self {
        Self { duration, wait: (duration * 2).max(Duration::from_secs(10)), host_lock: false }
    }
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self::with_duration(Duration::from_secs(3))
    }
}

/// A parsed configuration string.
///
/// | key | value | default |
/// |---|---|---|
/// | `lease-ms` | L in milliseconds, 200 to 600,000; the same for every process that opens the store | 3000 |
/// | `wait-ms` | how long `open` waits for another holder, 0 to 3,600,000 | 10,000, or twice L if that is more |
/// | `close` | `quick`: closing leaves to the next opening what that can do as well (in SQLite, a short write-ahead log stays beside the file); for whoever opens the store for each call, as an endpoint does | everything in place |
/// | `lock` | `host`: the host holds a native lock on the store, so a crashed holder's lease is taken at once | none |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The store's path, as given.
    pub path: PathBuf,
    /// How its lease is taken.
    pub lease: LeaseOptions,
    /// Whether closing may leave work to the next opening.
    pub quick_close: bool,
}

impl StoreConfig {
    /// Parses `config`. `Invalid` naming `config` or the key.
    pub fn parse(config: &str) -> Result<Self> {
        let (path, query) = match config.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (config, None),
        };
        if path.is_empty() {
            return Err(Error::invalid("config", "empty: give the path of the store, as in \"audit.db\""));
        }
        if config.contains('\0') {
            return Err(Error::invalid("config", "contains a NUL character"));
        }

        let (mut lease_ms, mut wait_ms, mut host_lock, mut quick_close) = (None, None, None, None);
        for pair in query.into_iter().flat_map(|q| q.split('&')) {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Error::invalid("config", format!("{pair:?} after the path is not of the form key=value"))
            })?;
            let fresh = match key {
                "lease-ms" => lease_ms.replace(milliseconds(key, value, LEASE_MS)?).is_none(),
                "wait-ms" => wait_ms.replace(milliseconds(key, value, WAIT_MS)?).is_none(),
                "close" if value == "quick" => quick_close.replace(true).is_none(),
                "close" => {
                    return Err(Error::invalid(
                        key,
                        format!("{value:?} is not known; the one value is \"quick\""),
                    ));
                }
                "lock" if value == "host" => host_lock.replace(true).is_none(),
                "lock" => {
                    return Err(Error::invalid(
                        key,
                        format!("{value:?} is not known; the one value is \"host\""),
                    ));
                }
                _ => {
                    return Err(Error::invalid(
                        "config",
                        format!("unknown key {key:?}; known are lease-ms, wait-ms, lock and close"),
                    ));
                }
            };
            if !fresh {
                return Err(Error::invalid(key, "given twice"));
            }
        }

        let mut lease = lease_ms.map_or_else(LeaseOptions::default, LeaseOptions::with_duration);
        lease.wait = wait_ms.unwrap_or(lease.wait);
        lease.host_lock = host_lock.unwrap_or(false);
        Ok(Self { path: path.into(), lease, quick_close: quick_close.unwrap_or(false) })
    }
}

fn milliseconds(key: &str, value: &str, range: std::ops::RangeInclusive<u64>) -> Result<Duration> {
    match value.parse::<u64>() {
        Ok(n) if range.contains(&n) => Ok(Duration::from_millis(n)),
        _ => Err(Error::invalid(
            key,
            format!("{value:?} is not a number of milliseconds from {} to {}", range.start(), range.end()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &str) -> (String, String) {
        match StoreConfig::parse(config) {
            Err(Error::Invalid(i)) => (i.field, i.reason),
            other => panic!("{config:?} gave {other:?}"),
        }
    }

    #[test]
    fn a_path_alone_takes_the_defaults() {
        let config = StoreConfig::parse("dir/a b.db").unwrap();
        assert_eq!(config.path, PathBuf::from("dir/a b.db"));
        assert_eq!(config.lease.duration, Duration::from_secs(3));
        assert_eq!(config.lease.wait, Duration::from_secs(10));
        assert!(!config.lease.host_lock && !config.quick_close);
        assert!(StoreConfig::parse("a.db?close=quick").unwrap().quick_close);
        assert_eq!(refused("a.db?close=slow").0, "close");
    }

    #[test]
    fn keys_set_what_they_name() {
        let config = StoreConfig::parse("a.db?lease-ms=200&lock=host&wait-ms=0").unwrap();
        assert_eq!(config.lease.duration, Duration::from_millis(200));
        assert_eq!(config.lease.wait, Duration::ZERO);
        assert!(config.lease.host_lock);
    }

    #[test]
    fn by_default_a_dead_holder_is_waited_out() {
        for ms in [200, 3000, 60_000, 600_000] {
            let lease = StoreConfig::parse(&format!("a?lease-ms={ms}")).unwrap().lease;
            assert!(lease.wait > lease.duration, "{lease:?}");
        }
    }

    #[test]
    fn bad_configurations_say_what_is_wrong() {
        assert_eq!(refused("").0, "config");
        assert_eq!(refused("?lease-ms=300").0, "config");
        assert_eq!(refused("a\0b").0, "config");
        assert_eq!(refused("a?").0, "config");
        assert_eq!(refused("a?lease-ms").0, "config");
        assert!(refused("a?colour=red").1.contains("colour"));
        for bad in ["199", "600001", "-1", "3s", "", "99999999999999999999"] {
            assert_eq!(refused(&format!("a?lease-ms={bad}")).0, "lease-ms");
        }
        assert_eq!(refused("a?wait-ms=3600001").0, "wait-ms");
        assert_eq!(refused("a?lock=native").0, "lock");
        assert_eq!(refused("a?wait-ms=1&wait-ms=1").0, "wait-ms");
    }
}
