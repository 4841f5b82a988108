//! Writing: events become linked rows, records become rows of `_log`, and both go to the store in
//! one transaction that is a compare-and-set on every stream it touches.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::seal::{DataKey, Protection, Sealing, TagKey};
use super::*;
use crate::domains::Found;
use crate::error::Conflict;
use crate::header::SALT_LEN;
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_PAYLOAD};
use crate::record::{LOG_ENCODING, LOG_PRODUCER, encode_pointer};
use crate::sealing::{NONCE_LEN, Place, Tagged, encode_event, keys, tag};
use crate::store::{ObjectKind, ObjectWrite, StreamAppend};

/// How often, and for how many milliseconds, an append starts over from a fresh head before it gives up. Other writers
/// make progress each time it has to.
const MAX_ATTEMPTS: u32 = 256;
const MAX_ATTEMPTS_MS: u64 = 30_000;
/// Longest pause between two of them.
const MAX_PAUSE: Duration = Duration::from_millis(64);
/// For how many appends others are expected to append as well, once they were seen to.
const CONTENDED: u32 = 32;
/// How often an append whose fate is unknown is sent again; it is a compare-and-set, so it cannot
/// take effect twice.
const MAX_RESENDS: u32 = 2;

/// What a header holds and a row does not.
struct Extra {
    payload_encoding: Option<String>,
    object_ref: Option<String>,
    payload_hash: Hash,
    payload_len: u64,
    salt_len: u32,
    /// What is sealed, anew for each place that the row may get.
    plain: Option<Zeroizing<Vec<u8>>>,
    nonce: Option<[u8; NONCE_LEN]>,
}

/// What became of an append.
enum Attempt {
    /// The rows are stored.
    Stored,
    /// Somebody else was first: the head of one of the streams was another one, and is known now.
    Overtaken,
    /// Something else stood against it: an id, an object, an expectation, a head that is not known.
    Refused,
}

/// Rows for one stream, not yet linked to its head.
struct Draft {
    append: StreamAppend,
    extras: Vec<Extra>,
    /// Which events the rows came from.
    events: Vec<usize>,
    /// How the rows are made ready for their stream.
    shape: Shape,
}

/// What was done to payloads, event types and producers of a draft.
enum Shape {
    /// Nothing: they are as the events have them.
    Raw,
    /// Payloads are salted, since the stream is public, or does not exist and will be.
    Salted { created: bool },
    /// They are to be sealed, and tags stand for event types and producers where there is a tag key.
    Sealed { protection: Arc<Protection>, tags: Option<Arc<TagKey>> },
}

impl Draft {
    fn new(stream_id: &str) -> Self {
        let append = StreamAppend { prior: StreamHead::empty(stream_id), rows: Vec::new() };
        Self { append, extras: Vec::new(), events: Vec::new(), shape: Shape::Raw }
    }
}

fn unlinked(
    time_ms: u64,
    severity: Severity,
    event_type: String,
    producer: String,
    id: Option<String>,
    payload: Option<Vec<u8>>,
) -> Row {
    Row {
        seqno: 0,
        entry_hash: ZERO_HASH,
        header: Vec::new(),
        payload,
        time_ms,
        severity: severity as u8,
        event_type,
        producer,
        id,
    }
}

