//! [`NativeSecureLog`]: the log over any store.

mod append;
mod checkpoint;
mod erase;
mod export;
mod lists;
mod seal;
mod segment;
mod tiles;
mod time;
mod verify;
mod witness;

pub(crate) use append::pointer;
pub(crate) use checkpoint::parse_trusted;
pub(crate) use seal::domain_objects;
pub use tiles::derive_tile;
pub use verify::check_append;

use std::collections::HashMap;

use crate::envelope::Envelope;
use crate::error::{Error, Result};
use crate::header::{HeaderRef, check_name, check_stream_id, entry_hash, payload_hash};
use crate::model::*;
use crate::note::check_key_name;
use crate::record::{LOG_STREAM, Record};
use crate::secure_log::SecureLog;
use crate::signer::CheckpointSigner;
use crate::store::{Row, SecureLogStore};

/// The clock and the randomness of whoever runs the engine.
pub trait Environment {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&mut self) -> u64;
    /// Fills `out` with bytes of cryptographic quality.
    fn fill_random(&mut self, out: &mut [u8]);
    /// Waits, before an append that others have overtaken is tried again. Without it nothing is wrong but that many
    /// writers to one stream take more attempts.
    fn pause(&mut self, _time: std::time::Duration) {}
}

/// A log over a store: all integrity logic, no I/O of its own.
pub struct NativeSecureLog<S, E> {
    store: S,
    env: E,
    software_version: String,
    session_id: [u8; 16],
    boot_id: Option<String>,
    chosen_origin: Option<String>,
    /// Heads as this log last saw them; every write is a compare-and-set, so a stale one costs a
    /// retry and nothing else. `seqno` 0: the stream is created and empty.
    heads: HashMap<String, StreamHead>,
    /// Appends for which heads are read anew, because others were seen to append as well.
    contended: u32,
    random: RandomPool,
    keyring: seal::Keyring,
    /// Whoever holds the keys that payloads are sealed with.
    envelope: Option<Box<dyn Envelope + Send>>,
}

/// How often something is compared that others write to meanwhile.
const MAX_STEADY: u32 = 32;

/// Heads that are remembered at most.
const MAX_CACHED_HEADS: usize = 65_536;

/// Randomness drawn in larger pieces: a call into the host for each salt would cost more than the
/// salt's hash.
struct RandomPool {
    bytes: [u8; 1024],
    left: usize,
}

impl RandomPool {
    fn take<const N: usize>(&mut self, env: &mut impl Environment) -> [u8; N] {
        if self.left < N {
            env.fill_random(&mut self.bytes);
            self.left = self.bytes.len();
        }
        let mut out = [0; N];
        let taken = &mut self.bytes[self.left - N..self.left];
        out.copy_from_slice(taken);
        taken.fill(0);
        self.left -= N;
        out
    }
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    /// A log over an opened store. `software_version` (release tag or git revision) goes into
    /// every entry, as does a session id drawn here.
    pub fn new(store: S, mut env: E, software_version: &str) -> Result<Self> {
        check_name("software-version", software_version)?;
        let mut random = RandomPool { bytes: [0; 1024], left: 0 };
        let session_id = random.take(&mut env);
        Ok(Self {
            store,
            env,
            software_version: software_version.to_owned(),
            session_id,
            boot_id: None,
            chosen_origin: None,
            heads: HashMap::new(),
            contended: 0,
            random,
            keyring: seal::Keyring::default(),
            envelope: None,
        })
    }

    /// The same log with a keystore that seals: without one there are no sealed streams.
    pub fn with_envelope(mut self, envelope: impl Envelope + Send + 'static) -> Self {
        self.envelope = Some(Box::new(envelope));
        self
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// The store, for whoever measures or inspects it.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    fn remember(&mut self, head: StreamHead) {
        if let Some(known) = self.heads.get_mut(&head.stream_id) {
            *known = head;
            return;
        }
        if self.heads.len() >= MAX_CACHED_HEADS {
            self.heads.clear();
        }
        self.heads.insert(head.stream_id.clone(), head);
    }

