//! Segments and proofs about them.

use super::tiles::{FIRST_STORED, TileBuilder, TreeReader};
use super::*;
use crate::record::{parse_segment_key, segment_key, segment_prefix};
use crate::store::{Object, ObjectKind};
use crate::tree;

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    /// The segment that `_log` records at `segment_id`.
    pub(super) fn segment(&mut self, segment_id: u64) -> Result<Segment> {
        let head = self.log_head()?;
        let missing = |reason: String| Error::not_found("segment", LOG_STREAM, Some(segment_id), reason);
        if segment_id == 0 || segment_id > head.seqno {
            return Err(missing(format!("the last entry of `_log` is {}", head.seqno)));
        }
        let (row, record) = self.record(segment_id)?;
        match record {
            Record::SegmentClosed { stream_id, size, root, first_seqno, head_hash } => Ok(Segment {
                segment_id,
                stream_id,
                first_seqno,
                size,
                root,
                head_hash,
                closed_at_ms: row.time_ms,
            }),
            _ => Err(missing(format!("that entry of `_log` is a {}", row.event_type))),
        }
    }

    /// The segment that an index object points to.
    pub(super) fn indexed_segment(&mut self, object: &Object) -> Result<Segment> {
        let (stream_id, size) = parse_segment_key(&object.key).ok_or_else(|| {
            Error::corrupt(LOG_STREAM, 0, format!("a segment is stored under the key {:?}", object.key))
        })?;
        let segment_id = lists::pointer_of(stream_id, &object.value)?;
        match self.segment(segment_id) {
            Ok(segment) if segment.stream_id == stream_id && segment.size == size => Ok(segment),
            Ok(_) | Err(Error::NotFound(_)) => Err(Error::corrupt(
                stream_id,
                size,
                format!("its segment is said to be `_log` entry {segment_id}, which says otherwise"),
            )),
            Err(error) => Err(error),
        }
    }

    pub(super) fn segments_of(&mut self, stream_id: &str) -> Result<Vec<Segment>> {
        let mut segments = Vec::new();
        self.objects(ObjectKind::Segment, &segment_prefix(stream_id), |log, object| {
            segments.push(log.indexed_segment(&object)?);
            Ok(())
        })?;
        Ok(segments)
    }

    fn last_segment(&mut self, stream_id: &str) -> Result<Option<Segment>> {
        match self.store.last_object(ObjectKind::Segment, &segment_prefix(stream_id))? {
            Some(object) => self.indexed_segment(&object).map(Some),
            None => Ok(None),
        }
    }

    /// The smallest segment that covers an entry.
    pub(super) fn covering_segment(&mut self, stream_id: &str, seqno: u64) -> Result<Option<Segment>> {
        let after = segment_key(stream_id, seqno.saturating_sub(1));
        let found =
            self.store.list_objects(ObjectKind::Segment, &segment_prefix(stream_id), Some(&after), 1)?;
        found.first().map(|object| self.indexed_segment(object)).transpose()
    }

    /// Grows the tree of a stream from `from_size` to `to_size`, checking the chain on the way and
    /// storing tiles. `expected`: the root that the tree must have at `from_size`. Gives the hash of the last entry
    /// too, if there was one to go over.
    pub(super) fn grow_tree(
        &mut self,
        stream_id: &str,
        from_size: u64,
        to_size: u64,
        expected: Option<(Hash, &str)>,
    ) -> Result<(TileBuilder, Option<Hash>)> {
        let mut builder = TileBuilder::new(FIRST_STORED);
        let mut last = None;
        for use_tiles in [true, false] {
            let mut reader = TreeReader::new(&mut self.store, stream_id, from_size, use_tiles);
            builder = TileBuilder::resume(&mut reader, from_size)?;
            match expected {
                Some((root, _)) if builder.root() != root && use_tiles => {}
                Some((root, who)) if builder.root() != root => {
                    return Err(Error::corrupt(
                        stream_id,
                        from_size,
                        format!("the entries up to here no longer give the root that {who} recorded"),
                    ));
                }
                _ => break,
            }
        }
        // The walk borrows the store, so tiles are written between pages.
        let mut from = from_size + 1;
        while from <= to_size {
            let to = to_size.min(from + 16_383);
            self.walk(stream_id, from, to, false, true, |row, _| {
                builder.push(tree::leaf_hash(&row.header));
                last = Some(row.entry_hash);
                Ok(())
            })?;
            builder.flush(&mut self.store, stream_id, false)?;
            from = to + 1;
        }
        Ok((builder, last))
    }

    /// What closing a stream now would record; `None` if nothing is new.
    fn segment_record(&mut self, head: &StreamHead, last: Option<&Segment>) -> Result<Option<Record>> {
        let stream_id = head.stream_id.as_str();
        let covered = last.map_or(0, |s| s.size);
        if covered == head.seqno {
            return Ok(None);
        }
        if covered > head.seqno {
            return Err(Error::corrupt(
                stream_id,
                head.seqno + 1,
                format!("its last segment covers {covered} entries, but only {} are there", head.seqno),
            ));
        }
        let who = last.map(|s| format!("segment {}", s.segment_id));
        let expected = last.zip(who.as_deref()).map(|(s, who)| (s.root, who));
        let (mut builder, entry_hash) = self.grow_tree(stream_id, covered, head.seqno, expected)?;
        // What is recorded is what the entries say, not what the store says of its head.
        if entry_hash != Some(head.entry_hash) {
            return Err(Error::corrupt(
                stream_id,
                head.seqno,
                "the store gave a head with another hash than its last entry has",
            ));
        }
        builder.flush(&mut self.store, stream_id, true)?;
        Ok(Some(Record::SegmentClosed {
            stream_id: stream_id.to_owned(),
            size: head.seqno,
            root: builder.root(),
            first_seqno: covered + 1,
            head_hash: head.entry_hash,
        }))
    }

    pub(super) fn do_close_segment(&mut self, stream_id: &str) -> Result<Segment> {
        check_own_stream(stream_id)?;
        for _ in 0..MAX_STEADY {
            let head = self.existing_head(stream_id)?;
            let last = self.last_segment(stream_id)?;
            let Some(record) = self.segment_record(&head, last.as_ref())? else {
                return last
                    .ok_or_else(|| Error::not_found("segment", stream_id, None, "the stream is empty"));
            };
            match self.commit_records(std::slice::from_ref(&record), &[], None, |_| Vec::new()) {
                Ok(committed) => return self.segment(committed.first),
                // Somebody else closed it at the same size: then the next look finds theirs.
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy(format!("others close segments of {stream_id:?} all the time; try again")))
    }

    pub(super) fn do_close_segments(&mut self) -> Result<Vec<Segment>> {
        for _ in 0..MAX_STEADY {
            let mut heads = Vec::new();
            self.all_heads(|_, head| {
                if head.stream_id != LOG_STREAM {
                    heads.push(head);
                }
                Ok(())
            })?;
            let mut records = Vec::new();
            for head in heads {
                // The key alone tells most streams apart that have nothing new.
                let prefix = segment_prefix(&head.stream_id);
                let object = self.store.last_object(ObjectKind::Segment, &prefix)?;
                if object.as_ref().is_some_and(|o| o.key == segment_key(&head.stream_id, head.seqno)) {
                    continue;
                }
                let last = object.as_ref().map(|o| self.indexed_segment(o)).transpose()?;
                records.extend(self.segment_record(&head, last.as_ref())?);
            }
            if records.is_empty() {
                return Ok(Vec::new());
            }
            match self.commit_records(&records, &[], None, |_| Vec::new()) {
                Ok(committed) => {
                    return Ok((committed.first..)
                        .zip(records)
                        .filter_map(|(segment_id, record)| match record {
                            Record::SegmentClosed { stream_id, size, root, first_seqno, head_hash } => {
                                Some(Segment {
                                    segment_id,
                                    stream_id,
                                    first_seqno,
                                    size,
                                    root,
                                    head_hash,
                                    closed_at_ms: committed.time_ms,
                                })
                            }
                            _ => None,
                        })
                        .collect());
                }
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy("others close segments all the time; try again".into()))
    }

    pub(super) fn do_verify_segments(&mut self, stream_id: &str) -> Result<SegmentsReport> {
        let head = self.existing_head(stream_id)?;
        let segments = self.segments_of(stream_id)?;
        let covered = segments.last().map_or(0, |s| s.size);
        let mut report = SegmentsReport {
            stream_id: stream_id.to_owned(),
            segments_checked: 0,
            entries_checked: 0,
            entries_uncovered: head.seqno.saturating_sub(covered),
            tiles_checked: 0,
        };
        // From level 0 on: of the leaves some blocks are stored as well.
        let mut builder = TileBuilder::new(0);
        let mut next_first = 1;
        for segment in &segments {
            if segment.first_seqno != next_first {
                return Err(Error::corrupt(
                    stream_id,
                    next_first,
                    format!("segment {} begins at entry {} instead", segment.segment_id, segment.first_seqno),
                ));
            }
            next_first = segment.size + 1;
            if segment.size > head.seqno {
                return Err(Error::corrupt(
                    stream_id,
                    head.seqno + 1,
                    format!(
                        "segment {} covers {} entries: the rest was removed",
                        segment.segment_id, segment.size
                    ),
                ));
            }
            while builder.size() < segment.size {
                let from = builder.size() + 1;
                let to = segment.size.min(from + 16_383);
                let mut last = ZERO_HASH;
                self.walk(stream_id, from, to, false, true, |row, _| {
                    builder.push(tree::leaf_hash(&row.header));
                    last = row.entry_hash;
                    Ok(())
                })?;
                if to == segment.size && last != segment.head_hash {
                    return Err(Error::corrupt(
                        stream_id,
                        to,
                        format!("segment {} recorded another entry here", segment.segment_id),
                    ));
                }
                report.tiles_checked += self.check_tiles(stream_id, builder.take_full())?;
            }
            if builder.root() != segment.root {
                return Err(Error::corrupt(
                    stream_id,
                    segment.size,
                    format!("the entries do not give the root that segment {} recorded", segment.segment_id),
                ));
            }
            report.segments_checked += 1;
        }
        report.tiles_checked += self.check_tiles(stream_id, builder.take_partial())?;
        report.entries_checked = builder.size();
        Ok(report)
    }

    /// Compares stored tiles with recomputed ones; absent ones are not an error.
    fn check_tiles(&mut self, stream_id: &str, tiles: Vec<crate::store::Tile>) -> Result<u64> {
        let mut checked = 0;
        for tile in tiles {
            let Some(stored) = self.store.read_tile(stream_id, tile.level, tile.index)? else { continue };
            let common = stored.len().min(tile.hashes.len());
            if stored.is_empty() || stored.len() % 32 != 0 || stored[..common] != tile.hashes[..common] {
                let span = 256u64.saturating_pow(u32::from(tile.level) + 1);
                return Err(Error::corrupt(
                    stream_id,
                    tile.index.saturating_mul(span) + 1,
                    format!(
                        "the stored tile {} of level {}, which begins at this entry, differs from the entries",
                        tile.index, tile.level
                    ),
                ));
            }
            checked += 1;
        }
        Ok(checked)
    }

    /// Runs `job` on the tree of a stream; if `holds` refuses the result, once more without stored
    /// tiles, since those may be wrong where the entries are right.
    pub(super) fn with_tree<T>(
        &mut self,
        stream_id: &str,
        size: u64,
        job: impl Fn(&mut TreeReader<'_, S>) -> Result<T>,
        mut holds: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>> {
        for use_tiles in [true, false] {
            let mut reader = TreeReader::new(&mut self.store, stream_id, size, use_tiles);
            let result = job(&mut reader)?;
            if holds(&result) {
                return Ok(Some(result));
            }
        }
        Ok(None)
    }

    /// Proof of an entry in the tree of a segment.
    pub(super) fn proof_in(&mut self, segment: &Segment, seqno: u64) -> Result<(InclusionProof, Row)> {
        let stream_id = segment.stream_id.as_str();
        let row = self.row(stream_id, seqno, false)?;
        let leaf_hash = tree::leaf_hash(&row.header);
        let path = self
            .with_tree(
                stream_id,
                segment.size,
                |reader| tree::inclusion_path(reader, seqno - 1, segment.size),
                |path| tree::verify_inclusion(&leaf_hash, seqno - 1, segment.size, path, &segment.root),
            )?
            .ok_or_else(|| {
                Error::corrupt(
                    stream_id,
                    seqno,
                    format!(
                        "no proof leads to the root that segment {} recorded: an entry up to {} was changed",
                        segment.segment_id, segment.size
                    ),
                )
            })?;
        let proof = InclusionProof {
            stream_id: stream_id.to_owned(),
            seqno,
            leaf_hash,
            tree_size: segment.size,
            root: segment.root,
            path,
            segment_id: segment.segment_id,
        };
        Ok((proof, row))
    }

    pub(super) fn do_build_inclusion_proof(&mut self, stream_id: &str, seqno: u64) -> Result<InclusionProof> {
        self.named_row(stream_id, seqno, false)?;
        let segment = self.last_segment(stream_id)?.filter(|s| s.size >= seqno).ok_or_else(|| {
            Error::not_found(
                "segment",
                stream_id,
                Some(seqno),
                "no closed segment covers the entry yet: close one",
            )
        })?;
        Ok(self.proof_in(&segment, seqno)?.0)
    }

    pub(super) fn do_build_consistency_proof(
        &mut self,
        stream_id: &str,
        from_size: u64,
        to_size: u64,
    ) -> Result<ConsistencyProof> {
        let head = self.existing_head(stream_id)?;
        if from_size > to_size {
            return Err(Error::invalid("from-size", format!("{from_size} is larger than to-size {to_size}")));
        }
        if to_size > head.seqno {
            return Err(Error::not_found(
                "entry",
                stream_id,
                Some(to_size),
                format!("the last entry is {}", head.seqno),
            ));
        }
        // What the tree says must be what the segments at these sizes recorded.
        let mut recorded = Vec::new();
        for size in [from_size, to_size].into_iter().filter(|_| stream_id != LOG_STREAM) {
            let key = segment_key(stream_id, size);
            if let Some(object) = self.store.list_objects(ObjectKind::Segment, &key, None, 1)?.first() {
                recorded.push(self.indexed_segment(object)?);
            }
        }
        let mut contradiction = None;
        let path = self.with_tree(
            stream_id,
            to_size,
            |reader| {
                let (from_root, to_root) = (tree::root(reader, from_size)?, tree::root(reader, to_size)?);
                Ok((from_root, to_root, tree::consistency_path(reader, from_size, to_size)?))
            },
            |(from_root, to_root, path)| {
                let root_at = |size| if size == from_size { from_root } else { to_root };
                let other = recorded.iter().find(|segment| segment.root != *root_at(segment.size));
                contradiction = other.map(|segment| (segment.size, segment.segment_id));
                other.is_none() && tree::verify_consistency(from_size, to_size, path, from_root, to_root)
            },
        )?;
        let Some((.., path)) = path else {
            return Err(match contradiction {
                Some((size, id)) => Error::corrupt(
                    stream_id,
                    size,
                    format!("the entries do not give the root that segment {id} recorded"),
                ),
                None => Error::corrupt(stream_id, to_size, "the tree contradicts itself"),
            });
        };
        Ok(ConsistencyProof { stream_id: stream_id.to_owned(), from_size, to_size, path })
    }
}
