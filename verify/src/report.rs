//! What a run prints: numbered steps with a mark and a time, for people or as JSON lines.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

/// Collects and prints steps.
pub struct Report {
    json: bool,
    colour: bool,
    count: usize,
    failed: Vec<String>,
    checked: Vec<String>,
    unchecked: Vec<String>,
    began: Instant,
}

/// Where a step puts what it found.
#[derive(Default)]
pub struct Notes(Vec<String>);

impl Notes {
    /// Adds a line that is printed under the step.
    pub fn say(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }
}

impl Report {
    /// A report on stdout: JSON lines or text.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            count: 0,
            failed: Vec::new(),
            checked: Vec::new(),
            unchecked: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Says something about the run itself.
    pub fn fact(&self, name: &str, value: impl std::fmt::Display) {
        if self.json {
            self.line(&json!({ "fact": name, "value": value.to_string() }));
        } else {
            println!("{name:>9}  {value}");
        }
    }

    /// Begins a group of steps.
    pub fn section(&self, title: &str) {
        if self.json {
            self.line(&json!({ "section": title }));
        } else {
            println!("\n{}", self.paint("1", title));
        }
    }

    /// Runs one step; `None` if it failed, so that what depends on it can be left out.
    pub fn step<T>(
        &mut self,
        id: &str,
        title: impl Into<String>,
        work: impl FnOnce(&mut Notes) -> anyhow::Result<T>,
    ) -> Option<T> {
        let title = title.into();
        self.count += 1;
        let mut notes = Notes::default();
        let began = Instant::now();
        let outcome = work(&mut notes);
        let took = began.elapsed();
        let error = outcome.as_ref().err().map(|e| format!("{e:#}"));
        if self.json {
            self.line(&json!({
                "step": self.count, "id": id, "title": title, "ok": error.is_none(),
                "ms": took.as_secs_f64() * 1e3, "notes": notes.0, "error": error,
            }));
        } else {
            let mark = if error.is_none() { self.paint("32", "✓") } else { self.paint("31;1", "✗") };
            let pad = " ".repeat(78_usize.saturating_sub(title.chars().count()));
            println!("{:>4} {mark} {title}{pad} {:>9}", self.count, duration(took));
            for note in &notes.0 {
                println!("       {}", self.paint("2", note));
            }
            if let Some(error) = &error {
                println!("       {}", self.paint("31", error));
            }
        }
        match error {
            Some(_) => self.failed.push(title),
            None => self.checked.push(id.to_owned()),
        }
        outcome.ok()
    }

    /// Records something that this run does not look at, and why.
    pub fn not_checked(&mut self, what: impl Into<String>) {
        self.unchecked.push(what.into());
    }

    /// Steps that failed so far.
    pub fn failures(&self) -> usize {
        self.failed.len()
    }

    /// Prints the summary. True if nothing failed.
    pub fn finish(self, facts: &[String]) -> bool {
        let ok = self.failed.is_empty();
        if self.json {
            self.line(&json!({ "summary": {
                "ok": ok, "steps": self.count, "failed": self.failed, "checked": self.checked,
                "facts": facts, "not_checked": self.unchecked,
                "ms": self.began.elapsed().as_secs_f64() * 1e3,
            }}));
            return ok;
        }
        let verdict = match self.failed.len() {
            0 => self.paint("32;1", &format!("All {} steps hold", self.count)),
            n => self.paint("31;1", &format!("{n} of {} steps FAILED", self.count)),
        };
        println!("\n{verdict} ({}).", duration(self.began.elapsed()));
        self.failed.iter().for_each(|title| println!("  ✗ {title}"));
        facts.iter().for_each(|fact| println!("  {fact}"));
        if !self.unchecked.is_empty() {
            println!("Not checked:");
            self.unchecked.iter().for_each(|what| println!("  – {what}"));
        }
        ok
    }

    fn line(&self, value: &Value) {
        println!("{value}");
        let _ = std::io::stdout().flush();
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A progress bar on stderr; invisible where stderr is no terminal, and for short work.
pub fn progress(what: &str, length: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(8));
    let template = if length.is_some() {
        "      {msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta}"
    } else {
        "      {spinner} {msg} {human_pos} {per_sec}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// A time with a unit that suits it.
pub fn duration(d: Duration) -> String {
    match d.as_secs_f64() {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_step_gives_none_and_makes_the_run_fail() {
        let mut report = Report::new(true);
        assert_eq!(report.step("a", "works", |_| Ok(7)), Some(7));
        assert_eq!(report.step("b", "fails", |_| -> anyhow::Result<()> { anyhow::bail!("no") }), None);
        assert_eq!(report.failures(), 1);
        assert!(!report.finish(&[]));
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration(Duration::from_micros(12)), "12 µs");
        assert_eq!(duration(Duration::from_micros(12_340)), "12.3 ms");
        assert_eq!(duration(Duration::from_millis(1_234)), "1.23 s");
    }
}
