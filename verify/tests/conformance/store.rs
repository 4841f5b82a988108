//! The stores through their components.

use std::path::Path;
use std::sync::LazyLock;

use secure_log::error::{Conflict, Corruption, InvalidArgument, Missing, Rollback};
use secure_log::model::{QueryFilter, Severity, StreamHead};
use secure_log::store::{
    FoundPage, FoundRow, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log::{Error, Result};
use secure_log_conformance::{Configs, store_conformance};
use wasmtime::Store;
use wasmtime::component::HasSelf;

use super::{Host, Provider};

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "store-provider" });
}
use bindings::exports::secure_log::log::store as w;
use bindings::secure_log::log::types as t;

impl t::Host for Host {}

static SQLITE: LazyLock<Provider> = LazyLock::new(|| Provider::load("store-sqlite.wasm"));
static FILE: LazyLock<Provider> = LazyLock::new(|| Provider::load("store-file.wasm"));

/// examples/store-python, where scripts/test-python.sh has built it.
const PYTHON_STORE: &str = "../dist/test/store-python.wasm";

/// Which component a store is.
pub trait Which {
    fn provider() -> &'static Provider;
}

struct Sqlite;
struct File;
struct Python;

impl Which for Sqlite {
    fn provider() -> &'static Provider {
        &SQLITE
    }
}

impl Which for File {
    fn provider() -> &'static Provider {
        &FILE
    }
}

impl Which for Python {
    fn provider() -> &'static Provider {
        static PYTHON: LazyLock<Provider> = LazyLock::new(|| Provider::at(Path::new(PYTHON_STORE)));
        &PYTHON
    }
}

/// An opened store component.
pub struct Component<W> {
    store: Store<Host>,
    world: bindings::StoreProvider,
    which: std::marker::PhantomData<W>,
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("a hash of 32 bytes")
}

fn head(head: t::StreamHead) -> StreamHead {
    StreamHead { entry_hash: hash(&head.entry_hash), seqno: head.seqno, stream_id: head.stream_id }
}

fn to_head(head: &StreamHead) -> t::StreamHead {
    t::StreamHead {
        stream_id: head.stream_id.clone(),
        seqno: head.seqno,
        entry_hash: head.entry_hash.to_vec(),
    }
}

fn error(error: t::LogError) -> Error {
    use t::LogError as L;
    match error {
        L::Conflict(c) => {
            Error::Conflict(Conflict { stream_id: c.stream_id, actual: c.actual.map(head), reason: c.reason })
        }
        L::NotFound(m) => {
            Error::NotFound(Missing { what: m.what, name: m.name, number: m.number, reason: m.reason })
        }
        L::Corrupt(c) => {
            Error::Corrupt(Corruption { stream_id: c.stream_id, seqno: c.seqno, reason: c.reason })
        }
        L::RolledBack(r) => Error::RolledBack(Box::new(Rollback {
            claimed_size: r.claimed_size,
            claimed_root: hash(&r.claimed_root),
            size: r.size,
            root: hash(&r.root),
            reason: r.reason,
        })),
        L::Busy(s) => Error::Busy(s),
        L::Denied(s) => Error::Denied(s),
        L::Invalid(i) => Error::Invalid(InvalidArgument { field: i.field, reason: i.reason }),
        L::Sealed(s) => panic!("no store seals: {s:?}"),
        L::Unavailable(s) => Error::Unavailable(s),
        L::Storage(s) => Error::Storage(s),
    }
}

fn row(row: w::Row) -> Row {
    Row {
        seqno: row.seqno,
        entry_hash: hash(&row.entry_hash),
        header: row.header,
        payload: row.payload,
        time_ms: row.time_ms,
        severity: row.severity,
        event_type: row.event_type,
        producer: row.producer,
        id: row.id,
    }
}

fn to_row(row: &Row) -> w::Row {
    w::Row {
        seqno: row.seqno,
        entry_hash: row.entry_hash.to_vec(),
        header: row.header.clone(),
        payload: row.payload.clone(),
        time_ms: row.time_ms,
        severity: row.severity,
        event_type: row.event_type.clone(),
        producer: row.producer.clone(),
        id: row.id.clone(),
    }
}

fn kind(kind: ObjectKind) -> w::ObjectKind {
    match kind {
        ObjectKind::Stream => w::ObjectKind::Stream,
        ObjectKind::Frozen => w::ObjectKind::Frozen,
        ObjectKind::Segment => w::ObjectKind::Segment,
        ObjectKind::Checkpoint => w::ObjectKind::Checkpoint,
        ObjectKind::Receipt => w::ObjectKind::Receipt,
        ObjectKind::State => w::ObjectKind::State,
    }
}

fn object(asked: ObjectKind, object: w::Object) -> Object {
    assert_eq!(object.kind, kind(asked), "an object of another kind than asked for");
    Object { kind: asked, key: object.key, value: object.value }
}

