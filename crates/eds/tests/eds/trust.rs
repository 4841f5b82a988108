//! Witnesses and time-stamping authorities that others wrote: `sigsum-witness` (Debian's `sigsum-go`, where
//! `SECURE_LOG_SIGSUM` names the folder of its programs) and `openssl ts`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secure_log::cosignature::CosignerKey;
use secure_log::note::VerifierKey;
use secure_log::signer::PublicKey;
use sha2::{Digest as _, Sha256};

use crate::pki::{GOOD, Pki, Spec};
use crate::support::{PUBLIC, Place, Server};

const STORE: [&str; 2] = ["--store", "audit.db"];
const KEYS: [&str; 2] = ["--keys", "keys"];

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

fn eds(place: &Place, args: &[&str]) -> String {
    place.ok(&[args, &STORE, &KEYS].concat())
}

/// Appends `count` events and signs.
fn grow(place: &Place, origin: &str, count: usize) -> String {
    for n in 0..count {
        eds(place, &["log", "append", "doors", &n.to_string(), "--origin", origin]);
    }
    eds(place, &["log", "sign", "--identity", "audit"])
}

fn sigsum() -> Option<PathBuf> {
    let programs = std::env::var_os("SECURE_LOG_SIGSUM").map(PathBuf::from);
    if programs.is_none() {
        println!("not run: SECURE_LOG_SIGSUM names no folder of sigsum's programs (scripts/setup-sigsum.sh)");
    }
    programs
}

