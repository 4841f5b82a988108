//! Reads a whole log once: builds the index, tells an interrupted write from damage, and finds
//! for all damage an entry (or the objects) in which it shows.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use secure_log::limits::MAX_BATCH_EVENTS;
use secure_log::model::Hash;
use secure_log::store::ObjectKind;

use crate::erase::{ERASED, Erased};
use crate::index::{Damage, Gap, Index, MAX_NAMED, ObjectPos, Pos};
use crate::io::{Lines, RawLine, read_at};
use crate::line::{self, CommitLine, EntryLine, Line, PayloadRef, Sum};

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Empty, or what a crash left of a first line.
    New,
    /// One of ours, whole or damaged.
    Ours,
    /// One of a later version.
    Newer(u64),
    /// Something else.
    Foreign,
}

/// How much of a file tells whose it is, where its first line does not.
const PEEK: usize = 1 << 20;

/// Looks at the beginning of a file.
pub(crate) fn kind_of(file: &File) -> io::Result<Kind> {
    let (first, first_sum) = line::first_line(line::VERSION);
    let mut buf = vec![0; first.len() + 1];
    let n = read_at(file, &mut buf, 0)?;
    if buf[..n].starts_with(&first) {
        return Ok(Kind::Ours);
    }
    let text = &buf[..buf[..n].iter().rposition(|&b| b != 0).map_or(0, |i| i + 1)];
    if n <= first.len() && first.starts_with(text) {
        return Ok(Kind::New);
    }
    buf.resize(PEEK, 0);
    let n = read_at(file, &mut buf, 0)?;
    buf.truncate(n);
    let lines: Vec<&[u8]> = buf.split(|&b| b == b'\n').take(6).collect();
    if let Some(version) = line::version_of(lines[0]).filter(|&v| v != line::VERSION) {
        return Ok(Kind::Newer(version));
    }
    // The first line is damaged: it is ours if two lines near it chain.
    let mut before = first_sum;
    for l in &lines[1..] {
        let Some((content, sum)) = line::split_sum(l) else { continue };
        if line::sum_of(&before, content) == sum || line::sum_of(&first_sum, content) == sum {
            return Ok(Kind::Ours);
        }
        before = sum;
    }
    Ok(Kind::Foreign)
}

/// What follows the last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing.
    Clean,
    /// The beginning of a batch whose writing was interrupted.
    Cut,
    /// The newline of the commit itself is what is missing.
    NoNewline,
}

/// A log that has been read.
pub(crate) struct Loaded {
    pub index: Index,
    /// Where the last batch ends; the end of the file if it is damaged.
    pub end: u64,
    pub tail: Tail,
}

/// Reads the log. Whatever is in it is no error: it is in `index.damage`.
pub(crate) fn load(file: &File) -> io::Result<Loaded> {
    let (first, first_sum) = line::first_line(line::VERSION);
    let mut loader = Loader {
        file,
        index: Index::new(first_sum),
        chain: Chain { stored: None, computed: None, valid: first_sum },
        region: Region::default(),
        last_stream: None,
        unsure: 0,
        end: 0,
        end_sum: first_sum,
    };
    let mut lines = Lines::new(file, 0, u64::MAX);
    let mut number = 0;
    let mut tail = Tail::Clean;
    let mut size = 0;
    while let Some(raw) = lines.next()? {
        number += 1;
        size = raw.next_offset();
        if number == 1 {
            loader.first_line(&raw, &first, first_sum);
        } else if raw.ended {
            loader.line(number, &raw)?;
        } else {
            tail = loader.tail(number, &raw)?;
        }
    }
    loader.finish(tail, size)
}

/// What the next line may chain from.
struct Chain {
    /// The sum that stands at the end of the line before.
    stored: Option<Sum>,
    /// The sum that should stand there.
    computed: Option<Sum>,
    /// The sum of the last line that held: lines in between were put in.
    valid: Sum,
}

