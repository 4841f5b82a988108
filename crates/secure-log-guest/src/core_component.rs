//! The log: the engine over a store and a keystore, imported or in the same component.

use std::marker::PhantomData;

use secure_log::envelope::Envelope;
use secure_log::header::{self, Header, HeaderRef};
use secure_log::model as m;
use secure_log::policy::Policy;
use secure_log::signer::CheckpointSigner;
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::{Environment, Error, NativeSecureLog, Result, SecureLog, proof, proof_file, tree};

use crate::Slot;
use crate::convert::{hash_arg, head_arg};
use crate::core_world::exports::secure_log::log::{checkpoint, encoder, log, time, witness};
use crate::core_world::secure_log::log::types as w;

/// The exports of a component that is a log, over the store and the keystore of `P`.
pub struct CoreComponent<P>(PhantomData<P>);

/// Which store and which keystore a component works with, and where it keeps the open log.
pub trait Parts: 'static {
    /// The store.
    type Store: OpenStore + 'static;
    /// A handle of the keystore.
    type Keys: CheckpointSigner + Envelope + Send + 'static;
    /// Makes a handle.
    fn keys() -> Self::Keys;
    /// Runs `f` on the place of the open log.
    fn with<R>(f: impl FnOnce(&Slot<NativeSecureLog<Self::Store, Wasi>>) -> R) -> R;
}

type Log<P> = NativeSecureLog<<P as Parts>::Store, Wasi>;

/// Clock and randomness of the host.
pub struct Wasi;

impl Environment for Wasi {
    fn now_ms(&mut self) -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        // `wasi:random` cannot fail, so this cannot either.
        if getrandom::fill(out).is_err() {
            std::process::abort();
        }
    }

    fn pause(&mut self, time: std::time::Duration) {
        std::thread::sleep(time);
    }
}

fn enter<P: Parts, R>(f: impl FnOnce(&mut Option<Log<P>>) -> Result<R>) -> Result<R, w::LogError> {
    P::with(|slot| slot.enter(f))
        .unwrap_or_else(|| Err(Error::Busy("the log is in the middle of another call".into())))
        .map_err(Into::into)
}

impl<P: Parts> CoreComponent<P> {
    fn run<R>(f: impl FnOnce(&mut Log<P>) -> Result<R>) -> Result<R, w::LogError> {
        enter::<P, _>(|log| match log {
            Some(log) => f(log),
            None => Err(Error::invalid(
                "call",
                "the log is not open: call `open` with a store configuration first",
            )),
        })
    }

    fn list<R, W: From<R>>(f: impl FnOnce(&mut Log<P>) -> Result<Vec<R>>) -> Result<Vec<W>, w::LogError> {
        Self::run(f).map(|list| list.into_iter().map(W::from).collect())
    }
}

impl<P: Parts> encoder::Guest for CoreComponent<P> {
    fn encode_header(header: w::EntryHeader) -> Result<Vec<u8>, w::LogError> {
        Ok(Header::try_from(header)?.encode()?)
    }

    fn decode_header(bytes: Vec<u8>) -> Result<w::EntryHeader, w::LogError> {
        let header = HeaderRef::decode(&bytes).map_err(|e| Error::invalid("bytes", e.to_string()))?;
        Ok(header.to_owned().into())
    }

    fn entry_hash(header_bytes: Vec<u8>) -> Vec<u8> {
        header::entry_hash(&header_bytes).to_vec()
    }

    fn payload_hash(salt: Vec<u8>, payload: Vec<u8>) -> Vec<u8> {
        header::payload_hash(&salt, &payload).to_vec()
    }

    fn leaf_hash(header_bytes: Vec<u8>) -> Vec<u8> {
        tree::leaf_hash(&header_bytes).to_vec()
    }
}

impl<P: Parts> log::Guest for CoreComponent<P> {
    fn open(config: String) -> Result<(), w::LogError> {
        enter::<P, _>(|log| {
            if log.is_some() {
                return Err(Error::invalid(
                    "call",
                    "the log is open already: close it before opening another",
                ));
            }
            if config.is_empty() {
                return Err(Error::invalid(
                    "config",
                    "is empty; name the store, for example a path (there is no default)",
                ));
            }
            let store = P::Store::open(&config)?;
            *log = Some(NativeSecureLog::new(store, Wasi, SOFTWARE_VERSION)?.with_envelope(P::keys()));
            Ok(())
        })
    }