/// A running `sigsum-witness`.
struct Witness {
    child: Child,
    at: SocketAddr,
    key: String,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Witness {
    fn start(programs: &Path, folder: &Path, log_key: &[u8]) -> Self {
        let run = |args: &[&str], input: &str| {
            let mut child = Command::new(programs.join("sigsum-key"))
                .args(args)
                .current_dir(folder)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "sigsum-key {args:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        fs::write(folder.join("log.pub"), run(&["from-hex"], &hex(log_key))).unwrap();
        run(&["generate", "-o", "witness"], "");
        let public = hex::decode(run(&["to-hex", "-k", "witness.pub"], "").trim()).unwrap();
        let name = format!("sigsum.org/v1/witness/{}", hex(&Sha256::digest(&public)));
        let key = PublicKey::from_ed25519_raw(&public.try_into().unwrap());
        let key = CosignerKey::new(&name, key).unwrap().to_string();
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(programs.join("sigsum-witness"))
            .args(["-k", "witness", "--log-key", "log.pub", "--state-file", "state", &at.to_string()])
            .current_dir(folder)
            .spawn()
            .unwrap();
        let running = Self { child, at, key };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(at).is_err() {
            assert!(Instant::now() < deadline, "sigsum-witness does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        running
    }
}

#[test]
fn a_foreign_witness_follows_the_log_and_refuses_a_rolled_back_and_a_forked_one() {
    let Some(programs) = sigsum() else { return };
    let place = Place::new();
    place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    let raw = |origin: &str| {
        let key = place.ok(&["keys", "show", "audit", "--origin", origin, "--keys", "keys"]);
        let key = key.lines().find_map(|line| VerifierKey::parse(line.trim()).ok());
        (key.as_ref().unwrap().to_string(), key.unwrap().public_key().ed25519_raw().unwrap())
    };
    let origin = format!("sigsum.org/v1/tree/{}", hex(&Sha256::digest(raw("x").1)));
    let (log_key, public) = raw(&origin);
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start(&programs, folder.path(), &public);
    let policy = format!("log {log_key}\nwitness W {} http://{}\nquorum W\n", witness.key, witness.at);
    fs::write(place.path("policy"), policy).unwrap();
    let submit = ["log", "witness", "--policy", "policy"];
    let published = ["log", "published", "--policy", "policy"];

    grow(&place, &origin, 2);
    assert!(place.fails(&[&published[..], &STORE].concat()).contains("not published"));
    for round in 1..=3 {
        let note = grow(&place, &origin, round);
        let said = place.ok(&[&submit[..], &STORE].concat());
        assert!(said.starts_with("cosigned\tW\n"), "{said}");
        let cosigned = place.ok(&[&published[..], &STORE].concat());
        assert!(cosigned.starts_with(&note) && cosigned.contains("sigsum.org/v1/witness/"), "{cosigned}");
        if round == 1 {
            fs::copy(place.path("audit.db"), place.path("old.db")).unwrap();
        }
    }
    // A proof with the cosignature, checked by the policy alone.
    eds(&place, &["log", "prove", "doors", "4", "-o", "door.tlog-proof", "--policy", "policy"]);
    let proven = place.ok(&["log", "verify-proof", "door.tlog-proof", "--policy", "policy"]);
    assert!(proven.contains("entry 4 of doors holds") && proven.contains("witnessed"), "{proven}");
    place.ok(&["log", "verify-proof", "door.tlog-proof", "--trust", &log_key]);

    // What was signed and not submitted is not published; degraded, the command goes on and says so.
    let newer = grow(&place, &origin, 1);
    let ran = place.run(&[&published[..], &STORE].concat());
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("warning") && !ran.stdout.contains(&newer), "{}", ran.stderr);
    drop(witness);
    let gone = place.fails(&[&submit[..], &STORE].concat());
    assert!(gone.contains("does not count as published"), "{gone}");
    let degraded = place.run(&[&submit[..], &STORE, &["--degraded"]].concat());
    assert_eq!(degraded.code, Some(0), "{}", degraded.stderr);
    assert!(degraded.stderr.contains("degraded") && degraded.stdout.starts_with("failed\tW"));
}

#[test]
fn a_foreign_witness_shows_that_a_log_was_rolled_back_or_forked() {
    let Some(programs) = sigsum() else { return };
    let place = Place::new();
    place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    let show = |origin: &str| {
        let key = place.ok(&["keys", "show", "audit", "--origin", origin, "--keys", "keys"]);
        key.lines().find_map(|line| VerifierKey::parse(line.trim()).ok()).unwrap()
    };
    let public = show("x").public_key().ed25519_raw().unwrap();
    let origin = format!("sigsum.org/v1/tree/{}", hex(&Sha256::digest(public)));
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start(&programs, folder.path(), &public);
    let policy =
        format!("log {}\nwitness W {} http://{}\nquorum W\n", show(&origin), witness.key, witness.at);
    fs::write(place.path("policy"), policy).unwrap();
    let submit = [&["log", "witness", "--policy", "policy"][..], &STORE].concat();
    grow(&place, &origin, 3);
    place.ok(&submit);
    eds(&place, &["log", "backup", "old.db"]);
    grow(&place, &origin, 3);
    place.ok(&submit);

    fs::rename(place.path("old.db"), place.path("audit.db")).unwrap();
    let _ = fs::remove_file(place.path("audit.db-wal"));
    let said = place.fails(&submit);
    assert!(said.contains("another history") && said.contains("larger tree"), "{said}");
    // It goes on from the old copy, past the size that the witness has seen.
    grow(&place, &origin, 2);
    grow(&place, &origin, 2);
    grow(&place, &origin, 2);
    let said = place.fails(&submit);
    assert!(said.contains("another history") && said.contains("does not extend"), "{said}");
    let said = place.fails(&[&submit[..], &["--degraded"]].concat());
    assert!(said.contains("another history"), "evidence is no matter of degrees: {said}");
}

/// An authority behind HTTP that answers with `openssl ts`, one request after the other.
pub fn authority(pki: Arc<Pki>, name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tsa", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut request = vec![0; length];
            stream.read_exact(&mut request).unwrap();
            let reply = pki.reply(name, &request, "", false);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                reply.len()
            );
            stream.get_mut().write_all(&[head.as_bytes(), &reply].concat()).unwrap();
        }
    });
    url
}

#[test]
fn checkpoints_and_entries_are_stamped_over_http_and_verified_offline() {
    let place = Place::new();
    let pki = Arc::new(Pki::new());
    pki.certificate("tsa", GOOD);
    pki.certificate("old", Spec { until: "20210101000000Z", ..GOOD });
    let other = Pki::new();
    fs::write(place.path("root.pem"), pki.read("root.pem")).unwrap();
    fs::write(place.path("other.pem"), other.read("root.pem")).unwrap();
    place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    grow(&place, "example.com/audit", 2);
    let url = authority(pki.clone(), "tsa");
    let stamp = |url: &str, root: &str, rest: &[&str]| {
        let args = ["log", "stamp", "--tsa", url, "--tsa-trust", root];
        place.run(&[&args[..], rest, &STORE].concat())
    };
    let times = |root: &str, rest: &[&str]| {
        place.run(&[&["log", "times", "--tsa-trust", root][..], rest, &STORE].concat())
    };
    assert!(times("root.pem", &[]).stderr.contains("has no time stamp"));
    for subject in [&[][..], &["--entry", "doors/2"]] {
        let ran = stamp(&url, "root.pem", subject);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains("existed by") && ran.stdout.contains("tsa"), "{}", ran.stdout);
        assert!(ran.stdout.contains("the log's clock"), "the gap is told: {}", ran.stdout);
        let verified = times("root.pem", subject);
        assert_eq!((verified.code, &verified.stdout), (Some(0), &ran.stdout), "{}", verified.stderr);
        assert_eq!(times("other.pem", subject).code, Some(1));
    }
    for (url, root, says) in [
        (authority(pki.clone(), "old"), "root.pem", "expired"),
        (url, "other.pem", "time-stamp"),
        ("http://127.0.0.1:9/".to_owned(), "root.pem", "does not answer"),
    ] {
        let ran = stamp(&url, root, &["--entry", "doors/1"]);
        assert_eq!(ran.code, Some(1), "{says}: {}", ran.stdout);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
    assert!(times("root.pem", &["--entry", "doors/1"]).stderr.contains("has no time stamp"), "none was kept");
}

