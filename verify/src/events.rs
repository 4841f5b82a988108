//! Events to append: the lines of a file, or a sample.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;

use crate::host::types::{Event, Severity};

/// Most payload bytes that go into one batch; the component's own limit is 32 MiB.
const BATCH_BYTES: usize = 8 << 20;

/// Where events come from.
pub enum Source {
    /// A built-in sample over several streams.
    Sample(std::vec::IntoIter<Event>),
    /// Lines of a file or of standard input.
    Lines(Lines),
}

/// Lines that become events of one stream.
pub struct Lines {
    reader: Box<dyn BufRead>,
    stream: String,
    producer: String,
    number: u64,
}

impl Source {
    /// Opens a file of lines; `-` is standard input.
    pub fn open(path: &Path, stream: Option<&str>) -> anyhow::Result<Self> {
        let stdin = path.as_os_str() == "-";
        let reader: Box<dyn BufRead> = if stdin {
            Box::new(std::io::stdin().lock())
        } else {
            let file =
                File::open(path).with_context(|| format!("cannot read the events in {}", path.display()))?;
            anyhow::ensure!(
                !file.metadata()?.is_dir(),
                "{} is a directory, not a file of events",
                path.display()
            );
            Box::new(BufReader::with_capacity(1 << 20, file))
        };
        let name = path.file_name().and_then(|name| name.to_str()).filter(|_| !stdin).unwrap_or("stdin");
        let stream = stream.unwrap_or(name).to_owned();
        Ok(Self::Lines(Lines { reader, stream, producer: name.to_owned(), number: 0 }))
    }

    /// The sample: 240 events of sign-ins, doors and orders.
    pub fn sample() -> Self {
        Self::Sample((0..240).map(sample_event).collect::<Vec<_>>().into_iter())
    }

    /// The next events, at most `limit` and at most 8 MiB of payload; empty at the end.
    pub fn take(&mut self, limit: usize) -> anyhow::Result<Vec<Event>> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while events.len() < limit && bytes < BATCH_BYTES {
            let next = match self {
                Self::Sample(sample) => sample.next(),
                Self::Lines(lines) => lines.next_event()?,
            };
            let Some(event) = next else { break };
            bytes += event.payload.len();
            events.push(event);
        }
        Ok(events)
    }
}

impl Lines {
    /// The next line that is not empty. Bytes are taken as they are, without the line end.
    fn next_event(&mut self) -> anyhow::Result<Option<Event>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.number += 1;
            let read = self.reader.read_until(b'\n', &mut line);
            if read.with_context(|| format!("cannot read line {} of {}", self.number, self.producer))? == 0 {
                return Ok(None);
            }
            while line.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
                line.pop();
            }
            if !line.is_empty() {
                break;
            }
        }
        let utf8 = std::str::from_utf8(&line).ok();
        Ok(Some(Event {
            stream_id: self.stream.clone(),
            event_type: "log.line".into(),
            severity: utf8.map_or(Severity::Informational, severity_of),
            producer: self.producer.clone(),
            payload_encoding: utf8.map(|_| "text/plain; charset=utf-8".into()),
            payload: line,
            object_ref: None,
            id: None,
        }))
    }
}

/// Severity by the words that programs use for it.
fn severity_of(line: &str) -> Severity {
    let lower = line.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match () {
        () if says(&["panic", "emerg"]) => Severity::Emergency,
        () if says(&["critical", "fatal"]) => Severity::Critical,
        () if says(&["error", "fail", "denied"]) => Severity::Error,
        () if says(&["warn"]) => Severity::Warning,
        () => Severity::Informational,
    }
}

/// Event `n` of the sample: what an identity provider, door controllers and a shop would write.
fn sample_event(n: usize) -> Event {
    let who = ["ada", "grace", "linus", "margaret", "edsger"][n * 7 % 5];
    let (stream, kind, severity, producer, body) = match n % 8 {
        0 | 3 => (
            "auth",
            "auth.login",
            Severity::Informational,
            "idp-1",
            format!(r#""user":"{who}","method":"passkey""#),
        ),
        5 => (
            "auth",
            "auth.login-failed",
            Severity::Warning,
            "idp-1",
            format!(r#""user":"{who}","reason":"bad code""#),
        ),
        1 | 4 => {
            let (door, site) = (n % 4, ["berlin", "osaka"][n / 8 % 2]);
            (
                "doors",
                "door.opened",
                Severity::Informational,
                "gate-7",
                format!(r#""door":{door},"site":"{site}","badge":"{who}""#),
            )
        }
        6 => (
            "doors",
            "door.forced",
            Severity::Alert,
            "gate-7",
            format!(r#""door":{},"sensor":"tamper""#, n % 4),
        ),
        2 => (
            "orders",
            "order.placed",
            Severity::Notice,
            "shop",
            format!(r#""order":{},"by":"{who}","cents":{}"#, 9_000 + n, n * 137 % 9_999),
        ),
        _ => (
            "orders",
            "order.refunded",
            Severity::Notice,
            "shop",
            format!(r#""order":{},"by":"{who}""#, 9_000 + n - 5),
        ),
    };
    Event {
        stream_id: stream.into(),
        event_type: kind.into(),
        severity,
        producer: producer.into(),
        payload: format!(r#"{{"n":{n},{body}}}"#).into_bytes(),
        payload_encoding: Some("application/json".into()),
        object_ref: None,
        id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_events_without_their_line_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        std::fs::write(&path, b"started\r\n\nconnection failed\n\xff\xfe raw\nlast").unwrap();
        let events = Source::open(&path, None).unwrap().take(10).unwrap();
        let payloads: Vec<_> = events.iter().map(|e| e.payload.as_slice()).collect();
        assert_eq!(payloads, [&b"started"[..], b"connection failed", b"\xff\xfe raw", b"last"]);
        assert_eq!(events[0].stream_id, "app.log");
        assert_eq!(events[1].severity, Severity::Error);
        assert_eq!(events[2].payload_encoding, None);
    }

    #[test]
    fn batches_are_cut_by_count_and_by_size() {
        let mut sample = Source::sample();
        assert_eq!(sample.take(100).unwrap().len(), 100);
        assert_eq!(sample.take(1_000).unwrap().len(), 140);
        assert!(sample.take(1).unwrap().is_empty());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        std::fs::write(
            &path,
            [vec![b'x'; 5 << 20], vec![b'\n'], vec![b'y'; 5 << 20], vec![b'\n', b'z']].concat(),
        )
        .unwrap();
        let mut big = Source::open(&path, Some("s")).unwrap();
        assert_eq!(big.take(1_000).unwrap().len(), 2);
        assert_eq!(big.take(1_000).unwrap().len(), 1);
    }

    #[test]
    fn sample_payloads_are_json() {
        for event in Source::sample().take(1_000).unwrap() {
            serde_json::from_slice::<serde_json::Value>(&event.payload).unwrap();
        }
    }
}
