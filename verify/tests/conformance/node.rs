//! The stores in Node: the rules, with each call going to a process of `packages/secure-log/test/bridge.js`, in which the
//! store's component runs as JavaScript.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use secure_log::error::{Conflict, Corruption, InvalidArgument, Missing};
use secure_log::model::{Hash, QueryFilter, StreamHead};
use secure_log::store::{
    FoundPage, FoundRow, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log::{Error, Result};
use serde_json::{Value, json};

const BRIDGE: &str = "../packages/secure-log/test/bridge.js";
/// Where scripts/test-javascript.sh puts the transpiled store components.
const STORES: &str = "../packages/secure-log/test-stores";

/// Which store it is.
trait Which {
    const NAME: &'static str;
}

struct Sqlite;
struct File;

impl Which for Sqlite {
    const NAME: &'static str = "sqlite";
}

impl Which for File {
    const NAME: &'static str = "file";
}

struct InNode<W> {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    which: std::marker::PhantomData<W>,
}

impl<W> Drop for InNode<W> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn number(n: u64) -> Value {
    json!({"u64": n.to_string()})
}

fn bytes(bytes: &[u8]) -> Value {
    json!({"hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()})
}

fn head_json(head: &StreamHead) -> Value {
    json!({"streamId": head.stream_id, "seqno": number(head.seqno), "entryHash": bytes(&head.entry_hash)})
}

fn row_json(row: &Row) -> Value {
    json!({
        "seqno": number(row.seqno), "entryHash": bytes(&row.entry_hash), "header": bytes(&row.header),
        "payload": row.payload.as_deref().map(bytes), "timeMs": number(row.time_ms), "severity": row.severity,
        "eventType": row.event_type, "producer": row.producer, "id": row.id,
    })
}

fn as_number(value: &Value) -> u64 {
    value["u64"].as_str().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

fn as_bytes(value: &Value) -> Vec<u8> {
    let hex = value["hex"].as_str().unwrap_or_else(|| panic!("{value} is not bytes"));
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn as_hash(value: &Value) -> Hash {
    as_bytes(value).try_into().expect("a hash of 32 bytes")
}

fn as_text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn optional<T>(value: &Value, read: impl FnOnce(&Value) -> T) -> Option<T> {
    (!value.is_null()).then(|| read(value))
}

fn as_list<T>(value: &Value, read: impl FnMut(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(read).collect()
}

fn as_head(value: &Value) -> StreamHead {
    StreamHead {
        stream_id: as_text(&value["streamId"]),
        seqno: as_number(&value["seqno"]),
        entry_hash: as_hash(&value["entryHash"]),
    }
}

fn as_row(value: &Value) -> Row {
    Row {
        seqno: as_number(&value["seqno"]),
        entry_hash: as_hash(&value["entryHash"]),
        header: as_bytes(&value["header"]),
        payload: optional(&value["payload"], as_bytes),
        time_ms: as_number(&value["timeMs"]),
        severity: value["severity"].as_u64().unwrap() as u8,
        event_type: as_text(&value["eventType"]),
        producer: as_text(&value["producer"]),
        id: optional(&value["id"], as_text),
    }
}

fn as_object(asked: ObjectKind, value: &Value) -> Object {
    assert_eq!(value["kind"], asked.name(), "an object of another kind than asked for");
    Object { kind: asked, key: as_text(&value["key"]), value: as_bytes(&value["value"]) }
}

fn as_error(value: &Value) -> Error {
    let val = &value["val"];
    match value["tag"].as_str() {
        Some("conflict") => Error::Conflict(Conflict {
            stream_id: as_text(&val["streamId"]),
            actual: optional(&val["actual"], as_head),
            reason: as_text(&val["reason"]),
        }),
        Some("not-found") => Error::NotFound(Missing {
            what: as_text(&val["what"]),
            name: as_text(&val["name"]),
            number: optional(&val["number"], as_number),
            reason: as_text(&val["reason"]),
        }),
        Some("corrupt") => Error::Corrupt(Corruption {
            stream_id: as_text(&val["streamId"]),
            seqno: as_number(&val["seqno"]),
            reason: as_text(&val["reason"]),
        }),
        Some("invalid") => {
            Error::Invalid(InvalidArgument { field: as_text(&val["field"]), reason: as_text(&val["reason"]) })
        }
        Some("busy") => Error::Busy(as_text(val)),
        Some("denied") => Error::Denied(as_text(val)),
        Some("unavailable") => Error::Unavailable(as_text(val)),
        Some("storage") => Error::Storage(as_text(val)),
        other => panic!("no store says {other:?}: {value}"),
    }
}

impl<W> InNode<W> {
    /// Makes a call; an answer that is neither a result nor an error of the store breaks every rule.
    fn call(&mut self, name: &str, args: Value) -> Result<Value> {
        writeln!(self.input, "{}", json!({"interface": "store", "call": name, "args": args}))
            .expect("Node reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("Node answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{name}: {line:?}: {e}"));
        match (answer.get("ok"), answer.get("err")) {
            (Some(ok), None) => Ok(ok.clone()),
            (None, Some(err)) => Err(as_error(err)),
            _ => panic!("{name}: {answer}"),
        }
    }
}

impl<W: Which> OpenStore for InNode<W> {
    fn open(config: &str) -> Result<Self> {
        let path = Path::new(config.split('?').next().unwrap_or(config));
        let mut command = Command::new("node");
        command.args([BRIDGE, W::NAME, "seed", "--dist", STORES]);
        if let Some(dir) = path.parent().filter(|dir| dir.is_dir()) {
            command.arg(format!("{0}={0}", dir.display()));
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node starts");
        let input = process.stdin.take().expect("a pipe");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut this = Self { process, input, output, which: std::marker::PhantomData };
        this.call("open", json!([config]))?;
        Ok(this)
    }
}

impl<W: Which> SecureLogStore for InNode<W> {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        let appends = appends.iter().map(|a| {
            json!({
                "streamId": a.prior.stream_id, "priorSeqno": number(a.prior.seqno),
                "priorHash": bytes(&a.prior.entry_hash), "rows": a.rows.iter().map(row_json).collect::<Vec<_>>(),
            })
        });
        let objects = objects.iter().map(|o| {
            json!({
                "kind": o.kind.name(), "key": o.key, "value": bytes(&o.value),
                "expected": o.expected.as_deref().map(bytes),
            })
        });
        let expect = expect.iter().map(head_json);
        let args =
            json!([appends.collect::<Vec<_>>(), expect.collect::<Vec<_>>(), objects.collect::<Vec<_>>(),]);
        self.call("append", args).map(drop)
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        Ok(optional(&self.call("head", json!([stream_id]))?, as_head))
    }

    fn read_rows(&mut self, stream_id: &str, from: u64, limit: u32, payloads: bool) -> Result<Vec<Row>> {
        let rows = self.call("read-rows", json!([stream_id, number(from), limit, payloads]))?;
        Ok(as_list(&rows, as_row))
    }

    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        Ok(optional(&self.call("find-id", json!([stream_id, id]))?, as_number))
    }

    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        Ok(as_list(&self.call("list-heads", json!([after, limit]))?, as_head))
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        let severity = filter.min_severity.map(|s| format!("{s:?}").to_lowercase());
        let filter = json!({
            "streamId": filter.stream_id, "fromMs": filter.from_ms.map(number), "toMs": filter.to_ms.map(number),
            "eventType": filter.event_type, "minSeverity": severity, "producer": filter.producer,
        });
        let page = self.call("query", json!([filter, cursor, limit]))?;
        let found = |f: &Value| FoundRow { stream_id: as_text(&f["streamId"]), row: as_row(&f["row"]) };
        Ok(FoundPage { rows: as_list(&page["rows"], found), next: optional(&page["next"], as_text) })
    }

    fn read_object(&mut self, of: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(optional(&self.call("read-object", json!([of.name(), key]))?, as_bytes))
    }

    fn list_objects(
        &mut self,
        of: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        let objects = self.call("list-objects", json!([of.name(), prefix, after, limit]))?;
        Ok(as_list(&objects, |object| as_object(of, object)))
    }

    fn last_object(&mut self, of: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        let object = self.call("last-object", json!([of.name(), prefix]))?;
        Ok(optional(&object, |object| as_object(of, object)))
    }

    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        let tiles = tiles.iter().map(
            |tile| json!({"level": tile.level, "index": number(tile.index), "hashes": bytes(&tile.hashes)}),
        );
        self.call("write-tiles", json!([stream_id, tiles.collect::<Vec<_>>()])).map(drop)
    }

    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        Ok(optional(&self.call("read-tile", json!([stream_id, level, number(index)]))?, as_bytes))
    }

    fn erase_payloads(&mut self, stream_id: &str, from: u64, to: u64) -> Result<u64> {
        Ok(as_number(&self.call("erase-payloads", json!([stream_id, number(from), number(to)]))?))
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        self.call("backup", json!([config])).map(drop)
    }

    fn close(mut self) -> Result<()> {
        self.call("close", json!([])).map(drop)
    }
}

fn every_rule<W: Which + 'static>() {
    if !Path::new(STORES).join(W::NAME).is_dir() {
        println!("not run: scripts/test-javascript.sh has not built {STORES}");
        return;
    }
    super::follows_every_rule::<InNode<W>>();
}

#[test]
fn sqlite_in_node_follows_every_rule() {
    every_rule::<Sqlite>();
}

#[test]
fn file_in_node_follows_every_rule() {
    every_rule::<File>();
}
