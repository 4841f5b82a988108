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
use secure_log_verify::host::token::{GraphToken, TokenArtifact, TokenDir, provision};

use super::token::{LABEL, Token, dist, identity, kinds, pins};
use super::{signs, signs_or_says};

/// Names the directory and the artifact for [`maker`].
const DIR: &str = "SECURE_LOG_TEST_MAKER_DIR";
const GRAPH: &str = "SECURE_LOG_TEST_MAKER_GRAPH";
/// The same for [`token_maker`].
const NEW_DIR: &str = "SECURE_LOG_TEST_TOKEN_MAKER_DIR";
const NEW_KEYS: [(&str, KeySpec); 2] =
    [("ed25519", KeySpec::Ec(Curve::Ed25519)), ("ecdsa-p256", KeySpec::Ec(Curve::P256))];
const FIRST: &str = "SECURE_LOG_TEST_MAKER_FIRST";

/// In a process of its own: says that it begins, and makes a token.
#[test]
fn token_maker() {
    let [Ok(dir), Ok(graph)] = [NEW_DIR, GRAPH].map(std::env::var) else { return };
    let admin = admin(&dir, &graph);
    tell("begins");
    provision(&admin, LABEL, &NEW_KEYS).unwrap();
    tell("made");
}

fn admin(dir: &str, graph: &str) -> GraphToken {
    let dir = TokenDir::open(Path::new(dir)).unwrap();
    let mut guest = Guest { silent: true, ..Guest::default() };
    dir.prepare(&mut guest);
    let artifact = TokenArtifact::find(&dist().join(graph)).unwrap().unwrap();
    artifact.start(&guest, Arc::new(pins())).unwrap()
}

/// Past the test harness, which keeps what tests print.
fn tell(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// In a process of its own: makes keys without end and tells each on stdout.
#[test]
fn maker() {
    let [Ok(dir), Ok(graph), Ok(first)] = [DIR, GRAPH, FIRST].map(std::env::var) else { return };
    let admin = admin(&dir, &graph);
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
        tell(&format!("made {n}"));
    }
}

/// This program again, for one of the tests above.
fn child(test: &str, token: &Token) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(GRAPH, token.kind.graph);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Keys made and told by a maker that was killed after `count` of them.
fn killed_after(token: &Token, first: u16, count: usize) -> Vec<u16> {
    let mut command = child("survival::maker", token);
    command.env(DIR, token.dir.path()).env(FIRST, first.to_string());
    let mut child = command.spawn().unwrap();
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

#[test]
fn making_of_a_token_that_was_killed_leaves_none_or_one_that_says_what_is_missing() {
    for kind in kinds() {
        for round in 0..12 {
            let token = Token::empty(kind);
            let mut command = child("survival::token_maker", &token);
            let mut child = command.env(NEW_DIR, token.dir.path()).spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            assert!(lines.into_iter().any(|line| line.ends_with("begins")));
            std::thread::sleep(Duration::from_millis(round * round));
            child.kill().unwrap();
            child.wait().unwrap();
            let mut keystore = token.keystore();
            let before: Vec<_> =
                NEW_KEYS.iter().map(|(key, _)| signs_or_says(&mut keystore, &identity(key))).collect();
            let again = provision(&token.admin(), LABEL, &NEW_KEYS);
            match &again {
                Ok(()) => NEW_KEYS.iter().for_each(|(key, _)| signs(&mut token.keystore(), &identity(key))),
                // It is there; who signs with it hears what of a key is missing, and making it again makes it whole.
                Err(TokenError::Exists) => {
                    let missing = |said: &Option<(&str, String)>| {
                        said.as_ref().is_none_or(|(case, text)| {
                            *case == "key-not-found" || (*case == "invalid" && text.contains("not whole"))
                        })
                    };
                    assert!(before.iter().all(missing), "{}: {before:?}", kind.name);
                    let admin = token.admin();
                    let session = admin.find_token(LABEL).unwrap().unwrap().open_session(true).unwrap();
                    session.login(User::Normal).unwrap();
                    for (n, (key, spec)) in (0..).zip(NEW_KEYS) {
                        match (admin.generate_key(&session, spec, key, &[0xaa, n]), &before[usize::from(n)]) {
                            (Ok(()), Some(_)) | (Err(TokenError::Exists), None) => {}
                            (made, said) => panic!("{}: {key}: {made:?} after {said:?}", kind.name),
                        }
                        signs(&mut token.keystore(), &identity(key));
                    }
                }
                Err(error) => assert!(
                    matches!(
                        error,
                        TokenError::TokenAbsent
                            | TokenError::Unusable(_)
                            | TokenError::Locked
                            | TokenError::PinLocked
                    ),
                    "{}: {error:?} after {before:?}",
                    kind.name
                ),
            }
        }
    }
}
