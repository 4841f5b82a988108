//! `eds serve` under load, beside the same server saying that it is alive; and its memory with many devices.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::Bench;
use super::table::{Row, Table};
use crate::report::progress;

const ARTIFACT: &str = "edgesentry-ingest-sqlite.wasm";
const CONNECTIONS: usize = 64;
const PAYLOAD: usize = 256;
/// How long a server may take to listen: it compiles its component the first time.
const START: Duration = Duration::from_secs(120);
/// Devices and records of each run that fills the large store: 10 records a device.
const PART_DEVICES: usize = 10_000;
const PART_RECORDS: usize = 100_000;
/// Runs that fill it.
const PARTS: usize = 10;

/// One record a request on 64 connections, in turns with `/healthz`.
pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let Some((programs, build)) = ready(bench, table, "`eds serve` under load")? else { return Ok(()) };
    table.doing(&format!("eds serve, {build}"));
    let server = Server::start(&programs, bench, "serve.db")?;
    let (rounds, records) = if bench.sizes.rounds > 10 { (7, 40_000) } else { (3, 20_000) };
    let (mut ratios, mut taken, mut healthy) = (Vec::new(), Vec::new(), Vec::new());
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=rounds {
        let health = server.load(&["--get", "/healthz", "--records", &(records * 3).to_string()])?;
        let (seed, records) = (format!("round-{round}"), records.to_string());
        let ingest = server.load(&["--records", &records, "--seed", &seed, "--admin", server.socket()?])?;
        if round > 0 {
            let (each, alive) = (number(&ingest, "per_second")?, number(&health, "per_second")?);
            ratios.push(each / alive);
            taken.push(each);
            healthy.push(alive);
            p50.push(number(&ingest, "p50_ms")?);
            p99.push(number(&ingest, "p99_ms")?);
        }
    }
    table.add(Row::rates(
        format!(
            "`eds serve`, {build}: {CONNECTIONS} connections, one record a request, durable, vs `/healthz`"
        ),
        (middle(&mut taken), middle(&mut healthy)),
        middle(&mut ratios),
        0.2,
    ));
    table.note(format!(
        "`eds serve` answers 202 with p50 {:.1} ms, p99 {:.1} ms (medians of {rounds} rounds of {records} records); \
         {:.0} MiB resident afterwards",
        middle(&mut p50),
        middle(&mut p99),
        server.mib("VmRSS")?,
    ));
    server.stop()
}

