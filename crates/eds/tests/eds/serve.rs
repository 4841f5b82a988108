//! Servers as real processes: records over HTTP, the operator's calls meanwhile, kill -9 and restart.

#![cfg(unix)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{PRIVATE, PUBLIC, Place, Server};
use serde_json::Value;

const PORT: [&str; 4] = ["--addr", "127.0.0.1:0", "--store", "audit.db"];

fn serve(place: &Place, more: &[&str]) -> Server {
    place.serve(&[&["serve"], &PORT[..], more].concat())
}

/// Signs records `from` to `to` of a device, each with the payload `payload N`.
fn records(place: &Place, device: &str, from: u64, to: u64) -> Vec<(Value, Vec<u8>)> {
    let mut made = Vec::new();
    for n in from..=to {
        let (number, payload) = (n.to_string(), format!("payload {n}"));
        let (out, before) = (format!("{device}-{n}.json"), format!("{device}-{}.json", n - 1));
        let mut args = vec![
            "audit",
            "sign-record",
            "--device-id",
            device,
            "--sequence",
            &number,
            "--payload",
            &payload,
            "--object-ref",
            &out,
            "--private-key-hex",
            PRIVATE,
            "--out",
            &out,
        ];
        if n > 1 {
            args.extend(["--prev-record", &before]);
        }
        place.ok(&args);
        let record = serde_json::from_slice(&std::fs::read(place.path(&out)).unwrap()).unwrap();
        made.push((record, payload.into_bytes()));
    }
    made
}

fn device(id: &str) -> String {
    format!("{id}={PUBLIC}")
}

#[test]
fn records_are_taken_verified_exported_and_checked_offline() {
    let place = Place::new();
    place.ok(&["keys", "create", "audit", "--keys", "keys"]);
    let keys = ["--sign-with", "audit", "--keys", "keys", "--origin", "example.com/lifts"];
    let server = serve(&place, &[&["--device", &device("lift-01")], &keys[..]].concat());
    assert_eq!(server.request("GET", "/healthz", b"").unwrap().0, 200);
    assert_eq!(server.request("GET", "/readyz", b"").unwrap().0, 200);
    let made = records(&place, "lift-01", 1, 5);
    for (record, payload) in &made {
        let (status, body) = server.ingest(record, payload).unwrap();
        assert_eq!(status, 202, "{body}");
    }
    let (status, body) = server.ingest(&made[2].0, &made[2].1).unwrap();
    assert!(status == 422 && body.contains("duplicate"), "{status} {body}");
    let (status, body) = server.ingest(&made[4].0, b"something else").unwrap();
    assert!(status == 422 && body.contains("payload hash mismatch"), "{status} {body}");
    assert_eq!(server.request("POST", "/api/v1/ingest", b"{").unwrap().0, 400);
    let metrics = server.request("GET", "/metrics", b"").unwrap().1;
    assert!(metrics.contains("edgesentry_ingest_accepted_total 5"), "{metrics}");
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(!place.path("audit.db.sock").exists());

    let log = std::fs::read_to_string(place.path("server.log")).unwrap();
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let accepted = events.iter().filter(|e| e["fields"]["message"] == "record accepted").count();
    assert_eq!(accepted, 5, "{log}");
    assert!(events.iter().any(|e| e["fields"]["message"] == "checkpoint signed"), "{log}");

    let key = place.ok(&["keys", "show", "audit", "--keys", "keys", "--origin", "example.com/lifts"]);
    let key = key.lines().last().unwrap();
    assert!(place.json(&["log", "verify", "--trust", key])["checkpoints"]["verified"].as_u64() >= Some(1));
    assert_eq!(place.json(&["audit", "verify-store"])["records"], 5);

    place.ok(&["audit", "export", "--device-id", "lift-01", "--out", "all.json"]);
    let chain = ["audit", "verify-chain", "--public-key-hex", PUBLIC, "--records-file"];
    assert_eq!(place.ok(&[&chain[..], &["all.json"]].concat()), "CHAIN_VALID\n");
    let part = place.json(&[
        "audit",
        "export",
        "--device-id",
        "lift-01",
        "--from",
        "3",
        "--to",
        "4",
        "--out",
        "part.json",
    ]);
    assert_eq!(part["anchor_proven"], true);
    let anchored = [&chain[..], &["part.json", "--anchor", "part.json.anchor", "--trust", key]].concat();
    assert_eq!(place.ok(&anchored), "CHAIN_VALID\n");
    assert!(
        place
            .fails(&[&chain[..], &["part.json"]].concat())
            .contains("chain verification failed: invalid sequence")
    );
    // An anchor of another place does not hold, whatever it says it is.
    let other = std::fs::read_to_string(place.path("part.json.anchor")).unwrap();
    let mut other: Value = serde_json::from_str(&other).unwrap();
    other["anchor"]["sequence"] = 3.into();
    std::fs::write(place.path("part.json.anchor"), other.to_string()).unwrap();
    assert!(place.fails(&anchored).contains("does not hold"));
}

