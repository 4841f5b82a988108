//! Keeps a log in a file. Run it from `verify/`:
//! `cargo run --release -p secure-log-host --example embed -- ../dist/secure-log-sqlite.wasm audit.db`

use std::error::Error;
use std::time::Duration;

use secure_log_host::HostedLog;
use secure_log_host::types::Severity;

/// Writes an entry, verifies it, and signs a checkpoint.
pub fn keep_a_log(component: &str, store: &str) -> Result<(), Box<dyn Error>> {
    let keys = format!("{store}.keys");
    std::fs::create_dir_all(&keys)?;
    // The component sees the directory of the store, that of its keys, and nothing else.
    let mut log = HostedLog::builder()
        .memory_limit(256 << 20)
        .deadline(Duration::from_secs(30))
        .keys(&keys)
        .make_missing_keys("ed25519")
        .open(component, store)?;

    let entry = log.append("doors", "door.opened", Severity::Informational, "lobby", b"{\"door\":7}")?;
    println!("entry {} is durable", entry.seqno);
    let report = log.verify_chain("doors", 1, entry.seqno)?;
    println!("{} entries hold", report.entries_checked);
    if let Some(checkpoint) = log.seal(Some("audit"))?.checkpoint {
        print!("{}", checkpoint.note);
    }
    Ok(log.close()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [component, store] = &args[..] else { return Err("which component, and which store?".into()) };
    keep_a_log(component, store)
}
