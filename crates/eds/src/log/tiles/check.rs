//! `check-tiles`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use indicatif::ProgressBar;
use secure_log::Error;
use secure_log::error::Rollback;
use secure_log::header::HeaderRef;
use secure_log::note::{CheckpointBody, MAX_NOTE, Note, VerifierKey};
use secure_log::policy::{Policy, keys_that_count};
use secure_log::proof_file::{self, MAX_PROOF_FILE};
use secure_log::record::LOG_STREAM;
use secure_log::tiles::{TileTree, WIDTH};
use secure_log::tree;
use serde_json::{Value, json};

use super::files::{Below, Files};
use super::{CHECKPOINT, HEAD, prefix};
use crate::files;
use crate::log::show;
use crate::log::witness::read_policy;
use crate::output::{Output, progress};
use crate::time;

/// Check a log that is kept as static files, without the log
///
/// Reads them from a directory, or over HTTP: the signature of the checkpoint, then each tile and each entry bundle
/// against its root. Files of any log in the layout of C2SP tlog-tiles can be checked so. The first file that is not right
/// is named.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log check-tiles https://log.example.com/audit --trust \"$(cat audit.vkey)\"
  eds log check-tiles /srv/audit --trust \"$(cat audit.vkey)\" --stream doors --entry 17
  eds log check-tiles /srv/audit --policy policy.txt --since last-week.checkpoint")]
pub(crate) struct CheckTiles {
    /// Where the files are
    #[arg(value_name = "URL|DIR")]
    place: String,
    /// Verifier key that may have signed (C2SP: name+hash+key); may be given several times
    #[arg(long, value_name = "KEY", required_unless_present = "policy")]
    trust: Vec<String>,
    /// Whose cosignatures the checkpoint must have: a tlog-policy file. Its logs are trusted where no key is given
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Check this stream too; may be given several times
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Check this entry alone, of the stream (at most one is named) or of `_log`, and say what it is
    #[arg(long, value_name = "NUMBER")]
    entry: Option<u64>,
    /// A checkpoint of an earlier day: the log must have gone on from it
    #[arg(long, value_name = "NOTE")]
    since: Option<PathBuf>,
    /// How long one file may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time::parse_duration)]
    timeout: Duration,
}

/// Who is trusted.
struct Trust {
    /// Keys that may have signed, as they are written.
    written: Vec<String>,
    keys: Vec<VerifierKey>,
    policy: Option<Policy>,
}

impl Trust {
    /// The checkpoint in a note, if it is signed by the log.
    fn verify(&self, note: &Note) -> secure_log::Result<CheckpointBody> {
        let body = CheckpointBody::parse(&note.text)?;
        note.verify_origin(&body.origin, &self.keys)?;
        Ok(body)
    }
}

/// What was found.
struct Answer {
    checkpoint: CheckpointBody,
    /// What the witnesses of the policy say.
    witnesses: Option<String>,
    /// Size of the earlier checkpoint.
    since: Option<u64>,
    trees: Vec<Checked>,
    entry: Option<Value>,
}

/// What was checked of a tree.
struct Checked {
    stream_id: String,
    size: u64,
    root: [u8; 32],
    /// Entries that were read.
    entries: u64,
    files: u64,
}

impl CheckTiles {
    pub fn run(self, out: Output) -> Result<()> {
        let answer = self.check().with_context(|| format!("{} does not hold", self.place))?;
        if out.json {
            return out.document(&answer.document());
        }
        answer.lines(out)
    }

    fn trust(&self) -> Result<Trust> {
        let policy = self.policy.as_deref().map(read_policy).transpose()?.map(|(_, policy)| policy);
        let written = keys_that_count(&self.trust, policy.as_ref());
        anyhow::ensure!(!written.is_empty(), "the policy names no log: give its key with --trust");
        let keys = written.iter().map(|key| VerifierKey::parse(key)).collect::<Result<_, _>>()?;
        Ok(Trust { written, keys, policy })
    }