    /// Runs what compares different parts of the store. Where they do not agree and others wrote to `_log` meanwhile,
    /// that may be why, so it is run again.
    fn steadily<R>(&mut self, mut run: impl FnMut(&mut Self) -> Result<R>) -> Result<R> {
        for _ in 1..MAX_STEADY {
            let before = self.store.head(LOG_STREAM)?;
            match run(self) {
                Err(Error::Corrupt(_)) if self.store.head(LOG_STREAM)? != before => {}
                outcome => return outcome,
            }
        }
        run(self)
    }

    /// Head of `_log`, fresh from the store.
    fn log_head(&mut self) -> Result<StreamHead> {
        Ok(self.store.head(LOG_STREAM)?.unwrap_or_else(|| StreamHead::empty(LOG_STREAM)))
    }

    /// Head of a stream that must have entries.
    fn existing_head(&mut self, stream_id: &str) -> Result<StreamHead> {
        check_stream_id("stream-id", stream_id)?;
        self.store.head(stream_id)?.ok_or_else(|| {
            Error::not_found(
                "stream",
                stream_id,
                None,
                "it has no entries; `list-streams` names those there are",
            )
        })
    }

    /// One row, checked on its own (encoding, hash, place, index columns).
    fn row(&mut self, stream_id: &str, seqno: u64, payload: bool) -> Result<Row> {
        let row = self
            .store
            .read_rows(stream_id, seqno, 1, payload)?
            .into_iter()
            .next()
            .filter(|row| row.seqno == seqno)
            .ok_or_else(|| Error::corrupt(stream_id, seqno, "the entry is missing"))?;
        verify::check_row(stream_id, &row)?;
        Ok(row)
    }

    /// One row that a caller named: refuses numbers that cannot be there.
    fn named_row(&mut self, stream_id: &str, seqno: u64, payload: bool) -> Result<Row> {
        let head = self.existing_head(stream_id)?;
        if seqno == 0 {
            return Err(Error::invalid("seqno", "entries are numbered from 1"));
        }
        if seqno > head.seqno {
            return Err(Error::not_found(
                "entry",
                stream_id,
                Some(seqno),
                format!("the last entry is {}", head.seqno),
            ));
        }
        self.row(stream_id, seqno, payload)
    }

    /// A record of `_log`, with the header it stands under.
    fn record(&mut self, number: u64) -> Result<(Row, Record)> {
        let row = self.row(LOG_STREAM, number, true)?;
        let record = verify::decode_record(&row)?;
        Ok((row, record))
    }

    fn stored_origin(&mut self) -> Result<Option<String>> {
        if self.log_head()?.seqno == 0 {
            return Ok(None);
        }
        match self.record(1)?.1 {
            Record::LogCreated { origin } => Ok(Some(origin)),
            _ => Err(Error::corrupt(LOG_STREAM, 1, "the first entry does not name the log")),
        }
    }
}

/// Refuses names that are reserved for the log itself.
fn check_own_stream(stream_id: &str) -> Result<()> {
    check_stream_id("stream-id", stream_id)?;
    if stream_id.starts_with('_') {
        return Err(Error::Denied(format!(
            "stream {stream_id:?}: names that begin with `_` belong to the log itself"
        )));
    }
    Ok(())
}

impl<S: SecureLogStore, E: Environment> SecureLog for NativeSecureLog<S, E> {
    fn set_origin(&mut self, origin: &str) -> Result<()> {
        check_key_name("origin", origin)?;
        match self.stored_origin()? {
            None => self.chosen_origin = Some(origin.to_owned()),
            Some(stored) if stored == origin => {}
            Some(stored) => {
                return Err(Error::conflict(
                    LOG_STREAM,
                    None,
                    format!("the log is already named {stored:?}; a name is given before the first entry"),
                ));
            }
        }
        Ok(())
    }

