//! Many writers at one endpoint under stock `wasmtime serve`.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod common;

use std::time::Duration;

use secure_log_verify::crowd::{Crowd, connect};
use secure_log_verify::endpoint::{ARTIFACT, Form, Serve, Settings};

fn crowd(url: &str, settings: &Settings, shared: bool) -> Crowd {
    Crowd {
        url: url.to_owned(),
        token: settings.token.clone(),
        writers: 16,
        appends: common::number("SECURE_LOG_CROWD_APPENDS", 200) as usize,
        shared,
        name: if shared { "shared" } else { "own" }.into(),
        patience: Duration::ZERO,
    }
}

fn sixteen_writers(form: Form) {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::new(common::dist(ARTIFACT), dir.path(), "audit.db").unwrap();
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
