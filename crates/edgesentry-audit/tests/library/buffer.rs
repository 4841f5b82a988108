//! Records that wait: kept in order, sent in order, forgotten when they arrived.

use edgesentry_audit::buffer::SqliteBufferStore;
use edgesentry_audit::*;
use futures_lite::future::block_on;

use crate::common::*;

fn fill<S: BufferStore>(buffer: &mut OfflineBuffer<S>, records: &[AuditRecord]) {
    for record in records {
        buffer.push(record.clone(), payload(record.sequence)).unwrap();
    }
}

/// What holds of every store.
fn conforms<S: BufferStore>(make: impl Fn() -> S) {
    let records = chain(DEVICE, &key(1), 150);

    // Replayed in order, all of them.
    let mut buffer = OfflineBuffer::new(make());
    assert!(buffer.is_empty());
    assert_eq!(buffer.last(DEVICE), Ok(None));
    fill(&mut buffer, &records);
    assert_eq!(buffer.len(), 150);
    let mut service = service_with_device();
    let report = buffer.flush(&mut service).unwrap();
    assert_eq!(report, FlushReport { accepted: 150, duplicates: 0, remaining: 0 });
    assert_eq!(service.audit_ledger().records(), records);
    assert!(buffer.is_empty());
    assert_eq!(buffer.last(DEVICE), Ok(Some(ChainAnchor::after(&records[149]))));
    assert_eq!(buffer.flush(&mut service), Ok(FlushReport::default()));

    // What had arrived counts as delivered.
    let mut buffer = OfflineBuffer::new(make());
    let mut service = service_with_device();
    for record in &records[..70] {
        service.ingest(record.clone(), &payload(record.sequence), None).unwrap();
    }
    fill(&mut buffer, &records);
    let report = buffer.flush(&mut service).unwrap();
    assert_eq!(report, FlushReport { accepted: 150, duplicates: 70, remaining: 0 });
    assert_eq!(service.audit_ledger().records(), records);

    // It stops at the first refusal and keeps the rest, that one included.
    let mut buffer = OfflineBuffer::new(make());
    let mut tampered = records.clone();
    tampered[99].timestamp_ms += 1;
    fill(&mut buffer, &tampered);
    let mut service = service_with_device();
    for accepted in [99, 0] {
        let report = FlushReport { accepted, duplicates: 0, remaining: 51 };
        let error = buffer.flush(&mut service).unwrap_err();
        let refusal = IngestServiceError::from(IngestError::InvalidSignature(DEVICE.into()));
        assert_eq!(
            error,
            FlushError::Refused { device_id: DEVICE.into(), sequence: 100, error: Box::new(refusal), report }
        );
        assert_eq!(
            error.to_string(),
            format!(
                "record 100 of device \"lift-01\" did not arrive: invalid signature for device=lift-01 ({accepted} sent, 51 waiting)"
            )
        );
        assert_eq!(buffer.len(), 51);
    }
    assert_eq!(service.audit_ledger().records(), &records[..99]);

    // Another record of an accepted number is no duplicate.
    let mut buffer = OfflineBuffer::new(make());
    let other = build_signed_record(DEVICE, 5, START_MS, b"other", [0; 32], "other.bin", &key(1));
    buffer.push(other, b"other".to_vec()).unwrap();
    let error = buffer.flush(&mut service).unwrap_err();
    assert!(matches!(&error, FlushError::Refused { sequence: 5, .. }), "{error}");
    assert_eq!(buffer.len(), 1);

    // By whatever sends, also awaited.
    let mut buffer = OfflineBuffer::new(make());
    fill(&mut buffer, &records);
    let mut sent = Vec::new();
    let result = buffer.flush_with(|record, bytes| {
        assert_eq!(bytes, payload(record.sequence));
        if sent.len() == 80 {
            return Err("no connection");
        }
        sent.push(record.clone());
        Ok(Delivered::Accepted)
    });
    assert!(matches!(result, Err(FlushError::Refused { error, .. }) if *error == "no connection"));
    assert_eq!(buffer.len(), 70);
    let report = block_on(buffer.flush_async(|record, _| {
        sent.push(record);
        async { Ok::<_, ()>(Delivered::Duplicate) }
    }));
    assert_eq!(report, Ok(FlushReport { accepted: 70, duplicates: 70, remaining: 0 }));
    assert_eq!(sent, records);
}

#[test]
fn the_buffer_in_memory_does_all_of_it() {
    conforms(InMemoryBufferStore::new);
}

