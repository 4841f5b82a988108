//! Sealing, rotation, erasure and retention, over a real store and the software keystore.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use secure_log::envelope::{Envelope, EnvelopeError};
use secure_log::error::KeyProblem;
use secure_log::export::ExportVerifier;
use secure_log::header::{HeaderRef, entry_hash};
use secure_log::import::Importer;
use secure_log::model::*;
use secure_log::sealing::{NONCE_LEN, TAG_LEN};
use secure_log::store::*;
use secure_log::{Environment, Error, NativeSecureLog, Result, SecureLog, proof};
use secure_log_keystore::{Config, SoftwareKeystore};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::common::{TestSigner, event};
use crate::{FILE, Store};

const DAY: u64 = 86_400_000;

/// Real randomness, and a clock that tests set.
#[derive(Clone)]
struct World(Arc<AtomicU64>);

impl World {
    fn later(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Environment for World {
    fn now_ms(&mut self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }
}

/// One store that several logs use, and that can be told to fail when payloads are erased.
#[derive(Clone)]
struct Shared {
    store: Arc<Mutex<Store>>,
    erase: fn(&str) -> Result<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}

impl SecureLogStore for Shared {
    fn append(
        &mut self,
        appends: &[StreamAppend],
        expect: &[StreamHead],
        objects: &[ObjectWrite],
    ) -> Result<()> {
        self.lock().append(appends, expect, objects)
    }
    fn head(&mut self, stream_id: &str) -> Result<Option<StreamHead>> {
        self.lock().head(stream_id)
    }
    fn read_rows(&mut self, stream_id: &str, from: u64, limit: u32, payloads: bool) -> Result<Vec<Row>> {
        self.lock().read_rows(stream_id, from, limit, payloads)
    }
    fn find_id(&mut self, stream_id: &str, id: &str) -> Result<Option<u64>> {
        self.lock().find_id(stream_id, id)
    }
    fn list_heads(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<StreamHead>> {
        self.lock().list_heads(after, limit)
    }
    fn query(&mut self, filter: &QueryFilter, cursor: Option<&str>, limit: u32) -> Result<FoundPage> {
        self.lock().query(filter, cursor, limit)
    }
    fn read_object(&mut self, kind: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
        self.lock().read_object(kind, key)
    }
    fn list_objects(
        &mut self,
        kind: ObjectKind,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Object>> {
        self.lock().list_objects(kind, prefix, after, limit)
    }
    fn last_object(&mut self, kind: ObjectKind, prefix: &str) -> Result<Option<Object>> {
        self.lock().last_object(kind, prefix)
    }
    fn write_tiles(&mut self, stream_id: &str, tiles: &[Tile]) -> Result<()> {
        self.lock().write_tiles(stream_id, tiles)
    }
    fn read_tile(&mut self, stream_id: &str, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        self.lock().read_tile(stream_id, level, index)
    }
    fn erase_payloads(&mut self, stream_id: &str, from: u64, to: u64) -> Result<u64> {
        (self.erase)(stream_id)?;
        self.lock().erase_payloads(stream_id, from, to)
    }
    fn backup(&mut self, config: &str) -> Result<()> {
        self.lock().backup(config)
    }
    fn close(self) -> Result<()> {
        let store = Arc::into_inner(self.store).ok_or_else(|| Error::Busy("it is still shared".into()))?;
        store.into_inner().unwrap().close()
    }
}

/// The software keystore, used by several logs, which can be told to fail.
#[derive(Clone)]
struct Keys {
    keystore: Arc<Mutex<SoftwareKeystore>>,
    /// Wraps that are still done.
    wraps: Arc<AtomicU64>,
    destroy: fn(&mut SoftwareKeystore, &str) -> Result<(), EnvelopeError>,
}

impl Envelope for Keys {
    fn wrap(&mut self, name: &str, key: &[u8], context: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let left = self.wraps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map_err(|_| EnvelopeError::Unavailable("it was interrupted".into()))?;
        self.keystore.lock().unwrap().wrap(name, key, context)
    }

    fn unwrap(
        &mut self,
        name: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        self.keystore.lock().unwrap().unwrap(name, wrapped, context)
    }

    fn destroy(&mut self, name: &str) -> Result<(), EnvelopeError> {
        (self.destroy)(&mut self.keystore.lock().unwrap(), name)
    }
}

type TheLog = NativeSecureLog<Shared, World>;

/// A store and a keystore in a directory, and a clock.
struct Site {
    directory: TempDir,
    shared: Option<Shared>,
    keys: Keys,
    world: World,
}

fn keystore(directory: &Path) -> SoftwareKeystore {
    let mut config = Config::new(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()));
    let keys = directory.join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    config.directory = Some(keys);
    config.generate = true;
    config.notice = Box::new(|_| {});
    SoftwareKeystore::new(config)
}

fn open_store(directory: &Path) -> Store {
    Store::open(directory.join(FILE).to_str().unwrap()).unwrap()
}

impl Site {
    fn new() -> Self {
        Self::in_directory(tempfile::tempdir().unwrap())
    }

    fn in_directory(directory: TempDir) -> Self {
        let keys = Keys {
            keystore: Arc::new(Mutex::new(keystore(directory.path()))),
            wraps: Arc::new(AtomicU64::new(u64::MAX / 2)),
            destroy: |keystore, name| keystore.destroy(name),
        };
        let store = Arc::new(Mutex::new(open_store(directory.path())));
        let shared = Some(Shared { store, erase: |_| Ok(()) });
        Self { directory, shared, keys, world: World(Arc::new(AtomicU64::new(1_800_000_000_000))) }
    }

    /// A log that another program could have opened: it remembers nothing.
    fn log(&self) -> TheLog {
        self.keyless().with_envelope(self.keys.clone())
    }

    fn keyless(&self) -> TheLog {
        NativeSecureLog::new(self.shared.clone().unwrap(), self.world.clone(), "test 1").unwrap()
    }

    fn destroy_key(&self, name: &str) {
        self.keys.keystore.lock().unwrap().destroy(name).unwrap();
    }

    /// Every byte of every file, keys left out.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        fn walk(path: &Path, out: &mut Vec<(String, Vec<u8>)>) {
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => walk(&path, out),
                    false => out.push((path.display().to_string(), std::fs::read(&path).unwrap())),
                }
            }
        }
        let mut out = Vec::new();
        walk(self.directory.path(), &mut out);
        out
    }
}

