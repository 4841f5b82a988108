//! One running instance.
//!
//! A [`Hosted`] is one instance in one wasmtime store. Dropping it runs no guest code, which is
//! what a crash looks like to the component; [`Hosted::close`] ends it properly. After a trap an
//! instance is of no use any more: drop it and start another.

use std::time::Duration;

use wasmtime::{Store, Trap};

use crate::async_log::{Argument, AsyncLog};
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
use crate::guest::{Guest, State};
use crate::head::{HeadError, HeadFile};
use crate::owner::Answer as Pending;

/// One running instance, with a typed method for each exported function.
pub struct Hosted {
    pub(crate) store: Store<State>,
    world: core::ComposedSqlite,
    pub(crate) gate: Option<gate::GateExports>,
    deadline: Option<Duration>,
    fuel: Option<u64>,
    clocked: Clocked,
    /// Last segment that `seal` closed and no key signed yet.
    unsigned: Option<u64>,
    /// Where the last checkpoint is kept besides.
    head: Option<HeadFile>,
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("memory_bytes", &self.memory_bytes()).finish_non_exhaustive()
    }
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
        guest: &Guest,
        clocked: Clocked,
    ) -> Self {
        let (deadline, fuel) = (guest.deadline, guest.fuel);
        Self { store, world, gate, deadline, fuel, clocked, unsigned: None, head: None }
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

    /// Each call has the whole time and all the fuel.
    pub(crate) fn begin(&mut self) {
        self.store.set_epoch_deadline(epochs(self.deadline));
        if self.clocked.counts_fuel() {
            // Fails only where code does not count fuel.
            let _ = self.store.set_fuel(self.fuel.unwrap_or(u64::MAX));
        }
    }

    /// What a call that gave no answer died of.
    pub(crate) fn died(&self, trap: wasmtime::Error) -> Failure {
        let memory = &self.store.data().memory;
        if let (Some(Trap::Interrupt), Some(deadline)) = (trap.downcast_ref(), self.deadline) {
            return Failure::Deadline(deadline);
        }
        if let (Some(Trap::OutOfFuel), Some(fuel)) = (trap.downcast_ref(), self.fuel) {
            return Failure::Fuel(fuel);
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

/// Writes the methods of an instance: `name(arguments) -> result = interface.call_function;`
macro_rules! methods {
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

/// The same, and those of an [`AsyncLog`] beside them; `call` may write, `read` does not.
macro_rules! exports {
    ($($(#[$doc:meta])* $access:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $iface:ident.$call:ident;)*) => {
        methods! { $($(#[$doc])* $name($($arg: $ty),*) -> $ret = $iface.$call;)* }

        /// Calls, made one after the other in the order in which they came.
        impl AsyncLog {
            $($(#[$doc])* pub fn $name(&self $(, $arg: $ty)*) -> Pending<$ret> {
                $(let $arg = Argument::keep($arg);)*
                self.owner().$access(move |log| log.$name($(Argument::lend(&$arg)),*))
            })*
        }
    };
}

methods! {
    /// Opens the log. Once, before anything else (`log.open`); [`Site::open`](crate::Site::open) does it.
    open(config: &str) -> () = secure_log_log_log.call_open;
    /// Gives the store back. Nothing works afterwards (`log.close`).
    close() -> () = secure_log_log_log.call_close;
}

exports! {
    /// Canonical bytes of a header; refused if it breaks a rule of the format (`encoder.encode-header`).
    read encode_header(header: &EntryHeader) -> Vec<u8> = secure_log_log_encoder.call_encode_header;
    /// The header of canonical bytes; every other form is refused (`encoder.decode-header`).
    read decode_header(bytes: &[u8]) -> EntryHeader = secure_log_log_encoder.call_decode_header;

    /// Names the log: the first line of its checkpoints. Once, before the first of them (`log.set-origin`).
    call set_origin(origin: &str) -> () = secure_log_log_log.call_set_origin;
    /// That name, if it has one (`log.origin`).
    read origin() -> Option<String> = secure_log_log_log.call_origin;
    /// What entries of this instance say about the machine's start (`log.set-boot-id`).
    call set_boot_id(boot_id: &str) -> () = secure_log_log_log.call_set_boot_id;
    /// Makes a stream of this sensitivity (`log.create-stream`). An append makes a missing one as `Tier::Normal`.
    call create_stream(stream: &str, tier: Tier, description: Option<&str>) -> () = secure_log_log_log.call_create_stream;
    /// The same with retention and erasure domain (`log.create-stream-with`).
    call create_stream_with(stream: &str, options: &StreamOptions) -> () = secure_log_log_log.call_create_stream_with;
    /// All streams, in the order of their names (`log.list-streams`).
    read list_streams() -> Vec<StreamInfo> = secure_log_log_log.call_list_streams;
    /// Takes no more entries into a stream (`log.deprecate-stream`).
    call deprecate_stream(stream: &str) -> () = secure_log_log_log.call_deprecate_stream;
    /// Stores one event of at most 8 MiB; durable when this returns (`log.append`).
    call append(stream: &str, event_type: &str, severity: Severity, producer: &str, payload: &[u8]) -> AppendResult = secure_log_log_log.call_append;
    /// Stores events of any streams, all or none, while the heads in `expect` still hold; at most 10,000 or 32 MiB (`log.append-batch`).
    call append_batch(events: &[Event], expect: &[StreamHead]) -> Vec<AppendResult> = secure_log_log_log.call_append_batch;
    /// Header and stored payload of an entry; numbers begin at 1 (`log.read`).
    read read(stream: &str, seqno: u64) -> Entry = secure_log_log_log.call_read;
    /// Headers of entries `from` to `to`, as many as a page holds, each with its length before it (`log.read-headers`).
    read read_headers(stream: &str, from: u64, to: u64) -> Vec<u8> = secure_log_log_log.call_read_headers;
    /// The stored payload: of a sealed stream its ciphertext (`log.read-payload`).
    read read_payload(stream: &str, seqno: u64) -> Vec<u8> = secure_log_log_log.call_read_payload;
    /// An entry with its payload in plain text; a sealed one needs the keystore's key (`log.open-entry`).
    read open_entry(stream: &str, seqno: u64) -> Opened = secure_log_log_log.call_open_entry;
    /// Number and hash of a stream's last entry; none if it has none (`log.head`).
    read head(stream: &str) -> Option<StreamHead> = secure_log_log_log.call_head;
    /// Entries by stream, time, type, severity and producer, a page at a time (`log.query`).
    read query(filter: &QueryFilter, page: &Page) -> QueryPage = secure_log_log_log.call_query;
    /// Checks hashes, links and payloads of entries `from` to `to`, both included (`log.verify-chain`).
    read verify_chain(stream: &str, from: u64, to: u64) -> VerifyReport = secure_log_log_log.call_verify_chain;
    /// The same without reading payloads (`log.verify-headers`).
    read verify_headers(stream: &str, from: u64, to: u64) -> VerifyReport = secure_log_log_log.call_verify_headers;
    /// Closes a segment with a stream's new entries (`log.close-segment`).
    call close_segment(stream: &str) -> Segment = secure_log_log_log.call_close_segment;
    /// The same for every stream that has new entries (`log.close-segments`).
    call close_segments() -> Vec<Segment> = secure_log_log_log.call_close_segments;
    /// Segments of a stream, oldest first (`log.list-segments`).
    read list_segments(stream: &str) -> Vec<Segment> = secure_log_log_log.call_list_segments;
    /// A segment by its id, the number of its entry in `_log` (`log.read-segment`).
    read read_segment(segment_id: u64) -> Segment = secure_log_log_log.call_read_segment;
    /// Computes the roots of a stream's segments again (`log.verify-segments`).
    read verify_segments(stream: &str) -> SegmentsReport = secure_log_log_log.call_verify_segments;
    /// That an entry is in its stream's last closed segment (`log.build-inclusion-proof`).
    read build_inclusion_proof(stream: &str, seqno: u64) -> InclusionProof = secure_log_log_log.call_build_inclusion_proof;
    /// Checks such a proof against a root of 32 bytes (`log.verify-inclusion-proof`).
    read verify_inclusion_proof(proof: &InclusionProof, root: &[u8]) -> () = secure_log_log_log.call_verify_inclusion_proof;
    /// That a stream of size `to` continues that of size `from` (`log.build-consistency-proof`).
    read build_consistency_proof(stream: &str, from: u64, to: u64) -> ConsistencyProof = secure_log_log_log.call_build_consistency_proof;
    /// Checks such a proof against two roots (`log.verify-consistency-proof`).
    read verify_consistency_proof(proof: &ConsistencyProof, from_root: &[u8], to_root: &[u8]) -> () = secure_log_log_log.call_verify_consistency_proof;
    /// Wraps the data keys of an erasure domain under another key; gives how many (`log.rotate-key`).
    call rotate_key(erasure_domain: &str, new_key: &str) -> u64 = secure_log_log_log.call_rotate_key;
    /// Erases payloads `from` to `to`, for good; chain and proofs stay valid. Refused within the retention (`log.erase-payloads`).
    call erase_payloads(stream: &str, from: u64, to: u64, reason: &str) -> Erasure = secure_log_log_log.call_erase_payloads;
    /// Destroys the key of an erasure domain and erases its payloads, for good (`log.erase-domain`).
    call erase_domain(erasure_domain: &str, reason: &str) -> Erasure = secure_log_log_log.call_erase_domain;
    /// The log as portable text, a page at a time; `keys` are verifier keys to put in (`log.export-log`).
    read export_log(keys: &[String], cursor: Option<&str>) -> ExportPage = secure_log_log_log.call_export_log;
    /// A consistent copy of the store while it is open; the guest must see that place (`log.backup`).
    read backup(config: &str) -> () = secure_log_log_log.call_backup;

    /// The last checkpoint, if one was signed (`checkpoint.latest`).
    read latest_checkpoint() -> Option<Checkpoint> = secure_log_log_checkpoint.call_latest;
    /// A checkpoint by its number, from 1 (`checkpoint.read`).
    read read_checkpoint(number: u64) -> Checkpoint = secure_log_log_checkpoint.call_read;
    /// The public key of `identity`, as `name+hash+key` of C2SP signed-note (`checkpoint.get-verifier-key`).
    read verifier_key(identity: &str) -> String = secure_log_log_checkpoint.call_get_verifier_key;
    /// Checks all checkpoints with these verifier keys, and that each continues the one before (`checkpoint.verify-checkpoint-chain`).
    read verify_checkpoint_chain(trusted: &[String]) -> CheckpointReport = secure_log_log_checkpoint.call_verify_checkpoint_chain;
    /// That an entry is under the last checkpoint (`checkpoint.build-entry-proof`).
    read build_entry_proof(stream: &str, seqno: u64) -> EntryProof = secure_log_log_checkpoint.call_build_entry_proof;
    /// Checks such a proof with these verifier keys; gives the header that it proves (`checkpoint.verify-entry-proof`).
    read verify_entry_proof(proof: &EntryProof, trusted: &[String]) -> EntryHeader = secure_log_log_checkpoint.call_verify_entry_proof;
    /// Refuses with `RolledBack` when the log is behind or beside this checkpoint note (`checkpoint.check-against`).
    read check_against(note: &str) -> () = secure_log_log_checkpoint.call_check_against;
    /// The same proof as a C2SP tlog-proof file; with a policy, under a checkpoint that meets it (`checkpoint.build-proof-file`).
    read build_proof_file(stream: &str, seqno: u64, policy: Option<&[u8]>) -> String = secure_log_log_checkpoint.call_build_proof_file;
    /// Checks such a file, offline (`checkpoint.verify-proof-file`).
    read verify_proof_file(file: &[u8], trusted: &[String], policy: Option<&[u8]>) -> Proven = secure_log_log_checkpoint.call_verify_proof_file;

    /// Body of a C2SP tlog-witness request for a checkpoint, from what the witness has (`witness.prepare`). Sending is yours.
    read witness_request(checkpoint: u64, old_size: u64) -> Vec<u8> = secure_log_log_witness.call_prepare;
    /// Takes a witness's answer; cosignatures of these keys are checked and stored (`witness.accept`).
    call accept_witness(checkpoint: u64, request: &[u8], keys: &[String], status: u16, body: &[u8]) -> Answer = secure_log_log_witness.call_accept;
    /// Largest size that a witness with these keys has cosigned; 0 if none (`witness.cosigned-size`).
    read cosigned_size(keys: &[String]) -> u64 = secure_log_log_witness.call_cosigned_size;
    /// A checkpoint with all of its cosignatures (`witness.cosigned-note`).
    read cosigned_note(checkpoint: u64) -> String = secure_log_log_witness.call_cosigned_note;
    /// Which checkpoint meets a C2SP tlog-policy, and how far it is behind (`witness.judge`).
    read publication(policy: &[u8]) -> Publication = secure_log_log_witness.call_judge;

    /// An RFC 3161 request for a checkpoint or an entry (`time.prepare`). Sending is yours.
    read time_request(subject: &Subject, policy: Option<&str>) -> Vec<u8> = secure_log_log_time.call_prepare;
    /// Takes the authority's answer; a token that holds is stored (`time.accept`).
    call accept_time(subject: &Subject, request: &[u8], body: &[u8], trust: &Trust) -> Stamp = secure_log_log_time.call_accept;
    /// Time stamp tokens of a subject, oldest first (`time.tokens`).
    read time_tokens(subject: &Subject) -> Vec<Vec<u8>> = secure_log_log_time.call_tokens;
    /// Checks a token, offline (`time.verify`).
    read verify_time(subject: &Subject, token: &[u8], trust: &Trust) -> Stamp = secure_log_log_time.call_verify;
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
