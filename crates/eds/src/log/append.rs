//! `append`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use secure_log::limits::MAX_PAYLOAD;
use secure_log_host::types::{AppendResult, Event, Severity};
use serde_json::json;

use super::show;
use crate::files;
use crate::open::{Open, Part, StoreArgs};
use crate::output::{Output, progress};

/// Events and bytes that are appended in one transaction.
const BATCH: (usize, usize) = (1_000, 4 << 20);

/// Append events to a stream
///
/// One event from the command line or a file, or one for each line of text (a file, or stdin). An event is durable when
/// its entry is printed. What lines gave is said at the end, and in JSON after each batch. A stream and a log that are
/// not there come into being.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log append doors 'door 3 opened' --type door.opened --producer controller-7
  eds log append photos --file photo.jpg --encoding image/jpeg
  eds log append syslog --lines /var/log/syslog
  journalctl -f | eds log append journal")]
pub(crate) struct Append {
    /// The stream
    stream: String,

    /// The event's payload. Without it, and without --file or --lines: each line of stdin is an event
    #[arg(conflicts_with_all = ["file", "lines"])]
    payload: Option<String>,

    /// One event with the bytes of a file as its payload, at most 8 MiB
    #[arg(long, value_name = "FILE", conflicts_with = "lines")]
    file: Option<PathBuf>,

    /// One event for each line of a file (`-`: stdin)
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,

    /// What happened
    #[arg(long = "type", value_name = "TYPE", default_value = "event")]
    event_type: String,

    /// How severe it is (emergency … debug)
    #[arg(long, value_name = "SEVERITY", default_value = "informational", value_parser = show::parse_severity)]
    severity: Severity,

    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "eds")]
    producer: String,

    /// Media type of the payload
    #[arg(long, value_name = "TYPE")]
    encoding: Option<String>,

    /// Where the payload is kept instead: the log then holds its hash alone
    #[arg(long, value_name = "REF", conflicts_with = "lines")]
    object_ref: Option<String>,

    /// Id of the event, unique in its stream: appending it again gives the entry that is there
    #[arg(long, value_name = "ID", conflicts_with = "lines")]
    id: Option<String>,

    /// Name of a log that has no entry yet, as its checkpoints will carry it
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,

    #[command(flatten)]
    store: StoreArgs,
}

impl Append {
    pub fn run(self, out: Output) -> Result<()> {
        let one = match (&self.payload, &self.file) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(path)) => Some(files::read(path, MAX_PAYLOAD, "a payload")?),
            (None, None) => None,
        };
        if one.is_none() && self.id.is_some() {
            bail!("--id is for one event: give its payload, or --file");
        }
        let mut log = self.store.place(Part::Log)?.open()?;
        let outcome = self.name(&mut log).and_then(|()| match one {
            Some(payload) => self.one(out, &mut log, payload),
            None => self.all_lines(out, &mut log),
        });
        let closed = log.close();
        outcome?;
        Ok(closed?)
    }

    fn name(&self, log: &mut Open) -> Result<()> {
        match &self.origin {
            Some(origin) => Ok(log.set_origin(origin)?),
            None => Ok(()),
        }
    }

    fn event(&self, payload: Vec<u8>) -> Event {
        Event {
            stream_id: self.stream.clone(),
            event_type: self.event_type.clone(),
            severity: self.severity,
            producer: self.producer.clone(),
            payload,
            payload_encoding: self.encoding.clone(),
            object_ref: self.object_ref.clone(),
            id: self.id.clone(),
        }
    }

    fn one(&self, out: Output, log: &mut Open, payload: Vec<u8>) -> Result<()> {
        let results = log.append_batch(&[self.event(payload)], &[])?;
        let Some(AppendResult { seqno, entry_hash }) = results.first() else {
            bail!("the component gave no answer for the event");
        };
        let hash = hex::encode(entry_hash);
        let answer = json!({"stream_id": self.stream, "seqno": seqno, "entry_hash": hash});
        out.either(&answer, || format!("{seqno}\t{hash}"))
    }

    fn all_lines(&self, out: Output, log: &mut Open) -> Result<()> {
        let path = self.lines.as_ref().filter(|path| path.as_os_str() != "-");
        let (reader, length, name): (Box<dyn BufRead + Send>, _, _) = match path {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|m| m.len());
                (Box::new(BufReader::new(file)), length, path.display().to_string())
            }
            None => {
                if io::stdin().is_terminal() {
                    crate::output::note("reading lines from the terminal; end with Ctrl-D");
                }
                (Box::new(BufReader::new(io::stdin())), None, "stdin".to_owned())
            }
        };
        let mut lines = Lines { receiver: read_lines(reader, name), failed: None };
        let bar = progress("appending", length, true);
        let (mut events, mut last) = (0_u64, None);
        while let Some(batch) = lines.next_batch()? {
            let bytes: usize = batch.iter().map(|line| line.len() + 1).sum();
            let batch: Vec<_> = batch.into_iter().map(|line| self.event(line)).collect();
            let results = log
                .append_batch(&batch, &[])
                .with_context(|| format!("{events} events are appended; the next ones are not"))?;
            events += results.len() as u64;
            last = results.last().cloned().or(last);
            bar.inc(bytes as u64);
            if out.json
                && let Some(last) = &last
            {
                out.line(json!({
                    "stream_id": self.stream,
                    "events": events,
                    "seqno": last.seqno,
                    "entry_hash": hex::encode(&last.entry_hash),
                }))?;
            }
        }
        bar.finish_and_clear();
        if out.json {
            return Ok(());
        }
        match last {
            Some(last) => out.line(format_args!(
                "{events} events; the last is entry {}\t{}",
                last.seqno,
                hex::encode(last.entry_hash)
            )),
            None => out.line("0 events"),
        }
    }
}

