//! Files of a ledger that are damaged, cut off, gone, locked, or something else.

use std::fs;
use std::io::ErrorKind;
use std::ops::Bound;
use std::panic;
use std::path::Path;

use redb::{Builder, TableDefinition};
use sync_coalesce::stack::ledger::{Ledger, LedgerError, LedgerState, RedbStore, Store, StoreError};

use super::disk::{Folder, process_at};
use super::{assert_does, assert_replays, assert_unknown, request, run};
use crate::support::{Random, bounded};

#[track_caller]
fn assert_is(error: &StoreError, kind: ErrorKind, text: &str) {
    let cause = error.inner().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(cause.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

fn key(number: usize) -> String {
    format!("order {number}")
}

fn value(number: usize) -> Vec<u8> {
    format!("\"{}\"", "v".repeat(number * 40)).into_bytes()
}

const COUNT: usize = 30;

/// A file with records in it, as it is after it was closed, and as it is while it is open.
fn records() -> [Vec<u8>; 2] {
    let folder = Folder::new();
    let store = RedbStore::open(folder.file()).unwrap();
    for number in 0..COUNT {
        assert!(store.begin(key(number).as_bytes(), &request("r")).unwrap().is_none());
        store.commit(key(number).as_bytes(), &value(number)).unwrap();
    }
    // Its end is not the one that is damaged: what is damaged in the last change may be taken for a crash.
    assert!(store.begin(b"last", &request("r")).unwrap().is_none());
    let open = fs::read(folder.file()).unwrap();
    drop(store);
    [fs::read(folder.file()).unwrap(), open]
}

/// Damages the bytes in one of several ways; says how.
fn damage(bytes: &mut Vec<u8>, pages: &[usize], random: &mut Random) -> String {
    const PAGE: usize = 4096;
    let page = pages[random.below(pages.len())] * PAGE;
    let bit = 1 << random.below(8);
    match random.below(6) {
        0 => {
            let at = random.below(512);
            bytes[at] ^= bit;
            format!("a bit of the header, at {at}")
        }
        1 | 2 => {
            let at = page + random.below(PAGE);
            bytes[at] ^= bit;
            format!("a bit at {at}")
        }
        3 => {
            bytes[page..page + PAGE].fill(0);
            format!("no page at {page}")
        }
        4 => {
            let other = pages[random.below(pages.len())] * PAGE;
            bytes.copy_within(other..other + PAGE, page);
            format!("the page at {page} is that at {other}")
        }
        _ => {
            bytes.truncate(random.below(bytes.len()));
            format!("cut off at {}", bytes.len())
        }
    }
}

/// The panics of `redb` beneath these are printed by the hook, hundreds of them.
fn quietly<R>(test: impl FnOnce() -> R) -> R {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        if panicked.location().is_none_or(|location| !location.file().contains("redb-")) {
            hook(panicked);
        }
    }));
    test()
}

#[test]
fn a_damaged_file_gives_what_was_recorded_or_an_error() {
    bounded(|| {
        let mut random = Random::new(1);
        let originals = records();
        let (mut refused, mut opened) = (0, 0);
        let folder = Folder::in_memory();
        quietly(|| {
            for turn in 0..200 {
                let mut bytes = originals[turn % 2].clone();
                let pages = bytes.chunks(4096).enumerate();
                let pages: Vec<_> =
                    pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0)).map(|(at, _)| at).collect();
                let what = damage(&mut bytes, &pages, &mut random);
                fs::write(folder.file(), bytes).unwrap();
                match RedbStore::open(folder.file()) {
                    Ok(store) => {
                        opened += 1;
                        assert_right(&store, &what);
                    }
                    Err(error) => {
                        refused += 1;
                        let text = error.to_string();
                        assert!(text.contains("ledger.redb: ") && text.contains("restore it"), "{text}");
                    }
                }
            }
        });
        assert!(refused > 20 && opened > 20, "{refused} {opened}");
    });
}

