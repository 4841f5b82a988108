//! The client: a store whose every call goes over a transport.

use std::collections::HashMap;
use std::fmt;

use secure_log::model::{QueryFilter, StreamHead};
use secure_log::store::{
    FoundPage, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base64::Bytes;
use crate::fault::{ErrorObject, excerpt, from_status};
use crate::wire::{
    AppendWire, FilterWire, HeadWire, KindWire, ObjectWire, ObjectWriteWire, PageWire, RowWire,
};
use crate::{Fault, Method, Server};

/// Why a call gave no result (`transport-error` of `wit/log.wit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportError {
    /// Not reached, or the answer was lost: whether the call took effect is unknown.
    Unavailable(String),
    /// Credentials are missing or refused.
    Denied(String),
    /// The transport is not set up: correct its configuration.
    Invalid(String),
    /// The far end refused the call.
    Failed {
        /// HTTP status, or 0 where the transport has none.
        status: u16,
        /// A JSON-RPC error object, or text.
        body: String,
    },
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(text) => write!(f, "unavailable: {text}"),
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::Invalid(text) => write!(f, "invalid: {text}"),
            Self::Failed { status, body } => write!(f, "failed with status {status}: {}", excerpt(body)),
        }
    }
}

impl std::error::Error for TransportError {}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Unavailable(text) => Self::Unavailable(text),
            TransportError::Denied(text) => Self::Denied(text),
            TransportError::Invalid(text) => Self::invalid("transport", text),
            TransportError::Failed { status, body } => match serde_json::from_str::<ErrorObject>(&body) {
                Ok(ErrorObject { data: Some(data), .. }) => data.into(),
                // The far end did not understand the call: it is of another version, or no store.
                Ok(object) => Self::invalid("call", excerpt(&object.message)),
                Err(_) => from_status(status, &body),
            },
        }
    }
}

/// One call, one answer.
pub trait Transport {
    /// Calls `method` with its arguments as a JSON array, and gives its result as JSON.
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError>;
}

/// Both ends in one process.
impl<S: SecureLogStore> Transport for Server<S> {
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
        let called = match Method::from_name(method) {
            Some(method) => Server::call(self, method, params),
            None => Err(Fault::Method(method.to_owned())),
        };
        called.map_err(|fault| TransportError::Failed {
            status: 0,
            body: serde_json::to_string(&fault.to_object()).unwrap_or_else(|_| fault.to_string()),
        })
    }
}

/// Tiles that are remembered at most: 8 KiB each.
const MAX_TILES: usize = 4096;

/// A store at the other end of a transport.
///
/// Tiles are derived data that the endpoint takes from nobody: those that are written here are remembered here, and
/// others are asked for.
pub struct RemoteStore<T> {
    transport: T,
    tiles: HashMap<(String, u8, u64), Vec<u8>>,
}

impl<T: Transport> RemoteStore<T> {
    /// A store over `transport`, after a handshake. `config` is any value but an empty one: the endpoint owns its
    /// storage.
    pub fn connect(transport: T, config: &str) -> Result<Self> {
        if config.is_empty() {
            return Err(Error::invalid(
                "config",
                "is empty; give any other value: the endpoint knows where its store is",
            ));
        }
        let mut store = Self { transport, tiles: HashMap::new() };
        store.call::<()>(Method::Open, &(config,))?;
        Ok(store)
    }

    /// The transport.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    fn ask(&mut self, method: Method, params: &impl Serialize) -> Result<String> {
        let params = serde_json::to_string(params)
            .map_err(|e| Error::Storage(format!("the arguments of {} have no JSON: {e}", method.name())))?;
        Ok(self.transport.call(method.name(), &params)?)
    }

    fn call<R: DeserializeOwned>(&mut self, method: Method, params: &impl Serialize) -> Result<R> {
        let answer = self.ask(method, params)?;
        read(method, &answer)
    }
}

fn read<'de, R: Deserialize<'de>>(method: Method, answer: &'de str) -> Result<R> {
    serde_json::from_str(answer).map_err(|e| odd(method, &e.to_string()))
}

/// The far end answered, but not with what the method gives.
fn odd(method: Method, reason: &str) -> Error {
    let reason = excerpt(&without_values(reason));
    Error::corrupt("", 0, format!("the far end answered `{}` with something else: {reason}", method.name()))
}

