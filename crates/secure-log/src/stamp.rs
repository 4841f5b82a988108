//! Verifying a time-stamp token (RFC 3161) offline.

use secure_log_time::{
    Certificate, Options, RevocationList, Stamped, Trust, Verified, VerifyError, verify as verify_token,
};

use crate::error::{Error, Result};
use crate::model::{TimeStamp, TimeTrust};

/// Verifies that `token` stamps `message`: signature, chain up to a trust anchor, purpose, validity and imprint.
/// `log_time_ms` goes into the answer as the time that the log claims. `Denied` names what does not hold.
pub fn verify(token: &[u8], message: &[u8], log_time_ms: u64, trust: &TimeTrust) -> Result<TimeStamp> {
    let stamp = verify_token(token, Stamped::Message(message), &trust_of(trust)?, &Options::default())
        .map_err(|e| refused(&e))?;
    Ok(to_stamp(stamp, log_time_ms))
}

pub(crate) fn refused(error: &VerifyError) -> Error {
    Error::Denied(format!("time-stamp token: {error}"))
}

/// Whether the certificates and revocation lists can be read; an error names the one that cannot.
pub fn check_trust(trust: &TimeTrust) -> Result<()> {
    trust_of(trust).map(drop)
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
