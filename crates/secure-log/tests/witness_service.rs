//! The witness over a real store: what it answers is stored, and two of them on one store never part ways.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod parties;

use std::sync::{Arc, Mutex};

use parties::running::request;
use parties::{Key, TestLog, cosigner, seed};
use secure_log::model::{QueryFilter, StreamHead};
use secure_log::note::Note;
use secure_log::store::{
    FoundPage, Object, ObjectKind, ObjectWrite, OpenStore, Row, SecureLogStore, StreamAppend, Tile,
};
use secure_log::witness::{Response, Service, WatchedLog, Witness, origin_hash, unavailable};
use secure_log::{Error, Result};
use secure_log_sqlite::SqliteSecureLogStore;

const NAME: &str = "witness.example/w1";
const ORIGIN: &str = "example.com/log";
const NOW: u64 = 1_900_000_000;

/// One store that several services use; before an append, somebody else may be faster.
#[derive(Clone)]
struct Shared {
    store: Arc<Mutex<SqliteSecureLogStore>>,
    faster: Arc<Mutex<Vec<String>>>,
}

impl SecureLogStore for Shared {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        let faster = self.faster.lock().unwrap().pop();
        if let Some(body) = faster {
            let response = service(self.clone()).answer("POST", "/add-checkpoint", body.as_bytes(), NOW);
            assert_eq!(response.unwrap().status, 200);
        }
        self.store.lock().unwrap().append(appends, expect, objects)
    }
    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        self.store.lock().unwrap().read_object(kind, key)
    }
    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        self.store.lock().unwrap().last_object(kind, prefix)
    }
    fn head(&mut self, _: &str) -> Result<Option<StreamHead>> {
        unreachable!("a witness has no streams")
    }
    fn read_rows(&mut self, _: &str, _: u64, _: u32, _: bool) -> Result<Vec<Row>> {
        unreachable!("a witness has no streams")
    }
    fn find_id(&mut self, _: &str, _: &str) -> Result<Option<u64>> {
        unreachable!("a witness has no streams")
    }
    fn list_heads(&mut self, _: Option<&str>, _: u32) -> Result<Vec<StreamHead>> {
        unreachable!("a witness has no streams")
    }
    fn query(&mut self, _: &QueryFilter, _: Option<&str>, _: u32) -> Result<FoundPage> {
        unreachable!("a witness has no streams")
    }
    fn list_objects(&mut self, _: ObjectKind, _: &str, _: Option<&str>, _: u32) -> Result<Vec<Object>> {
        unreachable!("a witness lists nothing")
    }
    fn write_tiles(&mut self, _: &str, _: &[Tile]) -> Result<()> {
        unreachable!("a witness has no trees")
    }
    fn read_tile(&mut self, _: &str, _: u8, _: u64) -> Result<Option<Vec<u8>>> {
        unreachable!("a witness has no trees")
    }
    fn erase_payloads(&mut self, _: &str, _: u64, _: u64) -> Result<u64> {
        unreachable!("a witness has no payloads")
    }
    fn backup(&mut self, _: &str) -> Result<()> {
        unreachable!("a witness is not copied here")
    }
    fn close(self) -> Result<()> {
        Ok(())
    }
}

fn log(size: u64) -> TestLog {
    let mut log = TestLog::new(ORIGIN, 1);
    log.grow(size);
    log
}

fn fork(size: u64) -> TestLog {
    let mut log = TestLog::new(ORIGIN, 1).fork("'");
    log.grow(size);
    log
}

fn step(log: &TestLog, from: u64) -> String {
    request(from, &log.proof_from(from), &log.checkpoint())
}

fn witness() -> Witness {
    let logs = vec![WatchedLog::new(ORIGIN, vec![log(0).verifier()]).unwrap()];
    Witness::new(cosigner(NAME, 9), logs).unwrap()
}

fn service<S: SecureLogStore>(store: S) -> Service<S, Key> {
    Service::new(witness(), "key", store, seed(9))
}

fn shared() -> Shared {
    let store = SqliteSecureLogStore::open(":memory:").unwrap();
    Shared { store: Arc::new(Mutex::new(store)), faster: Arc::default() }
}

fn post<S: SecureLogStore>(service: &mut Service<S, Key>, body: &str) -> Response {
    service.answer("POST", "/add-checkpoint", body.as_bytes(), NOW).unwrap()
}

