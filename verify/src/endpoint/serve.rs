//! The endpoint under the stock command line: `wasmtime serve`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};

use super::Settings;

/// How long it may take to compile the component and listen.
const START: Duration = Duration::from_secs(60);

/// How `wasmtime serve` is told to use instances (docs/endpoint.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is: a fresh instance for each request, and the store opened in each.
    Stock,
    /// One request at a time, by an instance that goes on: it finds its connection to the store as it left it.
    Kept,
}

impl Form {
    /// Flags of `wasmtime serve`.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Stock => &[],
            Self::Kept => &[
                "--max-concurrent-requests",
                "1",
                "--max-instance-reuse-count",
                "1000000",
                "--idle-instance-timeout",
                "3600s",
            ],
        }
    }
}

/// A running `wasmtime serve`. It is killed when this is dropped.
pub struct Serve {
    child: Child,
    url: String,
}

/// The command line: `SECURE_LOG_WASMTIME`, the one that scripts/setup-wasmtime.sh installs, or the one on the path.
pub fn wasmtime() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("SECURE_LOG_WASMTIME") {
        return Ok(path.into());
    }
    let cache = std::env::var_os("SECURE_LOG_CACHE").map_or_else(|| "../.cache".into(), PathBuf::from);
    let installed = cache.join("tools/bin/wasmtime");
    if installed.is_file() {
        return Ok(installed.canonicalize()?);
    }
    let found = Command::new("wasmtime").arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok("wasmtime".into()),
        _ => bail!("there is no `wasmtime` here: run scripts/setup-wasmtime.sh, or set SECURE_LOG_WASMTIME"),
    }
}

impl Serve {
    /// Starts it on a free port of 127.0.0.1 and waits until it listens.
    pub fn start(settings: &Settings, form: Form) -> anyhow::Result<Self> {
        Self::start_at(settings, form, 0)
    }

    /// The same on `port`: after a kill, clients look for it where it was.
    pub fn start_at(settings: &Settings, form: Form, port: u16) -> anyhow::Result<Self> {
        let program = wasmtime()?;
        let mut command = Command::new(&program);
        command.args(["serve", "-S", "cli", "--addr", &format!("127.0.0.1:{port}")]).args(form.flags());
        for (host, guest) in settings.directories() {
            command.arg("--dir").arg(format!("{}::{guest}", host.display()));
        }
        for (name, value) in settings.variables() {
            // By its name alone: values of the command line show in `ps`.
            command.arg("--env").arg(&name).env(name, value);
        }
        command.arg(&settings.artifact).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let stderr = child.stderr.take().context("wasmtime has no stderr")?;
        let (sender, lines) = channel();
        // Reads on to the end, so that what the endpoint writes never blocks it.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line.clone()).is_err() && std::env::var_os("SECURE_LOG_VERBOSE").is_some() {
                    eprintln!("wasmtime serve: {line}");
                }
            }
        });
        let mut serve = Self { child, url: String::new() };
        let mut said = String::new();
        loop {
            match lines.recv_timeout(START) {
                Ok(line) => {
                    if let Some(at) = line.strip_prefix("Serving HTTP on ") {
                        serve.url = at.trim_end_matches('/').to_owned();
                        return Ok(serve);
                    }
                    said.push_str(&line);
                    said.push('\n');
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("wasmtime serve does not listen after {START:?}: {said}")
                }
                Err(RecvTimeoutError::Disconnected) => bail!("wasmtime serve ended: {said}"),
            }
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
