//! Witnesses: real ones ([`Witness`]), without a network in between.

use secure_log::SecureLog;
use secure_log::cosignature::CosignerKey;
use secure_log::error::Error;
use secure_log::model::{Publication, WitnessAnswer};
use secure_log::note::{Note, VerifierKey};
use secure_log::policy::Policy;
use secure_log::proof_file;
use secure_log::store::{ObjectKind, ObjectWrite, SecureLogStore};
use secure_log::witness::{AddCheckpoint, Refusal, Response, Stored, WatchedLog, Witness};

use crate::parties::{cosign, cosigner, seed};
use crate::{Log, ORIGIN, grow, key, open, trusted};

struct Party {
    name: &'static str,
    seed: u8,
    witness: Witness,
    stored: Option<Stored>,
}

impl Party {
    fn new(name: &'static str, seed_byte: u8) -> Self {
        let log = VerifierKey::new(ORIGIN, key().public()).unwrap();
        let logs = vec![WatchedLog::new(ORIGIN, vec![log]).unwrap()];
        let witness = Witness::new(cosigner(name, seed_byte), logs).unwrap();
        Self { name, seed: seed_byte, witness, stored: None }
    }

    fn keys(&self) -> Vec<String> {
        vec![self.key().to_string()]
    }

    fn key(&self) -> &CosignerKey {
        self.witness.key()
    }

    fn answer(&mut self, request: &[u8]) -> Response {
        let request = AddCheckpoint::parse(request).unwrap();
        let decision = self
            .witness
            .decide(self.stored.as_ref(), &request, 1_900_000_000, &mut seed(self.seed), self.name)
            .unwrap();
        self.stored = decision.update.or(self.stored.take());
        decision.response
    }

    fn submit(&mut self, log: &mut Log, checkpoint: u64, old_size: u64) -> WitnessAnswer {
        let request = log.witness_request(checkpoint, old_size).unwrap();
        let response = self.answer(&request);
        log.accept_witness(checkpoint, &request, &self.keys(), response.status, response.body.as_bytes())
            .unwrap()
    }
}

fn policy(parties: &[&Party], quorum: &str) -> Vec<u8> {
    let log = VerifierKey::new(ORIGIN, key().public()).unwrap();
    let mut text = format!("log {log}\n");
    for party in parties {
        text += &format!("witness {} {}\n", party.name, party.key());
    }
    let names: Vec<_> = parties.iter().map(|party| party.name).collect();
    text += &format!("group all {quorum} {}\nquorum all\n", names.join(" "));
    text.into_bytes()
}

fn numbers(publication: &Publication) -> (u64, Option<u64>) {
    (publication.newest, publication.published)
}

#[test]
fn a_witness_follows_the_log_as_it_grows() {
    let mut log = open(":memory:");
    let mut w = Party::new("w1", 1);
    let mut size = 0;
    for n in 1..=5 {
        let checkpoint = grow(&mut log, 3 * n);
        assert_eq!(w.submit(&mut log, checkpoint.number, size), WitnessAnswer::Cosigned(1));
        size = checkpoint.size;
        assert_eq!(log.cosigned_size(&w.keys()).unwrap(), size);
        let note = Note::parse(&log.cosigned_note(checkpoint.number).unwrap()).unwrap();
        assert_eq!(note.cosignatures([w.key()]).unwrap().cosignatures.len(), 1);
        assert!(note.to_text().starts_with(&checkpoint.note), "the log's own note comes first, unchanged");
    }
    assert_eq!(w.submit(&mut log, 5, size), WitnessAnswer::Cosigned(0), "the first one by a key is kept");
    let trusted = trusted(&mut log);
    assert_eq!(log.verify_checkpoint_chain(&trusted).unwrap().checkpoints, 5);
}

#[test]
fn a_conflict_names_the_size_to_prove_from() {
    let mut log = open(":memory:");
    let mut w = Party::new("w1", 1);
    let first = grow(&mut log, 3);
    w.submit(&mut log, 1, 0);
    grow(&mut log, 3);
    assert_eq!(w.submit(&mut log, 2, 0), WitnessAnswer::Conflict(first.size));
    assert_eq!(w.submit(&mut log, 2, first.size), WitnessAnswer::Cosigned(1));
}

