//! A store whose disk fails at each of its operations in turn.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the disk and its users are the test's own")]

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, io};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::RedbStore;
use crate::key::Key;
use crate::stack::ledger::{Record, Store};

const LIMIT: Duration = Duration::from_secs(10);

/// A disk that fails from an operation on, for so many operations.
#[derive(Debug, Default)]
struct Faulty {
    /// Operations before the first that fails.
    before: AtomicU64,
    /// Operations that fail then.
    failing: AtomicU64,
    /// Those that have failed.
    failed: AtomicU64,
    /// Whether only those fail that change something, as on a full disk.
    only_changes: bool,
    /// Whether it panics, as `redb` does over a damaged file.
    panics: bool,
    /// While it is locked, nothing is synced.
    slow: Mutex<()>,
    /// Those that wait for that.
    waiting: AtomicU64,
}

fn counts_down(number: &AtomicU64) -> bool {
    number.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Faulty {
    fn check(&self, is_change: bool) -> io::Result<()> {
        if self.only_changes && !is_change || counts_down(&self.before) || !counts_down(&self.failing) {
            return Ok(());
        }
        self.failed.fetch_add(1, SeqCst);
        assert!(!self.panics, "over a damaged page");
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    fn breaks(&self, before: u64, failing: u64) {
        self.before.store(before, SeqCst);
        self.failing.store(failing, SeqCst);
    }

    fn is_well(&self) {
        self.breaks(0, 0);
    }
}

#[derive(Debug)]
struct OnFaulty(FileBackend, Arc<Faulty>);

impl StorageBackend for OnFaulty {
    fn len(&self) -> io::Result<u64> {
        self.1.check(false)?;
        self.0.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.1.check(false)?;
        self.0.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.check(true)?;
        self.0.set_len(len)
    }

    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        self.1.check(true)?;
        self.1.waiting.fetch_add(1, SeqCst);
        drop(self.1.slow.lock().unwrap());
        self.1.waiting.fetch_sub(1, SeqCst);
        self.0.sync_data(eventual)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.1.check(true)?;
        self.0.write(offset, data)
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, SeqCst);
        // In memory where there is such a folder: nothing here needs a disk, and each sync of one takes milliseconds.
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = above.join(format!("sync-coalesce-ledger-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("ledger.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(file: &Path, faulty: &Arc<Faulty>) -> Result<RedbStore, crate::stack::ledger::StoreError> {
    let faulty = Arc::clone(faulty);
    RedbStore::open_with(file, Box::new(move |file| Arc::new(OnFaulty(file, Arc::clone(&faulty)))))
}

fn request() -> Key {
    Key::of("request").unwrap()
}

#[expect(clippy::option_option, reason = "no record, a record without a value, and one with it")]
fn value(store: &RedbStore, key: &[u8]) -> Option<Option<Vec<u8>>> {
    store.get(key).unwrap().map(|record| record.value)
}

/// What a call said, and so what must be true from then on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Yes,
    No,
}

fn said<R>(result: &Result<R, crate::stack::ledger::StoreError>) -> Said {
    if result.is_ok() { Said::Yes } else { Said::No }
}

/// Begins three records, commits the first and removes the second, on a disk that fails somewhere; then checks what was
/// said, with the disk well again, in this store and in one that is opened later.
fn a_run(faulty: Faulty, before: u64, failing: u64) -> bool {
    let folder = Folder::new();
    let faulty = Arc::new(faulty);
    let store = open(&folder.file(), &faulty).unwrap();
    assert_eq!(store.begin(b"old", &request()).unwrap(), None);
    store.commit(b"old", b"1").unwrap();
    faulty.breaks(before, failing);
    let begun = [&b"a"[..], b"b", b"c"].map(|key| said(&store.begin(key, &request())));
    let committed = (begun[0] == Said::Yes).then(|| said(&store.commit(b"a", b"2")));
    let removed = (begun[1] == Said::Yes).then(|| said(&store.remove(b"b")));
    if let Ok(record) = store.get(b"old") {
        assert_eq!(record, Some(Record { fingerprint: request(), value: Some(b"1".to_vec()) }));
    }
    let has_failed = faulty.failed.load(SeqCst) > 0;
    faulty.is_well();

    let check = |store: &RedbStore, is_later: bool| {
        assert_eq!(value(store, b"old"), Some(Some(b"1".to_vec())));
        let found = [&b"a"[..], b"b", b"c"].map(|key| value(store, key));
        let context = format!("{begun:?} {committed:?} {removed:?}, {found:?}, later {is_later}, at {before}");
        for number in 0..3 {
            match (begun[number], &found[number]) {
                // Its work did not run: in this store, it does not count.
                (Said::No, found) => assert!(found.is_none() || is_later && *found == Some(None), "{context}"),
                (Said::Yes, Some(Some(value))) => {
                    assert!(number == 0 && committed.is_some() && value == b"2", "{context}");
                }
                (Said::Yes, Some(None)) => {
                    assert!(number != 0 || committed != Some(Said::Yes), "{context}");
                    assert!(number != 1 || removed != Some(Said::Yes), "{context}");
                }
                (Said::Yes, None) => assert!(number == 1 && removed.is_some(), "{context}"),
            }
        }
    };
    check(&store, false);
    // It goes on, without having been opened again by its user.
    assert_eq!(store.begin(b"new", &request()).unwrap(), None);
    store.commit(b"new", b"3").unwrap();
    check(&store, false);
    drop(store);
    let store = open(&folder.file(), &faulty).unwrap();
    assert_eq!(value(&store, b"new"), Some(Some(b"3".to_vec())));
    check(&store, true);
    // What failed was removed by the change after it.
    for key in (0..3).filter(|number| begun[*number] == Said::No).map(|number| [&b"a"[..], b"b", b"c"][number]) {
        assert_eq!(value(&store, key), None);
    }
    has_failed
}

/// Runs it with a fault at each operation, until none is hit any more.
fn at_each_operation(faulty: impl Fn() -> Faulty, failing: u64) {
    let first_without = (0..2000).find(|before| !a_run(faulty(), *before, failing));
    assert!(first_without.is_some_and(|number| number > 10), "{first_without:?}");
}

#[test]
fn whatever_operation_of_the_disk_fails_what_was_said_holds() {
    at_each_operation(Faulty::default, 1);
}

#[test]
fn a_disk_that_is_full_for_some_time_loses_nothing_that_was_said() {
    at_each_operation(|| Faulty { only_changes: true, ..Faulty::default() }, 40);
}

#[test]
fn a_disk_that_is_gone_for_some_time_loses_nothing_that_was_said() {
    at_each_operation(Faulty::default, 1000);
}

#[test]
fn while_nothing_can_be_written_what_is_committed_is_found_and_nothing_begins() {
    for before in [0, 1, 3, 5] {
        let folder = Folder::new();
        let faulty = Arc::new(Faulty { only_changes: true, ..Faulty::default() });
        let store = open(&folder.file(), &faulty).unwrap();
        store.begin(b"old", &request()).unwrap();
        store.commit(b"old", b"1").unwrap();
        store.begin(b"begun", &request()).unwrap();
        faulty.breaks(before, u64::MAX);
        for turn in 0..3 {
            let error = store.begin(b"new", &request()).unwrap_err();
            let cause = error.inner().downcast_ref::<io::Error>().unwrap();
            assert_eq!(cause.kind(), io::ErrorKind::StorageFull, "{error}");
            assert!(store.commit(b"begun", b"2").is_err() && store.remove(b"old").is_err());
            assert_eq!(value(&store, b"new"), None, "{turn}");
            assert_eq!(value(&store, b"begun"), Some(None), "{turn}");
            assert_eq!(store.scan(Bound::Unbounded, 9).unwrap().len(), 2);
            let found = store.begin(b"old", &request()).unwrap().unwrap();
            assert_eq!(found.value, Some(b"1".to_vec()), "{turn}");
        }
        faulty.is_well();
        store.commit(b"begun", b"2").unwrap();
        assert_eq!(store.begin(b"new", &request()).unwrap(), None);
    }
}

#[test]
fn a_long_time_without_room_leaves_nothing_in_memory() {
    // Of these, the least leave no room to open the database again, and the most enough to begin a record.
    for before in 0..20 {
        let folder = Folder::new();
        let faulty = Arc::new(Faulty { only_changes: true, ..Faulty::default() });
        let store = open(&folder.file(), &faulty).unwrap();
        faulty.breaks(0, 1000);
        assert!(store.begin(b"first", &request()).is_err());
        for number in 0..5 {
            faulty.breaks(before, 1000);
            let _ = store.begin(format!("{number}").as_bytes(), &request());
        }
        let kept = store.connection.unconfirmed.len();
        assert!(kept <= 2, "{kept} are kept, at {before}");
        faulty.is_well();
        assert_eq!(store.begin(b"new", &request()).unwrap(), None);
        assert_eq!((store.connection.unconfirmed.len(), store.connection.writer.lock().failed.len()), (0, 0));
    }
}

/// ```text
/// one      begins, and waits for the disk ------------------ is done
/// another  finds what is committed, lists it
/// ```
#[test]
fn while_the_disk_is_slow_what_is_committed_is_found() {
    let folder = Folder::new();
    let faulty = Arc::new(Faulty::default());
    let store = open(&folder.file(), &faulty).unwrap();
    store.begin(b"old", &request()).unwrap();
    store.commit(b"old", b"1").unwrap();
    let slow = faulty.slow.lock().unwrap();
    let (sends, found) = mpsc::channel();
    std::thread::scope(|scope| {
        let one = scope.spawn(|| store.begin(b"new", &request()));
        let (store, faulty) = (&store, &faulty);
        scope.spawn(move || {
            let began = Instant::now();
            while faulty.waiting.load(SeqCst) == 0 && began.elapsed() < LIMIT {
                std::thread::yield_now();
            }
            let old = store.begin(b"old", &request()).unwrap().unwrap();
            let listed = store.scan(Bound::Unbounded, 9).unwrap().len();
            let _ = sends.send((old.value, value(store, b"new"), listed));
        });
        let found = found.recv_timeout(LIMIT);
        // So that a reader that waits is not waited for.
        drop(slow);
        assert_eq!(found, Ok((Some(b"1".to_vec()), None, 1)), "the new one has not begun yet");
        assert_eq!(one.join().unwrap().unwrap(), None);
    });
    assert_eq!(value(&store, b"new"), Some(None));
}

#[test]
fn a_panic_beneath_the_store_is_an_error_and_loses_nothing_that_was_said() {
    at_each_operation(|| Faulty { panics: true, ..Faulty::default() }, 1);
}