fn options(tier: Tier, domain: &str) -> StreamOptions {
    StreamOptions { erasure_domain: Some(domain.into()), ..StreamOptions::new(tier) }
}

/// A stream of each tier in the domain `customer-7`, three entries each, signed; more entries after that.
fn sample(site: &Site) -> (TheLog, Vec<String>) {
    let mut log = site.log();
    log.set_origin("example.com/audit").unwrap();
    for (stream, tier) in STREAMS {
        log.create_stream_with(stream, &options(tier, "customer-7")).unwrap();
        log.append_batch((0..3).map(|n| event(stream, n)).collect(), &[]).unwrap();
    }
    let segments = log.close_segments().unwrap();
    log.sign_segment(&mut TestSigner, "key", segments[2].segment_id).unwrap();
    for (stream, _) in STREAMS {
        log.append(event(stream, 3)).unwrap();
    }
    let trusted = vec![log.verifier_key(&mut TestSigner, "key").unwrap()];
    (log, trusted)
}

const STREAMS: [(&str, Tier); 3] =
    [("open", Tier::Public), ("patients", Tier::Protected), ("suspects", Tier::HighlyRestricted)];

fn verify_all(log: &mut TheLog, trusted: &[String]) -> Result<CheckpointReport> {
    for stream in log.list_streams()? {
        let Some(head) = stream.head else { continue };
        log.verify_chain(&stream.stream_id, 1, head.seqno)?;
        log.verify_segments(&stream.stream_id)?;
    }
    log.verify_checkpoint_chain(trusted)
}

fn export(log: &mut TheLog, trusted: &[String]) -> String {
    let mut text = String::new();
    log.export(trusted, |page| {
        text += page;
        Ok(())
    })
    .unwrap();
    text
}

#[track_caller]
fn problem<T: std::fmt::Debug>(result: Result<T>) -> (KeyProblem, u64, String) {
    match result.unwrap_err() {
        Error::Sealed(sealed) => (sealed.problem, sealed.seqno, sealed.key),
        other => panic!("{other}"),
    }
}

fn row(log: &mut TheLog, stream: &str, seqno: u64) -> Row {
    log.store_mut().read_rows(stream, seqno, 1, true).unwrap().remove(0)
}

#[test]
fn sealed_entries_open_with_the_key_and_verify_without() {
    let site = Site::new();
    let (mut log, trusted) = sample(&site);
    for (stream, tier) in STREAMS {
        let entry = log.read(stream, 2).unwrap().header;
        let opened = log.open_entry(stream, 2).unwrap();
        assert_eq!(opened.event_type, "door-opened");
        assert_eq!(opened.producer, "controller-7");
        assert_eq!(opened.payload, format!("payload number 1 of {stream}").as_bytes());
        assert_eq!(log.read_payload(stream, 2).unwrap(), opened.payload);
        let stored = row(&mut log, stream, 2).payload.unwrap();
        assert_eq!(stored.len() as u64, entry.stored_len());
        assert_eq!(entry.nonce.is_some(), tier != Tier::Public);
        assert_eq!(entry.keyed_tags.is_some(), tier == Tier::HighlyRestricted);
        if tier == Tier::Protected {
            assert_eq!(entry.payload_len, opened.payload.len() as u64);
            assert_eq!(stored.len(), opened.payload.len() + TAG_LEN);
        }
    }
    // A data key ends with its segment.
    let keys: Vec<_> =
        (1..=4).map(|n| log.read("patients", n).unwrap().header.data_key_id.unwrap()).collect();
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3], "{keys:?}");

    // Another program without a keystore.
    let mut keyless = site.keyless();
    let report = verify_all(&mut keyless, &trusted).unwrap();
    assert_eq!((report.streams, report.entries_covered, report.entries_uncovered), (3, 9, 3));
    let error = keyless.read_payload("patients", 2).unwrap_err();
    assert!(matches!(&error, Error::Denied(reason) if reason.contains("keystore")), "{error}");
    let error = keyless.append(event("patients", 9)).unwrap_err();
    assert!(matches!(&error, Error::Denied(_)), "{error}");
    let text = export(&mut keyless, &trusted);
    let mut verifier = ExportVerifier::new(&trusted).unwrap();
    text.lines().try_for_each(|line| verifier.line(line)).unwrap();
    let report = verifier.finish().unwrap();
    assert_eq!((report.payloads_checked, report.payloads_erased), (report.entries, 0));
}

#[test]
fn without_a_keystore_nothing_is_created_to_be_sealed() {
    let site = Site::new();
    let mut log = site.keyless();
    for (stream, tier) in &STREAMS[1..] {
        let error = log.create_stream(stream, *tier, None).unwrap_err();
        assert!(
            matches!(&error, Error::Denied(reason) if reason.contains("keys:keystore/envelope")),
            "{error}"
        );
    }
    assert_eq!(log.head("_log").unwrap(), None);
    assert!(log.store_mut().list_objects(ObjectKind::State, "", None, 9).unwrap().is_empty());
}

