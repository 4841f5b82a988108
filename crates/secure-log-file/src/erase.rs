//! Erasing payloads: a line says so first, then their bytes are overwritten.

use std::fs::OpenOptions;

use secure_log::error::{Error, Result};

use crate::io::write_at;
use crate::line::PayloadRef;
use crate::log::failed;
use crate::store::FileSecureLogStore;

/// Bytes overwritten between two looks at the lease.
const BLOCK: usize = 1 << 20;
/// Entries whose payloads are looked up at once.
const STEP: u64 = 4_096;

/// Payloads of a stream that are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Erased {
    pub from: u64,
    pub to: u64,
    /// Their bytes are overwritten.
    pub done: bool,
}

/// Kind of its line, which has the form of an object's: the key is the stream id.
pub(crate) const ERASED: &str = "erased";

impl Erased {
    pub(crate) fn to_value(self) -> [u8; 17] {
        let mut value = [0; 17];
        value[..8].copy_from_slice(&self.from.to_be_bytes());
        value[8..16].copy_from_slice(&self.to.to_be_bytes());
        value[16] = u8::from(self.done);
        value
    }

    pub(crate) fn from_value(value: &[u8]) -> Option<Self> {
        let value: &[u8; 17] = value.try_into().ok()?;
        let number = |at: usize| value[at..at + 8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
        let erased = Self { from: number(0), to: number(8), done: value[16] == 1 };
        (value[16] <= 1 && (1..=erased.to).contains(&erased.from)).then_some(erased)
    }
}

impl FileSecureLogStore {
    /// Erases the payloads of entries `from` to `to` that are there; how many there were.
    pub(crate) fn erase(&mut self, stream: &str, from: u64, to: u64) -> Result<u64> {
        self.check_undamaged()?;
        let (from, to) = match self.log.index.stream(stream) {
            Some(known) => (from.max(1), to.min(known.head)),
            None => return self.log.index.check_absent(stream).map(|()| 0),
        };
        let mut count = 0;
        let mut at = from;
        while at <= to {
            let last = to.min(at + STEP - 1);
            count += self.places(stream, at, last, false)?.len() as u64;
            at = last + 1;
        }
        if count == 0 {
            return Ok(0);
        }
        self.drop_leftovers()?;
        self.write_erased(stream, Erased { from, to, done: false })?;
        self.finish_erasures()?;
        Ok(count)
    }

    /// Overwrites what lines say is erased and was not overwritten when the store was left.
    pub(crate) fn finish_erasures(&mut self) -> Result<()> {
        if !self.log.index.damage.is_empty() {
            return Ok(());
        }
        while let Some((stream, erased)) = self.log.index.unfinished.first().cloned() {
            let mut at = erased.from;
            while at <= erased.to {
                let last = erased.to.min(at + STEP - 1);
                let places = self.places(&stream, at, last, true)?;
                self.overwrite(&places)?;
                at = last + 1;
            }
            self.write_erased(&stream, Erased { done: true, ..erased })?;
        }
        Ok(())
    }

    /// Where the payloads of entries `from` to `to` are: those that are erased, or those that are not.
    fn places(&self, stream: &str, from: u64, to: u64, erased: bool) -> Result<Vec<PayloadRef>> {
        let mut places = Vec::new();
        let Some(known) = self.log.index.stream(stream) else { return Ok(places) };
        let mut next = from;
        while next <= to {
            let before = next;
            self.each_row(known, next, (to - next + 1) as usize, |_, entry| {
                if let Some(place) = entry.payload
                    && known.is_erased(entry.seqno) == erased
                {
                    places.push(place);
                }
                next = entry.seqno + 1;
                Ok(true)
            })?;
            if next == before {
                return Err(Error::corrupt(stream, next, "its line does not hold"));
            }
        }
        Ok(places)
    }

    /// Writes zeros over payloads, and makes that durable.
    fn overwrite(&mut self, places: &[PayloadRef]) -> Result<()> {
        let zeros = vec![0; BLOCK];
        let mut rest = places;
        while let Some(first) = rest.first() {
            let chunk = first.chunk;
            let (these, others) = rest.split_at(rest.partition_point(|p| p.chunk == chunk));
            let path = self.payloads.path(chunk);
            let io = |e| failed("overwrite payloads in", &path, &e);
            let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
            for place in these {
                let (mut at, end) = (place.offset, place.offset.saturating_add(place.len));
                while at < end {
                    self.lease.check()?;
                    let len = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
                    write_at(&file, &zeros[..len], at).map_err(io)?;
                    at += len as u64;
                }
            }
            self.lease.check()?;
            file.sync_data().map_err(io)?;
            rest = others;
        }
        Ok(())
    }
}
