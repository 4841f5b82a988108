//! Keeps a log in a file: `cargo run --release -p secure-log-host --example embed -- dist/secure-log-sqlite.wasm audit.db`

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use secure_log_host::types::Severity;
use secure_log_host::{Artifact, Guest, Site, StorePath};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let artifact = PathBuf::from(args.next().ok_or("which component? dist/secure-log-sqlite.wasm")?);
    let store = StorePath::parse(&args.next().unwrap_or("audit.db".into()))?;

    // Compiled once, and taken from the cache from then on.
    let artifact = Artifact::load(&artifact)?;
    let limits =
        Guest { memory_limit: Some(256 << 20), deadline: Some(Duration::from_secs(30)), ..Guest::default() };
    let site = Site::local(&store, &limits, Duration::from_secs(5))?;
    let mut log = site.open(&artifact)?;

    let entry = log.append("doors", "door.opened", Severity::Informational, "lobby", b"{\"door\":7}")?;
    println!("entry {} is durable", entry.seqno);
    let report = log.verify_chain("doors", 1, entry.seqno)?;
    println!("{} entries hold", report.entries_checked);
    // Without SECURE_LOG_KEYSTORE_DIR the key ends with this instance.
    if let Some(checkpoint) = log.seal(Some("audit"))?.checkpoint {
        print!("{}", checkpoint.note);
    }
    Ok(log.close()?)
}
