//! What the text formats of C2SP have in common: decimal numbers, hashes, key ids.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::model::Hash;

/// An ASCII decimal without sign and leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

/// Standard base64 with padding (RFC 4648 §4), canonical.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Base64 of a hash.
pub(crate) fn hash(text: &str) -> Option<Hash> {
    unbase64(text)?.try_into().ok()
}

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// A key id as verifier keys write it.
pub(crate) fn hex4(id: &[u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_000", "0x1", "١", "18446744073709551616"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn hashes_have_one_spelling() {
        let text = base64(&[7; 32]);
        assert_eq!(hash(&text), Some([7; 32]));
        let loose_bits = text.replace("Bwc=", "Bwd=");
        assert_ne!(loose_bits, text);
        for bad in
            ["", "AAAA", text.trim_end_matches('='), &loose_bits, &format!("{text}\r"), &base64(&[7; 33])]
        {
            assert_eq!(hash(bad), None, "{bad:?}");
        }
        assert_eq!(hex4(&[0, 1, 0xab, 0xff]), "0001abff");
    }
}
