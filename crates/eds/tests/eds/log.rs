//! `eds log` on the stacks that the program carries.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{Place, Ran};
use serde_json::Value;

/// A log with a few entries, sealed and signed: its verifier key.
fn filled(place: &Place, stack: &[&str]) -> String {
    place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    let with = |args: &[&'static str]| -> Vec<String> {
        args.iter().map(|a| (*a).to_owned()).chain(stack.iter().map(|a| (*a).to_owned())).collect()
    };
    let run = |args: &[&'static str]| {
        let args = with(args);
        place.ok(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(&[
        "log",
        "append",
        "doors",
        "door 3 opened",
        "--type",
        "door.opened",
        "--producer",
        "c-7",
        "--origin",
        "example.com/test",
    ]);
    run(&["log", "append", "doors", "door 3 forced", "--type", "door.forced", "--severity", "alert"]);
    std::fs::write(place.path("lines.txt"), "one\ntwo\nthree\n").unwrap();
    assert!(
        run(&["log", "append", "lines", "--lines", "lines.txt"]).starts_with("3 events; the last is entry 3")
    );
    std::fs::write(place.path("photo.bin"), [0xff, 0, 1, 2]).unwrap();
    run(&["log", "append", "photos", "--file", "photo.bin", "--encoding", "image/x"]);
    let note = run(&["log", "sign", "--identity", "audit", "--keys", "keys"]);
    assert!(note.starts_with("example.com/test\n"), "{note}");
    let shown = place.ok(&["keys", "show", "audit", "--keys", "keys", "--origin", "example.com/test"]);
    shown.lines().last().unwrap().to_owned()
}

fn works_on(stack: &[&str]) {
    let place = Place::new();
    let key = filled(&place, stack);
    let run = |args: &[&str]| place.json(&[args, stack].concat());
    let text = |args: &[&str]| place.ok(&[args, stack].concat());

    let streams = run(&["log", "streams"]);
    let names: Vec<_> =
        streams.as_array().unwrap().iter().map(|s| s["stream_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["_log", "doors", "lines", "photos"]);
    let head = run(&["log", "head"]);
    assert_eq!(head["origin"], "example.com/test");
    assert_eq!(head["checkpoint"]["number"], 1);
    assert_eq!(run(&["log", "head", "doors"])["seqno"], 2);

    let entry = run(&["log", "read", "doors", "1"]);
    assert_eq!((entry["payload"].as_str(), entry["producer"].as_str()), (Some("door 3 opened"), Some("c-7")));
    let raw =
        place.command(&[&["log", "read", "photos", "1", "--payload"], stack].concat()).output().unwrap();
    assert_eq!(raw.stdout, [0xff, 0, 1, 2]);

    let found = text(&["log", "query", "--min-severity", "warning"]);
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(found.contains("door.forced"), "{found}");
    assert_eq!(text(&["log", "query", "--stream", "lines", "--limit", "2"]).lines().count(), 2);
    let tail = text(&["log", "tail", "lines", "-n", "1", "--payloads"]);
    assert!(tail.ends_with("\tthree\n"), "{tail}");

    let verified = run(&["log", "verify", "--trust", &key]);
    assert_eq!(verified["checkpoints"]["verified"], 1);
    assert_eq!(verified["checkpoints"]["entries_uncovered"], 0);
    assert!(text(&["log", "verify"]).contains("checkpoints: not checked"));

    text(&["log", "prove", "doors", "2", "-o", "proof.json"]);
    let proven = place.json(&["log", "verify-proof", "proof.json", "--trust", &key]);
    assert_eq!((&proven["stream_id"], &proven["seqno"]), (&"doors".into(), &2.into()));
    let mut proof: Value = serde_json::from_slice(&std::fs::read(place.path("proof.json")).unwrap()).unwrap();
    proof["seqno"] = 1.into();
    std::fs::write(place.path("forged.json"), proof.to_string()).unwrap();
    assert!(place.fails(&["log", "verify-proof", "forged.json", "--trust", &key]).contains("does not prove"));

    text(&["log", "append", "doors", "later"]);
    let closed = run(&["log", "segments", "close", "doors"]);
    assert_eq!((&closed[0]["first_seqno"], &closed[0]["size"]), (&3.into(), &3.into()));
    assert_eq!(run(&["log", "segments", "list", "doors"]).as_array().unwrap().len(), 2);
}

#[test]
fn everything_works_on_sqlite() {
    works_on(&["--store", "audit.db"]);
}

#[test]
fn everything_works_on_the_file_store() {
    works_on(&["--stack", "file", "--store", "audit.jsonl"]);
}

#[test]
fn an_event_with_an_id_is_appended_once() {
    let place = Place::new();
    let append = ["log", "append", "s", "payload", "--id", "e1"];
    assert_eq!(place.ok(&append), place.ok(&append));
    let other = place.fails(&["log", "append", "s", "another", "--id", "e1"]);
    assert!(other.contains("conflict"), "{other}");
}

#[test]
fn lines_come_from_a_pipe() {
    let place = Place::new();
    let mut child = place
        .command(&["log", "append", "s", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for n in 0..2_500 {
        writeln!(stdin, "event {n}").unwrap();
    }
    drop(stdin);
    let ran = Ran::from(child.wait_with_output().unwrap());
    let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["events"], &last["seqno"]), (&2_500.into(), &2_500.into()), "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
    assert_eq!(place.json(&["log", "read", "s", "2500"])["payload"], "event 2499");
}

#[test]
fn copies_and_imports_are_the_same_log() {
    let place = Place::new();
    let key = filled(&place, &["--store", "audit.db"]);
    std::fs::create_dir(place.path("copies")).unwrap();
    place.ok(&["log", "backup", "copies/copy.db", "--store", "audit.db"]);
    let heads = |store: &[&str]| -> Vec<Value> {
        let streams = place.json(&[&["log", "streams"], store].concat());
        streams.as_array().unwrap().iter().map(|stream| stream["head"].clone()).collect()
    };
    let ours = heads(&["--store", "audit.db"]);
    assert_eq!(heads(&["--store", "copies/copy.db"]), ours);
    assert!(
        place.fails(&["log", "backup", "copies/copy.db", "--store", "audit.db"]).contains("copies/copy.db")
    );

    place.ok(&["log", "export", "-o", "export.jsonl", "--store", "audit.db", "--key", &key]);
    assert_eq!(place.json(&["log", "verify-export", "export.jsonl", "--trust", &key])["checkpoints"], 1);
    let streamed = place.ok(&["log", "export", "--store", "audit.db", "--key", &key]);
    assert_eq!(streamed.as_bytes(), std::fs::read(place.path("export.jsonl")).unwrap());
    for (stack, store) in [("file", "imported.jsonl"), ("sqlite", "imported.db")] {
        let import = ["log", "import", "export.jsonl", "--trust", &key, "--stack", stack, "--store", store];
        place.ok(&import);
        let at = ["--stack", stack, "--store", store];
        assert_eq!(heads(&at), ours);
        place.ok(&[&["log", "verify", "--trust", &key], &at[..]].concat());
        // It is a log like any other: it goes on, and exports the same.
        let again = place.ok(&[&["log", "export", "--key", &key], &at[..]].concat());
        assert_eq!(again, streamed);
        place.ok(&[&["log", "append", "doors", "after the import"], &at[..]].concat());
        assert!(place.fails(&import).contains("is there already"));
    }

    // What was changed is not imported, and nothing is left of the attempt.
    let changed = streamed.replacen("\"payload\":\"", "\"payload\":\"A", 1);
    std::fs::write(place.path("changed.jsonl"), changed).unwrap();
    place.fails(&["log", "import", "changed.jsonl", "--trust", &key, "--store", "never.db"]);
    let left: Vec<_> = std::fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("never")), "{left:?}");
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".eds")), "{left:?}");
}

