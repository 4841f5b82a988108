//! From a call to a store and back.

use secure_log::model::StreamHead;
use secure_log::store::{ObjectWrite, SecureLogStore, StreamAppend};
use secure_log::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::base64::Bytes;
use crate::limits::{MAX_NAME, MAX_OBJECT, MAX_OBJECTS, MAX_ROWS};
use crate::wire::{
    AppendWire, FilterWire, HeadWire, KindWire, ObjectWire, ObjectWriteWire, PageWire, RowWire,
};
use crate::{CheckedStore, Fault, Method};

/// Answers calls from a store.
pub struct Server<S> {
    /// `None` once it is closed.
    store: Option<S>,
    backups: Option<String>,
}

impl<S: SecureLogStore> Server<CheckedStore<S>> {
    /// Answers from `store`, and checks what callers write ([`CheckedStore`]).
    pub fn new(store: S) -> Self {
        Self::unchecked(CheckedStore::new(store))
    }
}

impl<S: SecureLogStore> Server<S> {
    /// Answers from `store` and leaves everything to it. For tests of the contract: a store takes rows of which it
    /// understands nothing.
    pub fn unchecked(store: S) -> Self {
        Self { store: Some(store), backups: None }
    }

    /// Lets callers make copies, as files of this directory. Without one, `backup` is denied.
    pub fn with_backups(mut self, directory: impl Into<String>) -> Self {
        self.backups = Some(directory.into());
        self
    }

    /// Gives the store back, unless a call has closed it.
    pub fn into_store(self) -> Option<S> {
        self.store
    }

    /// Makes one call. `params` is a JSON array of the arguments; the answer is the result as JSON.
    pub fn call(&mut self, method: Method, params: &str) -> Result<String, Fault> {
        let store = self.store.as_mut().ok_or_else(|| Error::invalid("call", "the store is closed"))?;
        match method {
            Method::Open => {
                let (config,): (String,) = read(params)?;
                if config.is_empty() {
                    return Err(Error::invalid("config", "is empty; any other value will do").into());
                }
                write(&())
            }
            Method::Close => {
                let []: [(); 0] = read(params)?;
                self.store.take().map_or(Ok(()), SecureLogStore::close)?;
                write(&())
            }
            Method::Append => {
                let (appends, expect, objects) = read_append(params)?;
                store.append(&appends, &expect, &objects)?;
                write(&())
            }
            Method::Head => {
                let (stream_id,): (String,) = read(params)?;
                write(&store.head(name(&stream_id)?)?.as_ref().map(HeadWire::from))
            }
            Method::ReadRows => {
                let (stream_id, from, limit, payloads): (String, u64, u32, bool) = read(params)?;
                let rows = store.read_rows(name(&stream_id)?, from, limit, payloads)?;
                write(&rows.iter().map(RowWire::from).collect::<Vec<_>>())
            }
            Method::FindId => {
                let (stream_id, id): (String, String) = read(params)?;
                write(&store.find_id(name(&stream_id)?, name(&id)?)?)
            }
            Method::ListHeads => {
                let (after, limit): (Option<String>, u32) = read(params)?;
                let heads = store.list_heads(after.as_deref().map(name).transpose()?, limit)?;
                write(&heads.iter().map(HeadWire::from).collect::<Vec<_>>())
            }
            Method::Query => {
                let (filter, cursor, limit): (FilterWire, Option<String>, u32) = read(params)?;
                let page = store.query(&filter.into(), cursor.as_deref().map(name).transpose()?, limit)?;
                write(&PageWire::from(&page))
            }
            Method::ReadObject => {
                let (kind, key): (KindWire, String) = read(params)?;
                write(&store.read_object(kind.into(), name(&key)?)?.map(Bytes))
            }
            Method::ListObjects => {
                let (kind, prefix, after, limit): (KindWire, String, Option<String>, u32) = read(params)?;
                let after = after.as_deref().map(name).transpose()?;
                let objects = store.list_objects(kind.into(), name(&prefix)?, after, limit)?;
                write(&objects.into_iter().map(ObjectWire::from).collect::<Vec<_>>())
            }
            Method::LastObject => {
                let (kind, prefix): (KindWire, String) = read(params)?;
                write(&store.last_object(kind.into(), name(&prefix)?)?.map(ObjectWire::from))
            }
            Method::WriteTiles => {
                Err(Error::Denied("tiles are not taken from callers: the endpoint derives its own".into())
                    .into())
            }
            Method::ReadTile => {
                let (stream_id, level, index): (String, u8, u64) = read(params)?;
                write(&store.read_tile(name(&stream_id)?, level, index)?.map(Bytes))
            }
            Method::ErasePayloads => {
                let (stream_id, from, to): (String, u64, u64) = read(params)?;
                write(&store.erase_payloads(name(&stream_id)?, from, to)?)
            }
            Method::Backup => {
                let (file,): (String,) = read(params)?;
                let directory = self.backups.as_deref().ok_or_else(|| {
                    Error::Denied("copies are off: set SECURE_LOG_RPC_BACKUP_DIR at the endpoint".into())
                })?;
                let path = format!("{}/{}", directory.trim_end_matches('/'), file_name(&file)?);
                store.backup(&path)?;
                write(&())
            }
        }
    }
}

