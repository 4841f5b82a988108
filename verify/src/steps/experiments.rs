//! Experiments that a log in use should not see: odd calls on streams of their own, forgeries
//! and killed writers.

use std::path::Path;

use anyhow::{Context, ensure};

use super::{Run, count, read};
use crate::forgery;
use crate::host::types::{Checkpoint, Event, Severity, StreamHead, Tier};
use crate::kill::{self, Writers};
use crate::launch::Session;
use crate::refusals::{self, event, expect};
use crate::report::{duration, progress};
use crate::store_path::StorePath;

/// Batches, retries, expectations, streams that end, bad input.
pub fn calls(run: &mut Run, log: &mut Session) {
    let name = |what: &str| format!("verify-{}/{what}", run.id);
    let (a, b) = (name("a"), name("b"));
    run.report.step("batch-streams", "A batch over several streams is all or nothing", |note| {
        let events = [event(&a, "one"), event(&b, "one"), event(&a, "two")];
        let acks = log.append_batch(&events, &[])?;
        ensure!(acks.iter().map(|ack| ack.seqno).eq([1, 1, 2]), "wrong numbers: {acks:?}");
        let before = (log.head(&a)?.map(|h| h.seqno), log.head(&b)?.map(|h| h.seqno));
        let bad = [event(&a, "three"), event(&b, "two"), event("", "bad")];
        note.say(expect("batch with a bad event", log.append_batch(&bad, &[]), &["invalid"])?);
        let after = (log.head(&a)?.map(|h| h.seqno), log.head(&b)?.map(|h| h.seqno));
        ensure!(before == after, "part of a refused batch was written: {before:?} became {after:?}");
        Ok(())
    });
    run.report.step("retry", "A retry with the same event id is not doubled", |note| {
        let once = Event { id: Some("order-4711".into()), ..event(&a, "paid") };
        let first = log.append_batch(std::slice::from_ref(&once), &[])?;
        let again = log.append_batch(std::slice::from_ref(&once), &[])?;
        ensure!(
            first[0].seqno == again[0].seqno && first[0].entry_hash == again[0].entry_hash,
            "the retry made entry {} beside entry {}",
            again[0].seqno,
            first[0].seqno
        );
        ensure!(log.head(&a)?.map(|h| h.seqno) == Some(first[0].seqno), "the stream grew");
        let other = Event { payload: b"refunded".to_vec(), ..once };
        note.say(expect("another event under the same id", log.append_batch(&[other], &[]), &["conflict"])?);
        Ok(())
    });
    run.report.step(
        "expect",
        "A batch whose expectation does not hold is a conflict that names the head",
        |note| {
            let head = log.head(&a)?.context("the stream has no head")?;
            let stale = StreamHead { seqno: head.seqno - 1, ..head.clone() };
            let refused = log.append_batch(&[event(&b, "x")], &[stale]);
            note.say(expect("a stale head", refused, &["conflict"])?);
            log.append_batch(&[event(&b, "x")], &[head])?;
            let unborn = StreamHead { stream_id: name("unborn"), seqno: 0, entry_hash: vec![0; 32] };
            log.append_batch(&[event(&b, "y")], std::slice::from_ref(&unborn))?;
            Ok(())
        },
    );
    run.report.step("object-ref", "A payload kept elsewhere is hashed and counted, not stored", |note| {
        let stream = name("elsewhere");
        let kept =
            Event { object_ref: Some("s3://bucket/video.mp4".into()), ..event(&stream, vec![1; 100_000]) };
        log.append_batch(&[kept], &[])?;
        let report = log.verify_chain(&stream, 1, 1)?;
        ensure!((report.payloads_checked, report.payloads_elsewhere) == (0, 1), "miscounted: {report:?}");
        note.say(expect("its payload", log.read_payload(&stream, 1), &["not-found"])?);
        Ok(())
    });
    run.report.step("deprecate", "A deprecated stream stays readable and takes no more", |note| {
        let stream = name("ended");
        log.create_stream(&stream, Tier::Public, Some("a stream that ends"))?;
        log.append(&stream, "last", Severity::Notice, "verify", b"the end")?;
        log.deprecate_stream(&stream)?;
        let refused = log.append(&stream, "late", Severity::Notice, "verify", b"too late");
        note.say(expect("append to it", refused, &["denied"])?);
        expect("batch with it", log.append_batch(&[event(&a, "x"), event(&stream, "x")], &[]), &["denied"])?;
        ensure!(log.read_payload(&stream, 1)? == b"the end", "its entry cannot be read");
        let info =
            log.list_streams()?.into_iter().find(|s| s.stream_id == stream).context("it is not listed")?;
        ensure!(
            info.deprecated.is_some() && info.description.is_some(),
            "list-streams does not say so: {info:?}"
        );
        Ok(())
    });
    run.report.step("odd-names", "Names with `/`, `..`, quotes and 255 bytes of emoji are data", |note| {
        let names = refusals::odd_but_good_names(&format!("verify-{}", run.id));
        for odd in &names {
            log.append(odd, "odd", Severity::Debug, "verify", odd.as_bytes())?;
            ensure!(log.read_payload(odd, 1)? == odd.as_bytes(), "{odd:?} reads differently");
        }
        note.say(count(names.len() as u64, "stream", "streams"));
        Ok(())
    });
    run.report.step("bad-input", "Bad input gets a typed error, and nothing is written", |note| {
        let before = Run::heads(log)?;
        let all = refusals::all();
        let wrong: Vec<String> =
            all.iter().filter_map(|case| case.check(log, &a).err()).map(|e| format!("{e:#}")).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n       "));
        let after = Run::heads(log)?;
        ensure!(
            before.iter().map(|h| (&h.stream_id, h.seqno)).eq(after.iter().map(|h| (&h.stream_id, h.seqno))),
            "refused calls changed the log"
        );
        note.say(format!("{} refused", count(all.len() as u64, "call", "calls")));
        Ok(())
    });
    run.report.step("two-sizes", "Close two segments; the tree between them only grew", |note| {
        let stream = name("growing");
        let batch: Vec<Event> = (0..300).map(|n| event(&stream, format!("entry {n}"))).collect();
        log.append_batch(&batch[..37], &[])?;
        let first = log.close_segment(&stream)?;
        log.append_batch(&batch[37..], &[])?;
        let second = log.close_segment(&stream)?;
        let proof = log.build_consistency_proof(&stream, first.size, second.size)?;
        log.verify_consistency_proof(&proof, &first.root, &second.root)?;
        let swapped = log.verify_consistency_proof(&proof, &second.root, &first.root);
        note.say(expect("the roots swapped", swapped, &["corrupt"])?);
        let mut forged = proof;
        forged.path[0][0] ^= 1;
        expect(
            "a forged proof",
            log.verify_consistency_proof(&forged, &first.root, &second.root),
            &["corrupt"],
        )?;
        ensure!(log.list_segments(&stream)?.len() == 2, "not two segments");
        log.verify_segments(&stream)?;
        Ok(())
    });
}

