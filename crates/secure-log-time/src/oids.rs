//! Object identifiers.

use der::asn1::ObjectIdentifier as Oid;

const fn oid(text: &str) -> Oid {
    Oid::new_unwrap(text)
}

/// RFC 5652.
pub const SIGNED_DATA: Oid = oid("1.2.840.113549.1.7.2");
pub const CONTENT_TYPE: Oid = oid("1.2.840.113549.1.9.3");
pub const MESSAGE_DIGEST: Oid = oid("1.2.840.113549.1.9.4");
/// RFC 3161, id-ct-TSTInfo.
pub const TST_INFO: Oid = oid("1.2.840.113549.1.9.16.1.4");
/// RFC 2634 and RFC 5035.
pub const SIGNING_CERTIFICATE: Oid = oid("1.2.840.113549.1.9.16.2.12");
pub const SIGNING_CERTIFICATE_V2: Oid = oid("1.2.840.113549.1.9.16.2.47");

pub const SHA1: Oid = oid("1.3.14.3.2.26");
pub const SHA256: Oid = oid("2.16.840.1.101.3.4.2.1");
pub const SHA384: Oid = oid("2.16.840.1.101.3.4.2.2");
pub const SHA512: Oid = oid("2.16.840.1.101.3.4.2.3");

pub const RSA: Oid = oid("1.2.840.113549.1.1.1");
pub const MGF1: Oid = oid("1.2.840.113549.1.1.8");
pub const RSA_PSS: Oid = oid("1.2.840.113549.1.1.10");
pub const RSA_SHA256: Oid = oid("1.2.840.113549.1.1.11");
pub const RSA_SHA384: Oid = oid("1.2.840.113549.1.1.12");
pub const RSA_SHA512: Oid = oid("1.2.840.113549.1.1.13");
pub const EC: Oid = oid("1.2.840.10045.2.1");
pub const P256: Oid = oid("1.2.840.10045.3.1.7");
pub const P384: Oid = oid("1.3.132.0.34");
pub const ECDSA_SHA256: Oid = oid("1.2.840.10045.4.3.2");
pub const ECDSA_SHA384: Oid = oid("1.2.840.10045.4.3.3");
pub const ECDSA_SHA512: Oid = oid("1.2.840.10045.4.3.4");
pub const ED25519: Oid = oid("1.3.101.112");

pub const SUBJECT_KEY_ID: Oid = oid("2.5.29.14");
pub const KEY_USAGE: Oid = oid("2.5.29.15");
pub const SUBJECT_ALT_NAME: Oid = oid("2.5.29.17");
pub const BASIC_CONSTRAINTS: Oid = oid("2.5.29.19");
pub const REASON_CODE: Oid = oid("2.5.29.21");
pub const CERTIFICATE_POLICIES: Oid = oid("2.5.29.32");
pub const EXTENDED_KEY_USAGE: Oid = oid("2.5.29.37");
pub const TIME_STAMPING: Oid = oid("1.3.6.1.5.5.7.3.8");
pub const ANY_EXTENDED_KEY_USAGE: Oid = oid("2.5.29.37.0");
