//! Many writers at one endpoint under stock `wasmtime serve`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use secure_log::SecureLog;
use secure_log_verify::crowd::{Crowd, RemoteLog, connect};
use secure_log_verify::endpoint::{ARTIFACT, Form, Serve, Settings};

fn crowd(url: &str, settings: &Settings, shared: bool) -> Crowd {
    Crowd {
        url: url.to_owned(),
        token: settings.token.clone(),
        writers: 16,
        appends: crate::common::number("SECURE_LOG_CROWD_APPENDS", 200) as usize,
        shared,
        name: if shared { "shared" } else { "own" }.into(),
        patience: Duration::ZERO,
        stop: Arc::default(),
    }
}

fn sixteen_writers(form: Form) {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::new(crate::common::dist(ARTIFACT), dir.path(), "audit.db").unwrap();
    let serve = Serve::start(&settings, form).unwrap();
    for shared in [false, true] {
        let crowd = crowd(serve.url(), &settings, shared);
        let outcome = crowd.run().unwrap();
        println!(
            "{form:?}, {}: {} entries in {:?}, {:.0}/s",
            crowd.name,
            outcome.acknowledged.len(),
            outcome.took,
            outcome.acknowledged.len() as f64 / outcome.took.as_secs_f64()
        );
        assert_eq!(outcome.retries, 0);
        crowd
            .check(&mut connect(serve.url(), settings.token.as_deref()).unwrap(), &outcome.acknowledged)
            .unwrap();
    }
}

#[test]
fn sixteen_writers_lose_nothing_with_an_instance_for_each_request() {
    sixteen_writers(Form::Stock);
}

#[test]
fn sixteen_writers_lose_nothing_with_one_instance_that_keeps_the_store_open() {
    sixteen_writers(Form::Kept);
}

#[test]
fn a_killed_endpoint_starts_again_by_itself_and_has_lost_nothing() {
    let rounds = crate::common::number("SECURE_LOG_KILL_ROUNDS", 30);
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(crate::common::dist(ARTIFACT), dir.path(), "audit.db").unwrap();
    // What the dead one held runs out sooner than after the usual three seconds.
    settings.config.push_str("?lease-ms=400");
    let mut serve = Serve::start(&settings, Form::Stock).unwrap();
    let crowd = Crowd {
        writers: 8,
        appends: usize::MAX,
        patience: Duration::from_secs(60),
        ..crowd(serve.url(), &settings, false)
    };
    let (port, stop) = (serve.port(), crowd.stop.clone());
    let writers = std::thread::spawn({
        let crowd = crowd.clone();
        move || crowd.run()
    });
    let (mut lived, began) = (0, Instant::now());
    for round in 0..rounds {
        // Until something was written by this one, and then some time that differs from round to round.
        let mut log = connect(serve.url(), settings.token.as_deref()).unwrap();
        let before = entries(&mut log);
        while entries(&mut log) == before {
            assert!(
                began.elapsed() < Duration::from_secs(20 * u64::from(rounds)),
                "round {round}: nothing is written"
            );
        }
        lived += 1;
        std::thread::sleep(Duration::from_millis(u64::from(round) * 53 % 400));
        serve.kill().unwrap();
        serve = Serve::start_at(&settings, Form::Stock, port).unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let outcome = writers.join().unwrap().unwrap();
    println!("{lived} killed, {} entries, {} retries", outcome.acknowledged.len(), outcome.retries);
    assert!(outcome.retries > 0 && lived == rounds);
    let mut log = connect(serve.url(), settings.token.as_deref()).unwrap();
    crowd.check(&mut log, &outcome.acknowledged).unwrap();
}

fn entries(log: &mut RemoteLog) -> u64 {
    let streams = log.list_streams().unwrap();
    streams.iter().filter_map(|stream| stream.head.as_ref()).map(|head| head.seqno).sum()
}
