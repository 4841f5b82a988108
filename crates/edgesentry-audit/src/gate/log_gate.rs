//! [`LogGate`]: judges records and stores what it accepts, one transaction a batch.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use secure_log::error::Error;
use secure_log::header::check_name;
use secure_log::model::{AppendResult, Event, Severity, StreamHead, ZERO_HASH};

use crate::error::IngestError;
use crate::gate::cache::{Cache, Cached};
use crate::gate::decisions::{self, Run};
use crate::gate::judge::{check_form, judge_record};
use crate::gate::log::GateLog;
use crate::gate::refusals::{Plan, Refusal, Refusals};
use crate::gate::stored::{self, MAX_RECORD_PAYLOAD, MAX_SOURCE, StoredRef};
use crate::gate::text::bounded;
use crate::gate::types::{Failure, Outcome, Part, Receipt, Settings, Submission, Verdict};
use crate::gate::{events, registry, streams};
use crate::integrity::compute_payload_hash;
use crate::record::{AuditRecord, Hash32};

/// Most submissions in one batch: with its decisions and counts they fit into one append.
pub const MAX_SUBMISSIONS: usize = 8_000;
/// Most bytes in one batch: payloads and texts, and 512 for each submission.
pub const MAX_SUBMISSION_BYTES: usize = 24 << 20;
/// Devices that a gate remembers.
pub const CACHED_DEVICES: usize = 20_000;

/// How often a batch is judged again because another server was first, before it gives up.
const MAX_ROUNDS: u32 = 16;
/// Epochs in which a record is looked for that may be an old one.
const MAX_LOOKED_AT: usize = 4;

/// A clock: ms since the Unix epoch.
pub type Clock = Box<dyn FnMut() -> u64 + Send>;

/// A gate whose whole state is derived from a log: it can be dropped at any moment, and any number of gates can work
/// on one store. See docs/gate.md.
pub struct LogGate<L> {
    pub(super) log: L,
    pub(super) settings: Settings,
    pub(super) cache: Cache,
    /// Where the last list of devices ended: how many came before, and the cursor that goes on.
    pub(super) listed: Option<(u64, String)>,
    refusals: Refusals,
    clock: Clock,
    overtaken: u64,
}

/// What became of a submission, before anything is stored.
enum Judged {
    Accepted(Accepted),
    Rejected(IngestError, Already),
}

struct Accepted {
    bytes: Vec<u8>,
    hash: Hash32,
    epoch: u64,
    seqno: u64,
    registry_seqno: u64,
    registry_hash: Hash32,
    key_id: String,
}

/// Where a record is that came again.
enum Already {
    No,
    Stored(Receipt),
    /// Earlier in the same batch.
    InBatch(usize),
}

/// The submissions of one device, in their order.
struct Group {
    device_id: String,
    at: Vec<usize>,
    /// The device with the accepted records of this batch applied; `None`: it is not registered.
    cached: Option<Cached>,
    /// What it goes back to before it is judged again.
    next_sequence: u64,
    next_prev_record_hash: Hash32,
    /// Which submissions are accepted so far; the first has the number `next_sequence`, and none is left out.
    accepted: Vec<usize>,
    /// Whether it was compared with the store in this call.
    fresh: bool,
}

impl Group {
    fn set(&mut self, cached: Option<Cached>) {
        if let Some(cached) = &cached {
            self.next_sequence = cached.device.next_sequence;
            self.next_prev_record_hash = cached.device.next_prev_record_hash;
        }
        self.cached = cached;
    }

    fn rewind(&mut self) {
        self.accepted.clear();
        if let Some(cached) = &mut self.cached {
            cached.device.next_sequence = self.next_sequence;
            cached.device.next_prev_record_hash = self.next_prev_record_hash;
        }
    }
}

/// One append: its events, what must hold, and which group each stream belongs to.
struct Batch {
    events: Vec<Event>,
    expect: Vec<StreamHead>,
    groups: HashMap<String, usize>,
    /// Submissions in the order of their events.
    accepted: Vec<usize>,
    refusals: Plan,
}

