//! Evidence bundles: made by the program, checked by it, by the library and by standard tools; and forged ones.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use edgesentry_audit::evidence::{self, Trust};
use secure_log::cosignature::CosignerKey;
use secure_log::note::{CheckpointBody, Note, VerifierKey};
use secure_log::policy::Policy;
use secure_log::signer::PublicKey;
use serde_json::{Value, json};

use crate::pki::{GOOD, Pki};
use crate::support::{PUBLIC, Place};
use crate::trust::authority;

const ORIGIN: &str = "example.com/audit";

/// A log with records of a device and entries of a stream, signed and stamped.
struct Evidence {
    place: Place,
    key: String,
    device: String,
    range: String,
}

fn key_of(place: &Place, name: &str, origin: &str) -> String {
    let said = place.ok(&["keys", "show", name, "--origin", origin, "--keys", "keys"]);
    said.lines().find_map(|line| VerifierKey::parse(line.trim()).ok()).unwrap().to_string()
}

impl Evidence {
    fn make() -> Self {
        let place = Place::new();
        let pki = std::sync::Arc::new(Pki::new());
        pki.certificate("tsa", GOOD);
        fs::write(place.path("root.pem"), pki.read("root.pem")).unwrap();
        for name in ["audit", "other"] {
            place.ok(&["keys", "create", name, "--keys", "keys"]);
        }
        let store = ["--store", "audit.db", "--keys", "keys"];
        for n in 1..=12 {
            let text = format!("door {n}");
            place.ok(&[&["log", "append", "doors", &text, "--origin", ORIGIN][..], &store].concat());
        }
        let files = ["--out-file", "records.json", "--payloads-file", "payloads.json"];
        place.ok(&[&["audit", "demo-lift-inspection", "--device-id", "lift-01"][..], &files].concat());
        let ingest = ["--records-file", "records.json", "--payloads-file", "payloads.json"];
        place.ok(&[&["audit", "demo-ingest", "--device-id", "lift-01", "--store", "audit.db"][..], &ingest]
            .concat());
        place.ok(&[&["log", "sign", "--identity", "audit"][..], &store].concat());
        let url = authority(pki, "tsa");
        for subject in [&[][..], &["--entry", "doors/3"]] {
            let args = ["log", "stamp", "--tsa", &url, "--tsa-trust", "root.pem"];
            place.ok(&[&args[..], subject, &store].concat());
        }
        let key = key_of(&place, "audit", ORIGIN);
        let bundle = |out: &str, what: &[&str]| {
            place.ok(&[&["audit", "bundle", "--trust", &key, "--out", out][..], what, &store].concat());
            fs::read_to_string(place.path(out)).unwrap()
        };
        let device = bundle("device.jsonl", &["--device-id", "lift-01"]);
        let range = bundle("range.jsonl", &["--stream", "doors", "--from", "2", "--to", "7"]);
        assert_eq!(
            range,
            bundle("again.jsonl", &["--stream", "doors", "--from", "2", "--to", "7"]),
            "deterministic"
        );
        Self { place, key, device, range }
    }

    fn by_tools(&self, file: &str, key: &str, more: &[&str]) -> (Option<i32>, String) {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/verify-with-standard-tools.py");
        let mut command = Command::new("python3");
        command.arg(script).args([file, key]).args(more).current_dir(self.place.path(""));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    }

    /// A forged bundle is refused by the library, the program and the script.
    fn refuses(&self, name: &str, forged: &str, says: &str) {
        let keys = vec![self.key.clone()];
        let refused = evidence::verify(forged, &Trust { keys, ..Trust::default() });
        let refused = refused.map(drop).expect_err(name).to_string();
        assert!(refused.contains(says), "{name}: {refused}");
        fs::write(self.place.path("forged.jsonl"), forged).unwrap();
        let said = self.place.fails(&["audit", "verify-bundle", "forged.jsonl", "--trust", &self.key]);
        assert!(said.contains("NOT evidence") && said.contains(says), "{name}: {said}");
        let (code, said) = self.by_tools("forged.jsonl", &self.key, &[]);
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains("DOES NOT HOLD"), "{name}: {said}");
    }
}