    fn check(&self) -> Result<Answer> {
        anyhow::ensure!(self.entry.is_none() || self.stream.len() < 2, "--entry is of one stream: name one");
        let trust = self.trust()?;
        let place = Files::at(&self.place, self.timeout);
        let note = text(&place, CHECKPOINT, MAX_NOTE)?;
        let note = Note::parse(&note).context(CHECKPOINT)?;
        let checkpoint = trust.verify(&note).context(CHECKPOINT)?;
        let witnesses = trust.policy.as_ref().map(|policy| policy.require(&note)).transpose();
        let witnesses = witnesses.context(CHECKPOINT)?.map(|status| status.to_string());
        let below = place.below(&prefix(LOG_STREAM));
        let open = if self.entry.is_none() { TileTree::open_whole } else { TileTree::open };
        let mut log = open(below, LOG_STREAM, checkpoint.size, checkpoint.root)?;
        let since = self.since.as_ref().map(|path| self.gone_on(path, &trust, &checkpoint, &mut log));
        let since = since.transpose()?;
        let mut answer = Answer { checkpoint, witnesses, since, trees: Vec::new(), entry: None };
        self.look(&mut log, LOG_STREAM, &mut answer)?;
        for stream_id in &self.stream {
            let mut tree = self.stream(&place, &trust, stream_id, &mut log)?;
            self.look(&mut tree, stream_id, &mut answer)?;
        }
        Ok(answer)
    }

    /// Reads a whole tree, or the entry that was asked for if it is in this one.
    fn look(&self, tree: &mut TileTree<Below<'_>>, stream_id: &str, answer: &mut Answer) -> Result<()> {
        let entries = match self.entry {
            None => {
                let bar = progress("checking", Some(tree.size()), false);
                let checked = all(tree, &bar);
                bar.finish_and_clear();
                checked?
            }
            Some(seqno) if self.stream.first().map_or(LOG_STREAM, String::as_str) == stream_id => {
                answer.entry = Some(one(tree, stream_id, seqno)?);
                1
            }
            Some(_) => 0,
        };
        answer.trees.push(Checked {
            stream_id: stream_id.to_owned(),
            size: tree.size(),
            root: tree.root(),
            entries,
            files: tree.source().read,
        });
        Ok(())
    }

    /// The tree of a stream, under its head, which must be in the history of the checkpoint.
    fn stream<'a>(
        &self,
        place: &'a Files,
        trust: &Trust,
        stream_id: &str,
        log: &mut TileTree<Below<'_>>,
    ) -> Result<TileTree<Below<'a>>> {
        let prefix = prefix(stream_id);
        let path = format!("{prefix}{HEAD}");
        let head = text(place, &path, MAX_PROOF_FILE)?;
        let proven = proof_file::verify(head.as_bytes(), &trust.written, trust.policy.as_ref());
        let proven = proven.with_context(|| path.clone())?;
        let (body, inclusion) = (proven.checkpoint, proof_file::read(head.as_bytes())?.inclusion);
        if inclusion.stream_id != stream_id {
            let reason = format!("{path} is of the stream {:?}", inclusion.stream_id);
            return Err(Error::corrupt(stream_id, 0, reason).into());
        }
        if body.size > log.size() {
            let reason = format!(
                "{path} is under a checkpoint of {} entries, {CHECKPOINT} has {}: an export is going on, try again",
                body.size,
                log.size()
            );
            return Err(Error::Busy(reason).into());
        }
        if tree::root(log, body.size)? != body.root {
            let reason = format!("{path} is under another history of the log than {CHECKPOINT}");
            return Err(Error::corrupt(stream_id, inclusion.tree_size, reason).into());
        }
        let open = if self.entry.is_none() { TileTree::open_whole } else { TileTree::open };
        Ok(open(place.below(&prefix), stream_id, inclusion.tree_size, inclusion.root)?)
    }

    /// The size of an earlier checkpoint, if the log has gone on from it.
    fn gone_on(
        &self,
        path: &std::path::Path,
        trust: &Trust,
        now: &CheckpointBody,
        log: &mut TileTree<Below<'_>>,
    ) -> Result<u64> {
        let name = || path.display().to_string();
        let note = files::read(path, MAX_NOTE, "a checkpoint")?;
        let note =
            String::from_utf8(note).ok().with_context(|| format!("{} is not UTF-8", path.display()))?;
        // Witnesses of today need not have cosigned it.
        let then = Note::parse(&note).and_then(|note| trust.verify(&note)).with_context(name)?;
        let rolled_back = |root, reason: String| {
            Error::RolledBack(Box::new(Rollback {
                claimed_size: then.size,
                claimed_root: then.root,
                size: now.size,
                root,
                reason,
            }))
        };
        if then.origin != now.origin {
            let reason = format!("it is of the log {:?}, this one is {:?}", then.origin, now.origin);
            return Err(rolled_back(now.root, reason)).with_context(name);
        }
        if then.size > now.size {
            return Err(rolled_back(now.root, "the log is behind it".into())).with_context(name);
        }
        let path = tree::consistency_path(log, then.size, now.size)?;
        if !tree::verify_consistency(then.size, now.size, &path, &then.root, &now.root) {
            let root = tree::root(log, then.size)?;
            return Err(rolled_back(root, "the log has another history".into())).with_context(name);
        }
        Ok(then.size)
    }
}