#[test]
fn a_rolled_back_log_is_told_that_the_witness_is_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut log = open(&path("a.db"));
    let mut w = Party::new("w1", 1);
    let first = grow(&mut log, 3);
    w.submit(&mut log, 1, 0);
    log.backup(&path("old.db")).unwrap();
    let second = grow(&mut log, 3);
    w.submit(&mut log, 2, first.size);
    let mut old = open(&path("old.db"));
    let answer = w.submit(&mut old, 1, first.size);
    assert_eq!(answer, WitnessAnswer::Refused(409, Refusal::Behind { size: second.size }));
    assert!(matches!(old.check_against(&second.note), Err(Error::RolledBack(_))));
    // It goes on as if nothing had happened: a fork.
    grow(&mut old, 1);
    let fork = grow(&mut old, 2);
    assert!(fork.size > second.size);
    let answer = w.submit(&mut old, fork.number, second.size);
    assert!(matches!(answer, WitnessAnswer::Refused(422, Refusal::Inconsistent(_))), "{answer:?}");
    assert!(matches!(old.check_against(&second.note), Err(Error::RolledBack(_))));
}

#[test]
fn a_checkpoint_is_published_when_the_quorum_has_cosigned_it() {
    let mut log = open(":memory:");
    let mut parties = [Party::new("w1", 1), Party::new("w2", 2), Party::new("w3", 3)];
    let policy = policy(&parties.each_ref(), "2");
    assert_eq!(numbers(&log.publication(&policy).unwrap()), (0, None));
    let first = grow(&mut log, 3);
    let none = log.publication(&policy).unwrap();
    assert_eq!((numbers(&none), none.absent.len()), ((1, None), 3));
    assert!(none.lacks.unwrap().contains("2 more of all"));
    parties[0].submit(&mut log, 1, 0);
    let one = log.publication(&policy).unwrap();
    assert_eq!((numbers(&one), one.cosigned[0].name.as_str()), ((1, None), "w1"));
    let missing = log.build_proof_file("doors", 1, Some(&policy));
    assert!(matches!(missing, Err(Error::NotFound(m)) if m.what == "checkpoint"));
    parties[2].submit(&mut log, 1, 0);
    let two = log.publication(&policy).unwrap();
    assert_eq!((numbers(&two), two.lacks, &two.absent[..]), ((1, Some(1)), None, &["w2".to_owned()][..]));
    // Degraded: the newest lacks cosignatures, the one before is still published.
    grow(&mut log, 3);
    parties[0].submit(&mut log, 2, first.size);
    let degraded = log.publication(&policy).unwrap();
    assert_eq!(numbers(&degraded), (2, Some(1)));
    assert!(degraded.lacks.is_some());
    let file = log.build_proof_file("doors", 2, Some(&policy)).unwrap();
    let proven = proof_file::verify(file.as_bytes(), &[], Some(&Policy::parse(&policy).unwrap())).unwrap();
    assert_eq!((proven.header.seqno, proven.checkpoint.size), (2, first.size));
    assert!(matches!(log.build_proof_file("doors", 5, Some(&policy)), Err(Error::NotFound(_))));
    let newest = log.build_proof_file("doors", 5, None).unwrap();
    let trusted = trusted(&mut log);
    assert!(proof_file::verify(newest.as_bytes(), &trusted, None).is_ok());
    let refused = proof_file::verify(newest.as_bytes(), &trusted, Some(&Policy::parse(&policy).unwrap()));
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}

#[test]
fn a_forged_line_in_an_answer_is_never_kept() {
    let mut log = open(":memory:");
    let w = Party::new("w1", 1);
    let checkpoint = grow(&mut log, 3);
    let text = Note::parse(&checkpoint.note).unwrap().text;
    let request = log.witness_request(1, 0).unwrap();
    let good = cosign("w1", 1, &text, 1_900_000_000);
    let mut forged = good.clone();
    forged.signature[3] ^= 1;
    let other = cosign("w1", 9, &text, 1_900_000_000);
    let elsewhere = cosign("w1", 1, &text.replace("audit", "other"), 1_900_000_000);
    for body in [
        forged.to_line(),
        format!("{}{}", good.to_line(), forged.to_line()),
        other.to_line(),
        elsewhere.to_line(),
        String::new(),
        format!("x\n\n{}", good.to_line()),
    ] {
        let answer = log.accept_witness(1, &request, &w.keys(), 200, body.as_bytes()).unwrap();
        assert!(
            matches!(answer, WitnessAnswer::Refused(200, Refusal::NotCosigned(_))),
            "{body:?}: {answer:?}"
        );
    }
    assert_eq!(log.cosigned_note(1).unwrap(), checkpoint.note);
    // Lines by keys that nobody asked about are dropped.
    let both = format!("{}{}", other.to_line(), good.to_line());
    let answer = log.accept_witness(1, &request, &w.keys(), 200, both.as_bytes()).unwrap();
    assert_eq!(answer, WitnessAnswer::Cosigned(1));
    assert_eq!(log.cosigned_note(1).unwrap(), checkpoint.note + &good.to_line());
}