#[test]
fn a_changed_store_does_not_verify() {
    let place = Place::new();
    let stack = ["--stack", "file", "--store", "audit.jsonl"];
    let key = filled(&place, &stack);
    let payloads: Vec<_> = crate::support::files_below(&place.path(""))
        .into_iter()
        .filter(|path| std::fs::read(path).unwrap().windows(13).any(|w| w == b"door 3 opened"))
        .collect();
    assert_eq!(payloads.len(), 1, "{payloads:?}");
    let bytes = std::fs::read(&payloads[0]).unwrap();
    let at = bytes.windows(13).position(|w| w == b"door 3 opened").unwrap();
    let mut changed = bytes;
    changed[at + 5] = b'4';
    std::fs::write(&payloads[0], changed).unwrap();
    let refused = place.fails(&[&["log", "verify", "--trust", &key], &stack[..]].concat());
    assert!(refused.contains("doors") && refused.contains("corrupt"), "{refused}");
}

#[test]
fn what_is_not_there_is_not_made_by_looking() {
    let place = Place::new();
    for args in [
        &["log", "head"][..],
        &["log", "verify"],
        &["log", "export"],
        &["audit", "devices", "list"],
        &["audit", "verify-store"],
    ] {
        let refused = place.fails(&[args, &["--store", "typo.db"]].concat());
        assert!(refused.contains("there is no log at typo.db"), "{refused}");
    }
    assert!(!place.path("typo.db").exists());
    assert!(place.fails(&["log", "head", "--store", "no/such/dir/a.db"]).contains("no/such/dir"));
    assert!(place.fails(&["log", "head", "--stack", "postgres"]).contains("sqlite"));
    assert!(place.fails(&["log", "head", "--stack", "remote"]).contains("SECURE_LOG_RPC_URL"));
}

