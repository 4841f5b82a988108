//! The library as a host author uses it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{artifact, dist};
use secure_log_host::types::{Event, LogError, Page, QueryFilter, Severity};
use secure_log_host::{AsyncLog, Builder, Error, Failure, HostedLog, OwnerError, Settings, Site, StorePath};

#[path = "../../examples/embed.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod embed;

fn stack() -> std::path::PathBuf {
    dist("secure-log-sqlite.wasm")
}

fn config(dir: &Path) -> String {
    dir.join("audit.db").to_str().unwrap().to_owned()
}

fn builder() -> Builder {
    HostedLog::builder().silent()
}

fn one(log: &mut HostedLog) -> Result<u64, Failure> {
    log.append("s", "t", Severity::Informational, "p", b"payload").map(|entry| entry.seqno)
}

fn event(payload: usize) -> Event {
    Event {
        stream_id: "s".into(),
        event_type: "t".into(),
        severity: Severity::Informational,
        producer: "p".into(),
        payload: vec![7; payload],
        payload_encoding: None,
        object_ref: None,
        id: None,
    }
}

#[test]
fn example_is_the_one_of_the_readme_and_keeps_a_log() {
    let example = include_str!("../../examples/embed.rs");
    assert!(example.lines().count() < 40);
    let code = &example[example.find("use std::error").unwrap()..example.find("fn main").unwrap()];
    assert!(include_str!("../../../../README.md").contains(code.trim_end()), "README.md has another example");
    let dir = tempfile::tempdir().unwrap();
    for seqno in 1..=2 {
        embed::keep_a_log(stack().to_str().unwrap(), &config(dir.path())).unwrap();
        let mut log = HostedLog::open(stack(), &config(dir.path())).unwrap();
        assert_eq!(log.head("doors").unwrap().unwrap().seqno, seqno);
        assert_eq!(log.latest_checkpoint().unwrap().unwrap().number, seqno);
    }
}

#[test]
fn log_in_memory_needs_nothing_but_the_component() {
    let mut log = HostedLog::open(stack(), ":memory:").unwrap();
    assert_eq!(one(&mut log).unwrap(), 1);
    // So are its keys.
    assert!(log.seal(Some("audit")).unwrap().checkpoint.is_some());
    log.close().unwrap();
}

#[test]
fn component_that_loops_is_stopped_by_fuel_and_the_host_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut log = builder().fuel(2_000_000_000).open(stack(), &config(dir.path())).unwrap();
        log.append_batch(&vec![event(16); 10_000], &[]).unwrap();
        // A call has all the fuel again.
        for _ in 0..3 {
            log.verify_chain("s", 1, 10_000).unwrap();
        }
    }
    {
        let mut log = builder().fuel(20_000_000).open(stack(), &config(dir.path())).unwrap();
        assert_eq!(one(&mut log).unwrap(), 10_001);
        let failure = log.verify_chain("s", 1, 10_000).unwrap_err();
        assert!(matches!(failure, Failure::Fuel(20_000_000)), "{failure}");
        assert!(failure.is_fatal() && failure.kind() == "fuel", "{failure}");
        assert!(one(&mut log).unwrap_err().is_fatal());
    }
    let mut log = builder().open(stack(), &config(dir.path())).unwrap();
    assert_eq!(log.verify_chain("s", 1, 10_001).unwrap().entries_checked, 10_001);
}

#[test]
fn fuel_is_the_same_in_each_run() {
    let needs = |fuel: u64| {
        let mut log = builder().fuel(fuel).open(stack(), ":memory:").unwrap();
        log.encode_header(&log_header()).is_ok()
    };
    let (mut no, mut yes) = (1_u64, 1_u64 << 24);
    // What opening needs is more than what this call does, so begin where a log opens.
    let opens = |fuel| builder().fuel(fuel).open(stack(), ":memory:").is_ok();
    assert!(opens(yes) && !opens(no));
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if opens(middle) { yes = middle } else { no = middle }
    }
    for _ in 0..3 {
        assert!(opens(yes) && !opens(no), "opening needs {yes} units");
    }
    let error = builder().fuel(no).open(stack(), ":memory:").unwrap_err();
    assert!(error.to_string().contains("open") || matches!(error, Error::Instantiate { .. }), "{error}");
    assert!(needs(yes));
}

