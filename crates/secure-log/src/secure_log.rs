//! The log as its users see it: the Rust face of `secure-log:log/{log, checkpoint}`.

use crate::error::Result;
use crate::model::*;
use crate::signer::CheckpointSigner;

/// An opened log. What each call means, and its errors, is said in `wit/log.wit`.
pub trait SecureLog {
    /// Names the log (C2SP checkpoint origin); only before the first entry.
    fn set_origin(&mut self, origin: &str) -> Result<()>;
    /// The log's name; `None` while it has no entry and was not named.
    fn origin(&mut self) -> Result<Option<String>>;
    /// Boot identifier of the host, recorded in every entry appended from now on.
    fn set_boot_id(&mut self, boot_id: &str) -> Result<()>;

    /// Creates a stream before its first entry.
    fn create_stream(&mut self, stream_id: &str, tier: Tier, description: Option<&str>) -> Result<()>;
    /// The same with everything that can be said of a stream.
    fn create_stream_with(&mut self, stream_id: &str, options: &StreamOptions) -> Result<()>;
    /// All streams by name, `_log` included.
    fn list_streams(&mut self) -> Result<Vec<StreamInfo>>;
    /// Ends a stream: later appends to it are `Denied`.
    fn deprecate_stream(&mut self, stream_id: &str) -> Result<()>;

    /// Appends one event; durable when it returns.
    fn append(&mut self, event: Event) -> Result<AppendResult> {
        let mut results = self.append_batch(vec![event], &[])?;
        results.pop().ok_or_else(|| crate::Error::Storage("the batch of one gave no result".into()))
    }
    /// Appends events to any number of streams: all or none.
    fn append_batch(&mut self, events: Vec<Event>, expect: &[StreamHead]) -> Result<Vec<AppendResult>>;

