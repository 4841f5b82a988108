//! `export-tiles`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use secure_log::Error;
use secure_log::error::Rollback;
use secure_log::model::Hash;
use secure_log::note::{CheckpointBody, MAX_NOTE, Note};
use secure_log::proof_file::{self, MAX_PROOF_FILE};
use secure_log::record::LOG_STREAM;
use secure_log::tiles::{TileBuilder, TilePath, TileTree, WIDTH, entries, push_entry};
use secure_log::tree::leaf_hash;
use secure_log_host::types::Segment;
use serde_json::json;

use super::dir::{Stage, TileDir};
use super::files::Files;
use super::{CHECKPOINT, HEAD, prefix};
use crate::log::witness::read_policy;
use crate::log::{show, with_log};
use crate::open::{Open, StoreArgs};
use crate::output::{Output, note, progress};

/// Write the log as static files that any web server can serve
///
/// The layout of C2SP tlog-tiles: the newest checkpoint, the tree of `_log` in tiles, and its entries (headers, no
/// payloads) in bundles; the same for streams, up to their last segment under that checkpoint. Run it again to add what
/// came since, or after an interruption. Files never change, heads come last, and a directory that is ahead of the log or
/// beside it is refused (docs/tiles.md).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds log export-tiles /srv/audit --all-streams
  eds log export-tiles /srv/audit --stream doors --policy policy.txt --prune-partial")]
pub(crate) struct ExportTiles {
    /// The directory; it is made if need be
    dir: PathBuf,
    /// Write this stream too; may be given several times
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Write all streams
    #[arg(long, conflicts_with = "stream")]
    all_streams: bool,
    /// Publish the newest checkpoint that this tlog-policy file counts as published, instead of the newest
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Remove partial files once the full one is there
    #[arg(long)]
    prune_partial: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// The checkpoint to publish.
struct Checkpoint {
    note: String,
    body: CheckpointBody,
}

/// A tree to write.
struct Tree {
    stream_id: String,
    /// Its folder.
    prefix: String,
    /// What the directory has of it.
    old: Option<Head>,
    new: Head,
}

/// Size and root of a tree.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head {
    size: u64,
    root: Hash,
}

impl Head {
    fn of(body: &CheckpointBody) -> Self {
        Self { size: body.size, root: body.root }
    }
}

/// What was done for a tree.
struct Written {
    stream_id: String,
    size: u64,
    new_entries: u64,
    files: u64,
    there: u64,
}

impl ExportTiles {
    pub fn run(self, out: Output) -> Result<()> {
        with_log(&self.store, |log| self.export(out, log))
    }

    fn export(&self, out: Output, log: &mut Open) -> Result<()> {
        let policy = self.policy.as_deref().map(read_policy).transpose()?.map(|(bytes, _)| bytes);
        let checkpoint = self.checkpoint(log, policy.as_deref())?;
        let streams = self.streams(log, &checkpoint)?;
        let dir = TileDir::open(&self.dir)?;
        let (old_note, log_tree) = self.log_tree(log, &dir, &checkpoint)?;
        let mut trees = vec![log_tree];
        for segment in streams {
            trees.push(self.stream_tree(log, &dir, segment)?);
        }
        let new = |tree: &Tree| tree.new.size - tree.old.map_or(0, |old| old.size / WIDTH * WIDTH);
        let bar = progress("exporting", Some(trees.iter().map(new).sum()), false);
        let mut written = Vec::new();
        for tree in &trees {
            written.push(tree.write(log, &dir, &bar)?);
        }
        // Heads last: whoever reads them finds everything that they cover.
        if old_note.as_deref() != Some(checkpoint.note.as_str()) {
            dir.replace(CHECKPOINT, &checkpoint.note)?;
        }
        for tree in trees.iter().filter(|tree| tree.stream_id != LOG_STREAM && tree.old != Some(tree.new)) {
            let proof = log.build_proof_file(&tree.stream_id, tree.new.size, policy.as_deref())?;
            let proven = proof_file::read(proof.as_bytes())?.inclusion;
            if (proven.tree_size, proven.root) != (tree.new.size, tree.new.root) {
                return Err(Error::Busy("the log was signed anew meanwhile: run it again".into()).into());
            }
            dir.replace(&format!("{}{HEAD}", tree.prefix), &proof)?;
        }
        bar.finish_and_clear();
        let mut pruned = 0;
        if self.prune_partial {
            for tree in &trees {
                pruned += dir.prune(&tree.prefix)?;
            }
        }
        answer(out, &checkpoint.body, &written, pruned)
    }

