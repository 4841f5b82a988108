//! One run of the harness, from the first open to the summary.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::bench::{self, Sizes};
use crate::cli::Args;
use crate::events::Source;
use crate::host::{Guest, Reach, types::Checkpoint};
use crate::launch::{Keys, Launcher, Place, Session};
use crate::report::{Report, duration};
use crate::setup::{
    artifact_path, default_name, described, described_events, described_keys, environment, keys, launcher,
    run_id, scratch,
};
use crate::steps::{Appended, Run, append, copy, count, experiments, prove, read, seal, sign};
use crate::store_path::StorePath;
use crate::token::Token;
use crate::writer;

/// Runs what the command line asks for. False when a step failed; an error when the call could
/// not be understood or nothing could be started.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let path = artifact_path(args)?;
    if args.bench {
        let sizes = if args.quick { Sizes::QUICK } else { Sizes::FULL };
        return bench::run(&path, args.config.as_deref().map(Path::new), sizes, args.part.as_deref());
    }
    if let Some(stream) = &args.child_writer {
        let config = args.config.as_deref().context("a writer needs a config")?;
        let mut launcher = launcher(args, &path, Guest { env: environment(args)?, ..Guest::default() })?;
        let _token = Token::of(&launcher.artifact, args.identity.as_deref(), &mut launcher.guest)?;
        let store = StorePath::parse(config)?;
        return writer::run(&launcher, &store, stream, args.child_appends).map(|()| true);
    }
    let began = Instant::now();
    let mut source = match &args.events {
        Some(file) => Source::open(file, args.stream.as_deref())?,
        None => Source::sample(),
    };
    let launcher = launcher(args, &path, Guest::default())?;
    let compiled = began.elapsed();
    let reach = launcher.artifact.reach();
    let config = args.config.as_deref().map(StorePath::parse).transpose()?;
    // What is in memory at an endpoint is gone with the instance that served the request.
    let config = config.filter(|store| reach != Reach::Http || store.host_path().is_some());
    let temporary = if config.is_none() { Some(TempDir::with_prefix("secure-log-")?) } else { None };
    let store = match (config, &temporary) {
        (Some(store), _) => store,
        (None, Some(dir)) => StorePath::file(&dir.path().join(default_name(&path)))?,
        (None, None) => unreachable!("one of the two is there"),
    };
    let mut guest = Guest { env: environment(args)?, silent: false, ..Guest::default() };
    let token = Token::of(&launcher.artifact, args.identity.as_deref(), &mut guest)?;
    let keys = match &token {
        Some(token) => {
            Keys { identity: token.identities[0].clone(), place: Place::Token(token.identities.clone()) }
        }
        None => keys(args, &store, &mut guest)?,
    };
    let scratch = scratch(&store)?;
    let scratch_dir = scratch.path().canonicalize()?;

    let report = Report::new(args.json);
    report.fact("component", format!("{} ({} KiB)", path.display(), std::fs::metadata(&path)?.len() / 1024));
    report.fact("log", described(&store, temporary.is_some()));
    match reach {
        Reach::Here => {}
        Reach::Http => {
            report.fact("endpoint", "secure-log-rpc-server.wasm, hosted by this program on 127.0.0.1")
        }
        Reach::Host => report.fact("transport", "this program, with a native SQLite store; no network"),
    }
    if let Some(token) = &token {
        report.fact("token", token.description.clone());
    }
    report.fact("key", described_keys(&keys));
    report.fact("events", described_events(args));
    report.fact("compiled", format!("in {} (kept for the next run)", duration(compiled)));
    let launcher = Launcher { guest, ..launcher };
    let mut run = Run {
        launcher,
        store,
        keys,
        token,
        trusted: args.trust.clone(),
        id: run_id(),
        report,
        appended: Appended::default(),
    };
    run.report.section("The log");
    let signed = the_log(&mut run, &mut source, &scratch_dir, args);
    if signed.is_none() && run.report.failures() > 0 {
        run.report.not_checked("whatever follows the step that failed and depends on it");
    }
    let facts = facts(&run, signed.as_ref(), temporary.is_some(), args.trust.len());
    Ok(run.report.finish(&facts))
}

