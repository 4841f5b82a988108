//! Time-stamp tokens.

use super::*;

fn not_yet<T>() -> Result<T> {
    Err(Error::Denied("this log cannot do that".into()))
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    pub(super) fn do_time_request(
        &mut self,
        _subject: &TimeSubject,
        _policy: Option<&str>,
    ) -> Result<Vec<u8>> {
        not_yet()
    }

    pub(super) fn do_accept_time(
        &mut self,
        _subject: &TimeSubject,
        _request: &[u8],
        _body: &[u8],
        _trust: &TimeTrust,
    ) -> Result<TimeStamp> {
        not_yet()
    }

    pub(super) fn do_time_tokens(&mut self, _subject: &TimeSubject) -> Result<Vec<Vec<u8>>> {
        not_yet()
    }

    pub(super) fn do_verify_time(
        &mut self,
        _subject: &TimeSubject,
        _token: &[u8],
        _trust: &TimeTrust,
    ) -> Result<TimeStamp> {
        not_yet()
    }
}
