//! The endpoint under `wasmtime serve`: its rates, what goes over the wire, and whether it slows down as the log grows.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use secure_log::SecureLog;
use secure_log::model::{Event, Severity};
use secure_log::store::SecureLogStore;

use super::Bench;
use super::append::{EVENT_TYPE, PRODUCER};
use super::measure::{Pair, in_turns, time};
use super::native;
use super::table::{Row, Table};
use crate::crowd::{RemoteLog, connect};
use crate::endpoint::{ARTIFACT, Form, Serve, Settings, wasmtime};

const CLIENTS: usize = 16;
/// Calls of each client in a round.
const CALLS: usize = 20;
const PAYLOAD: usize = 256;
const BATCH: usize = 100;
const SMALL: u64 = 1_000;

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    if let Err(missing) = wasmtime() {
        table.note(format!("the endpoint was NOT measured: {missing}"));
        return Ok(());
    }
    rates(bench, table, Form::Stock, "stock `wasmtime serve`", 0.3)?;
    rates(bench, table, Form::Kept, "the faster form", 0.5)?;
    batches(bench, table)?;
    wire(bench, table)?;
    growth(bench, table)
}

fn settings(bench: &Bench, name: &str) -> anyhow::Result<Settings> {
    Settings::new(bench.dist.join(ARTIFACT), bench.dir.path(), name)
}

fn event(stream: &str) -> Event {
    Event::new(stream, EVENT_TYPE, Severity::Informational, PRODUCER, vec![7; PAYLOAD])
}

fn append(log: &mut RemoteLog, stream: &str, count: usize) -> anyhow::Result<()> {
    log.append_batch(vec![event(stream); count], &[])?;
    Ok(())
}

/// Each client makes its calls, all at once.
fn all_at_once(
    logs: &mut [RemoteLog],
    call: impl Fn(&mut RemoteLog, &str) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    at_once(logs.iter_mut().enumerate().map(|(n, log)| {
        let (call, stream) = (&call, format!("client-{n}"));
        move || (0..CALLS).try_for_each(|_| call(log, &stream))
    }))
}

