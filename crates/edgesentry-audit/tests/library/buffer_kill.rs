//! A device that is killed while it pushes and flushes: what it acknowledged is there, in order, and arrives once.
//!
//! What is killed is the process: whether a power cut loses more is up to SQLite (`synchronous=FULL`) and the disk.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use edgesentry_audit::buffer::SqliteBufferStore;
use edgesentry_audit::*;

use crate::common::*;

const FOLDER: &str = "EDGESENTRY_TEST_BUFFER_FOLDER";
const ROUNDS: u32 = 25;

/// The device: pushes without end, and now and then flushes to what stands for a server, a file with a line for each
/// record. Says on its standard output what it has done.
fn device(folder: &Path) -> ! {
    let mut buffer = OfflineBuffer::new(SqliteBufferStore::open(folder.join("buffer")).unwrap());
    let last = buffer.last(DEVICE).unwrap().unwrap_or(ChainAnchor::START);
    let mut signer = ChainSigner::resume(DEVICE, key(1), last);
    let mut out = std::io::stdout();
    loop {
        let n = signer.last().sequence + 1;
        let record = signer.sign(START_MS + n, &payload(n), format!("{n}.bin"));
        buffer.push(record, payload(n)).unwrap();
        writeln!(out, "pushed {n}").unwrap();
        out.flush().unwrap();
        if n.is_multiple_of(37) {
            let mut server = Server::open(folder);
            buffer.flush_with(|record, payload| server.take(record, payload)).unwrap();
        }
    }
}

/// Keeps what it takes in a file, and takes the next record only.
struct Server {
    file: File,
    records: Vec<AuditRecord>,
}

impl Server {
    fn open(folder: &Path) -> Self {
        let mut file =
            OpenOptions::new().create(true).append(true).read(true).open(folder.join("server")).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // A line that was cut by the kill was not taken.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        file.set_len(text.len() as u64).unwrap();
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { file, records }
    }

    fn take(&mut self, record: &AuditRecord, bytes: &[u8]) -> Result<Delivered, String> {
        assert_eq!(bytes, payload(record.sequence));
        let next = self.records.len() as u64 + 1;
        if record.sequence < next {
            assert_eq!(self.records[record.sequence as usize - 1], *record);
            return Ok(Delivered::Duplicate);
        }
        if record.sequence > next {
            return Err(format!("record {} came, and {next} never did", record.sequence));
        }
        writeln!(self.file, "{}", serde_json::to_string(record).unwrap()).unwrap();
        self.records.push(record.clone());
        Ok(Delivered::Accepted)
    }
}

/// Not a test of its own: what the test below runs as another process.
#[test]
fn device_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        device(Path::new(&folder));
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "buffer_kill::device_process", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_device_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut seed = 12345u64;
    for round in 0..ROUNDS {
        let mut child = start(folder.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut left = 1 + (seed >> 33) % 80;
        // The harness of the tests writes lines of its own.
        let pushed = lines.filter_map(|line| line.unwrap().rsplit_once("pushed ")?.1.parse::<u64>().ok());
        for n in pushed {
            assert!(n > acknowledged, "round {round} began again at {n}");
            acknowledged = n;
            left = left.saturating_sub(1);
            if left == 0 {
                // It goes on meanwhile; what it says until it is dead is read as well.
                std::thread::sleep(Duration::from_micros((seed >> 20) % 5_000));
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        // What the device said is in the buffer or has arrived.
        let mut buffer = OfflineBuffer::new(SqliteBufferStore::open(folder.path().join("buffer")).unwrap());
        let stored = buffer.last(DEVICE).unwrap().map_or(0, |last| last.sequence);
        assert!(stored == acknowledged || stored == acknowledged + 1, "{stored} of {acknowledged}");
        acknowledged = stored;
        if round % 5 == 4 {
            let mut server = Server::open(folder.path());
            buffer.flush_with(|record, payload| server.take(record, payload)).unwrap();
            assert_eq!(server.records.len() as u64, acknowledged);
        }
    }
    assert!(acknowledged >= u64::from(ROUNDS), "{acknowledged}");
    let server = Server::open(folder.path());
    assert_eq!(verify_chain_with_keys(&server.records, &[key(1).verifying_key()]), Ok(()));
    assert_eq!(server.records.len() as u64, acknowledged);
}