impl<L: GateLog> LogGate<L> {
    /// A gate over an opened log. `Invalid` if the settings are.
    pub fn new(log: L, settings: Settings) -> Result<Self, Error> {
        check_settings(&settings)?;
        Ok(Self {
            log,
            refusals: Refusals::new(settings.refusal_interval_ms),
            settings,
            cache: Cache::new(CACHED_DEVICES),
            listed: None,
            clock: Box::new(system_clock),
            overtaken: 0,
        })
    }

    /// The same with another clock; it times nothing but the intervals in which refusals are counted.
    pub fn with_clock(mut self, clock: impl FnMut() -> u64 + Send + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// How the gate works.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes how the gate works. What was counted is written under the old name first.
    pub fn configure(&mut self, settings: Settings) -> Result<(), Failure> {
        check_settings(&settings).map_err(|error| Failure { part: Part::OperationLog, error })?;
        self.flush()?;
        self.refusals.set_interval(settings.refusal_interval_ms);
        self.settings = settings;
        Ok(())
    }

    /// The log, for whoever closes segments or reads it between submissions.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// Gives the log back. Refusals that were counted and not written are lost: [`flush`](Self::flush) first.
    pub fn into_log(self) -> L {
        self.log
    }

    /// How often a batch had to be judged again because another server had changed one of its devices.
    pub fn overtaken(&self) -> u64 {
        self.overtaken
    }

    /// Devices that are remembered.
    pub fn cached_devices(&self) -> usize {
        self.cache.len()
    }

    /// Forgets every device; the next record of each is judged by what is stored.
    pub fn forget(&mut self) {
        self.cache.clear();
    }

    /// Judges one record; what is accepted is durable when this returns.
    pub fn submit(&mut self, submission: &Submission) -> Result<Verdict, Failure> {
        let mut verdicts = self.submit_batch(std::slice::from_ref(submission))?;
        verdicts.pop().ok_or_else(|| ledger(Error::Storage("a batch of one gave no verdict".into())))
    }

    /// Judges records in order and stores all that are accepted in one transaction. At most [`MAX_SUBMISSIONS`] and
    /// [`MAX_SUBMISSION_BYTES`]. On a failure nothing was accepted, except where its error is `Unavailable`: then that
    /// is not known, and whoever submits the same again learns it ([`Verdict::already`]).
    pub fn submit_batch(&mut self, submissions: &[Submission]) -> Result<Vec<Verdict>, Failure> {
        for submission in submissions {
            events::started(&submission.record, submission.payload.len());
        }
        let result = check_size(submissions).and_then(|()| self.judge_and_store(submissions));
        match &result {
            Ok(verdicts) => {
                for (submission, verdict) in submissions.iter().zip(verdicts) {
                    events::verdict(&submission.record, verdict);
                }
            }
            Err(failure) => {
                for submission in submissions {
                    events::failure(&submission.record, failure);
                }
            }
        }
        result
    }

    /// Writes the entries of refusals that were counted and not yet written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        while self.refusals.is_pending() {
            let now = (self.clock)();
            let plan = self.refusals.plan(std::iter::empty(), now, true).map_err(operation_log)?;
            let events = self.refusal_events(&plan);
            self.log.append_batch(events, &[]).map_err(operation_log)?;
            self.refusals.apply(plan);
        }
        Ok(())
    }

    fn refusal_events(&self, plan: &Plan) -> Vec<Event> {
        let stream = streams::operations(&self.settings.gate_id);
        let entries = plan.entries.iter();
        entries.map(|payload| decisions::rejected(&stream, &self.settings.gate_id, payload.clone())).collect()
    }

    fn judge_and_store(&mut self, submissions: &[Submission]) -> Result<Vec<Verdict>, Failure> {
        let mut judged: Vec<Option<Judged>> = Vec::with_capacity(submissions.len());
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (at, submission) in submissions.iter().enumerate() {
            let refused = check_alone(submission).err();
            if refused.is_none() {
                let device_id = submission.record.device_id.as_str();
                let place = *places.entry(device_id).or_insert_with(|| {
                    groups.push(Group {
                        device_id: device_id.to_owned(),
                        at: Vec::new(),
                        cached: None,
                        next_sequence: 0,
                        next_prev_record_hash: ZERO_HASH,
                        accepted: Vec::new(),
                        fresh: false,
                    });
                    groups.len() - 1
                });
                groups[place].at.push(at);
            }
            judged.push(refused.map(|error| Judged::Rejected(error, Already::No)));
        }
        for group in &mut groups {
            // A device that is taken out of the cache comes back when all of it is stored, and not otherwise.
            match self.cache.take(&group.device_id) {
                Some(cached) => group.set(Some(cached)),
                None => self.load_into(group)?,
            }
            self.judge_group(group, submissions, &mut judged)?;
        }
        let mut rounds = 0;
        let (batch, results) = loop {
            let mut batch = self.batch(&groups, submissions, &judged)?;
            if batch.events.is_empty() {
                break (batch, Vec::new());
            }
            match self.log.append_batch(std::mem::take(&mut batch.events), &batch.expect) {
                Ok(results) => break (batch, results),
                Err(Error::Conflict(conflict)) if !batch.expect.is_empty() => {
                    self.overtaken += 1;
                    rounds += 1;
                    if rounds > MAX_ROUNDS {
                        return Err(ledger(Error::Busy(format!(
                            "other servers were first {MAX_ROUNDS} times in a row ({:?}); try again",
                            conflict.stream_id
                        ))));
                    }
                    // One conflict names one stream; where more follow, all are looked at.
                    let named = batch.groups.get(&conflict.stream_id).filter(|_| rounds == 1);
                    for (place, group) in groups.iter_mut().enumerate() {
                        if named.is_none_or(|named| *named == place) && self.refresh(group)? {
                            self.judge_group(group, submissions, &mut judged)?;
                        }
                    }
                }
                Err(error) => {
                    let part = if batch.expect.is_empty() { Part::OperationLog } else { part_of(&error) };
                    return Err(Failure { part, error });
                }
            }
        };
        self.finish(batch, &results, groups, submissions, judged)
    }

    /// Puts what the store has of a device into its group.
    fn load_into(&mut self, group: &mut Group) -> Result<(), Failure> {
        let cached = self.load(&group.device_id)?;
        group.set(cached);
        group.fresh = true;
        Ok(())
    }

    /// Compares a group's device with the store; if another server has changed it, takes what is stored. Whether it
    /// was changed.
    fn refresh(&mut self, group: &mut Group) -> Result<bool, Failure> {
        group.fresh = true;
        let Some(cached) = &mut group.cached else { return Ok(false) };
        let device_id = group.device_id.as_str();
        let registry = self.log.head(&streams::registry(device_id)).map_err(in_registry)?;
        let is = |head: &Option<StreamHead>, seqno: u64, hash: Hash32| match head {
            Some(head) => (head.seqno, head.entry_hash) == (seqno, hash),
            None => seqno == 0,
        };
        if !is(&registry, cached.device.registry_seqno, cached.registry_hash) {
            self.load_into(group)?;
            return Ok(true);
        }
        let chain = self.log.head(&streams::device(device_id, cached.epoch())).map_err(ledger)?;
        if is(&chain, cached.chain_seqno, cached.chain_hash) {
            return Ok(false);
        }
        match chain {
            Some(_) => {
                self.load_chain(cached, chain)?;
                let cached = group.cached.take();
                group.set(cached);
            }
            None => self.load_into(group)?,
        }
        Ok(true)
    }

    /// A device as the store has it now.
    pub(super) fn load(&mut self, device_id: &str) -> Result<Option<Cached>, Failure> {
        let folded = registry::fold(&mut self.log, device_id, |_, _| ()).map_err(in_registry)?;
        let Some((device, registry_hash)) = folded else { return Ok(None) };
        let mut cached = Cached { device, registry_hash, chain_seqno: 0, chain_hash: ZERO_HASH };
        let head = self.log.head(&streams::device(device_id, cached.epoch())).map_err(ledger)?;
        self.load_chain(&mut cached, head)?;
        Ok(Some(cached))
    }

    /// Takes over how far the open epoch is: its last entry says what follows.
    fn load_chain(&mut self, cached: &mut Cached, head: Option<StreamHead>) -> Result<(), Failure> {
        let Some(head) = head else { return Ok(()) };
        let (epoch, first) = (cached.epoch(), cached.first());
        let stored = match self.read_stored(&cached.device.device_id, epoch, first, head.seqno) {
            Err(failure) if is_gone(&failure) => {
                // What the record's hash was is gone with it: the next one follows the entry.
                cached.device.next_sequence = first.saturating_add(head.seqno);
                cached.device.next_prev_record_hash = head.entry_hash;
                (cached.chain_seqno, cached.chain_hash) = (head.seqno, head.entry_hash);
                return Ok(());
            }
            stored => stored?,
        };
        if stored.entry_hash != head.entry_hash {
            let reason = "it is not the entry that the head names";
            return Err(ledger(Error::corrupt(head.stream_id, head.seqno, reason)));
        }
        cached.device.next_sequence = stored.record.sequence.saturating_add(1);
        cached.device.next_prev_record_hash = stored.record.hash();
        (cached.chain_seqno, cached.chain_hash) = (head.seqno, head.entry_hash);
        Ok(())
    }

    /// Judges all submissions of one device, each by what the ones before it left.
    fn judge_group(
        &mut self,
        group: &mut Group,
        submissions: &[Submission],
        judged: &mut [Option<Judged>],
    ) -> Result<(), Failure> {
        let mut turn = 0;
        group.rewind();
        while let Some(&at) = group.at.get(turn) {
            let Submission { record, route_identity, .. } = &submissions[at];
            let device = group.cached.as_ref().map(|cached| &cached.device);
            let verdict = judge_record(record, route_identity.as_deref(), device);
            judged[at] = Some(match (verdict.map(|key| key.key_id.clone()), &mut group.cached) {
                (Ok(key_id), Some(cached)) => {
                    let bytes = record.to_bytes();
                    let hash = *blake3::hash(&bytes).as_bytes();
                    let accepted = Accepted {
                        bytes,
                        hash,
                        epoch: cached.epoch(),
                        seqno: record.sequence - cached.first() + 1,
                        registry_seqno: cached.device.registry_seqno,
                        registry_hash: cached.registry_hash,
                        key_id,
                    };
                    cached.device.next_sequence = record.sequence.saturating_add(1);
                    cached.device.next_prev_record_hash = hash;
                    group.accepted.push(at);
                    Judged::Accepted(accepted)
                }
                (Ok(_), None) => {
                    Judged::Rejected(IngestError::UnknownDevice(group.device_id.clone()), Already::No)
                }
                (Err(error), _) => {
                    // Another server may have gone on, or a key been added, since this was remembered.
                    if !group.fresh && can_change(&error, record) && self.refresh(group)? {
                        group.rewind();
                        turn = 0;
                        continue;
                    }
                    self.look_for(group, record, judged, error)?
                }
            });
            turn += 1;
        }
        Ok(())
    }

    /// Says of a refused record whether it is one that was accepted before.
    fn look_for(
        &mut self,
        group: &Group,
        record: &AuditRecord,
        judged: &[Option<Judged>],
        error: IngestError,
    ) -> Result<Judged, Failure> {
        let device = match &group.cached {
            Some(cached) => &cached.device,
            None => return Ok(Judged::Rejected(error, Already::No)),
        };
        // With one epoch, a number that does not fit yet was never accepted.
        let may_be_old = match &error {
            IngestError::Duplicate { .. } => true,
            IngestError::InvalidSequence { .. } | IngestError::InvalidPrevHash(_) => device.epochs.len() > 1,
            _ => false,
        };
        if !may_be_old {
            return Ok(Judged::Rejected(error, Already::No));
        }
        let behind = record.sequence.checked_sub(group.next_sequence).and_then(|n| usize::try_from(n).ok());
        if let Some(&at) = behind.and_then(|n| group.accepted.get(n))
            && let Some(Judged::Accepted(accepted)) = &judged[at]
            && accepted.bytes == record.to_bytes()
        {
            return Ok(Judged::Rejected(error, Already::InBatch(at)));
        }
        let mut looked_at = 0;
        for (n, epoch) in device.epochs.iter().enumerate().rev() {
            let is_open = n + 1 == device.epochs.len();
            if record.sequence < epoch.first || (is_open && record.sequence >= group.next_sequence) {
                continue;
            }
            if looked_at == MAX_LOOKED_AT {
                break;
            }
            looked_at += 1;
            let seqno = record.sequence - epoch.first + 1;
            let stored = match self.read_stored(&device.device_id, epoch.number, epoch.first, seqno) {
                Ok(stored) => stored,
                Err(Failure { error: Error::NotFound(_), .. }) => continue,
                Err(failure) => return Err(failure),
            };
            if stored.record == *record {
                let error =
                    IngestError::Duplicate { device_id: device.device_id.clone(), sequence: record.sequence };
                return Ok(Judged::Rejected(error, Already::Stored(stored.receipt())));
            }
        }
        Ok(Judged::Rejected(error, Already::No))
    }

    /// The append that stores what is judged so far.
    fn batch(
        &mut self,
        groups: &[Group],
        submissions: &[Submission],
        judged: &[Option<Judged>],
    ) -> Result<Batch, Failure> {
        let now = (self.clock)();
        let refused = submissions.iter().zip(judged).filter_map(|(submission, judged)| match judged {
            Some(Judged::Rejected(error, _)) => {
                Some((submission.source.clone(), Refusal::new(&submission.record, error)))
            }
            _ => None,
        });
        let mut batch = Batch {
            events: Vec::with_capacity(submissions.len() + 1),
            expect: Vec::new(),
            groups: HashMap::new(),
            accepted: Vec::new(),
            refusals: self.refusals.plan(refused, now, false).map_err(operation_log)?,
        };
        let mut runs: Vec<Run<'_>> = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            let Some(cached) = &group.cached else { continue };
            let mut stream = None;
            for &at in &group.accepted {
                let Some(Judged::Accepted(accepted)) = &judged[at] else { continue };
                let submission = &submissions[at];
                let stream =
                    &*stream.get_or_insert_with(|| streams::device(&group.device_id, accepted.epoch));
                batch.events.push(event(stream, submission, accepted));
                batch.accepted.push(at);
                let (sequence, entry) = (submission.record.sequence, accepted.seqno);
                match runs.last_mut() {
                    Some(run) if run.device_id == group.device_id => {
                        (run.last, run.last_entry) = (sequence, entry);
                    }
                    _ => runs.push(Run {
                        device_id: &group.device_id,
                        epoch: accepted.epoch,
                        first: sequence,
                        last: sequence,
                        first_entry: entry,
                        last_entry: entry,
                    }),
                }
            }
            if let Some(stream) = stream {
                let registry = streams::registry(&group.device_id);
                batch.groups.insert(stream.clone(), place);
                batch.groups.insert(registry.clone(), place);
                batch.expect.push(StreamHead {
                    stream_id: registry,
                    seqno: cached.device.registry_seqno,
                    entry_hash: cached.registry_hash,
                });
                batch.expect.push(StreamHead {
                    stream_id: stream,
                    seqno: cached.chain_seqno,
                    entry_hash: cached.chain_hash,
                });
            }
        }
        if !runs.is_empty() {
            let stream = streams::operations(&self.settings.gate_id);
            batch
                .events
                .push(decisions::accepted(&stream, &self.settings.gate_id, &runs).map_err(operation_log)?);
        }
        batch.events.extend(self.refusal_events(&batch.refusals));
        Ok(batch)
    }

    /// Takes over what is stored, and answers.
    fn finish(
        &mut self,
        batch: Batch,
        results: &[AppendResult],
        mut groups: Vec<Group>,
        submissions: &[Submission],
        judged: Vec<Option<Judged>>,
    ) -> Result<Vec<Verdict>, Failure> {
        let mut receipts: HashMap<usize, Receipt> = HashMap::with_capacity(batch.accepted.len());
        for (&at, result) in batch.accepted.iter().zip(results) {
            let Some(Judged::Accepted(accepted)) = &judged[at] else { continue };
            let stream_id = streams::device(&submissions[at].record.device_id, accepted.epoch);
            if result.seqno != accepted.seqno {
                return Err(ledger(Error::corrupt(
                    stream_id,
                    result.seqno,
                    format!(
                        "a record whose entry is {} was stored as entry {}",
                        accepted.seqno, result.seqno
                    ),
                )));
            }
            receipts.insert(
                at,
                Receipt {
                    stream_id,
                    seqno: result.seqno,
                    entry_hash: result.entry_hash,
                    epoch: accepted.epoch,
                    record_hash: accepted.hash,
                    registry_seqno: accepted.registry_seqno,
                },
            );
        }
        if receipts.len() != batch.accepted.len() {
            return Err(ledger(Error::Storage("the log did not say where all records are".into())));
        }
        self.refusals.apply(batch.refusals);
        for group in &mut groups {
            if let Some(mut cached) = group.cached.take() {
                let last = group.accepted.last().and_then(|at| receipts.get(at));
                if let Some(last) = last {
                    (cached.chain_seqno, cached.chain_hash) = (last.seqno, last.entry_hash);
                }
                self.cache.put(cached);
            }
        }
        let verdicts = submissions.iter().zip(judged).enumerate().map(|(at, (submission, judged))| {
            let (outcome, already) = match judged {
                Some(Judged::Rejected(error, already)) => {
                    let already = match already {
                        Already::No => None,
                        Already::Stored(receipt) => Some(receipt),
                        Already::InBatch(at) => receipts.get(&at).cloned(),
                    };
                    (Outcome::Rejected(error), already)
                }
                Some(Judged::Accepted(_)) | None => match receipts.get(&at) {
                    Some(receipt) => (Outcome::Accepted(receipt.clone()), None),
                    None => return Err(ledger(Error::Storage("a record was not judged".into()))),
                },
            };
            let AuditRecord { device_id, sequence, .. } = &submission.record;
            Ok(Verdict { device_id: device_id.clone(), sequence: *sequence, outcome, already })
        });
        verdicts.collect()
    }

    /// An entry of a device's stream, checked to be the one that has its place.
    pub(super) fn read_stored(
        &mut self,
        device_id: &str,
        epoch: u64,
        first: u64,
        seqno: u64,
    ) -> Result<Stored, Failure> {
        let stream = streams::device(device_id, epoch);
        let entry = self.log.read(&stream, seqno).map_err(ledger)?;
        let mut payload = self
            .log
            .read_payload(&stream, seqno)
            .map_err(|error| Failure { part: Part::RawDataStore, error })?;
        let corrupt = |reason: String| ledger(Error::corrupt(stream.as_str(), seqno, reason));
        if entry.header.event_type != stored::EVENT_TYPE || entry.header.producer != device_id {
            return Err(corrupt(format!("it is not a record of device {device_id:?}")));
        }
        let stored =
            StoredRef::decode(&payload).map_err(|e| corrupt(format!("its payload is malformed: {e}")))?;
        let record = stored.audit_record().map_err(|e| corrupt(e.to_string()))?;
        if record.device_id != device_id {
            return Err(corrupt(format!("its record is one of device {:?}", record.device_id)));
        }
        if record.sequence.checked_sub(first).and_then(|n| n.checked_add(1)) != Some(seqno) {
            return Err(corrupt(format!("its record has the number {}", record.sequence)));
        }
        if compute_payload_hash(stored.payload) != record.payload_hash {
            return Err(corrupt("the stored payload is not the one that the record is about".into()));
        }
        let (registry_seqno, registry_hash) = (stored.registry_seqno, stored.registry_hash);
        let key_id = stored.key_id.to_owned();
        // The record's payload is the last field.
        let before = payload.len() - stored.payload.len();
        payload.drain(..before);
        Ok(Stored {
            stream_id: stream,
            seqno,
            epoch,
            entry_hash: entry.entry_hash,
            prev_hash: entry.header.prev_hash,
            time_ms: entry.header.time_ms,
            record,
            registry_seqno,
            registry_hash,
            key_id,
            payload,
        })
    }
}

