//! Data keys, and opening what they sealed.

use super::*;

fn not_yet<T>() -> Result<T> {
    Err(Error::Denied("this log cannot do that".into()))
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_create_stream_with(&mut self, _stream_id: &str, _options: &StreamOptions) -> Result<()> {
        not_yet()
    }

    pub(super) fn do_open_entry(&mut self, _stream_id: &str, _seqno: u64) -> Result<Opened> {
        not_yet()
    }

    pub(super) fn do_rotate_key(&mut self, _domain: &str, _new_key: &str) -> Result<u64> {
        not_yet()
    }
}
