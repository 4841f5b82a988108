//! Keeps a flood out of the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Events that are logged each second; what happened beyond them, the metrics say.
const LOGGED: u64 = 20;

/// Counts events of this second.
#[derive(Default)]
pub(crate) struct Throttle {
    second: AtomicU64,
    count: AtomicU64,
}

impl Throttle {
    /// Whether one more is to be logged.
    pub(crate) fn allow(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        if self.second.swap(now, Ordering::Relaxed) != now {
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < LOGGED
    }
}