fn severity(severity: Severity) -> t::Severity {
    match severity {
        Severity::Emergency => t::Severity::Emergency,
        Severity::Alert => t::Severity::Alert,
        Severity::Critical => t::Severity::Critical,
        Severity::Error => t::Severity::Error,
        Severity::Warning => t::Severity::Warning,
        Severity::Notice => t::Severity::Notice,
        Severity::Informational => t::Severity::Informational,
        Severity::Debug => t::Severity::Debug,
    }
}

/// Calls an export; a trap breaks every rule.
macro_rules! call {
    ($self:ident, $name:ident $(, $argument:expr)*) => {
        $self.world.secure_log_log_store().$name(&mut $self.store $(, $argument)*)
            .expect("a guest never traps").map_err(error)
    };
}

impl<W: Which> Component<W> {
    /// Opens the store in a new instance that sees this directory and these variables.
    pub fn open_in(directory: Option<&Path>, env: &[(&str, &str)], config: &str) -> Result<Self> {
        let (mut linker, mut store) = W::provider().host(directory, env);
        t::add_to_linker::<_, HasSelf<Host>>(&mut linker, |host| host).expect("types link");
        let world = bindings::StoreProvider::instantiate(&mut store, W::provider().component(), &linker)
            .expect("the store starts");
        let mut this = Self { store, world, which: std::marker::PhantomData };
        call!(this, call_open, config)?;
        Ok(this)
    }
}

impl<W: Which> OpenStore for Component<W> {
    fn open(config: &str) -> Result<Self> {
        let path = Path::new(config.split('?').next().unwrap_or(config));
        Self::open_in(path.parent().filter(|d| d.is_dir()), &[], config)
    }
}

impl<W: Which> SecureLogStore for Component<W> {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        let appends: Vec<_> = appends
            .iter()
            .map(|a| w::StreamAppend {
                stream_id: a.prior.stream_id.clone(),
                prior_seqno: a.prior.seqno,
                prior_hash: a.prior.entry_hash.to_vec(),
                rows: a.rows.iter().map(to_row).collect(),
            })
            .collect();
        let expect: Vec<_> = expect.iter().map(to_head).collect();
        let objects: Vec<_> = objects
            .iter()
            .map(|o| w::ObjectWrite {
                kind: kind(o.kind),
                key: o.key.clone(),
                value: o.value.clone(),
                expected: o.expected.clone(),
            })
            .collect();
        call!(self, call_append, &appends, &expect, &objects)
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        Ok(call!(self, call_head, stream_id)?.map(head))
    }

    fn read_rows(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        limit: u32,
        payloads: bool,
    ) -> Result<Vec<Row>> {
        let rows = call!(self, call_read_rows, stream_id, from_seqno, limit, payloads)?;
        Ok(rows.into_iter().map(row).collect())
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        call!(self, call_find_id, stream_id, id)
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        Ok(call!(self, call_list_heads, after, limit)?.into_iter().map(head).collect())
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        let filter = t::QueryFilter {
            stream_id: filter.stream_id.clone(),
            from_ms: filter.from_ms,
            to_ms: filter.to_ms,
            event_type: filter.event_type.clone(),
            min_severity: filter.min_severity.map(severity),
            producer: filter.producer.clone(),
        };
        let page = call!(self, call_query, &filter, cursor, limit)?;
        let found = |f: w::FoundRow| FoundRow { stream_id: f.stream_id, row: row(f.row) };
        Ok(FoundPage { rows: page.rows.into_iter().map(found).collect(), next: page.next })
    }

    fn read_object(&mut self, of: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        call!(self, call_read_object, kind(of), key)
    }

    fn list_objects(
        &mut self,
        of: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        let objects = call!(self, call_list_objects, kind(of), prefix, after, limit)?;
        Ok(objects.into_iter().map(|o| object(of, o)).collect())
    }

    fn last_object(&mut self, of: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        Ok(call!(self, call_last_object, kind(of), prefix)?.map(|o| object(of, o)))
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        let tiles: Vec<_> = tiles
            .iter()
            .map(|tile| w::Tile { level: tile.level, index: tile.index, hashes: tile.hashes.clone() })
            .collect();
        call!(self, call_write_tiles, stream_id, &tiles)
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        call!(self, call_read_tile, stream_id, level, index)
    }

    fn erase_payloads(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<u64> {
        call!(self, call_erase_payloads, stream_id, from_seqno, to_seqno)
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        call!(self, call_backup, config)
    }

    fn close(mut self) -> Result<()> {
        call!(self, call_close)
    }
}

store_conformance!(sqlite, || {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Configs::<Component<Sqlite>>::in_directory(dir.path()).keep(dir)
});

store_conformance!(file, || {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Configs::<Component<File>>::in_directory(dir.path()).keep(dir)
});

#[test]
fn python_follows_every_rule() {
    if !Path::new(PYTHON_STORE).exists() {
        println!("not run: scripts/test-python.sh has not built {PYTHON_STORE}");
        return;
    }
    super::follows_every_rule::<Component<Python>>();
}