fn check_events(events: &[Event]) -> Result<()> {
    if events.is_empty() {
        return Err(Error::invalid("events", "is empty: nothing to append"));
    }
    if events.len() > MAX_BATCH_EVENTS {
        return Err(Error::invalid(
            "events",
            format!("{} events; a batch has at most {MAX_BATCH_EVENTS}", events.len()),
        ));
    }
    let mut total = 0;
    for (i, event) in events.iter().enumerate() {
        let at = |field: &str| match events.len() {
            1 => field.to_owned(),
            _ => format!("events[{i}].{field}"),
        };
        check_stream_id(&at("stream-id"), &event.stream_id)?;
        check_own_stream(&event.stream_id)?;
        check_name(&at("event-type"), &event.event_type)?;
        check_name(&at("producer"), &event.producer)?;
        for (field, value) in [
            ("payload-encoding", &event.payload_encoding),
            ("object-ref", &event.object_ref),
            ("id", &event.id),
        ] {
            if let Some(value) = value {
                check_name(&at(field), value)?;
            }
        }
        if event.payload.len() > MAX_PAYLOAD {
            return Err(Error::invalid(
                at("payload"),
                format!(
                    "{} bytes; a payload has at most {MAX_PAYLOAD}: keep it elsewhere and give its object-ref",
                    event.payload.len()
                ),
            ));
        }
        total += event.payload.len();
    }
    if total > MAX_BATCH_BYTES {
        return Err(Error::invalid(
            "events",
            format!("{total} bytes of payload; a batch has at most {MAX_BATCH_BYTES}"),
        ));
    }
    let mut ids = HashSet::new();
    for event in events {
        if let Some(id) = &event.id
            && !ids.insert((&event.stream_id, id))
        {
            return Err(Error::invalid("id", format!("{id:?} stands twice in the batch")));
        }
    }
    Ok(())
}