#[test]
fn an_entry_of_a_sealed_stream_is_kept_here() {
    let site = Site::new();
    let (mut log, _) = sample(&site);
    let mut elsewhere = event("patients", 9);
    elsewhere.object_ref = Some("s3://bucket/9".into());
    let error = log.append(elsewhere).unwrap_err();
    assert!(matches!(&error, Error::Invalid(i) if i.field == "object-ref"), "{error}");
    assert_eq!(log.head("patients").unwrap().unwrap().seqno, 4);
    let mut large = event("suspects", 9);
    large.payload = vec![7; secure_log::limits::MAX_PAYLOAD];
    let error = log.append(large.clone()).unwrap_err();
    assert!(matches!(&error, Error::Invalid(i) if i.field == "payload"), "{error}");
    large.stream_id = "patients".into();
    let entry = log.append(large.clone()).unwrap();
    assert_eq!(log.read_payload("patients", entry.seqno).unwrap(), large.payload);
}

/// A forger who recomputes hashes, and who can write whatever he likes into the store.
#[test]
fn a_ciphertext_opens_nowhere_else() {
    let site = Site::new();
    let (mut log, _) = sample(&site);
    log.create_stream_with("patients-2", &options(Tier::Protected, "customer-7")).unwrap();
    let forged = |log: &mut TheLog, stream: &str, change: &dyn Fn(&mut secure_log::header::Header)| {
        let source = row(log, "patients", 2);
        let head = log.head(stream).unwrap().unwrap_or_else(|| StreamHead::empty(stream));
        let mut header = HeaderRef::decode(&source.header).unwrap().to_owned();
        header.stream_id = stream.into();
        header.seqno = head.seqno + 1;
        header.prev_hash = head.entry_hash;
        change(&mut header);
        let bytes = header.encode().unwrap();
        let seqno = header.seqno;
        let row = Row { seqno, entry_hash: entry_hash(&bytes), header: bytes, ..source };
        log.store_mut().append(&[StreamAppend { prior: head, rows: vec![row] }], &[], &[]).unwrap();
        seqno
    };
    let corrupt = |log: &mut TheLog, stream: &str, seqno: u64| {
        log.verify_chain(stream, seqno, seqno).unwrap();
        let error = log.read_payload(stream, seqno).unwrap_err();
        assert!(
            matches!(&error, Error::Corrupt(c) if c.seqno == seqno && c.reason.contains("sealed here")),
            "{error}"
        );
    };
    let mut log = site.log();
    let entry = forged(&mut log, "patients", &|_| {});
    corrupt(&mut log, "patients", entry);
    let other_segment = log.read("patients", 4).unwrap().header.data_key_id.unwrap();
    let entry = forged(&mut log, "patients", &|header| header.data_key_id = Some(other_segment.clone()));
    corrupt(&mut log, "patients", entry);
    let entry = forged(&mut log, "patients", &|header| header.nonce = Some([0; NONCE_LEN]));
    corrupt(&mut log, "patients", entry);

    // In another stream the data key is not found, and a copy of the wrapped key is of no use there.
    let entry = forged(&mut log, "patients-2", &|_| {});
    assert_eq!(problem(log.read_payload("patients-2", entry)).0, KeyProblem::Lost);
    let key =
        log.store_mut().list_objects(ObjectKind::State, "data-key\tpatients\t", None, 1).unwrap().remove(0);
    let copy = ObjectWrite {
        kind: ObjectKind::State,
        key: key.key.replace("\tpatients\t", "\tpatients-2\t"),
        value: key.value,
        expected: None,
    };
    log.store_mut().append(&[], &[], &[copy]).unwrap();
    assert_eq!(problem(log.read_payload("patients-2", entry)).0, KeyProblem::Wrong);

    // What was moved within the store does not even have the header's hash.
    let mut moved = row(&mut log, "patients", 1);
    moved.payload = row(&mut log, "patients", 3).payload;
    assert_ne!(*blake3::hash(moved.payload.as_deref().unwrap()).as_bytes(), {
        let header = HeaderRef::decode(&moved.header).unwrap();
        header.payload_hash
    });
}

#[test]
fn racing_writers_share_data_keys_and_no_nonce() {
    let site = Site::new();
    let mut log = site.log();
    for (stream, tier) in &STREAMS[1..] {
        log.create_stream_with(stream, &options(*tier, "customer-7")).unwrap();
    }
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let mut log = site.log();
            scope.spawn(move || {
                for n in 0..40 {
                    for (stream, _) in &STREAMS[1..] {
                        log.append(event(stream, writer * 1_000 + n)).unwrap();
                    }
                    if writer == 0 && n % 10 == 9 {
                        log.close_segments().unwrap();
                    }
                }
            });
        }
    });
    let mut nonces = std::collections::HashSet::new();
    let mut reader = site.log();
    for (stream, _) in &STREAMS[1..] {
        let mut payloads = std::collections::HashSet::new();
        let mut keys = std::collections::HashSet::new();
        for seqno in 1..=120 {
            let header = reader.read(stream, seqno).unwrap().header;
            assert!(nonces.insert(header.nonce.unwrap()), "{stream} {seqno}");
            keys.insert(header.data_key_id.unwrap());
            assert!(payloads.insert(reader.read_payload(stream, seqno).unwrap()));
        }
        let stored =
            reader.store_mut().list_objects(ObjectKind::State, &format!("data-key\t{stream}\t"), None, 99);
        assert_eq!(stored.unwrap().len(), keys.len(), "each stored data key seals something");
        reader.verify_chain(stream, 1, 120).unwrap();
    }
}

