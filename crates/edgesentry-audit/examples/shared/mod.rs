//! What the examples share: the files that stand for the wire, and the lift's inspection.

#![allow(dead_code, reason = "each example uses its part")]

use std::error::Error;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The lift of the examples.
pub const DEVICE_ID: &str = "lift-01";

/// What became of the examples.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A file that stands for the wire between two roles.
pub fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Writes such a file.
pub fn write(name: &str, value: &impl Serialize) -> Outcome {
    let path = path(name);
    std::fs::write(&path, serde_json::to_vec_pretty(value)?)?;
    println!("  wrote {}", path.display());
    Ok(())
}

/// Reads one.
pub fn read<T: DeserializeOwned>(name: &str, written_by: &str) -> Outcome<T> {
    let path = path(name);
    let bytes = std::fs::read(&path)
        .map_err(|e| format!("{}: {e}; run the example `{written_by}` first", path.display()))?;
    Ok(serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))?)
}

/// Now, ms since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