/// A number of the server's metrics.
fn metric(server: &Server, name: &str) -> Option<f64> {
    let (_, text) = server.request("GET", "/metrics", b"").unwrap();
    text.lines().find_map(|line| line.strip_prefix(&format!("edgesentry_{name} "))?.parse().ok())
}

fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "{what} never happened");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_server_has_its_checkpoints_cosigned_and_says_when_they_are_not() {
    let Some(programs) = sigsum() else { return };
    let place = Place::new();
    place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    let key = |origin: &str| {
        let said = place.ok(&["keys", "show", "audit", "--origin", origin, "--keys", "keys"]);
        said.lines().find_map(|line| VerifierKey::parse(line.trim()).ok()).unwrap()
    };
    let public = key("x").public_key().ed25519_raw().unwrap();
    let origin = format!("sigsum.org/v1/tree/{}", hex(&Sha256::digest(public)));
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start(&programs, folder.path(), &public);
    let policy = format!("log {}\nwitness W {} http://{}\nquorum W\n", key(&origin), witness.key, witness.at);
    fs::write(place.path("policy"), policy).unwrap();
    let device = format!("lift-01={PUBLIC}");
    let server = place.serve(
        &[
            &[
                "serve",
                "--addr",
                "127.0.0.1:0",
                "--device",
                &device,
                "--origin",
                &origin,
                "--sign-with",
                "audit",
            ][..],
            &[
                "--segment-seconds",
                "300ms",
                "--policy",
                "policy",
                "--witness-retry",
                "500ms",
                "--log-format",
                "text",
            ],
            &STORE,
            &KEYS,
        ]
        .concat(),
    );
    place.ok(&[
        "audit",
        "demo-lift-inspection",
        "--device-id",
        "lift-01",
        "--out-file",
        "records.json",
        "--payloads-file",
        "payloads.json",
    ]);
    let read = |name: &str| -> Vec<serde_json::Value> {
        serde_json::from_slice(&fs::read(place.path(name)).unwrap()).unwrap()
    };
    let (records, payloads) = (read("records.json"), read("payloads.json"));
    let send = |n: usize| {
        let payload = hex::decode(payloads[n].as_str().unwrap()).unwrap();
        assert_eq!(server.ingest(&records[n], &payload).unwrap().0, 202);
    };
    send(0);
    wait_for("publication", || metric(&server, "published_checkpoint_number") >= Some(1.0));
    assert_eq!(metric(&server, "unpublished"), Some(0.0));
    drop(witness);
    send(1);
    wait_for("a checkpoint without its witness", || metric(&server, "unpublished") == Some(1.0));
    // Records go on, and it is said.
    send(2);
    assert!(metric(&server, "witness_failures_total") >= Some(1.0));
    let (code, _) = server.stop();
    assert_eq!(code, Some(0));
    let said = fs::read_to_string(place.path("server.log")).unwrap();
    assert!(said.contains("checkpoint published") && said.contains("degraded"), "{said}");
    let cosigned = place.ok(&[&["log", "published", "--policy", "policy"][..], &STORE].concat());
    assert!(cosigned.contains("sigsum.org/v1/witness/"), "{cosigned}");
}

#[test]
fn several_keys_sign_together_while_they_are_rotated() {
    let place = Place::new();
    for name in ["old", "new"] {
        place.ok(&["keys", "create", name, "--keys", "keys"]);
    }
    eds(&place, &["log", "append", "doors", "1", "--origin", "example.com/audit"]);
    let note = eds(&place, &["log", "sign", "--identity", "old", "--identity", "new"]);
    assert_eq!(note.lines().filter(|line| line.starts_with("— example.com/audit ")).count(), 2, "{note}");
    for name in ["old", "new"] {
        let key = place.ok(&["keys", "show", name, "--origin", "example.com/audit", "--keys", "keys"]);
        let key = key.lines().find_map(|line| VerifierKey::parse(line.trim()).ok()).unwrap().to_string();
        place.ok(&[&["log", "verify", "--trust", &key][..], &STORE].concat());
    }
}

