//! Erasure: the record first, then the keys, then the payloads.

use super::*;

fn not_yet<T>() -> Result<T> {
    Err(Error::Denied("this log cannot do that".into()))
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_erase_payloads(
        &mut self,
        _stream_id: &str,
        _from: u64,
        _to: u64,
        _reason: &str,
    ) -> Result<Erasure> {
        not_yet()
    }

    pub(super) fn do_erase_domain(&mut self, _domain: &str, _reason: &str) -> Result<Erasure> {
        not_yet()
    }
}
