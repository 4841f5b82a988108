//! What is kept in memory of a log: where each row is, and what does not hold.

use std::collections::hash_map::{Entry as Slot, RandomState};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use secure_log::error::{Error, Result};
use secure_log::model::{Hash, StreamHead};
use secure_log::store::ObjectKind;

use crate::erase::Erased;
use crate::line::{PayloadRef, Sum};

/// Damage is named one by one up to this much.
pub(crate) const MAX_NAMED: usize = 1_000;

/// Where an entry's line is: offset and length, in 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pos(u64);

impl Pos {
    const LEN_BITS: u32 = 24;

    /// `None` beyond 1 TiB, or for a line of 16 MiB and more.
    pub(crate) fn new(offset: u64, len: u64) -> Option<Self> {
        (offset < 1 << (64 - Self::LEN_BITS) && len < 1 << Self::LEN_BITS)
            .then_some(Self(offset << Self::LEN_BITS | len))
    }

    pub(crate) const fn offset(self) -> u64 {
        self.0 >> Self::LEN_BITS
    }

    pub(crate) const fn len(self) -> usize {
        (self.0 & ((1 << Self::LEN_BITS) - 1)) as usize
    }
}

/// Where an object's line is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObjectPos {
    pub offset: u64,
    pub len: usize,
}

/// Consecutive entries of a stream.
#[derive(Debug)]
struct Run {
    first: u64,
    at: Vec<Pos>,
}

/// Entries that cannot be trusted or are not there.
#[derive(Debug, Clone)]
struct Bad {
    first: u64,
    last: u64,
    why: Arc<str>,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub name: Arc<str>,
    pub head: u64,
    pub hash: Hash,
    /// Where the last line begins that tells of it.
    pub seen: u64,
    /// One run, unless entries are missing.
    runs: Vec<Run>,
    bad: Vec<Bad>,
    /// Entries whose payloads are erased: first to last, apart from each other.
    erased: BTreeMap<u64, u64>,
}

impl Stream {
    /// Whether the payload of an entry is erased.
    pub(crate) fn is_erased(&self, seqno: u64) -> bool {
        self.erased.range(..=seqno).next_back().is_some_and(|(_, last)| seqno <= *last)
    }

