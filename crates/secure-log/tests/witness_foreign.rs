//! The log's side against a witness that somebody else wrote: `sigsum-witness` of sigsum-go (Debian's
//! package `sigsum-go`). `SECURE_LOG_SIGSUM` names the folder that holds its programs.

#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod parties;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parties::{TestLog, seed};
use secure_log::cosignature::CosignerKey;
use secure_log::note::Note;
use secure_log::policy::Policy;
use secure_log::signer::PublicKey;
use secure_log::witness::{AddCheckpoint, Answer, Refusal};
use sha2::{Digest, Sha256};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A running witness; it ends with the test.
struct Foreign {
    child: Child,
    at: SocketAddr,
    key: CosignerKey,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Foreign {
    fn start(programs: &Path, folder: &Path, log_key: &PublicKey) -> Self {
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
        std::fs::write(folder.join("log.pub"), run(&["from-hex"], &hex(&log_key.ed25519_raw().unwrap())))
            .unwrap();
        run(&["generate", "-o", "witness"], "");
        let public = run(&["to-hex", "-k", "witness.pub"], "");
        let public: Vec<u8> =
            (0..32).map(|i| u8::from_str_radix(&public[2 * i..2 * i + 2], 16).unwrap()).collect();
        let public = public.try_into().unwrap();
        let name = format!("sigsum.org/v1/witness/{}", hex(&Sha256::digest(public)));
        let key = CosignerKey::new(&name, PublicKey::from_ed25519_raw(&public)).unwrap();
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

    fn send(&self, request: &AddCheckpoint) -> Answer {
        let body = request.to_body();
        let mut stream = TcpStream::connect(self.at).unwrap();
        let length = body.len();
        write!(stream, "POST /add-checkpoint HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let split = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        request.accept(std::slice::from_ref(&self.key), status, &answer[split + 4..])
    }
}

fn prepare(log: &TestLog, from: u64) -> AddCheckpoint {
    AddCheckpoint::prepare(from, &log.proof_from(from), &log.checkpoint()).unwrap()
}

#[test]
fn sigsum_witness_cosigns_growth_and_refuses_rollback_and_fork() {
    let Some(programs) = std::env::var_os("SECURE_LOG_SIGSUM").map(PathBuf::from) else {
        eprintln!("SKIPPED: set SECURE_LOG_SIGSUM to the folder that holds sigsum-witness and sigsum-key");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let public = seed(1).public();
    let origin = format!("sigsum.org/v1/tree/{}", hex(&Sha256::digest(public.ed25519_raw().unwrap())));
    let witness = Foreign::start(&programs, folder.path(), &public);
    let policy =
        format!("log {}\nwitness w {}\nquorum w\n", TestLog::new(&origin, 1).verifier(), witness.key);
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let log = |size: u64| {
        let mut log = TestLog::new(&origin, 1);
        log.grow(size);
        log
    };
    let mut from = 0;
    for to in [1, 3, 7, 7, 8, 300] {
        let log = log(to);
        let Answer::Cosigned(cosignatures) = witness.send(&prepare(&log, from)) else {
            panic!("{from} to {to}")
        };
        let note = Note::parse(&log.checkpoint()).unwrap();
        assert!(!policy.evaluate(&note).unwrap().is_satisfied());
        let status = policy.require(&note.with_cosignatures(&cosignatures)).unwrap();
        assert!(status.is_satisfied() && status.cosigned[0].time > 1_700_000_000, "{status}");
        from = to;
    }
    let grown = log(400);
    assert_eq!(witness.send(&prepare(&grown, 7)), Answer::Conflict { size: 300 });
    // Rolled back.
    for old in [0, 7, 50] {
        let answer = witness.send(&prepare(&log(50), old));
        assert_eq!(answer, Answer::Refused(Refusal::Behind { size: 300 }), "from {old}");
    }
    // Forked, at the same size and at a larger one.
    let mut fork = TestLog::new(&origin, 1).fork(" forked");
    for size in [300, 400] {
        let answer = witness.send(&prepare(fork.grow(size), 300));
        assert!(matches!(answer, Answer::Refused(Refusal::Inconsistent(_))), "{answer:?}");
    }
    // Of another log, and by another key.
    let mut other = TestLog::new("example.com/other", 1);
    let answer = witness.send(&prepare(other.grow(1), 0));
    assert!(matches!(answer, Answer::Refused(Refusal::UnknownLog(_))), "{answer:?}");
    let mut stranger = TestLog::new(&origin, 2);
    let answer = witness.send(&prepare(stranger.grow(301), 300));
    assert!(matches!(answer, Answer::Refused(Refusal::Untrusted(_))), "{answer:?}");
    assert!(matches!(witness.send(&prepare(&grown, 300)), Answer::Cosigned(_)));
}