    fn close() -> Result<(), w::LogError> {
        enter::<P, _>(|log| match log.take() {
            Some(log) => log.into_store().close(),
            None => Err(Error::invalid("call", "the log is not open")),
        })
    }

    fn set_origin(origin: String) -> Result<(), w::LogError> {
        Self::run(|log| log.set_origin(&origin))
    }

    fn origin() -> Result<Option<String>, w::LogError> {
        Self::run(|log| log.origin())
    }

    fn set_boot_id(boot_id: String) -> Result<(), w::LogError> {
        Self::run(|log| log.set_boot_id(&boot_id))
    }

    fn create_stream(
        stream_id: String,
        tier: w::Tier,
        description: Option<String>,
    ) -> Result<(), w::LogError> {
        Self::run(|log| log.create_stream(&stream_id, tier.into(), description.as_deref()))
    }

    fn create_stream_with(stream_id: String, options: w::StreamOptions) -> Result<(), w::LogError> {
        Self::run(|log| log.create_stream_with(&stream_id, &options.into()))
    }

    fn list_streams() -> Result<Vec<w::StreamInfo>, w::LogError> {
        Self::list(|log| log.list_streams())
    }

    fn deprecate_stream(stream_id: String) -> Result<(), w::LogError> {
        Self::run(|log| log.deprecate_stream(&stream_id))
    }

    fn append(
        stream_id: String,
        event_type: String,
        severity: w::Severity,
        producer: String,
        payload: Vec<u8>,
    ) -> Result<w::AppendResult, w::LogError> {
        Self::run(|log| log.append(m::Event::new(stream_id, event_type, severity.into(), producer, payload)))
            .map(Into::into)
    }

    fn append_batch(
        events: Vec<w::Event>,
        expect: Vec<w::StreamHead>,
    ) -> Result<Vec<w::AppendResult>, w::LogError> {
        Self::list(|log| {
            let expect = expect.into_iter().map(|h| head_arg("expect", h)).collect::<Result<Vec<_>>>()?;
            log.append_batch(events.into_iter().map(Into::into).collect(), &expect)
        })
    }

    fn read(stream_id: String, seqno: u64) -> Result<w::Entry, w::LogError> {
        Self::run(|log| log.read(&stream_id, seqno)).map(Into::into)
    }

    fn read_payload(stream_id: String, seqno: u64) -> Result<Vec<u8>, w::LogError> {
        Self::run(|log| log.read_payload(&stream_id, seqno))
    }

    fn open_entry(stream_id: String, seqno: u64) -> Result<w::Opened, w::LogError> {
        Self::run(|log| log.open_entry(&stream_id, seqno)).map(Into::into)
    }

    fn read_headers(stream_id: String, from_seqno: u64, to_seqno: u64) -> Result<Vec<u8>, w::LogError> {
        Self::run(|log| log.read_headers(&stream_id, from_seqno, to_seqno))
    }

    fn head(stream_id: String) -> Result<Option<w::StreamHead>, w::LogError> {
        Self::run(|log| log.head(&stream_id)).map(|head| head.map(Into::into))
    }

    fn query(filter: w::QueryFilter, page: w::Page) -> Result<w::QueryPage, w::LogError> {
        Self::run(|log| log.query(&filter.into(), page.cursor.as_deref(), page.limit)).map(Into::into)
    }

    fn verify_chain(
        stream_id: String,
        from_seqno: u64,
        to_seqno: u64,
    ) -> Result<w::VerifyReport, w::LogError> {
        Self::run(|log| log.verify_chain(&stream_id, from_seqno, to_seqno)).map(Into::into)
    }

    fn verify_headers(
        stream_id: String,
        from_seqno: u64,
        to_seqno: u64,
    ) -> Result<w::VerifyReport, w::LogError> {
        Self::run(|log| log.verify_headers(&stream_id, from_seqno, to_seqno)).map(Into::into)
    }

