//! The remote stack, hosted with settings of its own, and what it may say about failures.

use std::sync::LazyLock;

use secure_log_verify::endpoint::{ARTIFACT, Endpoint, Settings};
use secure_log_verify::failure::Failure;
use secure_log_verify::host::types::{Event, LogError, Severity};
use secure_log_verify::host::{Artifact, Guest, Hosted};
use tempfile::TempDir;

use super::dist;
use super::http::{Fake, forwards};

static REMOTE: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::load(&dist("secure-log-remote.wasm")).unwrap());

/// What the far end is called with. Nobody may read it anywhere else.
pub const TOKEN: &str = "zebra-7f3a-token-9c1e";

/// An instance that has opened nothing, with these variables.
pub fn instance(env: &[(&str, &str)]) -> Hosted {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    REMOTE.start(&Guest { env, silent: true, ..Guest::default() }).unwrap()
}

/// The same, for the endpoint at `url`.
pub fn instance_at(url: &str, timeout_ms: u32, retries: u32) -> Hosted {
    let [timeout, retries] = [timeout_ms, retries].map(|n| n.to_string());
    instance(&[
        ("SECURE_LOG_RPC_URL", url),
        ("SECURE_LOG_RPC_TOKEN", TOKEN),
        ("SECURE_LOG_RPC_TIMEOUT_MS", &timeout),
        ("SECURE_LOG_RPC_RETRIES", &retries),
    ])
}

/// An endpoint over an empty store, with a [`Fake`] before it that passes everything on.
pub struct Far {
    pub fake: Fake,
    pub endpoint: Endpoint,
    pub dir: TempDir,
}

impl Far {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dist(ARTIFACT), dir.path(), "audit.db").unwrap();
        settings.token = Some(TOKEN.into());
        let endpoint = Endpoint::start(&settings).unwrap();
        Self { fake: Fake::start(forwards(endpoint.url())), endpoint, dir }
    }

    /// Passes everything on again.
    pub fn recover(&self) {
        self.fake.set(forwards(self.endpoint.url()));
    }

    /// An instance that has opened the log through the fake.
    pub fn open(&self, timeout_ms: u32, retries: u32) -> Hosted {
        let mut log = instance_at(&self.fake.url(), timeout_ms, retries);
        log.open("remote").unwrap();
        log
    }

    /// An instance that has opened the log past the fake.
    pub fn direct(&self) -> Hosted {
        let mut log = instance_at(self.endpoint.url(), 30_000, 5);
        log.open("remote").unwrap();
        log
    }
}

/// An event with or without an id.
pub fn event(stream: &str, payload: &str, id: Option<&str>) -> Event {
    Event {
        stream_id: stream.into(),
        event_type: "test".into(),
        severity: Severity::Notice,
        producer: "tests".into(),
        payload: payload.into(),
        payload_encoding: None,
        object_ref: None,
        id: id.map(str::to_owned),
    }
}

/// Everything that an error says, after a look whether it says too much.
pub fn said(failure: &Failure) -> String {
    let text = failure.to_string();
    assert!(!text.contains(TOKEN), "the token is in an error: {text}");
    assert!(!text.chars().any(|c| c.is_control()), "control characters: {text:?}");
    assert!(text.len() < 1500, "an error of {} bytes: {text:.200}", text.len());
    text
}

/// The field of an `invalid`.
pub fn invalid_field(failure: &Failure) -> Option<&str> {
    match failure {
        Failure::Log(LogError::Invalid(argument)) => Some(&argument.field),
        _ => None,
    }
}
