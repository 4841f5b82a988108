//! Sends signed records to a server as fast as it takes them, and says how fast that is.
//!
//! ```text
//! edgesentry-load devices --devices 64 --seed run-1             # lines of <id>=<public key>, for --device
//! edgesentry-load run ADDRESS --connections 64 --records 50000  # POST /api/v1/ingest
//! edgesentry-load run ADDRESS --get /healthz                    # the same without records
//! ```
//!
//! Each connection has devices of its own, whose keys derive from the seed; records are signed before the clock runs.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use edgesentry_audit::gate::Registration;
use edgesentry_audit::http::INGEST_PATH;
use edgesentry_audit::{AuditRecord, build_signed_record, compute_payload_hash};
use edgesentry_server::admin::AdminClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

type Error = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: edgesentry-load devices [--devices N] [--seed TEXT]
       edgesentry-load run ADDRESS [--connections N] [--records N] [--payload BYTES] [--devices N] [--seed TEXT]
                       [--admin SOCKET] [--get PATH] [--json]

--connections  64 by default
--records      of all connections together, 20000 by default
--payload      bytes a record, 256 by default
--devices      as many as connections by default
--seed         keys and ids derive from it; a device's chain begins with each run, so take another for each store
--admin        registers the devices through the server's admin socket first
--get          asks for this path instead of sending records";

#[derive(Clone)]
struct Options {
    command: String,
    address: Option<SocketAddr>,
    connections: usize,
    records: usize,
    payload: usize,
    devices: Option<usize>,
    seed: String,
    admin: Option<PathBuf>,
    get: Option<String>,
    json: bool,
}

fn options() -> Result<Options, Error> {
    let mut arguments = std::env::args().skip(1);
    let mut options = Options {
        command: arguments.next().ok_or(USAGE)?,
        address: None,
        connections: 64,
        records: 20_000,
        payload: 256,
        devices: None,
        seed: "load".into(),
        admin: None,
        get: None,
        json: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--connections" => options.connections = value()?.parse()?,
            "--records" => options.records = value()?.parse()?,
            "--payload" => options.payload = value()?.parse()?,
            "--devices" => options.devices = Some(value()?.parse()?),
            "--seed" => options.seed = value()?,
            "--admin" => options.admin = Some(value()?.into()),
            "--get" => options.get = Some(value()?),
            "--json" => options.json = true,
            address if options.address.is_none() && !address.starts_with('-') => {
                options.address = Some(address.parse()?);
            }
            other => return Err(format!("{other:?} is unknown\n{USAGE}").into()),
        }
    }
    let connections = options.connections;
    if connections == 0 || options.devices.is_some_and(|devices| devices < connections) {
        return Err("each connection needs a device of its own".into());
    }
    Ok(options)
}

fn device(seed: &str, number: usize) -> (String, SigningKey) {
    let key = SigningKey::from_bytes(&compute_payload_hash(format!("{seed}/{number}").as_bytes()));
    (format!("{seed}-{number:05}"), key)
}

