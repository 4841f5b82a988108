//! What a command answers: lines for people, or JSON for programs, and nothing else on stdout.

use std::fmt;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Stdout was closed by whoever read it.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whoever read the output has closed it")
    }
}

impl std::error::Error for Closed {}

/// Where answers go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON instead of lines for people.
    pub json: bool,
}

impl Output {
    /// Bytes as they are.
    pub fn bytes(self, bytes: &[u8]) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
            outcome => outcome.context("cannot write to stdout"),
        }
    }

    /// One line.
    pub fn line(self, line: impl fmt::Display) -> Result<()> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// A document of JSON, indented.
    pub fn document(self, value: &impl Serialize) -> Result<()> {
        self.line(serde_json::to_string_pretty(value)?)
    }

    /// One line of JSON with `--json`, else what `text` gives.
    pub fn either<D: fmt::Display>(self, value: &impl Serialize, text: impl FnOnce() -> D) -> Result<()> {
        if self.json { self.line(serde_json::to_string(value)?) } else { self.line(text()) }
    }
}

/// What failed the command.
pub(crate) fn error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

/// Something that the operator should know and that does not fail the command.
pub(crate) fn warn(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "warning: {text}");
}

/// Something that the operator may want to know.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A progress bar on a terminal, and nothing anywhere else. `length` in bytes, if it is known.
pub(crate) fn progress(what: &'static str, length: Option<u64>, bytes: bool) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match (length, bytes) {
        (Some(_), true) => "{msg} {wide_bar} {bytes}/{total_bytes} {eta}",
        (Some(_), false) => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
        (None, true) => "{msg} {spinner} {bytes} {elapsed}",
        (None, false) => "{msg} {spinner} {human_pos} {elapsed}",
    };
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr()).with_message(what);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
