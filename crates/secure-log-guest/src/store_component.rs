//! Any Rust store as the component that exports `store`.

use std::marker::PhantomData;

use secure_log::model::StreamHead;
use secure_log::store::{ObjectWrite, OpenStore, SecureLogStore, StreamAppend, Tile};
use secure_log::{Error, Result};

use crate::HasSlot;
use crate::convert::head_arg;
use crate::core_world::secure_log::log::types as w;
use crate::store_world::exports::secure_log::log::store as s;

/// The exports of a store component, over the store in `S`'s slot.
pub struct StoreComponent<S>(PhantomData<S>);

fn reentered() -> Error {
    Error::Busy("the store is in the middle of another call".into())
}

impl<S: HasSlot<Value: OpenStore>> StoreComponent<S> {
    fn run<R, W>(f: impl FnOnce(&mut S::Value) -> Result<R>) -> Result<W, w::LogError>
    where
        W: From<R>,
    {
        S::with(|slot| {
            slot.enter(|store| match store {
                Some(store) => f(store),
                None => Err(Error::invalid("call", "the store is not open: call `open` first")),
            })
        })
        .unwrap_or_else(|| Err(reentered()))
        .map(W::from)
        .map_err(Into::into)
    }

    fn list<R, W: From<R>>(f: impl FnOnce(&mut S::Value) -> Result<Vec<R>>) -> Result<Vec<W>, w::LogError> {
        Self::run::<Vec<R>, Vec<R>>(f).map(|list| list.into_iter().map(W::from).collect())
    }
}

impl<S: HasSlot<Value: OpenStore>> s::Guest for StoreComponent<S> {
    fn open(config: String) -> Result<(), s::StoreError> {
        S::with(|slot| {
            slot.enter(|store| {
                if store.is_some() {
                    return Err(Error::invalid("call", "the store is open already"));
                }
                if config.is_empty() {
                    return Err(Error::invalid("config", "is empty; name the store to open"));
                }
                *store = Some(S::Value::open(&config)?);
                Ok(())
            })
        })
        .unwrap_or_else(|| Err(reentered()))
        .map_err(Into::into)
    }

    fn close() -> Result<(), s::StoreError> {
        S::with(|slot| {
            slot.enter(|store| match store.take() {
                Some(store) => store.close(),
                None => Err(Error::invalid("call", "the store is not open")),
            })
        })
        .unwrap_or_else(|| Err(reentered()))
        .map_err(Into::into)
    }

    fn append(
        appends: Vec<s::StreamAppend>,
        expect: Vec<w::StreamHead>,
        objects: Vec<s::ObjectWrite>,
    ) -> Result<(), s::StoreError> {
        Self::run(|store| {
            let appends = appends.into_iter().map(StreamAppend::try_from).collect::<Result<Vec<_>>>()?;
            let expect =
                expect.into_iter().map(|h| head_arg("expect", h)).collect::<Result<Vec<StreamHead>>>()?;
            let objects: Vec<ObjectWrite> = objects.into_iter().map(Into::into).collect();
            store.append(&appends, &expect, &objects)
        })
    }

    fn head(stream_id: String) -> Result<Option<w::StreamHead>, s::StoreError> {
        Self::run(|store| Ok(store.head(&stream_id)?.map(Into::into)))
    }

    fn read_rows(
        stream_id: String,
        from_seqno: u64,
        limit: u32,
        payloads: bool,
    ) -> Result<Vec<s::Row>, s::StoreError> {
        Self::list(|store| store.read_rows(&stream_id, from_seqno, limit, payloads))
    }

    fn find_id(stream_id: String, id: String) -> Result<Option<u64>, s::StoreError> {
        Self::run(|store| store.find_id(&stream_id, &id))
    }

    fn list_heads(after: Option<String>, limit: u32) -> Result<Vec<w::StreamHead>, s::StoreError> {
        Self::list(|store| store.list_heads(after.as_deref(), limit))
    }

    fn query(
        filter: w::QueryFilter,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<s::FoundPage, s::StoreError> {
        Self::run(|store| {
            let page = store.query(&filter.into(), cursor.as_deref(), limit)?;
            let rows =
                page.rows.into_iter().map(|f| s::FoundRow { stream_id: f.stream_id, row: f.row.into() });
            Ok(s::FoundPage { rows: rows.collect(), next: page.next })
        })
    }

    fn read_object(kind: s::ObjectKind, key: String) -> Result<Option<Vec<u8>>, s::StoreError> {
        Self::run(|store| store.read_object(kind.into(), &key))
    }

    fn list_objects(
        kind: s::ObjectKind,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<s::Object>, s::StoreError> {
        Self::list(|store| store.list_objects(kind.into(), &prefix, after.as_deref(), limit))
    }

    fn last_object(kind: s::ObjectKind, prefix: String) -> Result<Option<s::Object>, s::StoreError> {
        Self::run(|store| Ok(store.last_object(kind.into(), &prefix)?.map(Into::into)))
    }

    fn write_tiles(stream_id: String, tiles: Vec<s::Tile>) -> Result<(), s::StoreError> {
        Self::run(|store| {
            let tiles: Vec<Tile> = tiles.into_iter().map(Into::into).collect();
            store.write_tiles(&stream_id, &tiles)
        })
    }

    fn read_tile(stream_id: String, level: u8, index: u64) -> Result<Option<Vec<u8>>, s::StoreError> {
        Self::run(|store| store.read_tile(&stream_id, level, index))
    }

    fn erase_payloads(stream_id: String, from_seqno: u64, to_seqno: u64) -> Result<u64, s::StoreError> {
        Self::run(|store| store.erase_payloads(&stream_id, from_seqno, to_seqno))
    }

    fn backup(config: String) -> Result<(), s::StoreError> {
        Self::run(|store| store.backup(&config))
    }
}
