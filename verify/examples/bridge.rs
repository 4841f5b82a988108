//! A component under wasmtime for programs in other languages: takes calls as JSON lines on standard input and answers
//! each with one, by the component's own types. Time and randomness are fixed, so that another host of the same
//! component can be compared with this one byte for byte.
//!
//! `bridge COMPONENT SEED [GUEST=DIRECTORY]... [--env NAME=VALUE]...`
//!
//! A call: `{"interface": "log", "call": "append", "args": [...]}`; an answer: `{"ok": ...}`, `{"err": ...}` for an error of
//! the component, `{"failed": "..."}` for anything else. Bytes are `{"hex": "..."}`, 64-bit numbers `{"u64": "..."}`, names are
//! in camelCase, a variant is `{"tag", "val"}`. The clock starts at 1,800,000,000,000 ms and moves 1 ms with each reading;
//! random bytes are SHA-256(seed ‖ counter as 8 bytes little endian), one block after the other.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Instance, Linker, ResourceTable, Type, Val};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{FsPerms, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

const START_MS: u64 = 1_800_000_000_000;

struct Host(WasiCtx, ResourceTable);

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.0, table: &mut self.1 }
    }
}

/// One millisecond later each time.
struct Clock(std::sync::atomic::AtomicU64);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

/// SHA-256 of the seed and a counter, block after block.
struct Blocks {
    seed: Vec<u8>,
    counter: u64,
    left: Vec<u8>,
}

impl Blocks {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.left.is_empty() {
                let block = Sha256::new().chain_update(&self.seed).chain_update(self.counter.to_le_bytes());
                self.left = block.finalize().to_vec();
                self.left.reverse();
                self.counter += 1;
            }
            *byte = self.left.pop().unwrap_or_default();
        }
    }
}