#[test]
fn a_store_that_somebody_has_open_is_busy() {
    let place = Place::new();
    place.ok(&["log", "append", "s", "one"]);
    let mut holder = place.command(&["log", "append", "s"]).stdin(Stdio::piped()).spawn().unwrap();
    writeln!(holder.stdin.as_mut().unwrap(), "two").unwrap();
    while !place.path("audit.db.lock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // The lock file stays when nobody holds it, so the holder may still be starting.
    let busy = (0..200).find_map(|_| {
        let ran = place.run(&["log", "head", "--wait", "0"]);
        std::thread::sleep(std::time::Duration::from_millis(50));
        (ran.code == Some(1)).then_some(ran.stderr)
    });
    let busy = busy.expect("nobody was in the way");
    assert!(busy.starts_with("error: busy: another process has"), "{busy}");
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert_eq!(place.json(&["log", "head", "s"])["seqno"], 2);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    std::fs::write(place.path("lines.txt"), "line\n".repeat(2_000)).unwrap();
    place.ok(&["log", "append", "s", "--lines", "lines.txt"]);
    let script = format!(
        "{} log query --payloads | head -n 1; exit ${{PIPESTATUS:-0}}",
        crate::support::program().display()
    );
    let ran =
        std::process::Command::new("sh").args(["-c", &script]).current_dir(place.path("")).output().unwrap();
    assert_eq!(ran.stderr, b"", "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.stdout.iter().filter(|b| **b == b'\n').count(), 1);
}

#[test]
fn stacks_are_described() {
    let place = Place::new();
    let list = place.ok(&["stack"]);
    assert!(list.contains("secure-log-sqlite") && list.contains("secure-log-file"), "{list}");
    let stack = place.json(&["stack", "sqlite"]);
    let names = |what: &str| -> Vec<String> {
        stack[what].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect()
    };
    assert!(names("exports").iter().any(|n| n.starts_with("secure-log:log/log@")), "{stack}");
    assert!(names("imports").iter().any(|n| n.starts_with("wasi:filesystem/types@")), "{stack}");
    let roles: Vec<_> =
        stack["parts"].as_array().unwrap().iter().map(|part| part["role"].as_str().unwrap()).collect();
    for role in ["core", "store", "keystore"] {
        assert_eq!(roles.iter().filter(|r| **r == role).count(), 1, "{role}: {roles:?}");
    }
    assert!(place.ok(&["stack", "ingest-sqlite"]).contains("  gate, "));
    std::fs::write(place.path("text.wasm"), "text").unwrap();
    assert!(place.fails(&["stack", "text.wasm"]).contains("not a WebAssembly component"));
}