#[test]
fn an_answer_belongs_to_its_request() {
    let mut log = open(":memory:");
    let mut w = Party::new("w1", 1);
    let first = grow(&mut log, 3);
    grow(&mut log, 3);
    let request = log.witness_request(1, 0).unwrap();
    let response = w.answer(&request);
    let wrong = log.accept_witness(2, &request, &w.keys(), 200, response.body.as_bytes());
    assert!(matches!(wrong, Err(Error::Invalid(i)) if i.field == "request"));
    assert!(
        matches!(log.witness_request(1, first.size + 1), Err(Error::Invalid(i)) if i.field == "old-size")
    );
    assert!(matches!(log.witness_request(3, 0), Err(Error::NotFound(_))));
    assert!(
        matches!(log.accept_witness(1, &request, &[], 200, b""), Err(Error::Invalid(i)) if i.field == "keys")
    );
}

#[test]
fn receipts_are_create_only_and_a_changed_one_is_corrupt() {
    let mut log = open(":memory:");
    let checkpoint = grow(&mut log, 3);
    let text = Note::parse(&checkpoint.note).unwrap().text;
    let id: String = cosigner("w1", 1).id().iter().map(|b| format!("{b:02x}")).collect();
    let receipt = |number: u64, value: &str| ObjectWrite {
        kind: ObjectKind::Receipt,
        key: format!("cosignature\t{number:020}\tw1\t{id}"),
        value: value.as_bytes().to_vec(),
        expected: None,
    };
    // Another witness's line under this witness's name, and no line at all.
    for value in [cosign("w2", 2, &text, 5).to_line(), "junk".into(), String::new()] {
        let mut log = open(":memory:");
        grow(&mut log, 3);
        log.store_mut().append(&[], &[], &[receipt(1, &value)]).unwrap();
        assert!(matches!(log.cosigned_note(1), Err(Error::Corrupt(_))), "{value:?}");
        let trusted = trusted(&mut log);
        assert!(matches!(log.verify_checkpoint_chain(&trusted), Err(Error::Corrupt(_))), "{value:?}");
    }
    log.store_mut().append(&[], &[], &[receipt(2, &cosign("w1", 1, &text, 5).to_line())]).unwrap();
    let trusted = trusted(&mut log);
    assert!(matches!(log.verify_checkpoint_chain(&trusted), Err(Error::Corrupt(_))), "no checkpoint 2");
    assert!(log.store_mut().append(&[], &[], &[receipt(2, "x")]).is_err());
}

#[test]
fn several_keys_sign_one_checkpoint_while_they_are_rotated() {
    struct Two;
    impl secure_log::signer::CheckpointSigner for Two {
        fn public_key(
            &mut self,
            identity: &str,
        ) -> Result<secure_log::signer::PublicKey, secure_log::signer::KeyError> {
            Ok(seed(identity.as_bytes()[0]).public())
        }
        fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, secure_log::signer::KeyError> {
            seed(identity.as_bytes()[0]).sign(identity, message)
        }
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut log = open(":memory:");
    log.append(secure_log::model::Event::new("a", "t", secure_log::model::Severity::Notice, "p", "1"))
        .unwrap();
    let id = log.close_segment("a").unwrap().segment_id;
    for bad in [names(&[]), names(&["old", "old"]), names(&["a"; 17])] {
        let refused = log.sign_segment_with(&mut Two, &bad, id);
        assert!(matches!(refused, Err(Error::Invalid(i)) if i.field == "identities"));
    }
    let old = log.sign_segment_with(&mut Two, &names(&["old"]), id).unwrap();
    let both = log.sign_segment_with(&mut Two, &names(&["old", "new"]), id).unwrap();
    assert_eq!((old.number, both.number, old.size, old.root), (1, 2, both.size, both.root));
    assert_eq!(Note::parse(&both.note).unwrap().signatures.len(), 2);
    assert_eq!(log.sign_segment_with(&mut Two, &names(&["new"]), id).unwrap(), both, "it signed already");
    for identity in ["old", "new"] {
        let key = log.verifier_key(&mut Two, identity).unwrap();
        let file = log.build_proof_file("a", 1, None).unwrap();
        let proven = proof_file::verify(file.as_bytes(), &[key], None).unwrap();
        assert_eq!((proven.signatures.trusted, proven.signatures.unknown), (1, 1), "{identity}");
    }
    let old_key = vec![log.verifier_key(&mut Two, "old").unwrap()];
    assert_eq!(log.verify_checkpoint_chain(&old_key).unwrap().signatures_verified, 2);
}
