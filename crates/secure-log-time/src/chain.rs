//! A chain from the authority's certificate to a trusted one (RFC 5280 §6.1, without policies and name constraints).

use crate::certificate::Certificate;
use crate::error::VerifyError;
use crate::oids;
use crate::time::Time;

/// The most certificates of a chain.
const MAX_LENGTH: usize = 8;
/// The most signatures that are tried; more are needed only where many certificates bear the same name.
const MAX_TRIES: usize = 64;

struct Search<'a> {
    anchors: &'a [Certificate],
    others: &'a [&'a Certificate],
    time: Time,
    tries: usize,
    /// Why the first of the ways that came near an anchor failed.
    reason: Option<VerifyError>,
}

/// The chain, the authority's certificate first and a trust anchor last.
pub(crate) fn build<'a>(
    leaf: &'a Certificate,
    anchors: &'a [Certificate],
    others: &'a [&'a Certificate],
    time: Time,
) -> Result<Vec<&'a Certificate>, VerifyError> {
    let mut search = Search { anchors, others, time, tries: 0, reason: None };
    let mut chain = vec![leaf];
    if anchors.contains(leaf) || search.extend(&mut chain)? {
        return Ok(chain);
    }
    Err(search.reason.unwrap_or_else(|| VerifyError::NotAnchored { authority: leaf.subject() }))
}

impl<'a> Search<'a> {
    fn extend(&mut self, chain: &mut Vec<&'a Certificate>) -> Result<bool, VerifyError> {
        let Some(below) = chain.last().copied() else {
            return Ok(false);
        };
        if chain.len() >= MAX_LENGTH {
            return Ok(false);
        }
        let (anchors, others) = (self.anchors, self.others);
        let candidates = anchors.iter().map(|one| (one, true)).chain(others.iter().map(|one| (*one, false)));
        for (issuer, trusted) in candidates {
            if issuer.subject_der() != below.issuer_der() || chain.contains(&issuer) {
                continue;
            }
            self.tries += 1;
            if self.tries > MAX_TRIES {
                return Err(VerifyError::TooManyCertificates);
            }
            match self.issued(issuer, chain, trusted) {
                Ok(()) => {}
                Err(reason) => {
                    self.reason.get_or_insert(reason);
                    continue;
                }
            }
            chain.push(issuer);
            if trusted || self.extend(chain)? {
                return Ok(true);
            }
            chain.pop();
        }
        Ok(false)
    }

    /// Whether `issuer` may stand above `chain`.
    fn issued(&self, issuer: &Certificate, chain: &[&Certificate], trusted: bool) -> Result<(), VerifyError> {
        let Some(below) = chain.last() else {
            return Ok(());
        };
        // First, so that a namesake of another authority is not blamed for what it is.
        issuer.issued(below)?;
        let wrong = |why| Err(VerifyError::WrongPurpose { of: issuer.role(), why });
        let purposes = issuer.purposes()?;
        let authorities = chain[1..].iter().filter(|one| !one.is_self_issued()).count();
        match purposes.authority {
            Some(Some(most)) if authorities > usize::from(most) => {
                return wrong("more authorities below it than its basic constraints allow");
            }
            Some(Some(_)) => {}
            // Roots of version 1 are authorities because they are trusted.
            None if trusted && issuer.is_old() => {}
            _ => return wrong("its basic constraints do not make it an authority"),
        }
        if purposes.key_usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return wrong("its key usage is not for signing certificates");
        }
        let stamps = [oids::TIME_STAMPING, oids::ANY_EXTENDED_KEY_USAGE];
        if purposes.extended.is_some_and(|(_, usages)| !usages.iter().any(|usage| stamps.contains(usage))) {
            return wrong("its extended key usage excludes timeStamping");
        }
        issuer.valid_at(self.time)
    }
}
