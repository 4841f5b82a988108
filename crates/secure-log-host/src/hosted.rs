//! One running instance.
//!
//! A [`Hosted`] is one instance in one wasmtime store. Dropping it runs no guest code, which is
//! what a crash looks like to the component; [`Hosted::close`] ends it properly. After a trap an
//! instance is of no use any more: drop it and start another.

use std::time::Duration;

use wasmtime::{Store, Trap};

use crate::bindings::core::exports::secure_log::log::time::{Stamp, Subject, Trust};
use crate::bindings::core::exports::secure_log::log::witness::{Answer, Publication};
use crate::bindings::core::secure_log::log::types::{
    AppendResult, Checkpoint, CheckpointReport, ConsistencyProof, Entry, EntryHeader, EntryProof, Erasure,
    Event, ExportPage, InclusionProof, LogError, Opened, Page, Proven, QueryFilter, QueryPage, Segment,
    SegmentsReport, Severity, StreamHead, StreamInfo, StreamOptions, Tier, VerifyReport,
};
use crate::bindings::{core, gate};
use crate::engine::{Clocked, epochs};
use crate::error;
use crate::failure::{Failure, Result};
use crate::guest::State;
use crate::head::{HeadError, HeadFile};

/// One running instance, with a typed method for each exported function.
pub struct Hosted {
    pub(crate) store: Store<State>,
    world: core::ComposedSqlite,
    pub(crate) gate: Option<gate::GateExports>,
    deadline: Option<Duration>,
    clocked: Clocked,
    /// Last segment that `seal` closed and no key signed yet.
    unsigned: Option<u64>,
    /// Where the last checkpoint is kept besides.
    head: Option<HeadFile>,
}

/// What [`Hosted::seal`] did.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Segments that were closed.
    pub segments: Vec<Segment>,
    /// The checkpoint that covers them; none without a key, or when there was nothing to sign.
    pub checkpoint: Option<Checkpoint>,
}

impl Hosted {
    pub(crate) fn new(
        store: Store<State>,
        world: core::ComposedSqlite,
        gate: Option<gate::GateExports>,
        deadline: Option<Duration>,
        clocked: Clocked,
    ) -> Self {
        Self { store, world, gate, deadline, clocked, unsigned: None, head: None }
    }

    /// Bytes of linear memory that the instance has taken so far, all memories together.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory.used
    }

    /// How long a call may compute from now on ([`Guest::deadline`](crate::Guest::deadline)).
    pub fn set_deadline(&mut self, deadline: Option<Duration>) -> error::Result<()> {
        if deadline.is_some() {
            self.clocked.tick()?;
        }
        self.deadline = deadline;
        Ok(())
    }

    /// The same for a deadline that this instance had before.
    pub(crate) fn replace_deadline(&mut self, deadline: Option<Duration>) -> Option<Duration> {
        std::mem::replace(&mut self.deadline, deadline)
    }

    /// How long a call may compute.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Closes a segment of every stream that has new entries, and signs them all with one checkpoint. What was closed
    /// and could not be signed is signed the next time.
    pub fn seal(&mut self, identity: Option<&str>) -> Result<Sealed> {
        let segments = self.close_segments()?;
        self.unsigned = segments.iter().map(|segment| segment.segment_id).max().or(self.unsigned);
        let (Some(identity), Some(last)) = (identity, self.unsigned) else {
            return Ok(Sealed { segments, checkpoint: None });
        };
        let checkpoint = self.sign_segment(identity, last)?;
        self.unsigned = None;
        Ok(Sealed { segments, checkpoint: Some(checkpoint) })
    }

    /// Each call has the whole time.
    pub(crate) fn begin(&mut self) {
        self.store.set_epoch_deadline(epochs(self.deadline));
    }

    /// What a call that gave no answer died of.
    pub(crate) fn died(&self, trap: wasmtime::Error) -> Failure {
        let memory = &self.store.data().memory;
        if let (Some(Trap::Interrupt), Some(deadline)) = (trap.downcast_ref(), self.deadline) {
            return Failure::Deadline(deadline);
        }
        // A guest that is refused memory aborts.
        if memory.refused { Failure::Memory(memory.limit) } else { Failure::Trap(trap) }
    }

    fn settle<T>(&self, outcome: wasmtime::Result<std::result::Result<T, LogError>>) -> Result<T> {
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::Log(error)),
            Err(trap) => Err(self.died(trap)),
        }
    }
}