#[test]
fn a_file_that_was_closed_and_then_damaged_is_refused_when_it_is_opened() {
    let [mut closed, _] = records();
    for byte in closed.iter_mut().filter(|byte| **byte == b'v') {
        *byte = b'w';
    }
    let folder = Folder::new();
    fs::write(folder.file(), closed).unwrap();
    assert_is(&RedbStore::open(folder.file()).unwrap_err(), ErrorKind::InvalidData, "the file is damaged");
}

/// Each record, as it was or not to be read.
fn assert_right(store: &RedbStore, what: &str) {
    for number in 0..COUNT {
        if let Ok(record) = store.get(key(number).as_bytes()) {
            let record = record.unwrap_or_else(|| panic!("{what}: record {number} is lost"));
            assert_eq!((record.fingerprint, record.value), (request("r"), Some(value(number))), "{what}: {number}");
        }
    }
    if let Ok(listed) = store.scan(Bound::Unbounded, 1000) {
        assert!(listed.len() >= COUNT, "{what}");
    }
    let _ = store.begin(b"new", &request("r"));
    let _ = store.commit(b"new", b"1");
    let _ = store.remove(key(3).as_bytes());
}

#[test]
fn a_damaged_value_is_an_error_and_not_another_value() {
    let folder = Folder::new();
    write_raw(&folder.file(), |insert| {
        // The fingerprint, a tag of this version, two times, a wrong check and a value.
        insert(b"a", &[request("r").as_bytes(), &[3][..], &[0; 24], b"10"].concat());
        // And a tag of a version to come.
        insert(b"b", &[request("r").as_bytes(), &[9][..], &[0; 24], b"10"].concat());
    });
    let ledger = Ledger::new(RedbStore::open(folder.file()).unwrap());
    for key in ["a", "b"] {
        let (result, ran) = run(&ledger, key, &request("r"), 1);
        let error = result.unwrap_err();
        assert!(matches!(error, LedgerError::Store(_)) && !ran, "{error}");
        assert!(error.to_string().contains(&format!("under the key \"{key}\" is damaged")), "{error}");
        assert!(ledger.state(key).is_err());
    }
    assert!(ledger.records().any(|record| record.is_err()));
    // Somebody has looked into it, and it can be removed.
    assert!(ledger.forget("a").unwrap() && ledger.forget("b").unwrap());
    assert_does(&ledger, "a", &request("r"), 2);
    assert!(ledger.records().all(|record| record.is_ok()));
}

/// Writes records into a store as `redb` sees them.
fn write_raw(file: &Path, write: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]))) {
    let database = Builder::new().create_with_file_format_v3(true).create(file).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(TableDefinition::<&[u8], &[u8]>::new("ledger")).unwrap();
        write(&mut |key, value| drop(table.insert(key, value).unwrap()));
    }
    transaction.commit().unwrap();
}

#[test]
fn a_file_of_a_former_version_is_read_and_its_ages_are_unknown() {
    let folder = Folder::new();
    let asked = request("r");
    write_raw(&folder.file(), |insert| {
        insert(b"begun", asked.as_bytes());
        insert(b"done", &[asked.as_bytes(), &[1][..], b"5"].concat());
    });
    let ledger = Ledger::new(RedbStore::open(folder.file()).unwrap());
    assert_unknown(&ledger, "begun", &asked);
    assert_replays(&ledger, "done", &asked, 5);
    assert!(ledger.records().all(|record| record.unwrap().age().is_none()));
    // Nobody knows whether they are old.
    assert_eq!(ledger.remove_older_than(std::time::Duration::ZERO).unwrap(), 0);
    // What is added has its time.
    assert!(ledger.resolve("begun", &6).unwrap());
    assert_replays(&ledger, "begun", &asked, 6);
    let resolved = ledger.records().next().unwrap().unwrap();
    assert_eq!((resolved.begun_at, resolved.state), (None, LedgerState::Done));
    assert!(resolved.age().is_some());
    assert_eq!(ledger.remove_if(|record| record.age().is_none()).unwrap(), 1);
    assert_eq!(ledger.state("done").unwrap(), LedgerState::Absent);
}

