//! Any interleaving over two gates leaves every chain complete.

use edgesentry_audit::gate::Outcome;
use proptest::prelude::*;

use crate::common::*;

#[derive(Debug, Clone)]
enum Step {
    /// A device sends so many records to a gate, and perhaps what it sent before once more.
    Send {
        device: usize,
        gate: usize,
        records: usize,
        again: bool,
    },
    /// Both devices' records in one batch.
    Both {
        gate: usize,
    },
    Rotate {
        device: usize,
        gate: usize,
    },
    Epoch {
        device: usize,
        gate: usize,
    },
    Restart {
        gate: usize,
    },
    Forge {
        device: usize,
        gate: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..2, 0usize..2, 1usize..4, any::<bool>())
            .prop_map(|(device, gate, records, again)| Step::Send { device, gate, records, again }),
        3 => (0usize..2).prop_map(|gate| Step::Both { gate }),
        1 => (0usize..2, 0usize..2).prop_map(|(device, gate)| Step::Rotate { device, gate }),
        1 => (0usize..2, 0usize..2).prop_map(|(device, gate)| Step::Epoch { device, gate }),
        1 => (0usize..2).prop_map(|gate| Step::Restart { gate }),
        2 => (0usize..2, 0usize..2).prop_map(|(device, gate)| Step::Forge { device, gate }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_chain_is_complete(steps in proptest::collection::vec(step(), 1..40)) {
        let store = Shared::new();
        let mut gates = [gate(&store, "a"), gate(&store, "b")];
        let mut devices = [Signer::new("lift", key(1)), Signer::new("crane", key(2))];
        let mut sent = [0u64; 2];
        let mut fresh = 100;
        for device in &devices {
            device.register(&mut gates[0]);
        }
        for step in steps {
            match step {
                Step::Send { device, gate, records, again } => {
                    let mut batch: Vec<_> = (0..records).map(|n| devices[device].sign(&[n as u8])).collect();
                    sent[device] += records as u64;
                    if again {
                        batch.push(batch[0].clone());
                    }
                    let verdicts = gates[gate].submit_batch(&batch).unwrap();
                    for verdict in &verdicts[..records] {
                        prop_assert!(matches!(verdict.outcome, Outcome::Accepted(_)), "{:?}", verdict);
                    }
                    if again {
                        prop_assert_eq!(verdicts[records].already.as_ref(), Some(accepted(&verdicts[0])));
                    }
                    let elsewhere = gates[1 - gate].submit(&batch[0]).unwrap();
                    prop_assert_eq!(reason(&elsewhere), "duplicate");
                    prop_assert_eq!(elsewhere.already.as_ref(), Some(accepted(&verdicts[0])));
                }
                Step::Both { gate } => {
                    let mut batch = Vec::new();
                    for _ in 0..2 {
                        for (n, device) in devices.iter_mut().enumerate() {
                            batch.push(device.sign(b"both"));
                            sent[n] += 1;
                        }
                    }
                    for verdict in gates[gate].submit_batch(&batch).unwrap() {
                        prop_assert!(matches!(verdict.outcome, Outcome::Accepted(_)), "{:?}", verdict);
                    }
                }
                Step::Rotate { device, gate } => {
                    let signer = &mut devices[device];
                    let old = edgesentry_audit::identity::key_id(&signer.key.verifying_key());
                    signer.key = key(fresh);
                    fresh += 1;
                    gates[gate].add_key(&signer.id, &signer.key.verifying_key(), None, None).unwrap();
                    gates[1 - gate].revoke_key(&signer.id, &old).unwrap();
                }
                Step::Epoch { device, gate } => {
                    let signer = &mut devices[device];
                    (signer.next, signer.prev) = (1 + fresh % 3, *blake3::hash(&fresh.to_be_bytes()).as_bytes());
                    fresh += 1;
                    gates[gate].open_epoch(&signer.id, signer.next, &signer.prev).unwrap();
                }
                Step::Restart { gate } => {
                    gates[gate] = crate::common::gate(&store, ["a", "b"][gate]);
                }
                Step::Forge { device, gate } => {
                    let mut forged = devices[device].peek(b"forged");
                    forged.record.timestamp_ms += 1;
                    prop_assert_eq!(reason(&gates[gate].submit(&forged).unwrap()), "invalid signature");
                }
            }
        }
        for (device, sent) in devices.iter().zip(sent) {
            let report = gates[0].audit_device(&device.id).unwrap();
            prop_assert_eq!(report.records, sent);
            prop_assert_eq!(report.device.next_sequence, device.next);
            prop_assert_eq!(report.device.next_prev_record_hash, device.prev);
            let stored = gates[1].get(&device.id).unwrap().unwrap();
            prop_assert_eq!(&report.device, &stored);
        }
        verify(gates[0].log_mut());
    }
}