/// Somebody else creates a stream as sealed between an append's look and its write.
#[test]
fn a_stream_that_is_sealed_meanwhile_gets_nothing_in_clear() {
    struct Late(Shared, Option<Box<TheLog>>);
    impl SecureLogStore for Late {
        fn append(&mut self, a: &[StreamAppend], e: &[StreamHead], o: &[ObjectWrite]) -> Result<()> {
            if let Some(mut other) = self.1.take() {
                other.create_stream("late", Tier::HighlyRestricted, None).unwrap();
            }
            self.0.append(a, e, o)
        }
        fn head(&mut self, s: &str) -> Result<Option<StreamHead>> {
            self.0.head(s)
        }
        fn read_rows(&mut self, s: &str, f: u64, l: u32, p: bool) -> Result<Vec<Row>> {
            self.0.read_rows(s, f, l, p)
        }
        fn find_id(&mut self, s: &str, id: &str) -> Result<Option<u64>> {
            self.0.find_id(s, id)
        }
        fn list_heads(&mut self, a: Option<&str>, l: u32) -> Result<Vec<StreamHead>> {
            self.0.list_heads(a, l)
        }
        fn query(&mut self, f: &QueryFilter, c: Option<&str>, l: u32) -> Result<FoundPage> {
            self.0.query(f, c, l)
        }
        fn read_object(&mut self, k: ObjectKind, key: &str) -> Result<Option<Vec<u8>>> {
            self.0.read_object(k, key)
        }
        fn list_objects(&mut self, k: ObjectKind, p: &str, a: Option<&str>, l: u32) -> Result<Vec<Object>> {
            self.0.list_objects(k, p, a, l)
        }
        fn last_object(&mut self, k: ObjectKind, p: &str) -> Result<Option<Object>> {
            self.0.last_object(k, p)
        }
        fn write_tiles(&mut self, s: &str, t: &[Tile]) -> Result<()> {
            self.0.write_tiles(s, t)
        }
        fn read_tile(&mut self, s: &str, l: u8, i: u64) -> Result<Option<Vec<u8>>> {
            self.0.read_tile(s, l, i)
        }
        fn erase_payloads(&mut self, s: &str, f: u64, t: u64) -> Result<u64> {
            self.0.erase_payloads(s, f, t)
        }
        fn backup(&mut self, c: &str) -> Result<()> {
            self.0.backup(c)
        }
        fn close(self) -> Result<()> {
            self.0.close()
        }
    }
    let site = Site::new();
    site.log().append(event("open", 1)).unwrap();
    let store = Late(site.shared.clone().unwrap(), Some(Box::new(site.log())));
    let mut log =
        NativeSecureLog::new(store, site.world.clone(), "test 1").unwrap().with_envelope(site.keys.clone());
    log.append(event("late", 1)).unwrap();
    let header = log.read("late", 1).unwrap().header;
    assert!(header.nonce.is_some() && header.event_type.starts_with("keyed:"), "{header:?}");
    assert_eq!(log.open_entry("late", 1).unwrap().payload, b"payload number 1 of late");
    assert_eq!(log.verify_chain("late", 1, 1).unwrap().payloads_checked, 1);
}

#[test]
fn lost_and_wrong_keys_are_told_apart() {
    let site = Site::new();
    let (mut log, trusted) = sample(&site);
    site.destroy_key("customer-7");
    // Whoever has the data key goes on with it; whoever comes later cannot.
    log.append(event("patients", 5)).unwrap();
    let mut later = site.log();
    let lost = (KeyProblem::Lost, 2, "customer-7".to_owned());
    assert_eq!(problem(later.read_payload("patients", 2)), lost);
    assert_eq!(problem(later.open_entry("suspects", 2)), lost);
    let by_type = QueryFilter {
        stream_id: Some("suspects".into()),
        event_type: Some("door-opened".into()),
        ..QueryFilter::default()
    };
    assert_eq!(problem(later.query(&by_type, None, 9)).0, KeyProblem::Lost);
    verify_all(&mut later, &trusted).unwrap();

    // Nor does the log let the keystore make another one and seal under that.
    let more = later.create_stream_with("more", &options(Tier::Protected, "customer-7"));
    assert_eq!(problem(more).0, KeyProblem::Lost);
    later.close_segments().unwrap();
    assert_eq!(
        problem(site.log().append(event("patients", 9))),
        (KeyProblem::Lost, 0, "customer-7".to_owned())
    );

    // A new key of the same name.
    site.keys.clone().wrap("customer-7", &[7; 32], &[]).unwrap();
    let mut later = site.log();
    assert_eq!(problem(later.read_payload("patients", 2)), (KeyProblem::Wrong, 2, "customer-7".to_owned()));
    assert_eq!(problem(later.append(event("patients", 9))), (KeyProblem::Wrong, 0, "customer-7".to_owned()));
    verify_all(&mut later, &trusted).unwrap();
}

#[test]
fn rotation_wraps_keys_anew_and_touches_nothing_else() {
    let site = Site::new();
    let (mut log, trusted) = sample(&site);
    let rows: Vec<_> = STREAMS.iter().map(|(stream, _)| row(&mut log, stream, 2)).collect();
    // Two data keys of each sealed stream, and a tag key.
    assert_eq!(log.rotate_key("customer-7", "customer-7-b").unwrap(), 5);
    assert_eq!(log.rotate_key("customer-7", "customer-7-b").unwrap(), 0);
    site.destroy_key("customer-7");
    let mut log = site.log();
    for ((stream, _), before) in STREAMS.iter().zip(rows) {
        assert_eq!(row(&mut log, stream, 2), before);
        assert_eq!(log.read_payload(stream, 2).unwrap(), format!("payload number 1 of {stream}").as_bytes());
        log.append(event(stream, 4)).unwrap();
        assert_eq!(log.read_payload(stream, 5).unwrap(), format!("payload number 4 of {stream}").as_bytes());
    }
    log.close_segments().unwrap();
    log.append(event("patients", 5)).unwrap();
    verify_all(&mut log, &trusted).unwrap();

    // A key belongs to one domain.
    log.create_stream("other", Tier::Protected, None).unwrap();
    for taken in ["other", "customer-7-b"] {
        let domain = if taken == "other" { "customer-7" } else { "other" };
        let error = log.rotate_key(domain, taken).unwrap_err();
        assert!(
            matches!(&error, Error::Denied(reason) if reason.contains("another erasure domain")),
            "{error}"
        );
    }
    let error = log.create_stream("customer-7-b", Tier::Protected, None).unwrap_err();
    assert!(matches!(&error, Error::Denied(_)), "{error}");
    assert!(matches!(log.rotate_key("nobody", "x"), Err(Error::NotFound(_))));
    verify_all(&mut log, &trusted).unwrap();
}

