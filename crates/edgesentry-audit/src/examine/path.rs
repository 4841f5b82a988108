//! The way of an entry up to a checkpoint: from the leaves of an export, or from an entry's own proof.

use std::collections::HashMap;
use std::rc::Rc;

use secure_log::model::{EntryProof, Hash};
use secure_log::record::{LOG_STREAM, Record};
use secure_log::tree::{Step, climb, inclusion_path, leaf_hash};

use super::model::{MerklePath, SegmentMark};

/// A checkpoint of the file.
pub(super) struct Checkpoint {
    pub number: u64,
    pub size: u64,
    pub root: Hash,
    pub note: String,
}

/// What paths are made of.
#[derive(Default)]
pub(super) struct Paths {
    /// Oldest first.
    pub checkpoints: Vec<Checkpoint>,
    segments: HashMap<String, Vec<SegmentMark>>,
    /// Leaf hashes of streams that are there from their first entry on, without gaps.
    leaves: HashMap<String, Vec<Hash>>,
}

impl Paths {
    /// The next entry of a stream of an export.
    pub fn leaf(&mut self, stream_id: &str, seqno: u64, header: &[u8]) {
        if !self.leaves.contains_key(stream_id) {
            self.leaves.insert(stream_id.to_owned(), Vec::new());
        }
        if let Some(leaves) = self.leaves.get_mut(stream_id)
            && seqno == leaves.len() as u64 + 1
        {
            leaves.push(leaf_hash(header));
        }
    }

    /// An entry of `_log` closes a segment.
    pub fn record(&mut self, number: u64, record: Record) {
        let Record::SegmentClosed { stream_id, size, root, first_seqno, .. } = record else { return };
        let checkpoint = self.checkpoints.iter().find(|c| c.size >= number).map(|c| c.number);
        let of = self.segments.entry(stream_id).or_default();
        if of.iter().all(|mark| mark.segment_id != number) {
            of.push(SegmentMark { segment_id: number, first_seqno, last_seqno: size, root, checkpoint });
        }
    }

    pub fn segments(&self, stream_id: &str) -> Vec<SegmentMark> {
        self.segments.get(stream_id).cloned().unwrap_or_default()
    }

    /// The first segment that covers an entry.
    pub fn covering(&self, stream_id: &str, seqno: u64) -> Option<&SegmentMark> {
        let segments = self.segments.get(stream_id)?;
        let at = segments.partition_point(|mark| mark.last_seqno < seqno);
        segments.get(at).filter(|mark| mark.first_seqno <= seqno)
    }

    /// Steps from the leaf `index` to the root of the first `size` leaves, and that root.
    fn climb(&self, stream_id: &str, index: u64, size: u64) -> Option<(Hash, Vec<Step>, Hash)> {
        let leaves = self.leaves.get(stream_id)?;
        let leaves = leaves.get(..usize::try_from(size).ok()?)?;
        let leaf = leaves.get(usize::try_from(index).ok()?)?;
        let path = inclusion_path(&mut &*leaves, index, size).ok()?;
        let (steps, root) = steps(leaf, index, size, &path)?;
        Some((*leaf, steps, root))
    }

    /// The path of an entry of an export.
    pub fn path(&self, stream_id: &str, seqno: u64) -> Option<MerklePath> {
        let index = seqno.checked_sub(1)?;
        let under = |size: u64| self.checkpoints.iter().find(|c| c.size >= size);
        if stream_id == LOG_STREAM {
            let checkpoint = under(seqno)?;
            let (leaf, log_steps, log_root) = self.climb(LOG_STREAM, index, checkpoint.size)?;
            return (log_root == checkpoint.root).then(|| MerklePath {
                leaf,
                steps: Vec::new(),
                root: log_root,
                segment_id: 0,
                log_leaf: None,
                log_steps,
                log_root,
                checkpoint: checkpoint.number,
                note: checkpoint.note.clone(),
            });
        }
        let segment = self.covering(stream_id, seqno)?;
        let checkpoint = under(segment.segment_id)?;
        let (leaf, steps, root) = self.climb(stream_id, index, segment.last_seqno)?;
        let (log_leaf, log_steps, log_root) =
            self.climb(LOG_STREAM, segment.segment_id - 1, checkpoint.size)?;
        // What does not lead there is no path.
        (root == segment.root && log_root == checkpoint.root).then(|| MerklePath {
            leaf,
            steps,
            root,
            segment_id: segment.segment_id,
            log_leaf: Some(log_leaf),
            log_steps,
            log_root,
            checkpoint: checkpoint.number,
            note: checkpoint.note.clone(),
        })
    }
}

fn steps(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<(Vec<Step>, Hash)> {
    let mut steps = Vec::with_capacity(path.len());
    let root = climb(leaf, index, size, path, |step| steps.push(step))?;
    Some((steps, root))
}

/// The proof that an entry brings along, without what all entries of a segment have in common.
pub(super) struct Proof {
    leaf: Hash,
    seqno: u64,
    tree_size: u64,
    path: Vec<Hash>,
    segment: Rc<Segment>,
}

/// A segment's way up.
pub(super) struct Segment {
    id: u64,
    root: Hash,
    leaf: Hash,
    path: Vec<Hash>,
}

impl Proof {
    /// The proof of an entry; `before`: the segment of the entry before it.
    pub fn new(proof: &EntryProof, before: Option<&Proof>) -> Self {
        let inclusion = &proof.inclusion;
        let same = before.map(|before| &before.segment).filter(|segment| {
            segment.id == inclusion.segment_id
                && segment.root == inclusion.root
                && segment.path == proof.log_path
                && segment.leaf == leaf_hash(&proof.segment_header)
        });
        let segment = same.cloned().unwrap_or_else(|| {
            Rc::new(Segment {
                id: inclusion.segment_id,
                root: inclusion.root,
                leaf: leaf_hash(&proof.segment_header),
                path: proof.log_path.clone(),
            })
        });
        Self {
            leaf: leaf_hash(&proof.header_bytes),
            seqno: inclusion.seqno,
            tree_size: inclusion.tree_size,
            path: inclusion.path.clone(),
            segment,
        }
    }

    pub fn segment_id(&self) -> u64 {
        self.segment.id
    }

    /// Its path, under the one checkpoint of the file.
    pub fn path(&self, paths: &Paths) -> Option<MerklePath> {
        let checkpoint = paths.checkpoints.first()?;
        let segment = &self.segment;
        let (steps_up, root) = steps(&self.leaf, self.seqno.checked_sub(1)?, self.tree_size, &self.path)?;
        let (log_steps, log_root) =
            steps(&segment.leaf, segment.id.checked_sub(1)?, checkpoint.size, &segment.path)?;
        (root == segment.root && log_root == checkpoint.root).then(|| MerklePath {
            leaf: self.leaf,
            steps: steps_up,
            root,
            segment_id: segment.id,
            log_leaf: Some(segment.leaf),
            log_steps,
            log_root,
            checkpoint: checkpoint.number,
            note: checkpoint.note.clone(),
        })
    }
}
