//! A store that lies, for tests of what is above it: a real one answers, and of its answers some are changed.

use std::cell::Cell;
use std::rc::Rc;

use secure_log::model::{QueryFilter, StreamHead};
use secure_log::store::{
    FoundPage, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log::{Error, Result};

/// What a liar lies about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "a comment is for several")]
pub enum Lie {
    /// Nothing.
    #[default]
    None,
    /// Says that it wrote, and did not.
    Forgets,
    /// Says for ever that somebody else was first.
    Conflicts,
    /// Gives a changed payload, header, hash; a column that is not the header's.
    Payload,
    Header,
    Hash,
    Column,
    /// Leaves out entry 3, or all from 5 on.
    Withholds,
    WithholdsTail,
    /// Knows nothing of a stream.
    Drops,
    /// Rows in another order, twice, more than asked for, of another stream.
    Reorders,
    Repeats,
    TooMany,
    OtherStream,
    /// A head beyond what there is; a head with another hash.
    HeadAhead,
    HeadForged,
    /// Pages of lists that begin again and again.
    Endless,
    /// Checkpoints that say something else; none at all.
    Checkpoints,
    NoCheckpoints,
    /// Segments that say something else.
    Segments,
    /// An event id that stands elsewhere.
    Ids,
    /// Tiles of other nodes.
    Tiles,
}

impl Lie {
    /// All lies.
    pub const ALL: [Self; 21] = [
        Self::Forgets,
        Self::Conflicts,
        Self::Payload,
        Self::Header,
        Self::Hash,
        Self::Column,
        Self::Withholds,
        Self::WithholdsTail,
        Self::Drops,
        Self::Reorders,
        Self::Repeats,
        Self::TooMany,
        Self::OtherStream,
        Self::HeadAhead,
        Self::HeadForged,
        Self::Endless,
        Self::Checkpoints,
        Self::NoCheckpoints,
        Self::Segments,
        Self::Ids,
        Self::Tiles,
    ];
}

/// A real store behind a liar. It lies about the stream [`VICTIM`], and needs another one called `alarms`.
pub struct Liar<S> {
    inner: S,
    lie: Rc<Cell<Lie>>,
}

/// The stream that is lied about.
pub const VICTIM: &str = "doors";

/// Opens as `<lie>@<configuration of the real store>`, with the lie as `Debug` writes it; without `@` it tells the truth.
impl<S: OpenStore> OpenStore for Liar<S> {
    fn open(config: &str) -> Result<Self> {
        let (lie, config) = config.split_once('@').unwrap_or(("None", config));
        let known = Lie::ALL.into_iter().chain([Lie::None]).find(|known| format!("{known:?}") == lie);
        let known = known.ok_or_else(|| Error::invalid("config", format!("{lie:?} is no lie")))?;
        Ok(Self::new(S::open(config)?, Rc::new(Cell::new(known))))
    }
}

impl<S> Liar<S> {
    /// A liar that whoever has `lie` can have tell another one.
    pub fn new(inner: S, lie: Rc<Cell<Lie>>) -> Self {
        Self { inner, lie }
    }

    fn tells(&self, lie: Lie) -> bool {
        self.lie.get() == lie
    }
}

impl<S: SecureLogStore> SecureLogStore for Liar<S> {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        match self.lie.get() {
            Lie::Forgets => Ok(()),
            Lie::Conflicts => {
                let head = StreamHead { stream_id: VICTIM.into(), seqno: 1, entry_hash: [9; 32] };
                Err(Error::conflict(VICTIM, Some(head), "somebody else was first"))
            }
            Lie::Ids if appends.iter().any(|append| append.rows.iter().any(|row| row.id.is_some())) => {
                Err(Error::conflict(VICTIM, self.inner.head(VICTIM)?, "the id is taken"))
            }
            _ => self.inner.append(appends, expect, objects),
        }
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        let head = self.inner.head(stream_id)?;
        Ok(match self.lie.get() {
            Lie::Drops if stream_id == VICTIM => None,
            Lie::WithholdsTail if stream_id == VICTIM => head.map(|head| {
                let row = self.inner.read_rows(stream_id, 4, 1, false).unwrap().remove(0);
                StreamHead { seqno: 4, entry_hash: row.entry_hash, ..head }
            }),
            Lie::HeadAhead if stream_id == VICTIM => {
                head.map(|head| StreamHead { seqno: head.seqno + 7, ..head })
            }
            Lie::HeadForged if stream_id == VICTIM => {
                head.map(|head| StreamHead { entry_hash: [7; 32], ..head })
            }
            _ => head,
        })
    }

    fn read_rows(&mut self, stream_id: &str, from: u64, limit: u32, payloads: bool) -> Result<Vec<Row>> {
        let mut rows = self.inner.read_rows(stream_id, from, limit, payloads)?;
        if stream_id != VICTIM {
            return Ok(rows);
        }
        match self.lie.get() {
            Lie::Payload => {
                rows.iter_mut().filter_map(|row| row.payload.as_mut()).for_each(|payload| payload[40] ^= 1)
            }
            Lie::Header => rows.iter_mut().for_each(|row| *row.header.last_mut().unwrap() ^= 1),
            Lie::Hash => rows.iter_mut().for_each(|row| row.entry_hash[0] ^= 1),
            Lie::Column => rows.iter_mut().for_each(|row| row.event_type = "door-closed".into()),
            Lie::Withholds => rows.retain(|row| row.seqno != 3),
            Lie::WithholdsTail => rows.retain(|row| row.seqno < 5),
            Lie::Drops => rows.clear(),
            Lie::Reorders => rows.reverse(),
            Lie::Repeats => rows = rows.into_iter().flat_map(|row| [row.clone(), row]).collect(),
            Lie::TooMany => {
                let more = self.inner.read_rows(stream_id, 1, 1_000, payloads)?;
                rows = more.into_iter().cycle().skip(from as usize - 1).take(3_000).collect();
            }
            Lie::OtherStream => rows = self.inner.read_rows("alarms", from, limit, payloads)?,
            _ => {}
        }
        Ok(rows)
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        if self.tells(Lie::Ids) { Ok(Some(2)) } else { self.inner.find_id(stream_id, id) }
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        let after = after.filter(|_| !self.tells(Lie::Endless));
        let mut heads = self.inner.list_heads(after, limit)?;
        if self.tells(Lie::Drops) {
            heads.retain(|head| head.stream_id != VICTIM);
        }
        for head in heads.iter_mut().filter(|head| head.stream_id == VICTIM) {
            if let Some(told) = self.head(VICTIM)? {
                *head = told;
            }
        }
        Ok(heads)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        let mut page = self.inner.query(filter, cursor, limit)?;
        for found in &mut page.rows {
            match self.lie.get() {
                Lie::Header => *found.row.header.last_mut().unwrap() ^= 1,
                Lie::Hash => found.row.entry_hash[0] ^= 1,
                Lie::Column => found.row.producer = "somebody".into(),
                Lie::OtherStream => found.stream_id = "alarms".into(),
                _ => {}
            }
        }
        Ok(page)
    }

    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        let value = self.inner.read_object(kind, key)?;
        Ok(self.object(kind, value))
    }

    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        let after = after.filter(|_| !self.tells(Lie::Endless));
        let objects = self.inner.list_objects(kind, prefix, after, limit)?;
        Ok(objects.into_iter().filter_map(|object| self.told(object)).collect())
    }

    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        let object = self.inner.last_object(kind, prefix)?;
        Ok(object.and_then(|object| self.told(object)))
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        self.inner.write_tiles(stream_id, tiles)
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        let tile = self.inner.read_tile(stream_id, level, index)?;
        Ok(if self.tells(Lie::Tiles) { Some(vec![3; 32 * 256]) } else { tile })
    }

    fn erase_payloads(&mut self, stream_id: &str, from: u64, to: u64) -> Result<u64> {
        self.inner.erase_payloads(stream_id, from, to)
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        self.inner.backup(config)
    }

    fn close(self) -> Result<()> {
        self.inner.close()
    }
}

impl<S> Liar<S> {
    fn object(&self, kind: ObjectKind, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match (self.lie.get(), kind) {
            (Lie::NoCheckpoints, ObjectKind::Checkpoint) => None,
            (Lie::Checkpoints, ObjectKind::Checkpoint) | (Lie::Segments, ObjectKind::Segment) => {
                value.map(|mut value| {
                    let middle = value.len() / 2;
                    value[middle] ^= 1;
                    value
                })
            }
            _ => value,
        }
    }

    fn told(&self, object: Object) -> Option<Object> {
        let Object { kind, key, value } = object;
        self.object(kind, Some(value)).map(|value| Object { kind, key, value })
    }
}
