//! What stands in params and results: the records of `wit/log.wit` in JSON, members named as in WIT, byte strings in
//! base64.

use std::borrow::Cow;

use secure_log::error::{Conflict, Corruption, InvalidArgument, Missing, Rollback};
use secure_log::header::{HeaderRef, entry_hash};
use secure_log::model::{Hash, QueryFilter, Severity, StreamHead};
use secure_log::store::{FoundPage, FoundRow, Object, ObjectKind, ObjectWrite, Row, StreamAppend};
use secure_log::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};

/// `stream-head`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HeadWire {
    /// Stream id.
    pub stream_id: String,
    /// Number of the last entry.
    pub seqno: u64,
    /// Its hash.
    #[serde(with = "crate::base64::hash")]
    pub entry_hash: Hash,
}

impl From<&StreamHead> for HeadWire {
    fn from(head: &StreamHead) -> Self {
        Self { stream_id: head.stream_id.clone(), seqno: head.seqno, entry_hash: head.entry_hash }
    }
}

impl From<HeadWire> for StreamHead {
    fn from(head: HeadWire) -> Self {
        Self { stream_id: head.stream_id, seqno: head.seqno, entry_hash: head.entry_hash }
    }
}

/// `row`. A column that says what the header says may be left out, and is by this crate; what differs is sent, so that
/// a changed column shows at the other end too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RowWire<'a> {
    /// Canonical header bytes.
    #[serde(with = "base64_cow", borrow)]
    pub header: Cow<'a, [u8]>,
    /// Stored payload bytes, salt included.
    #[serde(default, with = "base64_cow_optional", skip_serializing_if = "Option::is_none", borrow)]
    pub payload: Option<Cow<'a, [u8]>>,
    /// Number in the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seqno: Option<u64>,
    /// BLAKE3 of the header.
    #[serde(
        default,
        serialize_with = "crate::base64::optional::serialize",
        deserialize_with = "optional_hash",
        skip_serializing_if = "Option::is_none"
    )]
    pub entry_hash: Option<Hash>,
    /// Copy of the header's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Copy of the header's severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<u8>,
    /// Copy of the header's event type.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub event_type: Option<Cow<'a, str>>,
    /// Copy of the header's producer.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub producer: Option<Cow<'a, str>>,
    /// Copy of the header's event id; `null` where the row has none and the header has one.
    #[serde(
        default,
        deserialize_with = "even_null",
        skip_serializing_if = "Option::is_none",
        bound(deserialize = "'de: 'a")
    )]
    pub id: Option<Option<Cow<'a, str>>>,
}

mod base64_cow {
    use super::*;

    pub use crate::base64::serialize;

    pub fn deserialize<'de, 'a, D: Deserializer<'de>>(d: D) -> Result<Cow<'a, [u8]>, D::Error> {
        crate::base64::deserialize(d).map(Cow::Owned)
    }
}

mod base64_cow_optional {
    use super::*;

    pub use crate::base64::optional::serialize;

    pub fn deserialize<'de, 'a, D: Deserializer<'de>>(d: D) -> Result<Option<Cow<'a, [u8]>>, D::Error> {
        Ok(crate::base64::optional::deserialize(d)?.map(Cow::Owned))
    }
}

fn optional_hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Hash>, D::Error> {
    crate::base64::hash::deserialize(deserializer).map(Some)
}

/// Tells `null` from a member that is not there.
fn even_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(d).map(Some)
}