#[test]
fn what_is_answered_is_what_monitors_get_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.db").display().to_string();
    let latest = format!("/{}/checkpoint", origin_hash(ORIGIN));
    let mut size = 0;
    for to in [2, 5, 5, 9] {
        let mut service = service(SqliteSecureLogStore::open(&format!("{path}?lease-ms=200")).unwrap());
        let answer = post(&mut service, &step(&log(to), size));
        assert_eq!(answer.status, 200, "{}", answer.body);
        // As after a crash: nothing is closed.
        drop(service.into_store());
        let mut service = self::service(SqliteSecureLogStore::open(&format!("{path}?lease-ms=200")).unwrap());
        let stored = service.answer("GET", &latest, b"", NOW).unwrap();
        assert_eq!((stored.status, stored.body.contains(&answer.body)), (200, true), "{}", stored.body);
        let note = Note::parse(&stored.body).unwrap();
        assert_eq!(note.cosignatures([&cosigner(NAME, 9)]).unwrap().cosignatures.len(), 1);
        service.into_store().close().unwrap();
        size = to;
    }
}

#[test]
fn every_path_has_its_methods() {
    let mut service = service(shared());
    let mut get = |method: &str, path: &str| service.answer(method, path, b"", NOW).unwrap();
    assert_eq!(get("GET", "/key").body, format!("{}\n", cosigner(NAME, 9)));
    assert_eq!(get("GET", "/health").status, 200);
    assert_eq!(get("GET", &format!("/{}/checkpoint", origin_hash(ORIGIN))).status, 404, "not seen yet");
    assert_eq!(get("GET", &format!("/{}/checkpoint", origin_hash("other"))).status, 404);
    for (method, path, status) in [
        ("GET", "/add-checkpoint", 405),
        ("POST", "/key", 405),
        ("", "/health", 405),
        ("GET", "/", 404),
        ("POST", "/", 404),
        ("GET", "/a/b/c", 404),
    ] {
        assert_eq!(get(method, path).status, status, "{method} {path}");
    }
    assert_eq!(post(&mut service, "junk").status, 400);
}

#[test]
fn a_request_that_another_overtook_is_decided_anew() {
    // The faster one goes further: the slower one is told its size.
    let store = shared();
    store.faster.lock().unwrap().push(step(&log(7), 0));
    let answer = post(&mut service(store.clone()), &step(&log(3), 0));
    assert_eq!((answer.status, answer.body.as_str()), (409, "7\n"));
    // Two forks at once: one of them is cosigned.
    let store = shared();
    store.faster.lock().unwrap().push(step(&fork(4), 0));
    assert_eq!(post(&mut service(store.clone()), &step(&log(4), 0)).status, 409);
    assert_eq!(post(&mut service(store.clone()), &step(&log(4), 4)).status, 422);
    let latest = format!("/{}/checkpoint", origin_hash(ORIGIN));
    let stored = service(store).answer("GET", &latest, b"", NOW).unwrap();
    assert!(stored.body.starts_with(&Note::parse(&fork(4).checkpoint()).unwrap().text));
}

#[test]
fn racing_services_on_one_store_never_cosign_two_histories() {
    let store = shared();
    let cosigned: Vec<(u64, bool)> = std::thread::scope(|scope| {
        let run = |fork_it: bool| {
            let store = store.clone();
            scope.spawn(move || {
                let (mut size, mut done) = (0, Vec::new());
                for to in 1..=40 {
                    let log = if fork_it { fork(to) } else { log(to) };
                    if size > to {
                        continue;
                    }
                    let answer = post(&mut service(store.clone()), &step(&log, size));
                    match answer.status {
                        200 => {
                            done.push((to, fork_it));
                            size = to;
                        }
                        409 => size = answer.body.trim().parse().unwrap(),
                        422 => {}
                        other => panic!("{other}: {}", answer.body),
                    }
                }
                done
            })
        };
        let threads = [run(false), run(true), run(false)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let forks = cosigned.iter().filter(|(_, fork)| *fork).count();
    assert!(!cosigned.is_empty());
    assert!(forks == 0 || forks == cosigned.len(), "two histories were cosigned: {cosigned:?}");
}

#[test]
fn a_witness_that_cannot_answer_says_whose_fault_it_is() {
    let mut service = service(shared());
    post(&mut service, &step(&log(2), 0));
    let error = service.answer("POST", "/add-checkpoint", step(&log(3), 2).as_bytes(), NOW - 1).unwrap_err();
    assert_eq!(unavailable(&error).status, 503, "the clock went back: {error}");
    assert_eq!(unavailable(&Error::Busy("x".into())).status, 429);
    assert_eq!(unavailable(&Error::corrupt("x", 0, "y")).status, 500);
}