#[test]
fn what_is_no_store_is_left_as_it_is() {
    let folder = Folder::new();
    let cases: [(&str, Vec<u8>); 3] = [
        ("text", b"not a database".to_vec()),
        ("one byte", vec![1]),
        // As a former version left it that was killed while it made the file.
        ("cut off", [vec![0; 9], vec![1; 100], vec![0; 8000]].concat()),
    ];
    for (what, bytes) in cases {
        fs::write(folder.file(), &bytes).unwrap();
        let error = RedbStore::open(folder.file()).unwrap_err();
        assert_is(&error, ErrorKind::InvalidData, "remove it to begin a new one");
        assert_eq!(fs::read(folder.file()).unwrap(), bytes, "{what}");
    }
    assert_is(&RedbStore::open(folder.path()).unwrap_err(), ErrorKind::InvalidData, "it is a folder");
    let nowhere = folder.path().join("no/such/ledger.redb");
    assert_is(&RedbStore::open(nowhere).unwrap_err(), ErrorKind::NotFound, "its folder does not exist");
}

#[test]
fn a_file_that_is_open_elsewhere_is_refused_until_it_is_not() {
    bounded(|| {
        let folder = Folder::new();
        let running = process_at("begin", &folder.file());
        for _ in 0..3 {
            assert_is(&RedbStore::open(folder.file()).unwrap_err(), ErrorKind::ResourceBusy, "it is open elsewhere");
        }
        drop(running);
        let store = RedbStore::open(folder.file()).unwrap();
        assert_is(&RedbStore::open(folder.file()).unwrap_err(), ErrorKind::ResourceBusy, "it is open elsewhere");
        drop(store);
        assert_does(&Ledger::new(RedbStore::open(folder.file()).unwrap()), "a", &request("r"), 1);
    });
}

#[cfg(unix)]
#[test]
fn a_file_that_is_removed_while_it_is_open_takes_no_records_until_it_is_back() {
    let folder = Folder::new();
    let ledger = Ledger::new(RedbStore::open(folder.file()).unwrap());
    assert_does(&ledger, "a", &request("r"), 1);
    let away = folder.path().join("away");
    fs::rename(folder.file(), &away).unwrap();
    for _ in 0..2 {
        let (result, ran) = run(&ledger, "b", &request("r"), 2);
        let Err(LedgerError::Store(error)) = result else { panic!("{result:?}") };
        assert_is(&error, ErrorKind::NotFound, "removed or replaced while it was open");
        assert!(!ran);
        assert_replays(&ledger, "a", &request("r"), 1);
    }
    assert!(!folder.file().exists(), "a new file was made, without what was committed");
    fs::rename(&away, folder.file()).unwrap();
    assert_does(&ledger, "b", &request("r"), 2);
    assert_replays(&ledger, "a", &request("r"), 1);
}

#[cfg(unix)]
#[test]
fn work_whose_file_is_removed_meanwhile_is_not_said_to_be_committed() {
    let folder = Folder::new();
    let ledger = Ledger::new(RedbStore::open(folder.file()).unwrap());
    let work = || {
        fs::remove_file(folder.file()).unwrap();
        Ok::<_, std::convert::Infallible>(1)
    };
    let recorded = ledger.run_once("a", &request("r"), work).unwrap();
    assert_is(&recorded.committed.unwrap_err(), ErrorKind::NotFound, "removed or replaced while it was open");
    assert_eq!(recorded.value, 1);
}

/// ```text
/// this store                      another process
/// its file is removed
///                                 makes a new one at its path
/// is refused, the file is locked
///                                 ends
/// takes the new file
/// ```
#[cfg(unix)]
#[test]
fn two_stores_never_record_at_one_path() {
    let folder = Folder::new();
    let ledger = Ledger::new(RedbStore::open(folder.file()).unwrap());
    fs::remove_file(folder.file()).unwrap();
    let other = Ledger::new(RedbStore::open(folder.file()).unwrap());
    assert_does(&other, "a", &request("r"), 1);
    let (result, ran) = run(&ledger, "a", &request("r"), 2);
    let Err(LedgerError::Store(error)) = result else { panic!("{result:?}") };
    assert_is(&error, ErrorKind::ResourceBusy, "it is open elsewhere");
    assert!(!ran);
    drop(other);
    assert_replays(&ledger, "a", &request("r"), 1);
}
