//! Segments: the roots under which entries are proven.

use anyhow::{Context, ensure};

use super::{Run, count};
use crate::host::types::Segment;
use crate::launch::Session;

/// Closes segments over everything and recomputes them. Gives the newest one of the stream
/// that the last event went to.
pub fn segments(run: &mut Run, log: &mut Session) -> Option<Segment> {
    let stream = run.appended.samples.last()?.head.stream_id.clone();
    let segment = run.report.step("close-segments", "Close a segment over every stream", |note| {
        let closed = log.close_segments()?;
        for segment in &closed {
            let read = log.read_segment(segment.segment_id)?;
            ensure!(same(&read, segment), "segment {} reads differently", segment.segment_id);
            let listed = log.list_segments(&segment.stream_id)?;
            ensure!(
                listed.last().is_some_and(|l| same(l, segment)),
                "segment {} is not listed",
                segment.segment_id
            );
        }
        let again = log.close_segment(&stream)?;
        let own = closed.iter().find(|s| s.stream_id == stream).context("the stream has no new segment")?;
        ensure!(same(&again, own), "closing again without new entries gives another segment");
        note.say(format!(
            "{}; {stream:?} has size {} and root {}",
            count(closed.len() as u64, "segment", "segments"),
            own.size,
            short(&own.root)
        ));
        Ok(own.clone())
    })?;
    run.report.step("verify-segments", "Recompute every tree from its entries", |note| {
        let (mut segments, mut entries, mut tiles) = (0, 0, 0);
        for head in Run::heads(log)? {
            let report = log.verify_segments(&head.stream_id)?;
            segments += report.segments_checked;
            entries += report.entries_checked;
            tiles += report.tiles_checked;
        }
        note.say(format!(
            "{}, {}, {}",
            count(segments, "root", "roots"),
            count(entries, "entry", "entries"),
            count(tiles, "tile", "tiles")
        ));
        Ok(())
    });
    Some(segment)
}

fn same(a: &Segment, b: &Segment) -> bool {
    (a.segment_id, &a.stream_id, a.first_seqno, a.size, &a.root, &a.head_hash)
        == (b.segment_id, &b.stream_id, b.first_seqno, b.size, &b.root, &b.head_hash)
}

/// The first bytes of a hash.
pub fn short(hash: &[u8]) -> String {
    format!("{}…", crate::writer::hex(&hash[..hash.len().min(8)]))
}