impl<'a> From<&'a Row> for RowWire<'a> {
    fn from(row: &'a Row) -> Self {
        let says = HeaderRef::decode(&row.header).ok();
        let says = says.as_ref();
        let id = row.id.as_deref();
        Self {
            header: Cow::Borrowed(&row.header),
            payload: row.payload.as_deref().map(Cow::Borrowed),
            seqno: says.is_none_or(|c| c.seqno != row.seqno).then_some(row.seqno),
            entry_hash: (entry_hash(&row.header) != row.entry_hash).then_some(row.entry_hash),
            time_ms: says.is_none_or(|c| c.time_ms != row.time_ms).then_some(row.time_ms),
            severity: says.is_none_or(|c| c.severity as u8 != row.severity).then_some(row.severity),
            event_type: says
                .is_none_or(|c| c.event_type != row.event_type)
                .then_some(Cow::Borrowed(&*row.event_type)),
            producer: says
                .is_none_or(|c| c.producer != row.producer)
                .then_some(Cow::Borrowed(&*row.producer)),
            id: says.is_none_or(|c| c.event_id != id).then_some(id.map(Cow::Borrowed)),
        }
    }
}

impl TryFrom<RowWire<'_>> for Row {
    type Error = String;

    fn try_from(wire: RowWire<'_>) -> Result<Self, String> {
        let header = wire.header.into_owned();
        let hash = wire.entry_hash.unwrap_or_else(|| entry_hash(&header));
        let says = HeaderRef::decode(&header).ok();
        let says = says.as_ref();
        let missing =
            |name: &str| format!("a row has no {name}, and its header is not one that could tell it");
        let owned = |given: Option<Cow<'_, str>>, says: Option<&str>, name| {
            given.map(Cow::into_owned).or_else(|| says.map(str::to_owned)).ok_or_else(|| missing(name))
        };
        let row = Self {
            seqno: wire.seqno.or(says.map(|c| c.seqno)).ok_or_else(|| missing("seqno"))?,
            entry_hash: hash,
            payload: wire.payload.map(Cow::into_owned),
            time_ms: wire.time_ms.or(says.map(|c| c.time_ms)).ok_or_else(|| missing("time-ms"))?,
            severity: wire.severity.or(says.map(|c| c.severity as u8)).ok_or_else(|| missing("severity"))?,
            event_type: owned(wire.event_type, says.map(|c| c.event_type), "event-type")?,
            producer: owned(wire.producer, says.map(|c| c.producer), "producer")?,
            id: match wire.id {
                Some(id) => id.map(Cow::into_owned),
                None => says.and_then(|c| c.event_id).map(str::to_owned),
            },
            header: Vec::new(),
        };
        Ok(Self { header, ..row })
    }
}

/// `stream-append`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AppendWire<'a> {
    /// Stream id.
    pub stream_id: Cow<'a, str>,
    /// Number of the head that the rows follow.
    pub prior_seqno: u64,
    /// Its hash; 32 zero bytes for a new stream.
    #[serde(with = "crate::base64::hash")]
    pub prior_hash: Hash,
    /// The rows.
    #[serde(borrow)]
    pub rows: Vec<RowWire<'a>>,
}

impl<'a> From<&'a StreamAppend> for AppendWire<'a> {
    fn from(append: &'a StreamAppend) -> Self {
        Self {
            stream_id: Cow::Borrowed(&append.prior.stream_id),
            prior_seqno: append.prior.seqno,
            prior_hash: append.prior.entry_hash,
            rows: append.rows.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<AppendWire<'_>> for StreamAppend {
    type Error = String;

    fn try_from(wire: AppendWire<'_>) -> Result<Self, String> {
        let prior = StreamHead {
            stream_id: wire.stream_id.into_owned(),
            seqno: wire.prior_seqno,
            entry_hash: wire.prior_hash,
        };
        Ok(Self { prior, rows: wire.rows.into_iter().map(Row::try_from).collect::<Result<_, _>>()? })
    }
}

/// `object-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as ObjectKind")]
pub enum KindWire {
    Stream,
    Frozen,
    Segment,
    Checkpoint,
    Receipt,
    State,
}

/// Both ways between two enumerations of the same names.
macro_rules! same_names {
    ($a:ident, $b:ident: $($name:ident),+) => {
        impl From<$a> for $b {
            fn from(value: $a) -> Self {
                match value { $($a::$name => Self::$name),+ }
            }
        }
        impl From<$b> for $a {
            fn from(value: $b) -> Self {
                match value { $($b::$name => Self::$name),+ }
            }
        }
    };
}

same_names!(KindWire, ObjectKind: Stream, Frozen, Segment, Checkpoint, Receipt, State);

/// `severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as Severity")]
pub enum SeverityWire {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Informational,
    Debug,
}

same_names!(SeverityWire, Severity: Emergency, Alert, Critical, Error, Warning, Notice, Informational, Debug);

/// `object`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObjectWire {
    /// Kind.
    pub kind: KindWire,
    /// Key.
    pub key: String,
    /// Value.
    #[serde(with = "crate::base64")]
    pub value: Vec<u8>,
}

