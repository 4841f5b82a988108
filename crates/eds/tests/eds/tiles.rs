//! The log as static files: written, grown, served, read by others, damaged, interrupted, rolled back.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Place, files_below};

const STORE: [&str; 4] = ["--store", "audit.db", "--keys", "keys"];
const ORIGIN: &str = "example.com/audit";

/// A log with a key, and what verifies it.
struct Log {
    place: Place,
    key: String,
}

impl Log {
    fn new() -> Self {
        let place = Place::new();
        place.ok(&["keys", "create", "audit", "--keys", "keys"]);
        let shown = place.ok(&["keys", "show", "audit", "--origin", ORIGIN, "--keys", "keys"]);
        let key = shown.lines().find(|line| line.starts_with(ORIGIN) && line.contains('+')).unwrap();
        Self { key: key.trim().to_owned(), place }
    }

    /// Appends so many events to a stream, and signs.
    fn grow(&self, stream: &str, count: usize) -> String {
        let lines: String = (0..count).map(|n| format!("event {n}\n")).collect();
        fs::write(self.place.path("lines"), lines).unwrap();
        self.place
            .ok(&[&["log", "append", stream, "--lines", "lines", "--origin", ORIGIN], &STORE[..]].concat());
        self.place.ok(&[&["log", "sign", "--identity", "audit"], &STORE[..]].concat())
    }

    fn export_args<'a>(dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["log", "export-tiles", dir, "--store", "audit.db"], more].concat()
    }

    fn export(&self, dir: &str, more: &[&str]) -> Value {
        self.place.json(&Self::export_args(dir, more))
    }

    fn check_args<'a>(&'a self, place: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["log", "check-tiles", place, "--trust", &self.key], more].concat()
    }

    fn check(&self, place: &str, more: &[&str]) -> Value {
        self.place.json(&self.check_args(place, more))
    }

    /// The files of an export by their paths, heads apart.
    fn files(&self, dir: &str) -> (BTreeMap<String, Vec<u8>>, BTreeMap<String, Vec<u8>>) {
        let root = self.place.path(dir);
        let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let files = files_below(&root).into_iter().map(|path| (name(&path), fs::read(&path).unwrap()));
        let files = files.filter(|(name, _)| !name.starts_with(".eds/"));
        files.partition(|(name, _)| name.contains("tile/"))
    }
}

/// A web server that others wrote.
struct Web {
    child: Child,
    url: String,
}

