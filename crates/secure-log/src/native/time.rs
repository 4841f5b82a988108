//! Time-stamp tokens (RFC 3161): asked for, verified, kept.

use secure_log_time::{
    AcceptError, Certificate, Hash as Digest, Imprint, ObjectIdentifier, Options, Request, RevocationList,
    Stamped, Trust, Verified, VerifyError, accept, verify as verify_token,
};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::record::checkpoint_key;
use crate::store::ObjectKind;

/// Beginning of the keys of a subject's tokens.
fn token_prefix(subject: &TimeSubject) -> String {
    match subject {
        TimeSubject::Checkpoint(number) => format!("time\tcheckpoint\t{}\t", checkpoint_key(*number)),
        TimeSubject::Entry { stream_id, seqno } => format!("time\tentry\t{stream_id}\t{seqno:020}\t"),
    }
}

/// Tokens of a subject are listed by their time.
fn token_key(subject: &TimeSubject, stamp: &Verified, token: &[u8]) -> String {
    let id: String = Sha256::digest(token)[..8].iter().map(|b| format!("{b:02x}")).collect();
    format!("{}{:020}\t{id}", token_prefix(subject), stamp.time.as_millis())
}

fn refused(error: &VerifyError) -> Error {
    Error::Denied(format!("time-stamp token: {error}"))
}

fn trust_of(trust: &TimeTrust) -> Result<Trust> {
    if trust.anchors.is_empty() {
        return Err(Error::invalid(
            "trust.anchors",
            "is empty: without a trusted certificate no time is trusted",
        ));
    }
    fn each<T, E: std::fmt::Display>(
        field: &str,
        list: &[Vec<u8>],
        parse: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Result<Vec<T>> {
        let parsed = list.iter().enumerate().map(|(i, der)| {
            parse(der).map_err(|e| Error::invalid(format!("trust.{field}[{i}]"), e.to_string()))
        });
        parsed.collect()
    }
    Ok(Trust {
        anchors: each("anchors", &trust.anchors, Certificate::from_der)?,
        intermediates: each("intermediates", &trust.intermediates, Certificate::from_der)?,
        revocation_lists: each("revocation-lists", &trust.revocation_lists, RevocationList::from_der)?,
    })
}

/// What a token holds, or a chain has, that was not looked at.
fn unchecked(stamp: &Verified) -> Vec<String> {
    let mut words = Vec::new();
    // The anchor is trusted as it is.
    let certificates = stamp.not_revoked.iter().filter(|until| until.is_none()).count();
    if certificates > 0 {
        words.push(format!("whether {certificates} of the chain's certificates were revoked"));
    }
    for (count, what) in [
        (stamp.unchecked.certificates, "certificates in the token that were not needed"),
        (stamp.unchecked.revocation_lists, "revocation lists or OCSP responses in the token"),
        (stamp.unchecked.attributes, "unsigned attributes of the token"),
    ] {
        if count > 0 {
            words.push(format!("{count} {what}"));
        }
    }
    words
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
            AcceptError::Token(error) => refused(&error),
            error => Error::Denied(format!("time-stamp response: {error}")),
        })?;
        let stamp =
            verify_token(&token.der, Stamped::Message(&message), &trust_of(trust)?, &Options::default())
                .map_err(|e| refused(&e))?;
        self.keep_receipt(token_key(subject, &stamp, &token.der), token.der)?;
        Ok(to_stamp(stamp, log_time_ms))
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
        let stamp = verify_token(token, Stamped::Message(&message), &trust_of(trust)?, &Options::default())
            .map_err(|e| refused(&e))?;
        Ok(to_stamp(stamp, log_time_ms))
    }
}

fn to_stamp(stamp: Verified, log_time_ms: u64) -> TimeStamp {
    TimeStamp {
        time_ms: stamp.time.as_millis(),
        accuracy_ms: stamp.accuracy.map(|a| u64::try_from(a.as_millis()).unwrap_or(u64::MAX)),
        log_time_ms,
        policy: stamp.policy.to_string(),
        imprint: stamp.imprint.hash().to_string(),
        unchecked: unchecked(&stamp),
        serial: stamp.serial,
        authority: stamp.authority,
    }
}
