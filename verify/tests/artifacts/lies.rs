//! A store component that lies, under the core that is shipped: `dist/test/lying-log.wasm`. What each lie looks like
//! through the log's interface, that no lie is a trap, and that nothing is signed over one.

use std::path::Path;

use crate::common::dist;
use secure_log_conformance::liar::{Lie, VICTIM};
use secure_log_verify::failure::{self, Failure};
use secure_log_verify::host::types::Severity;
use secure_log_verify::host::{Artifact, Guest, Hosted};

/// What was true and is kept elsewhere: who may have signed, the last checkpoint, and how many entries there were.
struct Known {
    trusted: Vec<String>,
    note: String,
    entries: u64,
}

struct Scene {
    artifact: Artifact,
    dir: tempfile::TempDir,
    known: Known,
}

fn open(artifact: &Artifact, dir: &Path, lie: Lie) -> failure::Result<Hosted> {
    let mut guest = Guest { silent: true, ..Guest::default() };
    guest.preopen(dir, "/data");
    guest.set_env("SECURE_LOG_KEYSTORE_DIR", "/data");
    guest.set_env("SECURE_LOG_KEYSTORE_GENERATE", "1");
    let mut log = artifact.start(&guest).unwrap();
    // Logs are dropped here without being closed: the next one has the store soon.
    log.open(&format!("{lie:?}@/data/audit.db?lease-ms=200"))?;
    Ok(log)
}

fn append(log: &mut Hosted, stream: &str, n: u64) -> failure::Result<u64> {
    let payload = format!("{stream} {n}, with a payload that is long enough to be changed in");
    log.append(stream, "opened", Severity::Notice, "gate", payload.as_bytes()).map(|entry| entry.seqno)
}

fn seal(log: &mut Hosted) -> failure::Result<String> {
    let segments = log.close_segments()?;
    let last = segments.iter().map(|segment| segment.segment_id).max().unwrap_or(0);
    Ok(log.sign_segment("audit", last)?.note)
}

fn verify(log: &mut Hosted, known: &Known) -> failure::Result<()> {
    for stream in [VICTIM, "alarms"] {
        let last = log.head(stream)?.map_or(0, |head| head.seqno);
        log.verify_chain(stream, 1, last.max(known.entries))?;
        log.verify_segments(stream)?;
    }
    log.verify_checkpoint_chain(&known.trusted)?;
    log.check_against(&known.note)
}

impl Scene {
    fn new() -> Self {
        let artifact = Artifact::load(&dist("test/lying-log.wasm")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let entries = 12;
        let mut log = open(&artifact, dir.path(), Lie::None).unwrap();
        for n in 1..=entries {
            for stream in [VICTIM, "alarms"] {
                assert_eq!(append(&mut log, stream, n).unwrap(), n);
            }
        }
        let note = seal(&mut log).unwrap();
        let known = Known { trusted: vec![log.verifier_key("audit").unwrap()], note, entries };
        verify(&mut log, &known).unwrap();
        log.close().unwrap();
        Self { artifact, dir, known }
    }

    fn told(&self, lie: Lie) -> failure::Result<Hosted> {
        open(&self.artifact, self.dir.path(), lie)
    }

    /// The same files, and the truth about them.
    fn holds(&self) {
        let mut log = self.told(Lie::None).unwrap();
        verify(&mut log, &self.known).unwrap();
        log.close().unwrap();
    }
}

fn typed(lie: Lie, failure: &Failure) {
    assert!(
        matches!(
            failure.kind(),
            "corrupt" | "not-found" | "denied" | "storage" | "conflict" | "busy" | "rolled-back"
        ),
        "{lie:?}: {} {failure}",
        failure.kind()
    );
}

#[test]
fn each_lie_of_a_store_component_is_caught_and_never_a_trap() {
    let scene = Scene::new();
    for lie in Lie::ALL {
        let outcome = scene.told(lie).and_then(|mut log| verify(&mut log, &scene.known));
        match lie {
            // Of what is written, or of what verifying does not rely on.
            Lie::Forgets | Lie::Conflicts | Lie::Ids | Lie::TooMany | Lie::Tiles => {
                if let Err(failure) = outcome {
                    typed(lie, &failure);
                }
            }
            _ => typed(lie, &outcome.expect_err(&format!("{lie:?} was not caught"))),
        }
        scene.holds();
    }
}

#[test]
fn nothing_is_signed_over_a_lie_of_a_store_component() {
    let scene = Scene::new();
    for lie in Lie::ALL.into_iter().filter(|lie| *lie != Lie::Forgets) {
        let mut honest = scene.told(Lie::None).unwrap();
        append(&mut honest, VICTIM, 100).unwrap();
        honest.close().unwrap();
        if let Ok(mut log) = scene.told(lie)
            && let Err(failure) = append(&mut log, VICTIM, 101).and_then(|_| seal(&mut log))
        {
            typed(lie, &failure);
        }
        // Whatever was signed is what the entries give.
        scene.holds();
    }
}

#[test]
fn a_store_component_that_forgets_rolls_back_or_forks_is_betrayed_by_what_is_kept_elsewhere() {
    let scene = Scene::new();
    // It acknowledges and does not keep: the receipt has no entry.
    let mut log = scene.told(Lie::Forgets).unwrap();
    let receipt = append(&mut log, VICTIM, 13).unwrap();
    drop(log);
    let mut log = scene.told(Lie::None).unwrap();
    assert_eq!(log.read(VICTIM, receipt).unwrap_err().kind(), "not-found");

    // Two histories from here on.
    let copy = |to: &Path| {
        for entry in std::fs::read_dir(scene.dir.path()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    log.close().unwrap();
    let (older, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(older.path());
    copy(other.path());
    let mut log = scene.told(Lie::None).unwrap();
    append(&mut log, VICTIM, 13).unwrap();
    let note = seal(&mut log).unwrap();
    let mut rolled_back = open(&scene.artifact, older.path(), Lie::None).unwrap();
    assert_eq!(rolled_back.check_against(&note).unwrap_err().kind(), "rolled-back");
    let mut forked = open(&scene.artifact, other.path(), Lie::None).unwrap();
    append(&mut forked, "alarms", 13).unwrap();
    append(&mut forked, "alarms", 14).unwrap();
    let beside = seal(&mut forked).unwrap();
    assert_eq!(forked.check_against(&note).unwrap_err().kind(), "rolled-back");
    assert_eq!(log.check_against(&beside).unwrap_err().kind(), "rolled-back");
}