/// Reads lines on a thread of its own, so that those that have come can be appended while the next is waited for.
fn read_lines(mut reader: Box<dyn BufRead + Send>, name: String) -> Receiver<Result<Vec<u8>>> {
    let (sender, lines) = sync_channel(BATCH.0);
    std::thread::spawn(move || {
        let mut number = 0_u64;
        loop {
            number += 1;
            let line = match one_line(reader.as_mut()) {
                Ok(None) => return,
                Ok(Some(line)) => Ok(line),
                Err(error) => Err(error).with_context(|| format!("line {number} of {name}")),
            };
            let failed = line.is_err();
            if sender.send(line).is_err() || failed {
                return;
            }
        }
    });
    lines
}

/// A line without its end; longer ones than a payload can be are an error before they are read whole.
fn one_line(reader: &mut dyn BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = io::Read::take(&mut *reader, MAX_PAYLOAD as u64 + 2);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > MAX_PAYLOAD {
        bail!("it has more than {MAX_PAYLOAD} bytes, the most for a payload");
    }
    Ok(Some(line))
}

/// Lines as they come.
struct Lines {
    receiver: Receiver<Result<Vec<u8>>>,
    /// What ended them, to be told after those before it.
    failed: Option<anyhow::Error>,
}

impl Lines {
    /// The lines that have come, at least one; `None` at the end.
    fn next_batch(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Ok(first) = self.receiver.recv() else { return Ok(None) };
        let first = first?;
        let mut bytes = first.len();
        let mut batch = vec![first];
        while batch.len() < BATCH.0 && bytes < BATCH.1 {
            match self.receiver.try_recv() {
                Ok(Ok(line)) => {
                    bytes += line.len();
                    batch.push(line);
                }
                Ok(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_on_every_system_and_a_last_one_needs_no_end() {
        let mut reader = BufReader::new(&b"one\r\ntwo\n\nlast"[..]);
        let mut lines = Vec::new();
        while let Some(line) = one_line(&mut reader).unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["one", "two", "", "last"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_named() {
        let long = [vec![b'x'; MAX_PAYLOAD + 1], b"\n".to_vec()].concat();
        let text = [&b"short\n"[..], &long].concat();
        let lines = read_lines(Box::new(BufReader::new(io::Cursor::new(text))), "f".into());
        assert_eq!(lines.recv().unwrap().unwrap(), b"short");
        let error = format!("{:#}", lines.recv().unwrap().unwrap_err());
        assert!(error.starts_with("line 2 of f: it has more than"), "{error}");
        assert!(lines.recv().is_err());
    }
}