/// Writes the methods: `name(arguments) -> result = interface.call_function;`
macro_rules! exports {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $iface:ident.$call:ident;)*) => {
        impl Hosted {
            $($(#[$doc])* pub fn $name(&mut self $(, $arg: $ty)*) -> Result<$ret> {
                self.begin();
                let outcome = self.world.$iface().$call(&mut self.store $(, $arg)*);
                self.settle(outcome)
            })*
        }
    };
}

exports! {
    /// `encoder.encode-header`.
    encode_header(header: &EntryHeader) -> Vec<u8> = secure_log_log_encoder.call_encode_header;
    /// `encoder.decode-header`.
    decode_header(bytes: &[u8]) -> EntryHeader = secure_log_log_encoder.call_decode_header;

    /// `log.open`.
    open(config: &str) -> () = secure_log_log_log.call_open;
    /// `log.close`.
    close() -> () = secure_log_log_log.call_close;
    /// `log.set-origin`.
    set_origin(origin: &str) -> () = secure_log_log_log.call_set_origin;
    /// `log.origin`.
    origin() -> Option<String> = secure_log_log_log.call_origin;
    /// `log.set-boot-id`.
    set_boot_id(boot_id: &str) -> () = secure_log_log_log.call_set_boot_id;
    /// `log.create-stream`.
    create_stream(stream: &str, tier: Tier, description: Option<&str>) -> () = secure_log_log_log.call_create_stream;
    /// `log.create-stream-with`.
    create_stream_with(stream: &str, options: &StreamOptions) -> () = secure_log_log_log.call_create_stream_with;
    /// `log.list-streams`.
    list_streams() -> Vec<StreamInfo> = secure_log_log_log.call_list_streams;
    /// `log.deprecate-stream`.
    deprecate_stream(stream: &str) -> () = secure_log_log_log.call_deprecate_stream;
    /// `log.append`.
    append(stream: &str, event_type: &str, severity: Severity, producer: &str, payload: &[u8]) -> AppendResult = secure_log_log_log.call_append;
    /// `log.append-batch`.
    append_batch(events: &[Event], expect: &[StreamHead]) -> Vec<AppendResult> = secure_log_log_log.call_append_batch;
    /// `log.read`.
    read(stream: &str, seqno: u64) -> Entry = secure_log_log_log.call_read;
    /// `log.read-headers`.
    read_headers(stream: &str, from: u64, to: u64) -> Vec<u8> = secure_log_log_log.call_read_headers;
    /// `log.read-payload`.
    read_payload(stream: &str, seqno: u64) -> Vec<u8> = secure_log_log_log.call_read_payload;
    /// `log.open-entry`.
    open_entry(stream: &str, seqno: u64) -> Opened = secure_log_log_log.call_open_entry;
    /// `log.head`.
    head(stream: &str) -> Option<StreamHead> = secure_log_log_log.call_head;
    /// `log.query`.
    query(filter: &QueryFilter, page: &Page) -> QueryPage = secure_log_log_log.call_query;
    /// `log.verify-chain`.
    verify_chain(stream: &str, from: u64, to: u64) -> VerifyReport = secure_log_log_log.call_verify_chain;
    /// `log.verify-headers`.
    verify_headers(stream: &str, from: u64, to: u64) -> VerifyReport = secure_log_log_log.call_verify_headers;
    /// `log.close-segment`.
    close_segment(stream: &str) -> Segment = secure_log_log_log.call_close_segment;
    /// `log.close-segments`.
    close_segments() -> Vec<Segment> = secure_log_log_log.call_close_segments;
    /// `log.list-segments`.
    list_segments(stream: &str) -> Vec<Segment> = secure_log_log_log.call_list_segments;
    /// `log.read-segment`.
    read_segment(segment_id: u64) -> Segment = secure_log_log_log.call_read_segment;
    /// `log.verify-segments`.
    verify_segments(stream: &str) -> SegmentsReport = secure_log_log_log.call_verify_segments;
    /// `log.build-inclusion-proof`.
    build_inclusion_proof(stream: &str, seqno: u64) -> InclusionProof = secure_log_log_log.call_build_inclusion_proof;
    /// `log.verify-inclusion-proof`.
    verify_inclusion_proof(proof: &InclusionProof, root: &[u8]) -> () = secure_log_log_log.call_verify_inclusion_proof;
    /// `log.build-consistency-proof`.
    build_consistency_proof(stream: &str, from: u64, to: u64) -> ConsistencyProof = secure_log_log_log.call_build_consistency_proof;
    /// `log.verify-consistency-proof`.
    verify_consistency_proof(proof: &ConsistencyProof, from_root: &[u8], to_root: &[u8]) -> () = secure_log_log_log.call_verify_consistency_proof;
    /// `log.rotate-key`.
    rotate_key(erasure_domain: &str, new_key: &str) -> u64 = secure_log_log_log.call_rotate_key;
    /// `log.erase-payloads`.
    erase_payloads(stream: &str, from: u64, to: u64, reason: &str) -> Erasure = secure_log_log_log.call_erase_payloads;
    /// `log.erase-domain`.
    erase_domain(erasure_domain: &str, reason: &str) -> Erasure = secure_log_log_log.call_erase_domain;
    /// `log.export-log`.
    export_log(keys: &[String], cursor: Option<&str>) -> ExportPage = secure_log_log_log.call_export_log;
    /// `log.backup`.
    backup(config: &str) -> () = secure_log_log_log.call_backup;

    /// `checkpoint.latest`.
    latest_checkpoint() -> Option<Checkpoint> = secure_log_log_checkpoint.call_latest;
    /// `checkpoint.read`.
    read_checkpoint(number: u64) -> Checkpoint = secure_log_log_checkpoint.call_read;
    /// `checkpoint.get-verifier-key`.
    verifier_key(identity: &str) -> String = secure_log_log_checkpoint.call_get_verifier_key;
    /// `checkpoint.verify-checkpoint-chain`.
    verify_checkpoint_chain(trusted: &[String]) -> CheckpointReport = secure_log_log_checkpoint.call_verify_checkpoint_chain;
    /// `checkpoint.build-entry-proof`.
    build_entry_proof(stream: &str, seqno: u64) -> EntryProof = secure_log_log_checkpoint.call_build_entry_proof;
    /// `checkpoint.verify-entry-proof`.
    verify_entry_proof(proof: &EntryProof, trusted: &[String]) -> EntryHeader = secure_log_log_checkpoint.call_verify_entry_proof;
    /// `checkpoint.check-against`.
    check_against(note: &str) -> () = secure_log_log_checkpoint.call_check_against;
    /// `checkpoint.build-proof-file`.
    build_proof_file(stream: &str, seqno: u64, policy: Option<&[u8]>) -> String = secure_log_log_checkpoint.call_build_proof_file;
    /// `checkpoint.verify-proof-file`.
    verify_proof_file(file: &[u8], trusted: &[String], policy: Option<&[u8]>) -> Proven = secure_log_log_checkpoint.call_verify_proof_file;

    /// `witness.prepare`.
    witness_request(checkpoint: u64, old_size: u64) -> Vec<u8> = secure_log_log_witness.call_prepare;
    /// `witness.accept`.
    accept_witness(checkpoint: u64, request: &[u8], keys: &[String], status: u16, body: &[u8]) -> Answer = secure_log_log_witness.call_accept;
    /// `witness.cosigned-size`.
    cosigned_size(keys: &[String]) -> u64 = secure_log_log_witness.call_cosigned_size;
    /// `witness.cosigned-note`.
    cosigned_note(checkpoint: u64) -> String = secure_log_log_witness.call_cosigned_note;
    /// `witness.judge`.
    publication(policy: &[u8]) -> Publication = secure_log_log_witness.call_judge;

    /// `time.prepare`.
    time_request(subject: &Subject, policy: Option<&str>) -> Vec<u8> = secure_log_log_time.call_prepare;
    /// `time.accept`.
    accept_time(subject: &Subject, request: &[u8], body: &[u8], trust: &Trust) -> Stamp = secure_log_log_time.call_accept;
    /// `time.tokens`.
    time_tokens(subject: &Subject) -> Vec<Vec<u8>> = secure_log_log_time.call_tokens;
    /// `time.verify`.
    verify_time(subject: &Subject, token: &[u8], trust: &Trust) -> Stamp = secure_log_log_time.call_verify;
}

