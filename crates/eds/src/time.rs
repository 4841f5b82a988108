//! Times on the command line: milliseconds since the Unix epoch, or RFC 3339.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    ms(SystemTime::now()).unwrap_or_default()
}

/// Reads `1700000000000`, `2026-01-31T08:00:00Z` or `2026-01-31 08:00:00`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    humantime::parse_rfc3339_weak(text).ok().and_then(ms).ok_or_else(|| {
        "use milliseconds since 1970 (1700000000000) or RFC 3339 in UTC (2026-01-31T08:00:00Z)".to_owned()
    })
}

/// A time as people read it.
pub(crate) fn show(ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(ms)) {
        // Years of more than four digits are nothing that RFC 3339 could show.
        Some(time) if ms < 253_402_300_800_000 => humantime::format_rfc3339_millis(time).to_string(),
        _ => format!("{ms} ms"),
    }
}

/// Reads `10s`, `5m`, or a bare number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string());
    }
    humantime::parse_duration(text).map_err(|e| e.to_string())
}

/// A duration in milliseconds as people read it.
pub(crate) fn show_duration(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

fn ms(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok()?.as_millis().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_a_time() {
        assert_eq!(parse("1700000000000"), Ok(1_700_000_000_000));
        assert_eq!(parse("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(show(1_700_000_000_000), "2023-11-14T22:13:20.000Z");
        assert!(parse("yesterday").unwrap_err().contains("RFC 3339"));
        assert!(parse("1960-01-01T00:00:00Z").is_err());
        assert_eq!(show(u64::MAX), format!("{} ms", u64::MAX));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
    }
}
