//! A log as static files, beside verifying the headers that go into them.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::Bench;
use super::append::batch;
use super::measure::{in_turns, time};
use super::table::{Row, Table};
use crate::report::progress;

const ARTIFACT: &str = "secure-log-sqlite.wasm";

pub fn rows(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let size = bench.sizes.large;
    let (eds, artifact) = (std::env::current_exe()?.with_file_name("eds"), bench.dist.join(ARTIFACT));
    for needed in [&eds, &artifact] {
        if !needed.is_file() {
            table.note(format!(
                "static tiles were NOT measured: {} is missing (scripts/build-components.sh, then cargo build --release --workspace)",
                needed.display()
            ));
            return Ok(());
        }
    }
    table.doing("static tiles");
    let mut launcher = bench.launcher.clone();
    launcher.guest.env.push(("SECURE_LOG_KEYSTORE_GENERATE".into(), "1".into()));
    let store = bench.store("tiles.db")?;
    let mut log = launcher.open(&store)?;
    let events = batch(5_000, 100);
    let bar = progress(&format!("writing {size} entries"), Some(size));
    for _ in 0..size / 5_000 {
        log.append_batch(&events, &[])?;
        bar.inc(5_000);
    }
    bar.finish_and_clear();
    let segment = log.close_segment("bench")?;
    log.sign_segment("bench", segment.segment_id)?;
    let key = log.verifier_key("bench")?;
    log.finish()?;

    let run = |arguments: &[&str], store: bool| {
        let mut command = Command::new(&eds);
        command.args(["log"]).args(arguments).stdin(Stdio::null());
        if store {
            command.arg("--stack").arg(&artifact).arg("--store").arg(bench.path("tiles.db"));
        }
        let output = command.output().with_context(|| format!("cannot run {}", eds.display()))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let dir = bench.path("tiles");
    let path = dir.to_str().context("a path is not UTF-8")?;
    // An export of its own each time: removing the last one is not measured.
    let mut exports = 0;
    let rounds = bench.sizes.rounds.div_ceil(5);
    let pair = in_turns(
        rounds,
        u32::try_from(size)?,
        || {
            exports += 1;
            run(&["export-tiles", &format!("{path}-{exports}"), "--all-streams"], true)
        },
        || {
            let mut log = launcher.open(&store)?;
            log.verify_headers("bench", 1, size)?;
            Ok(log.finish()?)
        },
    )?;
    table.add(Row::ratio(
        format!("`eds log export-tiles` of {size} entries into an empty directory vs verify-headers, each with opening the log"),
        pair,
        2.0,
    ));
    let newest = format!("{path}-{exports}");
    let check = time(&mut || run(&["check-tiles", &newest, "--trust", &key, "--stream", "bench"], false))?;
    let again = time(&mut || run(&["export-tiles", &newest, "--all-streams"], true))?;
    table.note(format!(
        "`eds log check-tiles` of those {size} entries took {:.2} s, an export with nothing new {:.2} s",
        check.as_secs_f64(),
        again.as_secs_f64()
    ));
    Ok(())
}
