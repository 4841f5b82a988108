//! A full disk gives a `storage` error and loses nothing; with space again, the log goes on.

use std::process::Command;

use crate::common::{STACKS, launcher};
use secure_log_verify::host::types::Severity;
use secure_log_verify::store_path::StorePath;

/// Directory of the small file system, for the part of the test that runs inside of it.
const MOUNT: &str = "SECURE_LOG_TEST_MOUNT";

/// Runs the other test in a mount namespace of its own, which ends with it.
#[test]
fn full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=6m tmpfs '{0}' && {MOUNT}='{0}' exec \"$0\" --exact --ignored --nocapture full_disk::on_a_small_disk",
        dir.path().display()
    );
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let output = command
        .args(["--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .output()
        .expect("`unshare` (util-linux) is needed to mount a small file system for this test");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

#[test]
#[ignore = "run by `full_disk`, on a file system that it mounts"]
fn on_a_small_disk() {
    let mount = std::path::PathBuf::from(std::env::var_os(MOUNT).unwrap());
    for (artifact, name) in STACKS {
        let launcher = launcher(artifact, true);
        let store = StorePath::file(&mount.join(name)).unwrap();
        let mut log = launcher.open(&store).unwrap();
        let filler = mount.join("filler");
        std::fs::write(&filler, vec![0; 2 << 20]).unwrap();
        let mut acks = Vec::new();
        let error = loop {
            match log.append("s", "t", Severity::Notice, "p", &vec![7; 20_000]) {
                Ok(ack) => acks.push(ack),
                Err(error) => break error,
            }
            assert!(acks.len() < 1_000, "the disk did not fill up");
        };
        assert_eq!(error.kind(), "storage", "{artifact}: {error}");
        // Still full: reading works, the same error again, nothing half-written.
        assert_eq!(log.head("s").unwrap().unwrap().seqno, acks.len() as u64, "{artifact}");
        let again = log.append("s", "t", Severity::Notice, "p", &vec![7; 20_000]).unwrap_err();
        assert_eq!(again.kind(), "storage", "{artifact}: {again}");

        std::fs::remove_file(&filler).unwrap();
        for _ in 0..5 {
            acks.push(log.append("s", "t", Severity::Notice, "p", b"space again").unwrap());
        }
        log.finish().unwrap();
        let mut log = launcher.open(&store).unwrap();
        assert_eq!(log.head("s").unwrap().unwrap().seqno, acks.len() as u64, "{artifact}");
        for (n, ack) in acks.iter().enumerate() {
            assert_eq!(log.read("s", n as u64 + 1).unwrap().entry_hash, ack.entry_hash, "{artifact}");
        }
        crate::common::verify_all(&mut log);
        log.finish().unwrap();

        // Opened while the disk is full: either it opens, or it says why not, and later it does.
        std::fs::write(&filler, vec![0; 6 << 20]).unwrap_err();
        let mut full = launcher.start(&store, &[]).unwrap();
        match full.open_log() {
            Ok(()) => drop(full),
            Err(error) => assert_eq!(error.kind(), "storage", "{artifact}: {error}"),
        }
        std::fs::remove_file(&filler).unwrap();
        crate::common::verify_all(&mut launcher.open(&store).unwrap());
        for entry in std::fs::read_dir(&mount).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
    }
}