    /// One entry, without its payload.
    fn read(&mut self, stream_id: &str, seqno: u64) -> Result<Entry>;
    /// Headers of entries as an entry bundle ([`tiles::entries`](crate::tiles::entries) takes it apart), a page at most.
    fn read_headers(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<Vec<u8>>;
    /// The payload of an entry, checked against its header.
    fn read_payload(&mut self, stream_id: &str, seqno: u64) -> Result<Vec<u8>>;
    /// The same with event type and producer, which `highly-restricted` streams seal as well.
    fn open_entry(&mut self, stream_id: &str, seqno: u64) -> Result<Opened>;
    /// Last entry of a stream.
    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>>;
    /// Entries that match, a page at a time.
    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<QueryPage>;

    /// Checks encoding, hashes, links, index columns and payloads.
    fn verify_chain(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<VerifyReport>;
    /// The same without payloads.
    fn verify_headers(&mut self, stream_id: &str, from_seqno: u64, to_seqno: u64) -> Result<VerifyReport>;

    /// Closes a segment over all entries so far.
    fn close_segment(&mut self, stream_id: &str) -> Result<Segment>;
    /// Closes a segment in every stream that has new entries, in one transaction.
    fn close_segments(&mut self) -> Result<Vec<Segment>>;
    /// Segments of a stream, oldest first.
    fn list_segments(&mut self, stream_id: &str) -> Result<Vec<Segment>>;
    /// One segment.
    fn read_segment(&mut self, segment_id: u64) -> Result<Segment>;
    /// Recomputes the stream's tree and compares segments and tiles with it.
    fn verify_segments(&mut self, stream_id: &str) -> Result<SegmentsReport>;

    /// Proves an entry against the newest closed segment of its stream.
    fn build_inclusion_proof(&mut self, stream_id: &str, seqno: u64) -> Result<InclusionProof>;
    /// Proves that one tree of a stream is a prefix of another.
    fn build_consistency_proof(
        &mut self,
        stream_id: &str,
        from_size: u64,
        to_size: u64,
    ) -> Result<ConsistencyProof>;

    /// Gives an erasure domain another key-encryption key; returns how many data keys were wrapped anew.
    fn rotate_key(&mut self, erasure_domain: &str, new_key: &str) -> Result<u64>;
    /// Erases payloads of a stretch of a stream.
    fn erase_payloads(
        &mut self,
        stream_id: &str,
        from_seqno: u64,
        to_seqno: u64,
        reason: &str,
    ) -> Result<Erasure>;
    /// Erases a whole domain, its keys included.
    fn erase_domain(&mut self, erasure_domain: &str, reason: &str) -> Result<Erasure>;

    /// The whole log as lines of text, a page at a time; `keys` are the verifier keys to name in it.
    fn export_page(&mut self, keys: &[String], cursor: Option<&str>) -> Result<ExportPage>;
    /// All pages of an export.
    fn export(&mut self, keys: &[String], mut write: impl FnMut(&str) -> Result<()>) -> Result<()>
    where
        Self: Sized,
    {
        let mut cursor = None;
        loop {
            let page = self.export_page(keys, cursor.as_deref())?;
            write(&page.lines)?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Makes a consistent copy while open.
    fn backup(&mut self, config: &str) -> Result<()>;

    /// Signs a checkpoint that covers the segment.
    fn sign_segment(
        &mut self,
        signer: &mut dyn CheckpointSigner,
        identity: &str,
        segment_id: u64,
    ) -> Result<Checkpoint>;
    /// The same with several keys at once.
    fn sign_segment_with(
        &mut self,
        signer: &mut dyn CheckpointSigner,
        identities: &[String],
        segment_id: u64,
    ) -> Result<Checkpoint>;
    /// The newest checkpoint.
    fn latest_checkpoint(&mut self) -> Result<Option<Checkpoint>>;
    /// A checkpoint by its number.
    fn read_checkpoint(&mut self, number: u64) -> Result<Checkpoint>;
    /// The public key `identity` as a verifier key under this log's name.
    fn verifier_key(&mut self, signer: &mut dyn CheckpointSigner, identity: &str) -> Result<String>;
    /// Checks every checkpoint, the whole of `_log`, and every stream against its last segment.
    fn verify_checkpoint_chain(&mut self, trusted: &[String]) -> Result<CheckpointReport>;
    /// Proves an entry up to the newest checkpoint.
    fn build_entry_proof(&mut self, stream_id: &str, seqno: u64) -> Result<EntryProof>;
    /// The proof of an entry as a file; with a policy under the newest checkpoint that it counts as published.
    fn build_proof_file(&mut self, stream_id: &str, seqno: u64, policy: Option<&[u8]>) -> Result<String>;
    /// Compares the log with a checkpoint note kept elsewhere.
    fn check_against(&mut self, note: &str) -> Result<()>;

    /// Body of an `add-checkpoint` request, with a proof from the size that the witness cosigned last.
    fn witness_request(&mut self, checkpoint: u64, old_size: u64) -> Result<Vec<u8>>;
    /// Judges the answer by the verifier keys of the witness, and stores cosignatures that verify.
    fn accept_witness(
        &mut self,
        checkpoint: u64,
        request: &[u8],
        keys: &[String],
        status: u16,
        body: &[u8],
    ) -> Result<WitnessAnswer>;
    /// Size of the largest checkpoint here with a cosignature by one of the keys; 0 if there is none.
    fn cosigned_size(&mut self, keys: &[String]) -> Result<u64>;
    /// The note of a checkpoint with all cosignatures that there are.
    fn cosigned_note(&mut self, checkpoint: u64) -> Result<String>;
    /// Judges checkpoints by a policy file.
    fn publication(&mut self, policy: &[u8]) -> Result<Publication>;

    /// A request for a time-stamp token; `policy`: an object identifier.
    fn time_request(&mut self, subject: &TimeSubject, policy: Option<&str>) -> Result<Vec<u8>>;
    /// Checks the answer to `request` and stores the token.
    fn accept_time(
        &mut self,
        subject: &TimeSubject,
        request: &[u8],
        body: &[u8],
        trust: &TimeTrust,
    ) -> Result<TimeStamp>;
    /// Stored tokens, oldest first.
    fn time_tokens(&mut self, subject: &TimeSubject) -> Result<Vec<Vec<u8>>>;
    /// Verifies a token of the subject offline.
    fn verify_time(&mut self, subject: &TimeSubject, token: &[u8], trust: &TimeTrust) -> Result<TimeStamp>;
}