    fn close_segment(stream_id: String) -> Result<w::Segment, w::LogError> {
        Self::run(|log| log.close_segment(&stream_id)).map(Into::into)
    }

    fn close_segments() -> Result<Vec<w::Segment>, w::LogError> {
        Self::list(|log| log.close_segments())
    }

    fn list_segments(stream_id: String) -> Result<Vec<w::Segment>, w::LogError> {
        Self::list(|log| log.list_segments(&stream_id))
    }

    fn read_segment(segment_id: u64) -> Result<w::Segment, w::LogError> {
        Self::run(|log| log.read_segment(segment_id)).map(Into::into)
    }

    fn verify_segments(stream_id: String) -> Result<w::SegmentsReport, w::LogError> {
        Self::run(|log| log.verify_segments(&stream_id)).map(Into::into)
    }

    fn build_inclusion_proof(stream_id: String, seqno: u64) -> Result<w::InclusionProof, w::LogError> {
        Self::run(|log| log.build_inclusion_proof(&stream_id, seqno)).map(Into::into)
    }

    fn verify_inclusion_proof(proof: w::InclusionProof, expected_root: Vec<u8>) -> Result<(), w::LogError> {
        let root = hash_arg("expected-root", &expected_root)?;
        Ok(proof::verify_inclusion_proof(&proof.try_into()?, &root)?)
    }

    fn build_consistency_proof(
        stream_id: String,
        from_size: u64,
        to_size: u64,
    ) -> Result<w::ConsistencyProof, w::LogError> {
        Self::run(|log| log.build_consistency_proof(&stream_id, from_size, to_size)).map(Into::into)
    }

    fn verify_consistency_proof(
        proof: w::ConsistencyProof,
        from_root: Vec<u8>,
        to_root: Vec<u8>,
    ) -> Result<(), w::LogError> {
        let (from, to) = (hash_arg("from-root", &from_root)?, hash_arg("to-root", &to_root)?);
        Ok(proof::verify_consistency_proof(&proof.try_into()?, &from, &to)?)
    }

    fn rotate_key(erasure_domain: String, new_key: String) -> Result<u64, w::LogError> {
        Self::run(|log| log.rotate_key(&erasure_domain, &new_key))
    }

    fn erase_payloads(
        stream_id: String,
        from_seqno: u64,
        to_seqno: u64,
        reason: String,
    ) -> Result<w::Erasure, w::LogError> {
        Self::run(|log| log.erase_payloads(&stream_id, from_seqno, to_seqno, &reason)).map(Into::into)
    }

    fn erase_domain(erasure_domain: String, reason: String) -> Result<w::Erasure, w::LogError> {
        Self::run(|log| log.erase_domain(&erasure_domain, &reason)).map(Into::into)
    }

    fn export_log(keys: Vec<w::VerifierKey>, cursor: Option<String>) -> Result<w::ExportPage, w::LogError> {
        let page = Self::run(|log| log.export_page(&keys, cursor.as_deref()))?;
        Ok(w::ExportPage { lines: page.lines, next: page.next })
    }

    fn backup(config: String) -> Result<(), w::LogError> {
        Self::run(|log| log.backup(&config))
    }
}

impl<P: Parts> checkpoint::Guest for CoreComponent<P> {
    fn sign_segment(identity: String, segment_id: u64) -> Result<w::Checkpoint, w::LogError> {
        Self::run(|log| log.sign_segment(&mut P::keys(), &identity, segment_id)).map(Into::into)
    }

    fn sign_segment_with(identities: Vec<String>, segment_id: u64) -> Result<w::Checkpoint, w::LogError> {
        Self::run(|log| log.sign_segment_with(&mut P::keys(), &identities, segment_id)).map(Into::into)
    }

    fn latest() -> Result<Option<w::Checkpoint>, w::LogError> {
        Self::run(|log| log.latest_checkpoint()).map(|c| c.map(Into::into))
    }

    fn read(number: u64) -> Result<w::Checkpoint, w::LogError> {
        Self::run(|log| log.read_checkpoint(number)).map(Into::into)
    }