#[test]
fn an_operator_reaches_the_registry_of_a_running_server() {
    let place = Place::new();
    let server = serve(&place, &["--device", &device("lift-01")]);
    let store = ["--store", "audit.db"];
    let run = |args: &[&str]| place.json(&[args, &store[..]].concat());
    let made = records(&place, "lift-01", 1, 3);
    assert_eq!(server.ingest(&made[0].0, &made[0].1).unwrap().0, 202);
    let shown = run(&["audit", "devices", "show", "lift-01"]);
    assert_eq!(shown["next_sequence"], 2);
    let key_id = shown["keys"][0]["key_id"].as_str().unwrap().to_owned();

    // Reading the records needs the log: the server makes a copy.
    let ran = place
        .run(&[&["audit", "export", "--device-id", "lift-01", "--out", "all.json"], &store[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("reading a copy"), "{}", ran.stderr);
    let busy = place.run(&[&["log", "head", "--wait", "0"], &store[..]].concat());
    assert!(busy.code == Some(1) && busy.stderr.contains("busy"), "{}", busy.stderr);
    place.ok(&[&["log", "backup", "copy.db"], &store[..]].concat());
    assert_eq!(place.json(&["log", "head", "device/lift-01/1", "--store", "copy.db"])["seqno"], 1);

    // A key that is revoked takes effect at once, and --device does not revive it.
    run(&["audit", "devices", "revoke", "lift-01", "--key-id", &key_id]);
    let (status, body) = server.ingest(&made[1].0, &made[1].1).unwrap();
    assert!(status == 422 && body.contains("revoked"), "{status} {body}");
    assert_eq!(server.stop().0, Some(0));
    let server = serve(&place, &["--device", &device("lift-01")]);
    let (status, body) = server.ingest(&made[1].0, &made[1].1).unwrap();
    assert!(status == 422 && body.contains("revoked"), "{status} {body}");
    let (_, said) = server.stop();
    assert!(said.contains("was revoked, and stays so"), "{said}");
    assert_eq!(run(&["audit", "devices", "add", &device("lift-01")])["registered"], "revoked");
}

#[test]
fn devices_are_managed_in_a_store_that_nobody_has_open() {
    let place = Place::new();
    let run = |args: &[&str]| place.json(&[&["audit", "devices"], args].concat());
    assert_eq!(run(&["add", &device("lift-01")])["registered"], "added");
    assert_eq!(run(&["add", &device("lift-01")])["registered"], "already registered");
    let taken = place.fails(&["audit", "devices", "add", &device("lift-02")]);
    assert!(taken.contains("lift-01") || taken.contains("another device"), "{taken}");
    let key: Value = serde_json::from_str(&place.ok(&["audit", "keygen"])).unwrap();
    let key = key["public_key_hex"].as_str().unwrap();
    let rotated = run(&["rotate", &format!("lift-01={key}"), "--revoke-old"]);
    assert_eq!(rotated["revoked"].as_array().unwrap().len(), 1);
    let epoch = run(&["epoch", "lift-01", "--first", "118", "--anchor", &"ab".repeat(32)]);
    assert_eq!(epoch["next_sequence"], 118);
    run(&["allow", "lift-01", "--versions", "1,2"]);
    let shown = run(&["show", "lift-01"]);
    assert_eq!(shown["versions"], serde_json::json!([1, 2]));
    assert_eq!(shown["epochs"].as_array().unwrap().len(), 2);
    run(&["revoke", "lift-01"]);
    assert!(run(&["list"])[0]["revoked"].as_u64().is_some());
    assert!(place.fails(&["audit", "devices", "show", "lift-09"]).contains("no device"));
}

#[test]
fn a_server_that_is_killed_under_load_lost_nothing_and_goes_on() {
    const DEVICES: u64 = 4;
    const EACH: u64 = 12;
    let place = Place::new();
    let ids: Vec<String> = (0..DEVICES).map(|n| format!("lift-{n}")).collect();
    // A key of its own for each: one key never serves two devices.
    let mut args = Vec::new();
    let mut made = Vec::new();
    for id in &ids {
        let file = format!("{id}.key.json");
        place.ok(&["audit", "keygen", "--out", &file]);
        let key: Value = serde_json::from_slice(&std::fs::read(place.path(&file)).unwrap()).unwrap();
        args.push(format!("{id}={}", key["public_key_hex"].as_str().unwrap()));
        let mut chain = Vec::new();
        for n in 1..=EACH {
            let (out, before) = (format!("{id}-{n}.json"), format!("{id}-{}.json", n - 1));
            let number = n.to_string();
            let mut sign = vec![
                "audit",
                "sign-record",
                "--device-id",
                id,
                "--sequence",
                &number,
                "--payload",
                &number,
                "--object-ref",
                &out,
                "--key-file",
                &file,
                "--out",
                &out,
            ];
            if n > 1 {
                sign.extend(["--prev-record", &before]);
            }
            place.ok(&sign);
            let record: Value = serde_json::from_slice(&std::fs::read(place.path(&out)).unwrap()).unwrap();
            chain.push((record, number.into_bytes()));
        }
        made.push(chain);
    }
    let devices: Vec<&str> = args.iter().flat_map(|device| ["--device", device]).collect();
    let acknowledged: Vec<AtomicU64> = ids.iter().map(|_| AtomicU64::new(0)).collect();
    let mut kills = 0;
    while acknowledged.iter().any(|n| n.load(Ordering::SeqCst) < EACH) {
        let server = serve(&place, &devices);
        let done = AtomicBool::new(false);
        let addr = server.addr;
        std::thread::scope(|scope| {
            for (chain, count) in made.iter().zip(&acknowledged) {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::SeqCst) {
                        let Some((record, payload)) = chain.get(count.load(Ordering::SeqCst) as usize) else {
                            return;
                        };
                        let body =
                            serde_json::json!({"record": record, "raw_payload_hex": hex::encode(payload)});
                        match crate::support::request(
                            addr,
                            "POST",
                            "/api/v1/ingest",
                            body.to_string().as_bytes(),
                        ) {
                            // Stored before the kill, and not acknowledged: it is recognised.
                            Ok((202, _)) => _ = count.fetch_add(1, Ordering::SeqCst),
                            Ok((422, body)) if body.contains("duplicate") => {
                                _ = count.fetch_add(1, Ordering::SeqCst)
                            }
                            Ok((status, body)) => panic!("{status} {body}"),
                            Err(_) => return,
                        }
                    }
                });
            }
            // After some records, in the middle of others.
            let before: u64 = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).sum();
            let until = Instant::now() + Duration::from_secs(30);
            while Instant::now() < until {
                let now: u64 = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).sum();
                if now >= before + 10 || now == DEVICES * EACH {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            server.kill();
            kills += 1;
            done.store(true, Ordering::SeqCst);
        });
        assert!(kills < 40, "it never ends: {acknowledged:?}");
    }
    assert!(kills >= 3, "{kills} kills");
    let report = place.json(&["audit", "verify-store"]);
    assert_eq!(report["records"], DEVICES * EACH);
    for id in &ids {
        let shown = place.json(&["audit", "devices", "show", id]);
        assert_eq!(shown["next_sequence"], EACH + 1);
    }
    place.ok(&["log", "verify"]);
}