    fn erase(&mut self, mut first: u64, mut last: u64) {
        while let Some((&from, &to)) = self.erased.range(..=last.saturating_add(1)).next_back()
            && to.saturating_add(1) >= first
        {
            self.erased.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.erased.insert(first, last);
    }

    pub(crate) fn head(&self) -> StreamHead {
        StreamHead { stream_id: self.name.to_string(), seqno: self.head, entry_hash: self.hash }
    }

    /// Adds the entry after the head, or one further on.
    pub(crate) fn push(&mut self, seqno: u64, hash: Hash, pos: Pos) {
        match self.runs.last_mut() {
            Some(run) if run.first + run.at.len() as u64 == seqno => run.at.push(pos),
            _ => self.runs.push(Run { first: seqno, at: vec![pos] }),
        }
        self.head = seqno;
        self.hash = hash;
        self.seen = pos.offset();
    }

    pub(crate) fn mark(&mut self, first: u64, last: u64, why: &Arc<str>) {
        let crowded = self.bad.len() >= MAX_NAMED;
        match self.bad.last_mut() {
            // What is in between is given up, so that a file of junk does not fill the memory.
            Some(b) if crowded => (b.first, b.last) = (b.first.min(first), b.last.max(last)),
            Some(b) if b.first <= first && first <= b.last.saturating_add(1) => b.last = b.last.max(last),
            _ => self.bad.push(Bad { first, last, why: why.clone() }),
        }
    }

    fn bad(&self, seqno: u64) -> Option<&Bad> {
        self.bad.iter().find(|b| (b.first..=b.last).contains(&seqno))
    }

    /// Where entry `seqno` is; `None` behind the head; `Corrupt` if it does not hold.
    pub(crate) fn pos(&self, seqno: u64) -> Result<Option<Pos>> {
        if let Some(bad) = self.bad(seqno) {
            return Err(Error::corrupt(&*self.name, seqno, &*bad.why));
        }
        if seqno == 0 || seqno > self.head {
            return Ok(None);
        }
        let run = self.runs.partition_point(|r| r.first <= seqno);
        let pos = run.checked_sub(1).and_then(|r| {
            let run = &self.runs[r];
            run.at.get(usize::try_from(seqno - run.first).ok()?)
        });
        match pos {
            Some(pos) => Ok(Some(*pos)),
            None => Err(Error::corrupt(&*self.name, seqno, "its line is missing")),
        }
    }

    /// Number of the first entry whose line begins at `offset` or later, or that is missing
    /// before such a line; the head's + 1 if none does.
    pub(crate) fn number_at(&self, offset: u64) -> u64 {
        let run = self.runs.partition_point(|r| r.at.last().is_some_and(|p| p.offset() < offset));
        let before = match run.checked_sub(1) {
            Some(r) => self.runs[r].first + self.runs[r].at.len() as u64,
            None => 1,
        };
        match self.runs.get(run) {
            None => before,
            Some(r) => match r.at.partition_point(|p| p.offset() < offset) {
                0 => before,
                n => r.first + n as u64,
            },
        }
    }

    /// The first entry that does not hold.
    pub(crate) fn first_bad(&self) -> Option<Error> {
        let bad = self.bad.iter().min_by_key(|b| b.first)?;
        Some(Error::corrupt(&*self.name, bad.first, &*bad.why))
    }

    /// `Corrupt` if entries after the head are known to have been there.
    fn check_head(&self) -> Result<()> {
        match self.bad.iter().find(|b| b.first > self.head) {
            Some(bad) => Err(Error::corrupt(&*self.name, bad.first, &*bad.why)),
            None => Ok(()),
        }
    }
}

/// Lines are missing that may have held entries of any stream.
#[derive(Debug)]
pub(crate) struct Gap {
    /// Where the line after them begins.
    pub offset: u64,
    pub why: Arc<str>,
}

impl Gap {
    fn error(&self, stream: &str, seqno: u64) -> Error {
        Error::corrupt(
            stream,
            seqno,
            format!("{}; it may have been in lines that are missing there", self.why),
        )
    }
}

/// Something that does not hold, and where it shows.
#[derive(Debug, Clone)]
pub(crate) struct Damage {
    /// Where the line begins.
    pub offset: u64,
    pub stream: String,
    pub seqno: u64,
    pub why: Arc<str>,
}

impl Damage {
    pub(crate) fn error(&self) -> Error {
        Error::corrupt(&*self.stream, self.seqno, &*self.why)
    }
}

#[derive(Debug)]
pub(crate) struct Index {
    pub streams: Vec<Stream>,
    pub names: BTreeMap<Arc<str>, u32>,
    objects: [BTreeMap<Box<str>, ObjectPos>; ObjectKind::ALL.len()],
    /// Line of an entry by the hash of its stream and id.
    ids: HashMap<u64, Pos>,
    /// Lines whose hash is taken by another id.
    more_ids: Vec<(u64, Pos)>,
    hasher: RandomState,
    /// Checksum of the last line.
    pub sum: Sum,
    /// Number of the next commit.
    pub next_commit: u64,
    /// Bytes of each payload file that entries refer to.
    pub chunks: BTreeMap<u32, u64>,
    pub damage: Vec<Damage>,
    /// Why objects cannot be trusted.
    pub objects_damaged: Option<Damage>,
    /// The last place where whole batches are missing.
    pub gap: Option<Gap>,
    /// Checksums that lines were found to chain from where the line before is damaged.
    pub chained_from: HashMap<u64, Sum>,
    /// Payloads whose erasure was begun and is not known to be done.
    pub unfinished: Vec<(String, Erased)>,
}

impl Index {
    pub(crate) fn new(sum: Sum) -> Self {
        Self {
            streams: Vec::new(),
            names: BTreeMap::new(),
            objects: Default::default(),
            ids: HashMap::new(),
            more_ids: Vec::new(),
            hasher: RandomState::new(),
            sum,
            next_commit: 1,
            chunks: BTreeMap::new(),
            damage: Vec::new(),
            objects_damaged: None,
            gap: None,
            chained_from: HashMap::new(),
            unfinished: Vec::new(),
        }
    }