/// A log with a head file, signed twice, and a copy from between.
fn with_head(place: &Place, stack: &[&str], store: &str) {
    let args = [stack, &["--store", store, "--head-file", "head/last", "--keys", "keys"]].concat();
    fs::create_dir(place.path("head")).unwrap();
    place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    let append = ["log", "append", "doors", "1", "--origin", "example.com/audit"];
    let sign = ["log", "sign", "--identity", "audit"];
    place.ok(&[&append[..], &args].concat());
    let note = place.ok(&[&sign[..], &args].concat());
    assert_eq!(fs::read_to_string(place.path("head/last")).unwrap(), note);
    place.ok(&[&["log", "backup", "old"][..], &args].concat());
    place.ok(&[&append[..], &args].concat());
    let note = place.ok(&[&sign[..], &args].concat());
    assert_eq!(fs::read_to_string(place.path("head/last")).unwrap(), note);
    place.ok(&[&["log", "streams"][..], &args].concat());
}

/// Removes a store, and puts its copy in its place.
fn put_back(place: &Place, store: &str) {
    for entry in fs::read_dir(place.path("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with(store) {
            if path.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
        }
    }
    for suffix in ["", ".payloads", ".tiles"] {
        let from = place.path(&format!("old{suffix}"));
        if from.exists() {
            fs::rename(from, place.path(&format!("{store}{suffix}"))).unwrap();
        }
    }
}

#[test]
fn a_store_that_was_put_back_is_found_out_when_it_is_opened() {
    for (stack, store) in [(&[][..], "audit.db"), (&["--stack", "file"], "audit.jsonl")] {
        let place = Place::new();
        with_head(&place, stack, store);
        let args = [stack, &["--store", store, "--head-file", "head/last", "--keys", "keys"]].concat();
        let streams = [&["log", "streams"][..], &args].concat();
        put_back(&place, store);
        for command in [
            &["log", "streams"][..],
            &["log", "append", "doors", "2"],
            &["log", "sign", "--identity", "audit"],
        ] {
            let said = place.fails(&[command, &args].concat());
            assert!(said.contains("rolled-back") && said.contains("accept-head"), "{command:?}: {said}");
        }
        // The recovery is told to auditors before the log goes on.
        let accepted =
            place.ok(&[&["log", "accept-head", "--reason", "disk lost", "--by", "ann"][..], &args].concat());
        assert!(accepted.contains("checkpoint 1"), "{accepted}");
        let told = place.ok(&[&["log", "read", "operator/recovery", "1", "--payload"][..], &args].concat());
        assert!(told.contains("disk lost") && told.contains("\"checkpoint\":1"), "{told}");
        place.ok(&streams);
        place.ok(&[&["log", "sign", "--identity", "audit"][..], &args].concat());
        place.ok(&streams);
    }
}

#[test]
fn another_log_a_missing_store_and_a_bad_head_file_are_refused() {
    let place = Place::new();
    with_head(&place, &[], "audit.db");
    let args = ["--store", "audit.db", "--head-file", "head/last", "--keys", "keys"];
    let streams = [&["log", "streams"][..], &args].concat();
    let append = [&["log", "append", "doors", "1"][..], &args].concat();
    let note = fs::read_to_string(place.path("head/last")).unwrap();

    for (bad, says) in
        [("", "is no checkpoint"), ("junk\n", "is no checkpoint"), (&note[..20], "is no checkpoint")]
    {
        fs::write(place.path("head/last"), bad).unwrap();
        assert!(place.fails(&streams).contains(says));
    }
    fs::remove_file(place.path("head/last")).unwrap();
    let said = place.fails(&streams);
    assert!(said.contains("there is no head file") && said.contains("accept-head"), "{said}");
    fs::write(place.path("head/last"), &note).unwrap();
    place.ok(&streams);

    let moved = place.path("moved.db");
    fs::rename(place.path("audit.db"), &moved).unwrap();
    let said = place.fails(&append);
    assert!(said.contains("there is no store at"), "{said}");
    assert!(!place.path("audit.db").exists(), "no new log is begun where one was");
    let other = ["log", "append", "doors", "1", "--store", "audit.db", "--origin", "example.com/x"];
    place.ok(&other);
    let said = place.fails(&append);
    assert!(said.contains("rolled-back"), "{said}");
}