/// Runs each on a thread of its own, all at once.
pub fn at_once<F>(works: impl Iterator<Item = F>) -> anyhow::Result<()>
where
    F: FnOnce() -> anyhow::Result<()> + Send,
{
    std::thread::scope(|scope| {
        let threads: Vec<_> = works.map(|work| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })
}

fn rates(bench: &Bench, table: &mut Table, form: Form, what: &str, target: f64) -> anyhow::Result<()> {
    table.doing(&format!("{what}, {CLIENTS} clients"));
    let settings = settings(bench, &format!("{form:?}.db"))?;
    let serve = Serve::start(&settings, form)?;
    let logs = (0..CLIENTS)
        .map(|n| {
            let mut log = connect(serve.url(), settings.token.as_deref())?;
            append(&mut log, &format!("client-{n}"), 1)?;
            Ok(log)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let logs = RefCell::new(logs);
    let calls = u32::try_from(CLIENTS * CALLS)?;
    let pair = in_turns(
        bench.sizes.rounds,
        calls,
        || {
            all_at_once(&mut logs.borrow_mut(), |log, stream| {
                log.head(stream)?.context("no head")?;
                Ok(())
            })
        },
        || all_at_once(&mut logs.borrow_mut(), |log, stream| append(log, stream, 1)),
    )?;
    let per_second = |time: std::time::Duration| 1.0 / time.as_secs_f64();
    table.add(Row::rates(
        format!("durable appends of {CLIENTS} clients through {what} vs its `head`"),
        (per_second(pair.second), per_second(pair.first)),
        pair.ratio,
        target,
    ));
    Ok(())
}

fn batches(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    table.doing("batches through the endpoint");
    let settings = settings(bench, "batches.db")?;
    let serve = Serve::start(&settings, Form::Stock)?;
    let log = RefCell::new(connect(serve.url(), settings.token.as_deref())?);
    let Pair { first, second, ratio } = in_turns(
        bench.sizes.rounds,
        20,
        || (0..20).try_for_each(|_| append(&mut log.borrow_mut(), "s", 1)),
        || (0..20).try_for_each(|_| append(&mut log.borrow_mut(), "s", BATCH)),
    )?;
    let entries = |time: std::time::Duration, of: usize| of as f64 / time.as_secs_f64();
    table.add(Row::rates(
        format!("entries in batches of {BATCH} vs one by one, one client, stock"),
        (entries(second, BATCH), entries(first, 1)),
        ratio * BATCH as f64,
        25.0,
    ));
    Ok(())
}

/// Bytes of requests and answers, HTTP included, beside headers and stored payloads of the entries.
fn wire(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    table.doing("bytes on the wire");
    let settings = settings(bench, "wire.db")?;
    let serve = Serve::start(&settings, Form::Stock)?;
    let meter = Meter::start(serve.port())?;
    let mut log = connect(&meter.url, settings.token.as_deref())?;
    append(&mut log, "s", 1)?;
    for (count, payload, judged) in [(BATCH, PAYLOAD, true), (1, PAYLOAD, false), (1, 4096, false)] {
        let first = log.head("s")?.map_or(0, |head| head.seqno) + 1;
        let before = meter.bytes();
        log.append_batch(vec![Event { payload: vec![7; payload], ..event("s") }; count], &[])?;
        let bytes = meter.bytes() - before;
        let rows = log.store_mut().read_rows("s", first, u32::try_from(count)?, true)?;
        let own: usize =
            rows.iter().map(|row| row.header.len() + row.payload.as_ref().map_or(0, Vec::len)).sum();
        let ratio = bytes as f64 / own as f64;
        let each = own / rows.len().max(1);
        if judged {
            table.add(Row::at_most(
                format!("bytes on the wire per entry in a batch of {count}, vs its own {each}"),
                ratio,
                1.6,
                "×",
            ));
        } else {
            table.note(format!(
                "an entry of {each} bytes that is appended alone is {ratio:.2}× on the wire ({bytes} bytes with \
                 HTTP's headers, both ways)"
            ));
        }
    }
    Ok(())
}

fn growth(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let size = bench.sizes.large;
    table.doing("the endpoint of a large log");
    for (name, entries) in [("served-small.db", SMALL), ("served-large.db", size)] {
        let path = bench.path(name);
        let mut log = native::open(&path.to_string_lossy())?;
        let mut left = usize::try_from(entries)?;
        while left > 0 {
            let now = left.min(10_000);
            log.append_batch(vec![Event { payload: vec![7; 100], ..event("s") }; now], &[])?;
            left -= now;
        }
        log.into_store().close()?;
    }
    for (what, call) in [("append", true), ("head", false)] {
        let clients = ["served-large.db", "served-small.db"].map(|name| -> anyhow::Result<_> {
            let settings = settings(bench, name)?;
            let serve = Serve::start(&settings, Form::Stock)?;
            let log = connect(serve.url(), settings.token.as_deref())?;
            Ok((serve, RefCell::new(log)))
        });
        let [large, small] = clients;
        let ((_large, large), (_small, small)) = (large?, small?);
        let work = |log: &RefCell<RemoteLog>| {
            (0..20).try_for_each(|_| match call {
                true => append(&mut log.borrow_mut(), "s", 1),
                false => Ok(log.borrow_mut().head("s").map(drop)?),
            })
        };
        let pair = in_turns(bench.sizes.rounds * 2, 20, || work(&large), || work(&small))?;
        table.add(Row::ratio(format!("a request (`{what}`) at {size} entries vs at {SMALL}"), pair, 1.3));
    }
    let settings = settings(bench, "served-large.db")?;
    let serve = Serve::start(&settings, Form::Stock)?;
    let mut log = connect(serve.url(), settings.token.as_deref())?;
    let took = time(&mut || Ok(log.verify_chain("s", 1, size).map(drop)?))?;
    table.note(format!(
        "verify-chain of {size} entries through the endpoint took {:.1} s ({:.0} entries/s)",
        took.as_secs_f64(),
        size as f64 / took.as_secs_f64()
    ));
    Ok(())
}

/// Passes everything on and counts it.
struct Meter {
    url: String,
    bytes: Arc<AtomicU64>,
}

impl Meter {
    fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = bytes.clone();
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for stream in [&caller, &server] {
                    let _ = stream.set_nodelay(true);
                }
                let (Ok(back), Ok(forth)) = (server.try_clone(), caller.try_clone()) else { continue };
                for (from, to) in [(caller, server), (back, forth)] {
                    let counted = counted.clone();
                    std::thread::spawn(move || pass_on(from, to, &counted));
                }
            }
        });
        Ok(Self { url, bytes })
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, counted: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        counted.fetch_add(n as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
