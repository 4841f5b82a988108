//! Points in time: nothing here has a clock of its own.

use std::time::Duration;

use der::DateTime;

use crate::asn1::{DerError, malformed};

/// A point in time, UTC, to the nanosecond, from 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// So long after the Unix epoch.
    pub const fn since_epoch(duration: Duration) -> Self {
        Self(duration)
    }

    /// Milliseconds since the Unix epoch, the unit of a log's entries.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Seconds since the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Time since the Unix epoch.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Later by a duration (the latest time there is, where that is too late).
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// GeneralizedTime as RFC 3161 §2.4.2 has it: `YYYYMMDDhhmmss[.s...]Z`, no trailing zeros.
    pub(crate) fn from_generalized(text: &[u8]) -> Result<Self, DerError> {
        let bad = |why: &str| malformed("genTime", why);
        let body = text.strip_suffix(b"Z").ok_or_else(|| bad("not UTC"))?;
        let (whole, fraction) = match body.iter().position(|byte| *byte == b'.') {
            Some(dot) => (&body[..dot], Some(&body[dot + 1..])),
            None => (body, None),
        };
        if whole.len() != 14 || !whole.iter().all(u8::is_ascii_digit) {
            return Err(bad("not YYYYMMDDhhmmss"));
        }
        let digits = |range: std::ops::Range<usize>| {
            whole[range].iter().fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'))
        };
        let two = |at: usize| digits(at..at + 2) as u8;
        let seconds = DateTime::new(digits(0..4), two(4), two(6), two(8), two(10), two(12))
            .map_err(|_| bad("no such date and time since 1970"))?
            .unix_duration();
        let nanos = match fraction {
            None => 0,
            Some(part) if part.is_empty() || part.ends_with(b"0") => {
                return Err(bad("a fraction that is empty or ends with 0"));
            }
            Some(part) if part.len() > 9 || !part.iter().all(u8::is_ascii_digit) => {
                return Err(bad("a fraction that is not of 1 to 9 digits"));
            }
            Some(part) => {
                let number = part.iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
                number * 10_u32.pow(9 - part.len() as u32)
            }
        };
        Ok(Self(seconds + Duration::from_nanos(u64::from(nanos))))
    }
}

impl std::fmt::Display for Time {
    /// RFC 3339.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok(date) = DateTime::from_unix_duration(Duration::from_secs(self.0.as_secs())) else {
            return write!(f, "{} s after 1970", self.0.as_secs());
        };
        let (year, month, day) = (date.year(), date.month(), date.day());
        write!(f, "{year:04}-{month:02}-{day:02}")?;
        write!(f, "T{:02}:{:02}:{:02}", date.hour(), date.minutes(), date.seconds())?;
        match self.0.subsec_nanos() {
            0 => {}
            nanos => write!(f, ".{}", format!("{nanos:09}").trim_end_matches('0'))?,
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_generalized_time_with_fractions() {
        let time = |text: &str| Time::from_generalized(text.as_bytes());
        assert_eq!(time("19700101000001Z").unwrap(), Time::from_secs(1));
        assert_eq!(time("20260731235959.25Z").unwrap().to_string(), "2026-07-31T23:59:59.25Z");
        assert_eq!(time("99991231235959Z").unwrap().to_string(), "9999-12-31T23:59:59Z");
        for bad in [
            "20260731235959",
            "2026073123595Z",
            "20260731235959.Z",
            "20260731235959.10Z",
            "20260731235959,1Z",
            "20260732235959Z",
            "20260731245959Z",
            "19691231235959Z",
            "20260731235959.1234567891Z",
            "20260731235959+0100",
            "2026073123595xZ",
            "20260731235959.xZ",
            "20260229000000Z",
            "",
            "Z",
        ] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
