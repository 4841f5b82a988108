//! The store contract over one connection.

use std::cell::RefCell;

use rusqlite::Connection;
use secure_log::error::{Error, Result};
use secure_log::model::{QueryFilter, StreamHead};
use secure_log::store::{
    FoundPage, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};

use crate::db::{Db, Parked, Target};
use crate::{append, backup, entries, erase, objects, query, tiles};

thread_local! {
    /// The store that was last closed quickly in this thread (an instance, in a component).
    static PARKED: RefCell<Option<Parked>> = const { RefCell::new(None) };
}

/// A store in a SQLite file.
///
/// Opened with a path and options (see [`StoreConfig`](secure_log_lease::StoreConfig)), or with
/// `:memory:`. When another process has taken over the file, the call that notices gives `Busy`
/// and the one after it opens the file anew: re-read the heads before appending.
pub struct SqliteSecureLogStore {
    target: Target,
    /// `None` after another process has taken over.
    db: Option<Db>,
}

impl SqliteSecureLogStore {
    fn run<T>(&mut self, operation: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let db = match &mut self.db {
            Some(db) => db,
            None => self.db.insert(Db::open(&self.target)?),
        };
        let result = db.run(operation);
        if db.is_lost()
            && let Some(db) = self.db.take()
        {
            db.abandon();
        }
        result
    }
}

impl OpenStore for SqliteSecureLogStore {
    fn open(config: &str) -> Result<Self> {
        let target = Target::parse(config)?;
        let parked = match &target {
            Target::File(config) => PARKED.take().filter(|parked| parked.is(config)),
            Target::Memory => None,
        };
        let db = match parked {
            Some(parked) => parked.resume()?,
            None => Db::open(&target)?,
        };
        Ok(Self { target, db: Some(db) })
    }
}

impl SecureLogStore for SqliteSecureLogStore {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        self.run(|conn| append::append(conn, appends, expect, objects))
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        self.run(|conn| entries::head(conn, stream_id))
    }

    fn read_rows(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        limit: u32,
        payloads: bool,
    ) -> Result<Vec<Row>> {
        self.run(|conn| entries::read_rows(conn, stream_id, from_seqno, limit, payloads))
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        self.run(|conn| entries::find_id(conn, stream_id, id))
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        self.run(|conn| entries::list_heads(conn, after, limit))
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        self.run(|conn| query::query(conn, filter, cursor, limit))
    }

    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        self.run(|conn| objects::read(conn, kind, key))
    }

    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        self.run(|conn| objects::list(conn, kind, prefix, after, limit))
    }

    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        self.run(|conn| objects::last(conn, kind, prefix))
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        self.run(|conn| tiles::write(conn, stream_id, tiles))
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        self.run(|conn| tiles::read(conn, stream_id, level, index))
    }

    fn erase_payloads(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<u64> {
        let erased = self.run(|conn| erase::erase(conn, stream_id, from_seqno, to_seqno))?;
        // Also when there was nothing to delete: an erasure that was interrupted is finished so.
        match &mut self.db {
            Some(db) => db.clear_wal().map(|()| erased),
            None => Err(Error::Busy("superseded: another process has the store".into())),
        }
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        self.run(|conn| backup::backup(conn, config))
    }

    fn close(mut self) -> Result<()> {
        match (self.db.take(), &self.target) {
            (Some(db), Target::File(config)) if config.quick_close => {
                PARKED.set(Some(Parked::park(db, config)?));
                Ok(())
            }
            (Some(db), _) => db.close(),
            (None, _) => {
                Err(Error::Busy("superseded: another process has the store; it is closed here".into()))
            }
        }
    }
}