fn log_header() -> secure_log_host::types::EntryHeader {
    let mut log = HostedLog::open(stack(), ":memory:").unwrap();
    one(&mut log).unwrap();
    log.read("s", 1).unwrap().header
}

#[test]
fn limits_need_an_artifact_that_was_compiled_for_them() {
    let plain = secure_log_host::Artifact::load(&stack()).unwrap();
    for (limit, guest) in [
        ("deadline", secure_log_host::Guest { deadline: Some(Duration::from_secs(1)), ..Default::default() }),
        ("fuel", secure_log_host::Guest { fuel: Some(1), ..Default::default() }),
    ] {
        match plain.start(&guest).map(drop) {
            Err(Error::NotChecked { limit: named }) => assert_eq!(named, limit),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn errors_are_cases_that_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let missing = HostedLog::open(dir.path().join("none.wasm"), ":memory:").unwrap_err();
    assert!(matches!(missing, Error::Read { .. }), "{missing}");
    std::fs::write(dir.path().join("text.wasm"), "no component").unwrap();
    let text = HostedLog::open(dir.path().join("text.wasm"), ":memory:").unwrap_err();
    assert!(matches!(text, Error::Component { .. }), "{text}");
    let nowhere = HostedLog::open(stack(), "/no/such/place/audit.db").unwrap_err();
    assert!(matches!(nowhere, Error::Path { .. }), "{nowhere}");
    let keyless = builder().keys(dir.path().join("keys")).open(stack(), ":memory:").unwrap_err();
    assert!(keyless.to_string().contains("the directory of keys"), "{keyless}");

    let first = HostedLog::open(stack(), &config(dir.path())).unwrap();
    let began = Instant::now();
    let busy = builder().wait(Duration::from_millis(50)).open(stack(), &config(dir.path())).unwrap_err();
    assert!(matches!(busy, Error::Busy { .. }), "{busy}");
    assert!(began.elapsed() < Duration::from_secs(4));
    first.close().unwrap();

    let mut log = HostedLog::open(stack(), &config(dir.path())).unwrap();
    let refused = log.append("_log", "t", Severity::Informational, "p", b"").unwrap_err();
    assert!(matches!(&refused, Failure::Log(LogError::Denied(_) | LogError::Invalid(_))), "{refused}");
    assert!(!refused.is_fatal());
}

#[test]
fn component_sees_only_what_the_builder_names() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join("copy.db");
    let mut log = builder().open(stack(), &config(dir.path())).unwrap();
    one(&mut log).unwrap();
    log.backup(copy.to_str().unwrap()).unwrap_err();
    assert!(!copy.exists());
    log.close().unwrap();
    let mut log = builder().directory(other.path(), "/copies").open(stack(), &config(dir.path())).unwrap();
    log.backup("/copies/copy.db").unwrap();
    assert!(copy.exists());
}

#[test]
fn head_file_refuses_a_store_from_yesterday() {
    let (dir, heads) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = heads.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let open = || {
        let head = heads.path().join("head");
        builder().keys(&keys).make_missing_keys("ed25519").head_file(head).open(stack(), &config(dir.path()))
    };
    let mut log = open().unwrap();
    one(&mut log).unwrap();
    log.seal(Some("audit")).unwrap();
    log.close().unwrap();
    let yesterday = std::fs::read(config(dir.path())).unwrap();
    let mut log = open().unwrap();
    one(&mut log).unwrap();
    log.seal(Some("audit")).unwrap();
    log.close().unwrap();
    std::fs::write(config(dir.path()), yesterday).unwrap();
    let refused = open().unwrap_err();
    assert!(matches!(refused, Error::Head(_)), "{refused}");
}

#[test]
fn async_calls_are_made_in_order_from_any_executor() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let log = builder().open_async(stack(), &config(dir.path())).await.unwrap();
        let appends: Vec<_> =
            (0..100).map(|_| log.append("s", "t", Severity::Informational, "p", b"payload")).collect();
        for (n, append) in (1..).zip(appends) {
            assert_eq!(append.await.unwrap().seqno, n);
        }
        let batch = log.append_batch(&[event(3), event(4)], &[]).await.unwrap();
        assert_eq!(batch.last().unwrap().seqno, 102);
        assert_eq!(log.read_payload("s", 102).await.unwrap(), [7; 4]);
        assert_eq!(log.verify_chain("s", 1, 102).await.unwrap().entries_checked, 102);
        let filter = QueryFilter {
            stream_id: Some("s".into()),
            from_ms: None,
            to_ms: None,
            event_type: None,
            min_severity: None,
            producer: None,
        };
        let page = Page { cursor: None, limit: 10 };
        assert_eq!(log.query(&filter, &page).await.unwrap().entries.len(), 10);
        let error = log.read("s", 103).await.unwrap_err();
        assert!(matches!(error, OwnerError::Log(secure_log::Error::NotFound { .. })), "{error}");
        let other = log.clone();
        log.close().await.unwrap();
        assert_eq!(other.head("s").await.unwrap_err(), OwnerError::Closed);
    });
}

