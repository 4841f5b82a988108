//! Keys whose making was answered are there, whatever happens next.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secure_log_pkcs11::token::{
    Admin as _, Curve, KeySpec, Session as _, Slot as _, TokenError, Tokens as _, User,
};
use secure_log_verify::host::Guest;
use secure_log_verify::host::token::{TokenArtifact, TokenDir};

use super::signs;
use super::token::{LABEL, Token, dist, identity, kinds, pins};

/// Names the directory and the artifact for [`maker`].
const DIR: &str = "SECURE_LOG_TEST_MAKER_DIR";
const GRAPH: &str = "SECURE_LOG_TEST_MAKER_GRAPH";
const FIRST: &str = "SECURE_LOG_TEST_MAKER_FIRST";

/// In a process of its own: makes keys without end and tells each on stdout.
#[test]
fn maker() {
    let [Ok(dir), Ok(graph), Ok(first)] = [DIR, GRAPH, FIRST].map(std::env::var) else { return };
    let dir = TokenDir::open(Path::new(&dir)).unwrap();
    let mut guest = Guest { silent: true, ..Guest::default() };
    dir.prepare(&mut guest);
    let artifact = TokenArtifact::find(&dist().join(graph)).unwrap().unwrap();
    let admin = artifact.start(&guest, Arc::new(pins())).unwrap();
    let session = admin.find_token(LABEL).unwrap().unwrap().open_session(true).unwrap();
    session.login(User::Normal).unwrap();
    for n in first.parse::<u16>().unwrap().. {
        let made = || {
            let spec = KeySpec::Ec(if n % 2 == 0 { Curve::P256 } else { Curve::Ed25519 });
            admin.generate_key(&session, spec, &format!("key-{n}"), &n.to_be_bytes())
        };
        // Whoever was killed with the lease leaves it for three seconds.
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = made() {
            assert!(error == TokenError::Locked && Instant::now() < deadline, "{error:?}");
        }
        let mut out = std::io::stdout();
        writeln!(out, "made {n}").unwrap();
        out.flush().unwrap();
    }
}

/// Keys made and told by a maker that was killed after `count` of them.
fn killed_after(token: &Token, first: u16, count: usize) -> Vec<u16> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "survival::maker", "--nocapture", "--test-threads=1"])
        .env(DIR, token.dir.path())
        .env(GRAPH, token.kind.graph)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The test harness does not end the line before a test's first.
    let number = |line: String| line.rsplit_once("made ").and_then(|(_, n)| n.parse().ok());
    let mut told: Vec<u16> = lines.by_ref().filter_map(number).take(count).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    told.extend(lines.filter_map(number));
    assert!(told.len() >= count, "the maker ended by itself");
    told
}

#[test]
fn keys_survive_a_kill_right_after_they_were_made() {
    for kind in kinds() {
        let token = kind.token();
        let (mut first, mut all) = (0x1000, Vec::new());
        for count in [1, 2, 3, 1] {
            let told = killed_after(&token, first, count);
            // A key may have been made whose answer was cut off.
            first = told.last().unwrap() + 0x100;
            all.extend(told);
            let mut keystore = token.keystore();
            for n in &all {
                signs(&mut keystore, &identity(&format!("key-{n}")));
            }
            signs(&mut keystore, &identity("rsa-pss-sha256"));
        }
    }
}
