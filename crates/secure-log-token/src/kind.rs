//! Kinds of keys, and how PKCS #11 writes curves.

use secure_log_pkcs11::token::{Curve, KeyType, Result, TokenError};

use crate::ck::*;
use crate::functions::{Functions, to_u32};

/// CKA_EC_PARAMS of a curve: the object identifier, in DER.
pub(crate) fn params(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
        Curve::P384 => &[0x06, 5, 0x2b, 0x81, 4, 0, 0x22],
        Curve::P521 => &[0x06, 5, 0x2b, 0x81, 4, 0, 0x23],
        Curve::Ed25519 => &[0x06, 3, 0x2b, 0x65, 0x70],
        Curve::Ed448 => &[0x06, 3, 0x2b, 0x65, 0x71],
    }
}

/// CKA_KEY_TYPE of keys on a curve.
pub(crate) fn key_type(curve: Curve) -> CK_KEY_TYPE {
    if curve.is_edwards() { CKK_EC_EDWARDS } else { CKK_EC }
}

fn curve(kind: CK_KEY_TYPE, found: &[u8]) -> Option<Curve> {
    // PrintableString, as some tokens name these two.
    let name: &[u8] = match found {
        [0x13, len, name @ ..] if usize::from(*len) == name.len() => name,
        _ => &[],
    };
    Curve::ALL.into_iter().filter(|curve| key_type(*curve) == kind).find(|curve| {
        let other: &[u8] = match curve {
            Curve::Ed25519 => b"edwards25519",
            Curve::Ed448 => b"edwards448",
            _ => return params(*curve) == found,
        };
        params(*curve) == found || name == other
    })
}

/// What kind of key an object is, private or public.
pub(crate) fn of(
    functions: &Functions,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> Result<KeyType> {
    let kind = functions.number(session, object, CKA_KEY_TYPE)?.ok_or(TokenError::KeyUnsuitable)?;
    let known = match kind {
        CKK_RSA => {
            let modulus = functions.attribute(session, object, CKA_MODULUS)?;
            modulus.and_then(|modulus| bits(&modulus)).map(KeyType::Rsa)
        }
        CKK_EC | CKK_EC_EDWARDS => {
            let params = functions.attribute(session, object, CKA_EC_PARAMS)?;
            params.and_then(|params| curve(kind, &params)).map(KeyType::Ec)
        }
        _ => None,
    };
    Ok(known.unwrap_or(KeyType::Other(to_u32(kind))))
}

/// Whether what says a key's kind is stored and empty: SoftHSM stores a key in steps, and the making of this one was
/// interrupted, or its file is damaged. What a token does not tell is no such sign.
pub(crate) fn is_not_whole(
    functions: &Functions,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> Result<bool> {
    let says = match functions.number(session, object, CKA_KEY_TYPE)? {
        Some(CKK_RSA) => CKA_MODULUS,
        Some(CKK_EC | CKK_EC_EDWARDS) => CKA_EC_PARAMS,
        _ => return Ok(false),
    };
    Ok(functions.attribute(session, object, says)?.is_some_and(|value| value.is_empty()))
}

/// Length of a number in bits; none for 0.
pub(crate) fn bits(number: &[u8]) -> Option<u32> {
    let number = without_zeros(number);
    let first = number.first()?;
    u32::try_from(number.len()).ok()?.checked_mul(8)?.checked_sub(first.leading_zeros())
}

/// A big-endian number without leading zeros.
pub(crate) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Whether this is a point as [`EcPoint`](secure_log_pkcs11::token::EcPoint) has it.
pub(crate) fn is_point(curve: Curve, point: &[u8]) -> bool {
    point.len() == curve.point_len() && (curve.is_edwards() || point[0] == 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_known_by_identifier_and_by_name() {
        for known in Curve::ALL {
            assert_eq!(curve(key_type(known), params(known)), Some(known));
            let other = if known.is_edwards() { CKK_EC } else { CKK_EC_EDWARDS };
            assert_eq!(curve(other, params(known)), None);
        }
        assert_eq!(curve(CKK_EC_EDWARDS, b"\x13\x0cedwards25519"), Some(Curve::Ed25519));
        assert_eq!(curve(CKK_EC_EDWARDS, b"\x13\x0aedwards448"), Some(Curve::Ed448));
        for none in [&b""[..], b"\x13", b"\x13\x0bedwards25519", b"\x13\x00", b"\x06\x03\x2b\x65\x6e"] {
            assert_eq!(curve(CKK_EC_EDWARDS, none), None);
        }
    }

    #[test]
    fn lengths_are_those_of_the_number() {
        assert_eq!(bits(&[]), None);
        assert_eq!(bits(&[0, 0]), None);
        assert_eq!(bits(&[0, 1]), Some(1));
        assert_eq!(bits(&[0x80, 0]), Some(16));
        assert_eq!(without_zeros(&[0, 0, 3, 0]), [3, 0]);
    }
}