    /// The checkpoint to publish, with the cosignatures that there are.
    fn checkpoint(&self, log: &mut Open, policy: Option<&[u8]>) -> Result<Checkpoint> {
        let number = match policy {
            Some(policy) => {
                let publication = log.publication(policy)?;
                publication.published.context(
                    "no checkpoint counts as published by the policy: `eds log witness` asks its witnesses",
                )?
            }
            None => {
                let latest = log.latest_checkpoint()?;
                latest.context("nothing was signed yet: `eds log sign` makes a checkpoint")?.number
            }
        };
        let note = log.cosigned_note(number)?;
        let body = CheckpointBody::parse(&Note::parse(&note)?.text)?;
        Ok(Checkpoint { note, body })
    }

    /// The last segment of each chosen stream that the checkpoint covers.
    fn streams(&self, log: &mut Open, checkpoint: &Checkpoint) -> Result<Vec<Segment>> {
        let mut names = self.stream.clone();
        if self.all_streams {
            names = log.list_streams()?.into_iter().map(|stream| stream.stream_id).collect();
        }
        names.sort();
        names.dedup();
        let mut segments = Vec::new();
        let mut uncovered = 0;
        for name in names.iter().filter(|name| *name != LOG_STREAM) {
            let last = log.list_segments(name)?.into_iter().rfind(|s| s.segment_id <= checkpoint.body.size);
            match last {
                Some(segment) => segments.push(segment),
                None if self.all_streams => uncovered += 1,
                None => bail!(
                    "no segment of stream {name:?} is under the checkpoint: `eds log sign` closes and signs one"
                ),
            }
        }
        if uncovered > 0 {
            note(format_args!("{uncovered} streams have no segment under the checkpoint and are left out"));
        }
        Ok(segments)
    }

    /// `_log`, which must go on from what the directory has.
    fn log_tree(
        &self,
        log: &mut Open,
        dir: &TileDir,
        checkpoint: &Checkpoint,
    ) -> Result<(Option<String>, Tree)> {
        let new = Head::of(&checkpoint.body);
        let old_note = text(dir.files(), CHECKPOINT, MAX_NOTE)?;
        let mut old = None;
        if let Some(note) = &old_note {
            let path = self.dir.join(CHECKPOINT);
            let body = Note::parse(note).and_then(|note| CheckpointBody::parse(&note.text));
            let body = body.with_context(|| format!("{} is no checkpoint", path.display()))?;
            let head = Head::of(&body);
            let compared = log.check_against(note).map_err(anyhow::Error::from);
            compared
                .and_then(|()| extends(head, new))
                .with_context(|| self.refused(LOG_STREAM, head, new))?;
            old = Some(head);
        }
        let tree = Tree { stream_id: LOG_STREAM.into(), prefix: prefix(LOG_STREAM), old, new };
        Ok((old_note, tree))
    }

    /// A stream, which must go on from what the directory has.
    fn stream_tree(&self, log: &mut Open, dir: &TileDir, segment: Segment) -> Result<Tree> {
        let root = segment.root.as_slice().try_into().context("the root of a segment is no hash")?;
        let (stream_id, new) = (segment.stream_id, Head { size: segment.size, root });
        let prefix = prefix(&stream_id);
        let path = format!("{prefix}{HEAD}");
        let mut old = None;
        if let Some(text) = text(dir.files(), &path, MAX_PROOF_FILE)? {
            let proof = proof_file::read(text.as_bytes());
            let proof = proof.with_context(|| format!("{}", self.dir.join(&path).display()))?.inclusion;
            if proof.stream_id != stream_id {
                bail!("{} is of another stream, {:?}", self.dir.join(&path).display(), proof.stream_id);
            }
            let head = Head { size: proof.tree_size, root: proof.root };
            let known = |s: &Segment| s.size == head.size && s.root == head.root;
            let recorded = head.size > new.size || log.list_segments(&stream_id)?.iter().any(known);
            extends(head, new)
                .and_then(|()| if recorded { Ok(()) } else { Err(forked(head, new).into()) })
                .with_context(|| self.refused(&stream_id, head, new))?;
            old = Some(head);
        }
        Ok(Tree { stream_id, prefix, old, new })
    }

    /// Both heads, where one does not go on from the other.
    fn refused(&self, stream_id: &str, old: Head, new: Head) -> String {
        format!(
            "nothing was written: {} has {} entries of {} with root {}, the checkpoint to publish {} with root {}",
            self.dir.display(),
            old.size,
            show::printable(stream_id),
            hex::encode(old.root),
            new.size,
            hex::encode(new.root),
        )
    }
}

/// Refuses to go backwards.
fn extends(old: Head, new: Head) -> Result<()> {
    if old.size > new.size {
        return Err(rollback(old, new, "the directory is ahead of it").into());
    }
    if old.size == new.size && old.root != new.root {
        return Err(forked(old, new).into());
    }
    Ok(())
}

fn forked(old: Head, new: Head) -> Error {
    rollback(old, new, "the directory has another history")
}