    fn get_verifier_key(identity: String) -> Result<w::VerifierKey, w::LogError> {
        Self::run(|log| log.verifier_key(&mut P::keys(), &identity))
    }

    fn verify_checkpoint_chain(trusted: Vec<w::VerifierKey>) -> Result<w::CheckpointReport, w::LogError> {
        Self::run(|log| log.verify_checkpoint_chain(&trusted)).map(Into::into)
    }

    fn build_entry_proof(stream_id: String, seqno: u64) -> Result<w::EntryProof, w::LogError> {
        Self::run(|log| log.build_entry_proof(&stream_id, seqno)).map(Into::into)
    }

    fn verify_entry_proof(
        proof: w::EntryProof,
        trusted: Vec<w::VerifierKey>,
    ) -> Result<w::EntryHeader, w::LogError> {
        Ok(proof::verify_entry_proof(&proof.try_into()?, &trusted)?.into())
    }

    fn build_proof_file(
        stream_id: String,
        seqno: u64,
        policy: Option<Vec<u8>>,
    ) -> Result<String, w::LogError> {
        Self::run(|log| log.build_proof_file(&stream_id, seqno, policy.as_deref()))
    }

    fn verify_proof_file(
        file: Vec<u8>,
        trusted: Vec<w::VerifierKey>,
        policy: Option<Vec<u8>>,
    ) -> Result<w::Proven, w::LogError> {
        let policy = policy.map(|policy| Policy::parse(&policy)).transpose();
        let policy = policy.map_err(|e| Error::invalid("policy", e.to_string()))?;
        Ok(proof_file::verify(&file, &trusted, policy.as_ref())?.into())
    }

    fn check_against(note: String) -> Result<(), w::LogError> {
        Self::run(|log| log.check_against(&note))
    }
}

impl<P: Parts> witness::Guest for CoreComponent<P> {
    fn prepare(checkpoint: u64, old_size: u64) -> Result<Vec<u8>, w::LogError> {
        Self::run(|log| log.witness_request(checkpoint, old_size))
    }

    fn accept(
        checkpoint: u64,
        request: Vec<u8>,
        keys: Vec<w::VerifierKey>,
        status: u16,
        body: Vec<u8>,
    ) -> Result<witness::Answer, w::LogError> {
        Self::run(|log| log.accept_witness(checkpoint, &request, &keys, status, &body)).map(Into::into)
    }

    fn cosigned_size(keys: Vec<w::VerifierKey>) -> Result<u64, w::LogError> {
        Self::run(|log| log.cosigned_size(&keys))
    }

    fn cosigned_note(checkpoint: u64) -> Result<String, w::LogError> {
        Self::run(|log| log.cosigned_note(checkpoint))
    }

    fn judge(policy: Vec<u8>) -> Result<witness::Publication, w::LogError> {
        Self::run(|log| log.publication(&policy)).map(Into::into)
    }
}

impl<P: Parts> time::Guest for CoreComponent<P> {
    fn prepare(subject: time::Subject, policy: Option<String>) -> Result<Vec<u8>, w::LogError> {
        Self::run(|log| log.time_request(&subject.into(), policy.as_deref()))
    }

    fn accept(
        subject: time::Subject,
        request: Vec<u8>,
        body: Vec<u8>,
        trust: time::Trust,
    ) -> Result<time::Stamp, w::LogError> {
        Self::run(|log| log.accept_time(&subject.into(), &request, &body, &trust.into())).map(Into::into)
    }

    fn tokens(subject: time::Subject) -> Result<Vec<Vec<u8>>, w::LogError> {
        Self::run(|log| log.time_tokens(&subject.into()))
    }

    fn verify(
        subject: time::Subject,
        token: Vec<u8>,
        trust: time::Trust,
    ) -> Result<time::Stamp, w::LogError> {
        Self::run(|log| log.verify_time(&subject.into(), &token, &trust.into())).map(Into::into)
    }
}

/// Release of this core, recorded in every entry.
const SOFTWARE_VERSION: &str = concat!("secure-log ", env!("CARGO_PKG_VERSION"));