#[test]
fn a_broken_start_says_what_to_do() {
    let place = Place::new();
    for (args, said) in [
        (&["serve", "--allowed-sources", "10.0.0.0/99"][..], "--allowed-sources"),
        (&["serve", "--device", "lift-01"], "ID=PUBKEY_HEX"),
        (&["serve", "--addr", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
        (&["serve", "--allow-v1", "lift-09", "--addr", "127.0.0.1:0"], "lift-09"),
        (&["serve", "--sign-with", "audit"], "eds keys create"),
        (&["serve", "--sign-with", "audit", "--keys", "."], "there is no key"),
        (&["serve", "--stack", "file"], "no stack"),
        (
            &["serve-tls", "--tls-cert", "none.crt", "--tls-key", "none.key", "--addr", "127.0.0.1:0"],
            "none.crt",
        ),
        (&["serve-mqtt", "--topic", "a/#/b"], "topic"),
    ] {
        let refused = place.fails(args);
        assert!(refused.contains(said), "{args:?}: {refused}");
    }
    assert!(!place.path("audit.db.sock").exists());
    let state = place.path("state");
    std::fs::create_dir(&state).unwrap();
    let mut command = place.command(&["audit", "devices", "add", &device("lift-01")]);
    let ran = command.env("STATE_DIRECTORY", &state).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(state.join("audit.db").exists());
}

#[test]
fn the_service_manager_is_told() {
    let place = Place::new();
    let socket = std::os::unix::net::UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut child = place
        .command(&["serve", "--addr", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", place.path("notify"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut said = [0; 64];
    let length = socket.recv(&mut said).unwrap();
    assert_eq!(std::str::from_utf8(&said[..length]).unwrap().trim(), "READY=1");
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_demo_is_ingested_and_what_was_changed_is_refused() {
    let place = Place::new();
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
    let mut records: Value =
        serde_json::from_slice(&std::fs::read(place.path("records.json")).unwrap()).unwrap();
    records[0]["payload_hash"][0] = (records[0]["payload_hash"][0].as_u64().unwrap() ^ 1).into();
    std::fs::write(place.path("tampered.json"), records.to_string()).unwrap();
    let ingest = [
        "audit",
        "demo-ingest",
        "--records-file",
        "records.json",
        "--payloads-file",
        "payloads.json",
        "--device-id",
        "lift-01",
        "--tampered-records-file",
        "tampered.json",
        "--reset",
    ];
    let said = place.ok(&ingest);
    assert_eq!(said.lines().filter(|line| line.starts_with("accepted\t")).count(), 3, "{said}");
    assert!(said.contains("tampered: rejected\tlift-01\t1\tpayload hash mismatch"), "{said}");
    // With --reset it begins anew; without, the records are there already.
    assert_eq!(place.ok(&ingest), said);
    let again = place.ok(&ingest[..ingest.len() - 1]);
    assert_eq!(again.lines().filter(|line| line.starts_with("already there\t")).count(), 3, "{again}");
    // A store with other devices is not removed.
    let key: Value = serde_json::from_str(&place.ok(&["audit", "keygen"])).unwrap();
    let other = format!("lift-02={}", key["public_key_hex"].as_str().unwrap());
    place.ok(&["audit", "devices", "add", &other, "--store", "demo-audit.db"]);
    assert!(place.fails(&ingest).contains("not removed"));
}
