//! The child of the kill experiment: appends without end and tells what was acknowledged.
//!
//! Protocol on stdout, one line each, flushed: `ready`, then `ack <stream> <seqno> <hash>` once
//! the component has answered, and `error <kind> <text>` before it gives up.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::host::types::{AppendResult, Event, Severity};
use crate::launch::Launcher;
use crate::store_path::StorePath;

/// Entries that each batch of the writer puts into its second and third stream.
pub const BATCH: [(&str, usize); 2] = [(".b", 3), (".c", 4)];

/// Appends to `stream` (one by one) and to two more (batches), until killed or done.
pub fn run(launcher: &Launcher, store: &StorePath, stream: &str, appends: Option<u64>) -> anyhow::Result<()> {
    let mut log = launcher.open(store)?;
    tell("ready\n")?;
    for turn in 0..appends.unwrap_or(u64::MAX) {
        let outcome = if turn % 3 == 2 {
            log.append_batch(&batch(stream, turn), &[]).map(|acks| batch_lines(stream, &acks))
        } else {
            let payload = payload(stream, turn);
            let ack = log.append(stream, "load.single", Severity::Informational, "writer", &payload);
            ack.map(|ack| line(stream, &ack))
        };
        match outcome {
            Ok(lines) => tell(&lines)?,
            Err(error) => {
                tell(&format!("error {} {error}\n", error.kind()))?;
                return Err(error.into());
            }
        }
    }
    log.finish()?;
    Ok(())
}

fn tell(lines: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    out.flush()
}

fn payload(stream: &str, turn: u64) -> Vec<u8> {
    let size = 60 + turn * 37 % 400;
    format!("{stream} turn {turn} {}", "·".repeat(size as usize / 2)).into_bytes()
}

fn batch(stream: &str, turn: u64) -> Vec<Event> {
    let event = |suffix: &str, n: usize| Event {
        stream_id: format!("{stream}{suffix}"),
        event_type: "load.batch".into(),
        severity: Severity::Debug,
        producer: "writer".into(),
        payload: payload(stream, turn + n as u64),
        payload_encoding: None,
        object_ref: None,
        id: Some(format!("{}-{turn}-{n}", std::process::id())),
    };
    BATCH.iter().flat_map(|(suffix, count)| (0..*count).map(|n| event(suffix, n))).collect()
}

fn line(stream: &str, ack: &AppendResult) -> String {
    format!("ack {stream} {} {}\n", ack.seqno, hex(&ack.entry_hash))
}

fn batch_lines(stream: &str, acks: &[AppendResult]) -> String {
    let names = BATCH.iter().flat_map(|(suffix, count)| std::iter::repeat_n(suffix, *count));
    names.zip(acks).map(|(suffix, ack)| line(&format!("{stream}{suffix}"), ack)).collect()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One acknowledged entry, as the parent reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Stream of the entry.
    pub stream: String,
    /// Its number.
    pub seqno: u64,
    /// Its hash, hexadecimal.
    pub hash: String,
}

impl Ack {
    /// Reads an `ack` line; none for any other line, and for one that the kill cut short.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("ack ")?.split(' ');
        let (stream, seqno, hash) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        (hash.len() == 64).then(|| Self { stream: stream.into(), seqno, hash: hash.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_survive_the_pipe_and_torn_lines_do_not_count() {
        let ack = AppendResult { seqno: 7, entry_hash: vec![0xab; 32] };
        let text = line("s", &ack);
        let read = Ack::parse(text.trim_end()).unwrap();
        assert_eq!((read.stream.as_str(), read.seqno, read.hash), ("s", 7, "ab".repeat(32)));
        assert_eq!(Ack::parse("ready"), None);
        assert_eq!(Ack::parse(&text[..text.len() - 9]), None);
    }
}
