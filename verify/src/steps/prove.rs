//! Proofs against the root of a segment.

use anyhow::ensure;

use super::{Run, count, seal::short};
use crate::host::types::Segment;
use crate::launch::Session;
use crate::refusals::expect;

/// Inclusion and consistency, true and forged.
pub fn proofs(run: &mut Run, log: &mut Session, segment: &Segment) -> Option<()> {
    let stream = segment.stream_id.as_str();
    let seqno = segment.size.div_ceil(2);
    run.report.step(
        "inclusion-proof",
        "Prove an entry in its stream; a forged proof is refused",
        |note| {
            let header = log.read(stream, seqno)?.header_bytes;
            let proof = log.build_inclusion_proof(stream, seqno)?;
            ensure!(proof.root == segment.root, "the proof is about another root");
            ensure!(log.leaf_hash(&header)? == proof.leaf_hash, "the leaf is not the entry's header");
            log.verify_inclusion_proof(&proof, &segment.root)?;
            note.say(format!(
                "entry {seqno} of {} under root {}, {}",
                segment.size,
                short(&segment.root),
                count(proof.path.len() as u64, "sibling", "siblings")
            ));
            let mut forged = proof.clone();
            forged.leaf_hash[0] ^= 1;
            note.say(expect(
                "forged leaf",
                log.verify_inclusion_proof(&forged, &segment.root),
                &["corrupt"],
            )?);
            for n in 0..proof.path.len() {
                let mut forged = proof.clone();
                forged.path[n][31] ^= 1;
                expect("forged sibling", log.verify_inclusion_proof(&forged, &segment.root), &["corrupt"])?;
            }
            if proof.tree_size > 1 {
                let mut moved = proof.clone();
                moved.seqno = if seqno == 1 { 2 } else { seqno - 1 };
                expect(
                    "proof for another entry",
                    log.verify_inclusion_proof(&moved, &segment.root),
                    &["corrupt"],
                )?;
            }
            let mut root = segment.root.clone();
            root[5] ^= 0x40;
            expect("another root", log.verify_inclusion_proof(&proof, &root), &["corrupt"])?;
            Ok(())
        },
    )?;
    run.report.step("consistency-proof", "Prove that a smaller tree is a prefix of a larger one", |note| {
        let sizes = log.list_segments(stream)?;
        let proof = log.build_consistency_proof(stream, seqno, segment.size)?;
        // An independent root of the smaller tree exists where an earlier run closed a segment.
        let earlier = sizes.iter().rev().find(|s| s.size < segment.size);
        match earlier {
            Some(earlier) => {
                let proof = log.build_consistency_proof(stream, earlier.size, segment.size)?;
                log.verify_consistency_proof(&proof, &earlier.root, &segment.root)?;
                let mut root = earlier.root.clone();
                root[0] ^= 1;
                note.say(expect(
                    "another earlier root",
                    log.verify_consistency_proof(&proof, &root, &segment.root),
                    &["corrupt"],
                )?);
                note.say(format!(
                    "size {} to {}, both roots from closed segments",
                    earlier.size, segment.size
                ));
            }
            None => {
                let equal = log.build_consistency_proof(stream, segment.size, segment.size)?;
                log.verify_consistency_proof(&equal, &segment.root, &segment.root)?;
                note.say(expect(
                    "an invented root",
                    log.verify_consistency_proof(&proof, &[7; 32], &segment.root),
                    &["corrupt"],
                )?);
                note.say("the first segment of this stream: two real sizes follow in the experiments");
            }
        }
        Ok(())
    })
}
