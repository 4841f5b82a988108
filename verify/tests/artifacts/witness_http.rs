//! The witness under stock `wasmtime serve`: it follows real logs, tells forks, and keeps what it answered through kills
//! and races.

use secure_log::model::{Event, Severity, WitnessAnswer};
use secure_log::note::Note;
use secure_log::store::OpenStore;
use secure_log::witness::{Refusal, origin_hash};
use secure_log::{Environment, NativeSecureLog, SecureLog};
use secure_log_keystore::{Config, SoftwareKeystore};
use secure_log_sqlite::SqliteSecureLogStore;
use secure_log_verify::endpoint::{Form, Serve, Settings};

use crate::common::http::{Message, exchange};
use crate::common::{dist, number};

const SERVER: &str = "secure-log-witness.wasm";
const NAME: &str = "witness.example/w1";
const ORIGIN: &str = "example.com/log";

struct World(u64);

impl Environment for World {
    fn now_ms(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }
}

/// A log with a key of its own.
struct Log {
    log: NativeSecureLog<SqliteSecureLogStore, World>,
    keys: SoftwareKeystore,
}

impl Log {
    fn new(keys: SoftwareKeystore) -> Self {
        let store = SqliteSecureLogStore::open(":memory:").unwrap();
        let mut log = NativeSecureLog::new(store, World(1_800_000_000_000), "test").unwrap();
        log.set_origin(ORIGIN).unwrap();
        Self { log, keys }
    }

    fn key(&mut self) -> String {
        self.log.verifier_key(&mut self.keys, "log").unwrap()
    }

    /// Appends and signs; number and size of the checkpoint.
    fn grow(&mut self) -> (u64, u64) {
        self.log.append(Event::new("a", "t", Severity::Notice, "p", "x")).unwrap();
        let segment = self.log.close_segment("a").unwrap().segment_id;
        let checkpoint = self.log.sign_segment(&mut self.keys, "log", segment).unwrap();
        (checkpoint.number, checkpoint.size)
    }

    fn submit(&mut self, url: &str, key: &str, number: u64, old_size: u64) -> (Message, WitnessAnswer) {
        let request = self.log.witness_request(number, old_size).unwrap();
        let told = post(url, &request);
        let keys = [key.to_owned()];
        let answer = self.log.accept_witness(number, &request, &keys, told.status(), &told.body).unwrap();
        (told, answer)
    }
}

fn keystore() -> SoftwareKeystore {
    SoftwareKeystore::new(Config::new(|out| getrandom::fill(out).map_err(|e| e.to_string())))
}

fn post(url: &str, body: &[u8]) -> Message {
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    exchange(url, &[head.as_bytes(), body].concat()).unwrap()
}