#[test]
fn async_log_lives_on_after_its_instance_died() {
    let dir = tempfile::tempdir().unwrap();
    let usual = {
        let mut log = builder().open(stack(), &config(dir.path())).unwrap();
        one(&mut log).unwrap();
        let usual = log.memory_bytes();
        log.close().unwrap();
        usual
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let limited = builder().memory_limit(usual + (1 << 20));
        let log = limited.open_async(stack(), &config(dir.path())).await.unwrap();
        let error = log.append_batch(&[event(8 << 20)], &[]).await.unwrap_err();
        assert!(matches!(error, OwnerError::Unavailable(_)), "{error}");
        assert_eq!(log.append("s", "t", Severity::Informational, "p", b"").await.unwrap().seqno, 2);
        assert_eq!(log.owner().statistics().deaths, 1);
        log.close().await.unwrap();
    });
}

#[test]
fn async_open_gives_the_same_errors() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let error = runtime.block_on(builder().open_async(stack(), "/no/such/place/audit.db")).unwrap_err();
    assert!(matches!(error, Error::Path { .. }), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let site = |wait| {
        let store = StorePath::parse(&config(dir.path())).unwrap();
        Site::local(&store, &Default::default(), wait)
    };
    let artifact = artifact("secure-log-sqlite.wasm");
    let open = AsyncLog::open(artifact, site(Duration::ZERO).unwrap(), Settings::default(), ());
    let log = runtime.block_on(open).unwrap();
    assert!(matches!(site(Duration::ZERO), Err(Error::Busy { .. })));
    runtime.block_on(log.close()).unwrap();
    site(Duration::ZERO).unwrap();
}

/// What an acknowledged append is worth when its host is killed.
#[test]
fn killed_host_loses_nothing_that_was_answered() {
    if let Some(store) = std::env::var_os("SECURE_LOG_HOST_KILLED") {
        let mut log = HostedLog::open(stack(), store.to_str().unwrap()).unwrap();
        loop {
            println!("{}", one(&mut log).unwrap());
        }
    }
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "log::killed_host_loses_nothing_that_was_answered", "--nocapture"])
        .env("SECURE_LOG_HOST_KILLED", config(dir.path()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let numbers = lines.map_while(Result::ok).filter_map(|line| line.parse::<u64>().ok());
    let acknowledged = numbers.take(50).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut log = HostedLog::open(stack(), &config(dir.path())).unwrap();
    assert!(log.head("s").unwrap().unwrap().seqno >= acknowledged);
}