#[test]
fn a_rotation_that_was_interrupted_is_told_and_goes_on() {
    let site = Site::new();
    let (mut log, trusted) = sample(&site);
    // The check, then one key: the record is there, and most keys are still under the old one.
    site.keys.wraps.store(2, Ordering::SeqCst);
    assert!(matches!(log.rotate_key("customer-7", "b"), Err(Error::Unavailable(_))));
    site.keys.wraps.store(u64::MAX / 2, Ordering::SeqCst);
    let copy = site.directory.path().join("keys-copy");
    std::fs::create_dir(&copy).unwrap();
    let keys = site.directory.path().join("keys");
    for file in std::fs::read_dir(&keys).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    site.destroy_key("customer-7");
    let mut later = site.log();
    assert_eq!(problem(later.read_payload("suspects", 2)), (KeyProblem::Rotated, 2, "customer-7".to_owned()));
    assert_eq!(problem(later.rotate_key("customer-7", "b")).0, KeyProblem::Rotated);
    verify_all(&mut later, &trusted).unwrap();
    for file in std::fs::read_dir(&copy).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, keys.join(path.file_name().unwrap())).unwrap();
    }
    assert!(later.rotate_key("customer-7", "b").unwrap() >= 4);
    site.destroy_key("customer-7");
    let mut later = site.log();
    for (stream, _) in STREAMS {
        assert_eq!(
            later.read_payload(stream, 2).unwrap(),
            format!("payload number 1 of {stream}").as_bytes()
        );
    }
}

#[test]
fn keyed_tags_are_found_by_whoever_has_the_key() {
    let site = Site::new();
    let (mut log, _) = sample(&site);
    log.create_stream("suspects-2", Tier::HighlyRestricted, None).unwrap();
    log.append(event("suspects-2", 1)).unwrap();
    let mut other = event("suspects", 9);
    (other.event_type, other.producer) = ("door-closed".into(), "gate".into());
    log.append(other).unwrap();
    let header = |log: &mut TheLog, stream: &str| log.read(stream, 1).unwrap().header;
    let (one, two) = (header(&mut log, "suspects"), header(&mut log, "suspects-2"));
    assert_ne!(one.event_type, two.event_type, "the same value has another tag in another stream");
    assert_ne!(one.producer, two.producer);
    assert_ne!(one.keyed_tags, two.keyed_tags);

    let find = |log: &mut TheLog, stream: Option<&str>, event_type: Option<&str>, producer: Option<&str>| {
        let filter = QueryFilter {
            stream_id: stream.map(Into::into),
            event_type: event_type.map(Into::into),
            producer: producer.map(Into::into),
            ..QueryFilter::default()
        };
        let page = log.query(&filter, None, 100).unwrap();
        page.entries.iter().map(|e| (e.header.stream_id.clone(), e.header.seqno)).collect::<Vec<_>>()
    };
    let suspects = Some("suspects");
    assert_eq!(find(&mut log, suspects, Some("door-opened"), None).len(), 4);
    assert_eq!(find(&mut log, suspects, None, Some("gate")), [("suspects".into(), 5)]);
    assert!(find(&mut log, suspects, Some("door-opened"), Some("gate")).is_empty());
    assert!(find(&mut log, suspects, Some("nothing"), None).is_empty());
    let everywhere = find(&mut log, None, Some("door-opened"), None);
    assert_eq!(everywhere.len(), 8);
    assert!(everywhere.iter().all(|(stream, _)| !stream.starts_with("suspects")));
}

#[test]
fn a_retry_of_a_sealed_event_finds_it() {
    let site = Site::new();
    let (mut log, _) = sample(&site);
    for (stream, _) in STREAMS {
        let mut e = event(stream, 7);
        e.id = Some("x".into());
        let first = log.append(e.clone()).unwrap();
        assert_eq!(log.append(e.clone()).unwrap(), first);
        assert_eq!(site.log().append(e.clone()).unwrap(), first);
        for change in [
            |e: &mut Event| e.payload.push(1),
            |e: &mut Event| e.event_type.push('x'),
            |e: &mut Event| e.producer.push('x'),
            |e: &mut Event| e.severity = Severity::Alert,
        ] {
            let mut other = e.clone();
            change(&mut other);
            let error = log.append(other).unwrap_err();
            assert!(matches!(&error, Error::Conflict(_)), "{stream}: {error}");
        }
        log.erase_payloads(stream, first.seqno, first.seqno, "test").unwrap();
        assert_eq!(log.append(e).unwrap(), first, "what is left of it is the same");
    }
}

