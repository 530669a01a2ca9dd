//! The writing thread against a real directory.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::super::record::tests::full;
use super::*;
use crate::look::Look;

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::parse(include_bytes!("../../../tests/vectors/throwaway-1024.pkcs8.pem"), None).unwrap())
}

fn identity(tenant: &str) -> Identity {
    Identity::new(tenant, &"Cust12345".parse().unwrap(), &"https://online.superoffice.com".parse().unwrap()).unwrap()
}

fn start(dir: &Path) -> Writer {
    Writer::start(Arc::new(Store::open(dir).unwrap()), Arc::default()).unwrap()
}

/// Generations from a counter, and the source that tells the present one.
fn counted() -> (Arc<AtomicU64>, Source) {
    let generation = Arc::new(AtomicU64::new(1));
    let (now, key) = (generation.clone(), key());
    (generation, Arc::new(move || Some((key.clone(), full(now.load(Ordering::Relaxed))))))
}

/// The generation that is stored; the store must be free.
fn stored(dir: &Path, tenant: &str) -> Option<u64> {
    Some(Store::open(dir).unwrap().load(&identity(tenant), &[key()])?.ticket?.generation)
}

fn eventually(what: &str, happened: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !happened() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_changed_is_written_and_the_end_writes_what_nobody_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let writer = start(dir.path());
    let (generation, source) = counted();
    let (told, _untold) = (writer.attach(identity("told"), source.clone()), writer.attach(identity("untold"), source));
    let _nothing = writer.attach(identity("nothing"), Arc::new(|| None));
    told.changed();
    eventually("it is written", || dir.path().join("told.sealed").exists());
    assert!(!dir.path().join("untold.sealed").exists());
    generation.store(2, Ordering::Relaxed);
    assert!(writer.finish(Duration::from_secs(10)));
    told.changed();
    assert_eq!([stored(dir.path(), "told"), stored(dir.path(), "untold"), stored(dir.path(), "nothing")], [Some(2), Some(2), None]);
    assert!(writer.finish(Duration::from_secs(10)), "once more is no matter");
}

#[test]
fn many_changes_before_a_writing_are_one_and_the_same_record_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let writer = start(dir.path());
    let ((begun, begins), (gate, open)) = (mpsc::channel(), mpsc::channel::<u64>());
    let (open, key) = (Mutex::new(open), key());
    let handle = writer.attach(
        identity("Main"),
        Arc::new(move || {
            begun.send(()).unwrap();
            Some((key.clone(), full(open.lock().unwrap().recv().unwrap())))
        }),
    );
    let wait = Duration::from_secs(10);
    handle.changed();
    begins.recv_timeout(wait).unwrap();
    for _ in 0..100 {
        handle.changed();
    }
    gate.send(1).unwrap();
    begins.recv_timeout(wait).unwrap();
    let written = Look::at(&dir.path().join("main.sealed")).unwrap();
    gate.send(1).unwrap();
    assert!(begins.recv_timeout(Duration::from_millis(100)).is_err(), "a hundred changes are one more question");
    assert_eq!(Look::at(&dir.path().join("main.sealed")), Some(written));
    handle.changed();
    begins.recv_timeout(wait).unwrap();
    // A source that hangs, as a disk does: the end comes all the same.
    let start = Instant::now();
    assert!(!writer.finish(Duration::from_millis(100)));
    assert!(start.elapsed() < Duration::from_secs(5));
    gate.send(2).unwrap();
}

#[test]
fn what_fails_is_tried_again_and_keeps_nobody_else_from_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let writer = start(dir.path());
    let (_, source) = counted();
    // No file can take the place of a directory that is not empty.
    std::fs::create_dir_all(dir.path().join("bad.sealed/full")).unwrap();
    let (bad, good) = (writer.attach(identity("bad"), source.clone()), writer.attach(identity("good"), source));
    let panics = writer.attach(identity("panics"), Arc::new(|| panic!("a source that panics")));
    bad.changed();
    panics.changed();
    good.changed();
    eventually("the good one is written", || dir.path().join("good.sealed").exists());
    std::fs::remove_dir_all(dir.path().join("bad.sealed")).unwrap();
    eventually("the bad one is written", || dir.path().join("bad.sealed").is_file());
    assert!(!writer.finish(Duration::from_secs(10)), "one panics");
    drop(panics);
    assert_eq!(stored(dir.path(), "bad"), Some(1));
    let unfinished =
        std::fs::read_dir(dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension().unwrap_or_default() == "new");
    assert_eq!(unfinished.count(), 0);
}

#[test]
fn a_detached_tenant_is_not_written_and_keeps_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let writer = start(dir.path());
    let (generation, source) = counted();
    let handle = writer.attach(identity("gone"), source);
    handle.changed();
    eventually("it is written", || dir.path().join("gone.sealed").exists());
    drop(handle);
    generation.store(2, Ordering::Relaxed);
    assert!(writer.finish(Duration::from_secs(10)));
    assert_eq!(stored(dir.path(), "gone"), Some(1));
}

#[test]
fn a_dropped_writer_gives_the_store_back() {
    let dir = tempfile::tempdir().unwrap();
    drop(start(dir.path()));
    eventually("the store is free", || Store::open(dir.path()).is_ok());
}

#[test]
fn one_line_tells_of_a_full_disk_and_one_of_its_end() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let ids: Vec<u64> = ["one", "two", "three"].map(|name| queue.attach(identity(name), Arc::new(|| None)).0).into();
    assert!(queue.failed(ids[0], now, 0.5));
    assert!(!queue.failed(ids[1], now, 0.5));
    assert!(!queue.failed(ids[0], now, 0.5));
    assert!(!queue.changed(ids[0]), "who failed waits");
    assert!(queue.take(now).is_none());
    assert_eq!(queue.next_due(), Some(now + Duration::from_secs(1)));
    assert_eq!(queue.take(now + Duration::from_secs(1)).unwrap().id, ids[1]);
    assert!(!queue.succeeded(ids[1], None));
    assert!(queue.take(now + Duration::from_millis(1900)).is_none());
    assert_eq!(queue.take(now + Duration::from_secs(2)).unwrap().id, ids[0]);
    assert!(queue.succeeded(ids[0], None));
    assert!(queue.failed(ids[2], now, 0.5), "another streak");
    queue.detach(ids[2]);
    assert!(queue.failed(ids[1], now, 0.5), "one that is gone fails no more");
}

#[test]
fn a_tenant_that_is_attached_again_has_one_writer_that_knows_what_was_written() {
    let mut queue = Queue::default();
    let attach = |queue: &mut Queue| queue.attach(identity("one"), Arc::new(|| None)).0;
    let first = attach(&mut queue);
    assert!(queue.changed(first));
    let job = queue.take(Instant::now()).unwrap();
    assert!(job.written.is_none());
    queue.succeeded(first, Some(Written { key: key(), digest: [7; 32] }));
    let second = attach(&mut queue);
    assert!(!queue.changed(first) && queue.detach(first).is_none(), "the earlier handle says nothing any more");
    assert!(queue.changed(second));
    assert_eq!(queue.take(Instant::now()).unwrap().written.unwrap().digest, [7; 32]);
    queue.finish(Instant::now() + Duration::from_secs(1));
    assert_eq!(queue.take(Instant::now()).unwrap().id, second);
    assert!(queue.take(Instant::now()).is_none(), "one file has one writer");
}