    fn origin(&mut self) -> Result<Option<String>> {
        Ok(self.stored_origin()?.or_else(|| self.chosen_origin.clone()))
    }

    fn set_boot_id(&mut self, boot_id: &str) -> Result<()> {
        check_name("boot-id", boot_id)?;
        if boot_id.len() > 255 {
            return Err(Error::invalid("boot-id", format!("{} bytes; at most 255", boot_id.len())));
        }
        self.boot_id = Some(boot_id.to_owned());
        Ok(())
    }

    fn create_stream(&mut self, stream_id: &str, tier: Tier, description: Option<&str>) -> Result<()> {
        let description = description.map(str::to_owned);
        self.do_create_stream_with(stream_id, &StreamOptions { description, ..StreamOptions::new(tier) })
    }

    fn create_stream_with(&mut self, stream_id: &str, options: &StreamOptions) -> Result<()> {
        self.do_create_stream_with(stream_id, options)
    }

    fn list_streams(&mut self) -> Result<Vec<StreamInfo>> {
        self.steadily(Self::do_list_streams)
    }

    fn deprecate_stream(&mut self, stream_id: &str) -> Result<()> {
        self.do_deprecate_stream(stream_id)
    }

    fn append_batch(&mut self, events: Vec<Event>, expect: &[StreamHead]) -> Result<Vec<AppendResult>> {
        self.do_append(events, expect)
    }

    fn read(&mut self, stream_id: &str, seqno: u64) -> Result<Entry> {
        let row = self.named_row(stream_id, seqno, false)?;
        verify::to_entry(stream_id, row)
    }

    fn read_headers(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<Vec<u8>> {
        self.do_read_headers(stream_id, from_seqno, to_seqno)
    }

    fn read_payload(&mut self, stream_id: &str, seqno: u64) -> Result<Vec<u8>> {
        Ok(self.do_open_entry(stream_id, seqno)?.payload)
    }

    fn open_entry(&mut self, stream_id: &str, seqno: u64) -> Result<Opened> {
        self.do_open_entry(stream_id, seqno)
    }

    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        check_stream_id("stream-id", stream_id)?;
        self.store.head(stream_id)
    }

    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<QueryPage> {
        self.do_query(filter, cursor, limit)
    }