/// An entry of a device's stream.
pub(super) struct Stored {
    pub stream_id: String,
    pub seqno: u64,
    pub epoch: u64,
    pub entry_hash: Hash32,
    pub prev_hash: Hash32,
    pub time_ms: u64,
    pub record: AuditRecord,
    pub registry_seqno: u64,
    pub registry_hash: Hash32,
    pub key_id: String,
    pub payload: Vec<u8>,
}

impl Stored {
    pub fn receipt(&self) -> Receipt {
        Receipt {
            stream_id: self.stream_id.clone(),
            seqno: self.seqno,
            entry_hash: self.entry_hash,
            epoch: self.epoch,
            record_hash: self.record.hash(),
            registry_seqno: self.registry_seqno,
        }
    }
}

fn event(stream: &str, submission: &Submission, accepted: &Accepted) -> Event {
    let record = &submission.record;
    let source = submission.source.as_deref().map(|source| bounded(source, MAX_SOURCE));
    let stored = StoredRef {
        record_version: record.version(),
        record: &accepted.bytes,
        registry_seqno: accepted.registry_seqno,
        registry_hash: accepted.registry_hash,
        key_id: &accepted.key_id,
        source: source.as_deref(),
        payload: &submission.payload,
    };
    let mut event = Event::new(
        stream,
        stored::EVENT_TYPE,
        Severity::Informational,
        record.device_id.as_str(),
        stored.encode(),
    );
    event.payload_encoding = Some(stored::ENCODING.into());
    event
}

