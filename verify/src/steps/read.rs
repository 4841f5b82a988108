//! Reading back: entries, payloads, queries, the chain.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use super::{Run, count};
use crate::host::types::{Page, QueryFilter, Severity};
use crate::launch::Session;
use crate::report::progress;

/// Entries of one `verify-chain` call, so that long logs show their progress.
const STRETCH: u64 = 50_000;

/// Reads what was appended and compares it.
pub fn entries(run: &mut Run, log: &mut Session) -> Option<()> {
    let samples = &run.appended.samples;
    run.report.step("read", "Read entries and payloads back; their hashes agree", |note| {
        for sample in samples {
            let (stream, seqno) = (&sample.head.stream_id, sample.head.seqno);
            let entry = log.read(stream, seqno)?;
            let header = &entry.header;
            ensure!(entry.entry_hash == sample.head.entry_hash, "{stream:?} {seqno}: not the entry appended");
            ensure!(
                log.entry_hash(&entry.header_bytes)? == entry.entry_hash,
                "{stream:?} {seqno}: entry hash"
            );
            ensure!(
                (&header.stream_id, header.seqno, &header.event_type)
                    == (stream, seqno, &sample.event.event_type)
                    && header.severity == sample.event.severity
                    && header.producer == sample.event.producer
                    && header.payload_encoding == sample.event.payload_encoding,
                "{stream:?} {seqno}: the header does not say what was given: {header:?}"
            );
            let payload = log.read_payload(stream, seqno)?;
            ensure!(payload == sample.event.payload, "{stream:?} {seqno}: another payload came back");
            let again = log.decode_header(&entry.header_bytes)?;
            ensure!(log.encode_header(&again)? == entry.header_bytes, "{stream:?} {seqno}: not canonical");
            if header.salt_len == 0 {
                ensure!(
                    log.payload_hash(&[], &payload)? == header.payload_hash,
                    "{stream:?} {seqno}: payload hash"
                );
            }
        }
        let first = samples.first().context("nothing was appended")?;
        let entry = log.read(&first.head.stream_id, first.head.seqno)?.header;
        note.say(format!(
            "{} looked at; software {}, hash {}",
            count(samples.len() as u64, "entry", "entries"),
            entry.software_version,
            entry.hash_alg
        ));
        Ok(())
    })
}

fn everything() -> QueryFilter {
    QueryFilter {
        stream_id: None,
        from_ms: None,
        to_ms: None,
        event_type: None,
        min_severity: None,
        producer: None,
    }
}

/// Queries with each condition, and page by page.
pub fn queries(run: &mut Run, log: &mut Session) -> Option<()> {
    let samples = &run.appended.samples;
    run.report.step("query", "Query by stream, time, type, severity and producer, page by page", |note| {
        let last = samples.last().context("nothing was appended")?;
        let entry = log.read(&last.head.stream_id, last.head.seqno)?;
        let filter = QueryFilter {
            stream_id: Some(last.head.stream_id.clone()),
            from_ms: Some(entry.header.time_ms),
            to_ms: Some(entry.header.time_ms + 1),
            event_type: Some(entry.header.event_type.clone()),
            min_severity: Some(entry.header.severity),
            producer: Some(entry.header.producer.clone()),
        };
        let (mut cursor, mut pages, mut seen) = (None, 0, BTreeSet::new());
        loop {
            let page = log.query(&filter, &Page { cursor, limit: 7 })?;
            ensure!(page.entries.len() <= 7, "a page of 7 has {} entries", page.entries.len());
            pages += 1;
            for found in &page.entries {
                let h = &found.header;
                ensure!(
                    h.stream_id == last.head.stream_id
                        && h.time_ms == entry.header.time_ms
                        && h.event_type == entry.header.event_type
                        && h.severity as u8 <= entry.header.severity as u8
                        && h.producer == entry.header.producer,
                    "does not match the filter: {h:?}"
                );
                ensure!(seen.insert(h.seqno), "entry {} came twice", h.seqno);
            }
            cursor = page.next;
            if cursor.is_none() || pages == 200 {
                break;
            }
        }
        ensure!(pages == 200 || seen.contains(&last.head.seqno), "entry {} was not found", last.head.seqno);
        note.say(format!(
            "all five conditions: {} in {pages} pages",
            count(seen.len() as u64, "entry", "entries")
        ));

        let severe = QueryFilter { min_severity: Some(Severity::Warning), ..everything() };
        let page = log.query(&severe, &Page { cursor: None, limit: 1_000 })?;
        ensure!(
            page.entries.iter().all(|e| e.header.severity as u8 <= Severity::Warning as u8),
            "a less severe entry was returned"
        );
        note.say(format!(
            "warning or worse: {}{}",
            count(page.entries.len() as u64, "entry", "entries"),
            if page.next.is_some() { " on the first page" } else { "" }
        ));
        let never = QueryFilter { event_type: Some("no.such.type".into()), ..everything() };
        ensure!(
            log.query(&never, &Page { cursor: None, limit: 10 })?.entries.is_empty(),
            "found what is not there"
        );
        Ok(())
    })
}

/// Verifies every stream from its first entry to its last.
pub fn chain(run: &mut Run, log: &mut Session) -> Option<()> {
    run.report.step("verify-headers", "Verify all headers and links", |note| {
        let mut sum = 0;
        for head in Run::heads(log)? {
            sum += log.verify_headers(&head.stream_id, 1, head.seqno)?.entries_checked;
        }
        note.say(count(sum, "entry", "entries"));
        Ok(())
    })?;
    run.report.step("verify-chain", "Verify the whole chain: headers, links, payloads", |note| {
        note.say(whole_chain(log)?);
        Ok(())
    })
}

/// `verify-chain` over everything. Says what was looked at.
pub fn whole_chain(log: &mut Session) -> anyhow::Result<String> {
    let heads = Run::heads(log)?;
    let bar = progress("verifying", Some(heads.iter().map(|head| head.seqno).sum()));
    let (mut entries, mut payloads, mut elsewhere, mut erased) = (0, 0, 0, 0);
    for head in &heads {
        let mut from = 1;
        while from <= head.seqno {
            let to = head.seqno.min(from + STRETCH - 1);
            let report = log.verify_chain(&head.stream_id, from, to)?;
            ensure!(
                (report.from_seqno, report.to_seqno, report.entries_checked) == (from, to, to - from + 1),
                "the report is about other entries than asked: {report:?}"
            );
            entries += report.entries_checked;
            payloads += report.payloads_checked;
            elsewhere += report.payloads_elsewhere;
            erased += report.payloads_erased;
            bar.inc(report.entries_checked);
            from = to + 1;
        }
    }
    bar.finish_and_clear();
    ensure!(entries == payloads + elsewhere + erased, "{} entries lack a payload", entries - payloads);
    let mut text = format!(
        "{} and {} in {}",
        count(entries, "entry", "entries"),
        count(payloads, "payload", "payloads"),
        count(heads.len() as u64, "stream", "streams")
    );
    if elsewhere > 0 {
        text += &format!("; {} kept elsewhere", count(elsewhere, "payload", "payloads"));
    }
    if erased > 0 {
        text += &format!("; {} erased", count(erased, "payload", "payloads"));
    }
    Ok(text)
}