    fn verify_chain(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<VerifyReport> {
        self.do_verify(stream_id, from_seqno, to_seqno, true)
    }

    fn verify_headers(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<VerifyReport> {
        self.do_verify(stream_id, from_seqno, to_seqno, false)
    }

    fn close_segment(&mut self, stream_id: &str) -> Result<Segment> {
        self.do_close_segment(stream_id)
    }

    fn close_segments(&mut self) -> Result<Vec<Segment>> {
        self.do_close_segments()
    }

    fn list_segments(&mut self, stream_id: &str) -> Result<Vec<Segment>> {
        check_stream_id("stream-id", stream_id)?;
        self.segments_of(stream_id)
    }

    fn read_segment(&mut self, segment_id: u64) -> Result<Segment> {
        self.segment(segment_id)
    }

    fn verify_segments(&mut self, stream_id: &str) -> Result<SegmentsReport> {
        self.do_verify_segments(stream_id)
    }

    fn build_inclusion_proof(&mut self, stream_id: &str, seqno: u64) -> Result<InclusionProof> {
        self.do_build_inclusion_proof(stream_id, seqno)
    }

    fn build_consistency_proof(
        &mut self,
        stream_id: &str,
        from_size: u64,
        to_size: u64,
    ) -> Result<ConsistencyProof> {
        self.do_build_consistency_proof(stream_id, from_size, to_size)
    }

    fn rotate_key(&mut self, erasure_domain: &str, new_key: &str) -> Result<u64> {
        self.do_rotate_key(erasure_domain, new_key)
    }

    fn erase_payloads(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        to_seqno: u64,
        reason: &str,
    ) -> Result<Erasure> {
        self.do_erase_payloads(stream_id, from_seqno, to_seqno, reason)
    }

    fn erase_domain(&mut self, erasure_domain: &str, reason: &str) -> Result<Erasure> {
        self.do_erase_domain(erasure_domain, reason)
    }

    fn export_page(&mut self, keys: &[String], cursor: Option<&str>) -> Result<ExportPage> {
        self.do_export_page(keys, cursor)
    }

    fn backup(&mut self, config: &str) -> Result<()> {
        if config.is_empty() {
            return Err(Error::invalid("config", "is empty; name where the copy shall be"));
        }
        self.store.backup(config)
    }

    fn sign_segment(
        &mut self,
        signer: &mut dyn CheckpointSigner,
        identity: &str,
        segment_id: u64,
    ) -> Result<Checkpoint> {
        self.do_sign_segment(signer, &[identity.to_owned()], segment_id)
    }

    fn sign_segment_with(
        &mut self,
        signer: &mut dyn CheckpointSigner,
        identities: &[String],
        segment_id: u64,
    ) -> Result<Checkpoint> {
        self.do_sign_segment(signer, identities, segment_id)
    }

    fn latest_checkpoint(&mut self) -> Result<Option<Checkpoint>> {
        self.do_latest_checkpoint()
    }

    fn read_checkpoint(&mut self, number: u64) -> Result<Checkpoint> {
        self.do_read_checkpoint(number)
    }

    fn verifier_key(&mut self, signer: &mut dyn CheckpointSigner, identity: &str) -> Result<String> {
        Ok(self.own_key(signer, identity)?.to_string())
    }

    fn verify_checkpoint_chain(&mut self, trusted: &[String]) -> Result<CheckpointReport> {
        self.steadily(|log| log.do_verify_checkpoint_chain(trusted))
    }

    fn build_entry_proof(&mut self, stream_id: &str, seqno: u64) -> Result<EntryProof> {
        self.do_build_entry_proof(stream_id, seqno)
    }

    fn build_proof_file(&mut self, stream_id: &str, seqno: u64, policy: Option<&[u8]>) -> Result<String> {
        self.do_build_proof_file(stream_id, seqno, policy)
    }

    fn check_against(&mut self, note: &str) -> Result<()> {
        self.do_check_against(note)
    }

    fn witness_request(&mut self, checkpoint: u64, old_size: u64) -> Result<Vec<u8>> {
        self.do_witness_request(checkpoint, old_size)
    }

    fn accept_witness(
        &mut self,
        checkpoint: u64,
        request: &[u8],
        keys: &[String],
        status: u16,
        body: &[u8],
    ) -> Result<WitnessAnswer> {
        self.do_accept_witness(checkpoint, request, keys, status, body)
    }

    fn cosigned_size(&mut self, keys: &[String]) -> Result<u64> {
        self.do_cosigned_size(keys)
    }

    fn cosigned_note(&mut self, checkpoint: u64) -> Result<String> {
        self.do_cosigned_note(checkpoint)
    }

    fn publication(&mut self, policy: &[u8]) -> Result<Publication> {
        self.do_publication(policy)
    }

    fn time_request(&mut self, subject: &TimeSubject, policy: Option<&str>) -> Result<Vec<u8>> {
        self.do_time_request(subject, policy)
    }

    fn accept_time(
        &mut self,
        subject: &TimeSubject,
        request: &[u8],
        body: &[u8],
        trust: &TimeTrust,
    ) -> Result<TimeStamp> {
        self.do_accept_time(subject, request, body, trust)
    }

    fn time_tokens(&mut self, subject: &TimeSubject) -> Result<Vec<Vec<u8>>> {
        self.do_time_tokens(subject)
    }

    fn verify_time(&mut self, subject: &TimeSubject, token: &[u8], trust: &TimeTrust) -> Result<TimeStamp> {
        self.do_verify_time(subject, token, trust)
    }
}
