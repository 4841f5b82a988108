//! Cosignatures of witnesses, and the proof files that carry them.

use super::*;

fn not_yet<T>() -> Result<T> {
    Err(Error::Denied("this log cannot do that".into()))
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_sign_segment_with(
        &mut self,
        _signer: &mut dyn CheckpointSigner,
        _identities: &[String],
        _segment_id: u64,
    ) -> Result<Checkpoint> {
        not_yet()
    }

    pub(super) fn do_build_proof_file(
        &mut self,
        _stream_id: &str,
        _seqno: u64,
        _policy: Option<&[u8]>,
    ) -> Result<String> {
        not_yet()
    }

    pub(super) fn do_witness_request(&mut self, _checkpoint: u64, _old_size: u64) -> Result<Vec<u8>> {
        not_yet()
    }

    pub(super) fn do_accept_witness(
        &mut self,
        _checkpoint: u64,
        _request: &[u8],
        _keys: &[String],
        _status: u16,
        _body: &[u8],
    ) -> Result<WitnessAnswer> {
        not_yet()
    }

    pub(super) fn do_cosigned_size(&mut self, _keys: &[String]) -> Result<u64> {
        not_yet()
    }

    pub(super) fn do_cosigned_note(&mut self, _checkpoint: u64) -> Result<String> {
        not_yet()
    }

    pub(super) fn do_publication(&mut self, _policy: &[u8]) -> Result<Publication> {
        not_yet()
    }
}