impl rand_core::TryRng for Blocks {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.fill(out);
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let component =
        args.next().context("usage: bridge COMPONENT SEED [GUEST=DIRECTORY]... [--env NAME=VALUE]...")?;
    let seed = args.next().context("a seed is missing")?.into_bytes();
    let mut wasi = WasiCtxBuilder::new();
    wasi.wall_clock(Clock(START_MS.into())).insecure_random_seed(7);
    wasi.secure_random(Blocks { seed, counter: 0, left: Vec::new() });
    while let Some(arg) = args.next() {
        let pair = if arg == "--env" { args.next().context("--env wants NAME=VALUE")? } else { arg.clone() };
        let (name, value) = pair.split_once('=').context("GUEST=DIRECTORY or --env NAME=VALUE")?;
        if arg == "--env" {
            wasi.env(name, value);
        } else {
            wasi.preopened_dir(Path::new(value), name, FsPerms::ReadWrite).map_err(|e| anyhow!("{e:#}"))?;
        }
    }
    let engine = Engine::default();
    let component = Component::from_file(&engine, component).map_err(|e| anyhow!("{e:#}"))?;
    let mut linker = Linker::<Host>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(|e| anyhow!("{e:#}"))?;
    let mut store = Store::new(&engine, Host(wasi.build(), ResourceTable::new()));
    let instance = linker.instantiate(&mut store, &component).map_err(|e| anyhow!("{e:#}"))?;
    for line in std::io::stdin().lock().lines() {
        let answer = match call(&mut store, &instance, &line?) {
            Ok(answer) => answer,
            Err(error) => json!({"failed": format!("{error:#}")}),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn call(store: &mut Store<Host>, instance: &Instance, line: &str) -> Result<Value> {
    let said: Value = serde_json::from_str(line)?;
    let text = |name: &str| said[name].as_str().with_context(|| format!("no {name}"));
    let interface = format!("secure-log:log/{}@0.1.0", text("interface")?);
    let exported = instance.get_export_index(&mut *store, None, &interface).context("no such interface")?;
    let index =
        instance.get_export_index(&mut *store, Some(&exported), text("call")?).context("no such function")?;
    let function = instance.get_func(&mut *store, index).context("is no function")?;
    let ty = function.ty(&*store);
    let given = said["args"].as_array().context("no args")?;
    let wanted: Vec<Type> = ty.params().map(|(_, ty)| ty).collect();
    if given.len() != wanted.len() {
        bail!("{} arguments, not {}", wanted.len(), given.len());
    }
    let params =
        given.iter().zip(&wanted).map(|(value, ty)| from_json(value, ty)).collect::<Result<Vec<_>>>()?;
    let mut results = vec![Val::Bool(false); ty.results().count()];
    function.call(&mut *store, &params, &mut results).map_err(|e| anyhow!("{e:#}"))?;
    Ok(match results.first() {
        Some(Val::Result(Ok(value))) => json!({"ok": value.as_deref().map(to_json)}),
        Some(Val::Result(Err(value))) => json!({"err": value.as_deref().map(to_json)}),
        Some(value) => json!({"ok": to_json(value)}),
        None => json!({"ok": null}),
    })
}

fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| {
        let mut letters = word.chars();
        all + &letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    })
}

fn to_json(value: &Val) -> Value {
    match value {
        Val::Bool(b) => json!(b),
        Val::U8(n) => json!(n),
        Val::U16(n) => json!(n),
        Val::U32(n) => json!(n),
        Val::U64(n) => json!({"u64": n.to_string()}),
        Val::String(s) | Val::Enum(s) => json!(s),
        Val::Option(option) => option.as_deref().map_or(Value::Null, to_json),
        Val::List(list) if matches!(list.first(), Some(Val::U8(_))) => {
            let bytes = list.iter().map(|v| if let Val::U8(b) = v { *b } else { 0 });
            json!({"hex": bytes.map(|b| format!("{b:02x}")).collect::<String>()})
        }
        Val::List(list) => list.iter().map(to_json).collect(),
        Val::Tuple(list) => list.iter().map(to_json).collect(),
        Val::Record(fields) => {
            let fields = fields.iter().map(|(name, value)| (camel(name), to_json(value)));
            // Options that are none are left out, as JavaScript does.
            Value::Object(fields.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
        }
        Val::Variant(tag, val) => match val {
            Some(val) => json!({"tag": tag, "val": to_json(val)}),
            None => json!({"tag": tag}),
        },
        other => json!(format!("{other:?}")),
    }
}

fn from_json(value: &Value, ty: &Type) -> Result<Val> {
    let wrong = || anyhow!("{value} is not a {ty:?}");
    Ok(match ty {
        Type::Bool => Val::Bool(value.as_bool().with_context(wrong)?),
        Type::U8 => Val::U8(value.as_u64().and_then(|n| n.try_into().ok()).with_context(wrong)?),
        Type::U16 => Val::U16(value.as_u64().and_then(|n| n.try_into().ok()).with_context(wrong)?),
        Type::U32 => Val::U32(value.as_u64().and_then(|n| n.try_into().ok()).with_context(wrong)?),
        Type::U64 => Val::U64(value["u64"].as_str().and_then(|n| n.parse().ok()).with_context(wrong)?),
        Type::String => Val::String(value.as_str().with_context(wrong)?.to_owned()),
        Type::Enum(_) => Val::Enum(value.as_str().with_context(wrong)?.to_owned()),
        Type::Option(option) if value.is_null() => {
            let _ = option;
            Val::Option(None)
        }
        Type::Option(option) => Val::Option(Some(Box::new(from_json(value, &option.ty())?))),
        Type::List(list) if matches!(list.ty(), Type::U8) => {
            let hex = value["hex"].as_str().with_context(wrong)?;
            let digits = |at: usize| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
            let bytes = (0..hex.len()).step_by(2).map(|at| digits(at).map(Val::U8));
            Val::List(bytes.collect::<Option<_>>().with_context(wrong)?)
        }
        Type::List(list) => {
            let values = value.as_array().with_context(wrong)?;
            Val::List(values.iter().map(|value| from_json(value, &list.ty())).collect::<Result<_>>()?)
        }
        Type::Record(record) => {
            let field = |name: &str| value.get(camel(name)).unwrap_or(&Value::Null);
            let fields = record.fields().map(|f| Ok((f.name.to_owned(), from_json(field(f.name), &f.ty)?)));
            Val::Record(fields.collect::<Result<_>>()?)
        }
        Type::Variant(variant) => {
            let tag = value["tag"].as_str().with_context(wrong)?;
            let case = variant.cases().find(|case| case.name == tag).with_context(wrong)?;
            let val = case.ty.map(|ty| from_json(&value["val"], &ty).map(Box::new)).transpose()?;
            Val::Variant(tag.to_owned(), val)
        }
        _ => bail!("{ty:?} is not among the types of these interfaces"),
    })
}
