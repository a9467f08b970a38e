//! The file of a ledger while it is made: by processes that are killed, and by several at once.

use std::cell::RefCell;
use std::convert::Infallible;
use std::env;
use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use sync_coalesce::stack::ledger::{Ledger, LedgerState, RedbStore, StoreError};

use super::disk::Folder;
use super::{assert_does, assert_replays, request};
use crate::support::process::{self, Running};
use crate::support::thread;
use crate::support::{Random, bounded, crowd, join, until};

fn kind(error: &StoreError) -> ErrorKind {
    error.inner().downcast_ref::<std::io::Error>().unwrap().kind()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The process that is killed: it makes one file after the other.
#[test]
#[ignore = "run as a process of its own, by the test below"]
fn a_process_that_makes_files() {
    let Some(folder) = env::var_os("LEDGERS").map(PathBuf::from) else { return };
    for number in 0..10_000 {
        let store = RedbStore::open(folder.join(format!("{number}.redb"))).unwrap();
        println!("made {number}");
        // In memory, to be done soon: what is tested is how it is made, not how it is closed.
        std::mem::forget(store);
    }
}

#[test]
fn a_maker_that_is_killed_leaves_no_file_or_a_whole_one() {
    bounded(|| {
        let caught = thread::scope(|scope| {
            join(crowd(scope, 4, |number| (0..50).filter(|kill| kill_a_maker(number * 50 + kill)).count()))
        });
        // If it never is, nothing was tested.
        assert!(caught.iter().sum::<usize>() > 20, "{caught:?}");
    });
}

/// Whether it was killed in the middle of a file.
fn kill_a_maker(seed: usize) -> bool {
    let folder = Folder::in_memory();
    let mut command = process::test("stack::ledger::creation::a_process_that_makes_files");
    let running = Running::start(command.env("LEDGERS", folder.path()));
    running.line_that_ends("made 0");
    // Any moment will do.
    for number in 0..Random::new(seed).below(1_000_000) {
        black_box(number);
    }
    drop(running);
    let names = names(folder.path());
    let left = names.iter().find(|name| name.ends_with(".creating"));
    // The file that was being made, or the last that was; those before it were whole when it was begun.
    let last = names.iter().filter_map(|name| name.strip_suffix(".redb")?.parse::<usize>().ok()).max();
    let file = left.map_or(format!("{}.redb", last.unwrap()), |left| left.trim_end_matches(".creating").to_owned());
    let ledger = Ledger::new(RedbStore::open(folder.path().join(file)).unwrap());
    assert_does(&ledger, "a", &request("r"), 1);
    assert!(left.is_none_or(|left| !folder.path().join(left).exists()), "what was left is still there");
    left.is_some()
}

#[test]
fn of_threads_that_make_the_file_at_once_none_loses_a_record() {
    bounded(|| {
        for _ in 0..20 {
            let folder = Folder::in_memory();
            let start = Barrier::new(4);
            thread::scope(|scope| {
                join(crowd(scope, 4, |number| {
                    start.wait();
                    records_one(&folder.file(), number);
                }));
            });
            assert_recorded(&folder, 4);
        }
    });
}

/// Opens the file as soon as nobody else has it open, and does one thing.
fn records_one(file: &Path, number: usize) {
    let store = RefCell::new(None);
    until("the others to be done", || match RedbStore::open(file) {
        Ok(opened) => store.replace(Some(opened)).is_none(),
        Err(error) => {
            assert_eq!(kind(&error), ErrorKind::ResourceBusy, "{error}");
            false
        }
    });
    let ledger = Ledger::new(store.into_inner().unwrap());
    let work = || Ok::<_, Infallible>(number);
    ledger.run_once(format!("{number}"), &request("r"), work).unwrap().committed.unwrap();
}

fn assert_recorded(folder: &Folder, count: usize) {
    let ledger = Ledger::new(RedbStore::open(folder.file()).unwrap());
    for number in 0..count {
        assert_eq!(ledger.state(format!("{number}")).unwrap(), LedgerState::Done, "the record of {number} is lost");
    }
    assert_eq!(names(folder.path()), ["ledger.redb"]);
}

/// One of several that make the same file.
#[test]
#[ignore = "run as a process of its own, by the test below"]
fn a_process_that_records_one() {
    let Some(file) = env::var_os("LEDGER") else { return };
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    records_one(Path::new(&file), env::var("NUMBER").unwrap().parse().unwrap());
}

#[test]
fn of_processes_that_make_the_file_at_once_none_loses_a_record() {
    bounded(|| {
        for _ in 0..5 {
            let folder = Folder::in_memory();
            let all: Vec<_> = (0..4)
                .map(|number| {
                    let mut command = process::test("stack::ledger::creation::a_process_that_records_one");
                    let number = number.to_string();
                    Running::start(command.env("LEDGER", folder.file()).env("NUMBER", number))
                })
                .collect();
            for process in &all {
                process.line_that_ends("ready");
            }
            // Closes their standard input, which is what they wait for.
            for ended in thread::scope(|scope| {
                let waits: Vec<_> = all.into_iter().map(|process| scope.spawn(|| process.finish())).collect();
                join(waits)
            }) {
                assert_eq!(ended.code, Some(0), "{}", ended.err);
            }
            assert_recorded(&folder, 4);
        }
    });
}

#[test]
fn an_empty_file_and_one_full_of_zeros_count_as_absent() {
    for len in [0, 1, 1_589_248] {
        let folder = Folder::new();
        fs::File::create(folder.file()).unwrap().set_len(len).unwrap();
        assert_does(&Ledger::new(RedbStore::open(folder.file()).unwrap()), "a", &request("r"), 1);
        assert_replays(&Ledger::new(RedbStore::open(folder.file()).unwrap()), "a", &request("r"), 1);
        assert_eq!(names(folder.path()), ["ledger.redb"]);
    }
}

#[cfg(unix)]
#[test]
fn an_empty_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    fs::write(folder.file(), "").unwrap();
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o600)).unwrap();
    drop(RedbStore::open(folder.file()).unwrap());
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_whether_its_file_is_there_or_not() {
    let folder = Folder::new();
    let link = folder.path().join("link.redb");
    std::os::unix::fs::symlink("ledger.redb", &link).unwrap();
    for run in 0..2 {
        let ledger = Ledger::new(RedbStore::open(&link).unwrap());
        if run == 0 {
            assert_does(&ledger, "a", &request("r"), 1);
        } else {
            assert_replays(&ledger, "a", &request("r"), 1);
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::symlink_metadata(folder.file()).unwrap().is_file());
    }
}

#[test]
fn what_is_left_of_a_killed_maker_is_removed_by_whoever_finds_the_file_there() {
    let folder = Folder::new();
    let left = folder.path().join("ledger.redb.creating");
    drop(RedbStore::open(folder.file()).unwrap());
    fs::write(&left, "half of it").unwrap();
    drop(RedbStore::open(folder.file()).unwrap());
    assert_eq!(names(folder.path()), ["ledger.redb"]);
}
