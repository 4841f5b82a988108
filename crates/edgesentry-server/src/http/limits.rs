//! How much a server takes on.

use std::time::Duration;

use edgesentry_audit::http::MAX_BODY;

use crate::rate::Rate;

/// Limits of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Connections at once; further ones are closed at once.
    pub connections: usize,
    /// TLS handshakes at once; further ones wait.
    pub handshakes: usize,
    /// From the first byte of a request to the end of its head. The TLS handshake has as long.
    pub head_time: Duration,
    /// From one request to the first byte of the next.
    pub idle_time: Duration,
    /// For a body at most.
    pub body_time: Duration,
    /// For a body at least; beyond it, a body must keep up `body_pace`.
    pub body_grace: Duration,
    /// Bytes a second that a body must come at.
    pub body_pace: u32,
    /// Largest body, bytes.
    pub body: usize,
    /// Bytes of unfinished bodies that are kept at once, of all connections together.
    pub bodies: usize,
    /// Largest head of a request, bytes.
    pub head: usize,
    /// For the gate to answer.
    pub gate_time: Duration,
    /// For requests in flight when the server stops.
    pub drain_time: Duration,
    /// How fast each source may send; none: as it likes.
    pub source_rate: Option<Rate>,
    /// How fast each device may send; none: as it likes.
    pub device_rate: Option<Rate>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            handshakes: 1024,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            body_time: Duration::from_secs(60),
            body_grace: Duration::from_secs(10),
            body_pace: 4096,
            body: MAX_BODY,
            bodies: 64 << 20,
            head: 16 << 10,
            gate_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(20),
            source_rate: None,
            device_rate: None,
        }
    }
}

impl Limits {
    /// How long a body may take of which `bytes` have come.
    pub(crate) fn time_for(&self, bytes: usize) -> Duration {
        let pace = f64::from(self.body_pace.max(1));
        (self.body_grace + Duration::from_secs_f64(bytes as f64 / pace)).min(self.body_time)
    }
}

/// Lets this process have as many open files as it may, and gives how many that is. A server needs one for each
/// connection.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = limit.current;
        limit.current = limit.maximum;
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit.current = before;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}