#[test]
fn erasing_payloads_leaves_everything_valid() {
    let site = Site::new();
    let (mut log, trusted) = sample(&site);
    let segment = log.close_segment("patients").unwrap();
    let checkpoint = log.sign_segment(&mut TestSigner, "key", segment.segment_id).unwrap();
    let before = log.build_entry_proof("patients", 2).unwrap();
    let file = log.build_proof_file("patients", 2, None).ok();
    for (stream, _) in STREAMS {
        let erasure = log.erase_payloads(stream, 2, 3, "asked to by customer 7").unwrap();
        assert_eq!((erasure.streams, erasure.entries, erasure.keys_destroyed.len()), (1, 2, 0));
        let record = log.read("_log", erasure.log_entry).unwrap().header;
        assert_eq!(record.event_type, "payloads-erased");
        // Once more, and a part of it, record nothing.
        assert_eq!(log.erase_payloads(stream, 2, 3, "again").unwrap(), erasure);
        assert_eq!(log.erase_payloads(stream, 3, 3, "again").unwrap().log_entry, erasure.log_entry);
        let error = log.read_payload(stream, 2).unwrap_err();
        let named = format!("`_log` entry {}", erasure.log_entry);
        assert!(
            matches!(&error, Error::NotFound(m) if m.what == "payload" && m.reason.contains(&named)),
            "{error}"
        );
        assert_eq!(log.read_payload(stream, 4).unwrap(), format!("payload number 3 of {stream}").as_bytes());
        let report = log.verify_chain(stream, 1, 4).unwrap();
        assert_eq!((report.payloads_checked, report.payloads_erased), (2, 2));
    }
    verify_all(&mut log, &trusted).unwrap();
    proof::verify_entry_proof(&before, &trusted).unwrap();
    assert_eq!(log.build_entry_proof("patients", 2).unwrap(), before);
    assert_eq!(log.build_proof_file("patients", 2, None).ok(), file);
    assert_eq!(log.read_segment(segment.segment_id).unwrap(), segment);
    assert_eq!(log.read_checkpoint(checkpoint.number).unwrap(), checkpoint);

    for (from, to) in [(0, 1), (2, 1), (1, 5)] {
        assert!(log.erase_payloads("open", from, to, "r").is_err(), "{from} to {to}");
    }
    assert!(matches!(log.erase_payloads("_log", 1, 1, "r"), Err(Error::Denied(_))));
    assert!(matches!(log.erase_payloads("open", 1, 1, ""), Err(Error::Invalid(i)) if i.field == "reason"));
    assert!(matches!(log.erase_payloads("nothing", 1, 1, "r"), Err(Error::NotFound(_))));
}

#[test]
fn a_missing_payload_counts_as_erased_only_if_it_was_recorded() {
    let site = Site::new();
    let (mut log, _) = sample(&site);
    log.erase_payloads("open", 2, 2, "asked to").unwrap();
    log.store_mut().erase_payloads("open", 3, 3).unwrap();
    let error = log.verify_chain("open", 1, 4).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt(c) if c.seqno == 3 && c.reason.contains("no erasure")),
        "{error}"
    );
    assert!(matches!(log.read_payload("open", 3), Err(Error::Corrupt(_))));
    assert!(log.export(&[], |_| Ok(())).is_err());
}

#[test]
fn an_index_of_erasures_and_domains_that_lies_is_found() {
    let site = Site::new();
    let (mut log, trusted) = sample(&site);
    log.erase_payloads("open", 2, 2, "asked to").unwrap();
    log.rotate_key("customer-7", "b").unwrap();
    verify_all(&mut log, &trusted).unwrap();
    let objects = log.store_mut().list_objects(ObjectKind::State, "", None, 99).unwrap();
    assert!(objects.len() >= 9, "{objects:?}");
    for object in &objects {
        let mut write = ObjectWrite {
            kind: ObjectKind::State,
            key: object.key.clone(),
            value: vec![0xa1, 1, 1],
            expected: Some(object.value.clone()),
        };
        log.store_mut().append(&[], &[], std::slice::from_ref(&write)).unwrap();
        let error = site.log().verify_checkpoint_chain(&trusted).unwrap_err();
        assert!(matches!(&error, Error::Corrupt(_)), "{:?}: {error}", object.key);
        (write.value, write.expected) = (object.value.clone(), Some(write.value));
        log.store_mut().append(&[], &[], &[write]).unwrap();
    }
    for key in ["domain\tnobody", "kek\tnobody", "erased\topen\t00000000000000000001\t00000000000000000002"] {
        let more = Site::new();
        let (mut log, trusted) = sample(&more);
        let write =
            ObjectWrite { kind: ObjectKind::State, key: key.into(), value: vec![0xa1, 1, 2], expected: None };
        log.store_mut().append(&[], &[], &[write]).unwrap();
        assert!(matches!(log.verify_checkpoint_chain(&trusted), Err(Error::Corrupt(_))), "{key}");
    }
}

#[test]
fn retention_refuses_erasure_until_it_has_passed() {
    let site = Site::new();
    let mut log = site.log();
    let kept = StreamOptions { retention_ms: Some(30 * DAY), ..options(Tier::Protected, "customer-7") };
    log.create_stream_with("kept", &kept).unwrap();
    log.create_stream_with("free", &options(Tier::Protected, "customer-7")).unwrap();
    assert_eq!(log.list_streams().unwrap()[2].retention_ms, Some(30 * DAY));
    log.append(event("kept", 1)).unwrap();
    log.append(event("free", 1)).unwrap();
    site.world.later(10 * DAY);
    log.append(event("kept", 2)).unwrap();
    let refused = |log: &mut TheLog, from, to, entry: u64| {
        let error = log.erase_payloads("kept", from, to, "r").unwrap_err();
        let named = format!("entry {entry} is kept until");
        assert!(
            matches!(&error, Error::Denied(t) if t.contains("\"kept\"") && t.contains(&named)),
            "{error}"
        );
    };
    refused(&mut log, 1, 2, 1);
    site.world.later(20 * DAY - 1);
    refused(&mut log, 1, 1, 1);
    site.world.later(1);
    let number = log.head("_log").unwrap().unwrap().seqno;
    refused(&mut log, 1, 2, 2);
    let error = log.erase_domain("customer-7", "r").unwrap_err();
    assert!(matches!(&error, Error::Denied(t) if t.contains("entry 2 is kept until 2027-")), "{error}");
    assert_eq!(log.head("_log").unwrap().unwrap().seqno, number, "nothing was recorded");
    assert_eq!(log.read_payload("kept", 1).unwrap(), b"payload number 1 of kept");
    log.erase_payloads("kept", 1, 1, "r").unwrap();
    log.erase_payloads("free", 1, 1, "r").unwrap();
    site.world.later(10 * DAY);
    log.erase_domain("customer-7", "r").unwrap();
    assert_eq!(log.verify_chain("kept", 1, 2).unwrap().payloads_erased, 2);
}