/// Everything that happens to the log, and to its copy. Gives the last checkpoint of the log.
fn the_log(run: &mut Run, source: &mut Source, scratch: &Path, args: &Args) -> Option<Checkpoint> {
    let mut log = append::open(run, scratch)?;
    append::feed(run, &mut log, source)?;
    read::entries(run, &mut log)?;
    read::queries(run, &mut log);
    read::chain(run, &mut log)?;
    let segment = seal::segments(run, &mut log)?;
    prove::proofs(run, &mut log, &segment);
    let signed = sign::checkpoints(run, &mut log, &segment)?;
    copy::notes(run, &mut log, &signed, scratch);
    let export = args.export.clone().unwrap_or_else(|| scratch.join("export.jsonl"));
    copy::export(run, &mut log, &export);
    let copied = copy::backup(run, &mut log, scratch);
    let on_disk = run.store.host_path().is_some();

    let mut newer = None;
    match (on_disk, &copied) {
        (true, Some(copied)) => {
            run.report.section("Experiments, on a copy of the log");
            let lab = run.launcher.clone();
            if let Some(mut lab) = run.report.step("open-copy", "Open the copy", |_| lab.open(copied)) {
                experiments::calls(run, &mut lab);
                newer = experiments::newer_note(run, &mut lab);
                run.report.step("close-copy", "Close the copy", |_| Ok(lab.finish()?));
            }
        }
        (true, None) => run.report.not_checked("odd calls, for want of a copy to try them on"),
        (false, _) => {
            run.report.section("Experiments, on streams of their own");
            experiments::calls(run, &mut log);
            newer = experiments::newer_note(run, &mut log);
            if let (Some(newer), Some(copied)) = (&newer, &copied) {
                let launcher = run.launcher.clone();
                if let Some(mut older) =
                    run.report.step("open-copy", "Open the copy", |_| launcher.open(copied))
                {
                    rolled_back(run, &mut older, newer);
                    run.report.step("close-copy", "Close the copy", |_| Ok(older.finish()?));
                }
            }
        }
    }
    match &copied {
        Some(copied) => {
            experiments::forgeries(run, copied, scratch);
            match args.kill_rounds {
                0 => run.report.not_checked("killed writers (--kill-rounds 0)"),
                rounds => experiments::kills(run, copied, rounds),
            }
            if !on_disk {
                run.report.not_checked(
                    "the log itself after a crash: it is in memory and ends with its process (forgeries and \
                     killed writers were tried on its copy on disk)",
                );
            }
        }
        None => {
            run.report.not_checked("forged bytes and killed writers: there is no copy on disk to try them on")
        }
    }
    if on_disk {
        run.report.section("The log, closed and opened again");
        run.report.step("close", "Close the log", |_| Ok(log.finish()?))?;
        reopened(run, &signed, newer.as_ref())?;
    } else {
        run.report.step("close", "Close the log", |_| Ok(log.finish()?));
        run.report.not_checked("reopening: a log in memory is gone when it is closed");
    }
    Some(signed)
}

fn reopened(run: &mut Run, signed: &Checkpoint, newer: Option<&Checkpoint>) -> Option<()> {
    let (launcher, store) = (&run.launcher, &run.store);
    let mut log: Session =
        run.report.step("reopen", "Open the log in a fresh instance", |_| launcher.open(store))?;
    let (samples, trusted) = (&run.appended.samples, &run.trusted);
    run.report.step("verify-again", "All events are there, sealed and signed", |note| {
        for sample in samples {
            let payload = log.read_payload(&sample.head.stream_id, sample.head.seqno)?;
            ensure!(
                payload == sample.event.payload,
                "{:?} {} changed",
                sample.head.stream_id,
                sample.head.seqno
            );
        }
        note.say(read::whole_chain(&mut log)?);
        // Keys that end with their instance cannot be asked for again: `trusted` was kept.
        let report = log.verify_checkpoint_chain(trusted)?;
        ensure!(report.latest.note == signed.note, "the newest checkpoint is another one");
        ensure!(report.entries_uncovered == 0, "{} entries are not covered", report.entries_uncovered);
        log.check_against(&signed.note)?;
        note.say(format!(
            "checkpoint {} covers {}",
            signed.number,
            count(report.entries_covered, "entry", "entries")
        ));
        Ok(())
    })?;
    if let Some(newer) = newer {
        rolled_back(run, &mut log, newer);
    }
    run.report.step("close-again", "Close it", |_| Ok(log.finish()?))
}

/// `log` is an older state of the log that signed `newer`.
fn rolled_back(run: &mut Run, log: &mut Session, newer: &Checkpoint) {
    run.report.step("rollback", "A log that is older than a note it once signed is found out", |note| {
        note.say(crate::refusals::expect("a newer note", log.check_against(&newer.note), &["rolled-back"])?);
        Ok(())
    });
}

fn facts(run: &Run, signed: Option<&Checkpoint>, temporary: bool, trusted_before: usize) -> Vec<String> {
    let mut facts = vec![format!(
        "{} appended ({} of payload)",
        count(run.appended.events, "event", "events"),
        count(run.appended.bytes, "byte", "bytes")
    )];
    if let Some(signed) = signed {
        facts.push(format!(
            "checkpoint {} of {} is signed by {:?}",
            signed.number, signed.origin, run.keys.identity
        ));
    }
    let Some(path) = run.store.host_path().filter(|_| !temporary) else { return facts };
    let path = path.display();
    // What is trusted is what was given, then the key that signs.
    match (&run.token, run.trusted.get(trusted_before)) {
        (Some(token), Some(key)) if token.is_thrown_away() => facts.push(format!(
            "{path} holds the log; the key went with its token: continue it with a token of yours and --trust {key}"
        )),
        _ => facts.push(format!("{path} holds the log; run the same command again to continue it")),
    }
    facts
}