/// What serde says, without the strings that it found: they may be of any length, and some servers repeat the token.
fn without_values(reason: &str) -> String {
    let (open, end) = if reason.starts_with("unknown ") { ("`", "`, expected") } else { ("\"", "\"") };
    let Some(from) = reason.find(open) else { return reason.to_owned() };
    // What was found may hold these marks too, so the last one counts.
    let rest = reason.rfind(end).filter(|to| from < *to).map_or("", |to| &reason[to + open.len()..]);
    format!("{}{open}…{open}{rest}", &reason[..from])
}

impl<T: Transport + Default> OpenStore for RemoteStore<T> {
    fn open(config: &str) -> Result<Self> {
        Self::connect(T::default(), config)
    }
}

impl<T: Transport> SecureLogStore for RemoteStore<T> {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        let appends: Vec<AppendWire<'_>> = appends.iter().map(Into::into).collect();
        let expect: Vec<HeadWire> = expect.iter().map(Into::into).collect();
        let objects: Vec<ObjectWriteWire> = objects.iter().map(Into::into).collect();
        self.call(Method::Append, &(appends, expect, objects))
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        Ok(self.call::<Option<HeadWire>>(Method::Head, &(stream_id,))?.map(Into::into))
    }

    fn read_rows(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        limit: u32,
        payloads: bool,
    ) -> Result<Vec<Row>> {
        let answer = self.ask(Method::ReadRows, &(stream_id, from_seqno, limit, payloads))?;
        let rows = read::<Vec<RowWire<'_>>>(Method::ReadRows, &answer)?;
        let rows = rows.into_iter().map(Row::try_from).collect::<Result<_, _>>();
        rows.map_err(|e| odd(Method::ReadRows, &e))
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        self.call(Method::FindId, &(stream_id, id))
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        let heads: Vec<HeadWire> = self.call(Method::ListHeads, &(after, limit))?;
        Ok(heads.into_iter().map(Into::into).collect())
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        let answer = self.ask(Method::Query, &(FilterWire::from(filter), cursor, limit))?;
        let page: PageWire<'_> = read(Method::Query, &answer)?;
        page.try_into().map_err(|e: String| odd(Method::Query, &e))
    }

    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        let value: Option<Bytes> = self.call(Method::ReadObject, &(KindWire::from(kind), key))?;
        Ok(value.map(|bytes| bytes.0))
    }

    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        let objects: Vec<ObjectWire> =
            self.call(Method::ListObjects, &(KindWire::from(kind), prefix, after, limit))?;
        Ok(objects.into_iter().map(Into::into).collect())
    }

    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        let object: Option<ObjectWire> = self.call(Method::LastObject, &(KindWire::from(kind), prefix))?;
        Ok(object.map(Into::into))
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        for tile in tiles {
            if !(32..=256 * 32).contains(&tile.hashes.len()) || !tile.hashes.len().is_multiple_of(32) {
                return Err(Error::invalid("tiles", "a tile has 1 to 256 hashes of 32 bytes"));
            }
        }
        if self.tiles.len() + tiles.len() > MAX_TILES {
            self.tiles.clear();
        }
        for tile in tiles {
            self.tiles.insert((stream_id.to_owned(), tile.level, tile.index), tile.hashes.clone());
        }
        Ok(())
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        if let Some(hashes) = self.tiles.get(&(stream_id.to_owned(), level, index)) {
            return Ok(Some(hashes.clone()));
        }
        // Servers derive none of level 0, and its headers are one call away as well.
        if level == 0 {
            return Ok(None);
        }
        let hashes: Option<Bytes> = self.call(Method::ReadTile, &(stream_id, level, index))?;
        Ok(hashes.map(|bytes| bytes.0))
    }

    fn erase_payloads(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<u64> {
        self.call(Method::ErasePayloads, &(stream_id, from_seqno, to_seqno))
    }

    /// `config` names a file in the endpoint's directory for copies.
    fn backup(&mut self, config: &str) -> Result<()> {
        self.call(Method::Backup, &(config,))
    }

    fn close(mut self) -> Result<()> {
        let none: [(); 0] = [];
        self.call(Method::Close, &none)
    }
}