#[test]
fn the_buffer_in_a_file_does_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    conforms(|| {
        number.set(number.get() + 1);
        SqliteBufferStore::open(folder.path().join(format!("{}.buffer", number.get()))).unwrap()
    });
}

#[test]
fn records_of_several_devices_wait_in_one_buffer() {
    let mut buffer = OfflineBuffer::new(InMemoryBufferStore::default());
    let (a, b) = (chain("lift-01", &key(1), 2), chain("lift-02", &key(2), 2));
    fill(&mut buffer, &[a[0].clone(), b[0].clone(), b[1].clone(), a[1].clone()]);
    let mut service = service_with_device();
    service.register_device("lift-02", key(2).verifying_key()).unwrap();
    assert_eq!(buffer.flush(&mut service).unwrap().accepted, 4);
    assert_eq!(buffer.last("lift-02"), Ok(Some(ChainAnchor::after(&b[1]))));
}

#[test]
fn a_file_is_opened_again_with_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device.buffer");
    let mut records = chain_v1(DEVICE, &key(1), 2);
    let mut signer = ChainSigner::resume(DEVICE, key(1), ChainAnchor::after(&records[1]));
    records.push(signer.sign(START_MS, &payload(3), "3.bin"));
    let mut buffer = OfflineBuffer::new(SqliteBufferStore::open(&path).unwrap());
    fill(&mut buffer, &records);
    drop(buffer);

    let mut buffer = OfflineBuffer::new(SqliteBufferStore::open(&path).unwrap());
    assert_eq!(buffer.len(), 3);
    assert_eq!(buffer.last(DEVICE), Ok(Some(ChainAnchor::after(&records[2]))));
    let mut service = service_with_device();
    service.policy_mut().allow_versions(DEVICE, &[1, 2]).unwrap();
    assert_eq!(buffer.flush(&mut service).unwrap().accepted, 3);
    assert_eq!(service.audit_ledger().records(), records);
    drop(buffer);
    let mut buffer = OfflineBuffer::new(SqliteBufferStore::open(&path).unwrap());
    assert!(buffer.is_empty());
    assert_eq!(buffer.last(DEVICE), Ok(Some(ChainAnchor::after(&records[2]))));
}

#[test]
fn one_process_has_the_file_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device.buffer");
    let first = SqliteBufferStore::open(&path).unwrap();
    let error = SqliteBufferStore::open(&path).unwrap_err();
    assert!(matches!(error, BufferError::Busy(_)), "{error}");
    drop(first);
    assert!(SqliteBufferStore::open(&path).is_ok());
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteBufferStore::open(folder.path().join("device.buffer")).unwrap();
    let record = chain(DEVICE, &key(1), 1).remove(0);
    store.push(&BufferedEntry { record, payload: payload(1) }).unwrap();
    let modes: Vec<u32> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert!(modes.len() >= 2 && modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
}

#[test]
fn a_file_that_cannot_be_made_is_told_by_its_path() {
    let error = SqliteBufferStore::open("/no/such/folder/device.buffer").unwrap_err();
    assert!(error.to_string().contains("/no/such/folder/device.buffer"), "{error}");
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    let content = "no database at all\n".repeat(100);
    std::fs::write(&text, &content).unwrap();
    let error = SqliteBufferStore::open(&text).unwrap_err();
    assert!(matches!(error, BufferError::NotABuffer(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&text).unwrap(), content);

    let other = folder.path().join("other");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let error = SqliteBufferStore::open(&other).unwrap_err();
    assert_eq!(error.to_string(), "not a buffer of this version: it is another database");

    let later = folder.path().join("later");
    drop(SqliteBufferStore::open(&later).unwrap());
    rusqlite::Connection::open(&later).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let error = SqliteBufferStore::open(&later).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a buffer of this version: it is of version 2, and this program knows 1"
    );
}

#[test]
fn a_damaged_entry_is_told_and_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device.buffer");
    let mut buffer = OfflineBuffer::new(SqliteBufferStore::open(&path).unwrap());
    fill(&mut buffer, &chain(DEVICE, &key(1), 2));
    drop(buffer);
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("UPDATE entries SET record = x'00' WHERE number = 1", [])
        .unwrap();
    let mut buffer = OfflineBuffer::new(SqliteBufferStore::open(&path).unwrap());
    let error = buffer.flush(&mut service_with_device()).unwrap_err();
    assert!(matches!(&error, FlushError::Buffer(BufferError::Corrupt { number: 1, .. })), "{error}");
    assert_eq!(buffer.len(), 2);
}