fn check_expect(expect: &[StreamHead]) -> Result<()> {
    for head in expect {
        check_stream_id("expect", &head.stream_id)?;
        if (head.seqno == 0) != (head.entry_hash == ZERO_HASH) {
            return Err(Error::invalid("expect", "seqno 0 goes with a hash of zeros, and only it"));
        }
    }
    Ok(())
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_append(
        &mut self,
        events: Vec<Event>,
        expect: &[StreamHead],
    ) -> Result<Vec<AppendResult>> {
        check_events(&events)?;
        check_expect(expect)?;
        let time_ms = self.env.now_ms();
        let mut results: Vec<Option<AppendResult>> = vec![None; events.len()];
        let mut drafts: Vec<Draft> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (i, event) in events.into_iter().enumerate() {
            let place = match places.get(&event.stream_id) {
                Some(place) => *place,
                None => {
                    drafts.push(Draft::new(&event.stream_id));
                    places.insert(event.stream_id.clone(), drafts.len() - 1);
                    drafts.len() - 1
                }
            };
            let draft = &mut drafts[place];
            let payload_len = event.payload.len() as u64;
            let (payload, hash) = match event.object_ref {
                Some(_) => (None, payload_hash(&[], &event.payload)),
                None => (Some(event.payload), ZERO_HASH),
            };
            draft.append.rows.push(unlinked(
                time_ms,
                event.severity,
                event.event_type,
                event.producer,
                event.id,
                payload,
            ));
            draft.extras.push(Extra {
                payload_encoding: event.payload_encoding,
                object_ref: event.object_ref,
                payload_hash: hash,
                payload_len,
                salt_len: 0,
                plain: None,
                nonce: None,
            });
            draft.events.push(i);
        }
        self.commit_events(&mut drafts, expect, time_ms, &mut results)?;
        results
            .into_iter()
            .map(|r| r.ok_or_else(|| Error::Storage("an event of the batch was left out".into())))
            .collect()
    }

    /// The entry that an event with an id already has, if it is the same event.
    fn existing_event(&mut self, stream_id: &str, new: &Row, extra: &Extra) -> Result<Option<AppendResult>> {
        let Some(id) = &new.id else { return Ok(None) };
        let Some(seqno) = self.store.find_id(stream_id, id)? else { return Ok(None) };
        let mut row = self.row(stream_id, seqno, extra.object_ref.is_none())?;
        let stored = row.payload.take();
        let header = verify::check_row(stream_id, &row)?;
        let found = self.rules(stream_id)?.check_payload(&header, stored.as_deref());
        let same_payload = match (found, stored) {
            (Err(reason), _) => return Err(Error::corrupt(stream_id, seqno, reason)),
            (Ok(Found::Elsewhere), _) => header.payload_hash == extra.payload_hash,
            // What is left of it is compared.
            (Ok(Found::Erased), _) | (Ok(Found::Checked), None) => header.payload_len == extra.payload_len,
            (Ok(Found::Checked), Some(stored)) => match (&extra.plain, &new.payload) {
                (Some(plain), _) if header.nonce.is_some() => *self.open_payload(&header, stored)? == **plain,
                // Each has a salt of its own.
                (None, Some(new)) => {
                    stored.get(header.salt_len as usize..) == new.get(extra.salt_len as usize..)
                }
                _ => false,
            },
        };
        let same = same_payload
            && header.event_type == new.event_type
            && header.severity as u8 == new.severity
            && header.producer == new.producer
            && header.payload_encoding == extra.payload_encoding.as_deref()
            && header.object_ref == extra.object_ref.as_deref();
        if !same {
            let head = self.store.head(stream_id)?;
            return Err(Error::conflict(
                stream_id,
                head,
                format!("entry {seqno} has the id {id:?} and is another event"),
            ));
        }
        Ok(Some(AppendResult { seqno, entry_hash: row.entry_hash }))
    }

    /// Takes events out of `drafts` that are stored already. Whether there were any.
    fn settle_existing(
        &mut self,
        drafts: &mut Vec<Draft>,
        results: &mut [Option<AppendResult>],
    ) -> Result<bool> {
        let mut any = false;
        for draft in drafts.iter_mut() {
            let mut at = 0;
            while at < draft.append.rows.len() {
                let stream_id = &draft.append.prior.stream_id;
                match self.existing_event(stream_id, &draft.append.rows[at], &draft.extras[at])? {
                    Some(existing) => {
                        results[draft.events[at]] = Some(existing);
                        draft.append.rows.remove(at);
                        draft.extras.remove(at);
                        draft.events.remove(at);
                        any = true;
                    }
                    None => at += 1,
                }
            }
        }
        drafts.retain(|draft| !draft.append.rows.is_empty());
        Ok(any)
    }

    fn check_expectations(&mut self, expect: &[StreamHead]) -> Result<()> {
        for expected in expect {
            let actual = self.store.head(&expected.stream_id)?;
            let holds = match &actual {
                Some(head) => head == expected,
                None => expected.seqno == 0,
            };
            if !holds {
                return Err(Error::conflict(
                    &expected.stream_id,
                    actual,
                    format!("the head was expected at entry {}", expected.seqno),
                ));
            }
        }
        Ok(())
    }

    /// Head to append to, and whether the stream still has to be recorded as created.
    fn append_head(&mut self, stream_id: &str) -> Result<(StreamHead, bool)> {
        if let Some(head) = self.heads.get(stream_id) {
            return Ok((head.clone(), false));
        }
        match self.store.head(stream_id)? {
            Some(head) => Ok((head, false)),
            None => {
                let created = self.store.read_object(ObjectKind::Stream, stream_id)?.is_some();
                Ok((StreamHead::empty(stream_id), !created))
            }
        }
    }

    /// Makes the rows of a draft ready for their stream, which `created` says is not there yet.
    fn shape(&mut self, draft: &mut Draft, created: bool) -> Result<()> {
        match draft.shape {
            // Somebody else may have created it meanwhile, and sealed.
            Shape::Salted { created: true } if !created => {}
            Shape::Salted { .. } | Shape::Sealed { .. } => return Ok(()),
            Shape::Raw => {}
        }
        let stream_id = draft.append.prior.stream_id.as_str();
        let protection = match created {
            true => None,
            false => Some(self.existing_protection(stream_id)?),
        };
        let Some(protection) = protection.filter(|protection| protection.is_sealed()) else {
            if matches!(draft.shape, Shape::Raw) {
                for (row, extra) in draft.append.rows.iter_mut().zip(&mut draft.extras) {
                    let Some(payload) = row.payload.take() else { continue };
                    let salt: [u8; SALT_LEN as usize] = self.random.take(&mut self.env);
                    let mut stored = Vec::with_capacity(salt.len() + payload.len());
                    stored.extend_from_slice(&salt);
                    stored.extend_from_slice(&payload);
                    extra.payload_hash = payload_hash(&[], &stored);
                    extra.salt_len = SALT_LEN;
                    row.payload = Some(stored);
                }
            }
            draft.shape = Shape::Salted { created };
            return Ok(());
        };
        if draft.extras.iter().any(|extra| extra.object_ref.is_some()) {
            return Err(Error::invalid(
                "object-ref",
                format!(
                    "stream {stream_id:?} is {}: what is kept elsewhere cannot be sealed here, and its bare hash \
                     would let anybody confirm a guess; append it to a public stream",
                    protection.tier.name()
                ),
            ));
        }
        let tags = match protection.tier {
            Tier::HighlyRestricted => Some(self.tag_key(stream_id)?),
            _ => None,
        };
        for (row, extra) in draft.append.rows.iter_mut().zip(&mut draft.extras) {
            let mut payload = Zeroizing::new(row.payload.take().unwrap_or_default());
            payload.drain(..extra.salt_len as usize);
            extra.salt_len = 0;
            let plain = match &tags {
                None => payload,
                Some(tags) => {
                    let plain = encode_event(&row.event_type, &row.producer, &payload);
                    seal::check_sealed_len("payload", plain.len())?;
                    row.event_type = tag(&tags.key, Tagged::EventType, &row.event_type);
                    row.producer = tag(&tags.key, Tagged::Producer, &row.producer);
                    plain
                }
            };
            extra.payload_len = plain.len() as u64;
            extra.plain = Some(plain);
        }
        draft.shape = Shape::Sealed { protection, tags };
        Ok(())
    }

    fn link(&mut self, draft: &mut Draft, prior: StreamHead, key: Option<&DataKey>) -> Result<()> {
        let stream_id = prior.stream_id.as_str();
        let (mut seqno, mut prev_hash) = (prior.seqno, prior.entry_hash);
        let keyed_tags = match &draft.shape {
            Shape::Sealed { tags: Some(tags), .. } => Some(&tags.id[..]),
            _ => None,
        };
        for (row, extra) in draft.append.rows.iter_mut().zip(&mut draft.extras) {
            seqno = seqno
                .checked_add(1)
                .ok_or_else(|| Error::Storage(format!("stream {stream_id:?} is full")))?;
            if let (Some(key), Some(plain)) = (key, &extra.plain) {
                // The place is part of the seal, and no nonce is used twice: a row that moves is sealed anew.
                let nonce: [u8; NONCE_LEN] = self.random.take(&mut self.env);
                let place = Place { stream_id, data_key_id: &key.id, seqno };
                let stored = key.sealer.seal(&nonce, place, plain)?;
                extra.payload_hash = payload_hash(&[], &stored);
                extra.nonce = Some(nonce);
                row.payload = Some(stored);
            }
            let header = HeaderRef {
                stream_id,
                seqno,
                prev_hash,
                time_ms: row.time_ms,
                event_type: &row.event_type,
                severity: Severity::from_number(row.severity).unwrap_or(Severity::Debug),
                producer: &row.producer,
                payload_hash: extra.payload_hash,
                payload_len: extra.payload_len,
                payload_encoding: extra.payload_encoding.as_deref(),
                object_ref: extra.object_ref.as_deref(),
                software_version: &self.software_version,
                session_id: self.session_id,
                boot_id: self.boot_id.as_deref(),
                nonce: extra.nonce,
                data_key_id: key.map(|key| key.id.as_str()),
                keyed_tags,
                salt_len: extra.salt_len,
                event_id: row.id.as_deref(),
            };
            let bytes = header.encode()?;
            row.seqno = seqno;
            row.entry_hash = entry_hash(&bytes);
            row.header = bytes;
            prev_hash = row.entry_hash;
        }
        draft.append.prior = prior;
        Ok(())
    }

    /// Rows of `_log` for `records`, linked to its head as remembered; begins the log if need be.
    fn log_draft(&mut self, records: &[Record], time_ms: u64) -> Result<Draft> {
        let (prior, _) = self.append_head(LOG_STREAM)?;
        let mut draft = Draft::new(LOG_STREAM);
        let created;
        let mut all: Vec<&Record> = Vec::with_capacity(records.len() + 1);
        if prior.seqno == 0 {
            created = Record::LogCreated { origin: self.origin_for_creation() };
            all.push(&created);
        }
        all.extend(records);
        for record in all {
            let payload = record.encode();
            draft.extras.push(Extra {
                payload_encoding: Some(LOG_ENCODING.to_owned()),
                object_ref: None,
                payload_hash: payload_hash(&[], &payload),
                payload_len: payload.len() as u64,
                salt_len: 0,
                plain: None,
                nonce: None,
            });
            draft.append.rows.push(unlinked(
                time_ms,
                Severity::Notice,
                record.event_type().to_owned(),
                LOG_PRODUCER.to_owned(),
                None,
                Some(payload),
            ));
        }
        self.link(&mut draft, prior, None)?;
        Ok(draft)
    }

    fn origin_for_creation(&mut self) -> String {
        if self.chosen_origin.is_none() {
            let id: [u8; 16] = self.random.take(&mut self.env);
            let hex: String = id.iter().map(|b| format!("{b:02x}")).collect();
            // `.invalid` (RFC 2606): nobody owns the name.
            self.chosen_origin = Some(format!("secure-log.invalid/{hex}"));
        }
        self.chosen_origin.clone().unwrap_or_default()
    }

    fn commit_events(
        &mut self,
        drafts: &mut Vec<Draft>,
        expect: &[StreamHead],
        time_ms: u64,
        results: &mut [Option<AppendResult>],
    ) -> Result<()> {
        let mut resends = 0;
        if self.contended > 0 {
            // Whoever goes on from the head that it has just written is always first in line, and the others never.
            self.contended -= 1;
            self.forget(drafts.iter().map(|draft| &draft.append));
        }
        for head in expect.iter().filter(|head| head.seqno > 0) {
            // What is expected holds, or the append fails whatever is remembered.
            if let Some(known) = self.heads.get_mut(&head.stream_id) {
                *known = head.clone();
            }
        }
        for attempt in 1.. {
            if self.is_enough(attempt, time_ms) {
                break;
            }
            if drafts.is_empty() {
                return self.check_expectations(expect);
            }
            let own = drafts.len();
            let mut created: Vec<Record> = Vec::new();
            let mut objects: Vec<ObjectWrite> = Vec::new();
            let mut fresh: Vec<(String, Arc<DataKey>)> = Vec::new();
            for draft in drafts.iter_mut() {
                let (head, create) = self.append_head(&draft.append.prior.stream_id)?;
                self.shape(draft, create)?;
                if create {
                    objects.extend(self.implicit_domain(&head.stream_id)?);
                    created.push(Record::StreamCreated {
                        stream_id: head.stream_id.clone(),
                        tier: Tier::Public,
                        description: None,
                        erasure_domain: None,
                        retention_ms: None,
                    });
                }
                let sealing = match &draft.shape {
                    Shape::Sealed { protection, .. } => {
                        let protection = protection.clone();
                        Some(self.sealing(&head.stream_id, &protection)?)
                    }
                    _ => None,
                };
                let Some(Sealing { key, fresh: made }) = sealing else {
                    self.link(draft, head, None)?;
                    continue;
                };
                if !made.is_empty() {
                    fresh.push((head.stream_id.clone(), key.clone()));
                    objects.extend(made);
                }
                self.link(draft, head, Some(&key))?;
            }
            // Streams of one domain hold to the same state of it.
            let mut seen = HashSet::new();
            objects.retain(|object| seen.insert((object.kind, object.key.clone())));
            if !created.is_empty() {
                let draft = self.log_draft(&created, time_ms)?;
                let first = 1 + draft.append.prior.seqno + (draft.append.rows.len() - created.len()) as u64;
                objects.extend((first..).zip(&created).filter_map(|(n, r)| pointer(r, n)));
                drafts.push(draft);
            }
            // The rows move into the call and back, so that payloads are never copied.
            let appends: Vec<StreamAppend> =
                drafts.iter_mut().map(|d| std::mem::replace(&mut d.append, Draft::new("").append)).collect();
            let outcome = self.try_append(&appends, expect, &objects, &mut resends);
            for (draft, append) in drafts.iter_mut().zip(appends) {
                draft.append = append;
            }
            if let Ok(Attempt::Stored) = outcome {
                for (stream_id, key) in &fresh {
                    self.keyring.stored(stream_id, key);
                }
                for draft in drafts.iter() {
                    if let Some(last) = draft.append.rows.last() {
                        self.remember(StreamHead {
                            stream_id: draft.append.prior.stream_id.clone(),
                            seqno: last.seqno,
                            entry_hash: last.entry_hash,
                        });
                    }
                    for (row, i) in draft.append.rows.iter().zip(&draft.events) {
                        results[*i] = Some(AppendResult { seqno: row.seqno, entry_hash: row.entry_hash });
                    }
                }
                return Ok(());
            }
            drafts.truncate(own);
            match outcome {
                Ok(_) if !expect.is_empty() => self.check_expectations(expect)?,
                Ok(_) => {}
                // An event that is stored already may be sent again, whatever became of its stream.
                Err(error @ Error::Denied(_)) => {
                    if !self.settle_existing(drafts, results)? {
                        return Err(error);
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
            // Where a head was in the way, the store tells about ids when the head is right. It is not relied upon.
            if !matches!(outcome, Ok(Attempt::Overtaken)) || attempt % 16 == 0 {
                self.settle_existing(drafts, results)?;
            }
            if attempt > 1 && matches!(outcome, Ok(Attempt::Overtaken)) {
                self.back_off(attempt);
                self.forget(drafts.iter().map(|draft| &draft.append));
            }
        }
        Err(overtaken())
    }

    /// Whether an append that began at `time_ms` is given up before this attempt.
    fn is_enough(&mut self, attempt: u32, time_ms: u64) -> bool {
        attempt > MAX_ATTEMPTS && self.env.now_ms().saturating_sub(time_ms) > MAX_ATTEMPTS_MS
    }

    /// Waits for a random time, twice as long at most with each attempt, so that those who collided do not meet again.
    fn back_off(&mut self, attempt: u32) {
        let [random] = self.random.take::<1>(&mut self.env);
        let longest = MAX_PAUSE.min(Duration::from_millis(1) * (1 << attempt.min(10)));
        self.env.pause(longest * u32::from(random) / 255);
    }

    /// Heads of these streams are read anew.
    fn forget<'a>(&mut self, appends: impl IntoIterator<Item = &'a StreamAppend>) {
        for append in appends {
            self.heads.remove(&append.prior.stream_id);
        }
    }

    /// One attempt. Where it is refused, heads that turned out wrong are corrected or forgotten.
    fn try_append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
        resends: &mut u32,
    ) -> Result<Attempt> {
        loop {
            let error = match self.store.append(appends, expect, objects) {
                Ok(()) => return Ok(Attempt::Stored),
                Err(error) => error,
            };
            if let Error::Conflict(conflict) = &error {
                // Also where an earlier attempt took effect and its answer was lost.
                let landed = match told_by_head(appends, conflict) {
                    Some(landed) => Ok(landed),
                    None => self.landed(appends),
                };
                let overtaken = self.learn(appends, conflict);
                return match landed? {
                    true => Ok(Attempt::Stored),
                    false if overtaken => Ok(Attempt::Overtaken),
                    false => Ok(Attempt::Refused),
                };
            }
            self.forget(appends);
            match error {
                Error::Unavailable(_) => {
                    if let Ok(true) = self.landed(appends) {
                        return Ok(Attempt::Stored);
                    }
                    if *resends == MAX_RESENDS {
                        return Err(error);
                    }
                    *resends += 1;
                }
                error => return Err(error),
            }
        }
    }

    /// Takes the head of which a conflict tells, so that it need not be asked for. True if it was the head of a stream
    /// that stood against the append; false if it was anything else, and then all heads are forgotten.
    fn learn(&mut self, appends: &[StreamAppend], conflict: &Conflict) -> bool {
        if let Some(actual) = &conflict.actual
            && appends.iter().any(|a| a.prior.stream_id == actual.stream_id && a.prior != *actual)
        {
            self.remember(actual.clone());
            self.contended = CONTENDED;
            return true;
        }
        self.forget(appends);
        false
    }

    /// Whether these very rows are stored. A transaction is all or nothing, so one row tells.
    fn landed(&mut self, appends: &[StreamAppend]) -> Result<bool> {
        for append in appends {
            if let Some(ours) = append.rows.first() {
                let stored = self.store.read_rows(&append.prior.stream_id, ours.seqno, 1, false)?;
                return Ok(stored.first().is_some_and(|row| row.entry_hash == ours.entry_hash));
            }
        }
        Ok(false)
    }

    /// Appends records to `_log` together with the objects that point to them. `Conflict` where
    /// something other than the head of `_log` stood against it.
    ///
    /// `time_ms`: the time that the records get, where it was read already. `more`: objects that go with them, given the
    /// number of the first.
    pub(super) fn commit_records(
        &mut self,
        records: &[Record],
        expect: &[StreamHead],
        time_ms: Option<u64>,
        more: impl Fn(u64) -> Vec<ObjectWrite>,
    ) -> Result<CommittedRecords> {
        let time_ms = time_ms.unwrap_or_else(|| self.env.now_ms());
        let mut resends = 0;
        let mut before = None;
        for attempt in 1.. {
            if self.is_enough(attempt, time_ms) {
                break;
            }
            let draft = self.log_draft(records, time_ms)?;
            let prior = draft.append.prior.clone();
            let first = 1 + prior.seqno + (draft.append.rows.len() - records.len()) as u64;
            let mut objects: Vec<_> = (first..).zip(records).filter_map(|(n, r)| pointer(r, n)).collect();
            objects.extend(more(first));
            let appends = [draft.append];
            match self.try_append(&appends, expect, &objects, &mut resends)? {
                Attempt::Stored => {
                    if let Some(last) = appends[0].rows.last() {
                        self.remember(StreamHead {
                            stream_id: LOG_STREAM.to_owned(),
                            seqno: last.seqno,
                            entry_hash: last.entry_hash,
                        });
                    }
                    for record in records {
                        if let Record::SegmentClosed { stream_id, .. } = record {
                            self.keyring.segment_closed(stream_id);
                        }
                    }
                    return Ok(CommittedRecords { first, time_ms });
                }
                Attempt::Overtaken if attempt > 1 => {
                    self.back_off(attempt);
                    self.heads.remove(LOG_STREAM);
                }
                Attempt::Overtaken => {}
                Attempt::Refused if before.as_ref() == Some(&prior) => {
                    self.check_expectations(expect)?;
                    return Err(Error::conflict(LOG_STREAM, None, "somebody else recorded the same"));
                }
                Attempt::Refused => before = Some(self.log_head()?),
            }
        }
        Err(overtaken())
    }
}

fn overtaken() -> Error {
    Error::Busy(format!("other writers were faster {MAX_ATTEMPTS} times in a row and more; try again"))
}

/// Whether these very rows are stored, as far as the head in a conflict tells.
fn told_by_head(appends: &[StreamAppend], conflict: &Conflict) -> Option<bool> {
    let actual = conflict.actual.as_ref()?;
    let append = appends.iter().find(|a| a.prior.stream_id == actual.stream_id && !a.rows.is_empty())?;
    if actual.seqno <= append.prior.seqno {
        return Some(false);
    }
    // Behind the last row, others may have followed ours.
    let at = usize::try_from(actual.seqno - append.prior.seqno - 1).ok()?;
    append.rows.get(at).map(|ours| ours.entry_hash == actual.entry_hash)
}

/// Where records went.
pub(super) struct CommittedRecords {
    /// Number of the first.
    pub(super) first: u64,
    /// Their time.
    pub(super) time_ms: u64,
}

/// The object that points to a record. Those of domains follow from more than one record.
pub(crate) fn pointer(record: &Record, number: u64) -> Option<ObjectWrite> {
    let (kind, key) = match record {
        Record::LogCreated { .. } | Record::KeyRotated { .. } | Record::DomainErased { .. } => return None,
        Record::StreamCreated { stream_id, .. } => (ObjectKind::Stream, stream_id.clone()),
        Record::StreamDeprecated { stream_id, .. } => (ObjectKind::Frozen, stream_id.clone()),
        Record::SegmentClosed { stream_id, size, .. } => {
            (ObjectKind::Segment, crate::record::segment_key(stream_id, *size))
        }
        Record::PayloadsErased { stream_id, from, .. } => {
            (ObjectKind::State, keys::erased(stream_id, *from, number))
        }
    };
    Some(ObjectWrite { kind, key, value: encode_pointer(number), expected: None })
}
