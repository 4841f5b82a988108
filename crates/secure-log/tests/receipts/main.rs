//! What third parties say of a log: cosignatures of witnesses and time stamps, asked for, kept and handed out.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "../parties/mod.rs"]
mod parties;
#[path = "../../../secure-log-time/tests/common/mod.rs"]
mod pki;
mod time;
mod witnesses;

use parties::{Key, seed};
use secure_log::model::{Checkpoint, Event, Severity};
use secure_log::store::OpenStore;
use secure_log::{Environment, NativeSecureLog, SecureLog};
use secure_log_sqlite::SqliteSecureLogStore;

const ORIGIN: &str = "example.com/audit";

/// A clock that goes on by a second a call.
struct World(u64);

impl Environment for World {
    fn now_ms(&mut self) -> u64 {
        self.0 += 1_000;
        self.0
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }
}

type Log = NativeSecureLog<SqliteSecureLogStore, World>;

fn open(config: &str) -> Log {
    let store = SqliteSecureLogStore::open(config).unwrap();
    let mut log = NativeSecureLog::new(store, World(1_800_000_000_000), "test 1").unwrap();
    log.set_origin(ORIGIN).unwrap();
    log
}

/// Key of the log.
fn key() -> Key {
    seed(7)
}

/// Appends, closes and signs.
fn grow(log: &mut Log, entries: u64) -> Checkpoint {
    for n in 0..entries {
        log.append(Event::new("doors", "opened", Severity::Notice, "lobby", n.to_string())).unwrap();
    }
    let segment = log.close_segment("doors").unwrap().segment_id;
    log.sign_segment(&mut key(), "k", segment).unwrap()
}

fn trusted(log: &mut Log) -> Vec<String> {
    vec![log.verifier_key(&mut key(), "k").unwrap()]
}