impl Answer {
    fn document(&self) -> Value {
        let tree = |tree: &Checked| {
            json!({
                "stream_id": tree.stream_id,
                "size": tree.size,
                "root": hex::encode(tree.root),
                "entries_checked": tree.entries,
                "entries_not_checked": tree.size - tree.entries,
                "files_read": tree.files,
            })
        };
        json!({
            "holds": true,
            "origin": self.checkpoint.origin,
            "size": self.checkpoint.size,
            "root": hex::encode(self.checkpoint.root),
            "witnesses": self.witnesses,
            "since": self.since,
            "trees": self.trees.iter().map(tree).collect::<Vec<_>>(),
            "entry": self.entry,
        })
    }

    fn lines(&self, out: Output) -> Result<()> {
        let witnessed = match &self.witnesses {
            Some(status) => format!("\t{}", show::printable(status)),
            None => String::new(),
        };
        out.line(format_args!(
            "checkpoint of {}\t{}\t{}{witnessed}",
            show::printable(&self.checkpoint.origin),
            self.checkpoint.size,
            hex::encode(self.checkpoint.root),
        ))?;
        if let Some(size) = self.since {
            out.line(format_args!("it goes on from the checkpoint of {size} entries"))?;
        }
        for tree in &self.trees {
            let mut line = format!(
                "{}\t{} entries hold\t{} files",
                show::printable(&tree.stream_id),
                tree.entries,
                tree.files
            );
            if tree.entries < tree.size {
                line += &format!("\t{} entries not read", tree.size - tree.entries);
            }
            out.line(line)?;
        }
        let Some(entry) = &self.entry else { return Ok(()) };
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let text = |value: &Value| show::printable(value.as_str().unwrap_or_default());
        let header = &entry["header"];
        let what = match header.is_object() {
            true => format!(
                "{} by {} at {}",
                text(&header["event_type"]),
                text(&header["producer"]),
                time::show(number(&header["time_ms"]))
            ),
            false => format!("{} bytes", text(&entry["bytes"]).len() / 2),
        };
        out.line(format_args!(
            "entry {} of {} holds: {what}",
            number(&entry["seqno"]),
            text(&entry["stream_id"])
        ))
    }
}

/// A file that must be there.
fn text(files: &Files, path: &str, max: usize) -> Result<String> {
    let bytes = files.read(path, max)?;
    let bytes = bytes.ok_or_else(|| Error::not_found("file", path, None, "the directory or URL has none"))?;
    String::from_utf8(bytes).ok().with_context(|| format!("{path} is not UTF-8"))
}

/// Reads all entries of a tree. Gives their number.
fn all(tree: &mut TileTree<Below<'_>>, bar: &ProgressBar) -> secure_log::Result<u64> {
    let mut count = 0;
    for block in 0..tree.blocks() {
        let read = tree.block(block)?.len() as u64;
        count += read;
        bar.inc(read);
    }
    Ok(count)
}

/// An entry, proven.
fn one(tree: &mut TileTree<Below<'_>>, stream_id: &str, seqno: u64) -> Result<Value> {
    if seqno == 0 || seqno > tree.size() {
        let reason = format!("the tree has {} entries, numbered from 1", tree.size());
        return Err(Error::not_found("entry", stream_id, Some(seqno), reason).into());
    }
    let (index, size, root) = (seqno - 1, tree.size(), tree.root());
    let mut block = tree.block(index / WIDTH)?;
    let entry = block.swap_remove((index % WIDTH) as usize);
    let leaf = tree::leaf_hash(&entry);
    let path = tree::inclusion_path(tree, index, size)?;
    if !tree::verify_inclusion(&leaf, index, size, &path, &root) {
        return Err(Error::corrupt(stream_id, seqno, "it is not shown to be in the tree").into());
    }
    // The entries of other logs are other things.
    let header = HeaderRef::decode(&entry).ok().map(|header| {
        json!({
            "stream_id": header.stream_id,
            "seqno": header.seqno,
            "time_ms": header.time_ms,
            "event_type": header.event_type,
            "producer": header.producer,
            "payload_hash": hex::encode(header.payload_hash),
            "payload_len": header.payload_len,
        })
    });
    Ok(json!({
        "stream_id": stream_id,
        "seqno": seqno,
        "leaf_hash": hex::encode(leaf),
        "bytes": hex::encode(&entry),
        "header": header,
    }))
}