fn get(url: &str, path: &str) -> Message {
    exchange(url, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap()
}

fn settings(dir: &std::path::Path, logs: &str) -> Settings {
    std::fs::create_dir_all(dir.join("keys")).unwrap();
    let mut settings = Settings::new(dist(SERVER), dir, "witness.db").unwrap();
    settings.config += "?lease-ms=400&wait-ms=20000";
    settings.token = None;
    settings.env = [
        ("SECURE_LOG_WITNESS_NAME", NAME),
        ("SECURE_LOG_WITNESS_KEY", "witness"),
        ("SECURE_LOG_WITNESS_LOGS", logs),
        ("SECURE_LOG_KEYSTORE_DIR", "/data/keys"),
        ("SECURE_LOG_KEYSTORE_GENERATE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    settings
}

#[test]
fn it_follows_a_log_and_answers_every_case_of_the_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new(keystore());
    let serve = Serve::start(&settings(dir.path(), &log.key()), Form::Stock).unwrap();
    let url = serve.url().to_owned();
    let key = get(&url, "/key").text().trim().to_owned();
    let latest = format!("/{}/checkpoint", origin_hash(ORIGIN));
    assert_eq!(get(&url, &latest).status(), 404);

    let (_, first) = log.grow();
    assert_eq!(log.submit(&url, &key, 1, 0).1, WitnessAnswer::Cosigned(1));
    let (_, second) = log.grow();
    let (told, answer) = log.submit(&url, &key, 2, 0);
    assert_eq!((told.status(), told.header("content-type")), (409, Some("text/x.tlog.size")));
    assert_eq!((told.text(), answer), (format!("{first}\n"), WitnessAnswer::Conflict(first)));
    assert_eq!(log.submit(&url, &key, 2, first).1, WitnessAnswer::Cosigned(1));
    assert_eq!(log.submit(&url, &key, 2, second).1, WitnessAnswer::Cosigned(0), "the same once more");
    let stored = get(&url, &latest);
    assert!(stored.text().starts_with(&Note::parse(&log.log.read_checkpoint(2).unwrap().note).unwrap().text));
    let behind = log.submit(&url, &key, 1, first).1;
    assert_eq!(behind, WitnessAnswer::Refused(409, Refusal::Behind { size: second }));

    // The same key and name, and another history.
    let mut fork = Log::new(std::mem::replace(&mut log.keys, keystore()));
    for _ in 0..4 {
        fork.grow();
    }
    let (told, answer) = fork.submit(&url, &key, 4, second);
    assert_eq!(told.status(), 422);
    assert!(matches!(answer, WitnessAnswer::Refused(422, Refusal::Inconsistent(_))), "{answer:?}");
    // Another key under the name, and another name.
    let mut stranger = Log::new(keystore());
    stranger.grow();
    assert_eq!(stranger.submit(&url, &key, 1, 0).0.status(), 403);
    let note = log.log.read_checkpoint(2).unwrap().note;
    let unknown = format!("old 0\n\n{}", note.replacen(ORIGIN, "example.com/other", 1));
    assert_eq!(post(&url, unknown.as_bytes()).status(), 404);
    for malformed in [&b"junk"[..], b"old 00\n\n", b"", b"old 0\n\xff\n\n"] {
        assert_eq!(post(&url, malformed).status(), 400);
    }
    assert_eq!(post(&url, format!("old 9\n\n{note}").as_bytes()).status(), 400, "larger than the checkpoint");
    assert_eq!(post(&url, &vec![b'x'; 600 << 10]).status(), 413);
    assert_eq!(get(&url, "/add-checkpoint").status(), 405);
    assert_eq!(get(&url, "/").status(), 404);
    assert_eq!(get(&url, "/health").status(), 200);
    assert_eq!(get(&url, &latest).body, stored.body, "none of these changed what is stored");
}

#[test]
fn what_it_lacks_to_be_a_witness_it_says() {
    let mut log = Log::new(keystore());
    let good = log.key();
    for (name, value) in [
        ("SECURE_LOG_WITNESS_NAME", ""),
        ("SECURE_LOG_WITNESS_NAME", "a name with+plus"),
        ("SECURE_LOG_WITNESS_KEY", ""),
        ("SECURE_LOG_WITNESS_LOGS", ""),
        ("SECURE_LOG_WITNESS_LOGS", "junk"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path(), &good);
        for variable in settings.env.iter_mut().filter(|variable| variable.0 == name) {
            variable.1 = value.into();
        }
        let serve = Serve::start(&settings, Form::Stock).unwrap();
        let told = get(serve.url(), "/key");
        assert_eq!(told.status(), 503, "{name}={value:?}: {}", told.text());
        assert!(!value.is_empty() || told.text().contains(name), "{name}={value:?}: {}", told.text());
    }
}

#[test]
fn two_processes_on_one_store_keep_what_they_answered_through_kills() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new(keystore());
    let settings = settings(dir.path(), &log.key());
    let mut servers =
        [Serve::start(&settings, Form::Stock).unwrap(), Serve::start(&settings, Form::Stock).unwrap()];
    let key = get(servers[0].url(), "/key").text().trim().to_owned();
    let mut acknowledged = 0;
    let rounds = number("SECURE_LOG_KILL_ROUNDS", 12);
    for round in 0..rounds {
        let (one, _) = log.grow();
        let (two, larger) = log.grow();
        let requests = [one, two].map(|n| log.log.witness_request(n, acknowledged).unwrap());
        let urls = servers.each_ref().map(|serve| serve.url().to_owned());
        let answers = std::thread::scope(|scope| {
            let threads = [0, 1].map(|i| {
                let (url, body) = (&urls[i], &requests[i]);
                scope.spawn(move || post(url, body))
            });
            threads.map(|thread| thread.join().unwrap())
        });
        // From the same old size one of them wins; the other is told the winner's size.
        let won: Vec<_> = answers.iter().filter(|told| told.status() == 200).collect();
        assert_eq!(won.len(), 1, "{:?}", answers.each_ref().map(Message::status));
        for (n, (request, told)) in [one, two].into_iter().zip(requests.iter().zip(&answers)) {
            match log
                .log
                .accept_witness(n, request, std::slice::from_ref(&key), told.status(), &told.body)
                .unwrap()
            {
                WitnessAnswer::Cosigned(_) => acknowledged = log.log.read_checkpoint(n).unwrap().size,
                WitnessAnswer::Conflict(size) | WitnessAnswer::Refused(409, Refusal::Behind { size }) => {
                    assert!(size > 0 && size <= larger);
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        // Killed the next instant: what was answered is there.
        let port = servers[0].port();
        let fresh = Serve::start(&settings, Form::Stock).unwrap();
        std::mem::replace(&mut servers[0], fresh).kill().unwrap();
        assert_ne!(servers[0].port(), port);
        let latest = get(servers[0].url(), &format!("/{}/checkpoint", origin_hash(ORIGIN)));
        let size = latest.text().lines().nth(1).unwrap().parse::<u64>().unwrap();
        assert_eq!(size, acknowledged, "round {round}: {}", latest.text());
    }
}
