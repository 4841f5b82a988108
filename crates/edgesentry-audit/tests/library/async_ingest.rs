//! The service for many tasks: the same checks, one record of a device at a time, devices side by side.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use edgesentry_audit::*;
use futures_lite::future::{block_on, yield_now};

use crate::common::*;

type Service =
    AsyncIngestService<AsyncInMemoryRawDataStore, AsyncInMemoryAuditLedger, AsyncInMemoryOperationLog>;

fn service() -> Service {
    AsyncIngestService::new(
        IntegrityPolicyGate::new(),
        AsyncInMemoryRawDataStore::default(),
        AsyncInMemoryAuditLedger::default(),
        AsyncInMemoryOperationLog::default(),
    )
}

fn is_send<T: Send>(future: T) -> T {
    future
}

#[test]
fn records_are_judged_and_stored_as_by_the_other_service() {
    block_on(async {
        let service = Arc::new(service());
        let records = chain(DEVICE, &key(1), 3);
        let unknown = service.ingest(records[0].clone(), &payload(1), None).await.unwrap_err();
        assert_eq!(unknown, IngestError::UnknownDevice(DEVICE.into()).into());
        service.register_device(DEVICE, key(1).verifying_key()).await.unwrap();
        is_send(service.ingest(records[0].clone(), &payload(1), Some(DEVICE))).await.unwrap();
        let error = service.ingest(records[1].clone(), b"x", None).await.unwrap_err();
        assert!(matches!(error, IngestServiceError::PayloadHashMismatch { sequence: 2, .. }));
        let error = service.ingest(records[0].clone(), &payload(1), None).await.unwrap_err();
        assert!(matches!(error, IngestServiceError::Verify(IngestError::Duplicate { .. })));
        let error = service.ingest(records[1].clone(), &payload(2), Some("lift-02")).await.unwrap_err();
        assert!(matches!(error, IngestServiceError::Verify(IngestError::CertDeviceMismatch { .. })));
        service.ingest(records[1].clone(), &payload(2), None).await.unwrap();
        assert_eq!(service.audit_ledger().records(), &records[..2]);
        assert_eq!(service.raw_data_store().get("lift-01/2.bin"), Some(payload(2)));
        let decisions: Vec<_> = service.operation_log().entries().iter().map(|e| e.decision).collect();
        use IngestDecision::{Accepted, Rejected};
        assert_eq!(decisions, [Rejected, Accepted, Rejected, Rejected, Rejected, Accepted]);

        let id = key_id(&key(1).verifying_key());
        service.change_device(DEVICE, |gate| gate.revoke_key(DEVICE, &id)).await.unwrap();
        let error = service.ingest(records[2].clone(), &payload(3), None).await.unwrap_err();
        assert!(matches!(error, IngestServiceError::Verify(IngestError::KeyRevoked { .. })));
    });
}

#[test]
fn threads_that_send_the_same_records_get_each_one_in_once() {
    let service = Arc::new(service());
    let devices: Vec<_> = (1..=4u8).map(|n| format!("lift-{n:02}")).collect();
    for (n, device) in (1..).zip(&devices) {
        block_on(service.register_device(device.clone(), key(n).verifying_key())).unwrap();
    }
    let accepted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let n = thread % 4;
            let (service, device, accepted) = (&service, &devices[usize::from(n)], &accepted);
            scope.spawn(move || {
                for (record, n) in chain(device, &key(n + 1), 20).into_iter().zip(1..) {
                    // Another thread may be first with this record.
                    match block_on(service.ingest(record, &payload(n), None)) {
                        Ok(()) => drop(accepted.fetch_add(1, Ordering::Relaxed)),
                        Err(IngestServiceError::Verify(IngestError::Duplicate { .. })) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(accepted.load(Ordering::Relaxed), 80);
    let records = service.audit_ledger().records();
    assert_eq!(records.len(), 80);
    for device in &devices {
        let own: Vec<_> = records.iter().filter(|r| r.device_id == *device).cloned().collect();
        assert_eq!(verify_chain(&own), Ok(()));
        assert_eq!(own.len(), 20);
    }
}

/// A ledger that waits until it is let go on.
#[derive(Default)]
struct Slow {
    inner: AsyncInMemoryAuditLedger,
    held: Mutex<Option<String>>,
}

impl AsyncAuditLedger for Slow {
    async fn append(&self, record: &AuditRecord) -> Result<(), StoreError> {
        while self.held.lock().unwrap().as_deref() == Some(&record.device_id) {
            yield_now().await;
        }
        self.inner.append(record).await
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn slow() -> AsyncIngestService<AsyncInMemoryRawDataStore, Slow, AsyncInMemoryOperationLog> {
    let service = AsyncIngestService::new(
        IntegrityPolicyGate::new(),
        AsyncInMemoryRawDataStore::default(),
        Slow::default(),
        AsyncInMemoryOperationLog::default(),
    );
    for (n, device) in [(1, "lift-01"), (2, "lift-02")] {
        block_on(service.register_device(device, key(n).verifying_key())).unwrap();
    }
    service
}

#[test]
fn a_slow_write_of_one_device_holds_up_no_other() {
    let service = slow();
    *service.audit_ledger().held.lock().unwrap() = Some("lift-01".into());
    let (a, b) = (chain("lift-01", &key(1), 2), chain("lift-02", &key(2), 1));
    let (first, second) = (payload(1), payload(2));
    let mut waiting = pin!(service.ingest(a[0].clone(), &first, None));
    assert!(poll(waiting.as_mut()).is_pending());
    // The next record of the same device waits for its turn, and is judged after the first.
    let mut next = pin!(service.ingest(a[1].clone(), &second, None));
    assert!(poll(next.as_mut()).is_pending());
    block_on(service.ingest(b[0].clone(), &first, None)).unwrap();
    assert_eq!(service.audit_ledger().inner.records(), b);
    *service.audit_ledger().held.lock().unwrap() = None;
    block_on(waiting).unwrap();
    block_on(next).unwrap();
    assert_eq!(service.audit_ledger().inner.records().len(), 3);
}

#[test]
fn a_record_whose_future_was_dropped_gets_in_later() {
    let service = slow();
    let record = chain("lift-01", &key(1), 1).remove(0);
    *service.audit_ledger().held.lock().unwrap() = Some("lift-01".into());
    {
        let payload = payload(1);
        let mut dropped = pin!(service.ingest(record.clone(), &payload, None));
        assert!(poll(dropped.as_mut()).is_pending());
    }
    *service.audit_ledger().held.lock().unwrap() = None;
    assert_eq!(service.device("lift-01").unwrap().next_sequence, 1);
    block_on(service.ingest(record.clone(), &payload(1), None)).unwrap();
    assert_eq!(service.audit_ledger().inner.records(), [record]);
}

#[test]
fn a_revocation_waits_for_the_record_that_is_being_stored() {
    let service = slow();
    *service.audit_ledger().held.lock().unwrap() = Some("lift-01".into());
    let records = chain("lift-01", &key(1), 2);
    let payload_1 = payload(1);
    let mut waiting = pin!(service.ingest(records[0].clone(), &payload_1, None));
    assert!(poll(waiting.as_mut()).is_pending());
    let id = key_id(&key(1).verifying_key());
    let mut revoking = pin!(service.change_device("lift-01", |gate| gate.revoke_key("lift-01", &id)));
    assert!(poll(revoking.as_mut()).is_pending());
    *service.audit_ledger().held.lock().unwrap() = None;
    block_on(waiting).unwrap();
    block_on(revoking).unwrap();
    assert!(block_on(service.ingest(records[1].clone(), &payload(2), None)).is_err());
}
