//! What the tests of the log share: a fixed environment, a signer with a fixed key, some events.

#![allow(dead_code, reason = "each test uses its part")]

use ed25519_dalek::{Signer, SigningKey};
use secure_log::model::{Event, Severity};
use secure_log::signer::{CheckpointSigner, KeyError, PublicKey};
use secure_log::store::{OpenStore, SecureLogStore};
use secure_log::{Environment, NativeSecureLog, SecureLog};

/// A clock that ticks a second a call, and a counter for randomness: the same bytes every time.
pub struct Fixed(u64);

impl Environment for Fixed {
    fn now_ms(&mut self) -> u64 {
        self.0 += 1000;
        1_800_000_000_000 + self.0
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = (i as u8).wrapping_mul(31).wrapping_add(self.0 as u8);
        }
    }
}

pub fn fixed() -> Fixed {
    Fixed(0)
}

pub type Log<S> = NativeSecureLog<S, Fixed>;

pub fn open<S: OpenStore>(config: &str) -> Log<S> {
    NativeSecureLog::new(S::open(config).unwrap(), fixed(), "test 1").unwrap()
}

/// Keys made from the first byte of their name; `missing` is not there.
pub struct TestSigner;

fn signing_key(identity: &str) -> SigningKey {
    SigningKey::from_bytes(&[identity.as_bytes()[0]; 32])
}

impl CheckpointSigner for TestSigner {
    fn public_key(&mut self, identity: &str) -> Result<PublicKey, KeyError> {
        if identity == "missing" {
            return Err(KeyError::KeyNotFound("no key `missing`".into()));
        }
        Ok(PublicKey::from_ed25519_raw(signing_key(identity).verifying_key().as_bytes()))
    }

    fn sign(&mut self, identity: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(signing_key(identity).sign(message).to_bytes().to_vec())
    }
}

pub fn event(stream: &str, n: u64) -> Event {
    Event::new(
        stream,
        "door-opened",
        Severity::Notice,
        "controller-7",
        format!("payload number {n} of {stream}"),
    )
}

/// Appends `n` events to a stream, ten a batch.
pub fn fill<S: SecureLogStore>(log: &mut Log<S>, stream: &str, n: u64) {
    let mut i = 0;
    while i < n {
        let to = n.min(i + 500);
        log.append_batch((i..to).map(|i| event(stream, i)).collect(), &[]).unwrap();
        i = to;
    }
}

/// Two streams with segments, more entries after them, everything up to the segments signed.
pub fn sample<S: SecureLogStore>(log: &mut Log<S>) -> Vec<String> {
    log.set_origin("example.com/audit").unwrap();
    log.create_stream("doors", secure_log::model::Tier::Public, Some("door events")).unwrap();
    fill(log, "doors", 7);
    fill(log, "alarms", 3);
    let mut with_id = event("doors", 99);
    with_id.id = Some("event-99".into());
    with_id.payload_encoding = Some("text/plain".into());
    log.append_batch(vec![with_id], &[]).unwrap();
    let mut elsewhere = event("alarms", 98);
    elsewhere.object_ref = Some("s3://bucket/98".into());
    log.append_batch(vec![elsewhere], &[]).unwrap();
    let segments = log.close_segments().unwrap();
    log.sign_segment(&mut TestSigner, "key", segments[1].segment_id).unwrap();
    fill(log, "doors", 4);
    vec![log.verifier_key(&mut TestSigner, "key").unwrap()]
}

/// Everything that verification looks at. The first thing that does not hold is returned.
pub fn verify_all<S: SecureLogStore>(log: &mut Log<S>, trusted: &[String]) -> secure_log::Result<()> {
    let mut total = 0;
    for stream in log.list_streams()? {
        let Some(head) = stream.head else { continue };
        log.verify_chain(&stream.stream_id, 1, head.seqno)?;
        log.verify_segments(&stream.stream_id)?;
        if stream.stream_id != "_log" {
            total += head.seqno;
        }
    }
    let report = log.verify_checkpoint_chain(trusted)?;
    assert_eq!(report.entries_covered + report.entries_uncovered, total);
    Ok(())
}