fn main() -> ExitCode {
    let done = options().and_then(|options| match options.command.as_str() {
        "devices" => {
            for number in 0..options.devices.unwrap_or(options.connections) {
                let (id, key) = device(&options.seed, number);
                println!("{id}={}", hex::encode(key.verifying_key().as_bytes()));
            }
            Ok(())
        }
        "run" => run(&options),
        _ => Err(USAGE.into()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgesentry-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The requests of one connection, each as it goes over the wire.
fn requests(options: &Options, connection: usize, host: SocketAddr) -> Result<Vec<Vec<u8>>, Error> {
    let count = options.records / options.connections;
    if let Some(path) = &options.get {
        return Ok(vec![format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes(); count]);
    }
    let devices = options.devices.unwrap_or(options.connections);
    let mut own: Vec<_> = (connection..devices)
        .step_by(options.connections)
        .map(|number| (device(&options.seed, number), AuditRecord::zero_hash()))
        .collect();
    let mut requests = Vec::with_capacity(count);
    let many = own.len();
    for n in 0..count {
        let ((id, key), prev) = &mut own[n % many];
        let sequence = (n / many + 1) as u64;
        let payload: Vec<u8> = (0..options.payload).map(|i| (i * 31 + n * 7) as u8).collect();
        let reference = format!("{id}/{sequence}.bin");
        let record = build_signed_record(
            id.as_str(),
            sequence,
            1_700_000_000_000 + sequence,
            &payload,
            *prev,
            reference,
            key,
        );
        *prev = record.hash();
        let mut body = String::from("{\"record\":");
        body += &serde_json::to_string(&record)?;
        write!(body, ",\"raw_payload_hex\":\"{}\"}}", hex::encode(&payload))?;
        let head = format!(
            "POST {INGEST_PATH} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        requests.push((head + &body).into_bytes());
    }
    Ok(requests)
}

fn run(options: &Options) -> Result<(), Error> {
    let address = options.address.ok_or(USAGE)?;
    if let Some(socket) = &options.admin {
        let mut admin = AdminClient::connect(socket)?;
        for number in 0..options.devices.unwrap_or(options.connections) {
            let (id, key) = device(&options.seed, number);
            admin.register(&id, &Registration::new(key.verifying_key()))?;
        }
    }
    let work: Vec<_> =
        (0..options.connections).map(|n| requests(options, n, address)).collect::<Result<_, _>>()?;
    let wanted = if options.get.is_some() { 200 } else { 202 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (took, mut times, others) = runtime.block_on(drive(address, work, wanted))?;
    times.sort_unstable();
    let at = |share: f64| {
        let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(at).copied().unwrap_or_default()
    };
    let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
    let rate = times.len() as f64 / took.as_secs_f64();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    if options.json {
        let result = serde_json::json!({
            "requests": times.len(), "seconds": took.as_secs_f64(), "per_second": rate,
            "p50_ms": ms(p50), "p99_ms": ms(p99), "max_ms": ms(most), "other_answers": others,
        });
        println!("{result}");
    } else {
        println!(
            "{} requests in {:.2} s: {rate:.0}/s, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; {others} other answers than {wanted}",
            times.len(),
            took.as_secs_f64(),
            ms(p50),
            ms(p99),
            ms(most)
        );
    }
    if others > 0 { Err(format!("{others} answers were not {wanted}").into()) } else { Ok(()) }
}

async fn drive(
    address: SocketAddr,
    work: Vec<Vec<Vec<u8>>>,
    wanted: u16,
) -> Result<(Duration, Vec<Duration>, u64), Error> {
    let start = Arc::new(Barrier::new(work.len() + 1));
    let others = Arc::new(AtomicU64::new(0));
    let mut connections = tokio::task::JoinSet::new();
    for requests in work {
        let (start, others) = (start.clone(), others.clone());
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connections.spawn(async move {
            let mut times = Vec::with_capacity(requests.len());
            let mut answer = Vec::with_capacity(4096);
            start.wait().await;
            for request in requests {
                let begun = Instant::now();
                stream.write_all(&request).await?;
                let (status, body) = receive(&mut stream, &mut answer).await?;
                times.push(begun.elapsed());
                if status != wanted && others.fetch_add(1, Ordering::Relaxed) == 0 {
                    eprintln!("{status}: {}", String::from_utf8_lossy(&body));
                }
            }
            Ok::<_, Error>(times)
        });
    }
    start.wait().await;
    let begun = Instant::now();
    let mut times = Vec::new();
    while let Some(done) = connections.join_next().await {
        times.extend(done??);
    }
    Ok((begun.elapsed(), times, others.load(Ordering::Relaxed)))
}

/// Status and body of the next answer.
async fn receive(stream: &mut TcpStream, read: &mut Vec<u8>) -> Result<(u16, Vec<u8>), Error> {
    read.clear();
    loop {
        if stream.read_buf(read).await? == 0 {
            return Err("the server ended a connection".into());
        }
        let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) else { continue };
        let head = std::str::from_utf8(&read[..end])?;
        let status = head.split(' ').nth(1).ok_or("an answer without a status")?.parse()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = end + length.map_or(Ok(0), str::parse::<usize>)?;
        while read.len() < whole {
            if stream.read_buf(read).await? == 0 {
                return Err("the server ended a connection".into());
            }
        }
        return Ok((status, read[end..whole].to_vec()));
    }
}