impl From<Object> for ObjectWire {
    fn from(object: Object) -> Self {
        Self { kind: object.kind.into(), key: object.key, value: object.value }
    }
}

impl From<ObjectWire> for Object {
    fn from(object: ObjectWire) -> Self {
        Self { kind: object.kind.into(), key: object.key, value: object.value }
    }
}

/// `object-write`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObjectWriteWire {
    /// Kind.
    pub kind: KindWire,
    /// Key.
    pub key: String,
    /// New value.
    #[serde(with = "crate::base64")]
    pub value: Vec<u8>,
    /// Value that must be there now.
    #[serde(default, with = "crate::base64::optional", skip_serializing_if = "Option::is_none")]
    pub expected: Option<Vec<u8>>,
}

impl From<&ObjectWrite> for ObjectWriteWire {
    fn from(write: &ObjectWrite) -> Self {
        Self {
            kind: write.kind.into(),
            key: write.key.clone(),
            value: write.value.clone(),
            expected: write.expected.clone(),
        }
    }
}

impl From<ObjectWriteWire> for ObjectWrite {
    fn from(write: ObjectWriteWire) -> Self {
        Self { kind: write.kind.into(), key: write.key, value: write.value, expected: write.expected }
    }
}

/// `query-filter`; what is left out is no condition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FilterWire {
    /// Only this stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// Not before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<u64>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<u64>,
    /// Exactly this event type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// At least as severe as this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<SeverityWire>,
    /// Exactly this producer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
}

impl From<&QueryFilter> for FilterWire {
    fn from(filter: &QueryFilter) -> Self {
        Self {
            stream_id: filter.stream_id.clone(),
            from_ms: filter.from_ms,
            to_ms: filter.to_ms,
            event_type: filter.event_type.clone(),
            min_severity: filter.min_severity.map(Into::into),
            producer: filter.producer.clone(),
        }
    }
}

impl From<FilterWire> for QueryFilter {
    fn from(filter: FilterWire) -> Self {
        Self {
            stream_id: filter.stream_id,
            from_ms: filter.from_ms,
            to_ms: filter.to_ms,
            event_type: filter.event_type,
            min_severity: filter.min_severity.map(Into::into),
            producer: filter.producer,
        }
    }
}

/// `found-row`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FoundWire<'a> {
    /// Stream id.
    pub stream_id: Cow<'a, str>,
    /// The row.
    #[serde(borrow)]
    pub row: RowWire<'a>,
}

/// `found-page`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PageWire<'a> {
    /// The rows.
    #[serde(borrow)]
    pub rows: Vec<FoundWire<'a>>,
    /// Where to go on.
    pub next: Option<String>,
}

impl<'a> From<&'a FoundPage> for PageWire<'a> {
    fn from(page: &'a FoundPage) -> Self {
        let rows = page
            .rows
            .iter()
            .map(|found| FoundWire { stream_id: Cow::Borrowed(&found.stream_id), row: (&found.row).into() });
        Self { rows: rows.collect(), next: page.next.clone() }
    }
}

