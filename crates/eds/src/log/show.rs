//! Values of a log as JSON and as lines.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secure_log_host::types::{
    Checkpoint, Entry, EntryHeader, Segment, Severity, StreamHead, StreamInfo, Tier,
};
use serde_json::{Value, json};

use crate::time;

/// The syslog eight, by name.
pub(crate) const SEVERITIES: [(&str, Severity); 8] = [
    ("emergency", Severity::Emergency),
    ("alert", Severity::Alert),
    ("critical", Severity::Critical),
    ("error", Severity::Error),
    ("warning", Severity::Warning),
    ("notice", Severity::Notice),
    ("informational", Severity::Informational),
    ("debug", Severity::Debug),
];

pub(crate) fn severity_name(severity: Severity) -> &'static str {
    SEVERITIES.iter().find(|(_, s)| *s == severity).map_or("", |(name, _)| name)
}

/// Reads a severity: its name, its number, or the short names of syslog.
pub(crate) fn parse_severity(text: &str) -> Result<Severity, String> {
    let name = match text {
        "emerg" => "emergency",
        "crit" => "critical",
        "err" => "error",
        "warn" => "warning",
        "info" => "informational",
        other => other,
    };
    let by_name = SEVERITIES.iter().find(|(n, _)| *n == name);
    let by_number = || SEVERITIES.get(text.parse::<usize>().ok()?);
    by_name
        .or_else(by_number)
        .map(|(_, severity)| *severity)
        .ok_or_else(|| format!("use one of {}, or 0 to 7", SEVERITIES.map(|(name, _)| name).join(", ")))
}

pub(crate) fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Public => "public",
        Tier::Protected => "protected",
        Tier::HighlyRestricted => "highly-restricted",
    }
}

/// Reads a tier by its name.
pub(crate) fn parse_tier(text: &str) -> Result<Tier, String> {
    let tiers = [Tier::Public, Tier::Protected, Tier::HighlyRestricted];
    let found = tiers.into_iter().find(|tier| tier_name(*tier) == text);
    found.ok_or_else(|| format!("use one of {}", tiers.map(tier_name).join(", ")))
}

pub(crate) fn head(head: &StreamHead) -> Value {
    json!({"stream_id": head.stream_id, "seqno": head.seqno, "entry_hash": hex::encode(&head.entry_hash)})
}

pub(crate) fn stream(info: &StreamInfo) -> Value {
    json!({
        "stream_id": info.stream_id,
        "tier": tier_name(info.tier),
        "description": info.description,
        "created": info.created,
        "deprecated": info.deprecated,
        "erasure_domain": info.erasure_domain,
        "retention_ms": info.retention_ms,
        "erased": info.erased,
        "head": info.head.as_ref().map(head),
    })
}

pub(crate) fn segment(segment: &Segment) -> Value {
    json!({
        "segment_id": segment.segment_id,
        "stream_id": segment.stream_id,
        "first_seqno": segment.first_seqno,
        "size": segment.size,
        "root": hex::encode(&segment.root),
        "head_hash": hex::encode(&segment.head_hash),
        "closed_at_ms": segment.closed_at_ms,
    })
}

pub(crate) fn checkpoint(checkpoint: &Checkpoint) -> Value {
    json!({
        "number": checkpoint.number,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": hex::encode(&checkpoint.root),
        "note": checkpoint.note,
    })
}

pub(crate) fn header(header: &EntryHeader) -> Value {
    json!({
        "stream_id": header.stream_id,
        "seqno": header.seqno,
        "prev_hash": hex::encode(&header.prev_hash),
        "time_ms": header.time_ms,
        "event_type": header.event_type,
        "severity": severity_name(header.severity),
        "producer": header.producer,
        "payload_hash": hex::encode(&header.payload_hash),
        "payload_len": header.payload_len,
        "payload_encoding": header.payload_encoding,
        "object_ref": header.object_ref,
        "nonce": header.nonce.as_ref().map(hex::encode),
        "data_key_id": header.data_key_id,
        "keyed_tags": header.keyed_tags.as_ref().map(hex::encode),
        "software_version": header.software_version,
        "session_id": hex::encode(&header.session_id),
        "boot_id": header.boot_id,
        "event_id": header.event_id,
    })
}

/// An entry, with its payload if it was read: as text where it is text, else in base64.
pub(crate) fn entry(entry: &Entry, payload: Option<&[u8]>) -> Value {
    let mut value = header(&entry.header);
    value["entry_hash"] = hex::encode(&entry.entry_hash).into();
    if let Some(payload) = payload {
        match std::str::from_utf8(payload) {
            Ok(text) => value["payload"] = text.into(),
            Err(_) => value["payload_base64"] = BASE64.encode(payload).into(),
        }
    }
    value
}

/// An entry as one line: stream, number, time, severity, event type, producer, and what the payload is.
pub(crate) fn entry_line(entry: &Entry, payload: Option<&[u8]>) -> String {
    let header = &entry.header;
    let mut line = format!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        printable(&header.stream_id),
        header.seqno,
        time::show(header.time_ms),
        severity_name(header.severity),
        printable(&header.event_type),
        printable(&header.producer),
    );
    match (payload, &header.object_ref) {
        (Some(payload), _) => {
            line.push('\t');
            match std::str::from_utf8(payload) {
                Ok(text) => line.push_str(&printable(text)),
                Err(_) => _ = write!(line, "({} bytes)", payload.len()),
            }
        }
        (None, Some(reference)) => {
            _ = write!(line, "\t({} bytes at {})", header.payload_len, printable(reference))
        }
        (None, None) => {}
    }
    line
}

/// Text with nothing in it that could make a terminal do something, and without line breaks and tabs.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_have_names_and_numbers() {
        assert_eq!(parse_severity("warning"), Ok(Severity::Warning));
        assert_eq!(parse_severity("4"), Ok(Severity::Warning));
        assert_eq!(parse_severity("info"), Ok(Severity::Informational));
        assert!(parse_severity("8").unwrap_err().contains("0 to 7"));
    }

    #[test]
    fn nothing_that_is_shown_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("a\u{1b}[2Jb\tc\nd é"), "a\\u{1b}[2Jb\\tc\\nd é");
    }
}