/// Arguments of a call; the errors of serde say which one is wrong and where.
fn read<'de, T: Deserialize<'de>>(params: &'de str) -> Result<T, Fault> {
    serde_json::from_str(params).map_err(|e| Fault::Params(e.to_string()))
}

fn write<T: Serialize>(result: &T) -> Result<String, Fault> {
    serde_json::to_string(result).map_err(|e| Error::Storage(format!("the result has no JSON: {e}")).into())
}

fn name(text: &str) -> Result<&str, Fault> {
    if text.len() > MAX_NAME {
        return Err(Fault::Params(format!(
            "a name or cursor of {} bytes; they have at most {MAX_NAME}",
            text.len()
        )));
    }
    Ok(text)
}

type Appends = (Vec<StreamAppend>, Vec<StreamHead>, Vec<ObjectWrite>);

fn read_append(params: &str) -> Result<Appends, Fault> {
    let (appends, expect, objects): (Vec<AppendWire<'_>>, Vec<HeadWire>, Vec<ObjectWriteWire>) =
        read(params)?;
    let rows: usize = appends.iter().map(|append| append.rows.len()).sum();
    let too_many =
        |what: &str, n: usize, most: usize| Fault::Params(format!("{n} {what}; a call has at most {most}"));
    if rows > MAX_ROWS || appends.len() > MAX_ROWS {
        return Err(too_many("rows", rows.max(appends.len()), MAX_ROWS));
    }
    if objects.len() > MAX_OBJECTS || expect.len() > MAX_OBJECTS {
        return Err(too_many("objects or expected heads", objects.len().max(expect.len()), MAX_OBJECTS));
    }
    for append in &appends {
        name(&append.stream_id)?;
        for row in &append.rows {
            let header = row.header.len();
            if header > secure_log::limits::MAX_HEADER {
                return Err(Fault::Params(format!("a header of {header} bytes; it has at most 65535")));
            }
            let payload = row.payload.as_ref().map_or(0, |payload| payload.len());
            let most = secure_log::limits::MAX_PAYLOAD + secure_log::header::SALT_LEN as usize;
            if payload > most {
                return Err(Fault::Params(format!("a payload of {payload} bytes; it has at most {most}")));
            }
        }
    }
    for object in &objects {
        name(&object.key)?;
        if object.value.len() > MAX_OBJECT {
            return Err(Fault::Params(format!(
                "an object of {} bytes; it has at most {MAX_OBJECT}",
                object.value.len()
            )));
        }
    }
    let appends = appends.into_iter().map(StreamAppend::try_from).collect::<Result<_, _>>();
    Ok((
        appends.map_err(Fault::Params)?,
        expect.into_iter().map(Into::into).collect(),
        objects.into_iter().map(Into::into).collect(),
    ))
}

/// The name of a copy: a plain file name, so that callers reach no other place of the endpoint's disk.
fn file_name(name: &str) -> Result<&str, Fault> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(Error::invalid(
            "config",
            "name the copy with 1 to 200 letters, digits, '.', '_' and '-', not beginning with '.'; the endpoint \
             chooses the directory",
        )
        .into());
    }
    Ok(name)
}