struct PendingEntry {
    line: u64,
    stream: u32,
    seqno: u64,
    hash: Hash,
    pos: Pos,
    id: Option<u64>,
    payload: Option<PayloadRef>,
}

struct PendingObject {
    line: u64,
    kind: ObjectKind,
    key: Box<str>,
    pos: ObjectPos,
}

/// What a damaged line seems to have been. Quotes in strings are escaped, so that these keys
/// only stand where fields begin.
#[derive(Clone, Copy)]
struct Looks {
    entry: bool,
    object: bool,
    commit: bool,
}

impl Looks {
    fn of(bytes: &[u8]) -> Self {
        let has = |key: &[u8]| memchr::memmem::find(bytes, key).is_some();
        Self {
            entry: bytes.starts_with(b"{\"stream\":\"") || has(b"\",\"header\":\""),
            object: has(b"{\"object\":\"") || has(b",\"value\":\""),
            commit: bytes.starts_with(b"{\"commit\":") || has(b",\"heads\":["),
        }
    }

    const fn nothing(self) -> bool {
        !self.entry && !self.object && !self.commit
    }
}

struct DamagedLine {
    line: u64,
    offset: u64,
    why: &'static str,
    claim: Option<(String, u64)>,
    commit: Option<ClaimedCommit>,
    looks: Looks,
}

/// What a damaged line says of a batch, if it has the form of a commit.
struct ClaimedCommit {
    objects: u64,
    heads: Vec<(String, u64)>,
}

impl ClaimedCommit {
    fn of(content: &[u8]) -> Option<Self> {
        match line::scan(std::str::from_utf8(content).ok()?) {
            Ok(Line::Commit(c)) => Some(Self {
                objects: c.objects,
                heads: c.heads.into_iter().map(|(name, seqno, _)| (name.into_owned(), seqno)).collect(),
            }),
            _ => None,
        }
    }
}

/// Lines since the last commit.
#[derive(Default)]
struct Region {
    entries: Vec<PendingEntry>,
    objects: Vec<PendingObject>,
    erased: Vec<(String, Erased)>,
    damaged: Vec<DamagedLine>,
    /// There were more damaged lines than are kept.
    crowded: bool,
}

impl Region {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.objects.is_empty()
            && self.erased.is_empty()
            && self.damaged.is_empty()
    }

    /// Lines that a commit counts as objects.
    fn object_lines(&self) -> u64 {
        (self.objects.len() + self.erased.len()) as u64
    }

    fn claimed_commits(&self) -> impl Iterator<Item = &ClaimedCommit> {
        self.damaged.iter().filter_map(|d| d.commit.as_ref())
    }

    /// Whether a damaged line may have been an object's.
    fn may_hold_objects(&self) -> bool {
        self.crowded || self.damaged.iter().any(|d| d.looks.object || d.looks.nothing())
    }
}

struct Loader<'f> {
    file: &'f File,
    index: Index,
    chain: Chain,
    region: Region,
    last_stream: Option<u32>,
    /// Damaged lines since the last commit that looked like one.
    unsure: u64,
    /// Where the last batch ends, and its checksum.
    end: u64,
    end_sum: Sum,
}

const BAD_SUM: &str = "its checksum does not hold: it was changed, or lines before it are missing";

