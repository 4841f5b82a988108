//! The table, as it goes into docs/performance.md.

use std::path::Path;
use std::time::Duration;

use super::measure::Pair;
use crate::report::duration;

/// One line.
pub struct Row {
    what: String,
    measured: String,
    value: String,
    target: String,
    reached: bool,
}

impl Row {
    /// The first of a pair must take at most `limit` times as long as the second.
    pub fn ratio(what: impl Into<String>, pair: Pair, limit: f64) -> Self {
        Self {
            what: what.into(),
            measured: format!("{} vs {}", short(pair.first), short(pair.second)),
            value: format!("{:.2}×", pair.ratio),
            target: format!("at most {limit:.1}×"),
            reached: pair.ratio <= limit,
        }
    }

    /// Two rates, per second, and how much of the second the first must reach.
    pub fn rates(what: impl Into<String>, rates: (f64, f64), ratio: f64, least: f64) -> Self {
        Self {
            what: what.into(),
            measured: format!("{:.0}/s vs {:.0}/s", rates.0, rates.1),
            value: format!("{ratio:.2}×"),
            target: format!("at least {least}×"),
            reached: ratio >= least,
        }
    }

    /// A figure that must not be larger.
    pub fn at_most(what: impl Into<String>, value: f64, limit: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            measured: String::new(),
            value: format!("{value:.2}{unit}"),
            target: format!("under {limit}{unit}"),
            reached: value < limit,
        }
    }

    /// A figure that must not be smaller.
    pub fn at_least(what: impl Into<String>, value: f64, limit: f64, unit: &str) -> Self {
        let digits = usize::from(value < 1_000.0);
        Self {
            what: what.into(),
            measured: String::new(),
            value: format!("{value:.digits$}{unit}"),
            target: format!("at least {limit}{unit}"),
            reached: value >= limit,
        }
    }
}

/// A time in few characters.
pub fn short(time: Duration) -> String {
    match time.as_nanos() {
        ns if ns < 100_000 => format!("{:.2} µs", ns as f64 / 1e3),
        _ => duration(time),
    }
}

/// All lines, printed at the end; what is being measured is said on stderr.
pub struct Table {
    rows: Vec<Row>,
    blocks: Vec<String>,
    notes: Vec<String>,
}

impl Table {
    pub fn new() -> Self {
        Self { rows: Vec::new(), blocks: Vec::new(), notes: Vec::new() }
    }

    /// Says what is being measured.
    pub fn doing(&self, what: &str) {
        eprintln!("measuring {what} …");
    }

    pub fn add(&mut self, row: Row) {
        eprintln!("  {}: {} ({})", row.what, row.value, row.target);
        self.rows.push(row);
    }

    /// Adds a table of its own, without targets.
    pub fn block(&mut self, text: String) {
        self.blocks.push(text);
    }

    /// Adds a line below the table.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Adds the sizes of the artifacts in `dist`.
    pub fn sizes(&mut self, dist: &Path) {
        for (name, limit) in [("secure-log-file.wasm", 1.5), ("secure-log-sqlite.wasm", 2.5)] {
            match std::fs::metadata(dist.join(name)) {
                Ok(file) => {
                    self.add(Row::at_most(format!("`dist/{name}`"), file.len() as f64 / 1e6, limit, " MB"))
                }
                Err(e) => self.note(format!("the size of {name} was NOT measured: {e}")),
            }
        }
    }

    /// Prints everything. True if every target is reached.
    pub fn finish(self) -> bool {
        println!("| what | measured | result | target | |\n|---|---|---|---|---|");
        for row in &self.rows {
            let verdict = if row.reached { "reached" } else { "**short**" };
            println!("| {} | {} | {} | {} | {verdict} |", row.what, row.measured, row.value, row.target);
        }
        self.blocks.iter().for_each(|block| println!("\n{block}"));
        if !self.notes.is_empty() {
            println!();
            self.notes.iter().for_each(|note| println!("- {note}"));
        }
        self.rows.iter().all(|row| row.reached)
    }
}