impl Hosted {
    /// Compares the log with a head file, and keeps it from now on: what is signed is written there before the signing
    /// call returns.
    pub fn keep_head(&mut self, head: HeadFile) -> std::result::Result<(), HeadError> {
        head.check(self)?;
        self.head = Some(head);
        Ok(())
    }

    /// `checkpoint.sign-segment`.
    pub fn sign_segment(&mut self, identity: &str, segment_id: u64) -> Result<Checkpoint> {
        self.begin();
        let checkpoint = self.world.secure_log_log_checkpoint();
        let outcome = checkpoint.call_sign_segment(&mut self.store, identity, segment_id);
        self.signed(outcome)
    }

    /// `checkpoint.sign-segment-with`.
    pub fn sign_segment_with(&mut self, identities: &[String], segment_id: u64) -> Result<Checkpoint> {
        self.begin();
        let checkpoint = self.world.secure_log_log_checkpoint();
        let outcome = checkpoint.call_sign_segment_with(&mut self.store, identities, segment_id);
        self.signed(outcome)
    }

    fn signed(
        &self,
        outcome: wasmtime::Result<std::result::Result<Checkpoint, LogError>>,
    ) -> Result<Checkpoint> {
        let checkpoint = self.settle(outcome)?;
        if let Some(head) = &self.head {
            head.keep(&checkpoint.note).map_err(|e| {
                Failure::Log(LogError::Storage(format!(
                    "checkpoint {} is signed and stored, and cannot be written to the head file {}: {e}. Sign again",
                    checkpoint.number,
                    head.path().display()
                )))
            })?;
        }
        Ok(checkpoint)
    }

    /// `encoder.entry-hash`.
    pub fn entry_hash(&mut self, header: &[u8]) -> Result<Vec<u8>> {
        self.begin();
        let outcome = self.world.secure_log_log_encoder().call_entry_hash(&mut self.store, header);
        outcome.map_err(|trap| self.died(trap))
    }

    /// `encoder.payload-hash`.
    pub fn payload_hash(&mut self, salt: &[u8], payload: &[u8]) -> Result<Vec<u8>> {
        self.begin();
        let outcome = self.world.secure_log_log_encoder().call_payload_hash(&mut self.store, salt, payload);
        outcome.map_err(|trap| self.died(trap))
    }

    /// `encoder.leaf-hash`.
    pub fn leaf_hash(&mut self, header: &[u8]) -> Result<Vec<u8>> {
        self.begin();
        let outcome = self.world.secure_log_log_encoder().call_leaf_hash(&mut self.store, header);
        outcome.map_err(|trap| self.died(trap))
    }
}
