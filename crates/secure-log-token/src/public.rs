//! Public halves of private keys.

use secure_log_pkcs11::token::{Curve, EcPoint, KeyType, PublicKey, Result, RsaPublicKey, TokenError};

use crate::attributes::Attributes;
use crate::ck::*;
use crate::functions::Functions;
use crate::session::Open;
use crate::{key, kind};

/// Most bytes of DER that a token puts before a point.
const MAX_HEADER: usize = 4;

/// The public half of a private key: of itself where the token has it there, else of the public key object.
pub(crate) fn of(open: &Open, private: CK_OBJECT_HANDLE, kind: KeyType) -> Result<PublicKey> {
    let (functions, session) = open.current()?;
    if let Some(key) = read(functions, session, private, kind)? {
        return Ok(key);
    }
    let mut found: Option<PublicKey> = None;
    for public in halves(open, private, kind)? {
        let key = read(functions, session, public, kind)?.ok_or(TokenError::KeyUnsuitable)?;
        match &found {
            // Which of the two is it?
            Some(other) if *other != key => return Err(TokenError::InvalidInput),
            _ => found = Some(key),
        }
    }
    found.ok_or(TokenError::KeyGone)
}

/// The public key objects that belong to a private key: those of the same CKA_ID; if there is none, those of the same label
/// that are not another key's by their CKA_ID. [`TokenError::KeyUnsuitable`] if there are only such of another kind.
pub(crate) fn halves(open: &Open, private: CK_OBJECT_HANDLE, kind: KeyType) -> Result<Vec<CK_OBJECT_HANDLE>> {
    let (functions, session) = open.current()?;
    let id = key::id(functions, session, private)?;
    let label = functions.attribute(session, private, CKA_LABEL)?.unwrap_or_default();
    let mut found = Vec::new();
    if !id.is_empty() {
        found = functions.find(session, &Attributes::of(CKO_PUBLIC_KEY).bytes(CKA_ID, &id))?;
    }
    if found.is_empty() && !label.is_empty() {
        for public in functions.find(session, &Attributes::of(CKO_PUBLIC_KEY).bytes(CKA_LABEL, &label))? {
            if id.is_empty() || key::id(functions, session, public)?.is_empty() {
                found.push(public);
            }
        }
    }
    let mut halves = Vec::with_capacity(found.len());
    for public in &found {
        if kind::of(functions, session, *public)? == kind {
            halves.push(*public);
        }
    }
    if halves.is_empty() && !found.is_empty() {
        return Err(TokenError::KeyUnsuitable);
    }
    Ok(halves)
}

/// The public key in an object's attributes; none if they are not there.
fn read(
    functions: &Functions,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    kind: KeyType,
) -> Result<Option<PublicKey>> {
    let attribute = |kind| functions.attribute(session, object, kind);
    match kind {
        KeyType::Rsa(_) => {
            let (Some(modulus), Some(exponent)) = (attribute(CKA_MODULUS)?, attribute(CKA_PUBLIC_EXPONENT)?)
            else {
                return Ok(None);
            };
            let modulus = kind::without_zeros(&modulus).to_vec();
            let exponent = kind::without_zeros(&exponent).to_vec();
            let there = !modulus.is_empty() && !exponent.is_empty();
            Ok(there.then_some(PublicKey::Rsa(RsaPublicKey { modulus, exponent })))
        }
        KeyType::Ec(curve) => match attribute(CKA_EC_POINT)? {
            Some(encoded) if !encoded.is_empty() => {
                let point = point(curve, &encoded).ok_or(TokenError::KeyUnsuitable)?;
                Ok(Some(PublicKey::Ec(EcPoint { curve, point })))
            }
            _ => Ok(None),
        },
        KeyType::Other(_) => Err(TokenError::KeyUnsuitable),
    }
}

/// The point in CKA_EC_POINT, which is a DER OCTET STRING or BIT STRING in some tokens, the bare point in others.
fn point(curve: Curve, encoded: &[u8]) -> Option<Vec<u8>> {
    let header = encoded.len().checked_sub(curve.point_len()).filter(|len| *len <= MAX_HEADER)?;
    let point = &encoded[header..];
    kind::is_point(curve, point).then(|| point.to_vec())
}

/// CKA_EC_POINT to be written: a DER OCTET STRING, which all tokens take.
pub(crate) fn encode_point(point: &[u8]) -> Vec<u8> {
    let mut encoded = vec![4];
    match point.len() {
        // At most 133 bytes.
        len @ 128.. => encoded.extend([0x81, len as u8]),
        len => encoded.push(len as u8),
    }
    encoded.extend_from_slice(point);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_found_with_and_without_their_encoding() {
        for curve in Curve::ALL {
            let mut bare = vec![7; curve.point_len()];
            bare[0] = 4;
            assert_eq!(point(curve, &bare), Some(bare.clone()));
            assert_eq!(point(curve, &encode_point(&bare)), Some(bare.clone()));
            assert_eq!(point(curve, &bare[1..]), None);
            assert_eq!(point(curve, &[&[0; 5], &bare[..]].concat()), None);
            bare[0] = 2;
            assert_eq!(point(curve, &bare).is_some(), curve.is_edwards());
        }
    }
}