#[test]
fn erasing_a_domain_destroys_its_keys_and_ends_its_streams() {
    let site = Site::new();
    let (mut log, trusted) = sample(&site);
    log.create_stream("other", Tier::Protected, None).unwrap();
    log.append(event("other", 1)).unwrap();
    log.rotate_key("customer-7", "b").unwrap();
    let before = log.build_entry_proof("suspects", 2).unwrap();
    assert!(matches!(site.keyless().erase_domain("customer-7", "r"), Err(Error::Denied(_))));
    let erasure = log.erase_domain("customer-7", "contract ended").unwrap();
    assert_eq!((erasure.streams, erasure.entries), (3, 12));
    assert_eq!(erasure.keys_destroyed, ["b", "customer-7"]);
    assert_eq!(log.read("_log", erasure.log_entry).unwrap().header.event_type, "domain-erased");
    assert_eq!(log.erase_domain("customer-7", "again").unwrap(), erasure);
    for name in ["b", "customer-7"] {
        let destroyed = site.keys.keystore.lock().unwrap().destroy(name);
        assert!(matches!(destroyed, Err(EnvelopeError::KeyNotFound(_))), "{name}");
    }
    for (stream, _) in STREAMS {
        for log in [&mut log, &mut site.log()] {
            let error = log.read_payload(stream, 2).unwrap_err();
            assert!(matches!(&error, Error::NotFound(m) if m.reason.contains("contract ended")), "{error}");
            assert!(log.append(event(stream, 9)).is_err());
        }
        assert_eq!(log.verify_chain(stream, 1, 4).unwrap().payloads_erased, 4);
    }
    let streams = log.list_streams().unwrap();
    for stream in &streams {
        let gone = stream.erasure_domain == "customer-7";
        assert_eq!(stream.erased, gone.then_some(erasure.log_entry), "{stream:?}");
        assert_eq!(stream.deprecated.is_some(), gone);
    }
    verify_all(&mut site.keyless(), &trusted).unwrap();
    assert_eq!(log.build_entry_proof("suspects", 2).unwrap(), before);
    assert_eq!(log.read_payload("other", 1).unwrap(), b"payload number 1 of other");

    // Nothing begins anew in it.
    let error = log.create_stream_with("again", &options(Tier::Public, "customer-7")).unwrap_err();
    assert!(matches!(&error, Error::Denied(_)), "{error}");
    assert!(matches!(log.append(event("customer-7", 1)), Err(Error::Denied(_))));
    assert!(matches!(log.rotate_key("customer-7", "c"), Err(Error::Denied(_))));
    assert!(matches!(log.erase_domain("nobody", "r"), Err(Error::NotFound(_))));
}

/// What a copy of the store, or an erasure that was interrupted, still has.
#[test]
fn a_sealed_payload_that_is_still_there_is_destroyed() {
    let site = Site::new();
    let (_, trusted) = sample(&site);
    let failing =
        Shared { erase: |_| Err(Error::Storage("the disk is full".into())), ..site.shared.clone().unwrap() };
    let mut log =
        NativeSecureLog::new(failing, site.world.clone(), "test 1").unwrap().with_envelope(site.keys.clone());
    log.read_payload("patients", 2).unwrap();
    assert!(matches!(log.erase_domain("customer-7", "r"), Err(Error::Storage(_))));
    for log in [&mut log, &mut site.log()] {
        assert_eq!(
            problem(log.read_payload("patients", 2)),
            (KeyProblem::Destroyed, 2, "customer-7".to_owned())
        );
        assert_eq!(problem(log.open_entry("suspects", 2)).0, KeyProblem::Destroyed);
        assert_eq!(problem(log.append(event("patients", 9))).0, KeyProblem::Destroyed);
    }
    // Verification counts it as checked, and running it again erases it.
    let mut log = site.log();
    assert_eq!(log.verify_chain("patients", 1, 4).unwrap().payloads_checked, 4);
    verify_all(&mut log, &trusted).unwrap();
    assert_eq!(log.erase_domain("customer-7", "r").unwrap().entries, 12);
    assert_eq!(log.verify_chain("patients", 1, 4).unwrap().payloads_erased, 4);
}

#[test]
fn an_export_of_sealed_and_erased_entries_is_verified_and_imported() {
    let site = Site::new();
    let (mut log, trusted) = sample(&site);
    log.create_stream("other", Tier::HighlyRestricted, None).unwrap();
    log.append(event("other", 1)).unwrap();
    log.erase_payloads("open", 1, 2, "r").unwrap();
    let with_payloads = export(&mut log, &trusted);
    log.erase_domain("customer-7", "r").unwrap();
    let text = export(&mut log, &trusted);
    let mut verifier = ExportVerifier::new(&trusted).unwrap();
    text.lines().try_for_each(|line| verifier.line(line)).unwrap();
    assert_eq!(verifier.finish().unwrap().payloads_erased, 12);

    // An export says itself what was erased: an older one does not excuse what is missing.
    let mut verifier = ExportVerifier::new(&trusted).unwrap();
    let entry = with_payloads.lines().find(|l| l.contains("\"payload\"") && !l.contains("X2xvZ")).unwrap();
    let without = entry[..entry.find(",\"payload\"").unwrap()].to_owned() + "}}";
    let refused = with_payloads.replace(entry, &without);
    assert!(refused.lines().try_for_each(|line| verifier.line(line)).is_err());

    let directory = tempfile::tempdir().unwrap();
    let mut importer = Importer::new(open_store(directory.path()), &trusted).unwrap();
    text.lines().try_for_each(|line| importer.line(line)).unwrap();
    let (store, report) = importer.finish().unwrap();
    assert_eq!(report.payloads_erased, 12);
    let shared = Shared { store: Arc::new(Mutex::new(store)), erase: |_| Ok(()) };
    let mut imported =
        NativeSecureLog::new(shared, site.world.clone(), "test 1").unwrap().with_envelope(site.keys.clone());
    verify_all(&mut imported, &trusted).unwrap();
    assert_eq!(export(&mut imported, &trusted), text);
    // The wrapped keys stayed where they were.
    assert_eq!(problem(imported.read_payload("other", 1)).0, KeyProblem::Lost);
    assert!(matches!(imported.read_payload("open", 3), Err(Error::NotFound(_))));
}

