//! Imports seen as the engine's traits.

use secure_log::Result;
use secure_log::envelope::{Envelope, EnvelopeError};
use secure_log::model::{QueryFilter, StreamHead};
use secure_log::signer::{CheckpointSigner, KeyError, PublicKey};
use secure_log::store::{
    FoundPage, FoundRow, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use zeroize::Zeroizing;

use crate::convert::{from_head, hash};
use crate::core_world::keys::keystore::{envelope, signer};
use crate::core_world::secure_log::log::store as wit;

/// The store that is plugged into the component.
pub struct ImportedStore(());

/// The keystore that is plugged into the component.
pub struct ImportedSigner;

impl OpenStore for ImportedStore {
    fn open(config: &str) -> Result<Self> {
        wit::open(config)?;
        Ok(Self(()))
    }
}

fn row(stream_id: &str, row: wit::Row) -> Result<Row> {
    Ok(Row {
        seqno: row.seqno,
        entry_hash: hash(stream_id, row.seqno, &row.entry_hash)?,
        header: row.header,
        payload: row.payload,
        time_ms: row.time_ms,
        severity: row.severity,
        event_type: row.event_type,
        producer: row.producer,
        id: row.id,
    })
}

impl SecureLogStore for ImportedStore {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        // The generated types own their bytes. Payloads are the bulk: they are copied once here
        // and once across the boundary.
        let appends: Vec<_> = appends.iter().map(Into::into).collect();
        let expect: Vec<_> = expect.iter().map(Into::into).collect();
        let objects: Vec<_> = objects.iter().map(Into::into).collect();
        Ok(wit::append(&appends, &expect, &objects)?)
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        wit::head(stream_id)?.map(from_head).transpose()
    }

    fn read_rows(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        limit: u32,
        payloads: bool,
    ) -> Result<Vec<Row>> {
        let rows = wit::read_rows(stream_id, from_seqno, limit, payloads)?;
        rows.into_iter().map(|r| row(stream_id, r)).collect()
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        Ok(wit::find_id(stream_id, id)?)
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        wit::list_heads(after, limit)?.into_iter().map(from_head).collect()
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        let page = wit::query(&filter.into(), cursor, limit)?;
        let rows = page.rows.into_iter().map(|found| {
            let row = row(&found.stream_id, found.row)?;
            Ok(FoundRow { stream_id: found.stream_id, row })
        });
        Ok(FoundPage { rows: rows.collect::<Result<_>>()?, next: page.next })
    }

    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(wit::read_object(kind.into(), key)?)
    }

    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        Ok(wit::list_objects(kind.into(), prefix, after, limit)?.into_iter().map(Into::into).collect())
    }

    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        Ok(wit::last_object(kind.into(), prefix)?.map(Into::into))
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        let tiles: Vec<_> = tiles.iter().map(Into::into).collect();
        Ok(wit::write_tiles(stream_id, &tiles)?)
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        Ok(wit::read_tile(stream_id, level, index)?)
    }

    fn erase_payloads(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<u64> {
        Ok(wit::erase_payloads(stream_id, from_seqno, to_seqno)?)
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        Ok(wit::backup(config)?)
    }

    fn close(self) -> Result<()> {
        Ok(wit::close()?)
    }
}

impl CheckpointSigner for ImportedSigner {
    fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError> {
        let info = signer::get_key(identity)?;
        Ok(PublicKey { algorithm: info.algorithm.into(), spki_der: info.public_key })
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(signer::sign(identity, message)?)
    }
}

impl Envelope for ImportedSigner {
    fn wrap(&mut self, name: &str, key: &[u8], context: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        Ok(envelope::wrap(name, key, context)?)
    }

    fn unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        Ok(Zeroizing::new(envelope::unwrap(name, wrapped, context)?))
    }

    fn destroy(&mut self, name: &str) -> Result<(), EnvelopeError> {
        Ok(envelope::destroy(name)?)
    }
}
