//! Time-stamp tokens (RFC 3161): asked for, verified, kept.

use secure_log_time::{AcceptError, Hash as Digest, Imprint, ObjectIdentifier, Request, accept};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::record::checkpoint_key;
use crate::stamp;
use crate::store::ObjectKind;

/// Beginning of the keys of a subject's tokens.
fn token_prefix(subject: &TimeSubject) -> String {
    match subject {
        TimeSubject::Checkpoint(number) => format!("time\tcheckpoint\t{}\t", checkpoint_key(*number)),
        TimeSubject::Entry { stream_id, seqno } => format!("time\tentry\t{stream_id}\t{seqno:020}\t"),
    }
}

/// Tokens of a subject are listed by their time.
fn token_key(subject: &TimeSubject, stamp: &TimeStamp, token: &[u8]) -> String {
    let id: String = Sha256::digest(token)[..8].iter().map(|b| format!("{b:02x}")).collect();
    format!("{}{:020}\t{id}", token_prefix(subject), stamp.time_ms)
}

impl<S: SecureLogStore, E: Environment> NativeSecureLog<S, E> {
    /// The bytes that are stamped, and their time by the log's clock.
    fn stamped(&mut self, subject: &TimeSubject) -> Result<(Vec<u8>, u64)> {
        match subject {
            TimeSubject::Checkpoint(number) => {
                let checkpoint = self.do_read_checkpoint(*number)?;
                let last = self.row(LOG_STREAM, checkpoint.size, false)?;
                Ok((checkpoint.note.into_bytes(), last.time_ms))
            }
            TimeSubject::Entry { stream_id, seqno } => {
                let row = self.named_row(stream_id, *seqno, false)?;
                Ok((row.header, row.time_ms))
            }
        }
    }

    pub(super) fn do_time_request(&mut self, subject: &TimeSubject, policy: Option<&str>) -> Result<Vec<u8>> {
        let policy = policy.map(ObjectIdentifier::new).transpose();
        let policy = policy.map_err(|e| Error::invalid("policy", format!("no object identifier: {e}")))?;
        let (message, _) = self.stamped(subject)?;
        let nonce = u64::from_be_bytes(self.random.take(&mut self.env));
        let request = Request { policy, ..Request::new(Imprint::of(Digest::Sha256, &message), nonce) };
        Ok(request.to_der())
    }

    pub(super) fn do_accept_time(
        &mut self,
        subject: &TimeSubject,
        request: &[u8],
        body: &[u8],
        trust: &TimeTrust,
    ) -> Result<TimeStamp> {
        let request = Request::from_der(request).map_err(|e| Error::invalid("request", e.to_string()))?;
        let (message, log_time_ms) = self.stamped(subject)?;
        if request.imprint != Imprint::of(Digest::Sha256, &message) {
            return Err(Error::invalid("request", "it is not about this subject"));
        }
        let token = accept(&request, 200, None, body).map_err(|error| match error {
            AcceptError::Token(error) => stamp::refused(&error),
            error => Error::Denied(format!("time-stamp response: {error}")),
        })?;
        let stamp = stamp::verify(&token.der, &message, log_time_ms, trust)?;
        self.keep_receipt(token_key(subject, &stamp, &token.der), token.der)?;
        Ok(stamp)
    }

    pub(super) fn do_time_tokens(&mut self, subject: &TimeSubject) -> Result<Vec<Vec<u8>>> {
        self.stamped(subject)?;
        let mut tokens = Vec::new();
        self.objects(ObjectKind::Receipt, &token_prefix(subject), |_, object| {
            tokens.push(object.value);
            Ok(())
        })?;
        Ok(tokens)
    }

    pub(super) fn do_verify_time(
        &mut self,
        subject: &TimeSubject,
        token: &[u8],
        trust: &TimeTrust,
    ) -> Result<TimeStamp> {
        let (message, log_time_ms) = self.stamped(subject)?;
        stamp::verify(token, &message, log_time_ms, trust)
    }
}