/// Random bytes that cannot be anywhere by chance, as text.
fn marker() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[track_caller]
fn find(site: &Site, marker: &str) -> Vec<String> {
    let found = |bytes: &[u8]| bytes.windows(marker.len()).any(|w| w == marker.as_bytes());
    site.files().into_iter().filter(|(_, bytes)| found(bytes)).map(|(name, _)| name).collect()
}

#[test]
fn no_file_and_no_error_holds_what_was_sealed_or_erased() {
    let site = Site::new();
    let (mut log, _) = sample(&site);
    let (secret, public, kind) = (marker(), marker(), marker());
    let mut events = Vec::new();
    for (stream, tier) in STREAMS {
        let text = if tier == Tier::Public { &public } else { &secret };
        for n in 0..20 {
            let mut e = event(stream, n);
            e.payload = text.repeat(40).into_bytes();
            if tier == Tier::HighlyRestricted {
                (e.event_type, e.producer) = (kind.clone(), kind.clone());
            }
            events.push(e);
        }
    }
    log.append_batch(events, &[]).unwrap();
    assert!(!find(&site, &public).is_empty(), "the search finds what is there");
    assert_eq!((find(&site, &secret), find(&site, &kind)), (vec![], vec![]));
    assert_eq!(log.open_entry("suspects", 9).unwrap().event_type, kind);

    let mut errors = Vec::new();
    let mut conflicting = event("suspects", 1);
    (conflicting.event_type, conflicting.payload) = (kind.clone(), secret.clone().into_bytes());
    conflicting.id = Some("x".into());
    log.append(conflicting.clone()).unwrap();
    conflicting.payload.push(1);
    errors.push(log.append(conflicting.clone()).unwrap_err());
    conflicting.object_ref = Some("elsewhere".into());
    errors.push(log.append(conflicting).unwrap_err());

    // A page of the store that is freed by this is searched as well.
    log.erase_payloads("open", 5, 24, "asked to").unwrap();
    assert_eq!(find(&site, &public), Vec::<String>::new());
    log.erase_domain("customer-7", "asked to").unwrap();
    errors.push(log.read_payload("suspects", 9).unwrap_err());
    assert_eq!((find(&site, &secret), find(&site, &kind)), (vec![], vec![]));
    for error in errors {
        let text = format!("{error} {error:?}");
        assert!(!text.contains(&secret) && !text.contains(&kind), "{text}");
    }
}

/// Kills this process. Nothing is flushed and nothing is closed.
fn kill() -> ! {
    let _ = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
    std::process::abort()
}

const VICTIM: &str = "SECURE_LOG_TEST_KILLED_AT";

/// The process that is killed; does nothing in a run of its own.
#[test]
fn victim() {
    let Ok(step) = std::env::var(VICTIM) else { return };
    let directory = std::path::PathBuf::from(std::env::var_os("SECURE_LOG_TEST_DIRECTORY").unwrap());
    let destroy: fn(&mut SoftwareKeystore, &str) -> Result<(), EnvelopeError> = match step.as_str() {
        "recorded" => |_, _| kill(),
        "destroyed" => |keystore, name| {
            keystore.destroy(name)?;
            kill()
        },
        _ => |keystore, name| keystore.destroy(name),
    };
    let erase: fn(&str) -> Result<()> = match step.as_str() {
        "erasing" => |stream| if stream == "patients" { kill() } else { Ok(()) },
        _ => |_| Ok(()),
    };
    let keys = Keys {
        keystore: Arc::new(Mutex::new(keystore(&directory))),
        wraps: Arc::new(AtomicU64::new(u64::MAX / 2)),
        destroy,
    };
    let shared = Shared { store: Arc::new(Mutex::new(open_store(&directory))), erase };
    let world = World(Arc::new(AtomicU64::new(1_800_000_000_000)));
    let mut log = NativeSecureLog::new(shared, world, "test 1").unwrap().with_envelope(keys);
    log.erase_domain("customer-7", "asked to").unwrap();
    unreachable!("it was to be killed");
}

#[test]
fn an_erasure_that_was_killed_is_finished_by_the_next_run() {
    for step in ["recorded", "destroyed", "erasing"] {
        let site = Site::new();
        let (log, trusted) = sample(&site);
        drop(log);
        let Site { directory, shared, .. } = site;
        shared.unwrap().close().unwrap();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sealing::victim", "--nocapture"])
            .env(VICTIM, step)
            .env("SECURE_LOG_TEST_DIRECTORY", directory.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success() && status.code().is_none(), "{step}: {status}");

        let site = Site::in_directory(directory);
        let mut log = site.log();
        // Whatever was reached, it is recorded, and everything verifies.
        verify_all(&mut log, &trusted).unwrap();
        let recorded = log.list_streams().unwrap().iter().find_map(|stream| stream.erased).unwrap();
        let erasure = log.erase_domain("customer-7", "asked to").unwrap();
        assert_eq!((erasure.log_entry, erasure.entries), (recorded, 12), "{step}");
        for (stream, _) in STREAMS {
            assert_eq!(log.verify_chain(stream, 1, 4).unwrap().payloads_erased, 4, "{step}");
        }
        let gone = site.keys.keystore.lock().unwrap().destroy("customer-7");
        assert!(matches!(gone, Err(EnvelopeError::KeyNotFound(_))), "{step}");
        verify_all(&mut log, &trusted).unwrap();
    }
}
