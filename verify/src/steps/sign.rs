//! Checkpoints: signing the head of the whole log, and what hangs on the signature.

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{Run, count, seal::short};
use crate::host::types::{Checkpoint, Segment};
use crate::launch::Session;
use crate::refusals::expect;

/// Signs, reads back, verifies with the right key and refuses the wrong one.
pub fn checkpoints(run: &mut Run, log: &mut Session, segment: &Segment) -> Option<Checkpoint> {
    let identity = run.keys.identity.clone();
    let signed = run.report.step("sign-segment", "Sign a checkpoint over the whole log", |note| {
        let signed = log.sign_segment(&identity, segment.segment_id)?;
        ensure!(signed.size >= segment.segment_id, "checkpoint {} does not cover the segment", signed.number);
        ensure!(
            signed.note.starts_with(&format!("{}\n{}\n", signed.origin, signed.size)),
            "not a checkpoint note"
        );
        note.say(format!(
            "checkpoint {} of {}: size {}, root {}",
            signed.number,
            signed.origin,
            signed.size,
            short(&signed.root)
        ));
        note.say(format!("verifier key {}", log.verifier_key(&identity)?));
        Ok(signed)
    })?;
    run.report.step("read-checkpoint", "Read the newest checkpoint and by its number", |_| {
        let latest = log.latest_checkpoint()?.context("there is no newest checkpoint")?;
        ensure!(latest.note == signed.note && latest.number == signed.number, "the newest is another one");
        ensure!(
            log.read_checkpoint(signed.number)?.note == signed.note,
            "it reads differently by its number"
        );
        Ok(())
    });
    let trusted = run.report.step("trusted-keys", "Collect the keys to trust", |note| {
        // The caller says which keys it trusts; none is taken from a note.
        let trusted = trusted_keys(&run.keys, &run.trusted, log)?;
        note.say(format!(
            "{} (the keystore's, and those given with --trust)",
            count(trusted.len() as u64, "key", "keys")
        ));
        Ok(trusted)
    })?;
    run.trusted = trusted.clone();
    let stranger = stranger(&signed.origin);
    run.report.step("verify-checkpoints", "Verify all checkpoints; another key is refused", |note| {
        let report = log.verify_checkpoint_chain(&trusted)?;
        note.say(format!(
            "{}, {}, {} of the log's own stream ({} unsigned), {} covered and {} not yet",
            count(report.checkpoints, "checkpoint", "checkpoints"),
            count(report.signatures_verified, "signature", "signatures"),
            count(report.log_entries, "entry", "entries"),
            report.log_entries_unsigned,
            count(report.entries_covered, "entry", "entries"),
            report.entries_uncovered,
        ));
        ensure!(report.latest.note == signed.note, "the report names another newest checkpoint");
        let refused = log.verify_checkpoint_chain(std::slice::from_ref(&stranger));
        note.say(expect("a stranger's key", refused, &["corrupt", "denied"])?);
        expect("no key at all", log.verify_checkpoint_chain(&[]), &["invalid", "corrupt", "denied"])?;
        Ok(())
    });
    run.report.step(
        "entry-proof",
        "Prove an entry up to the signed checkpoint; an altered proof is refused",
        |note| {
            let (stream, seqno) = (segment.stream_id.as_str(), segment.size.div_ceil(2));
            let proof = log.build_entry_proof(stream, seqno)?;
            let header = log.verify_entry_proof(&proof, &trusted)?;
            ensure!((header.stream_id.as_str(), header.seqno) == (stream, seqno), "another entry was proven");
            note.say(format!(
                "entry {seqno} of {stream:?}: {} header bytes, {} + {} siblings, one note",
                proof.header_bytes.len(),
                proof.inclusion.path.len(),
                proof.log_path.len()
            ));
            let mut altered = Vec::new();
            let mut alter = |what: &'static str, change: &dyn Fn(&mut crate::host::types::EntryProof)| {
                let mut other = proof.clone();
                change(&mut other);
                altered.push((what, other));
            };
            alter("header", &|p| *p.header_bytes.last_mut().unwrap_or(&mut 0) ^= 1);
            alter("segment payload", &|p| *p.segment_payload.last_mut().unwrap_or(&mut 0) ^= 1);
            alter("segment header", &|p| *p.segment_header.last_mut().unwrap_or(&mut 0) ^= 1);
            alter("root", &|p| p.inclusion.root[0] ^= 1);
            alter("stream", &|p| p.inclusion.stream_id.push('x'));
            alter("number", &|p| p.inclusion.seqno += 1);
            alter("size in the note", &|p| {
                p.checkpoint = p.checkpoint.replacen(
                    &format!("\n{}\n", signed.size),
                    &format!("\n{}\n", signed.size + 1),
                    1,
                )
            });
            for (what, proof) in &altered {
                expect(what, log.verify_entry_proof(proof, &trusted), &["corrupt", "invalid", "denied"])?;
            }
            let refused = log.verify_entry_proof(&proof, std::slice::from_ref(&stranger));
            note.say(expect("a stranger's key", refused, &["corrupt", "denied"])?);
            Ok(())
        },
    );
    Some(signed)
}

fn trusted_keys(
    keys: &crate::launch::Keys,
    given: &[String],
    log: &mut Session,
) -> anyhow::Result<Vec<String>> {
    let mut trusted = given.to_vec();
    let others = keys.labels().into_iter().filter(|label| *label != keys.identity);
    for label in std::iter::once(keys.identity.clone()).chain(others) {
        trusted.push(log.verifier_key(&label)?);
    }
    Ok(trusted)
}

/// A well-formed verifier key of this name that never signed anything here (RFC 8032, test 1).
fn stranger(name: &str) -> String {
    let key = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
        0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ];
    let typed = [&[0x01][..], &key].concat();
    let id = Sha256::digest([name.as_bytes(), b"\n", &typed].concat());
    format!("{name}+{}+{}", crate::writer::hex(&id[..4]), STANDARD.encode(typed))
}