/// What can be said of a submission without knowing the device.
fn check_alone(submission: &Submission) -> Result<(), IngestError> {
    let record = &submission.record;
    check_form(record)?;
    if submission.payload.len() > MAX_RECORD_PAYLOAD {
        return Err(IngestError::Malformed {
            field: "payload".into(),
            reason: format!("{} bytes; it has at most {MAX_RECORD_PAYLOAD}", submission.payload.len()),
        });
    }
    if compute_payload_hash(&submission.payload) != record.payload_hash {
        return Err(IngestError::PayloadHashMismatch {
            device_id: record.device_id.clone(),
            sequence: record.sequence,
        });
    }
    match &submission.route_identity {
        Some(sender) if *sender != record.device_id => Err(IngestError::CertDeviceMismatch {
            cert_identity: sender.clone(),
            device_id: record.device_id.clone(),
        }),
        _ => Ok(()),
    }
}

/// Whether a refusal by what is remembered of a device may be none by what is stored.
fn can_change(error: &IngestError, record: &AuditRecord) -> bool {
    // A record of version 2 names its key, and a key never changes; one of version 1 may be of a key that is new.
    !matches!(error, IngestError::InvalidSignature(_)) || record.version() == 1
}

fn check_size(submissions: &[Submission]) -> Result<(), Failure> {
    if submissions.len() > MAX_SUBMISSIONS {
        return Err(ledger(Error::invalid(
            "submissions",
            format!("{} of them; a batch has at most {MAX_SUBMISSIONS}", submissions.len()),
        )));
    }
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let size = |s: &Submission| {
        let record = &s.record;
        let provenance = record.provenance.as_ref();
        let provenance = provenance
            .map_or(0, |p| p.software_version.len() + p.key_id.len() + p.hash_alg.len() + p.sig_alg.len());
        let texts = record.device_id.len() + record.object_ref.len() + provenance;
        s.payload.len() + texts + text(&s.source) + text(&s.route_identity) + 512
    };
    let total: usize = submissions.iter().map(size).sum();
    if total > MAX_SUBMISSION_BYTES && submissions.len() > 1 {
        return Err(ledger(Error::invalid(
            "submissions",
            format!("{total} bytes; a batch has at most {MAX_SUBMISSION_BYTES}"),
        )));
    }
    Ok(())
}