impl TryFrom<PageWire<'_>> for FoundPage {
    type Error = String;

    fn try_from(wire: PageWire<'_>) -> Result<Self, String> {
        let rows = wire.rows.into_iter().map(|found| {
            Ok(FoundRow { stream_id: found.stream_id.into_owned(), row: found.row.try_into()? })
        });
        Ok(Self { rows: rows.collect::<Result<_, String>>()?, next: wire.next })
    }
}

/// `store-error`: `data` of an error object. `kind` is the case, the other members are its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
#[allow(missing_docs, reason = "as secure_log::Error")]
pub enum ErrorData {
    Conflict {
        stream_id: String,
        actual: Option<HeadWire>,
        reason: String,
    },
    NotFound {
        what: String,
        name: String,
        number: Option<u64>,
        reason: String,
    },
    Corrupt {
        stream_id: String,
        seqno: u64,
        reason: String,
    },
    RolledBack {
        claimed_size: u64,
        #[serde(with = "crate::base64::hash")]
        claimed_root: Hash,
        size: u64,
        #[serde(with = "crate::base64::hash")]
        root: Hash,
        reason: String,
    },
    Busy {
        reason: String,
    },
    Denied {
        reason: String,
    },
    Invalid {
        field: String,
        reason: String,
    },
    Unavailable {
        reason: String,
    },
    Storage {
        reason: String,
    },
}

impl From<&Error> for ErrorData {
    fn from(error: &Error) -> Self {
        let text = String::clone;
        match error {
            Error::Conflict(c) => Self::Conflict {
                stream_id: text(&c.stream_id),
                actual: c.actual.as_ref().map(Into::into),
                reason: text(&c.reason),
            },
            Error::NotFound(m) => Self::NotFound {
                what: text(&m.what),
                name: text(&m.name),
                number: m.number,
                reason: text(&m.reason),
            },
            Error::Corrupt(c) => {
                Self::Corrupt { stream_id: text(&c.stream_id), seqno: c.seqno, reason: text(&c.reason) }
            }
            Error::RolledBack(r) => Self::RolledBack {
                claimed_size: r.claimed_size,
                claimed_root: r.claimed_root,
                size: r.size,
                root: r.root,
                reason: text(&r.reason),
            },
            Error::Busy(reason) => Self::Busy { reason: text(reason) },
            Error::Denied(reason) => Self::Denied { reason: text(reason) },
            Error::Invalid(i) => Self::Invalid { field: text(&i.field), reason: text(&i.reason) },
            // No store seals.
            Error::Sealed(_) => Self::Storage { reason: error.to_string() },
            Error::Unavailable(reason) => Self::Unavailable { reason: text(reason) },
            Error::Storage(reason) => Self::Storage { reason: text(reason) },
        }
    }
}

impl From<ErrorData> for Error {
    fn from(data: ErrorData) -> Self {
        match data {
            ErrorData::Conflict { stream_id, actual, reason } => {
                Self::Conflict(Conflict { stream_id, actual: actual.map(Into::into), reason })
            }
            ErrorData::NotFound { what, name, number, reason } => {
                Self::NotFound(Missing { what, name, number, reason })
            }
            ErrorData::Corrupt { stream_id, seqno, reason } => {
                Self::Corrupt(Corruption { stream_id, seqno, reason })
            }
            ErrorData::RolledBack { claimed_size, claimed_root, size, root, reason } => {
                Self::RolledBack(Box::new(Rollback { claimed_size, claimed_root, size, root, reason }))
            }
            ErrorData::Busy { reason } => Self::Busy(reason),
            ErrorData::Denied { reason } => Self::Denied(reason),
            ErrorData::Invalid { field, reason } => Self::Invalid(InvalidArgument { field, reason }),
            ErrorData::Unavailable { reason } => Self::Unavailable(reason),
            ErrorData::Storage { reason } => Self::Storage(reason),
        }
    }
}