    /// Number of a stream in `streams`, new if need be.
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        if let Some(&i) = self.names.get(name) {
            return i;
        }
        let i = self.streams.len() as u32;
        let name: Arc<str> = name.into();
        self.names.insert(name.clone(), i);
        self.streams.push(Stream {
            name,
            head: 0,
            hash: [0; 32],
            seen: 0,
            runs: Vec::new(),
            bad: Vec::new(),
            erased: BTreeMap::new(),
        });
        i
    }

    pub(crate) fn stream(&self, name: &str) -> Option<&Stream> {
        self.names.get(name).map(|&i| &self.streams[i as usize])
    }

    /// `Corrupt` if there may have been entries after the head of a stream.
    pub(crate) fn check_end(&self, stream: &Stream) -> Result<()> {
        stream.check_head()?;
        match &self.gap {
            Some(gap) if gap.offset > stream.seen => {
                Err(gap.error(&stream.name, stream.head.saturating_add(1)))
            }
            _ => Ok(()),
        }
    }

    /// `Corrupt` if a stream that is not here may have been.
    pub(crate) fn check_absent(&self, name: &str) -> Result<()> {
        self.gap.as_ref().map_or(Ok(()), |gap| Err(gap.error(name, 1)))
    }

    pub(crate) fn object(&self, kind: ObjectKind, key: &str) -> Option<ObjectPos> {
        self.objects[kind as usize].get(key).copied()
    }

    pub(crate) fn objects(&self, kind: ObjectKind) -> &BTreeMap<Box<str>, ObjectPos> {
        &self.objects[kind as usize]
    }

    pub(crate) fn put_object(&mut self, kind: ObjectKind, key: &str, pos: ObjectPos) {
        match self.objects[kind as usize].get_mut(key) {
            Some(old) => *old = pos,
            None => {
                self.objects[kind as usize].insert(key.into(), pos);
            }
        }
    }

    /// Takes note of an erasure that a line tells of.
    pub(crate) fn put_erased(&mut self, stream: &str, erased: Erased) {
        let i = self.intern(stream);
        self.streams[i as usize].erase(erased.from, erased.to);
        let same = |(name, begun): &(String, Erased)| {
            name == stream && (begun.from, begun.to) == (erased.from, erased.to)
        };
        self.unfinished.retain(|begun| !same(begun));
        if !erased.done {
            self.unfinished.push((stream.to_owned(), erased));
        }
    }

    pub(crate) fn id_hash(&self, stream: &str, id: &str) -> u64 {
        self.hasher.hash_one((stream, id))
    }

    /// Lines that may have the id of this hash.
    pub(crate) fn lines_with_id(&self, hash: u64) -> impl Iterator<Item = Pos> + '_ {
        let first = self.ids.get(&hash).copied();
        let more = if first.is_some() { &self.more_ids[..] } else { &[] };
        first.into_iter().chain(more.iter().filter(move |(h, _)| *h == hash).map(|(_, pos)| *pos))
    }

    pub(crate) fn put_id(&mut self, hash: u64, pos: Pos) {
        match self.ids.entry(hash) {
            Slot::Vacant(slot) => {
                slot.insert(pos);
            }
            Slot::Occupied(_) => self.more_ids.push((hash, pos)),
        }
    }

    pub(crate) fn refer(&mut self, payload: PayloadRef) {
        let end = self.chunks.entry(payload.chunk).or_default();
        *end = (*end).max(payload.offset.saturating_add(payload.len));
    }
}