fn check_settings(settings: &Settings) -> Result<(), Error> {
    check_name("gate-id", &settings.gate_id)?;
    if settings.gate_id.len() > 255 {
        return Err(Error::invalid("gate-id", format!("{} bytes; at most 255", settings.gate_id.len())));
    }
    Ok(())
}

fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Which part an error of a batch append is about.
fn part_of(error: &Error) -> Part {
    let stream = match error {
        Error::Conflict(c) => c.stream_id.as_str(),
        Error::Corrupt(c) => c.stream_id.as_str(),
        _ => "",
    };
    if stream.starts_with("operations/") {
        Part::OperationLog
    } else if stream.starts_with("registry/") || stream == streams::KEY_INDEX {
        Part::Registry
    } else {
        Part::AuditLedger
    }
}

pub(super) fn ledger(error: Error) -> Failure {
    Failure { part: Part::AuditLedger, error }
}

pub(super) fn in_registry(error: Error) -> Failure {
    Failure { part: Part::Registry, error }
}

pub(super) fn operation_log(error: Error) -> Failure {
    Failure { part: Part::OperationLog, error }
}

/// Whether a stored record cannot be read because its payload, and so the record, was erased (or, in a bundle, is left
/// out). A payload that is missing otherwise is `Corrupt`.
pub(super) fn is_gone(failure: &Failure) -> bool {
    matches!(&failure.error, Error::NotFound(missing) if missing.what == "payload")
}