/// Memory of a server with 100,000 devices and 1,000,000 records.
pub fn devices(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let Some((programs, build)) = ready(bench, table, "memory of `eds serve`")? else { return Ok(()) };
    table.doing(&format!("{} devices, eds serve, {build}", PART_DEVICES * PARTS));
    let server = Server::start(&programs, bench, "devices.db")?;
    let (devices, records) = (PART_DEVICES.to_string(), PART_RECORDS.to_string());
    let bar = progress("registering devices and sending records", Some(PARTS as u64));
    let begun = Instant::now();
    let mut rates = Vec::new();
    for part in 0..PARTS {
        let seed = format!("part-{part}");
        let taken = server.load(&[
            "--devices",
            &devices,
            "--records",
            &records,
            "--seed",
            &seed,
            "--admin",
            server.socket()?,
        ])?;
        rates.push(number(&taken, "per_second")?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (all_devices, all_records) = (PART_DEVICES * PARTS, PART_RECORDS / CONNECTIONS * CONNECTIONS * PARTS);
    table.add(Row::at_most(
        format!(
            "`eds serve`, {build}: most memory resident with {all_devices} devices and {all_records} records"
        ),
        server.mib("VmHWM")?,
        300.0,
        " MiB",
    ));
    let size = fs::metadata(bench.path("devices.db"))?.len() as f64 / 1e9;
    table.note(format!(
        "{all_devices} devices and {all_records} records took {:.0} s, registrations included; {:.0} records/s at first, \
         {:.0} at the end; {:.0} MiB resident at the end, store {size:.2} GB",
        begun.elapsed().as_secs_f64(),
        rates.first().copied().unwrap_or_default(),
        rates.last().copied().unwrap_or_default(),
        server.mib("VmRSS")?,
    ));
    server.stop()
}

/// The programs beside this one.
struct Programs {
    eds: PathBuf,
    load: PathBuf,
    artifact: PathBuf,
}

/// The programs and the component's build: the wide one where there is one, as `eds` carries it.
fn ready(bench: &Bench, table: &mut Table, what: &str) -> anyhow::Result<Option<(Programs, &'static str)>> {
    let here = std::env::current_exe()?;
    let beside = |name: &str| here.with_file_name(name);
    let (wide, portable) = (bench.dist.join("wide").join(ARTIFACT), bench.dist.join(ARTIFACT));
    let (artifact, build) = if wide.is_file() { (wide, "wide") } else { (portable, "portable") };
    let programs = Programs { eds: beside("eds"), load: beside("edgesentry-load"), artifact };
    for needed in [&programs.eds, &programs.load, &programs.artifact] {
        if !needed.is_file() {
            table.note(format!(
                "{what} was NOT measured: {} is missing (scripts/build-components.sh, then cargo build --release --workspace)",
                needed.display()
            ));
            return Ok(None);
        }
    }
    Ok(Some((programs, build)))
}

/// A server of its own process.
struct Server {
    child: Child,
    address: String,
    socket: PathBuf,
    load: PathBuf,
}

impl Server {
    /// On a free port, with a new store.
    fn start(programs: &Programs, bench: &Bench, name: &str) -> anyhow::Result<Self> {
        let store = bench.path(name);
        let log = File::create(bench.path("serve.log"))?;
        let mut child = Command::new(&programs.eds)
            .args(["serve", "--addr", "127.0.0.1:0", "--stack"])
            .arg(&programs.artifact)
            .arg("--store")
            .arg(&store)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", programs.eds.display()))?;
        let stderr = child.stderr.take().context("eds has no stderr")?;
        let (sender, lines) = channel();
        // Reads on to the end, so that writing never blocks the server.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let socket = store.with_file_name(format!("{name}.sock"));
        let mut server = Self { child, address: String::new(), socket, load: programs.load.clone() };
        let mut said = String::new();
        loop {
            match lines.recv_timeout(START) {
                Ok(line) => match line.strip_prefix("listening on http://") {
                    Some(address) => {
                        server.address = address.to_owned();
                        return Ok(server);
                    }
                    None => said.extend([line.as_str(), "\n"]),
                },
                Err(RecvTimeoutError::Timeout) => bail!("eds serve does not listen after {START:?}: {said}"),
                Err(RecvTimeoutError::Disconnected) => bail!("eds serve ended: {said}"),
            }
        }
    }

    fn socket(&self) -> anyhow::Result<&str> {
        self.socket.to_str().context("the socket's path is not UTF-8")
    }

    /// What `edgesentry-load` measures.
    fn load(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let (connections, payload) = (CONNECTIONS.to_string(), PAYLOAD.to_string());
        let output = Command::new(&self.load)
            .args(["run", &self.address, "--json", "--connections", &connections, "--payload", &payload])
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {}", self.load.display()))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("edgesentry-load gave no JSON")
    }

    /// A figure of `/proc/<pid>/status` that is in KiB.
    fn mib(&self, name: &str) -> anyhow::Result<f64> {
        let path = Path::new("/proc").join(self.child.id().to_string()).join("status");
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        Ok(kib.with_context(|| format!("no {name} in {}", path.display()))? / 1024.0)
    }

    /// Stops it as an operator does; what it took must be closed in order.
    fn stop(mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.context("no process id")?, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "eds serve ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(result: &Value, name: &str) -> anyhow::Result<f64> {
    result[name].as_f64().with_context(|| format!("edgesentry-load gave no {name}"))
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