/// The lines as JSON, changed.
fn changed(bundle: &str, change: impl FnOnce(&mut Vec<Value>)) -> String {
    let mut lines: Vec<Value> = bundle.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    change(&mut lines);
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The entry lines of a stream.
fn entries<'a>(lines: &'a mut [Value], stream: &str) -> Vec<&'a mut Value> {
    lines.iter_mut().filter(|line| stream_of(line).as_deref() == Some(stream)).collect()
}

fn stream_of(line: &Value) -> Option<String> {
    let proof = line["entry"]["proof"].as_str()?;
    Some(secure_log::proof_file::read(proof.as_bytes()).unwrap().inclusion.stream_id)
}

fn flip(base64: &str) -> String {
    let mut bytes = BASE64.decode(base64).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    BASE64.encode(bytes)
}

fn with_count(lines: &mut [Value]) {
    let count = lines.iter().filter(|line| line.get("entry").is_some()).count();
    *lines.last_mut().unwrap() = json!({"end": {"entries": count}});
}

/// A record of the device is erased: what is left is still evidence, and says so.
fn erased(e: &Evidence) {
    let store = ["--store", "audit.db", "--keys", "keys"];
    let erase =
        ["log", "erase", "--stream", "device/lift-01/1", "--from", "2", "--to", "2", "--reason", "by law"];
    e.place.ok(&[&erase[..], &["--yes"], &store].concat());
    e.place.ok(&[&["log", "sign", "--identity", "audit"][..], &store].concat());
    let said = e.place.ok(&["audit", "verify-store", "--store", "audit.db"]);
    assert!(said.contains("1 records were erased"), "{said}");
    let said = e.place.fails(&[
        "audit",
        "export",
        "--device-id",
        "lift-01",
        "--out",
        "r.json",
        "--store",
        "audit.db",
    ]);
    assert!(said.contains("cannot export record 2") && said.contains("erased"), "{said}");
    let bundle = ["audit", "bundle", "--device-id", "lift-01", "--trust", &e.key, "--out", "erased.jsonl"];
    e.place.ok(&[&bundle[..], &store].concat());
    let said = e.place.ok(&["audit", "verify-bundle", "erased.jsonl", "--trust", &e.key]);
    assert!(said.contains("(1 more are erased or withheld)"), "{said}");
    assert!(said.contains("not checked  1 payloads that are not in the bundle"), "{said}");
    let (code, said) = e.by_tools("erased.jsonl", &e.key, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 payload erased or withheld"), "{said}");
}

/// The examiner of pages sees what the verifier sees.
fn examined(e: &Evidence) {
    use edgesentry_audit::examine::{DocumentKind, Examiner, Standing};
    let examine = |bundle: &str, keys: Vec<String>| {
        let mut examiner = Examiner::new(Trust { keys, ..Trust::default() });
        for piece in bundle.as_bytes().chunks(1000) {
            examiner.feed(piece);
        }
        let summary = examiner.finish().unwrap();
        (examiner, summary)
    };
    for bundle in [&e.device, &e.range] {
        let (examiner, summary) = examine(bundle, vec![e.key.clone()]);
        assert_eq!((summary.kind, summary.standing), (DocumentKind::EvidenceBundle, Standing::Holds));
        let items = examiner.items(0, 1000);
        assert!(!items.is_empty());
        for item in &items {
            assert_eq!(item.standing, Standing::Holds);
            let path = examiner.path(item.index).unwrap();
            assert_eq!(Some(path.segment_id), item.segment_id);
        }
        assert!(bundle != &e.device || items.iter().any(|item| item.claimed_ms.is_some()));
        let (_, summary) = examine(bundle, Vec::new());
        assert_eq!(summary.standing, Standing::NotChecked);
        assert!(summary.not_checked.iter().any(|what| what.contains("no key of the log was given")));
    }
    let missing = changed(&e.range, |lines| drop(lines.remove(5)));
    let (examiner, summary) = examine(&missing, vec![e.key.clone()]);
    assert_eq!(summary.standing, Standing::Broken);
    assert!(summary.findings[0].text.contains("is missing"), "{:?}", summary.findings);
    let standings: Vec<_> = examiner.items(0, 10).iter().map(|item| item.standing).collect();
    let broken = standings.iter().position(|s| *s == Standing::Broken).unwrap();
    assert!(standings[..broken].iter().all(|s| *s == Standing::Holds));
    assert!(standings[broken + 1..].iter().all(|s| *s == Standing::NotChecked), "{standings:?}");
}

#[test]
fn good_evidence_holds_and_says_what_was_not_checked() {
    let e = Evidence::make();
    let verify = |file: &str, more: &[&str]| {
        e.place.run(&[&["audit", "verify-bundle", file, "--trust", &e.key][..], more].concat())
    };
    let said = verify("device.jsonl", &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for line in [
        "HOLDS",
        "3 records signed and chained",
        "not checked  witnesses",
        "not checked  1 time stamps",
        "not checked  whose",
    ] {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
    let said = verify("device.jsonl", &["--tsa-trust", "root.pem", "--public-key-hex", PUBLIC]);
    assert!(
        said.stdout.contains("trusted      1 time stamps") && !said.stdout.contains("whose"),
        "{}",
        said.stdout
    );
    let report: Value =
        serde_json::from_str(&verify("device.jsonl", &["--tsa-trust", "root.pem", "--json"]).stdout).unwrap();
    let times = report["report"]["times"].as_array().unwrap();
    assert_eq!(times.len(), 3);
    for times in times {
        let (claimed, received, trusted) =
            (&times["claimed_ms"], &times["received_ms"], &times["trusted_ms"]);
        assert!(claimed.is_u64() && received.is_u64() && trusted.is_u64(), "{times}");
    }
    let range: Value =
        serde_json::from_str(&verify("range.jsonl", &["--tsa-trust", "root.pem", "--json"]).stdout).unwrap();
    assert_eq!((&range["report"]["entries"], &range["report"]["time"]["verified"]), (&json!(6), &json!(2)));

    for (file, more) in [
        ("device.jsonl", &["--tsa", "root.pem", "--device-key", PUBLIC][..]),
        ("range.jsonl", &["--tsa", "root.pem"]),
    ] {
        let (code, said) = e.by_tools(file, &e.key, more);
        assert_eq!(code, Some(0), "{said}");
    }
    // Other keys, another authority, another device's key.
    let other = key_of(&e.place, "other", ORIGIN);
    assert!(
        e.place
            .fails(&["audit", "verify-bundle", "device.jsonl", "--trust", &other])
            .contains("NOT evidence")
    );
    assert_eq!(e.by_tools("device.jsonl", &other, &[]).0, Some(1));
    fs::write(e.place.path("stranger.pem"), Pki::new().read("root.pem")).unwrap();
    assert!(verify("device.jsonl", &["--tsa-trust", "stranger.pem"]).stderr.contains("time-stamp token"));
    assert_eq!(e.by_tools("device.jsonl", &e.key, &["--tsa", "stranger.pem"]).0, Some(1));
    let stranger = "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737";
    assert!(
        verify("device.jsonl", &["--public-key-hex", stranger]).stderr.contains("none of the trusted ones")
    );
    assert_eq!(e.by_tools("device.jsonl", &e.key, &["--device-key", stranger]).0, Some(1));

    forged(&e);
    cosigned(&e);
    examined(&e);
    erased(&e);
}

fn forged(e: &Evidence) {
    let doors = |change: &dyn Fn(&mut Vec<Value>)| changed(&e.range, |lines| change(lines));
    let first = e.range.lines().position(|line| line.starts_with("{\"entry\"")).unwrap();
    let stored = |lines: &[Value], at: usize| lines[at]["entry"]["payload"].as_str().unwrap().to_owned();
    let record = format!("device/{}/1", "lift-01");

    e.refuses(
        "a payload is changed",
        &doors(&|l| l[first]["entry"]["payload"] = json!(flip(&stored(l, first)))),
        "is not the one in its header",
    );
    e.refuses(
        "payloads are swapped",
        &doors(&|l| {
            let (a, b) = (stored(l, first), stored(l, first + 1));
            l[first]["entry"]["payload"] = json!(b);
            l[first + 1]["entry"]["payload"] = json!(a);
        }),
        "is not the one in its header",
    );
    e.refuses(
        "an entry is removed",
        &doors(&|l| {
            l.remove(first + 2);
            with_count(l);
        }),
        "is missing",
    );
    e.refuses(
        "the last entry is removed",
        &doors(&|l| {
            l.remove(l.len() - 2);
            with_count(l);
        }),
        "is missing",
    );
    e.refuses("entries are reordered", &doors(&|l| l.swap(first, first + 1)), "is missing");
    e.refuses(
        "an entry stands twice",
        &doors(&|l| {
            let again = l[first].clone();
            l.insert(first, again);
            with_count(l);
        }),
        "entry",
    );
    e.refuses(
        "a range pretends to be another",
        &doors(&|l| l[0]["evidence-bundle"]["subject"]["range"]["stream"] = json!("windows")),
        "is not what the bundle is about",
    );
    e.refuses(
        "a range pretends to be longer",
        &doors(&|l| l[0]["evidence-bundle"]["subject"]["range"]["to"] = json!(8)),
        "is missing",
    );
    e.refuses(
        "another log's name",
        &doors(&|l| l[0]["evidence-bundle"]["origin"] = json!("example.com/other")),
        "the checkpoint is of",
    );
    e.refuses(
        "the count is wrong",
        &doors(&|l| *l.last_mut().unwrap() = json!({"end": {"entries": 5}})),
        "counts",
    );
    e.refuses("the last line is missing", &doors(&|l| drop(l.pop())), "breaks off");
    e.refuses("it breaks off in a line", &e.range[..e.range.len() - 9], "breaks off");
    e.refuses(
        "there is more after the end",
        &format!("{}{{\"key\":\"x\"}}\n", e.range),
        "more after the last line",
    );
    e.refuses(
        "a header in a proof is changed",
        &doors(&|l| {
            let proof = l[first]["entry"]["proof"].as_str().unwrap().to_owned();
            let mut proof = secure_log::proof_file::TlogProof::parse(proof.as_bytes()).unwrap();
            let extra = proof.extra.as_mut().unwrap();
            let at = extra.windows(5).position(|bytes| bytes == b"doors").unwrap();
            extra[at] = b'D';
            l[first]["entry"]["proof"] = json!(proof.to_text());
        }),
        "",
    );
    e.refuses(
        "the proof is of another entry",
        &doors(&|l| {
            l[first]["entry"]["proof"] = l[first + 1]["entry"]["proof"].clone();
        }),
        "is missing",
    );
    e.refuses("an unknown member", &doors(&|l| l[first]["entry"]["more"] = json!(1)), "unknown field");

    // A checkpoint that another key signed over the same tree, in every place where it stands.
    let lines: Vec<Value> = e.range.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let note = lines.iter().find_map(|line| line["checkpoint"]["note"].as_str()).unwrap();
    let text = &note[..note.find("\n\n").unwrap() + 1];
    let thief = SigningKey::from_bytes(&[7; 32]);
    let key =
        VerifierKey::new(ORIGIN, PublicKey::from_ed25519_raw(thief.verifying_key().as_bytes())).unwrap();
    let line = key.signature_line(&thief.sign(text.as_bytes()).to_bytes()).unwrap();
    let stolen = format!("{text}\n{line}");
    let escaped = |note: &str| serde_json::to_string(note).unwrap().trim_matches('"').to_owned();
    let swapped = e.range.replace(&escaped(note), &escaped(&stolen));
    e.refuses("the checkpoint has another's signature", &swapped, "");
    e.refuses(
        "the checkpoint alone has another's signature",
        &doors(&|l| {
            let at = l.iter().position(|line| line.get("checkpoint").is_some()).unwrap();
            l[at]["checkpoint"]["note"] = json!(stolen);
        }),
        "",
    );
    e.refuses(
        "the checkpoint says another size",
        &doors(&|l| {
            let at = l.iter().position(|line| line.get("checkpoint").is_some()).unwrap();
            let mut body = CheckpointBody::parse(text).unwrap();
            body.size += 1;
            l[at]["checkpoint"]["note"] = json!(note.replace(text, &body.to_text()));
        }),
        "",
    );

    // Of the device.
    let device = |change: &dyn Fn(&mut Vec<Value>)| changed(&e.device, |lines| change(lines));
    e.refuses(
        "a record is removed",
        &device(&|l| {
            let at = l.iter().position(|line| stream_of(line).as_deref() == Some(&record)).unwrap();
            l.remove(at + 1);
            with_count(l);
        }),
        "is missing",
    );
    e.refuses(
        "the registry is left out",
        &device(&|l| {
            l.retain(|line| stream_of(line).as_deref() != Some("registry/lift-01"));
            with_count(l);
        }),
        "registry",
    );
    e.refuses(
        "a payload of the registry is withheld",
        &device(&|l| {
            let line = entries(l, "registry/lift-01").remove(0);
            line["entry"].as_object_mut().unwrap().remove("payload");
        }),
        "registry",
    );
    e.refuses(
        "the key of the registry is swapped",
        &device(&|l| {
            let line = entries(l, "registry/lift-01").remove(0);
            let stored = BASE64.decode(line["entry"]["payload"].as_str().unwrap()).unwrap();
            let text = String::from_utf8_lossy(&stored).into_owned();
            let forged: Vec<u8> = match stored.windows(64).position(|w| w == PUBLIC.as_bytes()) {
                Some(at) => [&stored[..at], "ab".repeat(32).as_bytes(), &stored[at + 64..]].concat(),
                None => panic!("{text}"),
            };
            line["entry"]["payload"] = json!(BASE64.encode(forged));
        }),
        "is not the one in its header",
    );
    e.refuses(
        "a record is shown as another device's",
        &device(&|l| l[0]["evidence-bundle"]["subject"]["device"]["id"] = json!("lift-02")),
        "is not one of device",
    );

    // A time stamp of something else holds nothing.
    let stamped = doors(&|l| {
        let at = l.iter().position(|line| line.get("checkpoint").is_some()).unwrap();
        let token = l[at]["checkpoint"]["time-tokens"].clone();
        l[first]["entry"]["time-tokens"] = token;
    });
    fs::write(e.place.path("forged.jsonl"), stamped).unwrap();
    let said = e.place.fails(&[
        "audit",
        "verify-bundle",
        "forged.jsonl",
        "--trust",
        &e.key,
        "--tsa-trust",
        "root.pem",
    ]);
    assert!(said.contains("time-stamp token"), "{said}");
    assert_eq!(e.by_tools("forged.jsonl", &e.key, &["--tsa", "root.pem"]).0, Some(1));

    for (hostile, says) in [
        ("", "breaks off"),
        ("\n", "is no line"),
        ("{}\n", "is no line"),
        ("{\"end\":{\"entries\":0}}\n", "begins with its first line"),
        (&format!("{}\n", "[".repeat(100_000)), "is no line"),
        (
            "{\"evidence-bundle\":{\"version\":2,\"origin\":\"x\",\"subject\":{\"device\":{\"id\":\"x\"}},\"made-by\":\"x\"}}\n",
            "version 2",
        ),
    ] {
        let keys = vec![e.key.clone()];
        let refused = evidence::verify(hostile, &Trust { keys, ..Trust::default() }).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    fs::write(e.place.path("forged.jsonl"), b"{\"evidence-bundle\"\xff").unwrap();
    assert!(
        e.place
            .fails(&["audit", "verify-bundle", "forged.jsonl", "--trust", &e.key])
            .contains("is not UTF-8")
    );
}

/// With a policy: stripped and forged cosignatures.
fn cosigned(e: &Evidence) {
    let material = SigningKey::from_bytes(&[9; 32]);
    let public = PublicKey::from_ed25519_raw(material.verifying_key().as_bytes());
    let witness = CosignerKey::new("example.com/witness", public).unwrap();
    let policy = format!("log {}\nwitness W {witness}\nquorum W\n", e.key);
    fs::write(e.place.path("policy"), &policy).unwrap();
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let lines: Vec<Value> = e.range.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let note = lines.iter().find_map(|line| line["checkpoint"]["note"].as_str()).unwrap();
    let parsed = Note::parse(note).unwrap();
    let cosign = |time: u64, text: &str| {
        let message = secure_log::cosignature::signed_message(text, time);
        let signature = material.sign(message.as_bytes()).to_bytes();
        let bytes = [&witness.id()[..], &time.to_be_bytes(), &signature].concat();
        format!("{note}— {} {}\n", witness.name(), BASE64.encode(bytes))
    };
    let escaped = |note: &str| serde_json::to_string(note).unwrap().trim_matches('"').to_owned();
    let put = |full: &str| {
        let proofs = e.range.replace(&escaped(note), &escaped(full));
        changed(&proofs, |lines| {
            let at = lines.iter().position(|line| line.get("checkpoint").is_some()).unwrap();
            lines[at]["checkpoint"]["note"] = json!(note);
            lines[at]["checkpoint"]["cosigned"] = json!(full);
        })
    };
    let good = put(&cosign(1_790_000_000, &parsed.text));
    let trust = Trust { policy: Some(policy), ..Trust::default() };
    let report = evidence::verify(&good, &trust).unwrap();
    assert!(report.witnesses.unwrap().starts_with("witnessed"));
    fs::write(e.place.path("cosigned.jsonl"), &good).unwrap();
    let said = e.place.ok(&["audit", "verify-bundle", "cosigned.jsonl", "--policy", "policy"]);
    assert!(said.contains("witnesses    witnessed") && !said.contains("no policy"), "{said}");
    let (code, said) = e.by_tools("cosigned.jsonl", &e.key, &[&witness.to_string()]);
    assert_eq!(code, Some(0), "{said}");

    for (name, bundle) in [
        ("the cosignature is stripped", e.range.clone()),
        ("the cosignature is of another text", put(&cosign(1_790_000_000, "example.com/audit\n1\nAAAA\n"))),
    ] {
        let refused = evidence::verify(&bundle, &trust).expect_err(name).to_string();
        assert!(
            refused.contains("witness") || refused.contains("cosign") || refused.contains("signature"),
            "{name}: {refused}"
        );
        fs::write(e.place.path("forged.jsonl"), &bundle).unwrap();
        e.place.fails(&["audit", "verify-bundle", "forged.jsonl", "--policy", "policy"]);
        assert_eq!(e.by_tools("forged.jsonl", &e.key, &[&witness.to_string()]).0, Some(1), "{name}");
    }
    // Not published, so there is no bundle by that policy.
    let args = [
        "audit",
        "bundle",
        "--stream",
        "doors",
        "--policy",
        "policy",
        "--out",
        "none.jsonl",
        "--store",
        "audit.db",
    ];
    assert!(e.place.fails(&args).contains("no checkpoint is published"));
    assert!(!e.place.path("none.jsonl").exists());
}