impl Loader<'_> {
    fn first_line(&mut self, raw: &RawLine<'_>, first: &[u8], first_sum: Sum) {
        self.end = raw.next_offset();
        if raw.ended && raw.bytes == &first[..first.len() - 1] {
            self.chain.stored = Some(first_sum);
            return;
        }
        self.damaged(1, raw, "it is not the first line of this format");
        self.chain.computed = Some(first_sum);
    }

    fn damaged(&mut self, number: u64, raw: &RawLine<'_>, why: &'static str) {
        let split = raw.whole().then(|| line::split_sum(raw.bytes)).flatten();
        let content = if raw.whole() { line::content_by_length(raw.bytes) } else { None };
        let from = self.chain.stored.unwrap_or(self.chain.valid);
        self.chain.computed = content.map(|c| line::sum_of(&from, c));
        self.chain.stored = split.map(|(_, sum)| sum);
        if self.region.damaged.len() >= MAX_NAMED {
            self.region.crowded = true;
            return;
        }
        self.region.damaged.push(DamagedLine {
            line: number,
            offset: raw.offset,
            why,
            claim: line::claimed(raw.bytes),
            commit: content.and_then(ClaimedCommit::of),
            looks: Looks::of(raw.bytes),
        });
    }

    /// The content of a line, if its checksum holds.
    fn checked<'l>(&mut self, raw: &RawLine<'l>) -> Option<&'l [u8]> {
        if !raw.whole() {
            return None;
        }
        let (content, sum) = line::split_sum(raw.bytes)?;
        let candidates = [self.chain.stored, self.chain.computed, Some(self.chain.valid)];
        let from = candidates.into_iter().flatten().find(|from| line::sum_of(from, content) == sum)?;
        if Some(from) != self.chain.stored {
            self.index.chained_from.insert(raw.offset, from);
        }
        self.chain = Chain { stored: Some(sum), computed: None, valid: sum };
        Some(content)
    }

    fn line(&mut self, number: u64, raw: &RawLine<'_>) -> io::Result<()> {
        let scanned = match self.checked(raw) {
            None => Err(if raw.whole() { BAD_SUM } else { "it is longer than any line may be" }),
            Some(content) => match std::str::from_utf8(content) {
                Err(_) => Err("it is not UTF-8"),
                Ok(text) => line::scan(text).map_err(|fault| match fault {
                    line::Fault::Cut => "it ends too early",
                    line::Fault::Form(what) => what,
                }),
            },
        };
        let why = match scanned {
            Ok(Line::Commit(commit)) => {
                self.close(Some((number, raw.offset, &commit)))?;
                self.ended(raw);
                return Ok(());
            }
            Ok(Line::Entry(entry)) => match Pos::new(raw.offset, raw.len) {
                Some(pos) => {
                    self.entry(number, &entry, pos);
                    return Ok(());
                }
                None => "it is longer than an entry may be, or lies beyond 1 TiB",
            },
            Ok(Line::Object(object)) if object.kind == ERASED => {
                match line::unbase64(object.value).and_then(|value| Erased::from_value(&value)) {
                    Some(erased) => {
                        self.region.erased.push((object.key.into_owned(), erased));
                        return Ok(());
                    }
                    None => "it says that payloads are erased, and not which",
                }
            }
            Ok(Line::Object(object)) => match ObjectKind::from_name(object.kind) {
                Some(kind) => {
                    self.region.objects.push(PendingObject {
                        line: number,
                        kind,
                        key: object.key.into(),
                        pos: ObjectPos { offset: raw.offset, len: raw.bytes.len() },
                    });
                    return Ok(());
                }
                None => "it is an object of no known kind",
            },
            Err(why) => why,
        };
        self.damaged(number, raw, why);
        if Looks::of(raw.bytes).commit {
            self.close(None)?;
        }
        Ok(())
    }

    /// A batch ends with this line.
    fn ended(&mut self, raw: &RawLine<'_>) {
        self.end = raw.next_offset();
        self.end_sum = self.chain.valid;
    }

    fn entry(&mut self, number: u64, entry: &EntryLine<'_>, pos: Pos) {
        let stream = match self.last_stream {
            Some(i) if *self.index.streams[i as usize].name == *entry.stream => i,
            _ => self.index.intern(&entry.stream),
        };
        self.last_stream = Some(stream);
        self.region.entries.push(PendingEntry {
            line: number,
            stream,
            seqno: entry.seqno,
            hash: entry.hash,
            pos,
            id: entry.id.as_ref().map(|id| self.index.id_hash(&entry.stream, id)),
            payload: entry.payload,
        });
    }

    /// What no newline ends: the beginning of a line that was being written, or damage.
    fn tail(&mut self, number: u64, raw: &RawLine<'_>) -> io::Result<Tail> {
        let solid = usize::try_from(raw.solid).unwrap_or(usize::MAX);
        let Some(solid) = raw.bytes.get(..solid) else {
            self.damaged(number, raw, "it is longer than any line may be");
            return Ok(Tail::Clean);
        };
        if self.region.damaged.is_empty() {
            if line::is_cut(solid) {
                return Ok(Tail::Cut);
            }
            let inner = RawLine {
                offset: raw.offset,
                len: solid.len() as u64,
                bytes: solid,
                ended: false,
                solid: solid.len() as u64,
            };
            let scanned = self.checked(&inner).and_then(|c| std::str::from_utf8(c).ok()).map(line::scan);
            match scanned {
                Some(Ok(Line::Entry(_) | Line::Object(_))) => return Ok(Tail::Cut),
                Some(Ok(Line::Commit(commit))) if solid.len() as u64 == raw.len => {
                    self.close(Some((number, raw.offset, &commit)))?;
                    self.ended(raw);
                    return Ok(Tail::NoNewline);
                }
                _ => {}
            }
        }
        self.damaged(number, raw, "it is no line, and not the beginning of one either");
        Ok(Tail::Clean)
    }

    fn finish(mut self, tail: Tail, size: u64) -> io::Result<Loaded> {
        let mut tail = tail;
        if self.region.damaged.is_empty() {
            if tail == Tail::Clean && !self.region.is_empty() {
                tail = Tail::Cut;
            }
            self.region = Region::default();
        } else {
            self.close(None)?;
        }
        if !self.index.damage.is_empty() {
            tail = Tail::Clean;
            self.end = size;
        }
        self.index.sum = self.end_sum;
        Ok(Loaded { index: self.index, end: self.end, tail })
    }

    /// Ends a batch: takes over what holds, and finds out what does not. `None` if the commit
    /// line is damaged or missing.
    fn close(&mut self, commit: Option<(u64, u64, &CommitLine<'_>)>) -> io::Result<()> {
        let region = std::mem::take(&mut self.region);
        let why: Arc<str> = match (region.damaged.first(), &commit) {
            (Some(d), _) => format!("line {}: {}", d.line, d.why).into(),
            (None, Some((number, ..))) => {
                format!("line {number}: the batch that it ends is not what it says").into()
            }
            (None, None) => "a commit line is missing".into(),
        };
        let offset = region
            .damaged
            .first()
            .map_or_else(|| commit.as_ref().map_or(self.end, |&(_, offset, _)| offset), |d| d.offset);
        // Where the batch ends: what comes later tells of its streams itself.
        let end_offset = commit.as_ref().map(|&(_, offset, _)| offset);
        let end_offset = end_offset.or(region.damaged.last().map(|d| d.offset)).unwrap_or(offset);
        let mut batch = Batch::default();
        for e in &region.entries {
            self.apply_entry(e, &mut batch, &why)?;
        }
        for o in &region.objects {
            if o.kind.create_only() && self.index.object(o.kind, &o.key).is_some() {
                batch.objects_odd = true;
                batch.odd_line = batch.odd_line.or(Some(o.line));
            }
            self.index.put_object(o.kind, &o.key, o.pos);
        }
        for (stream, erased) in &region.erased {
            self.index.put_erased(stream, *erased);
        }
        let mut objects_lost = batch.objects_odd;
        let mut entries_lost = false;
        let whole;
        match &commit {
            Some((_, _, commit)) => {
                self.apply_heads(commit, end_offset, &mut batch, &why, region.damaged.is_empty());
                // Damaged lines that looked like commits may have been some, or may have been put in.
                let first = self.index.next_commit;
                let last = first.saturating_add(self.unsure);
                let in_order = (first..=last).contains(&commit.number);
                let guessed = std::mem::take(&mut self.unsure) > 0;
                self.index.next_commit = commit.number.saturating_add(1);
                let objects = region.object_lines();
                let entries = (region.entries.len() as u64).saturating_add(batch.missing);
                entries_lost |= commit.number > last;
                whole = in_order && commit.entries == entries && commit.objects == objects;
                objects_lost |=
                    !in_order || commit.objects != objects || guessed && region.may_hold_objects();
            }
            None => {
                whole = false;
                self.unsure += 1;
                entries_lost |= region.damaged.len() > 1;
                objects_lost |= region.damaged.len() > 1 || region.may_hold_objects();
                objects_lost |= region.claimed_commits().any(|c| c.objects > region.object_lines());
            }
        }
        if entries_lost {
            self.index.gap = Some(Gap { offset: end_offset, why: why.clone() });
        }
        if whole && region.damaged.is_empty() && batch.missing == 0 && !batch.odd && !batch.objects_odd {
            return Ok(());
        }
        self.attribute(&region, &batch, &why, offset, whole, objects_lost);
        Ok(())
    }

    fn apply_entry(&mut self, e: &PendingEntry, batch: &mut Batch, why: &Arc<str>) -> io::Result<()> {
        if let Some(payload) = e.payload {
            self.index.refer(payload);
        }
        batch.touched.insert(e.stream);
        let stream = &mut self.index.streams[e.stream as usize];
        let next = stream.head.saturating_add(1);
        if e.seqno < next {
            let why = format!("line {}: it is entry {} once more", e.line, e.seqno).into();
            stream.mark(e.seqno, e.seqno, &why);
            batch.note(e.stream, e.seqno);
            batch.odd = true;
            batch.odd_line = batch.odd_line.or(Some(e.line));
            return Ok(());
        }
        if e.seqno > next {
            stream.mark(next, e.seqno - 1, why);
            batch.miss(e.stream, next, e.seqno - next);
        }
        batch.note(e.stream, e.seqno);
        stream.push(e.seqno, e.hash, e.pos);
        if let Some(hash) = e.id {
            if self.id_is_taken(hash, e.pos)? {
                let why = format!("line {}: another entry of the stream has this id", e.line).into();
                self.index.streams[e.stream as usize].mark(e.seqno, e.seqno, &why);
                batch.odd = true;
                batch.odd_line = batch.odd_line.or(Some(e.line));
            } else {
                self.index.put_id(hash, e.pos);
            }
        }
        Ok(())
    }

    /// Whether a line with the same hash of stream and id has the same stream and id.
    fn id_is_taken(&self, hash: u64, pos: Pos) -> io::Result<bool> {
        let mut own = None;
        for other in self.index.lines_with_id(hash) {
            let theirs = self.stream_and_id(other)?;
            if own.is_none() {
                own = Some(self.stream_and_id(pos)?);
            }
            if own == Some(theirs) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn stream_and_id(&self, pos: Pos) -> io::Result<Option<(String, String)>> {
        let mut buf = vec![0; pos.len()];
        let n = read_at(self.file, &mut buf, pos.offset())?;
        let text = line::content_by_length(&buf[..n]).and_then(|c| std::str::from_utf8(c).ok());
        Ok(match text.map(line::scan) {
            Some(Ok(Line::Entry(e))) => e.id.map(|id| (e.stream.into_owned(), id.into_owned())),
            _ => None,
        })
    }

    fn apply_heads(
        &mut self,
        commit: &CommitLine<'_>,
        offset: u64,
        batch: &mut Batch,
        why: &Arc<str>,
        undamaged: bool,
    ) {
        for (name, seqno, hash) in &commit.heads {
            let i = self.index.intern(name);
            let stream = &mut self.index.streams[i as usize];
            if stream.head < *seqno {
                let next = stream.head + 1;
                stream.mark(next, *seqno, why);
                stream.head = *seqno;
                stream.hash = *hash;
                stream.seen = offset;
                batch.miss(i, next, seqno - next + 1);
            } else if stream.head != *seqno || stream.hash != *hash || !batch.touched.contains(&i) {
                batch.odd = true;
            }
        }
        batch.odd |= undamaged && batch.touched.len() != commit.heads.len();
    }

    /// Sees to it that reading meets the damage of a batch.
    fn attribute(
        &mut self,
        region: &Region,
        batch: &Batch,
        why: &Arc<str>,
        offset: u64,
        whole: bool,
        objects_lost: bool,
    ) {
        let mut marked = batch.missing > 0;
        let mut shows = batch.first_missing;
        if batch.missing == 0 {
            let claims = region.damaged.iter().flat_map(|d| {
                let heads = d.commit.iter().flat_map(|c| &c.heads);
                let heads =
                    heads.filter(|(name, seqno)| self.index.stream(name).is_none_or(|s| s.head < *seqno));
                d.claim.iter().chain(heads).map(move |claim| (d, claim))
            });
            let claims: Vec<_> = claims.map(|(d, (name, seqno))| (d, name.as_str(), *seqno)).collect();
            for (d, name, seqno) in claims {
                let head = self.index.stream(name).map_or(0, |s| s.head);
                if seqno == 0 || seqno > head.saturating_add(MAX_BATCH_EVENTS as u64) {
                    continue;
                }
                let i = self.index.intern(name);
                let stream = &mut self.index.streams[i as usize];
                let first = seqno.min(stream.head.saturating_add(1));
                stream.mark(first, seqno, &format!("line {}: {}", d.line, d.why).into());
                shows = shows.or(Some((i, first)));
                marked = true;
            }
        }
        if (!whole || !marked)
            && let Some((i, seqno)) = batch.first
        {
            self.index.streams[i as usize].mark(seqno, seqno, why);
            shows = shows.or(batch.first);
            marked = true;
        }
        let place = shows.or(batch.first);
        let (stream, seqno) = match place {
            Some((i, seqno)) => (self.index.streams[i as usize].name.to_string(), seqno),
            None => (secure_log_name(region), 0),
        };
        let damage =
            |offset, why: &Arc<str>| Damage { offset, stream: stream.clone(), seqno, why: why.clone() };
        if (objects_lost || !marked) && self.index.objects_damaged.is_none() {
            let why = match batch.odd_line.filter(|_| region.damaged.is_empty() && batch.objects_odd) {
                Some(n) => format!("line {n}: it is an object once more that may not be replaced").into(),
                None => why.clone(),
            };
            self.index.objects_damaged = Some(damage(offset, &why));
        }
        if region.damaged.is_empty() && self.index.damage.len() < MAX_NAMED {
            self.index.damage.push(damage(offset, why));
        }
        let room = MAX_NAMED.saturating_sub(self.index.damage.len());
        for d in region.damaged.iter().take(room) {
            let why = format!("line {}: {}", d.line, d.why).into();
            let own = d.claim.as_ref().filter(|(name, _)| self.index.names.contains_key(name.as_str()));
            let mut damage = damage(d.offset, &why);
            if let Some((name, seqno)) = own {
                damage.stream.clone_from(name);
                damage.seqno = *seqno;
            }
            self.index.damage.push(damage);
        }
    }
}

/// The stream to name when a batch holds no entry: the one that an object is about, else the log's own.
fn secure_log_name(region: &Region) -> String {
    let about = region.objects.iter().find(|o| matches!(o.kind, ObjectKind::Stream | ObjectKind::Frozen));
    about.map_or(Cow::Borrowed("_log"), |o| Cow::Borrowed(&*o.key)).into_owned()
}

/// What applying a batch showed.
#[derive(Default)]
struct Batch {
    /// Entries known to be missing.
    missing: u64,
    first_missing: Option<(u32, u64)>,
    /// First entry, missing ones included.
    first: Option<(u32, u64)>,
    touched: BTreeSet<u32>,
    /// Entries or heads contradict each other.
    odd: bool,
    objects_odd: bool,
    odd_line: Option<u64>,
}

impl Batch {
    fn note(&mut self, stream: u32, seqno: u64) {
        self.first.get_or_insert((stream, seqno));
    }

    fn miss(&mut self, stream: u32, first: u64, count: u64) {
        self.missing = self.missing.saturating_add(count);
        self.first_missing.get_or_insert((stream, first));
        self.note(stream, first);
    }
}