fn rollback(old: Head, new: Head, reason: &str) -> Error {
    Error::RolledBack(Box::new(Rollback {
        claimed_size: old.size,
        claimed_root: old.root,
        size: new.size,
        root: new.root,
        reason: reason.into(),
    }))
}

fn text(files: &Files, path: &str, max: usize) -> Result<Option<String>> {
    let text = files.read(path, max)?.map(String::from_utf8).transpose();
    text.with_context(|| format!("{path} is not UTF-8"))
}

impl Tree {
    /// Writes what the directory lacks, and reads it back.
    fn write(&self, log: &mut Open, dir: &TileDir, bar: &ProgressBar) -> Result<Written> {
        let mut written = Written {
            stream_id: self.stream_id.clone(),
            size: self.new.size,
            new_entries: self.new.size - self.old.map_or(0, |old| old.size),
            files: 0,
            there: 0,
        };
        if self.old == Some(self.new) {
            return Ok(written);
        }
        let builder = match self.old {
            None => TileBuilder::new(0),
            Some(old) => {
                let below = dir.files().below(&self.prefix);
                let tree = TileTree::open(below, &self.stream_id, old.size, old.root).context(
                    "what the directory has cannot be gone on from: `eds log check-tiles` tells more, an export into an \
                     empty directory replaces it",
                )?;
                tree.builder()?
            }
        };
        let first = builder.size() / WIDTH;
        let ((), staged) = dir.stage(&self.prefix, |stage| self.grow(log, builder, stage, bar))?;
        (written.files, written.there) = (staged.new_files(), staged.there);
        dir.name(staged)?;
        // Read back: the root vouches for each of them.
        let below = dir.files().below(&self.prefix);
        let mut tree = TileTree::open(below, &self.stream_id, self.new.size, self.new.root)?;
        for block in first..tree.blocks() {
            tree.block(block)?;
        }
        Ok(written)
    }

    /// Grows the tree from a full block on, and gives its files.
    fn grow(
        &self,
        log: &mut Open,
        mut builder: TileBuilder,
        stage: &Stage<'_>,
        bar: &ProgressBar,
    ) -> Result<()> {
        let mut bundle = Vec::new();
        while builder.size() < self.new.size {
            let page = log.read_headers(&self.stream_id, builder.size() + 1, self.new.size)?;
            let headers = entries(&page)?;
            for header in &headers {
                push_entry(&mut bundle, header)?;
                builder.push(leaf_hash(header));
                if let Some(old) = self.old.filter(|old| old.size == builder.size())
                    && old.root != builder.root()
                {
                    return Err(forked(old, self.new).into());
                }
                if builder.size().is_multiple_of(WIDTH) {
                    let path = TilePath::entries(builder.size() / WIDTH - 1, WIDTH);
                    stage.put(path, std::mem::take(&mut bundle))?;
                    put_tiles(stage, builder.take_full())?;
                }
            }
            bar.inc(headers.len() as u64);
        }
        if builder.root() != self.new.root {
            let reason = "its entries do not give the root that was signed; nothing was written. `eds log verify` tells more";
            return Err(Error::corrupt(&self.stream_id, self.new.size, reason).into());
        }
        if !bundle.is_empty() {
            stage.put(TilePath::entries(self.new.size / WIDTH, self.new.size % WIDTH), bundle)?;
        }
        put_tiles(stage, builder.take_partial())
    }
}

fn put_tiles(stage: &Stage<'_>, tiles: Vec<secure_log::store::Tile>) -> Result<()> {
    tiles.into_iter().try_for_each(|tile| {
        let path = TilePath::tile(tile.level, tile.index, tile.hashes.len() as u64 / 32);
        stage.put(path, tile.hashes)
    })
}

fn answer(out: Output, checkpoint: &CheckpointBody, written: &[Written], pruned: u64) -> Result<()> {
    if out.json {
        let trees: Vec<_> = written
            .iter()
            .map(|tree| {
                json!({
                    "stream_id": tree.stream_id,
                    "folder": prefix(&tree.stream_id),
                    "size": tree.size,
                    "new_entries": tree.new_entries,
                    "files_written": tree.files,
                    "files_there": tree.there,
                })
            })
            .collect();
        return out.document(&json!({
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": hex::encode(checkpoint.root),
            "trees": trees,
            "partial_files_removed": pruned,
        }));
    }
    for tree in written {
        out.line(format_args!(
            "{}\t{} entries, {} of them new\t{} files written, {} there already",
            show::printable(&tree.stream_id),
            tree.size,
            tree.new_entries,
            tree.files,
            tree.there,
        ))?;
    }
    if pruned > 0 {
        out.line(format_args!("{pruned} partial files removed"))?;
    }
    out.line(format_args!(
        "checkpoint of {}\t{}\t{}",
        show::printable(&checkpoint.origin),
        checkpoint.size,
        hex::encode(checkpoint.root)
    ))
}
