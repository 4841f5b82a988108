//! The store at its seam.

use std::ops::Bound;

use secure_log::error::{Error, Result};
use secure_log::limits::MAX_PAYLOAD;
use secure_log::model::{QueryFilter, StreamHead};
use secure_log::store::{
    FoundPage, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log_lease::{Lease, StoreConfig};

use crate::line;
use crate::log::{Log, beside, failed, look, open_log};
use crate::payload::{Payloads, Place};
use crate::read::{Page, ROW_OVERHEAD, after_prefix, row_of, size_of};
use crate::tiles::Tiles;
use crate::write::check_stream;

/// Stored payload bytes may carry a salt in front.
pub(crate) const MAX_STORED_PAYLOAD: u64 = MAX_PAYLOAD as u64 + 32;

/// A store in one append-only file of JSON lines.
pub struct FileSecureLogStore {
    pub(crate) config: StoreConfig,
    pub(crate) lease: Lease,
    pub(crate) log: Log,
    pub(crate) payloads: Payloads,
    pub(crate) tiles: Tiles,
    /// Where the next payload goes.
    pub(crate) place: Place,
    /// A failed batch has left bytes behind the last commit.
    pub(crate) leftovers: bool,
    /// What is in memory may not be what is in the file.
    pub(crate) stale: bool,
}

impl OpenStore for FileSecureLogStore {
    fn open(config: &str) -> Result<Self> {
        let config = StoreConfig::parse(config)?;
        look(&config.path)?;
        let lease = Lease::acquire(&config.path, &config.lease)?;
        let (log, payloads, place) = match open_log(&config.path, &lease) {
            Ok(opened) => opened,
            Err(e) => {
                // Whoever tries next need not wait for this lease to run out.
                let _ = lease.release();
                return Err(e);
            }
        };
        let tiles = Tiles::new(beside(&config.path, ".tiles"));
        let mut store = Self { config, lease, log, payloads, tiles, place, leftovers: false, stale: false };
        match store.finish_erasures() {
            Ok(()) => Ok(store),
            Err(e) => {
                let _ = store.lease.release();
                Err(e)
            }
        }
    }
}

impl FileSecureLogStore {
    /// Makes sure that the lease is ours and that memory holds what the file holds.
    pub(crate) fn hold(&mut self) -> Result<()> {
        if self.lease.is_lost() {
            self.lease = Lease::acquire(&self.config.path, &self.config.lease)?;
            self.stale = true;
        }
        if self.stale {
            let (log, payloads, place) = open_log(&self.config.path, &self.lease)?;
            (self.log, self.payloads, self.place) = (log, payloads, place);
            (self.stale, self.leftovers) = (false, false);
            self.finish_erasures()?;
        }
        Ok(())
    }

    /// `Corrupt` if nothing may be written any more.
    pub(crate) fn check_undamaged(&self) -> Result<()> {
        match self.log.index.damage.first() {
            Some(damage) => Err(Error::corrupt(
                &*damage.stream,
                damage.seqno,
                format!("{}; the store takes no more writes", damage.why),
            )),
            None => Ok(()),
        }
    }
}

impl SecureLogStore for FileSecureLogStore {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        self.hold()?;
        self.check_undamaged()?;
        self.check_batch(appends, expect, objects)?;
        if objects.is_empty() && appends.iter().all(|a| a.rows.is_empty()) {
            return Ok(());
        }
        self.drop_leftovers()?;
        let batch = self.lay_out(appends, objects)?;
        match self.write(&batch) {
            Ok(()) => {
                self.remember(batch);
                Ok(())
            }
            Err(failure) => self.settle(failure, &batch),
        }
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        self.hold()?;
        let index = &self.log.index;
        let Some(stream) = index.stream(stream_id) else {
            return index.check_absent(stream_id).map(|()| None);
        };
        index.check_end(stream)?;
        Ok((stream.head > 0).then(|| stream.head()))
    }

    fn read_rows(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        limit: u32,
        payloads: bool,
    ) -> Result<Vec<Row>> {
        self.hold()?;
        let index = &self.log.index;
        let Some(stream) = index.stream(stream_id) else {
            return index.check_absent(stream_id).map(|()| Vec::new());
        };
        let mut rows = Vec::new();
        let mut places = Vec::new();
        let mut page = Page::new(limit);
        self.each_row(stream, from_seqno.max(1), page.limit, |pos, entry| {
            let (row, place) = row_of(entry).ok_or_else(|| self.log.changed(pos.offset(), &[]))?;
            let place = place.filter(|_| !stream.is_erased(row.seqno));
            let mut bytes = size_of(&row);
            if let (true, Some(p)) = (payloads, place) {
                if p.len > MAX_STORED_PAYLOAD {
                    if rows.is_empty() {
                        return Err(Error::corrupt(
                            stream_id,
                            row.seqno,
                            "its payload is longer than any may be",
                        ));
                    }
                    return Ok(false);
                }
                bytes += p.len as usize;
            }
            if !page.take(bytes) {
                return Ok(false);
            }
            rows.push(row);
            places.push(place);
            Ok(true)
        })?;
        if rows.is_empty() {
            index.check_end(stream)?;
        }
        if payloads {
            self.fill_payloads(stream_id, &mut rows, &places)?;
        }
        Ok(rows)
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        self.hold()?;
        if let Some(seqno) = self.log.find_id(stream_id, id)? {
            return Ok(Some(seqno));
        }
        // A row that cannot be read may have it.
        let index = &self.log.index;
        let Some(stream) = index.stream(stream_id) else {
            return index.check_absent(stream_id).map(|()| None);
        };
        match stream.first_bad() {
            Some(e) => Err(e),
            None => index.check_end(stream).map(|()| None),
        }
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        self.hold()?;
        let index = &self.log.index;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut heads = Vec::new();
        let mut page = Page::new(limit);
        for &i in index.names.range::<str, _>((from, Bound::Unbounded)).map(|(_, i)| i) {
            let stream = &index.streams[i as usize];
            match index.check_end(stream) {
                Err(e) if heads.is_empty() => return Err(e),
                Err(_) => break,
                Ok(()) if stream.head == 0 => continue,
                Ok(()) => {}
            }
            if !page.take(stream.name.len() + ROW_OVERHEAD) {
                break;
            }
            heads.push(stream.head());
        }
        if heads.is_empty() {
            index.check_absent("_log")?;
        }
        Ok(heads)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        self.hold()?;
        let from = match cursor {
            Some(cursor) => self.parse_cursor(cursor)?,
            None => line::first_line(line::VERSION).0.len() as u64,
        };
        match &filter.stream_id {
            Some(stream) => match self.log.index.stream(stream) {
                Some(stream) => self.query_stream(stream, filter, from, limit),
                None => self.log.index.check_absent(stream).map(|()| FoundPage::default()),
            },
            None => self.query_all(filter, from, limit),
        }
    }

    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        self.hold()?;
        self.log.objects_hold()?;
        self.log.index.object(kind, key).map(|pos| self.log.object(kind, key, pos)).transpose()
    }

    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        self.hold()?;
        self.log.objects_hold()?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut objects = Vec::new();
        let mut page = Page::new(limit);
        for (key, &pos) in self.log.index.objects(kind).range::<str, _>((from, Bound::Unbounded)) {
            // A line is longer than what is in it.
            if !key.starts_with(prefix) || !page.take(pos.len) {
                break;
            }
            objects.push(Object { kind, key: key.to_string(), value: self.log.object(kind, key, pos)? });
        }
        Ok(objects)
    }

    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        self.hold()?;
        self.log.objects_hold()?;
        let after_all = after_prefix(prefix);
        let until = after_all.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let last = self.log.index.objects(kind).range::<str, _>((Bound::Included(prefix), until)).next_back();
        last.map(|(key, &pos)| {
            Ok(Object { kind, key: key.to_string(), value: self.log.object(kind, key, pos)? })
        })
        .transpose()
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        self.hold()?;
        check_stream("stream-id", stream_id)?;
        for tile in tiles {
            if tile.hashes.is_empty() || tile.hashes.len() % 32 != 0 || tile.hashes.len() > 256 * 32 {
                return Err(Error::invalid("hashes", "a tile has 1 to 256 hashes of 32 bytes"));
            }
        }
        for tile in tiles {
            self.lease.check()?;
            self.tiles
                .write(stream_id, tile)
                .map_err(|e| failed("write a tile beside", &self.log.path, &e))?;
        }
        Ok(())
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.tiles.read(stream_id, level, index))
    }

    fn erase_payloads(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<u64> {
        self.hold()?;
        self.erase(stream_id, from_seqno, to_seqno)
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        self.hold()?;
        let to = StoreConfig::parse(config)?.path;
        self.copy_to(&to)
    }

    fn close(self) -> Result<()> {
        let Self { lease, log, payloads, .. } = self;
        drop((log, payloads));
        if lease.is_lost() { Ok(()) } else { lease.release() }
    }
}
