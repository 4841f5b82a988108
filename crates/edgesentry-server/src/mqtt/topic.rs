//! Topic names and filters (MQTT 3.1.1 §4.7).

/// What is appended to a record's topic to get the topic of its reply.
pub const RESPONSE: &str = "/response";

/// Longest topic, bytes.
const MAX_TOPIC: usize = 65_535;

/// Whether text is a topic filter.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), &'static str> {
    if filter.is_empty() {
        return Err("it is empty");
    }
    if filter.len() > MAX_TOPIC {
        return Err("it is longer than 65,535 bytes");
    }
    if filter.contains('\0') {
        return Err("it has a NUL character");
    }
    let levels: Vec<&str> = filter.split('/').collect();
    for (i, level) in levels.iter().enumerate() {
        if level.contains('#') && (*level != "#" || i + 1 != levels.len()) {
            return Err("`#` stands alone, as the last level");
        }
        if level.contains('+') && *level != "+" {
            return Err("`+` stands alone in its level");
        }
    }
    if filter.starts_with("$share/") {
        return Err("a shared subscription would spread a device's records, which have to arrive in order");
    }
    if !filter.ends_with('#') && is_response(filter) {
        return Err("it ends in /response, where replies go");
    }
    Ok(())
}

/// Whether topics of this filter have a level `n` (counted from 1).
pub fn has_level(filter: &str, n: usize) -> bool {
    n > 0 && (filter.split('/').count() >= n || filter.ends_with('#'))
}

/// The `n`th level of a topic, counted from 1.
pub fn level(topic: &str, n: usize) -> Option<&str> {
    topic.split('/').nth(n.checked_sub(1)?)
}

/// Whether replies are published on this topic.
pub fn is_response(topic: &str) -> bool {
    topic.ends_with(RESPONSE)
}

/// Where the reply to a record of `topic` is published; none where it would be too long.
pub fn response(topic: &str) -> Option<String> {
    (topic.len() + RESPONSE.len() <= MAX_TOPIC).then(|| format!("{topic}{RESPONSE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        for good in ["edgesentry/ingest", "devices/+/ingest", "+", "#", "a/#", "/", "a//b", "+/+/#"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "a+/b", "#/a", "a\0b", "devices/+/response", "##", "++", "$share/g/a"]
        {
            assert!(check_filter(bad).is_err(), "{bad:?}");
        }
        assert!(check_filter(&"a".repeat(65_536)).is_err());
    }

    #[test]
    fn levels_are_counted_from_one() {
        assert_eq!(level("devices/lift-01/ingest", 2), Some("lift-01"));
        assert_eq!(level("/x", 1), Some(""));
        assert_eq!(level("devices", 2), None);
        assert_eq!(level("devices", 0), None);
        assert!(has_level("devices/+/ingest", 3) && has_level("a/#", 9));
        assert!(!has_level("devices/+/ingest", 4) && !has_level("a/#", 0));
    }

    #[test]
    fn replies_are_told_from_records() {
        assert_eq!(response("devices/lift-01/ingest").as_deref(), Some("devices/lift-01/ingest/response"));
        assert!(is_response("devices/lift-01/ingest/response") && is_response("/response"));
        assert!(!is_response("devices/response/ingest") && !is_response("response"));
        assert_eq!(response(&"a".repeat(65_530)), None);
    }
}