impl Web {
    fn serve(dir: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1"])
            .current_dir(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port =
            line.split(' ').skip_while(|word| *word != "port").nth(1).unwrap_or_else(|| panic!("{line}"));
        Self { url: format!("http://127.0.0.1:{port}"), child }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of C2SP tlog-tiles with nothing of this project in it: fetches the entries by the names of the standard, and
/// computes the root of RFC 6962 from its definition. Prints the size where it is that of the checkpoint.
const CLIENT: &str = r#"
import base64, hashlib, struct, sys, urllib.request
url = sys.argv[1]
get = lambda path: urllib.request.urlopen(f"{url}/{path}").read()
origin, size, root = get("checkpoint").decode().split("\n")[:3]
size, leaves = int(size), []
for n in range((size + 255) // 256):
    name = "".join(f"x{n // 1000 ** k % 1000:03}/" for k in (2, 1) if n >= 1000 ** k) + f"{n % 1000:03}"
    width = min(256, size - 256 * n)
    bundle = get(f"tile/entries/{name}" + ("" if width == 256 else f".p/{width}"))
    tile = get(f"tile/0/{name}" + ("" if width == 256 else f".p/{width}"))
    hashes = []
    while bundle:
        length, = struct.unpack(">H", bundle[:2])
        hashes.append(hashlib.sha256(b"\0" + bundle[2 : 2 + length]).digest())
        bundle = bundle[2 + length :]
    assert len(hashes) == width and b"".join(hashes) == tile, name
    leaves += hashes
def mth(d):
    if len(d) == 1: return d[0]
    k = 1 << (len(d) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + mth(d[:k]) + mth(d[k:])).digest()
assert mth(leaves) == base64.b64decode(root)
print(origin, size)
"#;

#[test]
fn a_log_is_exported_grown_served_and_read() {
    let log = Log::new();
    let (mut size, mut earlier) = (0, BTreeMap::new());
    let grown = [255, 1, 1, 65_279, 1, 70];
    for (round, count) in grown.into_iter().enumerate() {
        let note = log.grow("doors", count);
        size += count as u64;
        let done = log.export("tiles", &["--all-streams"]);
        let doors = &done["trees"][1];
        assert_eq!((&doors["stream_id"], &doors["size"]), (&"doors".into(), &size.into()));
        assert_eq!(doors["new_entries"], count);
        assert_eq!(fs::read_to_string(log.place.path("tiles/checkpoint")).unwrap(), note);
        // Nothing that was there changed.
        let (now, _) = log.files("tiles");
        assert!(earlier.iter().all(|(name, bytes)| now.get(name) == Some(bytes)), "{size}");
        earlier = now;
        let checked = log.check("tiles", &["--stream", "doors"]);
        assert_eq!(checked["trees"][1]["entries_checked"], size);
        assert_eq!(checked["trees"][0]["entries_checked"], done["size"]);
        fs::write(log.place.path(&format!("since.{round}")), note).unwrap();
    }
    assert_eq!(size, 65_607);
    // What one export writes at once is what several wrote bit by bit, but for the partial files on the way.
    let before = log.files("tiles");
    log.export("fresh", &["--all-streams"]);
    let (fresh, heads) = log.files("fresh");
    assert!(fresh.iter().all(|(name, bytes)| before.0.get(name) == Some(bytes)) && heads == before.1);
    let again = log.export("tiles", &["--all-streams"]);
    assert_eq!(again["trees"][1]["files_written"], 0, "{again}");
    let pruned = log.export("tiles", &["--all-streams", "--prune-partial"]);
    assert!(pruned["partial_files_removed"].as_u64().unwrap() > 2, "{pruned}");
    let left = log.files("tiles").0;
    assert!(
        left.contains_key("streams/doors/tile/0/256.p/71")
            && !left.contains_key("streams/doors/tile/0/000.p/255")
    );

    let web = Web::serve(&log.place.path("tiles"));
    let checked = log.check(&web.url, &["--stream", "doors", "--since", "since.0"]);
    assert_eq!(checked["trees"][1]["entries_checked"], size);
    assert!(checked["since"].as_u64().unwrap() >= 2);
    let entry = log.check(&web.url, &["--stream", "doors", "--entry", "65600"]);
    assert_eq!(entry["entry"]["header"]["seqno"], 65_600);
    assert_eq!(entry["trees"][1]["entries_not_checked"], size - 1);
    let files = entry["trees"][1]["files_read"].as_u64().unwrap();
    assert!(files <= 8, "one entry needs {files} files");
    let said = log.place.ok(&log.check_args(&web.url, &["--entry", "1"]));
    assert!(said.contains("entry 1 of _log holds: log-created by secure-log"), "{said}");
    let output = Command::new("python3").args(["-c", CLIENT, &web.url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("{ORIGIN} {}", pruned["size"]));

    for (args, says) in [
        (&["--entry", "0"][..], "entry \"_log\" number 0 not found"),
        (&["--entry", "99999"], "number 99999 not found"),
        (&["--stream", "windows"], "streams/windows/head.tlog-proof"),
        (&["--since", "lines"], "lines: "),
    ] {
        let said = log.place.fails(&log.check_args(&web.url, args));
        assert!(said.contains(says), "{args:?}: {said}");
    }
    let said = log.place.fails(&["log", "check-tiles", "http://127.0.0.1:9", "--trust", &log.key]);
    assert!(said.contains("unavailable") && said.contains("http://127.0.0.1:9/checkpoint"), "{said}");
    let other = Log::new();
    let said = log.place.fails(&["log", "check-tiles", &web.url, "--trust", &other.key]);
    assert!(said.contains("checkpoint") && said.contains("not among the trusted keys"), "{said}");
}

#[test]
fn whatever_befalls_a_file_it_is_named() {
    let log = Log::new();
    log.grow("Doors/north", 300);
    log.grow("x", 1);
    log.export("tiles", &["--stream", "Doors/north"]);
    assert!(!log.place.path("tiles/streams/x").exists());
    let check = log.check_args("tiles", &["--stream", "Doors/north"]);
    log.place.ok(&check);
    let (tiles, heads) = log.files("tiles");
    let names: Vec<_> = tiles.keys().chain(heads.keys()).map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "streams/_44oors_2fnorth/tile/0/000",
            "streams/_44oors_2fnorth/tile/0/001.p/44",
            "streams/_44oors_2fnorth/tile/1/000.p/1",
            "streams/_44oors_2fnorth/tile/entries/000",
            "streams/_44oors_2fnorth/tile/entries/001.p/44",
            "tile/0/000.p/5",
            "tile/entries/000.p/5",
            "checkpoint",
            "streams/_44oors_2fnorth/head.tlog-proof",
        ]
    );
    for name in names {
        let path = log.place.path("tiles").join(name);
        let good = fs::read(&path).unwrap();
        let (mut flipped, mut last) = (good.clone(), good.clone());
        flipped[good.len() / 2] ^= 1;
        *last.last_mut().unwrap() ^= 1;
        for bad in [Some(flipped), Some(last), Some(good[..good.len() - 1].to_vec()), Some(Vec::new()), None]
        {
            match bad {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let said = log.place.fails(&check);
            assert!(said.contains(name), "{name}: {said}");
        }
        fs::write(&path, good).unwrap();
    }
    log.place.ok(&check);
    // The head of another stream.
    log.export("tiles", &["--stream", "x"]);
    let of = |folder: &str| log.place.path(&format!("tiles/streams/{folder}/head.tlog-proof"));
    fs::copy(of("x"), of("_44oors_2fnorth")).unwrap();
    let said = log.place.fails(&check);
    assert!(said.contains("is of the stream \"x\""), "{said}");
    let said = log.place.fails(&Log::export_args("tiles", &["--stream", "Doors/north"]));
    assert!(said.contains("is of another stream"), "{said}");
}

#[test]
fn an_export_goes_neither_back_nor_beside() {
    let log = Log::new();
    log.grow("doors", 20);
    log.place.ok(&[&["log", "backup", "old.db"], &STORE[..]].concat());
    log.grow("doors", 300);
    log.export("tiles", &["--all-streams"]);
    let newest = fs::read_to_string(log.place.path("tiles/checkpoint")).unwrap();
    fs::write(log.place.path("newest"), &newest).unwrap();
    let before = log.files("tiles");
    let refused = |says: &[&str]| {
        let said = log.place.fails(&Log::export_args("tiles", &["--all-streams"]));
        assert!(says.iter().all(|says| said.contains(says)), "{said}");
        assert!(said.contains("nothing was written"), "{said}");
        assert_eq!(log.files("tiles"), before);
    };
    // Another checkpoint, behind.
    let key = &log.key;
    fs::write(log.place.path("policy"), format!("log {key}\nquorum none\n")).unwrap();
    log.export("policy-tiles", &["--all-streams", "--policy", "policy"]);
    log.place.ok(&["log", "check-tiles", "policy-tiles", "--policy", "policy", "--stream", "doors"]);
    // The log put back: behind, then beside.
    fs::rename(log.place.path("old.db"), log.place.path("audit.db")).unwrap();
    let _ = fs::remove_file(log.place.path("audit.db-wal"));
    let size = |note: &str| note.lines().nth(1).unwrap().to_owned();
    refused(&["the log is behind the note", &format!("has {} entries of _log with root", size(&newest))]);
    let forked = log.grow("doors", 300);
    log.grow("doors", 1);
    log.grow("doors", 1);
    refused(&["another history"]);
    log.export("beside", &["--all-streams"]);
    log.check("beside", &["--stream", "doors"]);
    let said = log.place.fails(&log.check_args("beside", &["--since", "newest"]));
    assert!(said.contains("another history") && said.contains(&size(&newest)), "{said}");
    fs::write(log.place.path("forked"), forked).unwrap();
    log.check("beside", &["--since", "forked"]);
    // A stream's head alone, put there from the other history.
    let head = "streams/doors/head.tlog-proof";
    fs::copy(log.place.path("tiles").join(head), log.place.path("beside").join(head)).unwrap();
    let said = log.place.fails(&Log::export_args("beside", &["--all-streams"]));
    assert!(said.contains("another history") && said.contains("320 entries of doors"), "{said}");
    let said = log.place.fails(&log.check_args("beside", &["--stream", "doors"]));
    assert!(said.contains(head) && said.contains("another history"), "{said}");
    // Another log altogether.
    fs::remove_file(log.place.path("audit.db")).unwrap();
    log.place.ok(&["log", "append", "doors", "1", "--store", "audit.db", "--origin", "example.com/other"]);
    log.place.ok(&[&["log", "sign", "--identity", "audit"], &STORE[..]].concat());
    refused(&["the note is of the log \"example.com/audit\""]);
}

#[test]
fn what_is_there_is_never_written_over() {
    let log = Log::new();
    let said = log.place.fails(&Log::export_args("tiles", &[]));
    assert!(said.contains("there is no log at"), "{said}");
    log.place.ok(&["log", "append", "doors", "1", "--store", "audit.db", "--origin", ORIGIN]);
    let said = log.place.fails(&Log::export_args("tiles", &[]));
    assert!(said.contains("eds log sign") && !log.place.path("tiles").exists(), "{said}");
    log.grow("doors", 300);
    log.place.ok(&["log", "append", "late", "1", "--store", "audit.db"]);
    let said = log.place.fails(&Log::export_args("tiles", &["--stream", "late"]));
    assert!(said.contains("no segment of stream \"late\""), "{said}");

    let file = log.place.path("tiles/streams/doors/tile/entries/000");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "somebody else's").unwrap();
    let said = log.place.fails(&Log::export_args("tiles", &["--all-streams"]));
    assert!(said.contains("tiles/streams/doors/tile/entries/000") && said.contains("conflict"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"somebody else's");
    assert!(!log.place.path("tiles/checkpoint").exists(), "no head over what is not there");
    fs::remove_file(&file).unwrap();

    let lock = fs::File::create(log.place.path("tiles/.eds/lock")).unwrap();
    lock.lock().unwrap();
    let said = log.place.fails(&Log::export_args("tiles", &["--all-streams"]));
    assert!(said.contains("busy") && said.contains("another export"), "{said}");
    drop(lock);
    log.export("tiles", &["--all-streams"]);
    log.check("tiles", &["--stream", "doors"]);

    // What the next export has to go on from is verified first.
    fs::write(log.place.path("tiles/streams/doors/tile/0/001.p/45"), "damaged").unwrap();
    log.grow("doors", 1);
    let said = log.place.fails(&Log::export_args("tiles", &["--all-streams"]));
    assert!(said.contains("streams/doors/tile/0/001.p/45") && said.contains("check-tiles"), "{said}");
}

#[test]
fn a_killed_export_is_finished_by_the_next() {
    let log = Log::new();
    log.grow("doors", 3_000);
    log.export("tiles", &["--all-streams"]);
    log.grow("doors", 20_000);
    log.export("fresh", &["--all-streams"]);
    let mut killed = 0;
    for delay in (0..40).map(|n| Duration::from_millis(20 + 13 * n)) {
        let mut child = log.place.command(&Log::export_args("tiles", &["--all-streams"]));
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        let _ = child.kill();
        if child.wait().unwrap().success() {
            break;
        }
        killed += 1;
        // What has a name is right, and readers lack nothing.
        log.check("tiles", &["--stream", "doors"]);
        let (fresh, (now, _)) = (log.files("fresh").0, log.files("tiles"));
        let wrong = now.iter().find(|(name, bytes)| fresh.get(*name).is_some_and(|fresh| fresh != *bytes));
        assert!(wrong.is_none(), "{:?}", wrong.map(|(name, _)| name));
    }
    assert!(killed > 0, "the export is over before it can be killed");
    log.export("tiles", &["--all-streams"]);
    log.check("tiles", &["--stream", "doors"]);
    let (now, fresh) = (log.files("tiles"), log.files("fresh"));
    assert!(fresh.0.iter().all(|(name, bytes)| now.0.get(name) == Some(bytes)) && now.1 == fresh.1);
    assert_eq!(fs::read_dir(log.place.path("tiles/.eds/new")).unwrap().count(), 0);
}