/// Signs once more, so that the log this is a copy of is behind the note.
pub fn newer_note(run: &mut Run, log: &mut Session) -> Option<Checkpoint> {
    let (identity, trusted) = (&run.keys.identity, &run.trusted);
    run.report.step("sign-again", "Sign again; the checkpoints form a chain", |note| {
        let segment = log.close_segments()?.pop().context("nothing new to close")?;
        let signed = log.sign_segment(identity, segment.segment_id)?;
        let report = log.verify_checkpoint_chain(trusted)?;
        ensure!(report.latest.number == signed.number, "the newest checkpoint is another one");
        note.say(count(report.checkpoints, "checkpoint", "checkpoints"));
        Ok(signed)
    })
}

/// Changes stored bytes on copies of a store that is closed again afterwards.
pub fn forgeries(run: &mut Run, store: &StorePath, dir: &Path) {
    let (launcher, id) = (&run.launcher, &run.id);
    let marked = run.report.step("plant", "Append an entry to forge, and close the log", |note| {
        let mut log = launcher.open(store)?;
        let marked = forgery::plant(&mut log, &format!("verify-{id}/bank"), 4, 3)?;
        log.finish()?;
        launcher.settle(store)?;
        note.say(format!("stream {:?} seqno {}", marked.stream, marked.seqno));
        Ok(marked)
    });
    let (Some(marked), Some(path)) = (marked, store.host_path()) else { return };
    for (id, title, mark) in [
        (
            "forge-payload",
            "Change one stored byte of its payload: caught, and the entry named",
            &marked.payload,
        ),
        ("forge-header", "Change one stored byte of its header: caught, and the entry named", &marked.header),
    ] {
        run.report.step(id, title, |note| {
            let sites = forgery::sites(path, mark)?;
            ensure!(!sites.is_empty(), "{mark:?} was not found in the files of the store");
            for (n, site) in sites.iter().enumerate() {
                let copy = forgery::forge(store, site, &dir.join(format!("{id}-{n}")))?;
                let at = format!("{} byte {}", site.file.display(), site.offset);
                let error = forgery::caught(launcher, &copy, &marked).context(at.clone())?;
                note.say(format!("{at}: {error}"));
            }
            Ok(())
        });
    }
}

/// Kills writers on a store and checks it after each.
pub fn kills(run: &mut Run, store: &StorePath, rounds: u32) {
    let (launcher, id) = (&run.launcher, &run.id);
    let title = format!(
        "Kill {} under load: every acknowledged entry is there",
        count(rounds.into(), "writer", "writers")
    );
    run.report.step("kill", title, |note| {
        let writers = Writers {
            program: kill::this_program()?,
            artifact: launcher.artifact.path().to_owned(),
            store: store.clone(),
            host_lock: launcher.host_lock,
            env: run.token.as_ref().map_or(Vec::new(), |token| token.env.clone()),
        };
        let bar = progress("killing writers", Some(rounds.into()));
        let (mut acknowledged, mut unanswered, mut slowest) = (0, 0, std::time::Duration::ZERO);
        for round in 0..rounds {
            let found = kill::round(&writers, launcher, &format!("verify-{id}/load"), kill::delay(round))
                .with_context(|| format!("round {}", round + 1))?;
            acknowledged += found.acknowledged as u64;
            unanswered += found.unanswered;
            slowest = slowest.max(found.reopened);
            bar.inc(1);
        }
        bar.finish_and_clear();
        note.say(format!(
            "{} acknowledged and all there; {unanswered} more were written whose answer the kill cut off",
            count(acknowledged, "entry", "entries")
        ));
        note.say(format!("open again within {} of the kill, nobody clearing a lock", duration(slowest)));
        let mut log = launcher.open(store)?;
        note.say(format!("at the end: {}", read::whole_chain(&mut log)?));
        log.finish()?;
        Ok(())
    });
}
