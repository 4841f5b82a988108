//! Curves and attributes as PKCS #11 writes them.

use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism as Ck, MechanismType};
use cryptoki::object::{Attribute, KeyType as CkKeyType};
use secure_log_pkcs11::token::{Curve, Hash, KeyType, Mechanism, Result, TokenError};

/// DER of the curve's object identifier.
pub(super) fn oid(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        Curve::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
        Curve::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
        Curve::Ed25519 => &[0x06, 0x03, 0x2b, 0x65, 0x70],
        Curve::Ed448 => &[0x06, 0x03, 0x2b, 0x65, 0x71],
    }
}

/// DER of the curve's name as a PrintableString: the other way to write it (PKCS #11 v3.0, §6.3).
pub(super) fn name(curve: Curve) -> Option<&'static [u8]> {
    match curve {
        Curve::Ed25519 => Some(b"\x13\x0cedwards25519"),
        Curve::Ed448 => Some(b"\x13\x0aedwards448"),
        _ => None,
    }
}

/// The identifier of GnuPG's Ed25519, which tokens of before RFC 8410 have.
const GNU_ED25519: &[u8] = &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

/// The curve of CKA_EC_PARAMS.
pub(super) fn curve(params: &[u8]) -> Option<Curve> {
    if params == GNU_ED25519 {
        return Some(Curve::Ed25519);
    }
    Curve::ALL.into_iter().find(|curve| params == oid(*curve) || name(*curve) == Some(params))
}

/// The point in CKA_EC_POINT, with or without its OCTET STRING: the last bytes.
pub(super) fn point(curve: Curve, attribute: &[u8]) -> Result<Vec<u8>> {
    let start = attribute.len().checked_sub(curve.point_len());
    let point = start.and_then(|start| attribute.get(start..));
    point.map(<[u8]>::to_vec).ok_or_else(|| TokenError::Unusable("it has a damaged public key".into()))
}

/// A point as an OCTET STRING.
pub(super) fn octet_string(point: &[u8]) -> Vec<u8> {
    let mut der = vec![0x04];
    match u8::try_from(point.len()) {
        Ok(length @ 0..0x80) => der.push(length),
        // No point is longer than 133 bytes.
        _ => der.extend([0x81, point.len() as u8]),
    }
    der.extend(point);
    der
}

/// A number without leading zeros.
pub(super) fn number(mut bytes: &[u8]) -> Vec<u8> {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes.to_vec()
}

/// Bits of a number.
pub(super) fn bits(number: &[u8]) -> u32 {
    let number = self::number(number);
    let top = number.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(number.len()).unwrap_or(u32::MAX / 8) * 8 - top
}

/// [`KeyUnsuitable`](TokenError::KeyUnsuitable) if keys of this type do not sign so.
pub(super) fn check_fits(mechanism: Mechanism, key: KeyType) -> Result<()> {
    let fits = match (mechanism, key) {
        (Mechanism::EcdsaPrehashed | Mechanism::Ecdsa(_), KeyType::Ec(curve)) => !curve.is_edwards(),
        (Mechanism::Eddsa, KeyType::Ec(curve)) => curve.is_edwards(),
        (Mechanism::RsaPkcs1(_), KeyType::Rsa(_)) => true,
        (
            Mechanism::RsaPss { hash, salt } | Mechanism::RsaPssPrehashed { hash, salt },
            KeyType::Rsa(bits),
        ) => {
            // RFC 8017 §9.1.1
            let need = salt.unwrap_or(hash.digest_len()).checked_add(hash.digest_len() + 2);
            need.is_some_and(|need| need <= bits.saturating_sub(1).div_ceil(8))
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(TokenError::KeyUnsuitable) }
}

/// [`InvalidInput`](TokenError::InvalidInput) if `data` is no digest and has to be one.
pub(super) fn check_data(mechanism: Mechanism, data: &[u8]) -> Result<()> {
    let fits = match mechanism {
        Mechanism::EcdsaPrehashed => (1..=64).contains(&data.len()),
        Mechanism::RsaPssPrehashed { hash, .. } => data.len() == hash.digest_len() as usize,
        _ => true,
    };
    if fits { Ok(()) } else { Err(TokenError::InvalidInput) }
}

/// The mechanism as the library takes it.
pub(super) fn mechanism(mechanism: Mechanism) -> Ck<'static> {
    match mechanism {
        Mechanism::EcdsaPrehashed => Ck::Ecdsa,
        Mechanism::Ecdsa(Hash::Sha256) => Ck::EcdsaSha256,
        Mechanism::Ecdsa(Hash::Sha384) => Ck::EcdsaSha384,
        Mechanism::Ecdsa(Hash::Sha512) => Ck::EcdsaSha512,
        Mechanism::Eddsa => Ck::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
        Mechanism::RsaPkcs1(Hash::Sha256) => Ck::Sha256RsaPkcs,
        Mechanism::RsaPkcs1(Hash::Sha384) => Ck::Sha384RsaPkcs,
        Mechanism::RsaPkcs1(Hash::Sha512) => Ck::Sha512RsaPkcs,
        Mechanism::RsaPss { hash, salt } => match hash {
            Hash::Sha256 => Ck::Sha256RsaPkcsPss(pss(hash, salt)),
            Hash::Sha384 => Ck::Sha384RsaPkcsPss(pss(hash, salt)),
            Hash::Sha512 => Ck::Sha512RsaPkcsPss(pss(hash, salt)),
        },
        Mechanism::RsaPssPrehashed { hash, salt } => Ck::RsaPkcsPss(pss(hash, salt)),
    }
}

fn pss(hash: Hash, salt: Option<u32>) -> PkcsPssParams {
    let (hash_alg, mgf) = match hash {
        Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        Hash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        Hash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    PkcsPssParams { hash_alg, mgf, s_len: u64::from(salt.unwrap_or(hash.digest_len())).into() }
}

/// What a private key is like that signs and is never seen.
pub(super) fn private(label: &str, id: &[u8]) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Label(label.into()),
        Attribute::Id(id.into()),
    ]
}

/// What its public half is like.
pub(super) fn public(label: &str, id: &[u8]) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Label(label.into()),
        Attribute::Id(id.into()),
    ]
}

/// CKK_EC_EDWARDS or CKK_EC.
pub(super) fn ec_key_type(curve: Curve) -> CkKeyType {
    if curve.is_edwards() { CkKeyType::EC_EDWARDS } else { CkKeyType::EC }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_known_by_identifier_and_name() {
        for known in Curve::ALL {
            assert_eq!(curve(oid(known)), Some(known));
            assert!(name(known).is_none_or(|name| curve(name) == Some(known)));
        }
        assert_eq!(curve(GNU_ED25519), Some(Curve::Ed25519));
        assert_eq!(curve(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a]), None);
    }

    #[test]
    fn points_are_read_with_and_without_their_octet_string() {
        for curve in Curve::ALL {
            let raw = vec![7; curve.point_len()];
            assert_eq!(point(curve, &raw).unwrap(), raw);
            let der = octet_string(&raw);
            assert_eq!(der.len(), raw.len() + if raw.len() < 0x80 { 2 } else { 3 });
            assert_eq!(point(curve, &der).unwrap(), raw);
            assert!(point(curve, &raw[1..]).is_err());
        }
    }

    #[test]
    fn numbers_lose_their_leading_zeros() {
        assert_eq!(number(&[0, 0, 1, 0]), [1, 0]);
        assert_eq!((bits(&[0, 0x80, 0]), bits(&[1, 0]), bits(&[])), (16, 9, 0));
    }
}
